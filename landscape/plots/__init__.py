"""Any Result as a picture."""

from landscape.plots.plot import plot

__all__ = ["plot"]
