"""What a result says of its own question, which has to be what was asked."""

from collections.abc import Mapping
from typing import Any

from landscape.result import Check, Result

# By kind, the fields that repeat an option, and its name.
REPEATED: dict[str, dict[str, str]] = {
    "basins": {"width": "widths"},
    "certify": {"width": "widths"},
    "critical": {"method": "method"},
    "efficiency": {"size": "sizes"},
    "escape": {"max_steps": "max_steps", "amplitude": "amplitudes"},
    "hessian": {"tolerance": "tol", "operator": "operator", "block": "block"},
    "minima": {"samples": "samples", "depth": "depths", "width": "widths"},
    "noise": {
        "infimum": "infimum",
        "num_steps": "num_steps",
        "measure_every": "measure_every",
        "descent_steps": "descent_steps",
        "schedule": "schedule",
    },
    "sharpness": {"sigma": "sigmas", "num_draws": "num_draws"},
    "slice1d": {"block": "block"},
    "slice2d": {"block": "block"},
}
# By option, what a field says of one that was not given.
NOT_GIVEN = {"measure_every": 0}


def asked_check(result: Result, options: Mapping[str, Any]) -> list[Check]:
    """That the fields of a ``result`` which repeat its ``options``, by name, say what these said; none without such."""
    names = REPEATED.get(result.kind, {})
    asked = []
    for field, option in names.items():
        said, wanted = getattr(result, field, None), options.get(option)
        wanted = NOT_GIVEN.get(option) if wanted is None else wanted
        asked += [(said, wanted)] if said is not None and wanted is not None else []
    if not asked:
        return []
    wrong = sum(_plain(said) != _plain(wanted) for said, wanted in asked)
    meaning = "of what the result repeats of its question what was not asked so (0 = none)"
    return [Check("as asked", float(wrong), 0.0, meaning)]


def _plain(value: Any) -> Any:
    """Rows of numbers or words as a list."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return list(value) if isinstance(value, tuple) else value
