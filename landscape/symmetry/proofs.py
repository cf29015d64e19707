"""The proofs of an alignment from what its result states: B moved by hand, and that no swap of units is better."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.pieces import Piece
from landscape.objective import checks
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.row_proofs import numbers
from landscape.result import Check, largest_gap
from landscape.symmetry.alignment import RECOVERED, Aligned
from landscape.symmetry.families import Family, moved_by
from landscape.symmetry.matching import SAME
from landscape.symmetry.order import tried_junctions
from landscape.symmetry.permutations import Block, Symmetry

# Of all multiples of a unit that may be nearer, those that are tried.
FACTORS = np.geomspace(0.125, 8, 49)
# Small maps of a family that are tried, their size, and what they may gain where alternation has stopped.
TRIALS, SMALL, NEAREST = 8, 0.003, 1e-5
# Of sums of squares in float64.
SUMS = 1e-9
FALL = "largest fall of ‖A − B‖² by small maps of a family's units, over ‖A‖²"


def moved_by_hand(objective: Objective, second: Point, found: Aligned, result: Any) -> Check | None:
    """The stored point against B with its units taken one by one, where no linear maps but signs moved them.

    A unit i of the new point is the old one p[i] times its sign, on every axis it stands on, as they are stated: but
    where no sign is seen, as at the gain of a norm. Nested groups are left to ``function preserved``.
    """
    symmetry, worst = found.symmetry, -1.0
    nested = {i for i, one in enumerate(symmetry.groups) if one.outer is not None}
    nested |= {symmetry.groups[i].outer for i in nested}
    signs = [
        one for one in found.families if one.kind == "sign" and one.group is not None and one.copies == 1
    ]
    once = [one for one in signs if [other.group for other in signs].count(one.group) == 1]
    others = {name for one in found.families if one not in once for name in one.tensors}
    turned = {one.group: [(slot.block, slot.axis) for slot, _ in one.members] for one in signs}
    orders = {}
    for number, group in enumerate(symmetry.free):
        own = result.unit_group == number
        sign = np.ones(own.sum()) if result.sign is None else result.sign[own]
        orders[group] = result.permutation[own].tolist(), sign.tolist()
    old = _arrays(objective, second)
    for block in symmetry.blocks:
        axes = []
        for axis, group in enumerate(block.groups):
            if group in orders:
                order, sign = orders[group]
                has_sign = group not in turned or (block, axis) in turned[group]
                axes.append((axis, (order, sign if has_sign else [1.0] * len(sign))))
        is_told = all(math.isfinite(one) for _, (_, sign) in axes for one in sign)
        if block.tensor in others or not nested.isdisjoint(block.groups) or not is_told:
            continue
        box = tuple(slice(*ends) for ends in block.where)
        values = old[block.tensor][box].reshape(block.shape).copy()
        for axis, (order, sign) in axes:
            rows = [np.take(values, old_unit, axis) * sign[old_unit] for old_unit in order]
            values = np.stack(rows, axis)
        wanted = np.asarray(result.states["final"][block.tensor], dtype=float)[box].reshape(block.shape)
        worst = largest_gap(worst, float(np.abs(values - wanted).max(initial=0)))
    if worst < 0:
        return None
    meaning = "B with its units moved by hand as the permutations say against the stored point, bit for bit"
    return Check("moved by hand", worst, 0.0, meaning)


def other_loss(name: str, before: float, after: float, rounding: float) -> list[str]:
    """That F of what was moved is another one where it was brought to, by more than ``rounding``, relative."""
    if abs(after - before) <= rounding * max(1e-3, abs(before)) or not math.isfinite(after - before):
        return []
    return [
        f"F of {name} was {before:.6g} and is {after:.6g}: what moved it leaves the outputs, and not what a penalty, "
        "or the loss itself, makes of the parameters"
    ]


def groups_check(found: Aligned, result: Any) -> Check:
    """Units of each group that moved, orders of the groups and numbers of parameters, counted from what is stated."""
    wrong, symmetry = 0, found.symmetry
    for k, size in enumerate(result.group_size.tolist()):
        own = result.permutation[result.unit_group == k].tolist()
        rows = [own[start : start + size] for start in range(0, len(own), size)]
        wrong += any(sorted(row) != list(range(size)) for row in rows) or not rows
        wrong += sum(old != new for row in rows for new, old in enumerate(row)) != int(result.group_moved[k])
        order = len(rows) * sum(math.log10(one) for one in range(2, size + 1))
        wrong += not abs(float(result.used_log10_order[k]) - order) <= 1e-9 * max(1.0, order)
    kinds, orders = result.used_kind.tolist(), result.used_log10_order.tolist()
    wrong += sum(
        math.isfinite(one) != (kind in ("permutation", "sign"))
        for kind, one in zip(kinds, orders, strict=True)
    )
    dimensions = zip(kinds, result.used_dimension.tolist(), strict=True)
    wrong += sum(one < 0 or (one > 0 and kind in ("permutation", "sign")) for kind, one in dimensions)
    for k, one in enumerate(found.families, len(symmetry.free)):
        if kinds[k] == "sign":
            wrong += not abs(10 ** (orders[k] / (one.size * one.copies)) - 2) <= 1e-9
    wrong += result.group.tolist() != [symmetry.groups[group].name for group in symmetry.free]
    for k, group in enumerate(symmetry.free):
        slots = result.slot[result.slot_group == k].tolist()
        wrong += {*slots} != {block.tensor for block in symmetry.of(group)}
    scaled = (one.size * one.copies for one in found.families if one.kind == "scaling")
    wrong += int(result.num_rescaled) != sum(scaled)
    wrong += result.function_difference != found.check.value
    wrong += _miscounted(found, result)
    names = {block.tensor for group in symmetry.free for block in symmetry.of(group)} | moved_by(
        found.families
    )
    wrong += result.num_movable != len(result.movable) or not names <= {
        *result.movable.tolist(),
        *found.point.fixed,
    }
    wrong += len({*result.movable.tolist()} & {*result.blocked.tolist()})
    wrong += result.num_parameters != len({*result.movable.tolist(), *result.blocked.tolist()})
    meaning = (
        "groups, units and parameters that are counted otherwise than the stated permutations say (0 = none)"
    )
    return Check("groups", float(wrong), 0.0, meaning)


def _miscounted(found: Aligned, result: Any) -> int:
    """Directions together that are not as many as their rank, or of one that are more; and A brought back, or not."""
    wrong, stated = 0, result.used_dimension.tolist()
    if found.rank is not None:
        wrong += not found.rank[0] <= sum(stated) <= found.rank[1]
    own = [0] * len(found.symmetry.free) + [one.dimension for one in found.families]
    wrong += sum(said > most for said, most in zip(stated, own, strict=True))
    left, whole = found.planted
    share = left / max(whole, 1e-300)
    wrong += not abs(result.planted_distance - share) <= SUMS * max(share, SUMS)
    limit = RECOVERED if found.families else 0.0
    # At the limit itself rounding decides.
    is_clear = abs(share - limit) > SUMS * limit
    wrong += is_clear and bool(result.planted_recovered) != (share <= limit)
    return int(wrong) + int(any(size > 1 for size in result.group_size.tolist()) and not whole > 0)


def matching_check(
    objective: Objective, first: Point, found: Aligned, state: Mapping[str, np.ndarray]
) -> Check | None:
    """No two units of a group swapped bring the stored point closer to A, by plain sums over their weights.

    ⟨A, P(B)⟩ gains c_ij + c_ji − c_ii − c_jj by a swap of i and j, where c_ij sums the products of A's unit i with
    B's unit j. Groups that are nested, or stand on an axis with another of their own, are left out.
    """
    if found.families:  # balanced weights, or others, were matched
        return None
    other = {piece.name: np.asarray(state[piece.name], dtype=float) for piece in objective.pieces}
    gain = best_swap(found.symmetry, _arrays(objective, first), other)
    if gain is None:
        return None
    meaning = (
        "largest gain of ⟨A, P(B)⟩ by a swap of two units, by plain sums, relative; 1e-6 ends the search"
    )
    return Check("best match", max(0.0, gain), SAME + 10 * checks.rounding(objective), meaning)


def best_swap(
    symmetry: Symmetry, one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]
) -> float | None:
    """The largest gain of ⟨one, other⟩ by a swap of two units of ``other``, relative; None where no group is plain."""
    worst, is_any = -np.inf, False
    for group in symmetry.free:
        blocks = [block for block in symmetry.of(group) if block.tensor in other]
        if not blocks or not _is_plain(symmetry, group, blocks):
            continue
        size = symmetry.groups[group].size
        gains, scale = np.zeros((size, size)), 0.0
        for block in blocks:
            box, axis = tuple(slice(*ends) for ends in block.where), block.groups.index(group)
            rows = [
                np.moveaxis(part[block.tensor][box].reshape(block.shape), axis, 0).reshape(size, -1)
                for part in (one, other)
            ]
            gains += rows[0] @ rows[1].T
            scale += float(np.linalg.norm(rows[0]) * np.linalg.norm(rows[1]))
        own = np.diag(gains)
        swapped = gains + gains.T - own[:, None] - own[None, :]
        worst, is_any = max(worst, float(swapped.max()) / max(scale, 1e-300)), True
    return worst if is_any else None


def rescaling_check(objective: Objective, first: Point, found: Aligned) -> Check | None:
    """No unit multiplied by a number between 1/8 and 8 brings the stored point closer to A."""
    if not found.num_rescaled:
        return None
    goal, theta = numbers(first.theta), numbers(found.point.theta)
    size = float((goal**2).sum())
    worst = 0.0
    for one in tried_junctions(objective):
        incoming = np.concatenate([_rows(theta, p.span, one.num_units) for p in one.incoming], 1)
        wanted = np.concatenate([_rows(goal, p.span, one.num_units) for p in one.incoming], 1)
        outgoing, target = (_columns(x, one.outgoing, one.num_units) for x in (theta, goal))
        now = ((wanted - incoming) ** 2).sum(1) + ((target - outgoing) ** 2).sum(1)
        for c in FACTORS:
            there = ((wanted - c * incoming) ** 2).sum(1) + ((target - outgoing / c) ** 2).sum(1)
            worst = largest_gap(worst, float((now - there).max()))
    meaning = "largest fall of ‖A − B‖² by one unit times c, 1/8 ≤ c ≤ 8, over ‖A‖²"
    bound = 10 * checks.rounding(objective)
    return Check("nearest scales", worst / max(size, 1e-300), bound, meaning)


def families_check(
    objective: Objective, first: Point, found: Aligned, state: Mapping[str, np.ndarray]
) -> Check | None:
    """No small element of a family brings the stored point closer to A, by plain sums over its units' weights.

    Turns of a stream are left out: they are nearest with gains of 1, not with those of A.
    """
    goal = _arrays(objective, first)
    values = {k: np.asarray(one, dtype=float) for k, one in state.items() if not np.iscomplexobj(one)}
    fall = largest_fall(found.families, {piece.name: goal[piece.name] for piece in objective.pieces}, values)
    return None if fall is None else Check("nearest maps", fall, NEAREST, FALL)


def largest_fall(
    families: Sequence[Family], goal: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]
) -> float | None:
    """The largest fall of ‖goal − values‖² by small maps, over ‖goal‖²; None without scales or invertible maps."""
    families = [one for one in families if one.kind in ("scaling", "invertible", "rotary")]
    if not families:
        return None
    size = sum(float((part**2).sum()) for part in goal.values())
    draw, worst = np.random.default_rng(0), 0.0
    for family in families:
        n = family.size
        for _ in range(TRIALS):
            small = SMALL * draw.standard_normal((family.copies, n, n))
            if family.kind == "scaling":
                small *= np.eye(n)
            elif family.kind == "rotary":
                blocks = (
                    small[:, : n // 2, : n // 2] * np.eye(n // 2),
                    small[:, n // 2 :, : n // 2] * np.eye(n // 2),
                )
                small = np.block([[blocks[0], -blocks[1]], [blocks[1], blocks[0]]])
            element = np.eye(n) + small
            fall = 0.0
            for slot, a in family.members:
                wanted, now = (
                    slot.of({slot.block.tensor: torch.from_numpy(t[slot.block.tensor])}).numpy()
                    for t in (goal, values)
                )
                by = np.linalg.inv(element).swapaxes(1, 2) if a < 0 else element
                moved = now
                for _ in range(abs(a)):
                    moved = by @ moved
                fall += float(((wanted - now) ** 2).sum() - ((wanted - moved) ** 2).sum())
            worst = largest_gap(worst, fall)
    return worst / max(size, 1e-300)


def _is_plain(symmetry: Symmetry, group: int, blocks: Sequence[Block]) -> bool:
    nested = any(one.outer == group for one in symmetry.groups) or symmetry.groups[group].outer is not None
    return not nested and all(block.groups.count(group) == 1 for block in blocks)


def _arrays(objective: Objective, point: Point) -> dict[str, np.ndarray]:
    """Every tensor of a point by name, in float64, parameters cut in the module's own order."""
    found, theta, start = {}, numbers(point.theta), 0
    for name, shape in ((piece.name, piece.shape) for piece in objective.pieces):
        size = int(np.prod(shape))
        found[name], start = theta[start : start + size].reshape(shape), start + size
    return {**found, **{name: _wide(tensor) for name, tensor in point.fixed.items()}}


def _wide(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().to(torch.complex128 if tensor.is_complex() else torch.float64).numpy()


def _rows(theta: np.ndarray, span: slice, count: int) -> np.ndarray:
    return theta[span].reshape(count, -1)


def _columns(theta: np.ndarray, piece: Piece, count: int) -> np.ndarray:
    values = theta[piece.span].reshape(piece.shape[0], count, -1)
    return np.moveaxis(values, 1, 0).reshape(count, -1)
