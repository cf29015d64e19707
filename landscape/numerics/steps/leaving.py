"""Many runs of gradient descent, with noise or without, on their way out of a neighbourhood: when does each leave?

The runs are the rows of one matrix. θ ← θ − α(∇F(θ) + ω), so that noise ω is inside the step, times α.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.arrays import array_of
from landscape.numerics.steps.replicas import Gradients

# (step, thetas (r, d), slopes (r, d), numbers of the runs (r,)) ↦ what is added to the slopes, (r, d).
Noise = Callable[[int, Tensor, Tensor, np.ndarray], Tensor]
# Losses kept of every run: where there are so many, every other one goes, and half as many are kept from then on.
RECORDS = 256
NOT_YET = -1


class Leaving:
    """Runs from ``thetas`` (R, d) by steps of ``step_size`` until F < ``level``, and ``further`` steps from there.

    ``noise`` None is gradient descent itself, one whose ∇F is exactly 0 has then ended. ``steps`` (R,) counts the
    steps before F was below the level for the first time, NOT_YET where it never was; ``exits`` (R, d) is the point
    there and ``entries`` (R, d) the one before; ``losses`` (R,) is F at the end; ``diverged`` (R,) where F was NaN or
    infinite before that. ``lowest_norm`` (R,) is the smallest ‖∇F‖ before it left and ``stillest`` (R, d) its place.
    ``sums`` (R,) adds up ‖∇F(θ_k)‖² over the steps until then, and ``broken`` (R,) counts those without noise that fell
    by less than α(1 − αL/2)‖∇F‖², L being ``curvature``. Of the runs ``watched`` with a step each, ``seen`` (w, 2, d)
    is the point before that step and behind it, NaN where it was not taken.
    """

    def __init__(
        self,
        gradients: Gradients,
        thetas: Tensor,
        *,
        step_size: float,
        level: float,
        max_steps: int,
        further: int = 0,
        noise: Noise | None = None,
        curvature: float | None = None,
        watched: Mapping[int, int] | None = None,
    ):
        self._gradients, self._noise = gradients, noise
        self.step_size, self.level = step_size, level
        self.max_steps, self.further = max_steps, further
        self._curvature, self._watched = curvature, dict(watched or {})
        count, dtype = len(thetas), thetas.dtype
        self.thetas = thetas.detach().clone()
        self.step = 0
        self.steps = np.full(count, NOT_YET, dtype=np.int64)
        self.first = np.full(count, np.nan)
        self.losses = np.full(count, np.nan)
        self.at_exit = np.full(count, np.nan)
        self.sums = np.zeros(count)
        self.lowest_norm = np.full(count, np.inf)
        self.broken = np.zeros(count, dtype=np.int64)
        self.first_broken = np.full(count, NOT_YET, dtype=np.int64)
        self.ended, self.diverged = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
        self.exits, self.entries = self.thetas.clone(), self.thetas.clone()
        self.stillest = self.thetas.clone()
        self._before = self.thetas.clone()
        self._last_loss, self._last_square = np.full(count, np.nan), np.full(count, np.nan)
        self.every, self.records = 1, np.empty((0, count))
        self.seen = torch.full((len(self._watched), 2, thetas.shape[1]), np.nan, dtype=dtype)
        self._stack = np.arange(count)

    @property
    def num_active(self) -> int:
        """Runs still under way."""
        return int((~self.ended).sum())

    @property
    def recorded(self) -> np.ndarray:
        """The steps at which ``records`` (k, R) holds F."""
        return self.every * np.arange(len(self.records))

    def advance(self, num_steps: int) -> None:
        """Up to ``num_steps`` steps: fewer where every run has ended before."""
        for _ in range(num_steps):
            if not self.num_active:
                return
            self._advance()

    def _advance(self) -> None:
        # As seldom as this, since what is recorded of a module is recorded for a number of runs.
        if 2 * self.num_active <= len(self._stack):
            self._stack = np.flatnonzero(~self.ended)
        rows = torch.from_numpy(self._stack).to(self.thetas.device)
        theta = self.thetas[rows]
        losses, slopes = self._gradients(theta, None)
        squared = slopes.double().square().sum(1)
        # One wait for the device a step.
        values, squares = torch.stack([losses.detach().double(), squared]).cpu().numpy()
        self._observe(theta, values, squares)
        active = ~self.ended[self._stack]
        for k, (run, step) in enumerate(self._watched.items()):
            if step == self.step and not self.ended[run]:
                self.seen[k, 0] = self.thetas[run].cpu()
        added = slopes
        if self._noise is not None:
            added = slopes + self._noise(self.step, theta, slopes, self._stack)
        moved = theta - self.step_size * added
        mask = torch.from_numpy(active).to(theta.device)[:, None]
        self._before[rows] = torch.where(mask, theta, self._before[rows])
        self.thetas[rows] = torch.where(mask, moved, theta)
        for k, (run, step) in enumerate(self._watched.items()):
            if step == self.step and not self.ended[run]:
                self.seen[k, 1] = self.thetas[run].cpu()
        self.step += 1

    def _observe(self, theta: Tensor, values: np.ndarray, squares: np.ndarray) -> None:
        """What F and ‖∇F‖² at θ_k say of each run of the stack."""
        runs = self._stack
        under_way, is_finite = ~self.ended[runs], np.isfinite(values)
        inside = under_way & (self.steps[runs] == NOT_YET)
        if self.step == 0:
            self.first[runs] = values
        self._record(runs, values, under_way)
        self.losses[runs[under_way]] = values[under_way]
        self._lemma(runs, values, inside & is_finite)
        lost = inside & ~is_finite
        self.diverged[runs[lost]] = True
        out = inside & is_finite & (values < self.level)
        self.steps[runs[out]] = self.step
        if out.any():
            rows, these = (torch.from_numpy(one).to(theta.device) for one in (runs[out], np.flatnonzero(out)))
            self.exits[rows], self.entries[rows] = theta[these], self._before[rows]
        self.at_exit[runs[out]] = values[out]
        stays = inside & is_finite & ~out
        norms = np.sqrt(squares)
        is_stiller = stays & (norms < self.lowest_norm[runs])
        if is_stiller.any():
            rows, these = (
                torch.from_numpy(one).to(theta.device)
                for one in (runs[is_stiller], np.flatnonzero(is_stiller))
            )
            self.stillest[rows], self.lowest_norm[runs[is_stiller]] = theta[these], norms[is_stiller]
        if self.step < self.max_steps:
            self.sums[runs[stays]] += squares[stays]
        self._last_loss[runs], self._last_square[runs] = values, squares
        left = self.steps[runs] != NOT_YET
        done = lost | (under_way & ~is_finite) | (left & (self.step >= self.steps[runs] + self.further))
        done |= stays & (self.step >= self.max_steps)
        if self._noise is None:
            # It is where it was after any number of steps.
            done |= stays & (squares == 0)
        self.ended[runs[under_way & done]] = True

    def _lemma(self, runs: np.ndarray, values: np.ndarray, where: np.ndarray) -> None:
        """Counts the steps without noise by which F fell by less than α(1 − αL/2)‖∇F‖²."""
        if self._noise is not None or self._curvature is None or self.step == 0:
            return
        alpha, last = self.step_size, self._last_loss[runs]
        least = alpha * (1 - alpha * self._curvature / 2) * self._last_square[runs]
        with np.errstate(invalid="ignore", over="ignore"):
            rounding = 8 * np.finfo(float).eps * (np.abs(values) + np.abs(last))
            broken = where & (last - values < least - rounding)
        first = runs[broken & (self.broken[runs] == 0)]
        self.first_broken[first] = self.step - 1
        self.broken[runs[broken]] += 1

    def _record(self, runs: np.ndarray, values: np.ndarray, under_way: np.ndarray) -> None:
        if self.step % self.every:
            return
        row = np.full((1, len(self.steps)), np.nan)
        row[0, runs[under_way]] = values[under_way]
        self.records = np.concatenate([self.records, row])
        if len(self.records) > RECORDS:
            self.every, self.records = 2 * self.every, self.records[::2]

    def state(self) -> dict[str, Any]:
        """Everything that decides the further steps, for a journal."""
        arrays = {name: array_of(getattr(self, name)) for name in TENSORS}
        arrays |= {name: np.array(getattr(self, name)) for name in ARRAYS}
        return {"step": self.step, "every": self.every, **arrays}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` gave."""
        self.step, self.every = int(state["step"]), int(state["every"])
        for name in TENSORS:
            own = getattr(self, name)
            setattr(self, name, torch.from_numpy(np.array(state[name])).to(own))
        for name in ARRAYS:
            setattr(self, name, np.array(state[name]))


TENSORS = ("thetas", "exits", "entries", "stillest", "seen", "_before")
ARRAYS = (
    *("steps", "first", "losses", "at_exit", "sums", "lowest_norm", "broken", "first_broken"),
    *("ended", "diverged", "records", "_last_loss", "_last_square", "_stack"),
)
