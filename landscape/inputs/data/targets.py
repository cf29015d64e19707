"""Targets as they are brought: classes by number or by name, or quantities, and what was taken for granted."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from landscape.errors import BadInput
from landscape.inputs.data.batches import array_like

Task = Literal["classification", "regression"]
# Labels are doubted that reach further than this many times the classes that occur, and a few more.
FAR, FEW_CLASSES = 2, 10
# A target that counts for nothing, as torch's cross entropy has it.
IGNORED = -100
# How many classes are listed in a sentence.
LISTED = 12


def numbered(name: str, parts: Sequence[Any], task: Task | None, say: dict[str, None]) -> tuple[Any, ...]:
    """Targets that are text as numbers of classes, in the order of the alphabet over all ``parts``; others as they are.

    Raises BadInput for text where quantities are wanted, and in one part alone.
    """
    read = [array_like(one) for one in parts]
    texts = [_text(one) for one in read]
    if not any(one is not None for one in texts):
        return tuple(read)
    example = next(str(one[0]) for one in texts if one is not None)
    if task == "regression" or any(
        text is None and one is not None for text, one in zip(texts, read, strict=True)
    ):
        raise BadInput(
            f"targets of {name} are text, {example!r}",
            "numbers, as quantities have" if task == "regression" else "numbers or text in all of them",
            "write numbers in its place",
        )
    known = [one for one in texts if one is not None]
    classes, numbers = np.unique(np.concatenate(known), return_inverse=True)
    say[classes_said("the targets", classes)] = None
    split = iter(np.split(numbers.astype(np.int64), np.cumsum([len(one) for one in known])[:-1]))
    return tuple(None if one is None else torch.from_numpy(next(split)) for one in texts)


def classes_said(what: str, classes: Sequence[Any] | np.ndarray) -> str:
    """Which class has which number, in words, the first of many.

    >>> classes_said("sort", ["red", "white"])
    'classes of sort: red 0, white 1'
    """
    named = [f"{one} {i}" for i, one in enumerate(classes[:LISTED])]
    more = f" and {len(classes) - LISTED} more" if len(classes) > LISTED else ""
    return f"classes of {what}: " + ", ".join(named) + more


def typed(name: str, what: str, targets: Tensor, task: Task | None, say: dict[str, None]) -> Tensor:
    """Targets (n, ...) as int64 classes or as real numbers; without ``task`` integers are classes, floats quantities.

    Of a ``task`` that is named, classes may be floats without a fraction, or one-hot. Raises BadInput for others.
    """
    if task == "regression" or (task is None and targets.is_floating_point()):
        if task is None and (kind := _resembles_classes(targets)):
            say[f"the targets are {kind} as floats and are not taken as classes (integers are)"] = None
        targets = targets if targets.dtype == torch.float64 else targets.to(torch.float32)
        return targets[:, None] if targets.ndim == 1 else targets
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    is_one_hot = _is_one_hot(targets)
    if is_one_hot and task == "classification":
        say["the targets are one-hot and are taken as classes"] = None
        return targets.argmax(1)
    if is_one_hot or (targets.is_floating_point() and not _is_whole(targets)):
        raise BadInput(
            f"the {what} of {name} have shape {tuple(targets.shape)} and dtype {targets.dtype}",
            "integer classes, one per sample (n,) or per position (n, ...)",
            "take the argmax of one-hot targets, or make them floats for regression",
        )
    return targets.to(torch.int64)


def absent(num_classes: int, training: Tensor, test: Tensor | None) -> list[str]:
    """Which classes have no sample at all, and which none to train with, of targets (n,); nothing of others."""
    if training.ndim != 1:
        return []
    has_sample = torch.zeros(2, num_classes, dtype=torch.bool)
    for row, one in enumerate((training, training if test is None else torch.cat([training, test]))):
        has_sample[row, one[(one >= 0) & (one < num_classes)]] = True
    missing = (~has_sample[1]).nonzero().flatten().tolist()
    untaught = (has_sample[1] & ~has_sample[0]).nonzero().flatten().tolist()
    return [
        said
        for numbers, said in (
            (
                missing,
                f"there are {num_classes} classes, as the largest is {num_classes - 1}: {_these(missing)} no sample",
            ),
            (untaught, f"{_these(untaught)} samples to test with and none to train with"),
        )
        if numbers
    ]


def doubt(labels: Tensor) -> str:
    """Why the largest label may be no class: far more would be left out than occur. '' where they are near."""
    labels = labels[labels != IGNORED]
    count, largest = len(labels.unique()), int(labels.max()) if labels.numel() else 0
    if largest + 1 <= FAR * count + FEW_CLASSES:
        return ""
    return f"a label {largest} among {labels.numel()} samples of {count} classes"


def _these(numbers: Sequence[int]) -> str:
    listed = ", ".join(map(str, numbers[:LISTED]))
    more = f" and {len(numbers) - LISTED} more" if len(numbers) > LISTED else ""
    return f"class {listed} has" if len(numbers) == 1 else f"classes {listed}{more} have"


def _text(values: Any) -> np.ndarray | None:
    """Targets that are all text as an array of it (n,); None for others."""
    if not isinstance(values, list | tuple) or not values:
        return None
    if not all(isinstance(one, str | bytes) for one in values):
        return None
    return np.array([one.decode(errors="replace") if isinstance(one, bytes) else one for one in values])


def _is_whole(targets: Tensor) -> bool:
    return bool((targets == targets.round()).all())


def _is_one_hot(targets: Tensor) -> bool:
    if targets.ndim != 2 or targets.shape[1] < 2:
        return False
    return bool(((targets == 0) | (targets == 1)).all() & (targets.sum(1) == 1).all())


def _resembles_classes(targets: Tensor) -> str:
    """What makes floats look like classes; '' where nothing does."""
    if not targets.numel():
        return ""
    if _is_one_hot(targets):
        return "one-hot"
    if targets.ndim > 2 or (targets.ndim == 2 and targets.shape[1] > 1) or not _is_whole(targets):
        return ""
    numbers = targets.to(torch.int64)
    is_near = int(numbers.min()) >= 0 and not doubt(numbers)
    return "whole numbers" if is_near and 1 < len(numbers.unique()) < len(numbers) else ""
