"""What a table of critical points sums up, from the starts that it states: kinds, counts, shares, the bootstrap."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from landscape.descent.kinds import FEWEST, FIELLER, MINIMUM, RESAMPLES, rounded_losses
from landscape.descent.seeking import CRITICAL
from landscape.numerics.agreement import NORMAL_QUANTILE
from landscape.result import Check


def kinds_checks(found: Mapping[str, Any], seed: int) -> list[Check]:
    """Of ``found``, the fields of a result by name: its kinds, and the errors of its rank correlation."""
    return [kinds_check(found), bootstrap_check(found, seed)]


def kinds_check(found: Mapping[str, Any]) -> Check:
    """``found``: the fields of a result by name; what is said of kinds and of all starts, from start after start."""
    wrong = 0
    is_there = [word == CRITICAL for word in found["end_status"].tolist()]
    of, losses = found["distinct"].tolist(), found["loss"].tolist()
    for number in range(len(found["kind_loss"])):
        rows = [k for k, one in enumerate(of) if one == number]
        wrong += len(rows) != found["kind_count"][number] or not rows
        wrong += not _is_called(found, number)
        for name in ("loss", "index", "nullity"):
            said = float(found[f"kind_{name}"][number])
            # The start that stands for it is the lowest one, the first where several are.
            first = min(rows, key=lambda k: losses[k], default=None)
            true = math.nan if first is None else float(found[name][first])
            wrong += not (said == true or (math.isnan(said) and math.isnan(true)))
    d = found["num_parameters"]
    with np.errstate(invalid="ignore"):
        gap = np.abs(found["index_fraction"] * d - found["index"]) > 1e-9
    lowest = min((one for one, there in zip(losses, is_there, strict=True) if there), default=math.nan)
    wrong += (
        int(gap.sum())
        + (sum(is_there) != found["num_critical"])
        + (max(of, default=-1) + 1 != found["num_distinct"])
    )
    wrong += not (found["lowest_loss"] == lowest or math.isnan(lowest))
    if found.get("known_loss") is not None:
        wrong += _known(found, is_there)
    meaning = (
        "kinds, their verdicts, counts, index fractions and the lowest loss that are not those of the starts as they "
        "are stated"
    )
    return Check("kinds of the starts", float(wrong), 0.0, meaning)


def _is_called(found: Mapping[str, Any], number: int) -> bool:
    """Whether the verdict of a kind is one that its index and nullity allow; of index 0 and some flat, F along them."""
    word, d = str(found["verdict"][number]), found["num_parameters"]
    index, nullity = float(found["kind_index"][number]), float(found["kind_nullity"][number])
    flat = "" if math.isnan(nullity) or not nullity else f", {nullity:.0f} flat"
    if index:
        saddle = f"saddle of index {index:.0f}{flat}"
        top = f"no minimum, index {index:.0f}{flat}" if flat else "local maximum"
        return word == (saddle if math.isnan(nullity) or index + nullity < d else top)
    if math.isnan(nullity):
        return word == "undecided"
    return bool(flat) or word == MINIMUM


def _known(found: Mapping[str, Any], is_there: list[bool]) -> int:
    """Counts of the kinds in closed form that the starts have not."""
    scale = max(1.0, float(np.abs(found["known_loss"]).max()))
    near = np.abs(found["known_loss"][None, :] - found["loss"][:, None]) <= 1e-9 * scale
    near &= found["known_index"][None, :] == found["index"][:, None]
    nullity = found["nullity"][:, None]
    near &= (found["known_nullity"][None, :] == nullity) | np.isnan(nullity)
    near &= np.array(is_there)[:, None]
    first = np.cumsum(near, axis=1) == 1
    return int((np.asarray(found["known_count"]) != (near & first).sum(axis=0)).sum())


def bootstrap_check(found: Mapping[str, Any], seed: int) -> Check:
    """Standard error and interval of the rank correlation by the same draws, ranks by SciPy's and order written out."""
    from scipy.stats import rankdata

    rows = np.flatnonzero(found["end_status"] == CRITICAL)
    share, loss = found["index"][rows] / found["num_parameters"], rounded_losses(found["loss"][rows])
    meaning = "standard error and 95 % interval of the rank correlation by the same draws, written out, and Fieller's"
    if len(rows) < 3 or not math.isfinite(found["rank_correlation"]):
        return Check("rank correlation error", 0.0, 1e-9, meaning)
    generator = np.random.default_rng(seed)
    which = np.array([generator.integers(len(rows), size=len(rows)) for _ in range(RESAMPLES)])
    a, b = (rankdata(one[which], axis=1) for one in (share, loss))
    spread = a.std(axis=1) * b.std(axis=1)
    moved = ((a * b).mean(axis=1) - a.mean(axis=1) * b.mean(axis=1))[spread > 0]
    drawn = sorted((moved / spread[spread > 0]).tolist())
    if len(drawn) < 2:
        is_stated = math.isfinite(found["rank_correlation_error"])
        return Check("rank correlation error", float(is_stated), 1e-9, meaning)
    mean = math.fsum(drawn) / len(drawn)
    error = math.sqrt(math.fsum((one - mean) ** 2 for one in drawn) / (len(drawn) - 1))
    ends = []
    for tail in (0.025, 0.975):
        place = tail * (len(drawn) - 1)
        low = math.floor(place)
        ends.append(drawn[low] + (place - low) * (drawn[min(low + 1, len(drawn) - 1)] - drawn[low]))
    for sign, k in ((-1, 0), (1, 1)):
        ends[k] = sign * max(
            sign * ends[k], sign * _by_tanh(float(found["rank_correlation"]), len(rows), sign)
        )
    gaps = [found["rank_correlation_error"] - error, *(found["rank_correlation_interval"] - np.array(ends))]
    worst = float(np.nan_to_num(np.abs(gaps), nan=np.inf).max())
    return Check("rank correlation error", worst, 1e-9, meaning)


def _by_tanh(value: float, count: int, sign: int) -> float:
    """The lower (−1) or upper (1) end of Fieller's interval by logarithms; ±1 of few."""
    end = value + sign * 6 / (count**3 - count)
    if count < FEWEST or abs(end) >= 1:
        return math.copysign(1.0, sign if count < FEWEST else end)
    odds = (1 + end) / (1 - end) * math.exp(sign * 2 * NORMAL_QUANTILE * math.sqrt(FIELLER / (count - 3)))
    return (odds - 1) / (odds + 1)
