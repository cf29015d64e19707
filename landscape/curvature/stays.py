"""Which measures of sharpness stay, and which change, where the function stays and θ moves."""

from collections.abc import Mapping, Sequence

import numpy as np

from landscape.curvature.sharpness import Measured
from landscape.objective import checks
from landscape.objective.objective import Objective

# A number changes where it moves by more than three times both its errors together.
CHANGE = 3.0


def changed(objective: Objective, here: Measured, there: Measured, name: str) -> bool:
    """Whether a measure differs by more than its errors and rounding, or is defined at one of the points alone."""
    (value, error), (other, other_error) = here.table[name], there.table[name]
    if np.isnan(value) or np.isnan(other):
        return bool(np.isnan(value) != np.isnan(other))
    rounding = checks.rounding(objective) * (abs(value) + abs(here.loss) * ("rise" in name))
    return bool(abs(other - value) > CHANGE * float(np.hypot(error, other_error)) + rounding)


def verdict(names: Sequence[str], per: str) -> str:
    """What is said of measures that changed: of each unit or layer rescaled, or moved by ``all``."""
    moved = "a random element of all symmetries" if per == "all" else f"a rescaling of each {per}"
    what = f"{moved} that leaves the function as it is"
    if not names:
        return f"no measure changes beyond its errors under {what}"
    return f"no property of the function, as they change under {what}: {', '.join(names)}"


def by_group(
    objective: Objective, here: Measured, each: Mapping[str, Measured]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """What each group alone makes of the measures, as fields (group, measure) of a result; and a note, if any did."""
    if not each:
        return {}, []
    names = list(here.table)
    rows = [[changed(objective, here, one, name) for name in names] for one in each.values()]
    fields = {
        "group": np.array(list(each)),
        "values_by_group": np.array([[one.table[name][0] for name in names] for one in each.values()]),
        "changes_by_group": np.array(rows),
    }
    found: dict[tuple[str, ...], list[str]] = {}
    for group, row in zip(each, rows, strict=True):
        moved = tuple(name for name, is_changed in zip(names, row, strict=True) if is_changed)
        found.setdefault(moved, []).append(group)
    said = [f"by {' or '.join(which)}: {', '.join(moved) or 'none'}" for moved, which in found.items()]
    return fields, [f"changed by one kind of group alone: {'; '.join(said)}"]
