"""The user's own data: an ``.npz`` file, or whatever a factory of theirs returns."""

import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape import specs
from landscape.errors import BadInput
from landscape.inputs.data import unpaired
from landscape.inputs.data.batches import pair
from landscape.inputs.data.dataset import DataSet, data_set, streamed
from landscape.inputs.data.several import are_several
from landscape.inputs.data.streams import HELD_BYTES, Stream, is_read
from landscape.inputs.data.targets import Task

# Each array by the names it goes by.
ARRAYS = {
    "inputs": ("inputs", "x", "X", "x_train", "X_train"),
    "target": ("targets", "y", "y_train"),
    "test_inputs": ("test_inputs", "x_test", "X_test"),
    "test_target": ("test_targets", "y_test"),
}
RETURNS = (
    "(inputs, targets), (inputs, targets, test_inputs, test_targets), a list of samples, a torch Dataset, a DataLoader "
    "or a DataSet"
)


def npz(
    path: Path,
    inputs: str = "",
    target: str | None = "",
    test_inputs: str = "",
    test_target: str = "",
    task: Task | None = None,
) -> DataSet:
    """The arrays ``inputs`` (or x, X, x_train, X_train) and ``targets`` (or y, y_train) of a NumPy archive, and tests.

    Test arrays are called ``test_inputs`` (x_test, X_test) and ``test_targets`` (y_test). Arguments name those that are
    called otherwise; ``target`` is none, or None, for no targets. Integer targets and text are classes, floats
    quantities; of ``task`` classification floats without a fraction and one-hot ones are classes, of ``task``
    regression integers are quantities.

    Raises BadInput for a file that is no such archive, for arrays that are missing or of which two may be meant, and
    for object arrays, which only unpickling could read.
    """
    has_target = target is not None and target != "none"
    wanted = target if has_target and target else ""
    named = {"inputs": inputs, "target": wanted, "test_inputs": test_inputs, "test_target": test_target}
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise BadInput(
                    f"{path} is a single array", "an .npz archive of named arrays", "use numpy.savez"
                )
            names = {role: _name(path, archive.files, role, one) for role, one in named.items()}
            if not has_target:
                names |= {"target": None, "test_target": None}
            arrays = [None if one is None else archive[one] for one in names.values()]
            present = archive.files
    except FileNotFoundError:
        raise BadInput(f"there is no file {path}", "an .npz archive") from None
    except BadInput:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        is_object = "allow_pickle" in str(error)
        raise BadInput(
            f"{path} cannot be read ({error})",
            "an .npz archive of arrays of numbers, or of text for classes",
            "store them with a dtype: numpy.array(y, float), numpy.array(y, str)"
            if is_object
            else "use numpy.savez",
        ) from None
    missing = [
        role for role in ("inputs", "target") if names[role] is None and (has_target or role == "inputs")
    ]
    if missing:
        without = " and no ".join(ARRAYS[role][0] for role in missing)
        raise BadInput(
            f"{path} holds {', '.join(present) or 'nothing'} and no {without}",
            "arrays " + " and ".join(" or ".join(ARRAYS[role]) for role in ("inputs", "target")),
            "name those that are meant: " + " and ".join(f"`data_arg` {role}=NAME" for role in missing),
        )
    found = data_set(path.name, *arrays, task=task)
    unread = [one for one in present if one not in names.values()]
    said = (f"arrays that are not read: {', '.join(unread)}",) if unread else ()
    return replace(found, notes=(*found.notes, *said))


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
    a tuple or a dictionary where there are several, as targets may be, which are None where there are none; a list of
    samples, a Dataset, a DataLoader or a Stream, or two of these, the second for testing, see
    :mod:`landscape.inputs.data.streams`; a DataSet. PyTorch's random state has the same seed at each call, so that data
    drawn without one are yet drawn again alike, and is left as it was. Raises BadInput for anything else, and for what
    the factory raises.
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
        made = data_set(
            data.name,
            data.inputs,
            data.targets if data.has_targets else None,
            data.test_inputs,
            data.test_targets if data.has_targets else None,
            task=data.task,
            num_classes=None if data.doubt else data.num_classes,
        )
        return replace(made, notes=tuple(dict.fromkeys([*data.notes, *made.notes])))
    if isinstance(data, Mapping) and data and all(map(is_read, data.values())):
        names = ", ".join(map(str, data))
        raise BadInput(
            f"data {spec} returned a dictionary of {names}",
            RETURNS,
            "return the training and the test data as a pair",
        )
    parts = data if isinstance(data, tuple | list) and len(data) in (2, 4) else ()
    if parts and are_several(*parts[:2]):
        return streamed(
            *(
                Stream([part], held=HELD_BYTES, name=name)
                for part in zip(parts[::2], parts[1::2], strict=True)
            )
        )
    if isinstance(data, Mapping):
        inputs, targets = pair(data, name, (said := []).append)
        if not isinstance(targets, Tensor | None):
            return streamed(Stream([data], held=HELD_BYTES, name=name))
        found = data_set(spec, inputs, targets)
        return replace(found, notes=(*said, *found.notes))
    if isinstance(data, tuple | list) and len(data) in (2, 4):
        return data_set(spec, *data)
    length = f" of length {len(data)}" if isinstance(data, tuple | list) else ""
    raise BadInput(
        f"data {spec} returned something of type {type(data).__name__}{length}",
        RETURNS,
        "let it end in a return of them" if data is None else unpaired.remedy(data),
    )


def _name(path: Path, present: Sequence[str], role: str, given: str) -> str | None:
    """What the array of a ``role`` is called; None where there is none."""
    if given and given not in present:
        raise BadInput(f"{path} has no array {given!r}", f"one of {', '.join(present)}")
    fitting = [given] if given else [one for one in ARRAYS[role] if one in present]
    if len(fitting) > 1:
        raise BadInput(
            f"{path} holds {' and '.join(fitting)}, and each may be the {role}",
            "one of them",
            f"name it: `data_arg` {role}={fitting[0]}",
        )
    return fitting[0] if fitting else None
