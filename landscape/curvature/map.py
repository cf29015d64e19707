"""The extreme eigenvalues of the Hessian in every cell of a plane (Li et al. 2018, section 6)."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.curvature import pair_proofs, product_proofs
from landscape.errors import NotFinite
from landscape.numerics.arrays import array_of
from landscape.numerics.spectra.lanczos import top_eigenpairs
from landscape.objective import batchnorm, checks, plain
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.sweep import Sweep
from landscape.progress import Saver
from landscape.result import Check, largest_gap

# ‖Hv − λv‖ that is small enough for a picture, relative to the largest |λ| of the cell, and when to give up.
TOLERANCE = 3e-3
MAX_PRODUCTS = 100
# Products that prove a cell, at most.
MOST = 20


class CurvatureMap(NamedTuple):
    """λ_max and λ_min of every cell (cells,), ‖Hv − λv‖ of each (cells,); NaN where a product is not finite.

    ``vectors`` (2, d) are v of both in the last cell that has any, as :func:`snake` goes.
    """

    largest: np.ndarray
    smallest: np.ndarray
    largest_residual: np.ndarray
    smallest_residual: np.ndarray
    num_products: int
    vectors: np.ndarray | None = None

    @property
    def scale(self) -> np.ndarray:
        """The largest |λ| of each cell."""
        return np.maximum(np.abs(self.largest), np.abs(self.smallest))

    @property
    def ratio(self) -> np.ndarray:
        """|λ_min/λ_max|, NaN where λ_max is zero."""
        known = self.largest != 0
        return np.divide(
            np.abs(self.smallest),
            np.abs(self.largest),
            where=known,
            out=np.full_like(self.largest, np.nan),
        )

    @property
    def num_open(self) -> int:
        """How many cells have an eigenvalue whose residual is above the tolerance."""
        worst = np.maximum(self.largest_residual, self.smallest_residual)
        return int((worst > TOLERANCE * self.scale).sum())

    def stated(self, result: Any) -> "CurvatureMap":
        """The same with the numbers that stand in a result over a plane."""
        return self._replace(
            largest=result.lambda_max.ravel(),
            smallest=result.lambda_min.ravel(),
            largest_residual=result.lambda_max_residual.ravel(),
            smallest_residual=result.lambda_min_residual.ravel(),
        )

    def notes(self) -> list[str]:
        """What it took, and what is lacking."""
        found = [f"curvature of {len(self.largest)} cells: {self.num_products} Hessian-vector products"]
        if self.num_open:
            found.append(
                f"the curvature of {self.num_open} cells has a residual above {TOLERANCE:g} of the largest |λ|"
            )
        return found


def curvature_map(
    sweep: Sweep,
    losses: np.ndarray,
    theta_at: Callable[[int], Tensor],
    points: Sequence[Point],
    weights_at: Callable[[int], Sequence[float]] | None = None,
    *,
    seed: int,
) -> CurvatureMap:
    """λ_max and λ_min at ``theta_at(i)`` for each cell i of a square grid with a finite loss.

    Lanczos until ‖Hv − λv‖ is at most TOLERANCE times the largest |λ|, from the eigenvectors of the
    neighbour (on the digits MLP 64-100-100-10 half of the products from a random start).
    They are remembered with the cells done, so that a resumed map ends bit for bit like an undisturbed one.
    Buffers are those of the sweep's policy, at rest in the derivative.
    """
    objective, num_cells, saver = sweep.objective, len(losses), Saver(sweep.journal, "curvature")
    what = f"cells of curvature, {MAX_PRODUCTS + 2} products each at most"
    state = saver.restore() or {"table": np.full((num_cells, 4), np.nan), "done": 0, "products": 0}
    table, done, products = state["table"].copy(), int(state["done"]), int(state["products"])
    near = torch.from_numpy(state["pair"]).to(objective.device) if "pair" in state else None

    def reached() -> dict[str, Any]:
        vectors = {} if near is None else {"pair": array_of(near)}
        return {"table": table.copy(), "done": done, "products": products, **vectors}

    sweep.progress(done, num_cells, what)
    for cell in snake(num_cells)[done:]:
        if np.isfinite(losses[cell]):
            theta, fixed = theta_at(cell), points[0].fixed
            if weights_at is not None:
                fixed = batchnorm.blend([point.fixed for point in points], weights_at(cell))
            if sweep.recalibrates:
                fixed = objective.recalibrated(theta, fixed)
            table[cell], count, near = _extremes(objective, Point(theta, fixed), seed, near)
            products += count
        done += 1
        sweep.progress(done, num_cells, what)
        if done < num_cells:
            saver.offer(reached)
        else:
            saver.save(reached())
    vectors = None if near is None else array_of(near)
    return CurvatureMap(table[:, 0], table[:, 1], table[:, 2], table[:, 3], products, vectors)


def snake(num_cells: int) -> np.ndarray:
    """The cells of a square grid row by row, each other row backwards, so that neighbours follow each other.

    >>> snake(9)
    array([0, 1, 2, 5, 4, 3, 6, 7, 8])
    """
    rows = np.arange(num_cells).reshape(math.isqrt(num_cells), -1)
    rows[1::2] = rows[1::2, ::-1]
    return rows.ravel()


def estimate(objective: Objective, point: Point, num_cells: int) -> str:
    """What the map of so many cells costs at most, by the clock of one product: a sentence."""
    count = MAX_PRODUCTS + 2
    text = f"curvature: {num_cells} cells × {count} products at most"
    product = objective.hessian_operator(point.theta, point.fixed)
    vector = torch.ones_like(point.theta)
    try:
        float(product(vector)[0])  # the first one also builds the graph
        began = time.perf_counter()
        float(product(vector)[0])
    except NotFinite:
        return text
    seconds = time.perf_counter() - began
    return f"{text} of {1e3 * seconds:.2g} ms, {num_cells * count * seconds / 60:.2g} min at most"


def range_checks(
    objective: Objective, point: Point, axes: Tensor, found: CurvatureMap, cell: int
) -> list[Check]:
    """dᵀHd/dᵀd of each axis at ``cell``, which is ``point``, must lie between λ_min and λ_max if they are known."""
    if np.isnan(found.scale[cell]):
        return []
    low, high = (
        found.smallest[cell] - found.smallest_residual[cell],
        found.largest[cell] + found.largest_residual[cell],
    )
    bends = []
    for axis in axes:
        image = objective.hvp(point.theta, axis, point.fixed).double()
        bends.append(float(torch.dot(axis.double(), image) / torch.dot(axis.double(), axis.double())))
    excess = max(0.0, max(bends) - high, low - min(bends)) / max(float(found.scale[cell]), 1e-300)
    check = Check(
        "curvature range",
        excess,
        TOLERANCE,
        "dᵀHd/dᵀd at θ* beyond [λ_min, λ_max], relative to the largest |λ|",
    )
    return [check]


def pair_check(objective: Objective, point_at: Callable[[int], Point], found: CurvatureMap) -> list[Check]:
    """λ and ‖Hv − λv‖ of both in the last cell that has vectors, by a product of its own of each."""
    cells = [cell for cell in snake(len(found.largest)).tolist() if not np.isnan(found.scale[cell])]
    if not cells or found.vectors is None:
        return []
    cell, worst = cells[-1], 0.0
    product = product_proofs.of_another_cut(objective, point_at(cell), "hessian", num_products=2)
    said = (found.largest, found.largest_residual), (found.smallest, found.smallest_residual)
    bound, scale = 10 * checks.rounding(objective), max(float(found.scale[cell]), 1e-300)
    for vector, (value, residual) in zip(found.vectors, said, strict=True):
        v = torch.from_numpy(vector.copy()).to(objective.device)
        with plain.proving(gradients=product_proofs.FRESH):
            image = product(v).double()
        own = float((image - float(value[cell]) * v.double()).norm())
        worst, bound = (
            largest_gap(worst, abs(own - float(residual[cell])) / scale),
            max(bound, 3 * product.error / scale),
        )
    numbers = zip(found.ratio.tolist(), found.largest.tolist(), found.smallest.tolist(), strict=True)
    sizes = [(ratio, abs(high), abs(low)) for ratio, high, low in numbers if high and np.isfinite(high + low)]
    worst = largest_gap(worst, *(abs(ratio * high - low) / (low or 1.0) for ratio, high, low in sizes))
    meaning = (
        "‖Hv − λv‖ of λ_max and λ_min in the last cell by products of its own against that stated, over max |λ|; and "
        "|λ_min/λ_max| of all, relative"
    )
    return [Check("residuals of a cell", worst, bound, meaning)]


def cell_checks(
    objective: Objective,
    point_at: Callable[[int], Point],
    found: CurvatureMap,
    ratio: np.ndarray,
    middle: int,
    seed: int,
) -> list[Check]:
    """A seeded cell that is not the ``middle``, by a few products of its own: no Ritz value is beyond λ_min and λ_max.

    And the ``ratio`` |λ_min/λ_max| of every cell. A hundredth of the products, two at least.
    """
    known = [i for i in np.flatnonzero(~np.isnan(found.scale)).tolist() if i != middle]
    if not known:
        return []
    cell = int(np.random.default_rng(seed).choice(known))
    point = point_at(cell)
    count = min(MOST, max(2, found.num_products // 100), objective.num_parameters)
    product = product_proofs.recut(objective, point, "hessian", num_products=count)
    generator = torch.Generator().manual_seed(seed + 1)
    values = pair_proofs.complement(product, point.theta.new_zeros(0, len(point.theta)), count, generator)
    low = found.smallest[cell] - found.smallest_residual[cell]
    high = found.largest[cell] + found.largest_residual[cell]
    excess = max(0.0, float(values.max()) - high, low - float(values.min())) / max(
        float(found.scale[cell]), 1e-300
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        gaps = ratio * np.abs(found.largest) - np.abs(found.smallest)
    off = float(np.abs(gaps[found.largest != 0] / found.scale[found.largest != 0]).max(initial=0.0))
    meaning = (
        "Ritz values of some products in a cell off θ* beyond [λ_min, λ_max], over max |λ|, and the ratio"
    )
    return [Check("curvature of a cell", max(excess, off), TOLERANCE, meaning)]


def _extremes(
    objective: Objective, point: Point, seed: int, near: Tensor | None
) -> tuple[list[float], int, Tensor | None]:
    """λ_max, λ_min and their residuals at a point; the products they took; their vectors (2, d)."""
    product = objective.hessian_operator(point.theta, point.fixed, num_products=MAX_PRODUCTS)
    try:
        pairs = top_eigenpairs(
            product,
            objective.num_parameters,
            1,
            which="both",
            tol=TOLERANCE,
            max_products=MAX_PRODUCTS,
            search=False,
            # As its own certificate the search ends by residuals, which prove, not by estimates.
            certificate=product,
            product_error=lambda: product.error,
            start=None if near is None else near.sum(0),
            generator=torch.Generator().manual_seed(seed),
            dtype=objective.dtype,
            device=objective.device,
        )
    except NotFinite:
        return [np.nan] * 4, 0, near
    ends = [*pairs.values[[0, -1]], *pairs.residuals[[0, -1]]]
    return [float(one) for one in ends], int(pairs.num_products), pairs.vectors[[0, -1]]
