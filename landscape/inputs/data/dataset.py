"""What a data set is: inputs, targets and their task, with one dtype each and nothing left unsaid."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from landscape.errors import BadInput

Task = Literal["classification", "regression"]
# Labels are doubted that reach further than this many times the classes that occur, and a few more.
FAR, FEW_CLASSES = 2, 10


@dataclass(frozen=True, eq=False)
class DataSet:
    """Training samples, and test samples where there are any.

    ``inputs`` (n, ...) are float32 or float64, or int64 or int32 where they are tokens; ``targets`` are int64 classes
    (n,), or (n, ...) for one per position, in classification and float32 or float64 (n, k) in regression.
    ``num_classes`` is None in regression. ``doubt`` says why the largest label may name no class. ``rows`` (n,): which
    samples of a larger set these are; None for the first n.
    """

    name: str
    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor | None
    test_targets: Tensor | None
    task: Task
    num_classes: int | None
    doubt: str = ""
    rows: Tensor | None = None

    @property
    def numbers(self) -> Tensor:
        """The number (n,) of every training sample, in the set it was taken from."""
        return torch.arange(len(self.inputs)) if self.rows is None else self.rows

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.inputs.shape[1:])

    @property
    def default_loss(self) -> str:
        """The loss that suits the task: ``bce`` for two classes, ``cross_entropy`` for more, else ``mse``."""
        if self.task == "regression":
            return "mse"
        return "bce" if self.num_classes == 2 else "cross_entropy"

    def num_outputs(self, loss: str) -> int:
        """How many outputs a module needs for ``loss``; a loss unknown here gets as many as the default.

        Raises BadInput for ``bce`` without exactly two classes, and for ``cross_entropy`` without classes.
        """
        if loss not in ("bce", "cross_entropy", "mse"):
            loss = self.default_loss
        if loss == "bce":
            if self.num_classes != 2:
                raise BadInput(f"loss bce on {self._described()}", "two classes", f"take {self.default_loss}")
            return 1
        if self.num_classes is not None:
            return self.num_classes
        if loss == "cross_entropy":
            raise BadInput(f"loss cross_entropy on {self._described()}", "classes", "take mse")
        return self.targets.shape[1]

    def to(self, dtype: torch.dtype) -> "DataSet":
        """The same with every floating-point number in ``dtype``; tokens and classes stay integers."""

        def changed(part: Any) -> Any:
            return part.to(dtype) if part is not None and part.is_floating_point() else part

        names = ("inputs", "targets", "test_inputs", "test_targets")
        return replace(self, **{name: changed(getattr(self, name)) for name in names})

    def subset(self, n: int, generator: torch.Generator) -> "DataSet":
        """``n`` training samples drawn without replacement, in their old order; all test samples stay.

        Raises BadInput for ``n`` outside 1..len(inputs).
        """
        size = len(self.inputs)
        if not 1 <= n <= size:
            raise BadInput(f"a subset of {n} samples of {self.name}", f"between 1 and its {size}")
        kept = torch.randperm(size, generator=generator)[:n].sort().values
        return replace(self, inputs=self.inputs[kept], targets=self.targets[kept], rows=self.numbers[kept])

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
    """A validated DataSet from tensors or arrays: inputs (n, ...), targets (n,), (n, 1) or (n, k).

    Without ``task``, integer targets are classes and floats are regression; without ``num_classes``
    there are as many as the largest class says. An empty test set is none. Numbers are float32, or float64
    where they come so. Raises BadInput as ``validate`` does, and for what cannot be made into tensors.
    """
    if test_inputs is not None and test_targets is not None and len(test_inputs) == len(test_targets) == 0:
        test_inputs = test_targets = None
    if (test_inputs is None) != (test_targets is None):
        raise BadInput(f"{name} has only one of test inputs and test targets", "both or neither")
    targets = _tensor(name, "targets", targets)
    if task is None:
        task = "regression" if targets.is_floating_point() else "classification"
    targets = _typed_targets(name, "targets", targets, task)
    if test_targets is not None:
        raw = _tensor(name, "test targets", test_targets)
        test_targets = _typed_targets(name, "test targets", raw, task)
        test_inputs = _typed_inputs(_tensor(name, "test inputs", test_inputs))
    doubt = ""
    if task == "classification" and num_classes is None and targets.numel():
        # A class seen only in the test set needs its output too.
        seen = targets if test_targets is None else torch.cat([targets, test_targets])
        num_classes = int(seen.max()) + 1
        doubt = _doubt(seen)
    inputs = _typed_inputs(_tensor(name, "inputs", inputs))
    data = DataSet(name, inputs, targets, test_inputs, test_targets, task, num_classes, doubt)
    # What is finite in float64 alone is no number for most runs.
    validate(data.to(torch.float32))
    return data


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
    pairs = [("inputs", data.inputs, data.test_inputs), ("targets", data.targets, data.test_targets)]
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
    try:
        if isinstance(values, np.ndarray):
            # PyTorch warns of arrays that it may not write to, and refuses reversed ones.
            values = np.require(values, requirements=["C", "W"])
        tensor = torch.as_tensor(values).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadInput(f"the {what} of {name} are no tensor ({error})", "tensors or numeric arrays") from None
    if tensor.is_complex():
        raise BadInput(f"the {what} of {name} are complex", "real numbers")
    if tensor.ndim == 0:
        raise BadInput(f"the {what} of {name} are a single number", "one entry per sample along axis 0")
    return tensor


def _typed_inputs(inputs: Tensor) -> Tensor:
    # Tokens come as int64 or int32; smaller integers are pixels.
    if inputs.dtype in (torch.int64, torch.int32):
        return inputs
    inputs = _floating(inputs)
    return inputs[:, None] if inputs.ndim == 1 else inputs


def _typed_targets(name: str, what: str, targets: Tensor, task: Task) -> Tensor:
    if task == "regression":
        targets = _floating(targets)
        targets = targets[:, None] if targets.ndim == 1 else targets
        if targets.ndim != 2:
            raise BadInput(f"the {what} of {name} have shape {tuple(targets.shape)}", "(n,) or (n, k)")
        return targets
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    is_one_hot = targets.ndim == 2 and bool(
        ((targets == 0) | (targets == 1)).all() & (targets.sum(1) == 1).all()
    )
    if targets.is_floating_point() or is_one_hot:
        raise BadInput(
            f"the {what} of {name} have shape {tuple(targets.shape)} and dtype {targets.dtype}",
            "integer classes, one per sample (n,) or per position (n, ...)",
            "take the argmax of one-hot targets, or make them floats for regression",
        )
    return targets.to(torch.int64)


def _floating(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.to(torch.float32)


def _doubt(labels: Tensor) -> str:
    """Why the largest label may be no class: far more would be left out than occur. '' where they are near."""
    count, largest = len(labels.unique()), int(labels.max())
    if largest + 1 <= FAR * count + FEW_CLASSES:
        return ""
    return f"a label {largest} among {labels.numel()} samples of {count} classes"


def _validate_part(data: DataSet, part: str, inputs: Tensor, targets: Tensor) -> None:
    if len(inputs) != len(targets):
        raise BadInput(
            f"{data.name} has {len(inputs)} {part}inputs and {len(targets)} {part}targets", "as many of both"
        )
    if inputs.numel() == 0 or targets.numel() == 0:
        raise BadInput(f"{data.name} has no {part}samples", "at least one")
    for what, values in (("inputs", inputs), ("targets", targets)):
        _check_finite(f"the {part}{what} of {data.name}", values)
    if data.num_classes is not None:
        wrong = ((targets < 0) | (targets >= data.num_classes)).nonzero()
        if len(wrong):
            first = tuple(wrong[0].tolist())
            where = first[0] if len(first) == 1 else first
            raise BadInput(
                f"the {part}targets of {data.name} are out of range in {len(wrong)} of {targets.numel()} places"
                f", the first is {int(targets[first])} at index {where}",
                f"0 to {data.num_classes - 1}",
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
