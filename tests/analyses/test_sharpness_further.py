"""Critical sharpness, Fisher–Rao norm and relative flatness against closed forms, dense matrices and plain loops."""

from itertools import count

import numpy as np
import pytest
import torch
from plain import another, named
from torch import nn

import landscape
from landscape import Objective
from landscape.curvature import along_gradient, further_proofs, invariants
from landscape.errors import BadInput

SMALL = {"sigmas": (0.1,), "num_draws": 2, "ascent_steps": 1, "rescaling": "none"}
ALL = {"critical": True, "fisher_rao": True, "relative_flatness": True}
ONE = torch.ones(1, 1, dtype=torch.float64)


def seeded(*layers) -> nn.Sequential:
    """A chain of layers whose random weights are always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return nn.Sequential(*(layer() for layer in layers)).double()


def relu_net(bias: bool = False) -> nn.Sequential:
    return seeded(
        lambda: nn.Linear(4, 7, bias=bias), nn.ReLU, lambda: nn.Linear(7, 6, bias=bias), nn.ReLU,
        lambda: nn.Linear(6, 3, bias=bias),
    )  # fmt: skip


def samples(seed: int = 3, count: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return x, torch.randint(3, (count,), generator=generator)


def scalar(loss, start: float = 1.0) -> Objective:
    """F = loss(w) of one weight w."""
    module = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(module.weight, start)
    return Objective(module, lambda h, y: loss(h).squeeze(1), (ONE, ONE))


def at(result, name: str, field: str = "values"):
    (place,) = np.flatnonzero(result.measure == name)
    return getattr(result, field)[place]


def hessian_of(regression) -> np.ndarray:
    (x,), _ = regression.samples
    return np.kron(np.eye(3), (2 * x.T @ x / (3 * len(x))).numpy())


# Critical sharpness


def test_on_a_quadratic_it_is_the_curvature_along_the_gradient(regression):
    """F(θ − ηg) = F − η gᵀg + η²/2 gᵀAg first rises at η = 2 gᵀg/gᵀAg."""
    H, g = hessian_of(regression), regression.gradient(regression.theta).numpy()
    bend = g @ H @ g / (g @ g)
    result = landscape.sharpness(regression, regression.theta, critical=True, **SMALL)
    assert at(result, "directional_sharpness") == pytest.approx(bend, rel=1e-12)
    assert abs(at(result, "critical_sharpness") - bend) <= at(result, "critical_sharpness", "errors")
    assert 0 < at(result, "critical_sharpness", "errors") <= 1.1e-6 * bend
    assert abs(result.critical_step - 2 / bend) <= result.critical_step_error
    rise = -result.search_step * (g @ g) + result.search_step**2 * (g @ H @ g) / 2
    np.testing.assert_allclose(result.search_rise, rise, rtol=1e-6, atol=1e-11 * result.loss)
    assert result.status == "complete"
    assert {"critical step", "first rise", "along ∇F"} <= set(named(result))


def test_on_a_quartic_it_is_not():
    """F = w⁴ at 1: g = 4, F(1 − 4η) > 1 from η = 1/2, so 4; the second derivative is 12."""
    objective = scalar(lambda h: h**4)
    result = landscape.sharpness(objective, objective.theta, critical=True, **SMALL)
    assert at(result, "critical_sharpness") == pytest.approx(4, rel=1e-6)
    assert at(result, "directional_sharpness") == pytest.approx(12, rel=1e-12)
    assert result.critical_step == pytest.approx(0.5, rel=1e-6)


def test_the_first_rise_counts_and_not_the_last():
    """Over the hill at w = −1 and down again behind it: η_c is where the hill begins."""
    objective = scalar(lambda h: h**2 / 2 - 4 * torch.exp(-((h + 3) ** 2)))
    result = landscape.sharpness(objective, objective.theta, critical=True, **SMALL)
    assert 1 - result.critical_step * float(objective.gradient(objective.theta)) == pytest.approx(-1, abs=0.2)


def test_where_the_gradient_is_zero_there_is_none_and_a_note_says_so():
    objective = scalar(lambda h: (h - 1) ** 2)
    result = landscape.sharpness(objective, objective.theta, critical=True, **SMALL)
    assert np.isnan(at(result, "critical_sharpness"))
    assert np.isnan(at(result, "directional_sharpness"))
    assert result.critical_step is None
    assert "no critical sharpness: along −∇F F stays as it is, as ∇F is zero" in result.notes
    assert result.status == "complete"


@pytest.mark.parametrize(
    ("loss", "note"),
    [
        (lambda h: -h, "does not rise up to a step of 1e+06 lengths of θ"),
        (lambda h: torch.exp(-h), "does not rise up to a step of 1e+06 lengths of θ"),
        (lambda h: 1 + 1e-20 * h, "neither falls nor rises by more than rounding"),
    ],
    ids=["falls", "levels off", "flat"],
)
def test_a_loss_that_never_rises_has_none(loss, note):
    objective = scalar(loss)
    result = landscape.sharpness(objective, objective.theta, critical=True, **SMALL)
    assert np.isnan(at(result, "critical_sharpness"))
    assert any(note in one for one in result.notes)
    assert result.status == "complete"


def test_a_fall_that_rounding_hides_is_not_said_to_be_a_rise():
    """F = 1000 + (w − 0.1)²/2 from w = 0 in float32: 2/η_c is 1, though no value tells that F falls before."""
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 0.0)
    one = torch.ones(1, 1)
    objective = Objective(module, lambda h, y: (1000 + (h - 0.1) ** 2 / 2).squeeze(1), (one, one))
    result = landscape.sharpness(objective, objective.theta, critical=True, **SMALL)
    assert np.isnan(at(result, "critical_sharpness"))
    said = "no critical sharpness: along −∇F F does not fall by more than rounding before it rises"
    assert said in result.notes
    assert at(result, "directional_sharpness") == pytest.approx(1, rel=1e-4)


def test_the_penalty_is_part_of_the_loss():
    """F = w²/2 + l2 w²/2: 1 + l2."""
    objective = scalar(lambda h: h**2 / 2).varied(l2=0.5)
    result = landscape.sharpness(objective, objective.theta, critical=True, **SMALL)
    assert at(result, "critical_sharpness") == pytest.approx(1.5, rel=1e-6)


def test_of_the_test_loss_along_the_step_of_the_training_loss(regression):
    """L₁(θ − ηg₂) − L₁ = −η g₁ᵀg₂ + η²/2 g₂ᵀH₁g₂ (Kalra et al. 2026)."""
    generator = torch.Generator().manual_seed(11)
    x = torch.randn(20, 5, generator=generator, dtype=torch.float64)
    test = regression.on((x, torch.randn(20, 3, generator=generator, dtype=torch.float64) + x[:, :3]))
    far = regression.theta + 3
    mine, other = (one.gradient(far).numpy() for one in (regression, test))
    assert mine @ other > 0
    truth = mine @ hessian_of(test) @ mine / (mine @ other)
    result = landscape.sharpness(regression, far, critical=True, test=test, **SMALL)
    assert at(result, "relative_critical_sharpness") == pytest.approx(truth, rel=1e-6)
    assert result.relative_critical_step == pytest.approx(2 / truth, rel=1e-6)
    assert len(result.relative_search_step) == len(result.relative_search_rise)
    assert {"relative critical step", "relative first rise"} <= set(named(result))
    opposite = regression.varied(data=(regression.samples.inputs[0], -regression.samples.targets))
    result = landscape.sharpness(regression, 0 * far, critical=True, test=opposite, **SMALL)
    assert np.isnan(at(result, "relative_critical_sharpness"))
    assert any(
        "the test loss does not fall by more than rounding before it rises" in one for one in result.notes
    )


def test_far_below_the_largest_eigenvalue_a_note_says_so():
    """F = (1000 a² + b²)/2 at a = 1e-6, b = 1: gᵀHg/gᵀg is 1 + 1e-3."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([1e-6, 1.0], dtype=torch.float64))

        def forward(self, x):
            return (500 * self.w[0] ** 2 + self.w[1] ** 2 / 2).expand(len(x))

    objective = Objective(Two(), "output", (ONE, ONE))
    result = landscape.sharpness(objective, objective.theta, critical=True, **SMALL)
    assert at(result, "critical_sharpness") == pytest.approx(1.001, rel=1e-5)
    assert any("gᵀHg/gᵀg is 0.001 of λ_max" in one for one in result.notes)


def test_in_float32_the_bracket_is_what_rounding_leaves():
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(2))
    wide = x.double()
    module = nn.Linear(5, 1)
    objective = Objective(module, "mse", (x, torch.ones(40, 1)))
    theta = objective.theta.double().numpy()
    inputs = np.concatenate([wide.numpy(), np.ones((40, 1))], axis=1)
    g = 2 * inputs.T @ (inputs @ theta - 1) / 40
    bend = g @ (2 * inputs.T @ inputs / 40) @ g / (g @ g)
    result = landscape.sharpness(objective, objective.theta, critical=True, **SMALL)
    error = at(result, "critical_sharpness", "errors")
    assert abs(at(result, "critical_sharpness") - bend) <= error < 1e-2 * bend
    assert result.status == "complete"


# The Fisher–Rao norm


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_of_a_homogeneous_net_it_is_that_of_its_outputs(loss):
    """‖θ‖²_fr = (L + 1)² E⟨∂ℓ/∂h, h⟩² for three layers without biases (Liang et al. 2019, theorem 3.1)."""
    x, y = samples()
    targets = y if loss == "cross_entropy" else torch.eye(3, dtype=torch.float64)[y]
    objective = Objective(relu_net(), loss, (x, targets))
    h = objective.module(x).detach().requires_grad_()
    of = nn.functional.cross_entropy if loss == "cross_entropy" else nn.functional.mse_loss
    slopes = torch.stack(
        [torch.autograd.grad(of(h[i : i + 1], targets[i : i + 1]), h)[0][i] for i in range(30)]
    )
    truth = 9 * float((slopes * h.detach()).sum(1).square().mean())
    result = landscape.sharpness(objective, objective.theta, fisher_rao=True, **SMALL)
    assert at(result, "fisher_rao_norm") ** 2 == pytest.approx(truth, rel=1e-12)
    assert named(result)["homogeneity"].passed
    assert "order q = 3" in named(result)["homogeneity"].meaning


def test_with_biases_it_is_the_mean_of_the_samples_own_gradients_and_knows_no_penalty(classifier):
    """By a loop over the samples; a net with biases is not homogeneous."""
    for l2 in (0.0, 0.3):
        objective = classifier.varied(l2=l2)
        point = another(objective, 2)
        theta, total = point.theta, 0.0
        for i in range(objective.num_samples):
            inputs, targets = objective.samples.picked(torch.tensor([i]))
            alone = objective.varied(data=(inputs[0], targets), l2=0.0)
            total += float(alone.gradient(theta, point.fixed) @ theta) ** 2
        result = landscape.sharpness(objective, point, fisher_rao=True, **SMALL)
        assert at(result, "fisher_rao_norm") ** 2 == pytest.approx(total / objective.num_samples, rel=1e-10)
        assert "homogeneity" not in named(result)
        assert result.status == "complete"


def test_a_loss_that_is_not_one_per_sample_has_none():
    x, y = samples()

    def pairwise(outputs, targets):
        return (outputs[:, 0].max() - outputs[:, 1].min()) ** 2

    objective = Objective(relu_net(), pairwise, (x, y))
    result = landscape.sharpness(objective, objective.theta, fisher_rao=True, **SMALL)
    assert np.isnan(at(result, "fisher_rao_norm"))
    assert any(note.startswith("no fisher rao norm:") for note in result.notes)
    assert result.status == "complete"


# Relative flatness


@pytest.mark.parametrize("layer", [None, "4", "2", "0", "0.weight"])
def test_it_is_the_sum_over_blocks_of_a_dense_hessian(layer):
    objective = Objective(relu_net(bias=True), "cross_entropy", samples()).varied(l2=0.2)
    name = (layer or "4").removesuffix(".weight")
    module, (x,), y = objective.module, objective.samples.inputs, objective.samples.targets
    weight = module[int(name)].weight.detach()
    parameters = dict(module.named_parameters())

    def loss(w):
        return nn.functional.cross_entropy(
            torch.func.functional_call(module, {**parameters, f"{name}.weight": w}, (x,)), y
        )

    H = torch.autograd.functional.hessian(loss, weight)
    truth = float(torch.einsum("su,ru,strt->", weight, weight, H))
    result = landscape.sharpness(objective, objective.theta, relative_flatness=True, layer=layer, **SMALL)
    found, error = at(result, "relative_flatness"), at(result, "relative_flatness", "errors")
    assert abs(found - truth) <= 4 * error + 1e-11 * abs(truth)
    assert error < 0.03 * abs(truth)
    assert result.layer == f"{name}.weight"
    assert result.status == "complete"


def test_of_the_last_layer_it_has_a_closed_form():
    """Σ ⟨w_s, w_s'⟩ (1/n) Σᵢ (pᵢ_s δ_ss' − pᵢ_s pᵢ_s') ‖φᵢ‖² for cross entropy on a linear last layer."""
    objective = Objective(relu_net(), "cross_entropy", samples())
    (x,) = objective.samples.inputs
    features = objective.module[:4](x).detach()
    p, w = objective.module(x).detach().softmax(1), objective.module[4].weight.detach()
    bend = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    truth = float(torch.einsum("nsr,n,sr->", bend, features.square().sum(1), w @ w.T)) / 30
    result = landscape.sharpness(objective, objective.theta, relative_flatness=True, **SMALL)
    assert at(result, "relative_flatness") == pytest.approx(truth, rel=1e-11)
    assert 0 < at(result, "relative_flatness", "errors") < 1e-9 * truth


def test_drawn_it_lies_within_its_error(monkeypatch):
    """Where it is not a sum: of 30 · 20 unit vectors, by a product each."""
    module = seeded(
        lambda: nn.Linear(4, 30), nn.Tanh, lambda: nn.Linear(30, 20), nn.Tanh, lambda: nn.Linear(20, 3)
    )
    objective = Objective(module, "cross_entropy", samples(count=8))
    point, piece = objective.present_point(), objective.pieces[2]
    monkeypatch.setattr(invariants, "MOST_PRODUCTS", 100)
    factor, product = invariants.factor_of(point.theta, piece), objective.hessian_operator(point.theta)
    truth = 0.0
    for column in factor.T:
        for t in range(30):
            way = torch.zeros_like(point.theta)
            way[piece.span].view(20, 30)[:, t] = column
            truth += float(way @ product(way))
    found = invariants.relative_flatness(objective, point, piece, seed=1)
    assert not found["is_sum"]
    assert not found["converged"]
    assert 0 < found["error"] < 0.2 * abs(truth)
    assert abs(found["value"] - truth) <= 4 * found["error"]


def tied() -> nn.Module:
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.Conv1d(4, 3, 1)).double()


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.Sequential(nn.Unflatten(1, (4, 1)), nn.Conv1d(4, 3, 1), nn.Flatten()), "without an nn.Linear"),
        (
            nn.Sequential(tied()[0], nn.ReLU(), nn.Linear(4, 3).requires_grad_(False)),
            "frozen, tied or made of others",
        ),
    ],
    ids=["no layer", "frozen"],
)
def test_where_no_layer_has_it_a_note_says_so(module, reason):
    objective = Objective(module.double(), "cross_entropy", samples())
    result = landscape.sharpness(objective, objective.theta, relative_flatness=True, **SMALL)
    assert np.isnan(at(result, "relative_flatness"))
    assert any(reason in note for note in result.notes)
    assert result.layer is None
    assert result.status == "complete"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"relative_flatness": True, "layer": "nowhere"},
            r"expected the name of an nn.Linear of the module: 0, 2, 4",
        ),
        ({"layer": "4"}, "without the relative flatness"),
    ],
)
def test_a_layer_that_is_none_is_refused(options, message):
    objective = Objective(relu_net(), "cross_entropy", samples())
    with pytest.raises(BadInput, match=message):
        landscape.sharpness(objective, objective.theta, **options, **SMALL)


def test_in_float32_its_error_is_that_of_what_cancels():
    """Before a layer norm it all but vanishes: float32 is off by no more than three errors from float64."""
    found = []
    for dtype in (torch.float32, torch.float64):
        module = seeded(lambda: nn.Linear(4, 6), lambda: nn.LayerNorm(6)).to(dtype)
        x, y = samples()
        objective = Objective(module, lambda h, y: h.square().sum(1), (x.to(dtype), y))
        result = landscape.sharpness(objective, objective.theta, relative_flatness=True, **SMALL)
        found.append((at(result, "relative_flatness"), at(result, "relative_flatness", "errors")))
    (near, error), (truth, _) = found
    assert near != truth
    assert abs(near - truth) <= 3 * error < 1e-2


def test_in_bfloat16_and_of_two_outputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x):
            return self.a(x), self.b(x)

    def loss(h, y):
        return nn.functional.cross_entropy(h[0].float() + h[1].float(), y, reduction="none")

    x, y = samples()
    for module in (Two(), Two().bfloat16()):
        dtype = next(module.parameters()).dtype
        objective = Objective(module, loss, (x.to(dtype), y))
        result = landscape.sharpness(objective, objective.theta, **ALL, **SMALL)
        assert result.layer == "b.weight"
        assert result.status == "complete"
        assert np.isfinite(result.values).all()


def test_resumed_it_ends_bit_for_bit():
    objective = Objective(relu_net(), "cross_entropy", samples())
    journal = {}
    whole = landscape.sharpness(objective, objective.theta, journal=journal, **ALL, **SMALL)
    assert {"here critical_sharpness", "here fisher_rao_norm", "here relative_flatness"} <= set(journal)
    del journal["here fisher_rao_norm"]
    again = landscape.sharpness(objective, objective.theta, journal=journal, **ALL, **SMALL)
    for one, other in zip(whole.arrays(), again.arrays(), strict=True):
        np.testing.assert_array_equal(one.values, other.values)
    assert whole.scalars() == again.scalars()


# Rescalings, and checks


@pytest.mark.parametrize("bias", [False, True])
def test_what_rescalings_leave_as_it_is(bias):
    """The Fisher–Rao norm withstands any of units, relative flatness one of layers; what lies along ∇F neither."""
    objective = Objective(relu_net(bias), "cross_entropy", samples())
    how = {**SMALL, **ALL}
    for per, changes in (("unit", True), ("layer", False)):
        result = landscape.sharpness(objective, objective.theta, **{**how, "rescaling": per})
        assert not at(result, "fisher_rao_norm", "changes_under_rescaling")
        assert at(result, "relative_flatness", "changes_under_rescaling") == changes
        for name in ("critical_sharpness", "directional_sharpness"):
            assert at(result, name, "changes_under_rescaling")
        assert result.status == "complete"


def aside(name: str):
    """One number of what is found is another."""
    return lambda true: lambda *a, **k: {**(found := true(*a, **k)), name: found[name] + 1e-3}


FAULTS = {
    "critical step": (along_gradient, "of_bracket", lambda true: lambda *a: (1.1 * true(*a)[0], 0.0)),
    "relative critical step": (
        along_gradient,
        "of_bracket",
        lambda true: lambda *a: (1.1 * true(*a)[0], 0.0),
    ),
    "first rise": (
        along_gradient,
        "critical",
        lambda true: lambda *a: {**(found := true(*a)), "low": 9 * found["low"], "high": 9 * found["high"]},
    ),
    "along ∇F": (along_gradient, "directional", lambda true: lambda *a: (1.001 * true(*a)[0], 0.0)),
    "Fisher–Rao": (invariants, "form", lambda true: lambda *a: next(DRIFT) * true(*a)),
    "homogeneity": (invariants, "fisher_rao", lambda true: lambda *a: (1.001 * true(*a)[0], 0.0)),
    "relative flatness": (invariants, "relative_flatness", aside("value")),
    "relative flatness error": (invariants, "relative_flatness", aside("error")),
    "flatness probe": (invariants, "factor_of", lambda true: lambda *a: 1.001 * true(*a)),
}
FAULTS["relative first rise"] = FAULTS["first rise"]
DRIFT = count(1)


@pytest.mark.parametrize("name", FAULTS)
def test_each_check_sees_what_it_proves(name, monkeypatch):
    room, place, fault = FAULTS[name]
    monkeypatch.setattr(room, place, fault(getattr(room, place)))
    objective = Objective(relu_net(), "cross_entropy", samples())
    test = objective.on(samples(count=25))
    result = landscape.sharpness(objective, objective.theta, test=test, **ALL, **SMALL)
    assert not named(result)[name].passed
    assert result.status == "failed-checks"


def test_a_weight_that_is_used_transposed_has_no_rows_of_output_units():
    class Transposed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(2, 4)

        def forward(self, x):
            return torch.tanh(self.a(x)) @ self.b.weight

    x = torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    objective = landscape.Objective(Transposed().double(), "cross_entropy", (x, torch.arange(9) % 2))
    found = landscape.sharpness(objective, objective.theta, relative_flatness=True, num_draws=4)
    assert np.isnan(found.values[found.measure.tolist().index("relative_flatness")])
    assert any("'b' is used transposed" in note for note in found.notes)
    with pytest.raises(BadInput, match="transposed"):
        landscape.sharpness(objective, objective.theta, relative_flatness=True, layer="b", num_draws=4)


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside, self.attention = nn.Linear(1, 6), nn.MultiheadAttention(6, 2, batch_first=True)
        self.outside = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        read = self.inside(x[:, :, None])
        return self.outside(self.attention(read, read, read)[0].mean(1))


NETS = {
    "mlp": lambda: relu_net(bias=True),
    "convolutions": lambda: seeded(
        lambda: nn.Unflatten(1, (1, 4)),
        lambda: nn.Conv1d(1, 5, 3),
        nn.ReLU,
        nn.Flatten,
        lambda: nn.Linear(10, 3),
    ),
    "attention": lambda: seeded(Attentive)[0],
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_from_losses_along_theta_the_norm_is_that_of_gradients_within_its_error(
    name, dtype, reduction, monkeypatch
):
    """As it is taken of a module in parts."""
    x, y = samples()
    loss = nn.CrossEntropyLoss(reduction=reduction)
    objective = Objective(NETS[name]().to(dtype), loss, (x.to(dtype), y))
    point = objective.present_point()
    wanted, _ = invariants.fisher_rao(objective, point)
    monkeypatch.setattr(Objective, "is_sharded", True)
    found, error = invariants.fisher_rao(objective, point)
    assert abs(found - wanted) <= error <= {torch.float32: 1e-2, torch.float64: 1e-7}[dtype] * wanted
    assert further_proofs._of_gradients(objective, point, found).passed
    assert not further_proofs._of_gradients(objective, point, 1.03 * found).passed
