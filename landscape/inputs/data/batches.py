"""One batch as people bring it, made into inputs and targets: what is which, told once and said."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_flatten, tree_map

from landscape.errors import BadInput

# What targets are called in a dictionary, the likeliest first.
TARGETS = ("labels", "label", "targets", "target", "y")
TOGETHER = (
    "put what the loss needs side by side into one tensor, or give it to the module as an input, or give "
    "landscape.Objective.from_closure(module, f), where f(module) is the loss of all data"
)
ABSENT = (
    "drop those samples, or write a number there that is no target, targets.nan_to_num(nan=-1e4), and let the loss "
    "leave it out, as ((outputs - targets) ** 2)[targets > -1e4].mean()"
)
WANTED = "(inputs, targets), (inputs, ..., targets), inputs alone, or a dictionary of these"


def pair(batch: Any, where: str, say: Callable[[str], None]) -> tuple[Any, Any]:
    """(inputs, targets) of a ``batch``, samples along axis 0; targets are None where there are none.

    Inputs are a tensor, a dictionary, or a tuple with one for every argument of the module. Of a list or a tuple the
    last is the targets, of a dictionary what goes by a name in :data:`TARGETS`; ``say`` is told where that is a guess.
    A named tuple with such a name, and a dataclass, are read as dictionaries. ``where`` names the batch. Raises
    BadInput for what holds no tensors, text by the name of its field.
    """
    batch = _named(batch)
    if isinstance(batch, Mapping):
        inputs, targets = _of_fields({str(name): part for name, part in batch.items()}, where, say)
    elif isinstance(batch, tuple | list) and batch and not are_numbers(batch):
        *several, targets = batch
        if len(several) > 1:
            say(
                f"of the {len(batch)} parts of a sample the last is the target, the others are inputs, in order"
            )
        if not several:
            inputs, targets = targets, None
        else:
            inputs = several[0] if len(several) == 1 else tuple(several)
        if isinstance(inputs, list) and not are_numbers(inputs):
            say("the inputs come as a list: one for every argument of the module, in order")
            inputs = tuple(inputs)
        if isinstance(inputs, Mapping):
            inputs = {str(name): part for name, part in inputs.items()}
    else:
        inputs, targets = batch, None
    inputs = _tensors(inputs, f"the inputs of {where}")
    if targets is None:
        return inputs, None
    if opened(targets) is not targets:
        return inputs, targets
    if isinstance(targets, Mapping) or (isinstance(targets, tuple | list) and not are_numbers(targets)):
        return inputs, _several(targets, f"the targets of {where}")
    return inputs, _tensor(targets, f"the targets of {where}")


def mapped(change: Callable[[Tensor], Any], inputs: Any) -> Any:
    """``inputs`` with every tensor changed."""
    return tree_map(lambda one: change(one) if isinstance(one, Tensor) else one, inputs)


def tensors(inputs: Any) -> list[Tensor]:
    """Every tensor of ``inputs``, in a fixed order."""
    return [one for one in tree_flatten(inputs)[0] if isinstance(one, Tensor)]


def joined(parts: Sequence[Any]) -> Any:
    """The inputs of one batch after another as one: every tensor along axis 0."""
    leaves, structures = zip(*(tree_flatten(one) for one in parts), strict=True)
    structure = structures[0]
    found = [torch.cat(list(column)) for column in zip(*leaves, strict=True)]
    return structure.unflatten(found)


def stacked(samples: Sequence[Any], *, is_inner: bool = False) -> Any:
    """One batch of some samples as ``default_collate`` makes it, but of lists of numbers arrays, of tuples tuples."""
    first = samples[0]
    if isinstance(first, Mapping):
        return {name: stacked([one[name] for one in samples], is_inner=True) for name in first}
    if isinstance(first, tuple | list) and first and not (is_inner and are_numbers(first)):
        if any(len(one) != len(first) for one in samples):
            raise BadInput("samples of different numbers of parts", "as many in each")
        columns = [stacked(column, is_inner=True) for column in zip(*samples, strict=True)]
        return (
            type(first)(*columns)
            if isinstance(first, tuple) and hasattr(first, "_fields")
            else tuple(columns)
        )
    if isinstance(first, str) or first is None:
        return list(samples)
    if all(isinstance(one, int | float) for one in samples):
        return as_tensor(list(samples))
    found = [as_tensor(array_like(one)) for one in samples]
    other = next((one for one in found if one.shape != found[0].shape), None)
    if other is not None:
        raise BadInput(
            f"samples have shapes {tuple(found[0].shape)} and {tuple(other.shape)}",
            "one shape",
            "pad or resize them in the data set, or give a DataLoader whose collate_fn does",
        )
    return torch.stack(found)


def own_targets(inputs: Any) -> Tensor:
    """What stands for targets where there are none: the input itself, ``input_ids`` or the first of several."""
    named = inputs.get("input_ids") if isinstance(inputs, Mapping) else None
    return named if isinstance(named, Tensor) else tensors(inputs)[0]


def array_like(values: Any) -> Any:
    """Arrays and tables of other libraries as a tensor; everything else as it is."""
    if isinstance(values, Tensor | tuple | list | Mapping):
        return values
    if hasattr(values, "columns") and hasattr(values, "dtypes"):
        text = [name for name in values.columns if np.asarray(values[name]).dtype.kind not in "biuf"]
        if text:
            raise BadInput(
                f"the column {text[0]!r} of a table holds {np.asarray(values[text[0]])[0]!r}",
                "numbers",
                "leave it out, or write numbers in its place",
            )
    if isinstance(values, np.ndarray) or hasattr(values, "__array__"):
        return _of_array(np.asarray(values))
    return values


def as_tensor(values: Any) -> Tensor:
    """``values`` as a tensor, in their own precision: as default_collate does, numbers of Python are float64 and int64.

    >>> as_tensor([1, 0.5]).dtype
    torch.float64
    """
    found = torch.as_tensor(values)
    inmost = values
    while isinstance(inmost, list | tuple) and len(inmost):
        inmost = inmost[0]
    is_rounded = isinstance(inmost, int | float) and found.dtype == torch.float32
    return torch.as_tensor(values, dtype=torch.float64) if is_rounded else found


def are_numbers(values: Any) -> bool:
    """Whether a list is one of numbers or of text, however nested, as many in each, and so an array."""
    if not isinstance(values, list | tuple):
        return isinstance(values, bool | int | float | str | np.number)
    lengths = {len(one) if isinstance(one, list | tuple) else -1 for one in values}
    return len(lengths) == 1 and all(map(are_numbers, values))


def untabled(what: str, part: Any) -> BadInput | None:
    """Why numbers have no place in one table of samples, and what to do; None for what has. ``what`` names them."""
    name = "targets" if "targets" in what else "inputs"
    if isinstance(part, PackedSequence):
        padded = f"torch.nn.utils.rnn.pad_packed_sequence({name}, batch_first=True)"
        remedy = f"give {padded}, the numbers and their lengths, and let the module pack these"
        return BadInput(f"{what} are a PackedSequence", "samples along axis 0", remedy)
    if isinstance(part, Tensor) and part.is_nested:
        remedy = f"give its numbers padded, {name}.to_padded_tensor(0)"
        return BadInput(f"{what} are a nested tensor", "one shape for all samples", remedy)
    if isinstance(part, Tensor) and part.layout != torch.strided:
        remedy = (
            f"give {name}.to_dense(), or let the module hold as an attribute, no buffer, what is one for all"
        )
        return BadInput(f"{what} are a sparse tensor", "a dense one", remedy)
    if hasattr(part, "toarray") and not isinstance(part, Tensor):
        return BadInput(f"{what} are a {type(part).__name__}", "a dense array", f"give {name}.toarray()")
    return None


def opened(one: Any) -> Any:
    """A dataclass, or a mapping of another kind than ``dict``, as a dictionary of its fields; all else as it is."""
    if dataclasses.is_dataclass(one) and not isinstance(one, type | dict):
        return {field.name: getattr(one, field.name) for field in dataclasses.fields(one)}
    return dict(one) if isinstance(one, Mapping) and not isinstance(one, dict) else one


def _named(batch: Any) -> Any:
    """A batch with fields as a dictionary of them; a named tuple only where one of its names is that of targets."""
    batch = opened(batch)
    if not isinstance(batch, tuple):
        return batch
    names: Sequence[str] = getattr(batch, "_fields", ())
    return dict(zip(names, batch, strict=True)) if set(names) & set(TARGETS) else batch


def _of_fields(fields: dict[str, Any], where: str, say: Callable[[str], None]) -> tuple[Any, Any]:
    if not fields:
        raise BadInput(f"{where} is an empty dictionary", WANTED)
    named = next((name for name in TARGETS if name in fields), None)
    inputs = {name: part for name, part in fields.items() if name != named}
    if not inputs:
        raise BadInput(f"{where} has {named!r} and nothing else", "inputs beside the targets")
    names = ", ".join(inputs)
    if named is None:
        say(f"no field is called {', '.join(TARGETS)}: {names} are inputs, and there are no targets")
    else:
        say(f"the field {named} is the target, {names} the input{'s' if len(inputs) > 1 else ''}")
    found = _tensors(inputs, f"the inputs of {where}")
    targets = None if named is None else fields[named]
    return (next(iter(found.values())) if len(found) == 1 else found), targets


def _several(targets: Any, what: str) -> Any:
    """Targets of several tensors; a collate function makes lists of tuples, but not of named ones."""
    if isinstance(targets, Mapping):
        return {name: _several(part, f"{name} in {what}") for name, part in targets.items()}
    if not isinstance(targets, tuple | list) or are_numbers(targets):
        return _tensor(targets, what)
    parts = [_several(part, f"number {i} of {what}") for i, part in enumerate(targets)]
    return type(targets)(*parts) if hasattr(targets, "_fields") else tuple(parts)


def _tensors(inputs: Any, what: str) -> Any:
    if (unfit := untabled(what, inputs)) is not None:
        raise unfit
    if isinstance(inputs, Mapping):
        return {name: _tensors(part, f"{name} in {what}") for name, part in inputs.items()}
    if isinstance(inputs, tuple) and not are_numbers(inputs):
        parts = [_tensors(part, f"number {i} of {what}") for i, part in enumerate(inputs)]
        return type(inputs)(*parts) if hasattr(inputs, "_fields") else tuple(parts)
    return _tensor(inputs, what)


def _tensor(values: Any, what: str) -> Tensor:
    values = array_like(values)
    if (unfit := untabled(what, values)) is not None:
        raise unfit
    text = text_in(values)
    if text is not None:
        raise BadInput(
            f"{what} hold text, {text!r}",
            "numbers",
            "leave that field out, or turn it into numbers (tokens, classes) in the data set or its collate_fn",
        )
    if values is None:
        raise BadInput(f"{what} are None", "numbers", "leave that field out")
    try:
        found = as_tensor(values).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadInput(f"{what} are no tensor but a {type(values).__name__} ({error})", WANTED) from None
    if found.dim() == 0:
        raise BadInput(f"{what} are a single number", "one entry per sample along axis 0")
    return found


def _of_array(array: np.ndarray) -> Any:
    if array.dtype.kind in "OUS":
        numbers = array.tolist()
        if array.dtype.kind != "O" or not are_numbers(numbers) or text_in(numbers) is not None:
            return numbers
        # Columns of several kinds, and those that may lack a number.
        array = np.asarray(numbers)
    if array.dtype in (np.uint16, np.uint32, np.uint64):
        array = array.astype(np.int64)
    # PyTorch warns of arrays that it may not write to, and refuses reversed ones and other byte orders.
    native = array.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(array, native, requirements=["C", "W"]))


def text_in(values: Any) -> str | None:
    """The first number of lists within lists where that is text."""
    while isinstance(values, list | tuple) and len(values):
        values = values[0]
    return values if isinstance(values, str) else None
