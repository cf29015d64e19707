"""The proofs of a product v ↦ A v: plain gradients and outputs beside the point, and another cut of the samples."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape import distributed
from landscape.curvature import operators
from landscape.curvature.preconditioned import Preconditioned
from landscape.errors import BadInput, LandscapeError
from landscape.numerics.spectra.krylov import Operator
from landscape.objective import checks, doubts, plain, trees
from landscape.objective.differences import Differences
from landscape.objective.losses import likelihood_of
from landscape.objective.objective import Fixed, Objective
from landscape.objective.parameters import Point
from landscape.objective.precision import in_float64
from landscape.objective.products import Product
from landscape.objective.reading import losses_of_samples
from landscape.result import Check

# What a product takes in gradients, on graphs of its own and on those kept.
FRESH, KEPT = 3.0, 1.75
# Step from the outputs h along u for a second derivative of the loss, over ‖h‖/‖u‖.
LOSS_STEP = 1e-5


def of_another_cut(
    objective: Objective, point: Point, operator: str, *, num_products: int = 1, memory_limit: float = 2**31
) -> Product | Differences | Preconditioned:
    """The operator at ``point`` anew, for so many products, over samples cut otherwise where they can be."""
    twin = objective.varied()
    if not objective.is_whole:
        twin.samples = objective.samples.recut()
    theta, fixed = twin.brought(point)
    return operators.operator(
        operator, twin, theta, fixed, num_products=num_products, memory_limit=memory_limit
    )


def recut(
    objective: Objective, point: Point, operator: str, *, num_products: int = 1, memory_limit: float = 2**31
) -> Operator:
    """The product :func:`of_another_cut`, counted as a proof."""
    product = of_another_cut(objective, point, operator, num_products=num_products, memory_limit=memory_limit)

    def proof(v: Tensor) -> Tensor:
        with plain.proving(gradients=KEPT if product.num_kept else FRESH):
            return product(v)

    return proof


def gradient_check(objective: Objective, point: Point, found: Tensor, norm: float) -> Check:
    """∇F, (d,) ``found`` of the stated ``norm``, against autograd on the module's own parameters.

    Over ‖∇F‖, or that of a few samples where theirs is larger: near a minimum what is summed is larger than the
    sum, and rounding is relative to it. One gradient.
    """
    slope = plain.gradient(objective, plain.by_name(objective, point))
    gap = max(_norm(found.to(slope) - slope), abs(norm - _norm(slope)))
    size = max(_norm(slope), 1e-3)
    if not objective.is_whole and objective.num_samples > 1:
        few = min(objective.num_smooth, -(-objective.num_samples // (2 * distributed.num_processes())))
        twin = objective.varied()
        twin.samples = objective.samples.few(few)
        with _of_part(few * distributed.num_processes() / objective.num_samples):
            size = max(size, _norm(plain.gradient(twin, plain.by_name(twin, point))))
    meaning = "∇F against autograd on the module's own parameters, over ‖∇F‖ or that of a few samples"
    return Check("gradient", _number(gap / size), checks.rounding(objective), meaning)


def product_check(
    objective: Objective, point: Point, operator: str, axis: Tensor
) -> tuple[list[Check], list[str]]:
    """The product with ``axis`` (d,) against what the module itself does beside the point; or a note why not.

    Of few samples, in float64 where there is one, as no kink of a ReLU lies that near then: see
    :func:`~landscape.objective.doubts.departure`. For the Hessian central differences of plain gradients, for the
    other matrices the quadratic form from differences of outputs, or of the losses of single samples.
    """
    try:
        part, here = of_few(objective, point)
        share = part.num_samples / objective.num_samples
        with _of_part(share), plain.proving(gradients=FRESH):
            if part.coarsest not in doubts.BOUNDS:
                raise BadInput(f"the module computes in {part.coarsest}", "float32 or float64")
            axis = axis.to(here.theta.device)
            product = operators.operator(operator, part, here.theta, here.fixed, num_products=1)
            image = product(axis)
            error = product.error / max(_norm(image), 1e-300)
            if operator in operators.OF_GRADIENT:
                # Of the preconditioned Hessian both ends of the product are in units of P^½.
                unit = _unit(part) if operator == "preconditioned" else None
                return _against_gradients(part, here, unit, axis, image, error)
            return _against_outputs(part, here, operator, axis, image, error)
    except LandscapeError as refused:
        return [], [f"products not checked against the module itself: {refused}"]


def _unit(objective: Objective) -> Tensor:
    """P^-½ (d,) by the objective's θ, from P by name."""
    assert objective.preconditioner is not None
    parts = [1 / objective.preconditioner[piece.name].double().sqrt() for piece in objective.pieces]
    return torch.cat([one.reshape(-1) for one in parts]).to(objective.device, objective.dtype)


def _against_gradients(
    part: Objective, here: Point, unit: Tensor | None, axis: Tensor, image: Tensor, error: float
) -> tuple[list[Check], list[str]]:
    _, steps, near = doubts.BOUNDS[part.coarsest]
    bound = max(near, 2 * error)

    def gradient(theta: Tensor) -> Tensor:
        slope = plain.gradient(part, plain.by_name(part, Point(theta, here.fixed)))
        return slope if unit is None else unit * slope

    along = axis if unit is None else unit * axis
    found = doubts.departure(gradient, image.double(), here.theta, along, steps=steps, bound=bound)
    if found.gap > bound and not found.has_limit:
        return [], [f"Hv not checked against ∇F: of {part.num_samples} samples the loss has a kink at θ"]
    meaning = f"Hv against differences of plain gradients, relative, of {part.num_samples} samples"
    return [Check("Hv against ∇F", _number(found.gap), bound, meaning)], []


class _Form(NamedTuple):
    """vᵀAv by differences of a step, and how much what is differed bends within it."""

    value: float
    bend: float


def _against_outputs(
    part: Objective, here: Point, operator: str, axis: Tensor, image: Tensor, error: float
) -> tuple[list[Check], list[str]]:
    _, steps, near = doubts.BOUNDS[part.coarsest]
    bound, form = max(near, 2 * error), float(torch.dot(axis.double(), image.double()))
    size = max(abs(form), 1e-300)
    unit = (_norm(here.theta) or 1.0) / _norm(axis)
    before, least = np.inf, np.inf
    for step in steps:
        quotient = _form(part, here, operator, axis, step * unit)
        gap = abs(quotient.value - form) / size
        least = min(least, gap)
        agrees = abs(quotient.value - before) <= bound * max(abs(quotient.value), size)
        # A kink at θ that few outputs have bends these at every step by as much as it moves the quotient.
        is_smooth = quotient.bend <= min(doubts.BENT, gap / doubts.KINKED)
        if least <= bound or (agrees and is_smooth):
            meaning = (
                f"vᵀAv against differences of {_differed(operator)}, relative, of {part.num_samples} samples"
            )
            return [Check("vᵀAv against outputs", _number(least), bound, meaning)], []
        before = quotient.value
    return [], [f"vᵀAv not checked: of {part.num_samples} samples the outputs have a kink at θ"]


def _differed(operator: str) -> str:
    return "the losses of single samples" if operator == "empirical-fisher" else "outputs"


def _form(part: Objective, here: Point, operator: str, axis: Tensor, step: float) -> _Form:
    """vᵀAv with A as it is defined, from the outputs, or the losses of single samples, at θ − hv, θ and θ + hv."""
    outputs = []
    for times in (-1, 0, 1):
        theta = here.theta + times * step * axis
        outputs.append(_plainly(part, Point(theta, here.fixed), operator == "empirical-fisher"))
    before, middle, after = ([one.double() for one in leaves] for leaves, _ in outputs)
    ways = [(a - b) / (2 * step) for a, b in zip(after, before, strict=True)]
    bends = [a + b - 2 * m for a, b, m in zip(after, before, middle, strict=True)]
    moved = 2 * step * _length(ways)
    targets = part.samples.targets
    if operator == "empirical-fisher":
        total = sum(float(way.square().sum()) for way in ways)
    elif operator == "fisher":
        total = _fisher(part, middle[0], ways[0])
    else:
        # What the loss holds, as weights of classes, is in the dtype of F there alone.
        with part.written(plain.by_name(part, here)):
            if not part.loss.is_of_outputs:  # but of what a call leaves in the module, too
                part.called(trees.mapped(torch.clone, part.samples.inputs))
            total = _bent_loss(part, outputs[1][1], outputs[1][0], ways, targets)
    sums = torch.tensor([total], dtype=torch.float64, device=part.device)
    value = float(distributed.total(sums)) / part.divisor + part.l2 * float(axis.double().square().sum())
    return _Form(value, _length(bends) / max(moved, 1e-300))


def _plainly(part: Objective, point: Point, wants_losses: bool) -> tuple[list[Tensor], Any]:
    """The floating-point outputs of the module itself, and all of them; or the loss of every sample."""
    inputs, targets = part.samples
    with (
        part.written(plain.by_name(part, point)),
        torch.set_grad_enabled(part.needs_gradients),
    ):
        outputs = part.called(trees.mapped(torch.clone, inputs))
        if wants_losses:
            if part.tells_samples_apart:
                return [part.loss.each(outputs, targets)], None
            return [losses_of_samples(part, inputs, outputs, targets).detach()], None
        # Here, as a parameter among them holds other numbers later.
        outputs = trees.mapped(Tensor.detach, outputs)
    return trees.moving(outputs), outputs


def _fisher(part: Objective, outputs: Tensor, ways: Tensor) -> float:
    """Σ over samples of Var or E of the derivative of log p along the way, the mean over a sample's observations.

    Where some targets count and others do not, the sum over those that count.
    """
    name = likelihood_of(part.given)
    if name == "cross_entropy":
        p = outputs.softmax(1)
        of_each = (p * ways.square()).sum(1) - (p * ways).sum(1).square()
    elif name == "bce":
        p = outputs.sigmoid()
        of_each = p * (1 - p) * ways.square()
    else:
        of_each = ways.square()
    if part.loss.over == "weight":
        return float(of_each[part.samples.targets != part.given.ignore_index].sum())
    return float(of_each.reshape(len(of_each), -1).mean(1).sum())


def _bent_loss(
    part: Objective, outputs: Any, here: list[Tensor], ways: list[Tensor], targets: Tensor
) -> float:
    """uᵀ(∂²ℓ/∂h²)u from first derivatives of the loss at h ± εu."""
    epsilon = LOSS_STEP * max(_length(here), 1.0) / max(_length(ways), 1e-300)

    def slope(times: float) -> float:
        moved = [
            (one + (times * epsilon * way).to(one)).requires_grad_()
            for one, way in zip(here, ways, strict=True)
        ]
        with torch.enable_grad():
            total = part.loss.total(trees.with_moving(outputs, moved), targets)
        slopes = torch.autograd.grad(total, moved, allow_unused=True, materialize_grads=True)
        return sum(float((s.double() * way).sum()) for s, way in zip(slopes, ways, strict=True))

    return (slope(1) - slope(-1)) / (2 * epsilon)


def of_few(objective: Objective, point: Point) -> tuple[Objective, Point]:
    """The objective of few of its samples, in float64 where there is one, and the point in it."""
    few = None if objective.is_whole else objective.num_smooth
    try:
        part = in_float64(objective, few)
    except BadInput:
        if few is None:
            return objective, point
        return objective.varied(data=objective.samples.few(few)), point
    fixed: Fixed
    theta, fixed = part.brought(point)
    return part, Point(theta, fixed)


@contextmanager
def _of_part(share: float) -> Iterator[None]:
    """What is evaluated inside is a part of the samples, and counts as so much of an evaluation."""
    with plain.counted() as cost:
        yield
    with plain.proving(evaluations=share * cost.evaluations, gradients=share * cost.gradients):
        pass


def _length(parts: list[Tensor]) -> float:
    return sum(float(one.double().square().sum()) for one in parts) ** 0.5


def _norm(vector: Tensor) -> float:
    return float(torch.linalg.vector_norm(vector.double()))


def _number(gap: float) -> float:
    """NaN fails as well."""
    return float(np.nan_to_num(gap, nan=np.inf))
