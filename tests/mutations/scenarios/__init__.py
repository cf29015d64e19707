"""Small analyses of every kind, as a user would ask for them: whether their own checks see a fault in the library."""

from mutations.scenarios import (
    certificates,
    curvature,
    curves,
    descents,
    leaving,
    others,
    slices,
    training,
    valleys,
)
from mutations.scenarios.ground import SCENARIOS

__all__ = [
    "SCENARIOS",
    "certificates",
    "curvature",
    "curves",
    "descents",
    "leaving",
    "others",
    "slices",
    "training",
    "valleys",
]
