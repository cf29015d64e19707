"""The loss that a model of transformers makes itself: in closed form where that gives the same number, else asked for.

A closed form can be summed over any chunks. Which one a class has is told by its name and its configuration, and taken
only where the model itself says the same of some samples; names alone do not tell.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_map

from landscape.errors import BadInput
from landscape.inputs.models.huggingface import main_input

# What the losses of transformers leave out.
IGNORED = -100
# Classes of models by what their own loss is: the cross entropy of the next token, of each token, of the whole.
NEXT = ("LMHeadModel", "ForCausalLM")
EACH = ("ForMaskedLM", "ForTokenClassification")
WHOLE = (
    "ForSequenceClassification",
    "ForImageClassification",
    "ForAudioClassification",
    "ForVideoClassification",
)
# Where a class calls its targets otherwise, one column of them for each.
SPAN = ("start_positions", "end_positions")
BY_TYPE = {
    "regression": "mse",
    "single_label_classification": "cross_entropy",
    "multi_label_classification": "bce",
}
# Samples that are asked of the model itself, and how far float32 may leave its loss from the closed form.
FEW, SAME = 8, 1e-4


def own_loss(module: Any, inputs: Any, targets: Tensor) -> tuple[str | Callable[..., Any], str]:
    """The model's own loss as an objective takes it, and which it is in words; sets what the module ``gives``."""
    name = type(module).__name__
    if name.endswith(WHOLE):
        found = _of_whole(module.config, targets)
        if _is_same(module, "classes", inputs, targets, lambda out, y: _built_in(found, out, y)):
            module.gives = "classes"
            return found, f"the loss is {name}'s own: {found}"
    for shift in (1, 0) if name.endswith(NEXT) else (0,) if name.endswith(EACH) else ():
        loss = _TokenLoss(shift)
        if _is_same(module, "logits", inputs, targets, loss.mean):
            module.gives = "logits"
            what = "the next token" if shift else "each token"
            return loss, f"the loss is {name}'s own: cross entropy of {what}, a mean over those not {IGNORED}"
    module.gives = "loss"
    return _given_loss, f"the loss is what {name} itself gives for labels"


def with_labels(module: Any, inputs: Any, targets: Tensor) -> Any:
    """The inputs with the targets beside them, by the names that the model has for these, where it makes the loss."""
    if getattr(module, "gives", "") != "loss":
        return inputs
    named = dict(inputs) if isinstance(inputs, Mapping) else {main_input(module): inputs}
    known = inspect.signature(type(module).forward).parameters
    if "labels" in known:
        return {**named, "labels": targets}
    if not all(name in known for name in SPAN) or any(name in named for name in SPAN):
        return named
    if targets.dim() != 2 or targets.shape[1] != len(SPAN):
        raise BadInput(
            f"targets {tuple(targets.shape)} for {type(module).__name__}",
            f"two columns, {' and '.join(SPAN)}",
            "let the data return these, or both by their names among the inputs",
        )
    return named | {name: targets[:, k] for k, name in enumerate(SPAN)}


class _TokenLoss:
    """(Σ −log p of the labels that count, their number), in the dtype of the logits (n, length, classes)."""

    __name__ = "own"

    def __init__(self, shift: int):
        self.shift = shift

    def __call__(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        rest = logits.shape[1] - self.shift
        classes, wanted = logits[:, :rest].flatten(0, 1), labels[:, self.shift :].flatten()
        total = functional.cross_entropy(classes, wanted, ignore_index=IGNORED, reduction="sum")
        return total, (wanted != IGNORED).sum()

    def mean(self, logits: Tensor, labels: Tensor) -> Tensor:
        total, count = self(logits, labels)
        return total / count


def _given_loss(loss: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    count = (labels != IGNORED).sum()
    return loss * count, count


_given_loss.__name__ = "own"


def _of_whole(config: Any, targets: Tensor) -> str:
    """As transformers chooses it, where the configuration does not say it."""
    said = BY_TYPE.get(str(getattr(config, "problem_type", None)))
    if said:
        return said
    is_number = getattr(config, "num_labels", 2) == 1
    return "mse" if is_number else "bce" if targets.is_floating_point() else "cross_entropy"


def _built_in(name: str, outputs: Tensor, targets: Tensor) -> Tensor:
    if name == "cross_entropy":
        return functional.cross_entropy(outputs, targets)
    wanted = targets.to(outputs.dtype).reshape(outputs.shape)
    if name == "mse":
        return functional.mse_loss(outputs, wanted)
    return functional.binary_cross_entropy_with_logits(outputs, wanted)


def _is_same(
    module: Any, gives: str, inputs: Any, targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
) -> bool:
    """Whether a closed form is what the model itself says of some samples; also where it says nothing of them."""
    counted = (targets != IGNORED).reshape(len(targets), -1).any(1).nonzero().flatten()
    counted = counted[:: max(1, len(counted) // FEW)]
    dtype = next((one.dtype for one in module.parameters() if one.is_floating_point()), torch.float32)

    def few(one: Any) -> Any:
        if not isinstance(one, Tensor):
            return one
        part = one[counted]
        return (
            part.to(dtype) if part.is_floating_point() else part if part.dtype == torch.bool else part.long()
        )

    some, wanted = tree_map(few, inputs), few(targets)
    before, kind = module.config.__dict__.get("problem_type"), getattr(module, "gives", "logits")
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            module.gives = "loss"
            own = float(module(with_labels(module, some, wanted)))
            module.gives = gives
            mine = float(loss(module(some), wanted))
    except Exception:
        # What is wrong with the data is said where they are checked.
        return True
    finally:
        module.gives = kind
        if "problem_type" in module.config.__dict__:
            module.config.problem_type = before
    return math.isnan(own) or abs(own - mine) <= SAME * max(1.0, abs(own))
