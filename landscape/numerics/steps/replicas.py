"""Many runs of a gradient method stepped together, their parameters in the rows of one matrix.

A row is one replica: it has its own step size, schedule, samples and end, and takes the very steps that a
plain loop with the same seed would take, to rounding.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.errors import BadInput
from landscape.numerics.arrays import array_of, brought
from landscape.numerics.steps.sampling import Sampler
from landscape.numerics.steps.schedules import PARAMETERS, Stall, schedule_parameters, step_size

# (thetas (R, d), indices (R, B) or None for all samples) ↦ mean losses (R,) float64 and gradients (R, d).
Gradients = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]
# Steps whose samples are drawn at a time: a draw costs about as much as a step of a small net.
DRAWN_STEPS = 64
NEVER = 2**62


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How one replica descends: ``num_steps`` steps from ``step_size`` on by a schedule, over its own samples.

    The schedules are those of :mod:`landscape.numerics.steps.schedules`, their period ``every`` (default 1) in steps;
    before step ``begin`` the step size is constant. ``sampler`` None takes all samples at each step. With
    ``patience`` the replica stops early when, from ``begin`` on, so many steps in a row have brought less
    than ``threshold``; that, like a plateau, looks at the loss over all samples.
    """

    step_size: float
    num_steps: int
    schedule: str = "constant"
    arguments: Mapping[str, float] = field(default_factory=dict)
    begin: int = 0
    sampler: Sampler | None = None
    patience: int | None = None
    threshold: float = 0.0

    @property
    def every(self) -> int:
        return int(self.arguments.get("every", 1))

    def check(self) -> None:
        """Raises BadInput for what is out of range."""
        if not 0 < self.step_size < math.inf:
            raise BadInput(f"step size {self.step_size:g}", "a positive number")
        if self.num_steps < 0 or self.begin < 0:
            raise BadInput(f"{self.num_steps} steps, the schedule from {self.begin} on", "no negative number")
        if self.every < 1:
            raise BadInput(f"the schedule's period every={self.every}", "at least one step")
        if self.patience is not None and self.patience < 1:
            raise BadInput(f"patience {self.patience}", "at least one step")
        if self.patience is not None and self.sampler is not None:
            raise BadInput("a stop rule for a stochastic method", "all samples at each step, or no patience")


class Replicas:
    """R replicas from ``thetas`` (R, d), each by its plan; ``gradients`` gives them all at once.

    :meth:`advance` takes steps; :attr:`thetas`, :attr:`losses`, ``steps``, ``diverged`` and ``evaluated``, how often
    ∇F was taken for a step, say where each replica is. One whose loss is NaN or infinite stays where it was and is
    marked, one that is done leaves the stack; the others go on. The same stack gives the same bits twice, and
    :meth:`restore` goes on from :meth:`state` as if nothing had happened.
    """

    def __init__(self, gradients: Gradients, thetas: Tensor, plans: Sequence[Plan]):
        if len(thetas) != len(plans) or len(plans) == 0:
            raise BadInput(f"{len(plans)} plans for {len(thetas)} replicas", "one for each, at least one")
        for plan in plans:
            plan.check()
        self._gradients, self.plans = gradients, plans
        # Replicas with batches of one size are neighbours, so that each size is one call.
        sizes = [plan.sampler.batch_size if plan.sampler else 0 for plan in plans]
        order = sorted((i for i in range(len(plans)) if plans[i].num_steps), key=sizes.__getitem__)
        self._thetas = thetas.detach().clone()
        self.steps = np.zeros(len(plans), dtype=np.int64)
        self.diverged = np.zeros(len(plans), dtype=bool)
        self.evaluated = np.zeros(len(plans), dtype=np.int64)
        self.step = 0
        self._losses = torch.full((len(plans),), math.nan, dtype=torch.float64, device=thetas.device)
        self._parameters = [schedule_parameters(plan.schedule, plan.arguments) for plan in plans]
        self._drawn: list[list[Tensor]] = []
        self._used, self._states = 0, self._sampler_states()
        self._stack(np.array(order, dtype=np.int64))

    @property
    def num_active(self) -> int:
        """Replicas still under way."""
        return len(self._active)

    @property
    def active(self) -> np.ndarray:
        """The numbers of the replicas still under way."""
        return np.sort(self._active)

    @property
    def thetas(self) -> Tensor:
        """Where every replica is, (R, d), in the order given."""
        self._unstack()
        return self._thetas

    @property
    def losses(self) -> np.ndarray:
        """The loss that each replica's last step began at, (R,): that of its batch in stochastic methods."""
        self._unstack()
        return self._losses.cpu().numpy()

    def advance(self, num_steps: int) -> None:
        """Take up to ``num_steps`` steps: fewer where every replica is done before."""
        for _ in range(num_steps):
            if not len(self._active):
                return
            self._advance()

    # --- one step ---------------------------------------------------------------------------

    def _advance(self) -> None:
        losses, slopes = self._loss_and_slope()
        if not math.isfinite(float(losses.sum())):
            is_lost = ~torch.isfinite(losses)
            if bool(is_lost.any()):
                self.diverged[self._active[is_lost.cpu().numpy()]] = True
                kept = self._leave(is_lost, losses)
                losses, slopes = losses[kept], slopes[kept]
                if not len(self._active):
                    return
        if self._stop is not None and self.step >= self._stop_begin:
            is_due = None if self.step >= self._last_begin else self._begins <= self.step
            is_done = self._stop.observe(losses, is_due)
            if bool(is_done.any()):
                kept = self._leave(is_done, losses)
                losses, slopes = losses[kept], slopes[kept]
                if not len(self._active):
                    return
        if any(self.step > begin and (self.step - begin) % every == 0 for begin, every in self._judged_at):
            self._cut(losses)
        if self.step >= self._next_change:
            self._reschedule()
        self._theta.addcmul_(self._rate, slopes, value=-1)
        self._loss = losses
        self.step += 1
        if self.step >= self._next_end:
            self._leave(self._ends <= self.step, losses)

    def _loss_and_slope(self) -> tuple[Tensor, Tensor]:
        batches = self._next_batches()
        self.evaluated[self._active] += 1
        if len(self._groups) == 1:
            return self._gradients(self._theta, batches[0])
        found = [
            self._gradients(self._theta[group], batch)
            for group, batch in zip(self._groups, batches, strict=True)
        ]
        losses, slopes = zip(*found, strict=True)
        return torch.cat(losses), torch.cat(slopes)

    def _next_batches(self) -> list[Tensor | None]:
        """The indices of each group's batches, (replicas, B) each; None where all samples are taken."""
        if all(self.plans[self._active[group.start]].sampler is None for group in self._groups):
            return [None] * len(self._groups)
        if self._used == len(self._drawn):
            self._states, self._used = self._sampler_states(), 0
            self._draw()
        self._used += 1
        return [one if one.numel() else None for one in self._drawn[self._used - 1]]

    def _draw(self) -> None:
        """Draw the samples of the next steps."""
        device = self._theta.device
        columns: list[list[Tensor]] = []
        for group in self._groups:
            samplers = [self.plans[i].sampler for i in self._active[group]]
            drawn = [one.several(DRAWN_STEPS) for one in samplers if one is not None]
            if drawn:
                rows = [torch.stack(batches) for batches in zip(*drawn, strict=True)]
                columns.append(rows if device.type == "cpu" else _brought(rows, device))
            else:
                columns.append([torch.empty(0)] * DRAWN_STEPS)
        self._drawn = [list(row) for row in zip(*columns, strict=True)]

    def _cut(self, losses: Tensor) -> None:
        """Cut the step sizes of the replicas whose loss over all samples has come to a plateau."""
        assert self._plateau is not None
        if self.plans[self._active[-1]].sampler is not None:
            losses = self._gradients(self._theta, None)[0]
        due = None
        if len(self._judged_at) > 1 or not self._all_plateau:
            past = self.step - self._begins
            due = self._has_plateau & (past > 0) & (past % self._every == 0)
        is_cut = self._plateau.observe(losses, due)
        if bool(is_cut.any()):
            smaller = torch.maximum(self._rate * self._factor, self._floor)
            self._rate = torch.where(is_cut[:, None], smaller, self._rate)

    def _reschedule(self) -> None:
        """The step sizes by formula from this step on, and the step at which the next of them changes."""
        found: dict[tuple[Any, ...], float] = {}
        self._next_change = NEVER
        for row, i in enumerate(self._active):
            plan, parameters = self.plans[i], self._parameters[i]
            if plan.schedule in ("constant", "plateau"):
                continue
            past = self.step - plan.begin
            following = plan.begin if past < 0 else self.step + plan.every - past % plan.every
            self._next_change = min(self._next_change, following)
            if past >= 0 and past % plan.every == 0:
                period = past // plan.every
                key = (plan.schedule, plan.step_size, period, *parameters.values())
                if key not in found:
                    found[key] = step_size(plan.schedule, parameters, plan.step_size, period)
                self._rate[row] = found[key]

    # --- who is in the stack ----------------------------------------------------------------

    def _stack(self, active: np.ndarray) -> None:
        """Take the replicas ``active`` into the stack, their memory empty."""
        self._active = active
        device, plans = self._thetas.device, [self.plans[i] for i in active]
        self._theta = self._thetas[torch.from_numpy(active).to(device)]
        self._loss = self._losses[torch.from_numpy(active).to(device)]

        def column(values: list[float], dtype: torch.dtype = torch.float64) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        self._rate = column([plan.step_size for plan in plans], self._theta.dtype)[:, None]
        self._next_change = self.step
        self._set_constants()
        parameters = [PARAMETERS["plateau"] | self._parameters[i] for i in active]
        self._plateau = self._stop = None
        if any(plan.schedule == "plateau" for plan in plans):
            self._plateau = Stall(
                *(column([one[name] for one in parameters]) for name in ("threshold", "patience", "cooldown"))
            )
        if any(plan.patience is not None for plan in plans):
            patience = column([math.inf if plan.patience is None else plan.patience for plan in plans])
            threshold = column([plan.threshold for plan in plans])
            self._stop = Stall(threshold, patience, torch.zeros_like(patience))

    def _set_constants(self) -> None:
        """What follows from who is in the stack, and from the plans."""
        device, plans = self._thetas.device, [self.plans[i] for i in self._active]
        parameters = [PARAMETERS["plateau"] | self._parameters[i] for i in self._active]
        self._begins = torch.tensor([plan.begin for plan in plans], device=device)
        self._last_begin = max((plan.begin for plan in plans), default=NEVER)
        self._every = torch.tensor([plan.every for plan in plans], device=device)
        self._ends = torch.tensor([plan.num_steps for plan in plans], device=device)
        self._next_end = min((plan.num_steps for plan in plans), default=NEVER)
        self._stop_begin = min((plan.begin for plan in plans if plan.patience is not None), default=NEVER)
        self._factor, self._floor = (
            torch.tensor([one[name] for one in parameters], dtype=self._theta.dtype, device=device)[:, None]
            for name in ("factor", "floor")
        )
        is_plateau = [plan.schedule == "plateau" for plan in plans]
        self._has_plateau = torch.tensor(is_plateau, device=device)
        self._all_plateau = all(is_plateau)
        self._judged_at = {(plan.begin, plan.every) for plan in plans if plan.schedule == "plateau"}
        sizes = [plan.sampler.batch_size if plan.sampler else 0 for plan in plans]
        starts = [k for k, size in enumerate(sizes) if k == 0 or size != sizes[k - 1]]
        self._groups = [slice(a, b) for a, b in pairwise([*starts, len(sizes)])]

    def _leave(self, who: Tensor, losses: Tensor) -> Tensor:
        """Write back and take out of the stack those ``who`` (active,) marks; who stays is returned."""
        self._loss = losses
        self._unstack()
        kept = ~who
        mask = kept.cpu().numpy()
        groups = self._groups
        self._active = self._active[mask]
        self._theta, self._rate, self._loss = self._theta[kept], self._rate[kept], self._loss[kept]
        for memory in (self._plateau, self._stop):
            if memory is not None:
                memory.keep(kept)
        self._set_constants()
        if self._drawn:
            left = [mask[group] for group in groups]
            self._drawn = [
                [
                    batch[torch.from_numpy(one).to(batch.device)] if batch.numel() else batch
                    for batch, one in zip(row, left, strict=True)
                    if one.any()
                ]
                for row in self._drawn
            ]
        return kept

    def _unstack(self) -> None:
        """Write what the stack holds to the rows of all replicas."""
        rows = torch.from_numpy(self._active).to(self._thetas.device)
        self._thetas[rows] = self._theta
        self._losses[rows] = self._loss
        self.steps[self._active] = self.step

    # --- saved and restored -----------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that decides the further steps: arrays and numbers, for a journal."""
        self._unstack()
        arrays = {
            "thetas": self._thetas,
            "losses": self._losses,
            "rate": self._rate,
            **_prefixed("plateau", self._plateau.memory if self._plateau else {}),
            **_prefixed("stop", self._stop.memory if self._stop else {}),
            **{
                f"sampler {i} {name}": value for i, one in self._states.items() for name, value in one.items()
            },
        }
        return {
            "step": self.step,
            "used": self._used,
            "next change": self._next_change,
            "steps": self.steps.copy(),
            "diverged": self.diverged.copy(),
            "evaluated": self.evaluated.copy(),
            "active": self._active.copy(),
            **{name: array_of(value) for name, value in arrays.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` gave, of replicas with the same plans."""
        device = self._thetas.device

        def tensor(name: str) -> Tensor:
            return torch.from_numpy(np.array(state[name])).to(device)

        self.step, self.steps = int(state["step"]), np.array(state["steps"])
        self.diverged, self.evaluated = np.array(state["diverged"]), np.array(state["evaluated"])
        self._thetas, self._losses = tensor("thetas").to(self._thetas.dtype), tensor("losses")
        self._stack(np.array(state["active"]))
        self._rate, self._next_change = tensor("rate"), int(state["next change"])
        for name, memory in (("plateau", self._plateau), ("stop", self._stop)):
            if memory is not None:
                memory.memory = {key: tensor(f"{name} {key}") for key in memory.memory}
        for i, plan in enumerate(self.plans):
            if plan.sampler is not None and f"sampler {i} position" in state:
                names = plan.sampler.state()
                plan.sampler.restore(
                    {k: torch.from_numpy(np.array(state[f"sampler {i} {k}"])) for k in names}
                )
        self._drawn, self._used = [], 0
        self._states = self._sampler_states()
        if int(state["used"]):
            self._draw()
            self._used = int(state["used"])

    def _sampler_states(self) -> dict[int, dict[str, Tensor]]:
        """Where the samplers were when the samples at hand were drawn."""
        active = range(len(self.plans)) if self.step == 0 else self._active
        found = ((int(i), self.plans[i].sampler) for i in active)
        return {i: sampler.state() for i, sampler in found if sampler is not None}


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix} {name}": tensor for name, tensor in tensors.items()}


def stacks(num_replicas: int, bytes_each: float, memory_limit: float) -> list[slice]:
    """The replicas in stacks that fit ``memory_limit`` bytes, as even as can be.

    >>> stacks(5, 1.0, 2.0)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    most = max(1, int(memory_limit // max(bytes_each, 1e-300)))
    size = -(-num_replicas // -(-num_replicas // most))
    return [slice(k, min(k + size, num_replicas)) for k in range(0, num_replicas, size)]


def _brought(rows: list[Tensor], device: torch.device) -> list[Tensor]:
    """Indices on ``device``, by one copy of them all."""
    every = brought(torch.cat([row.flatten() for row in rows]), device)
    parts = every.split([row.numel() for row in rows])
    return [part.view(row.shape) for part, row in zip(parts, rows, strict=True)]
