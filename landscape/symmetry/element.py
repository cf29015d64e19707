"""A point moved by a random element of all symmetries of its module, its function as it was."""

import torch
from torch import Tensor

from landscape.choices import Rescaling
from landscape.errors import BadInput
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.symmetry.alignment import FEW, doubled, tensors_of, with_units
from landscape.symmetry.everywhere import families_on
from landscape.symmetry.families import of_level
from landscape.symmetry.orbit import random_of_families, random_of_orbit
from landscape.symmetry.permutations import permuted
from landscape.symmetry.rescaling import Rescaled, function_gap, rescaled

# What the elements of each kind of family are called, as few as there are ideas.
CALLED = {
    "scaling": "scalings of units",
    "sign": "changes of sign",
    "orthogonal": "turns of a residual stream",
    "centred": "turns of a residual stream",
    "invertible": "invertible maps",
    "rotary": "turns and scales of rotary pairs",
    "shear": "shears of what a norm centres",
    "translation": "translations of what no output sees",
}


def elsewhere(
    objective: Objective, point: Point, per: Rescaling, *, seed: int, tolerance: float
) -> Rescaled | None:
    """Another point of the same function: each unit or layer rescaled, or an element of all; None for ``none``."""
    if per == "none":
        return None
    if per == "all":
        return moved(objective, point, seed=seed, tolerance=tolerance)
    return rescaled(objective, point, per=per, seed=seed, tolerance=tolerance)


def moved(objective: Objective, point: Point, *, seed: int, tolerance: float) -> Rescaled:
    """``point`` after random permutations and a random element of every family that moves θ alone.

    And by elements of each kind of group alone, where there are several. Scales are powers of two from ¼ to 4, maps
    have singular values from ½ to 2. Not where the module cannot be traced, has no unit to permute, or its outputs
    would move by more than ``tolerance`` on the data: the reason says so.
    """
    try:
        few = min(objective.num_samples, FEW)
        module, traced = with_units(objective, point, "moving by all symmetries", few, seed)
        found = families_on(objective, module, traced, few, seed).families
    except BadInput as error:
        return Rescaled(None, reason=f"not moved: {error}")
    families = of_level(found, "all", {piece.name for piece in objective.pieces})
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = doubled(tensors_of(objective, point))
    there = objective.point(random_of_orbit(traced.symmetry, families, tensors, generator), "moved")
    places = {"permutations": permuted(tensors, traced.symmetry, traced.symmetry.random(generator))}
    for what in dict.fromkeys(CALLED.values()):
        alone = [one for one in families if CALLED[one.kind] == what]
        if alone:
            places[what] = random_of_families(alone, tensors, generator)
    points = {what: objective.point(place, what) for what, place in places.items()} if families else {}
    gap = max(function_gap(objective, point, one) for one in (there, *points.values()))
    if not gap <= tolerance:
        return Rescaled(None, gap=gap, reason=f"not moved: the outputs would change by {gap:.2g} relative")
    groups = [traced.symmetry.groups[i] for i in traced.symmetry.free]
    copies = [1 if one.outer is None else traced.symmetry.groups[one.outer].size for one in groups]
    units = sum(one.size * count for one, count in zip(groups, copies, strict=True))
    others = [one for one in families if one.group is None and one.kind not in ("shear", "translation")]
    units += sum(one.size * one.copies for one in others)
    return Rescaled(there, units, gap, alone=points)
