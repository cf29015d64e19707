"""Folders of pictures, a folder a class: ``folder/cat/1.png``, ``folder/dog/7.jpg``."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from landscape.errors import BadInput
from landscape.inputs.data.dataset import DataSet, streamed
from landscape.inputs.data.streams import Stream

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
TRAIN = ("train", "training")
TEST = ("test", "testing", "val", "valid", "validation")
GREY, WIDE = ("1", "L"), ("I", "F")


def images(path: Path, size: int | Sequence[int] | None = None, channels: int | None = None) -> DataSet:
    """The pictures below ``path``: inputs (n, channels, height, width) in [0, 1], and the number of their folder.

    Classes are numbered in the order of the alphabet, files read in that order. ``size`` resizes, to a square or to
    (height, width), bilinearly; without it all are of one size. ``channels``: 3 for colours, 1 for greys, which is
    taken where all are grey. Where the folders are ``train`` and ``test`` (or ``val``) the classes are in these.
    Transparency is left out, and of a moving picture all but the first.

    Raises BadInput for pictures of different sizes, for one that cannot be read, and for a class without any.
    """
    splits = {one.lower(): one for one in _folders(path)}
    train_in, test = (next((splits[one] for one in names if one in splits), None) for names in (TRAIN, TEST))
    is_split = train_in is not None and set(splits) <= {*TRAIN, *TEST}
    train = _Pictures(path / train_in if is_split and train_in else path, size, channels)
    notes = [f"classes: {', '.join(f'{name} {i}' for i, name in enumerate(train.classes))}", train.said]
    if is_split:
        others = [one for one in splits.values() if one not in (train_in, test)]
        notes.append(f"folder {train_in} trains" + (f", {test} tests" if test else "") + not_read(others))
    parts = [Stream.of(train, name=str(path))]
    if is_split and test:
        other = _Pictures(path / test, train.size, train.channels)
        if other.classes != train.classes:
            raise BadInput(
                f"{path / test} has the classes {', '.join(other.classes)}",
                f"{', '.join(train.classes)}, as train has",
            )
        parts.append(Stream.of(other, name=str(path / test)))
    made = streamed(*parts)
    if made.num_classes != len(train.classes) and made.stream is not None:
        made = replace(made, num_classes=len(train.classes))
    return replace(made, notes=(*notes, *made.notes))


def not_read(splits: Sequence[str]) -> str:
    """The end of a sentence that names the parts which are left out; '' for none."""
    return f"; {', '.join(splits)} {'is' if len(splits) == 1 else 'are'} not read" if splits else ""


def is_folder_of_images(path: Path) -> bool:
    """Whether there is a picture two or three folders down."""
    patterns = ("*/*", "*/*/*")
    return any(one.suffix.lower() in SUFFIXES for pattern in patterns for one in path.glob(pattern))


class _Pictures(Dataset):
    """One picture after another, with the number of its class; sizes and modes of all are looked at first."""

    def __init__(self, path: Path, size: int | Sequence[int] | None, channels: int | None):
        self.path = path
        self.classes = _folders(path)
        if len(self.classes) < 2:
            raise BadInput(f"{path} has {len(self.classes)} folders", "one for each of at least two classes")
        self.files = [(one, i) for i, name in enumerate(self.classes) for one in self._files(path / name)]
        self.left_out: dict[str, None] = {}
        found = [self._header(one) for one, _ in self.files]
        self.channels = channels or (1 if all(mode in GREY for mode, _ in found) else 3)
        if self.channels not in (1, 3):
            raise BadInput(f"channels={channels!r}", "1 for greys or 3 for colours")
        self.size = _size(size) or found[0][1]
        other = next((i for i, (_, one) in enumerate(found) if one != self.size), None)
        if other is not None and size is None:
            height, width = found[other][1]
            raise BadInput(
                f"{self.files[other][0]} has {height}×{width} pixels, {self.files[0][0]} {self.size[0]}×{self.size[1]}",
                "one size",
                f"resize all with `data_arg` size={min(self.size)}",
            )
        resized = f", resized to {self.size[0]}×{self.size[1]}" if other is not None else ""
        kind = "grey" if self.channels == 1 else "colours"
        said = [f"{len(self.files)} pictures in {kind}, pixels in [0, 1]{resized}", *self.left_out]
        self.said = "; ".join(said)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        file, number = self.files[index]
        try:
            with _pillow().open(file) as opened:
                picture = opened.convert("L" if self.channels == 1 else "RGB")
        except (OSError, ValueError) as error:
            raise BadInput(
                f"{file} cannot be read ({error})", "a whole picture", "mend it, or take it away"
            ) from None
        height, width = self.size
        if picture.size != (width, height):
            picture = picture.resize((width, height), _pillow().Resampling.BILINEAR)
        pixels = np.asarray(picture, np.float32) / np.float32(255)
        return torch.from_numpy(
            pixels.reshape(height, width, self.channels).transpose(2, 0, 1).copy()
        ), number

    def _files(self, folder: Path) -> list[Path]:
        found = sorted(one for one in folder.rglob("*") if one.suffix.lower() in SUFFIXES)
        if not found:
            raise BadInput(
                f"{folder} has no picture", f"some {', '.join(SUFFIXES[:3])}", "take that folder away"
            )
        return found

    def _header(self, file: Path) -> tuple[str, tuple[int, int]]:
        try:
            with _pillow().open(file) as picture:
                mode, (width, height) = picture.mode, picture.size
                if "A" in picture.getbands() or "transparency" in picture.info:
                    self.left_out["transparency is left out"] = None
                if getattr(picture, "is_animated", False):
                    self.left_out["of moving pictures the first is taken"] = None
        except (OSError, ValueError) as error:
            raise BadInput(f"{file} is no picture ({error})", "a picture", "take it away") from None
        if mode.partition(";")[0] in WIDE:
            raise BadInput(
                f"{file} has more than 8 bits a pixel (mode {mode})", "8 bits", "write it with 8 bits"
            )
        return mode, (height, width)


def _folders(path: Path) -> list[str]:
    return sorted(one.name for one in path.iterdir() if one.is_dir() and one.name[0] not in "._")


def _size(given: int | Sequence[int] | None) -> tuple[int, int] | None:
    if given is None:
        return None
    sides = (given, given) if isinstance(given, int) else tuple(given)
    if len(sides) != 2 or not all(isinstance(one, int) and one > 0 for one in sides):
        raise BadInput(f"size={given!r}", "a number of pixels, or height,width")
    return sides[0], sides[1]


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise BadInput(
            "pictures are read by pillow, which is not here", "pillow", "pip install pillow"
        ) from None
    return Image
