"""Spectra at several places: points, a block of them, or every layer at one, and on other samples beside."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.curvature import operators
from landscape.curvature.preconditioned import one_each, preconditioned, reached, scale
from landscape.curvature.question import Question
from landscape.curvature.remembered import Kept
from landscape.curvature.spectrum import Spectrum, spectrum
from landscape.errors import BadInput
from landscape.numerics.arrays import array_of
from landscape.numerics.pieces import Piece
from landscape.numerics.spectra.outliers import Outliers, outliers
from landscape.numerics.spectra.search import wanted
from landscape.objective import blocks, checks
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.tasks import Task, ahead, is_shared
from landscape.progress import Journal, Progress, silent
from landscape.result import Check

# On other samples only the eigenvalues are asked for, as far as their spread needs them.
PLAIN = {"search": False, "certify": False, "trace": False, "density": False, "exact": False}


class Place(NamedTuple):
    """A point with F as a function of the parameters looked at."""

    label: str
    objective: Objective
    point: Point


@dataclass(frozen=True)
class Survey:
    """The spectra ``found`` at ``places``, fewer where it was interrupted, and ``elsewhere``, on other samples.

    ``beside`` are the places of the latter. ``limits`` are the largest λ at which a run is stable, at each place, and
    ``notes`` say which places were left out.

    ``parts`` are the Gauss–Newton part and the rest of the eigenvalues (k,) of each, where asked for.
    """

    places: list[Place]
    found: list[Spectrum]
    elsewhere: list[Spectrum]
    parts: list[tuple[Tensor, Tensor]]
    is_single: bool
    per_layer: bool
    beside: list[Place] = field(default_factory=list)
    limits: Sequence[float] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[Spectrum]:
        return [*self.found, *self.elsewhere]

    @property
    def checks(self) -> list[Check]:
        """Those of every place, by its label."""
        return [
            check if self.is_single else replace(check, name=f"{check.name} at {place.label}")
            for one, place in zip(self.found, self.places, strict=False)
            for check in one.checks
        ]

    def meaning(self) -> list[Check]:
        """That F and its gradient at the first place are those of the user's loss of the user's module."""
        place, found = self.places[0], self.found[0]
        return checks.meaning(place.objective, place.point, (found.loss, found.gradient))

    def columns(self, question: Question, save_vectors: bool) -> dict[str, Any]:
        """Every quantity that belongs to a place, by the fields of the result."""
        found, pairs = self.found, [one.pairs for one in self.found]
        norms = [float(torch.linalg.vector_norm(one.gradient.double())) for one in found]
        rows: dict[str, list[Any]] = {
            "point": [place.label for place in self.places[: len(found)]],
            "eigenvalues": [one.values for one in pairs],
            "residuals": [one.residuals for one in pairs],
            "estimated_residuals": [one.estimated for one in pairs],
            "errors": [one.errors for one in pairs],
            "converged": [one.converged for one in pairs],
            "loss": [one.loss for one in found],
            "gradient_norm": norms,
            "gradient_curvature": [one.gradient_curvature for one in found],
            "gradient_share": [_shares(one.slope, one.pairs.vectors) for one in found],
            "num_parameters": [one.vectors.shape[1] for one in pairs],
        }
        if save_vectors:
            rows["eigenvectors"] = [array_of(one.vectors) for one in pairs]
        if self.parts:
            rows["gauss_newton_part"] = [array_of(part) for part, _ in self.parts]
            rows["remainder_part"] = [array_of(rest) for _, rest in self.parts]
        if self.limits is not None:
            rows["stability_limit"] = list(self.limits[: len(found)])
        rows["gradient_in_span"] = [float(np.sum(share)) for share in rows["gradient_share"]]
        # A gap that errors hide may stand anywhere: no number is given then, and a note.
        apart = [one if one and one.is_told else None for one in self.outliers(question)]
        if any(apart):
            rows["num_outliers"] = [one.number if one else np.nan for one in apart]
            rows["outlier_gap"] = [one.gap if one else np.nan for one in apart]
        rows |= _estimates(found)
        columns: dict[str, Any] = {name: _stacked(values) for name, values in rows.items()}
        if self.is_single:
            # Format 1 stores a single point without the dimension ``point``: dropped here and nowhere else.
            del columns["point"]
            return {name: _alone(values) for name, values in columns.items()}
        if not self.per_layer:
            columns["overlap"] = _overlaps([one.vectors for one in pairs])
        return columns

    def outliers(self, question: Question) -> list[Outliers | None]:
        """Those of each place among the largest eigenvalues that were asked for."""
        rows = [one.pairs for one in self.found]
        tops = [
            wanted(question.which, question.top_k, question.bottom_k, one.vectors.shape[1]).top
            for one in rows
        ]
        return [outliers(one.values[:k], one.errors[:k]) for one, k in zip(rows, tops, strict=True)]

    @property
    def subset_eigenvalues(self) -> np.ndarray | None:
        """Those of each part of the samples, (subsets, k); None where there is one part."""
        return _stacked([one.pairs.values for one in self.all]) if self.elsewhere else None


class Where(NamedTuple):
    """At which parameters of the points: those of a ``block``, or of every layer.

    With P of each point, and the largest λ at which it is stable, if any.
    """

    block: str | None
    per_layer: bool
    preconditioners: Sequence[Tensor] | None
    limits: Sequence[float] | None


def surveyed(
    objective: Objective,
    theta: Tensor | Point | Sequence[Tensor | Point],
    question: Question,
    where: Where,
    others: Sequence[Objective],
    split: bool,
    progress: Progress,
    journal: Journal | None = None,
) -> Survey:
    """Answer ``question`` at every place ``where``, with products kept in ``journal``. Raises BadInput.

    See :func:`landscape.analyses.hessian.hessian`.
    """
    question.check()
    if split and question.operator not in operators.OF_GRADIENT:
        raise BadInput(
            f"the Gauss–Newton part of eigenvalues of the operator {question.operator}",
            f"those of {' or '.join(operators.OF_GRADIENT)}",
            "leave `operator` away, or `split`",
        )
    journal = {} if journal is None and is_shared() else journal
    theta, preconditioners, limits, notes = reached(theta, where.preconditioners, where.limits)
    where = where._replace(preconditioners=preconditioners, limits=limits)
    is_one = isinstance(theta, Tensor | Point)
    points = [objective.as_point(one) for one in ([theta] if isinstance(theta, Tensor | Point) else theta)]
    asked = _asked(objective, points, where)
    places = [_place(objective, *one) for one in asked]
    if others and len(places) > 1:
        raise BadInput(f"the spread over subsets at {len(places)} points", "at one")
    _ahead(objective, asked, question, journal, progress)
    survey = Survey(
        places, [], [], [], is_one and not where.per_layer, where.per_layer, [], where.limits, notes
    )
    for number, (_, own, here) in enumerate(places):
        report = partial(_at, progress, number, len(places))
        survey.found.append(spectrum(own, here, question, report, Kept(journal, f"place {number}")))
        if split:
            vectors = survey.found[-1].pairs.vectors.to(own.dtype)
            if question.operator == "preconditioned":
                # vᵀP^-½HP^-½v is the Hessian's own form at P^-½v.
                vectors = vectors * scale(own).to(vectors)
            if not own.loss.has_price:
                notes += [one for one in operators.left_out(own, here) if one not in notes]
            survey.parts.append(operators.gauss_newton_split(own, here.theta, here.fixed, vectors))
        if survey.found[-1].pairs.is_interrupted:
            break
    for number, other in enumerate(others, 1):
        if survey.all[-1].pairs.is_interrupted:
            break
        asked = _asked(other, points, where._replace(per_layer=False))
        ((label, own, here),) = (_place(other, *one) for one in asked)
        report = partial(_at, progress, number, len(others) + 1)
        kept = Kept(journal, f"subset {number}")
        survey.elsewhere.append(spectrum(own, here, replace(question, **PLAIN), report, kept))
        survey.beside.append(Place(label, own, here))
    return survey


def stability_limit(
    step_size: float, *, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
) -> float:
    """The largest λ at which gradient descent with step size α is stable.

    2/α, with momentum β 2(1 + β)/α, with Nesterov's 2(1 + β)/((1 + 2β) α) (Cohen et al. 2021, section 2
    and appendix B); less the weight decay, which is added to every λ.

    >>> stability_limit(0.1), stability_limit(0.1, momentum=0.5), stability_limit(0.1, momentum=0.5, nesterov=True)
    (20.0, 30.0, 15.0)
    """
    return 2 * (1 + momentum) / (1 + 2 * momentum if nesterov else 1) / step_size - weight_decay


def adaptive_stability_limit(step_size: float, *, momentum: float = 0.9, weight_decay: float = 0.0) -> float:
    """The largest eigenvalue of P^-½HP^-½ at which Adam, its P at rest, is stable: 2(1 + β₁)/((1 − β₁) α).

    Its mean of gradients is m ← β₁m + (1 − β₁)∇F, so that momentum acts as at the step size (1 − β₁) α (Cohen et al.
    2022, section 2): 38/α for β₁ = 0.9. With AdamW's decay w, θ ← (1 − αw) θ before the step, (1 − αw/2) times that.

    >>> round(adaptive_stability_limit(0.1), 9)
    380.0
    """
    return stability_limit((1 - momentum) * step_size, momentum=momentum) * (1 - step_size * weight_decay / 2)


# A label, a point, the parameters that are looked at, None for all, and P, None for none.
Asked = tuple[str, Point, tuple[Piece, ...] | None, Tensor | None]


def _asked(objective: Objective, points: list[Point], where: Where) -> list[Asked]:
    """Where to look."""
    block, per_layer, preconditioners, _ = where
    if not points or (per_layer and (len(points) > 1 or block is not None)):
        raise BadInput(
            f"{len(points)} points{' by layers' if per_layer else ''}",
            "at least one, by layers one whole one",
        )
    divisors = one_each(points, preconditioners)
    if per_layer:
        (point,), (divisor,) = points, divisors
        return [(name, point, pieces, divisor) for name, pieces in blocks.blocks(objective).items()]
    pieces = None if block is None else blocks.matching(objective.pieces, block)
    return [(point.label, point, pieces, divisor) for point, divisor in zip(points, divisors, strict=True)]


def _place(
    objective: Objective,
    label: str,
    point: Point,
    pieces: tuple[Piece, ...] | None,
    preconditioner: Tensor | None,
) -> Place:
    if preconditioner is not None:
        objective = preconditioned(objective, preconditioner, point.label)
    if pieces is None:
        return Place(label, objective, point)
    return Place(label, *blocks.restricted(objective, point, pieces))


def _ahead(
    objective: Objective,
    asked: Sequence[Asked],
    question: Question,
    journal: Journal | None,
    report: Progress,
) -> None:
    """Have the products of every place taken by others, where there are any to do it."""
    if not is_shared():
        return
    if len(asked) == 1 or question.exact:
        raise BadInput(
            f"workers for {'a dense matrix' if question.exact else 'one place'}",
            "several points or layers, each of which has products of its own",
            "leave `workers` out, or look at several points by `at` all",
        )
    assert journal is not None
    ahead(
        journal,
        lambda: [
            Task(
                (f"place {number} done",),
                partial(_take, objective, one, question, number),
                (f"place {number} ",),
            )
            for number, one in enumerate(asked)
        ],
        report,
        "places",
    )


def _take(objective: Objective, one: Asked, question: Question, number: int, journal: Journal) -> None:
    """All products of a place, kept: whoever asks for the same ones has them."""
    _, own, here = _place(objective, *one)
    kept = Kept(journal, f"place {number}", [])
    spectrum(own, here, question, silent, kept)
    for product in kept.made or ():
        product.keep()
    journal[f"place {number} done"] = {}


def _at(progress: Progress, number: int, count: int, done: int, total: int, what: str) -> None:
    progress(done, total, what if count == 1 else f"{what}, point {number + 1} of {count}")


def _stacked(values: Sequence[Any]) -> np.ndarray:
    """Rows of one shape stacked; shorter ones of one axis filled up with NaN, or True."""
    rows = [np.asarray(value) for value in values]
    if len(rows) == 1:
        return rows[0][None]
    length = max(row.shape[0] if row.ndim == 1 else 0 for row in rows)
    if any(row.ndim == 1 and row.shape[0] != length for row in rows):
        filling = True if rows[0].dtype == bool else np.nan
        rows = [np.concatenate([row, np.full(length - len(row), filling)]) for row in rows]
    return np.stack(rows)


def _alone(values: np.ndarray) -> Any:
    """The only row, a number or a word where it has no axis."""
    return values[0].item() if values.ndim == 1 else values[0]


def _shares(vector: Tensor, basis: Tensor) -> np.ndarray:
    """(vᵀg)²/‖g‖², (k,), for every row v of an orthonormal basis."""
    wide = vector.double()
    size = float(torch.dot(wide, wide))
    return array_of((basis.double() @ wide).square() / (size or 1.0))


def _overlaps(bases: list[Tensor]) -> np.ndarray:
    """‖VᵀV′‖²/k of neighbouring bases (k, d); NaN at the first, which has none before it."""
    found = [
        float((one.double() @ other.double().T).square().sum()) / max(len(one), 1)
        for one, other in zip(bases[1:], bases, strict=False)
    ]
    return np.array([np.nan, *found])


def _estimates(found: list[Spectrum]) -> dict[str, list[Any]]:
    """What was asked for beyond the eigenvalues, by the names of the result."""
    first, columns = found[0], {}
    if first.trace is not None:
        traces = [one.trace for one in found if one.trace is not None]
        columns |= {"trace": [t.value for t in traces], "trace_error": [t.standard_error for t in traces]}
    if first.density is not None:
        densities = [one.density for one in found if one.density is not None]
        sized = list(zip((one.pairs.vectors.shape[1] for one in found), densities, strict=True))
        columns |= {
            "density_nodes": _padded([d.nodes for d in densities]),
            "density_weights": _padded([d.weights for d in densities]),
            "mass_below_zero": [d.mass_below_zero for d in densities],
            "mass_below_zero_error": [d.mass_below_zero_error for d in densities],
            "index_estimate": [n * d.mass_below_zero for n, d in sized],
            "index_estimate_error": [n * d.mass_below_zero_error for n, d in sized],
            "mass_near_zero": [d.mass_near_zero for d in densities],
            "mass_near_zero_error": [d.mass_near_zero_error for d in densities],
            "zero_band": [d.band for d in densities],
        }
    if first.inertia is not None:
        counts = [one.inertia for one in found if one.inertia is not None]
        columns |= {
            "spectrum": [one.values for one in found],
            "index": [c.num_negative for c in counts],
            "nullity": [c.num_zero for c in counts],
            "zero_threshold": [c.threshold for c in counts],
            "counts_nearby": [np.array([c.just_below, c.just_above]) for c in counts],
            "verdict": [one.verdict for one in found],
        }
    return columns


def _padded(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Arrays (probe, node) of one shape: added nodes have the weight 0, added probes are NaN."""
    probes, nodes = (max(one.shape[axis] for one in arrays) for axis in (0, 1))
    wide = [np.pad(one, ((0, 0), (0, nodes - one.shape[1]))) for one in arrays]
    return [np.pad(one, ((0, probes - len(one)), (0, 0)), constant_values=np.nan) for one in wide]
