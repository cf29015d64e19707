"""Tables: columns of numbers from a file, one or more of them the target, nothing missing and no text unnoticed."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from landscape.errors import BadInput
from landscape.inputs.data.bundled import train_test_indices
from landscape.inputs.data.dataset import DataSet, data_set, standardised
from landscape.inputs.data.targets import Task, classes_said

SUFFIXES = (".csv", ".tsv", ".parquet")
# How a missing value is written.
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-"})
TRUTH = {"true": 1, "false": 0}


def table(
    path: Path,
    target: str | int | Sequence[str | int] | None = "",
    columns: str | Sequence[str] | None = None,
    drop: str | Sequence[str] = (),
    missing: str = "refuse",
    task: Task | None = None,
    standardise: bool = False,
    test_size: float = 0.0,
    seed: int = 0,
    delimiter: str | None = None,
    header: bool | None = None,
) -> DataSet:
    """The rows of a .csv, .tsv or .parquet file: inputs (n, k) from its columns of numbers, in their order.

    ``target`` names one column or several, none for no targets; whole numbers are classes unless ``task`` is
    regression, text is classes in the order of the alphabet. ``columns`` are the inputs, without ``drop``; without both
    all others. ``missing`` is refuse or drop (rows in which a value is missing). ``standardise``, ``test_size`` and
    ``seed`` as elsewhere. ``delimiter``: told from the first line where not given; ``header=False``: columns
    are called 0, 1, 2 and so on; ``header=True``: the first line has names even where they look like a sample's values.

    Raises BadInput for a column of text by its name, for what is missing by row and column, for a target
    among the inputs.
    """
    read = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path, delimiter, header)
    names = list(read)
    targets = [] if target == "none" and "none" not in names else _names(target, names)
    if target == "":
        raise BadInput(
            f"{path.name} has the columns {_listed(names)}",
            "the one that is the target",
            f"name it: `target` = {names[-1]}",
        )
    without = _names(drop, names)
    inputs = _names(columns, names) or [name for name in names if name not in targets]
    inputs = [name for name in inputs if name not in without]
    for name in [*targets, *inputs, *without]:
        if name not in names:
            raise BadInput(f"{path.name} has no column {name!r}", f"one of {_listed(names)}")
    both_ways = next((name for name in inputs if name in targets), None)
    if both_ways is not None:
        raise BadInput(
            f"the target {both_ways!r} of {path.name} is among the inputs as well",
            "inputs that do not hold the answer",
            f"leave {both_ways} out of `data_arg` columns",
        )
    if not inputs:
        raise BadInput(f"{path.name} has no column besides the target", "some that are inputs")
    if missing not in ("refuse", "drop"):
        raise BadInput(f"missing={missing!r}", "refuse, or drop for leaving such rows out")
    notes = [
        f"inputs are the columns {_listed(inputs)}"
        if len(inputs) > 1
        else f"the input is the column {inputs[0]}"
    ]
    kept = _complete(path, {name: read[name] for name in [*inputs, *targets]}, missing, notes, inputs)
    x = np.stack([_numbers(path, name, read[name][kept]) for name in inputs], axis=1)
    is_quantity = len(targets) > 1 or task == "regression"
    y = [_target(path, name, read[name][kept], notes, is_quantity) for name in targets]
    if is_quantity:
        y = [one.astype(np.float64) for one in y]
    both = None if not y else y[0] if len(y) == 1 else np.stack(y, axis=1)
    if (
        both is not None
        and both.dtype.kind in "iu"
        and not any(one.startswith("classes of") for one in notes)
    ):
        notes.append(
            f"the whole numbers of {targets[0]} are taken as classes (task=regression for quantities)"
        )
    classes = both if both is not None and both.dtype.kind in "iu" and test_size else None
    train, test = _halves(len(x), test_size, seed, classes)
    parts = [x[train], x[test]]
    if standardise:
        parts = standardised(parts[0], parts[1])
        notes.append("inputs are shifted and scaled to mean 0 and deviation 1 of the training rows")
    tests = () if not len(test) else (parts[1], None if both is None else both[test])
    found = data_set(path.name, parts[0], None if both is None else both[train], *tests, task=task)
    return replace(found, notes=(*found.notes, *notes))


def _halves(n: int, test_size: float, seed: int, classes: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    # Without a test set nothing is drawn, and nothing heavy imported.
    return train_test_indices(n, test_size, seed, classes) if test_size else (np.arange(n), np.arange(0))


def _names(given: Any, known: Sequence[str]) -> list[str]:
    """One name or several; ``a,b`` is two where no column is called so."""
    if given is None or given == "":
        return []
    if isinstance(given, str) and given not in known:
        return [one.strip() for one in given.split(",")]
    return [str(one) for one in given] if isinstance(given, list | tuple) else [str(given)]


def _csv(path: Path, delimiter: str | None, header: bool | None) -> dict[str, np.ndarray]:
    """Every column as text, stripped."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            mark = delimiter or ("\t" if path.suffix.lower() == ".tsv" else _delimiter(first))
            lines = [
                (reader.line_num, row)
                for reader in [csv.reader(file, delimiter=mark)]
                for row in reader
                if row
            ]
    except FileNotFoundError:
        raise BadInput(
            f"there is no file {path}", "a table of text", f"paths begin at {Path.cwd()}"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error, TypeError) as error:
        raise BadInput(f"{path} cannot be read ({error})", "a table of text in UTF-8") from None
    if not lines:
        raise BadInput(f"{path} is empty", "a line of names and a line a sample")
    has_header = header is not False
    names = [one.strip() for one in lines[0][1]] if has_header else [str(i) for i in range(len(lines[0][1]))]
    if header is None and _is_a_sample(names, [row for _, row in lines[1:]]):
        raise BadInput(
            f"the first line of {path.name} has numbers where names belong: {_listed(names)}",
            "the names of the columns",
            "give `data_arg` header=false and call them 0, 1, 2 and so on, or header=true where these are names",
        )
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice is not None:
        raise BadInput(f"{path.name} has the column {twice!r} twice", "a name for each")
    rows = lines[1:] if has_header else lines
    for line, row in rows:
        if len(row) != len(names):
            raise BadInput(f"line {line} of {path.name} has {len(row)} values", f"{len(names)}, one a column")
    if not rows:
        raise BadInput(f"{path.name} has no samples", "at least one line below the names")
    columns = zip(*(row for _, row in rows), strict=True)
    return {
        name: np.array([one.strip() for one in column]) for name, column in zip(names, columns, strict=True)
    }


def _is_a_sample(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the ``first`` line, read as names, may be a sample that would be lost.

    One number may be a name, such as a year, but not where it has a point, nor where what is no number beside it is
    missing, or is found again in the same column, as a class is.
    """
    if not any(map(_is_number, first)):
        return False
    words = [(i, one) for i, one in enumerate(first) if not _is_number(one) and one.lower() not in MISSING]
    below = [{row[i].strip() for row in rows if i < len(row)} for i in range(len(first))]
    return not words or any(map(_is_fraction, first)) or any(one in below[i] for i, one in words)


def _delimiter(line: str) -> str:
    return max((",", ";", "\t"), key=line.count)


def _parquet(path: Path) -> dict[str, np.ndarray]:
    try:
        import pandas  # pyright: ignore[reportMissingTypeStubs]

        # Whole numbers stay whole where some are missing.
        frame = pandas.read_parquet(path, dtype_backend="numpy_nullable")
    except ImportError as error:
        raise BadInput(
            f"{path.name} needs a reader of parquet ({str(error).splitlines()[0]})",
            "pandas and pyarrow",
            "pip install pandas pyarrow, or write the table as .csv",
        ) from None
    except FileNotFoundError:
        raise BadInput(
            f"there is no file {path}", "a .parquet table", f"paths begin at {Path.cwd()}"
        ) from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read ({error})", "a .parquet table") from None
    return {str(name): _plain(frame[name]) for name in frame.columns}


def _plain(column: Any) -> np.ndarray:
    """A column of a frame without the types of pandas: None where a value is missing."""
    if not bool(column.isna().any()):
        return np.asarray(column.to_numpy())
    return np.array(
        [None if is_missing else one for one, is_missing in zip(column, column.isna(), strict=True)], object
    )


def _complete(
    path: Path, columns: Mapping[str, np.ndarray], missing: str, notes: list[str], inputs: Sequence[str]
) -> np.ndarray:
    """Numbers of the rows that are used: those where nothing is missing. Raises BadInput where some may not be."""
    absent = np.stack([_is_missing(one) for one in columns.values()], axis=1)
    wrong = np.asarray(absent.any(1))
    if wrong.all():
        raise BadInput(f"{path.name} has no row in which nothing is missing", "at least one")
    if not wrong.any():
        return np.arange(len(wrong))
    if missing == "drop":
        notes.append(f"{int(wrong.sum())} of {len(wrong)} rows are left out, as values are missing there")
        return np.flatnonzero(~wrong)
    row = int(wrong.argmax())
    name = list(columns)[int(absent[row].argmax())]
    raise BadInput(
        f"{path.name} lacks {int(absent.sum())} values, the first in row {row + 1}, column {name!r}",
        "a value in every row",
        "fill them in, leave such rows out with `data_arg` missing=drop"
        + (f", or the column with `data_arg` drop={name}" if name in inputs else ""),
    )


def _is_missing(column: np.ndarray) -> np.ndarray:
    if column.dtype.kind in "biu":
        return np.zeros(len(column), bool)
    if column.dtype.kind == "f":
        return np.isnan(column)
    return np.array([one is None or str(one).strip().lower() in MISSING for one in column], bool)


def _numbers(path: Path, name: str, column: np.ndarray) -> np.ndarray:
    """A column as float64."""
    if column.dtype.kind in "biuf":
        return column.astype(np.float64)
    found = np.empty(len(column))
    for row, one in enumerate(column):
        text = str(one).strip()
        try:
            found[row] = TRUTH[text.lower()] if text.lower() in TRUTH else float(text)
        except ValueError:
            raise BadInput(
                f"the column {name!r} of {path.name} holds text, {text!r}",
                "numbers",
                f"leave it out with `data_arg` drop={name}, or write numbers in its place",
            ) from None
    return found


def _target(path: Path, name: str, column: np.ndarray, notes: list[str], is_quantity: bool) -> np.ndarray:
    """Whole numbers as int64, numbers as float64, text as classes in the order of the alphabet, never as quantities."""
    if column.dtype.kind in "biu":
        return column.astype(np.int64)
    if column.dtype.kind == "f":
        return column
    text = np.array([str(one).strip() for one in column])
    if all(one.lower() in TRUTH or _is_number(one) for one in text):
        found = _numbers(path, name, text)
        is_whole = all(one.lower() in TRUTH or one.lstrip("+-").isdigit() for one in text)
        return found.astype(np.int64) if is_whole else found
    decimal_comma = all(_is_number(one.replace(",", ".", 1)) for one in text)
    if is_quantity or decimal_comma:
        example = next(str(one) for one in text if one.lower() not in TRUTH and not _is_number(one))
        raise BadInput(
            f"the target {name!r} of {path.name} holds text, {example!r}",
            "numbers with a decimal point"
            if decimal_comma
            else "numbers, as several targets and regression have",
            "write numbers in its place"
            if decimal_comma
            else f"text is classes: name {name} alone, without task=regression",
        )
    classes, numbers = np.unique(text, return_inverse=True)
    notes.append(classes_said(name, classes))
    return numbers.astype(np.int64)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_fraction(text: str) -> bool:
    return _is_number(text) and any(one.isdigit() for one in text) and not text.lstrip("+-").isdigit()


def _listed(names: Sequence[str]) -> str:
    """At most twelve names."""
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
