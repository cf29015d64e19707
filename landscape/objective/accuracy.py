"""Accuracies are counts: what two of them may differ by."""

import math

import torch

from landscape import distributed
from landscape.objective.objective import Objective
from landscape.result import Check

# One label in so many, and one more, may be told otherwise where two outputs are a tie to rounding.
TIES = {torch.float64: math.inf, torch.float32: 1e4}
TIES_IN_HALF = 1e2


def accuracy_check(
    name: str, objective: Objective, said: float | None, reference: float, meaning: str
) -> Check:
    """``said`` against ``reference``, in labels told right: they may differ by whole ones, as many as are ties.

    So a count over n + 1 samples shows, though it is off by less than a label. None and NaN are no accuracy.
    """
    said = math.nan if said is None else said
    if math.isnan(said) or math.isnan(reference):
        is_same = math.isnan(said) and math.isnan(reference)
        return Check(name, 0.0 if is_same else math.inf, 0.0, meaning)
    labels = _num_labels(objective)
    off, ties = abs(said - reference) * labels, _num_ties(objective, labels)
    counts = [reference * labels, off]
    # Where some labels are ignored neither is a count of all.
    is_count = abs(counts[0] - round(counts[0])) < 1e-6
    whole = round(off) if is_count else off
    value = abs(off - whole) if whole <= ties else off
    return Check(
        name,
        value,
        1e-6,
        f"{meaning}, in labels; {ties} may differ by a tie" if ties else f"{meaning}, in labels",
    )


def _num_labels(objective: Objective) -> float:
    targets = objective.samples.head.targets
    each = math.prod(targets.shape[1:])
    if objective.loss.of_classes and targets.is_floating_point() and targets.dim() > 1:
        each //= targets.shape[1]
    return objective.num_samples * each


def _num_ties(objective: Objective, labels: float) -> int:
    one_in = TIES.get(objective.coarsest, TIES_IN_HALF)
    return 0 if math.isinf(one_in) else 1 + int(labels / one_in)


def tied_share(objective: Objective) -> float:
    """By how much two accuracies may differ where outputs are a tie to rounding; 0 in float64."""
    labels = _num_labels(objective)
    return _num_ties(objective, labels) / labels


def num_classes(objective: Objective) -> int | None:
    """Classes of the targets: the largest label and one, over all processes. None where they are no labels."""
    if objective.is_closure or not objective.loss.of_classes:
        return None
    targets = objective.samples.target_values
    if targets.is_floating_point() or not targets.numel():
        return None
    return 1 + int(distributed.largest(float(targets.max()))[0])


def classes_check(objective: Objective, said: int | None) -> Check:
    """``said``, the number of classes, against the last of the labels in order; None where there are no labels."""
    meaning = "classes against the last of the labels in order"
    if objective.is_closure or not objective.loss.of_classes:
        return Check("classes", float(said is not None), 0.0, meaning)
    targets = objective.samples.target_values
    if targets.is_floating_point() or not targets.numel():
        return Check("classes", float(said is not None), 0.0, meaning)
    last = distributed.largest(float(torch.unique(targets)[-1]))[0] + 1
    return Check("classes", abs(last - said) if said is not None else math.inf, 0.0, meaning)
