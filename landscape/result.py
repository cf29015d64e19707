"""Result: named arrays with named dimensions, scalars and checks; everything generic reads these.

A kind of result is a dataclass whose fields are made with :func:`array` and :func:`scalar`. Saving,
JSON, printing and default plots follow from that, so a new analysis writes none of them.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np

from landscape.numerics.pieces import Piece

JSON_LIMIT = 200
KINDS: "dict[str, type[Result]]" = {}


@dataclass(frozen=True)
class Check:
    """One proof: ``value`` must not exceed ``bound``; ``meaning`` says in words what was compared."""

    name: str
    value: float
    bound: float
    meaning: str

    @property
    def passed(self) -> bool:
        return self.value <= self.bound


class Variable(NamedTuple):
    """One array of a Result, ready to be written or drawn."""

    name: str
    dims: tuple[str, ...]
    values: np.ndarray
    long_name: str
    units: str
    printed: bool = False


def array(
    *dims: str, long_name: str, units: str = "", optional: bool = False, name: str = "", printed: bool = False
) -> Any:
    """A dataclass field that holds an array over ``dims``; one named like its only dimension is its coordinate.

    A value with fewer axes lacks the leading dimensions; one without any counts as a scalar. ``name`` is what
    files and JSON call it, where the field itself cannot be called so. ``printed`` tables are part of what a
    person is told, where they are small enough.
    """
    about: dict[str, Any] = {"dims": dims, "long_name": long_name, "units": units, "printed": printed}
    about |= {"name": name} if name else {}
    return field(default=None, metadata=about) if optional else field(metadata=about)


def scalar(long_name: str, units: str = "", optional: bool = False) -> Any:
    """A dataclass field that holds a number, a truth value or a short text."""
    about = {"scalar": True, "long_name": long_name, "units": units}
    return field(default=None, metadata=about) if optional else field(metadata=about)


@dataclass(kw_only=True, eq=False)
class Result:
    """What an analysis returns.

    ``outcome`` is ``complete`` or says what is missing (``not-converged``, ``diverged``);
    ``parameters`` names the pieces of θ where a dimension ``parameter`` occurs; ``states`` holds whole
    points of a module, by label and then by parameter or buffer name; ``config`` is what was asked.
    """

    kind: ClassVar[str] = ""
    json_limit: ClassVar[int] = JSON_LIMIT
    outcome: str = "complete"
    notes: list[str] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    parameters: tuple[Piece, ...] = ()
    states: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __init_subclass__(cls) -> None:
        if cls.kind:
            KINDS[cls.kind] = cls

    @property
    def status(self) -> str:
        """``complete``, ``failed-checks``, or the outcome where it is neither."""
        if self.outcome == "complete" and not all(check.passed for check in self.checks):
            return "failed-checks"
        return self.outcome

    def arrays(self) -> Iterator[Variable]:
        """Every array that is there, coordinates first."""
        found = []
        for one in fields(self):
            about, value = one.metadata, getattr(self, one.name)
            if "dims" not in about or value is None or np.ndim(value) == 0:
                continue
            values = np.asarray(value)
            # One point, one draw: the leading dimension is left out.
            dims = about["dims"][-values.ndim :]
            found.append(
                Variable(
                    about.get("name", one.name),
                    dims,
                    values,
                    about["long_name"],
                    about["units"],
                    about["printed"],
                )
            )
        yield from sorted(found, key=lambda variable: variable.dims != (variable.name,))

    def scalars(self) -> dict[str, Any]:
        """Every scalar that is there, by name, and every array that has no dimension left."""
        found = {one.name: getattr(self, one.name) for one in fields(self) if one.metadata}
        return {
            name: value.item() if isinstance(value, np.ndarray | np.generic) else value
            for name, value in found.items()
            if value is not None and np.ndim(value) == 0
        }

    def as_json(self, output: str | None = None) -> dict[str, Any]:
        """The machine-readable summary: scalars, and arrays of up to ``json_limit`` elements.

        JSON has no NaN, so NaN and infinities appear as the strings "NaN", "Infinity", "-Infinity".
        """
        values: dict[str, Any] = dict(self.scalars())
        values |= {
            one.name: one.values.tolist() for one in self.arrays() if one.values.size <= self.json_limit
        }
        return {
            "kind": self.kind,
            "status": self.status,
            "output": output,
            "values": _plain(values),
            "checks": [
                {"name": c.name, "value": _plain(c.value), "bound": _plain(c.bound), "passed": c.passed}
                for c in self.checks
            ],
            "notes": self.notes,
        }


def field_metadata(kind: type[Result]) -> dict[str, Mapping[str, Any]]:
    """What :func:`array` and :func:`scalar` said about each field of a kind."""
    return {one.name: one.metadata for one in fields(kind) if one.metadata}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value
