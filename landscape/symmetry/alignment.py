"""B with its hidden units permuted so that it lies closest to A, its function unchanged.

The symmetry of the module is found by :mod:`landscape.symmetry`, the permutations by
:mod:`landscape.symmetry.matching`; scales, turns and other linear maps by :mod:`landscape.symmetry.continuous` and
:mod:`landscape.symmetry.orbit`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from landscape import distributed
from landscape.errors import BadInput, ChangedFunction, NotFinite
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point, by_pairs, split
from landscape.progress import Progress, silent
from landscape.result import Check
from landscape.symmetry import Traced, function_difference, preserved, symmetry_of
from landscape.symmetry.correlations import correlations
from landscape.symmetry.everywhere import batches_of, families_on
from landscape.symmetry.families import Family, Found, moved_by, of_level
from landscape.symmetry.independent import dimensions, rank_bounds
from landscape.symmetry.matching import assigned, matched
from landscape.symmetry.moments import near
from landscape.symmetry.orbit import Orbit, at_rest, between, nearer, nearest_of_orbit, random_of_orbit
from landscape.symmetry.order import tried_junctions
from landscape.symmetry.permutations import Permutations, Symmetry, composed, flipped, permuted
from landscape.symmetry.refinement import refined
from landscape.symmetry.slots import Slot
from landscape.symmetry.verified import batch_experts

# Samples that the graph is traced and tried on; the graph of activations has this many at a time.
FEW, MANY = 4, 64
# What is left of the distance to a copy moved by linear maps that counts as brought back.
RECOVERED = 1e-5


class Aligned(NamedTuple):
    """What was done to B.

    ``point``: B aligned; ``function_difference``: of its outputs on the data, max |Δh| / max |h| in float64;
    ``stored_difference``: the same of the point, whose rescaled numbers are rounded to its dtype; ``preserved``: what
    the former may be by rounding; ``planted_distance``: what is left of the distance from A to a copy of it, moved by
    random elements of all symmetries that were used, once it was brought back; ``signs``: ±1 for every unit of B in
    groups with odd activations, NaN where other maps leave it untold; ``families``: continuous symmetries that were
    used; ``dimensions``: what each adds to the directions of those before it, where they are few enough to be counted;
    ``rank``: the fewest and the most that they are together, counted at once, None where they are many;
    ``planted``: how far A lies from what was brought back, and from its copy, by sums of their own;
    ``refused``: what was not used, as it would have changed the function.
    """

    point: Point
    symmetry: Symmetry
    permutations: Permutations
    signs: Mapping[int, Tensor]
    families: list[Family]
    dimensions: list[int]
    rank: tuple[int, int] | None
    planted: tuple[float, float]
    refused: list[str]
    function_difference: float
    stored_difference: float
    preserved: float
    planted_distance: float
    notes: list[str]

    @property
    def num_rescaled(self) -> int:
        """Units whose scale may have changed."""
        return sum(one.size * one.copies for one in self.families if one.kind == "scaling")

    @property
    def planted_recovered(self) -> bool:
        """Whether the copy of A was brought back: exactly, or by linear maps to 1e-5 of its distance."""
        return self.planted_distance <= (RECOVERED if self.families else 0.0)

    @property
    def coverage(self) -> str:
        """How many parameters can be moved, and what holds the others."""
        return self.symmetry.coverage

    @property
    def check(self) -> Check:
        """That B is the same function as before."""
        meaning = "outputs of B on the data before and after, in float64: max |Δh| / max |h|"
        return Check("function preserved", self.function_difference, self.preserved, meaning)


def aligned(
    objective: Objective,
    a: Point,
    b: Point,
    *,
    match: str = "weights",
    restarts: int = 2,
    symmetry: str = "permutation",
    refine: int = 0,
    seed: int = 0,
    progress: Progress = silent,
) -> Aligned:
    """B aligned with A.

    ``match``: ``weights`` minimises ‖A − P(B)‖ by coordinate descent from ``restarts`` starts,
    ``activations`` maximises the correlation of units on the data (Ainsworth et al. 2023, sections 3.2
    and 3.1). ``symmetry``: ``permutation``; with ``scaling`` scales and signs of units; with ``orthogonal`` turns
    of a residual stream as well; with ``all`` every invertible map that leaves the function (Theus et al. 2025): B
    is brought closest to A by them and permutations in turn, or from permutations alone where that is closer.
    ``refine``: so many steps from there towards a low loss between A and B, by permutations (section 3.3) and, with
    more symmetries, by their maps (:mod:`landscape.symmetry.refinement`). Units of odd activations change sign
    where that brings them closer.

    Raises BadInput for several processes, and for a module that cannot be traced
    or has no unit to permute, NotFinite for a point that diverged, and ChangedFunction where the outputs of B on the
    data would move.
    """
    require_finite([a, b])
    few = min(objective.num_samples, FEW if match == "weights" else MANY)
    module, traced = with_units(objective, b, "alignment", few, seed)
    names = {piece.name for piece in objective.pieces}
    found = Found([], [], [])
    if symmetry != "permutation":
        found = families_on(objective, module, traced, few, seed)
    families = of_level(found.families, symmetry, names)
    units = replace(beside_frozen(objective, traced.symmetry, [a, b]), beside=moved_by(families))
    generator = torch.Generator().manual_seed(seed)
    odd = odd_groups(objective, units)

    def find(target: Point, source: Point, restarts: int) -> tuple[Permutations, Mapping[int, Tensor]]:
        if match == "activations":
            batches = batches_of(objective, few, whole=True)
            one, other = (doubled(tensors_of(objective, point)) for point in (target, source))
            return assigned(units, correlations(traced, one, other, batches), odd)
        one, other = (split(point.theta.cpu(), objective.pieces) for point in (target, source))
        best = matched(units, one, other, generator=generator, restarts=restarts, odd=odd)
        return best.permutations, best.signs

    # In float64, so that what follows is exact until the point is stored.
    start, goal = doubled(tensors_of(objective, b)), split(a.theta.cpu().double(), objective.pieces)
    permutations, signs = find(a, b, restarts)
    now = permuted(flipped(start, units, signs), units, permutations)
    if families:
        held = permutations if match == "activations" else None
        orbit = nearest_of_orbit(
            units, families, goal, start, generator=generator, restarts=restarts, held=held
        )
        if held is not None or orbit.distance < between(goal, now):
            now, permutations, signs = orbit.tensors, orbit.permutations, {}
        else:
            orbit = nearer(units, families, goal, Orbit(now, permutations, torch.inf), generator)
            orbit = at_rest(families, goal, orbit)
            now, permutations = orbit.tensors, orbit.permutations
    if refine:
        better = refined(objective, units, families, a, now, refine, generator=generator, progress=progress)
        now, permutations = better.tensors, composed(units, permutations, better.permutations)
    if families:
        signs = {
            **signs,
            **_signs_of(units, families, permuted(start, units, permutations), now, permutations),
        }
    gap = function_difference(module, start, now, batches_of(objective, objective.chunk_size))
    if not gap <= preserved(traced):
        raise _changed(objective, module, start, traced, permutations, gap)
    point = objective.point(now, f"{b.label} aligned")
    stored = gap
    if families:
        rounded = doubled(tensors_of(objective, point))
        stored = function_difference(module, start, rounded, batches_of(objective, objective.chunk_size))
    whole = doubled(tensors_of(objective, a))
    planted = random_of_orbit(units, families, whole, generator)
    if families:
        back = nearest_of_orbit(units, families, goal, planted, generator=generator).tensors
    else:
        back = permuted(planted, units, find(a, objective.point(planted), 1)[0])
    beside = near(start, sorted(names), torch.Generator().manual_seed(seed))
    return Aligned(
        point,
        units,
        permutations,
        signs,
        families,
        dimensions(families, beside),
        rank_bounds(families, beside),
        (_apart(goal, back), _apart(goal, planted)),
        found.refused,
        gap,
        stored,
        preserved(traced),
        between(goal, back) / max(between(goal, planted), 1e-300),
        _notes(symmetry, match, families, found.refused, signs),
    )


def _apart(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """How far two points are apart, as the length of all their numbers in one row."""
    rows = [torch.cat([each[name].double().cpu().flatten() for name in one]) for each in (one, other)]
    return float((rows[0] - rows[1]).norm())


def with_units(
    objective: Objective, point: Point, what: str, few: int, seed: int
) -> tuple[nn.Module, Traced]:
    """The module at a point in float64 on the CPU, and its symmetry, of which some unit may be permuted.

    Raises BadInput where none may, for a module that cannot be traced or is in training mode, and for several
    processes; ``what`` was to be done.
    """
    distributed.require_one_process(what)
    if objective.training:
        raise BadInput(f"{what} of a module in training mode", "eval mode", "leave `training` away")
    module = batch_experts(objective.module_at(point, device="cpu", dtype=torch.float64))
    traced = symmetry_of(module, objective.few(few).inputs, seed=seed)
    _require_units(objective, traced.symmetry)
    return module, traced


def beside_frozen(objective: Objective, symmetry: Symmetry, points: Sequence[Point]) -> Symmetry:
    """The symmetry without the groups of frozen parameters which all points share, as the base of adapters.

    These are no part of θ, so that nothing would hold them together: of a group they are more numbers than what is
    trained, as a frozen bias beside its weight is not. Raises BadInput where no group is left.
    """
    sizes = {name: one.numel() for name, one in objective.module.named_parameters()}
    shared = {
        name
        for name, one in points[0].fixed.items()
        if name in sizes and all(torch.equal(other.fixed[name], one) for other in points[1:])
    }
    for group in symmetry.free:
        moved = {block.tensor for block in symmetry.of(group)} & sizes.keys()
        held = sorted(moved & shared)
        if 2 * sum(sizes[name] for name in held) > sum(sizes[name] for name in moved):
            symmetry = symmetry.without(group, f"is of units of {held[0]}, which is frozen and shared")
    _require_units(objective, symmetry)
    return symmetry


def _require_units(objective: Objective, symmetry: Symmetry) -> None:
    if not symmetry.free:
        name, reason = next(iter(symmetry.blocked.items()))
        raise BadInput(
            f"no unit of {type(objective.module).__name__} can be permuted ({name}: {reason})",
            "a layer of hidden units",
        )


def require_finite(points: Sequence[Point]) -> None:
    """Raises NotFinite where a number of θ is NaN or infinite: no unit is near another one then."""
    for number, point in enumerate(points):
        count = int((~point.theta.isfinite()).sum())
        if count:
            called = point.label or f"point {number + 1}"
            raise NotFinite(
                f"{count} of {point.theta.numel()} numbers of {called} are NaN or infinite",
                "points that are finite",
                "leave away what diverged",
            )


def tensors_of(objective: Objective, point: Point) -> dict[str, Tensor]:
    """The parameters and buffers of a point by name, on the CPU."""
    parts = split(point.theta, objective.pieces)
    if objective.sees_pairs:
        parts = {piece.name: by_pairs(parts[piece.name], piece) for piece in objective.pieces}
    return {name: tensor.detach().cpu() for name, tensor in {**parts, **point.fixed}.items()}


def doubled(tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: t.double() if t.is_floating_point() else t for name, t in tensors.items()}


def odd_groups(objective: Objective, symmetry: Symmetry) -> list[int]:
    """The groups whose every block a junction of odd layers turns."""
    found = []
    for one in tried_junctions(objective, odd=True):
        wanted = sorted([*(piece.name for piece in one.incoming), one.outgoing.name])
        for group in symmetry.free:
            blocks = symmetry.of(group)
            is_plain = all(block.groups.count(group) == 1 for block in blocks)
            if is_plain and sorted(block.tensor for block in blocks) == wanted:
                found.append(group)
    return found


def _signs_of(
    units: Symmetry,
    families: list[Family],
    start: Mapping[str, Tensor],
    now: Mapping[str, Tensor],
    permutations: Permutations,
) -> dict[int, Tensor]:
    """±1 for every unit of B in groups of which a family changes signs, from ``start``, B permuted, to ``now``.

    By tensors that no other family moves but those whose signs are known; NaN where there is none, or zeros alone.
    """
    found, there, left, untold = {}, dict(start), list(families), list[Family]()
    while True:
        open_ones = (
            (family, slots)
            for family in left
            if family.kind == "sign" and family.copies == 1 and family not in untold
            if (slots := _own_slots(family, left))
        )
        family, slots = next(open_ones, (None, []))
        if family is None:
            break
        along = torch.stack([(slot.of(there) * slot.of(now)).sum(2) for slot in slots]).sum(0)
        element = torch.where(along < 0, -1.0, 1.0)
        # Where all of a unit is zero, either sign is.
        is_told = (along != 0) | (len(slots) == len(family.members))
        if family.group is not None:
            found[family.group] = torch.ones(family.size)
            found[family.group][permutations[family.group]] = element.where(is_told, torch.nan)[0].float()
        if bool(is_told.all()):
            there, left = family.acted(there, element), [one for one in left if one is not family]
        else:
            untold.append(family)
    for family in left:
        if family.kind == "sign" and family.group is not None:
            found.setdefault(family.group, torch.full((permutations[family.group].numel(),), torch.nan))
    return found


def _own_slots(family: Family, families: list[Family]) -> list[Slot]:
    """The places of a family in tensors that no other one moves."""
    taken = {name for other in families if other is not family for name in other.tensors}
    return [slot for slot, _ in family.members if slot.block.tensor not in taken]


def _changed(
    objective: Objective,
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    traced: Traced,
    permutations: Permutations,
    gap: float,
) -> ChangedFunction:
    """The refusal, with the group that alone changes the function most."""
    gaps, symmetry = {}, traced.symmetry
    for group in symmetry.free:
        alone = symmetry.identity()
        alone[group] = permutations[group]
        batches = batches_of(objective, objective.chunk_size)
        gaps[group] = function_difference(module, tensors, permuted(tensors, symmetry, alone), batches)
    worst = max(gaps, key=lambda group: gaps[group])
    return ChangedFunction(
        f"aligning would change the outputs of {type(objective.module).__name__} by {gap:.2g} of their size, "
        f"most at {symmetry.groups[worst].name}",
        f"at most {preserved(traced):g}",
    )


def _notes(
    symmetry: str, match: str, families: list[Family], refused: list[str], signs: Mapping[int, Tensor]
) -> list[str]:
    notes = [f"refused: {one}" for one in refused]
    if match == "activations" and families:
        notes.append("permutations are matched by activations, the other maps by weights")
    if symmetry != "permutation" and not families:
        notes.append("nothing but permutations: no other map of units leaves the function as it is")
    turned = sum(int((sign < 0).sum()) for sign in signs.values())
    if turned:
        notes.append(f"the signs of {turned} units with odd activations were turned")
    return notes
