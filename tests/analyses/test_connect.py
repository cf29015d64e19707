"""Trained curves against a hand-written training loop, plain profiles and closed forms."""

import copy
import importlib
from math import comb
from pathlib import Path

import numpy as np
import pytest
import torch
from plain import another, killed_at, named, plain_loss, plain_module, quadratic, toy_product
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.analyses import connect
from landscape.errors import BadInput
from landscape.numerics.steps.sampling import Sampler
from landscape.objective.parameters import Point
from landscape.runs.journal import Journal
from landscape.symmetry.alignment import aligned

TRAINING = importlib.import_module("landscape.paths.curve_training")


def bernstein(t: float, bends: int) -> list[float]:
    s = 1 - t
    return [s * s, 2 * s * t, t * t] if bends == 1 else [s**3, 3 * s * s * t, 3 * s * t * t, t**3]


def garipov_step(lr: float, epoch: int, epochs: int) -> float:
    """Constant to the half, linear to 90 %, a hundredth at the end."""
    done = epoch / epochs
    return lr * (1 if done <= 0.5 else 1 - (done - 0.5) / 0.4 * 0.99 if done <= 0.9 else 0.01)


GOLDEN = (5**0.5 - 1) / 2


def plain_curve(
    objective: Objective,
    a: Point,
    b: Point,
    *,
    bends: int,
    epochs: int,
    lr: float,
    batch: int,
    seed: int,
    l2=0.0,
) -> tuple[Tensor, list[float]]:
    """Control points and mean losses of the loop that everybody would write."""
    module = plain_module(objective, a.theta, a.fixed).train()
    free = [nn.Parameter(a.theta + (b.theta - a.theta) * (i + 1) / (bends + 1)) for i in range(bends)]
    fine = np.array([bernstein(t, bends)[1:-1] for t in np.linspace(0, 1, 1001)])
    scale = lr / (fine**2).sum(1).max()
    optimiser = torch.optim.SGD(free, scale, momentum=0.9)
    sampler = Sampler("reshuffle", len(objective.samples[1]), batch, seed)
    offset = float(torch.rand((), generator=torch.Generator().manual_seed(seed + 1)))
    (x,), y = objective.samples
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        step = 0
        for epoch in range(epochs):
            optimiser.param_groups[0]["lr"] = garipov_step(scale, epoch, epochs)
            seen = []
            for _ in range(sampler.batches_per_pass):
                t = (offset + GOLDEN * step) % 1.0
                weights = bernstein(t, bends)
                with torch.no_grad():
                    theta = sum(w * p for w, p in zip(weights, [a.theta, *free, b.theta], strict=True))
                    nn.utils.vector_to_parameters(theta, module.parameters())
                module.zero_grad()
                batch_of = sampler.next()
                loss = functional.cross_entropy(module(x[batch_of]), y[batch_of])
                (loss + l2 / 2 * sum(p.square().sum() for p in module.parameters())).backward()
                slope = torch.cat([p.grad.reshape(-1) for p in module.parameters()])
                for weight, control in zip(weights[1:-1], free, strict=True):
                    control.grad = weight * slope
                optimiser.step()
                seen.append(loss.item())
                step += 1
            losses.append(sum(seen) / len(seen))
    return torch.stack(free).detach(), losses


def ends(classifier) -> tuple[Point, Point]:
    return another(classifier, 1), another(classifier, 2)


SHORT = {"epochs": 4, "batch_size": 8, "lr": 0.02, "num_points": 9}


@pytest.mark.parametrize("bends", [1, 2])
def test_training_is_the_plain_loop_with_dropout_and_batch_norm(classifier, bends):
    a, b = ends(classifier)
    result = connect(classifier, a, b, bends=bends, epochs=11, batch_size=8, lr=0.02, num_points=3, seed=5)
    control, losses = plain_curve(classifier, a, b, bends=bends, epochs=11, lr=0.02, batch=8, seed=5)
    np.testing.assert_allclose(result.control_points, control, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(result.epoch_loss, losses, rtol=1e-12)
    assert result.epoch.tolist() == list(range(1, 12))
    assert result.penalty is None
    middle = (a.theta + b.theta).numpy() / 2
    assert np.abs(result.control_points - middle).max() > 0.01


def test_the_penalty_acts_on_the_curve_and_is_given_apart(classifier):
    a, b = ends(classifier)
    (x,), y = classifier.samples
    penalised = Objective(classifier.module, "cross_entropy", (x, y), l2=0.3)
    options = {"bends": 2, "lr": 0.02, "seed": 5}
    result = connect(penalised, a, b, epochs=5, batch_size=8, num_points=5, batchnorm="frozen", **options)
    control, losses = plain_curve(classifier, a, b, epochs=5, batch=8, l2=0.3, **options)
    np.testing.assert_allclose(result.control_points, control, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(result.epoch_loss, losses, rtol=1e-12)
    assert result.loss[0] == pytest.approx(plain_loss(classifier, a.theta, a.fixed), rel=1e-12)
    assert result.penalty is not None
    for t, penalty in zip(result.t, result.penalty, strict=True):
        every = zip(bernstein(t, 2), [a.theta, *control, b.theta], strict=True)
        assert penalty == pytest.approx(0.15 * float(sum(w * p for w, p in every).square().sum()), rel=1e-12)


@pytest.mark.parametrize("bends", [1, 2])
def test_the_profile_is_a_plain_loop(classifier, bends):
    a, b = ends(classifier)
    (x,), y = classifier.samples
    test = classifier.on((x + 0.5, y))
    result = connect(classifier, a, b, test=test, bends=bends, batchnorm="frozen", **SHORT)
    control = [a.theta, *torch.from_numpy(result.control_points), b.theta]
    assert result.accuracy is not None
    for i, t in enumerate(result.t):
        fixed = {name: (1 - t) * one + t * b.fixed[name] for name, one in a.fixed.items()}
        fixed["1.num_batches_tracked"] = a.fixed["1.num_batches_tracked"]
        theta = sum(w * p for w, p in zip(bernstein(t, bends), control, strict=True))
        line = (1 - t) * a.theta + t * b.theta
        for objective, curve, straight in (
            (classifier, result.loss, result.loss_straight),
            (test, result.test_loss, result.test_loss_straight),
        ):
            assert curve[i] == pytest.approx(plain_loss(objective, theta, fixed), rel=1e-12)
            assert straight[i] == pytest.approx(plain_loss(objective, line, fixed), rel=1e-12)
        for at, found in ((theta, result.test_loss_error), (line, result.test_loss_straight_error)):
            tested = plain_module(classifier, at, fixed)(x + 0.5).detach()
            each = functional.cross_entropy(tested, y, reduction="none")
            assert found[i] == pytest.approx(float(each.std()) / 30**0.5, rel=1e-11)
        right = plain_module(classifier, theta, fixed)(x).argmax(1) == y
        assert result.accuracy[i] == pytest.approx(float(right.double().mean()))
    assert result.max_loss == result.loss.max()
    assert result.status == "complete"


def test_whose_batch_norm_statistics_they_are_is_said():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
        x, y = torch.randn(20, 3), torch.randint(2, (20,))
    objective = Objective(module, "cross_entropy", (x, y))
    a, b = objective.theta, objective.theta + 0.1
    for policy, said in (("recalibrate", True), ("repair", True), ("frozen", False)):
        notes = connect(objective, a, b, batchnorm=policy, **SHORT).notes
        anew = [note for note in notes if note.startswith("batch-norm statistics were taken anew")]
        assert len(anew) == said, notes
        assert all(f"`batchnorm` {policy}" in note for note in anew)


@pytest.mark.parametrize("batchnorm", ["frozen", "recalibrate"])
def test_the_ends_never_move(classifier, batchnorm):
    a, b = ends(classifier)
    before = [tensor.clone() for point in (a, b) for tensor in (point.theta, *point.fixed.values())]
    result = connect(classifier, a, b, batchnorm=batchnorm, **SHORT)
    after = [tensor for point in (a, b) for tensor in (point.theta, *point.fixed.values())]
    assert all(map(torch.equal, before, after))
    for position, point in ((0, a), (-1, b)):
        fixed = point.fixed if batchnorm == "frozen" else classifier.recalibrated(point.theta, point.fixed)
        assert result.loss[position] == classifier.value(point.theta, fixed)
        assert result.loss_straight[position] == result.loss[position]
    assert named(result)["ends fixed"].passed
    assert result.status == "complete"


def test_a_valley_that_bends_is_followed():
    # Along vw = 1 the loss is 0, while the straight line leaves it: at (5/4, 5/4) it is (9/16)².
    a, b = torch.tensor([[2.0, 0.5], [0.5, 2.0]], dtype=torch.float64)
    result = connect(toy_product(), a, b, epochs=400, lr=0.02, num_points=61)
    assert result.barrier_chord_straight == pytest.approx(81 / 256, rel=1e-12)
    assert result.barrier_ends_straight == pytest.approx(81 / 256, rel=1e-12)
    assert result.barrier_chord < 0.01
    v, w = result.control_points[0]
    t = result.t
    curve = [(1 - t) ** 2 * p + 2 * t * (1 - t) * c + t**2 * q for p, c, q in ((2, v, 0.5), (0.5, w, 2))]
    np.testing.assert_allclose(result.loss, (1 - curve[0] * curve[1]) ** 2, atol=1e-12)
    length = np.hypot(*np.diff(curve)).sum() / np.hypot(1.5, 1.5)
    assert result.length == pytest.approx(length, rel=1e-12)


def test_two_branches_are_not_connected_however_long_one_trains():
    # A path from vw = 1 in one quadrant to vw = 1 in the opposite one crosses vw = 0, where the loss is 1.
    a, b = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    result = connect(toy_product(), a, b, epochs=50, lr=0.02, num_points=301)
    assert result.max_loss > 0.99


@pytest.mark.parametrize("tolerance", [1e-2, 1e-6])
def test_the_grid_is_refined_until_the_top_is_found(tolerance):
    """(1 − vw)² from (1, 1) to (−1, −1) is (1 − (1 − 2t)²)²: 1 at t = ½, which four points miss by far."""
    a, b = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    result = connect(toy_product(), a, b, epochs=1, lr=1e-9, num_points=4, tolerance=tolerance)
    assert 1 - 4 * tolerance < result.barrier_chord_straight <= 1
    np.testing.assert_allclose(result.loss_straight, (1 - (1 - 2 * result.t) ** 2) ** 2, atol=1e-14)
    assert {0, 1 / 3, 2 / 3, 1} <= set(result.t)
    assert (np.diff(result.t) > 0).all()
    assert connect(toy_product(), a, b, epochs=1, num_points=4, tolerance=np.inf).t.size == 4


def optimal_control(method: str, bends: int, a: Tensor, b: Tensor, centre: Tensor) -> np.ndarray:
    """Where the mean over t of any quadratic about ``centre`` is least: Σⱼ ∫wᵢwⱼ cⱼ = ∫wᵢ · centre for free i."""
    t = np.linspace(0, 1, 2001)
    if method == "chain":
        knots = np.linspace(0, 1, bends + 2)
        w = np.stack([np.interp(t, knots, row) for row in np.eye(bends + 2)], axis=1)
    else:
        w = np.array([bernstein(one, bends) for one in t])
    mass, mean = np.trapezoid(w[:, :, None] * w[:, None, :], t, axis=0), np.trapezoid(w, t, axis=0)
    fixed = mass[1:-1, [0]] * a.numpy() + mass[1:-1, [-1]] * b.numpy()
    return np.linalg.solve(mass[1:-1, 1:-1], mean[1:-1, None] * centre.numpy() - fixed)


@pytest.mark.parametrize(
    ("method", "bends"),
    [
        ("bezier", 2),
        ("chain", 1),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in (("bezier", 1), ("chain", 3))),
    ],
)
def test_on_a_quadratic_the_control_points_solve_a_linear_system(method, bends):
    objective, _, _, centre = quadratic(torch.float64, torch.linspace(0.5, 2, 6))
    a, b = torch.randn(2, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    options = {"method": method, "bends": bends, "momentum": 0.9, "batch_size": 1}
    result = connect(objective, a, b, epochs=800, lr=0.05, num_points=3, **options)
    wanted = optimal_control(method, bends, a, b, centre)
    scale = np.abs(wanted - centre.numpy()).max()
    np.testing.assert_allclose(result.control_points, wanted, atol=0.02 * scale)


def test_minmax_trades_the_mean_for_the_maximum():
    """Along the hyperbola vw = 1 a parabola cannot follow everywhere, so the two aims are two curves."""
    objective = toy_product()
    a, b = torch.tensor([[4.0, 0.25], [0.5, 2.0]], dtype=torch.float64)
    options = {"epochs": 1500, "lr": 0.005, "batch_size": 1, "tolerance": 1e-6}
    mean, top = (connect(objective, a, b, method=method, **options) for method in ("bezier", "minmax"))
    assert top.max_loss < 0.95 * mean.max_loss
    assert top.mean_loss_t > mean.mean_loss_t


def test_corners_of_a_chain_are_on_the_grid(regression):
    result = connect(regression, regression.theta, regression.theta + 1, method="chain", bends=3, epochs=1)
    for t, control in zip(result.control_t, result.control_points, strict=True):
        value = result.loss[np.flatnonzero(result.t == t)]
        assert value == pytest.approx(regression.value(torch.from_numpy(control)), rel=1e-12)
    assert result.control_t.tolist() == [0.25, 0.5, 0.75]
    few = connect(
        regression, regression.theta, regression.theta + 1, method="chain", bends=3, epochs=1, num_points=4
    )
    assert {0.25, 0.5, 0.75} <= set(few.t)


def test_every_barrier_and_mean_by_hand(classifier):
    a, b = ends(classifier)
    result = connect(classifier, a, b, batchnorm="frozen", **SHORT)
    t, loss = result.t, result.loss
    assert result.barrier_chord == pytest.approx((loss - (1 - t) * loss[0] - t * loss[-1]).max(), rel=1e-12)
    assert result.barrier_ends == loss.max() - max(loss[0], loss[-1])
    assert result.barrier_mean == pytest.approx(loss.max() - (loss[0] + loss[-1]) / 2, rel=1e-14)
    assert result.max_loss == loss.max()
    assert result.mean_loss_t == pytest.approx(np.trapezoid(loss, t), rel=1e-12)
    control = [a.theta, *torch.from_numpy(result.control_points), b.theta]
    points = np.array([sum(w * p.numpy() for w, p in zip(bernstein(s, 1), control, strict=True)) for s in t])
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    assert result.mean_loss_arc == pytest.approx(np.trapezoid(loss, along) / along[-1], rel=1e-12)


def test_errors_are_those_of_means_over_samples(classifier):
    a, b = ends(classifier)
    (x,), y = classifier.samples
    result = connect(classifier, a, b, batchnorm="frozen", **SHORT)
    each = functional.cross_entropy(
        plain_module(classifier, a.theta, a.fixed)(x), y, reduction="none"
    ).detach()
    assert result.loss_error is not None
    assert result.loss_error[0] == pytest.approx(float(each.std()) / np.sqrt(len(y)), rel=1e-10)
    assert result.max_loss_error is not None
    # The top of this path is alone, so its error is about that of the mean there.
    assert result.max_loss_error == pytest.approx(result.loss_error[result.loss.argmax()], rel=0.15)


def test_the_lowest_restart_is_shown(classifier):
    a, b = ends(classifier)
    result = connect(classifier, a, b, restarts=3, seed=4, **SHORT)
    alone = [connect(classifier, a, b, seed=4 + i, tolerance=np.inf, **SHORT) for i in range(3)]
    assert result.restart_barrier is not None
    heights = [(one.loss - (1 - one.t) * one.loss[0] - one.t * one.loss[-1])[::1].max() for one in alone]
    np.testing.assert_allclose(result.restart_barrier, heights, atol=5e-3)
    best = int(np.argmin(result.restart_barrier))
    np.testing.assert_array_equal(result.control_points, alone[best].control_points)


def test_a_curve_that_got_worse_says_so(classifier):
    a, b = ends(classifier)
    result = connect(classifier, a, b, **{**SHORT, "lr": 30.0, "schedule": "constant"})
    assert result.barrier_chord > result.barrier_chord_straight
    assert any("higher than the straight line" in note for note in result.notes)


def test_steps_may_end_within_a_pass(classifier):
    a, b = ends(classifier)
    options = {key: value for key, value in SHORT.items() if key != "epochs"}
    whole = connect(classifier, a, b, epochs=2, schedule="constant", **options)  # four batches a pass
    steps = connect(classifier, a, b, steps=8, schedule="constant", **options)
    np.testing.assert_array_equal(whole.control_points, steps.control_points)
    assert len(connect(classifier, a, b, steps=6, schedule="constant", **options).epoch) == 2


def test_the_training_barrier_is_that_of_the_curve_then(classifier):
    a, b = ends(classifier)
    result = connect(classifier, a, b, **SHORT)
    assert result.training_epoch.tolist() == [1, 2, 3, 4]
    few = [result.loss[0]]
    control = [a.theta, *torch.from_numpy(result.control_points), b.theta]
    for i in range(1, 4):
        theta = sum(w * p for w, p in zip(bernstein(i / 4, 1), control, strict=True))
        few.append(classifier.value(theta, classifier.recalibrated(theta, a.fixed)))
    few = np.array([*few, result.loss[-1]])
    t = np.arange(5) / 4
    assert result.training_barrier[-1] == pytest.approx(
        (few - (1 - t) * few[0] - t * few[-1]).max(), rel=1e-9, abs=1e-12
    )


@pytest.mark.parametrize("bends", [1, 3])
def test_the_plane_holds_the_ends_and_says_how_far_off_the_curve_is(regression, bends):
    a, b = regression.theta, regression.theta + torch.arange(15) / 10
    result = connect(regression, a, b, bends=bends, epochs=5, plane=True, plane_points=9)
    d1, d2 = result.plane_directions
    assert (d1 @ d2, d1 @ d1, d2 @ d2) == pytest.approx((0, 1, 1), abs=1e-12)
    for i, beta in enumerate(result.plane_beta):
        for j, alpha in enumerate(result.plane_alpha):
            theta = a + torch.from_numpy(alpha * d1 + beta * d2)
            assert result.plane_loss[i, j] == pytest.approx(regression.value(theta), rel=1e-10)
    control = np.stack([a.numpy(), *result.control_points, b.numpy()])
    points = np.array([bernstein_all(t, bends) @ control for t in result.t]) - a.numpy()
    inside = np.stack([result.curve_alpha, result.curve_beta], axis=1) @ result.plane_directions
    np.testing.assert_allclose(np.linalg.norm(points - inside, axis=1), result.curve_residual, atol=1e-10)
    np.testing.assert_allclose((points - inside) @ result.plane_directions.T, 0, atol=1e-10)
    assert (result.plane_residual < 1e-12) == (bends == 1)
    assert result.control_residual[bends // 2] < 1e-12


def bernstein_all(t: float, bends: int) -> np.ndarray:
    degree = bends + 1
    return np.array([comb(degree, i) * (1 - t) ** (degree - i) * t**i for i in range(degree + 1)])


def test_a_curve_that_stayed_on_its_chord_has_no_plane():
    objective, _, _, centre = quadratic(torch.float64, torch.ones(3))
    result = connect(objective, centre - 1, centre + 1, epochs=3, plane=True)
    assert result.plane_loss is None
    assert any("no plane" in note for note in result.notes)


def test_ends_that_are_no_minima_are_said_with_their_gradient():
    objective, _, _, centre = quadratic(torch.float64, torch.ones(3))
    result = connect(objective, centre, centre + 2, epochs=2)
    assert result.first_gradient_norm == pytest.approx(0, abs=1e-12)
    assert result.second_gradient_norm == pytest.approx(np.sqrt(12))
    notes = [note for note in result.notes if "no minimum" in note]
    assert len(notes) == 1
    assert notes[0].startswith("B is no minimum: ‖∇F‖ = 3.46")


def test_step_sizes_by_their_formulas():
    def sizes(name, losses=(), **arguments):
        training = TRAINING.Training(schedule=name, lr=1.0, schedule_arguments=arguments)
        return [training.step_size([*losses, *[0.0] * k][:k] or [], 10) for k in range(10)]

    assert sizes("constant") == [1] * 10
    assert sizes("piecewise", gamma=0.5, every=3) == [1] * 3 + [0.5] * 3 + [0.25] * 3 + [0.125]
    assert sizes("garipov")[:6] == [1] * 6
    assert sizes("garipov")[7] == pytest.approx(1 - 0.99 * 0.2 / 0.4)
    assert sizes("garipov")[9] == pytest.approx(0.01)
    halved = sizes("plateau", losses=[3, 2, 2, 1, 1, 1, 1, 1, 1, 1], factor=0.5)
    assert halved[:5] == [1, 1, 1, 0.5, 0.5]


def test_the_same_point_twice_has_no_barrier(regression):
    result = connect(regression, regression.theta, regression.theta, epochs=9, num_points=5)
    assert result.barrier_chord == result.barrier_chord_straight == 0
    assert len(result.epoch) == 0
    assert (result.control_points == regression.theta.numpy()).all()
    assert np.isnan(result.length)
    assert any("the same" in note for note in result.notes)
    assert result.status == "complete"


def test_the_module_and_the_global_generator_stay_as_they_were(classifier):
    before = copy.deepcopy(classifier.module.state_dict())
    random = torch.get_rng_state()
    connect(classifier, *ends(classifier), **SHORT)
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_a_diverging_curve_ends_with_the_best_so_far(regression, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("landscape.progress.SAVE_SECONDS", -1.0)
    a, b = regression.theta, regression.theta + 1
    options = {"epochs": 300, "lr": 1e4, "batch_size": 40, "num_points": 3}
    result = connect(regression, a, b, **options)
    assert (result.outcome, result.status) == ("diverged", "diverged")
    assert len(result.epoch) < 300
    assert not np.isfinite(result.epoch_loss[-1])
    assert np.isfinite(result.epoch_loss[:-1]).all()
    assert np.isfinite(result.control_points).all()
    assert any("smaller `lr`" in note for note in result.notes)
    # The best so far is the curve after the pass of the lowest mean loss, here one of the first.
    best = int(np.argmin(result.epoch_loss[:-1])) + 1
    before = {}
    with pytest.raises(KeyboardInterrupt):
        connect(regression, a, b, **options, journal=before, progress=killed_at(best))
    np.testing.assert_array_equal(result.control_points, before["training 0"]["tensor control"][1:-1])
    journal = Journal(tmp_path / "x.part", {})
    with pytest.raises(KeyboardInterrupt):
        connect(regression, a, b, **options, journal=journal, progress=killed_at(len(result.epoch)))
    again = connect(regression, a, b, **options, journal=journal)
    np.testing.assert_array_equal(again.epoch_loss, result.epoch_loss)
    np.testing.assert_array_equal(again.control_points, result.control_points)


@pytest.mark.parametrize(
    "extra",
    [
        {"batchnorm": "frozen"},
        {"batchnorm": "repair", "restarts": 2, "plane": True},
        {"method": "chain", "schedule": "plateau"},
        {"method": "minmax", "steps": 17, "epochs": None},
        {"method": "neb", "bends": 1},
    ],
)
def test_resumed_after_any_pass_it_ends_bit_for_bit(classifier, tmp_path: Path, monkeypatch, extra):
    monkeypatch.setattr("landscape.progress.SAVE_SECONDS", -1.0)
    a, b = ends(classifier)
    options = {**SHORT, "epochs": 5, "bends": 2, "seed": 3, **extra}
    whole = connect(classifier, a, b, **options)
    for kill in (1, 3, 5, 9):  # 9: all points of the profile
        journal = Journal(tmp_path / "x.part", {})
        with pytest.raises(KeyboardInterrupt):
            connect(classifier, a, b, **options, journal=journal, progress=killed_at(kill))
        journal.close()
        torch.rand(3)  # another process has another global generator
    again = connect(classifier, a, b, **options, journal=Journal(tmp_path / "x.part", {}))
    for one, other in zip(again.arrays(), whole.arrays(), strict=True):
        np.testing.assert_array_equal(one.values, other.values, err_msg=one.name)
    assert again.scalars() == whole.scalars()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 3}, "both epochs and steps"),
        ({"schedule_arguments": {"every": 2}}, "garipov with arguments"),
    ],
)
def test_bad_options_are_named(regression, options, message):
    with pytest.raises(BadInput, match=message):
        connect(regression, regression.theta, regression.theta + 1, **{"epochs": 1, **options})


def test_a_point_of_another_architecture_is_refused(regression):
    with pytest.raises(BadInput, match=r"shape \(16,\)"):
        connect(regression, regression.theta, torch.zeros(16))


def test_a_symmetry_without_align_is_refused(regression):
    with pytest.raises(BadInput, match="`symmetry` all without `align`"):
        connect(regression, regression.theta, regression.theta, symmetry="all")


@pytest.mark.parametrize("symmetry", ["permutation", "all"])
def test_with_align_the_curve_ends_in_b_aligned(classifier, symmetry):
    a, b = another(classifier, 1), another(classifier, 2)
    options = {"epochs": 3, "batch_size": 8, "lr": 0.02, "num_points": 9, "seed": 4}
    result = connect(classifier, a, b, align=True, symmetry=symmetry, **options)
    moved = aligned(classifier, a, b, symmetry=symmetry, seed=4)
    there = connect(classifier, a, moved.point, **options)
    for one, other in zip(result.arrays(), there.arrays(), strict=True):
        np.testing.assert_array_equal(one.values, other.values, err_msg=one.name)
    assert not torch.equal(moved.point.theta, b.theta)
    assert result.barrier_chord_unaligned == connect(classifier, a, b, **options).barrier_chord_straight
    assert there.barrier_chord_unaligned is None
    assert named(result)["function preserved"].value <= 1e-9
    assert any("parameters movable" in note for note in result.notes)
