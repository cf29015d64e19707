"""The trace estimate against matrices of known trace: its value, its error bars, its count of products."""

import numpy as np
import pytest
import torch

from landscape.errors import BadInput, NotFinite
from landscape.numerics.spectra.trace import deflated_probe, student_factor, trace_estimate

RNG = np.random.default_rng(0)
SIZE = 200
ROTATION = np.linalg.qr(RNG.normal(size=(SIZE, SIZE)))[0]
SPECTRA = {
    "decay and bulk": np.r_[20 * 0.8 ** np.arange(30), np.abs(RNG.normal(size=SIZE - 30)) * 0.1],
    "power law": 10 / np.arange(1, SIZE + 1),
    "indefinite": np.r_[5, 4, -3, RNG.normal(size=SIZE - 3) + 0.3],
    "no trace": np.r_[np.linspace(-1, 1, SIZE - 2), 3, -3],
    "low rank": np.r_[np.arange(1.0, 21), np.zeros(SIZE - 20)],
}


def rotated(spectrum):
    matrix = (ROTATION * spectrum) @ ROTATION.T
    return torch.from_numpy((matrix + matrix.T) / 2)


MATRICES = {name: rotated(spectrum) for name, spectrum in SPECTRA.items()}


def estimate(name, seed=0, k=0, **options):
    """With the k eigenpairs of the largest |λ| known."""
    matrix = MATRICES[name]
    order = np.argsort(-np.abs(SPECTRA[name]), kind="stable")[:k]
    return trace_estimate(
        lambda v: matrix @ v,
        SIZE,
        values=SPECTRA[name][order],
        vectors=torch.from_numpy(ROTATION.T[order].copy()),
        generator=torch.Generator().manual_seed(seed),
        **options,
    )


@pytest.mark.parametrize(("relative_error", "k"), [(0.2, 0), (0.03, 10)])
@pytest.mark.parametrize("name", SPECTRA)
def test_95_percent_intervals_contain_the_truth_95_times_in_100(name, relative_error, k):
    """The probes' number follows from their spread, which must not make the intervals too short."""
    truth, hits = SPECTRA[name].sum(), 0
    for seed in range(100):
        found = estimate(name, seed, k, relative_error=relative_error, max_products=50)
        hits += abs(found.value - truth) <= 1.96 * found.standard_error
    assert 88 <= hits <= 99


@pytest.mark.parametrize("name", ["decay and bulk", "power law", "indefinite"])
def test_converged_means_the_error_asked_for(name):
    found = estimate(name, k=20, relative_error=0.05)
    assert found.converged
    assert found.standard_error <= 0.05 * abs(found.value)
    assert found.num_products >= 8


def test_ten_known_pairs_save_most_of_the_products():
    options = {"relative_error": 0.03, "max_products": 150}
    plain, deflated = (estimate("decay and bulk", k=k, **options) for k in (0, 10))
    assert deflated.converged
    assert deflated.num_products * 5 <= plain.num_products


def test_the_error_shrinks_like_the_root_of_the_probes():
    """And it is that of theory: variance 2 (‖H‖²_F − Σ H_ii²) for one probe (Hutchinson 1990)."""
    matrix = MATRICES["no trace"]
    variance = 2 * float((matrix**2).sum() - (matrix.diagonal() ** 2).sum())
    for count in (16, 64, 190):
        found = estimate("no trace", max_products=count)
        assert not found.converged
        assert found.num_products == count
        expected = student_factor(count) * (variance / count) ** 0.5
        assert found.standard_error == pytest.approx(expected, rel=4 / (2 * count) ** 0.5)


def test_known_vectors_need_not_be_eigenvectors():
    """Σ qᵀHq + tr (I − QQᵀ)H(I − QQᵀ) is the trace for any orthonormal Q."""
    matrix, hits = MATRICES["indefinite"], 0
    vectors = torch.linalg.qr(torch.randn(SIZE, 6, generator=torch.Generator().manual_seed(9)).double())[0].T
    values = np.array([float(v @ matrix @ v) for v in vectors])
    for seed in range(50):
        found = trace_estimate(
            lambda v: matrix @ v,
            SIZE,
            values=values,
            vectors=vectors,
            max_products=30,
            generator=torch.Generator().manual_seed(seed),
        )
        hits += abs(found.value - SPECTRA["indefinite"].sum()) <= 1.96 * found.standard_error
    assert hits >= 43


def test_where_sampling_would_need_as_many_products_the_sum_is_exact():
    found = estimate("no trace", k=2, max_products=400)
    assert found.converged
    assert found.standard_error == 0
    assert SIZE < found.num_products <= 400
    assert found.value == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_small_matrices_are_summed_exactly(size):
    matrix = torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(size))
    found = trace_estimate(lambda v: matrix @ v, size, generator=torch.Generator().manual_seed(0))
    assert found[:4] == (pytest.approx(float(matrix.trace()), rel=1e-13), 0.0, size, True)
    assert found.is_sum
    assert len(found.forms) == size


def test_everything_known_costs_nothing():
    found = trace_estimate(
        lambda v: pytest.fail("no product is needed"),
        3,
        values=np.array([1.0, 2.0, -5.0]),
        vectors=torch.eye(3, dtype=torch.float64),
        generator=torch.Generator().manual_seed(0),
    )
    assert found[:4] == (-2.0, 0.0, 0, True)
    assert len(found.forms) == 0


def test_a_remainder_of_rounding_alone_converges_at_once():
    """The zero matrix, and one of low rank with its whole range known and no trace."""
    zero = trace_estimate(torch.zeros_like, 50, generator=torch.Generator().manual_seed(0))
    assert zero[:4] == (0.0, 0.0, 8, True)
    spectrum = np.r_[2.0, -2.0, np.zeros(SIZE - 2)]
    matrix = rotated(spectrum)
    found = trace_estimate(
        lambda v: matrix @ v,
        SIZE,
        values=spectrum[:2],
        vectors=torch.from_numpy(ROTATION.T[:2].copy()),
        generator=torch.Generator().manual_seed(0),
    )
    assert found.converged
    assert found.num_products == 8
    assert found.value == pytest.approx(0, abs=1e-13)


def test_one_probe_knows_nothing_of_its_error():
    found = estimate("power law", max_products=1)
    assert found.num_products == 1
    assert found.standard_error == np.inf
    assert not found.converged


def test_single_precision_agrees_to_its_rounding():
    matrix = MATRICES["power law"]
    wide = estimate("power law", max_products=40)
    narrow = trace_estimate(
        lambda v: matrix.float() @ v,
        SIZE,
        max_products=40,
        generator=torch.Generator().manual_seed(0),
        dtype=torch.float32,
    )
    assert narrow.value == pytest.approx(wide.value, rel=1e-5)


def test_probes_are_signs_off_the_known_vectors():
    basis = torch.from_numpy(ROTATION.T[:5].copy())
    free = deflated_probe(basis[:0], torch.Generator().manual_seed(3))
    assert (free.abs() == 1).all()
    probe = deflated_probe(basis, torch.Generator().manual_seed(3))
    np.testing.assert_allclose(basis @ probe, 0, atol=1e-13)
    np.testing.assert_allclose(probe, free - basis.T @ (basis @ free), atol=1e-13)


def test_products_are_counted_as_they_are_made():
    matrix, calls, seen = MATRICES["power law"], [], []
    found = trace_estimate(
        lambda v: calls.append(1) or matrix @ v,
        SIZE,
        max_products=20,
        generator=torch.Generator().manual_seed(0),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert len(calls) == found.num_products
    assert seen == [(i, 20) for i in range(1, found.num_products + 1)]


def test_bad_input_is_named():
    generator = torch.Generator()
    with pytest.raises(BadInput, match="max_products = 0"):
        trace_estimate(torch.zeros_like, 5, max_products=0, generator=generator)
    with pytest.raises(BadInput, match="relative_error"):
        trace_estimate(torch.zeros_like, 5, relative_error=0, generator=generator)
    with pytest.raises(BadInput, match=r"2 known values with vectors of shape \(3, 5\)"):
        trace_estimate(
            torch.zeros_like, 5, values=np.ones(2), vectors=torch.eye(5).double()[:3], generator=generator
        )
    with pytest.raises(NotFinite):
        trace_estimate(lambda v: v * torch.nan, 20, generator=generator)
