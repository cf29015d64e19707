"""The page every picture is drawn on: the width of a column, its style and colours, panels and small print."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from landscape.errors import BadInput
from landscape.plots.columns import SLIDE, WIDTH, columns
from landscape.plots.words import FONT, axis_label, short, wrapped
from landscape.result import Result

SMALL = 6.0  # points, the size of the small print
MOST_FITS, FITTED = 6, 0.005  # tries to fit a page to its panel, and the inches that are near enough

# Okabe and Ito's colours, told apart under the common colour blindnesses; the line styles differ as well.
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, ORANGE, SKY = "#CC79A7", "#E69F00", "#56B4E9"
GREY = "0.4"
DASHED = {"color": VERMILLION, "linestyle": (0, (4, 1.5))}
# Where θ* lies.
STAR = {"marker": "*", "markersize": 9, "color": "white", "markeredgecolor": "black", "markeredgewidth": 0.7}
STAR |= {"clip_on": False}  # whole on the frame, too

STYLE: Any = {
    "font.family": FONT,
    "font.size": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.borderaxespad": 0.0,
    "legend.handlelength": 2.2,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.prop_cycle": cycler(color=[BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY])
    + cycler(linestyle=["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3))]),
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "hatch.linewidth": 0.4,
    "text.usetex": False,
    "figure.dpi": 200,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "svg.hashsalt": "landscape",
    "svg.fonttype": "none",  # text stays text, to be searched and changed
}


@dataclass(frozen=True)
class Look:
    """What is asked of a picture as such: its breadth in inches, its title, its one panel, its small print."""

    width: float = WIDTH
    title: str | None = None  # None: what the kind says; empty: none
    panel: str | None = None
    caption: bool = True
    view: tuple[float, float] | None = None  # elevation and azimuth of a surface, in degrees


class Page:
    """A figure being drawn, what was asked of it, and the small print gathered on the way."""

    def __init__(
        self,
        result: Result,
        kind: str,
        log: bool,
        levels: int | list[float] | None,
        look: Look | None = None,
        spacing: str = "auto",
        name: str = "",
    ):
        self.kind, self.log, self.levels = kind, log, levels
        self.name = name  # of the file that the result stands in, for one that came from no other
        self.spacing = spacing  # of levels and colours: linear, log, quantile, or what suits the values
        self.look = look or Look()
        self.panel_axes: list[Axes] = []
        self.columns = 1  # of panels
        self.figure = Figure(layout="constrained")
        FigureCanvasAgg(self.figure)
        self.stretch = 0.0  # height over width of the first panel, where both its axes have one scale
        self.fit: Callable[[], None] | None = None  # what places a panel that the layout knows nothing of
        self.labels = {variable.name: axis_label(variable) for variable in result.arrays()}
        self.small_print = self.outcome(result)

    @staticmethod
    def outcome(result: Result) -> list[str]:
        """What must be said of a result whatever its picture shows."""
        status = [f"status: {result.status}"] if result.outcome != "complete" else []
        return status + [
            f"failed check: {check.name}, {short(check.value)} above {short(check.bound)}"
            for check in result.checks
            if not check.passed
        ]

    @property
    def width(self) -> float:
        """Of the page, in inches."""
        return self.look.width

    @property
    def column(self) -> float:
        """The breadth of a column of panels, in inches."""
        return self.width / self.columns

    @property
    def highest(self) -> float:
        """What a page of one plane may be, in inches: in a column as high as the plane is, else a slide."""
        return max(SLIDE * self.width, WIDTH) if self.width > WIDTH else math.inf

    @property
    def height(self) -> float:
        """Of the page, in inches."""
        return float(self.figure.get_size_inches()[1])

    def panels(self, *heights: float, shared: bool = True, alike: bool = False) -> list[Axes]:
        """Axes one below the other, about ``heights`` inches, with a common horizontal axis or their own.

        A page broader than a column is no higher than a slide if that can be: panels with axes of their own stand in
        as few columns as it takes, of as many each where they are ``alike``.
        """
        parts, high = columns(heights, self.width, shared, alike)
        self.columns = len(parts)
        self.figure.set_size_inches(self.width, high)
        page, panels = self.figure.add_gridspec(len(parts[0]) if alike else 1, self.columns), []
        for i, part in enumerate(parts):
            # One grid for all that are alike, so that a colour bar can stand beside them all.
            grid = page if alike else page[0, i].subgridspec(len(part), 1, height_ratios=part)
            for j in range(len(part)):
                cell = grid[j, i if alike else 0]
                axes = self.figure.add_subplot(cell, sharex=panels[0] if shared and panels else None)
                axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
                if shared and j < len(part) - 1:
                    axes.xaxis.set_tick_params(which="both", labelbottom=False)
                panels.append(axes)
        self.panel_axes = panels
        return panels

    def note(self, text: str) -> None:
        """Adds to the small print, once."""
        if text not in self.small_print:
            self.small_print.append(text)

    def finish(self, title: str) -> Figure:
        """Title above, small print below; nothing may be added after.

        Raises BadInput for a panel that is not there.
        """
        if self.look.panel is not None:
            self._only(self.look.panel)
        title = title if self.look.title is None else self.look.title
        if title:
            self.figure.suptitle(wrapped(title, self.width - 0.1, 8), fontsize=8)
        if self.small_print and self.look.caption:
            text = wrapped("; ".join(self.small_print), 0.95 * self.width, SMALL)
            self.figure.supxlabel(text, x=0.02, ha="left", fontsize=SMALL, color=GREY)
        for column in self._columns():
            self.figure.align_ylabels(column)
        if self.stretch:
            self._fit()
        # Ticks take their style when first placed, so that must happen inside the style's context. What keeps to a
        # scale stands where it will once it is drawn.
        if self.stretch or self.fit:
            self.figure.draw_without_rendering()
        else:
            self._lay_out()
        if self.fit:
            self.fit()
        return self.figure

    def _fit(self) -> None:
        """The page as high as a panel of the given height over width needs, at one scale, with no empty margins."""
        panel = self.figure.axes[0]
        # Within a frame that keeps to one scale the labels move, and with them the frame.
        panel.set_aspect("auto")
        for _ in range(MOST_FITS):
            self._lay_out()
            box = panel.get_position(original=True)
            excess = box.height * self.height - self.stretch * box.width * self.width
            if abs(excess) < FITTED:
                break
            self.figure.set_size_inches(self.width, self.height - excess)
        panel.set_aspect("equal")
        if self.height > self.highest:
            self.figure.set_size_inches(self.width, self.highest)
            self.figure.set_layout_engine("compressed")

    def _lay_out(self) -> None:
        """Places the panels, and draws nothing."""
        engine = self.figure.get_layout_engine()
        assert engine
        engine.execute(self.figure)

    def _columns(self) -> list[list[Axes]]:
        """The panels of each column; all of them where they were placed by other means."""
        if self.columns == 1:
            return [self.figure.axes]
        cells = [axes.get_subplotspec().get_topmost_subplotspec() for axes in self.panel_axes]  # type: ignore[union-attr]
        starts = [cell.colspan.start for cell in cells]
        return [
            [axes for axes, own in zip(self.panel_axes, starts, strict=True) if own == start]
            for start in sorted(set(starts))
        ]

    def _only(self, wanted: str) -> None:
        """Takes away every panel but one, which is named by a word of its title or labels, or by its number."""
        names = [_name_of(axes) for axes in self.panel_axes]
        found = [i for i, name in enumerate(names) if wanted.lower() in name.lower()]
        exact = [i for i in found if names[i].lower() == wanted.lower()]
        found = exact or found
        if wanted.isdigit() and 1 <= int(wanted) <= len(names):
            found = [int(wanted) - 1]
        if len(found) != 1:
            listed = "; ".join(f"{i} {name}" for i, name in enumerate(names, 1)) or "only one, without a name"
            seen = "names no panel" if not found else f"names {len(found)} panels"
            raise BadInput(f"{wanted!r} {seen}", f"one of {listed}")
        kept = self.panel_axes[found[0]]
        bars = [
            one for one in self.figure.axes if kept in getattr(one, "_colorbar_info", {}).get("parents", [])
        ]
        share = kept.get_position().height * self.height
        for axes in list(self.figure.axes):
            if axes is not kept and axes not in bars:
                axes.remove()
        kept.set_subplotspec(self.figure.add_gridspec(1, 1)[0, 0])
        kept.xaxis.set_tick_params(labelbottom=True)
        if not kept.get_xlabel():  # it stood under the lowest of those that share it
            kept.set_xlabel(self.panel_axes[-1].get_xlabel())
        self.figure.set_size_inches(self.width, max(share, 1.5) + 0.6)
        self.panel_axes = [kept]


def _name_of(axes: Axes) -> str:
    """What a panel is called: its title, else what its colour bar or its vertical axis says."""
    bars = [one for one in axes.figure.axes if axes in getattr(one, "_colorbar_info", {}).get("parents", [])]
    name = axes.get_title() or (bars[0].get_ylabel() if bars else "") or axes.get_ylabel()
    return " ".join(name.split())
