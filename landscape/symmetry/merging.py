"""Several points brought together by permuting their hidden units, or by all their symmetries, and their mean.

Every point is matched to the mean of the others, in turn, until none moves (Ainsworth, Hayase and Srinivasa 2023,
algorithm 3). All of them are permuted into one arrangement, so that from A to B to C and back is where it began
(Crisostomi et al. 2024), which matching pair by pair does not give.

Scales and other maps that all points share would shrink the distances and bring nothing closer; so with these the point
that a start begins with stays where it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from landscape.errors import BadInput, ChangedFunction
from landscape.objective.batchnorm import blend
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.progress import Progress, silent
from landscape.symmetry import function_difference, preserved
from landscape.symmetry.alignment import (
    FEW,
    beside_frozen,
    doubled,
    odd_groups,
    require_finite,
    tensors_of,
    with_units,
)
from landscape.symmetry.everywhere import batches_of, families_on
from landscape.symmetry.families import TURNS, Family, Found, moved_by, of_level
from landscape.symmetry.matching import SAME, coordinate_descent, matched
from landscape.symmetry.orbit import Orbit, between, nearer, nearest_of_orbit
from landscape.symmetry.permutations import Permutations, Symmetry, composed, flipped, permuted

MOST_SWEEPS = 100
# Maps come closer by less and less, so with these a sweep that brings less than this share of Σᵢ ‖θᵢ − θ̄‖² is the last;
# those that need no turn, which take a small part of the time, go on to the second.
SETTLED, AT_REST = 1e-4, 1e-5
# Of Σᵢ ‖θᵢ‖², what is rounding, and sweeps go on lowering.
ROUNDED = 1e-18
State = Mapping[str, Tensor]


class Merged(NamedTuple):
    """K points in one arrangement of their units, as they were given, and their mean.

    ``function_difference``: the largest max |Δh| / max |h| of the outputs of any of them before and after, in float64;
    ``preserved``: what rounding may move them by. ``spreads``: Σᵢ ‖θᵢ − θ̄‖² that each start ended with. ``families``:
    continuous symmetries that moved them, all but the point ``held`` (None where there are none); ``refused``: what was
    not used, as it would have changed the function.
    """

    points: list[Point]
    mean: Point
    permutations: list[Permutations]
    symmetry: Symmetry
    function_difference: float
    preserved: float
    spreads: list[float]
    families: list[Family]
    held: int | None
    refused: list[str]


def merged(
    objective: Objective,
    points: Sequence[Point],
    *,
    symmetry: str = "permutation",
    restarts: int = 3,
    seed: int = 0,
    progress: Progress = silent,
) -> Merged:
    """The permutations of each of K ≥ 2 points that lie closest together: least Σᵢ ‖Pᵢθᵢ − θ̄‖², and θ̄.

    Start r first matches all to the r-th point; the points are taken in the order of their digests, so that the order
    in which they are given decides nothing, bit for bit. A sweep is K matchings. Units of odd activations change sign
    where that brings them closer. ``symmetry``: as in :func:`~landscape.symmetry.alignment.aligned`; each but the r-th
    point is then brought closest to the mean of the others by these maps as well. Raises BadInput for several
    processes, points that are all one, a module that cannot be traced or has no unit to permute, NotFinite for a point
    that diverged, and ChangedFunction where the outputs of a point on the data would move.
    """
    require_finite(points)
    order = sorted(range(len(points)), key=lambda i: points[i].sha256)
    if len({points[i].sha256 for i in order}) == 1:
        raise BadInput(f"{len(points)} points that are one and the same", "points that differ")
    few = min(objective.num_samples, FEW)
    module, traced = with_units(objective, points[order[0]], "merging", few, seed)
    found = Found([], [], [])
    if symmetry != "permutation":
        found = families_on(objective, module, traced, few, seed)
    families = of_level(found.families, symmetry, {piece.name for piece in objective.pieces})
    units = replace(beside_frozen(objective, traced.symmetry, points), beside=moved_by(families))
    given = [doubled(tensors_of(objective, points[i])) for i in order]
    together, spreads = None, []
    for start in range(restarts):
        generator = torch.Generator().manual_seed(seed + start)
        begun = _Together(objective, units, families, given, generator)
        begun.begin(start % len(order))
        begun.settle()
        spreads.append(begun.spread())
        if together is None or spreads[-1] < min(spreads[:-1]):
            together = begun
        progress(start + 1, restarts, "starts")
    assert together is not None
    gap = 0.0
    for before, after in zip(given, together.states, strict=True):
        gap = max(
            gap, function_difference(module, before, after, batches_of(objective, objective.chunk_size))
        )
    if not gap <= preserved(traced):
        raise ChangedFunction(
            f"merging would change the outputs of {type(objective.module).__name__} by {gap:.2g} of their size",
            f"at most {preserved(traced):g}",
        )
    place = {i: k for k, i in enumerate(order)}
    moved = [objective.point(state) for state in together.states]
    return Merged(
        [moved[place[i]] for i in range(len(points))],
        mean_of(moved, "mean of aligned"),
        [together.permutations[place[i]] for i in range(len(points))],
        units,
        gap,
        preserved(traced),
        spreads,
        families,
        order[together.held] if families else None,
        found.refused,
    )


def mean_of(points: Sequence[Point], label: str) -> Point:
    """θ̄, summed in float64 in the order of the points' digests, with the mean of what stands beside θ."""
    points = sorted(points, key=lambda one: one.sha256)
    theta = torch.stack([one.theta.double() for one in points]).mean(0).to(points[0].theta.dtype)
    return Point(theta, blend([one.fixed for one in points], [1.0] * len(points)), label)


class _Together:
    """States of all points, each moved, under way."""

    held = 0

    def __init__(
        self,
        objective: Objective,
        symmetry: Symmetry,
        families: Sequence[Family],
        given: Sequence[State],
        generator: torch.Generator,
    ):
        self._names = [piece.name for piece in objective.pieces]
        self._symmetry, self._families, self._generator = symmetry, families, generator
        self._odd = odd_groups(objective, symmetry)
        self.states = list(given)
        self.permutations = [symmetry.identity() for _ in given]

    def begin(self, reference: int) -> None:
        """All matched to one of them."""
        self.held = reference
        target = self._weights(self.states[reference])
        for i, state in enumerate(self.states):
            if i == reference:
                continue
            best = matched(
                self._symmetry,
                target,
                self._weights(state),
                generator=self._generator,
                restarts=2,
                odd=self._odd,
            )
            self._move(i, flipped(state, self._symmetry, best.signs), best.permutations)
            if self._families:
                orbit = nearest_of_orbit(
                    self._symmetry, self._families, target, state, generator=self._generator
                )
                if orbit.distance < between(target, self.states[i]):
                    self.states[i], self.permutations[i] = orbit.tensors, orbit.permutations

    def settle(self) -> None:
        """Each matched to the mean of the others, from where it is, until that brings nothing."""
        still = [one for one in self._families if one.kind not in TURNS]
        size = sum(
            float(one.square().sum()) for state in self.states for one in self._weights(state).values()
        )
        for families, share in (
            ((self._families, SETTLED), (still, AT_REST)) if self._families else (([], SAME),)
        ):
            for _ in range(MOST_SWEEPS):
                before = self.spread()
                self._sweep(families)
                if before - self.spread() <= max(share * before, ROUNDED * size):
                    break

    def _sweep(self, families: Sequence[Family]) -> None:
        for i in torch.randperm(len(self.states), generator=self._generator).tolist():
            others = [self._weights(state) for k, state in enumerate(self.states) if k != i]
            target = {name: torch.stack([one[name] for one in others]).mean(0) for name in self._names}
            change = coordinate_descent(
                self._symmetry,
                target,
                self._weights(self.states[i]),
                self._symmetry.identity(),
                self._generator,
            )
            self._move(i, self.states[i], change)
            if families and i != self.held:
                here = Orbit(dict(self.states[i]), self.permutations[i], torch.inf)
                orbit = nearer(self._symmetry, families, target, here, self._generator)
                self.states[i], self.permutations[i] = orbit.tensors, orbit.permutations

    def spread(self) -> float:
        """Σᵢ ‖θᵢ − θ̄‖²."""
        parts = [torch.stack([state[name] for state in self.states]) for name in self._names]
        return sum(float((part - part.mean(0)).square().sum()) for part in parts)

    def _weights(self, state: State) -> dict[str, Tensor]:
        return {name: state[name] for name in self._names}

    def _move(self, i: int, state: State, change: Permutations) -> None:
        self.states[i] = permuted(state, self._symmetry, change)
        self.permutations[i] = composed(self._symmetry, self.permutations[i], change)
