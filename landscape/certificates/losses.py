"""What a loss is to a certificate: convex in the outputs or not, and whether a sample's least loss is attained."""

from dataclasses import dataclass

from torch import nn

from landscape.objective.losses import LOSSES, likelihood_of
from landscape.objective.objective import Objective


@dataclass(frozen=True)
class Meaning:
    """None stands for what cannot be known of a loss of the user's own."""

    name: str
    is_square: bool
    is_convex: bool | None
    attains: bool | None


def meaning_of(objective: Objective) -> Meaning:
    """Square loss, cross entropy and log loss are known, as built in and as torch's own; of others nothing is."""
    given, targets, name = objective.given, objective.samples.targets, objective.loss.name
    likelihood = likelihood_of(given)
    if likelihood == "mse":
        return Meaning("mse", True, True, True)
    # Weights and smoothing make another likelihood, of the same shape.
    is_cross_entropy = likelihood == "cross_entropy" or type(given) is nn.CrossEntropyLoss
    if is_cross_entropy or likelihood == "bce" or type(given) is nn.BCEWithLogitsLoss:
        # Soft targets have a best output, at which the loss is their entropy; hard ones push it to infinity.
        is_soft = targets.is_floating_point() and bool(((targets > 0) & (targets < 1)).all())
        is_soft = is_soft or getattr(given, "label_smoothing", 0.0) > 0
        # Of targets of a negative sum, which are no probabilities, the logarithm of the sum is taken away.
        is_convex = not (
            is_cross_entropy and targets.is_floating_point() and bool((targets.sum(1) < 0).any())
        )
        return Meaning("cross_entropy" if is_cross_entropy else "bce", False, is_convex, is_soft)
    if given is LOSSES["output"]:
        return Meaning("output", False, True, False)
    return Meaning(name, False, None, None)
