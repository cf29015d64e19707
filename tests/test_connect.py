"""Trained curves against a hand-written training loop, plain profiles and closed forms."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from plain import another, killed_at, named, plain_loss, plain_module, toy_product
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.analyses import connect
from landscape.errors import BadInput
from landscape.journal import Journal
from landscape.numerics.sampling import Sampler
from landscape.parameters import Point


def bernstein(t: float, bends: int) -> list[float]:
    s = 1 - t
    return [s * s, 2 * s * t, t * t] if bends == 1 else [s**3, 3 * s * s * t, 3 * s * t * t, t**3]


def garipov_step(lr: float, epoch: int, epochs: int) -> float:
    """Constant to the half, linear to 90 %, a hundredth at the end."""
    done = epoch / epochs
    return lr * (1 if done <= 0.5 else 1 - (done - 0.5) / 0.4 * 0.99 if done <= 0.9 else 0.01)


def plain_curve(
    objective: Objective, a: Point, b: Point, *, bends: int, epochs: int, lr: float, batch: int, seed: int
) -> tuple[Tensor, list[float]]:
    """Control points and mean losses of the loop that everybody would write."""
    module = plain_module(objective, a.theta, a.fixed).train()
    free = [nn.Parameter(a.theta + (b.theta - a.theta) * (i + 1) / (bends + 1)) for i in range(bends)]
    optimiser = torch.optim.SGD(free, lr, momentum=0.9)
    sampler, positions = Sampler("reshuffle", len(objective.samples[1]), batch, seed), torch.Generator()
    positions.manual_seed(seed + 1)
    (x,), y = objective.samples
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for epoch in range(epochs):
            optimiser.param_groups[0]["lr"] = garipov_step(lr, epoch, epochs)
            seen = []
            draws = torch.rand(sampler.batches_per_pass, generator=positions, dtype=torch.float64)
            for t in draws.tolist():
                weights = bernstein(t, bends)
                with torch.no_grad():
                    theta = sum(w * p for w, p in zip(weights, [a.theta, *free, b.theta], strict=True))
                    nn.utils.vector_to_parameters(theta, module.parameters())
                module.zero_grad()
                batch_of = sampler.next()
                loss = functional.cross_entropy(module(x[batch_of]), y[batch_of])
                loss.backward()
                slope = torch.cat([p.grad.reshape(-1) for p in module.parameters()])
                for weight, control in zip(weights[1:-1], free, strict=True):
                    control.grad = weight * slope
                optimiser.step()
                seen.append(loss.item())
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
    middle = (a.theta + b.theta).numpy() / 2
    assert np.abs(result.control_points - middle).max() > 0.01


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
        right = plain_module(classifier, theta, fixed)(x).argmax(1) == y
        assert result.accuracy[i] == pytest.approx(float(right.double().mean()))
    assert result.max_loss == result.loss.max()
    assert result.status == "complete"


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
    assert result.barrier_chord_straight == pytest.approx(1, rel=1e-4)  # its top lies between two points
    assert result.max_loss > 0.98


def test_the_same_point_twice_has_no_barrier(regression):
    result = connect(regression, regression.theta, regression.theta, epochs=1, num_points=3)
    assert result.barrier_chord_straight == pytest.approx(0, abs=1e-12)
    assert np.isnan(result.length)
    assert any("the same" in note for note in result.notes)


def test_the_module_and_the_global_generator_stay_as_they_were(classifier):
    before = copy.deepcopy(classifier.module.state_dict())
    random = torch.get_rng_state()
    connect(classifier, *ends(classifier), **SHORT)
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_a_diverging_curve_stops_before_it(regression, tmp_path: Path):
    a, b = regression.theta, regression.theta + 1
    options = {"epochs": 300, "lr": 1e4, "batch_size": 40, "num_points": 3}
    result = connect(regression, a, b, **options)
    assert (result.outcome, result.status) == ("diverged", "diverged")
    assert len(result.epoch) < 300
    assert not np.isfinite(result.epoch_loss[-1])
    assert np.isfinite(result.epoch_loss[:-1]).all()
    assert np.isfinite(result.control_points).all()
    assert any("smaller --lr" in note for note in result.notes)
    before = {}
    with pytest.raises(KeyboardInterrupt):
        connect(regression, a, b, **options, pieces=before, progress=killed_at(len(result.epoch) - 1))
    np.testing.assert_array_equal(result.control_points, before["curve state"]["tensor free"])
    journal = Journal(tmp_path / "x.part", {})
    with pytest.raises(KeyboardInterrupt):
        connect(regression, a, b, **options, pieces=journal, progress=killed_at(len(result.epoch)))
    again = connect(regression, a, b, **options, pieces=journal)
    np.testing.assert_array_equal(again.epoch_loss, result.epoch_loss)
    np.testing.assert_array_equal(again.control_points, result.control_points)


@pytest.mark.parametrize("batchnorm", ["frozen", "recalibrate"])
def test_resumed_after_any_pass_it_ends_bit_for_bit(classifier, tmp_path: Path, batchnorm):
    a, b = ends(classifier)
    options = {**SHORT, "epochs": 5, "bends": 2, "batchnorm": batchnorm, "seed": 3}
    whole = connect(classifier, a, b, **options)
    for kill in (1, 3, 5, 9):  # 9: all points of the profile
        journal = Journal(tmp_path / "x.part", {})
        with pytest.raises(KeyboardInterrupt):
            connect(classifier, a, b, **options, pieces=journal, progress=killed_at(kill))
        journal.close()
        torch.rand(3)  # another process has another global generator
    again = connect(classifier, a, b, **options, pieces=Journal(tmp_path / "x.part", {}))
    for one, other in zip(again.arrays(), whole.arrays(), strict=True):
        np.testing.assert_array_equal(one.values, other.values, err_msg=one.name)
    assert again.scalars() == whole.scalars()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bends": 0}, "0 bends"),
        ({"epochs": 0}, "0 epochs"),
        ({"batch_size": 0}, "0 batch size"),
        ({"num_points": 2}, "2 points"),
        ({"lr": 0.0}, "step size 0"),
        ({"momentum": 1.0}, "momentum 1"),
        ({"batchnorm": "thaw"}, "policy 'thaw'"),
    ],
)
def test_bad_options_are_named(regression, options, message):
    with pytest.raises(BadInput, match=message):
        connect(regression, regression.theta, regression.theta + 1, **{"epochs": 1, **options})


def test_a_point_of_another_architecture_is_refused(regression):
    with pytest.raises(BadInput, match=r"shape \(16,\)"):
        connect(regression, regression.theta, torch.zeros(16))
