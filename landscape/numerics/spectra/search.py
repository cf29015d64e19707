"""The search of Lanczos: which eigenvalues are wanted, when they have settled, and whether one may be hidden."""

from collections.abc import Callable
from typing import NamedTuple, get_args

import numpy as np

from landscape.choices import Which
from landscape.numerics.spectra.krylov import Krylov

WHICH = get_args(Which)
# The eigenproblem of the projected matrix is solved at sizes that grow like this, lest it cost more than the products.
TEST_GROWTH = 1.03
# A chance below which an eigenvalue counts as not hidden.
CHANCE = 1e-2


class Wanted(NamedTuple):
    """Which eigenvalues are looked for: so many at the top and at the bottom, or of largest magnitude."""

    top: int
    bottom: int
    by_magnitude: bool = False

    @property
    def total(self) -> int:
        return self.top + self.bottom

    def widened(self, count: int) -> "Wanted":
        """The same ends, with ``count`` values in all."""
        bottom = round(count * self.bottom / self.total)
        return Wanted(count - bottom, bottom, self.by_magnitude)

    def among(self, values: np.ndarray) -> np.ndarray:
        """Positions of the wanted values, best first, each once."""
        if self.by_magnitude:
            return np.argsort(-np.abs(values), kind="stable")[: self.top]
        order = np.argsort(-values, kind="stable")
        top = order[: self.top]
        bottom = order[::-1][: min(self.bottom, len(values) - len(top))]
        return np.concatenate([top, bottom]).astype(int)

    def ends(self, values: np.ndarray) -> np.ndarray:
        """The worst of the wanted ``values`` at each end."""
        if self.by_magnitude:
            least = np.abs(values).min()
            return np.array([least, -least])
        top, bottom = values[: self.top], values[self.top :]
        return np.array(
            [one.min() for one in (top,) if len(one)] + [one.max() for one in (bottom,) if len(one)]
        )

    def excess(self, values: np.ndarray, known: np.ndarray) -> np.ndarray:
        """By how much each value beats the worst of the known ones at its end; infinite while one is lacking."""
        if self.by_magnitude:
            merit = np.abs(known)
            return np.abs(values) - (np.sort(merit)[-self.top] if len(known) >= self.top else -np.inf)
        if len(known) < self.total:
            return np.full(len(values), np.inf)
        over = values - np.sort(known)[-self.top] if self.top else np.full(len(values), -np.inf)
        under = np.sort(known)[self.bottom - 1] - values if self.bottom else np.full(len(values), -np.inf)
        return np.maximum(over, under)


def wanted(which: str, k: int, bottom: int, dimension: int) -> Wanted:
    """``which`` and the counts as what to look for; never more than there are dimensions."""
    top, low = {
        "largest": (k, bottom),
        "magnitude": (k, 0),
        "smallest": (0, max(k, bottom)),
        "both": (k, bottom or k),
    }[which]
    top = min(top, dimension)
    return Wanted(top, min(low, dimension - top), which == "magnitude")


class Growth:
    """``space`` growing until what is wanted in it has settled, or nothing in it can beat what is ``known``.

    With ``excludes`` it then begins again at random, until ``chance`` bounds what an eigenvector as good as the wanted
    ones had to be hidden from both starts: an eigenspace of several dimensions shows the first one of them, and
    the second start, off the whole first basis, sees another as one random unit vector sees another.
    """

    is_settled = is_interrupted = _has_excluded = False
    num_restarts = 0
    chance = np.inf

    def __init__(
        self,
        space: Krylov,
        aim: Wanted,
        known: np.ndarray,
        scale: float,
        tol: float,
        budget: int,
        *,
        by_residual: bool,
        excludes: bool,
        progress: Callable[[int], None],
    ):
        self.space, self.aim, self.known, self.scale, self.budget = space, aim, known, scale, budget
        self.tol = tol
        self.by_residual, self.excludes, self.progress = by_residual, excludes, progress

    def run(self) -> None:
        """Until it is settled, spent or interrupted."""
        self.is_settled = False
        try:
            self._settle()
            if self.excludes and self.is_settled and not self._has_excluded:
                self._has_excluded = True
                self._exclude()
                # What has shown of others has to settle too, and may lie near.
                self.is_settled = self.space.is_invariant or self._is_settled()
                if not self.is_settled:
                    self._settle()
        except KeyboardInterrupt:
            self.is_interrupted = True

    def _settle(self) -> None:
        space, test_at = self.space, self.aim.total
        while space.num_products < self.budget:
            if space.is_full:
                values = space.ritz()[0]
                kept = max(self.aim.total + 1, min(space.capacity // 2, space.capacity - 2))
                space.restart(self.aim.widened(kept).among(values))
                self.num_restarts, test_at = self.num_restarts + 1, 0
            self._extend()
            if space.is_invariant:
                self.is_settled = True
                return
            is_spent = space.num_products == self.budget
            if space.size >= max(test_at, self.aim.total) or is_spent:
                test_at = max(space.size + 1, int(TEST_GROWTH * space.size))
                if self._is_settled():
                    self.is_settled = True
                    return

    def _exclude(self) -> None:
        """First as many products as the first start needs to see whatever is as good, then those of the second.

        Given up where there is something as good, and after as many products as it took to settle.
        """
        space, likely = self.space, (2 * self.space.dimension / np.pi) ** 0.5
        most = min(2 * space.size, space.capacity, space.size + self.budget - space.num_products)
        while True:
            values = space.ritz()[0]
            best = self.aim.among(values)
            at = self.aim.ends(values[best])
            if self.num_restarts or space.is_invariant or len(values) < self.aim.total or space.size >= most:
                return
            first = likely * space.seen(at, found=best)
            if first <= CHANCE / 2:
                break
            self._extend()
        second = space.size
        space.begin_again()
        while space.size < most:
            self._extend(newest=True)
            seen = space.seen(at, second)
            if space.is_invariant or not np.isfinite(seen):
                return
            self.chance = first + likely * seen
            if self.chance <= CHANCE:
                return

    def _extend(self, newest: bool = False) -> None:
        self.space.extend(newest)
        self.progress(self.space.num_products)

    def _is_settled(self) -> bool:
        return _is_settled(self.space, self.aim, self.known, self.scale, self.tol, self.by_residual)


def _is_settled(
    space: Krylov, aim: Wanted, known: np.ndarray, scale: float, tol: float, by_residual: bool
) -> bool:
    values, _, residuals = space.ritz()
    if len(values) < aim.total:
        return False
    scale = max(scale, float(np.abs(values).max()))
    best = aim.among(values)
    errors = residuals[best]
    # Without other values there is no gap to go by.
    if not by_residual and len(values) > len(best):
        errors = error_estimates(values[best], errors, outer_gaps(values, residuals, best))
    is_open = aim.excess(values[best], known) + residuals[best] > 0.5 * tol * scale
    accuracy = np.full(len(best), 0.5 * tol * scale)
    if len(known):
        # A pair hidden from the first steps shows before the best of the others settles.
        ends = [0] if aim.by_magnitude or not (aim.top and aim.bottom) else [0, aim.top]
        for end in ends:
            if not is_open[end]:
                is_open[end], accuracy[end] = True, 0.5 * tol**0.5 * scale
                errors[end] = residuals[best][end]
    return bool(np.all(errors[is_open] <= accuracy[is_open]))


def error_estimates(values: np.ndarray, residuals: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """min(r, r²/gap) for Ritz values (k,): the distance to an eigenvalue if none was missed.

    ``gaps`` (k,) are the distances to values outside the set. Those inside count where the residuals tell
    them apart; a cluster that they do not is one block, whose error its outer gap decides; without any other value
    there is no gap to go by (Parlett 1998, theorems 11.7.1 and 11.7.2).
    """
    distances = np.abs(values[:, None] - values)
    is_apart = distances > residuals[:, None] + residuals
    inner = np.where(is_apart, distances - residuals, np.inf).min(axis=1, initial=np.inf)
    gap = np.minimum(gaps, inner)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        is_known = (gap > residuals) & np.isfinite(gap)
        return np.where(is_known, residuals * (residuals / gap), residuals)


def outer_gaps(values: np.ndarray, residuals: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The distance of each value at the positions ``inside`` to the others, less the residual of each; or infinity."""
    outside = np.delete(np.arange(len(values)), inside)
    distances = np.abs(values[inside][:, None] - values[outside]) - residuals[outside]
    return distances.min(axis=1, initial=np.inf)
