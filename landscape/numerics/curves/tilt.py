"""Where on [0, 1] to look next: evenly, or more often where a running profile is high.

Drawing t with density p(t) ∝ exp(F(t)/τ) instead of evenly turns the mean over t into the smooth maximum
τ·log ∫ exp(F(t)/τ) dt, whose gradient is ∫ p(t)·∇F(t) dt.
"""

import numpy as np

GOLDEN = (5**0.5 - 1) / 2


def even_positions(offset: float, first: int, number: int) -> np.ndarray:
    """Members first … first + number − 1 of the sequence (offset + k·golden ratio) mod 1: shape (number,).

    Any stretch of it covers [0, 1] more evenly than random draws (Niederreiter 1992, section 3.1), and
    for a random ``offset`` each member is uniform, so means over t stay unbiased.
    """
    return (offset + GOLDEN * np.arange(first, first + number)) % 1.0


def tilted_positions(even: np.ndarray, profile: np.ndarray, temperature: float) -> np.ndarray:
    """Even positions carried to the density exp(profile/τ) on equal bins, by its inverse distribution function.

    τ is ``temperature`` times the range of the profile, so the densest bin is exp(1/temperature) times as
    dense as the thinnest whatever the scale of the loss. Bins never seen are NaN; until there are none,
    and where all are level, positions stay as they are.
    """
    spread = np.ptp(profile)
    if not spread > 0 or not np.isfinite(spread):
        return even
    density = np.exp((profile - profile.max()) / (temperature * spread))
    cumulated = np.concatenate([[0.0], np.cumsum(density) / density.sum()])
    return np.interp(even, cumulated, np.linspace(0, 1, len(cumulated)))


def observe(profile: np.ndarray, t: np.ndarray, losses: np.ndarray, rate: float = 0.1) -> None:
    """Moves the bins of ``profile`` in place towards losses seen at t, each by ``rate``; the first is taken whole."""
    bins = np.minimum((t * len(profile)).astype(int), len(profile) - 1)
    for i, loss in zip(bins, losses, strict=True):
        profile[i] = loss if np.isnan(profile[i]) else profile[i] + rate * (loss - profile[i])
