"""How the tangent kernel comes to its limit as a net gets wider, and how lazily the net then trains."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch

from landscape.certificates.kernel import dense_kernel
from landscape.certificates.lazy import Moved, lazy_check, moved, slope, step_at, words
from landscape.certificates.proofs import limit_check
from landscape.certificates.row_proofs import limit_laws_check
from landscape.certificates.two_layer import arc_cosine_kernel
from landscape.errors import BadInput
from landscape.numerics.powerlaw import PowerLaw, fit_power_law
from landscape.numerics.steps.sampling import seed_of_draw
from landscape.objective.objective import Objective
from landscape.objective.tasks import Task, ahead
from landscape.progress import Journal, Progress

# What is kept of a net.
NAMES = ("error", "kernel_change", "weight_change")


class Limit(NamedTuple):
    """‖K − K∞‖/‖K∞‖ of Frobenius, ``error`` (widths, draws), its root mean square (widths,), and its law.

    ``kernel_change`` and ``weight_change`` (widths, draws) are what training changes, by steps of size ``step``.
    """

    error: np.ndarray
    rms: np.ndarray
    law: PowerLaw
    kernel_change: np.ndarray
    weight_change: np.ndarray
    step: float


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
    step = _step(wide(variant(seed_of_draw(seed, 0), {"width": widths[0]})))

    def tasks() -> list[Task]:
        # The widest takes longest.
        every = product(sorted(widths, reverse=True), range(draws))
        return [Task((_key(*one),), partial(_look, variant, *one, seed, step)) for one in every]

    ahead(journal, tasks, progress, "nets measured")
    found, done = np.empty((len(NAMES), len(widths), draws)), 0
    for row, width in enumerate(widths):
        for draw in range(draws):
            _look(variant, width, draw, seed, step, journal)
            found[:, row, draw] = [journal[_key(width, draw)][name] for name in NAMES]
            done += 1
            progress(done, found[0].size, "nets")
    rms = np.sqrt(np.square(found[0]).mean(1))
    law = fit_power_law(np.array(widths, dtype=float), rms)
    return Limit(found[0], rms, law, found[1], found[2], step)


def _look(
    variant: Callable[[int, dict[str, Any]], Objective],
    width: int,
    draw: int,
    seed: int,
    step: float,
    journal: Journal,
) -> None:
    """Keep how far K of one net is from its limit, and how far training takes K and θ."""
    if (key := _key(width, draw)) not in journal:
        net = wide(variant(seed_of_draw(seed, draw), {"width": width}))
        change = moved(net, step)
        journal[key] = dict(zip(NAMES, (distance(net), *change), strict=True))


def _key(width: int, draw: int) -> str:
    return f"net of width {width}, draw {draw}"


def add_limit(
    result: Any,
    variant: Callable[[int, dict[str, Any]], Objective],
    widths: tuple[int, ...],
    draws: int,
    *,
    seed: int,
    journal: Journal,
    progress: Progress,
) -> None:
    """To a certificate: how far K is from its limit, and how far training takes K and θ, by width."""
    first = variant(seed_of_draw(seed, 0), {"width": widths[0]})
    if type(first.module).__name__ != "NtkNet":
        raise BadInput(
            f"`widths` of {type(first.module).__name__}", "the model ntk-net, whose limit is known"
        )
    found = limit(variant, widths, draws, seed=seed, journal=journal, progress=progress)
    result.width, result.kernel_error, result.kernel_error_rms = np.array(widths), found.error, found.rms
    result.width_exponent, result.width_exponent_interval = found.law.exponent, found.law.interval
    result.lazy_kernel_change, result.lazy_weight_change = found.kernel_change, found.weight_change
    kernel, weights = (slope(result.width, one) for one in (found.kernel_change, found.weight_change))
    result.lazy_kernel_exponent, result.lazy_kernel_exponent_error = kernel
    result.lazy_weight_exponent, result.lazy_weight_exponent_error = weights
    # Of the last draw, which a seed that is drawn twice would make the first.
    own = wide(variant(seed_of_draw(seed, draws - 1), {"width": widths[0]}))
    one = Moved(float(found.kernel_change[0, -1]), float(found.weight_change[0, -1]))
    inputs = own.samples.inputs[0].flatten(1)
    result.checks += [limit_check(inputs), lazy_check(own, found.step, one, float(found.error[0, -1]))]
    result.checks.append(limit_laws_check(result))
    result.notes.append(
        "the limit of K is met in the mean over draws, its distance like width^(−1/2): one draw shows nothing"
    )
    result.notes += words(kernel, weights, draws)


def _step(net: Objective) -> float:
    """Of gradient descent, by the limit of K, so of one size at every width."""
    limiting = arc_cosine_kernel(net.samples.inputs[0].flatten(1))
    return step_at(float(torch.linalg.eigvalsh(limiting)[-1]), len(limiting))


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
