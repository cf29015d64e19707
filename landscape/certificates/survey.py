"""Certificates at several points of a run, a row of numbers each, and how lazy the run is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import torch

from landscape.certificates import claims, kernel
from landscape.certificates.limit import wide
from landscape.certificates.losses import meaning_of
from landscape.certificates.measured import Measured, measured
from landscape.numerics.arrays import array_of
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.tasks import Task, ahead
from landscape.progress import Journal, Progress, silent
from landscape.result import Check

Prove = Callable[[Objective, Measured, int], list[Check]]


@dataclass(frozen=True)
class Survey:
    """How to look: at an ``objective`` in float64 without penalty, in order of ``points``, the first the start.

    It was made of the one that was ``given``.
    """

    given: Objective
    objective: Objective
    points: Sequence[Point]
    tolerance: float
    is_dense: bool
    prove: Prove
    seed: int
    journal: Journal
    progress: Progress
    seen: dict[int, Measured] = field(default_factory=dict)

    def measured(self, number: int) -> Measured:
        """What was measured at a point, or is now."""
        if number not in self.seen:
            # Kernels are large: of the points before only the first is still asked for.
            for other in [one for one in self.seen if one]:
                del self.seen[other]
            self.seen[number] = measured(
                self.objective,
                self.points[number],
                meaning_of(self.objective),
                is_dense=self.is_dense,
                seed=self.seed,
                progress=self._report(number),
            )
        return self.seen[number]

    def rows(self) -> list[dict[str, Any]]:
        """One for every point; ``checks`` and ``claims`` among its entries."""
        count = len(self.points)
        if count > 1:
            tasks = [self._task(number) for number in range(count)]
            ahead(self.journal, lambda: tasks, self.progress, "certificates")
        found = []
        for number in range(count):
            found.append(self.row(number, number))
            self.progress(number + 1, count, "points")
        return found

    def row(self, index: int, number: int) -> dict[str, Any]:
        """That of one of the points, which is number ``number`` of the run."""
        key = _key(number)
        if key not in self.journal:
            seen = self.measured(index)
            row = _row(seen, self.tolerance)
            if len(self.points) > 1:
                row |= self._lazy(index, seen)
            proofs = self.prove(self.objective, seen, number)
            row["checks"] = [[one.name, float(one.value), float(one.bound), one.meaning] for one in proofs]
            self.journal[key] = row
        return self.journal[key]

    def _task(self, number: int) -> Task:
        """A row for another process, which makes F in float64 for itself."""
        ends = [self.points[0], self.points[number]]
        alone = replace(self, objective=self.given, points=ends, journal={}, progress=silent, seen={})
        return Task((_key(number),), partial(_certify, alone, number))

    def _lazy(self, number: int, seen: Measured) -> dict[str, float]:
        """How far from the first point, in kernel and in weights, and what the linearised model would say here."""
        first = self.measured(0)
        by = seen.point.theta - first.point.theta
        moved = self.from_first(by) if number else torch.zeros_like(first.errors).reshape(-1)
        change = torch.nan
        if seen.matrix is not None and first.matrix is not None:
            size = torch.linalg.matrix_norm(first.matrix)
            change = float(torch.linalg.matrix_norm(seen.matrix - first.matrix) / size)
        outputs = first.structure.outputs.reshape(-1) + moved
        return {
            "kernel_change": change,
            "weight_change": float(by.norm() / first.point.theta.norm()),
            "linear_loss": kernel.loss_of(self.objective, first.point, outputs),
        }

    @cached_property
    def from_first(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """by ↦ J₀ by, what the outputs of the model linearised at the first point move by."""
        return lambda by: kernel.moved_along(self.objective, self.points[0], by)

    def _report(self, number: int) -> Progress:
        if len(self.points) == 1:
            return self.progress
        return lambda done, total, what: self.progress(
            done, total, f"{what}, point {number + 1} of {len(self.points)}"
        )


class _Begun(NamedTuple):
    """What the rows of one survey have in common: F in float64, and what was measured at the first point, by 0."""

    given: Objective
    about: tuple[Any, ...]
    objective: Objective
    seen: dict[int, Measured]


# Of the last survey of which this process had a row to find: a kernel is most of the work, and the first is in each.
_begun: list[_Begun] = []


def _certify(how: Survey, number: int, journal: Journal) -> None:
    """Keep the row of the last of two points, the first of which may be known here from the row before."""
    about = how.points[0].sha256, how.is_dense, how.seed
    if not any(one.given is how.given and one.about == about for one in _begun):
        _begun[:] = [_Begun(how.given, about, wide(how.given), {})]
    (begun,) = _begun
    here = replace(how, objective=begun.objective, seen=dict(begun.seen), journal=journal)
    here.row(1 if number else 0, number)
    begun.seen[0] = here.seen[0]


def _key(number: int) -> str:
    return f"certificate {number}"


def _row(seen: Measured, tolerance: float) -> dict[str, Any]:
    """Everything of one point that a result keeps, by the names of its fields."""
    found = claims.claims_at(seen, tolerance)
    features = list(seen.features.values())
    structure, rank = seen.structure, seen.kernel
    row: dict[str, Any] = {
        "layer": list(seen.features),
        "feature_rank": [one.rank for one in features],
        "feature_width": [structure_width(seen, name) for name in seen.features],
        "feature_smallest": [one.smallest for one in features],
        "feature_last": [one.last for one in features],
        "feature_threshold": [one.threshold for one in features],
        "loss": seen.loss,
        "gradient_norm": seen.gradient_norm,
        "ntk_rank": rank.rank,
        "ntk_smallest": rank.smallest,
        "ntk_largest": rank.largest,
        "ntk_threshold": rank.threshold,
        "loss_bound": seen.loss_bound,
        "last_layer_bound": seen.last_layer_bound,
        "num_dead": structure.num_dead,
        "num_inactive": structure.num_inactive,
        "num_patterns": structure.num_patterns,
        "nearest_kink": structure.nearest_kink,
        "num_moving": seen.num_moving,
        "num_outputs": seen.num_outputs,
        "is_converged": seen.is_converged,
        "verdict": claims.verdict(seen, found, tolerance),
        "claims": [[one.name, one.conclusion, [list(a) for a in one.assumptions]] for one in found],
    }
    if seen.matrix is not None:
        row["ntk_spectrum"] = array_of(torch.linalg.eigvalsh(seen.matrix).flip(0))
    if seen.product is not None:
        row |= {"product_rank": seen.product.rank, "product_threshold": seen.product.threshold}
    if seen.floor is not None:
        row["floor"] = seen.floor
    if seen.structure.num_inactive and seen.woken is not None:
        row["inactive_fall"] = seen.woken.fall
    if seen.pattern is not None:
        row |= {"pattern_rank": seen.pattern.rank, "pattern_smallest": seen.pattern.smallest}
    return row


def structure_width(seen: Measured, name: str) -> int:
    """Columns of the features that a layer multiplies."""
    layers = seen.structure.layers
    return next(one.features.shape[1] for one in layers if one.name.removesuffix(".weight") == name)


def columns(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The rows as arrays over points, with the tables of claims and assumptions.

    What not every point has is left out, but for falls, which are NaN where no unit is without weights.
    """
    if any("inactive_fall" in row for row in rows):
        rows = [{"inactive_fall": np.nan, **row} for row in rows]
    shared = [name for name in rows[0] if all(name in row for row in rows)]
    left = {"checks", "claims", "layer", "num_outputs", "is_converged"}
    found: dict[str, Any] = {
        name: np.array([row[name] for row in rows]) for name in shared if name not in left
    }
    for name in [one for one in found if one.startswith("feature_")]:
        if found[name].ndim < 2 or found[name].shape[1] == 0:
            del found[name]
    if rows[0]["layer"]:
        found["layer"] = np.array(rows[0]["layer"])
    keys: dict[tuple[str, str], None] = {}
    for row in rows:
        keys |= {(name, text): None for name, _, assumptions in row["claims"] for text, _ in assumptions}
    names = list(dict.fromkeys(name for name, _ in keys))
    states = [
        {(name, text): state for name, _, assumptions in row["claims"] for text, state in assumptions}
        for row in rows
    ]
    conclusions = [{name: conclusion for name, conclusion, _ in row["claims"]} for row in rows]
    found |= {
        "claim": np.array(names),
        "conclusion": np.array([[one.get(name, "") for name in names] for one in conclusions]),
        "assumption": np.array([text for _, text in keys]),
        "assumed_by": np.array([name for name, _ in keys]),
        "state": np.array([[one.get(key, "") for key in keys] for one in states]),
    }
    return found
