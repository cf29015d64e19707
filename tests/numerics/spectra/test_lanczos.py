"""Lanczos on matrices with prescribed spectra, against them and against LAPACK."""

import numpy as np
import pytest
import torch

from landscape.errors import BadInput
from landscape.numerics.spectra.krylov import End, Krylov
from landscape.numerics.spectra.lanczos import top_eigenpairs

RNG = np.random.default_rng(0)
BULK = RNG.uniform(-1, 1, 150)
SPECTRA = {
    "outliers over a bulk": np.r_[0.1 * BULK, np.arange(1, 11)],
    "equally spaced": np.linspace(0, 1, 120),
    "indefinite": RNG.normal(size=100),
    "negative": -RNG.uniform(1, 2, 80),
    "double": np.r_[10, 10, BULK],
    "tenfold": np.repeat(RNG.uniform(0, 1, 12), 10),
    "cluster": np.r_[10 - 1e-6 * np.arange(3), BULK],
    "tight cluster": np.r_[10 - 1e-10 * np.arange(4), BULK],
    "both signs as large": np.r_[5, -5, 4, -4, BULK],
    "low rank": np.r_[3, 2, 1, np.zeros(100)],
    "rank one": np.r_[7, np.zeros(50)],
    "zero": np.zeros(40),
    "identity": np.ones(40),
    "one number": np.array([3.0]),
    "two numbers": np.array([-1.0, 3.0]),
}
MERIT = {"largest": lambda values: values, "smallest": lambda values: -values, "magnitude": np.abs}


def symmetric(spectrum, dtype=torch.float64):
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(len(spectrum),) * 2))
    matrix = (q * spectrum) @ q.T
    return torch.from_numpy((matrix + matrix.T) / 2).to(dtype)


def pairs_of(matrix, k, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    options.setdefault("max_products", 2000)
    return top_eigenpairs(
        lambda v: matrix @ v, len(matrix), k, generator=generator, dtype=matrix.dtype, **options
    )


def best(values, k, which):
    return values[np.argsort(-MERIT[which](values), kind="stable")][:k]


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("which", MERIT)
def test_prescribed_spectra_are_found_with_their_multiplicities(name, which):
    matrix, k = symmetric(SPECTRA[name]), 6
    found = pairs_of(matrix, k, which=which)
    expected = best(np.linalg.eigvalsh(matrix.numpy()), k, which)
    scale = max(np.abs(SPECTRA[name]).max(), 1e-300)
    assert found.converged.all()
    assert found.is_searched
    # The error of a value is at most the square of its residual over its gap, and at most the residual.
    merits = MERIT[which](found.values) - MERIT[which](expected)
    np.testing.assert_allclose(merits, 0, atol=1e-6 * scale)
    np.testing.assert_array_less(found.errors, 1e-6 * scale + 1e-300)
    assert found.orthogonality < 1e-12


@pytest.mark.parametrize("name", ["outliers over a bulk", "tenfold", "low rank", "indefinite"])
def test_residuals_are_those_of_the_vectors_and_bound_the_error(name):
    matrix = symmetric(SPECTRA[name])
    found = pairs_of(matrix, 5, tol=1e-3)
    for value, vector, residual in zip(found.values, found.vectors, found.residuals, strict=True):
        image = matrix @ vector
        assert float(vector.norm()) == pytest.approx(1, rel=1e-14)
        assert float(vector @ image) == pytest.approx(value, rel=1e-12)
        assert float((image - value * vector).norm()) == pytest.approx(residual, abs=1e-13)
        distance = np.abs(SPECTRA[name] - value).min()
        assert distance <= residual + 1e-13
    # The last step turns vectors of one eigenspace into each other, which keeps the norm of all residuals.
    np.testing.assert_allclose(np.linalg.norm(found.estimated), np.linalg.norm(found.residuals), atol=1e-9)


def test_values_are_second_order_in_the_residuals():
    """For separated eigenvalues the error is below residual²/gap (Parlett 1998, theorem 11.7.1)."""
    spectrum = np.r_[np.arange(1.0, 11), 0.1 * BULK]
    found = pairs_of(symmetric(spectrum), 5, tol=1e-3)
    errors = np.abs(found.values - np.arange(10, 5, -1))
    assert (errors <= found.residuals**2 / 0.9 + 1e-13).all()


def test_full_reorthogonalisation_lets_no_ghosts_in():
    """Plain Lanczos would find the one outlier again and again."""
    spectrum = np.r_[1e4, BULK]
    found = pairs_of(symmetric(spectrum), 20)
    np.testing.assert_allclose(found.values, np.sort(spectrum)[::-1][:20], atol=1e-2)
    assert (found.values > 2).sum() == 1


def test_every_copy_is_counted_whatever_the_seed():
    spectrum = np.repeat(RNG.uniform(0, 1, 15), 4)
    expected = np.sort(spectrum)[::-1][:7]
    for seed in range(10):
        found = pairs_of(symmetric(spectrum), 7, seed=seed)
        np.testing.assert_allclose(found.values, expected, atol=1e-9)


@pytest.mark.parametrize("k", [4, 5, 100])
def test_more_than_there_are_gives_all(k):
    spectrum = np.array([4.0, 1.0, -2.0, 0.5])
    found = pairs_of(symmetric(spectrum), k)
    np.testing.assert_allclose(found.values, np.sort(spectrum)[::-1], atol=1e-14)
    assert found.converged.all()


def test_too_few_products_are_said_and_bounded():
    matrix = symmetric(SPECTRA["indefinite"])
    found = pairs_of(matrix, 5, max_products=8)
    assert found.num_products == 8 + 5
    assert not found.converged.all()
    assert not found.is_searched
    for value, residual in zip(found.values, found.residuals, strict=True):
        assert np.abs(SPECTRA["indefinite"] - value).min() <= residual + 1e-13


def test_products_are_counted_as_they_are_made():
    matrix, calls, seen = symmetric(SPECTRA["outliers over a bulk"]), [], []
    found = top_eigenpairs(
        lambda v: calls.append(1) or matrix @ v,
        len(matrix),
        4,
        generator=torch.Generator().manual_seed(0),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert len(calls) == found.num_products
    assert [done for done, _ in seen] == list(range(1, found.num_products - 4 + 1))
    assert {total for _, total in seen} == {300}


@pytest.mark.parametrize("name", SPECTRA)
def test_single_precision_converges_to_its_own_tolerance(name):
    matrix = symmetric(SPECTRA[name], torch.float32)
    found = pairs_of(matrix, 6)
    scale = np.abs(SPECTRA[name]).max()
    assert found.converged.all()
    expected = np.sort(np.linalg.eigvalsh(matrix.double().numpy()))[::-1][:6]
    np.testing.assert_allclose(found.values, expected, atol=1e-5 * scale)
    assert found.orthogonality < 1e-5


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("k", [1, 2])
def test_a_single_one_is_not_settled_by_the_first_step(name, k):
    """One Ritz value alone has no gap to trust."""
    for seed in range(5):
        found = pairs_of(symmetric(SPECTRA[name]), k, seed=seed, search=False)
        scale = max(np.abs(SPECTRA[name]).max(), 1e-300)
        assert found.values[0] == pytest.approx(SPECTRA[name].max(), abs=1e-5 * scale)


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("room", [20, 60])
def test_both_ends_come_from_one_basis_whatever_its_room(name, room):
    """With little memory the basis restarts from its best vectors, and the answer is the same."""
    spectrum = np.sort(SPECTRA[name])
    matrix = symmetric(spectrum)
    found = pairs_of(matrix, 4, bottom=3, memory_limit=room * 8 * len(spectrum), max_products=20000)
    top = spectrum[::-1][:4]
    bottom = spectrum[: max(0, min(3, len(spectrum) - 4))]
    assert found.converged.all()
    scale = max(np.abs(spectrum).max(), 1e-300)
    np.testing.assert_allclose(found.values, np.r_[top, bottom], atol=1e-6 * scale)


def test_a_restart_is_counted_and_costs_products():
    matrix = symmetric(np.linspace(0, 1, 120) ** 2)
    free, tight = (pairs_of(matrix, 3, memory_limit=room * 8 * 120) for room in (120, 12))
    assert free.num_restarts == 0 < tight.num_restarts
    assert free.num_products < tight.num_products
    np.testing.assert_allclose(free.values, tight.values, atol=1e-6)


def test_too_little_memory_is_said():
    with pytest.raises(BadInput, match=r"a memory limit of 2e\+03 bytes.*room for 8 vectors"):
        pairs_of(symmetric(SPECTRA["indefinite"]), 5, memory_limit=2000)


def test_the_certificate_takes_the_rounding_of_the_products_away():
    """Vectors with an error of single precision give values with its square (Parlett 1998, section 11.5)."""
    wide = symmetric(SPECTRA["outliers over a bulk"])
    single = wide.float()
    bare = pairs_of(single, 6)
    certified = pairs_of(single, 6, certificate=lambda v: wide @ v)
    exact = np.arange(10.0, 4, -1)
    assert np.abs(bare.values - exact).max() > 1e-8
    np.testing.assert_allclose(certified.values, exact, atol=1e-11)
    assert certified.vectors.dtype == torch.float64
    for value, vector, residual in zip(certified.values, certified.vectors, certified.residuals, strict=True):
        assert float((wide @ vector - value * vector).norm()) == pytest.approx(residual, rel=1e-6)
        assert np.abs(SPECTRA["outliers over a bulk"] - value).min() <= residual


def interrupted_at(matrix, call):
    """The operator of a matrix that is interrupted at one of its products."""
    calls = []

    def operator(v):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return matrix @ v

    return operator


@pytest.mark.parametrize(("call", "partial"), [(1, False), (12, False), (1, True)])
def test_an_interruption_stays_one_without_partial_or_before_the_first_product(call, partial):
    matrix, generator = symmetric(SPECTRA["indefinite"]), torch.Generator().manual_seed(0)
    with pytest.raises(KeyboardInterrupt):
        top_eigenpairs(interrupted_at(matrix, call), len(matrix), 5, partial=partial, generator=generator)


def test_an_interruption_gives_the_values_so_far():
    matrix = symmetric(SPECTRA["indefinite"])
    operator = interrupted_at(matrix, 12)
    found = top_eigenpairs(operator, len(matrix), 5, partial=True, generator=torch.Generator().manual_seed(0))
    assert found.is_interrupted
    assert len(found.values) == 5
    for value, residual in zip(found.values, found.residuals, strict=True):
        assert np.abs(SPECTRA["indefinite"] - value).min() <= residual + 1e-13


def test_without_a_search_only_the_first_space_is_paid_for():
    matrix = symmetric(SPECTRA["outliers over a bulk"])
    with_search, without = pairs_of(matrix, 6), pairs_of(matrix, 6, search=False)
    assert without.num_products < with_search.num_products
    assert not without.is_searched
    np.testing.assert_allclose(without.values, with_search.values, atol=1e-9)


def test_one_seed_gives_one_answer():
    matrix = symmetric(SPECTRA["indefinite"])
    one, two = pairs_of(matrix, 4, seed=3), pairs_of(matrix, 4, seed=3)
    assert torch.equal(one.vectors, two.vectors)
    assert (one.values == two.values).all()


@pytest.mark.parametrize("seed", [5, 7])
def test_a_copy_is_not_missed_where_the_search_starts_slowly(seed):
    """Tenfold eigenvalues: after four steps in their complement the best Ritz value still looks too small."""
    spectrum = np.repeat(np.random.default_rng(seed).uniform(0, 1, 40), 10)
    found = pairs_of(symmetric(spectrum), 15, seed=1)
    np.testing.assert_allclose(found.values, np.sort(spectrum)[::-1][:15], atol=1e-9)


def test_what_products_are_known_to_be_off_by_is_in_the_bounds():
    """Products of another symmetric matrix, whose distance they state: no residual of theirs shows it."""
    matrix, spectrum = (
        symmetric(SPECTRA["outliers over a bulk"]),
        np.sort(SPECTRA["outliers over a bulk"])[::-1],
    )
    noise = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    other, last = matrix + 1e-5 * (noise + noise.T), 0.0

    def product(v):
        nonlocal last
        last = float(((other - matrix) @ v).norm())
        return other @ v

    plain = pairs_of(other, 5)
    generator = torch.Generator().manual_seed(0)
    stated = top_eigenpairs(
        product, len(matrix), 5, generator=generator, max_products=2000, product_error=lambda: last
    )
    np.testing.assert_array_equal(plain.values, stated.values)
    off = np.abs(plain.values - spectrum[:5])
    assert (off > plain.errors).any()
    assert (off <= stated.errors).all()
    assert (stated.errors <= stated.residuals).all()
    assert stated.errors.max() <= 1e-2


@pytest.mark.parametrize("name", SPECTRA)
def test_pairs_tried_together_are_within_their_errors(name):
    """In float32, with one product in float64 for all of them; where that leaves no room, with one of each."""
    wide = symmetric(SPECTRA[name])
    exact = np.sort(np.linalg.eigvalsh(wide.numpy()))[::-1][:6]
    for seed in range(3):
        found = pairs_of(
            wide.float(),
            6,
            seed=seed,
            certificate=lambda v: wide @ v.double(),
            trial=lambda v: wide @ v.double(),
        )
        assert found.is_searched
        assert (np.abs(found.values - exact) <= found.errors + 1e-14).all()
        assert (found.errors <= found.residuals).all()
        assert found.errors.max() <= 1e-6 * np.abs(SPECTRA[name]).max()


def test_what_operators_give_is_left_as_it_is():
    """They may keep it, to go on from there."""
    wide, given = symmetric(SPECTRA["indefinite"]), []

    def product(matrix):
        def image(v):
            given.append((one := matrix @ v.to(matrix.dtype), one.clone()))
            return one

        return image

    for trial in (None, product(wide)):
        top_eigenpairs(
            product(wide.float()),
            len(wide),
            4,
            generator=torch.Generator().manual_seed(0),
            dtype=torch.float32,
            certificate=product(wide),
            trial=trial,
        )
    assert len(given) > 20
    assert all(torch.equal(*one) for one in given)


def off_by(matrix, error):
    """Pairs of ``matrix`` + ``error`` that a product of ``matrix`` tries, one seed after another."""
    for seed in range(20):
        yield pairs_of(matrix + error, 5, seed=seed, tol=1e-3, trial=lambda v: matrix @ v)


def test_a_trial_bounds_what_keeps_the_pairs_apart_and_mostly_what_does_not():
    spectrum = np.sort(SPECTRA["outliers over a bulk"])[::-1]
    matrix, top = symmetric(SPECTRA["outliers over a bulk"]), spectrum[:5]
    _, vectors = torch.linalg.eigh(matrix)
    sizes = torch.randn(len(matrix), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    own = 1e-5 * (vectors * sizes) @ vectors.T
    for found in off_by(matrix, (own + own.T) / 2):
        assert found.trial.rounding > 1e-6
        assert (np.abs(found.values - top) <= found.errors).all()
        assert (found.errors < 1e-3 * 10).all()
    noise = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    held = [np.abs(found.values - top) <= found.errors for found in off_by(matrix, 1e-6 * (noise + noise.T))]
    # At least one half of a value's signs, whatever the error is; of such a one nearly all.
    assert np.mean(held) > 0.95


@pytest.mark.parametrize("part", [1e-3, 1e-6, 1e-9])
def test_what_a_start_may_see_of_a_hidden_eigenvector_is_no_less_than_it_sees(part):
    """The largest eigenvalue, of which the start has a small part, before the space shows it."""
    spectrum = np.r_[10.0, BULK]
    _, vectors = torch.linalg.eigh(symmetric(spectrum))
    hidden, matrix = vectors[:, -1], symmetric(spectrum)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(len(matrix), generator=generator, dtype=torch.float64)
    start = start - (start @ hidden) * hidden
    start = start / start.norm() + part * hidden
    space = Krylov(lambda v: matrix @ v, matrix[:0], 100, generator)
    space._ends = [End(start / start.norm(), np.empty(0))]
    bounds = []
    while not len(bounds) or space.ritz()[0][-1] < 2:
        bounds.append(np.inf if not space.size else space.seen(np.array([10.0])))
        space.extend()
    assert min(bounds[:-1]) >= 0.999 * part
    assert bounds[-2] < 1e4 * part


def test_the_first_images_of_an_operator_that_is_not_symmetric_show_it():
    matrix = symmetric(SPECTRA["indefinite"])
    skew = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for other, low, high in ((matrix, 0, 1e-13), (matrix + 1e-3 * (skew - skew.T), 1e-5, 1)):
        space = Krylov(lambda v, a=other: a @ v, matrix[:0], 20, torch.Generator().manual_seed(1))
        for _ in range(10):
            space.extend()
        assert low <= space.asymmetry < high


@pytest.mark.parametrize("seed", range(4))
def test_copies_of_the_worst_that_are_left_over_are_no_neighbours(seed):
    """Seven of two eigenvalues with five copies each: more of the second are found than asked for."""
    matrix = symmetric(np.r_[np.repeat([3.0, 2.0], 5), BULK])
    found = pairs_of(matrix, 7, seed=seed, trial=lambda v: matrix @ v)
    np.testing.assert_allclose(found.values, [3] * 5 + [2] * 2, atol=3e-6)
    assert found.converged.all()
