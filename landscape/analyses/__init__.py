"""One file, one question, one function, one Result."""

from landscape.analyses.align import Align, align
from landscape.analyses.connect import Connect, connect
from landscape.analyses.efficiency import Efficiency, efficiency
from landscape.analyses.hessian import Hessian, hessian
from landscape.analyses.import_ import Import, import_point
from landscape.analyses.interpolate import Interpolate, interpolate
from landscape.analyses.minima import Minima, minima
from landscape.analyses.modes import Modes, modes
from landscape.analyses.noise import Noise, noise
from landscape.analyses.sharpness import Sharpness, sharpness
from landscape.analyses.slice1d import Slice1D, slice1d
from landscape.analyses.slice2d import Slice2D, slice2d
from landscape.analyses.train import Train, train

__all__ = [
    "Align",
    "Connect",
    "Efficiency",
    "Hessian",
    "Import",
    "Interpolate",
    "Minima",
    "Modes",
    "Noise",
    "Sharpness",
    "Slice1D",
    "Slice2D",
    "Train",
    "align",
    "connect",
    "efficiency",
    "hessian",
    "import_point",
    "interpolate",
    "minima",
    "modes",
    "noise",
    "sharpness",
    "slice1d",
    "slice2d",
    "train",
]
