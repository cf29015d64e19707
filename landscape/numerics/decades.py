"""How many steps it takes to leave, against how small the push was: by the logarithm, or by a power."""

import math
from typing import NamedTuple

import numpy as np

# One law fits where what it leaves is less than half of what the other leaves.
CLEARLY = 2.0
# Decades below which every law of slow growth passes for a logarithm.
LEAST_SPAN = 2.0


class Decades(NamedTuple):
    """Two straight lines through the mean steps: against lg(1/amplitude), and lg of both.

    ``per_decade`` steps for each tenth of the amplitude and ``power`` of 1/amplitude, each ± its error;
    ``log_misfit`` and ``power_misfit``: the root mean square of what each leaves of the steps, relative to them.
    ``fit`` is ``logarithmic`` or ``algebraic`` where one leaves less than half of the other, and the other more than
    twice what the errors of the means explain, else ``undecided``; ``logarithmic`` over two decades at least.
    """

    per_decade: float
    error: float
    power: float
    power_error: float
    log_misfit: float
    power_misfit: float
    fit: str


def fit_decades(amplitude: np.ndarray, steps: np.ndarray) -> Decades:
    """Least squares through the means of ``steps`` (m, S) over S seeds at ``amplitude`` (m,), positive, m ≥ 2.

    An error is the largest of three: the standard error over seeds of the slopes of each, the standard error that the
    distances of the means from the line show, and what steps that are whole numbers leave open, ±½ each. A strict
    saddle gives a slope of ln 10/ln(1 + α|λ|), a degenerate one a power.

    >>> found = fit_decades(np.array([1e-2, 1e-4, 1e-6]), np.array([[44.0], [92.0], [141.0]]))
    >>> round(found.per_decade, 6), found.fit
    (24.25, 'logarithmic')
    """
    x = -np.log10(np.asarray(amplitude, dtype=float))
    steps = np.maximum(np.asarray(steps, dtype=float), 0.5)
    mean = steps.mean(1)
    per_decade, error, line = _line(x, steps, mean, 1 / math.sqrt(12))
    power, power_error, curve = _line(x, np.log10(steps), np.log10(mean), 0.0)
    rounding = float((1 / (math.sqrt(12) * mean * math.log(10))).max() / math.sqrt(_spread(x)))
    log_misfit = float(np.sqrt(np.mean(np.square((line - mean) / mean))))
    power_misfit = float(np.sqrt(np.mean(np.square(10**curve / mean - 1))))
    noise = CLEARLY * float(np.sqrt(np.mean(np.square(_errors(steps) / mean))))
    fit = "undecided"
    is_long = span(amplitude) >= LEAST_SPAN
    if len(x) > 2 and is_long and max(CLEARLY * log_misfit, noise) < power_misfit:
        fit = "logarithmic"
    if len(x) > 2 and max(CLEARLY * power_misfit, noise) < log_misfit:
        fit = "algebraic"
    return Decades(per_decade, error, power, max(power_error, rounding), log_misfit, power_misfit, fit)


def span(amplitude: np.ndarray) -> float:
    """The decades that positive amplitudes lie apart, to rounding."""
    return round(math.log10(float(np.max(amplitude)) / float(np.min(amplitude))), 9)


def _errors(steps: np.ndarray) -> np.ndarray:
    """Of the means of whole numbers (m, S): what rounding leaves open, or the seeds show."""
    num_seeds = steps.shape[1]
    rounding = np.full(len(steps), 1 / math.sqrt(12 * num_seeds))
    return np.maximum(rounding, steps.std(1, ddof=1) / math.sqrt(num_seeds)) if num_seeds > 1 else rounding


def _spread(x: np.ndarray) -> float:
    return float(np.square(x - x.mean()).sum())


def _line(
    x: np.ndarray, each: np.ndarray, mean: np.ndarray, rounding: float
) -> tuple[float, float, np.ndarray]:
    """Slope of ``mean`` (m,) on ``x`` (m,), its error, and the line; ``each`` (m, S) are the values by seed."""
    spread, centred = _spread(x), x - x.mean()
    slope = float(centred @ mean) / spread
    line = mean.mean() + slope * centred
    num_seeds, errors = each.shape[1], [rounding / math.sqrt(spread * each.shape[1])]
    if num_seeds > 1:
        errors.append(float((centred @ each / spread).std(ddof=1)) / math.sqrt(num_seeds))
    if len(x) > 2:
        errors.append(math.sqrt(float(np.square(mean - line).sum()) / (len(x) - 2) / spread))
    return slope, max(errors), line
