"""What is said of searches by another road: steps by evaluations, exponents by another fit, what counts as zero."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.descent.proofs import plain_hessian
from landscape.numerics.arrays import array_of
from landscape.numerics.spectra.inertia import STATIONARY
from landscape.numerics.spectra.zeros import REMAINING
from landscape.objective.objective import Objective
from landscape.result import Check, largest_gap

# Logarithms that are centred; a logarithm's own rounding.
FITTED = 1e-6
# What LAPACK and products add to an eigenvalue, over that stated, at most; of an eigenvalue or of ‖∇F‖ where either may
# be right.
LOOSE, EITHER = 10.0, 1e-3
# What Lanczos adds, over the largest |λ|, and a little.
BY_PRODUCTS = 1.1e-12


class Counted:
    """A function of points (R, d), or of one (d,), that tells how many of them it was asked at, call by call."""

    def __init__(self, function: Callable[[Tensor], Any]):
        self._function, self.sizes = function, list[int]()

    def __call__(self, thetas: Tensor) -> Any:
        self.sizes.append(len(thetas) if thetas.ndim > 1 else 1)
        return self._function(thetas)

    def tried(self, steps: Tensor, before: Tensor | None) -> np.ndarray:
        """The steps of R searches, most for the one with most ``steps`` (R,): each took one evaluation of those left.

        ``before`` (R,): the steps that were taken already; without it the first call is that of all starts.
        """
        counts = np.zeros(len(steps)) if before is None else np.sort(array_of(before))[::-1].astype(float)
        for size in self.sizes if before is not None else self.sizes[1:]:
            counts[:size] += 1
        found = np.empty(len(steps))
        found[np.argsort(-array_of(steps), kind="stable")] = counts
        return found


def search_checks(result: Mapping[str, Any], found: Mapping[str, np.ndarray], max_steps: int) -> list[Check]:
    """Of the fields of a ``result`` by name: its steps, and its exponents if there are any."""
    steps, tried = result["num_steps"], found["tried"]
    wrong = int((np.isfinite(tried) & (steps != tried)).sum()) + int(
        ((steps < 0) | (steps > max_steps)).sum()
    )
    meaning = "starts whose steps are not as many as the evaluations that they took"
    proofs = [Check("steps of the starts", float(wrong), 0.0, meaning)]
    if result.get("exponent") is not None:
        proofs.append(_exponent_check(result, found))
    return proofs


def _exponent_check(result: Mapping[str, Any], found: Mapping[str, np.ndarray]) -> Check:
    """Each by the means of products of logarithms over pairs of steps, the last of which is the end that is stated."""
    gaps = []
    for k in np.flatnonzero(np.isfinite(result["exponent"])).tolist():
        norms, sizes = found["way"][k]
        ends = (
            (norms[-1], float(result["gradient_norm"][k])),
            (sizes[-1], float(np.linalg.norm(found["theta"][k]))),
        )
        gaps += [abs(one / other - 1) for one, other in ends]
        known = (norms > 0) & np.isfinite(norms) & (sizes > 0) & np.isfinite(sizes)
        rises, grows = (np.subtract.outer(one, one) for one in (np.log(norms[known]), np.log(sizes[known])))
        slope = float((rises * grows).sum() / (grows * grows).sum())
        gaps.append(abs(result["exponent"][k] - slope) / max(1.0, abs(slope)))
    meaning = "exponents by all pairs of the last steps, and the last of these at the end stated, relative"
    return Check("exponents", largest_gap(0.0, *gaps), FITTED, meaning)


def threshold_check(
    wide: Objective, theta: Tensor, matrix: np.ndarray, slope: np.ndarray, said: float, norm: float
) -> Check:
    """What counts as zero, ``said``, at a critical point θ (d,), between the least and the most that its terms can be.

    ``matrix`` (d, d) and ``slope`` (d,) are H and ∇F of the module, ``norm`` is ‖∇F‖ as stated. The terms are the error
    of H, ‖∇F‖, and the largest eigenvalue that reaches zero if it moves on as in a step of Newton's, ten times as far.
    """
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    scale, eps = float(np.abs(values).max(initial=0.0)), torch.finfo(wide.coarsest).eps
    size = max(len(values), 100) * scale
    least = np.finfo(float).eps * size / LOOSE + norm
    most = (
        max(LOOSE * eps * size, BY_PRODUCTS * scale) + LOOSE * float(np.linalg.norm(matrix - matrix.T)) + norm
    )
    surely, perhaps = 0.0, 0.0
    if 0 < norm <= STATIONARY:
        sizes, cuts = np.abs(values), (least - norm, most - norm)
        moved = [_moved(wide, theta, values, vectors, slope, cut) for cut in cuts]
        rests = [(values + REMAINING * (there - values)) * np.sign(values) for _, there in moved]
        in_doubt = (np.array(rests) <= most + EITHER * sizes).any(0)
        perhaps = float(sizes.max(where=in_doubt, initial=0.0))
        is_clear = not ((sizes > cuts[0]) & (sizes <= cuts[1])).any()
        if is_clear and moved[0][0] < norm / 2:
            surely = float(sizes.max(where=rests[0] <= least - EITHER * sizes, initial=0.0))
    low, high = least + surely, most + perhaps
    gap = math.inf if said != high else 0.0
    if said > 0 and high > 0:
        gap = max(low / said, said / high, 1.0) - 1
    meaning = "what counts as zero at one, over what error of H, ‖∇F‖ and a step of Newton's on the module make of it"
    return Check("threshold of a start", largest_gap(gap), FITTED, meaning)


def _moved(
    wide: Objective, theta: Tensor, values: np.ndarray, vectors: np.ndarray, slope: np.ndarray, zero: float
) -> tuple[float, np.ndarray]:
    """‖∇F‖ and the eigenvalues of H after a step of Newton's along the eigenvectors whose |λ| is above ``zero``."""
    part = vectors.T @ slope / np.where(np.abs(values) > zero, values, math.inf)
    norm, matrix = plain_hessian(wide, theta - torch.from_numpy(vectors @ part).to(theta))
    if not np.isfinite(matrix).all():
        return math.inf, values
    return norm, np.linalg.eigvalsh((matrix + matrix.T) / 2)
