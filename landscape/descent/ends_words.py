"""What is to be said of the ends of many descents: their kinds, what was not met, how their number grows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from landscape.descent.counts import MINIMA, WELL_COVERED
from landscape.descent.critical import POLISHED
from landscape.numerics.spectra.inertia import STATIONARY
from landscape.result import with_error


def notes_of(result: Any, axes: Mapping[str, Sequence[int]]) -> list[str]:
    """Of a :class:`~landscape.analyses.minima.Minima`, whose cells lie along ``axes``."""
    return [*_ends(result), *_growth(result, axes), *_errors(result), *_symmetry(result)]


def _ends(result: Any) -> list[str]:
    """What diverged, kinds of ends, indices, polishing."""
    status, done, notes = result.end_status, result.done, []
    num_diverged = int((status == "diverged").sum())
    if num_diverged:
        notes.append(f"{num_diverged} of {int(done.sum())} replicas diverged: a smaller `lr` may help")
    tally = [
        f"{int((status == name).sum())} {name}"
        for name in ("minimum", "degenerate", "saddle", "kink", "cut short", "diverged")
    ]
    notes.append(f"ends by kind (cut short: ‖∇F‖ above {STATIONARY:g}): {', '.join(tally)}")
    num_unsure = int((done & ~result.is_exact & (status != "diverged")).sum())
    if num_unsure:
        notes.append(
            f"{num_unsure} indices are lower bounds: Lanczos found no end of the negative eigenvalues"
        )
    if result.polish_reason is not None:
        reasons, counts = np.unique(result.polish_reason[done & (status != "diverged")], return_counts=True)
        listed = [f"{count} {reason or 'reached'}" for reason, count in zip(reasons, counts, strict=True)]
        notes.append(f"polishing to ‖∇F‖ ≤ {POLISHED:g}: {'; '.join(listed)}")
    return notes


def _growth(result: Any, axes: Mapping[str, Sequence[int]]) -> list[str]:
    """How the number of distinct minima grows along ``axes``, and what the restarts have left unseen."""
    if all(len(values) == 1 for values in axes.values()):
        return []
    counts = np.asarray(result.num_distinct_minima)
    if result.axis is None:
        return [
            f"no exponent of the number of minima: {int((counts == 0).sum())} of {counts.size} cells have none"
        ]
    law = " · ".join(
        f"{axis}^({with_error(float(value), float(error))})"
        for axis, value, error in zip(result.axis, result.exponent, result.exponent_error, strict=True)
    )
    notes = [
        f"distinct minima ({', '.join(MINIMA)}; by outputs on the data) ∝ {law}, by least squares of the logarithms "
        f"over {int((counts > 0).sum())} of {counts.size} cells; errors are those of the lack of fit, and at least "
        "quadratic growth is an exponent of 2 or more"
    ]
    thin = int((np.nan_to_num(result.coverage, nan=1.0) < WELL_COVERED).sum())
    if thin:
        notes.append(
            f"in {thin} of {counts.size} cells more than {1 - WELL_COVERED:.0%} of the ends were met once alone: "
            "minima are left unseen there, their numbers are lower bounds set by `restarts`, and the exponents are "
            "none of the minima"
        )
    return notes


def _errors(result: Any) -> list[str]:
    """From where F_best is."""
    has_floor = result.floor is not None and bool(np.isfinite(result.floor).all())
    if has_floor:
        return [
            "F_best is the least loss of linear nets of such widths, in closed form (Eckart and Young 1936)"
        ]
    if result.mean_error is not None:
        return ["F_best is the lowest cost met in the cell, and may lie above the lowest there is"]
    return []


def _symmetry(result: Any) -> list[str]:
    """What leaves F as it is beside permutations."""
    scales, signs = (np.asarray(one) for one in (result.num_scales, result.num_signs))
    parts = []
    if result.floor is not None:
        parts.append("every invertible change of basis of a hidden layer, as the net is linear")
    elif scales.any():
        parts.append(f"incoming weights times c > 0 and outgoing ones over c, of {_range(scales)} units")
    if signs.any() and result.floor is None:
        parts.append(f"the sign of {_range(signs)} units")
    unknown = int((np.asarray(result.permutations) == "not known").sum())
    more = (
        [f"of {unknown} modules the permutations are not known, as they cannot be traced"] if unknown else []
    )
    if not parts:
        return more
    return [f"F stays as it is, beside permutations of hidden units, under {' and '.join(parts)}", *more]


def _range(values: np.ndarray) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"
