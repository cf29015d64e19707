"""Every number that a slice, a line or a curve states has a check that fails where its kernel is wrong."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
from plain import another, named
from torch import nn

from landscape import Objective
from landscape.analyses import align, compare, connect, interpolate, modes, slice1d, slice2d
from landscape.numerics.curves import band, barriers, curves
from landscape.numerics.curves.directions import Components
from landscape.objective import batchnorm, repair
from landscape.objective.parameters import Point
from landscape.objective.sweep import COLUMNS, Sweep
from landscape.paths import connection, curve_training, path, planes, profile, slices
from landscape.paths.straight import straight_lines
from landscape.symmetry import alignment, orbit

SWEEP = importlib.import_module("landscape.objective.sweep")


def net(*layers: nn.Module) -> Objective:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        x, y = torch.randn(40, 6, dtype=torch.float64), torch.randint(3, (40,))
        return Objective(nn.Sequential(*layers).double(), "cross_entropy", (x, y))


@pytest.fixture(scope="module")
def objective() -> Objective:
    return net(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3))


@pytest.fixture(scope="module")
def normed() -> Objective:
    return net(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


@pytest.fixture(scope="module")
def ends(objective: Objective) -> tuple[Point, Point]:
    return descended(objective, 1), descended(objective, 2)


def descended(objective: Objective, seed: int) -> Point:
    """Somewhere low, in a valley of its own."""
    start = another(objective, seed)
    theta = start.theta.clone()
    for _ in range(150):
        theta -= 0.1 * objective.gradient(theta, start.fixed)
    return Point(theta, start.fixed)


def test_on(objective: Objective) -> Objective:
    (x,), y = objective.samples
    return objective.on((x + 0.5, y))


test_on.__test__ = False


def failed(result) -> set[str]:
    assert result.checks
    return {check.name for check in result.checks if not check.passed}


def train_for_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test losses measured on the training data."""
    whole = Sweep._measured

    def measured(self, thetas, fixed, *rest):
        found = whole(self, thetas, fixed, *rest)
        found[:, 2:4] = found[:, :2]
        return found

    monkeypatch.setattr(Sweep, "_measured", measured)


def one_more_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accuracies over one sample too many."""
    whole = Sweep._measured

    def measured(self, thetas, fixed, *rest):
        found = whole(self, thetas, fixed, *rest).copy()
        found[:, [1, 3]] *= 40 / 41
        return found

    monkeypatch.setattr(Sweep, "_measured", measured)


def shifted_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block after the first is filled one point off."""
    monkeypatch.setattr(SWEEP, "BLOCK_POINTS", 4)
    whole = Sweep.measure

    def measure(self, name, num_points, fill, *rest, **options):
        def off(block, thetas):
            fill(range(block.start - (block.start > 0), block.stop - (block.start > 0)), thetas)

        return whole(self, name, num_points, off, *rest, **options)

    monkeypatch.setattr(Sweep, "measure", measure)


def forgotten_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of one name for whatever is measured."""
    whole = Sweep.measure
    monkeypatch.setattr(Sweep, "measure", lambda self, name, *rest, **more: whole(self, "", *rest, **more))


# Slices


def mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = planes.fill
    monkeypatch.setattr(slices, "fill", lambda t, o, d, steps: whole(t, o, d, -steps))


def transposed(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = planes.fill
    monkeypatch.setattr(slices, "fill", lambda t, o, d, steps: whole(t, o, d, steps[:, ::-1].copy()))


def stretched(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = slices.symmetric_grid
    monkeypatch.setattr(slices, "symmetric_grid", lambda span, n: whole(span, n) * (1 + 0.5 / n))


def parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = slices.random_directions
    monkeypatch.setattr(
        slices, "random_directions", lambda *args, **more: whole(*args, **more)[:1].repeat(args[2], 1)
    )


@pytest.mark.parametrize(
    ("fault", "options", "wanted"),
    [
        (mirrored, {}, {"seeded loss"}),
        (transposed, {}, {"seeded loss"}),
        (stretched, {}, {"grid"}),
        (train_for_test, {}, {"seeded test loss"}),
        (one_more_sample, {}, {"seeded accuracy"}),
        (shifted_blocks, {}, {"seeded loss"}),
        (forgotten_names, {"draws": 2}, {"seeded loss"}),
        (parallel, {}, {"independent directions"}),
    ],
)
def test_faults_of_planes(objective, monkeypatch, fault, options, wanted):
    point, test = another(objective, 1), test_on(objective)
    options = {"test": test, "num_points": 5, "seed": 3, **options}
    assert not failed(slice2d(objective, point, **options))
    fault(monkeypatch)
    found = failed(slice2d(objective, point, **options))
    assert wanted <= found
    also = {"centre loss"} if fault is shifted_blocks else set()
    seeded = {f"seeded {name}" for name in ("loss", "accuracy", "test loss", "test accuracy", "test errors")}
    assert found <= {*seeded, *wanted, *also}


@pytest.mark.parametrize("draws", [1, 3])
def test_mirrored_lines_are_seen(objective, monkeypatch, draws):
    assert not failed(slice1d(objective, another(objective, 1), num_points=7, draws=draws))
    mirrored(monkeypatch)
    assert "seeded loss" in failed(slice1d(objective, another(objective, 1), num_points=7, draws=draws))


def wandering(objective: Objective) -> list[Point]:
    start, generator = objective.present_point(), torch.Generator().manual_seed(2)
    steps = torch.randn(6, objective.num_parameters, generator=generator, dtype=torch.float64) * 0.1
    return [Point(start.theta + one, start.fixed) for one in steps.cumsum(0)]


def centred(trajectory, centre):
    return COMPONENTS(trajectory, trajectory.mean(0))


def smallest(trajectory, centre):
    found = COMPONENTS(trajectory, centre)
    rest = trajectory - centre
    rest = rest - (rest @ found.directions.T) @ found.directions
    return Components(
        COMPONENTS(rest, 0 * centre).directions, found.explained, found.explained_by_random_walk
    )


def unsquared(trajectory, centre):
    found = COMPONENTS(trajectory, centre)
    return found._replace(explained=np.sqrt(found.explained))


COMPONENTS = slices.principal_components


@pytest.mark.parametrize("kernel", [centred, smallest, unsquared])
def test_faults_of_principal_components(objective, monkeypatch, kernel):
    way = wandering(objective)
    options = {"directions": "pca", "trajectory": way, "num_points": 5}
    assert not failed(slice2d(objective, way[-1], **options))
    monkeypatch.setattr(slices, "principal_components", kernel)
    assert failed(slice2d(objective, way[-1], **options)) >= {"principal components"}


def test_faults_of_the_random_walk(objective, monkeypatch):
    way = wandering(objective)

    def longer(trajectory, centre):
        found = COMPONENTS(trajectory, centre)
        return found._replace(explained_by_random_walk=found.explained_by_random_walk * 1.01)

    monkeypatch.setattr(slices, "principal_components", longer)
    result = slice2d(objective, way[-1], directions="pca", trajectory=way, num_points=3)
    assert failed(result) == {"random walk"}


@pytest.mark.parametrize("what", ["point", "checkpoint"])
def test_faults_of_coordinates(objective, monkeypatch, what):
    way = wandering(objective)
    if what == "point":
        call = lambda: slice2d(objective, way[:3], num_points=3)  # noqa: E731
    else:
        options = {"trajectory": way, "show_trajectory": True, "num_points": 3}
        call = lambda: slice2d(objective, way[-1], **options)  # noqa: E731
    assert not failed(call())
    whole = planes.kernels.coordinates

    def turned(*args):
        found, residual = whole(*args)
        return found * np.array([1, -1]), residual

    with monkeypatch.context() as patch:
        patch.setattr(planes.kernels, "coordinates", turned)
        assert f"{what} coordinates" in failed(call())
    lost = slices.projected
    monkeypatch.setattr(slices, "projected", lambda *a: lost(*a)._replace(loss=lost(*a).loss[::-1] + 1e-3))
    assert failed(call()) == {f"{what} loss"}


def test_filters_along_another_axis_are_seen_where_the_class_tells_them(objective, monkeypatch):
    objective = net(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Linear(12, 3))
    assert not failed(slice2d(objective, objective.present_point(), num_points=3))
    whole = objective.pieces
    objective.pieces = tuple(
        replace(piece, units=(1, piece.shape[1])) if len(piece.shape) == 2 else piece for piece in whole
    )
    assert failed(slice2d(objective, objective.present_point(), num_points=3)) == {"direction norms"}
    objective.pieces = tuple(replace(p, role="vector") if p.role == "norm" else p for p in whole)
    assert failed(slice2d(objective, objective.present_point(), num_points=3)) == {"direction norms"}


# Straight lines


def test_t_squared_on_the_line_is_seen(objective, ends, monkeypatch):
    options = {"test": test_on(objective), "num_points": 9}
    assert not failed(interpolate(objective, *ends, **options))
    whole = torch.lerp
    monkeypatch.setattr(torch, "lerp", lambda a, b, t, out=None: whole(a, b, t * t, out=out))
    assert failed(interpolate(objective, *ends, **options)) >= {"seeded loss", "seeded test loss"}
    assert failed(align(objective, *ends, num_points=9)) >= {"before loss", "after loss"}


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        (train_for_test, {"seeded test loss", "seeded test accuracy"}),
        (one_more_sample, {"seeded accuracy", "seeded test accuracy"}),
    ],
)
def test_faults_of_lines(objective, ends, monkeypatch, fault, wanted):
    fault(monkeypatch)
    found = failed(interpolate(objective, *ends, test=test_on(objective), num_points=9))
    assert found & wanted
    assert found <= wanted


def test_a_later_block_one_point_off_is_seen(objective, ends, monkeypatch):
    shifted_blocks(monkeypatch)
    assert "seeded loss" in failed(interpolate(objective, *ends, num_points=10))


BARRIERS = barriers.barriers


def test_a_chord_with_its_ends_swapped_is_seen(objective, ends, monkeypatch):
    monkeypatch.setattr(
        barriers,
        "barriers",
        lambda t, loss: BARRIERS(t, loss)._replace(
            chord=float((loss - t * loss[0] - (1 - t) * loss[-1]).max())
        ),
    )
    result = interpolate(objective, *ends, test=test_on(objective), num_points=8)
    assert failed(result) == {"barrier", "barrier errors", "test barrier"}


def test_a_distance_of_squares_is_seen(objective, ends, monkeypatch):
    whole = torch.linalg.vector_norm
    monkeypatch.setattr(torch.linalg, "vector_norm", lambda *a, **more: whole(*a, **more) ** 2)
    assert "distance" in failed(interpolate(objective, *ends, num_points=3))


@pytest.mark.parametrize("fault", ["biased", "first chunk"])
def test_faults_of_recalibration(normed, monkeypatch, fault):
    ends = another(normed, 1), another(normed, 2)
    normed = normed.varied(data=normed.samples)
    normed._chunk_size = 16
    options = {"num_points": 5, "batchnorm": "recalibrate"}
    assert not failed(interpolate(normed, *ends, **options))
    whole = batchnorm._moments

    def moments(layer, forward, fixed, chunks):
        count, mean, squares = whole(
            layer, forward, fixed, list(chunks)[:1] if fault == "first chunk" else chunks
        )
        return (count, mean, squares * (count - 1) / count) if fault == "biased" else (count, mean, squares)

    monkeypatch.setattr(batchnorm, "_moments", moments)
    assert "seeded loss" in failed(interpolate(normed, *ends, **options))
    assert "seeded loss" in failed(slice1d(normed, ends[0], **options))


def test_a_repair_the_wrong_way_round_is_seen(objective, ends, monkeypatch):
    options = {"num_points": 5, "batchnorm": "repair"}
    assert not failed(interpolate(objective, *ends, **options))
    whole = repair._moments

    def moments(*args):
        found = whole(*args)
        return found._replace(deviation=1 / found.deviation)

    monkeypatch.setattr(repair, "_moments", moments)
    assert failed(interpolate(objective, *ends, **options)) == {"repaired spread"}


# Curves


@pytest.fixture(scope="module")
def joined(objective, ends):
    return lambda **more: connect(
        objective,
        *ends,
        test=test_on(objective),
        **{"epochs": 3, "lr": 0.05, "num_points": 9}
        | ({"plane_points": 5} if more.get("plane") else {})
        | more,
    )


@pytest.mark.parametrize("method", ["bezier", "chain", "neb"])
def test_curves_pass(joined, method):
    assert not failed(joined(method=method, bends=2, plane=method == "bezier", restarts=2))


def test_t_squared_on_the_curve_is_seen(joined, monkeypatch):
    whole = path.Path.points
    monkeypatch.setattr(path.Path, "points", lambda self, t: whole(self, t * t))
    assert failed(joined()) >= {"curve loss", "straight line loss", "curve test loss"}


def test_a_wrong_bernstein_weight_is_seen(joined, monkeypatch):
    whole = curves.bernstein

    def wrong(t, degree):
        found = whole(t, degree)
        return torch.cat([found[:, :1], found[:, 1:-1] * 0.9, found[:, -1:]], 1)

    monkeypatch.setattr(curves, "bernstein", wrong)
    assert failed(joined(bends=2)) >= {"curve loss", "length"}


def test_the_curve_for_the_line_is_seen(joined, monkeypatch):
    whole = Sweep.measure

    def measure(self, name, *rest, **more):
        return whole(self, name.replace("line", "curve 0"), *rest, **more)

    monkeypatch.setattr(Sweep, "measure", measure)
    assert "straight line loss" in failed(joined())


@pytest.mark.parametrize(
    ("kernel", "wrong", "wanted"),
    [
        ("mean_weights", lambda t, lengths=None: np.full(len(t), 1 / len(t)), {"mean loss", "mean errors"}),
        ("mean_error", lambda weights, losses: 0.1, {"mean errors"}),
        (
            "barrier_errors",
            lambda *a, **more: barriers.Barriers(*(np.array(ERRORS(*a, **more)) / 20)),
            {"barrier errors", "straight barrier errors"},
        ),
        (
            "barriers",
            lambda t, loss: BARRIERS(t, loss)._replace(mean=0.1),
            {"barrier", "straight barrier"},
        ),
    ],
)
def test_faults_of_summaries(joined, monkeypatch, kernel, wrong, wanted):
    monkeypatch.setattr(profile, kernel, wrong)
    assert failed(joined()) == wanted


ERRORS = barriers.barrier_errors


def test_a_top_that_is_not_looked_at_from_both_sides_or_not_long_enough_is_seen(objective, monkeypatch):
    ends = [descended(objective, seed) for seed in (1, 11, 12)]
    about = {"epochs": 1, "num_points": 9, "tolerance": 1e-6}
    calls: list[Callable[[], Any]] = [
        lambda: connect(objective, *ends[:2], **about),
        lambda: connect(objective, *ends[:2], method="chain", bends=2, **about),
        lambda: modes(objective, ends, **about),
        lambda: compare(objective, ends[:2], noise_draws=2, tolerance=1e-6, line_points=9),
    ]
    rises, whole = barriers.unseen_rises, profile.refine
    for call in calls:
        assert "refinement" in named(call())
        assert not failed(call())
        with monkeypatch.context() as patch:
            patch.setattr(profile, "unseen_rises", lambda t, loss: 0 * rises(t, loss))
            assert failed(call()) == {"refinement"}
    with monkeypatch.context() as patch:
        patch.setattr(connection, "refine", lambda lines, tolerance: whole(lines, 1e3))
        assert failed(calls[0]()) == {"refinement"}
    # The places that are begun with are all there is.
    assert not failed(connect(objective, *ends[:2], **{**about, "tolerance": float("inf")}))


@pytest.mark.parametrize("num_points", [6, 21])
def test_no_barrier_is_higher_than_stated_by_more_than_the_tolerance(objective, num_points):
    points = [descended(objective, seed) for seed in range(2, 5)]
    sweep = Sweep(objective, is_line=True)
    for (i, j), line in straight_lines(sweep, points, num_points, 1e-4).items():
        t = np.linspace(0, 1, 501)
        first, last = points[i].theta, points[j].theta
        loss = np.array([objective.value(torch.lerp(first, last, at)) for at in t.tolist()])
        assert loss.max() - line.height.top < 1e-4
        assert (loss - (1 - t) * loss[0] - t * loss[-1]).max() - line.height.chord < 1e-4
        assert line.is_refined
        assert len(line.t) < num_points + 50


def test_a_loss_of_noise_takes_a_bounded_number_of_places_and_says_so(objective, ends, monkeypatch):
    generator, whole = np.random.default_rng(0), Sweep.measure

    def noisy(*given, **named):
        table = whole(*given, **named)
        table[:, 0] += generator.normal(size=len(table)) * 1e-3
        return table

    monkeypatch.setattr(Sweep, "measure", noisy)
    line = straight_lines(Sweep(objective, is_line=True), ends, 9, 1e-6)[0, 1]
    assert not line.is_refined
    assert len(line.t) <= 9 + (profile.MAX_ROUNDS + 1) * (profile.HALVED + 4)
    assert "`tolerance` 1e-06" in profile.unrefined([line], 1e-6)[0]


def test_where_the_line_alone_before_an_alignment_is_noise_it_is_said_as_well(objective, ends, monkeypatch):
    generator, whole = np.random.default_rng(0), Sweep.measure

    def noisy(self, name, *given, **named):
        table = whole(self, name, *given, **named)
        if name.startswith("unaligned") or " straight " in name:
            table[:, 0] += generator.normal(size=len(table)) * 1e-2
        return table

    monkeypatch.setattr(Sweep, "measure", noisy)
    about = {"align": True, "epochs": 1, "num_points": 5}
    found = [connect(objective, *ends, **about), modes(objective, [*ends, another(objective, 3)], **about)]
    assert all("a barrier may be higher by more than `tolerance`" in " ".join(one.notes) for one in found)
    monkeypatch.setattr(Sweep, "measure", whole)
    assert "may be higher" not in " ".join(connect(objective, *ends, **about).notes)


def test_a_path_that_is_infinite_in_between_is_left_as_it_is_beside_one_that_is_refined(objective, ends):
    lines = [profile.PathLoss(Sweep(objective, is_line=True), "", path.Path.chord(*ends)) for _ in range(2)]
    for line in lines:
        line.measure(np.linspace(0, 1, 5))
    whole = profile.PathLoss.measure

    def measured(self, t):
        whole(self, t)
        self.table[2, 0] = np.inf

    lines[0].measure = measured.__get__(lines[0])
    lines[0].table[2, 0] = np.inf
    profile.refine(lines, 1e-3)
    assert np.isinf(lines[0].height.top)
    assert lines[1].unseen(1e-3).size == 0
    assert len(lines[1].t) > 9
    np.testing.assert_array_equal(lines[0].t, lines[1].t)


def test_another_line_to_the_point_before_it_was_aligned_is_seen(joined, monkeypatch):
    call = lambda: joined(align=True, epochs=1)  # noqa: E731
    assert {"unaligned line loss", "unaligned refinement", "unaligned barrier"} <= {*named(call())}
    assert not failed(call())
    whole = connection.Connector.straight_line
    with monkeypatch.context() as patch:
        patch.setattr(connection, "refine", lambda lines, tolerance: None)
        assert "unaligned refinement" in failed(joined(align=True, epochs=1, tolerance=1e-9))

    def higher(*given):
        line = whole(*given)
        line.table[1:-1, 0] *= 1.001
        return line

    monkeypatch.setattr(connection.Connector, "straight_line", higher)
    assert failed(call()) >= {"unaligned line loss"}


def test_losses_of_other_samples_penalties_and_gradients_are_seen(objective, ends, joined, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(profile.PathLoss, "samples", property(lambda self: self.table[:, COLUMNS - 1 :]))
        assert failed(joined()) >= {"losses of samples"}
    heavy = objective.varied(l2=0.1)
    assert not failed(connect(heavy, *ends, epochs=1, num_points=5))
    with monkeypatch.context() as patch:
        patch.setattr(profile.PathLoss, "penalty", lambda self, l2: l2 * self.path.squared_norms(self.t))
        assert failed(connect(heavy, *ends, epochs=1, num_points=5)) == {"penalty"}
    whole = Objective.gradient
    monkeypatch.setattr(Objective, "gradient", lambda *a: whole(*a) * 40 / 39)
    assert "gradient norm" in failed(joined())


def test_the_worst_restart_and_a_turned_plane_are_seen(joined, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(connection.np, "nanargmin", np.nanargmax)
        assert "lowest restart" in failed(joined(restarts=3, epochs=1, lr=0.5))
    whole = planes.fill
    monkeypatch.setattr(planes, "fill", lambda t, o, d, steps: whole(t, o, d, -steps))
    assert failed(joined(plane=True)) == {"plane loss"}


def test_faults_of_modes(objective, ends, monkeypatch):
    call = lambda: modes(objective, [*ends, another(objective, 3)], epochs=1, num_points=5)  # noqa: E731
    assert not failed(call())
    with monkeypatch.context() as patch:
        patch.setattr(barriers, "spanning_tree", lambda height: np.array([[0, 1], [0, 1]]))
        assert failed(call()) == {"spanning tree"}
    whole = path.Path.points
    monkeypatch.setattr(path.Path, "points", lambda self, t: whole(self, t * t))
    assert failed(call()) >= {"curve loss", "straight line loss"}


@pytest.mark.parametrize("method", ["bezier", "chain", "minmax", "neb"])
def test_faults_of_the_steps_of_a_curve(joined, monkeypatch, method):
    call = lambda: joined(method=method, bends=3, epochs=1, batch_size=16)  # noqa: E731
    assert "curve steps" in named(call())
    assert not failed(call())
    if method != "neb":
        with monkeypatch.context() as patch:
            patch.setattr(curves.Curve, "mobility", property(lambda self: 0.9))
            assert failed(call()) == {"curve steps"}
        whole = torch.Tensor.addr_
        monkeypatch.setattr(torch.Tensor, "addr_", lambda v, a, b, beta: whole(v, a, b, beta=-beta))
        assert failed(call()) == {"curve steps"}
        return
    tangents = band.tangents
    for kernel, wrong in (
        ("across", lambda gradients, tangents: gradients),
        ("redistributed", lambda points, shares: points.clone()),
        ("tangents", lambda points, energies: tangents(points, -energies)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(band, kernel, wrong)
            assert failed(call()) == {"curve steps"}, kernel


# Alignment


def test_faults_of_alignments(objective, ends, monkeypatch):
    call = lambda **more: align(objective, *ends, num_points=5, **more)  # noqa: E731
    assert {"moved by hand", "best match", "before loss", "after loss"} <= set(named(call()))
    assert not failed(call())
    assert {"nearest scales", "nearest maps"} <= set(named(call(symmetry="scaling")))
    assert not failed(call(symmetry="scaling"))
    with monkeypatch.context() as patch:
        whole = scipy.optimize.linear_sum_assignment
        patch.setattr(
            scipy.optimize, "linear_sum_assignment", lambda cost, maximize: whole(cost, not maximize)
        )
        assert failed(call()) <= {"best match", "no farther"}
        assert "best match" in failed(call())
    with monkeypatch.context() as patch:
        patch.setattr(orbit, "nearest", lambda family, a, b: torch.ones(family.copies, family.size))
        patch.setattr(orbit, "balance", lambda family, tensors: torch.ones(family.copies, family.size))
        assert {"nearest scales", "nearest maps"} <= failed(call(symmetry="scaling"))
    with monkeypatch.context() as patch:
        patch.setattr(alignment, "composed", lambda symmetry, first, then: then)
        assert failed(call(refine=10)) == {"moved by hand"}
    forgotten_names(monkeypatch)
    assert "after loss" in failed(call())


def test_a_diverged_curve_that_goes_back_to_the_chord_is_seen(regression, monkeypatch):
    a, b = regression.theta, regression.theta + 1
    options = {"epochs": 300, "lr": 1e4, "batch_size": 40, "num_points": 3}
    assert named(connect(regression, a, b, **options))["best kept"].passed
    whole = curve_training.trained_curve

    def forgetful(objective, chord, *args, **more):
        found = whole(objective, chord, *args, **more)
        return found._replace(path=chord.along(found.path.curve))

    monkeypatch.setattr(connection, "trained_curve", forgetful)
    assert "best kept" in failed(connect(regression, a, b, **options))


def test_numbers_of_one_precision_are_proven_in_another(objective):
    (x,), y = objective.samples
    single = Objective(objective.module, "cross_entropy", (x, y), dtype=torch.float32)
    assert not failed(slice2d(single, single.present_point(), num_points=5, test=test_on(single)))
    ends = single.as_point(another(objective, 1)), single.as_point(another(objective, 2))
    assert not failed(interpolate(single, *ends, num_points=7))
    assert not failed(connect(single, *ends, num_points=7, epochs=1, method="neb", bends=2))
    assert not failed(align(single, *ends, num_points=7))


def test_a_band_over_losses_that_are_nan_is_not_tried_again():
    x = torch.linspace(1, 2, 6, dtype=torch.float64)[:, None]
    objective = Objective(nn.Linear(1, 1).double(), lambda h, y: (h.log() - y).square().mean(1), (x, x))
    ends = (torch.tensor(one, dtype=torch.float64) for one in ([1.0, 1.0], [-6.0, 10.0]))
    result = connect(objective, *ends, method="neb", bends=1, steps=10, num_points=5, lr=10.0)
    assert {one.name for one in result.checks if not one.passed} == {"not finite"}
