"""A row of a sweep by the plain road: losses and accuracies where the numbers lie that a result states.

Such numbers are made in numpy's float64 from directions, coordinates and control points as they are stored, and cut
by name in the order of the module's parameters; buffers are mixed, or taken from a training pass, as the policy says.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape import distributed
from landscape.numerics.pieces import Piece
from landscape.numerics.spread import Spread
from landscape.numerics.vectors import gathered
from landscape.objective import checks, plain, trees
from landscape.objective.batchnorm_proofs import repaired_spread, statistics_of_a_pass
from landscape.objective.losses import of_probabilities
from landscape.objective.objective import Measurement, Objective
from landscape.objective.parameters import Point
from landscape.objective.repair import Repair
from landscape.objective.sweep import Sweep
from landscape.result import Check, largest_gap

# Statistics of a pass are rounded once more, layer after layer.
RECALIBRATED = 10.0


class Row(NamedTuple):
    """What a result says of one place; None where it says nothing."""

    loss: float | None
    accuracy: float | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None
    test_loss_error: float | None = None
    test_accuracy_error: float | None = None

    @classmethod
    def of(cls, columns: Sequence[np.ndarray | None], at: int | tuple[int, ...]) -> "Row":
        """The entries ``at`` of columns in this order, fewer where the last ones are not there."""
        return cls(*[None if one is None else float(one[at]) for one in columns])


def rows_of(result: Any) -> tuple[np.ndarray | None, ...]:
    """The columns of a result in the order of a :class:`Row`, None for those that it has not."""
    return tuple(getattr(result, name, None) for name in Row._fields)


class Place(NamedTuple):
    """A row and the module's tensors there, by name."""

    row: Row
    tensors: Mapping[str, Tensor]


def numbers(theta: Tensor) -> Any:
    """θ (d,) as numpy's float64; of one that is spread, the part of each process stays where it is."""
    if isinstance(theta, Spread):
        return theta.detach().double()
    return theta.detach().double().cpu().numpy()


def stacked(rows: Sequence[Any]) -> Any:
    """Several :func:`numbers` as rows."""
    return torch.stack(list(rows)) if isinstance(rows[0], Tensor) else np.stack(rows)


def length(values: Any) -> float:
    """The norm of :func:`numbers`, by a sum of squares."""
    return float((values**2).sum()) ** 0.5


def wide(rows: Any) -> Any:
    """Stored rows in float64, spread where they are."""
    return numbers(rows) if isinstance(rows, Tensor) else rows.astype(float)


def by_piece(objective: Objective, rows: Any) -> Iterator[tuple[Piece, np.ndarray]]:
    """Each parameter with its columns (m, size) of ``rows`` (m, d); of what is spread one at a time is whole."""
    for piece in objective.pieces:
        part = rows[:, piece.span]
        yield piece, wide(gathered(part) if isinstance(part, Tensor) else part)


def joined(objective: Objective, parts: Iterable[np.ndarray]) -> Any:
    """(d,) of numbers parameter by parameter, a whole one at a time; spread where the objective's vectors are."""
    if objective.is_sharded:
        pairs = zip(objective.pieces, parts, strict=True)
        return objective.flat(torch.from_numpy(part).reshape(piece.shape) for piece, part in pairs)
    return np.concatenate([part.reshape(-1) for part in parts])


def stated(objective: Objective, values: Any) -> dict[str, Tensor]:
    """Numbers (d,), float64, by the names of the module's parameters, in the dtype of the objective."""
    if isinstance(values, Spread):
        return plain.by_name(objective, Point(values.to(objective.dtype), {}))
    found, start = {}, 0
    for name, parameter in objective.module.named_parameters():
        if any(piece.name == name for piece in objective.pieces):
            part = torch.from_numpy(values[start : start + parameter.numel()].copy())
            found[name] = part.reshape(parameter.shape).to(objective.device, objective.dtype)
            start += parameter.numel()
    return found


def mixed(points: Sequence[Point], weights: Sequence[float]) -> dict[str, Tensor]:
    """Buffers of some points in proportion, none with less than nothing; integers are those of the largest share."""
    shares = np.maximum(np.asarray(weights, dtype=float), 0)
    shares /= shares.sum()
    found = {}
    for name, tensor in points[int(shares.argmax())].fixed.items():
        found[name] = tensor
        if tensor.is_floating_point() and shares.max() < 1:
            terms = [s * one.fixed[name].double() for s, one in zip(shares, points, strict=True) if s]
            found[name] = torch.stack(terms).sum(0).to(tensor.dtype)
    return found


def place(
    sweep: Sweep, row: Row, values: Any, points: Sequence[Point], weights: Sequence[float]
) -> tuple[Place, list[Check]]:
    """A row with the tensors at the numbers ``values`` (d,), and what else is to be proven of them."""
    objective, proofs = sweep.objective, []
    tensors = {**stated(objective, values), **mixed(points, weights)}
    if sweep.repairs:
        ends = [sweep.reference(point) for point in points]
        repair = Repair(objective, *ends)
        theta = torch.cat([tensors[piece.name].reshape(-1) for piece in objective.pieces])
        moved = Point(*repair(theta, mixed(points, weights), float(weights[1])))
        proofs.append(repaired_spread(objective, repair.layers, ends, moved, float(weights[1])))
        tensors = plain.by_name(objective, moved)
    elif sweep.recalibrates:
        fresh = statistics_of_a_pass(objective, tensors)
        if fresh is None:
            theta = torch.cat([tensors[piece.name].reshape(-1) for piece in objective.pieces])
            fresh = objective.recalibrated(theta, mixed(points, weights))
        tensors = {**tensors, **fresh}
    return Place(row, tensors), proofs


def row_checks(sweep: Sweep, places: Sequence[Place], where: str, name: str = "seeded") -> list[Check]:
    """Every loss and accuracy of some places against the plain road, the worst of them, by what is compared."""
    room = RECALIBRATED if sweep.recalibrates else 1.0
    found: dict[str, list[Check]] = {}
    for row, tensors in places:
        for half, objective, loss, accuracy in (
            ("", sweep.objective, row.loss, row.accuracy),
            ("test ", sweep.test, row.test_loss, row.test_accuracy),
        ):
            if objective is None or (loss is None and accuracy is None):
                continue
            seen = plain.measure(objective, tensors)
            proofs = []
            if loss is not None:
                bound = room * checks.rounding(objective)
                meaning = f"{where} against the module with its numbers, a plain loop"
                proofs.append(checks.close(f"{name} {half}loss", loss, seen.loss, bound, meaning))
            if accuracy is not None and not (np.isnan(accuracy) and np.isnan(seen.accuracy)):
                label = f"{name} {half}accuracy"
                proofs.append(_accuracy_check(label, objective, accuracy, seen, tensors, where))
            for proof in proofs:
                found.setdefault(proof.name, []).append(proof)
        label, error = f"{name} test errors", row.test_loss_error
        if sweep.test is not None and error is not None and np.isfinite(error) and label not in found:
            found[label] = [_errors_check(label, sweep.test, row, tensors, where, room)]
    return [max(ones, key=lambda one: one.value / max(one.bound, 1e-300)) for ones in found.values()]


def _accuracy_check(
    name: str,
    objective: Objective,
    accuracy: float,
    seen: Measurement,
    tensors: Mapping[str, Tensor],
    where: str,
) -> Check:
    meaning = f"{where} against the module's own labels; those on the edge within rounding may differ"
    gap = abs(accuracy - seen.accuracy)
    exact = 4 * float(np.finfo(float).eps)
    bound = exact if gap <= exact else exact + _undecided(objective, tensors)
    return Check(name, gap if np.isfinite(gap) else np.inf, bound, meaning)


def _errors_check(
    name: str, test: Objective, row: Row, tensors: Mapping[str, Tensor], where: str, room: float
) -> Check:
    """The standard errors of both over the samples, from each sample alone, over what rounding allows. One F."""
    seen = plain.errors(test, tensors)
    allowed = 4 * room * checks.rounding(test) * max(seen.size, 1e-300)
    gap = abs((row.test_loss_error or 0.0) - seen.loss) / allowed
    if row.test_accuracy_error is not None and np.isfinite(seen.accuracy):
        off = abs(row.test_accuracy_error - seen.accuracy)
        exact = 4 * float(np.finfo(float).eps)
        # p(1 − p)/n moves by as much as the share of labels that rounding may turn, over n.
        tied = 0.0 if off <= exact else (_undecided(test, tensors) / test.num_samples) ** 0.5
        gap = largest_gap(gap, off / (exact + tied))
    meaning = (
        f"{where} from losses and labels of each test sample by the module itself, over what rounding allows"
    )
    return Check(name, float(np.nan_to_num(gap, nan=np.inf)), 1.0, meaning)


def _undecided(objective: Objective, tensors: Mapping[str, Tensor]) -> float:
    """The share of labels that rounding of the outputs may turn."""
    edge = torch.zeros(2, dtype=torch.float64)

    def count(_: object, __: object, outputs: Tensor) -> None:
        values = next(iter(_tensors(outputs))).detach().double()
        size = values.abs().max()
        if objective.loss.of_classes:
            top = values.topk(2, dim=1).values
            margin = top[:, 0] - top[:, 1]
        else:
            margin = (values - 0.5 if of_probabilities(objective.given) else values).abs()
        near = (margin <= checks.rounding(objective) * size).double()
        edge.add_(torch.tensor([float(near.sum()), near.numel()]))

    handle = objective.module.register_forward_hook(count)
    try:
        plain.measure(objective, tensors)
    finally:
        handle.remove()
    near, count_of_all = distributed.total(edge.to(objective.device)).tolist()
    return near / count_of_all


def _tensors(outputs: object) -> list[Tensor]:
    return [one for one in trees.leaves(outputs) if isinstance(one, Tensor)]
