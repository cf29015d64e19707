"""How lazily nets train as they get wider: what gradient descent changes of θ and of K (Jacot et al. 2018).

The change of θ, relative, falls like width^(−1/2). That of K falls like 1/width where the net is smooth in θ (Huang and
Yau 2020), and with ReLUs by how many kinks the steps pass: like width^(−1/2) in the limit.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.certificates.kernel import dense_kernel
from landscape.certificates.two_layer import arc_cosine_kernel
from landscape.errors import BadInput
from landscape.numerics.spectra.trace import NORMAL_QUANTILE, student_factor
from landscape.objective import plain, trees
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.result import Check, largest_gap

# Steps of gradient descent, and their size over 1/L at the start: far enough to be seen, and no wide net turns by much.
STEPS, SHARE = 20, 0.5
EXPECTED = -0.5


class Moved(NamedTuple):
    """‖K − K₀‖/‖K₀‖ of Frobenius and ‖θ − θ₀‖/‖θ₀‖ after steps of gradient descent from θ₀."""

    kernel: float
    weights: float


class Slope(NamedTuple):
    """d log y/d log width in the mean over draws, and its standard error, of the spread over draws; None of one."""

    value: float
    error: float | None


def moved(net: Objective, step: float, num_steps: int = STEPS) -> Moved:
    """Of an objective in float64 from its present point on. Raises BadInput where a step leaves what is finite."""
    point = net.present_point()
    theta = point.theta
    for _ in range(num_steps):
        theta = theta - step * net.gradient(theta, point.fixed)
    if not bool(torch.isfinite(theta).all()):
        raise BadInput(f"gradient descent by {step:.3g} that leaves what is finite", "smaller steps")
    before, _ = dense_kernel(net, point)
    after, _ = dense_kernel(net, Point(theta, point.fixed, point.label))
    return Moved(_relative(after, before), _relative(theta, point.theta))


def step_at(largest: float, num_outputs: int) -> float:
    """The size of the steps, where the largest eigenvalue of K is ``largest``: of square loss L = 2 λ_max(K)/(nk)."""
    return SHARE * num_outputs / (2 * largest)


def slope(widths: np.ndarray, values: np.ndarray) -> Slope:
    """Least squares of log ``values`` (widths, draws) on log ``widths``, of each draw by itself.

    >>> width = np.array([1.0, 10.0, 100.0])
    >>> slope(width, np.outer(width**-0.5, [1.0, 3.0])).value.__round__(12)
    -0.5
    """
    u = np.log(np.asarray(widths, dtype=float))
    weight = (u - u.mean()) / np.square(u - u.mean()).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        each = weight @ np.log(values)
    count = values.shape[1]
    return Slope(float(each.mean()), float(each.std(ddof=1) / math.sqrt(count)) if count > 1 else None)


def words(kernel: Slope, weights: Slope, count: int) -> list[str]:
    """Whether the slopes are the −1/2 that is expected of nets from random starts, by errors of ``count`` draws."""
    told = [
        _against(name, one, count) for name, one in (("‖θ − θ₀‖/‖θ₀‖", weights), ("‖K − K₀‖/‖K₀‖", kernel))
    ]
    return [
        f"after {STEPS} steps of gradient descent: {'; '.join(told)}; the errors are of the draws alone, not of widths "
        "that are finite. Of nets smooth in θ K changes like 1/width (Huang and Yau 2020), with ReLUs by the "
        "kinks passed"
    ]


def _against(name: str, found: Slope, count: int) -> str:
    if not found.error:
        return f"{name} ∝ width^{found.value:.3f}, of one draw, which has no error"
    off = abs(found.value - EXPECTED) / found.error
    # By Student's law: of two draws two errors are exceeded 30 times in 100.
    said = "−1/2 is within" if off <= NORMAL_QUANTILE * student_factor(count) else "not −1/2, by"
    return f"{name} ∝ width^({found.value:.3f} ± {found.error:.3f}): {said} {off:.1f} of its errors"


def lazy_check(net: Objective, step: float, found: Moved, distance: float) -> Check:
    """Changes of one net, and how far its K₀ is from the limit, by derivatives of the module, output by output."""
    point = net.present_point()
    theta = point.theta
    for _ in range(STEPS):
        here = plain.by_name(net, Point(theta, point.fixed, point.label))
        theta = theta - step * plain.gradient(net, here).to(theta)
    before, after = (_plain_kernel(net, Point(one, point.fixed, point.label)) for one in (point.theta, theta))
    wanted = Moved(_relative(after, before), _relative(theta, point.theta))
    limiting = arc_cosine_kernel(net.samples.inputs[0].flatten(1))
    pairs = [*zip(found, wanted, strict=True), (distance, _relative(before, limiting.to(before)))]
    gap = largest_gap(*(abs(one - other) / other if other else abs(one) for one, other in pairs))
    meaning = "changes of K and θ of one net, and its K from the limit, by derivatives of the module itself, relative"
    return Check("lazy", gap, 1e-9, meaning)


def _plain_kernel(net: Objective, point: Point) -> Tensor:
    own = [net.now(piece.name) for piece in net.pieces]
    with net.written(plain.by_name(net, point)), torch.enable_grad():
        outputs = [net.called(trees.mapped(torch.clone, inputs)).reshape(-1) for inputs, _ in net.chunks()]
        rows = [torch.autograd.grad(one, own, retain_graph=True) for one in torch.cat(outputs)]
    whole = torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in rows])
    return whole @ whole.T


def _relative(after: Tensor, before: Tensor) -> float:
    size = float(torch.linalg.vector_norm(before))
    return float(torch.linalg.vector_norm(after - before)) / size if size else math.inf
