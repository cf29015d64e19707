"""Data sets of Hugging Face that ``save_to_disk`` has written: a folder, with a folder a split where there are some."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from landscape.errors import BadInput
from landscape.inputs.data.batches import TARGETS
from landscape.inputs.data.dataset import DataSet, streamed
from landscape.inputs.data.images import WIDE, not_read
from landscape.inputs.data.loaders import dtype_within
from landscape.inputs.data.streams import Stream
from landscape.inputs.data.targets import classes_said

ONE, SEVERAL = "dataset_info.json", "dataset_dict.json"
TEST = ("test", "validation", "valid", "val")


def saved(
    path: Path,
    inputs: str | Sequence[str] = (),
    target: str | None = "",
    split: str = "train",
    test_split: str | None = None,
) -> DataSet:
    """The rows of a folder that ``datasets.Dataset.save_to_disk`` has written.

    ``inputs`` are its columns that go into the module, ``a,b`` or several as a dictionary by name; all but the target
    where not given, of which none may be text. ``target``: a column, by default the one called labels, label, targets,
    target or y, and None for none; text is classes in the order of the alphabet. ``split`` and ``test_split`` choose
    among several. Columns of lists have one length; numbers are in the precision of their column.

    Raises BadInput for a column of text by its name, and without the package ``datasets``.
    """
    # In no format: one that was set before saving leaves out columns, or gives tensors in a precision of its own.
    whole = _loaded(path).with_format(None)
    splits = dict(whole) if (path / SEVERAL).is_file() else {split: whole}
    if split not in splits:
        raise BadInput(
            f"{path} has no split {split!r}",
            f"one of {', '.join(splits)}",
            f"`data_arg` split={next(iter(splits))}",
        )
    without: list[str] = []
    if test_split is None:
        others = [one for one in TEST if one in splits and one != split]
        without = [one for one in others if _has_no_labels(splits[one], target)]
        test_split = next((one for one in others if one not in without), None)
    elif test_split not in splits:
        raise BadInput(f"{path} has no split {test_split!r}", f"one of {', '.join(splits)}")
    unread = [one for one in splits if one not in (split, test_split, *without)]
    said = []
    if len(splits) > 1:
        said.append(
            f"split {split} trains" + (f", {test_split} tests" if test_split else "") + not_read(unread)
        )
    said += [f"split {one} is left out, as all of its labels are -1" for one in without]
    parts = [_Rows(path, splits[one], inputs, target) for one in (split, test_split) if one]
    chosen = parts[0]
    said.append(
        f"columns {', '.join(chosen.inputs)} are the inputs, "
        + (f"{chosen.target} the target" if chosen.target else "no target")
    )
    if chosen.has_pictures:
        said.append("pixels are taken to [0, 1]")
    words = sorted({word for part in parts for word in part.words()})
    for part in parts:
        part.classes = part.classes or words
    if chosen.classes:
        said.append(classes_said(chosen.target or "", chosen.classes))
    made = streamed(*(Stream.of(one, name=str(path)) for one in parts))
    if chosen.classes and made.num_classes is not None:
        made = replace(made, num_classes=max(made.num_classes, len(chosen.classes)))
    mine = [
        note for note in made.notes if not note.startswith("the field") and not note.startswith("no field")
    ]
    return replace(made, notes=(*said, *mine))


def is_saved(path: Path) -> bool:
    """Whether a folder was written by ``save_to_disk``."""
    return (path / ONE).is_file() or (path / SEVERAL).is_file()


def _has_no_labels(rows: Any, target: str | None) -> bool:
    """Whether every label is -1, as in the test sets of competitions."""
    name = next((one for one in TARGETS if one in rows.column_names), None) if target == "" else target
    if getattr(rows.features.get(name), "names", None) is None or not len(rows):
        return False
    return set(rows.unique(name)) == {-1}


class _Rows(Dataset):
    """Row after row of some columns, as tensors."""

    def __init__(self, path: Path, rows: Any, inputs: str | Sequence[str], target: str | None):
        self.rows, self.path, names = rows, path, list(rows.column_names)
        self.target = next((one for one in TARGETS if one in names), None) if target == "" else target
        given = [one.strip() for one in inputs.split(",")] if isinstance(inputs, str) else list(inputs)
        self.inputs = given or [name for name in names if name != self.target]
        for name in [*self.inputs, *([self.target] if self.target else [])]:
            if name not in names:
                raise BadInput(f"{path} has no column {name!r}", f"one of {', '.join(names)}")
        if not self.inputs:
            raise BadInput(f"{path} has no column besides {self.target}", "some that are inputs")
        self.classes: list[str] = list(getattr(rows.features.get(self.target), "names", None) or [])
        self.dtypes = {name: dtype_within(feature) for name, feature in rows.features.items()}
        self.has_pictures = any(hasattr(rows.features[name], "decode_example") for name in self.inputs)

    def words(self) -> set[str]:
        """The distinct texts of a target that is text; a missing one is met when its row is read."""
        if self.target is None or self.dtypes[self.target] != "string":
            return set()
        return set(self.rows.unique(self.target)) - {None}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        row = self.rows[index]
        inputs = {name: self._tensor(row[name], name, index) for name in self.inputs}
        found: Any = next(iter(inputs.values())) if len(inputs) == 1 else inputs
        return (
            (found,) if self.target is None else (found, self._tensor(row[self.target], self.target, index))
        )

    def _tensor(self, value: Any, name: str, index: int) -> Tensor:
        if value is None:
            raise BadInput(
                f"row {index} of {self.path} has nothing in the column {name!r}", "a value", "drop or fill it"
            )
        if isinstance(value, str) and name == self.target:
            return torch.tensor(self.classes.index(value))
        if isinstance(value, str):
            row = self.rows[index]
            others = [one for one in row if one != self.target and not isinstance(row[one], str)]
            raise BadInput(
                f"the column {name!r} of {self.path} is text, {value[:30]!r}",
                "numbers",
                "make tokens of it before save_to_disk"
                + (f", or choose others: `data_arg` inputs={','.join(others)}" if others else ""),
            )
        if hasattr(value, "convert") and value.mode.partition(";")[0] in WIDE:
            raise BadInput(
                f"row {index} of the column {name!r} of {self.path} has more than 8 bits a pixel (mode {value.mode})",
                "8 bits",
                "write arrays of numbers into the column, or pictures with 8 bits",
            )
        if hasattr(value, "convert"):  # a picture of pillow's: channels first, pixels in [0, 1], as elsewhere
            pixels = (
                np.asarray(value if value.mode in ("L", "RGB") else value.convert("RGB"), np.float32) / 255
            )
            return torch.from_numpy(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1).copy())
        try:
            wide = torch.float64 if self.dtypes[name] == "float64" else None
            return torch.as_tensor(value, dtype=wide)
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadInput(
                f"row {index} of the column {name!r} of {self.path} is no tensor ({error})",
                "numbers, or equally long lists",
            ) from None


def _loaded(path: Path) -> Any:
    for one in (ONE, SEVERAL):
        if (path / one).is_file():
            try:
                json.loads((path / one).read_text())
            except ValueError as error:
                raise BadInput(f"{path / one} is damaged ({error})", "what save_to_disk wrote") from None
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise BadInput(
            f"{path} was written by Hugging Face's datasets, which is not here",
            "that package",
            "pip install datasets",
        ) from None
    try:
        return datasets.load_from_disk(str(path))
    except Exception as error:
        raise BadInput(f"{path} cannot be read ({error})", "what save_to_disk wrote") from None
