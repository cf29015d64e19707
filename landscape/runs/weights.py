"""Weights that a run begins with: a checkpoint from elsewhere, or a point saved without saying of what module."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from landscape.analyses.declare import Options
from landscape.inputs import checkpoints
from landscape.inputs.checkpoints.folders import json_of
from landscape.inputs.models import by_name
from landscape.runs import store


def weights(path: Path, key: str = "", *, verify: bool = True) -> dict[str, Tensor]:
    """The tensors of a checkpoint, or of the last point in a file that was saved from Python. Raises BadInput.

    ``key``: the dotted name of the weights in a checkpoint that holds several.
    """
    if not is_bare(path, verify):
        return checkpoints.read(path, key)
    labels = store.point_labels(path, verify=False)
    state = store.read_state(path, labels[-1], verify=False) if labels else {}
    return {name: torch.from_numpy(values) for name, values in state.items()} or checkpoints.read(path)


def fingerprint(path: Path) -> str:
    """The sha256 of a checkpoint, be it one file, a folder, or a model by name. Raises BadInput where there is none."""
    return checkpoints.fingerprint(path)


def with_model(given: Mapping[str, Any], places: Sequence[Path]) -> Options:
    """What was given, with the model that the first place says it is of, where none was: a name, or a folder of one."""
    names_class = "architecture" in (given.get("model_arg") or {})
    model = _model_of(places[0], names_class) if places and not given.get("model") else ""
    return {**given, "model": model} if model else dict(given)


def dtype_of(path: Path) -> str:
    """The dtype that F had where a point was saved from Python: float64 or float32, which is that of all else too."""
    if not is_bare(path, False):
        return "float32"
    found = {tensor.dtype for tensor in weights(path, verify=False).values() if tensor.is_floating_point()}
    return "float64" if torch.float64 in found else "float32"


def is_bare(path: Path, verify: bool) -> bool:
    """Whether a file is one of our results that holds no recipe."""
    return store.is_ours(path) and "recipe" not in json.loads(store.header(path, verify=verify)["config"])


def _model_of(path: Path, names_class: bool) -> str:
    """The spec of the model that weights say they are of; '' where they do not."""
    if by_name.is_by_name(str(path)):
        return by_name.expanded(str(path))[0]
    about, adapter = path / "config.json", path / "adapter_config.json"
    if not about.is_file() or adapter.is_file():
        return ""
    # What transformers has written may name no class, which is then asked for.
    if not (names_class or json_of(about).keys() & {"architectures", "model_type"}):
        return ""
    text = path.as_posix()
    return f"hf:{text}" if text.startswith(("/", "..")) else f"hf:./{text}"
