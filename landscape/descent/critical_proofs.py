"""Critical points proven by another road: loss, ∇F and index on the user's own module, counts counted again."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch

from landscape.descent import search_proofs
from landscape.descent.known_points import LINEAR, Kinds
from landscape.descent.proofs import plain_hessian, plain_outputs
from landscape.descent.replay import ROUNDING
from landscape.descent.seeking import CRITICAL, STATUSES
from landscape.descent.told_apart import row_of
from landscape.numerics.spectra.inertia import STATIONARY
from landscape.objective import checks, plain
from landscape.objective.cancelled import gradient_elsewhere
from landscape.objective.objective import Objective
from landscape.result import Check, largest_gap

# Parameters up to which the Hessian is had once more, row by row.
MOST_ROWS = 600
# Points whose outputs are compared again.
MOST_OUTPUTS = 200
# |λ| over |F|/‖θ‖² that may be rounding.
VANISHES = 1e-6
# Of the Hessian at a critical point in closed form: what surely is zero, and what perhaps, over the largest.
ZERO = 1e-12, 1e-8


def start_checks(
    wide: Objective,
    starts: torch.Tensor,
    found: Mapping[str, np.ndarray],
    distinct: np.ndarray,
    seed: int,
) -> list[Check]:
    """Of one end that the seed picks, critical where any is: loss, ∇F, index; of all, from ``starts`` (k, d), kinds."""
    rows = np.flatnonzero(found["status"] == CRITICAL)
    finite = np.flatnonzero(np.isfinite(found["gradient_norm"]))
    proofs = [_kinds_check(found), _growth_check(starts, found)]
    if len(finite):
        pool = rows if len(rows) else finite
        proofs += _end_checks(wide, found, int(np.random.default_rng(seed).choice(pool)))
    if len(rows):
        proofs.append(_distinct_check(wide, found, distinct, rows[:MOST_OUTPUTS]))
    return proofs


def _end_checks(wide: Objective, found: Mapping[str, np.ndarray], k: int) -> list[Check]:
    theta = torch.from_numpy(found["theta"][k]).to(wide.device)
    point = wide.as_point(theta)
    loss, norm = float(found["loss"][k]), float(found["gradient_norm"][k])
    slope = plain.gradient(wide, plain.by_name(wide, point))
    proofs = [
        checks.agreement("loss of a start", wide, loss, point, "where one start ended, against a plain loop"),
    ]
    can_repeat = wide.num_parameters <= MOST_ROWS and wide.is_mean and not wide.doubts
    if not can_repeat:
        return proofs
    _, matrix = plain_hessian(wide, theta)
    values = np.linalg.eigvalsh((matrix + matrix.T) / 2)
    scale = float(np.abs(values).max(initial=0.0))
    # The derivatives by outputs cancel where H sees none of them, as those of equal logits.
    size = float(theta.norm())
    terms = scale * size + math.sqrt(abs(loss) * scale) + abs(loss) / max(size, 1.0)
    eps = torch.finfo(wide.coarsest).eps
    allowed = ROUNDING * norm + 1e3 * eps * terms
    gap = abs(float(slope.norm()) - norm)
    if not gap <= allowed:
        # Where F is next to nothing so is ∇F, but for the terms that cancel in it.
        allowed += 1e3 * eps * gradient_elsewhere(lambda x: wide.gradient(x), theta)
    proofs.append(
        Check(
            "gradient norm of a start",
            gap / max(allowed, 1e-300),
            1.0,
            "against autograd on the module, over what rounding allows: 1e-9 of it, and a thousand ε of the terms that "
            "cancel, ‖H‖ ‖θ‖ + √(|F| ‖H‖) + |F|/max(‖θ‖, 1)",
        )
    )
    if found["status"][k] == CRITICAL:
        threshold = float(found["zero_threshold"][k])
        own = max(len(values), 100) * eps * scale
        fewest, most = (
            int((values < -threshold - own).sum()),
            int((values < -max(0.0, threshold - own)).sum()),
        )
        index = int(found["index"][k])
        proofs.append(
            Check(
                "index of a start",
                float(max(fewest - index, index - most, 0)),
                0.0,
                "eigenvalues below zero by more than the threshold, of a second backward pass on the module",
            )
        )
        # Where F is constant to rounding, or its second derivatives cancel, H is rounding, and no other H is the same.
        if not found["noise"][k] > 0 and scale > VANISHES * abs(loss) / max(size, 1.0) ** 2:
            bent = slope.double().cpu().numpy()
            proofs.append(search_proofs.threshold_check(wide, theta, matrix, bent, threshold, norm))
    return proofs


def _kinds_check(found: Mapping[str, np.ndarray]) -> Check:
    """Starts whose status is none there is, or whose index is there without their being critical, or the reverse."""
    is_critical = found["status"] == CRITICAL
    wrong = ~np.isin(found["status"], STATUSES) | (np.isfinite(found["index"]) != is_critical)
    wrong |= is_critical & ~(found["gradient_norm"] <= STATIONARY * np.maximum(1.0, np.abs(found["loss"])))
    meaning = (
        f"starts with an index and not critical, or the reverse, or critical with ‖∇F‖ above {STATIONARY:g}"
    )
    return Check("status of the starts", float(wrong.sum()), 0.0, meaning)


def _growth_check(starts: torch.Tensor, found: Mapping[str, np.ndarray]) -> Check:
    """‖θ‖ of every end over that of its start, by sums of squares."""
    begun, ended = starts.double().cpu().numpy(), found["theta"].astype(float)
    before, after = (np.sqrt((one * one).sum(axis=1)) for one in (begun, ended))
    known = (before > 0) & np.isfinite(after)
    gaps = np.abs(found["growth"] * before - after)[known] / np.where(after > 0, after, 1.0)[known]
    worst = largest_gap(*gaps)
    return Check(
        "growth", worst, 1e-9, "‖θ‖ of every end over that of its start, by sums of squares, relative"
    )


def _distinct_check(
    wide: Objective, found: Mapping[str, np.ndarray], distinct: np.ndarray, rows: np.ndarray
) -> Check:
    """Distinct points among ``rows`` counted again: connected components of what agrees in outputs and index."""
    from scipy.sparse.csgraph import connected_components

    row = row_of(wide)
    outputs = np.array([plain_outputs(wide, torch.from_numpy(found["theta"][k]), row) for k in rows])
    sizes = np.maximum(1.0, np.abs(outputs).max(axis=1))
    far = np.array([np.abs(outputs - row).max(axis=1) for row in outputs])
    same = far <= 1e-5 * np.maximum(sizes[:, None], sizes[None, :])
    for name in ("index", "nullity"):
        column = np.nan_to_num(found[name][rows], nan=-1.0)
        same &= column[:, None] == column[None, :]
    count = int(connected_components(same, directed=False)[0])
    return Check(
        "distinct points",
        float(abs(count - len(np.unique(distinct[rows])))),
        0.0,
        "points that differ, by outputs of the module itself, index and nullity, against a count of components",
    )


def known_check(
    wide: Objective, kinds: Kinds, of: np.ndarray, found: Mapping[str, np.ndarray], seed: int
) -> Check:
    """Critical points that are none of the closed form's kinds, and two more of a linear net, of seeded kinds."""
    wrong = int(((found["status"] == CRITICAL) & (of < 0)).sum())
    if kinds.of == LINEAR and wide.num_parameters <= MOST_ROWS:
        wrong += sum(not is_listed for is_listed in _listed(wide, kinds, np.random.default_rng(seed)))
    meaning = f"critical points whose loss, index and nullity are none of those of {kinds.of}"
    return Check("closed form", float(wrong), 0.0, meaning)


def _listed(wide: Objective, kinds: Kinds, rng: np.random.Generator) -> Iterator[bool]:
    """Whether loss, index and nullity at projections of the best linear map are those of a kind in the list.

    Of the largest rank and of another: W₂ are left singular vectors of the best map's outputs, W₁ what they leave of
    the map; the Hessian is the module's.
    """
    (inputs,), targets = wide.samples
    x, y = (one.reshape(len(one), -1).double().cpu().numpy() for one in (inputs, targets))
    best = np.linalg.lstsq(x, y, rcond=None)[0].T
    modes, sizes, _ = np.linalg.svd(best @ x.T, full_matrices=False)
    # Both layers as large in the Hessian, whose small eigenvalues are lost beside those of one that is larger.
    scale = math.sqrt(sizes[0] / np.linalg.norm(x, 2)) or 1.0
    hidden, width = wide.pieces[0].shape[0], min(x.shape[1], y.shape[1])
    most = min(hidden, width)
    for rank in (most, int(rng.integers(most))):
        second = np.zeros((y.shape[1], hidden))
        second[:, :rank] = modes[:, rng.permutation(width)[:rank]]
        first = second.T @ best / scale
        theta = torch.from_numpy(np.concatenate([first.ravel(), scale * second.ravel()])).to(wide.device)
        loss = plain.measure(wide, plain.by_name(wide, wide.as_point(theta))).loss
        values = np.linalg.eigvalsh(plain_hessian(wide, theta)[1])
        surely, perhaps = (part * np.abs(values).max() for part in ZERO)
        listed = np.abs(kinds.loss - loss) <= ZERO[1] * float(np.abs(kinds.loss).max())
        listed &= ((values < -perhaps).sum() <= kinds.index) & (kinds.index <= (values < -surely).sum())
        zeros = [(np.abs(values) <= size).sum() for size in (surely, perhaps)]
        yield bool((listed & (zeros[0] <= kinds.nullity) & (kinds.nullity <= zeros[1])).any())


def correlation_check(share: np.ndarray, loss: np.ndarray, value: float) -> Check:
    """Spearman's correlation by pairs: the share of signs, through ranks counted as comparisons."""
    meaning = "correlation of index share and loss, from the numbers of points below and above each"
    ranks = [np.sign(one[:, None] - one[None, :]).sum(axis=1) for one in (share, loss)]
    if len(share) < 3 or not all(one.any() for one in ranks):
        return Check("rank correlation", float(not math.isnan(value)), 1e-9, meaning)
    again = float(np.corrcoef(*ranks)[0, 1])
    return Check("rank correlation", largest_gap(abs(again - value)), 1e-9, meaning)
