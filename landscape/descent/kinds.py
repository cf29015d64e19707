"""Ends of searches counted by what they are: distinct critical points, their verdicts, the index against the loss."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch

from landscape.descent.known_points import Kinds
from landscape.descent.seeking import CRITICAL
from landscape.descent.told_apart import row_of
from landscape.numerics.agreement import fieller
from landscape.numerics.spectra.valley import valley
from landscape.objective.objective import Objective
from landscape.objective.stacked import Derivatives
from landscape.progress import Progress

# Losses and outputs, relative beyond 1, that are one point's.
SAME_LOSS, SAME_OUTPUT = 1e-7, 1e-5
RESAMPLES = 1000
# Of fewer rows any order is likely enough.
FEWEST = 5
# Of artanh of Spearman's correlation, times n − 3 (Fieller, Hartley and Pearson 1957).
FIELLER = 1.06
MINIMUM = "local minimum"


class Distinct(NamedTuple):
    """Of every start which distinct point it reached (R,), −1 for none; and the start that stands for each (k,)."""

    of: np.ndarray
    first: np.ndarray


def distinct(objective: Objective, found: Mapping[str, np.ndarray]) -> Distinct:
    """Critical points told apart by outputs on the data, loss, index and nullity, numbered by loss.

    Points that a symmetry joins (units exchanged, layers rescaled, a basis of a linear layer) give the same outputs.
    """
    of = np.full(len(found["loss"]), -1)
    rows = np.flatnonzero(found["status"] == CRITICAL)
    rows = rows[np.argsort(found["loss"][rows], kind="stable")]
    fixed, inputs, row = objective.present_point().fixed, objective.samples[0], row_of(objective)
    kept: list[tuple[int, np.ndarray]] = []
    for k in rows:
        theta = torch.from_numpy(found["theta"][k]).to(objective.device)
        with torch.no_grad():
            outputs = row(objective.outputs(theta, fixed, inputs))
        for number, (first, seen) in reversed(list(enumerate(kept))):
            if not _near(found["loss"][k], found["loss"][first], SAME_LOSS):
                break
            alike = all(
                found[name][k] == found[name][first] or np.isnan(found[name][k])
                for name in ("index", "nullity")
            )
            if alike and np.abs(outputs - seen).max() <= SAME_OUTPUT * max(1.0, np.abs(seen).max()):
                of[k] = number
                break
        if of[k] < 0:
            of[k] = len(kept)
            kept.append((int(k), outputs))
    return Distinct(of, np.array([first for first, _ in kept], dtype=np.int64))


def _near(one: Any, other: Any, tolerance: float) -> bool:
    return bool(abs(one - other) <= tolerance * max(1.0, abs(other)))


def verdicts(
    derivatives: Derivatives, found: Mapping[str, np.ndarray], points: np.ndarray, progress: Progress
) -> list[str]:
    """What each of the critical ``points`` is, by row of ``found``, in words."""
    words = []
    for number, k in enumerate(points):
        index, nullity, d = found["index"][k], found["nullity"][k], found["theta"].shape[1]
        flat = "" if not nullity > 0 else f", {int(nullity)} flat"
        if np.isnan(nullity):
            words.append(f"saddle of index {int(index)}" if index else "undecided")
        elif index and index + nullity < d:
            words.append(f"saddle of index {int(index)}{flat}")
        elif index:
            words.append("local maximum" if not nullity else f"no minimum, index {int(index)}{flat}")
        elif not nullity:
            words.append(MINIMUM)
        else:
            theta = torch.from_numpy(found["theta"][k]).to(derivatives.objective.device)
            values, vectors = torch.linalg.eigh(derivatives.local(theta[None]).matrices[0])
            seen = valley(derivatives.slopes, theta, values, vectors, float(found["zero_threshold"][k]))
            words.append(seen.verdict)
        progress(number + 1, len(points), "kinds of critical points")
    return words


def rank_correlation(
    share: np.ndarray, loss: np.ndarray, seed: int
) -> tuple[float, float, tuple[float, float]]:
    """Spearman's correlation of two columns (k,), its standard error by the bootstrap, and its 95 % interval.

    The interval is the bootstrap's and, where that is wider, Fieller's: draws of few
    rows in one order are all in that order, so that of eight rows and a correlation of 0.95 the bootstrap's alone
    holds the truth 87 times in 100, and of six 79. Of fewer than five it is [−1, 1], as of any order of theirs.
    NaN for fewer than three rows, and where either column is one number.

    >>> rank_correlation(np.array([0.0, 0.1, 0.2]), np.array([1.0, 2.0, 5.0]), 0)[0]
    1.0
    """
    if len(share) < 3:
        return float("nan"), float("nan"), (float("nan"), float("nan"))
    generator = np.random.default_rng(seed)
    value = _spearman(share, loss)
    drawn = []
    for _ in range(RESAMPLES):
        rows = generator.integers(len(share), size=len(share))
        drawn.append(_spearman(share[rows], loss[rows]))
    kept = np.array(drawn)[np.isfinite(drawn)]
    if not np.isfinite(value) or len(kept) < 2:
        return value, float("nan"), (float("nan"), float("nan"))
    low, high = (float(end) for end in np.quantile(kept, [0.025, 0.975]))
    count, (least, most) = len(share), (-1.0, 1.0)
    if count >= FEWEST:
        # A step is what an exchange of two neighbours makes of it.
        least, most = fieller(value, FIELLER / (count - 3), 6 / (count * (count**2 - 1)))
    return value, float(kept.std(ddof=1)), (min(low, least), max(high, most))


def layered(value: float, interval: Any) -> list[str]:
    """A correlation of index fraction and loss beside what Dauphin et al. (2014) found, in words; none for NaN."""
    low, high = (float(one) for one in interval)
    if not np.isfinite([value, low, high]).all():
        return []
    here = (
        "the same here"
        if low > 0
        else "the reverse here"
        if high < 0
        else "these starts do not tell, for the interval contains 0"
    )
    return [
        "in small nets on digits of 10 × 10 pixels Dauphin et al. (2014) saw the share of negative eigenvalues of a "
        f"critical point grow with its loss: {here} (Spearman {value:.2f}, 95 % {low:.2f} to {high:.2f}); no theorem "
        "says so of one net"
    ]


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks (k,) from 0, those of equal numbers their mean."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[place.reshape(-1)]


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    a, b = ranks(one), ranks(other)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip(a @ b / size, -1, 1)) if size > 0 else float("nan")


def matched(kinds: Kinds, found: Mapping[str, np.ndarray], tolerance: float = 1e-9) -> np.ndarray:
    """Which of the ``kinds`` every start reached (R,), by loss, index and nullity; −1 for none of them."""
    of = np.full(len(found["loss"]), -1)
    scale = max(1.0, float(np.abs(kinds.loss).max()))
    for k in np.flatnonzero(found["status"] == CRITICAL):
        same = np.abs(kinds.loss - found["loss"][k]) <= tolerance * scale
        same &= kinds.index == found["index"][k]
        if np.isfinite(found["nullity"][k]):
            same &= kinds.nullity == found["nullity"][k]
        places = np.flatnonzero(same)
        of[k] = places[0] if len(places) else -1
    return of


def rounded_losses(losses: np.ndarray) -> np.ndarray:
    """Losses of one kind of point as one number, that of the first, so that rounding does not rank them."""
    order = np.argsort(losses, kind="stable")
    found = losses.copy()
    for before, here in pairwise(order):
        if _near(losses[here], found[before], SAME_LOSS):
            found[here] = found[before]
    return found
