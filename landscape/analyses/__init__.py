"""One file, one question, one function, one Result.

The table below is all that importing this loads: a file of the table is imported when one of its names is
asked for, so that opening a result needs no more than its own kind.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from landscape.errors import BadInput

if TYPE_CHECKING:
    # For type checkers alone, which cannot read the table.
    from landscape.analyses.align import align
    from landscape.analyses.basins import basins
    from landscape.analyses.certify import certify
    from landscape.analyses.compare import compare
    from landscape.analyses.connect import connect
    from landscape.analyses.critical import critical
    from landscape.analyses.declare import Analysis
    from landscape.analyses.efficiency import efficiency
    from landscape.analyses.escape import escape
    from landscape.analyses.hessian import hessian
    from landscape.analyses.import_ import import_point
    from landscape.analyses.interpolate import interpolate
    from landscape.analyses.merge import merge
    from landscape.analyses.minima import minima
    from landscape.analyses.modes import modes
    from landscape.analyses.noise import noise
    from landscape.analyses.sharpness import sharpness
    from landscape.analyses.slice1d import slice1d
    from landscape.analyses.slice2d import slice2d
    from landscape.analyses.train import train
    from landscape.result import Result

# The table: the function of every kind, which stands with its Result in the file of the kind's name.
__all__ = [  # noqa: RUF022  (in the order in which a reader meets them)
    "train",
    "import_point",
    "hessian",
    "sharpness",
    "compare",
    "certify",
    "interpolate",
    "slice1d",
    "slice2d",
    "connect",
    "modes",
    "align",
    "merge",
    "minima",
    "efficiency",
    "noise",
    "escape",
    "basins",
    "critical",
]
# By kind; where Python has taken the word for itself, the function says what it does to a point.
FUNCTIONS = {name.removesuffix("_point"): name for name in __all__}


# Kinds that have no command of their own.
COMMAND_OF = {"modes": "connect"}
# What has been declared in this process, by kind (:mod:`landscape.analyses.declare`).
DECLARED: "dict[str, Analysis]" = {}


def module_of(kind: str) -> ModuleType:
    """The file of a kind in the table, imported."""
    from landscape.result import file_name

    return importlib.import_module(f"{__name__}.{file_name(kind)}")


def find(kind: str) -> "Analysis | None":
    """The declaration of a kind, importing its file alone; None where nothing declares it."""
    if kind in FUNCTIONS and kind not in DECLARED:
        module_of(kind)
    return DECLARED.get(kind)


def declared(kind: str) -> "Analysis":
    """The declaration of a kind. Raises BadInput, naming those there are, for an unknown one."""
    found = find(kind)
    if found is None:
        import difflib

        known = [*FUNCTIONS, *(one for one in DECLARED if one not in FUNCTIONS)]
        near = difflib.get_close_matches(kind, known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else ""
        raise BadInput(f"there is no analysis {kind!r}", f"one of {', '.join(known)}", remedy)
    return found


def commands() -> dict[str, list[str]]:
    """The commands of all kinds, in the order of the table, each with the kinds it may lead to."""
    found: dict[str, list[str]] = {}
    for kind in dict.fromkeys([*FUNCTIONS, *DECLARED]):
        command = DECLARED[kind].command if kind in DECLARED else COMMAND_OF.get(kind, kind)
        found.setdefault(command, []).append(kind)
    return found


def question(kind: str) -> str:
    """What a kind asks: the first line of its file, which is read and not imported."""
    if kind in DECLARED:
        return DECLARED[kind].question
    # By its name: a keyword of Python's has an underscore behind it.
    found = [path for name in (kind, f"{kind}_") if (path := Path(__file__).with_name(f"{name}.py")).exists()]
    with open(found[0], encoding="utf-8") as file:
        return file.readline().strip().strip('"')


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
