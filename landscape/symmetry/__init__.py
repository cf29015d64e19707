"""The permutation symmetries of any module: found by tracing it, and tried before they are believed."""

from landscape.symmetry.tracing import Traced, traced
from landscape.symmetry.verified import function_difference, preserved, symmetry_of

__all__ = ["Traced", "function_difference", "preserved", "symmetry_of", "traced"]
