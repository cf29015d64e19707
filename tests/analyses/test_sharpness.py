"""Measures of sharpness against closed forms, and what a rescaling of units does to them."""

import importlib
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from plain import another, killed_at, named, plain_module
from symmetric import Decoder, Gpt, built, numbers
from torch import nn

import landscape
from landscape import Objective
from landscape.errors import BadInput
from landscape.numerics.steps.ascent import ball_ascent, filter_lengths
from landscape.numerics.vectors import normal
from landscape.runs.journal import Journal
from landscape.symmetry import rescaling

SWEEP = importlib.import_module("landscape.objective.sweep")
SMALL = {"sigmas": (0.01, 0.1), "num_draws": 4, "ascent_steps": 3}


def objective_of(module: nn.Module, inputs: tuple[int, ...] = (4,), loss: str = "cross_entropy") -> Objective:
    """30 samples of 3 classes for a module with 3 outputs, float64."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(30, *inputs, generator=generator, dtype=torch.float64)
    return Objective(module.double(), loss, (x, torch.randint(3, (30,), generator=generator)))


def seeded(*layers) -> nn.Sequential:
    """A chain of layers whose random weights are always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return nn.Sequential(*(layer() for layer in layers))


def relu_net(**changes) -> Objective:
    activation = changes.get("activation", nn.ReLU)
    return objective_of(
        seeded(
            lambda: nn.Linear(4, 7),
            activation,
            lambda: nn.Linear(7, 6),
            activation,
            lambda: nn.Linear(6, 3),
        )
    )


def at(result, name: str, field: str = "values"):
    (place,) = np.flatnonzero(result.measure == name)
    return getattr(result, field)[place]


@pytest.fixture
def minimum(regression) -> tuple[Objective, torch.Tensor, np.ndarray]:
    """Linear regression at its minimum, and its Hessian I₃ ⊗ 2XᵀX/(3n)."""
    (x,), y = regression.samples
    theta = torch.linalg.lstsq(x, y).solution.T.reshape(-1)
    return regression, theta, np.kron(np.eye(3), (2 * x.T @ x / (3 * len(x))).numpy())


# Closed forms on a quadratic


def test_curvature_of_a_quadratic(minimum):
    objective, theta, H = minimum
    result = landscape.sharpness(objective, theta, **SMALL)
    assert at(result, "lambda_max") == pytest.approx(np.linalg.eigvalsh(H)[-1], rel=1e-10)
    assert at(result, "lambda_max", "errors") < 1e-6
    assert abs(at(result, "trace") - np.trace(H)) <= 4 * at(result, "trace", "errors") + 1e-10
    assert at(result, "trace_per_parameter") == at(result, "trace") / 15
    assert result.gradient_norm < 1e-12
    assert result.status == "complete"


def test_noise_on_a_quadratic_is_half_the_quadratic_form(minimum):
    """Each pair ±ξ gives (σ²/2) ξᵀHξ exactly, so the mean and its error follow from the draws."""
    objective, theta, H = minimum
    result = landscape.sharpness(
        objective, theta, sigmas=(0.1, 0.5, 2.0), num_draws=5, ascent_steps=1, seed=7
    )
    draws = [
        normal(torch.zeros(15), torch.Generator().manual_seed(7 * 1_000_003 + i)).numpy() for i in range(5)
    ]
    forms = np.array([0.5 * xi @ H @ xi for xi in draws])
    np.testing.assert_allclose(result.noise_rise, forms.mean() * result.sigma**2, rtol=1e-10)
    error = forms.std(ddof=1) / 5**0.5 * 2.7764451 / 1.959964  # Student's 97.5 % point of 4 degrees
    np.testing.assert_allclose(result.noise_rise_error, error * result.sigma**2, rtol=1e-6)
    assert result.table_sigma == 0.5
    assert at(result, "noise_rise") == result.noise_rise[1]


def test_noise_on_a_slope_has_no_part_of_the_slope(minimum):
    """Off the minimum ±ξ cancel: what is left of each pair is still (σ²/2) ξᵀHξ."""
    objective, theta, H = minimum
    aside = theta + 0.5
    assert float(objective.gradient(aside).norm()) > 0.1
    result = landscape.sharpness(objective, aside, sigmas=(0.1, 0.5), num_draws=4, ascent_steps=1, seed=7)
    draws = [
        normal(torch.zeros(15), torch.Generator().manual_seed(7 * 1_000_003 + i)).numpy() for i in range(4)
    ]
    forms = np.array([0.5 * xi @ H @ xi for xi in draws])
    np.testing.assert_allclose(result.noise_rise, forms.mean() * result.sigma**2, rtol=1e-10)


@pytest.mark.slow
def test_coverage_of_the_standard_error_of_the_noise(minimum):
    """σ²/2 tr H lies in the 95 % interval of 88 to 99 of 100 seeds."""
    objective, theta, H = minimum
    truth = 0.5 * 0.3**2 * np.trace(H)
    inside = 0
    for seed in range(100):
        result = landscape.sharpness(
            objective, theta, sigmas=(0.3,), num_draws=12, ascent_steps=1, seed=seed, rescaling="none"
        )
        inside += abs(result.noise_rise[0] - truth) <= 1.96 * result.noise_rise_error[0]
    assert 88 <= inside <= 99


def test_the_ball_around_the_minimum_of_a_quadratic(minimum):
    """ρ² λ_max/2, and relative to the filters ρ² λ_max(THT)/2: bounds from below, and near."""
    objective, theta, H = minimum
    for rho in (0.01, 3.0):
        result = landscape.sharpness(objective, theta, rho=rho, ascent_steps=60, sigmas=(0.1,), num_draws=2)
        lengths = np.repeat(theta.view(3, 5).norm(dim=1).numpy(), 5)
        for name, matrix in (("", H), ("_filter", lengths[:, None] * H * lengths)):
            truth = rho**2 * np.linalg.eigvalsh(matrix)[-1] / 2
            found = at(result, f"ball_rise_at_least{name}")
            error = at(result, f"ball_rise_at_least{name}", "errors")
            assert 0.95 * truth - error <= found <= truth + error
    assert (np.diff(result.ascent_rise) >= 0).all()
    assert named(result)["within the ball"].passed


def test_sams_step_off_the_minimum(regression):
    """F(θ + ρ g/‖g‖) − F(θ) = ρ‖g‖ + ρ² gᵀHg / (2 gᵀg); relative to the filters along T²g/‖Tg‖."""
    (x,), _ = regression.samples
    H = np.kron(np.eye(3), (2 * x.T @ x / (3 * len(x))).numpy())
    g = regression.gradient(regression.theta).numpy()
    result = landscape.sharpness(regression, regression.theta, rho=0.2, **SMALL)
    T = np.repeat(regression.theta.view(3, 5).norm(dim=1).numpy(), 5)
    for name, step in (("", g / np.linalg.norm(g)), ("_filter", T * T * g / np.linalg.norm(T * g))):
        wanted = 0.2 * g @ step + 0.02 * step @ H @ step
        assert at(result, f"sam_rise{name}") == pytest.approx(wanted, rel=1e-10)
        assert at(result, f"ball_rise_at_least{name}") >= wanted - 1e-12


def test_where_the_gradient_vanishes_sam_takes_no_step():
    one = torch.ones(1, 1, dtype=torch.float64)
    module = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.ones_(module.weight)
    result = landscape.sharpness(
        Objective(module, "mse", (one, one)), torch.ones(1).double(), rho=0.5, **SMALL
    )
    assert at(result, "sam_rise") == 0
    assert at(result, "ball_rise_at_least") == pytest.approx(0.25)


def test_an_ascent_never_counts_what_is_not_a_number():
    def broken(theta):
        slope = torch.tensor([2.0, 0.0]).double() * theta
        return (float("nan"), theta * float("nan")) if theta[0] > 0 else (float(theta[0] ** 2), slope)

    zero, one = torch.zeros(2).double(), torch.ones(2).double()
    found = ball_ascent(broken, zero, radius=1.0, scales=one, starts=[one, -one], num_steps=30)
    assert found.rises[0] == pytest.approx(0.5)
    assert found.rises[-1] == pytest.approx(1.0)
    assert np.isnan(found.first[0])


def test_filter_lengths_by_a_loop(classifier):
    lengths = filter_lengths(classifier.theta, classifier.pieces, ("bias", "norm"))
    weights = [(i, i + 4) for i in range(0, 24, 4)] + [(i, i + 6) for i in range(42, 60, 6)]
    wanted = torch.zeros(63, dtype=torch.float64)
    for start, stop in weights:
        wanted[start:stop] = classifier.theta[start:stop].norm()
    torch.testing.assert_close(lengths, wanted)


# Rescaling


@pytest.mark.parametrize("per", ["unit", "layer"])
def test_the_function_stays_and_curvature_changes(per):
    objective = relu_net()
    result = landscape.sharpness(objective, objective.theta, rescaling=per)
    assert result.status == "complete"
    assert named(result)["function preserved"].value == 0
    assert result.num_rescaled_units == 13
    for name in ("lambda_max", "trace", "trace_per_parameter", "ball_rise_at_least", "sam_rise"):
        assert at(result, name, "changes_under_rescaling")
        assert at(result, name, "rescaled_values") != at(result, name)
    assert "no property of the function" in result.notes[-1]


def test_what_is_relative_to_filters_withstands_a_rescaling_of_layers():
    """Li et al. (2018): filters of a layer times c, those of the next over c, change nothing relative to them."""
    module = seeded(
        lambda: nn.Linear(4, 7, bias=False), nn.ReLU, lambda: nn.Linear(7, 6, bias=False), nn.ReLU,
        lambda: nn.Linear(6, 3, bias=False),
    )  # fmt: skip
    objective = objective_of(module)
    result = landscape.sharpness(objective, objective.theta, rescaling="layer", **SMALL)
    np.testing.assert_allclose(result.rescaled_noise_rise_filter, result.noise_rise_filter, rtol=1e-9)
    for name in ("noise_rise_filter", "ball_rise_at_least_filter", "sam_rise_filter"):
        assert not at(result, name, "changes_under_rescaling"), name
    assert at(result, "lambda_max", "changes_under_rescaling")
    assert not result.notes[-1].endswith("filter")


def test_the_rescaled_numbers_are_those_of_the_rescaled_point():
    objective = relu_net()
    point = objective.as_point(objective.theta)
    result = landscape.sharpness(objective, point, seed=5, **SMALL)
    moved = rescaling.rescaled(objective, point, per="unit", seed=5, tolerance=1e-12).point
    assert moved is not None
    there = landscape.sharpness(objective, moved, seed=5, rescaling="none", **SMALL)
    np.testing.assert_array_equal(result.rescaled_values, there.values)
    np.testing.assert_array_equal(result.rescaled_errors, there.errors)
    np.testing.assert_array_equal(result.rescaled_noise_rise, there.noise_rise)
    assert there.rescaled_values is None
    assert there.rescaling == "none"


IMAGES = {
    "mlp": ((4,), seeded(lambda: nn.Linear(4, 5), nn.LeakyReLU, nn.Dropout, lambda: nn.Linear(5, 3)), 5),
    "batch norm": (
        (4,),
        seeded(
            lambda: nn.Linear(4, 5), lambda: nn.BatchNorm1d(5), nn.ReLU, lambda: nn.Linear(5, 3)
        ),
        5,
    ),
    "cnn": (
        (2, 6, 6),
        seeded(
            lambda: nn.Conv2d(2, 4, 3, padding=1), nn.ReLU, lambda: nn.AvgPool2d(2),
            lambda: nn.Conv2d(4, 3, 3, padding=1), lambda: nn.BatchNorm2d(3), nn.ReLU,
            lambda: nn.MaxPool2d(3), nn.Flatten, lambda: nn.Linear(3, 4), nn.ReLU, lambda: nn.Linear(4, 3),
        ),
        11,
    ),
    "nested, unrolled": (
        (2, 4, 4),
        seeded(
            lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()), nn.Flatten, lambda: nn.Linear(12, 3)
        ),
        3,
    ),
    "deep linear": ((4,), seeded(lambda: nn.Linear(4, 5), nn.Identity, lambda: nn.Linear(5, 3)), 5),
}  # fmt: skip


@pytest.mark.parametrize("per", ["unit", "layer"])
@pytest.mark.parametrize("name", IMAGES)
def test_a_rescaling_moves_theta_and_not_the_outputs(name, per):
    shape, module, num_units = IMAGES[name]
    objective = objective_of(module, shape)
    point = another(objective, 1)
    found = rescaling.rescaled(objective, point, per=per, seed=0, tolerance=1e-12)
    assert found.point is not None, found.reason
    assert found.num_units == num_units
    assert float((found.point.theta - point.theta).norm()) > 0.1 * float(point.theta.norm())
    (x,), _ = objective.samples
    before, after = (plain_module(objective, one.theta, one.fixed)(x) for one in (point, found.point))
    torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-12)


class Twisted(nn.Sequential):
    """A subclass whose forward is another: no chain."""

    def forward(self, x):
        return super().forward(x).sin()


def frozen_bias() -> nn.Sequential:
    module = seeded(lambda: nn.Linear(4, 5), nn.ReLU, lambda: nn.Linear(5, 3))
    module[0].bias.requires_grad_(False)
    return module


def tied() -> nn.Sequential:
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), seeded(lambda: nn.Linear(4, 3)))


@pytest.mark.parametrize(
    "module",
    [
        seeded(lambda: nn.Linear(4, 5), nn.Tanh, lambda: nn.Linear(5, 3)),
        seeded(lambda: nn.Linear(4, 5), nn.ReLU, lambda: nn.LayerNorm(5), lambda: nn.Linear(5, 3)),
        seeded(lambda: nn.Linear(4, 5), lambda: nn.BatchNorm1d(5, affine=False), lambda: nn.Linear(5, 3)),
        seeded(lambda: nn.Linear(4, 3)),
        Twisted(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)),
        frozen_bias(),
        tied(),
    ],
    ids=["tanh", "layer norm", "no scale", "one layer", "subclass", "frozen", "tied"],
)
def test_where_it_does_not_apply_a_note_says_so(module):
    objective = objective_of(module)
    result = landscape.sharpness(objective, objective.theta, **SMALL)
    assert any("not rescaled: no two Linear" in note for note in result.notes)
    assert result.rescaled_values is None
    assert result.changes_under_rescaling is None
    assert result.rescaling == "none"
    assert result.num_rescaled_units == 0
    assert "function preserved" not in named(result)


@pytest.mark.slow
@pytest.mark.parametrize("factory", [Decoder, lambda: Gpt(width=4)], ids=["Llama", "GPT-2"])
def test_moved_by_all_symmetries_the_function_stays_and_what_changes_is_said(factory):
    """Invariants under every map of the units by their theory stay: the loss; the trace does not, nor λ_max."""
    module = built(factory)
    x = numbers(11, 6, 6)()

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = module

        def forward(self, x):
            return self.inside(x)[:, -1]

    objective = Objective(Last().double().eval(), "cross_entropy", (x, torch.arange(6) % 11))
    result = landscape.sharpness(objective, objective.theta, rescaling="all", fisher_rao=True, **SMALL)
    assert result.status in ("complete", "not-converged")
    assert 0 < named(result)["function preserved"].value <= 1e-9
    assert result.rescaling == "all"
    assert result.num_rescaled_units > 30
    assert at(result, "lambda_max", "changes_under_rescaling")
    assert "a random element of all symmetries" in " ".join(result.notes)
    assert result.group is not None
    assert result.changes_by_group is not None
    assert result.values_by_group is not None
    names = result.measure.tolist()
    rows = dict(zip(result.group.tolist(), result.changes_by_group.tolist(), strict=True))
    assert {"permutations", "scalings of units"} < set(rows)
    # Permutations are orthogonal maps of θ; scalings are not. Both are what the note says.
    assert not rows["permutations"][names.index("lambda_max")]
    assert rows["scalings of units"][names.index("lambda_max")]
    assert result.values_by_group.shape == (len(rows), len(names))


def test_moved_by_permutations_and_signs_alone_nothing_changes_but_noise():
    """tanh: orthogonal maps of θ, under which the spectrum of the Hessian is its own."""
    objective = objective_of(seeded(lambda: nn.Linear(4, 6), nn.Tanh, lambda: nn.Linear(6, 3)))
    result = landscape.sharpness(objective, objective.theta, rescaling="all", **SMALL)
    again = landscape.sharpness(objective, objective.theta, rescaling="all", **SMALL)
    np.testing.assert_array_equal(again.rescaled_values, result.rescaled_values)
    assert result.num_rescaled_units == 6
    for name in ("lambda_max", "sam_rise"):
        assert at(result, name, "rescaled_values") == pytest.approx(at(result, name), rel=1e-6)
        assert not at(result, name, "changes_under_rescaling")


def test_without_units_a_note_says_so():
    objective = objective_of(nn.Sequential(nn.Linear(4, 3)))
    result = landscape.sharpness(objective, objective.theta, rescaling="all", **SMALL)
    assert any("not moved: no unit of Sequential can be permuted" in note for note in result.notes)
    assert result.rescaled_values is None


def test_outputs_that_change_after_all_are_seen():
    """A hook makes of a ReLU something else: the structure promises what the function does not keep."""
    module = seeded(lambda: nn.Linear(4, 5), nn.ReLU, lambda: nn.Linear(5, 3))
    module[1].register_forward_hook(lambda layer, inputs, outputs: outputs + 1)
    objective = objective_of(module)
    result = landscape.sharpness(objective, objective.theta, **SMALL)
    assert any("not rescaled: the outputs would change by" in note for note in result.notes)
    assert result.rescaled_values is None


# The rest


def test_batch_norm_and_dropout_pass_all_checks(classifier):
    result = landscape.sharpness(classifier, another(classifier, 2), **SMALL)
    assert {"module untouched", "loss", "not finite", "direction norms"} <= set(named(result))
    assert result.status == "complete"


def test_without_any_length_there_is_nothing_relative_to_filters(regression):
    result = landscape.sharpness(regression, torch.zeros(15).double(), **SMALL)
    assert not any(name.endswith("filter") for name in result.measure)
    assert result.noise_rise_filter is None
    assert result.ascent_rise_filter is None
    assert "every filter is zero or ignored" in result.notes[0]
    assert result.status == "complete"


def test_an_infinite_rise_is_kept_and_counted():
    one = torch.ones(1, 1, dtype=torch.float64)
    module = nn.Linear(1, 1, bias=False, dtype=torch.float64)

    def loss(outputs, targets):
        return torch.where(outputs > 3, torch.inf, outputs.square()).squeeze(1)

    result = landscape.sharpness(
        Objective(module, loss, (one, one)), torch.ones(1).double(), sigmas=(0.1, 100.0), num_draws=4
    )
    assert np.isfinite(result.noise_rise[0])
    assert result.noise_rise[1] == np.inf
    assert not named(result)["not finite"].passed
    assert result.status == "failed-checks"


def test_resumed_anywhere_it_ends_bit_for_bit(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(SWEEP, "BLOCK_POINTS", 6)
    objective = relu_net()
    whole = landscape.sharpness(objective, objective.theta, **SMALL)
    num_pieces = []
    for kill in (12, 3):  # after two blocks of noise; in the ascent that follows it
        journal = Journal(tmp_path / "x.part", {})
        with pytest.raises(KeyboardInterrupt):
            landscape.sharpness(
                objective, objective.theta, journal=journal, progress=only("points" if kill > 3 else "steps", kill),
                **SMALL,
            )  # fmt: skip
        num_pieces.append(len(journal))
        journal.close()
    assert 0 < num_pieces[0] < num_pieces[1]
    journal = Journal(tmp_path / "x.part", {})
    again = landscape.sharpness(objective, objective.theta, journal=journal, **SMALL)
    assert len(journal) > num_pieces[1]
    for one, other in zip(whole.arrays(), again.arrays(), strict=True):
        np.testing.assert_array_equal(one.values, other.values, err_msg=one.name)
    assert whole.scalars() == again.scalars()


def only(what: str, number: int):
    """Ctrl-C at so many units of one kind of work."""
    kill = killed_at(number)
    return lambda done, total, unit: kill(done, total, unit) if unit.startswith(what) else None


def test_ctrl_c_among_the_products_is_ctrl_c():
    objective = relu_net()
    with pytest.raises(KeyboardInterrupt):
        landscape.sharpness(objective, objective.theta, progress=only("products", 3), **SMALL)


def test_one_seed_gives_one_result_and_another_other_noise():
    objective = relu_net()
    one, two, other = (landscape.sharpness(objective, objective.theta, seed=s, **SMALL) for s in (0, 0, 90))
    np.testing.assert_array_equal(one.values, two.values)
    assert (one.noise_rise != other.noise_rise).all()
    assert at(one, "lambda_max") == pytest.approx(at(other, "lambda_max"), rel=1e-5)


def test_what_did_not_converge_is_said(monkeypatch):
    from landscape.curvature import sharpness

    objective = relu_net()
    estimate = sharpness.trace_estimate
    monkeypatch.setattr(sharpness, "trace_estimate", lambda *a, **k: estimate(*a, **{**k, "max_products": 2}))
    result = landscape.sharpness(objective, objective.theta, **SMALL)
    assert result.status == "not-converged"
    assert sum("did not reach a standard error" in note for note in result.notes) == 2
    assert any("(rescaled)" in note for note in result.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigmas": (0.1, float("nan"))}, "positive numbers"),
        ({"sigmas": (0.2, 0.1)}, "increasing order"),
    ],
)
def test_bad_options_are_named(regression, options, message):
    with pytest.raises(BadInput, match=message):
        landscape.sharpness(regression, regression.theta, **options)


def test_a_layer_of_no_units_is_rescaled_by_none():
    """The narrow tail of an adaptive softmax is one."""
    with warnings.catch_warnings():
        # That of torch: there is nothing to draw.
        warnings.simplefilter("ignore")
        tail = nn.Sequential(nn.Linear(3, 0, bias=False), nn.Linear(0, 4, bias=False))
    module = nn.Sequential(*tail, nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    objective = Objective(module, "cross_entropy", (torch.randn(9, 3), torch.arange(9) % 2))
    found = landscape.sharpness(objective, objective.theta, num_draws=2, ascent_steps=1)
    assert found.status == "complete"
    assert found.rescaled_values is not None


def test_the_last_layer_of_no_units_has_no_relative_flatness():
    class Tailed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.tail = nn.Linear(3, 2), nn.Linear(2, 0)

        def forward(self, x):
            h = self.body(x)
            return h + self.tail(h).sum()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = Tailed()
    objective = Objective(module, "cross_entropy", (torch.randn(9, 3), torch.arange(9) % 2))
    found = landscape.sharpness(objective, objective.theta, num_draws=2, relative_flatness=True)
    assert found.status == "complete"
    assert np.isfinite(found.values[[name.startswith("relative_flatness") for name in found.measure]]).all()
    assert any(name.startswith("relative_flatness") for name in found.measure)
