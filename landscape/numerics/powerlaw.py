"""Straight lines through logarithms: the exponent of a power law, with its confidence interval."""

from typing import NamedTuple

import numpy as np

from landscape.errors import BadInput


class PowerLaw(NamedTuple):
    """y = factor · x^exponent; ``interval`` (2,) holds the exponent with the confidence asked for."""

    exponent: float
    interval: np.ndarray
    factor: float


def fit_power_law(x: np.ndarray, y: np.ndarray, confidence: float = 0.95) -> PowerLaw:
    """The power law nearest to positive ``y`` (m,) at positive ``x`` (m,): plain least squares of log y on log x.

    Every point weighs the same, since the errors of means of equally many runs are about equal in the
    logarithm. The interval is Student's with m − 2 degrees of freedom, so it holds the errors of y and the
    lack of fit alike; two points leave none, and it is infinite.

    >>> law = fit_power_law(np.array([1.0, 2.0, 4.0]), np.array([3.0, 6.0, 12.0]))
    >>> round(law.exponent, 12), law.interval.round(9).tolist(), round(law.factor, 12)
    (1.0, [1.0, 1.0], 3.0)

    Raises BadInput for fewer than two different x, and for what has no logarithm.
    """
    from scipy.special import stdtrit

    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if not all(bool((np.isfinite(one) & (one > 0)).all()) for one in (x, y)):
        raise BadInput("a power law through values that are not positive", "positive finite numbers")
    if len(np.unique(x)) < 2:
        raise BadInput("a power law through a single x", "at least two different ones")
    u, v = np.log(x), np.log(y)
    spread = float(np.square(u - u.mean()).sum())
    exponent = float((u - u.mean()) @ (v - v.mean())) / spread
    shift = float(v.mean() - exponent * u.mean())
    if (freedom := len(x) - 2) == 0:
        return PowerLaw(exponent, np.array([-np.inf, np.inf]), float(np.exp(shift)))
    error = np.sqrt(float(np.square(v - shift - exponent * u).sum()) / freedom / spread)
    half = float(stdtrit(freedom, (1 + confidence) / 2) * error)
    return PowerLaw(exponent, np.array([exponent - half, exponent + half]), float(np.exp(shift)))
