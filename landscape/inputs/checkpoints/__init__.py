"""Weights in the wild: read with nothing executed, fitted to a module, written for elsewhere."""

from landscape.inputs.checkpoints.fitting import loaded
from landscape.inputs.checkpoints.reading import fingerprint, read
from landscape.inputs.checkpoints.weights import Weights
from landscape.inputs.checkpoints.writing import SUFFIXES, in_dtype, write

__all__ = ["SUFFIXES", "Weights", "fingerprint", "in_dtype", "loaded", "read", "write"]
