"""A checkpoint read: whatever file, index or folder it is, as tensors by name."""

import hashlib
from pathlib import Path

from landscape.errors import BadInput
from landscape.inputs.checkpoints import files, folders, nested
from landscape.inputs.checkpoints.weights import Weights
from landscape.inputs.models import by_name


def read(path: Path, key: str = "") -> Weights:
    """The tensors of a checkpoint by name, on the CPU.

    Takes a state_dict, one wrapped as ``{"state_dict": …}``, a Lightning ``.ckpt``, ``.safetensors``, these in parts
    beside an index, a folder as ``save_pretrained`` of transformers and peft writes it, and ``hf:ORG/NAME``. ``key`` is
    the dotted name of the weights where there are several. A pickle is read with ``weights_only=True``, so nothing of
    it runs. Raises BadInput for anything else.
    """
    if by_name.is_by_name(str(path)):
        tensors, notes = by_name.published(str(path))
        return nested.chosen(tensors, path, key).replaced(notes=tuple(notes))
    found = folders.located(path)
    if not found.part_of:
        weights = nested.chosen(files.content(found.files[0]), found.files[0], key)
        return weights.replaced(adapter=found.adapter, notes=(*found.notes, *weights.notes))
    tensors = {}
    for file in found.files:
        part = nested.chosen(files.content(file), file, "")
        named = {name for name, where in found.part_of.items() if where == file.name}
        missing = sorted(named - part.keys())
        if missing:
            raise BadInput(
                f"{file} lacks {', '.join(missing[:5])}, which {found.beside[0].name} names",
                "whole parts of one model",
                "get that file again",
            )
        tensors |= {name: part[name] for name in part if name in named}
    weights = nested.chosen(tensors, found.beside[0], key)
    return weights.replaced(adapter=found.adapter, notes=(*found.notes, *weights.notes))


def fingerprint(path: Path) -> str:
    """The sha256 of a checkpoint: that of its file, of those of all its files, or of a published name and commit."""
    if by_name.is_by_name(str(path)):
        folder = by_name.folder_of(str(path))
        if folder is not None:
            return fingerprint(folder)
        return hashlib.sha256(by_name.pinned(str(path)).encode()).hexdigest()
    found = folders.located(path)
    hashes = [_sha256(one) for one in (*found.beside, *found.files)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
