"""What a data set is: inputs, targets and their task, with one dtype each and nothing left unsaid."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.errors import BadInput
from landscape.inputs.data.batches import (
    are_numbers,
    array_like,
    as_tensor,
    mapped,
    own_targets,
    tensors,
    untabled,
)
from landscape.inputs.data.streams import HELD_BYTES, NO_TARGETS, Stream
from landscape.inputs.data.targets import IGNORED, Task, absent, doubt, numbered, typed
from landscape.inputs.data.unpaired import require_one_order

# Integers that are tokens, or number something; smaller ones are pixels.
TOKENS = (torch.int64, torch.int32)
# Bytes beyond this are those of pictures that were not scaled.
PIXELS = 64


@dataclass(frozen=True, eq=False)
class DataSet:
    """Training samples, and test samples where there are any.

    ``inputs`` (n, ...) are float32 or float64, or int64 or int32 where they are tokens; several are a tuple, one for
    every argument of a module, or a dictionary. ``targets`` are int64 classes (n,), or (n, ...) for one per position,
    −100 where none is meant, in classification and float32 or float64 (n, k) or (n, ...) in regression.
    ``num_classes`` is None in regression. ``doubt`` says why the largest label may name no class. ``rows`` (n,): which
    samples of a larger set these are; None for the first n. ``target_shape``: that of one target as it was brought,
    where it is another here. ``notes``: what was taken for granted. Without ``has_targets`` the inputs stand for them.

    What is too large for memory is a ``stream``; ``inputs`` and ``targets`` are then the first samples alone.
    """

    name: str
    inputs: Any
    targets: Tensor
    test_inputs: Any
    test_targets: Tensor | None
    task: Task
    num_classes: int | None
    doubt: str = ""
    rows: Tensor | None = None
    target_shape: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()
    has_targets: bool = True
    stream: Stream | None = None
    test_stream: Stream | None = None

    @property
    def numbers(self) -> Tensor:
        """The number (n,) of every training sample, in the set it was taken from."""
        return torch.arange(len(self)) if self.rows is None else self.rows

    def __len__(self) -> int:
        """How many training samples there are."""
        return len(self.targets) if self.stream is None else len(self.stream)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample, of several inputs that of the first."""
        return tuple(tensors(self.inputs)[0].shape[1:])

    @property
    def known_targets(self) -> Tensor:
        """The targets (n, ...); of a stream the first ones, and the least and the largest where these are numbers."""
        ends = None if self.stream is None else self.stream.seen.values
        if ends is None or self.task == "classification" or bool(torch.isin(ends, self.targets).all()):
            return self.targets
        rows = [torch.full_like(self.targets[:1], float(one)) for one in ends]
        return torch.cat([self.targets, *rows])

    @property
    def default_loss(self) -> str:
        """The loss that suits the task: ``bce`` for two classes, ``cross_entropy`` for more, else ``mse``.

        Raises BadInput where there are no targets.
        """
        if not self.has_targets:
            raise BadInput(
                f"no loss, and {self.name} has no targets",
                "a loss: output for what the module itself returns, mse against the inputs, or your own",
                "give `loss` output if the module returns its loss",
            )
        if self.task == "regression":
            return "mse"
        is_binary = self.num_classes == 2 and not bool((self.targets == IGNORED).any())
        return "bce" if is_binary else "cross_entropy"

    def num_outputs(self, loss: str) -> int:
        """How many outputs a module needs for ``loss``; a loss unknown here gets as many as the default.

        Real targets in [0, 1] are shares: of one class against the rest, each an output of ``bce``, and of all
        classes, (n, k) for k outputs of ``cross_entropy``. Raises BadInput for ``bce`` without these and without
        exactly two classes, and for ``cross_entropy`` without these and without classes.
        """
        if loss not in ("bce", "cross_entropy", "mse"):
            loss = (
                self.default_loss
                if self.has_targets
                else "mse"
                if self.num_classes is None
                else "cross_entropy"
            )
        count = self.targets[0].numel()
        if self.num_classes is not None:
            if loss == "bce" and self.num_classes != 2:
                raise BadInput(f"loss bce on {self._described()}", "two classes", f"take {self.default_loss}")
            return 1 if loss == "bce" else self.num_classes
        values = self.known_targets
        are_shares = bool(((values >= 0) & (values <= 1)).all())
        if loss == "mse" or (are_shares and (loss == "bce" or count > 1)):
            return count
        raise BadInput(
            f"loss {loss} on {self._described()}",
            "classes" if loss == "cross_entropy" else "two classes",
            "take mse, or give the numbers of classes as integers",
        )

    def to(self, dtype: torch.dtype) -> "DataSet":
        """The same with every floating-point number in ``dtype``; tokens and classes stay integers."""

        def changed(part: Any) -> Any:
            return mapped(lambda one: one.to(dtype) if one.is_floating_point() else one, part)

        names = ("inputs", "targets", "test_inputs", "test_targets")
        return replace(self, **{name: changed(getattr(self, name)) for name in names})

    def subset(self, n: int, generator: torch.Generator) -> "DataSet":
        """``n`` training samples drawn without replacement, in their old order; all test samples stay.

        Raises BadInput for ``n`` outside 1..len(inputs).
        """
        size = len(self)
        if not 1 <= n <= size:
            raise BadInput(f"a subset of {n} samples of {self.name}", f"between 1 and its {size}")
        kept = torch.randperm(size, generator=generator)[:n].sort().values
        if self.stream is not None and (layout := self.stream.seen.layout) is not None:
            inputs, targets = self.stream.picked(kept)
            part = Stream([(inputs, layout.parted(targets, None))], held=HELD_BYTES, name=self.name)
            return replace(streamed(part, self.test_stream), rows=kept)
        if self.stream is not None:
            part = data_set(self.name, *self.stream.picked(kept), num_classes=self.num_classes)
            rows = {"inputs": part.inputs, "targets": part.targets, "stream": None, "rows": kept}
            return replace(self, **rows, notes=tuple(self.stream.seen.notes))
        inputs = mapped(lambda one: one[kept], self.inputs)
        return replace(self, inputs=inputs, targets=self.targets[kept], rows=self.numbers[kept])

    def _described(self) -> str:
        return f"{self.name}, which has {self.num_classes or 'no'} classes"


def data_set(
    name: str,
    inputs: Any,
    targets: Any,
    test_inputs: Any = None,
    test_targets: Any = None,
    *,
    task: Task | None = None,
    num_classes: int | None = None,
) -> DataSet:
    """A validated DataSet from tensors or arrays: inputs (n, ...), targets (n,), (n, k), (n, ...) or None.

    Several inputs are a tuple or a dictionary. Without ``task``, integer targets and text are classes and floats are
    regression; without ``num_classes`` there are as many as the largest class says. An empty test set is none.
    Numbers are float32, or float64 where they come so. Raises BadInput as ``validate`` does, and for what cannot be
    made into tensors.
    """
    if task not in (None, "classification", "regression"):
        raise BadInput(f"task={task!r}", "classification or regression")
    has_targets = targets is not None
    if has_targets and test_inputs is not None and test_targets is not None and len(test_targets) == 0:
        test_inputs = test_targets = None
    if has_targets and (test_inputs is None) != (test_targets is None):
        raise BadInput(f"{name} has only one of test inputs and test targets", "both or neither")
    require_one_order(inputs, targets)
    require_one_order(test_inputs, test_targets)
    said: dict[str, None] = {}
    inputs = _all_inputs(name, "inputs", inputs, said)
    if test_inputs is not None:
        test_inputs = _all_inputs(name, "test inputs", test_inputs, {})
    if not has_targets:
        said[NO_TARGETS] = None
        targets, test_targets = own_targets(inputs), None if test_inputs is None else own_targets(test_inputs)
    else:
        targets, test_targets = numbered(name, (targets, test_targets), task, said)
    raw = targets = _tensor(name, "targets", targets)
    if has_targets:
        targets = typed(name, "targets", targets, task, said)
    task = "regression" if targets.is_floating_point() else "classification"
    if has_targets and test_targets is not None:
        test_targets = _tensor(name, "test targets", test_targets)
        test_targets = typed(name, "test targets", test_targets, task, {})
    why = ""
    if task == "classification" and num_classes is None and targets.numel():
        # A class seen only in the test set needs its output too.
        seen = targets if test_targets is None else torch.cat([targets.flatten(), test_targets.flatten()])
        num_classes, why = int(seen.max()) + 1, doubt(seen)
        if has_targets and not why:
            said.update(dict.fromkeys(absent(num_classes, targets, test_targets)))
    shape = None if raw.shape == targets.shape else tuple(raw.shape[1:])
    how: dict[str, Any] = {"target_shape": shape, "notes": tuple(said), "has_targets": has_targets}
    data = DataSet(name, inputs, targets, test_inputs, test_targets, task, num_classes, why, **how)
    # What is finite in float64 alone is no number for most runs.
    validate(data.to(torch.float32))
    return data


def streamed(stream: Stream, test: Stream | None = None) -> DataSet:
    """The data set of a stream, held in memory where that was possible and the targets are one tensor."""
    is_plain = stream.seen.layout is None
    parts: list[Any] = [*(stream.whole() if stream.is_held else stream.head())]
    notes = [*stream.notes]
    if test is not None:
        parts += test.whole() if test.is_held else test.head()
        notes += test.notes
    if not stream.seen.has_targets:
        parts[1::2] = [None] * len(parts[1::2])
    values = stream.seen.values
    num_classes = None
    if is_plain and values is not None and not values.is_floating_point() and not stream.is_held:
        num_classes = int(values.max()) + 1
    found = data_set(stream.name, *parts, task=None if is_plain else "regression", num_classes=num_classes)
    return replace(
        found,
        notes=tuple(dict.fromkeys([*notes, *found.notes])),
        stream=None if stream.is_held and is_plain else stream,
        test_stream=None if test is None or (test.is_held and is_plain) else test,
    )


def validate(data: DataSet) -> None:
    """Raise BadInput unless ``data`` can be used as it is.

    As many inputs as targets and at least one; all numbers finite (else their count and the first
    index are named); at least two classes, and class targets in 0..num_classes − 1; test samples
    shaped as the training samples are.
    """
    _validate_part(data, "", data.inputs, data.targets)
    if data.task == "classification" and (data.num_classes or 0) < 2:
        raise BadInput(f"{data.name} has targets of a single class", "at least two classes")
    if data.test_inputs is None or data.test_targets is None:
        return
    _validate_part(data, "test ", data.test_inputs, data.test_targets)
    both = zip(tensors(data.inputs), tensors(data.test_inputs), strict=False)
    pairs = [*(("inputs", *one) for one in both), ("targets", data.targets, data.test_targets)]
    for what, train, test in pairs:
        if train.shape[1:] != test.shape[1:]:
            raise BadInput(
                f"the test {what} of {data.name} have shape {tuple(test.shape[1:])} per sample",
                f"{tuple(train.shape[1:])} as in training",
            )


def standardised(train: np.ndarray, test: np.ndarray, axes: tuple[int, ...] = (0,)) -> list[np.ndarray]:
    """``train`` and ``test`` in float64, shifted and scaled to mean 0 and deviation 1 of ``train``.

    Statistics are one for each index of the axes that are not in ``axes``. What does not
    vary in training is shifted only.
    """
    mean = train.mean(axes, keepdims=True, dtype=np.float64)
    deviation = train.std(axes, keepdims=True, dtype=np.float64)
    deviation[deviation == 0] = 1
    return [(part - mean) / deviation for part in (train, test)]


def first(limit: int | None, name: str = "limit") -> slice:
    """The slice of the first ``limit`` samples, all for None; BadInput unless it is a positive integer."""
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise BadInput(f"{name}={limit!r}", "a positive integer, the number of samples to keep")
    return slice(limit)


def _tensor(name: str, what: str, values: Any) -> Tensor:
    if (unfit := untabled(f"the {what} of {name}", values)) is not None:
        raise unfit
    try:
        values = array_like(values)
        tensor = as_tensor(values).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(values, tuple) and what == "targets":
            raise BadInput(
                f"the targets of {name} are a tuple of {len(values)}",
                "one tensor or array",
                "give pairs of training and test data as one row: inputs, targets, test inputs, test targets",
            ) from None
        raise BadInput(f"the {what} of {name} are no tensor ({error})", "tensors or numeric arrays") from None
    if tensor.is_complex():
        raise BadInput(f"the {what} of {name} are complex", "real numbers")
    if tensor.ndim == 0:
        raise BadInput(f"the {what} of {name} are a single number", "one entry per sample along axis 0")
    return tensor


def _all_inputs(name: str, what: str, inputs: Any, said: dict[str, None]) -> Any:
    """One input, or several in a tuple or a dictionary; what was made of their numbers goes to ``said``."""
    if isinstance(inputs, Mapping):
        return {str(key): _one_of(name, f"{key} in the {what}", one) for key, one in inputs.items()}
    if isinstance(inputs, tuple) and not are_numbers(inputs):
        parts = [_one_of(name, f"number {i} of the {what}", one) for i, one in enumerate(inputs)]
        return type(inputs)(*parts) if hasattr(inputs, "_fields") else tuple(parts)
    found = _tensor(name, what, inputs)
    typed = _typed_inputs(found)
    if typed.dtype != found.dtype and not found.is_floating_point():
        kind = {one: str(one.dtype).removeprefix("torch.") for one in (found, typed)}
        said[f"the {what} are {kind[found]} and are taken as {kind[typed]}{_as_they_are(found)}"] = None
    return typed


def _as_they_are(found: Tensor) -> str:
    """That bytes of pictures are not scaled, which few modules train on; '' for other numbers."""
    largest = int(found.max()) if found.dtype == torch.uint8 and found.ndim > 1 and found.numel() else 0
    if largest <= PIXELS:
        return ""
    return f", up to {largest} and not scaled: where training diverges or stands still let the data give inputs / 255"


def _one_of(name: str, what: str, values: Any) -> Tensor:
    found = _tensor(name, what, values)
    return _floating(found) if found.is_floating_point() else found


def _typed_inputs(inputs: Tensor) -> Tensor:
    if inputs.dtype in TOKENS:
        return inputs
    if inputs.dtype in (torch.uint16, torch.uint32):
        return inputs.to(torch.int64)
    inputs = _floating(inputs)
    return inputs[:, None] if inputs.ndim == 1 else inputs


def _floating(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.to(torch.float32)


def _validate_part(data: DataSet, part: str, inputs: Any, targets: Tensor) -> None:
    several = tensors(inputs)
    other = next((one for one in several if len(one) != len(targets)), None)
    if other is not None:
        raise BadInput(
            f"{data.name} has {len(other)} {part}inputs and {len(targets)} {part}targets", "as many of both"
        )
    if any(one.numel() == 0 for one in [*several, targets]):
        raise BadInput(f"{data.name} has no {part}samples", "at least one")
    for what, values in (*(("inputs", one) for one in several), ("targets", targets)):
        _check_finite(f"the {part}{what} of {data.name}", values)
    if data.num_classes is not None:
        wrong = (((targets < 0) & (targets != IGNORED)) | (targets >= data.num_classes)).nonzero()
        if len(wrong):
            first = tuple(wrong[0].tolist())
            where = first[0] if len(first) == 1 else first
            raise BadInput(
                f"the {part}targets of {data.name} are out of range in {len(wrong)} of {targets.numel()} places"
                f", the first is {int(targets[first])} at index {where}",
                f"0 to {data.num_classes - 1}",
                "number the classes from 0 on, or make them floats for regression",
            )


def _check_finite(what: str, values: Tensor) -> None:
    # A sum is finite only if all its terms are, and is far cheaper than a mask of them.
    if not values.is_floating_point() or bool(values.sum(dtype=torch.float64).isfinite()):
        return
    wrong = (~values.isfinite()).nonzero()
    index = ", ".join(str(int(i)) for i in wrong[0])
    raise BadInput(
        f"{what} are NaN or infinite in {len(wrong)} of {values.numel()} places, first at index ({index})",
        "finite numbers",
        "drop or fill those samples",
    )
