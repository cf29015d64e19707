"""What the theorem for diminishing steps asks of a schedule, and its weighted mean of ‖∇F‖² (Bottou et al. 2018)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from landscape.descent.regime import Regime
from landscape.descent.step_proofs import step_size_of
from landscape.numerics.steps.robbins_monro import StepSums, step_sums
from landscape.numerics.steps.schedules import schedule_parameters
from landscape.result import Check, largest_gap


class Diminishing(NamedTuple):
    """:class:`~landscape.numerics.steps.robbins_monro.StepSums`, and Σα_k‖∇F(θ_k)‖²/Σα_k over the measured steps."""

    sums: StepSums
    weighted_mean: float


def diminishing(regime: Regime, every: int, logs: Sequence[Mapping[str, float]]) -> Diminishing:
    """Of a run with ``logs``, whose schedule has a period of ``every`` steps."""
    parameters = schedule_parameters(regime.schedule, regime.schedule_arguments)
    rows = _rows(regime, every, logs)
    sizes, norms = np.array(rows, dtype=float).reshape(-1, 2).T
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(sizes @ np.square(norms) / sizes.sum()) if sizes.sum() else math.nan
    return Diminishing(step_sums(regime.schedule, parameters, regime.lr, every), mean)


def _rows(regime: Regime, every: int, logs: Sequence[Mapping[str, float]]) -> list[tuple[float, float]]:
    """α_k of the coming step, and ‖∇F(θ_k)‖, of every measurement that a step follows."""
    found = []
    for log in logs[:-1]:
        size = step_size_of(regime, every, int(log["step"]))
        found.append((log["step_size"] if size is None else size, log["gradient_norm"]))
    return found


def sums_note(regime: Regime, sums: StepSums, num_steps: int) -> str:
    """The verdict in words, with what it is no verdict on."""
    other = "" if regime.optimizer == "sgd" and not regime.momentum else ", and of SGD without momentum"
    return f"{in_words(sums)}; asked of an infinite run{other}: this one has {num_steps} steps"


def in_words(sums: StepSums) -> str:
    """What is asked, what the sums are, and the verdict."""
    if math.isnan(sums.total):
        told = "Σα and Σα² cannot be known beforehand, as the steps follow the loss"
    else:
        told = f"{_told('Σα', sums.total)}, {_told('Σα²', sums.squares)}: {sums.verdict}"
    return f"Robbins–Monro, Σα = ∞ and Σα² < ∞: {told}"


def _told(name: str, value: float) -> str:
    return f"{name} = ∞" if math.isinf(value) else f"{name} = {value:.6g}"


def sums_check(regime: Regime, every: int, found: Any) -> Check:
    """Finite sums against Hurwitz' zeta function and products of series, and the weighted mean against a loop."""
    said = (found.step_sum, found.step_square_sum)
    gaps = sum_gaps(regime.schedule, regime.schedule_arguments, every, regime.lr, said)
    above = below = 0.0
    # Of every row but the last, after which comes no step; a schedule that follows the loss is as logged.
    for k in range(len(found.step) - 1):
        size, norm = step_size_of(regime, every, int(found.step[k])), float(found.gradient_norm[k])
        size = float(found.step_size[k]) if size is None else size
        above, below = above + size * norm * norm, below + size
    mean = found.weighted_squared_gradient_norm
    if below and mean is not None and math.isfinite(above):
        gaps.append(abs(mean - above / below) / max(abs(mean), 1e-300))
    meaning = "Σα and Σα² against other formulas where finite, and the weighted mean of ‖∇F‖² against a loop, relative"
    return Check("step sums", largest_gap(*gaps), 1e-9, meaning)


def sum_gaps(
    schedule: str, arguments: Mapping[str, Any], every: int, first: float, said: Sequence[float | None]
) -> list[float]:
    """How far ``said``, Σα and Σα² for ever, are from zeta functions and products, where finite, relative."""
    about, gaps = schedule_parameters(schedule, arguments), [0.0]
    for power, value in enumerate(said, 1):
        if value is not None and math.isfinite(value):
            wanted = every * first**power * _stated(schedule, about, power)
            gaps.append(abs(value - wanted) / max(abs(wanted), 1e-300) if math.isfinite(wanted) else 0.0)
    return gaps


def _stated(name: str, about: Mapping[str, float], power: int) -> float:
    """Σ of the factors to a power, by products over doubled lengths, Π(1 + q^(2^j)), or zeta functions."""
    from scipy.special import zeta

    if name == "polynomial":
        exponent = power * about["gamma"]
        return float(zeta(exponent, 1 / about["beta"])) / about["beta"] ** exponent
    ratio = (about["gamma"] if name == "piecewise" else 1 / math.exp(about["rate"])) ** power
    product = 1.0
    while ratio > 1e-20:
        product, ratio = product * (1 + ratio), ratio * ratio
    return product
