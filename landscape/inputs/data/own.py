"""The user's own data: an ``.npz`` file, or whatever a factory of theirs returns."""

import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from landscape import specs
from landscape.errors import BadInput
from landscape.inputs.data.batches import pair
from landscape.inputs.data.dataset import DataSet, data_set, streamed
from landscape.inputs.data.streams import Stream, is_read

# Each array by the names it goes by.
ARRAYS = {
    "inputs": ("inputs", "x", "X"),
    "targets": ("targets", "y"),
    "test_inputs": ("test_inputs", "x_test", "X_test"),
    "test_targets": ("test_targets", "y_test"),
}
RETURNS = "(inputs, targets), (inputs, targets, test_inputs, test_targets), a torch Dataset, a DataLoader or a DataSet"


def npz(path: Path) -> DataSet:
    """The arrays ``inputs`` (or x, X) and ``targets`` (or y) of a NumPy archive, and those for testing.

    Integer targets are classes. Test arrays are called ``test_inputs`` (x_test, X_test) and
    ``test_targets`` (y_test). Raises BadInput for a file that is no such archive, arrays that are
    missing, and object arrays, which only unpickling could read.
    """
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise BadInput(
                    f"{path} is a single array", "an .npz archive of named arrays", "use numpy.savez"
                )
            arrays = {role: _array(archive, names) for role, names in ARRAYS.items()}
            present = ", ".join(archive.files) or "nothing"
    except FileNotFoundError:
        raise BadInput(f"there is no file {path}", "an .npz archive") from None
    except BadInput:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BadInput(
            f"{path} cannot be read ({error})", "an .npz archive of numeric arrays", "use numpy.savez"
        ) from None
    missing = [role for role in ("inputs", "targets") if arrays[role] is None]
    if missing:
        raise BadInput(f"{path} holds {present} and no {' and no '.join(missing)}", f"arrays {_names()}")
    inputs, targets, test_inputs, test_targets = (arrays[role] for role in ARRAYS)
    return data_set(path.name, inputs, targets, test_inputs, test_targets)


def own_factory(spec: str) -> Callable[..., Any]:
    """The factory that ``spec`` names; BadInput unless it can be called. The random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        factory = specs.resolve(spec)
    if not callable(factory):
        raise BadInput(
            f"{spec} is of type {type(factory).__name__}",
            "a function that returns the data",
            "wrap it in a function and name that",
        )
    return factory


def from_factory(spec: str, factory: Callable[..., Any], arguments: Mapping[str, Any]) -> DataSet:
    """The data set that the user's ``factory`` returns, in any of these forms.

    A tuple (inputs, targets) or (inputs, targets, test_inputs, test_targets) of tensors, arrays or tables, inputs being
    a tuple or a dictionary where there are several, targets None where there are none; a Dataset, a DataLoader or a
    Stream, or two of these, the second for testing, see :mod:`landscape.inputs.data.streams`; a DataSet. PyTorch's
    random state has the same seed at each call, so that data drawn without one are yet drawn again alike, and is
    left as it was. Raises BadInput for anything else, and for what the factory raises.
    """
    name = f"data {spec}"
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        data = specs.call(factory, arguments, name)
        is_pair = isinstance(data, tuple | list) and len(data) == 2
        several = data if is_pair and all(map(is_read, data)) else [data]
        if is_read(several[0]):
            return streamed(*(Stream.of(one, name=name) for one in several))
    if isinstance(data, DataSet):
        return data_set(
            data.name,
            data.inputs,
            data.targets if data.has_targets else None,
            data.test_inputs,
            data.test_targets if data.has_targets else None,
            task=data.task,
            num_classes=None if data.doubt else data.num_classes,
        )
    if isinstance(data, Mapping):
        inputs, targets = pair(data, name, (said := []).append)
        return replace(data_set(spec, inputs, targets), notes=tuple(said))
    if isinstance(data, tuple | list) and len(data) in (2, 4):
        return data_set(spec, *data)
    length = f" of length {len(data)}" if isinstance(data, tuple | list) else ""
    raise BadInput(f"data {spec} returned something of type {type(data).__name__}{length}", RETURNS)


def _array(archive: Any, names: tuple[str, ...]) -> np.ndarray | None:
    return next((archive[name] for name in names if name in archive.files), None)


def _names() -> str:
    return " and ".join(" or ".join(ARRAYS[role]) for role in ("inputs", "targets"))
