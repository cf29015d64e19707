"""The noise of every step as it is meant, without the code that adds it: what takes steps again draws it this way."""

import math
from collections.abc import Sequence

import numpy as np

# What tells the stream of noise from others of a seed.
KICKS = 2


def stated_kick(law: str, dimension: int, seed: Sequence[int], step: int) -> np.ndarray:
    """The noise (d,) of size 1 of a step, from 0, by the words of :mod:`landscape.numerics.steps.kicks`.

    Blocks of at most 64 steps and 2¹⁶ numbers are drawn from (seed, number of the block): standard normal vectors, then
    for a ball a uniform number for each, whose d-th root is the radius.
    """
    many = min(64, 2**16 // max(dimension, 1)) or 1
    generator = np.random.default_rng((*seed, step // many))
    normal = generator.standard_normal(many * dimension).reshape(many, dimension)[step % many]
    if law == "gaussian":
        return normal
    length = math.sqrt(float(normal @ normal))
    radius = generator.random(many)[step % many] ** (1 / dimension) if law == "ball" else 1.0
    return normal * (radius / length)
