"""A narrow module as a point of a wider one of the same kind: units beside its own, whose every number is 0.

Permuted into the places of units of another point they are a semi-permutation (Theus et al. 2025): a narrow net is
matched with a part of a wide one. Numbers of 0 into and out of a unit leave the function as it is unless units are
normalised together, as a norm over features does; so the function is tried, on all of the data.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from landscape import distributed
from landscape.errors import BadInput
from landscape.objective.modes import in_mode
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.symmetry.alignment import FEW, doubled, tensors_of
from landscape.symmetry.everywhere import batches_of
from landscape.symmetry.permutations import Symmetry
from landscape.symmetry.verified import batch_experts, function_difference, preserved, symmetry_of


def embedded(objective: Objective, module: nn.Module, label: str = "", *, seed: int = 0) -> Point:
    """The point of ``objective`` at which its module is the function of the narrower ``module``.

    Raises BadInput for several processes, for a module of another structure, one that is wider anywhere or of other
    inputs or outputs, and where the outputs on the data would move by more than rounding.
    """
    distributed.require_one_process("embedding a narrower model")
    there = objective.present_point()
    large = batch_experts(objective.module_at(there, device="cpu", dtype=torch.float64))
    few = objective.few(min(objective.num_samples, FEW)).inputs
    wide, narrow = (symmetry_of(one, few, seed=seed) for one in (large, module))
    tensors = {n: one.detach().cpu() for n, one in (*module.named_parameters(), *module.named_buffers())}
    found = placed(
        wide.symmetry, narrow.symmetry, tensors, tensors_of(objective, there), label or type(module).__name__
    )
    point = objective.point(found, label)
    small = batch_experts(in_mode(copy.deepcopy(module), False).double().cpu())
    places = doubled(tensors), doubled(tensors_of(objective, point))
    gap = function_difference(small, *places, batches_of(objective, objective.chunk_size), large)
    if not gap <= max(preserved(wide), preserved(narrow)):
        raise BadInput(
            f"{label or type(module).__name__} as a point of the wider model, with 0 for every number that it lacks, "
            f"would change its outputs by {gap:.2g} of their size",
            "models that differ in nothing but numbers of hidden units, of channels or of whole heads",
            "bring those together that are as wide: a norm over features or the scale of attention depends on a width",
        )
    return point


def placed(
    wide: Symmetry,
    narrow: Symmetry,
    tensors: Mapping[str, Tensor],
    there: Mapping[str, Tensor],
    called: str = "the narrower module",
) -> dict[str, Tensor]:
    """The tensors of the narrow module in the shapes of ``there``, its units first in every group, 0 for the others.

    Raises BadInput where blocks are not of the same groups in the same order, or a narrow one is larger.
    """
    own, others = ([(one.tensor, one.groups, one.outers) for one in s.blocks] for s in (narrow, wide))
    if tensors.keys() != there.keys() or own != others:
        raise BadInput(
            f"{called}, whose units are not arranged as those of the wider module",
            "two models that differ in their widths alone",
        )
    found: dict[str, Tensor] = {}
    covered = dict.fromkeys(tensors, 0)
    for name, one in tensors.items():
        found[name] = one.clone() if one.shape == there[name].shape else one.new_zeros(there[name].shape)
    for small, large in zip(narrow.blocks, wide.blocks, strict=True):
        pairs = zip(small.shape, large.shape, small.groups, strict=True)
        if any(n > m or (n < m and group is None) for n, m, group in pairs):
            raise BadInput(
                f"{small.tensor} of {called}: {small.shape} instead of {large.shape}",
                "no more units in any layer than the wider model has, and the same inputs and outputs",
            )
        values = small.of(tensors)
        covered[small.tensor] += values.numel()
        whole = values.new_zeros(large.shape)
        whole[tuple(slice(n) for n in small.shape)] = values
        place = large.box(found[large.tensor])
        place.copy_(whole.reshape(place.shape))
    for name, one in tensors.items():
        if one.shape != there[name].shape and covered[name] < one.numel():
            raise BadInput(
                f"{name} of {called}: {tuple(one.shape)} instead of {tuple(there[name].shape)}",
                "the same inputs and outputs, and widths that differ where units can be permuted",
            )
    return found
