"""Data as they were brought, as module and loss take them: said, and the same numbers as in the user's own loop."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape import distributed
from landscape.inputs.data.several import are_several, carried
from landscape.inputs.data.streams import NO_TARGETS, Stream, is_read
from landscape.objective import trees
from landscape.objective.arguments import by_keyword, parameters
from landscape.objective.losses import LOSSES, Loss, correct_of
from landscape.objective.of_parts import of_parts
from landscape.objective.samples import Samples, checked_data
from landscape.objective.streamed import Streamed

# What torch's cross entropy leaves out, unless it is told otherwise.
IGNORED = -100
# Losses of all targets that are not left out, where some are.
OF_OTHERS = (
    (LOSSES["cross_entropy"], nn.CrossEntropyLoss),
    (functional.cross_entropy, nn.CrossEntropyLoss),
    (functional.nll_loss, nn.NLLLoss),
)
# Integers that an embedding takes.
INDICES = (torch.int64, torch.int32)


def whole_of(data: Any) -> Samples:
    """All samples of a pair (inputs, targets), of a Dataset or a DataLoader, or of a stream of them.

    What is read batch by batch is held in memory where there is room (see :mod:`landscape.inputs.data.streams`).
    Raises BadInput, see :func:`~landscape.objective.samples.checked_data`.
    """
    if not is_read(data):
        is_pair = isinstance(data, tuple | list) and len(data) == 2
        notes = (NO_TARGETS,) if is_pair and data[1] is None else ()
        layout = None
        if is_pair and are_several(*data):
            targets, layout = carried(data[0], data[1], "the data")
            data = data[0], targets
        return replace(Samples.whole(*checked_data(data), notes), layout=layout)
    stream = Stream.of(data)
    if not stream.is_held:
        return Streamed(stream)
    return replace(Samples.whole(*checked_data(stream.whole()), stream.notes), layout=stream.seen.layout)


def suited(module: nn.Module, given: Any, samples: Samples) -> tuple[Any, Samples]:
    """The loss and the samples as they go together; what was done to them is among the samples' notes.

    A dictionary whose names are those of the arguments of ``module.forward`` is given by name; tokens become integers
    that an embedding takes, and classes those that torch's losses take. Where ``cross_entropy`` meets targets of -100,
    it is torch's own, a mean over the others. A loss of targets that are several tensors is given them as they came.
    """
    notes: list[str] = []
    given = of_parts(given, samples.layout, samples.head.targets)
    if _is_one_argument(module, samples.head.inputs):
        kind: Any = type(samples.head.inputs)
        samples = samples.changed(lambda chunk: ((kind(*chunk[0]),), chunk[1]))
        notes.append(
            f"the {kind.__name__} of {', '.join(kind._fields)} is given to the module as one argument"
        )
    head = samples.head
    if len(head.inputs) == 1 and isinstance(head.inputs[0], Mapping):
        order = _arguments(module, head.inputs[0])
        if order is not None:
            samples = samples.changed(lambda chunk: (_by_name(order, chunk[0]), chunk[1]))
        if order is not None or by_keyword(module, head.inputs[0]) is not None:
            notes.append(f"{', '.join(head.inputs[0])} are given to the module by name")
    narrow = [one for one in trees.tensors(head.inputs) if _is_narrow(one)]
    if narrow and any(isinstance(layer, nn.Embedding) for layer in module.modules()):
        samples = samples.changed(lambda chunk: (trees.mapped(_widened, chunk[0]), chunk[1]))
        notes.append(
            f"the inputs are {_name(narrow[0].dtype)} and are taken as int64, as an embedding asks for"
        )
    of_classes = given.of_classes if isinstance(given, Loss) else correct_of(given)[1]
    if of_classes and (_is_narrow(head.targets) or head.targets.dtype == torch.int32):
        samples = samples.changed(lambda chunk: (chunk[0], chunk[1].long()))
        notes.append(f"the targets are {_name(head.targets.dtype)} and are taken as int64, as classes are")
    of_mean = next((one for plain, one in OF_OTHERS if given is plain), None)
    if of_mean is not None and not head.targets.is_floating_point():
        ignored, every = _counts(samples)
        if ignored:
            given = of_mean()
            notes.append(f"{ignored} of {every} targets are {IGNORED}: the mean is over the others")
    return given, samples.noted(notes)


def _is_one_argument(module: nn.Module, inputs: Any) -> bool:
    """Whether inputs are a named tuple of more fields than ``module.forward`` has places, and so one of these."""
    known = parameters(module)
    if not hasattr(inputs, "_fields") or any(one.kind is one.VAR_POSITIONAL for one in known):
        return False
    places = [one for one in known if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return 0 < len(places) < len(inputs)


def _arguments(module: nn.Module, fields: Mapping[str, Any]) -> list[tuple[str, Any]] | None:
    """The arguments of ``module.forward`` up to the last that is a field, with defaults; None where one is none."""
    places = [one for one in parameters(module) if one.kind is one.POSITIONAL_OR_KEYWORD]
    names = [one.name for one in places]
    if not all(name in names for name in fields):
        return None
    last = max(names.index(name) for name in fields)
    lacking = [one.name for one in places[: last + 1] if one.name not in fields and one.default is one.empty]
    return None if lacking else [(one.name, one.default) for one in places[: last + 1]]


def _by_name(order: list[tuple[str, Any]], inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(inputs[0].get(name, default) for name, default in order)


def _counts(samples: Samples) -> tuple[int, int]:
    """How many targets are to be left out, of how many, over all processes."""
    counts, is_share = torch.zeros(2, dtype=torch.float64), samples.count_here < samples.count
    if is_share or bool((samples.target_values < 0).any()):
        for part in samples.target_parts():
            counts += torch.tensor([float((part == IGNORED).sum()), part.numel()], dtype=torch.float64)
    if is_share:
        counts = distributed.total(counts.to(samples.targets.device))
    ignored, every = counts.tolist()
    return int(ignored), int(every)


def _is_narrow(one: Tensor) -> bool:
    return not (one.is_floating_point() or one.is_complex()) and one.dtype not in (*INDICES, torch.bool)


def _widened(one: Tensor) -> Tensor:
    return one.long() if _is_narrow(one) else one


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
