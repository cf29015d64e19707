"""How many eigenvalues stand apart from the rest: those before the widest gap on a logarithmic scale."""

from typing import NamedTuple

import numpy as np

# Two gaps, which is one to be the wider.
LEAST = 3


class Outliers(NamedTuple):
    """``number`` of values before the widest gap, a factor ``gap``; ``is_told`` from every other gap by the errors."""

    number: int
    gap: float
    is_told: bool


def outliers(values: np.ndarray, errors: np.ndarray) -> Outliers | None:
    """Of the largest eigenvalues ``values`` (k,), with ``errors`` (k,), those before the widest gap.

    The m of the largest ratio λ_m/λ_(m+1) among the positive ones, the eigenvalue ratio of Ahn and Horenstein (2013,
    Econometrica 81), by which factors are told from noise; Papyan (2020) looks for the same gap by eye, and finds it
    after as many as there are classes. Whether they are outliers at all the ``gap`` says: of a spectrum that only falls
    it is little above 1, and it knows nothing beyond the k that are given. None for fewer than three positive ones.

    >>> outliers(np.array([9.0, 8.0, 7.0, 1.0, 0.9]), np.full(5, 0.01))
    Outliers(number=3, gap=7.0, is_told=True)
    """
    order = np.argsort(-np.asarray(values, dtype=float), kind="stable")
    ranked, off = np.asarray(values, dtype=float)[order], np.asarray(errors, dtype=float)[order]
    known = np.isfinite(ranked) & (ranked > 0)
    ranked, off = ranked[known], off[known]
    if len(ranked) < LEAST:
        return None
    ratios = ranked[:-1] / ranked[1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        low = (ranked - off)[:-1] / (ranked + off)[1:]
        high = (ranked + off)[:-1] / np.maximum((ranked - off)[1:], 0)
    widest = int(ratios.argmax())
    others = np.delete(high, widest)
    return Outliers(widest + 1, float(ratios[widest]), bool(low[widest] > others.max()))
