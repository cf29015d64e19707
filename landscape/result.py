"""Result: named arrays with named dimensions, scalars and checks; everything generic reads these.

A kind of result is a dataclass whose fields are made with :func:`array` and :func:`scalar`. Saving,
JSON, printing and default plots follow from that, so a new analysis writes none of them. Nothing here
imports torch: a result is opened, read and drawn without it; nor numpy before there are numbers.
"""

from __future__ import annotations

import keyword
import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import landscape
from landscape.errors import BadInput
from landscape.numerics.pieces import Piece

if TYPE_CHECKING:
    import numpy as np
    from xarray import Dataset

JSON_LIMIT = 200
# A picture within a notebook: dots per inch to try, the first that stays below so many bytes.
INLINE_DPI, INLINE_BYTES = (200, 120, 80), 60_000
# The last class declared in this process for each kind; where kinds outside the table of analyses are found.
KINDS: dict[str, type[Result]] = {}


@dataclass(frozen=True)
class Check:
    """One proof: ``value`` must not exceed ``bound``; ``meaning`` says in words what was compared."""

    name: str
    value: float
    bound: float
    meaning: str

    @property
    def passed(self) -> bool:
        # Numbers of numpy compare to a truth value that is not JSON.
        return bool(self.value <= self.bound)


def largest_gap(*gaps: float) -> float:
    """The largest of ``gaps``, 0 of none: infinite where one is NaN, which ``max`` passes over behind another.

    >>> max(0.0, math.nan), largest_gap(0.0, math.nan), largest_gap()
    (0.0, inf, 0)
    """
    return math.inf if any(math.isnan(one) for one in gaps) else max(gaps, default=0)


class Variable(NamedTuple):
    """One array of a Result, ready to be written or drawn."""

    name: str
    dims: tuple[str, ...]
    values: np.ndarray
    long_name: str
    units: str
    printed: bool = False
    errors: str = ""
    apart: str = ""


def array(
    *dims: str,
    long_name: str,
    units: str = "",
    optional: bool = False,
    name: str = "",
    printed: bool = False,
    errors: str = "",
    apart: str = "",
) -> Any:
    """A dataclass field that holds an array over ``dims``; one named like its only dimension is its coordinate.

    A value with fewer axes lacks the leading dimensions; one without any counts as a scalar. ``name`` is what
    files and JSON call it, where the field itself cannot be called so. ``printed`` tables are part of what a
    person is told, where they are small enough; ``errors`` names the array of their errors, where that is not called
    like them with ``_error``, and ``apart`` the one that says which are told apart.
    """
    about: dict[str, Any] = {"dims": dims, "long_name": long_name, "units": units, "printed": printed}
    about |= {key: one for key, one in (("name", name), ("errors", errors), ("apart", apart)) if one}
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
        # Made its own, or @dataclass would write one that lists every number of every array.
        cls.__repr__ = cls.__repr__
        if cls.kind:
            KINDS[cls.kind] = cls

    @property
    def status(self) -> str:
        """``complete``, ``failed-checks``, or the outcome where it is neither."""
        if self.outcome == "complete" and not all(check.passed for check in self.checks):
            return "failed-checks"
        return self.outcome

    @property
    def headline(self) -> str:
        """What was found, in a few words; a kind says it with its own."""
        return ", ".join(f"{name} {_brief(value)}" for name, value in list(self.scalars().items())[:2])

    def arrays(self) -> Iterator[Variable]:
        """Every array that is there, coordinates first."""
        import numpy as np

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
                    about.get("errors", ""),
                    about.get("apart", ""),
                )
            )
        yield from sorted(found, key=lambda variable: variable.dims != (variable.name,))

    def require_one_length(self) -> None:
        """Raises ValueError where a dimension has two lengths."""
        lengths: dict[str, int] = {}
        for one in self.arrays():
            for dimension, length in zip(one.dims, one.values.shape, strict=True):
                if lengths.setdefault(dimension, length) != length:
                    raise ValueError(f"{dimension} is {lengths[dimension]} long, and {length} in {one.name}")

    def scalars(self) -> dict[str, Any]:
        """Every scalar that is there, by name, and every array that has no dimension left."""
        import numpy as np

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

    def table(self, dimension: str = "") -> list[dict[str, Any]]:
        """The one-dimensional arrays over ``dimension`` as rows, {name of the array: value}, in plain numbers.

        Without a name it is the dimension with the most such arrays, the first of equals; no rows where
        there is none. Takes what ``pandas.DataFrame`` does. Raises BadInput for another dimension.
        """
        columns = [one for one in self.arrays() if len(one.dims) == 1]
        count = Counter(one.dims[0] for one in columns)
        if dimension and dimension not in count:
            raise BadInput(
                f"no one-dimensional array over {dimension!r}", f"one of {', '.join(count) or '(none)'}"
            )
        wanted = dimension or max(count, key=count.__getitem__, default="")
        columns = [one for one in columns if one.dims == (wanted,)]
        names = [one.name for one in columns]
        rows = zip(*(one.values.tolist() for one in columns), strict=True)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def to_xarray(self) -> Dataset:
        """The dataset that xarray makes of the saved file: its variables, dimensions and coordinates.

        Scalars are attributes ``value:<name>``, as there. Raises BadInput where xarray is not installed.
        """
        try:
            import xarray
        except ImportError:
            remedy = "pip install torch-landscape[xarray]"
            raise BadInput("a dataset needs xarray, which is not installed", remedy=remedy) from None
        variables: dict[str, Any] = {}
        for one in self.arrays():
            # Texts as objects, which is how they come out of a file.
            values = one.values.astype(object) if one.values.dtype.kind in "US" else one.values
            variables[one.name] = (one.dims, values, {"long_name": one.long_name, "units": one.units})
        coordinates = {one.name: variables.pop(one.name) for one in self.arrays() if one.dims == (one.name,)}
        about = {"kind": self.kind, "status": self.status, "outcome": self.outcome, **self.provenance}
        about |= {f"value:{name}": value for name, value in self.scalars().items()}
        return xarray.Dataset(variables, coordinates, about)

    # The rooms above draw and write; a result reaches them through the public face, by name and when
    # asked, as its user would, so that no import points upwards and none is paid for before.

    def plot(
        self,
        path: Path | str | None = None,
        *,
        kind: str = "contour",
        log: bool = False,
        levels: int | Sequence[float] | None = None,
    ) -> Any:
        """The picture, a matplotlib Figure; see :func:`landscape.plot`."""
        return landscape.plot(self, path, kind=kind, log=log, levels=levels)

    def save(self, path: Path | str) -> None:
        """Written to ``path``, all or nothing; see :func:`landscape.save`."""
        landscape.save(self, Path(path))

    def __repr__(self) -> str:
        """At most ten lines: kind and status, scalars, shapes, points, checks; never an array's numbers."""
        name = type(self).__name__
        lines = [f"{name}: {self.status}"]
        for title, parts in self._summary().items():
            lines += folded(f"  {title}: ", parts, lines=3 if title in ("scalars", "arrays") else 1)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """What a notebook shows: the same as a table, and the picture where it can be drawn."""
        import html

        rows = {type(self).__name__: [self.status], **self._summary()}
        cells = "".join(
            f"<tr><th>{html.escape(title)}</th><td>{html.escape(', '.join(parts))}</td></tr>"
            for title, parts in rows.items()
        )
        picture = self._inline_picture()
        image = (
            f'<img alt="{html.escape(self.kind)}" src="data:image/png;base64,{picture}">' if picture else ""
        )
        return f"<table>{cells}</table>{image}"

    def _summary(self) -> dict[str, list[str]]:
        """What is there, by title, in words."""
        passed = sum(check.passed for check in self.checks)
        checks = [f"{passed} passed"] if passed else []
        checks += [f"{check.name} failed" for check in self.checks if not check.passed]
        shapes = (
            f"{one.name} ({' × '.join(f'{d} {n}' for d, n in zip(one.dims, one.values.shape, strict=True))})"
            for one in self.arrays()
        )
        found = {
            "scalars": [f"{name} {_brief(value)}" for name, value in self.scalars().items()],
            "arrays": list(shapes),
            "points": list(self.states),
            "checks": checks,
            "notes": [f"{len(self.notes)}"] if self.notes else [],
        }
        return {title: parts for title, parts in found.items() if parts}

    def _inline_picture(self) -> str:
        """A png in base64, of 256 colours, a quarter of its bytes; '' where it is too large or cannot be drawn."""
        import base64
        import io

        try:
            from PIL import Image  # which matplotlib writes its pictures with

            figure = self.plot()
            for dpi in INLINE_DPI:
                drawn, written = io.BytesIO(), io.BytesIO()
                figure.savefig(drawn, format="png", dpi=dpi)
                # By coverage: the rare colours are the ends of a colour bar.
                whole, by = Image.open(drawn).convert("RGB"), Image.Quantize.MAXCOVERAGE
                whole.quantize(256, by, dither=Image.Dither.NONE).save(written, "png", optimize=True)
                if written.tell() <= INLINE_BYTES:
                    return base64.b64encode(written.getvalue()).decode()
        except Exception:
            # Whatever is wrong with the picture, the numbers must still be shown; plot() says what it is.
            return ""
        return ""


def file_name(kind: str) -> str:
    """What the files of a kind are called: as the kind, with an underscore where Python has taken the word.

    >>> file_name("hessian"), file_name("import")
    ('hessian', 'import_')
    """
    return f"{kind}_" if keyword.iskeyword(kind) else kind


def folded(title: str, parts: Iterable[str], *, lines: int, width: int = 100) -> list[str]:
    """``title`` and its parts with commas between, in at most so many lines of that width; what is left out is counted.

    >>> folded("points: ", [f"epoch={i}" for i in range(9)], lines=1, width=40)
    ['points: epoch=0, epoch=1 and 7 more']
    """
    # No line ends within a part; the shortest part takes three letters with its comma.
    everything = [part.replace(" ", "\xa0") for part in parts]
    found: list[str] = []
    for count in range(min(len(everything), lines * width // 3), -1, -1):
        rest = f"and {len(everything) - count} more" if count < len(everything) else ""
        text = title + " ".join(filter(None, [", ".join(everything[:count]), rest]))
        found = textwrap.wrap(text, width, subsequent_indent=" " * len(title), break_on_hyphens=False)
        if len(found) <= lines:
            break
    return [line.replace("\xa0", " ") for line in found[:lines]]


def with_error(value: float, error: float) -> str:
    """``value ± error``, the error in one digit, in two where it begins with 1, and the value to the same place.

    As it is, in six digits, where the error is 0 or not finite.

    >>> with_error(348.5, 38.0), with_error(348.5, 2084.7), with_error(0.0721, 0.00123)
    ('350 ± 40', '0 ± 2000', '0.0721 ± 0.0012')
    >>> with_error(1.5, 0.0), with_error(2.5e-9, 3e-11)
    ('1.5 ± 0', '2.50e-09 ± 3e-11')
    """
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return f"{value:.6g} ± {error:.2g}"
    leading = f"{error:.1e}"
    place = int(leading.partition("e")[2]) - (leading[0] == "1")
    # Adding zero takes the sign from one that was negative.
    value, error = round(value, -place) + 0.0, round(error, -place)
    if 1e-4 <= max(abs(value), error) < 1e7:
        return f"{value:.{max(0, -place)}f} ± {error:.{max(0, -place)}f}"

    def digits(number: float) -> int:
        return math.floor(math.log10(max(abs(number), error))) - place

    return f"{value:.{digits(value)}e} ± {error:.{digits(error)}e}"


def field_metadata(kind: type[Result]) -> dict[str, Mapping[str, Any]]:
    """What :func:`array` and :func:`scalar` said about each field of a kind."""
    return {one.name: one.metadata for one in fields(kind) if one.metadata}


def _brief(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else f"{text[:39]}…"


def _plain(value: Any) -> Any:
    import numpy as np

    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value
