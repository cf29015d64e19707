"""landscape: the loss of any PyTorch module as a function of its parameters, with the proof beside every number.

>>> import torch, landscape
>>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
>>> y = torch.tensor([[1.0], [2.0], [2.0]], dtype=torch.float64)
>>> module = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
>>> objective = landscape.Objective(module, "mse", (x, y))
>>> result = landscape.hessian(objective, objective.theta, top_k=2)
>>> result.eigenvalues.round(6).tolist()  # (2/3) XᵀX
[3.535184, 1.131483]
>>> result.status
'complete'
"""

import importlib
from typing import TYPE_CHECKING, Any

from landscape.analyses import FUNCTIONS

__version__ = "0.1.0"

if TYPE_CHECKING:
    from landscape import callbacks as callbacks
    from landscape.analyses import *  # noqa: F403
    from landscape.cli.report import report as report
    from landscape.errors import BadInput as BadInput
    from landscape.errors import LandscapeError as LandscapeError
    from landscape.inputs.data.streams import Stream as Stream
    from landscape.objective.objective import Objective as Objective
    from landscape.objective.parameters import Point as Point
    from landscape.plots.plot import plot as plot
    from landscape.result import Check as Check
    from landscape.result import Result as Result
    from landscape.runs.recording import record as record
    from landscape.runs.run import Run as Run
    from landscape.runs.sent import send as send
    from landscape.runs.session import measure as measure
    from landscape.runs.store import load as load
    from landscape.runs.store import save as save
    from landscape.runs.surfaces import export_surface as export_surface
    from landscape.runs.surfaces import import_surface as import_surface

# Loaded when first asked for, so that `landscape --help` need not import torch.
_HOMES = {
    "Objective": "landscape.objective",
    "Point": "landscape.objective.parameters",
    "Result": "landscape.result",
    "Run": "landscape.runs.run",
    "Stream": "landscape.inputs.data.streams",
    "Check": "landscape.result",
    "BadInput": "landscape.errors",
    "LandscapeError": "landscape.errors",
    "export_surface": "landscape.runs.surfaces",
    "import_surface": "landscape.runs.surfaces",
    "load": "landscape.runs.store",
    "measure": "landscape.runs.session",
    "save": "landscape.runs.store",
    "send": "landscape.runs.sent",
    "plot": "landscape.plots",
    "record": "landscape.runs.recording",
    "report": "landscape.cli.report",
    **dict.fromkeys(FUNCTIONS.values(), "landscape.analyses"),
}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "callbacks":
        return importlib.import_module("landscape.callbacks")
    if name not in _HOMES:
        raise AttributeError(f"module 'landscape' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names alone, with what Python itself asks a module for."""
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
