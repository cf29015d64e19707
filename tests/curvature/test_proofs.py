"""Every proof of curvature and sharpness is seen to fail: a kernel is broken, and just the checks of it say so."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import landscape
from landscape import Objective
from landscape.curvature import estimate_proofs, operators, product_proofs, proofs
from landscape.curvature.share_proofs import share_error
from landscape.numerics.spectra.density import spectral_density
from landscape.numerics.spectra.inertia import Inertia
from landscape.objective import checks
from landscape.objective.objective import Objective as Kernel
from landscape.objective.products import Product
from landscape.objective.samples import Strided

SPECTRUM = importlib.import_module("landscape.curvature.spectrum")
SEARCHED = importlib.import_module("landscape.curvature.searched")
SHARPNESS = importlib.import_module("landscape.curvature.sharpness")
ASCENT = importlib.import_module("landscape.numerics.steps.ascent")


def objective_of(loss="cross_entropy", activation=nn.Tanh, **options) -> Objective:
    """30 samples of 3 classes, in chunks of 7, so that the last has two."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(4, 5), activation(), nn.Linear(5, 3)).double()
    y = torch.arange(30) % 3 if loss == "cross_entropy" else torch.rand(30, 3, generator=generator).double()
    return Objective(module, loss, (x, y), chunk_size=7, **options)


@pytest.fixture
def objective() -> Objective:
    return objective_of()


def measured(objective: Objective, **options):
    return landscape.hessian(objective, objective.theta, **{"top_k": 3, **options})


def failed(result) -> set[str]:
    return {check.name for check in result.checks if not check.passed}


def known(objective: Objective) -> None:
    """Finds out now whether a double backward is right, or a broken one would not be used."""
    assert not objective.doubts_at(objective.present_point())


def break_(monkeypatch, owner, name, change):
    """Puts ``change(kernel)`` in the place of a kernel."""
    monkeypatch.setattr(owner, name, change(getattr(owner, name)))


def test_nothing_fails_where_nothing_is_broken(objective):
    options = {"bottom_k": 2, "trace": True, "density": True, "exact": True, "split": True}
    result = measured(objective, **options)
    assert not failed(result)
    names = {check.name for check in result.checks}
    assert names >= {
        "Hv against ∇F",
        "vᵀAv against outputs",
        "Ritz pairs",
        "none missed",
        "stated errors",
        "gradient",
        "split",
        "trace",
        "trace error",
        "density weights",
        "density errors",
        "density below zero",
        "trace and spectrum",
        "first moment and spectrum",
        "density and index",
        "dense matrix",
        "eigenvalues",
        "threshold",
        "index",
        "Lanczos",
    }
    assert not failed(measured(objective_of(activation=nn.ReLU, dtype=torch.float32), **options))
    for where in ({"per_layer": True}, {"which": "both"}, {"which": "magnitude"}, {"which": "smallest"}):
        assert not failed(measured(objective, exact=True, **where))


# Products


def test_a_product_over_n_minus_one(objective, monkeypatch):
    """What all products share is seen against the gradient alone."""

    def change(kernel):
        def product(self, *args, **options):
            found = kernel(self, *args, **options)
            found._divisor = found._divisor - 1
            return found

        return product

    known(objective)
    break_(monkeypatch, Kernel, "product", change)
    assert failed(measured(objective)) == {"Hv against ∇F"}


def test_a_penalty_that_products_forget(monkeypatch):
    def change(kernel):
        def product(self, *args, **options):
            found = kernel(self, *args, **options)
            found._l2 = 0.0
            return found

        return product

    break_(monkeypatch, Kernel, "product", change)
    assert failed(measured(objective_of(l2=0.1))) == {"Hv against ∇F"}


def test_a_gradient_over_n_minus_one(objective, monkeypatch):
    def change(kernel):
        def summed(self, theta, fixed):
            value, slope = kernel(self, theta, fixed)
            return value, slope * self.divisor / (self.divisor - 1)

        return summed

    break_(monkeypatch, Kernel, "_summed", change)
    assert "gradient" in failed(measured(objective))


def test_a_penalty_that_the_gradient_forgets(monkeypatch):
    def change(kernel):
        def summed(self, theta, fixed):
            value, slope = kernel(self, theta, fixed)
            return value, slope - self.l2 * theta

        return summed

    break_(monkeypatch, Kernel, "_summed", change)
    assert "gradient" in failed(measured(objective_of(l2=0.1)))


def test_a_chunk_left_out_of_the_products(objective, monkeypatch):
    """Not in the other cut of the samples, which has parts of its own."""

    def change(kernel):
        def image(self, number, chunk, v):
            found = kernel(self, number, chunk, v)
            is_whole = self._samples.count == 30 and type(self._samples) is not Strided
            is_last = number == -(-30 // self._chunk_size) - 1
            return [torch.zeros_like(piece) for piece in found] if is_whole and is_last else found

        return image

    known(objective)
    break_(monkeypatch, Product, "_image", change)
    assert failed(measured(objective)) >= {"Ritz pairs"}


@pytest.mark.parametrize(
    ("operator", "kernel"),
    [
        ("gauss-newton", "_second_derivative_of_loss"),
        ("fisher", "_second_derivative_of_loss"),
        ("empirical-fisher", "_outer_product_of_slopes"),
    ],
)
@pytest.mark.parametrize("loss", ["cross_entropy", "bce", "mse"])
def test_other_matrices_are_seen_from_the_outputs(loss, operator, kernel, monkeypatch):
    assert not failed(measured(objective_of(loss), operator=operator))

    def change(kernel):
        def middle(*args):
            product = kernel(*args)
            return lambda u: product(u) + 1e-3 * u

        return middle

    break_(monkeypatch, operators, kernel, change)
    assert failed(measured(objective_of(loss), operator=operator)) == {"vᵀAv against outputs"}


def test_rounding_that_is_large_beside_the_curvature_is_not_chance():
    """Outputs that are the difference of large numbers, as a layer's curvature is that of large terms."""

    class Far(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.linspace(0.5, 1.5, 4))

        def forward(self, x):
            return ((x * self.weight).sum(1) + 4096.0) - 4096.0

    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    objective = Objective(Far(), lambda outputs, targets: (outputs - targets) ** 4, (x, torch.zeros(6)))
    found = measured(objective)
    assert found.product_rounding > checks.rounding(objective)
    (repeated,) = [one for one in found.checks if one.name == "determinism"]
    assert (repeated.passed, repeated.value) == (True, 0.0)


def test_a_module_that_draws_past_the_first_twenty_samples_is_not_determinate():
    class Late(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x):
            y = self.layer(x)
            return y * (1 + 0.3 * torch.rand_like(y)) if len(x) > 20 else y

    generator = torch.Generator().manual_seed(1)
    x = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    late = Objective(Late().double(), "cross_entropy", (x, torch.arange(30) % 3), chunk_size=25)
    assert "determinism" in failed(measured(late))


# Pairs


def test_values_in_the_order_of_other_vectors(objective, monkeypatch):
    def change(kernel):
        def pairs(*args, **options):
            found = kernel(*args, **options)
            return found._replace(vectors=found.vectors[[1, 0, 2]])

        return pairs

    break_(monkeypatch, SEARCHED, "top_eigenpairs", change)
    assert failed(measured(objective)) >= {"Ritz pairs"}


def test_a_residual_stated_too_small(objective, monkeypatch):
    def change(kernel):
        def pairs(*args, **options):
            found = kernel(*args, **{**options, "tol": 1e-3})
            return found._replace(residuals=found.residuals / 100, errors=found.errors / 100)

        return pairs

    break_(monkeypatch, SEARCHED, "top_eigenpairs", change)
    monkeypatch.setattr(proofs, "SHARE", 1.0)
    assert failed(measured(objective)) >= {"Ritz pairs", "Ritz pair"}


def test_an_error_ten_times_too_small(objective, monkeypatch):
    break_(
        monkeypatch,
        SEARCHED,
        "top_eigenpairs",
        lambda kernel: (
            lambda *args, **options: (lambda found: found._replace(errors=found.errors / 10))(
                kernel(*args, **options)
            )
        ),
    )
    assert failed(measured(objective)) == {"stated errors"}


@pytest.mark.parametrize("options", [{}, {"density": True, "num_probes": 6}, {"exact": True}])
def test_an_eigenvalue_that_was_missed(objective, options, monkeypatch):
    def change(kernel):
        def pairs(product, d, k, **options):
            found = kernel(product, d, k + 1, **options)
            kept = [0, *range(2, k + 1)]
            rows = {
                name: getattr(found, name)[kept]
                for name in ("values", "vectors", "residuals", "estimated", "errors", "converged")
            }
            return found._replace(trial=None, **rows)

        return pairs

    break_(monkeypatch, SEARCHED, "top_eigenpairs", change)
    # So few products leave no time for a look into the complement.
    monkeypatch.setattr(proofs, "SHARE", 1.0)
    assert failed(measured(objective, **options)) & {
        "none missed",
        "Lanczos",
    }


def test_a_gradient_along_which_the_curvature_is_another(objective, monkeypatch):
    places = importlib.import_module("landscape.curvature.places")
    monkeypatch.setattr(proofs, "SHARE", 1.0)
    break_(monkeypatch, places, "_shares", lambda kernel: lambda *args: kernel(*args) ** 0.5)
    assert failed(measured(objective)) == {"along ∇F"}
    monkeypatch.undo()
    monkeypatch.setattr(proofs, "SHARE", 1.0)
    break_(
        monkeypatch,
        SPECTRUM,
        "Spectrum",
        lambda kind: lambda **found: kind(**{**found, "gradient_curvature": 2 * found["gradient_curvature"]}),
    )
    assert failed(measured(objective)) == {"along ∇F"}


@pytest.mark.parametrize("wrong", [{"number": 1}, {"gap": 1.01}])
def test_outliers_that_are_not_those_of_the_values(wrong, objective, monkeypatch):
    places = importlib.import_module("landscape.curvature.places")
    right = measured(objective, top_k=6)
    assert not failed(right)
    assert right.num_outliers != 1
    break_(monkeypatch, places, "outliers", lambda kernel: lambda *rows: kernel(*rows)._replace(**wrong))
    assert failed(measured(objective, top_k=6)) == {"outliers"}


def test_an_overlap_of_other_spaces(objective, monkeypatch):
    places = importlib.import_module("landscape.curvature.places")
    points = [landscape.Point(objective.theta * s, {}, f"at {s}") for s in (0.5, 1.0, 1.5)]
    assert not failed(landscape.hessian(objective, points, top_k=3))
    break_(monkeypatch, places, "_overlaps", lambda kernel: lambda bases: kernel(bases)[[0, 2, 1]])
    assert failed(landscape.hessian(objective, points, top_k=3)) == {"overlap"}


# Trace, density and the dense matrix


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda t: t._replace(value=float(np.mean(t.forms))), "trace"),
        (lambda t: t._replace(standard_error=t.standard_error / len(t.forms) ** 0.5), "trace error"),
        (lambda t: t._replace(standard_error=np.std(t.forms, ddof=1) / len(t.forms) ** 0.5), "trace error"),
    ],
)
def test_a_trace_without_its_known_part_or_with_a_wrong_error(objective, change, check, monkeypatch):
    whole = measured(objective, trace=True)
    assert not failed(whole)
    break_(
        monkeypatch,
        SPECTRUM,
        "trace_estimate",
        lambda kernel: lambda *args, **options: change(kernel(*args, **{**options, "relative_error": 0.2})),
    )
    assert failed(measured(objective, trace=True)) == {check}


def test_probes_that_are_not_off_the_known_pairs(objective, monkeypatch):
    assert not failed(measured(objective, trace=True))
    trace = importlib.import_module("landscape.numerics.spectra.trace")
    monkeypatch.setattr(trace, "orthogonalised", lambda vector, basis: vector)
    assert "trace probe" in failed(measured(objective, trace=True))


def surer(share):
    """With a thousandth of its error."""
    return share._replace(sampling=share.sampling / 1e3, resolution=share.resolution / 1e3)


@pytest.mark.parametrize(
    ("change", "checks"),
    [
        (lambda d: d._replace(weights=1.1 * d.weights), {"density weights", "density below zero"}),
        (lambda d: d._replace(below_zero=d.below_zero._replace(value=1.0)), {"density below zero"}),
        (lambda d: d._replace(below_zero=surer(d.below_zero)), {"density below zero"}),
        (lambda d: d._replace(nodes=d.nodes + 100), {"none missed", "density below zero"}),
    ],
)
def test_a_density_with_wrong_weights_nodes_or_mass(objective, change, checks, monkeypatch):
    break_(
        monkeypatch,
        SPECTRUM,
        "spectral_density",
        lambda kernel: lambda *args, **options: change(kernel(*args, **options)),
    )
    found = failed(measured(objective, density=True, num_steps=6))
    assert found
    # Moments and the share near zero are of the same nodes and weights.
    assert found <= checks | {"density probe", "density near zero", "density errors"}


@pytest.mark.parametrize(
    "change",
    [
        lambda share: share._replace(resolution=0.0),
        lambda share: share._replace(resolution=share.resolution / 2),
        lambda share: share._replace(products=0.1),
    ],
)
@pytest.mark.parametrize("name", ["below_zero", "near_zero"])
def test_an_error_that_leaves_out_a_part_of_it(objective, change, name, monkeypatch):
    break_(
        monkeypatch,
        SPECTRUM,
        "spectral_density",
        lambda kernel: (
            lambda *args, **options: (lambda d: d._replace(**{name: change(getattr(d, name))}))(
                kernel(*args, **options)
            )
        ),
    )
    assert failed(measured(objective, density=True, num_steps=6)) == {"density errors"}


@pytest.mark.parametrize("product_error", [0.0, 1e-3])
@pytest.mark.parametrize("steps", [1, 2, 7, 30, 60])
def test_an_error_by_orthogonal_polynomials_is_that_of_the_quadratures(steps, product_error):
    """Of a spectrum with an atom at 0, probes that close among them."""
    values = torch.cat([torch.zeros(9), torch.linspace(-1, 3, 30)]).double()
    found = spectral_density(
        lambda v: values * v,
        39,
        num_probes=3,
        num_steps=steps,
        product_error=lambda: product_error,
        generator=torch.Generator().manual_seed(0),
    )
    scale = max(float(np.abs(found.nodes).max()), 1e-300)
    for share, edges in ((found.below_zero, (0.0,)), (found.near_zero, (-found.band, found.band))):
        wanted = share_error(
            found.recurrences, np.zeros(0), 39, edges, share.value, scale, found.product_error
        )
        assert share.error == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_layers_with_fewer_probes_than_another_are_judged_by_their_own(objective):
    result = measured(objective, density=True, per_layer=True)
    added = np.isnan(result.density_weights).all(2)
    assert added.any(), "every layer took as many probes"
    assert not failed(result)


def test_trace_density_and_spectrum_see_one_another():
    said = estimate_proofs.Stated(
        400,
        np.array([3.0]),
        trace=3.0,
        nodes=np.tile([-0.1, 0.1], (40, 1)),
        weights=np.full((40, 2), 399 / 800),
        spectrum=np.r_[np.repeat([-0.1, 0.1], [200, 199]), 3.0],
        index=200,
        nullity=0,
    )

    def names(**changes) -> set[str]:
        found = estimate_proofs.between_checks(replace(said, **changes), 40, 1e-12)
        return {check.name for check in found if not check.passed}

    assert not names()
    assert not names(spectrum=None)
    assert names(trace=0.0) == set()
    assert names(trace=-20.0) == {"trace and spectrum"}
    assert names(trace=-60.0, spectrum=None) == {"trace and density"}
    assert names(nodes=np.tile([0.0, 0.2], (40, 1))) == {"first moment and spectrum"}
    assert "density and index" in names(
        nodes=np.tile([0.05, 0.06, 0.1], (40, 1)), weights=np.full((40, 3), 133 / 400)
    )


def test_a_sampling_error_is_exceeded_rarely():
    """Of 2000 estimates none by more than its bound, and the bound is no more than thirty standard deviations."""
    generator = np.random.default_rng(0)
    matrix = generator.standard_normal((30, 30))
    matrix = matrix + matrix.T
    signs = generator.choice([-1.0, 1.0], (2000, 8, 30))
    means = np.einsum("rpi,ij,rpj->rp", signs, matrix, signs).mean(1) - np.trace(matrix)
    bound = estimate_proofs.sampling_error(8, np.linalg.norm(matrix), np.linalg.norm(matrix, 2))
    assert np.abs(means).max() < bound < 30 * means.std()


def test_a_dense_matrix_with_two_rows_exchanged(objective, monkeypatch):
    def change(kernel):
        def dense(*args, **options):
            found = kernel(*args, **options)
            order = [1, 0, *range(2, len(found.matrix))]
            return found._replace(matrix=found.matrix[order][:, order])

        return dense

    break_(monkeypatch, SPECTRUM, "dense_matrix", change)
    assert failed(measured(objective, exact=True)) == {"dense matrix"}


def test_eigenvalues_that_are_not_those_of_the_matrix(objective, monkeypatch):
    break_(
        monkeypatch,
        SPECTRUM,
        "exact_spectrum",
        lambda kernel: (
            lambda matrix, **how: (lambda found: found._replace(values=1.01 * found.values))(
                kernel(matrix, **how)
            )
        ),
    )
    assert failed(measured(objective, exact=True)) >= {"eigenvalues", "Lanczos"}


@pytest.mark.parametrize("factor", [100, 0.5])
def test_a_threshold_that_is_not_the_error(objective, factor, monkeypatch):
    break_(
        monkeypatch,
        SPECTRUM,
        "inertia",
        lambda kernel: lambda values, error: kernel(values, factor * error),
    )
    assert failed(measured(objective, exact=True)) == {"threshold"}


def test_an_asymmetry_left_out_of_the_threshold(monkeypatch):
    break_(
        monkeypatch,
        SPECTRUM,
        "stated_error",
        lambda kernel: lambda dense, *args, **options: kernel(dense._replace(rounding=0.0), *args, **options),
    )
    assert failed(measured(objective_of(dtype=torch.float32), exact=True, certify=False)) == {"threshold"}


def test_signs_that_were_counted_wrong(objective, monkeypatch):
    break_(
        monkeypatch,
        SPECTRUM,
        "inertia",
        lambda kernel: (
            lambda *args: (
                lambda found: Inertia(*found[:2], found[2], found[3], found[4], found[5])._replace(
                    num_negative=found[0] + 1
                )
            )(kernel(*args))
        ),
    )
    assert failed(measured(objective, exact=True)) == {"index"}


def test_a_remainder_of_the_wrong_sign(objective, monkeypatch):
    places = importlib.import_module("landscape.curvature.places")

    def change(kernel):
        def split(*args, **options):
            first, rest = kernel(*args, **options)
            return first, -rest

        return split

    break_(monkeypatch, places.operators, "gauss_newton_split", change)
    assert failed(measured(objective, split=True)) == {"split"}


def test_a_spread_over_subsets_with_n(objective, monkeypatch):
    (x,), y = objective.samples
    others = [objective.on((x[:20], y[:20])), objective.on((x[10:], y[10:]))]
    result = measured(objective, others=others)
    assert not failed(result)
    assert {"Ritz pairs at subset", "spread at subset"} <= {check.name[:-2] for check in result.checks}


# Sharpness

SMALL = {"sigmas": (0.01, 0.1), "num_draws": 4, "ascent_steps": 3}


def sharp(objective: Objective):
    return failed(landscape.sharpness(objective, objective.theta, **SMALL))


@pytest.fixture
def relu() -> Objective:
    return objective_of(activation=nn.ReLU)


def test_sharpness_passes_its_own(relu):
    assert not sharp(relu)
    assert not sharp(objective_of(activation=nn.ReLU, dtype=torch.float32))


def test_noise_of_one_sign_alone(relu, monkeypatch):
    def change(kernel):
        def measure(self, name, num_points, fill, points, *args, **options):
            def one_sided(block, thetas):
                return fill(block if "noise" not in name else [i - i % 2 for i in block], thetas)

            return kernel(self, name, num_points, one_sided, points, *args, **options)

        return measure

    break_(monkeypatch, SHARPNESS.Sweep, "measure", change)
    names = {"noise none", "noise filter", "noise none rescaled", "noise filter rescaled"}
    assert sharp(relu) == names


def test_noise_with_a_normal_interval(relu, monkeypatch):
    monkeypatch.setattr(SHARPNESS, "student_factor", lambda count: 1.0)
    assert sharp(relu) == {
        f"noise {norm} error{end}" for norm in ("none", "filter") for end in ("", " rescaled")
    }


def test_a_ball_that_is_too_large(relu, monkeypatch):
    break_(monkeypatch, ASCENT, "_on_sphere", lambda kernel: lambda u, radius: kernel(u, 1.1 * radius))
    found = sharp(relu)
    assert found >= {"within the ball", "ball none", "SAM none"}
    assert not any(name.startswith(("worst", "noise")) for name in found)


def test_a_worst_point_that_is_not_the_one_found(relu, monkeypatch):
    break_(
        monkeypatch,
        SHARPNESS,
        "ball_ascent",
        lambda kernel: (
            lambda *args, **options: (lambda one: one._replace(rises=2 * one.rises))(kernel(*args, **options))
        ),
    )
    assert sharp(relu) == {f"worst {norm}{end}" for norm in ("none", "filter") for end in ("", " rescaled")}


def test_directions_of_sharpness_that_are_not_normalised(relu, monkeypatch):
    break_(
        monkeypatch,
        SHARPNESS,
        "random_direction",
        lambda kernel: lambda *args, **options: 2 * kernel(*args, **options),
    )
    assert sharp(relu) >= {"direction norms", "noise none"}


def test_a_trace_of_sharpness_without_its_known_part(relu, monkeypatch):
    break_(
        monkeypatch,
        SHARPNESS,
        "trace_estimate",
        lambda kernel: (
            lambda *args, **options: (lambda t: t._replace(value=t.value + 1))(kernel(*args, **options))
        ),
    )
    assert sharp(relu) == {"trace", "trace rescaled"}


@pytest.mark.parametrize("noise", [8e-31, 1e-10])
def test_an_operator_that_vanishes_is_known_to_the_rounding_of_gauss_newton(noise, monkeypatch):
    """A net that fits exactly: its gradients are zero in one cut of a batch, and rounding in another."""
    inputs = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    module = nn.Linear(3, 1).double()
    objective = Objective(module, "mse", (inputs, module(inputs).detach()))
    true = product_proofs.recut

    def recut(objective, point, operator, **options):
        product = true(objective, point, operator, **options)
        return product if operator == "gauss-newton" else lambda v: product(v) + noise * v

    monkeypatch.setattr(product_proofs, "recut", recut)
    found = landscape.hessian(objective, objective.theta, top_k=1, operator="empirical-fisher")
    (pairs,) = (one for one in found.checks if one.name == "Ritz pairs")
    assert pairs.passed is (noise < 1e-20)


class Kinked(nn.Module):
    """3 w x, and beside it a little that has its kink at θ, seen by every sample."""

    def __init__(self, share: float):
        super().__init__()
        self.share = share
        self.w, self.u = (nn.Parameter(torch.tensor([one], dtype=torch.float64)) for one in (1.0, 0.0))

    def forward(self, x: Tensor) -> Tensor:
        return 3 * self.w * x + self.share * torch.relu(self.u + 0.3 * (self.w - 1)) * x


@pytest.mark.parametrize("share", [3.5e-4, 1e-3])
def test_a_kink_of_little_weight_is_no_wrong_product(share):
    """vᵀAv departs from its quotient by 3.5e-5 or 1e-4 at every step, for the slopes of both sides are averaged."""
    x = torch.linspace(-1, 2, 9, dtype=torch.float64)[:, None]
    subject = Objective(Kinked(share), "mse", (x, 0 * x))
    found = landscape.hessian(subject, subject.theta, top_k=1, operator="gauss-newton")
    assert "vᵀAv against outputs" not in {check.name for check in found.checks}
    assert any("outputs have a kink at θ" in note for note in found.notes)


class SmallEmbeddings(nn.Module):
    """A norm in float32 of embeddings far smaller than its gains, as language models begin."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(12, 8), nn.Linear(8, 12, bias=False)
        self.gain = nn.Parameter(torch.ones(8))
        nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(nn.functional.rms_norm(self.table(tokens).float(), (8,)) * self.gain.float())


def test_what_bends_within_a_hundredth_of_theta_is_no_kink(monkeypatch):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module, tokens, targets = SmallEmbeddings(), torch.randint(12, (40,)), torch.randint(12, (40,))
    subject = Objective(module, "cross_entropy", (tokens, targets))

    def check() -> checks.Check:
        found = landscape.hessian(subject, subject.theta, top_k=2).checks
        return next(one for one in found if one.name == "Hv against ∇F")

    assert check().passed
    known(subject)
    break_(monkeypatch, Product, "__call__", lambda true: lambda self, v: 1.1 * true(self, v))
    assert not check().passed
