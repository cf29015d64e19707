"""Checks of certificates: kernels, ranks and bounds once more, by the user's own module and by other formulas."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import acos, cos, hypot, pi, sin
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor

from landscape.certificates.inactive import Woken
from landscape.certificates.kernel import kernel_operator
from landscape.certificates.last_layer import LastLayerPath
from landscape.certificates.measured import Measured
from landscape.certificates.row_proofs import floor_gap, pattern_check, ranks_check
from landscape.certificates.structure import Structure
from landscape.certificates.two_layer import TwoLayers, arc_cosine_kernel, closed_kernel
from landscape.numerics.rank import CERTAIN
from landscape.objective import checks, plain, trees
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.samples import converted
from landscape.result import Check, largest_gap

# Of sums of squares of rounded numbers: a thousand roundings.
SUMS = 1e3
# Differences of outputs in float64, √ε and how they bend.
DIFFERENCE = 1e-5
# Of F, what terms that cancel leave of its law on the path of the last layer.
ON_THE_LAW = 1e-9
# Of a floor by normal equations, which square the condition of the data.
FLOOR = 1e-6
# Outputs up to which K is formed once more, where only its ends were looked for.
FEW = 32
# ε of the weights that a unit without any is given.
WAKING = 1e-2


def proven(objective: Objective, seen: Measured, seed: int) -> list[Check]:
    """The checks of one point."""
    point = seen.point
    found = [
        checks.agreement("loss", objective, seen.loss, point, checks.PLAINLY),
        gradient_check(objective, seen),
        *([] if seen.reads else [identity_check(objective, seen)]),
        product_check(objective, seen, seed),
        bound_check(seen),
        checks.finite(seen.gradient.cpu().numpy()),
    ]
    if seen.matrix is not None:
        found.append(kernel_check(seen.matrix))
        if seen.two is not None and seen.two.has_all:
            found.append(closed_check(seen))
    elif seen.num_outputs <= FEW and seen.is_converged:
        found.append(ends_check(objective, seen))
    found += pattern_check(seen) + ranks_check(seen)
    if seen.two is not None and seen.woken is not None:
        found.append(fall_check(objective, point, seen.woken, seen.two))
    if any(layer.weight is not None for layer in seen.structure.layers):
        found.append(feature_check(objective, point, seen.structure))
    if seen.floor is not None:
        found.append(floor_check(seen))
    return found


def gradient_check(objective: Objective, seen: Measured) -> Check:
    """∇F against autograd on the module's own parameters."""
    own = plain.gradient(objective, plain.by_name(objective, seen.point)).to(seen.gradient)
    size = max(float(own.norm()), float(seen.errors.norm()) * seen.kernel.largest**0.5 / objective.divisor)
    gap = float((own - seen.gradient).norm()) / size if size else 0.0
    return Check(
        "gradient", gap, 10 * _rounding(objective), "∇F against autograd on the module's own parameters"
    )


def kernel_check(matrix: Tensor) -> Check:
    """That K is symmetric and positive semidefinite, to rounding of its largest eigenvalue."""
    values = torch.linalg.eigvalsh(matrix)
    largest = float(values.abs().max()) or 1.0
    asymmetry = float((matrix - matrix.T).abs().max())
    bound = SUMS * torch.finfo(matrix.dtype).eps * max(1.0, len(matrix) / 100)
    meaning = "asymmetry of K, and how far its smallest eigenvalue lies below zero, over the largest"
    return Check("kernel", largest_gap(asymmetry, -float(values.min()), 0.0) / largest, bound, meaning)


def product_check(objective: Objective, seen: Measured, seed: int) -> Check:
    """uᵀKv of random u, v against (Jᵀu)·(Jᵀv), the derivatives of the user's own module."""
    generator = torch.Generator().manual_seed(seed)
    pair = torch.randn(2, seen.num_outputs, generator=generator, dtype=torch.float64).to(seen.gradient)
    pair = pair / torch.linalg.vector_norm(pair, dim=1, keepdim=True)
    if seen.matrix is not None:
        images = pair @ seen.matrix
    else:
        product = kernel_operator(objective, seen.point)
        images = torch.stack([product(one) for one in pair])
    pulled = torch.stack([_plainly_pulled(objective, seen.point, one) for one in pair])
    bound = SUMS * _epsilon(objective)
    gap = float((images @ pair.T - pulled @ pulled.T).abs().max()) / (seen.kernel.largest or 1.0)
    # Random u miss no parameter that moves an output; where sums cancel to rounding it is open which do.
    sizes = pulled.abs().amax(0)
    surely, some = (int((sizes > at).sum()) for at in (bound * float(sizes.max()), 0.0))
    gap += float(seen.num_moving < surely or (surely == some and seen.num_moving > some))
    return Check(
        "kernel product",
        gap,
        bound,
        "uᵀKv against (Jᵀu)·(Jᵀv) on the module itself, over λ_max, and 1 for other parameters that move",
    )


def identity_check(objective: Objective, seen: Measured) -> Check:
    """EᵀKE against n²‖∇F‖², E = n·∂F/∂h: of the square loss eᵀKe = (nk/2)²‖∇F‖²."""
    e = seen.errors.reshape(-1)
    own = plain.gradient(objective, plain.by_name(objective, seen.point)).to(e)
    scale = objective.divisor
    if seen.meaning.is_square:
        scale = seen.num_outputs / 2
    image = seen.matrix @ e if seen.matrix is not None else kernel_operator(objective, seen.point)(e)
    left, right = float(e @ image), scale**2 * float(own @ own)
    size = max(right, 1e-3 * float(e @ e) * seen.kernel.largest)
    gap = abs(left - right) / size if size else abs(left - right)
    meaning = "eᵀKe against (nk/2)²‖∇F‖² of a plain loop; of other losses with n ∂F/∂h and n²"
    return Check("kernel identity", gap, SUMS * _epsilon(objective), meaning)


def ends_check(objective: Objective, seen: Measured) -> Check:
    """The ends of the spectrum that Lanczos found against K of the module's own derivatives, one output at a time."""
    eye = torch.eye(seen.num_outputs, dtype=torch.float64).to(seen.gradient)
    rows = torch.stack([_plainly_pulled(objective, seen.point, one) for one in eye])
    values = torch.linalg.eigvalsh(rows @ rows.T)
    said, size = seen.kernel, float(values.max()) or 1.0
    gap = largest_gap(
        abs(float(values.max()) - said.largest), abs(max(float(values.min()), 0.0) - said.smallest)
    )
    # Below this part of the largest no full rank is sure.
    bound = max(CERTAIN, SUMS * _epsilon(objective))
    meaning = "ends of the spectrum of K against those of K formed by derivatives of the module, over λ_max"
    return Check("kernel spectrum", gap / size, bound, meaning)


def closed_check(seen: Measured) -> Check:
    """K against the closed form of two layers of piecewise linear units.

    Of units at their kink one of the slopes beside it is taken, or none, as autograd has its own rule for each kind.
    """
    assert seen.two is not None
    assert seen.matrix is not None
    two, gaps = seen.two, []
    at_kink = seen.structure.kinks[0].arguments == 0
    factor = torch.ones_like(two.slopes) if two.factor is None else two.factor
    for slope in (0.0, two.below, 1.0) if bool(at_kink.any()) else (0.0,):
        net = replace(two, slopes=torch.where(at_kink, slope * factor, two.slopes))
        gaps.append(float((closed_kernel(net) - seen.matrix).abs().max()))
    gap = float(np.nanmin(gaps)) / (seen.kernel.largest or 1.0)
    bound = SUMS * torch.finfo(seen.matrix.dtype).eps
    return Check("closed kernel", gap, bound, "K against that of two layers in closed form, over λ_max")


def feature_check(objective: Objective, point: Point, structure: Structure) -> Check:
    """The features against what the user's own layers are handed, and what their products make of it."""
    received: dict[str, list[Tensor]] = {}

    def noted(name: str) -> Callable[..., None]:
        def note(_: nn.Module, args: tuple[Any, ...]) -> None:
            # Nothing is handed here by keyword, and nothing of a transform of torch.func outlives it.
            if args and isinstance(args[0], Tensor) and not is_functorch_wrapped_tensor(args[0]):
                received.setdefault(name, []).append(args[0].detach().clone())

        return note

    names = {
        one.name.removesuffix(".weight"): one
        for one in reversed(structure.layers)
        if one.name.endswith("weight")
    }
    layers = {name: objective.layers[name] for name in names if name in objective.layers}
    hooks = [layer.register_forward_pre_hook(noted(name)) for name, layer in layers.items()]
    try:
        grads = torch.set_grad_enabled(objective.needs_gradients)
        with grads, objective.written(plain.by_name(objective, point)):
            for inputs, _ in objective.chunks():
                objective.called(trees.mapped(torch.clone, inputs))
    finally:
        for hook in hooks:
            hook.remove()
    gap = 0.0
    for name, parts in received.items():
        features = names[name].features
        handed = torch.cat(parts).reshape(-1)
        if handed.numel() == features.numel():
            size = float(handed.abs().max()) or 1.0
            gap = largest_gap(gap, float((handed - features.reshape(-1)).abs().max()) / size)
    if structure.last is not None and structure.last.weight is not None:
        made = structure.last.features @ structure.last.weight.T
        made = made if structure.last.bias is None else made + structure.last.bias
        gap = largest_gap(
            gap, float((made - structure.outputs).abs().max()) / (float(made.abs().max()) or 1.0)
        )
    return Check(
        "features", gap, _rounding(objective), "features against what the module's own layers are handed"
    )


def fall_check(objective: Objective, point: Point, found: Woken, two: TwoLayers) -> Check:
    """What F of the module itself falls by, as the unit without weights gets those that were found."""
    spans = {piece.name: piece.span for piece in objective.pieces}
    first, second = two.first, two.second
    assert first.weight is not None
    assert second.weight is not None
    width = first.weight.shape[1]
    rows, columns = torch.zeros_like(first.weight), torch.zeros_like(two.outgoing)
    rows[found.unit], columns[:, found.unit] = found.incoming[:width], found.outgoing
    by = torch.zeros_like(point.theta)
    for name, part, own in ((first.name, rows, first.weight), (second.name, columns, second.weight)):
        kept = point.theta[spans[name]].reshape(objective.now(name).shape)
        is_turned = kept.shape != own.shape or not torch.equal(kept, own)
        by[spans[name]] = (part.T if is_turned and kept.dim() == 2 else part).reshape(-1)
    if first.bias_name:
        by[spans[first.bias_name]] = (
            torch.zeros(len(rows))
            .to(by)
            .index_fill(0, torch.tensor([found.unit], device=by.device), float(found.incoming[width]))
        )
    step = WAKING
    loss = [
        checks.independent_loss(objective, Point(point.theta + k * step * by, point.fixed)) for k in (0, 1, 2)
    ]
    # F is even in ε here: the term of fourth order drops out.
    seen = (16 * (loss[0] - loss[1]) - (loss[0] - loss[2])) / (12 * step**2)
    rounding = checks.rounding(objective) * abs(loss[0]) / step**2
    allowed = max(abs(found.fall), found.rounding) + rounding / DIFFERENCE
    meaning = "a difference of F of the module itself, a unit without weights given some, over ε²"
    return Check("fall by a unit", abs(seen - found.fall) / (allowed or 1.0), DIFFERENCE, meaning)


def floor_check(seen: Measured) -> Check:
    """That F is not below the floor, over the mean square of the targets."""
    assert seen.floor is not None
    scale = max(float((seen.structure.outputs - seen.errors).square().mean()), seen.loss, 1e-300)
    below = largest_gap(largest_gap(0.0, seen.floor - seen.loss) / scale, floor_gap(seen) - FLOOR)
    meaning = "how far F lies below the least of linear nets of its rank, and that from a regression of reduced rank"
    return Check("floor", below, 1e-12, meaning)


def bound_check(seen: Measured) -> Check:
    """F against its bounds, of the kernel and of the last layer."""
    bounds = [one for one in (seen.loss_bound, seen.last_layer_bound) if one < torch.inf]
    # Of a point at the bottom both are rounding.
    noise = torch.finfo(torch.float64).eps * float((seen.structure.outputs - seen.errors).square().mean())
    above = largest_gap(
        *(seen.loss / max(bound, noise**2, 1e-300) - 1 for bound in bounds if not seen.loss <= noise**2)
    )
    by_formula = [0.0]
    if seen.loss_bound < torch.inf:
        by_formula.append(_bound_gap(seen, seen.loss_bound, seen.gradient_norm, seen.kernel.smallest))
    if seen.last is not None and seen.last_layer_bound < torch.inf:
        squared = seen.last.smallest**2
        by_formula.append(_bound_gap(seen, seen.last_layer_bound, seen.last_gradient_norm, squared))
    return Check(
        "bound",
        largest_gap(*by_formula, above),
        1e-6,
        "how far F lies above nk‖∇F‖²/(4 λ_min(K)), or that of the last layer, and what either is off its formula",
    )


def _bound_gap(seen: Measured, bound: float, slope: float, least: float) -> float:
    """How far a bound is from n·k·slope²/(4 least), relative."""
    n, k = seen.structure.outputs.shape[0], seen.errors.numel() // len(seen.structure.outputs)
    wanted = 0.25 * n * k / least * slope * slope
    return abs(bound - wanted) / max(wanted, 1e-300)


def path_checks(
    objective: Objective, seen: Measured, path: LastLayerPath, end: Mapping[str, np.ndarray], seed: int
) -> list[Check]:
    """The loss on the last layer's line: at one place against the module itself, everywhere against its law.

    And at its ``end`` as it is stored, by the names of its tensors.
    """
    place = int(torch.randint(1, len(path.t), (1,), generator=torch.Generator().manual_seed(seed)))
    theta = path.ends[0] + float(path.t[place]) * (path.ends[1] - path.ends[0])
    point = Point(theta, seen.point.fixed)
    meaning = "a point inside the line against a plain loop over model.eval()"
    # At the bottom all of F is the square of rounding, and features near to a lower rank want a large last layer.
    noise = 100 * _epsilon(objective) * path.terms**0.5
    size = seen.loss + max((2 * seen.loss**0.5 + noise) * noise / ON_THE_LAW, 1e-300)
    gap = float(abs(path.loss - path.law).max()) / size
    plainly, bound = checks.independent_loss(objective, point), _rounding(objective)
    allowed = max(1e-3, plainly) + (2 * plainly**0.5 + noise) * noise / bound
    stored = {
        name: converted(torch.from_numpy(values), objective.device, objective.dtype)
        for name, values in end.items()
    }
    lowest = abs(plain.measure(objective, stored).loss - path.floor) / size
    return [
        Check("path loss", abs(float(path.loss[place]) - plainly) / allowed, bound, meaning),
        Check("path law", gap, ON_THE_LAW, "largest |F(s) − F* − (1 − s)²(F − F*)| on the line, over F"),
        Check("path end", lowest, ON_THE_LAW, "F of the stored end, in a plain loop, against F*, over F"),
    ]


def linear_check(objective: Objective, first: Point, by: Tensor, moved: Tensor) -> Check:
    """J₀ by against a difference of the outputs of the module itself, by a longer step where these are coarse."""
    meaning = "J₀(θ − θ₀) against a difference of outputs, relative"
    size = float(moved.norm())
    if not size:
        return Check("linearised", 0.0, DIFFERENCE, meaning)
    reach = _epsilon(objective) ** (1 / 3)
    is_exact = objective.coarsest == torch.float64
    step = (1e-6 if is_exact else reach) / max(1.0, float(by.norm()))
    ends = [_outputs(objective, Point(first.theta + sign * step * by, first.fixed)) for sign in (1, -1)]
    quotient = (ends[0] - ends[1]).double() / (2 * step)
    gap = float((quotient - moved).norm()) / size
    return Check("linearised", gap, DIFFERENCE if is_exact else 2 * reach, meaning)


def limit_check(x: Tensor) -> Check:
    """K∞ against the formula in plain numbers, by the angle's cosine."""
    rows, gap = x.tolist(), 0.0
    kernel = arc_cosine_kernel(x)
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            inner, lengths = sum(a * b for a, b in zip(one, other, strict=True)), hypot(*one) * hypot(*other)
            t = acos(max(-1.0, min(1.0, inner / lengths))) if lengths else 0.0
            wanted = (lengths * (sin(t) + (pi - t) * cos(t)) + inner * (pi - t)) / (2 * pi)
            gap = largest_gap(gap, abs(float(kernel[i, j]) - wanted) / (lengths or 1.0))
    return Check(
        "arc cosine", gap, 1e-7, "limit of K against the formula by acos, which keeps half of the digits"
    )


def _outputs(objective: Objective, point: Point) -> Tensor:
    grads = torch.set_grad_enabled(objective.needs_gradients)
    with grads, objective.written(plain.by_name(objective, point)):
        parts = [
            objective.called(trees.mapped(torch.clone, inputs)).detach() for inputs, _ in objective.chunks()
        ]
    return torch.cat([part.reshape(-1) for part in parts])


def _plainly_pulled(objective: Objective, point: Point, v: Tensor) -> Tensor:
    """Jᵀv (d,) by autograd on the module's own parameters."""
    tensors, start = plain.by_name(objective, point), 0
    total = torch.zeros_like(point.theta)
    own = [objective.now(piece.name) for piece in objective.pieces]
    for inputs, _ in objective.chunks():
        with objective.written(tensors), torch.enable_grad():
            flat = objective.called(trees.mapped(torch.clone, inputs)).reshape(-1)
            stop = start + len(flat)
            parts = torch.autograd.grad(flat @ v[start:stop].to(flat), own, allow_unused=True)
        flats = [torch.zeros_like(p) if g is None else g for p, g in zip(own, parts, strict=True)]
        total += torch.cat([one.reshape(-1) for one in flats]).to(total)
        start = stop
    return total


def _rounding(objective: Objective) -> float:
    return checks.rounding(objective)


def _epsilon(objective: Objective) -> float:
    return torch.finfo(objective.coarsest).eps
