"""The proofs of a merge from what its file holds: rows by plain loops, models rearranged, none nearer by a swap."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from landscape.objective import checks, plain
from landscape.objective.batchnorm import statistics_of
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point, split
from landscape.objective.reading import reads_parameters
from landscape.objective.row_proofs import Row, length, numbers, place, row_checks
from landscape.objective.sweep import Sweep
from landscape.result import Check, largest_gap
from landscape.symmetry.families import Family, moved_by
from landscape.symmetry.matching import SAME
from landscape.symmetry.merging import Merged
from landscape.symmetry.permutations import Symmetry
from landscape.symmetry.proofs import NEAREST, best_swap, largest_fall, other_loss

State = Mapping[str, np.ndarray]


def rows_checks(sweep: Sweep, places: Sequence[Point], columns: Sequence[np.ndarray | None]) -> list[Check]:
    """Losses and accuracies of every model and mean against the module itself."""
    found, proofs = [], []
    for i, point in enumerate(places):
        one, more = place(sweep, Row.of(columns, i), numbers(point.theta), [point], [1.0])
        found.append(one)
        proofs += more
    return proofs + row_checks(sweep, found, "a model or a mean of them", "model")


def final_check(sweep: Sweep, final: State, loss: float) -> Check:
    """The loss of the merged model as it stands in the file, its statistics too, by a plain loop."""
    objective = sweep.objective
    tensors = {name: torch.from_numpy(np.asarray(one)).to(objective.device) for name, one in final.items()}
    seen = plain.measure(objective, tensors).loss
    bound = checks.rounding(objective) * (10 if sweep.recalibrates else 1)
    return checks.close("merged model", loss, seen, bound, "F of the model in the file, a plain loop")


def kept_check(
    objective: Objective,
    given: Sequence[Point],
    models: Sequence[State],
    names: Sequence[str],
    *,
    by_maps: bool,
) -> tuple[Check | None, list[str]]:
    """F of every model as it stands in the file against F as it was given, plain loops; and what is to be said of it.

    Where the loss itself reads parameters, or a penalty and these were moved ``by_maps``, a difference is no fault: it
    is said instead.
    """
    bound = 10 * checks.rounding(objective)
    found, notes = [], []
    meaning = "F of every model in the file against that of the model given, plain loops"
    for name, point, state in zip(names, given, models, strict=True):
        before, after = (
            plain.measure(objective, tensors).loss
            for tensors in (
                {**split(point.theta, objective.pieces), **point.fixed},
                {key: torch.from_numpy(np.asarray(one)).to(objective.device) for key, one in state.items()},
            )
        )
        found.append(checks.close("models kept", after, before, bound, meaning))
        notes += other_loss(name, before, after, bound)
    if notes and ((objective.l2 and by_maps) or reads_parameters(objective, given[0])):
        return None, notes
    return max(found, key=lambda one: one.value), []


def mean_check(
    sweep: Sweep, given: Sequence[Point], soup: Point, models: Sequence[State], final: State
) -> Check:
    """The stored mean against numpy's over the stored models, over the largest number; what stands beside θ as well.

    The same of the ``soup`` of the models as they were ``given``. But for statistics that the final one took anew.
    """
    objective = sweep.objective
    names = [piece.name for piece in objective.pieces]
    beside = [name for name, one in soup.fixed.items() if one.is_floating_point()]
    anew = statistics_of(objective.module) if sweep.recalibrates else set()
    worst = _off_mean([one.theta for one in given], soup.theta)
    for name in names + [one for one in beside if one not in anew]:
        worst = largest_gap(worst, _off_mean([one[name] for one in models], final[name]))
    for name in beside:
        worst = largest_gap(worst, _off_mean([one.fixed[name] for one in given], soup.fixed[name]))
    meaning = "means, of what stands beside θ as well, against numpy's of the models, over the largest number of each"
    return Check("mean of models", worst, checks.rounding(objective), meaning)


def _off_mean(models: Sequence[Any], stated: Any) -> float:
    """How far ``stated`` is from the mean of the ``models``, over their largest number."""
    *parts, said = (
        one.detach().double().cpu().numpy() if isinstance(one, torch.Tensor) else np.asarray(one, dtype=float)
        for one in (*models, stated)
    )
    every = np.stack(parts)
    gap = float(np.abs(every.sum(axis=0) / len(every) - said).max(initial=0))
    return gap / max(float(np.abs(every).max(initial=0)), 1e-300) if gap else 0.0


def distances_check(
    objective: Objective,
    given: Sequence[Point],
    soup: Point,
    models: Sequence[State],
    final: State,
    stated: Sequence[np.ndarray],
) -> Check:
    """``stated``: distances to the mean as the models were, and aligned, and Σ of squares from every start."""
    plainly, squares, gaps = numbers(soup.theta), 0.0, [0.0]
    size = max(length(plainly), 1e-300)
    names = [piece.name for piece in objective.pieces]
    for point, state, before, after in zip(given, models, *stated[:2], strict=True):
        parts = [
            np.asarray(state[name], dtype=float) - np.asarray(final[name], dtype=float) for name in names
        ]
        square = sum(float((one**2).sum()) for one in parts)
        squares += square
        gaps += [abs(before - length(numbers(point.theta) - plainly)) / size, abs(after - square**0.5) / size]
    gaps.append(abs(min(stated[2].tolist()) - squares) / size**2)
    meaning = "distances to both means, and the least spread, from the stored models, over the mean's length"
    return Check("distances", float(largest_gap(*gaps)), 10 * checks.rounding(objective), meaning)


def errors_check(losses: np.ndarray, stated: Sequence[float | None]) -> Check | None:
    """Standard errors of both barriers from ``losses`` (models and two means, n) of every sample."""
    if losses.shape[1] < 2 or not np.isfinite(losses).all():
        return None
    others, worst = losses[:-2].sum(axis=0) / (len(losses) - 2), 0.0
    scale = max(float(np.abs(losses).max()), 1e-300)
    for row, said in zip(losses[-2:], stated, strict=True):
        gap = row - others
        wanted = float(((gap - gap.sum() / len(gap)) ** 2).sum() / len(gap) / (len(gap) - 1)) ** 0.5
        worst = largest_gap(worst, abs((np.nan if said is None else said) - wanted) / scale)
    meaning = "standard errors of the barriers of means from the losses of every sample, over the largest"
    return Check("barrier errors of means", worst, 1e-10, meaning)


def rearranged(objective: Objective, given: Sequence[Point], models: Sequence[State]) -> Check:
    """Every stored model has the numbers of the one given, tensor by tensor, but for their order and signs."""
    worst = 0.0
    for point, state in zip(given, models, strict=False):
        theta = numbers(point.theta)
        start = 0
        for piece in objective.pieces:
            size = int(np.prod(piece.shape))
            before = np.sort(np.abs(theta[start : start + size]))
            after = np.sort(np.abs(np.asarray(state[piece.name], dtype=float)).ravel())
            worst, start = max(worst, float(np.abs(before - after).max(initial=0))), start + size
    meaning = "sorted sizes of the weights of every stored model against those given, tensor by tensor"
    return Check("rearranged", worst, 0.0, meaning)


def together(objective: Objective, symmetry: Symmetry, models: Sequence[State]) -> Check | None:
    """No two units of one model swapped bring it closer to the mean of the others, by plain sums."""
    gains = [best_swap(symmetry, mean, one) for one, mean in _beside_others(objective, models)]
    known = [gain for gain in gains if gain is not None]
    if not known:
        return None
    meaning = "largest gain of ⟨mean of the others, model⟩ by a swap of two units, by plain sums, relative"
    return Check("best arrangement", max(0.0, *known), SAME + 10 * checks.rounding(objective), meaning)


def nearest_maps(
    objective: Objective, families: Sequence[Family], models: Sequence[State], held: int
) -> Check | None:
    """No small element of a family brings a model, but the one ``held``, closer to the mean of the others."""
    pairs = enumerate(_beside_others(objective, models))
    falls = [largest_fall(families, mean, one) for i, (one, mean) in pairs if i != held]
    known = [fall for fall in falls if fall is not None]
    if not known:
        return None
    meaning = (
        "largest fall of the square distance of a model from the mean of the others by small maps, relative"
    )
    return Check("nearest maps", max(known), NEAREST, meaning)


def _beside_others(
    objective: Objective, models: Sequence[State]
) -> list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """Every model in float64, and the mean of the others."""
    arrays = [
        {piece.name: np.asarray(one[piece.name], dtype=float) for piece in objective.pieces} for one in models
    ]
    found = []
    for i, one in enumerate(arrays):
        others = [other for k, other in enumerate(arrays) if k != i]
        found.append((one, {name: np.mean([other[name] for other in others], axis=0) for name in one}))
    return found


def counts_check(found: Merged, result: Any) -> Check:
    """Parameters that a permuted axis is of, or a map moves; what rows are of: the models in order, both means last."""
    symmetry = found.symmetry
    moved = {one.tensor for one in symmetry.blocks if not {*symmetry.free}.isdisjoint(one.groups)}
    moved |= moved_by(found.families)
    wrong = result.num_movable != len(moved & {*symmetry.names})
    wrong += result.num_parameters != len({*symmetry.names})
    wrong += result.of.tolist()[:-2] != result.model.tolist() or len(set(result.of.tolist())) < len(result.of)
    meaning = (
        "parameters that are counted otherwise than the permuted axes say, and rows of other names (0 = none)"
    )
    return Check("groups", float(wrong), 0.0, meaning)
