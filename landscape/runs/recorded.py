"""Points of a loop that is not ours, on their way into a run file: kept one by one beside it, taken up together.

``run.h5.part/`` is the journal of a loop at work, with a file of arrays for every point that ``run.h5`` does not hold
yet. ``run.h5`` itself is a whole file at any moment: the first point makes it, and now and then a longer one replaces
it. What a loop that was killed has left in the journal is taken up by whoever opens the file next, be it the loop
again.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from landscape.analyses.import_ import Import, numbers_of
from landscape.errors import BadInput
from landscape.result import Check
from landscape.runs import store
from landscape.runs.journal import Journal, Piece

# What says of a file that it is a recording, in its configuration and in that of its journal.
RECORDED, OF_JOURNAL = "recorded", {"kind": "record"}
State = dict[str, np.ndarray]
# Files that are being taken up, as opening them must not begin that again.
_at_work: set[Path] = set()


def folder_of(path: Path) -> Path:
    """Where the journal of a recording is."""
    return path.with_name(path.name + ".part")


def is_recording(path: Path) -> bool:
    """Whether a file is a recording."""
    return path.exists() and bool(json.loads(store.header(path, verify=False)["config"]).get(RECORDED))


def take_up(path: Path) -> None:
    """Publish what a loop that is no longer there has left beside its file; one that is at work is left alone."""
    part = folder_of(path)
    if path in _at_work or not (part / "rank-0.jsonl").is_file() or not path.is_file():
        return
    with _working_on(path):
        if not is_recording(path):
            return
        try:
            journal = Journal(part, OF_JOURNAL)
        except BadInput:  # another's, or of a loop at work
            return
        publish(path, journal)


def publish(path: Path, journal: Journal) -> None:
    """The points of ``path`` and those of the journal as one file in its place; the journal goes.

    Raises what :func:`~landscape.runs.store.save` raises; then the journal stays.
    """
    if len(journal):
        with _working_on(path):
            base = store.load(path)
            assert isinstance(base, Import)
            store.save(merged(base, journal.folder, journal.values()), path)
    discard(journal)


@contextmanager
def _working_on(path: Path) -> Iterator[None]:
    is_outermost = path not in _at_work
    _at_work.add(path)
    try:
        yield
    finally:
        if is_outermost:
            _at_work.discard(path)


def discard(journal: Journal) -> None:
    """Remove a journal, all of it at once: half of one would say something else."""
    journal.close()
    gone = journal.folder.with_name(journal.folder.name + ".gone")
    shutil.rmtree(gone, ignore_errors=True)
    os.replace(journal.folder, gone)
    shutil.rmtree(gone, ignore_errors=True)


def merged(base: Import, folder: Path, pieces: Iterable[Piece]) -> Import:
    """``base`` with the points of a journal, one after another; one that goes back replaces all from there on."""
    states, notes = dict(base.states), list(base.notes)
    wrong = int(sum(check.value for check in base.checks))
    for piece in pieces:
        label = str(piece["label"])
        replaced = later(states, label)
        state = read_arrays(folder / piece["file"], piece["sha256"])
        if replaced and not (replaced == [label] and _is_same(states[label], state)):
            notes.append(
                f"the loop went back to {label}: {len(replaced)} later or other points were replaced"
            )
        for one in replaced:
            del states[one]
        states[label] = state
        wrong += digest(state) != piece["digest"]
    return made(states, base.config, base.provenance, list(dict.fromkeys(notes)), wrong)


def made(
    states: dict[str, State], config: dict[str, Any], provenance: dict[str, Any], notes: list[str], wrong: int
) -> Import:
    """A recording: points whose losses nobody has measured yet; ``wrong`` of them are not what the module held."""
    about = (
        "points whose tensors, read back, are not those that the module held when it was recorded (0 = none)"
    )
    labels = list(states)
    return Import(
        point=np.array(labels),
        num_points=len(labels),
        **numbers_of(labels),
        states=states,
        config=config,
        provenance=provenance,
        notes=notes,
        checks=[Check("points", float(wrong), 0.0, about)],
    )


def later(labels: Iterable[str], label: str) -> list[str]:
    """Those of ``labels`` that a point ``epoch=3`` leaves no place for: of its number, and of larger ones."""
    number = int(label.partition("=")[2])
    return [one for one in labels if int(one.partition("=")[2]) >= number]


def write_arrays(state: Mapping[str, np.ndarray], path: Path) -> str:
    """Arrays by name in a file of their own, whole or not at all, and its sha256."""
    temporary = path.with_name(path.name + ".tmp")
    # A column per number, as the names of parameters may not be names of files.
    columns: dict[str, Any] = {str(i): value for i, value in enumerate(state.values())}
    try:
        with open(temporary, "wb+") as file:
            np.savez(file, names=np.array(list(state)), **columns)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            found = hashlib.file_digest(file, "sha256").hexdigest()
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return found


def read_arrays(path: Path, sha256: str) -> State:
    """What :func:`write_arrays` wrote. Raises BadInput for a file that is no longer that."""
    try:
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                file.seek(0)
                with np.load(file, allow_pickle=False) as stored:
                    return {str(name): stored[str(i)] for i, name in enumerate(stored["names"])}
    except OSError:
        pass
    raise BadInput(f"{path} is damaged or gone", "a point as it was recorded", f"remove {path.parent}")


def digest(state: Mapping[str, np.ndarray]) -> str:
    """A sha256 of arrays with their names, dtypes and shapes."""
    found = hashlib.sha256()
    for name, value in state.items():
        found.update(json.dumps([name, value.dtype.str, value.shape]).encode())
        found.update(np.ascontiguousarray(value).data)
    return found.hexdigest()


def _is_same(one: State, other: State) -> bool:
    return digest(one) == digest(other)
