"""Data that are no pair of inputs and targets, and what to give in their place."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from landscape.errors import BadInput
from landscape.inputs.data.loaders import is_source

EITHER = "of samples give torch.utils.data.DataLoader(data, 64), of batches give landscape.Stream(data)"

WHOLE = (
    "of data that are one piece, as nodes of graphs, give landscape.Objective.from_closure(module, f), where f(module) "
    "is the loss of all"
)


def are_several(data: Any) -> bool:
    """Whether what could be unpacked as a pair is an array, a dictionary, an iterator, two sources or two batches."""
    if isinstance(data, Iterator):
        return True
    of = data if isinstance(data, tuple | list) else ()
    is_list = isinstance(data, list) and all(isinstance(one, tuple | Mapping) for one in of)
    is_array = isinstance(data, Tensor | np.ndarray | Mapping | str) or hasattr(data, "columns")
    return is_array or (len(of) == 2 and (is_list or all(map(is_source, of))))


def remedy(data: Any) -> str:
    """What to give instead of ``data``, as it is typed; '' for what nothing is known of."""
    if data is None:
        return "without data give landscape.Objective.from_closure(module, f), where f(module) is the loss"
    if isinstance(data, Mapping):
        return _of_names(data)
    if isinstance(data, Iterator):
        return f"one pass spends it: make it anew, and {_listed('data')}"
    if callable(data):
        return _listed("data()")
    if isinstance(data, Tensor | np.ndarray):
        given = "data" if isinstance(data, Tensor) else "torch.as_tensor(data)"
        return f"without targets give torch.utils.data.TensorDataset({given})"
    if hasattr(data, "columns"):
        return "give (data.drop(columns=NAME), data[NAME]), NAME being the column of the targets"
    if not isinstance(data, tuple | list) or not data:
        return ""
    if all(map(is_source, data)):
        return _one_of([f"{i}" for i in range(len(data))])
    if all(isinstance(one, Tensor) for one in data):
        return _of_tensors(data)
    if all(isinstance(one, np.ndarray) for one in data) and len(data) > 2:
        inputs = ", ".join(f"data[{i}]" for i in range(len(data) - 1))
        return f"of several inputs and a target give (({inputs}), data[{len(data) - 1}])"
    if all(isinstance(one, tuple | list | Mapping) for one in data):
        return EITHER if isinstance(data, list) else EITHER.replace("(data", "(list(data)")
    return ""


def _listed(data: str) -> str:
    return f"of samples give list({data}), of batches landscape.Stream(list({data}))"


def _of_names(data: Mapping[Any, Any]) -> str:
    if data and all(is_source(one) or isinstance(one, tuple) for one in data.values()):
        return _one_of([repr(name) for name in data])
    return "give (inputs, targets): inputs may be a dictionary"


def _one_of(names: list[str]) -> str:
    other = f", and objective.on(data[{names[1]}]) for the other" if len(names) > 1 else ""
    return f"give one of them, data[{names[0]}]{other}"


def _of_tensors(data: tuple[Any, ...] | list[Any]) -> str:
    lengths = [len(one) if one.dim() else 0 for one in data]
    if len(data) == 4 and lengths[0] == lengths[1] != lengths[2] == lengths[3]:
        return "give (data[0], data[1]), and objective.on((data[2], data[3])) for the others"
    if len(data) > 2 and isinstance(data, list) and len({one.shape for one in data}) == 1:
        return "of samples without targets give torch.utils.data.TensorDataset(torch.stack(data))"
    if len(set(lengths)) > 1:
        return ""
    said = "without targets" if len(data) == 1 else "of several inputs and a target, the last one,"
    return f"{said} give torch.utils.data.TensorDataset(*data)"


def of_list(name: str, part: Any) -> str:
    """How numbers, tensors or arrays of one shape in a list become a tensor; '' for anything else.

    >>> of_list("targets", [1, 0]), of_list("targets", [np.ones(2), np.ones(3)])
    ('give numpy.array(targets)', '')
    """
    if not isinstance(part, tuple | list | range) or not part:
        return ""
    of = [one for one in part if isinstance(one, Tensor | np.ndarray)]
    if len(of) == len(part):
        stacked = f"torch.stack({name})" if isinstance(part[0], Tensor) else f"numpy.stack({name})"
        return f"give {stacked}" if len({(type(one), *one.shape) for one in of}) == 1 else ""
    try:
        kind = np.array(part).dtype.kind
    except (TypeError, ValueError, RuntimeError):
        return ""
    # torch.tensor would round numbers of Python to float32.
    return f"give numpy.array({name})" if kind in "biuf" else ""


def of_samples(inputs: Any, count: int) -> str:
    """What to do with a list of as many tensors as there are targets; '' for other inputs."""
    is_listed = isinstance(inputs, list) and len(inputs) == count
    if not is_listed or not all(isinstance(one, Tensor | np.ndarray) and one.ndim for one in inputs):
        return ""
    if of_one := of_list("inputs", inputs):
        return f"of a list of samples {of_one}"
    if isinstance(inputs[0], np.ndarray):
        return ""
    padded = "torch.nn.utils.rnn.pad_sequence(inputs, batch_first=True)"
    alone = "torch.utils.data.DataLoader(list(zip(inputs, targets)), 1) for one sample at a time"
    return f"of samples of different lengths give {padded}, or {alone}"


def numbers_groups(part: Tensor, count: int) -> bool:
    """Whether integers say of every entry which of ``count`` targets it belongs to."""
    is_whole = part.dim() == 1 and part.numel() > 0 and not (part.is_floating_point() or part.is_complex())
    return is_whole and int(part.min()) == 0 and int(part.max()) == count - 1


def require_one_order(inputs: Any, targets: Any) -> None:
    """Raises BadInput for tables whose rows have the same labels in another order, of which two are told apart."""
    one: Any = getattr(inputs, "index", None)
    other: Any = getattr(targets, "index", None)
    if not (hasattr(one, "equals") and hasattr(other, "equals")) or one.equals(other):
        return
    if len(one) == len(other) and one.is_unique and set(one) == set(other):
        raise BadInput(
            "inputs and targets are tables whose rows are labelled alike and stand in another order",
            "the same rows of both in the same places",
            "give targets.loc[inputs.index], or reset_index(drop=True) of both where places are meant",
        )
