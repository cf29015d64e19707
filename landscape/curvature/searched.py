"""The search for eigenpairs at a point, its trial, and what both say of the products."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape import distributed
from landscape.curvature.preconditioned import Preconditioned
from landscape.curvature.product_proofs import of_another_cut
from landscape.curvature.question import Question, operator_of
from landscape.curvature.remembered import Kept, Later
from landscape.curvature.rounded import SHOWN, cancelled
from landscape.numerics.pieces import Piece
from landscape.numerics.spectra.krylov import Operator
from landscape.numerics.spectra.lanczos import Eigenpairs, top_eigenpairs
from landscape.numerics.vectors import lengths
from landscape.objective import checks
from landscape.objective.cancelled import TIMES
from landscape.objective.differences import Differences
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.products import Product
from landscape.progress import Progress
from landscape.result import Check


class Searched(NamedTuple):
    """Eigenpairs, the product they are of, and what is known of it."""

    pairs: Eigenpairs
    product: Product | Differences | Preconditioned
    basis: torch.device
    trial_error: float
    rounding: float | None
    num_products: int
    checks: list[Check]
    notes: list[str]


def searched(
    objective: Objective,
    wide: Objective | None,
    point: Point,
    question: Question,
    generator: torch.Generator,
    progress: Progress,
    kept: Kept,
) -> Searched:
    """The search, its trial in float64 where there is ``wide``, and what both say of the products; see ``kept``."""
    # The wide one first, which finds out for both whether a double backward is right; its point stands when it is
    # asked, and not beside the basis before.
    exact = trial = None
    if wide is not None:
        operator_of(wide, point, question)
        exact = Later(lambda: operator_of(wide, point, question))
    product = operator_of(objective, point, question)
    if question.residuals == "together":
        # Of several pairs two products are tried, on one graph where it is small beside those of the search.
        twice, room = min(2, question.top_k + question.bottom_k), question.memory_limit / 4
        trial = Later(
            lambda: of_another_cut(
                wide or objective, point, question.operator, num_products=twice, memory_limit=room
            )
        )
    elif objective.is_double and question.certify is not False:
        exact = product
    basis = torch.device(question.basis_device or objective.device)
    first = _First(kept(product, basis, "search"), objective.pieces)
    pairs = top_eigenpairs(
        first,
        objective.num_parameters,
        question.top_k,
        bottom=question.bottom_k,
        which=question.which,
        tol=question.tol,
        max_products=question.max_products,
        memory_limit=question.memory_limit - product.kept_bytes,
        search=question.search,
        certificate=kept(exact, basis, "certificate") if exact else None,
        trial=kept(trial, basis, "trial") if trial else None,
        product_error=lambda: (exact or product).error,
        trial_error=lambda: trial.error if trial else 0.0,
        # Of several processes each would be interrupted at another product.
        partial=distributed.num_processes() == 1,
        generator=generator,
        dtype=objective.dtype,
        device=basis,
        like=point.theta if objective.is_sharded else None,
        progress=lambda done, total: progress(done, total, "products at most"),
    )
    spent, scale = pairs.num_products, max(pairs.scale, 1e-300)
    rounding = None
    size = max(first.length, scale)
    repeated = pairs.trial.difference if pairs.trial else np.inf
    # Differences are repeated as they are, whatever they are known to. So is what the trial tells apart from float64,
    # which is the rounding of a layer that curves little beside the others, or what is drawn.
    if not repeated <= checks.rounding(objective) * size or isinstance(product, Differences):
        anew = product if isinstance(product, Differences) else operator_of(objective, point, question, 1)
        axis = pairs.vectors[0].to(objective.dtype)
        repeated = float((product(axis) - anew(axis)).abs().max())
        spent += 2
    if pairs.trial is not None and not isinstance(product, Differences):
        rounding = pairs.trial.difference / scale if wide is not None else None
    elif wide is not None and exact is not None and len(pairs.vectors):
        axis = pairs.vectors[0]
        gap = product(axis.to(objective.dtype)).double() - exact(axis)
        rounding = float(torch.linalg.vector_norm(gap)) / scale
        spent += 2
    lost = cancelled(objective, point, product, pairs)
    product.largest_error = max(product.largest_error, lost.error)
    off = TIMES * torch.finfo((wide or objective).coarsest).eps * lost.bend if lost.error else 0.0
    if wide is None and not isinstance(product, Differences):
        # Below what is asked of a symmetry as well, products are known to no more than it shows.
        off = max(off, SHOWN * pairs.asymmetry)
    if off:
        residuals = pairs.residuals + off
        # As r²/gap grows with r.
        grown = pairs.errors * np.minimum(residuals / np.maximum(pairs.residuals, 1e-300), 1e100) ** 2
        errors = np.minimum(residuals, grown + off)
        converged = errors <= question.tol * pairs.scale
        pairs = pairs._replace(residuals=residuals, errors=errors, converged=converged)
    proofs, notes = _probed(objective, product, first, repeated / size, size, pairs, lost.bound / size)
    largest = max(one.largest_error for one in (product, exact, trial) if one is not None)
    return Searched(pairs, product, basis, largest, rounding, spent, proofs, notes)


class _First:
    """A product that knows of its first image how long it is, and where it is zero throughout."""

    def __init__(self, product: Operator, pieces: Sequence[Piece]):
        self._product, self._pieces = product, pieces
        self.length, self.unused = 0.0, list[str]()
        self._is_first = True

    def __call__(self, v: Tensor) -> Tensor:
        image = self._product(v)
        if self._is_first:
            self._is_first, self.length = False, float(lengths(image))
            self.unused = [piece.name for piece in self._pieces if not bool(image[piece.span].any())]
        return image


def _probed(
    objective: Objective,
    product: Product | Differences | Preconditioned,
    first: _First,
    repeated: float,
    size: float,
    pairs: Eigenpairs,
    lost: float,
) -> tuple[list[Check], list[str]]:
    """Determinism and symmetry, without which curvature means nothing (dropout and batch statistics break both).

    ``repeated`` is what the same product differs by, over ``size``, on a graph of its own, the only one on which what
    is drawn in a forward pass is drawn again. ``lost``: what cancels in H, over ``size``.
    """
    precision = checks.rounding(objective)
    error = product.largest_error / size
    proofs = [
        Check(
            "determinism",
            repeated,
            precision,
            "the same product twice, on graphs of their own",
        ),
        Check(
            "symmetry",
            pairs.asymmetry / size,
            max(precision, lost or 2 * error),
            "uᵀHv against vᵀHu for the vectors of the search"
            + (", to the rounding of terms that cancel in H" if lost else ""),
        ),
    ]
    notes = []
    if first.unused:
        notes.append(
            f"no curvature at all in {', '.join(first.unused)}: rows of zeros, unused or linear there"
        )
    return proofs, notes
