"""Measures of sharpness that are asked for by name: along the gradient, and such as a rescaling leaves as they are."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from landscape.curvature import along_gradient, invariants
from landscape.errors import BadInput, NotDifferentiable, NotFinite
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.progress import Progress

# By the loss that is looked at: that of θ, and another one along the same step.
CRITICAL = {"critical_sharpness": "F", "relative_critical_sharpness": "the test loss"}


class Wanted(NamedTuple):
    """Which further measures; ``layer`` is that of the relative flatness, ``test`` the other loss along ∇F."""

    critical: bool = False
    fisher_rao: bool = False
    relative_flatness: bool = False
    layer: str | None = None
    test: Objective | None = None


class Further(NamedTuple):
    """(value, error) by measure, NaN where it is ``undefined``, by measure why; and what the values came from."""

    table: dict[str, tuple[float, float]]
    undefined: dict[str, str]
    found: dict[str, dict[str, Any]]
    notes: list[str]
    unconverged: list[str]

    @property
    def layer(self) -> str | None:
        """The layer of the relative flatness."""
        return self.found.get("relative_flatness", {}).get("layer")


def further(
    objective: Objective,
    point: Point,
    slope: Tensor,
    largest: float,
    wanted: Wanted,
    *,
    tolerance: float,
    seed: int,
    remembered: Callable[[str, Callable[[], dict[str, Any]]], dict[str, Any]],
    progress: Progress,
) -> Further:
    """What is ``wanted`` at ``point``, where F has the gradient ``slope`` and ``largest`` is λ_max.

    ``remembered(name, compute)`` keeps a finished piece.
    """
    result = Further({}, {}, {}, [], [])
    if wanted.critical:
        _along(result, objective, point, slope, largest, wanted, tolerance, remembered)
    for name, compute in (
        ("fisher_rao_norm", lambda: _fisher_rao(objective, point)),
        ("relative_flatness", lambda: _flatness(objective, point, wanted.layer, seed, progress)),
    ):
        if not (wanted.fisher_rao if name == "fisher_rao_norm" else wanted.relative_flatness):
            continue
        try:
            found = remembered(name, compute)
        except (BadInput, NotDifferentiable, NotFinite) as refused:
            if name == "relative_flatness" and wanted.layer is not None:
                raise
            _undefine(result, name, str(refused))
            continue
        result.found[name] = found
        result.table[name] = (found["value"], found["error"])
        if not found.get("converged", True):
            result.unconverged.append(
                f"the relative flatness {found['value']:.4g} ± {found['error']:.2g} did not reach a standard error of "
                f"{100 * invariants.TO_WITHIN:g} %"
            )
    return result


def _along(
    result: Further,
    objective: Objective,
    point: Point,
    slope: Tensor,
    largest: float,
    wanted: Wanted,
    tolerance: float,
    remembered: Callable[[str, Callable[[], dict[str, Any]]], dict[str, Any]],
) -> None:
    for (name, of), loss in zip(CRITICAL.items(), (objective, wanted.test), strict=True):
        if loss is None:
            continue
        found = remembered(name, lambda loss=loss: along_gradient.critical(loss, point, slope, tolerance))
        if found["why"]:
            _undefine(result, name, f"along −∇F {of} {found['why']}")
        else:
            result.table[name] = along_gradient.of_bracket(found["low"], found["high"])
        result.found[name] = found
        if name == "critical_sharpness":
            _directional(result, objective, point, slope, largest, remembered)


def _directional(
    result: Further,
    objective: Objective,
    point: Point,
    slope: Tensor,
    largest: float,
    remembered: Callable[[str, Callable[[], dict[str, Any]]], dict[str, Any]],
) -> None:
    name = "directional_sharpness"

    def compute() -> dict[str, Any]:
        value, error = along_gradient.directional(objective, point, slope)
        return {"value": value, "error": error}

    found = remembered(name, compute)
    value = found["value"]
    result.found[name] = found
    if np.isnan(value):
        _undefine(result, name, "∇F is zero or not finite")
        return
    result.table[name] = (value, found["error"])
    if largest > 0 and value < along_gradient.FAR_BELOW * largest:
        result.notes.append(
            f"gᵀHg/gᵀg is {value / largest:.2g} of λ_max: ∇F lies off the top eigenvector, and what is sharp along ∇F "
            "says little of λ_max"
        )


def _undefine(result: Further, name: str, why: str) -> None:
    result.table[name] = (np.nan, np.nan)
    result.undefined[name] = why
    result.notes.append(f"no {name.replace('_', ' ')}: {why}")


def _fisher_rao(objective: Objective, point: Point) -> dict[str, Any]:
    value, error = invariants.fisher_rao(objective, point)
    return {"value": value, "error": error}


def _flatness(
    objective: Objective, point: Point, layer: str | None, seed: int, progress: Progress
) -> dict[str, Any]:
    piece = invariants.layer_of(objective, layer)
    found = invariants.relative_flatness(objective, point, piece, seed=seed, progress=progress)
    return {**found, "layer": piece.name}
