"""Adapters as peft saves them: the base is the factory's own, and only what the file names is brought to it.

A module that the factory has built with peft takes the adapter's tensors as they are, and F is a function of them (and
of whatever else requires a gradient). A plain base takes the sum W + s·BA of LoRA (Hu et al. 2022), s = α/r or α/√r,
and F is a function of W. The loss at the point is the same.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.inputs.checkpoints.weights import Weights

# What peft puts before the names of the base.
BASE = "base_model.model."
# Components that peft adds to the names of a module and leaves out of a file.
KEPT = "modules_to_save"
# What has to be the same in the module and in the file for its tensors to mean the same.
MEANING = {
    "lora_alpha": None,
    "use_rslora": False,
    "use_dora": False,
    "alpha_pattern": {},
    "fan_in_fan_out": None,
}
# What makes a LoRA more than W + s·BA.
MORE = (
    *("use_dora", "lora_bias", "target_parameters", "layer_replication", "trainable_token_indices"),
    *("use_qalora", "use_bdlora", "alora_invocation_tokens", "arrow_config"),
)
LOW_RANK = re.compile(r"^(?P<layer>.*)\.lora_(?:(?P<embedding>embedding_)?)(?P<half>[AB])(?:\.weight)?$")


def applied(
    module: nn.Module,
    wanted: Mapping[str, Tensor],
    weights: Weights,
    source: str,
    say: Callable[[str], None],
) -> dict[str, Tensor]:
    """A tensor for every name of the module's: the factory's own, changed by an adapter; told to ``say``.

    Raises BadInput where the adapter is not of this module.
    """
    config = dict(weights.adapter or {})
    kind = str(config.get("peft_type", "an adapter"))
    described = [getattr(one, "peft_config", None) for one in module.modules()]
    own = {str(name): one for each in described if isinstance(each, Mapping) for name, one in each.items()}
    if own or any(".lora_" in name for name in wanted):
        given = _loaded(module, wanted, weights, source, own or {"default": None}, config)
        rest = len(wanted) - len(given)
        say(
            f"{source}: {kind} of {len(given)} tensors was loaded; the other {rest} are as the factory makes them"
        )
    else:
        given, count = _merged(module, wanted, weights, source, config)
        say(
            f"{source}: {kind} was merged into {count} tensors, W + s·BA, of a base that is as the factory makes it: "
            "F is a function of W, and not of A and B as where the factory builds the module with peft"
        )
    return {**wanted, **given}


def _loaded(
    module: nn.Module,
    wanted: Mapping[str, Tensor],
    weights: Weights,
    source: str,
    own: Mapping[str, Any],
    config: Mapping[str, Any],
) -> dict[str, Tensor]:
    if len(own) > 1:
        raise BadInput(
            f"the module has the adapters {', '.join(own)}", "one", "let the factory build one alone"
        )
    (adapter,) = own
    _require_same_meaning(own[adapter], config, source)
    short = {name: _short(name, adapter) for name in wanted if ".original_module." not in f".{name}"}
    long = {one: name for name, one in short.items()}
    given = _aligned({_weighed(name): one for name, one in weights.items()}, long, module, source)
    missing = [
        name for name, one in short.items() if f".{adapter}" in name and one != name and name not in given
    ]
    _require_shapes(given, wanted, missing, module, source)
    return given


def _aligned(
    tensors: Mapping[str, Tensor], names: Mapping[str, str], module: nn.Module, source: str
) -> dict[str, Tensor]:
    """The tensors by the module's names: each at its own name, or all of them under one submodule."""
    anchor = max(tensors, key=lambda name: name.count("."))
    found: list[dict[str, Tensor]] = []
    for head in (BASE, "") if all(name.startswith(BASE) for name in tensors) else ("",):
        tail = anchor.removeprefix(head)
        for name in names:
            if name == tail or name.endswith(f".{tail}"):
                prefix = name.removesuffix(tail)
                brought = {prefix + one.removeprefix(head): tensor for one, tensor in tensors.items()}
                if brought.keys() <= names.keys():
                    found.append({names[one]: tensor for one, tensor in brought.items()})
    distinct = {tuple(one): one for one in found}
    if len(distinct) == 1:
        return found[0]
    unknown = [name for name in tensors if not _ends(name.removeprefix(BASE), names)] or list(tensors)
    raise BadInput(
        f"the adapter in {source} fits {len(distinct) or 'no'} parts of {type(module).__name__}"
        + ("" if distinct else f", which has nothing called {', '.join(unknown[:5])}"),
        "the names of its base",
        "check `model`: it makes the base, or what peft makes of it",
    )


def _merged(
    module: nn.Module,
    wanted: Mapping[str, Tensor],
    weights: Weights,
    source: str,
    config: Mapping[str, Any],
) -> tuple[dict[str, Tensor], int]:
    more = [name for name in MORE if config.get(name)]
    if str(config.get("peft_type", "LORA")) != "LORA" or more:
        what = f"{config.get('peft_type')}{' with ' + ', '.join(more) if more else ''}"
        raise BadInput(
            f"the adapter in {source} is {what}, which no weights of a plain base stand for",
            "a module built with peft",
            "let the factory return peft.PeftModel.from_pretrained(base, folder, is_trainable=True)",
        )
    halves: dict[str, dict[str, Tensor]] = {}
    targets: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        low_rank = LOW_RANK.match(name)
        if low_rank:
            layer, half = f"{low_rank['layer']}.weight", (low_rank["embedding"] or "") + low_rank["half"]
            halves.setdefault(layer, {})[half] = tensor
            targets[layer] = tensor
        else:
            targets[name.replace(".base_layer.", ".")] = tensor
    places = {id(tensor): name for name, tensor in _aligned(targets, _same(wanted), module, source).items()}
    given: dict[str, Tensor] = {}
    for name, tensor in targets.items():
        place = places[id(tensor)]
        given[place] = (
            tensor
            if name not in halves
            else _sum(wanted[place], halves[name], _scale(name, halves[name], config), module, place, config)
        )
    _require_shapes(given, wanted, [], module, source)
    return given, len(halves)


def _sum(
    weight: Tensor,
    halves: Mapping[str, Tensor],
    scale: float,
    module: nn.Module,
    name: str,
    config: Mapping[str, Any],
) -> Tensor:
    """W + s·BA, summed in float64. Raises BadInput where the shapes do not allow it."""
    is_embedding = "embedding_A" in halves
    first, second = (halves.get(f"{'embedding_' if is_embedding else ''}{half}") for half in "AB")
    if first is None or second is None:
        raise BadInput(f"the adapter has one half of the change of {name}", "A and B")
    change = torch.tensordot(second.double().flatten(1), first.double(), dims=1) * scale
    owner = module.get_submodule(name.rpartition(".")[0])
    # GPT-2's own linear layer holds its weight the other way round.
    if is_embedding or type(owner).__name__ == "Conv1D" or config.get("fan_in_fan_out"):
        change = change.T
    if change.shape != weight.shape:
        raise BadInput(
            f"the adapter changes {name} by shape {tuple(change.shape)}", f"its shape {tuple(weight.shape)}"
        )
    return (weight.double() + change.to(weight.device)).to(weight.dtype)


def _scale(name: str, halves: Mapping[str, Tensor], config: Mapping[str, Any]) -> float:
    """α/r, or α/√r, of one layer; α may be another for layers whose names match a pattern."""
    layer = name.removesuffix(".weight")
    patterns = config.get("alpha_pattern") or {}
    special = [value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", layer)]
    rank = len(next(one for half, one in halves.items() if half.endswith("A")))
    alpha = float(special[0] if special else config["lora_alpha"])
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _require_same_meaning(own: Any, config: Mapping[str, Any], source: str) -> None:
    """What peft was told for the module against what it was told for the file."""
    for name, default in MEANING.items():
        mine, theirs = getattr(own, name, default), config.get(name, default)
        if own is not None and mine is not None and theirs is not None and mine != theirs:
            raise BadInput(
                f"{name} is {theirs} in the adapter of {source} and {mine} in the module",
                "the same",
                "build the module with the configuration of the adapter",
            )


def _require_shapes(
    given: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    missing: Iterable[str],
    module: nn.Module,
    source: str,
) -> None:
    misshapen = [
        f"{name} {tuple(one.shape)} instead of {tuple(wanted[name].shape)}"
        for name, one in given.items()
        if one.shape != wanted[name].shape
    ]
    faults = [
        f"{title}: {', '.join(names)}"
        for title, names in (("missing", list(missing)), ("misshapen", misshapen))
        if names
    ]
    if faults:
        raise BadInput(
            f"the adapter in {source} does not fit {type(module).__name__}; {'; '.join(faults)}",
            "the ranks and layers of the module",
            "build the module with the configuration of the adapter",
        )


def _short(name: str, adapter: str) -> str:
    """A name of the module's as peft writes it to a file."""
    return ".".join(part for part in name.split(".") if part not in (adapter, KEPT))


def _weighed(name: str) -> str:
    """A name of the file's with the ``weight`` that peft leaves away there."""
    return f"{name}.weight" if name.endswith(".lora_magnitude_vector") else name


def _ends(name: str, names: Iterable[str]) -> bool:
    return any(one == name or one.endswith(f".{name}") for one in names)


def _same(names: Iterable[str]) -> dict[str, str]:
    return {name: name for name in names}
