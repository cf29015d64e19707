"""The proofs of directions: norms, angles, eigenvalues and curvatures by independent means."""

import math
from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.numerics.vectors import gathered
from landscape.objective import checks, doubts, plain, trees
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point, split
from landscape.objective.precision import in_float64
from landscape.paths.directions import Eigenvectors, pieces_of
from landscape.result import Check, largest_gap

CURVATURE_BOUND = 1e-3
# Lengths of random parts that are no nearer to those of their weights, relative.
BY_CHANCE = 1e-5
# Layers of torch by the axis of their weights along which the output units lie.
OUTPUTS_FIRST = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)
OUTPUTS_SECOND = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm)


def eigen_checks(objective: Objective, point: Point, found: Eigenvectors) -> list[Check]:
    """The eigenvalue of each axis against dᵀHd by a product of its own, on the direction as it is stored."""
    proofs = []
    product = objective.hessian_operator(point.theta, point.fixed, num_products=1)
    for name, axis, value in zip(("α", "β"), found.directions, found.values, strict=False):
        bend = float(torch.dot(axis.double(), product(axis).double()))
        proofs.append(
            Check(
                f"eigenvalue along {name}",
                abs(bend - float(value)) / found.scale,
                max(checks.rounding(objective), 2 * product.error / found.scale),
                "Ritz value against dᵀHd by a product of its own, relative to the largest |λ|",
            )
        )
    return proofs


def norm_check(
    objective: Objective,
    theta: Tensor,
    axes: Tensor,
    norm: str,
    ignore: Collection[str],
    block: str | None = None,
) -> Check:
    """‖d_f‖ against ‖w_f‖ filter by filter (or layer by layer), by sums that share nothing with the kernel.

    The squares of a parameter are summed axis by axis, apart for every output unit along it; where the units lie, and
    what is a normalisation's, is told by the class of torch's own layers, of which no part smaller than a filter may be
    as long as its weights. Ignored parameters must be at rest; with
    ``none`` that is all there is to check. Of a ``block`` nothing else is looked at.
    """
    worst, told = 0.0, _told(objective, theta)
    weights = split(theta, objective.pieces)
    for axis in axes:
        parts = split(axis, objective.pieces)
        for piece in pieces_of(objective, block):
            weight, part = (gathered(one[piece.name]).double().cpu().numpy() for one in (weights, parts))
            role, units = told.get(piece.name, (piece.role, piece.units))
            if role in ignore:
                worst = largest_gap(worst, float(np.abs(part).max(initial=0)))
            elif norm != "none" and piece.size:
                units = units if norm == "filter" else (1,) * len(piece.shape)
                wanted, found = _lengths(weight, units), _lengths(part, units)
                worst = largest_gap(
                    worst, float((np.abs(found - wanted) / np.where(wanted > 0, wanted, 1)).max())
                )
                is_told = piece.name in told or norm == "layer"
                worst = math.inf if is_told and _is_finer(weight, part, units) else worst
    meaning = {
        "filter": "‖d_f‖ against ‖w_f‖, worst filter, relative",
        "layer": "‖d_l‖ against ‖w_l‖, worst layer, relative",
        "none": "largest entry among the ignored parameters",
    }
    return Check("direction norms", worst, checks.rounding(objective), meaning[norm])


def _told(objective: Objective, theta: Tensor) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Role and units of the parameters of torch's own layers that are called, by the manual of their class."""
    found = {}
    called = _called(objective, theta)
    for prefix, layer in objective.layers.items():
        if layer not in called:
            continue
        for key, parameter in layer.named_parameters(recurse=False):
            name, shape = f"{prefix}.{key}" if prefix else key, tuple(parameter.shape)
            if type(layer) in NORMALISATIONS:
                found[name] = ("norm", (1,) * len(shape))
            elif key == "bias" and type(layer) in (*OUTPUTS_FIRST, *OUTPUTS_SECOND):
                found[name] = ("bias", (1,))
            elif key == "weight" and type(layer) in OUTPUTS_FIRST:
                found[name] = ("weight", (shape[0], *(1 for _ in shape[1:])))
            elif key == "weight" and isinstance(layer, OUTPUTS_SECOND) and type(layer) in OUTPUTS_SECOND:
                found[name] = ("weight", (layer.groups, shape[1], *(1 for _ in shape[2:])))
    return found


def _called(objective: Objective, theta: Tensor) -> set[nn.Module]:
    """The layers that a pass over a sample goes through."""
    found: set[nn.Module] = set()
    layers = [
        one
        for one in objective.layers.values()
        if type(one) in (*OUTPUTS_FIRST, *OUTPUTS_SECOND, *NORMALISATIONS)
    ]
    handles = [one.register_forward_hook(lambda layer, _, __: found.add(layer)) for one in layers]
    samples = objective.few(1)
    try:
        with (
            objective.written({**objective.present_point().fixed, **split(theta, objective.pieces)}),
            torch.set_grad_enabled(objective.needs_gradients),
        ):
            objective.called(trees.mapped(torch.clone, samples.inputs))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _is_finer(weight: np.ndarray, part: np.ndarray, units: Sequence[int]) -> bool:
    """Whether parts smaller than those by ``units`` are all as long as their weights, which chance does not do."""
    for axis, size in enumerate(weight.shape):
        if size > units[axis]:
            smaller = (*units[:axis], size, *units[axis + 1 :])
            wanted, found = _lengths(weight, smaller), _lengths(part, smaller)
            if wanted.any() and bool((np.abs(found - wanted) <= BY_CHANCE * wanted).all()):
                return True
    return False


def _lengths(values: np.ndarray, units: Sequence[int]) -> np.ndarray:
    """Euclidean lengths (*units) of the parts that ``values`` fall into when each axis is cut into ``units`` parts."""
    squares = values * values
    for axis, (size, count) in enumerate(zip(values.shape, units, strict=True)):
        squares = np.add.reduceat(squares, np.arange(count) * (size // count), axis=axis)
    return np.sqrt(squares)


def orthogonality_check(objective: Objective, plane: Tensor, *, are_units: bool) -> Check:
    """The cosine between the two directions; with ``are_units`` their lengths as well."""
    first, second = plane.double()
    squares = [float((one * one).sum()) for one in (first, second)]
    worst = abs(float((first * second).sum())) / (squares[0] * squares[1]) ** 0.5
    if are_units:
        worst = largest_gap(worst, *(abs(one**0.5 - 1) for one in squares))
    meaning = "|cos| of the angle between the directions, and what lengths of unit vectors are off 1"
    return Check("orthogonal", worst, checks.rounding(objective), meaning)


def curvature_checks(
    objective: Objective, point: Point, axes: Tensor, *, has_derivatives: bool
) -> tuple[list[Check], list[str]]:
    """Hd by central differences of ∇F against the Hessian-vector product along each axis; and notes.

    Differences of the *gradient*, because second differences of F itself lose all digits before their
    step is small enough for a ReLU net: each kink between θ* ± hd moves them by a finite amount, while
    the Hessian at θ* knows nothing of it. In float64 gradients bear steps of 1e-7, and on a part of the
    data with few enough activations no kink lies that near. Where one does lie at θ* itself (a zero
    weight, a dead input), ∇F changes otherwise on one side than on the other, and a note says so instead
    of a check. The bound of 1e-3 relative leaves room for rounding; in float32, for what takes no float64, it is 2e-2.

    Where the backward of a module is another than the derivative of its gradient, as of what is rounded and passes
    gradients straight through, and nothing of the Hessian is told (``has_derivatives``), that is a note as well.
    """
    found: list[Check] = []
    notes: list[str] = []
    try:
        part = in_float64(objective, objective.num_smooth)
        if part.coarsest not in doubts.BOUNDS:
            name = str(part.coarsest).removeprefix("torch.")
            return found, [f"curvature not checked: {name} in the module has no digits for differences of ∇F"]
        _, steps, near = doubts.BOUNDS[part.coarsest]
        bound = max(CURVATURE_BOUND, near)
        wide = [one.to(part.device, part.dtype) for one in axes]
        theta, fixed = part.brought(point)
        product = part.hessian_operator(theta, fixed)
        for name, axis in zip(("α", "β"), wide, strict=False):
            image = product(axis)
            gap, has_limit, _ = doubts.departure(
                lambda x: part.gradient(x, fixed), image, theta, axis, steps=steps, bound=bound
            )
            is_own = (
                gap > bound
                and has_limit
                and not has_derivatives
                and _is_the_modules(part, Point(theta, fixed), axis, image, bound)
            )
            if is_own:
                notes.append(
                    f"curvature along {name} not checked: a second backward pass through the module gives another "
                    "Hd than differences of ∇F, as where values are rounded and gradients go straight through; "
                    "no number here is of a Hessian"
                )
            elif gap <= bound or has_limit:
                dtype = str(part.coarsest).removeprefix("torch.")
                meaning = f"differences of ∇F against Hd, relative, {dtype}, {part.num_samples} samples"
                found.append(Check(f"curvature along {name}", gap, bound, meaning))
            else:
                notes.append(f"curvature along {name} not checked: the loss has a kink at θ*")
    except LandscapeError as error:
        notes.append(f"curvature not checked: {error}")
    return found, notes


def _is_the_modules(part: Objective, at: Point, axis: Tensor, image: Tensor, bound: float) -> bool:
    """Whether ``image`` is what a plain backward pass through the module's own gives, all samples at once.

    False where there is none.
    """
    try:
        with part.written(plain.by_name(part, at)), torch.enable_grad():
            own = [part.now(piece.name) for piece in part.pieces]
            slopes = torch.autograd.grad(
                plain.batch_loss(part, None), own, create_graph=True, materialize_grads=True
            )
            ways = [axis[piece.span].reshape(piece.shape) for piece in part.pieces]
            along = torch.stack([(slope * way).sum() for slope, way in zip(slopes, ways, strict=True)]).sum()
            found = [torch.zeros_like(one) for one in own]
            if along.requires_grad:
                found = torch.autograd.grad(along, own, materialize_grads=True)
    except (RuntimeError, LandscapeError):
        return False
    plainly = torch.cat([one.reshape(-1) for one in found]) + part.l2 * axis
    return float(torch.dist(plainly, image)) <= bound * max(float(torch.linalg.vector_norm(image)), 1e-300)
