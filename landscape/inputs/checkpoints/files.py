"""One file of weights, with nothing in it executed; any other kind of file is refused for what it is."""

import codecs
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from landscape.errors import BadInput
from landscape.inputs.checkpoints.harmless import HARMLESS

# What is given for a checkpoint by mistake, by its first bytes.
OTHER_KINDS = {
    b"\x89PNG\r\n": "a png picture",
    b"\xff\xd8\xff": "a jpeg picture",
    b"GIF8": "a gif picture",
    b"%PDF": "a pdf document",
    b"\x1f\x8b": "a gzip archive",
    b"\x93NUMPY": "a NumPy array",
    b"GGUF": "a GGUF file of quantised weights",
}


def content(path: Path) -> Any:
    """What a file written by torch.save or safetensors holds, on the CPU.

    A pickle is read with ``weights_only=True``, so nothing of it runs; what scripts like to put beside the weights
    (:data:`~landscape.inputs.checkpoints.harmless.HARMLESS`) becomes inert. Raises BadInput for anything else.
    """
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        _refuse_another_kind(path)
        raise BadInput(
            f"{path} is no safetensors file ({_first_line(error)})", "a whole .safetensors file"
        ) from None


def _read_torch(path: Path) -> Any:
    with open(path, "rb") as file:
        if file.read(8) == b"\x89HDF\r\n\x1a\n":
            raise BadInput(f"{path} is an HDF5 file", "a checkpoint", "a run file needs no import")
    try:
        with warnings.catch_warnings():
            # Of pickle protocols that torch does not write; what matters is whether it reads.
            warnings.simplefilter("ignore")
            with torch.serialization.safe_globals(HARMLESS):
                return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if not named:
            _refuse_another_kind(path)
        detail = f" (it asks for {named[1]})" if named else ""
        if "Unsupported operand" in str(error):
            detail = " or is of a protocol that torch.save does not write unless told to"
        raise BadInput(
            f"{path} is a pickle that holds more than weights{detail}, and nothing of it was run",
            "a state_dict",
            "where you trust it, save its state_dict alone and import that",
        ) from None
    except Exception as error:
        _refuse_another_kind(path)
        raise BadInput(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}: {_first_line(error)})",
            "a whole file written by torch.save, or .safetensors",
        ) from None


def _refuse_another_kind(path: Path) -> None:
    """Raises BadInput for a file whose first bytes say what it is, and that this is no checkpoint."""
    with open(path, "rb") as file:
        head = file.read(4096)
    kind = next(
        (kind for start, kind in OTHER_KINDS.items() if head.startswith(start)), "" if head else "empty"
    )
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any("/code/" in name for name in names):
            raise BadInput(
                f"{path} is a TorchScript module",
                "a checkpoint",
                "save the state_dict of what it was made from",
            )
        if any(name.endswith("data.pkl") for name in names):
            return
        is_numpy = bool(names) and all(name.endswith(".npy") for name in names)
        kind = "a NumPy archive" if is_numpy else "a zip archive of something else"
    elif not kind and _is_text(head):
        kind = "a text file"
    if kind:
        raise BadInput(
            f"{path} is {kind}", "a checkpoint: a whole file written by torch.save, or .safetensors"
        )


def _is_text(head: bytes) -> bool:
    """Whether bytes read as letters; a character that the last of them cuts through does not count."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return bool(text.strip()) and all(letter.isprintable() or letter.isspace() for letter in text)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0].rstrip(".")
