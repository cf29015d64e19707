"""The objective F(θ): a module, a loss and samples as one function of a vector."""

from landscape.objective.objective import Measurement, Objective
from landscape.objective.samples import Samples

__all__ = ["Measurement", "Objective", "Samples"]
