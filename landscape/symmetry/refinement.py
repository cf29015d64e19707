"""B moved along its orbit for a low loss between A and B.

Permutations are matched to a target that follows −∇F as if matching were the identity (Bengio et al. 2013; Ainsworth
et al. 2023, section 3.3), half way to B. A map M = exp X of a continuous family has a true derivative, so Adam (Kingma
and Ba 2015) lowers the mean of F((1 − t) A + t M B) over the logarithms X of all families at once, as Theus et al.
(2025) learn theirs; at three t, as so many maps fit one place of the line at the cost of the others.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.objective.batchnorm import blend
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point, split
from landscape.progress import Progress
from landscape.symmetry.families import TURNS, Family
from landscape.symmetry.invariants import without
from landscape.symmetry.matching import coordinate_descent
from landscape.symmetry.orbit import folded, is_gain
from landscape.symmetry.permutations import Permutations, Symmetry, permuted

# Of the straight-through estimator: a step is this share of ‖∇F‖, and momentum carries on this share of it.
STEP, MOMENTUM = 3.0, 0.9
# Of Adam on the logarithms of maps: the first step, in radians or as a share of a scale; it falls to 0 on a line.
MAP_STEP = 0.02
# The t at which the line is to be low, by permutations alone and by maps.
HALF_WAY, ALONG = (0.5,), (0.25, 0.5, 0.75)


class Refined(NamedTuple):
    """B where it was brought to, by permutations that came after those of before, and the least loss on the way."""

    tensors: dict[str, Tensor]
    permutations: Permutations
    loss: float


def refined(
    objective: Objective,
    symmetry: Symmetry,
    families: Sequence[Family],
    a: Point,
    b: Mapping[str, Tensor],
    steps: int,
    *,
    generator: torch.Generator,
    progress: Progress,
) -> Refined:
    """The best seen in ``steps`` ≥ 1 steps from B (its tensors in float64 on the CPU), which is the first.

    A step costs one ∇F, three with maps, and the matching of all groups. Permutations that are among the maps of a
    family are left to it.
    """
    rest = without(symmetry, families)
    maps = _Maps(families, b)
    names = [piece.name for piece in objective.pieces]
    target, velocity = a.theta.cpu(), torch.zeros_like(a.theta.cpu())
    permutations = symmetry.identity()
    best = None
    optimizer = torch.optim.Adam(maps.logarithms, lr=MAP_STEP) if maps.logarithms else None
    for number in range(steps):
        moved = maps.acted() if number else dict(b)
        if number:
            source = {name: moved[name].detach().to(target.dtype) for name in names}
            parts = split(target, objective.pieces)
            permutations = coordinate_descent(rest, parts, source, permutations, generator)
        state = permuted(moved, symmetry, permutations)
        now = objective.point({name: tensor.detach() for name, tensor in state.items()})
        loss, slope = _on_the_way(objective, a, now, ALONG if optimizer else HALF_WAY)
        if best is None or loss < best.loss:
            found = {name: tensor.detach() for name, tensor in state.items()}
            best = Refined(found, permutations, loss)
        share = 1 - number / steps
        velocity = MOMENTUM * velocity + slope.cpu()
        target = target - STEP * share * velocity
        if optimizer and number:
            theta = torch.cat([state[name].flatten() for name in names])
            slopes = torch.autograd.grad((slope.cpu().double() * theta).sum(), maps.logarithms)
            for one, its in zip(maps.logarithms, slopes, strict=True):
                one.grad = its
            optimizer.param_groups[0]["lr"] = MAP_STEP * share
            optimizer.step()
        progress(number + 1, steps, "refining steps")
    assert best is not None
    return best


def _on_the_way(objective: Objective, a: Point, b: Point, places: Sequence[float]) -> tuple[float, Tensor]:
    """The mean loss at these places between A (t = 0) and B (t = 1), and its slope in θ of B (d,)."""
    found = [
        (
            t,
            *objective.value_and_gradient(
                torch.lerp(a.theta, b.theta, t), blend([a.fixed, b.fixed], [1 - t, t])
            ),
        )
        for t in places
    ]
    slope = torch.stack([t * slope for t, _, slope in found]).mean(0)
    return float(np.mean([loss for _, loss, _ in found])), slope


class _Maps:
    """Maps exp X of all families, applied to B with gains of 1 where a turn needs them; gains as B's, or scaled."""

    def __init__(self, families: Sequence[Family], b: Mapping[str, Tensor]):
        turns = [one for one in families if one.kind in TURNS]
        moving = [
            one for one in families if one.kind not in ("sign", "translation") and not is_gain(one, families)
        ]
        gains = [gain for turn in turns for gain in turn.gains]
        self._start = folded(b, turns)
        own = [one.members[0][0].of(b).squeeze(2) for one in gains]
        # Each with what its element is multiplied by: the gains are those of B.
        self._families = [(one, None) for one in moving]
        self._families += [
            (one, torch.where(gain == 0, 1.0, gain)) for one, gain in zip(gains, own, strict=True)
        ]
        self.logarithms = [
            torch.zeros(one.logarithm, dtype=torch.float64, requires_grad=True) for one, _ in self._families
        ]

    def acted(self) -> dict[str, Tensor]:
        """B moved, differentiable in the logarithms."""
        found = dict(self._start)
        for (family, gain), logarithm in zip(self._families, self.logarithms, strict=True):
            element = family.exponential(logarithm)
            found = family.acted(found, element if gain is None else gain * element)
        return found
