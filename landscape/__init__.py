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

__version__ = "0.1.0"

if TYPE_CHECKING:
    from landscape.analyses import (
        align,
        connect,
        efficiency,
        hessian,
        import_point,
        interpolate,
        minima,
        modes,
        noise,
        sharpness,
        slice1d,
        slice2d,
        train,
    )
    from landscape.errors import BadInput, LandscapeError
    from landscape.objective.objective import Objective
    from landscape.objective.parameters import Point
    from landscape.plots.plot import plot
    from landscape.result import Check, Result
    from landscape.runs.run import Run
    from landscape.runs.store import load, save

# Loaded when first asked for, so that `landscape --help` need not import torch.
_HOMES = {
    "Objective": "landscape.objective",
    "Point": "landscape.objective.parameters",
    "Result": "landscape.result",
    "Run": "landscape.runs",
    "Check": "landscape.result",
    "BadInput": "landscape.errors",
    "LandscapeError": "landscape.errors",
    "load": "landscape.runs.store",
    "save": "landscape.runs.store",
    "plot": "landscape.plots",
    **dict.fromkeys(
        (
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
        ),
        "landscape.analyses",
    ),
}

__all__ = [
    "BadInput",
    "Check",
    "LandscapeError",
    "Objective",
    "Point",
    "Result",
    "Run",
    "align",
    "connect",
    "efficiency",
    "hessian",
    "import_point",
    "interpolate",
    "load",
    "minima",
    "modes",
    "noise",
    "plot",
    "save",
    "sharpness",
    "slice1d",
    "slice2d",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'landscape' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
