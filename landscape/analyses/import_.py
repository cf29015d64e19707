"""What are these weights from elsewhere worth? (``import`` is a word of Python's own, hence the name.)"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from landscape.objective import checks
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point, split
from landscape.result import Result, scalar


@dataclass(kw_only=True, eq=False)
class Import(Result):
    """A run file with one point, ``final``, that was trained elsewhere."""

    kind: ClassVar[str] = "import"
    final_loss: float = scalar("training loss")
    final_accuracy: float | None = scalar("training accuracy", optional=True)
    final_test_loss: float | None = scalar("test loss", optional=True)
    final_test_accuracy: float | None = scalar("test accuracy", optional=True)


def import_point(objective: Objective, point: Point, *, test: Objective | None = None) -> Import:
    """The point with its loss, checked against a plain loop over ``model.eval()``."""
    proofs: list[checks.Check] = []
    with checks.untouched(objective, proofs):
        seen = objective.measure(point.theta, point.fixed)
        tested = test.measure(point.theta, point.fixed) if test else None
    proofs.append(
        checks.agreement("loss", objective, seen.loss, point, "loss against a plain loop over model.eval()")
    )
    tensors = {**split(point.theta, objective.pieces), **point.fixed}
    return Import(
        final_loss=seen.loss,
        final_accuracy=None if np.isnan(seen.accuracy) else seen.accuracy,
        final_test_loss=tested.loss if tested else None,
        final_test_accuracy=None if tested is None or np.isnan(tested.accuracy) else tested.accuracy,
        checks=proofs,
        parameters=objective.pieces,
        states={"final": {name: tensor.cpu().numpy() for name, tensor in tensors.items()}},
    )
