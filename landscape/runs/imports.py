"""What ``import`` brings: the points of one checkpoint or of many, of run files too, with their labels.

A new file holds the points of those given: ``a.h5 more_*.pt`` is a longer series in a file of its own, measured anew by
the model, data and loss of ``a.h5``, which stays as it is.
"""

import glob
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from landscape import analyses
from landscape.errors import BadInput
from landscape.inputs import checkpoints
from landscape.inputs.counters import counters
from landscape.inputs.models import by_name
from landscape.inputs.series import in_order, label_of, natural, number_of, series
from landscape.objective import Objective
from landscape.objective.parameters import Point
from landscape.result import Check
from landscape.runs import provenance, store
from landscape.runs.address import Address, parse_address
from landscape.runs.begun import num_wrong, points_check
from landscape.runs.recipe import Recipe, floats_in
from landscape.runs.run import Run
from landscape.runs.settings import Settings
from landscape.runs.weights import dtype_of, fingerprint, is_bare, weights, with_model

# The only point of a file that holds one.
ONLY = "final"


@dataclass(frozen=True)
class Entry:
    """One point: its file, its label, and where the file is one of ours what it is called there."""

    path: Path
    label: str
    within: str = ""


@dataclass
class Imports:
    """The points to come in, in order; ``basis`` is the run file that says what they are points of, if one does.

    ``names_data``: the call names the data, which are then taken whole; ``floats``: the dtypes of the weights, once
    they were read.
    """

    entries: list[Entry]
    notes: list[str]
    basis: Run | None
    verify: bool
    key: str = ""
    ignored: tuple[str, ...] = ()
    names_data: bool = False
    floats: tuple[str, ...] = ()

    @property
    def inputs(self) -> list[dict[str, str]]:
        """The files with their hashes, each with its point where there are several."""
        is_one = len(self.entries) == 1
        hashes = {
            path: (provenance.sha256 if store.is_ours(path) else fingerprint)(path)
            for path in dict.fromkeys(one.path for one in self.entries)
        }
        return [
            {"path": str(one.path), "sha256": hashes[one.path], **({} if is_one else {"point": one.label})}
            for one in self.entries
        ]

    @property
    def named(self) -> str:
        """The one point of a run file, without its folder."""
        (entry,) = self.entries
        return f"{entry.path.name}@{entry.within}"

    @property
    def dtype(self) -> str:
        """The least dtype that F has where none is asked for."""
        if self.basis is not None:
            return self.basis.dtype
        return "float64" if any(dtype_of(one.path) == "float64" for one in self.entries) else "float32"

    def of(self, recipe: Recipe, settings: Settings) -> Recipe:
        """The recipe with seed and subset of the run file, where that is the basis and no data are named."""
        if self.basis is None or self.names_data or settings.subset is not None:
            return recipe
        return replace(recipe, seed=self.basis.recipe.seed, subset=self.basis.recipe.subset)

    def changes(self, recipe: Recipe) -> list[str]:
        """What is to be said: where labels come from, and what differs from the run file that points are added to."""
        if self.basis is None:
            return self.notes
        notes, own = [*self.notes, *self.basis.sources.notes], self.basis.recipe
        if own.data_sha256 != recipe.data_sha256:
            notes.append(f"the data are not those {self.basis.path.name} was made with; F is on these")
        return notes

    def states(self, module: nn.Module) -> list[dict[str, Tensor]]:
        """The module's tensors by name at every point; it is left at the last. Raises BadInput, naming the file."""
        base = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        found, dtypes, notes = [], dict[str, list[Path]](), dict[str, list[str]]()
        for entry in self.entries:
            tensors = self._tensors(entry)
            for one in {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}:
                dtypes.setdefault(str(one).removeprefix("torch."), []).append(entry.path)
            if found:
                module.load_state_dict(base)
            taken: list[str] = []
            try:
                checkpoints.loaded(module, tensors, str(entry.path), ignored=self.ignored, say=taken.append)
            except BadInput as error:
                raise _told_of_names(error, entry.path, module) from None
            for note in taken:
                text = note if len(self.entries) == 1 else note.removeprefix(f"{entry.path.name}: ")
                notes.setdefault(text, []).append(entry.label)
            found.append({name: tensor.clone() for name, tensor in module.state_dict().items()})
        self.floats = tuple(sorted(dtypes))
        self._tell_dtypes(dtypes, module)
        for text, labels in notes.items():
            several = f"{labels[0]} to {labels[-1]}, {len(labels)} points" if len(labels) > 1 else labels[0]
            self.notes.append(f"{several}: {text}" if len(self.entries) > 1 else text)
        return found

    def rounded(self, dtype: str) -> list[str]:
        """A note where weights have more digits than F in ``dtype``, which nobody asked for."""
        if dtype != "float32" or "float64" not in self.floats:
            return []
        return [
            "the weights are in float64 and were rounded to float32: give `dtype` float64 for all their digits"
        ]

    def points(self, objective: Objective, states: Sequence[dict[str, Tensor]]) -> list[Point]:
        """The states as points, by their labels; one alone by the name of its file."""
        if len(states) == 1:
            return [objective.point(states[0], str(self.entries[0].path))]
        return [objective.point(one, entry.label) for one, entry in zip(states, self.entries, strict=True)]

    def proofs(
        self, objective: Objective, states: Sequence[dict[str, Tensor]], points: Sequence[Point]
    ) -> Callable[[], list[Check]]:
        """That every point is the one of its file: of a run file as it is there, of others as it was taken."""
        known = zip(self.entries, states, points, strict=True)
        places = [(self._tensors(one) if one.within else state, point) for one, state, point in known]
        return lambda: [points_check(sum(num_wrong(objective, *place) for place in places))]

    def _tensors(self, entry: Entry) -> dict[str, Tensor]:
        if not entry.within:
            return weights(entry.path, self.key, verify=self.verify)
        state = store.read_state(entry.path, entry.within, verify=False)
        return {name: torch.from_numpy(values) for name, values in state.items()}

    def _tell_dtypes(self, dtypes: dict[str, list[Path]], module: nn.Module) -> None:
        """Says where files differ in precision, which the dtype of F then decides."""
        sets = {name: set(paths) for name, paths in dtypes.items()}
        if len(self.entries) == 1 or len({frozenset(one) for one in sets.values()}) <= 1:
            return
        *few, most = sorted(sets, key=lambda name: len(sets[name]))
        told = ", ".join(f"{min(sets[name])} in {name}" for name in few)
        into = " and ".join(sorted(str(one).removeprefix("torch.") for one in floats_in(module)))
        self.notes.append(
            f"the files are in several dtypes ({told}, others in {most}); all were taken in {into}"
        )


def _told_of_names(error: BadInput, folder: Path, module: nn.Module) -> BadInput:
    """``error``, or for a folder of a published model what reads it: transformers writes some names as of old."""
    is_published = type(module).__module__.startswith("transformers.") and (folder / "config.json").is_file()
    if not is_published:
        return error
    place = folder if folder.is_absolute() else f"./{folder}"
    return BadInput(error.seen, error.wanted, f"give hf:{place}, which is read as transformers reads it")


def imports(places: Sequence[Any], given: Mapping[str, Any], settings: Settings) -> Imports:
    """:func:`_imports`, read as the options ``key`` and ``ignore_unexpected`` that were given say."""
    known = analyses.declared("import").parameters
    key, ignored = known["key"].checked(given.get("key") or ""), given.get("ignore_unexpected") or ()
    ignored = known["ignore_unexpected"].checked(ignored)
    return replace(_imports(places, given.get("label"), settings), key=key, ignored=ignored)


def _imports(places: Sequence[Any], labels: Any, settings: Settings) -> Imports:
    """What the files given are: weights from elsewhere, and run files for all of their points.

    ``labels``, as of :func:`~landscape.inputs.series.series`, are for the former. Raises BadInput for files of which
    nothing can be imported.
    """
    if not places:
        raise BadInput("no files for import", "one file of weights, or several")
    labels = analyses.declared("import").parameters["label"].checked(labels or ())
    addresses = [_address(text) for one in places for text in _expanded(str(one))]
    ours = [one for one in addresses if one.path.is_file() and store.is_ours(one.path)]
    others = [one.path for one in addresses if one not in ours]
    for path in others:
        if not path.exists() and not by_name.is_by_name(str(path)):
            raise BadInput(f"{path} does not exist", "a checkpoint")
    is_one_run = len(ours) == 1 and not others
    if len(addresses) == 1 and (not ours or not is_bare(ours[0].path, settings.verify)):
        path = others[0] if others else ours[0].path
        _require_one_label(labels)
        return Imports([Entry(path, labels[0] if labels else ONLY)], [], None, settings.verify)
    kept = [entry for one in ours for entry in _entries(one.path, one.name, settings, is_alone=is_one_run)]
    if len({entry.label for entry in kept}) < len(kept):
        kept = [replace(entry, label=f"{entry.path.stem}-{entry.label}") for entry in kept]
    basis = next((Run(one.path, trust=settings.trust) for one in ours if not is_bare(one.path, False)), None)
    told = series(others, labels, counters) if others else None
    if told is None and labels:
        raise BadInput("`label` for the points of a run file", "those they have there", "leave it out")
    new = [Entry(path, label) for path, label in zip(told.files, told.labels, strict=True)] if told else []
    if len(kept) + len(new) == 1:
        return Imports([*kept, *new], [], basis, settings.verify)
    return _in_order([*kept, *new], told.notes if told else [], basis, settings.verify)


def beginning(address: Any, settings: Settings) -> Imports:
    """The point of a run file at which a training begins. Raises BadInput where there is none."""
    where = parse_address(str(address))
    run = Run(where.path, trust=settings.trust, verify=settings.verify)
    label = run.label(where.name)
    return Imports(
        [Entry(where.path, label, label)], [f"begins at {where.path.name}@{label}"], run, settings.verify
    )


def completed(brought: Imports, given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, and for the rest of the model, its data and its loss what the run file says."""
    if brought.basis is None:
        return with_model(given, [one.path for one in brought.entries])
    own = brought.basis.sources.recipe
    said = {
        "model": own.model,
        "model_arg": own.model_arguments,
        "data": own.data,
        "data_arg": own.data_arguments,
        "loss": own.loss,
        "modify": own.modify or None,
        "modify_arg": own.modify_arguments or None,
    }
    if given.get("model"):
        del said["model_arg"]
    if given.get("data"):
        del said["data_arg"]
    return {**{name: value for name, value in said.items() if value is not None}, **given}


def _in_order(entries: list[Entry], notes: list[str], basis: Run | None, verify: bool) -> Imports:
    found = in_order([one.path for one in entries], [one.label for one in entries], notes)
    place = {one.label: one for one in entries}
    ordered = [place[label] for label in found.labels]
    ends = " to ".join(f"{one.label} ({one.path.name})" for one in (ordered[0], ordered[-1]))
    return Imports(ordered, [f"{len(ordered)} points, {ends}", *found.notes], basis, verify)


def _entries(path: Path, name: str, settings: Settings, *, is_alone: bool) -> list[Entry]:
    """The points of a file of ours; what is the last there, and no longer, goes by its number or its file's name."""
    there = store.point_labels(path, verify=settings.verify)
    if not there:
        raise BadInput(f"{path} holds no points", "a run file, or weights")
    if is_bare(path, False):
        wanted = there if not name else [name]
        run = None
    else:
        run = Run(path, trust=settings.trust, verify=False)
        wanted = there if not name else [run.label(name)]
    if name and wanted[0] not in there:
        raise BadInput(f"{path} has no point {name!r}", f"one of {', '.join(there)}")
    if is_alone:
        return [Entry(path, label, label) for label in wanted]
    unit = next((found[0] for label in there if (found := number_of(label))), "epoch")
    ends = {} if run is None else run.ends
    numbers = [end for end, label in ends.items() if label == ONLY and (number_of(end) or [""])[0] == unit]
    last = (numbers or [label_of(path.stem)])[0]
    return [Entry(path, last if label == ONLY else label, label) for label in wanted]


def _address(text: str) -> Address:
    """A point of a run file, a file of weights, or a model by name, whose revision is no point."""
    return Address(Path(text), "") if by_name.is_by_name(text) else parse_address(text)


def _expanded(text: str) -> list[str]:
    """The files that a pattern means, where no shell has seen it."""
    if by_name.is_by_name(text):
        return by_name.expanded(text)
    if not any(sign in text for sign in "*?[") or Path(text).exists():
        return [text]
    return sorted(glob.glob(text), key=natural) or [text]


def _require_one_label(labels: Sequence[str]) -> None:
    if labels:
        raise BadInput("`label` for one file", "several files", "leave it out; the point is called final")
