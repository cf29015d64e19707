"""Weights in the wild: read with nothing executed, fitted to a module, written for elsewhere."""

import codecs
import errno
import os
import pickle
import re
import shutil
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from landscape.errors import BadInput

# Where training scripts put the weights inside what they save.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "module", "weights")
SUFFIXES = (".safetensors", ".pt", ".pth")
# Bytes below which a disk counts as full where a writer failed.
LITTLE_ROOM = 2**20
# What is given for a checkpoint by mistake, by its first bytes.
OTHER_KINDS = {
    b"\x89PNG\r\n": "a png picture",
    b"\xff\xd8\xff": "a jpeg picture",
    b"GIF8": "a gif picture",
    b"%PDF": "a pdf document",
    b"\x1f\x8b": "a gzip archive",
    b"\x93NUMPY": "a NumPy array",
}


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the CPU.

    Takes a state_dict, one wrapped as ``{"state_dict": …}``, a Lightning ``.ckpt`` and
    ``.safetensors``. A pickle is read with ``weights_only=True``, so nothing of it runs. Raises
    BadInput for anything else.
    """
    if not path.exists():
        raise BadInput(f"{path} does not exist", "a checkpoint")
    if path.is_dir():
        raise BadInput(f"{path} is a folder", "a checkpoint file")
    found = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for wrapper in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    if not isinstance(found, Mapping) or not found:
        raise BadInput(f"{path} holds a {type(found).__name__}", "a state_dict: tensors by name")
    strangers = [str(name) for name, value in found.items() if not isinstance(value, Tensor)]
    if strangers:
        raise BadInput(
            f"{path} holds entries that are no tensors ({', '.join(strangers[:5])})",
            f"a state_dict, bare or under {', '.join(map(repr, WRAPPERS[:3]))}",
        )
    return dict(found)


def loaded(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> nn.Module:
    """``module`` with the tensors loaded, whatever prefix they all carry (``module.``, ``model.`` …).

    Raises BadInput that lists every missing, unexpected and misshapen name.
    """
    wanted = module.state_dict()
    given = _without_prefix(tensors, set(wanted))
    # Checkpoints older than this counter lack it, and eval mode never reads it.
    for name in wanted:
        if name.endswith("num_batches_tracked") and name not in given:
            given[name] = wanted[name]
    for names in _tied_names(wanted):
        present = [name for name in names if name in given]
        given |= {name: given[present[0]] for name in names if present and name not in given}
    # A buffer that the module does not save is its own to fill.
    unsaved = {name for name, _ in module.named_buffers()} - set(wanted)
    given = {name: tensor for name, tensor in given.items() if name not in unsaved}
    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted]
    misshapen = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    faults = [
        f"{title}: {', '.join(names)}"
        for title, names in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
        if names
    ]
    if faults:
        raise BadInput(
            f"{source} does not fit {type(module).__name__}; {'; '.join(faults)}",
            "the names and shapes of the module",
            "check `model` and `model_arg`",
        )
    for first, *others in _tied_names(wanted):
        for other in others:
            if not torch.equal(given[first].nan_to_num(), given[other].nan_to_num()):
                raise BadInput(
                    f"{source} has different values for {first} and {other}, which the module ties",
                    "the same values, or the name of one of them alone",
                )
    module.load_state_dict(given)
    return module


def in_dtype(module: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    """``module`` with its real floating-point parameters and buffers in ``dtype``; all others stay as they are.

    For None all of them do.
    """
    if dtype is None:
        return module
    return module._apply(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)


def write(module: nn.Module, path: Path, source: str) -> None:
    """The module's state_dict as ``.safetensors`` or ``.pt``; ``source`` is kept in the former's metadata.

    Raises BadInput for another suffix or a folder that cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise BadInput(f"{path} ends in {path.suffix or 'nothing'!r}", f"one of {', '.join(SUFFIXES)}")
    # Tied weights are stored under each of their names, as safetensors knows no sharing.
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
    temporary = path.with_name(path.name + ".tmp")
    try:
        if path.suffix == ".safetensors":
            save_file(tensors, temporary, {"format": "pt", "source": source})
        else:
            torch.save(tensors, temporary)
        temporary.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        if _is_full(error, path.parent):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
        raise BadInput(f"{path} cannot be written ({_first_line(error)})", "a folder to write to") from None


def _is_full(error: Exception, folder: Path) -> bool:
    """Whether a writer failed for want of room, which torch and safetensors do not say by a number."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    if "os error 28" in str(error) or "No space left" in str(error):
        return True
    try:
        return shutil.disk_usage(folder).free < LITTLE_ROOM
    except OSError:
        return False


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
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if not named:
            _refuse_another_kind(path)
        detail = f" (it asks for {named[1]})" if named else ""
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


def _without_prefix(tensors: Mapping[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """Strip leading components that all names share, one by one, while that makes more of them fit."""
    given = {str(name): tensor for name, tensor in tensors.items()}
    while not wanted & set(given):
        heads = {name.partition(".")[0] for name in given}
        if len(heads) != 1 or not all("." in name for name in given):
            break
        given = {name.partition(".")[2]: tensor for name, tensor in given.items()}
    if wanted & set(given):
        return given
    # Beside the module's weights there may be others (a loss with buffers): take what fits one prefix.
    for head in sorted({name.partition(".")[0] for name in tensors if "." in name}):
        inner = {n.removeprefix(f"{head}."): t for n, t in tensors.items() if n.startswith(f"{head}.")}
        if wanted <= set(inner):
            return inner | {n: t for n, t in tensors.items() if not n.startswith(f"{head}.")}
    return {str(name): tensor for name, tensor in tensors.items()}


def _tied_names(tensors: Mapping[str, Tensor]) -> list[list[str]]:
    """The names under which one tensor is found more than once; some exporters write only the first."""
    names: dict[tuple[int, torch.Size], list[str]] = {}
    for name, tensor in tensors.items():
        if tensor.numel():
            names.setdefault((tensor.data_ptr(), tensor.shape), []).append(name)
    return [group for group in names.values() if len(group) > 1]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0].rstrip(".")
