"""Random vectors that are added to gradients: what step k of a stream adds follows from its seed and k alone.

So a run that is stopped goes on with the same ones, and a proof draws them again, without a state to keep.
"""

import math
from collections.abc import Sequence

import numpy as np

# Of torch's and numpy's generators numpy's alone draws the same numbers one by one and many at a time.
BLOCK_NUMBERS = 2**16
BLOCK_STEPS = 64
LAWS = ("sphere", "ball", "gaussian")


class Kicks:
    """A stream of vectors (d,) of a law with the size 1, for the seed ``seed``, a sequence of whole numbers.

    ``sphere``: of length 1, every direction alike; ``ball``: uniform in the ball of radius 1; ``gaussian``: every
    component of the standard normal distribution, so that the length is about √d.

    >>> kicks = Kicks("sphere", 3, (0,))
    >>> float(np.linalg.norm(kicks.at(70)).round(12)), bool((kicks.at(70) == kicks.at(70)).all())
    (1.0, True)
    """

    def __init__(self, law: str, dimension: int, seed: Sequence[int]):
        self.law, self.dimension, self.seed = law, dimension, tuple(seed)
        self._steps = max(1, min(BLOCK_STEPS, BLOCK_NUMBERS // max(dimension, 1)))
        self._number, self._block = -1, np.empty((0, dimension))

    def at(self, step: int) -> np.ndarray:
        """The vector (d,) of step ``step`` = 0, 1, …"""
        number, row = divmod(step, self._steps)
        if number != self._number:
            self._number, self._block = number, self._drawn(number)
        return self._block[row]

    def _drawn(self, number: int) -> np.ndarray:
        generator = np.random.default_rng((*self.seed, number))
        vectors = generator.standard_normal((self._steps, self.dimension))
        if self.law == "gaussian":
            return vectors
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        if self.law == "ball":
            # The volume within a radius goes by its d-th power.
            vectors *= generator.random((self._steps, 1)) ** (1 / self.dimension)
        return vectors


def mean_square(law: str, dimension: int) -> float:
    """E‖ξ‖² of a vector (d,) of a law with the size 1.

    >>> mean_square("ball", 2), mean_square("gaussian", 5)
    (0.5, 5.0)
    """
    return {"sphere": 1.0, "ball": dimension / (dimension + 2), "gaussian": float(dimension)}[law]


def deviation(law: str, dimension: int) -> float:
    """The standard deviation of each component of a vector (d,) of a law with the size 1."""
    return math.sqrt(mean_square(law, dimension) / dimension)


def drawn_rows(num_samples: int, batch_size: int, seed: Sequence[int], step: int) -> np.ndarray:
    """The samples (B,) of step ``step`` of a stochastic method, uniform with replacement, by seed and step alone."""
    return np.random.default_rng((*seed, step)).integers(num_samples, size=batch_size)
