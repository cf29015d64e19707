"""Which words of a picture cannot be read: cut by the page, or written over one another."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from mpl_toolkits.mplot3d.art3d import Text3D

# Pixels; of letters, a box holds the room for those that go below the line.
CUT, SLACK = 1.0, 0.15


def words(figure: Figure) -> Iterator[Text]:
    """Every text that is drawn, but for letters on a surface; of axes those of the ticks within their limits alone."""
    axes = [one for one in figure.findobj(Axis) if one.axes.get_visible() and one.axes.axison]
    held = {id(text) for one in figure.findobj(Axis) for text in one.findobj(Text)}
    for one in axes:
        if not one.get_visible():
            continue
        yield from (one.label, one.offsetText)
        for tick in one._update_ticks():  # type: ignore[attr-defined]
            yield from (tick.label1, tick.label2)
    yield from (one for one in figure.findobj(Text) if id(one) not in held and not isinstance(one, Text3D))


def _corners(text: Text, shrunk: float) -> np.ndarray:
    """Of the rectangle of the letters, turned as they are, in pixels, (4, 2)."""
    middle = np.mean(text.get_window_extent().get_points(), axis=0)
    turned = text.get_rotation()
    text.set_rotation(0)
    upright = text.get_window_extent()
    text.set_rotation(turned)
    rows = len(text.get_text().split("\n"))
    half = np.array([upright.width, upright.height * (1 - 2 * shrunk / rows)]) / 2
    angle = np.deg2rad(turned)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return middle + (half * [[-1, -1], [1, -1], [1, 1], [-1, 1]]) @ turn


def illegible(figure: Figure) -> list[str]:
    """A line for each text that the page cuts and for each two that overlap."""
    figure.draw_without_rendering()
    shown, seen = [], set()
    for text in words(figure):
        parts = [text.get_visible(), text.get_text().strip(), text.get_alpha() != 0, id(text) not in seen]
        if all(parts):
            seen.add(id(text))
            shown.append((text.get_text(), _corners(text, SLACK)))
    wide, tall = figure.bbox.size
    found = []
    for text, corners in shown:
        box = Bbox([corners.min(axis=0), corners.max(axis=0)])
        if box.x0 < -CUT or box.y0 < -CUT or box.x1 > wide + CUT or box.y1 > tall + CUT:
            found.append(f"cut by the page: {text!r}")
    for (one, corners), (other, others) in combinations(shown, 2):
        own = Path([*corners, corners[0]], closed=True)
        if own.intersects_path(Path([*others, others[0]], closed=True), filled=True):
            found.append(f"over one another: {one!r} and {other!r}")
    return found
