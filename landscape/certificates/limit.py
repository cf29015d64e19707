"""How the tangent kernel comes to its limit as a net gets wider."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from landscape.certificates.kernel import dense_kernel
from landscape.certificates.two_layer import arc_cosine_kernel
from landscape.errors import BadInput
from landscape.numerics.powerlaw import PowerLaw, fit_power_law
from landscape.objective.objective import Objective
from landscape.progress import Journal, Progress


class Limit(NamedTuple):
    """‖K − K∞‖/‖K∞‖ of Frobenius, ``error`` (widths, draws), its root mean square (widths,), and its law."""

    error: np.ndarray
    rms: np.ndarray
    law: PowerLaw


def limit(
    variant: Callable[[int, dict[str, Any]], Objective],
    widths: tuple[int, ...],
    draws: int,
    *,
    seed: int,
    journal: Journal,
    progress: Progress,
) -> Limit:
    """Of nets h = p^(−1/2) Σ vⱼ max(0, wⱼ·x) at their start, ``draws`` of each width. Raises BadInput."""
    if len(set(widths)) < 2 or len(set(widths)) < len(widths):
        raise BadInput(f"`widths` = {', '.join(map(str, widths))}", "two or more, each once")
    error, done = np.empty((len(widths), draws)), 0
    for row, width in enumerate(widths):
        for draw in range(draws):
            key = f"width {width} draw {draw}"
            if key not in journal:
                net = wide(variant(seed + draw, {"width": width}))
                error[row, draw] = distance(net)
                journal[key] = {"error": error[row, draw]}
            error[row, draw] = journal[key]["error"]
            done += 1
            progress(done, error.size, "nets")
    rms = np.sqrt(np.square(error).mean(1))
    return Limit(error, rms, fit_power_law(np.array(widths, dtype=float), rms))


def distance(net: Objective) -> float:
    """‖K − K∞‖/‖K∞‖ of one net, K∞ by the net's own data."""
    x = net.samples.inputs[0]
    limiting = arc_cosine_kernel(x.flatten(1))
    kernel, _ = dense_kernel(net, net.present_point())
    return float(torch.linalg.matrix_norm(kernel - limiting) / torch.linalg.matrix_norm(limiting))


def wide(objective: Objective) -> Objective:
    """F without its penalty in float64, where module, loss and device take it; as it is where they do not."""
    bare = objective.varied(l2=0.0)
    if bare.is_double:
        return bare
    try:
        return bare.varied(dtype=torch.float64, device="cpu" if bare.device.type == "mps" else None)
    except BadInput:
        return bare
