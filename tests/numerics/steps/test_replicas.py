"""Replicas trained as one against a plain loop for each: same samples, same steps, same ends."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.descent.gradients import by_hand, by_vmap, perceptron_layers, stacked_gradients
from landscape.errors import BadInput
from landscape.numerics.steps.replicas import Plan, Replicas, stacks
from landscape.numerics.steps.sampling import Sampler
from landscape.numerics.steps.schedules import PARAMETERS, Plateau, Stall, step_size

LOSSES = {
    "bce": functional.binary_cross_entropy_with_logits,
    "cross_entropy": functional.cross_entropy,
    "mse": functional.mse_loss,
}
ACTIVATIONS = [
    nn.ReLU(),
    nn.Tanh(),
    nn.Sigmoid(),
    nn.SiLU(),
    nn.LeakyReLU(0.1),
    nn.ELU(0.7),
    nn.GELU(),
    nn.GELU("tanh"),
    nn.Softplus(2.0),
]


@st.composite
def perceptrons(draw: st.DrawFn) -> Objective:
    """A small perceptron with data and a built-in loss, in float64."""
    torch.manual_seed(draw(st.integers(0, 99)))
    widths = draw(st.lists(st.integers(1, 4), max_size=2))
    loss = draw(st.sampled_from(sorted(LOSSES)))
    num_outputs = draw(st.integers(2 if loss == "cross_entropy" else 1, 3))
    layers: list[nn.Module] = [nn.Flatten()] if draw(st.booleans()) else []
    num_inputs = 4 if layers else 3
    for width in widths:
        layers += [nn.Linear(num_inputs, width, bias=draw(st.booleans())), draw(st.sampled_from(ACTIVATIONS))]
        num_inputs = width
    layers += [nn.Linear(num_inputs, num_outputs)] + [nn.Tanh()] * draw(st.integers(0, 1))
    n = draw(st.integers(1, 6))
    x = torch.randn(n, 2, 2) if isinstance(layers[0], nn.Flatten) else torch.randn(n, 3)
    y = {
        "bce": torch.rand(n, num_outputs, dtype=torch.float64).round(decimals=draw(st.sampled_from([0, 1]))),
        "cross_entropy": torch.randint(num_outputs, (n,)),
        "mse": torch.randn(n, num_outputs, dtype=torch.float64),
    }[loss]
    return Objective(nn.Sequential(*layers).double(), loss, (x.double(), y))


class Crooked(nn.Module):
    """No perceptron: a product of two branches, a scale of its own, a frozen part."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(3, 2), nn.Linear(3, 2, bias=False)
        self.scale = nn.Parameter(torch.tensor([1.5]))
        self.norm = nn.LayerNorm(2)
        self.right.weight.requires_grad = False

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.left(x) * self.right(x).sigmoid()) * self.scale


def crooked(loss: str = "cross_entropy", dtype: torch.dtype = torch.float64) -> Objective:
    torch.manual_seed(1)
    y = torch.arange(7) % 2 if loss == "cross_entropy" else torch.randn(7, 2, dtype=dtype)
    return Objective(Crooked().to(dtype), loss, (torch.randn(7, 3, dtype=dtype), y))


def plain(objective: Objective, theta: Tensor, plan: Plan, seed: int = 0) -> tuple[Tensor, int]:
    """One replica by a loop that everybody would write: the end, and the steps taken."""
    module = copy.deepcopy(objective.module).to(objective.dtype)
    parameters = [p for p in module.parameters() if p.requires_grad]
    nn.utils.vector_to_parameters(theta.clone(), parameters)
    (x,), y = objective.samples
    sampler = plan.sampler and Sampler(plan.sampler.rule, len(y), plan.sampler.batch_size, seed)
    loss = LOSSES[objective.loss.name]
    arguments = PARAMETERS[plan.schedule] | {k: v for k, v in plan.arguments.items() if k != "every"}
    plateau, lr = Plateau(plan.step_size, arguments), plan.step_size
    best, waited = math.inf, 0
    for step in range(plan.num_steps):
        past = step - plan.begin
        whole = loss(module(x), y).item()
        if not math.isfinite(whole):
            break
        if plan.patience is not None and past >= 0:
            is_better = whole < best - plan.threshold
            best, waited = (whole, 0) if is_better else (best, waited + 1)
            if waited >= plan.patience:
                break
        if past >= 0 and past % plan.every == 0:
            if plan.schedule != "plateau":
                lr = step_size(plan.schedule, arguments, plan.step_size, past // plan.every)
            elif past:
                lr = plateau.observe(whole)
        batch = slice(None) if sampler is None else sampler.next()
        slopes = torch.autograd.grad(loss(module(x[batch]), y[batch]), parameters)
        with torch.no_grad():
            for parameter, slope in zip(parameters, slopes, strict=True):
                parameter -= lr * slope
    else:
        step = plan.num_steps
    return nn.utils.parameters_to_vector(parameters).detach(), step


def starts(objective: Objective, count: int) -> Tensor:
    return torch.randn(count, objective.num_parameters, dtype=objective.dtype) * 0.5


PLANS = [
    {"schedule": "constant"},
    {"schedule": "piecewise", "arguments": {"every": 3, "gamma": 0.5}, "begin": 2},
    {"schedule": "exponential", "arguments": {"rate": 0.1}},
    {"schedule": "polynomial", "arguments": {"beta": 0.5, "every": 2}},
    {"schedule": "plateau", "arguments": {"threshold": 1e-2, "patience": 2, "cooldown": 1, "floor": 1e-3}},
    {"schedule": "plateau", "arguments": {"threshold": 1e-2, "every": 3}, "begin": 4},
    {"schedule": "constant", "patience": 2, "threshold": 1e-2, "begin": 3},
]


def plans_for(objective: Objective, sampling: str | None, batch_sizes=(1, 3, 3)) -> list[Plan]:
    """Every schedule, with steps, lengths and batches that differ."""
    found = []
    for i, about in enumerate(PLANS):
        sampler = None
        if sampling:
            if "patience" in about:
                continue
            sampler = Sampler(sampling, objective.num_samples, batch_sizes[i % len(batch_sizes)], i)
        found.append(Plan(step_size=0.05 * (i + 1), num_steps=9 + i % 3, sampler=sampler, **about))
    return found


@settings(max_examples=settings().max_examples // 4)
@given(perceptrons(), st.sampled_from([None, "uniform", "cycle", "reshuffle"]), st.booleans())
def test_each_replica_takes_the_steps_of_its_plain_loop(objective, sampling, general):
    plans = plans_for(objective, sampling)
    thetas = starts(objective, len(plans))
    replicas = Replicas(by_vmap(objective) if general else stacked_gradients(objective), thetas, plans)
    replicas.advance(100)
    assert replicas.num_active == 0
    for i, plan in enumerate(plans):
        theta, steps = plain(objective, thetas[i], plan, seed=i)
        assert replicas.steps[i] == steps
        torch.testing.assert_close(replicas.thetas[i], theta, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("sampling", [None, "reshuffle"])
@pytest.mark.parametrize(("loss", "dtype"), [("cross_entropy", torch.float64), ("mse", torch.float32)])
def test_a_module_of_any_shape(sampling, loss, dtype):
    objective = crooked(loss, dtype)
    assert perceptron_layers(objective) is None
    plans = plans_for(objective, sampling)
    thetas = starts(objective, len(plans))
    replicas = Replicas(stacked_gradients(objective), thetas, plans)
    replicas.advance(100)
    for i, plan in enumerate(plans):
        theta, steps = plain(objective, thetas[i], plan, seed=i)
        assert replicas.steps[i] == steps
        tolerance = {"rtol": 1e-9, "atol": 1e-11} if dtype == torch.float64 else {"rtol": 1e-3, "atol": 1e-4}
        torch.testing.assert_close(replicas.thetas[i], theta, **tolerance)


@settings(max_examples=settings().max_examples // 2)
@given(perceptrons(), st.booleans(), st.booleans())
def test_the_gradient_by_hand_is_the_general_one(objective, in_batches, penalised):
    objective.l2 = 0.3 if penalised else 0.0
    layers = perceptron_layers(objective)
    assert layers is not None
    thetas = starts(objective, 3)
    indices = torch.randint(objective.num_samples, (3, 4)) if in_batches else None
    ours, general = by_hand(objective, layers)(thetas, indices), by_vmap(objective)(thetas, indices)
    torch.testing.assert_close(ours, (general[0], general[1]), rtol=1e-10, atol=1e-12)
    if not in_batches:
        for theta, value, slope in zip(thetas, *ours, strict=True):
            torch.testing.assert_close(float(value), objective.value(theta), rtol=1e-12, atol=1e-14)
            torch.testing.assert_close(slope, objective.gradient(theta), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("in_batches", [False, True])
def test_narrow_and_outer_products_are_the_same_numbers(in_batches):
    """Ten units on two inputs: the products that the recorded graph turns round."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 10), nn.Tanh(), nn.Linear(10, 9), nn.Tanh(), nn.Linear(9, 1)).double()
    x = torch.randn(20, 2, dtype=torch.float64)
    objective = Objective(module, "mse", (x, x.sum(1, keepdim=True)))
    layers = perceptron_layers(objective)
    assert layers is not None
    thetas = starts(objective, 4)
    indices = torch.randint(20, (4, 12)) if in_batches else None
    ours, general = by_hand(objective, layers)(thetas, indices), by_vmap(objective)(thetas, indices)
    torch.testing.assert_close(ours, (general[0], general[1]), rtol=1e-12, atol=1e-14)
    if indices is None:
        torch.testing.assert_close(ours[1][2], objective.gradient(thetas[2]), rtol=1e-11, atol=1e-13)


def test_the_gradient_of_a_loss_that_is_almost_zero_is_not_zero():
    x = torch.tensor([[1.0], [-1.0]])
    objective = Objective(nn.Sequential(nn.Linear(1, 1)), "bce", (x, torch.tensor([1.0, 0.0])))
    _, slopes = stacked_gradients(objective)(torch.tensor([[40.0, 0.0]]), None)
    assert float(slopes[0, 0]) == pytest.approx(-math.exp(-40), rel=1e-5)


def biased_first(layer):
    """A layer whose bias stands before its weight in θ."""
    weight = layer.weight
    del layer.weight
    layer.register_parameter("weight", weight)
    return layer


def with_scale(layer):
    """A layer with a parameter more."""
    layer.register_parameter("scale", nn.Parameter(torch.ones(3)))
    return layer


@pytest.mark.parametrize(
    "change",
    [
        lambda: nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 2)),
        lambda: nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 2)),
        lambda: nn.Sequential(nn.Sequential(nn.Linear(3, 2))),
        lambda: nn.Sequential(nn.Tanh(), nn.Linear(3, 2)),
        lambda: nn.Sequential(shared := nn.Linear(3, 3), shared, nn.Linear(3, 2)),
        lambda: nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2).requires_grad_(False)),
        lambda: nn.Sequential(biased_first(nn.Linear(3, 3)), nn.Linear(3, 2)),
        lambda: nn.Sequential(with_scale(nn.Linear(3, 3)), nn.Linear(3, 2)),
    ],
)
def test_what_is_no_plain_perceptron_goes_the_general_way(change):
    objective = Objective(change(), "cross_entropy", (torch.randn(4, 3), torch.arange(4) % 2))
    assert perceptron_layers(objective) is None
    losses, slopes = stacked_gradients(objective)(starts(objective, 2), None)
    assert losses.shape == (2,)
    assert slopes.shape == (2, objective.num_parameters)


def test_a_module_that_looks_at_values_goes_one_by_one():
    class Looks(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * (2.0 if float(self.weight.detach().sum()) > 0 else 1.0)

    objective = Objective(
        Looks(3, 2).double(), "cross_entropy", (torch.randn(4, 3).double(), torch.arange(4) % 2)
    )
    thetas = starts(objective, 4)
    losses, slopes = stacked_gradients(objective)(thetas, None)
    for theta, value, slope in zip(thetas, losses, slopes, strict=True):
        assert float(value) == pytest.approx(objective.value(theta), rel=1e-12)
        torch.testing.assert_close(slope, objective.gradient(theta))


def test_batch_norm_is_refused():
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    objective = Objective(module, "cross_entropy", (torch.randn(4, 3), torch.arange(4) % 2))
    with pytest.raises(BadInput, match="batch norm in replicas"):
        stacked_gradients(objective)


class OwnNoise(nn.Linear):
    """Noise by a generator of its own, the same at every call."""

    def forward(self, x: Tensor) -> Tensor:
        made = super().forward(x)
        return made + torch.randn(made.shape, generator=torch.Generator().manual_seed(0), dtype=made.dtype)


def test_draws_by_a_generator_of_its_own_are_those_of_every_row():
    data = torch.randn(4, 3, dtype=torch.float64), torch.arange(4) % 2
    objective = Objective(OwnNoise(3, 2).double(), "cross_entropy", data)
    thetas = starts(objective, 3)
    for training in (False, True):
        losses, slopes = stacked_gradients(objective, training=training)(thetas, None)
        torch.testing.assert_close(losses, objective.values(thetas))
        torch.testing.assert_close(slopes, torch.stack([objective.gradient(theta) for theta in thetas]))


class Counts(nn.Linear):
    """Counts its calls in a buffer."""

    def __init__(self):
        super().__init__(3, 2)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        return super().forward(x)


def test_buffers_that_batches_move_are_refused_and_counts_are_not():
    data = torch.randn(4, 3), torch.arange(4) % 2
    normed = nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)), nn.Tanh(), nn.Linear(3, 2)
    )
    objective = Objective(normed, "cross_entropy", data)
    with pytest.raises(BadInput, match=r"weight\.0\._u, .*_v of Sequential, which batches move"):
        stacked_gradients(objective)
    thetas = starts(objective, 2)
    losses, _ = stacked_gradients(objective, training=False)(thetas, None)
    torch.testing.assert_close(losses, objective.values(thetas), rtol=1e-6, atol=0)
    objective = Objective(Counts(), "cross_entropy", data)
    stacked_gradients(objective)
    assert int(objective.module.calls) == 0


@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize("sampling", [None, "uniform", "reshuffle"])
def test_the_same_bits_twice_and_after_a_restart(sampling, general):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1))
    objective = Objective(module, "mse", (torch.randn(11, 2), torch.randn(11, 1)))
    gradients = by_vmap(objective) if general else stacked_gradients(objective)
    thetas = starts(objective, len(PLANS))

    def fresh() -> Replicas:
        plans = plans_for(objective, sampling)
        return Replicas(gradients, thetas[: len(plans)], plans)

    whole, again, broken, resumed = fresh(), fresh(), fresh(), fresh()
    whole.advance(50)
    for _ in range(50):
        again.advance(1)
    broken.advance(10)
    resumed.restore(broken.state())
    resumed.advance(40)
    for other in (again, resumed):
        assert torch.equal(whole.thetas, other.thetas)
        assert np.array_equal(whole.losses, other.losses, equal_nan=True)
        assert np.array_equal(whole.steps, other.steps)


def test_a_replica_that_diverges_stays_and_is_marked_and_the_others_go_on():
    objective = crooked("mse")
    thetas = starts(objective, 3)
    plans = [Plan(step_size=lr, num_steps=400) for lr in (0.01, 1e200, 0.02)]
    replicas = Replicas(stacked_gradients(objective), thetas, plans)
    replicas.advance(400)
    assert replicas.diverged.tolist() == [False, True, False]
    assert replicas.steps[[0, 2]].tolist() == [400, 400]
    assert replicas.steps[1] < 400
    alone = Replicas(stacked_gradients(objective), thetas[:1], plans[:1])
    alone.advance(400)
    torch.testing.assert_close(replicas.thetas[0], alone.thetas[0], rtol=1e-9, atol=1e-11)


@given(
    st.lists(st.lists(st.floats(0, 10), min_size=3, max_size=3), max_size=30),
    st.integers(1, 3),
    st.integers(0, 3),
)
def test_a_stall_of_many_is_a_plateau_of_each(rows, patience, cooldown):
    parameters = {**PARAMETERS["plateau"], "threshold": 0.5, "patience": patience, "cooldown": cooldown}
    each = [Plateau(1.0, parameters) for _ in range(3)]
    ones = torch.ones(3, dtype=torch.float64)
    stall, rates = Stall(0.5 * ones, patience * ones, cooldown * ones), ones.clone()
    for row in rows:
        rates = torch.where(stall.observe(torch.tensor(row, dtype=torch.float64)), rates * 0.5, rates)
        assert rates.tolist() == [one.observe(loss) for one, loss in zip(each, row, strict=True)]


def test_what_stacks_hold():
    assert stacks(50, 1.0, 1e9) == [slice(0, 50)]
    assert [s.stop - s.start for s in stacks(50, 1.0, 20.0)] == [17, 17, 16]
    assert len(stacks(3, 100.0, 1.0)) == 3


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"step_size": 0.0}, "step size 0; expected a positive number"),
        ({"num_steps": -1}, "no negative number"),
        ({"patience": 0}, "patience 0"),
        ({"arguments": {"every": 0}}, "every=0"),
        ({"schedule": "cosine"}, "unknown schedule"),
        ({"patience": 2, "sampler": Sampler("uniform", 4, 1, 0)}, "stop rule for a stochastic method"),
    ],
)
def test_plans_out_of_range(plan, message):
    objective = crooked()
    with pytest.raises(BadInput, match=message):
        Replicas(
            stacked_gradients(objective),
            starts(objective, 1),
            [Plan(**{"step_size": 0.1, "num_steps": 1} | plan)],
        )


def test_as_many_plans_as_replicas():
    with pytest.raises(BadInput, match="2 plans for 1 replicas"):
        Replicas(stacked_gradients(crooked()), starts(crooked(), 1), [Plan(step_size=1.0, num_steps=1)] * 2)


def test_step_sizes_of_periods_two_and_three_change_each_in_its_time():
    """With a slope of one, a replica goes as far as the sum of its step sizes."""
    plans = [
        Plan(step_size=1.0, num_steps=6, schedule="piecewise", arguments={"every": every, "gamma": 0.5})
        for every in (2, 3, 6)
    ]

    def ones(thetas: Tensor, indices: Tensor | None) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(thetas), dtype=torch.float64), torch.ones_like(thetas)

    stack = Replicas(ones, torch.zeros(3, 1, dtype=torch.float64), plans)
    stack.advance(6)
    assert (-stack.thetas[:, 0]).tolist() == [2 + 1 + 0.5, 3 + 1.5, 6]
