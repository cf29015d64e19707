"""How many directions families have together, as one may be among others: by the rank of how they move θ.

Found by the slopes of what the families do, whatever they are made of; at θ near the given ones, none of which is 0.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from landscape.symmetry.families import TURNS, Family, centring
from landscape.symmetry.shears import Shear
from landscape.symmetry.translations import Translation

Tensors = Mapping[str, Tensor]
# Directions, and numbers of all of them, up to which they are counted: some seconds and 200 MB.
MOST_DIRECTIONS, MOST_NUMBERS = 1500, 10_000_000
STEP, NOTHING = 1e-5, 1e-6
# Directions that are counted once more, all at once; what of a length of 1 surely is one, and what may be.
FEW, SURELY, PERHAPS = 300, 1e-4, 1e-9


def dimensions(families: Sequence[Family], tensors: Tensors) -> list[int]:
    """What each family adds to the directions of those before it; all its own where they are too many to be counted.

    ``tensors``: where, in float64; no number of them should be 0.
    """
    if not may_be_counted(families, tensors):
        return [one.dimension for one in families]
    known, found = None, list[int]()
    for columns in _columns(families, tensors):
        known, new = _beside(known, columns)
        found.append(new)
    return found


def without_redundant(families: Sequence[Family], tensors: Tensors) -> list[Family]:
    """But for those all whose directions others have too, as scales of a head whose channels may be scaled.

    A translation stays unless other translations have it: what maps and translations do one after the other is had by
    neither where the others of them are held, as averages are at 0.
    """
    if not may_be_counted(families, tensors):
        return list(families)
    every = list(_columns(families, tensors))
    own = [_beside(None, columns)[1] for columns in every]
    # Of two that are the same that with less to choose from stays.
    order = sorted(range(len(every)), key=lambda i: (-own[i], families[i].dimension))
    known, added, kept = None, None, set[int]()
    for i in order:
        known, new = _beside(known, every[i])
        if families[i].kind == "translation":
            added, new = _beside(added, every[i])
        kept |= {i} if new or families[i].kind == "sign" else set()
    return [one for i, one in enumerate(families) if i in kept]


def may_be_counted(families: Sequence[Family], tensors: Tensors) -> bool:
    count = sum(one.dimension for one in families)
    names = {name for one in families for name in one.tensors}
    return count <= MOST_DIRECTIONS and count * sum(tensors[name].numel() for name in names) <= MOST_NUMBERS


def _columns(families: Sequence[Family], tensors: Tensors) -> Iterator[Tensor]:
    """Of each family (numbers, directions), all of length 1; where gains are 1, if a turn needs it."""
    there = dict(tensors)
    for one in families:
        there = there if isinstance(one, Translation) else one.folded(there)
    names = sorted({name for one in families for name in one.tensors})
    for one in families:
        columns = tangents(one, there, names)
        yield columns / columns.norm(dim=0).clamp_min(1e-300)


def tangents(family: Family, tensors: Tensors, names: Sequence[str]) -> Tensor:
    """How all numbers of ``names`` move with each of :func:`generators` at no map, (numbers, directions)."""
    sizes = [tensors[name].numel() for name in names]
    starts = dict(zip(names, accumulate(sizes, initial=0), strict=False))
    count = len(generators(family))
    found = torch.zeros(sum(sizes), count, dtype=torch.float64)
    if isinstance(family, Shear):
        for number in range(count):
            step = torch.zeros(family.logarithm, dtype=torch.float64)
            step.view(-1)[number] = STEP
            one, other = (family.acted(tensors, sign * step) for sign in (1, -1))
            apart = torch.cat([(one[name] - other[name]).flatten().double() for name in names])
            found[:, number] = apart / (2 * STEP)
    elif isinstance(family, Translation):
        for name, places, numbers, times in family.moves(tensors):
            if name in starts:
                found.index_put_((places + starts[name], numbers), times, accumulate=True)
    elif count:
        maps = _maps(family)
        for slot, a in family.members:
            name, values = slot.block.tensor, slot.of(tensors).double()
            if name not in starts:
                continue
            places = slot.stored({name: torch.arange(tensors[name].numel()).reshape(tensors[name].shape)})
            by = a * maps if family.kind == "scaling" or a > 0 else -maps.mT
            # (copies, maps, units, everything else)
            moved = by @ values[:, None]
            numbers = torch.arange(count).reshape(len(values), -1, 1, 1).expand(moved.shape)
            places = (places + starts[name])[:, None].expand(moved.shape)
            found.index_put_((places.flatten(), numbers.flatten()), moved.flatten(), accumulate=True)
    return found


def _maps(family: Family) -> Tensor:
    """X of each generator exp tX of the maps of one copy, (generators, n, n)."""
    n = family.size
    every = torch.eye(n * n, dtype=torch.float64).reshape(n, n, n, n)
    if family.kind == "scaling":
        return every.diagonal().permute(2, 0, 1)
    if family.kind == "rotary":
        pairs = torch.arange(n // 2)
        first, second = pairs, pairs + n // 2
        sizes = every[first, first] + every[second, second]
        return torch.stack([sizes, every[second, first] - every[first, second]], 1).flatten(0, 1)
    if family.kind not in TURNS:
        return every.flatten(0, 1)
    m = family.logarithm[-1]
    rows, columns = torch.triu_indices(m, m, 1)
    inner = torch.eye(m * m, dtype=torch.float64).reshape(m, m, m, m)[rows, columns]
    inner = inner - inner.mT
    if family.kind == "orthogonal":
        return inner
    basis = centring(n)
    return basis @ inner @ basis.T


def generators(family: Family) -> list[int]:
    """Which numbers of its logarithm are of directions of their own."""
    if family.kind == "sign":
        return []
    numbers = torch.arange(torch.Size(family.logarithm).numel()).reshape(family.logarithm)
    if family.kind in TURNS:
        size = family.logarithm[-1]
        rows, columns = torch.triu_indices(size, size, 1)
        numbers = numbers[:, rows, columns]
    return numbers.flatten().tolist()


def _beside(known: Tensor | None, columns: Tensor) -> tuple[Tensor | None, int]:
    """The span of both, as orthonormal columns, and by how many directions it is larger than what is known."""
    left = columns
    if known is not None and left.numel():
        left = left - known @ (known.T @ left)
        left = left - known @ (known.T @ left)
    if not left.numel():
        return known, 0
    directions, sizes, _ = torch.linalg.svd(left, full_matrices=False)
    new = directions[:, sizes > NOTHING]
    return new if known is None else torch.cat([known, new], 1), new.shape[1]


def rank_bounds(families: Sequence[Family], tensors: Tensors) -> tuple[int, int] | None:
    """The fewest and the most directions that all of them can have together, at once; None where they are many."""
    if not may_be_counted(families, tensors) or not 0 < sum(one.dimension for one in families) <= FEW:
        return None
    sizes = torch.linalg.svdvals(torch.cat(list(_columns(families, tensors)), 1))
    return int((sizes > SURELY).sum()), int((sizes > PERHAPS).sum())
