"""Exact spectra and the counts of their signs, against prescribed spectra, closed forms and autograd's own Hessian."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from landscape.errors import BadInput
from landscape.numerics.spectra.inertia import (
    Dense,
    dense_matrix,
    dense_rows,
    exact_spectrum,
    inertia,
    memory_needed,
    require_memory,
    stated_error,
    symmetrised,
    verdict,
)


def hessian_operator(function, theta):
    """v ↦ Hv at θ by differentiating ∇F · v, and ‖∇F‖."""
    leaf = theta.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(leaf), leaf, create_graph=True)
    return (
        lambda v: torch.autograd.grad(slope, leaf, v, retain_graph=True)[0],
        float(slope.detach().norm()),
    )


def point_of(function, theta):
    """The values, the counts and the words for a stationary point or another."""
    theta = torch.as_tensor(theta, dtype=torch.float64)
    operator, gradient_norm = hessian_operator(function, theta)
    dense = dense_matrix(operator, len(theta))
    values = exact_spectrum(dense.matrix).values
    counts = inertia(values, stated_error(dense, values))
    return values, counts, verdict(counts, gradient_norm, tolerance=1e-9)


@pytest.mark.parametrize(
    "spectrum",
    [
        np.r_[3.0, 2, 1],
        np.r_[-np.arange(1.0, 6), np.zeros(7), np.arange(1.0, 9)],
        np.r_[np.full(5, -2.0), np.full(5, 2.0), 1e-3, -1e-3],
        np.array([0.0]),
        np.array([-4.0]),
        np.linspace(-1, 1, 120) * 1e6,
    ],
    ids=["definite", "all three signs", "pairs", "one zero", "one", "many"],
)
def test_prescribed_spectra_are_found_and_counted(spectrum):
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(len(spectrum),) * 2))[0]
    matrix = torch.from_numpy((rotation * spectrum) @ rotation.T)
    dense = dense_matrix(lambda v: matrix @ v, len(spectrum))
    found = exact_spectrum(dense.matrix, with_vectors=True)
    scale = np.abs(spectrum).max() + 1e-300
    error = stated_error(dense, found.values)
    assert error <= 1e-12 * scale + 1e-300
    # What is stated holds: no eigenvalue is further from the truth.
    np.testing.assert_allclose(found.values, np.sort(spectrum), atol=error)
    np.testing.assert_allclose(
        found.vectors @ dense.matrix, found.values[:, None] * found.vectors.numpy(), atol=1e-12 * scale
    )
    np.testing.assert_array_equal(exact_spectrum(dense.matrix).vectors is None, True)
    counts = inertia(found.values, error)
    assert counts[:3] == ((spectrum < 0).sum(), (spectrum == 0).sum(), (spectrum > 0).sum())
    assert sum(counts[:3]) == len(spectrum)


def test_single_precision_products_state_their_error():
    """Noise of products in float32 shows as asymmetry, and what is zero is counted as zero all the same."""
    spectrum = np.r_[-np.arange(1.0, 11), np.zeros(100), np.arange(1.0, 41)]
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(150, 150)))[0]
    exact = torch.from_numpy((rotation * spectrum) @ rotation.T)
    noise = 1e-6 * torch.randn(150, 150, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix = (exact + noise).float()
    dense = dense_matrix(lambda v: matrix @ v.float(), 150)
    assert dense.matrix.dtype == torch.float64
    assert dense.asymmetry == pytest.approx(float((matrix - matrix.T).abs().max()), rel=1e-6)
    antisymmetric = torch.linalg.matrix_norm((matrix - matrix.T).double() / 2, ord=2)
    assert dense.rounding == pytest.approx(float(antisymmetric), rel=0.1)
    values = exact_spectrum(dense.matrix).values
    error = stated_error(dense, values)
    assert np.abs(values - np.sort(spectrum)).max() <= error <= 1e-4
    counts = inertia(values, error)
    assert counts[:3] == (10, 100, 40)
    by_sign = inertia(values, 0.0)
    assert by_sign.num_zero == 0
    assert by_sign.num_negative > 30
    assert stated_error(dense, values, product_error=0.5) == pytest.approx(error + 0.5)


def test_counts_at_a_tenth_and_at_ten_times_show_what_hangs_on_the_threshold():
    values = np.array([-1.0, -5e-6, -5e-7, -5e-8, 0, 2e-7, 3, 4])
    counts = inertia(values, 1e-6)
    assert counts[:4] == (2, 4, 2, 1e-6)
    assert counts.just_below == (3, 2, 3)
    assert counts.just_above == (1, 5, 2)
    assert not counts.is_robust
    assert "1 and 3 negative" in verdict(counts, 0.0, tolerance=1e-8)
    robust = inertia(np.array([-1.0, 0, 3]), 1e-6)
    assert robust.is_robust
    assert robust.just_below == robust.just_above == robust[:3]


def test_the_smallest_linear_network_has_a_flat_minimum_and_a_saddle():
    """F = (1 − v w)²: eigenvalues 0 and 4 at (1, 1), ±2 at the origin (Baldi and Hornik 1989)."""

    def surface(theta):
        return (1 - theta[0] * theta[1]) ** 2

    values, counts, words = point_of(surface, [1, 1])
    np.testing.assert_allclose(values, [0, 4], atol=1e-14)
    assert counts[:3] == (0, 1, 1)
    assert words == "degenerate: 1 flat direction, no negative eigenvalue"
    values, counts, words = point_of(surface, [0, 0])
    np.testing.assert_allclose(values, [-2, 2], atol=1e-14)
    assert counts[:3] == (1, 0, 1)
    assert words == "saddle of index 1"
    assert point_of(surface, [1, 2])[2] == "not stationary: ‖∇F‖ = 4.47"


def test_the_chain_has_no_curvature_at_the_origin():
    values, counts, words = point_of(lambda t: (t.prod() - 1) ** 2, [0, 0, 0])
    assert (values == 0).all()
    assert counts == (0, 3, 0, 0.0, (0, 3, 0), (0, 3, 0))
    assert words == "degenerate: 3 flat directions, the Hessian is zero"


def linear_network(theta, sigma, rank):
    """½ ‖W₂ W₁ − diag σ‖², θ = (W₁ (p, n), W₂ (n, p)): a linear net on whitened data."""
    n = len(sigma)
    first, second = theta[: rank * n].reshape(rank, n), theta[rank * n :].reshape(n, rank)
    return 0.5 * ((second @ first - torch.diag(sigma)) ** 2).sum()


SIGMA = torch.tensor([4.0, 2.5, 1.5, 0.5], dtype=torch.float64)


@pytest.mark.parametrize("chosen", list(itertools.combinations(range(4), 2)))
def test_stationary_points_of_linear_networks_have_baldi_and_horniks_index(chosen):
    """The net that keeps the singular directions I: for each pair i ∈ I, j ∉ I the eigenvalues σᵢ ± σⱼ,
    for each i, k ∈ I one σᵢ + σₖ and one 0. So the index is the number of pairs with σⱼ > σᵢ."""
    kept, left = SIGMA[list(chosen)], np.delete(SIGMA.numpy(), chosen)
    first = torch.zeros(2, 4, dtype=torch.float64)
    first[range(2), chosen] = kept.sqrt()
    values, counts, words = point_of(
        lambda theta: linear_network(theta, SIGMA, 2), torch.cat([first.ravel(), first.T.ravel()])
    )
    kept = kept.numpy()
    expected = np.r_[
        (kept[:, None] - left).ravel(),
        (kept[:, None] + left).ravel(),
        (kept[:, None] + kept).ravel(),
        [0] * 4,
    ]
    np.testing.assert_allclose(values, np.sort(expected), atol=1e-13)
    index = sum(int(j > i) for i in kept for j in left)
    assert counts[:3] == (index, 4, 16 - 4 - index)
    assert counts.is_robust
    if index:
        assert words == f"saddle of index {index}, degenerate: 4 flat directions"
    else:
        assert words == "degenerate: 4 flat directions, no negative eigenvalue"


def test_the_origin_of_a_linear_network_is_a_saddle_of_half_the_dimensions():
    values, counts, words = point_of(lambda theta: linear_network(theta, SIGMA, 2), torch.zeros(16))
    np.testing.assert_allclose(values, np.sort(np.r_[SIGMA, SIGMA, -SIGMA, -SIGMA]), atol=1e-14)
    assert counts[:3] == (8, 0, 8)
    assert words == "saddle of index 8"


def test_the_dense_matrix_is_autograds_own():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(20, 2, generator=generator, dtype=torch.float64)
    shapes = [(4, 3), (4,), (2, 4), (2,)]
    sizes = [int(np.prod(shape)) for shape in shapes]

    def loss(theta):
        first, first_bias, second, second_bias = (
            part.reshape(shape) for part, shape in zip(theta.split(sizes), shapes, strict=True)
        )
        hidden = torch.tanh(nn.functional.linear(x, first, first_bias))
        return ((nn.functional.linear(hidden, second, second_bias) - y) ** 2).mean()

    theta = torch.randn(sum(sizes), generator=generator, dtype=torch.float64)
    expected = torch.autograd.functional.hessian(loss, theta)
    operator, gradient_norm = hessian_operator(loss, theta)
    seen = []
    dense = dense_matrix(operator, len(theta), progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_allclose(dense.matrix, expected, atol=1e-14)
    assert dense.asymmetry < 1e-14
    assert seen == [(i, 26) for i in range(1, 27)]
    np.testing.assert_allclose(dense_rows(operator, 26, 7, 11), expected[7:11], atol=1e-14)
    np.testing.assert_allclose(
        exact_spectrum(dense.matrix).values, np.linalg.eigvalsh(expected.numpy()), atol=1e-13
    )
    counts = inertia(exact_spectrum(dense.matrix).values, 1e-12)
    assert verdict(counts, gradient_norm, tolerance=1e-6).startswith("not stationary: ‖∇F‖ = ")


@pytest.mark.parametrize("size", [1, 5, 255, 256, 257, 600])
def test_the_symmetric_part_is_taken_block_by_block(size):
    matrix = torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(size))
    expected, skew = (matrix + matrix.T) / 2, (matrix - matrix.T) / 2
    dense = symmetrised(matrix.clone())
    assert torch.equal(dense.matrix, dense.matrix.T)
    np.testing.assert_allclose(dense.matrix, expected, atol=1e-15)
    assert dense.asymmetry == float((2 * skew).abs().max())
    norm = float(torch.linalg.matrix_norm(skew, ord=2))
    assert 0.85 * norm <= dense.rounding <= norm * (1 + 1e-12)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1, 2], "local minimum"),
        ([-1, -2], "local maximum"),
        ([-1, -3, 2], "saddle of index 2"),
        ([-1, 0, 2], "saddle of index 1, degenerate: 1 flat direction"),
        ([-1, 0, 0], "degenerate: 2 flat directions, no positive eigenvalue"),
        ([0], "degenerate: 1 flat direction, the Hessian is zero"),
    ],
)
def test_every_kind_of_point_has_its_words(values, words):
    counts = inertia(np.array(values, dtype=float), 1e-8)
    assert verdict(counts, 1e-7, tolerance=1e-6) == words
    assert verdict(counts, 1e-4, tolerance=1e-6, scale=1000) == words
    assert verdict(counts, 1e-4, tolerance=1e-6) == "not stationary: ‖∇F‖ = 0.0001"
    assert verdict(counts, np.nan, tolerance=1e-6) == "not stationary: ‖∇F‖ = nan"


def test_too_large_a_matrix_is_refused_before_the_first_product():
    assert memory_needed(1000) == 16_000_000
    assert memory_needed(1000, with_vectors=True) > 2 * memory_needed(1000)
    require_memory(1000, 16_000_000)
    with pytest.raises(
        BadInput, match=r"d = 40000 parameters needs 23.8 GiB; expected at most 1 GiB, d = 8192"
    ):
        dense_matrix(lambda v: pytest.fail("refused"), 40000, memory_limit=2**30)


@pytest.mark.parametrize("error", [-1.0, np.nan, np.inf])
def test_an_error_must_be_a_number(error):
    with pytest.raises(BadInput, match="error"):
        inertia(np.zeros(3), error)


def test_no_eigenvalues_have_no_error():
    assert stated_error(Dense(torch.zeros(0, 0), 0.0, 0.0), np.zeros(0)) == 0


def test_what_products_are_known_to_be_off_by_is_stated():
    """A symmetric error, which no asymmetry shows."""
    spectrum = np.r_[np.zeros(20), np.linspace(1, 3, 40)]
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(60, 60)))[0]
    matrix = torch.from_numpy((rotation * spectrum) @ rotation.T)
    noise = 1e-7 * torch.randn(60, 60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise, last = noise + noise.T, 0.0

    def product(v):
        nonlocal last
        last = float((noise @ v).norm())
        return matrix @ v + noise @ v

    dense = dense_matrix(product, 60, product_error=lambda: last)
    values = exact_spectrum(dense.matrix).values
    off = np.abs(values - spectrum).max()
    assert dense.product_error == pytest.approx(float(noise.norm()), rel=1e-9)
    assert stated_error(dense._replace(product_error=0.0), values) < off <= stated_error(dense, values)
    assert inertia(values, stated_error(dense, values)).num_zero == 20
