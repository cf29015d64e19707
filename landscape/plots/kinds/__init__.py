"""One drawing per kind: what the kind's question wants to see first. Each returns the title."""

from collections.abc import Callable
from typing import Any

from landscape.plots.kinds.align import align
from landscape.plots.kinds.connect import connect
from landscape.plots.kinds.efficiency import efficiency
from landscape.plots.kinds.hessian import hessian
from landscape.plots.kinds.import_ import imported
from landscape.plots.kinds.interpolate import interpolate
from landscape.plots.kinds.minima import minima
from landscape.plots.kinds.modes import modes
from landscape.plots.kinds.noise import noise
from landscape.plots.kinds.sharpness import sharpness
from landscape.plots.kinds.slice1d import slice1d
from landscape.plots.kinds.slice2d import slice2d
from landscape.plots.kinds.train import train
from landscape.plots.page import Page

DRAWINGS: dict[str, Callable[[Page, Any], str]] = {
    "train": train,
    "hessian": hessian,
    "sharpness": sharpness,
    "interpolate": interpolate,
    "align": align,
    "efficiency": efficiency,
    "connect": connect,
    "minima": minima,
    "modes": modes,
    "noise": noise,
    "slice1d": slice1d,
    "slice2d": slice2d,
    "import": imported,
}
