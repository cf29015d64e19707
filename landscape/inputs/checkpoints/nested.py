"""Which of the dictionaries in a file are the weights: found, listed, and chosen by a dotted key."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from landscape.errors import BadInput
from landscape.inputs.checkpoints.weights import Weights

# Where training scripts put the weights inside what they save.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "module", "weights")
# Parts of names that say that what stands there is an average over training.
AVERAGES = ("ema", "swa", "average", "averaged", "avg")
# Beginnings of names under which there are tensors, and no weights.
NO_WEIGHTS = ("optim", "sched", "lr_sched", "scaler", "rng", "callbacks", "loops")
DEEPEST = 4


def is_average(key: str) -> bool:
    """Whether a name is one that averages over training go by: ``ema_state_dict``, ``model.swa``."""
    return bool(set(key.lower().replace(".", "_").split("_")) & set(AVERAGES))


def chosen(found: Any, path: Path, key: str) -> Weights:
    """The weights among what a file holds: those under ``key``, else where scripts usually put them.

    Where there are several and none is at a usual place, none is taken yet: which of the ``choices`` fits a module is
    seen there. Raises BadInput for a key that is not there, and where there are none at all.
    """
    choices = dict(_states(found))
    if key:
        return _at(found, path, key, choices)
    usual = _usual(found)
    if usual in choices:
        return _weights(choices, usual, path, found)
    if len(choices) == 1:
        (only,) = choices
        return _weights(choices, only, path, found)
    if choices:
        return Weights({}, choices=choices)
    inner = _inside(found, usual)
    if not isinstance(inner, Mapping) or not inner:
        raise BadInput(f"{path} holds a {type(inner).__name__}", "a state_dict: tensors by name")
    strangers = [str(name) for name, value in inner.items() if not isinstance(value, Tensor)]
    raise BadInput(
        f"{path} holds entries that are no tensors ({', '.join(strangers[:5])})",
        f"a state_dict, bare or under {', '.join(map(repr, WRAPPERS[:3]))}",
    )


def listed(choices: Mapping[str, Mapping[str, Tensor]]) -> str:
    """Choices by their keys, with how much is there: ``generator (4 tensors), discriminator (6 tensors)``."""
    shown = [f"{key or '(the top)'} ({len(state)} tensors)" for key, state in list(choices.items())[:20]]
    return ", ".join(shown) + (f" and {len(choices) - 20} more" if len(choices) > 20 else "")


def below(state: Mapping[str, Tensor], key: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``key`` and a dot, without that."""
    return {name.removeprefix(f"{key}."): one for name, one in state.items() if name.startswith(f"{key}.")}


def _weights(choices: Mapping[str, Mapping[str, Tensor]], key: str, path: Path, found: Any) -> Weights:
    notes = []
    beside = [one for one in choices if one != key]
    if is_average(key):
        notes.append(f"{path.name}: {key} was taken, an average of weights over training")
    elif key and key not in WRAPPERS:
        notes.append(f"{path.name}: {key} was taken")
    if key == "state_dict" and isinstance(found, Mapping) and "averaging_state" in found:
        # As Lightning's WeightAveraging leaves them.
        notes.append(
            f"{path.name}: state_dict was taken, an average of weights over training; "
            "current_model_state has the weights themselves"
        )
    elif averages := [one for one in beside if is_average(one)]:
        notes = [
            f"{path.name}: {key or 'the top'} was taken, the weights themselves; "
            f"averages of them are there as well ({', '.join(averages)})"
        ]
    elif beside and key not in WRAPPERS and not notes:
        notes.append(f"{path.name}: beside it are {', '.join(beside[:10])}")
    return Weights(_tensors(choices[key]), key=key, choices=choices, notes=tuple(notes))


def _at(found: Any, path: Path, key: str, choices: Mapping[str, Mapping[str, Tensor]]) -> Weights:
    """What stands under a key: a dictionary there, or the names that begin so in the dictionary of weights."""
    inner = _inside(found, key)
    if _is_state(inner):
        return _weights({**choices, key: inner}, key, path, found).replaced(is_chosen=True)
    nested = dict(_states(inner)) if isinstance(inner, Mapping) else {}
    if len(nested) == 1:
        (deeper,) = nested
        whole = f"{key}.{deeper}"
        return _weights({**choices, whole: nested[deeper]}, whole, path, found).replaced(is_chosen=True)
    if nested:
        wanted = {f"{key}.{one}": state for one, state in nested.items()}
        raise BadInput(f"several dictionaries of weights under {key} in {path}", f"one of {listed(wanted)}")
    # Names that begin so, in the weights or in any other dictionary there.
    usual = _usual(found)
    order = [usual] if usual in choices else list(choices)
    for name in order:
        state, rest = choices[name], key
        if name and key.startswith(f"{name}."):
            rest = key.removeprefix(f"{name}.")
        if part := below(state, rest):
            note = f"{path.name}: of the {len(state)} tensors there the {len(part)} under {rest} were taken"
            average = ", an average of weights over training" if is_average(rest) else ""
            return Weights(part, key=key, choices=choices, is_chosen=True, notes=(note + average,))
    heads = {
        f"{name}.{head}" if name and name != usual else head: below(state, head)
        for name, state in choices.items()
        if name == usual or len(choices) == 1
        for head in dict.fromkeys(one.partition(".")[0] for one in state if "." in one)
    }
    offered = {name: state for name, state in choices.items() if name} | heads
    raise BadInput(
        f"{path} has no weights under {key!r}", f"one of {listed(offered)}" if offered else "tensors by name"
    )


def _inside(found: Any, key: str) -> Any:
    """What stands under a dotted key; names with dots in them are found as well. None where nothing does."""
    if not key:
        return found
    if not isinstance(found, Mapping):
        return None
    if key in found:
        return found[key]
    for name in found:
        if isinstance(name, str) and key.startswith(f"{name}."):
            inner = _inside(found[name], key.removeprefix(f"{name}."))
            if inner is not None:
                return inner
    return None


def _usual(found: Any) -> str:
    """The key to which the usual wrappers lead; '' where there is none."""
    key: list[str] = []
    for wrapper in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
            key.append(wrapper)
    return ".".join(key)


def _states(found: Any, depth: int = 0) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Every dictionary of tensors in what a file holds, by its dotted key."""
    if _is_state(found):
        yield "", found
    elif isinstance(found, Mapping) and depth < DEEPEST:
        for name, value in found.items():
            if isinstance(name, str) and not name.lower().startswith(NO_WEIGHTS):
                for inner, state in _states(value, depth + 1):
                    yield f"{name}.{inner}" if inner else name, state


def _is_state(found: Any) -> bool:
    """Whether it is tensors by name, beside what some layers keep that is none."""
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        return False
    return any(isinstance(one, Tensor) for one in found.values()) and all(
        isinstance(value, Tensor) or name.endswith("_extra_state") for name, value in found.items()
    )


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}
