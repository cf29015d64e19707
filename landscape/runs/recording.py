"""``landscape.record``: a run file from anyone's loop, a point a call; the module and the random states stay."""

import atexit
import os
import random
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.inputs import checkpoints
from landscape.inputs.sharded import require_whole
from landscape.numerics.arrays import array_of
from landscape.runs import provenance, recorded, sources, store
from landscape.runs.journal import Journal
from landscape.runs.recipe import DTYPES, Recipe

# Of the time a loop takes, what a longer file may take to be written now and then; seconds that are nobody's loss.
SHARE, FREE_SECONDS = 0.02, 0.2
# Bytes of a file beyond which it waits for the end of the loop, or for the first who opens it.
LARGE = 2**26
NEW = "give another name, or `overwrite` to begin anew"

_open: dict[Path, "Recording"] = {}
_opening: set[Path] = set()


def record(
    path: str | PathLike[str],
    module: nn.Module,
    *,
    epoch: int | None = None,
    step: int | None = None,
    model: str = "",
    model_arg: Mapping[str, Any] | None = None,
    data: str = "",
    data_arg: Mapping[str, Any] | None = None,
    loss: str = "",
    overwrite: bool = False,
) -> "Recording":
    """Keep ``module`` as it is now as the next point of the run file at ``path``; one line in any loop.

    ``epoch`` or ``step`` numbers the point, a call without either is one epoch after the last (the first is 0). A
    smaller number than the last goes back: the points from there on are replaced, as a loop does that takes up an
    older checkpoint. ``model``, ``data`` and ``loss``, as in ``landscape import``, make it a run file that every
    command takes; without them ``landscape import run.h5 --model … --data … -o other.h5`` does. They are looked at
    when the first call in a process opens the file, and then no more, as is ``overwrite``.

    The file is whole after the first call, and longer now and then; it is complete once the process ends, once the
    recording is closed, or, after a kill, once it is opened by landscape. The module, its mode and every random state
    are left as they are. Of several processes the first alone writes. Raises BadInput where the file is of another
    loop, for a module that is not of ``model``, and, in every process, for one that is sharded.
    """
    if isinstance(module, nn.Module):
        require_whole(module)
    place = Path(path).resolve()
    found = _open.get(place)
    if found is not None and (overwrite and not found.is_of(module)):
        found.close()
        found = None
    if found is None:
        if place in _opening:
            raise BadInput(
                f"{path} is recorded by a file that is imported for its model or its data, which starts the loop again",
                "a loop that an import does not start",
                "put the loop under if __name__ == '__main__':, or the model and the data into a file of their own",
            )
        _opening.add(place)
        try:
            recipe = _recipe(model, model_arg, data, data_arg, loss)
            found = Recording(Path(path), recipe, overwrite=overwrite)
        finally:
            _opening.discard(place)
        _open[place] = found
    found.add(module, epoch, step)
    return found


class Recording:
    """A run file that grows while a loop runs; see :func:`record`. ``close`` completes it before the process ends."""

    def __init__(self, path: Path, recipe: Recipe | None, *, overwrite: bool = False):
        self.path, self.place = path, path.resolve()
        self._recipe, self._built, self._overwrite = recipe, None, overwrite
        self._is_first = _rank() == 0
        self._process, self._journal = os.getpid(), None
        self._module: weakref.ref[nn.Module] | None = None
        self._labels: list[str] = []
        self._num_before = self._num_published = self._bytes = 0
        self._began, self._spent, self._last = time.monotonic(), 0.0, 0.0
        self._is_begun = False

    def __repr__(self) -> str:
        return f"Recording {self.path}: {len(self._labels)} points"

    def is_of(self, module: nn.Module) -> bool:
        """Whether the last point was of this very module."""
        return self._module is not None and self._module() is _inner(module)

    def add(self, module: nn.Module, epoch: int | None = None, step: int | None = None) -> None:
        """One more point. Raises BadInput for a number that cannot be, and for another module than before."""
        if not self._is_first:
            return
        if not isinstance(module, nn.Module):
            raise BadInput(f"a {type(module).__name__} to record", "a torch.nn.Module")
        state = self._state(module)
        if not self._is_begun:
            self._labels = self._labels_there()
        label = self._label(module, epoch, step)
        if not self._is_begun:
            self._begin(state, label)
        elif self._journal is None:
            self._journal = Journal(recorded.folder_of(self.path), recorded.OF_JOURNAL)
        if self._journal is not None:
            self._keep(state, label)
        self._module = weakref.ref(_inner(module))
        self._labels = [*self._labels_before(label), label]
        if self._is_due():
            self.publish()

    def publish(self) -> None:
        """Write all points so far into the file."""
        if self._journal is None:
            return
        began = time.monotonic()
        recorded.publish(self.path, self._journal)
        self._journal, self._num_published = None, len(self._labels)
        self._last = time.monotonic() - began
        self._spent += self._last

    def close(self) -> None:
        """The loop has ended: the file is complete. A later call of :func:`record` may go on with it."""
        if self._process != os.getpid():  # a fork of the loop's process
            return
        self.publish()
        _open.pop(self.place, None)

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _labels_there(self) -> list[str]:
        """The points that are there already, of a loop that this one goes on with."""
        if self._overwrite or not self.path.exists():
            return []
        if not recorded.is_recording(self.path):
            raise BadInput(f"{self.path} exists and is no recording", "a new name", NEW)
        return store.point_labels(self.path)

    def _label(self, module: nn.Module, epoch: int | None, step: int | None) -> str:
        if epoch is not None and step is not None:
            raise BadInput("both `epoch` and `step`", "one of them")
        unit, number = ("step", step) if step is not None else ("epoch", epoch)
        units = {one.partition("=")[0] for one in self._labels}
        if number is None:
            return self._next(module)
        is_number = isinstance(number, Real) and not isinstance(number, bool)
        if not is_number or not float(number).is_integer() or number < 0:
            raise BadInput(f"`{unit}` = {number!r}", "a whole number of at least 0")
        if units - {unit}:
            raise BadInput(
                f"`{unit}` for {self.path}, whose points are numbered by {units.pop()}", "one of the two"
            )
        label = f"{unit}={int(number)}"
        is_another = not self._is_begun or not self.is_of(module)
        if self._labels and is_another and not self._labels_before(label):
            raise BadInput(
                f"{self.path} holds {self._labels[0]} to {self._labels[-1]} of an earlier loop, "
                f"and this one begins with {label}",
                "a number after the first of them, to go on",
                NEW,
            )
        return label

    def _next(self, module: nn.Module) -> str:
        """The label of a call that says no number."""
        if self._labels and not (self._is_begun and self.is_of(module)):
            raise BadInput(
                f"{self.path} holds {self._labels[0]} to {self._labels[-1]} of an earlier loop, or of another module",
                "`epoch`, to go on",
                NEW,
            )
        unit, _, number = self._labels[-1].partition("=") if self._labels else ("epoch", "", "-1")
        return f"{unit}={int(number) + 1}"

    def _labels_before(self, label: str) -> list[str]:
        replaced = set(recorded.later(self._labels, label))
        return [one for one in self._labels if one not in replaced]

    def _begin(self, state: recorded.State, label: str) -> None:
        """The file with its first point; or the journal, where there is a file to go on with."""
        if self._labels:
            self._require_same(state)
            self._journal = Journal(recorded.folder_of(self.path), recorded.OF_JOURNAL)
        else:
            self._clear()
            result = recorded.made({label: state}, *self._about(state), notes=self._notes(), wrong=0)
            store.save(result, self.path)
        self._is_begun, self._num_before = True, len(self._labels)
        self._num_published = self._num_before or 1
        self._bytes = sum(value.nbytes for value in state.values())

    def _clear(self) -> None:
        """A journal without its file, or one of a file that is to be overwritten."""
        part = recorded.folder_of(self.path)
        if part.exists():
            recorded.discard(Journal(part, recorded.OF_JOURNAL))

    def _require_same(self, state: recorded.State) -> None:
        there = store.read_state(self.path, self._labels[-1], verify=False)
        shapes = [{name: value.shape for name, value in one.items()} for one in (there, state)]
        if shapes[0] != shapes[1]:
            name = next(n for n in [*shapes[0], *shapes[1]] if shapes[0].get(n) != shapes[1].get(n))
            raise BadInput(
                f"{self.path} holds points of another module: {name} is {shapes[0].get(name, 'not there')}, here "
                f"{shapes[1].get(name, 'not there')}",
                "the same module",
                NEW,
            )

    def _keep(self, state: recorded.State, label: str) -> None:
        assert self._journal is not None
        key = str(len(self._journal))
        name = f"{key}.npz"
        written = recorded.write_arrays(state, self._journal.folder / name)
        self._journal[key] = {
            "label": label,
            "file": name,
            "sha256": written,
            "digest": recorded.digest(state),
        }

    def _is_due(self) -> bool:
        """Whether a longer file is worth its time now: where that is little, or as many points are new as are there."""
        total, new = len(self._labels), len(self._labels) - self._num_published
        if self._journal is None or total * self._bytes > LARGE:
            return False
        price = self._spent + self._last * total / max(1, self._num_published)
        elapsed = time.monotonic() - self._began
        return price <= FREE_SECONDS + SHARE * elapsed or new >= self._num_published

    def _state(self, module: nn.Module) -> recorded.State:
        """Parameters and buffers as arrays, by the names of the model that commands will build."""
        tensors = _tensors(module)
        if self._recipe is not None:
            if self._built is None:
                with _random_kept(), sources.named(self._recipe).opened():
                    self._built = checkpoints.in_dtype(self._recipe.module(), DTYPES[_dtype(tensors)])
            tensors = checkpoints.loaded(self._built, tensors, f"the module for {self.path}").state_dict()
        return {name: array_of(tensor) for name, tensor in tensors.items()}

    def _about(self, state: recorded.State) -> tuple[dict[str, Any], dict[str, Any]]:
        """Configuration and provenance of the file."""
        dtype = _dtype({name: torch.from_numpy(value) for name, value in state.items()})
        config: dict[str, Any] = {"kind": "import", recorded.RECORDED: True, "dtype": dtype, "device": "cpu"}
        own, recipe = None, self._recipe
        if recipe is not None:
            own = sources.named(recipe)
            config |= {"seed": recipe.seed, "recipe": recipe.stored(), "options": {}}
            config |= {"sources": own.contents()} if own.contents() else {}
        made_by = provenance.record(
            command=f"landscape.record({str(self.path)!r}, …)",
            seed=None if recipe is None else recipe.seed,
            dtype=dtype,
            device="cpu",
            inputs=[],
            sources=own.recorded(self.path) if own else None,
        )
        return config, made_by

    def _notes(self) -> list[str]:
        if self._recipe is None:
            how = "import it with `model` and `data` for commands that need them"
            return [f"recorded as a loop ran, without its model, data and loss: {how}"]
        return [f"recorded as a loop ran; the loss of later commands is {self._recipe.loss}"]


def close(path: str | PathLike[str]) -> None:
    """Complete the recording at ``path``, if this process has one."""
    found = _open.get(Path(path).resolve())
    if found is not None:
        found.close()


def close_all() -> None:
    """Complete every recording of this process; done by itself when it ends."""
    for one in list(_open.values()):
        one.close()


atexit.register(close_all)


def _recipe(
    model: str,
    model_arg: Mapping[str, Any] | None,
    data: str,
    data_arg: Mapping[str, Any] | None,
    loss: str,
) -> Recipe | None:
    """What a run file says of its model and data; None where nothing was said. Raises BadInput for half of it."""
    if not model and not data:
        if loss or model_arg or data_arg:
            raise BadInput("a `loss` or arguments alone", "a `model` and `data` with them")
        return None
    if not model or not data:
        given, lacking = ("model", "data") if model else ("data", "model")
        raise BadInput(
            f"`{given}` without `{lacking}`", "both, as in import", f"give `{lacking}`, or neither"
        )
    if _rank() != 0:
        return None
    recipe = Recipe(
        model=model,
        model_arguments=dict(model_arg or {}),
        data=data,
        data_arguments=dict(data_arg or {}),
        loss=loss,
    )
    with _random_kept(), sources.named(recipe).opened():
        return recipe.followed()[0]


@contextmanager
def _random_kept() -> Iterator[None]:
    """Where the user's own code is called for a model or data, which may draw: no draw of the loop changes by it."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    python, numbers = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)


def _inner(module: nn.Module) -> nn.Module:
    """The module itself in what wraps it to compile it or to share its work."""
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(module, wrappers):
            module = module.module
        elif isinstance(getattr(module, "_orig_mod", None), nn.Module):
            module = module._orig_mod  # pyright: ignore[reportAssignmentType]
        else:
            return module


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Of its state_dict, by names without what compiling adds to them."""
    state = _inner(module).state_dict()
    return {
        name.replace("_orig_mod.", ""): tensor.detach()
        for name, tensor in state.items()
        if isinstance(tensor, Tensor)
    }


def _dtype(tensors: Mapping[str, Tensor]) -> str:
    """float64 or float32, as points of a run file are computed with."""
    return "float64" if any(one.dtype == torch.float64 for one in tensors.values()) else "float32"


def _rank() -> int:
    from torch import distributed

    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0
