"""The objective F(θ): a module, a loss and samples as one function of a vector."""

from landscape.objective.objective import Measurement, Objective

__all__ = ["Measurement", "Objective"]
