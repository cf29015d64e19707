"""What proves the further measures: plain loops along the step, another cut of the samples, and what theory says."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape import distributed
from landscape.curvature import along_gradient, invariants, product_proofs
from landscape.curvature.estimate_proofs import Stated, trace_checks
from landscape.curvature.further import CRITICAL, Further, Wanted
from landscape.errors import BadInput, NotDifferentiable, NotFinite
from landscape.numerics.vectors import gathered, placed
from landscape.objective import checks, plain, trees
from landscape.objective.derivatives import derivative
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.reading import reads_parameters
from landscape.result import Check, largest_gap

# Places below the step of the first rise at which F is looked at again.
PLACES = 4
MEANINGS = {
    "trace": "κ against the mean, or the sum, of the probes",
    "trace error": "its standard error against Student's 95 % interval of the probes, relative",
}
# Of a sharded module: samples of which a gradient is taken, and another step than that of the value.
SINGLE, ANOTHER = 4, 0.7
# How many times rounding of the largest product no product is off by.
OVERSTATED = 1e3
# Outputs are homogeneous of one of these orders, if at all.
ORDERS = range(1, 65)


def proven(
    objective: Objective,
    point: Point,
    found: Further,
    wanted: Wanted,
    slope: Tensor,
    stated: Mapping[str, tuple[float, float]],
    *,
    scale: float,
    seed: int,
) -> tuple[list[Check], list[str]]:
    """Checks and notes of the measures at one point, as ``stated``; ``scale`` is the largest |λ|."""
    proofs: list[Check] = []
    notes: list[str] = []
    rng = np.random.default_rng(seed)
    proofs += _measures(found, wanted, stated)
    for name, loss in zip(CRITICAL, (objective, wanted.test), strict=True):
        if name not in found.found or loss is None:
            continue
        start = "relative " if name.startswith("relative") else ""
        if name not in found.undefined:
            proofs += _step(loss, point, slope, found.found[name], stated[name], rng, start)
        elif found.found[name]["why"] == along_gradient.WHY_NOT[along_gradient.NEVER]:
            proofs.append(_never(loss, point, slope, found.found[name], start))
    if "directional_sharpness" in found.found and "directional_sharpness" not in found.undefined:
        proofs.append(_along(objective, point, slope, stated["directional_sharpness"], scale))
    if "fisher_rao_norm" in found.found:
        more, said = _fisher_rao(objective, point, stated["fisher_rao_norm"][0])
        proofs += more
        notes += said
    if "relative_flatness" in found.found:
        proofs += _flatness(
            objective, point, found.found["relative_flatness"], stated["relative_flatness"], scale
        )
    return proofs, notes


def _measures(found: Further, wanted: Wanted, stated: Mapping[str, Any]) -> list[Check]:
    """That the measures which were asked for are there, with a number or a reason, and no others."""
    asked = {
        "critical_sharpness": wanted.critical,
        "relative_critical_sharpness": wanted.critical and wanted.test is not None,
        "directional_sharpness": wanted.critical,
        "fisher_rao_norm": wanted.fisher_rao,
        "relative_flatness": wanted.relative_flatness,
    }
    if not any(asked.values()) and not found.table:
        return []
    there = found.table.keys()
    wrong = sum(is_asked != (name in there) for name, is_asked in asked.items())
    wrong += sum(name not in stated for name in there - found.undefined.keys())
    meaning = "further measures that were asked for and are missing, or are there and were not (0 = none)"
    return [Check("measures", float(wrong), 0.0, meaning)]


def _never(loss: Objective, point: Point, slope: Tensor, found: Mapping[str, Any], start: str) -> Check:
    """That the loss does not lie higher at the farthest step that was tried, where it is said never to rise."""
    here, there = (
        plain.measure(
            loss, plain.by_name(loss, Point(along_gradient.stepped(point.theta, slope, step), point.fixed))
        ).loss
        for step in (0.0, found["steps"][-1])
    )
    rises = not there <= here + 10 * checks.rounding(loss) * max(abs(here), abs(there))
    meaning = (
        "whether the loss is higher at the farthest step tried, where none is said to be (0 = it is not)"
    )
    return Check(f"{start}critical step", float(rises), 0.0, meaning)


def _step(
    loss: Objective,
    point: Point,
    slope: Tensor,
    found: Mapping[str, Any],
    stated: tuple[float, float],
    rng: np.random.Generator,
    start: str,
) -> list[Check]:
    """The ends of the bracket by plain loops, the value that it makes, and places before it."""

    def at(step: float) -> float:
        moved = along_gradient.stepped(point.theta, slope, step)
        return plain.measure(loss, plain.by_name(loss, Point(moved, point.fixed))).loss

    low, high, (value, error) = found["low"], found["high"], stated
    here = at(0.0)
    wrong = (not at(low) < here) + (at(high) <= here)
    wrong += not value - error <= 2 / high <= 2 / low <= value + error * (1 + 1e-9) + 1e-300
    earlier = [at(low * part) for part in np.sort(rng.random(PLACES)).tolist()]
    above = sum(one > here * (1 + checks.rounding(loss)) for one in earlier)
    what = "the test loss" if start else "F"
    return [
        Check(
            f"{start}critical step",
            float(wrong),
            0.0,
            f"ends of the bracket of η at which {what} is not below, and above, that at θ by plain loops, and "
            "whether 2/η leaves its error (0 = none)",
        ),
        Check(
            f"{start}first rise",
            float(above),
            0.0,
            f"of {PLACES} seeded steps below the bracket those at which {what} has risen, by plain loops",
        ),
    ]


def _along(
    objective: Objective, point: Point, slope: Tensor, stated: tuple[float, float], scale: float
) -> Check:
    product = product_proofs.recut(objective, point, "hessian")
    unit = slope.double() / torch.linalg.vector_norm(slope.double())
    bend = float((product(unit.to(slope)).double() * unit).sum())
    gap = abs(bend - stated[0]) / max(scale, 1e-300)
    # What differences are known to may be more than rounding.
    bound = 2 * max(checks.rounding(objective), stated[1] / max(scale, 1e-300))
    meaning = "gᵀHg/gᵀg by a product of its own, over the largest |λ|"
    return Check("along ∇F", float(np.nan_to_num(gap, nan=np.inf)), bound, meaning)


def _fisher_rao(objective: Objective, point: Point, stated: float) -> tuple[list[Check], list[str]]:
    """θᵀIθ over samples cut otherwise; by the losses of single samples; and by the order of a homogeneous net."""
    alone = objective.varied(l2=0.0)
    if objective.is_sharded:
        return [_of_gradients(alone, point, stated)], []
    product = product_proofs.recut(alone, point, "empirical-fisher")
    again = max(invariants.form(product, point.theta) * invariants.fisher_scale(objective), 0.0) ** 0.5
    size = max(again, stated, 1e-300)
    meaning = "√(θᵀIθ) over samples cut otherwise, relative"
    proofs = [Check("Fisher–Rao", abs(again - stated) / size, 10 * checks.rounding(objective), meaning)]
    length = torch.linalg.vector_norm(point.theta.double())
    if not float(length) > 0:
        return proofs, []
    more, notes = product_proofs.product_check(alone, point, "empirical-fisher", point.theta / length)
    with suppress(BadInput, NotDifferentiable, NotFinite):
        more += _homogeneous(alone, point)
    return [*proofs, *more], notes


def _of_gradients(objective: Objective, point: Point, stated: float) -> Check:
    """‖θ‖_fr by slopes at another step, whose mean is ⟨θ, ∇F⟩ and which are those of some samples' gradients."""
    count = min(SINGLE, objective.num_samples)
    share = count / objective.num_samples
    with plain.proving(evaluations=6, gradients=share):
        slopes, error = invariants.slopes_along(objective, point, ANOTHER)
        forms = [
            _form(point, objective.batch_slope(point.theta, torch.tensor([i]), point.fixed).slope)
            for i in range(count)
        ]
    whole = _form(point, plain.gradient(objective, plain.by_name(objective, point)))
    whole /= objective.num_samples if objective.loss.over == "one" else 1
    size = max(float(np.sqrt((slopes**2).mean())), stated, 1e-300)
    gaps = [abs(float(np.sqrt((slopes**2).mean())) - stated), abs(float(slopes.mean()) - whole)]
    gaps.append(float(np.sqrt(((slopes[:count] - np.array(forms)) ** 2).mean())))
    # An error of the root mean square of all may be that of a few.
    bound = 10 * checks.rounding(objective) + 2 * error * share**-0.5 / size
    meaning = (
        f"√(θᵀIθ) at another step, ⟨θ, ∇F⟩ and gradients of {count} samples against its slopes, relative"
    )
    return Check("Fisher–Rao", float(np.nan_to_num(largest_gap(*gaps) / size, nan=np.inf)), bound, meaning)


def _form(point: Point, slope: Tensor) -> float:
    return float(point.theta.double() @ slope.double())


def _homogeneous(objective: Objective, point: Point) -> list[Check]:
    """θᵀIθ = q² (1/n) Σ ⟨∂ℓ/∂h, h⟩², where outputs at 2θ are 2^q of those at θ, of few samples of the module itself."""
    if distributed.num_processes() > 1:
        return []  # each sees its own samples alone
    part, here = product_proofs.of_few(objective, point)
    if reads_parameters(part, here):
        return []  # ∇ℓ has more than ∂ℓ/∂h to it
    inputs, targets = part.samples
    outputs = []
    for times in (1.0, 2.0):
        tensors = plain.by_name(part, Point(times * here.theta, here.fixed))
        share = part.num_samples / objective.num_samples
        grads = torch.set_grad_enabled(part.needs_gradients)
        with plain.proving(evaluations=share), part.written(tensors), grads:
            outputs.append(trees.mapped(Tensor.detach, part.called(trees.mapped(torch.clone, inputs))))
    if not all(isinstance(one, Tensor) and len(one) == len(targets) for one in outputs):
        return []
    once, twice = (one.double() for one in outputs)
    size = float(once.norm())
    precision = 100 * checks.rounding(part)
    order = next(
        (q for q in ORDERS if float((twice - 2.0**q * once).norm()) <= precision * 2**q * size), None
    )
    if not size or order is None:
        return []
    h = outputs[0].detach().requires_grad_()
    # What the loss holds, as weights of classes, is in the dtype of F there alone.
    with part.written(plain.by_name(part, here)):
        slopes = derivative(part.loss.total(h, targets), h).double()
    known = order**2 * float((slopes * once).reshape(len(once), -1).sum(1).square().mean())
    value = invariants.fisher_rao(part, here)[0] ** 2
    return [
        Check(
            "homogeneity",
            abs(value - known) / max(known, value, 1e-300),
            precision,
            f"θᵀIθ against q² times the mean of ⟨∂ℓ/∂h, h⟩², h homogeneous of order q = {order}, of "
            f"{part.num_samples} samples, relative",
        )
    ]


def _flatness(
    objective: Objective, point: Point, found: Mapping[str, Any], stated: tuple[float, float], scale: float
) -> list[Check]:
    """Value and error from the probes; B against W, and the last probe by a product of its own on all of θ.

    What products are off by is no more than rounding of the largest that there can be, ``scale`` the largest |λ|.
    """
    forms = np.array(found["forms"], dtype=float)
    said = Stated(len(forms), np.zeros(0), trace=stated[0], trace_error=stated[1])
    piece = next(one for one in objective.pieces if one.name == found["layer"])
    weight = gathered(plain.by_name(objective, point)[piece.name]).double()
    factor = invariants.factor_of(point.theta, piece)
    dimension = factor.shape[1] * weight.shape[1]
    means = trace_checks(said, forms, bool(found["is_sum"]), found["product_error"], dimension)
    names = {"trace": "relative flatness", "trace error": "relative flatness error"}
    proofs = [replace(one, name=names[one.name], meaning=MEANINGS[one.name]) for one in means]
    most = OVERSTATED * checks.rounding(objective) * (scale + objective.l2) * float(weight.square().sum())
    most = max(most, float(np.abs(forms).mean()) if len(forms) else 0.0)
    if not objective.is_sharded and not found["product_error"] <= most:
        proofs[1] = replace(proofs[1], value=np.inf)
    if not bool(weight.any()):
        return proofs
    off = float((factor @ factor.T - weight @ weight.T).norm()) / float(weight.square().sum())
    if found["last"] is None:
        meaning = "BBᵀ against WWᵀ, of which there is no probe"
        return [*proofs, Check("flatness probe", off, 10 * checks.rounding(objective), meaning)]
    last = torch.from_numpy(np.array(found["last"])).to(factor).reshape(factor.shape[1], -1)
    way = placed(point.theta, piece.span, (factor @ last).to(point.theta.dtype).flatten())
    product = product_proofs.recut(objective.varied(l2=0.0), point, "hessian")
    size = max(float(np.abs(forms).max(initial=0.0)), 1e-300)
    gap = largest_gap(off, abs(invariants.form(product, way) - float(forms[-1])) / size)
    meaning = (
        "BBᵀ against WWᵀ, and vᵀHv of the last probe v = BQ by a product of its own, over the largest of all"
    )
    bound = 10 * checks.rounding(objective)
    if objective.is_sharded:
        # Products are differences of gradients, in both roads.
        bound += 2 * found["product_error"] * float(last.square().sum()) / size
    return [*proofs, Check("flatness probe", float(np.nan_to_num(gap, nan=np.inf)), bound, meaning)]
