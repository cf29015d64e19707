"""One file, one question, one function, one Result."""

from landscape.analyses.align import Align, align
from landscape.analyses.connect import Connect, connect
from landscape.analyses.hessian import Hessian, hessian
from landscape.analyses.import_ import Import, import_point
from landscape.analyses.interpolate import Interpolate, interpolate
from landscape.analyses.modes import Modes, modes
from landscape.analyses.noise import Noise, noise
from landscape.analyses.sharpness import Sharpness, sharpness
from landscape.analyses.slice1d import Slice1D, slice1d
from landscape.analyses.slice2d import Slice2D, slice2d
from landscape.analyses.train import Train, train

__all__ = [
    "Align",
    "Connect",
    "Hessian",
    "Import",
    "Interpolate",
    "Modes",
    "Noise",
    "Sharpness",
    "Slice1D",
    "Slice2D",
    "Train",
    "align",
    "connect",
    "hessian",
    "import_point",
    "interpolate",
    "modes",
    "noise",
    "sharpness",
    "slice1d",
    "slice2d",
    "train",
]
