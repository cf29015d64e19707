"""What is said of certificates beside their numbers: what was left out, what stands in the way."""

from typing import Any

import numpy as np
import torch

from landscape.certificates.claims import KINK
from landscape.certificates.losses import meaning_of
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.reading import reads_parameters


def notes_of(objective: Objective, here: Objective, point: Point, result: Any) -> list[str]:
    """What has to be said beside the numbers; ``here`` is the objective in float64, looked at at ``point``."""
    notes = []
    if objective.l2:
        notes.append("the penalty is left out: all numbers here are of the loss alone")
    if reads_parameters(here, point):
        notes.append(
            f"the loss {objective.loss.name} reads parameters itself, beside the outputs: features and kernel are of "
            "the outputs alone, ∇F is of all of F"
        )
    if here.coarsest != torch.float64:
        notes.append(
            "not in float64, which module, loss or device do not take: ranks are those of coarser rounding"
        )
    elif not objective.is_double:
        notes.append(
            "computed in float64 at the point as it is stored: polished points have smaller gradients"
        )
    meaning = meaning_of(here)
    if meaning.attains is False:
        notes.append(
            f"{meaning.name} attains no minimum on these targets: no critical point can be where a rank is full, and F "
            "falls on towards its infimum at infinity"
        )
    if result.layer is None:
        notes.append("no layer multiplies features by a weight of its own, as far as the operations show")
    elif len(result.layer) == 1:
        notes.append("a module with one layer: its features are the inputs themselves")
    if np.ndim(result.ntk_smallest) == 1 and len(np.ravel(result.ntk_smallest)) > 1:
        least = float(np.min(result.ntk_smallest))
        notes.append(
            f"λ_min(K) ≥ {least:.3g} at the points looked at; what it is between and beyond them is not known"
        )
    if np.min(result.nearest_kink) <= KINK:
        notes.append("a sample lies on a kink: ∇F there is one of several, and no differentiable claim holds")
    return notes
