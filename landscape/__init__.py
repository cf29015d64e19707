"""Loss landscapes."""
__version__ = "0.1.0"
