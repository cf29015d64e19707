"""A result's numbers for whoever logs: one call ``log(name, value, step)`` for each, none of the loggers imported."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from landscape.result import Result, Variable
from landscape.runs import store

Log = Callable[[str, Any, int], Any]
# What training counts, in the order in which it is asked for.
COUNTS = ("step", "epoch")
# Dimensions along a run, whose points have columns of their own; that many of them are sent.
ALONG, MOST_COLUMNS = ("point", *COUNTS), 16
LABEL = re.compile(r"(epoch|step)=(\d+)")


def send(result: Result | Path | str, log: Log, *, prefix: str | None = None) -> int:
    """Call ``log(name, value, step)`` for every number of a result, or of its file, that a logger can take.

    These are the arrays over one dimension, value by value, those over the points of a run and up to sixteen columns,
    each a series of its own (``hessian/eigenvalues/0``), and at the last step the scalars; no texts, no planes. Names
    are ``prefix/name``, the prefix the kind unless another is given; an empty one is left out. Values are those of the
    file, as Python's own numbers, truth values as 0 and 1, NaN as it is. A ``step`` is the step or epoch of training
    where the result counts one, else the place in the array, from 0; steps never fall from one call to the next, which
    wandb wants (there, send each result to a run of its own). Returns the number of calls. Whatever ``log`` raises
    ends it::

        landscape.send("a.h5", lambda name, value, step: run.log({name: value}, step=step))  # wandb
        landscape.send("a.h5", mlflow.log_metric)  # (key, value, step)
        landscape.send("a.h5", writer.add_scalar)  # TensorBoard's (tag, scalar_value, global_step)

    >>> from landscape.analyses.slice1d import Slice1D
    >>> line = Slice1D(alpha=[-1.0, 0.0, 1.0], loss=[2.0, 1.0, 3.0], done=[True] * 3, centre_loss=1.0)
    >>> send(line, lambda name, value, step: print(step, name, value) if "loss" in name else None)
    0 slice1d/loss 2.0
    1 slice1d/loss 1.0
    2 slice1d/loss 3.0
    2 slice1d/centre_loss 1.0
    10
    """
    found = result if isinstance(result, Result) else store.load(result)
    before = found.kind if prefix is None else prefix
    before = f"{before}/" if before else ""
    # Sorted by step alone: the order of the fields stays within one.
    series = sorted(_series(found), key=lambda one: one[0])
    last = series[-1][0] if series else 0
    calls = [*series, *((last, name, value) for name, value in found.scalars().items())]
    sent = 0
    for step, name, value in calls:
        if isinstance(value, bool | int | float):
            log(before + name, int(value) if isinstance(value, bool) else value, step)
            sent += 1
    return sent


def _series(result: Result) -> Iterator[tuple[int, str, Any]]:
    """``(step, name, value)`` of every array that is a series, or several."""
    arrays = {one.name: one for one in result.arrays()}
    for one in arrays.values():
        if one.values.dtype.kind not in "biuf" or not one.values.size:
            continue
        if one.values.ndim == 1:
            columns = {one.name: one.values}
        elif one.values.ndim == 2 and one.dims[0] in ALONG and one.values.shape[1] <= MOST_COLUMNS:
            columns = {f"{one.name}/{i}": column for i, column in enumerate(one.values.T)}
        else:
            continue
        steps = _steps(one.dims[0], len(one.values), arrays)
        for name, values in columns.items():
            yield from zip(steps, [name] * len(steps), values.tolist(), strict=True)


def _steps(dimension: str, length: int, arrays: dict[str, Variable]) -> list[int]:
    """The step of each value over ``dimension``: what training counts there, else its place."""
    for name in (dimension, *COUNTS):
        one = arrays.get(name)
        if one is None or one.dims != (dimension,):
            continue
        found = _labelled(one.values) if one.values.dtype.kind in "US" else one.values
        if found is not None and _counts(found):
            return [int(each) for each in found.tolist()]
    return list(range(length))


def _labelled(labels: np.ndarray) -> np.ndarray | None:
    """The numbers of labels like ``epoch=3``, all of one unit; the initial point is 0."""
    found = [LABEL.fullmatch(str(one).rpartition("@")[2]) for one in labels]
    units = {one[1] for one in found if one}
    is_known = [bool(one) or str(label) == "init" for one, label in zip(found, labels, strict=True)]
    if len(units) != 1 or not all(is_known):
        return None
    return np.array([int(one[2]) if one else 0 for one in found])


def _counts(values: np.ndarray) -> bool:
    """Whether these are whole numbers from 0 on that rise."""
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all() or abs(values).max(initial=0) > 2**53:
        return False
    return bool((values == np.round(values)).all() and (values >= 0).all() and (np.diff(values) > 0).all())
