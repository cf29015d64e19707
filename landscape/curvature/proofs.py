"""What proves a stated curvature: one seeded point, layer or subset by products, all of them by what is stored."""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from landscape.curvature import pair_proofs, product_proofs
from landscape.curvature.estimate_proofs import (
    Stated,
    between_checks,
    count_check,
    density_checks,
    trace_checks,
)
from landscape.curvature.places import Place, Survey
from landscape.curvature.question import Question
from landscape.curvature.spectrum import Spectrum
from landscape.errors import LandscapeError
from landscape.numerics.spectra.search import wanted
from landscape.objective import checks, plain
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.precision import in_float64
from landscape.result import Check, largest_gap

# Of what a spectrum took, so much for its proofs; but for the gradient and one product, which there is always time
# for; and so many products at most in the complement.
SHARE, ALWAYS, MOST = 0.1, 5.0, 8
# Below it the largest eigenvalue may be that of rounding alone, which is then looked at.
VANISHING = 1e-20


def proven(stored: Mapping[str, Any], survey: Survey, question: Question) -> tuple[list[Check], list[str]]:
    """Checks and notes of what is ``stored`` of each place, by the names of the result.

    What costs products or gradients is done at one seeded place; what can be told from the numbers alone at all.
    """
    found, notes = [], []
    rng = np.random.default_rng(question.seed)
    seeded = int(rng.integers(len(survey.found)))
    with plain.proving():
        for number, (one, place) in enumerate(zip(survey.found, survey.places, strict=False)):
            row = stored if survey.is_single else {name: rows[number] for name, rows in stored.items()}
            here = _free(row, one, place, question)
            if number == seeded:
                more, remarks = _costly(row, one, place, question, rng)
                here, notes = here + more, notes + remarks
            found += here if survey.is_single else [_named(check, place.label) for check in here]
    found.append(_places(stored, survey, question))
    if stored.get("overlap") is not None and len(survey.found) > 1:
        found.append(_overlap(stored["overlap"], survey))
    return found, notes


def _places(stored: Mapping[str, Any], survey: Survey, question: Question) -> Check:
    """Names, losses, numbers of parameters and what has converged, of every place, of which none stands elsewhere."""
    wrong = 0
    for number, (one, place) in enumerate(zip(survey.found, survey.places, strict=False)):
        row = stored if survey.is_single else {name: rows[number] for name, rows in stored.items()}
        wrong += not survey.is_single and str(row["point"]) != place.label
        if survey.per_layer:
            owners = {piece.name.rpartition(".")[0] or "." for piece in place.objective.pieces}
            wrong += owners != {str(row["point"])}
        wrong += int(row["num_parameters"]) != sum(math.prod(one.shape) for one in place.objective.pieces)
        wrong += not (float(row["loss"]) == one.loss or math.isnan(one.loss))
        # At the tolerance itself either may be right.
        errors, edge = _values(row, "errors", one), question.tol * one.pairs.scale
        reached = np.asarray(row["converged"], dtype=bool)[: len(errors)]
        if not one.pairs.is_interrupted:
            wrong += int((reached & (errors > 1.01 * edge) | ~reached & (errors < 0.99 * edge)).sum())
    meaning = (
        "names, losses, numbers of parameters and convergence that are not those of their place (0 = none)"
    )
    return Check("places", float(wrong), 0.0, meaning)


def _overlap(stated: np.ndarray, survey: Survey) -> Check:
    """By the angles between neighbouring spaces."""
    worst = 0.0
    bases = [one.pairs.vectors.double() for one in survey.found]
    for number, (before, here) in enumerate(pairwise(bases), 1):
        cosines = np.linalg.svd((here @ before.T).cpu().numpy(), compute_uv=False)
        worst = largest_gap(worst, abs(float(cosines @ cosines) / max(len(here), 1) - float(stated[number])))
    return Check("overlap", worst, 1e-10, "Σ cos² of the angles between spaces")


def subset_checks(values: Any, spread: Any, survey: Survey, question: Question) -> list[Check]:
    """Those of one seeded part of the samples, and of the spread (k,) over the eigenvalues (subsets, k) of all."""
    if not survey.elsewhere:
        return []
    rng = np.random.default_rng(question.seed)
    number = int(rng.integers(len(survey.elsewhere)))
    one, place = survey.elsewhere[number], survey.beside[number]
    own = np.asarray(values)[number + 1][: len(one.pairs.values)]
    with plain.proving():
        found = (
            [] if one.pairs.is_interrupted else _residuals(own, one.pairs.vectors, one, place, question, rng)
        )
    apart = values - values.sum(0) / len(values)
    gap = np.abs((apart**2).sum(0) / (len(values) - 1) - spread**2) / np.maximum((values**2).max(0), 1e-300)
    meaning = "variance over the subsets from the stored eigenvalues, over their largest square"
    found.append(Check("spread", float(np.nan_to_num(gap.max(), nan=np.inf)), 1e-10, meaning))
    return [_named(check, f"subset {number + 2}") for check in found]


def _named(check: Check, label: str) -> Check:
    return replace(check, name=f"{check.name} at {label}")


def _values(row: Mapping[str, Any], name: str, one: Spectrum) -> np.ndarray:
    """Those of the Ritz values, without what fills them up."""
    return np.asarray(row[name], dtype=float)[: len(one.pairs.values)]


def _free(row: Mapping[str, Any], one: Spectrum, place: Place, question: Question) -> list[Check]:
    """What the numbers of a place say of one another."""
    pairs, d = one.pairs, int(row["num_parameters"])
    values = _values(row, "eigenvalues", one)
    residuals, errors = _values(row, "residuals", one), _values(row, "errors", one)
    precision = max(checks.rounding(place.objective), one.product_error or 0.0)
    scale = max(pairs.scale, 1e-300)
    said = _stated(row, values, d, one)
    found = [pair_proofs.error_check(values, residuals, errors, scale)] if len(values) else []
    if row.get("gauss_newton_part") is not None:
        parts = _values(row, "gauss_newton_part", one) + _values(row, "remainder_part", one)
        gap = np.abs(parts - values) / scale
        bound = max(precision, float(residuals.max()) / scale)
        meaning = "Gauss–Newton part and rest against λ, over the largest |λ|"
        found.append(Check("split", float(np.nan_to_num(gap.max(), nan=np.inf)), bound, meaning))
    if row.get("num_outliers") is not None and np.isfinite(row["num_outliers"]):
        top = wanted(question.which, question.top_k, question.bottom_k, d).top
        found.append(_outliers(values[:top], int(row["num_outliers"]), float(row["outlier_gap"])))
    num_probes = 0
    if one.trace is not None:
        num_probes = 0 if one.trace.is_sum else len(one.trace.forms)
        found += trace_checks(said, one.trace.forms, one.trace.is_sum, one.trace_product_error, d)
    if said.nodes is not None:
        found += density_checks(said)
        drawn = np.asarray(said.nodes)[np.asarray(said.weights) > 0]
        if pairs.is_searched and pairs.converged.all() and len(drawn):
            found.append(_missed(drawn, values, question, d, scale, precision))
    found += between_checks(said, num_probes, precision)
    if said.spectrum is not None:
        found.append(count_check(said))
    return found


def _outliers(largest: np.ndarray, count: int, gap: float) -> Check:
    """By differences of logarithms: the stated gap stands after so many, and none is wider."""
    logs = sorted((math.log(one) for one in largest if one > 0), reverse=True)
    steps = [above - below for above, below in pairwise(logs)]
    stated = abs(steps[count - 1] - math.log(gap)) if count <= len(steps) else math.inf
    meaning = "the gap after the outliers by logarithms, and that none is wider"
    return Check("outliers", largest_gap(stated, max(steps) - math.log(gap)), 1e-9, meaning)


def _stated(row: Mapping[str, Any], values: np.ndarray, d: int, one: Spectrum) -> Stated:
    def number(name: str) -> Any:
        return None if row.get(name) is None else float(row[name])

    def probes(name: str) -> Any:
        # Rows past its own are there for a layer that took more probes.
        return None if one.density is None else row[name][: len(one.density.nodes)]

    spectrum, nearby = row.get("spectrum"), row.get("counts_nearby")
    return Stated(
        d,
        values,
        number("trace"),
        number("trace_error"),
        probes("density_nodes"),
        probes("density_weights"),
        number("mass_below_zero"),
        number("mass_below_zero_error"),
        number("index_estimate"),
        number("index_estimate_error"),
        None if spectrum is None else np.asarray(spectrum)[:d],
        None if spectrum is None else int(row["index"]),
        None if spectrum is None else int(row["nullity"]),
        number("zero_threshold") or 0.0,
        number("mass_near_zero"),
        number("mass_near_zero_error"),
        number("zero_band"),
        None if nearby is None else np.asarray(nearby),
        () if one.density is None else one.density.recurrences,
        0.0 if one.density is None else one.density.product_error,
    )


def _costly(
    row: Mapping[str, Any], one: Spectrum, place: Place, question: Question, rng: np.random.Generator
) -> tuple[list[Check], list[str]]:
    """What takes products and gradients; after an interruption nothing does."""
    _, objective, point = place
    if one.pairs.is_interrupted:
        return [], []
    found = [product_proofs.gradient_check(objective, point, one.gradient, float(row["gradient_norm"]))]
    if not len(one.pairs.vectors):
        return found, []
    values = _values(row, "eigenvalues", one)
    vectors = one.pairs.vectors
    if row.get("eigenvectors") is not None:
        vectors = torch.from_numpy(np.array(row["eigenvectors"])).to(vectors)
    found += _residuals(values, vectors, one, place, question, rng)
    operator, axis = question.operator, vectors[0]
    more, notes = product_proofs.product_check(objective, point, operator, axis)
    if row.get("gauss_newton_part") is not None:
        of_part, remarks = product_proofs.product_check(objective, point, "gauss-newton", axis)
        more, notes = more + of_part, notes + remarks
    found += more
    if _budget(one) > ALWAYS + 2 * product_proofs.FRESH:
        found.append(_along_gradient(row, one, place, question))
    if one.trace is not None and len(one.trace.forms):
        found.append(_last_probe(one, place, question))
    if one.density is not None and one.density.last is not None:
        nodes, weights = (np.asarray(row[f"density_{name}"]) for name in ("nodes", "weights"))
        last = len(one.density.nodes) - 1
        found.append(_moments(one, place, question, nodes[last], weights[last]))
    pairs, d = one.pairs, objective.num_parameters
    left = _budget(one) - ALWAYS - 3 * product_proofs.FRESH
    count = min(int(left / product_proofs.KEPT), MOST)
    if one.density is None and count > 1 and pairs.is_searched and pairs.converged.all() and len(values) < d:
        product = product_proofs.recut(
            objective, point, operator, num_products=count, memory_limit=question.memory_limit / 2
        )
        generator = torch.Generator().manual_seed(question.seed + 1)
        beside = pair_proofs.complement(product, vectors.to(point.theta), count, generator)
        precision = max(checks.rounding(objective), one.product_error or 0.0)
        found.append(_missed(beside, values, question, d, max(pairs.scale, 1e-300), precision))
    return found, notes


def _along_gradient(row: Mapping[str, Any], one: Spectrum, place: Place, question: Question) -> Check:
    """gᵀHg/gᵀg by a product of its own, and the part of g in the span of the Ritz vectors by their coefficients."""
    _, objective, point = place
    slope = one.gradient.double()
    if objective.preconditioner is not None:
        parts = [objective.preconditioner[piece.name].reshape(-1) for piece in objective.pieces]
        slope = slope / torch.cat(parts).to(slope).sqrt()
    squares = float(slope.square().sum())
    if not squares > 0:
        return Check("along ∇F", 0.0, checks.rounding(objective), "∇F is zero")
    product = product_proofs.recut(
        objective, point, question.operator, memory_limit=question.memory_limit / 2
    )
    unit = slope / squares**0.5
    bend = float((product(unit.to(one.gradient)).double() * unit).sum())
    gap = abs(bend - float(row["gradient_curvature"])) / max(one.pairs.scale, 1e-300)
    along = [float((vector.double() * unit.to(vector.device)).sum()) ** 2 for vector in one.pairs.vectors]
    apart = np.abs(along - _values(row, "gradient_share", one))
    precision = max(checks.rounding(objective), one.product_error or 0.0)
    meaning = "gᵀHg/gᵀg by a product of its own, over the largest |λ|, and the part of ‖g‖² in the span"
    worst = largest_gap(gap, float(apart.max()), abs(sum(along) - float(row["gradient_in_span"])))
    return Check("along ∇F", worst, 2 * precision, meaning)


def _last_probe(one: Spectrum, place: Place, question: Question) -> Check:
    """The last probe of the trace: off the Ritz vectors, and its zᵀHz by a product of its own."""
    assert one.trace is not None
    _, objective, point = place
    product = product_proofs.recut(
        objective, point, question.operator, memory_limit=question.memory_limit / 2
    )
    z = one.trace.last.double()
    squares = max(float(z.square().sum()), 1e-300)
    inside = sum(abs(float((vector.double() * z).sum())) for vector in one.pairs.vectors)
    # A unit vector may lie in the span, and then nothing is left of it but rounding.
    inside /= max(1.0, squares) ** 0.5
    form = float((product(one.trace.last).to(z) * z).sum())
    gap = abs(form - float(one.trace.forms[-1])) / (squares * max(one.pairs.scale, 1e-300))
    bound = max(checks.rounding(objective), one.product_error or 0.0)
    meaning = "last z of the trace: what lies in the span of the pairs, and zᵀHz/zᵀz by a product of its own"
    return Check("trace probe", largest_gap(gap, inside), 2 * bound, meaning)


def _moments(
    one: Spectrum, place: Place, question: Question, nodes: np.ndarray, weights: np.ndarray
) -> Check:
    """The first two moments of the last probe of the density, zᵀHz and ‖PHz‖² over zᵀz, by one product of its own."""
    assert one.density is not None
    assert one.density.last is not None
    _, objective, point = place
    product = product_proofs.recut(
        objective, point, question.operator, memory_limit=question.memory_limit / 2
    )
    z = one.density.last
    image, wide = product(z).double(), z.double()
    for vector in one.pairs.vectors.double():
        image = image - vector * float((vector * image).sum())
    squares = max(float(wide.square().sum()), 1e-300)
    d = objective.num_parameters
    share = (d - len(one.pairs.vectors)) / d
    wanted = [float((wide * image).sum()) / squares, float(image.square().sum()) / squares]
    size = max(float(np.abs(nodes).max(initial=0.0)), one.pairs.scale, 1e-150)
    gaps = [
        abs(float((weights * nodes**power).sum()) / share - moment) / size**power
        for power, moment in enumerate(wanted, 1)
    ]
    bound = max(checks.rounding(objective), one.product_error or 0.0)
    meaning = (
        "zᵀHz/zᵀz and ‖Hz‖²/zᵀz of the last z of the density by a product of its own, over the largest |λ|"
    )
    return Check("density probe", largest_gap(*gaps), 4 * bound, meaning)


def _budget(one: Spectrum) -> float:
    """Gradients that the proofs of a spectrum may take."""
    return SHARE * product_proofs.KEPT * one.num_products


def _missed(
    beside: np.ndarray, values: np.ndarray, question: Question, d: int, scale: float, precision: float
) -> Check:
    top = wanted(question.which, question.top_k, question.bottom_k, d).top
    bound = max(question.tol, 10 * precision)
    return pair_proofs.missed_check(beside, values, question.which, top, scale=scale, bound=bound)


def _residuals(
    values: np.ndarray,
    vectors: torch.Tensor,
    one: Spectrum,
    place: Place,
    question: Question,
    rng: np.random.Generator,
) -> list[Check]:
    """By products in the precision of the last step of the search."""
    _, objective, point = place
    precision = checks.rounding(objective)
    trial, residuals = one.pairs.trial, one.pairs.residuals
    if trial is not None:
        # They hold what the trial found, whatever it is, which here has to be rounding.
        residuals = residuals - trial.rounding
    elif one.rounding is not None:
        # A module may round its outputs there still.
        objective = in_float64(objective)
        precision = checks.rounding(objective)
        point = Point(*objective.brought(point))
    room = question.memory_limit / 2
    product = product_proofs.recut(objective, point, question.operator, memory_limit=room)
    stated = max(precision, one.product_error or 0.0)
    return pair_proofs.residual_checks(
        product,
        values,
        residuals,
        vectors,
        scale=max(one.pairs.scale, _least_scale(one, objective, point, vectors), 1e-300),
        precision=stated,
        rng=rng,
        tried=(trial.weights, trial.image) if trial is not None and trial.is_of_these else None,
        singly=_budget(one) > ALWAYS + product_proofs.FRESH,
    )


def _least_scale(one: Spectrum, objective: Objective, point: Point, vectors: torch.Tensor) -> float:
    """What an operator that vanishes is known to: rounding of the Gauss–Newton matrix along the first pair.

    Of a net that fits exactly the gradients of samples are zero in one cut of a batch and rounding in another.
    """
    if one.pairs.scale > VANISHING:
        return 0.0
    try:
        image = product_proofs.recut(objective, point, "gauss-newton")(vectors[0])
    except LandscapeError:
        return 0.0
    return torch.finfo(objective.dtype).eps * float(torch.linalg.vector_norm(image.double()))
