"""Are two solutions joined by a curve of low loss?"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from landscape import checks
from landscape.errors import BadInput
from landscape.numerics.curves import bernstein, bezier_points
from landscape.numerics.descent import Motion
from landscape.numerics.paths import barriers
from landscape.numerics.sampling import Sampler, isolated_rng
from landscape.objective import Objective
from landscape.parameters import Point
from landscape.progress import Pieces, Progress, silent
from landscape.result import Result, array, scalar
from landscape.sweep import Sweep, known


@dataclass(kw_only=True, eq=False)
class Connect(Result):
    """The loss along a trained Bézier curve from A to B, beside the straight line."""

    kind: ClassVar[str] = "connect"
    t: np.ndarray = array("t", long_name="position t on the curve (0 = first point, 1 = second)")
    loss: np.ndarray = array("t", long_name="training loss on the curve")
    loss_straight: np.ndarray = array("t", long_name="training loss on the straight line")
    accuracy: np.ndarray | None = array("t", long_name="training accuracy on the curve", optional=True)
    test_loss: np.ndarray | None = array("t", long_name="test loss on the curve", optional=True)
    test_loss_straight: np.ndarray | None = array(
        "t", long_name="test loss on the straight line", optional=True
    )
    test_accuracy: np.ndarray | None = array("t", long_name="test accuracy on the curve", optional=True)
    epoch: np.ndarray = array("epoch", long_name="pass over the data")
    epoch_loss: np.ndarray = array("epoch", long_name="mean batch loss along the curve in that pass")
    control_points: np.ndarray = array("bend", "parameter", long_name="free control points")
    barrier_chord: float = scalar("barrier over the chord: max F − [(1−t)F(A) + tF(B)]")
    barrier_ends: float = scalar("barrier over the worse end: max F − max(F(A), F(B))")
    barrier_chord_straight: float = scalar("barrier of the straight line over the chord")
    barrier_ends_straight: float = scalar("barrier of the straight line over the worse end")
    max_loss: float = scalar("largest training loss on the curve")
    length: float = scalar("length of the curve over that of the chord")


def connect(
    objective: Objective,
    a: Tensor | Point,
    b: Tensor | Point,
    *,
    test: Objective | None = None,
    bends: int = 1,
    epochs: int = 60,
    lr: float = 0.05,
    momentum: float = 0.9,
    batch_size: int = 128,
    num_points: int = 61,
    batchnorm: str = "recalibrate",
    seed: int = 0,
    pieces: Pieces | None = None,
    progress: Progress = silent,
) -> Connect:
    """Train a Bézier curve with fixed ends for low mean loss, t ~ U[0, 1] (Garipov et al. 2018, section 3).

    ``bends`` free control points (1: quadratic) start on the chord and move by mini-batch SGD with
    momentum; the gradient to control point i is Bᵢ(t)·∇F(θ(t)), so the module is never rewritten. The
    step size is constant for half of the epochs, falls linearly to a hundredth at 90 %, and stays there.
    The profile has ``num_points`` points with both ends exactly. What it shows is an upper bound: a
    curve trained longer may lie lower.

    Resumable after each pass through ``pieces``. A NaN or infinite loss ends the training with outcome
    ``diverged``. Raises BadInput for fewer than one bend or epoch, or three points, or a step size or
    momentum out of range.
    """
    for name, number, least in (
        ("bends", bends, 1),
        ("epochs", epochs, 1),
        ("batch size", batch_size, 1),
        ("points", num_points, 3),
    ):
        if number < least:
            raise BadInput(f"{number} {name}", f"at least {least}")
    if not 0 < lr < math.inf:
        raise BadInput(f"step size {lr:g}", "a positive number")
    if not 0 <= momentum < 1:
        raise BadInput(f"momentum {momentum:g}", "a number in [0, 1)")
    first, second = objective.as_point(a), objective.as_point(b)
    pieces = {} if pieces is None else pieces
    proofs: list[checks.Check] = []
    t = np.linspace(0, 1, num_points)
    positions = torch.from_numpy(t)
    with checks.untouched(objective, proofs), isolated_rng(seed, objective.device):
        control, epoch_loss = _trained_curve(
            objective, first, second, bends, epochs, lr, momentum, batch_size, seed, pieces, progress
        )
        sweep = Sweep(objective, test, batchnorm, pieces, progress)

        def weights_at(i: int) -> list[float]:
            return [1 - t[i], t[i]]

        def along(control_points: Tensor) -> Callable[[range, Tensor], object]:
            return lambda block, thetas: thetas.copy_(
                bezier_points(positions[block.start : block.stop], control_points)
            )

        chord = torch.stack([first.theta, second.theta])
        curve = sweep.measure("curve", num_points, along(control), [first, second], weights_at)
        line = sweep.measure("line", num_points, along(chord), [first, second], weights_at)
        ends = [sweep.reference(point) for point in (first, second)]
    loss, straight = curve[:, 0], line[:, 0]
    for name, value, point in (("first end", loss[0], ends[0]), ("second end", loss[-1], ends[1])):
        proofs.append(
            checks.agreement(name, objective, value, point, "end of the curve against the model itself")
        )
    moved = float(not (torch.equal(control[0], first.theta) and torch.equal(control[-1], second.theta)))
    proofs.append(
        checks.Check("ends fixed", moved, 0.0, "end points of the trained curve, bit for bit (0 = same)")
    )
    proofs.append(checks.finite(np.concatenate([loss, straight])))
    height, flat = barriers(t, loss), barriers(t, straight)
    distance = float(torch.linalg.vector_norm((second.theta - first.theta).double()))
    result = Connect(
        t=t,
        loss=loss,
        loss_straight=straight,
        accuracy=known(curve[:, 1]),
        test_loss=curve[:, 2] if test else None,
        test_loss_straight=line[:, 2] if test else None,
        test_accuracy=known(curve[:, 3]),
        epoch=np.arange(1, len(epoch_loss) + 1),
        epoch_loss=np.array(epoch_loss),
        control_points=control[1:-1].cpu().numpy(),
        barrier_chord=height.chord,
        barrier_ends=height.ends,
        barrier_chord_straight=flat.chord,
        barrier_ends_straight=flat.ends,
        max_loss=float(np.max(loss)),
        length=_length(control, positions) / distance if distance else math.nan,
        notes=sweep.notes(first, second),
        checks=proofs,
        parameters=objective.pieces,
    )
    if not distance:
        result.notes.append(
            "the two points are the same: the barrier of the straight line is 0 by definition"
        )
    if len(epoch_loss) < epochs or not math.isfinite(epoch_loss[-1]):
        result.outcome = "diverged"
        result.notes.append(
            f"the loss was NaN or infinite in pass {len(epoch_loss)} of {epochs}: the curve before that pass is "
            "given; a smaller --lr may help"
        )
    return result


def _trained_curve(
    objective: Objective,
    first: Point,
    second: Point,
    bends: int,
    epochs: int,
    lr: float,
    momentum: float,
    batch_size: int,
    seed: int,
    pieces: Pieces,
    progress: Progress,
) -> tuple[Tensor, list[float]]:
    """Control points (bends + 2, d), ends included, and the mean batch loss of every pass."""
    degree = bends + 1
    sampler = Sampler("reshuffle", objective.num_samples, batch_size, seed)
    positions = torch.Generator().manual_seed(seed + 1)
    control = bezier_points(
        torch.arange(degree + 1, dtype=torch.float64) / degree, torch.stack([first.theta, second.theta])
    )
    free = control[1:-1]  # a view: what moves it moves the curve
    velocity = torch.zeros_like(free)
    fixed = {name: tensor.clone() for name, tensor in first.fixed.items()}
    tensors = {"free": free, "velocity": velocity, **{f"fixed {name}": one for name, one in fixed.items()}}
    motion = Motion(tensors, sampler, objective.device, generators={"positions": positions})
    losses: list[float] = []
    if "curve state" in pieces:
        motion.restore(pieces["curve state"])
        losses = list(pieces["curve state"]["losses"])
    while len(losses) < epochs and all(map(math.isfinite, losses)):
        step = lr * _fraction(len(losses) / epochs)
        before = free.clone()
        draws = torch.rand(sampler.batches_per_pass, generator=positions, dtype=torch.float64)
        total = torch.zeros((), dtype=torch.float64, device=objective.device)
        for weights in bernstein(draws, degree).to(control.device, control.dtype):
            loss, slope = objective.batch_gradient(weights @ control, sampler.next(), fixed, training=True)
            # By hand: torch.optim's bookkeeping costs a tenth of a small net's step.
            velocity.mul_(momentum).addr_(weights[1:-1], slope)
            free.add_(velocity, alpha=-step)
            total += loss
        losses.append(float(total) / len(draws) if bool(free.isfinite().all()) else math.nan)
        if not math.isfinite(losses[-1]):
            free.copy_(before)
        pieces["curve state"] = {"losses": list(losses), **motion.state()}
        progress(len(losses), epochs, "passes over the data")
    return control, losses


def _fraction(progress: float) -> float:
    """Step size relative to the first (Garipov et al. 2018, appendix A.2)."""
    if progress <= 0.5:
        return 1.0
    return max(0.01, 1.0 - 0.99 * (progress - 0.5) / 0.4)


def _length(control: Tensor, positions: Tensor) -> float:
    previous, length = control[0].double(), 0.0
    for one in positions[1:]:
        here = bezier_points(one.reshape(1), control)[0].double()
        length += float(torch.linalg.vector_norm(here - previous))
        previous = here
    return length
