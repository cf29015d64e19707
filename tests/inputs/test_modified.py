"""Changed modules with a price: numbers in closed form, identities at every θ, once in F however the data are cut."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import landscape
from landscape import Objective
from landscape.errors import BadInput
from landscape.inputs.checkpoints import loaded
from landscape.inputs.models.modified import Exponential, ReQU, modified
from landscape.objective.penalised import identity_checks, penalised

X = torch.tensor([[-1.0], [0.0], [2.0]], dtype=torch.float64)


def log2(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.softplus(-targets * outputs[:, 0]) / math.log(2)


def cubed(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.relu(1 - targets * outputs[:, 0]) ** 3


def exponential(values: tuple[float, ...], labels: list[float], loss, regulariser: float = 0.1) -> Objective:
    """The sheet sums over the samples: F is a third of it, and so is its λ."""
    c0, c1, a, w, b = values
    base = nn.Linear(1, 1).double()
    changed = Exponential(base, 1, 1, regulariser / len(labels)).double()
    with torch.no_grad():
        base.weight.fill_(c1)
        base.bias.fill_(c0)
        changed.a.fill_(a)
        changed.w.fill_(w)
        changed.b.fill_(b)
    targets = torch.tensor(labels, dtype=torch.float64)
    return Objective(changed, penalised(loss), (X[: len(labels)], targets))


@pytest.mark.parametrize(
    ("loss", "value", "slopes"),
    [
        (log2, 2.830849606146, {"a": 0.232571963801, "w": -0.643552469089, "b": 0.118178972851}),
        (cubed, 9.476226962962, {"a": 11.052212529926, "w": 0.0, "b": 8.232909397444}),
    ],
)
def test_the_exponential_neuron_in_closed_form(loss, value, slopes):
    objective = exponential((0.5, -0.25, 0.75, 0.3, -0.2), [1, -1, 1], loss)
    assert 3 * objective.value(objective.theta) == pytest.approx(value, abs=2e-12)
    found = dict(zip([p.name for p in objective.pieces], objective.gradient(objective.theta), strict=True))
    for name, wanted in slopes.items():
        assert 3 * float(found[name]) == pytest.approx(wanted, abs=2e-12)
    point = {name: p.detach() for name, p in objective.module.named_parameters()}
    assert [one.passed for one in identity_checks(objective, point)] == [True]


def test_where_the_minimum_is_attained_only_the_regulariser_curves():
    objective = exponential((-1.0, -2.0, 0.0, 0.3, -0.2), [1, -1, -1], cubed)
    assert objective.value(objective.theta) == 0
    columns = [objective.hvp(objective.theta, e) for e in torch.eye(5, dtype=torch.float64)]
    eigenvalues = 3 * torch.linalg.eigvalsh(torch.stack(columns))
    assert eigenvalues.tolist() == pytest.approx([0, 0, 0, 0, 0.1], abs=1e-14)


class Nothing(nn.Module):
    """A bad minimum: f = 0, whatever is done."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        return 0 * self.unused + 0 * inputs[:, :1]


def at_a_bad_minimum(a: float = 0.0, b: float = 0.0) -> Objective:
    """F = (1 − a eᵇ)² + λa²/2 with λ = 0.1, w at an input of 0."""
    changed = Exponential(Nothing(), 1, 1, 0.1).double()
    with torch.no_grad():
        changed.a.fill_(a)
        changed.b.fill_(b)
    zero = torch.zeros(1, 1, dtype=torch.float64)
    return Objective(changed, penalised("mse"), (zero, zero + 1))


@pytest.mark.parametrize(
    ("b", "value"),
    [(0, 4.761904761905e-2), (1, 6.721282826082e-3), (3, 1.239222502059e-4), (10, 1.030576811113e-10)],
)
def test_the_price_at_a_bad_minimum_falls_with_b(b, value):
    a = math.exp(b) / (math.exp(2 * b) + 0.05)
    objective = at_a_bad_minimum(a, b)
    assert objective.value(objective.theta) == pytest.approx(value, rel=1e-9)
    slope = dict(zip([p.name for p in objective.pieces], objective.gradient(objective.theta), strict=True))
    assert float(slope["a"]) == pytest.approx(0, abs=1e-13 * math.exp(b))
    # Not critical: b would grow for ever.
    assert float(slope["b"]) == pytest.approx(-0.1 * a**2, rel=1e-6)


# Steps of 0.02 from (a, b) = (0, 0): F, a and b after each number of them.
ON_THE_WAY = {
    100: (0.0254386411, 0.7091211102, 0.3263744693),
    1000: (0.0107569494, 0.4621194377, 0.7629908873),
    10_000: (0.0013036485, 0.1613712427, 1.8227762214),
}


@pytest.mark.parametrize("steps", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_descent_from_a_bad_minimum_goes_to_infinity(steps):
    run = landscape.train(at_a_bad_minimum(), method="gd", lr=0.02, steps=steps, measure_every=100)
    rows = dict(zip(run.step.tolist(), range(len(run.step)), strict=True))
    for step, (loss, a, b) in ON_THE_WAY.items():
        if step > steps:
            continue
        assert run.loss[rows[step]] == pytest.approx(loss, abs=1e-10)
        assert run.largest_bias is not None
        assert run.largest_bias[rows[step]] == pytest.approx(b, abs=1e-10)
        assert run.parameter_norm is not None
        w = float(run.states["final"]["w"][0, 0])
        assert run.parameter_norm[rows[step]] == pytest.approx(math.sqrt(a**2 + b**2 + w**2), abs=1e-9)
    assert np.diff(run.largest_bias).min() > 0
    assert [check for check in run.checks if not check.passed] == []


@pytest.mark.parametrize(
    ("k", "value", "slope"),
    [(1, 4, 6.928203), (4, 1.265625, 1.597193), (10, 1.064245553203, 0.922942), (100, 1.002001, 0.283126),
     (10000, 1.000002000001, 0.028284)],
)  # fmt: skip
def test_the_path_to_infinity(k, value, slope):
    """(xyz − 1)² along (−1/k, √k, 1/k): F = (1 + k^(−3/2))², ‖∇F‖ falls and ‖θ‖ grows."""
    from landscape.inputs.models.toy import toy_chain

    one = torch.ones(1, 1, dtype=torch.float64)
    objective = Objective(toy_chain(-1 / k, k**0.5, 1 / k).double(), "mse", (one, one), dtype=torch.float64)
    theta = torch.tensor([-1 / k, k**0.5, 1 / k], dtype=torch.float64)
    assert objective.value(theta) == pytest.approx(value, abs=1e-12)
    assert objective.value(theta) == pytest.approx((1 + k**-1.5) ** 2, rel=1e-14)
    assert float(objective.gradient(theta).norm()) == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize(("w", "slope"), [(0.0, 0.0), (0.5, -0.17016795)])
def test_a_critical_point_with_a_neuron_that_is_no_minimum(w, slope):
    """f = c, x = −1, 0, 1, y = 1, −2, 1: at 0 ∇F = 0 and F = 2; with w = ½ it falls along a."""

    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.c = nn.Parameter(torch.zeros(1, dtype=torch.float64))

        def forward(self, inputs: Tensor) -> Tensor:
            return self.c + 0 * inputs[:, :1]

    changed = Exponential(Constant(), 1, 1, 0.1).double()
    with torch.no_grad():
        changed.a.fill_(0.0)
        changed.w.fill_(w)
    x = torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64)
    objective = Objective(changed, penalised("mse"), (x, torch.tensor([[1.0], [-2.0], [1.0]]).double()))
    assert objective.value(objective.theta) == 2
    found = dict(zip([p.name for p in objective.pieces], objective.gradient(objective.theta), strict=True))
    assert float(found["a"]) == pytest.approx(slope, abs=1e-8)
    if not w:
        columns = [objective.hvp(objective.theta, e) for e in torch.eye(4, dtype=torch.float64)]
        wanted = [0, 0, 0.0493751, 4.0506249]
        assert torch.linalg.eigvalsh(torch.stack(columns)).tolist() == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize(("s", "change"), [(0.1, -1.988727e-5), (0.2, -1.528146e-4)])
def test_the_second_unit_is_no_minimum(s, change):
    """The first unit grown by s along (1, 1/√2, 1/√2) changes F by (λ₁ − λ₂)s³ + O(s⁶)."""
    objective = requ([0.0, 0.0], [0.0, 0.0], (0.1, 0.12))
    t = (0.5 * math.log((2 - 0.12) / 0.12)) ** (1 / 3)
    root = 1 / math.sqrt(2)

    def value(first: float) -> float:
        module = objective.module
        assert isinstance(module, ReQU)
        with torch.no_grad():
            both = torch.tensor([first, t], dtype=torch.float64)
            module.a.copy_(both)
            module.w.copy_(root * both[:, None])
            module.b.copy_(root * both)
        return objective.value(objective.present_point().theta)

    assert value(s) - value(0.0) == pytest.approx(change, abs=1e-10)


def test_the_regulariser_bounds_the_loss_on_every_ray():
    objective = requ([0.3, -0.8], [0.5, 0.9], (0.1, 0.12))
    price = float(objective.module.price().detach())  # pyright: ignore[reportCallIssue]
    for t in (0.5, 1.0, 3.0, 10.0):
        assert objective.value(t * objective.theta) >= t**3 * price


def requ(a: list[float], w: list[float], regulariser: tuple[float, ...]) -> Objective:
    changed = ReQU(1, len(a), regulariser).double()
    with torch.no_grad():
        changed.strengths.copy_(torch.tensor(regulariser, dtype=torch.float64))
        changed.a.copy_(torch.tensor(a))
        changed.w.copy_(torch.tensor(w)[:, None])
        changed.b.copy_(torch.tensor(w))
    one = torch.ones(1, 1, dtype=torch.float64)
    return Objective(changed, penalised("bce"), (one, one))


@pytest.mark.parametrize(
    ("unit", "u", "value"), [(0, 1.472219489583, 0.198515243346), (1, 1.375767656521, 0.226967522501)]
)
def test_one_active_quadratic_unit_in_closed_form(unit, u, value):
    objective = requ([0.0, 0.0], [0.0, 0.0], (0.1, 0.12))
    t = (0.5 * math.log((2 - (0.1, 0.12)[unit]) / (0.1, 0.12)[unit])) ** (1 / 3)
    assert t**3 == pytest.approx(u, abs=1e-11)
    with torch.no_grad():
        module = objective.module
        assert isinstance(module, ReQU)
        module.a[unit], module.w[unit], module.b[unit] = t, t / math.sqrt(2), t / math.sqrt(2)
    theta = objective.present_point().theta
    assert objective.value(theta) == pytest.approx(value, abs=1e-11)
    assert float(objective.gradient(theta).norm()) < 1e-14
    columns = [objective.hvp(theta, e) for e in torch.eye(6, dtype=torch.float64)]
    eigenvalues = torch.linalg.eigvalsh(torch.stack(columns))
    assert bool(torch.isfinite(eigenvalues).all())
    assert eigenvalues[:3].tolist() == pytest.approx([0, 0, 0], abs=1e-14)
    if unit == 1:
        wanted = [0.266927267165, 0.461012942164, 1.798822125969]
        assert eigenvalues[3:].tolist() == pytest.approx(wanted, abs=1e-11)


def test_the_regulariser_of_every_unit_is_not_rounded_to_float32():
    given = {"width": 2, "regulariser": (0.1, 0.12)}
    changed = modified("requ", given, 0, nn.Linear(1, 1), input_shape=(1,), num_outputs=1).double()
    assert isinstance(changed, ReQU)
    assert changed.strengths.tolist() == [0.1, 0.12]
    drawn = modified(
        "requ", {"width": 9, "regulariser": 0.1}, 0, nn.Linear(1, 1), input_shape=(1,), num_outputs=1
    )
    assert isinstance(drawn, ReQU)
    shares = drawn.strengths / 0.1 - 1
    assert ((shares - shares.float()).abs() <= 1e-15).all()


def test_what_is_drawn_does_not_hang_on_the_default_dtype():
    draws = []
    for dtype in (torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        try:
            changed = modified("exponential", {}, 5, nn.Linear(2, 3), input_shape=(2,), num_outputs=3)
        finally:
            torch.set_default_dtype(torch.float32)
        draws.append(changed.get_parameter("w"))
    assert torch.equal(*draws)


def test_all_derivatives_are_zero_at_the_origin():
    objective = requ([0.0, 0.0], [0.0, 0.0], (0.1, 0.12))
    assert objective.value(objective.theta) == pytest.approx(math.log(2))
    assert objective.gradient(objective.theta).tolist() == [0] * 6
    assert objective.hvp(objective.theta, torch.ones(6, dtype=torch.float64)).tolist() == [0] * 6


@pytest.mark.parametrize("name", ["exponential", "requ"])
@pytest.mark.parametrize("loss", ["bce", nn.functional.binary_cross_entropy_with_logits, "mse"])
def test_the_price_is_counted_once_in_any_chunks(name, loss):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(23, 3, generator=generator, dtype=torch.float64)
    y = (x[:, :1] > 0).double()
    changed = modified(
        name, {"regulariser": 0.7}, 4, nn.Linear(3, 1), input_shape=(3,), num_outputs=1
    ).double()
    values = [Objective(changed, penalised(loss), (x, y), chunk_size=size) for size in (None, 1, 7, 22)]
    outputs = changed(x)
    plain = {"bce": nn.functional.binary_cross_entropy_with_logits, "mse": nn.functional.mse_loss}
    price = changed.price()  # pyright: ignore[reportCallIssue]
    wanted = plain.get(loss, loss)(outputs[:, :-1], y) + price
    for one in values:
        assert one.value(one.theta) == pytest.approx(float(wanted.detach()), rel=1e-12)
        point = {key: p.detach() for key, p in changed.named_parameters()}
        assert [check.passed for check in identity_checks(one, point)] == [True]


def test_the_identity_is_seen_to_fail_where_the_price_is_not_in_F(monkeypatch):
    objective = exponential((0.5, -0.25, 0.75, 0.3, -0.2), [1, -1, 1], log2)
    point = {name: p.detach() for name, p in objective.module.named_parameters()}
    monkeypatch.setattr(Exponential, "share", 1.0)
    assert [one.passed for one in identity_checks(objective, point)] == [True]
    monkeypatch.setattr(Exponential, "price", lambda self: torch.zeros((), dtype=torch.float64))
    assert [one.passed for one in identity_checks(objective, point)] == [False]


@pytest.mark.parametrize(("name", "classes"), [("exponential", 1), ("exponential", 10), ("requ", 1)])
def test_every_other_command_works_on_the_result(name, classes, tmp_path):
    data: dict[str, Any] = {"data": "digits"} if classes == 10 else {"data": "moons"}
    run = landscape.measure(
        None,
        "train",
        model="mlp",
        model_arg={"widths": 3},
        modify=name,
        modify_arg={"regulariser": 0.05},
        steps=3,
        output=str(tmp_path / "a.h5"),
        **data,
    )
    assert [one for one in run.checks if not one.passed] == []
    assert "regulariser identity" in [one.name for one in run.checks]
    again = landscape.measure(str(tmp_path / "a.h5"), "hessian", top_k=1)
    assert [one for one in again.checks if not one.passed] == []
    assert "regulariser identity" in [one.name for one in again.checks]
    assert run.parameter_norm is not None
    end = torch.cat([torch.from_numpy(one).double().flatten() for one in run.states["final"].values()])
    if name == "exponential":
        assert run.parameter_norm[-1] == pytest.approx(float(end.norm()), rel=1e-6)
        assert run.largest_bias is not None
        assert run.largest_bias[-1] == pytest.approx(float(run.states["final"]["b"].max()))
        assert any("at a bad minimum" in note for note in run.notes)
    else:
        assert run.largest_bias is None


@pytest.mark.parametrize(
    ("name", "arguments", "outputs"),
    [("cubic", {}, 1), ("requ", {}, 3), ("requ", {"regulariser": (0.1,)}, 1), ("exponential", {"regulariser": -1}, 1),
     ("exponential", {"depth": 1}, 1), ("requ", {"width": 0}, 1)],
)  # fmt: skip
def test_what_does_not_fit_is_refused(name, arguments, outputs):
    with pytest.raises(BadInput):
        modified(name, arguments, 0, nn.Linear(2, outputs), input_shape=(2,), num_outputs=outputs)


def test_a_model_is_changed_where_a_run_is_made_and_nowhere_else(tmp_path):
    run = {"model": "mlp", "data": "moons", "modify": "exponential"}
    made = landscape.measure(None, "train", output=tmp_path / "a.h5", epochs=1, **run)
    assert made.status == "complete"
    with pytest.raises(BadInput, match="modify"):
        landscape.measure(None, "efficiency", output=tmp_path / "m.h5", **run)


def test_a_gauss_newton_matrix_says_that_it_lacks_the_regulariser():
    objective = exponential((0.5, -0.25, 0.75, 0.3, -0.2), [1, -1, 1], "mse")
    objective = Objective(objective.module, penalised("mse"), (X, X / 2))
    found = landscape.hessian(objective, objective.theta, top_k=1, operator="gauss-newton")
    assert any("regulariser" in note for note in found.notes)
    assert not any(
        "regulariser" in note for note in landscape.hessian(objective, objective.theta, top_k=1).notes
    )


@pytest.mark.parametrize("name", ["exponential", "noise"])
def test_weights_of_the_module_before_are_taken(name):
    """What is added stays as it is drawn, and is named; weights of the whole are taken whole."""

    def changed() -> nn.Module:
        torch.manual_seed(0)
        base = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        return modified(name, {}, 3, base, input_shape=(2,), num_outputs=1, num_samples=4)

    torch.manual_seed(1)
    trained = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).state_dict()
    drawn, said = changed().state_dict(), list[str]()
    found = loaded(changed(), trained, "w.pt", say=said.append).state_dict()
    for key, tensor in found.items():
        wanted = trained[key.removeprefix("base.")] if key.startswith("base.") else drawn[key]
        assert torch.equal(tensor, wanted)
    assert said == [
        "w.pt has the module that `modify` changes; what is added stays as drawn: "
        + ("a, w, b" if name == "exponential" else "noise0")
    ]
    whole = {key: tensor + 1 for key, tensor in found.items()}
    again = loaded(changed(), whole, "all.pt", say=said.append).state_dict()
    assert all(torch.equal(again[key], whole[key]) for key in whole)
    with pytest.raises(BadInput, match="does not fit"):
        loaded(changed(), {"0.weight": trained["0.weight"]}, "few.pt")
