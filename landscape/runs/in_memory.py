"""A computation at points of an objective in memory, which no file describes."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from landscape.analyses.declare import Analysis, Options
from landscape.errors import BadInput
from landscape.numerics.vectors import normal
from landscape.objective import Objective
from landscape.objective.parameters import Point
from landscape.result import Result
from landscape.runs.publish import Order, Work
from landscape.runs.settings import Settings


def in_memory(
    declared: Analysis,
    options: Options,
    objective: Objective,
    points: Sequence[Point | Tensor],
    settings: Settings,
    stored: dict[str, Any],
    analyse: Callable[[Work], Result],
) -> Order:
    """A computation at points of an objective that no file describes; what it is is told by its numbers.

    ``stored`` are the options as a configuration keeps them, and ``analyse`` is what is then done.
    """
    if declared.source not in ("points", "either"):
        raise BadInput(f"{declared.name} of an objective", "a recipe", "call the function itself")
    for name in ("dtype", "subset", "chunk_size", "device", "training"):
        if getattr(settings, name) not in (None, "auto", False):
            raise BadInput(f"`{name}` for an objective", "what the objective was made with", "make it so")
    if options.get("at") is not None or options.get("mark"):
        name = "mark" if options.get("mark") else "at"
        raise BadInput(f"`{name}` for an objective", "points of a run file", "give the points themselves")
    if options.get("l2"):
        objective = objective.varied(l2=options["l2"])
    found = [objective.as_point(one) for one in points] or [objective.present_point()]
    inputs = [
        {"path": type(objective.module).__name__, "sha256": one.sha256, "point": one.label} for one in found
    ]
    dtype = "mixed" if objective.is_mixed else str(objective.dtype).removeprefix("torch.")
    config = {
        "kind": declared.name,
        "inputs": [{"sha256": one["sha256"], "point": one["point"]} for one in inputs],
        "dtype": dtype,
        "device": objective.device.type,
        "seed": settings.seed,
        "module": repr(objective.module),
        "loss": objective.loss.name,
        "data": objective.samples.sha256,
        "F": [_signature(objective, one) for one in found],
        "options": stored,
        **({"training": True} if objective.training else {}),
    }
    work = Work(objective, None, found)
    return Order(config, inputs, dtype, lambda: work, analyse, declared.is_resumable)


def _signature(objective: Objective, point: Point) -> str:
    """F at a point and beside it: tells apart two modules, or two losses, that are called the same.

    To fewer digits than F is rounded to, so that another number of threads does not make it another F.
    """
    digits = {torch.float64: 10, torch.float32: 5}.get(objective.coarsest, 2)
    generator = torch.Generator().manual_seed(0)
    is_whole = not objective.is_sharded
    noise = (
        torch.randn(point.theta.shape, generator=generator) if is_whole else normal(point.theta, generator)
    )
    beside = 1.1 * point.theta + 0.01 * noise.to(point.theta.device, point.theta.dtype)
    return " ".join(f"{objective.value(theta, point.fixed):.{digits}g}" for theta in (point.theta, beside))
