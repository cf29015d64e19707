"""How fast F must fall while the tangent kernel stays well above 0 (Polyak and Łojasiewicz; Jacot et al. 2018)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

# What F may differ by from what its run logged, in float32, to be the F that was trained.
AS_LOGGED = 1e-4


def decay(result: Any, descent: Sequence[tuple[float, float]]) -> tuple[np.ndarray | None, list[str]]:
    """F₀ exp(−4ct/nk) at points of a certificate, t and F in ``descent`` (points, 2); None where none; what to say.

    Along gradient flow dF/dt = −‖∇F‖² ≤ −4 λ_min(K) F/(nk), so that it bounds F while λ_min(K) ≥ c. Of finite steps
    α it does so as α → 0, and of stored points c is known at these alone.
    """
    t, logged = np.asarray(descent, dtype=float).T
    if not np.isfinite(t).all():
        return None, ["no bound along the run: its steps follow the loss, and not every one was logged"]
    loss = np.asarray(result.loss)
    seen = np.isfinite(logged)
    if not seen.any() or not np.allclose(loss[seen], logged[seen], rtol=AS_LOGGED, atol=1e-9):
        return None, [
            "no bound along the run: F here is not the F of its training, as of a part of the samples"
        ]
    if not np.isfinite(result.loss_bound).all():
        return None, ["no bound along the run: not of the square loss, or K has no full rank at every point"]
    least = float(np.min(result.ntk_smallest))
    bound = loss[0] * np.exp(-4 * least * (t - t[0]) / result.num_outputs)
    above = np.flatnonzero(loss > bound * (1 + AS_LOGGED))
    claim = f"F ≤ F₀ exp(−4ct/nk), c = {least:.3g} the least λ_min(K) of the points looked at"
    if len(above):
        where = ", ".join(str(result.point[k]) for k in above[:3])
        return bound, [
            f"{claim}: broken at {where}: steps of this size are no flow, or λ_min(K) is less between"
        ]
    return bound, [f"{claim}: kept at every one; it is that of gradient flow, for t = Σα of the steps"]
