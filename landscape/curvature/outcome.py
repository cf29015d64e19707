"""How a search for eigenvalues ended, and what its result has to say of that."""

from typing import Any

from landscape.curvature.places import Survey
from landscape.curvature.question import Question


def concluded(result: Any, survey: Survey, question: Question) -> tuple[str, list[str]]:
    """How the search for the eigenvalues of a ``result`` ended, and what is to be said of them."""
    found, elsewhere = survey.found, survey.elsewhere
    outcome = "complete"
    count, d = question.top_k + question.bottom_k, max(one.pairs.vectors.shape[1] for one in found)
    notes = list(dict.fromkeys([*(note for one in found for note in one.notes), *survey.notes]))
    if count > d:
        notes.append(f"asked for {count} eigenvalues, there are only d = {d}: all given")
    num_left = sum(
        max(0, min(count, one.pairs.vectors.shape[1]) - int(one.pairs.converged.sum()))
        for one in [*found, *elsewhere]
    )
    if any(one.pairs.is_interrupted for one in [*found, *elsewhere]):
        outcome = "interrupted"
        notes.append("interrupted: the Ritz values so far, with their residuals")
    elif num_left:
        outcome = "not-converged"
        notes.append(
            f"{num_left} eigenvalues did not reach the tolerance {question.tol:g}: allow more "
            "`max_products`, a larger `tol`, or float64 where rounding is the limit"
        )
    elif question.search and not all(one.pairs.is_searched for one in found):
        notes.append(
            "`max_products` or `memory_limit` ended the search for further eigenvalues as good: copies of "
            "multiple ones may be missing"
        )
    if any(one.inertia is not None and not one.inertia.is_robust for one in found):
        notes.append(
            "the index and the nullity hang on what counts as zero: see counts_nearby for a tenth of it and "
            "ten times"
        )
    if any(one.trace is not None and not one.trace.converged for one in found):
        notes.append(
            f"the trace did not reach the relative error {question.trace_error:g}: its standard error says "
            "what it reached"
        )
    if result.num_kept < result.num_chunks and result.product_error is None:
        notes.append(
            f"`memory_limit` has room for the graphs of {result.num_kept} of {result.num_chunks} chunks; the "
            "others are recomputed in each product, which takes about twice as long"
        )
    if result.subset_spread is not None:
        notes.append(
            "the largest eigenvalue of a subset is on average above that of all samples (a maximum is convex)"
        )
    if any(one.pairs.num_restarts for one in found):
        notes.append("the basis was restarted to stay within `memory_limit`, which costs further products")
    if any(one is not None and not one.is_told for one in survey.outliers(question)):
        notes.append(
            "no outliers are counted where the errors do not tell the widest gap from another: a smaller `tol`"
        )
    return outcome, notes
