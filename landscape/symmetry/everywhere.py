"""The families of a module that leave its function on all the data, not on a few samples alone.

What a few samples do not reach, as a ReLU that is at rest on all of them or a branch that none takes, may be moved at
will there. So what was found is tried on all the data; samples that see it move are then looked at as well.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import nn

from landscape.objective import trees
from landscape.objective.arguments import call
from landscape.objective.objective import Objective
from landscape.objective.samples import converted
from landscape.symmetry.continuous import families_of
from landscape.symmetry.families import Family, Found
from landscape.symmetry.independent import dimensions
from landscape.symmetry.moments import near
from landscape.symmetry.orbit import random_of_families
from landscape.symmetry.tracing import Traced
from landscape.symmetry.verified import function_difference, in_double, preserved

CPU = torch.device("cpu")
# How often families are looked for with more samples; so many at most, of each batch, and in one piece.
ROUNDS, MOST, EACH, PIECE = 5, 32, 16, 4
# Draws that a family is tried at alone, of which more than one must move outputs: rounding may turn a choice at one.
ALONE = 6


def families_on(objective: Objective, module: nn.Module, traced: Traced, few: int, seed: int) -> Found:
    """All families of ``module``, in float64 on the CPU, that leave its function on all the data as it is.

    Looked for on the first ``few`` samples, and then on those as well that saw what was found move the outputs; what
    moves them in the end is refused. On all at once where the module takes no fewer, as nodes of a graph that it holds.
    """
    samples = objective.samples.few(few)
    inputs = trees.mapped(in_double, samples.inputs)
    if objective.is_whole and not _takes(module, inputs):
        samples = objective.samples
        inputs = trees.mapped(in_double, samples.inputs)
    found = families_of(module, inputs, traced, seed=seed)
    if samples.count == objective.num_samples:
        return found
    tried = _Tried(objective, module, traced, torch.Generator().manual_seed(seed))
    for _ in range(ROUNDS):
        seen = tried.seen(found.families)
        moving = tried.moving(found.families, seen)
        more = _joined(inputs, seen) if moving else None
        if more is None:
            break
        inputs = more
        found = families_of(module, inputs, traced, seed=seed)
    while moving := tried.moving(found.families, tried.seen(found.families)):
        said = [
            f"{one.text} of {one.name} moves the outputs at samples that it was not found on"
            for one in moving
        ]
        kept = [one for one in found.families if one not in moving]
        found = Found(kept, [*found.refused, *said], dimensions(kept, tried.place()))
    return found


def _takes(module: nn.Module, inputs: tuple[Any, ...]) -> bool:
    """Whether the module takes so many samples."""
    try:
        with torch.no_grad():
            call(module, trees.mapped(torch.clone, inputs))
    except Exception:  # It is the user's own, and may refuse them in any way.
        return False
    return True


def batches_of(objective: Objective, size: int, *, whole: bool = False) -> Iterator[tuple[Any, ...]]:
    """All inputs in float64 on the CPU, ``size`` samples at a time; the last ones only if not ``whole``."""
    samples = objective.samples
    count = samples.count_here
    size = count if samples.is_one_piece else size
    for start in range(0, count - size + 1 if whole else count, size):
        inputs, _ = samples.picked(torch.arange(start, min(start + size, count)))
        yield trees.mapped(lambda part: converted(part, CPU, torch.float64), inputs)


class _Tried:
    """Random elements of families at the module's own parameters, and near them, on data."""

    def __init__(self, objective: Objective, module: nn.Module, traced: Traced, generator: torch.Generator):
        self._objective, self._module, self._generator = objective, module, generator
        self._bound = preserved(traced)
        self._names = [name for name, p in module.named_parameters() if p.is_floating_point()]
        self._given = {
            name: one.detach() for name, one in (*module.named_parameters(), *module.named_buffers())
        }

    def place(self) -> dict[str, torch.Tensor]:
        return near(self._given, self._names, self._generator)

    def seen(self, families: Sequence[Family]) -> list[tuple[Any, ...]]:
        """Samples of which outputs move by elements of all families at once, at the parameters or near them."""
        for start in (self._given, self.place()) if families else ():
            after = random_of_families(families, start, self._generator)
            gap = partial(function_difference, self._module, start, after)
            still = partial(function_difference, self._module, start, start)
            if not gap(self._batches()) <= self._bound and still(self._batches()) <= self._bound:
                return list(islice(self._reaching(gap), MOST // PIECE))
        return []

    def moving(self, families: Sequence[Family], seen: Sequence[tuple[Any, ...]]) -> list[Family]:
        """Those that alone move the outputs of the samples ``seen``: where none does, it was rounding of all."""
        found = []
        for family in families if seen else ():
            gaps = []
            for number in range(ALONE):
                start = self.place() if number else self._given
                after = random_of_families([family], start, self._generator)
                gaps.append(function_difference(self._module, start, after, seen))
            found += [family] if sum(not gap <= self._bound for gap in gaps) > 1 else []
        return found

    def _batches(self) -> Iterator[tuple[Any, ...]]:
        return batches_of(self._objective, self._objective.chunk_size)

    def _reaching(self, gap: Callable[[list[tuple[Any, ...]]], float]) -> Iterator[tuple[Any, ...]]:
        """Pieces of the data, of few samples, on which ``gap`` is more than rounding."""
        for batch in self._batches():
            if not gap([batch]) <= self._bound:
                yield from islice(self._parts(gap, batch), EACH // PIECE)

    def _parts(self, gap: Callable[[list[tuple[Any, ...]]], float], batch: tuple[Any, ...]) -> Iterator[Any]:
        count = trees.count(batch)
        if count is None or count <= PIECE:
            yield batch
            return
        halves = [trees.rows(batch, part) for part in (slice(0, count // 2), slice(count // 2, count))]
        sizes = [gap([half]) for half in halves]
        for half, size in sorted(zip(halves, sizes, strict=True), key=lambda one: -one[1]):
            if not size <= self._bound:
                yield from self._parts(gap, half)


def _joined(inputs: tuple[Any, ...], more: Sequence[tuple[Any, ...]]) -> tuple[Any, ...] | None:
    """Samples side by side; None where they differ in shape."""
    parts = [trees.tensors(one) for one in (inputs, *more)]
    if any(len({one.shape[1:] for one in several}) > 1 for several in zip(*parts, strict=True)):
        return None
    joined = iter([torch.cat(several) for several in zip(*parts, strict=True)])
    return trees.mapped(lambda _: next(joined), inputs)
