"""Curves of low loss between two fixed ends, trained by mini-batch gradients with momentum.

``bezier`` and ``chain`` lower the mean over t (Garipov et al. 2018, section 3), ``minmax`` a smooth
maximum over t, ``neb`` lets the pivots of a chain slide down across the path (Draxler et al. 2018).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.errors import BadInput
from landscape.numerics.curves import band, tilt
from landscape.numerics.curves.curves import bezier, chain
from landscape.numerics.steps.motion import Motion
from landscape.numerics.steps.sampling import Sampler, isolated_rng
from landscape.numerics.steps.schedules import Plateau, schedule_parameters, step_size
from landscape.objective.batch_gradients import BatchGradients
from landscape.objective.objective import Objective
from landscape.paths.path import Path
from landscape.progress import Journal, Progress, Saver

# (path, t (T,)) ↦ the loss at each t.
Profile = Callable[[Path, np.ndarray], np.ndarray]
GARIPOV = "garipov"
# A temperature of 1/4 looks e⁴ = 55 times as often at the top of the profile as at its bottom.
TEMPERATURE, BINS = 0.25, 20
# A band grows between its cycles, where the profile rises above a chord by a fifth of its range.
CYCLES, THRESHOLD, POINTS_BETWEEN = 4, 0.2, 8
# Three evaluations cost about an epoch, so watching adds a twentieth; a short training is watched five times.
WATCH_EVERY, LEAST_WATCHED = 20, 5


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a curve is trained. Raises BadInput for options that exclude each other.

    ``lr`` means what it means in plain training: no point of the curve is moved further by its own
    gradient (:attr:`Curve.mobility`). ``schedule`` ``garipov`` keeps it for half of the passes, lets it fall
    linearly to a hundredth at 90 %, and holds it there (Garipov et al. 2018, appendix A.2); the others are
    those of :mod:`landscape.numerics.steps.schedules`, whose period ``every`` is here in passes.
    """

    method: str = "bezier"
    bends: int = 1
    epochs: int | None = 60
    steps: int | None = None
    lr: float = 0.1
    momentum: float = 0.9
    batch_size: int = 128
    schedule: str = GARIPOV
    schedule_arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            seen = "neither epochs nor steps" if self.epochs is None else "both epochs and steps"
            raise BadInput(f"{seen} given", "one of them")
        if self.schedule != GARIPOV:
            schedule_parameters(self.schedule, self.schedule_arguments)
        elif self.schedule_arguments:
            raise BadInput(f"the schedule {GARIPOV} with arguments", "none, or another schedule")

    def require_none(self, restarts: int) -> None:
        """Raises BadInput for any option that was asked for, as of a curve that is not trained nothing reads them."""
        usual = Training(method=self.method)
        asked = {one.name: getattr(self, one.name) for one in fields(self)} | {"restarts": restarts}
        for name, value in asked.items():
            if value != getattr(usual, name, 1):
                raise BadInput(
                    f"`{name}` {value} with `method` idle, where nothing is trained",
                    "another `method`",
                    f"or leave `{name}` away",
                )

    def step_size(self, losses: list[float], num_passes: int) -> float:
        """The step size of the pass that follows those with the given mean ``losses``."""
        done = len(losses)
        if self.schedule == GARIPOV:
            share = done / num_passes
            return self.lr * (1.0 if share <= 0.5 else max(0.01, 1.0 - 0.99 * (share - 0.5) / 0.4))
        parameters = schedule_parameters(self.schedule, self.schedule_arguments)
        every = max(1, int(self.schedule_arguments.get("every", 1)))
        if self.schedule == "plateau":
            plateau = Plateau(self.lr, parameters)
            for loss in losses[every - 1 :: every]:
                plateau.observe(loss)
            return plateau.step
        return step_size(self.schedule, parameters, self.lr, done // every)


class Trained(NamedTuple):
    """A path and how it came to its control points.

    ``losses``: mean batch loss of every pass; ``watched``: pairs of passes done and the barrier then.
    """

    path: Path
    losses: list[float]
    watched: list[list[float]]
    diverged: bool


def trained_curve(
    objective: Objective,
    chord: Path,
    training: Training,
    *,
    seed: int,
    profile: Profile,
    watch: Callable[[Path], float],
    journal: Journal,
    name: str,
    progress: Progress,
) -> Trained:
    """Train from the straight line ``chord``; resumable after any pass through ``journal[name]``.

    ``profile(path, t)`` is the loss at t, for a band to see where it should grow; ``watch`` the
    barrier that is logged. The regulariser of ``objective`` acts on θ(t). A NaN or infinite loss ends the
    training with the best curve so far: the one after the pass of the lowest mean loss.
    """
    sampler = Sampler("reshuffle", objective.num_samples, training.batch_size, seed)
    per_pass = sampler.batches_per_pass
    total = training.steps if training.epochs is None else training.epochs * per_pass
    assert total is not None
    num_passes = math.ceil(total / per_pass)
    mover = (_Band if training.method == "neb" else _Bend)(objective, chord, training, seed)
    motion = Motion(mover.tensors, sampler, objective.device)
    losses: list[float] = []
    watched: list[list[float]] = []
    is_finite, saver = True, Saver(journal, name)
    interval = max(1, min(WATCH_EVERY, num_passes // LEAST_WATCHED))
    growths = {math.ceil(num_passes * k / CYCLES) for k in range(1, CYCLES)} - {num_passes}
    # Each training draws from generators of its own, so that a resumed call may skip the ones before it.
    with isolated_rng(seed, objective.device):
        state = saver.restore()
        if state is not None:
            losses, watched = list(state["losses"]), [list(pair) for pair in state["watched"]]
            mover.resize(state["tensor control"].shape[0])
            motion.restore(state)
            is_finite = math.isfinite(losses[-1])
        while len(losses) < num_passes and is_finite:
            number = min(per_pass, total - per_pass * len(losses))
            size = training.step_size(losses, num_passes)
            seen = mover.advance([sampler.next() for _ in range(number)], size)
            losses.append(float(seen.mean()) if bool(mover.control.isfinite().all()) else math.nan)
            is_finite, done = math.isfinite(losses[-1]), len(losses)
            if not is_finite:
                mover.control.copy_(mover.best)
            elif losses[-1] == min(losses):
                mover.best.copy_(mover.control)
            if is_finite and done in growths:
                mover.grow(profile)
            if done % interval == 0 or done == num_passes or not is_finite:
                watched.append([done, watch(mover.path)])
            if done < num_passes and is_finite:
                saver.offer(lambda: {"losses": list(losses), "watched": list(watched), **motion.state()})
            else:
                saver.save({"losses": list(losses), "watched": list(watched), **motion.state()})
            progress(done, num_passes, "passes over the data")
    return Trained(mover.path, losses, watched, not is_finite)


def first_steps(objective: Objective, chord: Path, training: Training, seed: int, number: int) -> Tensor:
    """The control points (m, d) after ``number`` steps of size ``lr`` from the chord, taken as in training."""
    sampler = Sampler("reshuffle", objective.num_samples, training.batch_size, seed)
    mover = (_Band if training.method == "neb" else _Bend)(objective, chord, training, seed)
    with isolated_rng(seed, objective.device):
        mover.advance([sampler.next() for _ in range(number)], training.lr)
    return mover.control


class _Bend:
    """The free control points of a Bézier curve or a chain; t goes through [0, 1] as the batches go by."""

    def __init__(self, objective: Objective, chord: Path, training: Training, seed: int):
        self.objective, self.momentum = objective, training.momentum
        self.is_tilted = training.method == "minmax"
        knots = np.linspace(0, 1, training.bends + 2)
        self.path = chord.along(chain(knots) if training.method == "chain" else bezier(training.bends))
        self.curve, self.control = self.path.curve, self.path.control
        self.best = self.control.clone()
        self.fixed = {key: tensor.clone() for key, tensor in chord.ends[0].fixed.items()}
        self.offset = float(torch.rand((), generator=torch.Generator().manual_seed(seed + 1)))
        self.mobility = self.curve.mobility
        self.tensors = {
            "control": self.control,
            "best": self.best,
            "velocity": torch.zeros_like(self.control[1:-1]),
            "count": torch.zeros((), dtype=torch.int64),
            "profile": torch.full((BINS,), torch.nan, dtype=torch.float64),
            **{f"fixed {key}": tensor for key, tensor in self.fixed.items()},
        }

    def resize(self, num_control: int) -> None:
        """A curve keeps the control points it began with."""

    def grow(self, profile: object) -> None:
        """A curve keeps the control points it began with."""

    def advance(self, batches: list[Tensor], size: float) -> Tensor:
        """One step a batch, each at a position of its own: the losses met, on the CPU."""
        count, velocity = self.tensors["count"], self.tensors["velocity"]
        running = self.tensors["profile"].numpy()
        t = tilt.even_positions(self.offset, int(count), len(batches))
        if self.is_tilted:
            t = tilt.tilted_positions(t, running, TEMPERATURE)
        free = self.control[1:-1]  # a view: what moves it moves the curve
        losses = []
        rows = self.curve.weights(torch.from_numpy(t)).to(self.control.device, self.control.dtype)
        with BatchGradients(self.objective, self.control[0].clone(), self.fixed) as gradient:
            for weights, batch in zip(rows, batches, strict=True):
                loss, slope = gradient.at(weights @ self.control, batch)
                # By hand: torch.optim's bookkeeping costs a tenth of a small net's step.
                velocity.addr_(weights[1:-1], slope, beta=self.momentum)
                free.add_(velocity, alpha=-size / self.mobility)
                losses.append(loss)
        count += len(batches)
        seen = torch.stack(losses).cpu()
        if self.is_tilted:
            tilt.observe(running, t, seen.numpy())
        return seen


class _Band:
    """Pivots of a chain, each moved across the path by every batch and put back to its share of the length."""

    def __init__(self, objective: Objective, chord: Path, training: Training, seed: int):
        self.objective, self.momentum, self._chord = objective, training.momentum, chord
        plain = objective.varied(l2=0.0)
        self.heights = [plain.value(point.theta, point.fixed) for point in chord.ends]
        self.fixed = {key: tensor.clone() for key, tensor in chord.ends[0].fixed.items()}
        self.tensors: dict[str, Tensor] = {}
        knots = np.linspace(0, 1, training.bends + 2)
        self._hold(chord.along(chain(knots)).control, knots)

    @property
    def path(self) -> Path:
        return self._chord.along(chain(self.tensors["knots"].numpy()), self.control)

    @property
    def control(self) -> Tensor:
        return self.tensors["control"]

    @property
    def best(self) -> Tensor:
        return self.tensors["best"]

    def resize(self, num_control: int) -> None:
        """Room for so many pivots, ends included."""
        self._hold(self.control.new_zeros(num_control, self.control.shape[1]), np.zeros(num_control))

    def grow(self, profile: Profile) -> None:
        """A pivot more wherever the path rises between two of them."""
        path = self.path
        knots, steps = path.curve.vertices, np.linspace(0, 1, POINTS_BETWEEN + 2)[:-1]
        between = knots[:-1, None] + np.diff(knots)[:, None] * steps
        t = np.append(between.ravel(), knots[-1])
        risen = band.risen(knots, t, profile(path, t), THRESHOLD)
        if len(risen):
            wanted = np.sort(np.concatenate([knots, risen]))
            self._hold(path.points(wanted), wanted)

    def advance(self, batches: list[Tensor], size: float) -> Tensor:
        """One step of every pivot a batch: the mean losses met, on the CPU."""
        control, velocity, knots = (self.tensors[key] for key in ("control", "velocity", "knots"))
        first, last = self.heights
        losses = []
        with BatchGradients(self.objective, control[0].clone(), self.fixed) as gradient:
            for batch in batches:
                found = [gradient.at(theta, batch) for theta in control[1:-1]]
                heights = torch.stack([loss for loss, _ in found])
                energies = torch.cat([heights.new_tensor([first]), heights, heights.new_tensor([last])])
                slopes = torch.stack([slope for _, slope in found])
                velocity.mul_(self.momentum).add_(band.across(slopes, band.tangents(control, energies)))
                control[1:-1].add_(velocity, alpha=-size)
                control.copy_(band.redistributed(control, knots))
                losses.append(heights.mean())
        return torch.stack(losses).cpu()

    def _hold(self, control: Tensor, knots: np.ndarray) -> None:
        """Take these pivots, at rest; what was best is forgotten with the shape it had."""
        self.tensors |= {
            "control": control,
            "best": control.clone(),
            "velocity": torch.zeros_like(control[1:-1]),
            "knots": torch.from_numpy(knots.copy()),
            **{f"fixed {key}": tensor for key, tensor in self.fixed.items()},
        }
