"""How fast a point is left: numbers of steps, laws, sums and shares against closed forms and plain loops."""

import numpy as np
import pytest
import torch
from surfaces import point, product, steps_of_a_loop, surface
from torch import nn

import landscape
from landscape import BadInput, Objective
from landscape.inputs.models import toy
from landscape.numerics.steps.kicks import Kicks

# A decade on (1 − vw)² at α = 0.05: λ = −2 at the origin.
DECADE = 24.1588579281


def left(formula, start, *, dimension=2, **options):
    asked = {"noise": "none", "further": 0, "directions": 5} | options
    return landscape.escape(surface(formula, dimension), point(*start), **asked)


def saddle(mu: float = 1.0):
    return lambda t: (t[0] ** 2 - mu * t[1] ** 2) / 2


def chain_of(x: np.ndarray) -> np.ndarray:
    return -2 * (1 - np.prod(x)) * np.array([np.prod(np.delete(x, i)) for i in range(len(x))])


DEEP = (1e-2, 1e-4, 1e-6, 1e-8, 1e-10)
STEPS = [
    # (1 − vw)² from (1 + δ, −1 + δ), F < 0.5, 0.1, 0.99; from the origin along (1, 1).
    (product, (1, -1), (1, 1), 3.5, 0.05, DEEP, (41, 89, 137, 186, 234)),
    (product, (1, -1), (1, 1), 3.9, 0.05, DEEP, (49, 97, 145, 194, 242)),
    (product, (1, -1), (1, 1), 3.01, 0.05, DEEP, (22, 66, 114, 163, 211)),
    (product, (0, 0), (1, 1), 0.5, 0.05, DEEP, (44, 92, 141, 189, 237)),
    # ½(x² − y²) until |y| > 1.
    (saddle(), (0, 0), (0, 1), 0.5, 0.05, DEEP[:4], (95, 189, 284, 378)),
    (saddle(), (0, 0), (0, 1), 0.5, 0.1, DEEP[:4], (49, 97, 145, 194)),
    # (1 − xyz)² from ε(1, 1, 1).
    (product, (0, 0, 0), (1, 1, 1), 0.5, 0.05, (0.1, 0.05, 0.02, 0.01), (90, 190, 491, 992)),
    # Others of the kinds: another curvature, a step over other numbers, no equal parts of the way.
    (saddle(3.0), (0, 0), (0, 1), 1.5, 0.02, (1e-1, 1e-5), None),
    (product, (0, 0), (1, 2), 0.3, 0.03, (1e-3, 1e-7), None),
    (product, (2, -2), (1, 1), 24.5, 0.01, (1e-3, 1e-6), None),
    (product, (0, 0, 0), (1, 1, 2), 0.6, 0.1, (0.1, 0.03), None),
    (product, (0, 0, 0, 0), (1, 1, 1, 1), 0.5, 0.05, (0.3, 0.2), None),
]


@pytest.mark.parametrize(("formula", "start", "direction", "drop", "alpha", "amplitudes", "wanted"), STEPS)
def test_steps_are_those_of_a_plain_loop_exactly(formula, start, direction, drop, alpha, amplitudes, wanted):
    found = left(
        formula, start, dimension=len(start), direction=direction, drop=drop, lr=alpha, amplitudes=amplitudes,
        max_steps=1000,
    )  # fmt: skip
    assert found.status == "complete"
    assert {*found.end_status.ravel()} == {"left"}
    if wanted:
        assert found.steps.ravel().tolist() == list(wanted)

    def value(x: np.ndarray) -> float:
        return float(formula(torch.from_numpy(x)))

    def slope(x: np.ndarray) -> np.ndarray:
        if formula is product:
            return chain_of(x)
        theta = torch.from_numpy(x).requires_grad_()
        return torch.autograd.grad(formula(theta), theta)[0].numpy()

    starts = [np.array(start, dtype=float) + a * np.array(direction, dtype=float) for a in amplitudes]
    loop = [steps_of_a_loop(slope, value, one, alpha, value(np.array(start, float)) - drop) for one in starts]
    assert found.steps.ravel().tolist() == loop


@pytest.mark.slow
def test_the_smallest_steps_out_of_the_chain():
    found = left(
        product,
        (0, 0, 0),
        dimension=3,
        direction=(1, 1, 1),
        drop=0.5,
        amplitudes=(1e-3, 1e-4),
        max_steps=200_000,
    )
    assert found.steps.ravel().tolist() == [9994, 99997]


def test_exactly_on_the_stable_manifold_it_stayed_and_nothing_more_is_said():
    found = left(
        product, (1, -1), direction=(1, 1), amplitudes=(0.0, 1e-4, 1e-6), drop=3.5, lr=0.05, max_steps=500
    )
    assert found.end_status.ravel().tolist() == ["stayed", "left", "left"]
    assert found.plain_status == "stayed"
    assert found.plain_steps is None
    assert np.isnan(found.steps[0, 0])
    assert any("stayed for 500 steps" in note for note in found.notes)
    assert not any("never" in note for note in found.notes)
    # The saddle is not the point itself: the origin, where the Hessian has ∓2.
    np.testing.assert_allclose(found.smallest_eigenvalue, -2, rtol=1e-12)
    np.testing.assert_allclose(found.stillest_distance, np.sqrt(2), rtol=1e-9)
    np.testing.assert_allclose(found.stillest_loss, 1, rtol=1e-12)


@pytest.mark.parametrize(
    ("preset", "per_decade"),
    [
        ("saddle", DECADE),
        ("ge-2015", DECADE),
        ("chain", None),
    ],
)
def test_presets(preset, per_decade, tmp_path):
    found = landscape.measure(None, "escape", preset=preset, output=tmp_path / "a.h5")
    assert found.status == "complete"
    if per_decade is None:
        assert found.fit == "algebraic"
        assert found.steps_per_decade_theory is None
        assert abs(found.power - 1) < 3 * found.power_error
        np.testing.assert_allclose(found.steps.ravel(), 1 / (2 * 0.05 * found.amplitude), rtol=0.11)
        assert np.isnan(found.exit_cosine).all()
        return
    assert found.fit == "logarithmic"
    np.testing.assert_allclose(found.steps_per_decade_theory, per_decade, rtol=1e-10)
    assert abs(found.steps_per_decade - per_decade) < 4 * found.steps_per_decade_error
    assert found.steps_per_decade_error < 0.1
    np.testing.assert_allclose(found.exit_cosine, 1, atol=1e-3)
    np.testing.assert_allclose(found.final_loss, 0, atol=0.1)
    if preset == "ge-2015":
        # Means over 4000 runs, each ± 0.19; the deviation of one run is 12.
        error = found.steps.std(1) / 20
        assert (np.abs(found.mean_steps - [56.07, 80.23, 104.4, 128.55]) < 4 * np.hypot(error, 0.19)).all()


@pytest.mark.parametrize(
    ("alpha", "total", "bound"),
    [
        (0.05, 143.5897435897, 146.6666666667),
        (0.1, 105.2631578947, 110.0),
        (0.15, 136.9369369369, 146.6666666667),
        (0.19, 529.2236115150, 578.9473684211),
    ],
)
def test_sums_of_squared_gradients_and_their_bound(alpha, total, bound):
    # ½(θ₁² + 10θ₂²) from (1, 1): L = 10.
    found = left(
        lambda t: (t[0] ** 2 + 10 * t[1] ** 2) / 2, (1, 1), amplitudes=(0.0,), direction=(1, 1), lr=alpha, drop=9,
        max_steps=400,
    )  # fmt: skip
    np.testing.assert_allclose(found.gradient_sum, total, rtol=1e-11)
    np.testing.assert_allclose(found.gradient_bound, bound, rtol=1e-11)
    np.testing.assert_allclose(found.curvature, 10, rtol=1e-12)
    assert found.lemma_broken.sum() == 0
    assert any("held at every step" in note for note in found.notes)
    assert any(("not below" in note) == (alpha >= 0.1) for note in found.notes if "1/L" in note)


def test_at_two_over_the_curvature_it_flips_for_ever():
    found = left(
        lambda t: (t[0] ** 2 + 10 * t[1] ** 2) / 2, (1, 1), amplitudes=(0.0,), direction=(1, 1), lr=0.2, drop=9,
        max_steps=400,
    )  # fmt: skip
    np.testing.assert_allclose(found.final_loss, 5, rtol=1e-9)
    assert np.isnan(found.gradient_bound).all()
    assert any("promises no fall" in note for note in found.notes)


@pytest.mark.parametrize("alpha", [0.15, 0.2, 0.2 * 101 / 100, 0.25])
def test_a_step_falls_as_the_rayleigh_quotient_says(alpha):
    found = left(
        lambda t: (t[0] ** 2 + 10 * t[1] ** 2) / 2, (1, 1), amplitudes=(0.0,), direction=(1, 1), lr=alpha, drop=9,
        max_steps=1,
    )  # fmt: skip
    assert (found.loss_on_the_way[1] < found.loss_on_the_way[0]).all() == (2 / alpha > 1001 / 101)


def test_the_lemma_is_broken_where_the_curvature_grows_on_the_way():
    # L = 2 at the origin; where (1, 1) is taken three times the curvature is far above it.
    found = left(
        lambda t: (1 - t[0] * t[1]) ** 2,
        (0, 0),
        direction=(1, 1),
        amplitudes=(3.0,),
        drop=0.9,
        lr=0.1,
        max_steps=50,
    )
    assert found.lemma_broken.sum() > 0
    assert any("broken at" in note for note in found.notes)


@pytest.mark.parametrize(("law", "dimension"), [("sphere", 2), ("ball", 3), ("gaussian", 2), ("sphere", 5)])
def test_mean_steps_under_noise_grow_by_the_same_decade(law, dimension):
    # Curvatures 1 but for one of −2, noise of any law.
    found = left(
        lambda t: (t[1:] ** 2).sum() / 2 - t[0] ** 2, (0,) * dimension, dimension=dimension, noise=law,
        amplitudes=(1e-1, 1e-3, 1e-5), num_seeds=60, lr=0.05, drop=1,
    )  # fmt: skip
    assert found.fit == "logarithmic"
    assert abs(found.steps_per_decade - DECADE) < 5 * found.steps_per_decade_error
    per_component = {"sphere": 1 / dimension, "ball": 1 / (dimension + 2), "gaussian": 1}[law]
    np.testing.assert_allclose(found.smoothing, 0.05 * found.amplitude * np.sqrt(per_component), rtol=1e-12)


def test_noise_only_where_the_gradient_is_small():
    asked = {
        "noise": "sphere",
        "amplitudes": (1e-2,),
        "num_seeds": 3,
        "drop": 3.5,
        "lr": 0.05,
        "max_steps": 250,
    }
    always = left(product, (1, -1), **asked)
    late = left(product, (1, -1), perturb_when_below=0.1, **asked)
    never = left(product, (1, -1), perturb_when_below=1e-300, **asked)
    assert (late.steps > always.steps).all()
    assert {*never.end_status.ravel()} == {"stayed"}
    # Its first steps are those without noise, bit for bit.
    np.testing.assert_array_equal(late.loss_on_the_way[:20], never.loss_on_the_way[:20])


def two_targets() -> Objective:
    module = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        module.weight.zero_()
    x = torch.ones(2, 1, dtype=torch.float64)
    return Objective(module, "mse", (x, torch.tensor([[-1.0], [1.0]], dtype=torch.float64)))


def test_sgd_is_that_of_one_sample_a_step():
    """Mean of (θ − y)² over y = ∓1: from 0 the variance after k steps is 4α²(1 − r²ᵏ)/(1 − r²), r = 1 − 2α."""
    count = 1000
    for steps, variance in ((1, 0.04), (5, 0.0991806464), (20, 0.1110963419)):
        found = landscape.escape(
            two_targets(), torch.zeros(1, dtype=torch.float64), noise="sgd", amplitudes=(1.0,), num_seeds=count,
            lr=0.1, drop=0.5, max_steps=steps, directions=2,
        )  # fmt: skip
        squares = found.final_loss - 1  # θ²
        # A fourth moment of at most three squares of the second.
        assert abs(squares.mean() - variance) < 5 * variance * np.sqrt(2 / count) + 1e-12
        assert np.isnan(found.mean_steps).all()


def test_a_step_in_the_mean_is_one_on_the_smoothed_function():
    """y = x − ηF'(x) under x⁺ = x − η(F'(x) + ω): E[y⁺|y] = y − η(F∗N(0, η²σ²))'(y), for F = (x² − 1)²."""
    eta, sigma, y = 0.1, 4.0, 0.7
    tau = eta * sigma
    omega = np.array([Kicks("gaussian", 1, (0, s)).at(0)[0] for s in range(20000)]) * sigma
    x = y - eta * omega
    after = x - eta * 4 * x * (x**2 - 1)
    smoothed = 4 * y**3 + 2 * (6 * tau**2 - 2) * y
    assert abs(after.mean() - (y - eta * smoothed)) < 5 * after.std() / np.sqrt(20000)


@pytest.mark.parametrize(
    "curvatures", [(1, -1), (1, 1, -1), (1,) * 4 + (-1,), (1,) * 9 + (-1,), (4, -1), (3, -2, -1)]
)
def test_shares_of_random_directions(curvatures):
    # P(u₁² > ½) = 1 − I_{1/2}(½, (d − 1)/2) where all |λ| are equal; (2/π) atan √(|λ₋|/λ₊) in the plane.
    from scipy.special import betainc

    d = len(curvatures)
    found = left(
        lambda t: (torch.tensor(curvatures) * t**2).sum() / 2, (0,) * d, dimension=d, amplitudes=(1e-2, 1e-3),
        num_seeds=2, drop=1, directions=400,
    )  # fmt: skip
    if len(set(map(abs, curvatures))) == 1:
        np.testing.assert_allclose(found.falling_share_theory, 1 - betainc(0.5, (d - 1) / 2, 0.5), atol=1e-9)
    elif d == 2:
        np.testing.assert_allclose(found.falling_share_theory, 0.2951672353, rtol=1e-9)
    else:
        draws = np.random.default_rng(0).standard_normal((10**6, d))
        np.testing.assert_allclose(found.falling_share_theory, (draws**2 @ curvatures < 0).mean(), atol=3e-3)
    assert abs(found.falling_share - found.falling_share_theory) < 5 * found.falling_share_error


@pytest.mark.parametrize(
    ("make", "start", "share"),
    [
        (lambda: surface(product, 3), (0, 0, 0), 0.5),
        (lambda: Objective(toy.toy_neuron().double(), "mse", (torch.ones(1, 1).double(),) * 2), (1, 1), 0.0),
    ],
)
def test_directions_at_a_degenerate_point(make, start, share):
    found = landscape.escape(
        make(),
        point(*start),
        noise="none",
        amplitudes=(1e-2,),
        num_seeds=1,
        drop=0.1,
        directions=400,
        max_steps=20,
    )
    assert found.falling_share_theory is None
    assert abs(found.falling_share - share) <= 5 * found.falling_share_error * (share > 0)


@pytest.mark.parametrize(("order", "radius"), [(4, 1e-3), (4, 1e-1), (5, 1e-1), (5, 1e-3)])
def test_directions_along_which_rounding_hides_f_are_not_said_to_rise(order, radius):
    # 1 − 2Πuᵢ + …: half of the directions fall, by a radius to the power of the order.
    asked = {"amplitudes": (0.5,), "num_seeds": 1, "drop": 0.5, "max_steps": 10}
    found = left(product, (0,) * order, dimension=order, directions=400, radius=radius, **asked)
    if (order, radius) == (5, 1e-3):
        assert np.isnan(found.falling_share)
    else:
        assert abs(found.falling_share - 0.5) < 5 * found.falling_share_error
    assert any("random directions F changes by no more than rounding" in note for note in found.notes) == (
        radius < 0.1
    )


def test_what_the_theorem_assumes_is_said_and_never_more():
    strict = left(product, (0, 0), amplitudes=(1e-2, 1e-3), num_seeds=2, drop=0.5, lr=0.05)
    (note,) = (one for one in strict.notes if "almost sure" in one)
    assert "strict saddle: holds" in note
    assert "Lipschitz everywhere: cannot be known" in note
    assert "random start, no noise: holds" in note
    long = left(product, (0, 0), amplitudes=(1e-2, 1e-3), num_seeds=2, drop=0.5, lr=0.6, max_steps=50)
    assert any("α < 1/L: fails" in one for one in long.notes)
    assert any("not below 1/L = 0.5" in one for one in long.notes)


@pytest.mark.parametrize(("far", "fit"), [(2e-2, "undecided"), (1e-4, "logarithmic")])
def test_amplitudes_too_near_to_each_other_tell_no_logarithm(far, fit):
    found = left(product, (0, 0), direction=(1, 1), amplitudes=(1e-1, 5e-2, far), drop=0.5, lr=0.02)
    assert found.fit == fit
    assert any("0.7 decades apart are too near to tell" in one for one in found.notes) == (fit == "undecided")


def test_a_minimum_is_called_none_and_its_runs_stay():
    found = left(lambda t: (t**2).sum() + 1, (0, 0), amplitudes=(1e-2, 1e-3), num_seeds=2, max_steps=50)
    assert {*found.end_status.ravel()} == {"stayed"}
    assert found.fit == "undecided"
    assert found.steps_per_decade is None
    assert any("is positive: a minimum" in one for one in found.notes)


def test_from_float32_the_numbers_are_those_of_float64():
    one = torch.ones(1, 1)
    coarse = Objective(toy.toy_product(1.0, -1.0), "mse", (one, one))
    found = landscape.escape(
        coarse, coarse.theta, noise="none", direction=(1, 1), amplitudes=DEEP, drop=3.5, max_steps=300
    )
    assert found.steps.ravel().tolist() == [41, 89, 137, 186, 234]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"direction": (1.0,)}, "a direction of 1 numbers"),
        ({"direction": (0.0, 0.0)}, "zeros"),
        ({"direction": (1.0, 0.0), "noise": "ball"}, "`direction` of the start with `noise` ball"),
        ({"perturb_when_below": 0.1}, "without noise"),
        ({"amplitudes": (0.1, 0.1)}, "each once"),
        ({"amplitudes": ()}, "amplitudes"),
        ({"num_seeds": 0}, "num_seeds"),
        ({"lr": 0.0}, "lr"),
        ({"drop": -1.0}, "drop"),
    ],
)
def test_what_is_refused(options, said):
    with pytest.raises(BadInput, match=said):
        left(product, (0, 0), **options)


def test_a_point_at_zero_needs_a_drop_and_one_without_a_loss_is_none():
    with pytest.raises(BadInput, match="give `drop`"):
        left(product, (1, 1))
    with pytest.raises(landscape.LandscapeError, match="finite loss"):
        left(product, (float("nan"), 1))


@pytest.mark.parametrize(("start", "drop"), [((3**0.5, 3**-0.5), None), ((0, 0), 1e-17), ((1, -1), 8e-16)])
def test_no_rounding_is_a_way_out(start, drop):
    # F = 1.2e-32 at a minimum; a level that is F(A) itself.
    with pytest.raises(BadInput, match="is known to"):
        left(product, start, drop=drop, noise="sphere", amplitudes=(1e-16,))


@pytest.mark.parametrize(
    ("middle", "noise"),
    [
        (lambda: nn.BatchNorm1d(4), "none"),
        (lambda: nn.BatchNorm1d(4), "sgd"),
        (lambda: nn.Dropout(0.3), "ball"),
        (lambda: nn.Dropout(0.3), "sgd"),
        (nn.ReLU, "ball"),
    ],
)
def test_any_module_is_left_in_the_mode_of_f(middle, noise):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        x, y = torch.randn(30, 3), torch.arange(30) % 2
        module = nn.Sequential(nn.Linear(3, 4), middle(), nn.Tanh(), nn.Linear(4, 2))
        module(x)  # statistics that are not 0 and 1
    objective = Objective(module, "cross_entropy", (x, y))
    found = landscape.escape(
        objective, objective.theta, noise=noise, num_seeds=2, amplitudes=(1.0, 0.1), max_steps=60, drop=0.05, lr=0.1,
        directions=20, batch_size=3 if noise == "sgd" else 1,
    )  # fmt: skip
    assert [one for one in found.checks if not one.passed] == []
    assert "noisy step" in {one.name for one in found.checks}


@pytest.mark.parametrize("noise", ["none", "gaussian", "sgd"])
def test_a_killed_escape_ends_bit_for_bit_like_an_undisturbed_one(monkeypatch, noise):
    monkeypatch.setattr("landscape.progress.SAVE_SECONDS", -1.0)
    x = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(6, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    objective = Objective(module, "mse", (x, x[:, :1] * x[:, 1:]))
    asked = {
        "noise": noise,
        "amplitudes": (1.0, 0.1),
        "num_seeds": 3,
        "drop": 0.02,
        "max_steps": 400,
        "further": 150,
    }
    whole, journal = landscape.escape(objective, objective.theta, **asked), {}
    calls, killed = [], 0
    while True:
        calls.clear()

        def third(done: int, total: int, what: str) -> None:
            calls.append(done)
            if len(calls) == 3:
                raise KeyboardInterrupt

        try:
            again = landscape.escape(objective, objective.theta, **asked, journal=journal, progress=third)
            break
        except KeyboardInterrupt:
            killed += 1
            assert killed < 30
    assert killed >= 2
    assert "state" in journal
    for one, other in zip(whole.arrays(), again.arrays(), strict=True):
        np.testing.assert_array_equal(one.values, other.values, err_msg=one.name)
    assert whole.scalars() == again.scalars()


@pytest.mark.parametrize(("reduction", "is_said"), [("sum", True), ("mean", False)])
def test_batches_of_a_sum_are_said_to_have_another_gradient(reduction, is_said):
    x = torch.tensor([[1.0], [2.0], [3.0]]).double()
    objective = Objective(nn.Linear(1, 1).double(), nn.MSELoss(reduction=reduction), (x, 5 - x))
    found = landscape.escape(
        objective, objective.theta, noise="sgd", amplitudes=(1.0,), num_seeds=1, lr=1e-3, max_steps=2
    )
    assert any("is no mean over samples" in note for note in found.notes) == is_said
