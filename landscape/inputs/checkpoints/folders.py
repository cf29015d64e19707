"""Weights in several files, or in a folder: which files they are, and in what order they are read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from landscape.errors import BadInput

INDEX = ".index.json"
ADAPTER = "adapter_config.json"
# What folders of weights call them, the best first; each may be in parts, beside an index.
NAMES = (
    "adapter_model.safetensors",
    "adapter_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
)
ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
# What else a folder keeps in files that end like weights.
NO_WEIGHTS = ("optimizer", "scheduler", "training_args", "rng_state", "random_states", "scaler", "sampler")
# DeepSpeed's parts: of the optimiser, and of the weights where every process has some (ZeRO stage 3).
OPTIMISER, PARTS = "*_optim_states.pt", "zero_pp_rank_*_model_states.pt"


class Located(NamedTuple):
    """The ``files`` of weights, what says so (``beside``), the part of every name, an adapter's description, notes."""

    files: tuple[Path, ...]
    beside: tuple[Path, ...] = ()
    part_of: Mapping[str, str] = {}
    adapter: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


def located(path: Path) -> Located:
    """The files that ``path`` stands for: a file of weights, an index of parts, or a folder of one of them.

    Raises BadInput for what does not exist, for parts that are missing, and for a folder that holds none or several.
    """
    if not path.exists():
        raise BadInput(f"{path} does not exist", "a checkpoint")
    if path.is_dir():
        found, about = _in_folder(path), path / "config.json"
        return found._replace(beside=(*found.beside, *((about,) if about.is_file() else ())))
    if path.name.endswith(INDEX):
        return _indexed(path)
    index = next(
        (one for one in sorted(path.parent.glob(f"*{INDEX}")) if path.name in _parts(one).values()), None
    )
    if index is not None:
        raise BadInput(
            f"{path} is one of the {len(set(_parts(index).values()))} parts of {index.name}",
            "all of them",
            f"give {index} or its folder",
        )
    if path.match(PARTS):
        raise _in_parts(path, path.parent.parent)
    return Located((path,))


def json_of(path: Path) -> dict[str, Any]:
    """The dictionary in a JSON file. Raises BadInput for a file that holds none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read ({error})", "a JSON file") from None
    if not isinstance(found, dict):
        raise BadInput(f"{path} holds a {type(found).__name__}", "a JSON object")
    return found


def _in_folder(folder: Path) -> Located:
    description = folder / ADAPTER
    adapter = json_of(description) if description.is_file() else None
    beside = (description,) if adapter is not None else ()
    for name in NAMES if adapter is None else NAMES[:2]:
        one, index = folder / name, folder / f"{name}{INDEX}"
        others = [other for other in NAMES if other != name and (folder / other).is_file()]
        if adapter is not None:
            others = [other for other in others if other in NAMES[:2]]
        note = f"{folder.name or folder}: {name} was taken, and not {', '.join(others)}" if others else ""
        notes = (note,) if note else ()
        if one.is_file():
            return Located((one,), beside, adapter=adapter, notes=notes)
        if index.is_file():
            found = _indexed(index)
            return found._replace(beside=(*beside, *found.beside), adapter=adapter, notes=notes)
    if adapter is not None:
        raise BadInput(f"{folder} has {ADAPTER} and neither of {' and '.join(NAMES[:2])}", "both")
    return _the_only_one(folder)


def _the_only_one(folder: Path) -> Located:
    """The one file of weights in a folder of no known kind. Raises BadInput that says what is there instead."""
    if (folder / ".metadata").is_file():
        raise BadInput(
            f"{folder} is a distributed checkpoint",
            "one file of weights",
            f"make it one with: python -m torch.distributed.checkpoint.format_utils dcp_to_torch {folder} w.pt",
        )
    above = folder if (folder / "zero_to_fp32.py").is_file() else folder.parent
    if above == folder or any(folder.glob(PARTS)):
        raise _in_parts(folder, above)
    indices = sorted(folder.glob(f"*{INDEX}"))
    found = [
        one
        for one in sorted(folder.iterdir())
        if one.is_file()
        and one.suffix in ENDINGS
        and not one.name.startswith(NO_WEIGHTS)
        and not one.match(OPTIMISER)
    ]
    if len(indices) == 1:
        return _indexed(indices[0])
    if len(found) == 1:
        return Located((found[0],), notes=(f"{folder.name or folder}: {found[0].name} was taken",))
    if found:
        more = f" and {len(found) - 10} more" if len(found) > 10 else ""
        names = ", ".join(one.name for one in found[:10])
        raise BadInput(f"{folder} holds {names}{more}", "one of them", f"give {found[0]}")
    inner = sorted(one.name for one in folder.glob("checkpoint-*") if one.is_dir())
    if inner:
        raise BadInput(f"{folder} holds {', '.join(inner[:10])}", "one of them", f"give {folder / inner[-1]}")
    raise BadInput(
        f"{folder} is a folder without weights", f"a file of weights, or one of {', '.join(NAMES)}"
    )


def _in_parts(folder: Path, above: Path) -> BadInput:
    """The refusal for a DeepSpeed checkpoint, whose script lies ``above``."""
    whole = sorted(above.glob("*/mp_rank_*_model_states.pt"))
    rounded = f", or give {whole[-1]}, the weights as they are computed with" if len(whole) == 1 else ""
    return BadInput(
        f"{folder} is a DeepSpeed checkpoint in parts",
        "one file of weights",
        f"make it one with: python {above}/zero_to_fp32.py {above} w.pt{rounded}",
    )


def _indexed(index: Path) -> Located:
    part_of = _parts(index)
    if not part_of:
        raise BadInput(f"{index} names no parts", "a weight_map of names and files")
    names = dict.fromkeys(part_of.values())
    outside = [one for one in names if Path(one).name != one]
    if outside:
        raise BadInput(f"{index} names {outside[0]}, outside its folder", "files beside it")
    missing = [one for one in names if not (index.parent / one).is_file()]
    if missing:
        raise BadInput(
            f"{', '.join(missing[:5])} of the {len(names)} parts that {index} names {_is(missing)} not there",
            "all of them in its folder",
            "get the missing ones",
        )
    return Located(tuple(index.parent / one for one in names), (index,), part_of)


def _is(many: list[str]) -> str:
    return "is" if len(many) == 1 else "are"


def _parts(index: Path) -> dict[str, str]:
    """The file of every tensor, by its name, as an index has it."""
    found = json_of(index).get("weight_map", {})
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise BadInput(f"{index} has no weight_map of names and files", "an index of parts")
    return found
