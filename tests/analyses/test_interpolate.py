"""The straight line between two points against plain loops and closed forms."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from plain import another, killed_at, named, plain_loss, plain_module, toy_product
from torch import nn
from torch.nn import functional

from landscape import Objective
from landscape.analyses import align, hessian, interpolate, merge, slice1d, slice2d, train
from landscape.errors import BadInput
from landscape.objective.parameters import Point
from landscape.runs.journal import Journal

SWEEP = importlib.import_module("landscape.objective.sweep")


def mixed(a: Point, b: Point, t: float) -> dict[str, torch.Tensor]:
    """Buffers in proportion; held beyond the ends; counters of the nearer point."""
    t = min(max(t, 0.0), 1.0)
    return {
        name: (1 - t) * one + t * b.fixed[name]
        if one.is_floating_point()
        else (a if t < 0.5 else b).fixed[name]
        for name, one in a.fixed.items()
    }


def test_losses_are_a_plain_loop_with_the_buffers_blended(classifier):
    a, b = another(classifier, 1), another(classifier, 2)
    (x,), y = classifier.samples
    test = classifier.on((x + 0.5, y))
    result = interpolate(classifier, a, b, test=test, num_points=13, span=(-0.25, 1.25))
    assert result.test_loss is not None
    assert result.accuracy is not None
    for i, t in enumerate(result.alpha):
        theta, fixed = (1 - t) * a.theta + t * b.theta, mixed(a, b, t)
        assert result.loss[i] == pytest.approx(plain_loss(classifier, theta, fixed), rel=1e-12)
        assert result.test_loss[i] == pytest.approx(plain_loss(test, theta, fixed), rel=1e-12)
        right = plain_module(classifier, theta, fixed)(x).argmax(1) == y
        assert result.accuracy[i] == pytest.approx(float(right.double().mean()))
    assert result.alpha.tolist() == pytest.approx(np.linspace(-0.25, 1.25, 13))
    assert result.status == "complete"
    assert "frozen" in result.notes[0]


def test_the_ends_are_the_points_themselves_bit_for_bit(classifier):
    a, b = another(classifier, 1), another(classifier, 2)
    result = interpolate(classifier, a, b, num_points=7)
    assert result.loss[result.alpha == 0][0] == classifier.value(a.theta, a.fixed)
    assert result.loss[result.alpha == 1][0] == classifier.value(b.theta, b.fixed)
    assert result.distance == pytest.approx(float((a.theta - b.theta).norm()), rel=1e-14)


def test_recalibrated_statistics_are_those_of_one_pass_over_all_data_in_training_mode(classifier):
    a, b = another(classifier, 1), another(classifier, 2)
    result = interpolate(classifier, a, b, num_points=7, batchnorm="recalibrate")
    (x,), _ = classifier.samples
    for i, t in enumerate(result.alpha):
        module = plain_module(classifier, (1 - t) * a.theta + t * b.theta)
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm1d):
                layer.train()
                layer.momentum = 1.0
        module(x)
        loss = plain_loss(classifier, (1 - t) * a.theta + t * b.theta, dict(module.named_buffers()))
        assert result.loss[i] == pytest.approx(loss, rel=1e-11)
    assert result.status == "complete"
    assert [note.partition(" ")[0] for note in result.notes] == ["batch-norm"]


def test_the_barrier_of_the_toy_product_is_one():
    objective = toy_product()
    a, b = torch.tensor([1.0, 1.0]).double(), torch.tensor([-1.0, -1.0]).double()
    result = interpolate(objective, a, b, num_points=31)
    t = result.alpha
    np.testing.assert_allclose(result.loss, (1 - (1 - 2 * t) ** 2) ** 2, rtol=1e-12, atol=1e-15)
    assert (result.barrier_chord, result.barrier_ends) == pytest.approx((1, 1), rel=1e-12)
    assert not result.is_monotone
    assert (result.bump_alpha.tolist(), result.bump_height.tolist()) == ([0.5], [1.0])


def test_barriers_over_a_sloping_chord():
    # (1 − vw)² from (0, 0) to (2, 2): 1 at the first end, 9 at the second, 0 between.
    objective = toy_product()
    result = interpolate(objective, torch.zeros(2).double(), torch.full((2,), 2.0).double(), num_points=31)
    assert result.barrier_chord == pytest.approx(0, abs=1e-12)
    assert result.barrier_ends == pytest.approx(0, abs=1e-12)
    # From the worse end down to 0 at t = 1/2, then up again to 1.
    assert result.bump_alpha.tolist() == [0.0]
    assert result.bump_height[0] == pytest.approx(1, rel=1e-12)


def test_a_convex_loss_falls_monotonically_to_its_minimum(regression):
    (x,), y = regression.samples
    best = torch.linalg.lstsq(x, y).solution.T.reshape(-1)
    result = interpolate(regression, regression.theta, best)
    assert result.is_monotone
    assert len(result.bump_height) == 0
    start, end = result.loss[result.alpha == 0][0], result.loss[result.alpha == 1][0]
    np.testing.assert_allclose(result.loss, end + (start - end) * (1 - result.alpha) ** 2, rtol=1e-12)


def test_a_barrier_of_the_test_loss_is_measured_on_the_test_set():
    objective = toy_product()
    one = torch.ones(1, 1, dtype=torch.float64)
    test = objective.on((one, 0 * one))  # (vw)²
    ends = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]).double()
    assert interpolate(objective, *ends, test=test).test_barrier_chord == pytest.approx(0, abs=1e-12)
    assert interpolate(test, *ends, test=objective).test_barrier_chord == pytest.approx(1, rel=1e-12)
    assert interpolate(objective, *ends).test_loss is None


def test_losses_that_are_not_finite_stay_and_are_counted():
    one = torch.ones(1, 1, dtype=torch.float64)

    def reciprocal(outputs, targets):
        return torch.where(outputs < 0, torch.nan, 1 / outputs).squeeze(1)

    module = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.ones_(module.weight)
    objective = Objective(module, reciprocal, (one, one))
    ends = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    result = interpolate(objective, *ends, num_points=7, span=(-1.0, 2.0))  # θ = −1, 0, 1 … 5
    np.testing.assert_array_equal(result.loss[:3], [np.nan, np.inf, 1])
    assert named(result)["not finite"].value == 2
    assert result.status == "failed-checks"
    assert result.is_monotone  # within [0, 1] all is well


def test_resumed_after_any_block_it_ends_bit_for_bit(classifier, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(SWEEP, "BLOCK_POINTS", 4)
    a, b = another(classifier, 1), another(classifier, 2)
    whole = interpolate(classifier, a, b, num_points=21)
    for kill in (4, 12):
        journal = Journal(tmp_path / "x.part", {})
        assert len(journal) == (kill > 4)
        with pytest.raises(KeyboardInterrupt):
            interpolate(classifier, a, b, num_points=21, journal=journal, progress=killed_at(kill))
        journal.close()
    journal = Journal(tmp_path / "x.part", {})
    assert len(journal) == 3
    again = interpolate(classifier, a, b, num_points=21, journal=journal)
    np.testing.assert_array_equal(again.loss, whole.loss)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"span": (0.1, 1.0)}, "range 0.1 to 1"),
        ({"span": (0.0, 0.9)}, "range 0 to 0.9"),
    ],
)
def test_bad_options_are_named(regression, options, message):
    with pytest.raises(BadInput, match=message):
        interpolate(regression, regression.theta, regression.theta, **options)


def test_a_point_of_another_architecture_is_refused(regression):
    with pytest.raises(BadInput, match=r"shape \(16,\); expected \(15,\)"):
        interpolate(regression, regression.theta, torch.zeros(16))


def test_every_point_passes_its_checks(classifier):
    result = interpolate(classifier, another(classifier, 1), another(classifier, 2), num_points=5)
    assert set(named(result)) >= {"first end", "second end", "not finite", "module untouched"}


def test_test_losses_and_the_barrier_have_the_errors_of_their_samples(classifier):
    """Against a loop over the samples: s/√n of the test, and a bootstrap of the barrier by hand."""
    a, b = another(classifier, 1), another(classifier, 2)
    (x,), y = classifier.samples
    test = classifier.on((x[:20] + 0.5, y[:20]))
    result = interpolate(classifier, a, b, test=test, num_points=5, seed=3)
    rows = []
    for i, t in enumerate(result.alpha):
        module = plain_module(classifier, (1 - t) * a.theta + t * b.theta, mixed(a, b, t))
        with torch.no_grad():
            each = nn.functional.cross_entropy(module(x[:20] + 0.5), y[:20], reduction="none").numpy()
            right = (module(x[:20] + 0.5).argmax(1) == y[:20]).double().mean().item()
            rows.append(nn.functional.cross_entropy(module(x), y, reduction="none").numpy())
        assert result.test_loss_error[i] == pytest.approx(each.std(ddof=1) / 20**0.5, rel=1e-11)
        assert result.test_accuracy_error[i] == pytest.approx((right * (1 - right) / 20) ** 0.5, rel=1e-11)
    draws, heights = np.random.default_rng(8), []
    for _ in range(4000):
        loss = np.array(rows)[:, draws.integers(30, size=30)].mean(1)
        heights.append((loss - (1 - result.alpha) * loss[0] - result.alpha * loss[-1]).max())
    # 400 resamples know a standard error to 1/√800, here to four of it.
    assert result.barrier_chord_error == pytest.approx(np.std(heights), rel=4 / 800**0.5)
    assert any(
        note.startswith("test loss (± standard error over the test samples) at A") for note in result.notes
    )


def test_a_penalty_is_in_the_loss_and_not_in_its_error(classifier):
    a, b = another(classifier, 1), another(classifier, 2)
    penalised = classifier.varied(l2=0.3)
    plain, result = (interpolate(one, a, b, num_points=5) for one in (classifier, penalised))
    for t, one, other in zip(result.alpha, plain.loss, result.loss, strict=True):
        size = float(((1 - t) * a.theta + t * b.theta).square().sum())
        assert other == pytest.approx(one + 0.15 * size, rel=1e-12)
    assert result.loss[0] == penalised.value(a.theta, a.fixed)


def test_a_barrier_below_its_own_error_is_called_that(classifier):
    """To a point nearby there is none; between two draws of weights there may be one."""
    a = another(classifier, 1)
    # Between them F bends downwards, but by less than is known of it.
    generator = torch.Generator().manual_seed(1)
    way = torch.randn(a.theta.shape, generator=generator, dtype=torch.float64).to(a.theta)
    result = interpolate(classifier, a, Point(a.theta + 1e-3 * way, a.fixed), num_points=5)
    assert 0 < result.barrier_chord < 2 * result.barrier_chord_error
    assert any("none beyond its error" in note for note in result.notes)
    assert "none beyond its error" in result.headline
    figure = result.plot()
    assert "none beyond its error" in " ".join(figure.get_supxlabel().split()).replace("\u00a0", " ")
    objective = toy_product()
    ends = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]).double()
    single = interpolate(objective, *ends)
    assert single.barrier_chord_error is None
    assert single.headline == "barrier, over chord 1"


def test_without_errors_a_note_says_so(classifier):
    whole = Objective(
        classifier.module, lambda h, y: nn.functional.cross_entropy(h, y).sqrt(), _data(classifier)
    )
    result = interpolate(whole, whole.theta, 0.9 * whole.theta, test=whole, num_points=3)
    assert result.test_loss_error is None
    assert result.barrier_chord_error is None
    assert any("no standard errors over samples" in note for note in result.notes)


def _data(objective):
    (x,), y = objective.samples
    return x, y


class Whitened(nn.Module):
    """Batch norm by hand, which nothing tells from other buffers, before one of torch's."""

    def __init__(self, seed: int):
        super().__init__()
        self.register_buffer("mean", torch.full((3,), float(seed), dtype=torch.float64))
        torch.manual_seed(seed)
        self.norm, self.last = nn.BatchNorm1d(3).double(), nn.Linear(3, 2).double()
        self.norm.running_mean.fill_(seed)

    def forward(self, x):
        return self.last(self.norm(x - self.mean))


@pytest.mark.parametrize("batchnorm", ["frozen", "recalibrate"])
def test_buffers_that_are_mixed_are_said(batchnorm):
    x = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    objective = Objective(Whitened(0), "cross_entropy", (x, torch.arange(9) % 2))
    a, b = objective.present_point(), objective.point(Whitened(1).state_dict())
    result = interpolate(objective, a, b, num_points=3, batchnorm=batchnorm)
    assert any(note.startswith("mean, no statistic of a batch norm of torch's") for note in result.notes)
    same = interpolate(objective, a, Point(b.theta, a.fixed), num_points=3, batchnorm=batchnorm)
    assert not any("no statistic" in note for note in same.notes)


def test_another_gradient_than_the_derivative_of_f_is_a_note_where_no_number_is_of_it():
    class Straight(nn.Module):
        def __init__(self, seed):
            super().__init__()
            torch.manual_seed(seed)
            self.first, self.last = nn.Linear(3, 4).double(), nn.Linear(4, 2).double()

        def forward(self, x):
            h = self.first(x)
            return self.last(h + (h.tanh() - h).detach())

    x = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    objective = Objective(Straight(0), "cross_entropy", (x, torch.arange(9) % 2))
    points = [objective.present_point(), objective.point(Straight(1).state_dict())]
    for result in (
        interpolate(objective, *points, num_points=3),
        align(objective, *points, num_points=3),
        merge(objective, points, restarts=1),
    ):
        assert result.status == "complete"
        assert any("no number here is of a gradient" in note for note in result.notes)
    # What is of the gradient fails, and so does a gradient that is not autograd's.
    assert train(objective, epochs=1).status == "failed-checks"


def test_a_kink_at_the_point_is_a_note_where_no_number_is_of_a_gradient():
    """Of a penalty |θ| biases that begin at 0 stand at a kink."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    for layer in (module[0], module[2]):
        nn.init.zeros_(layer.bias)
    x, y = torch.randn(9, 3, dtype=torch.float64), torch.arange(9) % 2

    def penalised(outputs, targets):
        size = sum(one.abs().sum() for one in module.parameters())
        return functional.cross_entropy(outputs, targets) + 0.05 * size

    objective = Objective(module, penalised, (x, y))
    points = [objective.present_point(), objective.as_point(1.1 * objective.theta + 0.1)]
    for result in (
        interpolate(objective, *points, num_points=3),
        align(objective, *points, num_points=3),
        slice1d(objective, points[0], num_points=3),
        slice2d(objective, points[0], num_points=3),
    ):
        assert result.status == "complete", result.failed
        assert any("no number here is of a gradient: F has a kink there" in note for note in result.notes)
    start = interpolate(objective, *points, num_points=3).loss[0]
    assert start == pytest.approx(penalised(module(x), y).item(), rel=1e-12)
    for result in (
        hessian(objective, points[0], top_k=1),
        slice1d(objective, points[0], num_points=3, directions="eigen"),
        slice2d(objective, points[0], num_points=3, curvature=True),
    ):
        assert "cut, derivative" in [check.name for check in result.checks if not check.passed]


def test_a_gradient_that_is_not_autograds_still_fails(classifier, monkeypatch):
    true = Objective.value_and_gradient
    monkeypatch.setattr(
        Objective, "value_and_gradient", lambda *given: (true(*given)[0], 1.1 * true(*given)[1])
    )
    result = interpolate(classifier, classifier.theta, 0.9 * classifier.theta, num_points=3)
    assert [check.name for check in result.checks if not check.passed] == ["cut, derivative"]


def test_points_that_are_one_but_for_rounding_are_said(regression):
    theta = regression.theta
    one, other, far = (
        interpolate(regression, theta, theta * by, num_points=3).notes for by in (1, 1 + 1e-15, 1.001)
    )
    assert "the two points are the same" in one
    assert any(note.startswith("the two points are the same, but for rounding: ‖B − A‖ = ") for note in other)
    assert not any("are the same" in note for note in far)


def test_a_step_beside_one_large_entry_is_no_rounding():
    """A mask of −1e9 makes ‖θ‖ so large that a step of 1 in a weight is 1e-9 of it."""

    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.mask = nn.Linear(4, 3), nn.Parameter(torch.tensor([0.0, 0.0, -1e9]))

        def forward(self, x):
            return self.layer(x) + self.mask

    objective = Objective(Masked(), "cross_entropy", (torch.randn(9, 4), torch.arange(9) % 2))
    a = objective.theta
    b, c = a.clone(), a.clone()
    b[0] += 1
    c[3] -= 1
    assert not any("are the same" in note for note in interpolate(objective, a, b, num_points=3).notes)
    assert slice2d(objective, [a, b, c], num_points=3).status == "complete"
