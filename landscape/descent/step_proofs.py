"""Steps of a training taken again: torch.optim on the user's own module, batches and step sizes by their formulas.

Each begins where the trainer stands before it and is compared with where it stands after it. Which steps is seeded:
the first ones, and those before and after a pass, and a period of the schedule, are over.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from landscape.descent.regime import Regime
from landscape.descent.stated_batches import batches
from landscape.descent.stated_kicks import KICKS, stated_kick
from landscape.descent.stated_sizes import size_of
from landscape.numerics.steps.sampling import restore_rng, rng_state
from landscape.objective import checks, plain
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.stored import same
from landscape.progress import Journal
from landscape.result import Check, largest_gap

# A share of the command's time that proofs may take, and how many gradients they may take anyhow.
PART, FEW = 0.1, 2
# What an adaptive method divides by itself is not told apart from rounding below this part of the largest.
TOLD_APART = 1e-2


class Before(NamedTuple):
    """What decides a step: tensors by name, moments of the optimiser by name, step size, random generators."""

    tensors: dict[str, Tensor]
    moments: dict[str, Tensor]
    step_size: float
    random: dict[str, Tensor]
    follows: bool


class StepProofs:
    """Takes steps of a training of ``total`` steps again; what they were off by is kept in ``journal``.

    ``every`` is the period of the schedule in steps, ``measurements`` how often the run is measured; ``per_pass`` are
    the steps of a pass, as sizes of batch and data make them.
    """

    def __init__(
        self,
        objective: Objective,
        regime: Regime,
        *,
        total: int,
        every: int,
        measurements: float,
        journal: Journal,
    ):
        self.objective, self.regime, self.every, self.journal = objective, regime, every, journal
        self._size = objective.num_samples if regime.method == "gd" else regime.batch_size
        self._size = min(1 if regime.method == "sgd" else self._size, objective.num_samples)
        self.per_pass = -(-objective.num_samples // self._size)
        gradients = max(FEW, PART * (total / self.per_pass + measurements))
        # One is that of the gradient norm.
        most = max(1, math.floor((gradients - 1) * self.per_pass))
        self.steps = proven_steps(total, (self.per_pass, every), regime.seed)[:most]
        self._ended: tuple[int, str] | None = None
        self._kick: tuple[int, Tensor] | None = None

    def before(self, step: int, point: Point, optimiser: torch.optim.Optimizer) -> Before | None:
        """What the coming step begins with; None for one that is not, or has been, taken again."""
        if step not in self.steps or self._key(step) in self.journal:
            return None
        group = optimiser.param_groups[0]
        moments = optimiser.state[group["params"][0]]
        tensors = {name: one.clone() for name, one in plain.by_name(self.objective, point).items()}
        if step == 0:
            follows = self._is_present(tensors)
        else:
            follows = self._ended is None or self._ended[0] != step or self._ended[1] == point.sha256
        return Before(
            tensors,
            {name: one.clone() for name, one in moments.items() if one is not None},
            group["lr"],
            rng_state(self.objective.device),
            follows,
        )

    def after(self, step: int, before: Before, point: Point) -> None:
        """Takes step ``step`` again and keeps how far ``point`` is from where that leads."""
        now = rng_state(self.objective.device)
        try:
            gap = self._gap(step, before, plain.by_name(self.objective, point))
        finally:
            restore_rng(now, self.objective.device)
        self._ended = (step + 1, point.sha256)
        self.journal[self._key(step)] = {"gap": gap}

    def checks(self) -> list[Check]:
        """How far the steps that were taken twice are apart."""
        gaps = [
            self.journal[self._key(step)]["gap"] for step in self.steps if self._key(step) in self.journal
        ]
        gaps = [gap for gap in gaps if gap is not None]
        if not gaps:
            return []
        meaning = (
            f"{len(gaps)} steps, at the start and where a pass and a period of the schedule end, against torch.optim "
            "on the module, over its move and a rounding of the weights"
        )
        return [Check("steps", largest_gap(*gaps), self._bound, f"{meaning}{self._about}")]

    @property
    def _is_adaptive(self) -> bool:
        return self.regime.optimizer != "sgd"

    @property
    def _bound(self) -> float:
        bound = checks.rounding(self.objective)
        return bound / TOLD_APART if self._is_adaptive else bound

    @property
    def _about(self) -> str:
        if not self._is_adaptive:
            return ""
        return "; where the slope is a hundredth of the largest or more, as that of less is rounding"

    def _key(self, step: int) -> str:
        return f"step again {step}"

    def _is_present(self, tensors: Mapping[str, Tensor]) -> bool:
        present = {name: self.objective.now(name).detach() for name in tensors}
        return all(same(one, present[name]) for name, one in tensors.items())

    def _gap(self, step: int, before: Before, after: Mapping[str, Tensor]) -> float | None:
        """None where the module draws from generators of its own, so that the step cannot be taken again."""
        if not before.follows or (step and self._has_moments and not before.moments):
            return math.inf
        gap, reached = self._compared(step, before, after)
        if gap > self._bound:
            again, _ = self._compared(step, before, reached)
            return None if again > self._bound else gap
        return gap

    @property
    def _has_moments(self) -> bool:
        return self._is_adaptive or self.regime.momentum > 0

    def _compared(
        self, step: int, before: Before, after: Mapping[str, Tensor]
    ) -> tuple[float, dict[str, Tensor]]:
        reached, slopes = self._taken(step, before)
        names = list(slopes)
        start, mine, theirs, slope = (
            torch.cat([one[name].detach().reshape(-1).cpu().double() for name in names])
            for one in (before.tensors, reached, after, slopes)
        )
        told = torch.ones_like(slope)
        if self._is_adaptive:
            told = (slope.abs() >= TOLD_APART * slope.abs().max()).double()
        rounding = torch.finfo(self.objective.dtype).eps / checks.rounding(self.objective)
        off = float(((mine - theirs) * told).norm())
        scale = float(((mine - start) * told).norm()) + rounding * float((start * told).norm())
        gap = off / max(scale, 1e-300)
        gap = largest_gap(
            gap, _buffers_gap({name: (reached[name], after[name]) for name in after.keys() - slopes})
        )
        return (gap if math.isfinite(gap) else math.inf), reached

    def _taken(self, step: int, before: Before) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Where the step leads, by name, and the slopes that it follows."""
        objective, rows = self.objective, self._rows[step]
        restore_rng(before.random, objective.device)
        with (
            plain.proving(gradients=len(rows) / objective.num_samples),
            objective.written({name: one.clone() for name, one in before.tensors.items()}, training=True),
            torch.enable_grad(),
        ):
            _, slopes, seen = plain.batch_gradient(objective, rows)
            moved = {name: objective.now(name).detach().clone() for name in before.tensors}
        own = {name: nn.Parameter(before.tensors[name].clone()) for name in slopes}
        for name, parameter in own.items():
            slopes[name] = (
                slopes[name] + objective.l2 * parameter.detach() + self._noise(step, name, parameter)
            )
            moves = name in seen or objective.l2 or self.regime.noise != "none" or objective.is_sharded
            # torch.optim leaves what has no gradient as it is.
            parameter.grad = slopes[name].clone() if moves else None
        lr = step_size_of(self.regime, self.every, step)
        optimiser = _optimiser(self.regime, list(own.values()), before.step_size if lr is None else lr)
        for piece in objective.pieces if before.moments else ():
            optimiser.state[own[piece.name]] = {
                name: one.clone() if one.dim() == 0 else one[piece.span].reshape(piece.shape).clone()
                for name, one in before.moments.items()
            }
        optimiser.step()
        return {**moved, **{name: one.detach() for name, one in own.items()}}, slopes

    def _noise(self, step: int, name: str, like: Tensor) -> Tensor:
        """What is added to the slope of the piece ``name`` in step ``step``."""
        regime, objective = self.regime, self.objective
        if regime.noise == "none" or regime.amplitude is None:
            return torch.zeros_like(like)
        if self._kick is None or self._kick[0] != step:
            whole = stated_kick(regime.noise, objective.num_parameters, (regime.seed, KICKS), step)
            self._kick = (step, regime.amplitude * torch.from_numpy(whole))
        piece = next(one for one in objective.pieces if one.name == name)
        return self._kick[1][piece.span].reshape(piece.shape).to(like.detach())

    @cached_property
    def _rows(self) -> dict[int, Tensor]:
        rule = None if self.regime.method == "gd" else self.regime.sampling
        return batches(rule, self.objective.num_samples, self._size, self.regime.seed, self.steps)


def proven_steps(total: int, periods: Sequence[int], seed: int) -> list[int]:
    """Which of ``total`` steps, from 0, are taken again, the most telling ones first; both sides of a period's end.

    The second is the first one by what the first leaves: moments, and a module that need not be put back.
    """
    generator, turns = np.random.default_rng(seed), list[int]()
    for period in dict.fromkeys(periods):
        count = (total - 1) // period
        if count > 0:
            turn = period * int(generator.integers(1, count + 1))
            turns += [turn - 1, turn]
    if not turns and total:
        turns = [int(generator.integers(total))]
    return [step for step in dict.fromkeys((1, 0, *turns, 2)) if step < total]


def step_size_of(regime: Regime, every: int, step: int) -> float | None:
    """The step size of step ``step``, from 0, by the formula of its schedule; None where it follows the loss."""
    return size_of(regime.schedule, regime.schedule_arguments, regime.lr, every, step)


def _optimiser(regime: Regime, parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    if regime.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=lr, weight_decay=regime.weight_decay)
    if regime.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=regime.weight_decay)
    return torch.optim.SGD(
        parameters,
        lr=lr,
        momentum=regime.momentum,
        weight_decay=regime.weight_decay,
        nesterov=regime.nesterov,
    )


def _buffers_gap(pairs: Mapping[str, tuple[Tensor, Tensor]]) -> float:
    """How far buffers are apart, over the length of all of them; those of whole numbers must be the same."""
    off = length = 0.0
    for mine, theirs in pairs.values():
        if not mine.is_floating_point():
            off += 0.0 if same(mine, theirs) else math.inf
            continue
        length += float(mine.cpu().double().square().sum())
        if not same(mine, theirs):
            off += float((mine.cpu().double() - theirs.cpu().double()).square().sum())
    return math.sqrt(off) / max(math.sqrt(length), 1e-300) if off else 0.0
