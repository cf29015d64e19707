"""One file, one question, one function, one Result.

The table below is all that importing this loads: a file of the table is imported when one of its names is
asked for, so that opening a result needs no more than its own kind.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # For type checkers alone, which cannot read the table; what is not in it once more by name, or it were private.
    from landscape.analyses.align import Align as Align
    from landscape.analyses.align import align
    from landscape.analyses.connect import Connect as Connect
    from landscape.analyses.connect import connect
    from landscape.analyses.efficiency import Efficiency as Efficiency
    from landscape.analyses.efficiency import efficiency
    from landscape.analyses.hessian import Hessian as Hessian
    from landscape.analyses.hessian import hessian
    from landscape.analyses.import_ import Import as Import
    from landscape.analyses.import_ import import_point
    from landscape.analyses.interpolate import Interpolate as Interpolate
    from landscape.analyses.interpolate import interpolate
    from landscape.analyses.minima import Minima as Minima
    from landscape.analyses.minima import minima
    from landscape.analyses.modes import Modes as Modes
    from landscape.analyses.modes import modes
    from landscape.analyses.noise import Noise as Noise
    from landscape.analyses.noise import noise
    from landscape.analyses.sharpness import Sharpness as Sharpness
    from landscape.analyses.sharpness import sharpness
    from landscape.analyses.slice1d import Slice1D as Slice1D
    from landscape.analyses.slice1d import slice1d
    from landscape.analyses.slice2d import Slice2D as Slice2D
    from landscape.analyses.slice2d import slice2d
    from landscape.analyses.train import Train as Train
    from landscape.analyses.train import train
    from landscape.result import Result

# The table: the function of every kind, which stands with its Result in the file of the kind's name.
__all__ = [  # noqa: RUF022  (in the order in which a reader meets them)
    "train",
    "import_point",
    "hessian",
    "sharpness",
    "interpolate",
    "slice1d",
    "slice2d",
    "connect",
    "modes",
    "align",
    "minima",
    "efficiency",
    "noise",
]
# By kind; where Python has taken the word for itself, the function says what it does to a point.
FUNCTIONS = {name.removesuffix("_point"): name for name in __all__}


def module_of(kind: str) -> ModuleType:
    """The file of a kind in the table, imported."""
    from landscape.result import file_name

    return importlib.import_module(f"{__name__}.{file_name(kind)}")


def result_of(kind: str) -> "type[Result] | None":
    """The Result of a kind, importing its file alone; None where nothing declares it.

    A kind that is not in the table is found where its class has been declared in this process.
    """
    from landscape.result import KINDS, Result

    if kind not in FUNCTIONS:
        return KINDS.get(kind)
    # Not from KINDS, where a class derived from ours would stand in its place.
    declared = (one for one in vars(module_of(kind)).values() if isinstance(one, type))
    return next(one for one in declared if issubclass(one, Result) and one.kind == kind)


def known_kinds() -> list[str]:
    """Every kind that :func:`result_of` finds, in alphabetical order."""
    from landscape.result import KINDS

    return sorted({*FUNCTIONS, *KINDS})


class _Table(ModuleType):
    """This package: its attribute ``hessian`` is the function, whoever imports the file ``hessian``.

    Importing a file sets the package's attribute of its name to the module, which would hide the function.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        is_file = isinstance(value, ModuleType) and name in FUNCTIONS
        super().__setattr__(name, getattr(value, name) if is_file else value)


sys.modules[__name__].__class__ = _Table


def __getattr__(name: str) -> Any:
    # A function is called as the table says, a Result like its kind, whatever its capitals.
    kinds = {function: kind for kind, function in FUNCTIONS.items()}
    kind = kinds.get(name, name.lower())
    found = getattr(module_of(kind), name, None) if kind in FUNCTIONS else None
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *FUNCTIONS.values()})
