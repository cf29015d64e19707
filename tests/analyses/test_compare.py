"""Points side by side: closed forms on quadratics, what a rescaling leaves, ranks, checks, notes, refusals."""

import copy
import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from torch import nn
from torch.nn.utils import vector_to_parameters

import landscape
from landscape import BadInput, Objective
from landscape.analyses.compare import Compare
from landscape.numerics.agreement import ranked
from landscape.numerics.vectors import normal
from landscape.objective.parameters import Point
from landscape.paths import compare_proofs
from landscape.symmetry import rescaling
from landscape.valleys import compared

FEW = {"draws": 3, "num_points": 9, "noise_draws": 3, "ascent_steps": 3, "line_points": 5}
SIZE = 6


class Bowls(nn.Module):
    """½ Σ cᵢ(θ) wᵢ² in the valley that ``which`` names, where the curvatures c are those of its row."""

    def __init__(self, curvatures):
        super().__init__()
        self.w = nn.Parameter(torch.ones(1, SIZE, dtype=torch.float64))
        self.register_buffer("curvatures", torch.as_tensor(curvatures))

    def forward(self, x):
        return 0.5 * (self.curvatures * self.w[0] ** 2).sum() + 0 * x.sum()


def bowl(curvatures) -> Objective:
    nothing = torch.zeros(1, 1, dtype=torch.float64)
    return Objective(Bowls(curvatures), "output", (nothing, nothing))


def named(result: Compare) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    both = zip(result.values, result.errors, strict=True)
    return dict(zip(result.measure.tolist(), both, strict=True))


def relu_net(seed: int = 0) -> Objective:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(
            nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)
        ).double()
        x, y = torch.randn(30, 3, dtype=torch.float64), torch.randint(2, (30,))
    return Objective(module, "cross_entropy", (x, y))


@pytest.fixture(scope="module")
def objective() -> Objective:
    return relu_net()


@pytest.fixture(scope="module")
def points(objective: Objective) -> list[Point]:
    found = []
    for scale in (1.0, 0.8, 0.6):
        theta = scale * objective.theta
        for _ in range(30):
            theta = theta - 0.3 * objective.gradient(theta)
        found.append(objective.as_point(theta))
    return found


@pytest.fixture(scope="module")
def result(objective: Objective, points: list[Point]) -> Compare:
    (x,), y = objective.samples
    return landscape.compare(objective, points, test=objective.on((x + 0.3, y)), **FEW)


def test_closed_forms_of_a_quadratic():
    """At the minimum, and off it: ½ wᵀCw has λ_max, tr C, rises of balls, noise and SAM's step in closed form."""
    c = np.array([4.0, 2.0, 1.0, 0.5, 0.2, 0.1])
    objective = bowl(c)
    away = np.array([0.5, -0.2, 0.3, 0.1, 0.4, -0.6])
    ends = [torch.from_numpy(np.full(SIZE, 1e-9)), torch.from_numpy(away)]
    found = landscape.compare(
        objective, ends, draws=2, num_points=5, rise=0.01, noise_draws=2, ascent_steps=60
    )
    assert found.status == "complete", [one for one in found.checks if not one.passed]
    of = named(found)
    for name, wanted in (("lambda_max", 4.0), ("trace", c.sum()), ("convexity", 1.0)):
        np.testing.assert_allclose(of[name][0], wanted, rtol=1e-10)
    np.testing.assert_allclose(of["barrier"][0], 0.0, atol=1e-15)
    np.testing.assert_allclose(of["loss"][0], [0.5e-18 * c.sum(), 0.5 * c @ away**2], rtol=1e-12)
    slope = c * away
    step = found.rho * slope / np.linalg.norm(slope)
    np.testing.assert_allclose(of["sam_rise"][0][1], slope @ step + 0.5 * c @ step**2, rtol=1e-10)
    np.testing.assert_allclose(of["ball_rise_at_least"][0][0], 0.5 * 4.0 * found.rho**2, rtol=1e-7)
    # The sublevel set along ±d: a root of ½ dᵀCd α² ± gᵀd α = rise, for the direction as the seed draws it.
    for i, theta in enumerate(ends):
        for draw in range(2):
            drawn = normal(theta, torch.Generator().manual_seed(draw))
            d = (drawn * theta.norm() / drawn.norm()).numpy()
            bend, tilt = d @ (c * d), float(c * theta.numpy() @ d)
            for side, sign in enumerate((-1, 1)):
                wanted = (-sign * tilt + np.sqrt(tilt**2 + 2 * bend * 0.01)) / bend
                assert found.half_width[i, draw, side] == pytest.approx(min(wanted, 1.0), rel=1e-7)
                assert found.is_reached[i, draw, side] == (wanted <= 1)


def test_the_errors_of_widths_and_noise_cover_the_truth():
    """Over seeds: E ½ σ²ξᵀCξ = ½σ² tr C, and the mean width over many directions, by the stated errors."""
    c = np.array([4.0, 2.0, 1.0, 0.5, 0.2, 0.1])
    objective, theta = bowl(c), torch.full((SIZE,), 0.3, dtype=torch.float64)
    rng = np.random.default_rng(0)
    d = rng.standard_normal((200_000, SIZE))
    d *= float(theta.norm()) / np.linalg.norm(d, axis=1, keepdims=True)
    bend, tilt = (d**2) @ c, d @ (c * theta.numpy())
    width = float(np.mean((np.sqrt(tilt**2 + 2 * bend * 0.01)) / bend))
    off = []
    # Far apart, as draws are numbered from the seed.
    for seed in range(0, 12_000, 1000):
        found = landscape.compare(
            objective, [theta, -theta], seed=seed, draws=8, span=4, num_points=9, rise=0.01, ascent_steps=1
        )
        assert found.is_reached.all()
        of = named(found)
        off.append([(of["width"][0][0] - width) / of["width"][1][0]])
        off[-1].append((of["noise_rise"][0][0] - 0.5 * found.sigma**2 * c.sum()) / of["noise_rise"][1][0])
    off = np.abs(off)
    assert (off < 1.96).mean(axis=0).min() >= 9 / 12
    assert off.max() < 4
    assert off.max(axis=0).min() > 0.3


def test_a_flatter_bowl_is_ranked_first_by_every_measure():
    """Two minima of one function of two numbers, whose Hessians and pass are known."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(1, 2, dtype=torch.float64))

        def forward(self, x):
            u, v = self.w[0]
            # Minima at u = ±1, where u bends by 8 and v by 9 and 1.
            return (u**2 - 1) ** 2 + 0.5 * (5 - 4 * u) * v**2 + 0 * x.sum()

    nothing = torch.zeros(1, 1, dtype=torch.float64)
    objective = Objective(Two().double(), "output", (nothing, nothing))
    ends = [torch.tensor([u, 1e-12], dtype=torch.float64) for u in (-1.0, 1.0)]
    found = landscape.compare(objective, ends, **FEW)
    of = dict(zip(found.measure.tolist(), found.ranks.tolist(), strict=True))
    np.testing.assert_allclose(named(found)["lambda_max"][0], [9, 8], rtol=1e-9)
    np.testing.assert_allclose(named(found)["trace"][0], [17, 9], rtol=1e-9)
    assert of["trace"] == of["lambda_max"] == of["noise_rise"] == of["ball_rise_at_least"] == [2, 1]
    assert of["barrier"] == [1, 1]
    # Over the top at u = 0, where F = 1, from two ends of 0.
    np.testing.assert_allclose(found.barrier, [[0, 1], [1, 0]], rtol=1e-9)


@pytest.mark.parametrize("per", ["layer", "unit"])
def test_what_a_rescaled_copy_leaves_is_what_is_said_of_each_measure(objective, points, per):
    moved = rescaling.rescaled(objective, points[0], per=per, seed=1, tolerance=1e-12).point
    assert moved is not None
    further = {"critical": True, "fisher_rao": True, "relative_flatness": True}
    (x,), y = objective.samples
    test = objective.on((x + 0.3, y))
    found = landscape.compare(objective, [points[0], moved], test=test, **further, **FEW)
    assert found.status == "complete", [one for one in found.checks if not one.passed]
    assert set(compared.MEASURES) - set(found.measure.tolist()) <= {"relative_critical_sharpness"}
    kept = {"layer": ("layer", "unit"), "unit": ("unit",)}[per]
    for k, name in enumerate(found.measure.tolist()):
        if name == "barrier":
            # Of two points both have the one between them.
            continue
        one, other = found.values[k]
        if found.unchanged_by[k] in kept:
            assert other == pytest.approx(one, rel=1e-7, abs=1e-12), name
            assert found.ranks[k, 0] == found.ranks[k, 1] == 1
        elif name != "convexity":
            assert abs(other - one) > 1e-4 * abs(one), name
    assert found.barrier[0, 1] > 0


def test_ranks_and_agreement_are_those_of_the_values(result):
    names = result.measure.tolist()
    for k in range(len(names)):
        order = result.values[k] * (-1 if result.better[k] == "high" else 1)
        if len(np.unique(result.ranks[k])) == len(order):
            assert (np.argsort(order) == np.argsort(result.ranks[k])).all()
        for m in range(len(names)):
            wanted = kendalltau(result.ranks[k], result.ranks[m]).statistic
            np.testing.assert_allclose(result.tau[k, m], wanted, rtol=1e-12)
    assert names[-3:] == ["test_loss", "generalisation_gap", "error_gap"]
    assert (result.tau_low <= -1).all() | np.isnan(result.tau_low).any()
    assert any("3 points are too few to tell" in note and "p = 0.33" in note for note in result.notes)
    assert result.flattest in result.point.tolist()
    assert result.headline.startswith(
        f"{result.flattest} flattest by {result.num_first} of {result.num_flatness}"
    )


def test_gaps_are_those_of_the_module_by_hand(objective, points, result):
    """By torch's own loss and a count of labels; the standard errors of the test data from its samples."""
    (x,), y = objective.samples
    of, module = named(result), copy.deepcopy(objective.module)
    for i, point in enumerate(points):
        vector_to_parameters(point.theta, module.requires_grad_(False).parameters())
        rows = [nn.functional.cross_entropy(module(one), y, reduction="none") for one in (x, x + 0.3)]
        wrong = [(module(one).argmax(1) != y).double() for one in (x, x + 0.3)]
        gap, error_gap = (float(test.mean() - train.mean()) for train, test in (rows, wrong))
        for name, value, drawn in (("generalisation_gap", gap, rows[1]), ("error_gap", error_gap, wrong[1])):
            assert of[name][0][i] == pytest.approx(value, rel=1e-9, abs=1e-12), name
            assert of[name][1][i] == pytest.approx(float(drawn.std() / len(y) ** 0.5), rel=0.05), name


@pytest.mark.parametrize("wrong", ["generalisation_gap", "error_gap"])
def test_a_gap_that_is_none_fails_its_check(objective, points, wrong, monkeypatch):
    (x,), y = objective.samples
    kernel = compared.goodness
    # Of one point more sits another label wrong.
    off = 1 / len(y) if wrong == "error_gap" else 1e-6

    def turned(*row):
        found = kernel(*row)
        return found | {wrong: (found[wrong][0] + off, found[wrong][1])}

    monkeypatch.setattr(compared, "goodness", turned)
    found = landscape.compare(objective, points[:2], test=objective.on((x + 0.3, y)), **FEW)
    assert {check.name for check in found.checks if not check.passed} == {"generalisation gap"}


def test_without_test_data_there_is_no_gap_and_without_labels_none_of_errors(objective, points):
    assert not {*compared.GAPS} & set(landscape.compare(objective, points[:2], **FEW).measure.tolist())
    flat = bowl(np.ones(SIZE))
    ends = [torch.full((SIZE,), 0.5, dtype=torch.float64), torch.full((SIZE,), 0.1, dtype=torch.float64)]
    names = landscape.compare(flat, ends, test=flat, draws=2, num_points=5, noise_draws=2).measure.tolist()
    assert "generalisation_gap" in names
    assert "error_gap" not in names


def test_equals_are_the_flattest_together(objective, points):
    found = landscape.compare(objective, [points[0], points[0]], **FEW)
    assert found.flattest == ", ".join(found.point.tolist())
    assert found.num_first == found.num_flatness


def test_the_numbers_are_those_of_sharpness(objective, points, result):
    alone = landscape.sharpness(
        objective, points[1], sigmas=(result.sigma,), num_draws=3, ascent_steps=3, rescaling="none"
    )
    of = named(result)
    for name, value, error in zip(alone.measure.tolist(), alone.values, alone.errors, strict=True):
        if name != "trace_per_parameter":
            assert (of[name][0][1], of[name][1][1]) == (value, error), name


def test_it_goes_on_from_its_journal_bit_for_bit(objective, points, result):
    (x,), y = objective.samples
    kept: dict = {}
    test = objective.on((x + 0.3, y))
    landscape.compare(objective, points, test=test, journal=kept, **FEW)
    half = dict(list(kept.items())[: len(kept) // 2])
    again = landscape.compare(objective, points, test=test, journal=half, **FEW)
    for one in again.arrays():
        np.testing.assert_array_equal(one.values, getattr(result, one.name))


def test_a_width_beyond_the_span_is_said_to_be_a_lower_bound(objective, points):
    found = landscape.compare(objective, points[:2], rise=1e3, **FEW)
    assert not found.is_reached.any()
    assert (found.half_width == 1.0).all()
    assert sum("its width is a lower bound" in note for note in found.notes) == 2


def test_barriers_without_an_error_are_ranked_by_their_values(objective):
    values = np.array([[0.2, 0.1, 0.3], [1.0, 1.0, 1.0]])
    errors = np.array([[np.nan] * 3, [0.0] * 3])
    badness, room = compared.badness_of(objective, ["barrier", "loss"], values, errors, 0.1)
    assert ranked(badness[0], room[0]).tolist() == [2, 1, 3]


def test_refusals(objective, points):
    with pytest.raises(BadInput, match="1 points"):
        landscape.compare(objective, points[:1])
    with pytest.raises(BadInput, match="odd"):
        landscape.compare(objective, points, num_points=4)


def test_each_check_sees_what_it_proves(objective, points, result, monkeypatch):
    assert all(check.passed for check in result.checks)
    assert {"rescaled slice at A", "half width at B", "summaries", "ranks", "agreement of ranks"} <= {
        check.name for check in result.checks
    }
    summed = result.values[
        [result.measure.tolist().index(name) for name in ("convexity", "width", "barrier")]
    ]
    for column, by in ((0, 0.3), (1, 1e-6), (2, 1e-6)):
        wrong = summed.copy()
        wrong[column, 1] *= 1 - by
        drawn = result.slice_loss, result.half_width, result.barrier
        check = compare_proofs.summaries_check(wrong, *drawn, 1e-12)
        assert not check.passed, column
    turned = result.tau.copy()
    turned[0, 1] += 1e-6
    assert not compare_proofs.agreement_check(result.ranks, turned).passed
    # In another order, and none told from another.
    for ranks in (result.ranks[:, ::-1], np.ones_like(result.ranks)):
        check = compare_proofs.ranks_check(replace(result, ranks=ranks), compared.SEARCHED, 1e-12)
        assert not check.passed
    # Widths to where F rises by one in a thousand more; directions as long as those before the rescaling.
    sublevel = importlib.import_module("landscape.paths.sublevel")
    found = compared.half_widths

    def wider(one, rise):
        widths = found(one, rise)
        return widths._replace(length=widths.length * 1.001)

    monkeypatch.setattr(compared, "half_widths", wider)
    failed = failing(landscape.compare(objective, points, **FEW))
    assert {one.partition(" at ")[0] for one in failed} == {"half width", "half widths"}
    monkeypatch.undo()
    monkeypatch.setattr(
        compare_proofs, "random_directions", lambda *_, **__: torch.ones(1, objective.num_parameters).double()
    )
    failed = failing(landscape.compare(objective, points, **FEW))
    assert {one.partition(" at ")[0] for one in failed} == {"rescaled slice"}
    assert sublevel.convex_share(np.array([[0.0, 1.0, 0.0, 1.0, 4.0]]), 1e-12)[0] == pytest.approx(2 / 3)


class Steps(nn.Linear):
    """A staircase beside a plane: F jumps."""

    def forward(self, x):
        made = super().forward(x)
        return made + torch.floor(3 * made)


def test_where_f_jumps_a_half_width_lies_between_both_sides():
    torch.manual_seed(0)
    x, y = torch.randn(9, 3, dtype=torch.float64), torch.randn(9, 2, dtype=torch.float64)
    objective = Objective(Steps(3, 2).double(), "mse", (x, y))
    found = landscape.compare(objective, [objective.theta, objective.theta + 0.1], rise=0.3, **FEW)
    assert found.is_reached.any()
    assert "half width" not in {one.partition(" at ")[0] for one in failing(found)}


def failing(result: Compare) -> list[str]:
    return [check.name for check in result.checks if not check.passed]


def test_further_measures_are_those_of_sharpness_and_are_ranked(objective, points):
    (x,), y = objective.samples
    asked = {"critical": True, "fisher_rao": True, "relative_flatness": True}
    test = objective.on((x + 0.3, y))
    found = landscape.compare(objective, points[:2], test=test, **asked, **FEW)
    assert found.status == "complete", [one for one in found.checks if not one.passed]
    small = {"sigmas": (0.1,), "num_draws": 2, "ascent_steps": 1, "rescaling": "none"}
    of = named(found)
    for i, point in enumerate(points[:2]):
        alone = landscape.sharpness(objective, point, test=test, **asked, **small)
        for name, value, error in zip(alone.measure[9:], alone.values[9:], alone.errors[9:], strict=True):
            assert of[name][0][i] == value, name
            assert of[name][1][i] == error, name
    assert len(alone.measure) == 14
    place = found.measure.tolist().index("fisher_rao_norm")
    assert found.unchanged_by[place] == "unit"
    assert found.ranks[place].tolist() == (1 + np.argsort(np.argsort(found.values[place]))).tolist()
    # A norm is no flatness.
    assert found.num_flatness == len(found.measure) - len(compared.OTHERS) == len(found.measure) - 6


def test_what_is_not_defined_at_one_point_is_left_out_and_said():
    c = np.array([4.0, 2.0, 1.0, 0.5, 0.2, 0.0])
    objective = bowl(c)
    ends = [torch.eye(SIZE, dtype=torch.float64)[-1], torch.full((SIZE,), 0.3, dtype=torch.float64)]
    found = landscape.compare(objective, ends, critical=True, relative_flatness=True, rise=0.01, **FEW)
    assert not {"critical_sharpness", "relative_flatness"} & set(found.measure.tolist())
    assert any(note.startswith("at A: no critical sharpness: along −∇F F") for note in found.notes)
    assert any("without an nn.Linear" in note for note in found.notes)
    assert np.isfinite(found.values).all()
