"""The checks themselves: their bounds by number, and that each fails where the library is off by more."""

import pytest
import torch
from torch import nn

import landscape
from landscape import Objective, Point
from landscape.objective import checks


def net(dtype: torch.dtype = torch.float64) -> Objective:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    return Objective(module, "cross_entropy", (x, torch.arange(20) % 2), dtype=dtype)


def off_by(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """Makes every loss of the library too large by a share of it."""
    sums = Objective._sums
    monkeypatch.setattr(Objective, "_sums", lambda self, *given: sums(self, *given) * (1 + share))


@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 2e-5), (torch.bfloat16, 5e-2)]
)
def test_bounds_by_number(dtype, bound):
    assert checks.rounding(net(dtype)) == bound


def test_differences_are_relative_down_to_a_thousandth():
    assert checks.close("", 3.0, 2.0, 1, "").value == 0.5
    assert checks.close("", 2e3, 1e3, 1, "").value == 1
    assert checks.close("", 2e-3, 1e-3, 1, "").value == 1
    assert checks.close("", 1e-6, 0.0, 1, "").value == pytest.approx(1e-3)


@pytest.mark.parametrize(("dtype", "share"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
def test_a_loss_that_is_off_fails(dtype, share, monkeypatch):
    objective = net(dtype)
    point = objective.present_point()
    true = checks.independent_loss(objective, point)
    assert checks.agreement("loss", objective, objective.value(point.theta), point, "").passed
    off_by(monkeypatch, share)
    assert checks.independent_loss(objective, point) == true
    check = checks.agreement("loss", objective, objective.value(point.theta), point, "")
    assert not check.passed
    assert check.value == pytest.approx(share, rel=0.1)


OTHER = {
    "slice1d": {"num_points": 3},
    "slice2d": {"num_points": 3},
    "hessian": {"top_k": 1},
    "certify": {},
    "sharpness": {"sigmas": (0.1,), "num_draws": 2, "ascent_steps": 1},
}
PAIRS = {
    "interpolate": {"num_points": 3},
    "align": {"num_points": 3},
    "connect": {"num_points": 3, "epochs": 1, "batch_size": 20},
}


@pytest.mark.parametrize("kind", [*OTHER, *PAIRS, "train", "noise"])
def test_losses_that_are_off_fail_in_every_kind(kind, monkeypatch):
    objective = net()
    point = objective.present_point()
    other = Point(point.theta.flip(0), point.fixed)
    off_by(monkeypatch, 1e-6)
    function = getattr(landscape, kind)
    if kind in PAIRS:
        result = function(objective, point, other, **PAIRS[kind])
    elif kind == "train":
        result = function(objective, epochs=1, batch_size=10)
    elif kind == "noise":
        options = {
            "step_sizes": (0.01, 0.02),
            "batch_sizes": (1,),
            "num_steps": 4,
            "num_seeds": 2,
            "num_probes": 1,
        }
        result = function(objective, point, **options)
    else:
        result = function(objective, point, **OTHER[kind])
    assert result.status == "failed-checks"


def test_a_bend_on_the_way_is_no_wrong_derivative(monkeypatch):
    """Inputs of a thousand and targets of a million: units turn over within a thousandth of ‖θ‖."""
    generator = torch.Generator().manual_seed(0)
    x, y = (10**k * torch.randn(20, n, generator=generator) for k, n in ((3, 4), (6, 1)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        objective = Objective(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)), "mse", (x, y))
    run = landscape.train(objective, epochs=3, batch_size=8, lr=1e-2)
    point = objective.point({name: torch.from_numpy(one) for name, one in run.states["final"].items()})
    for at in (objective.present_point(), point):
        assert [one.name for one in checks.meaning(objective, at) if not one.passed] == []
    whole = Objective.value_and_gradient
    monkeypatch.setattr(
        Objective, "value_and_gradient", lambda self, *a: (whole(self, *a)[0], 10 * whole(self, *a)[1])
    )
    plain_one = net(torch.float32)
    failed = [one.name for one in checks.meaning(plain_one, plain_one.present_point()) if not one.passed]
    assert failed == ["cut, derivative"]


class Twice(torch.autograd.Function):
    """x, with twice its derivative."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, *slopes):
        return 2 * slopes[0]


class Surrogate(torch.autograd.Function):
    """A step, with the derivative of a smooth one."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0).to(x)

    @staticmethod
    def backward(ctx, *slopes):
        return slopes[0] / (1 + ctx.saved_tensors[0].abs()) ** 2


class Through(nn.Module):
    """``act`` between two layers."""

    def __init__(self, act):
        super().__init__()
        self.below, self.act, self.above = nn.Linear(3, 4), act, nn.Linear(4, 2)

    def forward(self, x):
        return self.above(self.act(self.below(x)))


class Shift(nn.Module):
    """|w| at w = 0 beside a layer."""

    def __init__(self):
        super().__init__()
        self.layer, self.shift = nn.Linear(3, 2), nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return self.layer(x) + self.shift.abs()


OTHER_GRADIENT = "the gradient that autograd gives is another"


def derivative_check(module):
    torch.manual_seed(1)
    x = torch.randn(20, 3, dtype=torch.float64)
    objective = Objective(module().double(), "cross_entropy", (x, torch.arange(20) % 2))
    return checks.meaning(objective, objective.present_point())[2]


@pytest.mark.parametrize(
    ("act", "is_another"),
    [
        (lambda x: x + (x.round() - x).detach(), True),
        (Surrogate.apply, True),
        (lambda x: Twice.apply(x).tanh(), True),
        (lambda x: x.tanh() * x.detach(), True),
        (torch.tanh, False),
        (torch.relu, False),
        (torch.round, False),
    ],
)
def test_why_a_gradient_is_no_derivative_is_said_beside_the_check_that_fails(act, is_another):
    check = derivative_check(lambda: Through(act))
    assert check.passed is not is_another
    assert (OTHER_GRADIENT in check.meaning) is is_another


def test_a_kink_is_said_where_the_derivative_is_none():
    check = derivative_check(Shift)
    assert not check.passed
    assert check.meaning.endswith("; F has a kink there: its differences ahead and behind have two limits")


def test_nothing_is_said_of_the_module_where_the_library_is_wrong(monkeypatch):
    own = Objective.value_and_gradient

    def off(self, *given):
        value, slope = own(self, *given)
        return value, 1.5 * slope

    monkeypatch.setattr(Objective, "value_and_gradient", off)
    check = derivative_check(lambda: Through(torch.tanh))
    assert not check.passed
    assert check.meaning == "dF along a random direction against a difference of plain loops"


def of_a_few(seed: int, dtype: torch.dtype, steps: int = 0) -> tuple[Objective, Point]:
    """A net of three samples, after so many steps that make F small."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 3)).to(dtype)
        x = 5 * torch.randn(3, 5, dtype=dtype)
    optimizer = torch.optim.Adam(module.parameters(), 0.03)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), torch.arange(3)).backward()
        optimizer.step()
    objective = Objective(module, "cross_entropy", (x, torch.arange(3)), dtype=dtype)
    return objective, objective.present_point()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("steps", [100, 1000, pytest.param(5000, marks=pytest.mark.slow)])
def test_the_derivative_of_a_net_that_fits_its_data_is_not_in_doubt_for_rounding(steps, dtype):
    for seed in range(2 if steps == 5000 else 4):
        objective, point = of_a_few(seed, dtype, steps)
        assert all(one.passed for one in checks.meaning(objective, point))


def test_a_slope_that_is_too_large_widens_no_tolerance_of_its_own():
    gaps = []
    for seed in range(24):
        objective, point = of_a_few(seed, torch.float32)
        value, slope = objective.value_and_gradient(point.theta, point.fixed)
        found = {one.name: one for one in checks.meaning(objective, point, (value, 2 * slope))}
        gaps.append(found["cut, derivative"].value)
    # Beside a bend that such a slope makes, of 0.4 of its error, all gaps would stay below 0.05/0.4.
    assert sorted(gaps)[3 * len(gaps) // 4] > 0.05 / 0.4
