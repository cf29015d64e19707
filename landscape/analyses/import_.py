"""What are these weights from elsewhere worth?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from landscape.analyses.declare import Brought, analysis
from landscape.analyses.options import Option, Parameter
from landscape.progress import Journal, Progress, silent
from landscape.result import Result, array, scalar

if TYPE_CHECKING:
    import numpy as np

    from landscape.objective import checks
    from landscape.objective.objective import Objective
    from landscape.objective.parameters import Point

# Of checkpoints that hold more than the weights of one module.
KEY = Parameter("key", str, "", Option("The dotted name of the weights, where a file holds several."))
IGNORE_UNEXPECTED = Parameter(
    "ignore_unexpected",
    tuple[str, ...],
    (),
    Option(
        "Names to leave out where the module has none so called: criterion.*",
        metavar="PATTERN",
        is_repeated=True,
    ),
)
MEASURED = ("loss", "accuracy", "test_loss", "test_accuracy")


@dataclass(kw_only=True, eq=False)
class Import(Result):
    """A run file with points that were trained elsewhere: ``final`` alone, or several in the order of training."""

    kind: ClassVar[str] = "import"
    point: np.ndarray | None = array("point", long_name="point", optional=True)
    epoch: np.ndarray | None = array("point", long_name="epoch of training", optional=True)
    step: np.ndarray | None = array("point", long_name="step of training", optional=True)
    loss: np.ndarray | None = array("point", long_name="training loss", optional=True)
    accuracy: np.ndarray | None = array("point", long_name="training accuracy", optional=True)
    test_loss: np.ndarray | None = array("point", long_name="test loss", optional=True)
    test_accuracy: np.ndarray | None = array("point", long_name="test accuracy", optional=True)
    num_points: int | None = scalar("points", optional=True)
    final_loss: float | None = scalar("training loss of the last point", optional=True)
    final_accuracy: float | None = scalar("training accuracy of the last point", optional=True)
    final_test_loss: float | None = scalar("test loss of the last point", optional=True)
    final_test_accuracy: float | None = scalar("test accuracy of the last point", optional=True)

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        points = f"{self.num_points} points, " if self.num_points else ""
        return (
            f"{points}loss {self.final_loss:.3g}" if self.final_loss is not None else f"{points}not measured"
        )


@analysis(
    name="import",
    source="checkpoint",
    points=0,
    metavar="CHECKPOINT...",
    examples=(
        "w.safetensors --model mlp --data digits -o a.h5",
        "sgd_*.pt --model my_net.py:build --data digits -o sgd.h5",
        "sgd.h5 more_*.pt -o longer.h5",
    ),
    brought=Brought(
        may_modify=True,
        model=None,
        data=None,
        model_help="The module the weights belong to, as in train.",
        data_help="The data to measure on, as in train.",
        loss_help="As in train [default: follows the data].",
    ),
    opens=(
        Parameter(
            "label",
            tuple[str, ...] | None,
            None,
            Option(
                "Of several points: a,b,c or a template of {name} {number} {epoch} {step} {index} "
                "[default: epochs, or else names]."
            ),
        ),
        KEY,
        IGNORE_UNEXPECTED,
    ),
    places=lambda work, options: (work.objective, work.points),
)
def import_point(
    objective: Objective,
    point: Point | Sequence[Point],
    *,
    test: Objective | None = None,
    seed: int = 0,
    journal: Journal | None = None,
    progress: Progress = silent,
) -> Import:
    """The points with their losses and accuracies, checked as stored against a plain loop over ``model.eval()``.

    One point is called ``final``, whatever its label; several by their own labels, in the order given.
    Checked are the last, the first, and one between them that ``seed`` draws. Labels ``epoch=3`` or ``step=3`` are
    stored as numbers too, where all are of one unit.
    """
    import numpy as np

    from landscape.numerics.arrays import array_of
    from landscape.objective import checks
    from landscape.objective.parameters import split

    given = list(point) if isinstance(point, Sequence) else [point]
    labels = ["final"] if len(given) == 1 else [one.label for one in given]
    proofs: list[checks.Check] = []
    rows: Journal = {} if journal is None else journal
    with checks.untouched(objective, proofs):
        for k, (label, one) in enumerate(zip(labels, given, strict=True)):
            progress(k, len(given), "points")
            if label not in rows:
                rows[label] = _measured(objective, test, one)
        progress(len(given), len(given), "points")
    columns = {name: np.array([rows[label].get(name, np.nan) for label in labels]) for name in MEASURED}
    losses = ("loss", "test_loss") if test else ("loss",)
    known = {name: one for name, one in columns.items() if name in losses or not np.isnan(one).all()}
    states = {
        label: {
            name: array_of(tensor)
            for name, tensor in {**split(one.theta, objective.pieces), **one.fixed}.items()
        }
        for label, one in zip(labels, given, strict=True)
    }
    several = {"point": np.array(labels), "num_points": len(labels), **known, **numbers_of(labels)}
    result = Import(
        **{f"final_{name}": float(column[-1]) for name, column in known.items()},
        **(several if len(given) > 1 else {}),
        checks=proofs,
        parameters=objective.pieces,
        states=states,
    )
    result.notes += _alike(given) + _not_finite(labels, states)
    for k in _seen(len(given), seed):
        proofs += _proofs(
            objective, test, result, labels[k], {name: column[k] for name, column in columns.items()}
        )
    proofs += checks.meaning(objective, given[-1])
    return result


def _not_finite(labels: Sequence[str], states: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What no checkpoint of a training that went well holds, by point."""
    import numpy as np

    from landscape.objective.uses import listed

    notes = []
    for label in labels:
        kinds = {name: one for name, one in states[label].items() if one.dtype.kind == "f"}
        names = [name for name, one in kinds.items() if not np.isfinite(one).all()]
        if names:
            notes.append(
                f"{label} holds NaN or infinite numbers in {listed(names)}: it has diverged, or was damaged"
            )
    return notes


def numbers_of(labels: Sequence[str]) -> dict[str, Any]:
    """The epochs, or the steps, that labels name, where all of them do."""
    import numpy as np

    for unit in ("epoch", "step"):
        numbers = [label.removeprefix(f"{unit}=") for label in labels if label.startswith(f"{unit}=")]
        if len(numbers) == len(labels) and all(one.isdigit() for one in numbers):
            return {unit: np.array([int(one) for one in numbers])}
    return {}


def _measured(objective: Objective, test: Objective | None, point: Point) -> dict[str, float]:
    seen = objective.measure(point.theta, point.fixed)
    tested = test.measure(point.theta, point.fixed) if test else None
    beside = {} if tested is None else {"test_loss": tested.loss, "test_accuracy": tested.accuracy}
    return {"loss": seen.loss, "accuracy": seen.accuracy, **beside}


def _seen(count: int, seed: int) -> list[int]:
    """The last point, the first, and one between them."""
    import numpy as np

    between = [int(np.random.default_rng(seed).integers(1, count - 1))] if count > 2 else []
    return list(dict.fromkeys([count - 1, 0, *between]))


def _proofs(
    objective: Objective, test: Objective | None, result: Import, label: str, row: dict[str, Any]
) -> list[checks.Check]:
    """Loss and accuracy of one stored point."""
    import numpy as np

    from landscape.objective.stored import point_checks, state_of

    stored, meaning = state_of(objective, result, label), "of the stored point against a plain loop"
    value = {name: None if np.isnan(one) else float(one) for name, one in row.items()}
    found = point_checks("", objective, stored, float(row["loss"]), value["accuracy"], meaning)
    if test is not None:
        found += point_checks("test", test, stored, float(row["test_loss"]), value["test_accuracy"], meaning)
    if len(result.states) == 1:
        return found
    return [replace(one, name=f"{one.name} at {label}") for one in found]


def _alike(points: Sequence[Point]) -> list[str]:
    """Which points hold the same numbers, in words."""
    groups: dict[str, list[str]] = {}
    for one in points:
        groups.setdefault(one.sha256, []).append(one.label)
    return [f"{' and '.join(group)} are the same numbers" for group in groups.values() if len(group) > 1]
