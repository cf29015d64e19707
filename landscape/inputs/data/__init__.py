"""Ready data sets by name, and the user's own by spec: everything a run may be told to train on."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from landscape import specs
from landscape.errors import BadInput
from landscape.inputs.data.bundled import breast_cancer, circles, digits, moons
from landscape.inputs.data.cifar10 import cifar10
from landscape.inputs.data.dataset import DataSet, data_set, validate
from landscape.inputs.data.housing import housing
from landscape.inputs.data.kept import kept
from landscape.inputs.data.mnist import mnist
from landscape.inputs.data.own import from_factory, npz, own_factory
from landscape.inputs.data.point import point

__all__ = ["DATA_SETS", "DataSet", "data_set", "load_data", "validate"]

DATA_SETS: dict[str, Callable[..., DataSet]] = {
    "digits": digits,
    "breast_cancer": breast_cancer,
    "circles": circles,
    "moons": moons,
    "mnist": mnist,
    "housing": housing,
    "cifar10": cifar10,
    "point": point,
}
BUNDLED = (digits, breast_cancer, circles, moons)


def load_data(
    spec: str, arguments: Mapping[str, Any], data_dir: Path | None, dtype: torch.dtype | None = torch.float32
) -> DataSet:
    """The data set that ``spec`` names, in ``dtype``: a name in DATA_SETS, ``npz:file.npz`` or a factory spec.

    ``data_dir`` is the folder to look in first; a factory of the user's that has a parameter of this
    name is given it too. What comes back is validated. What is there in float64 is rounded to ``dtype`` at
    the end alone, and not at all where that is float64, or None.

    Raises BadInput for an unknown name, for arguments that the data set does not take, for files
    that are missing or damaged, and for data that ``validate`` refuses.
    """
    made = _made(spec, arguments, data_dir)
    return made if dtype is None else made.to(dtype)


def _made(spec: str, arguments: Mapping[str, Any], data_dir: Path | None) -> DataSet:
    if spec.startswith("npz:"):
        # The path goes last: it stands in the spec, and no argument may say otherwise.
        return specs.call(npz, {**arguments, "path": Path(spec.removeprefix("npz:"))}, f"data {spec}")
    if spec in DATA_SETS:
        factory = DATA_SETS[spec]
        given = _with_data_dir(factory, arguments, data_dir)
        if factory in BUNDLED:
            return kept(spec, given, lambda: specs.call(factory, given, f"data {spec}"))
        return specs.call(factory, given, f"data {spec}")
    if not specs.is_factory_spec(spec):
        close = difflib.get_close_matches(spec, DATA_SETS, n=1)
        raise BadInput(
            f"unknown data set {spec!r}",
            f"one of {', '.join(DATA_SETS)}, or your own as npz:file.npz, pkg.mod:factory or file.py:factory",
            f"did you mean {close[0]!r}?" if close else "",
        )
    factory = own_factory(spec)
    return from_factory(spec, factory, _with_data_dir(factory, arguments, data_dir))


def _with_data_dir(
    factory: Callable[..., Any], arguments: Mapping[str, Any], data_dir: Path | None
) -> dict[str, Any]:
    try:
        takes_it = "data_dir" in inspect.signature(factory).parameters
    except ValueError:
        takes_it = False
    return ({"data_dir": data_dir} if takes_it and data_dir is not None else {}) | dict(arguments)
