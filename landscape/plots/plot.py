"""Any Result as a picture: by the drawing of its kind, else by its dimensions.

Nothing here touches pyplot or a screen, and importing it changes no setting of matplotlib's.
"""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from landscape.errors import BadInput
from landscape.plots import interactive, written
from landscape.plots.axes import line, log_axis
from landscape.plots.fields import draw_flat, field
from landscape.plots.kinds import drawing
from landscape.plots.page import STYLE, WIDTH, Look, Page
from landscape.plots.surface import draw_surface
from landscape.plots.table import table
from landscape.plots.together import together
from landscape.plots.words import axis_label, input_names, wrapped
from landscape.result import Result, Variable

FIELD_KINDS = ("contour", "surface", "heatmap")
SPACINGS = ("auto", "linear", "log", "quantile")
# What a style sheet may not change: the layout is measured with our letters, and the bytes repeat.
KEPT = ("font.family", "text.usetex", "svg.hashsalt", "svg.fonttype", "pdf.fonttype", "backend")
FORMATS = ("png", "pdf", "svg")
# What other programs read: a page of its own, the surface, its trajectory, the numbers.
WRITTEN = ("html", "vts", "vtp", "csv")
MAX_PANELS = 6


def plot(
    result: Result | Sequence[Result],
    path: Path | str | None = None,
    *,
    kind: str = "contour",
    log: bool = False,
    levels: int | Sequence[float] | None = None,
    spacing: str = "auto",
    title: str | None = None,
    width: float | None = None,
    dpi: int | None = None,
    panel: str | None = None,
    style: str | None = None,
    caption: bool = True,
    names: Sequence[str] | None = None,
    view: tuple[float, float] | None = None,
) -> Figure:
    """Draw any Result, at the width of one column; save it where ``path`` (.png, .pdf or .svg) is given.

    A ``path`` that ends in .html gets a page on which a surface turns, .vts the surface and .vtp the trajectory
    on it for ParaView, .csv the numbers; the figure is returned all the same.

    ``kind``: how a function of two coordinates is shown, ``contour``, ``surface`` or ``heatmap``.
    ``log``: a logarithmic axis, or colours and levels, of the loss. ``levels``: about how many contours,
    or the very values, in increasing order. What cannot be shown (NaN, not positive on a logarithmic
    axis, beyond the levels) is hatched or coloured as the end, and counted in the small print.

    ``spacing`` of levels and colours: ``linear``, ``log``, ``quantile``, or ``auto``, the first of these in
    which the shape is seen (:func:`landscape.plots.levels.scale_for`). ``title`` takes the place of the own one
    (empty: none), ``width`` is in inches (where it is broader than a column, panels stand side by side, and all but a
    surface fits a slide), ``dpi`` that of a png, ``panel`` a word of the title or labels of the
    one panel to draw, or its number; ``style`` a style sheet of matplotlib's, by name or file, laid over the
    own; without ``caption`` the small print is left out. ``view`` is where a surface is seen from, elevation
    and azimuth in degrees; where nothing is said, a side from which θ* is seen.

    Several results of one kind are drawn in one picture, planes side by side on one scale, lines over one
    another (:func:`landscape.plots.together.together`), each by its name, of ``names`` or of what it came from;
    the name of one alone stands in the title of a run, which came from nothing.

    The figure belongs to the caller; the result stays as it is. Raises BadInput for another ending,
    kind, levels, spacing, width, dpi, panel or style, and for a folder that is not there or cannot be written.
    """
    target = None if path is None else _target(Path(path))
    many = [result] if isinstance(result, Result) else list(result)
    if not many:
        raise BadInput("no result to draw", "at least one")
    checked, *_ = (_options(one, kind, log, levels) for one in many)
    width = width or (WIDTH if len(many) < 3 else 2 * WIDTH)
    _checked(width, spacing, dpi, view, kind)
    look = Look(width, title, panel, caption, view)
    with matplotlib.rc_context(styled(style)):
        name = names[0] if names and len(many) == 1 else ""
        page = Page(many[0], kind, log, checked, look, spacing, name)
        if len(many) > 1:
            page.small_print = []
            figure = page.finish(together(page, many, names))
        else:
            draw = drawing(many[0].kind) or generic
            figure = page.finish(draw(page, many[0]))
        if target:
            if _ending(target) in WRITTEN:
                _write(many, target, log, title)
            else:
                save(figure, target, dpi)
    return figure


def generic(page: Page, result: Result) -> str:
    """Fields over two coordinates, else lines over one, else the scalars as a table."""
    arrays = {variable.name: variable for variable in result.arrays()}
    fields, lines = _fields(result), _lines(result)
    if fields and page.kind == "surface":
        _draw_surface(page, arrays, fields[0])
        _mention(page, fields[1:] + lines)
    elif fields:
        panels = page.panels(*[2.3] * len(fields[:MAX_PANELS]), shared=False)
        for axes, one in zip(panels, fields, strict=False):
            y, x = (arrays[dim] for dim in one.dims)
            draw_flat(page, axes, field(page, x.values, y.values, one.values, axis_label(one)))
            axes.set(xlabel=wrapped(axis_label(x), 2.4), ylabel=wrapped(axis_label(y), 2.2))
        _mention(page, fields[MAX_PANELS:] + lines)
    elif lines:
        panels = page.panels(*([2.2] if len(lines) == 1 else [1.5] * len(lines[:MAX_PANELS])), shared=False)
        for axes, one in zip(panels, lines, strict=False):
            x = arrays.get(one.dims[0])
            line(page, axes, np.arange(len(one.values)) if x is None else x.values, one.values)
            if page.log:
                log_axis(page, axes, one.values)
            axes.set_xlabel(wrapped(one.dims[0] if x is None else axis_label(x), 3.0))
            axes.set_ylabel(wrapped(axis_label(one), 1.5))
        _mention(page, lines[MAX_PANELS:])
    else:
        table(page, result)
    return ": ".join([result.kind or type(result).__name__, *filter(None, [", ".join(input_names(result))])])


def _draw_surface(page: Page, arrays: dict[str, Variable], one: Variable) -> None:
    y, x = (arrays[dim] for dim in one.dims)
    axes = draw_surface(page, field(page, x.values, y.values, one.values, axis_label(one)))
    axes.set_xlabel(wrapped(axis_label(x), 1.6), labelpad=-4)
    axes.set_ylabel(wrapped(axis_label(y), 1.6), labelpad=-4)


def _fields(result: Result) -> list[Variable]:
    arrays = list(result.arrays())
    coordinates = {one.name for one in arrays if one.dims == (one.name,)}
    return [
        one
        for one in arrays
        if len(one.dims) == 2 and set(one.dims) <= coordinates and one.values.dtype.kind in "iuf"
    ]


def _lines(result: Result) -> list[Variable]:
    return [
        one
        for one in result.arrays()
        if len(one.dims) == 1 and one.dims != (one.name,) and one.values.dtype.kind in "iuf"
    ]


def _mention(page: Page, left_out: list[Variable]) -> None:
    if left_out:
        page.note("not drawn: " + ", ".join(one.name for one in left_out))


def _options(
    result: Result, kind: str, log: bool, levels: int | Sequence[float] | None
) -> int | list[float] | None:
    """The levels, ready for use. Raises BadInput for options that mean nothing for this result."""
    if kind not in FIELD_KINDS:
        raise BadInput(f"unknown kind of picture {kind!r}", f"one of {', '.join(FIELD_KINDS)}")
    if not _fields(result) and (kind != "contour" or levels is not None):
        option = f"kind {kind!r}" if kind != "contour" else "levels"
        raise BadInput(f"{option} for a result of kind {result.kind!r}", "a result over two coordinates")
    if levels is None:
        return None
    if kind != "contour":
        raise BadInput(f"levels with kind {kind!r}", "kind 'contour'")
    if isinstance(levels, int | np.integer):
        if levels < 2:
            raise BadInput(f"{levels} levels", "at least 2")
        return int(levels)
    values = [float(value) for value in levels]
    if len(values) < 2 or not np.isfinite(values).all() or not (np.diff(values) > 0).all():
        raise BadInput(f"levels {_listed(values)}", "at least two finite numbers in increasing order")
    if log and values[0] <= 0:
        raise BadInput(f"levels {_listed(values)} on a logarithmic scale", "positive levels")
    return values


def _listed(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in values) or "(none)"


def _target(path: Path) -> Path:
    if path.is_dir():
        raise BadInput(
            f"{path} is a folder", "the name of a picture to write", f"give `output` {path / 'picture.png'}"
        )
    if _ending(path) not in FORMATS + WRITTEN:
        wanted = ", ".join(FORMATS + WRITTEN[:-1]) + f" or {WRITTEN[-1]}"
        raise BadInput(f"{path} ends in {path.suffix or 'nothing'}", wanted=wanted)
    if not path.parent.is_dir():
        raise BadInput(f"there is no folder {path.parent}", "an existing folder", "make it first")
    return path


def _checked(
    width: float, spacing: str, dpi: int | None, view: tuple[float, float] | None, kind: str
) -> None:
    if not 2 <= width <= 40:
        raise BadInput(f"a width of {width:g} inches", "2 to 40")
    if dpi is not None and not 20 <= dpi <= 2400:
        raise BadInput(f"{dpi} dots to the inch", "20 to 2400")
    if spacing not in SPACINGS:
        raise BadInput(f"unknown spacing {spacing!r}", f"one of {', '.join(SPACINGS)}")
    if view is not None and kind != "surface":
        raise BadInput(f"a view of kind {kind!r}", "kind 'surface'")
    if view is not None and not (abs(view[0]) <= 90 and abs(view[1]) <= 360):
        raise BadInput(f"a view from {view[0]:g}, {view[1]:g}", "degrees up to 90 and 360")


def styled(style: str | None) -> Any:
    """Our settings, and those of a style sheet of matplotlib's over them. Raises BadInput for an unknown one."""
    if style is None:
        return STYLE
    from matplotlib import rc_params_from_file
    from matplotlib import style as sheets

    known = sheets.library.get(style)
    if known is None:
        if not Path(style).is_file():
            raise BadInput(
                f"there is no style {style!r}", f"a file or one of {', '.join(sorted(sheets.available))}"
            )
        known = rc_params_from_file(style, use_default_template=False)
    return {**STYLE, **{name: value for name, value in known.items() if name not in KEPT}}


def save(figure: Figure, path: Path, dpi: int | None = None) -> None:
    """The picture as its ending says. No date, so the bytes repeat."""
    ending = _ending(path)
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[ending]
    dots = dpi or matplotlib.rcParams["savefig.dpi"]
    _whole(path, lambda place: figure.savefig(place, format=ending, metadata=undated, dpi=dots))


def _write(results: Sequence[Result], path: Path, log: bool, title: str | None) -> None:
    """The numbers of one result for another program."""
    ending = _ending(path)
    if len(results) > 1:
        raise BadInput(f"{len(results)} results in one {ending}", "one result", "write them apart")
    if ending == "html":
        text = interactive.page_of(results[0], log=log, title=title)
    elif ending == "csv":
        text = written.csv(results[0])
    else:
        text = {"vts": written.vts, "vtp": written.vtp}[ending](results[0], log)
    _whole(path, lambda place: place.write_text(text, encoding="utf-8"))


def _ending(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")


def _whole(path: Path, write: Callable[[Path], Any]) -> None:
    """The whole file or none: written beside its place, then renamed."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise BadInput(f"{path.parent} cannot be written", "a folder you may write to") from None
        raise
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
