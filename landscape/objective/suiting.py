"""The loss that outputs and targets leave no doubt of, where none is given; and outputs that a loss squashes again."""

from typing import Any

from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.objective import trees
from landscape.objective.losses import LOSSES, name_of
from landscape.objective.trial import Trial

GIVE = "name the loss that is meant: give `loss`"
# Rows of probabilities sum to one but for this.
ONE = 1e-3
# How far the parameters are stretched: what stays in [0, 1] then was squashed.
STRETCH = 10.0


def suiting_loss(outputs: Any, targets: Tensor, num_classes: int | None) -> tuple[str, str]:
    """The name of the built-in loss for ``outputs`` of some samples, and why; ``targets`` (n, ...) are all of them.

    Integer targets, of ``num_classes``: ``cross_entropy`` for two outputs or more along axis 1, ``bce`` for one output
    and two classes. Others: ``mse``. One number for all samples: ``output``. Raises BadInput where several fit, as
    for targets 0 and 1 that are floats, or where none does.
    """
    if not isinstance(outputs, Tensor):
        raise BadInput(
            f"the module gives a {type(outputs).__name__}, and no loss was named", "a tensor", GIVE
        )
    if outputs.dim() == 0:
        return "output", "the module gives one number for all samples"
    shape = tuple(outputs.shape[1:])
    if num_classes is not None:
        return _of_classes(shape, tuple(targets.shape[1:]), num_classes)
    count = outputs.shape[1:].numel()
    are_several = bool((targets != targets.flatten()[0]).any())
    is_near = float(targets.min()) >= 0 and float(targets.max()) < max(count, 2)
    is_whole = bool((targets == targets.round()).all())
    if targets.shape[1:].numel() != count and are_several and is_near and is_whole:
        raise BadInput(
            f"the targets are floats without a fraction, 0 to {float(targets.max()):g}, and there are outputs "
            f"{shape} for targets {tuple(targets.shape[1:])} of a sample",
            "integers where they are classes, else as many outputs as targets",
            "let the data return targets.long(), of a file by `data_arg` task=classification, or " + GIVE,
        )
    if bool(((targets == 0) | (targets == 1)).all()) and are_several:
        one_hot = targets.dim() == 2 and targets.shape[1] > 1 and bool((targets.sum(1) == 1).all())
        fitting = "cross_entropy, bce or mse" if one_hot else "bce or mse"
        what = (
            "floats that are 0 and 1, one of them 1 in each row" if one_hot else "floats that are all 0 or 1"
        )
        raise BadInput(f"the targets are {what}, so that the loss may be {fitting}", "one of them", GIVE)
    return "mse", "the targets are real numbers"


def _of_classes(shape: tuple[int, ...], places: tuple[int, ...], num_classes: int) -> tuple[str, str]:
    count = 1 if shape == places else shape[0] if shape and shape[1:] == places else 0
    said = f"{count} output{'' if count == 1 else 's'} and {num_classes} classes"
    where = " at each place" if places else ""
    if count > 1:
        return "cross_entropy", said + where
    if count == 1 and num_classes == 2:
        return "bce", said + where
    if count == 1:
        raise BadInput(said, "an output for each class, or one for two classes", GIVE)
    wanted = "".join(f", {one}" for one in places)
    remedy = "put the axis of the outputs after that of the samples, or " + GIVE
    raise BadInput(
        f"outputs (n, {_joined(shape)}) for classes (n{wanted})",
        "outputs along axis 1",
        remedy,
    )


def squashed(trial: Trial, given: Any, rows: Tensor | None, outputs: Any) -> str | None:
    """That a softmax or a sigmoid stands before a loss that applies it itself; None where none is seen."""
    takes_classes = given is LOSSES["cross_entropy"] or isinstance(given, nn.CrossEntropyLoss)
    takes_sides = given is LOSSES["bce"] or isinstance(given, nn.BCEWithLogitsLoss)
    if (
        not (takes_classes or takes_sides)
        or not isinstance(outputs, Tensor)
        or not outputs.is_floating_point()
    ):
        return None
    if not _inside(outputs) or (takes_classes and not _sums_to_one(outputs)):
        return None
    far = trees.tensors(trial.outputs(rows, trial.theta * STRETCH))
    if not far or not _inside(far[0]) or (takes_classes and not _sums_to_one(far[0])):
        return None
    what, which = ("softmax", "rows of them sum to 1") if takes_classes else ("sigmoid", "all lie in [0, 1]")
    return (
        f"the outputs are probabilities already ({which}), and the loss {name_of(given)} applies a {what} itself: "
        f"twice in all; leave that of the module out, or give a loss of probabilities"
    )


def _inside(outputs: Tensor) -> bool:
    return bool(((outputs >= 0) & (outputs <= 1)).all()) and outputs.numel() > 0


def _sums_to_one(outputs: Tensor) -> bool:
    return outputs.dim() > 1 and outputs.shape[1] > 1 and bool(((outputs.sum(1) - 1).abs() < ONE).all())


def _joined(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
