"""Critical points in closed form, where a module and its data have one: kinds by loss, index and nullity."""

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import torch
from torch import nn

from landscape.numerics.arrays import array_of
from landscape.objective.losses import LOSSES
from landscape.objective.objective import Objective

# More kinds are not listed.
MOST = 4096
# Eigenvalues that are one, or zero, and ranks, over the largest.
APART = 1e-9
# Who found those of two linear layers.
LINEAR = "Baldi and Hornik 1989"


@dataclass(frozen=True)
class Kinds:
    """Every kind of critical point there is: ``loss``, ``index`` and ``nullity`` (k,), and of what they are."""

    of: str
    loss: np.ndarray
    index: np.ndarray
    nullity: np.ndarray


def known_kinds(objective: Objective) -> Kinds | None:
    """The kinds of critical points of an objective in float64, by loss; None where no closed form is known.

    Known are linear nets of two layers without bias under the mean squared error (Baldi and Hornik 1989), and modules
    that say theirs by a method ``critical_kinds()``, which gives losses, indices and nullities.
    """
    if objective.l2 or len(objective.samples.inputs) != 1:
        return None
    found = _said(objective) or _linear(objective)
    if found is None:
        return None
    order = np.lexsort((found.index, found.loss))
    return Kinds(found.of, found.loss[order], found.index[order], found.nullity[order])


def _said(objective: Objective) -> Kinds | None:
    say = getattr(objective.module, "critical_kinds", None)
    if say is None or objective.given is not LOSSES["output"]:
        return None
    point = objective.present_point()
    with torch.no_grad(), objective.standing(point.theta, point.fixed):
        loss, index, nullity = (array_of(one) for one in say())
    return Kinds("the module's own list", loss, index, nullity)


def _linear(objective: Objective) -> Kinds | None:
    """Two linear layers p – r – q: W₂ = U_I C, W₁ = C⁻¹ U_Iᵀ Σ_YX Σ_XX⁻¹ for a set I of eigenvectors of Σ."""
    layers = list(objective.module.children())
    passing = (nn.Identity, nn.Flatten)
    if not isinstance(objective.module, nn.Sequential) or objective.given is not LOSSES["mse"]:
        return None
    linear = [one for one in layers if not isinstance(one, passing)]
    if len(linear) != 2 or any(type(one) is not nn.Linear or one.bias is not None for one in linear):
        return None
    (inputs,), targets = objective.samples
    x, y = (array_of(one.reshape(len(one), -1).double()) for one in (inputs, targets))
    first, second = linear
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    if not targets.is_floating_point() or (x.shape[1], y.shape[1]) != (
        first.in_features,
        second.out_features,
    ):
        return None
    if objective.num_parameters != first.weight.numel() + second.weight.numel():
        return None
    dx, dy, p = first.in_features, second.out_features, first.out_features
    sxx, syx = x.T @ x, y.T @ x
    if np.linalg.matrix_rank(sxx) < dx:
        return None
    sigma = syx @ np.linalg.solve(sxx, syx.T)
    values = np.sort(np.linalg.eigvalsh((sigma + sigma.T) / 2))[::-1][: min(dx, dy)]
    gaps = np.diff(np.append(values, 0.0))
    if (-gaps <= APART * values[0]).any() or sum(comb(len(values), r) for r in range(p + 1)) > MOST:
        return None
    return _baldi_hornik(values, float((y**2).sum()) / y.size, y.size, dx, dy, p)


def _baldi_hornik(values: np.ndarray, total: float, size: int, dx: int, dy: int, p: int) -> Kinds:
    q = len(values)
    rows = []
    for r in range(min(p, q) + 1):
        for chosen in combinations(range(q), r):
            rest = [j for j in range(q) if j not in chosen]
            passed = sum(values[j] > values[i] for i in chosen for j in rest)
            rows.append(
                (
                    total - sum(values[i] for i in chosen) / size,
                    passed + (p - r) * (q - r),
                    r**2 + (p - r) * (dx + dy - 2 * (q - r)),
                )
            )
    loss, index, nullity = zip(*rows, strict=True)
    return Kinds(LINEAR, np.array(loss), np.array(index), np.array(nullity))
