"""Every proof of stacks, ends, noise and budgets sees the fault that it is for: kernels broken one at a time."""

import dataclasses
import importlib

import numpy as np
import pytest
import torch
from scipy.stats import norm
from scipy.stats import t as student
from torch import Tensor, nn

import landscape
from landscape import Objective
from landscape.analyses import minima
from landscape.descent import cells, comparison, counts, critical, gradient_noise, input_plane, replay
from landscape.descent.budgets import Budget
from landscape.descent.gradient_noise import Probe
from landscape.descent.noise import _MeasuredStack
from landscape.descent.replay import Stated, retaken
from landscape.descent.witness import Seen
from landscape.numerics import powerlaw
from landscape.numerics.steps import perceptron, stationarity
from landscape.numerics.steps.replicas import Replicas
from landscape.numerics.steps.sampling import Sampler
from landscape.objective import plain
from landscape.objective.precision import in_float64
from landscape.result import Result

DTYPES = [torch.float32, torch.float64]


def objective(
    loss: str = "mse", dtype: torch.dtype = torch.float64, seed: int = 1, width: int = 4
) -> Objective:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 3, generator=generator)
    y = x[:, :1] - x[:, 1:2] ** 2 if loss == "mse" else (x[:, 0] > 0).long()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        module = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1))
    return Objective(module, loss, (x, y), dtype=dtype)


def noise(dtype: torch.dtype = torch.float64, loss: str = "mse", **options) -> Result:
    subject = objective(loss, dtype)
    asked = {"step_sizes": (0.01, 0.05), "batch_sizes": (1, 3, 6), "num_steps": 60, "num_seeds": 3} | options
    return landscape.noise(subject, subject.theta, **asked)


def efficiency(dtype: torch.dtype = torch.float64, sampling: str = "uniform", **options) -> Result:
    subject = objective("mse", dtype)
    asked = {
        "sizes": (8, 16),
        "step_sizes": (0.1, 0.02),
        "batch_size": 3,
        "observations_per_sample": 4,
    } | options
    points = [subject.theta, 0.5 * subject.theta]
    return landscape.efficiency(subject, points, sampling=sampling, num_records=3, **asked)


def descents(dtype: torch.dtype = torch.float64, loss: str = "mse", **options) -> Result:
    def family(width: int, depth: int, seed: int) -> Objective:
        return objective(loss, dtype, seed, width)

    asked = {"widths": [1, 2], "restarts": [4], "lr": [0.05], "steps": 60, "max_steps": 90} | options
    return minima(family, **asked)


KINDS = [noise, efficiency, descents]


def failed(result: Result) -> set[str]:
    """The checks that fail, without the place that some name."""
    return {check.name.partition(" at n =")[0] for check in result.checks if not check.passed}


def names(result: Result) -> set[str]:
    return {check.name.partition(" at n =")[0] for check in result.checks}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_fails_where_nothing_is_broken(kind, dtype):
    result = kind(dtype)
    assert failed(result) == set()
    wanted = {
        noise: {
            "mean of a run",
            "measured step",
            "loss at a probe",
            "gradient at a probe",
            "curvature at a probe",
        }
        | {"variance at a probe", "table", "power law"},
        efficiency: {"cost", "recorded cost", "steps", "observations", "table"},
        descents: {
            "cost",
            "cost of an end",
            "gradient norm of an end",
            "eigenvalues of an end",
            "index of an end",
        }
        | {"kind of an end", "distinct ends"},
    }[kind] | {"stack"}
    assert wanted <= names(result)
    assert ("stack in float64" in names(result)) == (dtype == torch.float32)


@pytest.mark.parametrize(
    ("layer", "dtype", "step"),
    [
        (nn.Tanh, torch.float32, 3.0),
        (nn.Tanh, torch.float32, 30.0),
        (nn.ReLU, torch.float32, 1e5),
        (nn.ReLU, torch.float64, 1e5),
        (nn.Softplus, torch.float64, 1e10),
    ],
)
def test_nothing_fails_where_steps_are_so_large_that_nothing_is_left(layer, dtype, step):
    """Rounding grows from step to step there, and one dtype has numbers longer than another."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 3, generator=generator)
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            module = nn.Sequential(nn.Linear(3, 4), layer(), nn.Linear(4, 1))
        subject = Objective(module, "mse", (x, x[:, :1] - x[:, 1:2] ** 2), dtype=dtype)
        budget = {"batch_size": 3, "observations_per_sample": 4, "num_records": 3, "seed": seed}
        points = [subject.theta, 0.5 * subject.theta]
        result = landscape.efficiency(subject, points, sizes=(8, 16), step_sizes=(0.02, step), **budget)
        assert result.num_diverged.any()
        assert failed(result) == set()


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_that_only_the_stack_has_lost_are_seen(dtype):
    subject = objective("mse", dtype)
    start = subject.theta.numpy()
    ways = np.stack([start, np.full_like(start, np.nan)])[None]
    seen = Seen(np.array([0]), np.array([0]), np.array([2]), ways)
    check = retaken(subject, in_float64(subject), seen, [Stated(0.02)])
    assert check is not None
    assert check.value == np.inf
    # A step after which a loop has no numbers either.
    assert retaken(subject, in_float64(subject), seen, [Stated(1e300)]) is None


# --- the stack ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_slope_of_a_neighbour_mixed_in(kind, dtype, monkeypatch):
    true = Replicas._loss_and_slope

    def mixed(self):
        losses, slopes = true(self)
        return losses, slopes + 1e-3 * slopes.roll(1, 0)

    monkeypatch.setattr(Replicas, "_loss_and_slope", mixed)
    found = failed(kind(dtype))
    assert found
    assert found <= {"stack", "stack in float64"}


@pytest.mark.parametrize("kind", [noise, efficiency])
def test_the_batch_of_another(kind, monkeypatch):
    true = Replicas._next_batches

    def rolled(self):
        return [one if one is None else one.roll(1, 0) for one in true(self)]

    monkeypatch.setattr(Replicas, "_next_batches", rolled)
    assert failed(kind()) == {"stack"}


def test_step_sizes_out_of_order_after_a_replica_has_left(monkeypatch):
    true = Replicas._leave

    def unordered(self, who, losses):
        kept = true(self, who, losses)
        self._rate = self._rate.flip(0)
        return kept

    monkeypatch.setattr(Replicas, "_leave", unordered)
    assert failed(efficiency()) == {"stack"}


@pytest.mark.parametrize("kind", [noise, efficiency])
def test_the_plan_of_another(kind, monkeypatch):
    true = Replicas.__init__
    monkeypatch.setattr(
        Replicas,
        "__init__",
        lambda self, gradients, thetas, plans: true(self, gradients, thetas, [*plans[1:], plans[0]]),
    )
    assert "stack" in failed(kind())


@pytest.mark.parametrize(
    ("sampling", "rule"), [("reshuffle", "cycle"), ("cycle", "reshuffle"), ("reshuffle", "uniform")]
)
def test_samples_drawn_by_another_rule(sampling, rule, monkeypatch):
    monkeypatch.setattr(
        "landscape.descent.comparison.Sampler", lambda _, n, size, seed: Sampler(rule, n, size, seed)
    )
    monkeypatch.setattr(
        "landscape.descent.replay.Sampler", lambda _, n, size, seed: Sampler(rule, n, size, seed)
    )
    assert "stack" in failed(efficiency(sampling=sampling, methods=("minibatch",), sizes=(10,)))


@pytest.mark.parametrize("rule", ["uniform", "cycle", "reshuffle"])
@pytest.mark.parametrize("first", [0, 3, 9])
def test_batches_are_stated_as_the_sampler_draws_them(rule, first):
    sampler = Sampler(rule, 10, 4, 5)
    drawn = [sampler.next() for _ in range(first + 4)][first:]
    stated = Stated(0.1, rule, 4, 5).batches(10, first, 4)
    assert [one.tolist() for one in stated] == [one.tolist() for one in drawn]


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_gradient(kind, monkeypatch):
    def half(outputs, targets):
        losses, slope = perceptron.mse(outputs, targets)
        return losses, slope / 2

    monkeypatch.setitem(perceptron.HEADS, "mse", half)
    assert "stack" in failed(kind())


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_a_batch_over_one_sample_more(kind, monkeypatch):
    """Where stacks go one by one."""
    true = Objective.batch_gradient

    def wrong(self, theta, indices, fixed, *, training=False):
        count = self.num_samples if indices is None else len(indices)
        return tuple(
            one * count / (count + 1) for one in true(self, theta, indices, fixed, training=training)
        )

    monkeypatch.setattr(Objective, "batch_gradient", wrong)
    monkeypatch.setattr("landscape.descent.gradients.perceptron_layers", lambda _: None)
    monkeypatch.setattr("landscape.descent.gradients.recorded_function", lambda *_: None)
    assert "stack" in failed(kind())


# --- ends -----------------------------------------------------------------------------------


def broken_end(monkeypatch, **changes):
    """What is said of every end, changed by functions of what is true."""
    true = critical.examined

    def examined(*given, **named):
        end = true(*given, **named)
        return dataclasses.replace(
            end, **{name: change(getattr(end, name)) for name, change in changes.items()}
        )

    monkeypatch.setattr(critical, "examined", examined)


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"cost": lambda one: 1.01 * one}, {"cost", "cost of an end"}),
        ({"gradient_norm": lambda one: 1.01 * one}, {"gradient norm of an end"}),
        ({"smallest_eigenvalue": lambda one: one + 1e-3}, {"eigenvalues of an end"}),
        ({"largest_eigenvalue": lambda one: 1.001 * one}, {"eigenvalues of an end"}),
        ({"index": lambda one: one + 1}, {"index of an end"}),
        ({"status": lambda one: "minimum"}, {"kind of an end", "kinds of the ends"}),
        ({"status": lambda one: "kink"}, {"kind of an end", "kinds of the ends"}),
    ],
)
def test_what_is_said_of_an_end(changes, seen, monkeypatch):
    broken_end(monkeypatch, **changes)
    assert failed(descents()) == seen


def test_the_point_before_polishing_for_that_after(monkeypatch):
    true = critical.perfected
    monkeypatch.setattr(
        critical, "perfected", lambda wide, theta, **how: true(wide, theta, **how)._replace(theta=0.9 * theta)
    )
    assert "polish" in failed(descents(widths=[1], restarts=[2], polish=True))


class Ridge(nn.Module):
    """u² − ε v²/2 + v⁴: a saddle at (0, 0) whose one negative eigenvalue is −ε."""

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.tensor([1.0, 0.005], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        u, v = self.place
        return u**2 - 1e-3 * v**2 / 2 + v**4 + 0 * x[:, :1]


def ridge(width: int, depth: int, seed: int) -> Objective:
    return Objective(Ridge(), "output", (torch.zeros(3, 1, dtype=torch.float64), torch.zeros(3, 1)))


RIDGE = {"widths": [1], "restarts": [1], "lr": [0.2], "steps": 100, "max_steps": 100}


def test_an_eigenvalue_beyond_its_stated_error_counts(monkeypatch):
    """λ = −7e-4 where ‖∇F‖ = 5e-6: a hundred times the error would hide it."""
    found = minima(ridge, **RIDGE)
    assert found.index.item() == 1
    assert found.end_status.item() == "saddle"
    assert found.gradient_norm.item() < -found.smallest_eigenvalue.item() < 200 * found.gradient_norm.item()
    assert failed(found) == set()
    monkeypatch.setattr(critical, "zero_threshold", lambda *where, **how: 200 * found.gradient_norm.item())
    assert {"index of an end", "kind of an end"} == failed(minima(ridge, **RIDGE))


@pytest.mark.parametrize("sign", [1, -1])
def test_an_eigenvalue_on_its_way_to_zero_does_not(sign, monkeypatch):
    """λ = ±3e-4 of ±v⁴, where ‖∇F‖ = 5e-7 is far below it: at the critical point it is 0."""

    def bend(self, x: Tensor) -> Tensor:
        u, v = self.place
        return u**2 + sign * v**4 + 0 * x[:, :1]

    monkeypatch.setattr(Ridge, "forward", bend)
    found = minima(ridge, **RIDGE)
    assert (found.index.item(), found.end_status.item()) == (0, "degenerate")
    assert failed(found) == set()


def permuted(width: int, depth: int, seed: int) -> Objective:
    """One net, its hidden units turned round ``seed`` times."""
    subject = objective(width=4)
    first, _, last = subject.module
    with torch.no_grad():
        first.weight.copy_(first.weight.roll(seed, 0))
        first.bias.copy_(first.bias.roll(seed, 0))
        last.weight.copy_(last.weight.roll(seed, 1))
    return Objective(subject.module, "mse", subject.samples)


COPIES = {"widths": [4], "restarts": [4], "lr": [0.05], "steps": 30, "max_steps": 30}


def test_copies_that_differ_by_the_order_of_units_are_one_end(monkeypatch):
    found = minima(permuted, **COPIES)
    assert found.num_distinct.tolist() == [[1]]
    assert found.num_distinct_costs.tolist() == [[1]]
    monkeypatch.setattr(cells, "_outputs", lambda wide, thetas: thetas.numpy())
    assert failed(minima(permuted, **COPIES)) == {"distinct ends"}


def test_costs_told_apart_that_are_the_same(monkeypatch):
    monkeypatch.setattr(counts, "num_distinct_values", lambda values, tolerance: len(values))
    assert failed(minima(permuted, **COPIES)) == {"distinct ends"}


def test_a_grid_of_outputs_transposed(monkeypatch):
    subject = objective(width=4)
    (x,), y = subject.samples

    def plane(width: int, depth: int, seed: int) -> Objective:
        module = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 1))
        return Objective(module.double(), "mse", (x[:, :2], y))

    assert "prediction" in names(found := minima(plane, **COPIES))
    assert failed(found) == set()
    true = input_plane.outputs
    monkeypatch.setattr(input_plane, "outputs", lambda *given: true(*given).T)
    assert failed(minima(plane, **COPIES)) == {"prediction"}


# --- noise ----------------------------------------------------------------------------------


def changed(monkeypatch, **changes):
    """Every probe, changed by functions of what is true."""
    true = gradient_noise.probed
    monkeypatch.setattr(
        gradient_noise,
        "probed",
        lambda *given: (one := true(*given))._replace(
            **{name: change(one) for name, change in changes.items()}
        ),
    )


@pytest.mark.parametrize(
    ("name", "change", "seen"),
    [
        ("loss", lambda one: 1.001 * one.loss, {"start loss", "loss at a probe"}),
        ("squared_norm", lambda one: 1.001 * one.squared_norm, {"gradient at a probe"}),
        ("variance", lambda one: one.variance + one.squared_norm, {"variance at a probe"}),
        ("curvature", lambda one: 20 / 19 * one.curvature, {"curvature at a probe"}),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_said_of_a_probe(name, change, seen, dtype, monkeypatch):
    assert name in Probe._fields
    changed(monkeypatch, **{name: change})
    assert failed(noise(dtype)) == seen


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_derivative_of_the_square_loss_that_lacks_its_two(dtype, monkeypatch):
    def halved(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        each, slopes = perceptron.mse(outputs, targets)
        return each, slopes / 2

    monkeypatch.setitem(perceptron.HEADS, "mse", halved)
    assert {"stacked gradient", "stack"} <= failed(noise(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_run_measured_after_the_step_instead_of_before(dtype, monkeypatch):
    true = _MeasuredStack._slopes

    def late(self, thetas):
        return true(
            self, [theta - 0.01 * slope for theta, slope in zip(thetas, true(self, thetas), strict=True)]
        )

    monkeypatch.setattr(_MeasuredStack, "_slopes", late)
    assert failed(noise(dtype)) == {"measured step"}


def test_a_mean_over_other_measurements(monkeypatch):
    true = _MeasuredStack.run

    def run(self, progress):
        found = true(self, progress)
        return found | {"means": found["means"] * 30 / 31}

    monkeypatch.setattr(_MeasuredStack, "run", run)
    assert failed(noise()) == {"mean of a run"}


def test_an_interval_that_is_not_students(monkeypatch):
    fit = powerlaw.fit_power_law

    def normal(*args):
        found = fit(*args)
        shorter = float(norm.ppf(0.975) / student.ppf(0.975, 1))
        return found._replace(interval=found.exponent + shorter * (found.interval - found.exponent))

    monkeypatch.setattr(powerlaw, "fit_power_law", normal)
    assert failed(noise(step_sizes=(0.01, 0.02, 0.05))) == {"power law"}


def test_a_bound_without_the_size_of_the_batch(monkeypatch):
    true, sizes = stationarity.gradient_bound, iter([1, 1, 3, 6])

    def wrong(steps, *, lipschitz, variance, above):
        return true(steps, lipschitz=lipschitz, variance=variance * next(sizes), above=above)

    monkeypatch.setattr(stationarity, "gradient_bound", wrong)
    assert failed(noise()) == {"table"}


class WithN(np.ndarray):
    """An array whose standard deviation divides by n whatever is asked."""

    def std(self, axis=None, ddof=0):
        return np.asarray(self).std(axis)


def test_a_standard_error_with_n(monkeypatch):
    module = importlib.import_module("landscape.analyses.noise")
    true = module._result
    monkeypatch.setattr(
        module,
        "_result",
        lambda settings, runs, *more: true(settings, runs._replace(means=runs.means.view(WithN)), *more),
    )
    assert failed(noise()) == {"table"}


def test_bound_and_standard_error_by_their_formulas():
    found = noise(num_seeds=5)
    runs, means = found.mean_squared_gradient_norm, found.mean_squared_gradient_norm.sum(1) / 5
    np.testing.assert_allclose(found.mean, means, rtol=1e-13)
    spread = ((runs - means[:, None]) ** 2).sum(1) / 4
    np.testing.assert_allclose(found.standard_error, (spread / 5) ** 0.5, rtol=1e-12)
    largest, noisiest = found.probe_curvature.max(), found.probe_variance.max()
    assert found.lipschitz == largest > found.probe_curvature[0]
    assert found.variance == noisiest
    expected = [
        alpha * largest * noisiest / size + 2 * found.start_loss / (60 * alpha)
        for alpha, size in zip(found.step_size, found.batch_size, strict=True)
    ]
    np.testing.assert_allclose(found.bound, expected, rtol=1e-12)


# --- budgets --------------------------------------------------------------------------------


def test_a_step_less_than_the_budget(monkeypatch):
    true = comparison._plan

    def short(budget, *more):
        plan = true(budget, *more)
        return dataclasses.replace(plan, num_steps=plan.num_steps - 1)

    monkeypatch.setattr(comparison, "_plan", short)
    assert "steps" in failed(efficiency())


def test_costs_recorded_of_other_points(monkeypatch):
    true = Objective.values
    monkeypatch.setattr(Objective, "values", lambda self, thetas, *more: 1.001 * true(self, thetas, *more))
    assert failed(efficiency()) == {"cost", "recorded cost"}


@pytest.mark.parametrize("sampling", ["uniform", "reshuffle"])
def test_observations_counted_without_the_short_batch(sampling, monkeypatch):
    monkeypatch.setattr(Budget, "observations", property(lambda self: self.steps * self.batch_size))
    assert failed(efficiency(sampling=sampling)) == (
        {"observations", "places"} if sampling == "reshuffle" else set()
    )


def test_a_spread_with_n(monkeypatch):
    monkeypatch.setattr(comparison, "mean_and_spread", lambda values: (values.mean(-1), values.std(-1)))
    assert failed(efficiency()) == {"table"}


def test_the_best_step_is_the_worst(monkeypatch):
    table = comparison.selected

    def worst(costs, steps):
        found = table(costs[:, :, ::-1], steps)
        return found | {"replica_cost": costs}

    monkeypatch.setattr(comparison, "selected", worst)
    assert failed(efficiency()) == {"table"}


def test_baselines_without_an_intercept(monkeypatch):
    true = np.linalg.lstsq
    monkeypatch.setattr(np.linalg, "lstsq", lambda x, y: (true(x * [1, 1, 1, 0], y)[0],))
    assert failed(efficiency()) == {"baselines"}


def test_baselines_that_are_left_out(monkeypatch):
    true = comparison.baseline_costs
    monkeypatch.setattr(comparison, "baseline_costs", lambda part: (true(part)[0], np.nan))
    assert failed(efficiency()) == {"baselines"}


def test_what_proofs_cost_is_little():
    """Beside a descent of thousands of steps; most of it is the Hessian of one end."""
    for kind, most in ((noise, 25), (efficiency, 60), (descents, 200)):
        with plain.counted() as cost:
            kind()
        assert cost.gradients < most
        assert cost.evaluations < 30


def test_steps_that_leave_a_point_where_it_is_allow_for_no_other_end():
    """At 1e30 steps of single samples of other slopes: what their difference over no way allowed was any end."""
    x = torch.ones(2, 1, dtype=torch.float64)
    module = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(module.weight, 1e30)
    net = Objective(module, lambda h, y: (h * y).abs().squeeze(1), (x, torch.tensor([[1e-9], [3e-9]])))
    stated = [Stated(0.1, "uniform", 1, 0)]
    for end, passes in ((1e30, True), (1.001e30, False)):
        points = np.array([1e30, end]).reshape(1, 2, 1)
        seen = Seen(np.zeros(1, int), np.zeros(1, int), np.full(1, 4), points)
        assert retaken(net, net, seen, stated).passed is passes


def test_a_loop_beside_begins_at_another_rounding_alone():
    """It takes the steps of plain descent, and ends where another rounding of the start leads."""
    module = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wide = Objective(module, "cross_entropy", (x, torch.arange(12) % 3))
    theta = start = torch.randn(len(wide.theta), generator=torch.Generator().manual_seed(1)).double()
    for _ in range(2):
        theta = theta - 5.0 * wide.gradient(theta)
    ends = [replay._beside(wide, Stated(5.0), start, 0, 2, eps) for eps in (0.0, 1e-9)]
    torch.testing.assert_close(ends[0], theta, rtol=1e-12, atol=1e-12)
    assert 1e-10 < float((ends[1] - theta).norm()) < 1e-6
