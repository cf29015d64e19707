"""Ends of descents proven by another road: cost, ∇F and Hessian of one of them, and how many differ, counted again."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape.descent.counts import MINIMA, SAME_COST, SAME_OUTPUT, Counts
from landscape.descent.critical import POLISHED
from landscape.descent.kink_proofs import kink_checks
from landscape.descent.replay import ROUNDING
from landscape.descent.told_apart import row_of
from landscape.numerics.spectra.inertia import STATIONARY
from landscape.numerics.spectra.zeros import zero_thresholds
from landscape.numerics.steps.polish import KINK
from landscape.objective import checks, plain, trees
from landscape.objective.objective import Objective
from landscape.result import Check, largest_gap

# Gradients that take no time of a command, and the part of its own that they may take otherwise.
FEW_GRADIENTS = 64
PART = 0.1


def end_checks(
    wide: Objective,
    begun: Tensor,
    thetas: Tensor,
    rows: Mapping[str, np.ndarray],
    kept: np.ndarray,
    seed: int,
) -> list[Check]:
    """One of the ends ``thetas`` (R, d), the seed says which: cost, ‖∇F‖, extreme eigenvalues, index and kind.

    ``begun`` (R, d) are the ends before polishing, ``rows`` what is said of each, ``kept`` those that did not
    diverge. The Hessian is that of autograd on the user's own module, one row after another; it is left out where
    that would take more than a tenth of the time, for products by differences, and where polishing stopped early,
    for at a kink there are two.
    """
    generator, is_polished = np.random.default_rng(seed), "polished_cost" in rows
    reached = kept[rows["polish_reason"][kept] == ""] if is_polished else kept
    k = int(generator.choice(reached if len(reached) else kept))
    stages = [("cost", begun[k])] + ([("polished_cost", thetas[k])] if is_polished else [])
    gaps = [
        checks.close(
            "", float(rows[one][k]), checks.independent_loss(wide, wide.as_point(theta)), 0.0, ""
        ).value
        for one, theta in stages
    ]
    found = [
        Check(
            "cost of an end",
            largest_gap(*gaps),
            checks.rounding(wide),
            "before and after polishing, against a plain loop",
        )
    ]
    found += [_gradient_check(wide, thetas[k], rows, k), _kinds_check(rows, kept)]
    is_short = 2 * wide.num_parameters <= max(
        FEW_GRADIENTS, PART * (rows["num_steps"].max() + 2 * wide.num_parameters * len(kept))
    )
    if is_short and wide.is_mean and not wide.doubts and k in reached:
        found += _hessian_checks(wide, thetas[k], {name: values[k] for name, values in rows.items()})
    if is_polished:
        rises = (rows["polished_cost"] - rows["cost"])[kept] / np.maximum(1e-3, np.abs(rows["cost"][kept]))
        meaning = "largest rise of the cost by polishing, relative"
        found.append(Check("polish", max(0.0, float(rises.max())), checks.rounding(wide), meaning))
        found.append(_reasons_check(wide, thetas, rows, kept))
        found += kink_checks(wide, thetas, rows, kept, generator)
    return found


def _gradient_check(wide: Objective, theta: Tensor, rows: Mapping[str, np.ndarray], k: int) -> Check:
    stage = "polished_" if "polished_cost" in rows else ""
    said = float(rows[f"{stage}gradient_norm"][k])
    true = float(plain.gradient(wide, plain.by_name(wide, wide.as_point(theta))).norm())
    allowed = ROUNDING * true + _cancelled(wide, theta, rows, k)
    meaning = (
        "‖∇F‖ of an end against autograd on the module, over what rounding allows: 1e-9 of it, and a hundred ε of the "
        "terms that cancel, ‖H‖ ‖θ‖ + √(F ‖H‖)"
    )
    return Check("gradient norm of an end", abs(said - true) / max(allowed, 1e-300), 1.0, meaning)


def _cancelled(wide: Objective, theta: Tensor, rows: Mapping[str, np.ndarray], k: int) -> float:
    """What rounding leaves of the terms of a gradient that cancel, a hundred ε of ‖H‖ ‖θ‖ + √(F ‖H‖)."""
    cost = rows["polished_cost" if "polished_cost" in rows else "cost"][k]
    bend = max(abs(float(rows["smallest_eigenvalue"][k])), abs(float(rows["largest_eigenvalue"][k])))
    terms = bend * float(theta.norm()) + math.sqrt(abs(float(cost)) * bend)
    return 100 * torch.finfo(wide.coarsest).eps * terms


def _reasons_check(
    wide: Objective, thetas: Tensor, rows: Mapping[str, np.ndarray], kept: np.ndarray
) -> Check:
    """A reason is given where, and only where, ‖∇F‖ is above the tolerance by more than rounding."""
    wrong = 0
    for k in kept.tolist():
        above, off = float(rows["polished_gradient_norm"][k]) - POLISHED, _cancelled(wide, thetas[k], rows, k)
        wrong += above < -off if rows["polish_reason"][k] else above > off
    meaning = f"ends with ‖∇F‖ above {POLISHED:g} and no reason, or a reason and none above, but for rounding"
    return Check("polished ends", float(wrong), 0.0, meaning)


def _kinds_check(rows: Mapping[str, np.ndarray], kept: np.ndarray) -> Check:
    """The kind of every end against ‖∇F‖, the index and the reason that are said of it."""
    norms = rows["polished_gradient_norm" if "polished_cost" in rows else "gradient_norm"]
    wrong = 0
    for k in kept.tolist():
        if norms[k] > STATIONARY:
            is_kink = "polish_reason" in rows and rows["polish_reason"][k] == KINK
            kinds = {"kink"} if is_kink else {"cut short"}
        else:
            kinds = {"saddle"} if rows["index"][k] > 0 else {"minimum", "degenerate"}
        wrong += rows["end_status"][k] not in kinds
    meaning = f"ends whose kind is not what ‖∇F‖ ≤ {STATIONARY:g}, index and reason said of them make it"
    return Check("kinds of the ends", float(wrong), 0.0, meaning)


def _hessian_checks(wide: Objective, theta: Tensor, said: Mapping[str, np.ndarray]) -> list[Check]:
    norm, matrix = plain_hessian(wide, theta)
    values = np.linalg.eigvalsh((matrix + matrix.T) / 2)
    scale = max(float(np.abs(values).max()), 1e-300)
    gaps = [abs(said["smallest_eigenvalue"] - values[0]), abs(said["largest_eigenvalue"] - values[-1])]
    # Zero to its error: at a critical point ‖∇F‖, and what LAPACK and the asymmetry of either matrix add.
    zero = norm if norm <= STATIONARY else 0.0
    own = max(len(values), 100) * np.finfo(float).eps * scale + 2 * float(np.linalg.norm(matrix - matrix.T))
    low, high = max(0.0, (1 - ROUNDING) * zero - own), (1 + ROUNDING) * zero + 10 * own
    fewest, most = int((values < -high).sum()), int((values < -low).sum())
    says_flat = said["end_status"] == "degenerate" and not bool((np.abs(values) <= high).any())
    if norm <= STATIONARY and (says_flat or said["index"] < fewest):
        high = max(high, (1 + ROUNDING) * on_the_way(wide, theta, matrix))
        fewest = int((values < -high).sum())
    kinds = {"saddle"} if most else set()
    if not fewest:
        surely_flat = bool((np.abs(values) <= low).any())
        kinds |= {"degenerate"} if surely_flat else {"minimum"}
        kinds |= {"degenerate"} if bool((np.abs(values) <= high).any()) else set()
    if norm > (1 - ROUNDING) * STATIONARY:
        is_kink = "polish_reason" in said and said["polish_reason"] == KINK
        cut = {"kink" if is_kink else "cut short"}
        kinds = cut if norm > (1 + ROUNDING) * STATIONARY else kinds | cut
    index = int(said["index"])
    return [
        Check(
            "eigenvalues of an end",
            float(largest_gap(*gaps)) / scale,
            ROUNDING,
            "smallest and largest against those of a second backward pass on the module, over max |λ|, in float64",
        ),
        Check(
            "index of an end",
            float(max(fewest - index, index - most, 0)),
            0.0,
            "eigenvalues of that matrix below zero by more than their error, and at a critical point ‖∇F‖",
        ),
        Check(
            "kind of an end",
            float(str(said["end_status"]) not in kinds),
            0.0,
            "whether it is what ‖∇F‖ and the signs of that matrix make it (0 = it is)",
        ),
    ]


def on_the_way(wide: Objective, theta: Tensor, matrix: np.ndarray) -> float:
    """What counts as zero with such eigenvalues as reach it where the point goes, by the module itself."""
    values, vectors = torch.linalg.eigh(torch.from_numpy(matrix + matrix.T) / 2)
    slope = plain.gradient(wide, plain.by_name(wide, wide.as_point(theta))).double().cpu()

    def beyond(steps: Tensor) -> tuple[Tensor, Tensor]:
        norm, there = plain_hessian(wide, theta + steps[0].to(theta))
        return torch.tensor([norm]).double(), torch.linalg.eigvalsh(torch.from_numpy(there + there.T) / 2)[
            None
        ]

    known = 100 * np.finfo(float).eps * values.abs().max()[None]
    return float(zero_thresholds(values[None], vectors[None], slope[None], known, beyond)[0])


def plain_hessian(wide: Objective, theta: Tensor) -> tuple[float, np.ndarray]:
    """‖∇F‖ and the matrix (d, d) whose rows are the derivatives of the entries of ∇F, in eval mode."""
    rows = []
    with plain.proving(gradients=2 * wide.num_parameters), _slopes(wide, theta) as (own, slope):
        for one in slope:
            parts = [torch.zeros_like(tensor) for tensor in own]
            if one.requires_grad:
                parts = torch.autograd.grad(
                    one, own, retain_graph=True, allow_unused=True, materialize_grads=True
                )
            rows.append(torch.cat([part.detach().reshape(-1) for part in parts]).cpu())
    return float(slope.detach().norm()), torch.stack(rows).double().numpy()


def plain_product(wide: Objective, theta: Tensor) -> Callable[[Tensor], Tensor]:
    """v ↦ Hv (d,) by a second backward pass on the module itself, in eval mode."""

    def product(v: Tensor) -> Tensor:
        with plain.proving(gradients=2), _slopes(wide, theta) as (own, slope):
            if not slope.requires_grad:
                return torch.zeros_like(v)
            parts = torch.autograd.grad(slope @ v.to(slope), own, allow_unused=True, materialize_grads=True)
            return torch.cat([part.detach().reshape(-1) for part in parts])

    return product


@contextmanager
def _slopes(wide: Objective, theta: Tensor) -> Iterator[tuple[list[Tensor], Tensor]]:
    """The module's own parameters at θ (d,), and ∇F (d,) with its graph."""
    tensors = plain.by_name(wide, wide.as_point(theta))
    # The fused kernels of attention have no second derivative.
    with wide.written(tensors), sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
        own = [wide.now(piece.name) for piece in wide.pieces]
        loss = plain.batch_loss(wide, None)
        if wide.l2:
            loss = loss + 0.5 * wide.l2 * torch.stack([one.square().sum() for one in own]).sum()
        slopes = torch.autograd.grad(loss, own, create_graph=True, allow_unused=True, materialize_grads=True)
        # Times 1, so that what goes back is no view at an odd place, of which torch.view_as_complex takes none.
        yield own, torch.cat([(one * 1).reshape(-1) for one in slopes])


def distinct_check(
    wide: Objective, thetas: Tensor, costs: np.ndarray, status: np.ndarray, said: Counts
) -> Check:
    """How many of the ends ``thetas`` (k, d) differ, by outputs on the data and by cost, counted again.

    The outputs are those of the user's own module, what is joined is a graph, and its connected components are counted,
    and of the minima those that are one end alone.
    """
    row = row_of(wide)
    outputs = np.array([plain_outputs(wide, theta, row) for theta in thetas])
    sizes = np.maximum(1.0, np.abs(outputs).max(axis=1))
    far = np.array([np.abs(outputs - row).max(axis=1) for row in outputs])
    same_output = far <= SAME_OUTPUT * np.maximum(sizes[:, None], sizes[None, :])
    same_cost = np.abs(costs[:, None] - costs) <= SAME_COST * np.maximum(
        1.0, np.maximum(np.abs(costs)[:, None], np.abs(costs))
    )
    is_minimum = np.isin(status, MINIMA)
    own: np.ndarray = same_output[np.ix_(is_minimum, is_minimum)]
    every, costs_apart, apart = (_components(one) for one in (same_output, same_cost, own))
    once, count = int((own.sum(axis=1) == 1).sum()), int(is_minimum.sum())
    found = Counts(every, costs_apart, apart, count, once)
    off = abs(said.coverage - (count - once) / count) if count else 0.0
    return Check(
        "distinct ends",
        float(largest_gap(*(abs(one - other) for one, other in zip(said, found, strict=True))))
        + (off > 1e-12),
        0.0,
        "numbers of ends that differ, by outputs of the module itself and by cost, against a count of components",
    )


def _components(joined: np.ndarray) -> int:
    from scipy.sparse.csgraph import connected_components

    return int(connected_components(joined, directed=False)[0]) if len(joined) else 0


def plain_outputs(wide: Objective, theta: Tensor, row: Callable[[Any], np.ndarray]) -> np.ndarray:
    """Outputs of the user's own module at θ on all data as one row, as ``row`` makes it."""
    tensors = plain.by_name(wide, wide.as_point(theta))
    inputs, _ = wide.samples.picked(None)
    with plain.proving(evaluations=1), wide.written(tensors), torch.set_grad_enabled(wide.needs_gradients):
        return row(wide.called(trees.mapped(torch.clone, inputs)))


def prediction_check(
    wide: Objective, theta: Tensor, axes: tuple[np.ndarray, np.ndarray], prediction: np.ndarray, seed: int
) -> Check:
    """One node of ``prediction`` (y, x), off the diagonal, against the output of the user's own module there."""
    i, j = np.random.default_rng(seed).choice(len(axes[0]), 2, replace=False).tolist()
    node = torch.tensor([[axes[0][j], axes[1][i]]], dtype=wide.dtype, device=wide.device)
    tensors = plain.by_name(wide, wide.as_point(theta))
    grads = torch.set_grad_enabled(wide.needs_gradients)
    with plain.proving(evaluations=1 / wide.num_samples), wide.written(tensors), grads:
        output = float(wide.module(node).detach())
    gap = abs(float(prediction[i, j]) - output) / max(1.0, float(np.abs(prediction).max()))
    meaning = "output of the best end at one node (x, y) of the grid against the module's, over the largest"
    return Check("prediction", gap, ROUNDING, meaning)


def worst_of(places: Mapping[str, Sequence[Check]]) -> list[Check]:
    """Of the checks of each name the worst, measured by its bound, which says where that was."""
    names = dict.fromkeys(check.name for found in places.values() for check in found)
    worst = []
    for name in names:
        alike = [(where, one) for where, found in places.items() for one in found if one.name == name]
        where, check = max(alike, key=lambda one: _excess(one[1]))
        about = f"; the worst of {len(alike)}: {where}" if len(alike) > 1 else ""
        worst.append(Check(name, check.value, check.bound, check.meaning + about))
    return worst


def _excess(check: Check) -> float:
    excess = check.value / check.bound if check.bound else check.value * math.inf if check.value else 0.0
    return math.inf if math.isnan(excess) else excess
