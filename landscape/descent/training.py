"""One run of a gradient method: its steps, what is measured and kept on the way, resumable after any of them."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.descent.measuring import measuring_period
from landscape.descent.regime import Regime
from landscape.descent.step_proofs import StepProofs
from landscape.errors import BadInput
from landscape.numerics.arrays import array_of
from landscape.numerics.steps.motion import Motion, optimiser, preconditioner, step_without
from landscape.numerics.steps.sampling import isolated_rng
from landscape.numerics.steps.schedules import Plateau, schedule_parameters, step_size
from landscape.objective.batch_gradients import BatchGradients
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point, split
from landscape.objective.penalised import largest_bias
from landscape.progress import Journal, Progress, Saver

# Where is kept what was wrong after a resumption.
TAKEN_UP = "taken up"
# What batches reached, by parameter.
REACH = ("reached", "missed")
# In the record of a point, beside its tensors.
PRECONDITIONER = "preconditioner"
# A float counts no more one by one.
MOST_STEPS = 2**53


class Trainer:
    """θ on its way from the module's present parameters, by a :class:`Regime`.

    ``journal`` holds a ``log …`` for every measurement, a ``point …`` for every point kept, and the ``state``
    under way, from which :meth:`run` goes on bit for bit. ``step`` steps of ``total`` are done; ``diverged``
    says that a loss was NaN or infinite.
    """

    def __init__(self, objective: Objective, test: Objective | None, regime: Regime, journal: Journal):
        self.objective, self.test, self.regime, self.journal = objective, test, regime, journal
        if objective.samples.is_read_anew:
            regime.require_one_pass()
        self.sampler = regime.sampler(objective.num_samples)
        self.per_pass = self.sampler.batches_per_pass
        by_epochs = regime.steps is None
        self._unit = self.per_pass if by_epochs else 1
        self.total = (
            regime.steps if regime.steps is not None else math.ceil((regime.epochs or 0) * self.per_pass)
        )
        if self.total > MOST_STEPS:
            raise BadInput(
                f"`epochs` {regime.epochs:g} of {self.per_pass} steps each", "at most 2⁵³ steps in all"
            )
        self.measure_steps = measuring_period(regime, objective, test, self.total)
        arguments = dict(regime.schedule_arguments)
        self._parameters = schedule_parameters(regime.schedule, arguments)
        self._every = int(arguments.get("every", self.per_pass))
        if self._every < 1:
            raise BadInput(f"the schedule's period every={self._every}", "at least one step")
        self._plateau = Plateau(regime.lr, self._parameters) if regime.schedule == "plateau" else None
        start = objective.present_point("init")
        self.theta = torch.nn.Parameter(start.theta.clone())
        self.fixed = {name: tensor.clone() for name, tensor in start.fixed.items()}
        names = [name for name, _ in objective.module.named_buffers()]
        self._buffers = [self.fixed[name] for name in names if name in self.fixed]
        self._stepper = optimiser(
            regime.optimizer, self.theta, regime.lr, regime.momentum, regime.nesterov, regime.weight_decay
        )
        self._group = self._stepper.param_groups[0]
        tensors = {"theta": self.theta, **{f"fixed {name}": tensor for name, tensor in self.fixed.items()}}
        self._motion = Motion(tensors, self.sampler, objective.device, optimiser=self._stepper)
        self._kicks = regime.kicks(objective.num_parameters)
        self._slope_of = BatchGradients(objective, self.theta, self.fixed)
        self.step, self.diverged = 0, False
        self._last: tuple[int, float, Tensor] | None = None
        self.again = StepProofs(
            objective,
            regime,
            total=self.total,
            every=self._every,
            measurements=self.total / self.measure_steps + 1,
            journal=journal,
        )

    def run(self, progress: Progress) -> None:
        """Every step from where the kept state stands; afterwards the point ``final`` is measured and kept."""
        saver = Saver(self.journal, "state")
        with isolated_rng(self.regime.seed, self.objective.device), self._slope_of:
            state = saver.restore()
            if state is None:
                self._keep("init")
                self._measure()
            else:
                self._restore(state)
            while self.step < self.total and not self.diverged:
                self._reschedule()
                before = None
                if self.step in self.again.steps:
                    self._slope_of.leave()
                    before = self.again.before(self.step, self.final, self._stepper)
                if not self._advance():
                    self.diverged = True
                    break
                if before is not None:
                    self._slope_of.leave()
                    self.again.after(self.step - 1, before, self.final)
                if self.step % self.measure_steps == 0 or self.step == self.total:
                    self._measure()
                    self.diverged = self._measured_not_finite()
                every = self.regime.checkpoint_every
                if every and self.step % (every * self._unit) == 0 and self.step < self.total:
                    self._keep(self._label())
                saver.offer(self._state)
                progress(self.step, self.total, "steps")
            if f"log {self.step}" not in self.journal:
                self._measure()
            self._keep("final")

    @property
    def final(self) -> Point:
        """Where it stands."""
        return Point(self.theta.detach(), self.fixed, "final")

    @property
    def measured(self) -> tuple[float, Tensor] | None:
        """F and ∇F where it stands, if they were measured there since it was taken up."""
        return self._last[1:] if self._last and self._last[0] == self.step else None

    @property
    def moments(self) -> dict[str, Tensor]:
        """What the optimiser keeps of the gradients before, by name."""
        return {name: one for name, one in self._motion.moments.items() if one is not None}

    @property
    def num_different(self) -> int:
        """Entries of the state that were not as they had been kept where the run was taken up again."""
        return self.journal.get(TAKEN_UP, {"different": 0})["different"]

    @property
    def logs(self) -> list[dict[str, float]]:
        """Every measurement, in the order of steps."""
        found = (self.journal[key] for key in self.journal if key.startswith("log "))
        return sorted(found, key=lambda log: log["step"])

    @property
    def states(self) -> dict[str, dict[str, np.ndarray]]:
        """Every point kept by label, in the order of training, as arrays by the names of the module."""
        keys = [key for key in self.journal if key.startswith("point ")]
        order = {"point init": -1, "point final": 1}
        keys.sort(key=lambda key: (self.journal[key]["step"], order.get(key, 0)))
        return {
            key.removeprefix("point "): {
                name.removeprefix("tensor "): value
                for name, value in self.journal[key].items()
                if name not in ("step", PRECONDITIONER)
            }
            for key in keys
        }

    @property
    def preconditioners(self) -> np.ndarray | None:
        """What Adam divided the step to each of :attr:`states` by, (points, d), NaN at ``init``; None of another."""
        found = [self.journal[f"point {label}"].get(PRECONDITIONER) for label in self.states]
        known = next((one for one in found if one is not None), None)
        if known is None:
            return None
        return np.stack([np.full_like(known, np.nan) if one is None else one for one in found])

    @property
    def leaves(self) -> bool:
        """Whether a step leaves what its batch misses: not where a penalty or noise moves all, or θ lies in parts."""
        return not (self.objective.l2 or self._kicks is not None or self.objective.is_sharded)

    @property
    def missed(self) -> list[str]:
        """The parameters that some batches reached and others did not, whose gradient there is 0."""
        slopes = self._slope_of
        pairs = zip(self.objective.pieces, slopes.reached & slopes.missed, strict=True)
        return [piece.name for piece, is_missed in pairs if is_missed]

    @property
    def num_observations(self) -> int:
        """Samples whose gradient was taken."""
        sampler = self.sampler
        if sampler.rule == "uniform":
            return self.step * sampler.batch_size
        passes, rest = divmod(self.step, sampler.batches_per_pass)
        return passes * sampler.num_samples + rest * sampler.batch_size

    def _reschedule(self) -> None:
        """The step size of the coming step, where a period of the schedule is over."""
        if self.step % self._every:
            return
        if self._plateau is None:
            period = self.step // self._every
            self._group["lr"] = step_size(self.regime.schedule, self._parameters, self.regime.lr, period)
        elif self.step:
            self._slope_of.leave()
            self._group["lr"] = self._plateau.observe(self.objective.value(self.theta, self.fixed))

    def _advance(self) -> bool:
        """One step; False, and everything as before it, where the loss of its batch is NaN or infinite."""
        indices = None if self.regime.method == "gd" else self.sampler.next()
        before = [buffer.clone() for buffer in self._buffers]
        loss, slope = self._slope_of(indices)
        if not math.isfinite(float(loss)):
            for buffer, value in zip(self._buffers, before, strict=True):
                buffer.copy_(value)
            return False
        self.theta.grad = self._kicked(slope)
        step_without(self._stepper, [piece.span for piece in self._slope_of.left] if self.leaves else [])
        self.step += 1
        return True

    def _kicked(self, slope: Tensor) -> Tensor:
        """The gradient with the noise of the coming step, which follows from the seed and the number of the step."""
        if self._kicks is None:
            return slope
        kick = torch.from_numpy(self._kicks.at(self.step)).to(slope)
        return slope + (self.regime.amplitude or 0.0) * kick

    def _measure(self) -> None:
        self._slope_of.leave()
        theta, fixed = self.theta, self.fixed
        seen, slope = self.objective.measure_with_gradient(theta, fixed)
        self._last = (self.step, seen.loss, slope)
        tested = self.test.measure(theta, fixed) if self.test else None
        self.journal[f"log {self.step}"] = {
            "step": self.step,
            "loss": seen.loss,
            "gradient_norm": float(torch.linalg.vector_norm(slope.double())),
            "step_size": self._group["lr"],
            "epoch": self.step / self.per_pass,
            "accuracy": seen.accuracy,
            "test_loss": tested.loss if tested else math.nan,
            "test_accuracy": tested.accuracy if tested else math.nan,
            "parameter_norm": float(torch.linalg.vector_norm(theta.detach().double())),
            "largest_bias": largest_bias(self.objective, theta.detach()),
        }

    def _measured_not_finite(self) -> bool:
        log = self.journal.get(f"log {self.step}")
        return log is not None and not math.isfinite(log["loss"])

    def _label(self) -> str:
        return f"step={self.step}" if self.regime.epochs is None else f"epoch={self.step // self.per_pass}"

    def _keep(self, label: str) -> None:
        tensors = {**split(self.theta.detach(), self.objective.pieces), **self.fixed}
        arrays = {f"tensor {name}": array_of(tensor) for name, tensor in tensors.items()}
        divisor = preconditioner(self._stepper)
        if divisor is not None:
            arrays[PRECONDITIONER] = array_of(divisor)
        self.journal[f"point {label}"] = {"step": self.step, **arrays}

    def _state(self) -> dict[str, Any]:
        seen = self._plateau
        memory = [seen.step, seen.best, seen.waited, seen.cooling] if seen else None
        about = {"step": self.step, "step size": self._group["lr"], "plateau": memory}
        about |= {name: getattr(self._slope_of, name).astype(np.uint8) for name in REACH}
        return about | self._motion.state()

    def _restore(self, kept: Mapping[str, Any]) -> None:
        # What an earlier version kept knows nothing of what batches reached.
        nothing = np.zeros(len(self.objective.pieces), dtype=np.uint8)
        state: dict[str, Any] = {**dict.fromkeys(REACH, nothing), **kept}
        self.step = state["step"]
        self._motion.restore(state)
        self._group["lr"] = state["step size"]
        for name in REACH:
            getattr(self._slope_of, name)[:] = state[name]
        seen = self._plateau
        if seen:
            seen.step, seen.best, seen.waited, seen.cooling = state["plateau"]
        self.diverged = self._measured_not_finite()
        self.journal[TAKEN_UP] = {"different": self.num_different + _num_different(state, self._state())}


def _num_different(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    """Entries of two states that are not the same, bit for bit."""

    def bits(value: Any) -> Any:
        return (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value

    names = one.keys() | other.keys()
    return sum(name not in one or name not in other or bits(one[name]) != bits(other[name]) for name in names)
