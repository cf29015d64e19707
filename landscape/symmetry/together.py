"""All families moved at once to where B is nearest to A: Gauss–Newton, where one after the other would go on for ever.

What one family brings closer another one takes back, as a shear of what a norm hands on and what is added to a layer
that reads it. Where A is of the orbit of B nothing is left at the end, so that Gauss–Newton converges quadratically.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from landscape.symmetry.families import TURNS, Family
from landscape.symmetry.independent import generators, may_be_counted, tangents

Tensors = Mapping[str, Tensor]
FREE = ("shear", "translation")
STEPS, TRIES = 40, 10
# Logarithms of maps of this size, of scales or as a norm, are the most of a step.
LARGEST = 1.0
# What the normal equations of columns of length 1 have added to their diagonal at least, as some families are among
# others, and by how much more where a step brings nothing (Levenberg 1944, Marquardt 1963).
LEAST, TIMES = 1e-11, 10.0
# What a step must bring of the distance, and what rounding leaves of that, over the size.
WORTH, STILL = 1e-2, 1e-12
# So many steps in a row that bring less are the last: one is often short before the next ones bring all.
MOST_WEAK = 3


def together(families: Sequence[Family], a: Tensors, b: Tensors) -> dict[str, Tensor]:
    """B moved by every family but signs to the nearest there is from here, never farther from A than it is.

    As it is where there are too many directions to be counted.
    """
    families = [one for one in families if one.kind != "sign"]
    found, names = dict(b), sorted({name for one in families for name in one.tensors if name in a})
    if not families or not may_be_counted(families, b):
        return found
    goal = _flat(a, names)
    distance = float((_flat(found, names) - goal).norm())
    damping, weak = LEAST, 0
    for _ in range(STEPS):
        if distance <= STILL * float(goal.norm()):
            break
        slopes, before = _slopes(families, found, names), distance
        for _ in range(TRIES):
            step = _step(families, *slopes, goal - _flat(found, names), damping)
            other = found
            for family, logarithm in zip(families, step, strict=True):
                other = _acted(family, other, logarithm)
            apart = float((_flat(other, names) - goal).norm())
            if apart < distance:
                found, distance, damping = other, apart, max(damping / TIMES, LEAST)
                break
            damping *= TIMES
        weak = 0 if before - distance > WORTH * before else weak + 1
        if weak == MOST_WEAK or distance == before:
            break
    return found


def _slopes(families: Sequence[Family], b: Tensors, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """How all numbers move with every logarithm, in columns of length 1, and the lengths they had."""
    columns = []
    for family in families:
        there, gains = _folded(family, b)
        moved = tangents(family, there, names)
        for gain, own in gains:
            moved = _scaled(gain, own, moved, b, names)
        columns.append(moved)
    slopes = torch.cat(columns, 1)
    lengths = slopes.norm(dim=0)
    lengths[lengths == 0] = 1
    return slopes / lengths, lengths


def _step(
    families: Sequence[Family], slopes: Tensor, lengths: Tensor, apart: Tensor, damping: float
) -> list[Tensor]:
    """The logarithms that bring B nearest to A to first order, short where ``damping`` is large."""
    gram = slopes.T @ slopes
    gram.diagonal().add_(damping)
    flat = torch.linalg.solve(gram, slopes.T @ apart) / lengths
    found, start = [], 0
    for family in families:
        which = generators(family)
        one = torch.zeros(family.logarithm, dtype=torch.float64)
        one.view(-1)[which] = flat[start : start + len(which)]
        found.append(one)
        start += len(which)
    maps = [one.norm(dim=(-2, -1)) if one.dim() == 3 else one.abs() for one in found]
    sizes = [float(size.max()) for size, one in zip(maps, families, strict=True) if one.kind not in FREE]
    share = LARGEST / max([LARGEST, *sizes])
    return [share * one for one in found]


def _acted(family: Family, tensors: Tensors, logarithm: Tensor) -> dict[str, Tensor]:
    """Moved by exp X; a turn with gains of 1, which are as they were afterwards."""
    there, gains = _folded(family, tensors)
    found = family.acted(there, family.exponential(logarithm))
    for gain, own in gains:
        found = gain.acted(found, own)
    return found


def _folded(family: Family, tensors: Tensors) -> tuple[Tensors, list[tuple[Family, Tensor]]]:
    """With gains of 1 where it is a turn, and the scales that bring back what they were, in that order."""
    if family.kind not in TURNS:
        return tensors, []
    owns = [gain.members[0][0].of(tensors).squeeze(2) for gain in family.gains]
    scales = [torch.where(own == 0, 1.0, own) for own in owns]
    return family.folded(tensors), list(zip(family.gains, scales, strict=True))[::-1]


def _scaled(gain: Family, by: Tensor, columns: Tensor, b: Tensors, names: Sequence[str]) -> Tensor:
    """Columns of slopes with the scales of a gain, which are linear, on all numbers that it moves."""
    ones = {name: torch.ones_like(b[name], dtype=torch.float64) for name in names}
    members = tuple((slot._replace(offset=0.0), a) for slot, a in gain.members if slot.block.tensor in ones)
    return _flat(replace(gain, members=members).acted(ones, by), names)[:, None] * columns


def _flat(tensors: Tensors, names: Sequence[str]) -> Tensor:
    return torch.cat([tensors[name].double().flatten() for name in names])
