"""Data sets that were made once and are kept in the cache, so that a command need not import scikit-learn again."""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np

from landscape.inputs.data import bundled, dataset
from landscape.inputs.data.dataset import DataSet
from landscape.inputs.data.files import cache_folder

PARTS = ("inputs", "targets", "test_inputs", "test_targets")


def kept(name: str, arguments: Mapping[str, Any], make: Callable[[], DataSet]) -> DataSet:
    """What ``make()`` gives for the ``arguments`` of a bundled data set, from the cache where it is there.

    Kept by everything that decides about it: the arguments, this library's source, and the versions of scikit-learn
    and NumPy. A file that cannot be read is made anew; where nothing can be written, nothing is kept.
    """
    place = _place(name, arguments)
    if place is None:
        return make()
    with suppress(OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return _read(place)
    made = make()
    with suppress(OSError):
        _write(place, made)
    return made


def _place(name: str, arguments: Mapping[str, Any]) -> Path | None:
    """The file for these arguments; None where they have no spelling."""
    try:
        said = json.dumps([sorted(arguments.items()), version("scikit-learn"), np.__version__])
    except (TypeError, ValueError):
        return None
    sources = b"".join(Path(str(module.__file__)).read_bytes() for module in (bundled, dataset))
    return cache_folder() / "made" / f"{name}-{hashlib.sha256(said.encode() + sources).hexdigest()[:20]}.npz"


def _read(place: Path) -> DataSet:
    import torch

    with open(place, "rb") as file, np.load(file, allow_pickle=False) as stored:
        about = json.loads(str(stored["about"]))
        tensors = {part: torch.from_numpy(stored[part]) if part in stored else None for part in PARTS}
    return DataSet(**tensors, **about)


def _write(place: Path, made: DataSet) -> None:
    about = {name: getattr(made, name) for name in ("name", "task", "num_classes", "doubt")}
    tensors = {part: getattr(made, part) for part in PARTS if getattr(made, part) is not None}
    place.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=place.parent, suffix=".part", delete=False) as file:
        np.savez(file, about=np.array(json.dumps(about)), **{part: t.numpy() for part, t in tensors.items()})
    os.replace(file.name, place)
