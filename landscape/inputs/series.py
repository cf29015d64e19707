"""Checkpoints of one training as a series: their order and the labels of their points, from names and from contents.

``sgd_1.pt sgd_10.pt sgd_2.pt`` are ``epoch=1``, ``epoch=2``, ``epoch=10``. A number counts as the epoch where a word
in the name says so (``epoch``, ``ep``), as the step where one says that (``step``, ``iter``) or where a Trainer of
Hugging Face named a folder so (``checkpoint-500``); one number that differs
among names alike counts as the epoch unless the files, which may hold an ``epoch``, say something else. Words for the
ends (``init``, ``final``, ``last``) stand there. All else keeps its name as label, in natural order where names hold
numbers and as given where they do not. What was taken is said in one line.
"""

import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from landscape.errors import BadInput

SUFFIXES = {".pt", ".pth", ".ckpt", ".bin", ".tar", ".safetensors", ".h5"}
# Words before a number, and words that stand for an end.
EPOCH = {"epoch", "epochs", "ep", "e"}
STEP = {"step", "steps", "iter", "iters", "iteration", "iterations", "it"}
# The folders of Hugging Face's Trainer, which are numbered by steps.
FOLDER_OF_STEP = re.compile(r"checkpoint-\d+")
FIRST = {"init", "initial", "initialization", "start"}
LAST = {"final", "last", "end"}
FIELDS = ("name", "number", "epoch", "step", "index")
LABEL = re.compile(r"[A-Za-z0-9_.+-]+(=[A-Za-z0-9_.+-]+)*")
NUMBERED = re.compile(r"(epoch|step)=(\d+)")
# What ``at`` means by itself.
TAKEN = {"all"}
Counters = Callable[[Path], Mapping[str, int]]


@dataclass
class Series:
    """Files in order, each with the label of its point, and how these came about in words."""

    files: list[Path]
    labels: list[str]
    notes: list[str] = field(default_factory=list)


@dataclass
class _Numbers:
    """A whole number of each file in one unit; ``is_said`` by a word, not only by being there."""

    unit: str
    values: list[int]
    is_said: bool


def number_of(label: str) -> tuple[str, int] | None:
    """``epoch=3`` as ("epoch", 3); None for a label of another form."""
    found = NUMBERED.fullmatch(label)
    return (found[1], int(found[2])) if found else None


def series(files: Sequence[Path], wanted: Sequence[str], counters: Counters) -> Series:
    """The files in order with their labels; ``wanted`` are labels for all of them, or one template with fields.

    Fields: {name} of the file, {number} in it, {epoch} and {step} of the file's contents or name, {index} from 0.
    Raises BadInput for a file given twice, for two files with one label, and for labels that cannot be.
    """
    _require_each_once(files)
    names = _names(files)
    ordered, given = _ordered(names), list(files)
    files, names = [files[i] for i in ordered], [names[i] for i in ordered]
    if not wanted:
        labels, notes = _found(files, names, counters)
    elif len(wanted) == 1 and "{" in wanted[0]:
        labels, notes = _filled(wanted[0], files, names, counters), []
    elif len(wanted) == len(files):
        labels = [f"epoch={one}" if one.isdigit() else one for one in wanted]
        notes = [] if files == given else [_whose(files, labels)]
    else:
        raise BadInput(
            f"{len(wanted)} of `label` for {len(files)} files",
            f"{len(files)} labels, or one template with {', '.join('{' + one + '}' for one in FIELDS)}",
            "give `label` {name} for the names of the files",
        )
    return in_order(list(files), labels, notes)


def in_order(files: list[Path], labels: list[str], notes: list[str]) -> Series:
    """The points by their numbers, where all but the ends have one of one unit. Raises BadInput for labels twice."""
    _require_labels(files, labels)
    numbers = {i: found for i, label in enumerate(labels) if (found := number_of(label))}
    rest = [i for i in range(len(labels)) if i not in numbers]
    is_series = len({unit for unit, _ in numbers.values()}) == 1 and all(
        labels[i] in ("init", "final") for i in rest
    )
    if not is_series:
        return Series(files, labels, notes)
    begin, end = ([i for i in rest if labels[i] == name] for name in ("init", "final"))
    order = [*begin, *sorted(numbers, key=lambda i: numbers[i][1]), *end]
    if order != list(range(len(labels))):
        notes = [*notes, "points are in the order of their numbers, which is not that of the names"]
    return Series([files[i] for i in order], [labels[i] for i in order], notes)


def _whose(files: Sequence[Path], labels: Sequence[str]) -> str:
    pairs = [f"{label} is {path.name}" for path, label in zip(files, labels, strict=True)]
    some = ", ".join(pairs[:8]) + (f" and {len(pairs) - 8} more" if len(pairs) > 8 else "")
    return f"labels go to the files in the natural order of their names, not in that given: {some}"


def natural(text: str) -> list[tuple[int, int, str]]:
    """What ``a2`` before ``a10`` is sorted by."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in parts if part]


def _require_each_once(files: Sequence[Path]) -> None:
    seen: dict[Path, Path] = {}
    for path in files:
        place = path.resolve()
        if place in seen:
            same = (
                f"{path} is given twice" if path == seen[place] else f"{seen[place]} and {path} are one file"
            )
            raise BadInput(same, "each file once", "leave one of them out")
        seen[place] = path


def _names(files: Sequence[Path]) -> list[str]:
    """What tells the files apart: their names without suffix, or with their folders where names are alike."""
    without = [_without_suffix(path) for path in files]
    short = [path.name for path in without]
    return short if len(set(short)) == len(short) else [path.as_posix() for path in without]


def _without_suffix(path: Path) -> Path:
    while path.suffix in SUFFIXES:
        path = path.with_suffix("")
    return path


def _ordered(names: Sequence[str]) -> list[int]:
    inner = [i for i, name in enumerate(names) if not _end(name)]
    if any(re.search(r"\d", names[i]) for i in inner):
        inner.sort(key=lambda i: natural(names[i]))
    first, last = ([i for i, name in enumerate(names) if _end(name) == end] for end in ("init", "final"))
    return [*first, *inner, *last]


def _end(name: str) -> str:
    """``init`` or ``final`` for a name whose only meaning is that, else ''."""
    words = re.findall(r"[A-Za-z]+|\d+", name.rpartition("/")[2])
    word = words[-1].lower() if words else ""
    return "init" if word in FIRST else "final" if word in LAST else ""


def _found(files: Sequence[Path], names: Sequence[str], counters: Counters) -> tuple[list[str], list[str]]:
    """Labels of files in their order, and in words where they come from."""
    ends = [_end(name) for name in names]
    if any(ends.count(end) > 1 for end in ("init", "final")):
        ends = [""] * len(names)
    inner = [i for i, end in enumerate(ends) if not end]
    numbers, note = _numbers([files[i] for i in inner], [names[i] for i in inner], counters)
    labels = [end or label_of(name) for end, name in zip(ends, names, strict=True)]
    if numbers is not None:
        for i, value in zip(inner, numbers.values, strict=True):
            labels[i] = f"{numbers.unit}={value}"
    return labels, [note] if note else []


def _numbers(files: Sequence[Path], names: Sequence[str], counters: Counters) -> tuple[_Numbers | None, str]:
    """The number of each file and a line that says where it was found; None where there is none."""
    if not files:
        return None, ""
    named, held = _in_names(names, files), [counters(path) for path in files]
    inside = {
        unit: [one[unit] for one in held] for unit in ("epoch", "step") if all(unit in one for one in held)
    }
    distinct = {unit: values for unit, values in inside.items() if len(set(values)) == len(values)}
    if named is None:
        for unit, values in distinct.items():
            return _Numbers(unit, values, True), f"the {unit} of each point is the one that its file holds"
        _require_numbers(files, names)
        numbers = "no numbers that tell their epochs"
        return None, f"the points are called by the names of their files, which hold {numbers}"
    if named.is_said:
        said = inside.get(named.unit)
        if said is None or said == named.values:
            return named, f"the {named.unit} of each point is the one in the name of its file"
        return named, (
            f"the {named.unit} of each point is the one in the name of its file; the files themselves hold "
            f"{_listed(said)} instead of {_listed(named.values)}"
        )
    if distinct.get("step") == named.values and distinct.get("epoch") != named.values:
        return _Numbers(
            "step", named.values, True
        ), "the numbers in the names are the steps that the files hold"
    epochs = distinct.get("epoch")
    if epochs is None:
        return named, "the numbers in the names of the files were taken for epochs"
    shifts = {number - epoch for number, epoch in zip(named.values, epochs, strict=True)}
    if shifts == {0}:
        return named, "the epoch of each point is the one in the name of its file, and in the file"
    if len(shifts) == 1:
        return named, (
            "the numbers in the names of the files were taken for epochs; the files themselves hold "
            f"{_listed(epochs)} instead of {_listed(named.values)}"
        )
    return _Numbers("epoch", epochs, True), (
        f"the epoch of each point is the one that its file holds, {_listed(epochs)}, and not the number in its name, "
        f"{_listed(named.values)}"
    )


def _require_numbers(files: Sequence[Path], names: Sequence[str]) -> None:
    """Raises BadInput for a name without a number among others that are numbered: where in the series does it stand?"""
    without = [i for i, name in enumerate(names) if not re.search(r"\d", name)]
    others = [i for i in range(len(names)) if i not in without]
    is_series = len(others) > 1 and _in_names([names[i] for i in others], [files[i] for i in others])
    if without and is_series:
        raise BadInput(
            f"{files[without[0]]} has no number in its name, as the others have: its place among them is unknown",
            "a number in every name, or the words init and final for the ends",
            "leave it out, or give `label` {name} for points that are no series",
        )


def _in_names(names: Sequence[str], files: Sequence[Path]) -> _Numbers | None:
    """The number that tells names apart which are alike otherwise; None where no one number does."""
    split = [re.split(r"(\d+)", name) for name in names]
    words = {tuple(parts[::2]) for parts in split}
    if len(words) != 1:
        return None
    before = words.pop()[:-1]
    columns = [[int(parts[2 * k + 1]) for parts in split] for k in range(len(before))]
    places = [k for k, values in enumerate(columns) if len(set(values)) == len(values)]
    folders = {"checkpoint"} if all(FOLDER_OF_STEP.fullmatch(_folder(path).name) for path in files) else set()
    for unit, known in (("epoch", EPOCH), ("step", STEP | folders)):
        for k in places:
            if _word(before[k]) in known:
                return _Numbers(unit, columns[k], True)
    vary = [k for k, values in enumerate(columns) if len(set(values)) > 1 or len(names) == 1]
    if len(vary) == 1 and vary == places:
        return _Numbers("epoch", columns[vary[0]], False)
    return None


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _word(text: str) -> str:
    """The last word of what stands before a number."""
    words = re.findall(r"[A-Za-z]+", text)
    return words[-1].lower() if words else ""


def label_of(name: str) -> str:
    """A name as an address can hold it."""
    return re.sub(r"[^A-Za-z0-9_.+=-]+", "-", name).strip("-=") or "point"


def _filled(template: str, files: Sequence[Path], names: Sequence[str], counters: Counters) -> list[str]:
    """The labels that a template gives. Raises BadInput for a field that there is not, or that a file lacks."""
    try:
        asked = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError:
        asked = [""]
    if any(name not in FIELDS for name in asked):
        raise BadInput(
            f"`label` {template!r}", f"fields among {', '.join('{' + one + '}' for one in FIELDS)}"
        )
    numbers = _in_names(names, files)
    labels = []
    for k, (path, name) in enumerate(zip(files, names, strict=True)):
        values: dict[str, object] = {"name": label_of(name), "index": k}
        if numbers is not None:
            values["number"] = numbers.values[k]
            values[numbers.unit] = numbers.values[k]
        values |= counters(path)
        lacking = [one for one in asked if one not in values]
        if lacking:
            raise BadInput(
                f"`label` {template!r}, and neither {path} nor its name says its {lacking[0]}",
                "what every file has",
                "give `label` {name}",
            )
        filled = template.format(**values)
        labels.append(f"epoch={filled}" if filled.isdigit() else filled)
    return labels


def _require_labels(files: Sequence[Path], labels: Sequence[str]) -> None:
    seen: dict[str, Path] = {}
    for path, label in zip(files, labels, strict=True):
        if not LABEL.fullmatch(label) or label in TAKEN:
            raise BadInput(
                f"`label` {label!r} for {path}",
                "letters, digits, and . _ + - between them, or name=number, and not 'all'",
                "give `label` {name} for the names of the files",
            )
        if label in seen:
            raise BadInput(
                f"{seen[label]} and {path} would both be the point {label!r}",
                "a label for each",
                f"give `label` {','.join(f'p{k}' for k in range(len(labels)))} or the like"
                if len({_without_suffix(one).name for one in files}) < len(files)
                else "give `label` {name} for the names of the files",
            )
        seen[label] = path


def _listed(values: Sequence[int]) -> str:
    """``0, 1, 2, …, 9``."""
    few = [*map(str, values)] if len(values) <= 5 else [*map(str, values[:3]), "…", str(values[-1])]
    return ", ".join(few)
