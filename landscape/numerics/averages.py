"""The mean and the spread of numbers whose squares may be beyond the largest one."""

import numpy as np


def mean_and_spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (n − 1 below) over the last axis, (…, n) -> (…) each; the spread of one value is 0.

    In units of the largest, whose square may be infinite.

    >>> mean, spread = mean_and_spread(np.array([1e300, 2e300, 3e300]))
    >>> print(f"{mean:.6g} ± {spread:.6g}")
    2e+300 ± 1e+300
    """
    unit = np.abs(values).max(-1, keepdims=True)
    unit = np.where(np.isfinite(unit) & (unit > 0), unit, 1.0)
    scaled, unit = values / unit, unit.squeeze(-1)
    spread = scaled.std(-1, ddof=1) if values.shape[-1] > 1 else np.zeros(unit.shape)
    return unit * scaled.mean(-1), unit * spread
