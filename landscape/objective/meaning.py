"""What a loss means, and whether the data may be cut: found out by cutting a part of them in several ways.

F is the loss of the module on the whole data set in one call. Chunks are an optimisation that has to be shown to be
exact: what comes through none of the cuts is taken as a whole.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from landscape.errors import BadInput, LandscapeError
from landscape.objective import trees
from landscape.objective.losses import Loss, correct_of, name_of, per_sample, reduced

# Samples that are tried, and of those how many one by one.
PROBED, ALONE = 256, 12
# Of which as many are sent through the module one by one: what does not take one alone does not take another.
LONELY = 3
# Distinct integers of which every one gets a sample.
MOST_CLASSES = 64
# Real targets that are searched for numbers that recur, and how many of these get a sample.
MOST_SORTED, MOST_RECURRING = 2**24, 4
# What a sum may be off by when it is added in another order, relative.
ADDED = {torch.float64: 1e-9, torch.float32: 1e-4}
# What to do with a loss that returns more.
FIRST = "let it return the first alone, as `lambda outputs, targets: loss(outputs, targets)[0]`"

Trial = Callable[[Tensor], tuple[Any, Tensor]]


class Cut(NamedTuple):
    """Some of the samples tried, and parts that they are made of."""

    union: Tensor
    parts: list[Tensor]


def probe(inputs: Sequence[Any], targets: Tensor, size: int) -> Tensor:
    """Numbers of up to ``size`` samples from all over the data: telling ones first, then random ones.

    Telling are the first and the last, one of every class (or label, or token, of every integer there is; of too many
    the least, the largest and the most frequent), those with the smallest and the largest mean, of real targets one of
    each number that recurs, as what stands for a target that is not there, and one that has another number where most
    have the same, as a weight; then another one of each, as a number of those there are shows with the second. At
    least two, be it the same one twice.
    """
    count = len(targets)
    telling, others = [0, count - 1], []
    for tensor in [targets, *trees.tensors(inputs)]:
        flat = tensor.reshape(count, -1)
        if flat.shape[1] == 0 or tensor.is_complex():
            continue
        if not tensor.is_floating_point():
            for value in _told_apart(flat):
                _place((flat == value).any(1), telling, others)
        means = flat.double().mean(1)
        telling += [int(means.argmin()), int(means.argmax())]
    _recurring(targets, telling, others)
    _exceptions(targets, telling, others)
    generator = torch.Generator().manual_seed(0)
    order = [*telling, *others, *torch.randperm(count, generator=generator)[: 2 * size].tolist()]
    chosen = list(dict.fromkeys(order))[: max(2, size)]
    return torch.tensor(chosen if len(chosen) > 1 else chosen * 2)


def _told_apart(flat: Tensor) -> Tensor:
    """The integers of which every one gets a sample."""
    if not flat.numel():
        return flat[:0]
    values, counts = torch.unique(flat, return_counts=True)
    if len(values) <= MOST_CLASSES:
        return values
    part = MOST_CLASSES // 4
    often = values[counts.argsort(descending=True, stable=True)[:part]]
    return torch.cat([values[: 2 * part], values[-part:], often])


def _place(has: Tensor, telling: list[int], others: list[int]) -> None:
    """The number of the first sample that ``has`` something to ``telling``, of the last one to ``others``."""
    telling.append(int(has.int().argmax()))
    others.append(len(has) - 1 - int(has.flip(0).int().argmax()))


def _exceptions(targets: Tensor, telling: list[int], others: list[int]) -> None:
    """For each of the numbers of a target that is the same for most samples, some for which it is not."""
    flat = targets.reshape(len(targets), -1)
    if not 0 < flat.numel() <= MOST_SORTED or flat.shape[1] > MOST_CLASSES or flat.is_complex():
        return
    is_other = flat != flat.mode(0).values
    counts = is_other.sum(0)
    for i in ((counts > 0) & (2 * counts < len(flat))).nonzero().flatten().tolist():
        _place(is_other[:, i], telling, others)


def _recurring(targets: Tensor, telling: list[int], others: list[int]) -> None:
    """Samples with each of the numbers that most often recur among real targets."""
    if not targets.is_floating_point() or not 0 < targets.numel() <= MOST_SORTED:
        return
    flat = targets.reshape(len(targets), -1)
    values, counts = flat.unique(return_counts=True)
    for i in counts.argsort(descending=True, stable=True)[:MOST_RECURRING]:
        if counts[i] > 1:
            _place((flat == values[i]).any(1), telling, others)


def cuts(count: int) -> Iterator[Cut]:
    """Halves, every other one, a permutation in three unequal parts, and the first few one by one."""
    every = torch.arange(count)
    half = (count + 1) // 2
    yield Cut(every, [every[:half], every[half:]])
    yield Cut(every, [every[::2], every[1::2]])
    mixed = torch.randperm(count, generator=torch.Generator().manual_seed(1))
    third = max(1, count // 5)
    yield Cut(
        every, [part for part in (mixed[:third], mixed[third : 3 * third], mixed[3 * third :]) if len(part)]
    )
    few = every[:ALONE]
    yield Cut(few, list(few.split(1)))
    for i in range(1, min(count, ALONE)):
        pair = torch.tensor([0, i])
        yield Cut(pair, list(pair.split(1)))


def takes_samples_alone(
    run: Callable[[Tensor], Any], outputs: Any, parts: Sequence[Tensor], tolerance: float
) -> bool:
    """Whether every output row is that of its own sample: ``run(part)`` against the same rows of ``outputs``."""
    for part in parts:
        try:
            alone = run(part)
        except LandscapeError:
            return False
        if not trees.agree(alone, trees.rows(outputs, part.to(trees.tensors(outputs)[0].device)), tolerance):
            return False
    return True


def companies(count: int) -> tuple[list[Tensor], list[Tensor]]:
    """Parts of the samples in which the outputs are looked at, thoroughly and, at a second point, briefly.

    All that :func:`cuts` makes of all samples, and a few samples one by one; of these the parts of the permutation.
    """
    found = [cut.parts for cut in cuts(count) if len(cut.union) == count][:3]
    lonely = list(torch.arange(min(count, LONELY)).split(1))
    return [part for parts in found for part in parts] + lonely, found[-1]


def settled(given: Any, trials: Sequence[Trial], count: int, dtype: torch.dtype) -> Loss | None:
    """The meaning of a callable of the user's that all ``trials`` agree with; None where it is that of a whole.

    A trial gives (outputs, targets) of some of ``count`` samples; the first one is real, the others may be such
    as the loss does not take.
    """
    name = name_of(given)
    correct, of_classes = correct_of(given)
    tolerance = ADDED.get(dtype, 2e-2)
    bare = given
    if isinstance(given, nn.Module) and getattr(given, "reduction", None) == "mean":
        bare = reduced(given, "none")
    every = torch.arange(count)
    try:
        value = given(*trials[0](every))
    except (RuntimeError, ValueError, IndexError):
        # It does not take so many samples; all of them it may.
        return None
    if isinstance(value, tuple) and len(value) == 2:
        pair = _pair(given)
        if not _is_weighted(name, value, pair, trials, count, tolerance):
            return None
        return Loss(
            name,
            lambda o, t: pair(o, t)[0],
            correct,
            of_classes,
            over="weight",
            weight=lambda o, t: pair(o, t)[1].detach(),
        )
    if not isinstance(value, Tensor):
        remedy = "leave out item(), float() and numpy()" if isinstance(value, int | float) else FIRST
        raise BadInput(f"the loss {name} returned a {type(value).__name__}", "a tensor", remedy)
    if bare is not given and value.numel() == 1:
        with suppress(Exception):
            rows = bare(*trials[0](every))
            if rows.dim() and len(rows) == count and _is_mean_of(bare, given, trials, count, tolerance):
                given, value = bare, rows
    if value.dim() > 0 and len(value) == count:
        if not _adds(lambda o, t: per_sample(given(o, t)).sum(), trials, count, tolerance):
            return None
        rows_of = given
        return Loss(
            name,
            lambda o, t: per_sample(rows_of(o, t)).sum(),
            correct,
            of_classes,
            lambda o, t: per_sample(rows_of(o, t)),
        )
    if value.numel() != 1:
        raise BadInput(
            f"the loss {name} returned shape {tuple(value.shape)}", "a scalar, or one loss per sample"
        )
    scalar = given

    def mean_total(outputs: Any, targets: Tensor) -> Tensor:
        return scalar(outputs, targets).double().reshape(()) * len(targets)

    means = _adds(mean_total, trials, count, tolerance)
    sums = _adds(lambda o, t: scalar(o, t).reshape(()), trials, count, tolerance)
    if means == sums:
        return None
    if means:
        return Loss(name, mean_total, correct, of_classes)
    return Loss(name, lambda o, t: scalar(o, t).reshape(()), correct, of_classes, over="one")


def whole(given: Any, count: int) -> Loss:
    """A callable of the user's as a value of all samples at once, whatever it returns."""
    correct, of_classes = correct_of(given)

    def total(outputs: Any, targets: Tensor) -> Tensor:
        value = given(outputs, targets)
        if isinstance(value, tuple):
            value = value[0] / value[1]
        if value.dim() > 0 and value.numel() > 1:
            if len(value) != len(targets):
                raise BadInput(
                    f"the loss {name_of(given)} returned shape {tuple(value.shape)}",
                    "a scalar, or one loss per sample",
                )
            value = per_sample(value).mean()
        return value.reshape(())

    return Loss(name_of(given), total, correct, of_classes, over="one")


def spread(outputs: Any, low: float, high: float, seed: int) -> Any:
    """Numbers between ``low`` and ``high`` at random in the shapes of ``outputs``."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        numbers = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
        return (low + (high - low) * numbers).to(tensor)

    return trees.mapped(drawn, outputs)


def adds(
    function: Callable[[Any, Tensor], Tensor], trials: Sequence[Trial], count: int, dtype: torch.dtype
) -> bool:
    """Whether ``function`` of samples is the sum of those of their parts."""
    return _adds(function, trials, count, ADDED.get(dtype, 2e-2))


def _adds(
    function: Callable[[Any, Tensor], Tensor], trials: Sequence[Trial], count: int, tolerance: float
) -> bool:
    """Whether ``function`` of samples is the sum of those of their parts, in every cut of every trial that tells."""
    has_told = False
    for number, trial in enumerate(trials):
        try:
            whole = {len(cut.union): cut for cut in cuts(count)}
            for cut in whole.values():
                function(*trial(cut.union))
        except Exception:
            if number == 0:
                return False
            continue
        for cut in cuts(count):
            try:
                together = float(function(*trial(cut.union)))
                parts = [float(function(*trial(part))) for part in cut.parts]
            except Exception:
                return False
            if not math.isfinite(together):
                continue
            scale = sum(map(abs, parts))
            if abs(together - sum(parts)) > tolerance * max(scale, abs(together)) or not math.isfinite(scale):
                return False
            has_told |= scale > 0
    return has_told


def _pair(given: Callable[..., Any]) -> Callable[[Any, Tensor], tuple[Tensor, Tensor]]:
    """(total, weight) as scalars, float64."""

    def pair(outputs: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
        total, weight = given(outputs, targets)
        total, weight = (torch.as_tensor(one).double().reshape(()) for one in (total, weight))
        return total, weight.to(total.device)

    return pair


def _is_weighted(
    name: str,
    value: tuple[Any, Any],
    pair: Callable[..., tuple[Tensor, Tensor]],
    trials: Sequence[Trial],
    count: int,
    tolerance: float,
) -> bool:
    """Whether a pair is a total and the weight of the targets; False for one that is had of all samples alone.

    Raises BadInput for two numbers of which the second is no weight, as a loss and what else is to be known of it.
    """
    if all(torch.as_tensor(one).numel() == 1 for one in value):
        try:
            pair(*trials[0](torch.arange(count // 2)))
        except Exception:
            return False
        total, weight, mean = (
            _adds(part, trials, count, tolerance)
            for part in (
                lambda o, t: pair(o, t)[0],
                lambda o, t: pair(o, t)[1],
                lambda o, t: pair(o, t)[0] * len(t),
            )
        )
        is_of_targets = _weighs_targets(pair, trials, count)
        # A sum over anything is meant, as is what hangs together over the number of its samples.
        if total or (weight and is_of_targets and not mean):
            return total and weight and is_of_targets
    shown = [trees.described(one) if torch.as_tensor(one).dim() else f"{float(one):.5g}" for one in value]
    raise BadInput(
        f"the loss {name} returned {shown[0]} and {shown[1]}, which are no total and its weight: the first is no sum "
        "over the samples",
        "the loss alone, or two sums (total, weight), where F is one over the other",
        FIRST,
    )


def told_of_pair(given: Callable[..., Any], outputs: Any, targets: Tensor) -> list[str]:
    """What F of all samples at once is where the loss returns two numbers: BadInput where these are no such pair."""
    value, count = given(outputs, targets), len(targets)
    if not (isinstance(value, tuple) and len(value) == 2):
        return []
    if trees.count(outputs) == count and len(trees.tensors(outputs)) == len(trees.leaves(outputs)):
        cut = [lambda part: (trees.rows(outputs, part.to(targets.device)), targets[part.to(targets.device)])]
        _is_weighted(name_of(given), value, _pair(given), cut, count, 2e-2)
    return [f"the loss {name_of(given)} returns two numbers: F is the first over the second"]


def _weighs_targets(pair: Callable[..., tuple[Tensor, Tensor]], trials: Sequence[Trial], count: int) -> bool:
    """Whether the weight of the same samples is the same whatever the outputs."""
    found = []
    for number, trial in enumerate(trials):
        try:
            found.append(float(pair(*trial(torch.arange(count)))[1]))
        except Exception:
            if number == 0:
                return False
    return all(math.isclose(one, found[0], rel_tol=1e-6) for one in found)


def _is_mean_of(
    bare: Callable[..., Tensor],
    given: Callable[..., Tensor],
    trials: Sequence[Trial],
    count: int,
    tolerance: float,
) -> bool:
    """Whether ``given`` is the mean of the rows of ``bare`` (a weighted mean is not)."""
    for number, trial in enumerate(trials):
        outputs, targets = trial(torch.arange(count))
        try:
            mean, wanted = float(per_sample(bare(outputs, targets)).mean()), float(given(outputs, targets))
        except Exception:
            if number == 0:
                return False
            continue
        if not math.isclose(mean, wanted, rel_tol=tolerance) and math.isfinite(wanted):
            return False
    return True
