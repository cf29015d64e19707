"""What points side by side are said to be, from the table that is stated: first, told apart, in agreement, how wide."""

import math
from collections.abc import Collection
from itertools import permutations
from typing import Any

import numpy as np

from landscape.objective import checks
from landscape.paths.slices import Slice
from landscape.result import Check, largest_gap

# Of artanh τ, times n − 4 (Fieller, Hartley and Pearson 1957); the normal law's 97.5 %; points whose orders are few.
FIELLER, NORMAL, FEW = 0.437, 1.959964, 7


def verdicts_check(found: Any, flat: Collection[int], times: float) -> Check:
    """``found``: a comparison; ``flat`` are its measures of flatness, ``times`` the errors that tell points apart."""
    wrong, ranks, names = 0, found.ranks.tolist(), found.point.tolist()
    firsts = [sum(ranks[k][i] == 1 for k in flat) for i in range(len(names))]
    best = ", ".join(name for name, count in zip(names, firsts, strict=True) if count == max(firsts))
    wrong += (found.num_first != max(firsts)) + (found.flattest != best) + (found.num_flatness != len(flat))
    for k, (row, errors) in enumerate(zip(found.values.tolist(), found.errors.tolist(), strict=True)):
        errors = [0.0 if math.isnan(one) else one for one in errors]
        for i, value in enumerate(row):
            gaps = [
                abs(value - other) > times * math.hypot(errors[i], errors[j])
                for j, other in enumerate(row)
                if j != i
            ]
            wrong += bool(found.told_apart[k, i]) != all(gaps)
    meaning = "points ranked first, and told apart, that are not so by the stated ranks, values and errors (0 = none)"
    return Check("told apart", float(wrong), 0.0, meaning)


def intervals_check(found: Any, flat: Collection[int], seed: int) -> Check:
    """τ's interval by logarithms, the mean τ of two measures of flatness, and of one pair p by all orders, in turn."""
    worst, count = 0.0, found.ranks.shape[1]
    known = np.argwhere(np.triu(np.isfinite(found.tau), 1)).tolist()
    tried = known[int(np.random.default_rng(seed).integers(len(known)))] if known else []
    fields = found.tau, found.tau_low, found.tau_high, found.tau_p
    for k in range(len(found.ranks)):
        for m in range(k):
            tau, low, high, p = (float(one[k, m]) for one in fields)
            if math.isnan(tau):
                worst = largest_gap(worst, float(not all(map(math.isnan, (low, high, p)))))
                continue
            worst = largest_gap(worst, *(abs(float(one[m, k]) - float(one[k, m])) for one in fields))
            ends = (-1.0, 1.0) if count < 5 else _interval(tau, count)
            worst = largest_gap(worst, abs(low - ends[0]), abs(high - ends[1]))
            if count <= FEW and [m, k] == tried:
                worst = largest_gap(worst, abs(p - _chance(found.ranks[k].tolist(), found.ranks[m].tolist())))
    taus = [float(found.tau[k, m]) for k in flat for m in flat if k < m and np.isfinite(found.tau[k, m])]
    if taus:
        worst = largest_gap(worst, abs(found.mean_tau - math.fsum(taus) / len(taus)))
    meaning = "interval, p and mean of τ by logarithms, by all orders of few points, and by a sum"
    return Check("agreement by chance", float(worst), 1e-9, meaning)


def _interval(tau: float, count: int) -> tuple[float, float]:
    """tanh(artanh(τ ∓ ½ of a pair) ∓ 1.96 √(0.437/(n − 4))), with artanh x = ½ ln((1 + x)/(1 − x))."""
    wide, half = NORMAL * math.sqrt(FIELLER / (count - 4)), 1 / (count * (count - 1) / 2)
    ends = []
    for side in (-1, 1):
        x = min(1.0, max(-1.0, tau + side * half))
        if abs(x) == 1:
            ends.append(x)
            continue
        odds = (1 + x) / (1 - x) * math.exp(2 * side * wide)
        ends.append((odds - 1) / (odds + 1))
    return ends[0], ends[1]


def _chance(one: list[float], other: list[float]) -> float:
    """The share of all orders that agree, or disagree, as much."""

    def score(row: list[float]) -> int:
        pairs = [(i, j) for i in range(len(one)) for j in range(i)]
        return sum(_sign(one[i] - one[j]) * _sign(row[i] - row[j]) for i, j in pairs)

    own = abs(score(other))
    scores = [abs(score(list(row))) >= own for row in permutations(other)]
    return sum(scores) / len(scores)


def _sign(x: float) -> int:
    return (x > 0) - (x < 0)


def rise_check(slices: np.ndarray, middle: int, stated: float) -> Check:
    """The rise that ends a sublevel set, from the highest of every half slice (point, draw, alpha)."""
    highest = []
    for losses in slices.reshape(-1, slices.shape[-1]).tolist():
        for half in (losses[: middle + 1], losses[middle:]):
            highest.append(max(half) - losses[middle] if all(map(math.isfinite, half)) else math.inf)
    known = sorted(one for one in highest if math.isfinite(one))
    gap = 0.0
    if len(known) == len(highest):
        wanted = max(known[0] / 2, (known[(len(known) - 1) // 2] + known[len(known) // 2]) / 40)
        gap = abs(stated - wanted) / max(wanted, 1e-300)
    meaning = "half of the least rise of all half slices, no less than a twentieth of the median, relative"
    return Check("rise", gap, 1e-10, meaning)


def brackets_check(found: Slice, rise: float, length: np.ndarray, reached: np.ndarray) -> Check:
    """Every half-width (draw, side) within the cell of the stated losses in which F has first risen so much."""
    alpha, middle, wrong = found.grid[0], found.middle, 0
    room = checks.rounding(found.sweep.objective) * (abs(found.centre_loss) + rise)
    for draw, losses in enumerate(found.losses):
        for side, step in enumerate((-1, 1)):
            cells = range(middle + step, len(alpha) if step > 0 else -1, step)
            high = [i for i in cells if not losses[i] - losses[middle] < rise]
            said, is_reached = float(length[draw, side]), bool(reached[draw, side])
            if not high:
                wrong += is_reached or not abs(said - float(alpha[-1])) <= 1e-12 * float(alpha[-1])
                continue
            near = (losses[high[0] - step] - losses[middle]) >= rise - room
            inside = (
                abs(float(alpha[high[0] - step]))
                <= said * (1 + 1e-12)
                <= abs(float(alpha[high[0]])) * (1 + 1e-9)
            )
            wrong += not is_reached or not (inside or near)
    meaning = "half-widths outside of the cell of the slice in which F has first risen by the rise (0 = none)"
    return Check("half widths", float(wrong), 0.0, meaning)


def errors_check(
    values: dict[str, np.ndarray], slices: np.ndarray, widths: np.ndarray, left: np.ndarray, rounding: float
) -> Check:
    """Errors of convexity and width (points,) by ``values``: Student's of means over the directions, and what is open.

    ``slices`` (point, draw, alpha), ``widths`` and what its search ``left`` (point, draw, side). That of the convexity
    is looked at where ``rounding`` of F leaves no place open.
    """
    from scipy.stats import t as student

    worst, count = 0.0, slices.shape[1]
    factor = float(student.ppf(0.975, count - 1)) / NORMAL / math.sqrt(count)
    for i in range(len(slices)):
        means = [float(one.sum()) / 2 for one in widths[i]]
        wanted = math.hypot(factor * _deviation(means), float(left[i].sum()) / left[i].size)
        worst = largest_gap(worst, abs(float(values["width"][i]) - wanted) / max(wanted, 1e-300))
        bends = slices[i][:, 2:] - 2 * slices[i][:, 1:-1] + slices[i][:, :-2]
        size = np.abs(slices[i]).max()
        if np.isfinite(size) and bool((np.abs(bends) > 8 * rounding * size).all()):
            shares = (bends > 0).mean(axis=1).tolist()
            wanted = max(factor * _deviation(shares), 1 / bends.size)
            worst = largest_gap(worst, abs(float(values["convexity"][i]) - wanted) / wanted)
    meaning = "errors of convexity and width against Student's 95 % interval over the directions, relative"
    return Check("summary errors", worst, 1e-9, meaning)


def _deviation(values: list[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((one - mean) ** 2 for one in values) / (len(values) - 1))
