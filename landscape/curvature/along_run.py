"""Measures of sharpness at several points of a run, side by side: the last one whole, of all the numbers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from landscape.result import Check


def side_by_side(results: Sequence[Any], labels: Sequence[str]) -> Any:
    """The last of the ``results``, of one point each, with the measures, F and ‖∇F‖ of all, and their checks.

    A measure that one of them has not is NaN there. Notes and what did not converge name the point.
    """
    last = results[-1]
    tables = [
        dict(zip(one.measure.tolist(), zip(one.values, one.errors, strict=True), strict=True))
        for one in results
    ]
    nothing = (np.nan, np.nan)
    rows = np.array([[table.get(name, nothing) for name in last.measure.tolist()] for table in tables])
    last.point = np.array(list(labels))
    last.values_along, last.errors_along = rows[:, :, 0], rows[:, :, 1]
    last.loss_along = np.array([one.loss for one in results])
    last.gradient_norm_along = np.array([one.gradient_norm for one in results])
    last.outcome = next((one.outcome for one in results if one.outcome != "complete"), last.outcome)
    own = {note for note in last.notes if all(note in one.notes for one in results)}
    last.notes = [
        note if note in own else f"at {label}: {note}"
        for one, label in zip(results, labels, strict=True)
        for note in one.notes
        if note not in own or one is last
    ]
    last.checks = [
        replace(check, name=f"{check.name} at {label}")
        for one, label in zip(results, labels, strict=True)
        for check in one.checks
    ]
    last.checks.append(_in_place(last, results, labels))
    return last


def _in_place(result: Any, results: Sequence[Any], labels: Sequence[str]) -> Check:
    """That every row is what stands of its point alone, measure by measure, and the last that of the result itself."""
    wrong = int(result.point.tolist() != list(labels))
    for i, one in enumerate(results):
        names = one.measure.tolist()
        rows = ((result.values_along, one.values), (result.errors_along, one.errors))
        for k, name in enumerate(result.measure.tolist()):
            for along, alone in rows:
                wanted = float(alone[names.index(name)]) if name in names else np.nan
                wrong += not (along[i, k] == wanted or (np.isnan(along[i, k]) and np.isnan(wanted)))
        for name in ("loss", "gradient_norm"):
            said, wanted = float(getattr(result, f"{name}_along")[i]), float(getattr(one, name))
            wrong += not (said == wanted or (np.isnan(said) and np.isnan(wanted)))
    meaning = (
        "numbers of a point among all that are not those of the point alone, and names of others (0 = none)"
    )
    return Check("last point", float(wrong), 0.0, meaning)
