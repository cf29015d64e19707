"""Curves and grids in the space of θ, and what a loss along them tells."""
