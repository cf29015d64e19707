"""The spectral density against spectra that were prescribed: moments exactly, distances and shares within errors."""

import numpy as np
import pytest
import torch
from scipy.fft import dct, idct
from scipy.stats import wasserstein_distance

from landscape.errors import BadInput, NotFinite
from landscape.numerics.spectra.density import MAX_PRODUCTS, moment, spectral_density

RNG = np.random.default_rng(0)
OUTLIERS = np.array([40, 25, 18, 12, 9, 7, 6, -5, 5, 4.5])
LARGE = {
    "normal bulk": np.r_[OUTLIERS, 0.3 * RNG.normal(size=1990)],
    "bulk at zero": np.r_[OUTLIERS, 0.2 * RNG.laplace(size=1990)],
    "dead half": np.r_[OUTLIERS, np.zeros(1000), 0.3 * RNG.normal(size=990)],
    "positive": np.r_[OUTLIERS[OUTLIERS > 0], RNG.exponential(0.3, 1991)],
}
SIZE = 300
ROTATION = np.linalg.qr(RNG.normal(size=(SIZE, SIZE)))[0]
SHARES = {
    "semicircle": np.linalg.eigvalsh((lambda a: a + a.T)(RNG.normal(size=(SIZE, SIZE)))),
    "uniform": np.linspace(-0.3, 1, SIZE),
    "two points": np.r_[-np.ones(100), np.ones(200)],
    "normal": RNG.normal(size=SIZE) + 0.5,
}


def rotated(spectrum):
    """v ↦ Hv for a large H of this spectrum, with no entry of its eigenvectors small: a cosine transform of signs."""
    signs = np.random.default_rng(1).choice([-1.0, 1.0], size=len(spectrum))

    def product(v):
        image = spectrum * dct(signs * v.numpy(), norm="ortho")
        return torch.from_numpy(signs * idct(image, norm="ortho"))

    def vectors(indices):
        axes = np.eye(len(spectrum))[indices]
        return torch.from_numpy(signs * idct(axes, norm="ortho"))

    return product, vectors


def dense(spectrum):
    matrix = torch.from_numpy((ROTATION * spectrum) @ ROTATION.T)
    return lambda v: matrix @ v


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def distance_of(found, spectrum):
    nodes = np.r_[found.nodes.ravel(), found.deflated]
    weights = np.r_[
        found.weights.ravel() / len(found.weights), np.full(len(found.deflated), found.deflated_weight)
    ]
    return wasserstein_distance(nodes, spectrum, weights)


@pytest.mark.parametrize("name", LARGE)
def test_ten_known_pairs_and_eighty_products_draw_the_spectrum(name):
    """The Wasserstein distance is below 0.15 of the mean |λ|, with some 30 products for the pairs: 110."""
    spectrum = LARGE[name]
    operator, vectors = rotated(spectrum)
    known = np.argsort(-np.abs(spectrum))[:10]
    for seed in range(3):
        found = spectral_density(
            operator, 2000, values=spectrum[known], vectors=vectors(known), generator=seeded(seed)
        )
        assert found.num_products == 80
        assert distance_of(found, spectrum) < 0.15 * np.abs(spectrum).mean()


def test_the_distance_falls_like_the_steps_down_to_that_of_sampling():
    """Few nodes far apart are all that 10 steps leave wrong; with 80 it is the chance in the probes."""
    spectrum = LARGE["normal bulk"][10:]
    operator, _ = rotated(spectrum)
    distances = [
        distance_of(
            spectral_density(operator, 1990, num_probes=2, num_steps=steps, generator=seeded()), spectrum
        )
        for steps in (10, 20, 40, 80)
    ]
    np.testing.assert_allclose(distances[1] / distances[0], 0.5, atol=0.15)
    np.testing.assert_allclose(distances[2] / distances[1], 0.5, atol=0.15)
    sampling = np.abs(spectrum).mean() * (2 / 1990 / 2) ** 0.5
    assert distances[3] < 3 * sampling


@pytest.mark.parametrize("k", [0, 6])
def test_the_first_moments_of_every_probe_are_exact(k):
    """Σ w θᵖ = zᵀ Hᵖ z for p ≤ 2m − 1, z the normalised probe off the k vectors (Golub and Meurant 2010)."""
    spectrum = SHARES["normal"] / np.abs(SHARES["normal"]).max()
    operator, starts = dense(spectrum), []
    found = spectral_density(
        lambda v: starts.append(v.clone()) or operator(v),
        SIZE,
        values=spectrum[:k],
        vectors=torch.from_numpy(ROTATION.T[:k].copy()),
        num_probes=3,
        num_steps=6,
        generator=seeded(),
    )
    share = (SIZE - k) / SIZE
    for probe, start in enumerate(starts[::6]):
        assert float(start.norm()) == pytest.approx(1, rel=1e-13)
        power = start
        for p in range(12):
            assert share * float(start @ power) == pytest.approx(
                (found.weights[probe] * found.nodes[probe] ** p).sum(), rel=1e-9
            )
            power = operator(power)


def test_weights_add_up_to_one():
    spectrum = LARGE["bulk at zero"]
    operator, vectors = rotated(spectrum)
    found = spectral_density(
        operator, 2000, values=spectrum[:10], vectors=vectors(np.arange(10)), num_probes=2, generator=seeded()
    )
    assert (found.weights >= 0).all()
    np.testing.assert_allclose(found.weights.sum(axis=1) + 10 / 2000, 1, rtol=1e-13)
    assert found.nodes.shape == found.weights.shape == (2, 20)


@pytest.mark.parametrize("name", SHARES)
def test_95_percent_intervals_of_the_mass_below_zero_contain_it_95_times_in_100(name):
    """Where 20 steps resolve the spectrum at zero, so that the chance in the probes is all the error there is."""
    operator, truth, hits = dense(SHARES[name]), float((SHARES[name] < 0).mean()), 0
    for seed in range(100):
        found = spectral_density(operator, SIZE, num_probes=2, generator=seeded(seed))
        hits += abs(found.mass_below_zero - truth) <= 1.96 * found.mass_below_zero_error
    assert 88 <= hits <= 99


@pytest.mark.parametrize("name", SHARES)
def test_drawn_until_the_index_is_known_the_intervals_keep_their_promise(name):
    """The coverage in 50 runs has itself the standard error √(0.95 · 0.05 / 50), of which three are allowed."""
    operator, truth = dense(SHARES[name]), float((SHARES[name] < 0).mean())
    hits, offs = 0, []
    for seed in range(50):
        found = spectral_density(operator, SIZE, num_probes=None, generator=seeded(seed))
        assert found.mass_below_zero_error <= 0.02
        assert found.num_products <= MAX_PRODUCTS
        hits += abs(found.mass_below_zero - truth) <= 1.96 * found.mass_below_zero_error
        offs.append(found.mass_below_zero - truth)
    assert hits / 50 >= 0.95 - 3 * (0.95 * 0.05 / 50) ** 0.5
    # Nor does when it stops depend on which side of the truth the estimate is.
    assert abs(np.mean(offs)) <= 0.25 * 0.02 + 3 * np.std(offs, ddof=1) / 50**0.5


def test_what_was_drawn_until_then_is_what_as_many_probes_give():
    operator = dense(SHARES["two points"])
    found = spectral_density(operator, SIZE, num_probes=None, generator=seeded(3))
    fixed = spectral_density(operator, SIZE, num_probes=len(found.weights), generator=seeded(3))
    np.testing.assert_array_equal(found.nodes, fixed.nodes)
    assert found.below_zero == fixed.below_zero
    # No more than the Beta distribution asks for: 2 p (1 − p) / (n + 2) over 0.02².
    assert len(found.weights) in (4, 5)


def test_steps_taken_further_are_the_steps_of_a_longer_recurrence():
    spectrum = LARGE["bulk at zero"][10:]
    operator, _ = rotated(spectrum)
    found = spectral_density(operator, 1990, num_probes=None, num_steps=10, generator=seeded())
    steps = found.nodes.shape[1]
    assert steps > 10
    assert found.num_products == 2 * steps
    whole = spectral_density(operator, 1990, num_probes=2, num_steps=steps, generator=seeded())
    np.testing.assert_allclose(found.nodes, whole.nodes, rtol=1e-12)
    truth = (spectrum < 0).mean()
    assert abs(found.mass_below_zero - truth) <= 3 * found.mass_below_zero_error <= 3 * 0.02
    # Within the memory of two bases of 20 vectors there are no more steps than these.
    small = spectral_density(
        operator, 1990, num_probes=None, num_steps=10, memory_limit=2 * 20 * 1990 * 8, generator=seeded()
    )
    assert small.nodes.shape[1] <= 20


def test_what_no_budget_resolves_is_not_tried():
    """A thousand zeros have no sign: ±25 % of d is all there is to say, and the first products say it."""
    operator, _ = rotated(LARGE["dead half"])
    found = spectral_density(operator, 2000, num_probes=None, num_steps=40, generator=seeded())
    assert found.num_products == 80
    assert found.below_zero.largest_part == "resolution"
    assert found.mass_below_zero_error == pytest.approx(0.25, abs=0.03)


def test_a_budget_is_an_end():
    operator = dense(SHARES["uniform"])
    found = spectral_density(
        operator, SIZE, num_probes=None, index_error=0.01, max_products=65, generator=seeded()
    )
    count = len(found.weights)
    assert count > 1
    assert 65 * count / (count + 1) < found.num_products <= 65
    assert found.mass_below_zero_error > 0.01


@pytest.mark.parametrize("k", [0, 40])
def test_an_error_of_the_products_leaves_open_what_lies_within_it(k):
    """Weyl: products off by ε move no eigenvalue farther. Of 300 at equal distances in [−1, 1] a share ε is near."""
    spectrum = np.linspace(-1, 1, SIZE)
    near = np.argsort(np.abs(spectrum))[:k]
    known = {"values": spectrum[near], "vectors": torch.from_numpy(ROTATION.T[near].copy())}
    options = {"num_probes": 40, "num_steps": 60, "band": 0.5, **known}
    sound = spectral_density(dense(spectrum), SIZE, generator=seeded(), **options)
    assert sound.below_zero.products == sound.near_zero.products == 0
    for error in (0.05, 0.2):
        found = spectral_density(
            dense(spectrum), SIZE, product_error=lambda e=error: e, generator=seeded(), **options
        )
        assert found.below_zero.value == sound.below_zero.value
        assert found.below_zero.products == pytest.approx(error / 2, rel=0.1)
        assert found.near_zero.products == pytest.approx(error, rel=0.1)
        assert found.mass_below_zero_error == pytest.approx(
            np.hypot(sound.mass_below_zero_error, found.below_zero.products), rel=1e-12
        )
        # The worst that such an error can do.
        moved = spectral_density(
            dense(spectrum + error), SIZE, generator=seeded(), num_probes=40, num_steps=60
        )
        drawn = 3 * moved.mass_below_zero_error
        assert abs(moved.mass_below_zero - 0.5) <= 1.1 * found.below_zero.products + drawn


@pytest.mark.parametrize("power", [1, 2])
def test_95_percent_intervals_of_the_moments_contain_them_95_times_in_100(power):
    operator, truth, hits = dense(SHARES["normal"]), float((SHARES["normal"] ** power).mean()), 0
    for seed in range(100):
        found = spectral_density(operator, SIZE, num_steps=2, generator=seeded(seed))
        value, error = moment(found, power)
        hits += abs(value - truth) <= 1.96 * error
    assert 88 <= hits <= 99


@pytest.mark.parametrize("name", LARGE)
def test_shares_lie_within_what_is_stated_for_every_kind_of_bulk(name):
    """Crowds at zero whose sign the steps cannot resolve give a large error, not a wrong share."""
    spectrum = LARGE[name]
    operator, vectors = rotated(spectrum)
    known = np.arange(9)
    for seed in range(5):
        found = spectral_density(
            operator, 2000, values=spectrum[known], vectors=vectors(known), band=0.1, generator=seeded(seed)
        )
        below, near = (spectrum < 0).mean(), (np.abs(spectrum) <= 0.1).mean()
        assert abs(found.mass_below_zero - below) <= 3 * found.mass_below_zero_error
        assert abs(found.mass_near_zero - near) <= 3 * found.mass_near_zero_error
        assert found.mass_near_zero_error < 0.5


def test_a_resolved_gap_leaves_no_doubt():
    """Half the eigenvalues zero, the others beyond ±0.5: the mass near zero has the error of sampling alone."""
    spectrum = np.r_[np.zeros(150), np.linspace(0.5, 1, 90), -np.linspace(0.5, 1, 60)]
    found = spectral_density(dense(spectrum), SIZE, generator=seeded(), num_steps=40, band=0.1)
    sampling = (2 * 0.5 * 0.5 / 302 / 4) ** 0.5
    assert found.mass_near_zero_error == pytest.approx(sampling, rel=0.1)
    assert found.mass_near_zero == pytest.approx(0.5, abs=3 * sampling)
    # Whether the zeros themselves are below zero, no number of products can say.
    assert found.mass_below_zero == pytest.approx(0.2, abs=3 * sampling)


def test_a_definite_matrix_has_nothing_below_zero():
    spectrum = np.linspace(1, 2, SIZE)
    found = spectral_density(dense(spectrum), SIZE, generator=seeded())
    assert found.mass_below_zero == pytest.approx(0, abs=1e-9)
    assert found.mass_near_zero == pytest.approx(0, abs=1e-9)
    assert found.mass_below_zero_error < 1e-9
    found = spectral_density(dense(-spectrum), SIZE, generator=seeded())
    assert found.mass_below_zero == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("spectrum", "num_nodes"),
    [(np.repeat([2.0, -1.0, 0.0], 20), 3), (np.full(60, 3.0), 1), (np.zeros(60), 1)],
    ids=["three values", "identity", "zero"],
)
def test_a_space_that_closes_gives_fewer_nodes(spectrum, num_nodes):
    operator, _ = rotated(spectrum)
    found = spectral_density(operator, 60, num_steps=10, generator=seeded())
    assert found.num_products == 4 * num_nodes
    assert (found.weights[:, num_nodes:] == 0).all()
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, rtol=1e-13)
    for nodes in found.nodes:
        np.testing.assert_allclose(np.unique(nodes.round(9)), np.unique(spectrum), atol=1e-9)


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_as_many_steps_as_dimensions_give_the_eigenvalues(dimension):
    spectrum = np.arange(dimension) - 0.5
    operator, vectors = rotated(spectrum)
    found = spectral_density(operator, dimension, generator=seeded())
    assert found.nodes.shape == (4, dimension)
    assert set(found.nodes.round(10).ravel()) <= set(spectrum)
    known = spectral_density(
        operator, dimension, values=spectrum, vectors=vectors(np.arange(dimension)), generator=seeded()
    )
    assert known.num_products == 0
    assert (known.weights == 0).all()
    assert known.mass_below_zero == 1 / dimension
    assert known.mass_below_zero_error == 0
    assert moment(known, 1) == (pytest.approx(spectrum.mean()), 0.0)


def test_one_probe_has_no_error_bar():
    operator, _ = rotated(LARGE["normal bulk"])
    alone = spectral_density(operator, 2000, num_probes=1, generator=seeded())
    assert moment(alone, 1)[1] == np.inf


def test_single_precision_agrees_to_its_rounding():
    spectrum = SHARES["uniform"]
    matrix = torch.from_numpy((ROTATION * spectrum) @ ROTATION.T).float()
    wide = spectral_density(dense(spectrum), SIZE, generator=seeded())
    narrow = spectral_density(lambda v: matrix @ v, SIZE, generator=seeded(), dtype=torch.float32)
    np.testing.assert_allclose(narrow.nodes, wide.nodes, atol=1e-4)
    assert narrow.mass_below_zero == pytest.approx(wide.mass_below_zero, abs=1e-3)


def test_products_are_counted_as_they_are_made():
    operator, calls, seen = dense(SHARES["uniform"]), [], []
    found = spectral_density(
        lambda v: calls.append(1) or operator(v),
        SIZE,
        num_probes=2,
        num_steps=5,
        generator=seeded(),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert len(calls) == found.num_products == 10
    assert seen == [(i, 10) for i in range(1, 11)]


def test_bad_input_is_named():
    with pytest.raises(BadInput, match="0 probes"):
        spectral_density(torch.zeros_like, 5, num_probes=0, generator=seeded())
    with pytest.raises(BadInput, match="band -1"):
        spectral_density(torch.zeros_like, 5, band=-1, generator=seeded())
    with pytest.raises(NotFinite, match="product 1 of a probe"):
        spectral_density(lambda v: v * torch.nan, 5, generator=seeded())
