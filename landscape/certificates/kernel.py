"""The empirical neural tangent kernel K = JJᵀ (nk, nk), J the derivative of the n·k outputs with respect to θ.

Rows and columns are outputs, those of the first sample first (Jacot et al. 2018).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape.errors import BadInput, NotDifferentiable
from landscape.numerics.spectra.krylov import Operator
from landscape.objective.derivatives import derivative, second_derivative
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.progress import Progress, silent

# Rows of a Jacobian at a time, and bytes of those that are kept together.
ROWS = 64
MEMORY = 2**31


def jacobian(
    objective: Objective, point: Point, rows: slice = slice(None), *, progress: Progress = silent
) -> Tensor:
    """J (m·k, d) of the samples ``rows``, by vector-Jacobian products, as many at once as autograd takes.

    Raises NotDifferentiable where the outputs do not depend on θ through autograd.
    """
    samples = torch.arange(objective.num_samples)[rows]
    found, done = [], 0
    size = max(1, ROWS // max(1, outputs_per_sample(objective, point)))
    for few in samples.split(len(samples) if objective.is_whole else size):
        # Outputs of samples that hang together are those of all samples.
        inputs, _ = objective.samples.picked(None if objective.is_whole else few)
        leaf = point.theta.clone().requires_grad_()
        with sdpa_kernel(SDPBackend.MATH), objective.passed(leaf, point.fixed, inputs) as outputs:
            own = outputs[rows] if objective.is_whole else outputs
            found += [_pulled_back(part, leaf) for part in own.reshape(-1).split(ROWS)]
        done += len(few)
        progress(done, len(samples), "samples")
    return torch.cat(found)


def dense_kernel(
    objective: Objective, point: Point, *, memory_limit: float = MEMORY, progress: Progress = silent
) -> tuple[Tensor, Tensor]:
    """K (nk, nk), and which parameters move any output (d,).

    J is taken whole where it fits ``memory_limit`` bytes, else in blocks of samples, most of them again.
    """
    count, k = objective.num_samples, outputs_per_sample(objective, point)
    per_sample = 8.0 * k * objective.num_parameters
    if per_sample * count <= memory_limit:
        whole = jacobian(objective, point, progress=progress)
        return whole @ whole.T, (whole != 0).any(0)
    block = max(1, int(memory_limit / 2 / per_sample))
    kernel = point.theta.new_zeros(count * k, count * k)
    moving = torch.zeros_like(point.theta, dtype=torch.bool)
    starts = range(0, count, block)
    for number, start in enumerate(starts):
        here = slice(start, start + block)
        first = jacobian(objective, point, here)
        moving |= (first != 0).any(0)
        for after in starts[number:]:
            there = slice(after, after + block)
            part = first @ (first if after == start else jacobian(objective, point, there)).T
            own, other = (slice(one.start * k, min(one.stop, count) * k) for one in (here, there))
            kernel[own, other], kernel[other, own] = part, part.T
        progress(number + 1, len(starts), "blocks of samples")
    return kernel, moving


def kernel_operator(objective: Objective, point: Point) -> Operator:
    """v ↦ J(Jᵀv) for v (nk,), by two backward passes each way, chunk by chunk; K itself is never formed.

    Jᵀv is the derivative of ⟨h, v⟩; Ju that of w ↦ ⟨Jᵀw, u⟩. Raises NotDifferentiable where autograd has no second
    derivative.
    """
    k = outputs_per_sample(objective, point)

    def product(v: Tensor) -> Tensor:
        image, parts = pulled(objective, point, v), []
        for leaf, flat, _ in _chunks(objective, point, k):
            w = torch.zeros_like(flat).requires_grad_()
            slope = derivative((flat * w).sum(), leaf, create_graph=True)
            parts.append(second_derivative(slope, w, image, False).to(image))
        return torch.cat(parts)

    return product


def pulled(objective: Objective, point: Point, v: Tensor) -> Tensor:
    """Jᵀv (d,) of v (nk,). A random v leaves no parameter out that moves an output."""
    image = torch.zeros_like(point.theta)
    for leaf, flat, part in _chunks(objective, point, outputs_per_sample(objective, point)):
        image += derivative((flat * v[part]).sum(), leaf)
    return image


def _chunks(objective: Objective, point: Point, k: int) -> Iterator[tuple[Tensor, Tensor, slice]]:
    start = 0
    for inputs, targets in objective.chunks(objective.derivative_chunk()):
        leaf = point.theta.clone().requires_grad_()
        with sdpa_kernel(SDPBackend.MATH), objective.passed(leaf, point.fixed, inputs) as outputs:
            stop = start + k * len(targets)
            yield leaf, outputs.reshape(-1), slice(start, stop)
            start = stop


def moved_along(objective: Objective, point: Point, by: Tensor) -> Tensor:
    """J·by (nk,), what the linearised outputs move by; row after row where autograd has no second derivative."""
    try:
        return _pushed(objective, point, by)
    except NotDifferentiable:
        return jacobian(objective, point) @ by


def _pushed(objective: Objective, point: Point, by: Tensor) -> Tensor:
    parts = []
    for inputs, _ in objective.chunks(objective.derivative_chunk()):
        leaf = point.theta.clone().requires_grad_()
        with sdpa_kernel(SDPBackend.MATH), objective.passed(leaf, point.fixed, inputs) as outputs:
            flat = outputs.reshape(-1)
            w = torch.zeros_like(flat).requires_grad_()
            slope = derivative((flat * w).sum(), leaf, create_graph=True)
            parts.append(second_derivative(slope, w, by, False).to(by))
    return torch.cat(parts)


def errors_of(objective: Objective, point: Point, outputs: Tensor) -> Tensor:
    """∂F/∂h at ``outputs`` (n·k,) times what F divides its sums by, without the penalty: of the square loss, where that
    is n, (2/k)(h − y).
    """
    shape, found, start = _shape(objective, point), [], 0
    per_sample = _product(shape)
    for inputs, targets in objective.chunks():
        stop = start + per_sample * len(targets)
        h = outputs[start:stop].detach().reshape(len(targets), *shape).requires_grad_()
        # A loss with numbers of its own has them in the dtype of F while the module stands.
        with _ready(objective, point, inputs):
            found.append(derivative(objective.loss.total(h, targets), h).reshape(-1))
        start = stop
    return torch.cat(found)


def loss_of(objective: Objective, point: Point, outputs: Tensor) -> float:
    """The loss at ``outputs`` (n·k,), as F would say of a module that gives these; without the penalty."""
    shape, total, start = _shape(objective, point), 0.0, 0
    per_sample = _product(shape)
    for inputs, targets in objective.chunks():
        stop = start + per_sample * len(targets)
        h = outputs[start:stop].reshape(len(targets), *shape)
        with torch.no_grad(), _ready(objective, point, inputs):
            total += float(objective.loss.total(h, targets).double())
        start = stop
    return total / objective.divisor


@contextmanager
def _ready(objective: Objective, point: Point, inputs: Any) -> Iterator[None]:
    """The module standing at the point, and called on ``inputs`` where the loss reads what that leaves in it."""
    if objective.loss.is_of_outputs:
        with objective.standing(point.theta, point.fixed):
            yield
    else:
        with objective.passed(point.theta, point.fixed, inputs):
            yield


def _pulled_back(flat: Tensor, leaf: Tensor) -> Tensor:
    """The derivative of every entry of ``flat`` (m,): (m, d)."""
    if not flat.requires_grad:
        raise NotDifferentiable(
            "the outputs do not depend differentiably on any trainable parameter",
            "outputs with a derivative",
            "is there a detach, an argmax or a torch.no_grad in the way?",
        )
    every = torch.eye(len(flat), dtype=flat.dtype, device=flat.device)
    how: dict[str, Any] = {"retain_graph": True, "allow_unused": True}
    try:
        (found,) = torch.autograd.grad(flat, leaf, every, is_grads_batched=True, **how)
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        # An operation that does not take many vectors at once.
        try:
            rows = [torch.autograd.grad(flat, leaf, one, **how)[0] for one in every]
        except RuntimeError as failure:
            raise NotDifferentiable(
                f"an operation has no derivative ({str(failure).splitlines()[0]})", "one that autograd knows"
            ) from failure
        found = torch.stack([torch.zeros_like(leaf) if one is None else one for one in rows])
    return torch.zeros(len(flat), len(leaf), dtype=leaf.dtype, device=leaf.device) if found is None else found


def _shape(objective: Objective, point: Point) -> tuple[int, ...]:
    """The shape of one sample's outputs. Raises BadInput where outputs are no samples side by side."""
    few = None if objective.is_whole else torch.arange(1)
    inputs, targets = objective.samples.picked(few)
    with torch.no_grad(), objective.passed(point.theta, point.fixed, inputs) as outputs:
        if not isinstance(outputs, Tensor) or outputs.dim() == 0 or len(outputs) != len(targets):
            raise BadInput("outputs without an axis of samples", "one tensor, the samples along axis 0")
        return tuple(outputs.shape[1:])


def _product(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())


def outputs_per_sample(objective: Objective, point: Point) -> int:
    """k: how many numbers the module gives for a sample."""
    return _product(_shape(objective, point))
