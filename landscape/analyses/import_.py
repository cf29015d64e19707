"""What are these weights from elsewhere worth?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from landscape.analyses.declare import Brought, analysis
from landscape.result import Result, scalar

if TYPE_CHECKING:
    from landscape.objective import checks
    from landscape.objective.objective import Objective
    from landscape.objective.parameters import Point


@dataclass(kw_only=True, eq=False)
class Import(Result):
    """A run file with one point, ``final``, that was trained elsewhere."""

    kind: ClassVar[str] = "import"
    final_loss: float = scalar("training loss")
    final_accuracy: float | None = scalar("training accuracy", optional=True)
    final_test_loss: float | None = scalar("test loss", optional=True)
    final_test_accuracy: float | None = scalar("test accuracy", optional=True)

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        return f"loss {self.final_loss:.3g}"


@analysis(
    name="import",
    source="checkpoint",
    points=0,
    metavar="CHECKPOINT",
    examples=("w.safetensors --model mlp --data digits -o a.h5",),
    brought=Brought(
        may_modify=True,
        model=None,
        data=None,
        model_help="The module the weights belong to, as in train.",
        data_help="The data to measure on, as in train.",
        loss_help="As in train [default: follows the data].",
    ),
    places=lambda work, options: (work.objective, work.points[0]),
)
def import_point(objective: Objective, point: Point, *, test: Objective | None = None) -> Import:
    """The point with its loss and accuracy, checked as it is stored against a plain loop over ``model.eval()``."""
    import numpy as np

    from landscape.numerics.arrays import array_of
    from landscape.objective import checks
    from landscape.objective.parameters import split
    from landscape.objective.stored import point_checks, state_of

    proofs: list[checks.Check] = []
    with checks.untouched(objective, proofs):
        seen = objective.measure(point.theta, point.fixed)
        tested = test.measure(point.theta, point.fixed) if test else None
    tensors = {**split(point.theta, objective.pieces), **point.fixed}
    result = Import(
        final_loss=seen.loss,
        final_accuracy=None if np.isnan(seen.accuracy) else seen.accuracy,
        final_test_loss=tested.loss if tested else None,
        final_test_accuracy=None if tested is None or np.isnan(tested.accuracy) else tested.accuracy,
        checks=proofs,
        parameters=objective.pieces,
        states={"final": {name: array_of(tensor) for name, tensor in tensors.items()}},
    )
    stored, meaning = state_of(objective, result, "final"), "of the stored point against a plain loop"
    proofs += point_checks("", objective, stored, result.final_loss, result.final_accuracy, meaning)
    if test is not None:
        loss = np.nan if result.final_test_loss is None else result.final_test_loss
        proofs += point_checks("test", test, stored, loss, result.final_test_accuracy, meaning)
    proofs += checks.meaning(objective, point)
    return result
