"""Ready data sets by name, the user's own by spec, files and folders: everything a run may be told to train on."""

import difflib
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from landscape import specs
from landscape.errors import BadInput
from landscape.inputs.data import images, saved, tables
from landscape.inputs.data.bundled import breast_cancer, circles, digits, moons
from landscape.inputs.data.cifar10 import cifar10
from landscape.inputs.data.dataset import DataSet, data_set, validate
from landscape.inputs.data.housing import housing
from landscape.inputs.data.kept import kept
from landscape.inputs.data.mnist import holding, mnist
from landscape.inputs.data.own import from_factory, npz, own_factory
from landscape.inputs.data.point import point

__all__ = ["DATA_SETS", "DataSet", "data_set", "is_a_place", "load_data", "validate"]

NPZ = "npz:"

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
    """The data set that ``spec`` names, in ``dtype``: a name in DATA_SETS, a factory spec, or a file or a folder.

    Files are tables (.csv, .tsv, .parquet) and ``.npz``, with ``npz:`` before it or without; folders hold pictures, a
    folder a class, or what ``save_to_disk`` of Hugging Face's datasets has written.

    ``data_dir`` is the folder to look in first; a factory of the user's that has a parameter of this
    name is given it too. What comes back is validated. What is there in float64 is rounded to ``dtype`` at
    the end alone, and not at all where that is float64, or None.

    Raises BadInput for an unknown name, for arguments that the data set does not take, for files
    that are missing or damaged, and for data that ``validate`` refuses.
    """
    made = _made(spec, arguments, data_dir)
    if spec in DATA_SETS and Path(spec).is_dir():
        said = f"{spec} is the data set of that name, and not the folder here, which is ./{spec}"
        made = replace(made, notes=(*made.notes, said))
    return made if dtype is None else made.to(dtype)


def _made(spec: str, arguments: Mapping[str, Any], data_dir: Path | None) -> DataSet:
    reader = _reader(spec)
    if reader is not None:
        # The path goes last: it stands in the spec, and no argument may say otherwise.
        return specs.call(reader, {**arguments, "path": Path(spec.removeprefix(NPZ))}, f"data {spec}")
    if spec in DATA_SETS:
        factory = DATA_SETS[spec]
        given = _with_data_dir(factory, arguments, data_dir)
        if factory in BUNDLED:
            return kept(spec, given, lambda: specs.call(factory, given, f"data {spec}"))
        return specs.call(factory, given, f"data {spec}")
    if not specs.is_factory_spec(spec):
        specs.require_attribute(spec)
        _require_no_place(spec)
        close = difflib.get_close_matches(spec, DATA_SETS, n=1)
        raise BadInput(
            f"unknown data set {spec!r}",
            f"one of {', '.join(DATA_SETS)}, or your own as file.csv, npz:file.npz, a folder, pkg.mod:factory or "
            "file.py:factory",
            f"did you mean {close[0]!r}?" if close else "",
        )
    factory = own_factory(spec)
    return from_factory(spec, factory, _with_data_dir(factory, arguments, data_dir))


def is_a_place(spec: str) -> bool:
    """Whether ``spec`` is a file or a folder of data, be it there or not."""
    return spec.startswith(NPZ) or (bool(spec) and spec not in DATA_SETS and not specs.is_factory_spec(spec))


def _reader(spec: str) -> Callable[..., DataSet] | None:
    """What reads the file or the folder that ``spec`` is; None for what is none."""
    path = Path(spec)
    suffix = path.suffix.lower()
    if spec.startswith(NPZ) or suffix == ".npz":
        return npz
    if suffix in tables.SUFFIXES:
        return tables.table
    if spec in DATA_SETS or not path.is_dir():
        return None
    if saved.is_saved(path):
        return saved.saved
    if images.is_folder_of_images(path):
        return images.images
    raise BadInput(
        f"the folder {spec} holds no data that are known",
        "pictures in a folder a class, or what save_to_disk has written",
        _digits_in(path) or "give the folder above them, or a file.py:factory that reads it",
    )


def _digits_in(path: Path) -> str:
    """What to give for files named as MNIST's are; '' for others."""
    folder = holding(path)
    return (
        ""
        if folder is None
        else f"give `data` mnist and `data_dir` {folder}, whose files are named as its own are"
    )


def _require_no_place(spec: str) -> None:
    """Raise BadInput where ``spec`` is, or is meant to be, a file or a folder, of none of the forms that are read."""
    path, forms = Path(spec), ", ".join((*tables.SUFFIXES, ".npz"))
    if path.is_file():
        raise BadInput(
            f"the file {spec} is in no form that is read",
            f"{forms}, or a folder of pictures or of save_to_disk",
            ("idx" in path.name and _digits_in(path))
            or "read it in a function of your own that returns (inputs, targets), and give file.py:function",
        )
    if path.suffix or len(path.parts) > 1 or spec.endswith(os.sep):
        raise BadInput(
            f"there is no file or folder {spec}", f"a file ({forms}), a folder, or file.py:function"
        )


def _with_data_dir(
    factory: Callable[..., Any], arguments: Mapping[str, Any], data_dir: Path | None
) -> dict[str, Any]:
    try:
        takes_it = "data_dir" in inspect.signature(factory).parameters
    except ValueError:
        takes_it = False
    return ({"data_dir": data_dir} if takes_it and data_dir is not None else {}) | dict(arguments)
