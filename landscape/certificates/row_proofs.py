"""What certificates sum up, by other formulas: spectra and ranks, a pattern of units, the limit of wide nets."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from landscape.certificates.measured import Measured
from landscape.numerics.rank import FACTOR, Rank
from landscape.result import Check, largest_gap

# Sums of many numbers in float64, and what terms that cancel leave of them.
SUMS, CANCELLED = 1e-12, 1e-9


def spectrum_check(row: Mapping[str, Any]) -> list[Check]:
    """The stored spectrum of K against its ends and its rank as they are stated."""
    values = row.get("ntk_spectrum")
    if values is None:
        return []
    scale = max(float(np.abs(values).max()), 1e-300)
    gaps = [
        abs(float(values[0]) - row["ntk_largest"]) / scale,
        abs(max(0.0, float(values[-1])) - row["ntk_smallest"]) / scale,
        float(np.diff(values).max(initial=0.0) > 0),
    ]
    fewest, most = (
        sum(one > row["ntk_threshold"] + side * SUMS * scale for one in values.tolist()) for side in (1, -1)
    )
    gaps.append(0.0 if fewest <= row["ntk_rank"] <= most else 1.0)
    meaning = "stored eigenvalues of K, from the largest on, against the ends and the rank stated, over λ_max"
    return [Check("kernel spectrum", largest_gap(*gaps), CANCELLED, meaning)]


def floor_gap(seen: Measured) -> float:
    """How far the floor is from that of a regression of reduced rank, over the mean square of the targets.

    ‖Y‖² less the largest eigenvalues of YᵀPY, P the projection on the inputs, by normal equations.
    """
    assert seen.floor is not None
    assert seen.net is not None
    x, y = (one.double().cpu().numpy() for one in (seen.net.inputs, seen.structure.outputs - seen.errors))
    if seen.net.has_last_bias:
        x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    inside = y.T @ x @ np.linalg.pinv(x.T @ x, hermitian=True) @ x.T @ y
    rank = min(min(one.shape) for one in (layer.weight for layer in seen.structure.layers) if one is not None)
    kept = np.sort(np.linalg.eigvalsh((inside + inside.T) / 2))[::-1][:rank]
    wanted = (float((y**2).sum()) - float(kept.sum())) / y.size
    return abs(seen.floor - wanted) / max(float((y**2).mean()), 1e-300)


def pattern_check(seen: Measured) -> list[Check]:
    """Units and the pattern's matrix of one hidden layer, sample by sample from its weights.

    Where a unit is at its kink, as one without weights is, either slope is right: there that of the module is taken.
    """
    two = seen.two
    if two is None or two.factor is not None or two.below != two.below or two.first.weight is None:
        return []
    x, w, v, said = (
        one.double().cpu().numpy() for one in (two.first.features, two.first.weight, two.outgoing, two.slopes)
    )
    b = np.zeros(len(w)) if two.first.bias is None else two.first.bias.double().cpu().numpy()
    before = x @ w.T + b
    ones = 0.0 if two.first.bias is None else 1.0
    sizes = np.sqrt((x**2).sum(1) + ones)[:, None] * np.sqrt((w**2).sum(1) + b**2)
    coarse = torch.finfo(two.slopes.dtype).eps / torch.finfo(torch.float64).eps
    at_kink = np.abs(before) <= SUMS * coarse * sizes
    own = np.where(before > 0, 1.0, two.below)
    steps = np.where(
        at_kink, np.min([np.abs(said - one) for one in (0.0, two.below, 1.0)], axis=0), said - own
    )
    slopes = np.where(at_kink, said, own)
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.where(sizes > 0, np.abs(before) / np.where(sizes > 0, sizes, 1.0), np.abs(before))
    still = ((x**2).sum(1) + ones == 0)[:, None] & np.ones_like(near, dtype=bool)
    kinks = np.where(still, np.inf, near)
    is_idle = ~w.any(axis=1) & (b == 0) & ~v.any(axis=0)
    gaps = [
        float(np.abs(steps).max()) / coarse,
        float(int((slopes == 0).all(axis=0).sum()) != seen.structure.num_dead),
        float(int(is_idle.sum()) != seen.structure.num_inactive),
    ]
    if not at_kink.any():
        gaps.append(float(len({tuple(row) for row in (before > 0).tolist()}) != seen.structure.num_patterns))
    if len(seen.structure.kinks) == 1 and two.below != 1 and np.isfinite(kinks).any():
        gaps.append(abs(float(kinks.min()) - seen.structure.nearest_kink) / coarse)
    if seen.pattern is not None:
        rows = np.stack([np.kron(a, sample) for a, sample in zip(slopes, x, strict=True)])
        gaps.append(_rank_gap(rows, seen.pattern, len(rows), coarse))
    meaning = "slopes and numbers of units, the nearest kink and the ranks of the pattern's matrix, from the weights"
    return [Check("pattern", largest_gap(*gaps), CANCELLED, meaning)]


def ranks_check(seen: Measured) -> list[Check]:
    """The rank of the features of every layer, as they are met first."""
    gaps, met = [], dict[str, torch.Tensor]()
    for layer in seen.structure.layers:
        met.setdefault(layer.name.removesuffix(".weight"), layer.features)
    for name, rank in seen.features.items():
        coarse = torch.finfo(met[name].dtype).eps / torch.finfo(torch.float64).eps
        gaps.append(_rank_gap(met[name].double().cpu().numpy(), rank, min(met[name].shape), coarse))
    if not gaps:
        return []
    meaning = (
        "ranks of the features of each layer, their thresholds, ends and widths by another decomposition"
    )
    return [Check("feature ranks", largest_gap(*gaps), CANCELLED, meaning)]


def _rank_gap(matrix: np.ndarray, said: Rank, full: int, coarse: float) -> float:
    """How far what is said of the singular values of ``matrix`` is from its own, over the largest; 1 for counts.

    ``coarse``: the ε that they were found with, over that of float64.
    """
    values = np.linalg.svd(matrix, compute_uv=False) if matrix.size else np.zeros(0)
    largest = float(values.max(initial=0.0)) or 1.0
    least = float(values.min()) if len(values) >= full > 0 else 0.0
    zero = FACTOR * coarse * np.finfo(float).eps * max(matrix.shape, default=0) * largest
    gaps = [
        abs(least - said.smallest) / largest / coarse,
        abs(said.threshold / zero - 1) / coarse if matrix.any() else said.threshold,
        float(said.full != full),
        # Two decompositions are apart by less than half of what counts as zero.
        float(not (values > 1.5 * said.threshold).sum() <= said.rank <= (values > said.threshold / 2).sum()),
    ]
    counted = values[: said.rank]
    if len(counted) and matrix.any():
        gaps.append(abs(float(counted.min()) - said.last) / largest / coarse)
    return largest_gap(*gaps)


def limit_laws_check(result: Any) -> Check:
    """Root mean squares and exponents of the widths, by polynomials of degree 1 of each draw and of all."""
    u, gaps = np.log(np.asarray(result.width, dtype=float)), []
    rms = [math.sqrt(math.fsum(one * one for one in row) / len(row)) for row in result.kernel_error.tolist()]
    gaps.append(float(np.abs(result.kernel_error_rms / rms - 1).max()))
    gaps.append(abs(result.width_exponent - float(np.polyfit(u, np.log(rms), 1)[0])))
    for name in ("kernel", "weight"):
        values = np.log(getattr(result, f"lazy_{name}_change"))
        slopes = [float(np.polyfit(u, values[:, draw], 1)[0]) for draw in range(values.shape[1])]
        mean = math.fsum(slopes) / len(slopes)
        gaps.append(abs(getattr(result, f"lazy_{name}_exponent") - mean))
        error = getattr(result, f"lazy_{name}_exponent_error")
        if error is not None:
            squares = math.fsum((one - mean) ** 2 for one in slopes)
            gaps.append(abs(error - math.sqrt(squares / (len(slopes) - 1) / len(slopes))))
    meaning = (
        "root mean squares over the draws and exponents of the width with their errors, by fits of each draw"
    )
    return Check("laws of the width", largest_gap(*gaps), CANCELLED, meaning)
