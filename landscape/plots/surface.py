"""A function of two coordinates as a surface over its plane, seen from a chosen side."""

import itertools
import math
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LightSource, Normalize
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox
from mpl_toolkits.mplot3d import proj3d
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from landscape.plots.fields import COLOUR_MAP, Field
from landscape.plots.levels import levels_between, sampled
from landscape.plots.page import WIDTH, Page
from landscape.plots.words import numbers, wrapped

HEIGHT = 0.72  # of the box over its breadth
# Where one looks from, in the order in which they are tried until θ* is seen.
ELEVATIONS = (32.0, 45.0, 60.0)
AZIMUTHS = (-58.0, -122.0, 58.0, 122.0, -32.0, -148.0, 32.0, 148.0)
MARGIN = 0.04  # inches between the picture and the edge of the page
BAR = 0.62  # inches that the colour bar takes with its ticks and label


def draw_surface(page: Page, one: Field, star: tuple[float, float, float] | None = None) -> Any:
    """The field as a surface over its plane; returns axes whose third coordinate is :func:`height`.

    Seen from where the page says, else from the first of a few sides from which ``star``, (x, y, value), is
    not hidden by the surface. Parallel lines stay parallel, so that heights can be compared.
    """
    page.figure.set_size_inches(page.width, 0.86 * page.width)
    axes: Any = page.figure.add_subplot(projection="3d", computed_zorder=False, proj_type="ortho")
    # Some versions of matplotlib place the spines of the flat axes beneath far away, and the layout breaks.
    axes.set_in_layout(False)
    x, y = np.meshgrid(one.x, one.y)
    corners = np.stack([x, y, _on_third_axis(one, np.ma.filled(one.values, np.nan))], axis=-1)
    quads = np.stack([corners[:-1, :-1], corners[:-1, 1:], corners[1:, 1:], corners[1:, :-1]], axis=2)
    quads = quads.reshape(-1, 4, 3)
    # matplotlib's own surface warns of NaN and draws it; here a cell with an unknown corner stays open.
    quads = quads[np.isfinite(quads).all(axis=(1, 2))]
    low, high = _ends(one)
    if len(quads):
        colours = colormaps[COLOUR_MAP](Normalize(low, high)(quads[:, :, 2].mean(axis=1)))
        # Normals are taken in the box, not in the data, whose axes differ by orders of magnitude.
        scale = [np.ptp(one.x) or 1.0, np.ptp(one.y) or 1.0, (high - low) or 1.0]
        sides = (quads[:, 2] - quads[:, 0]) / scale, (quads[:, 3] - quads[:, 1]) / scale
        normals = np.cross(*sides)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        light = normals @ LightSource(azdeg=225, altdeg=50).direction
        colours[:, :3] *= 0.75 + 0.25 * np.clip(light, 0, 1)[:, np.newaxis]
        axes.add_collection3d(Poly3DCollection(quads, facecolors=colours, edgecolors=colours, linewidths=0.2))
    axes.set(xlim=(one.x.min(), one.x.max()), ylim=(one.y.min(), one.y.max()), zlim=(low, high))
    elevation, azimuth = page.look.view or _view(one, star)
    axes.view_init(elev=elevation, azim=azimuth)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    ticks = levels_between(one.low, one.high, 6, one.log)
    ticks = ticks[(ticks >= one.low) & (ticks <= one.high)]
    write = numbers(ticks, one.log)
    places, words = _on_third_axis(one, ticks), [write(tick) for tick in ticks]
    axes.set_zticks(places, words)
    axes.tick_params(pad=-2, labelsize=6.5)
    axes.set_box_aspect((1, 1, HEIGHT), zoom=0.9)
    bar = page.figure.colorbar(
        ScalarMappable(Normalize(low, high), COLOUR_MAP), cax=page.figure.add_axes((0.9, 0.3, 0.03, 0.4))
    )
    bar.ax.set_in_layout(False)
    bar.set_ticks(places.tolist(), labels=words)
    bar.ax.tick_params(labelsize=6.5)
    bar.outline.set_linewidth(0.6)  # type: ignore[operator]
    bar.set_label(wrapped(one.label, 2.2))
    page.fit = lambda: _fill(page, axes, bar.ax)
    return axes


def height(one: Field, losses: np.ndarray) -> np.ndarray:
    """Where losses stand on the third axis of a surface."""
    return _on_third_axis(one, losses - one.offset)


def seen(one: Field, axes: Any, places: np.ndarray) -> np.ndarray:
    """Which of ``places``, (count, 3) in the coordinates of the axes, no part of the surface hides."""
    return visible(one, places, axes.elev, axes.azim)


def visible(one: Field, places: np.ndarray, elevation: float, azimuth: float) -> np.ndarray:
    """As :func:`seen`: along the ray to the eye the surface must stay below it, or above for an eye from below."""
    low, high = _ends(one)
    start = np.array([one.x.min(), one.y.min(), low])
    size = np.array([np.ptp(one.x) or 1.0, np.ptp(one.y) or 1.0, (high - low) / HEIGHT or 1.0])
    e, a = math.radians(elevation), math.radians(azimuth)
    ray = np.array([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)])
    # From a cell away on: at the place itself the surface is as high as the ray.
    steps = np.linspace(1.2 / max(one.values.shape), 1.6, 400)
    on_ray = np.asarray(places, dtype=float)[:, np.newaxis] + steps[:, np.newaxis] * ray * size
    surface = _on_third_axis(one, np.ma.filled(one.values, np.nan))
    flat = sampled(one.x, one.y, surface, on_ray[..., :2].reshape(-1, 2)).reshape(on_ray.shape[:2])
    above = (flat - on_ray[..., 2]) * (1 if elevation >= 0 else -1)
    with np.errstate(invalid="ignore"):
        hidden = (above > 0.01 * (high - low)).any(axis=1)
    return ~hidden & np.isfinite(places).all(axis=1) & (np.asarray(places) >= start - 1e-9 * size).all(axis=1)


def _view(one: Field, star: tuple[float, float, float] | None) -> tuple[float, float]:
    """From the side before from above, since heights are seen from the side."""
    views = [(elevation, azimuth) for elevation in ELEVATIONS for azimuth in AZIMUTHS]
    if star is None:
        return views[0]
    place = np.array([[*star[:2], float(height(one, np.array(star[2])))]])
    return next((view for view in views if visible(one, place, *view)[0]), views[0])


def _ends(one: Field) -> tuple[float, float]:
    low, high = (float(_on_third_axis(one, np.array(end))) for end in (one.low, one.high))
    return low, high


def _on_third_axis(one: Field, values: np.ndarray) -> np.ndarray:
    """The third axis has no logarithmic scale of its own; what has no logarithm is NaN and is not drawn."""
    if not one.log:
        return values
    return np.log10(values, where=values > 0, out=np.full(np.shape(values), np.nan))


def _fill(page: Page, axes: Any, bar: Any) -> None:
    """The surface and its bar as large as the page is broad, and the page no higher than they need."""
    figure = page.figure
    figure.set_layout_engine("none")
    top, bottom = (_inches(figure, text) for text in ("_suptitle", "_supxlabel"))
    figure.draw_without_rendering()
    # Long numbers at the bar need more.
    needed = (bar.get_tightbbox().x1 - bar.get_window_extent().x0) / figure.dpi + 0.02
    aside = max(BAR * (1 + 0.12 * (page.width > WIDTH)), needed)
    breadth = page.width - 2 * MARGIN - aside
    side = breadth
    content = Bbox.unit()
    for _ in range(3):
        # The axes are a square whose middle is that of the box; letters in it keep their size.
        axes.set_position(_square(page, 0.5, 0.5, side, page.height))
        figure.draw_without_rendering()
        content = _content(figure, axes)
        side *= breadth / content.width
    tall = content.height + top + bottom + 2 * MARGIN
    figure.set_size_inches(page.width, tall)
    axes.set_position(_square(page, 0.5, 0.5, side, tall))
    figure.draw_without_rendering()
    content = _content(figure, axes)
    shift = np.array([MARGIN - content.x0, MARGIN + bottom - content.y0]) / (page.width, tall)
    axes.set_position(_square(page, 0.5 + shift[0], 0.5 + shift[1], side, tall))
    middle = (bottom + MARGIN + content.height / 2) / tall
    share = min(0.7 * content.height, 3.0 * page.width / WIDTH) / tall
    left = page.width - max(BAR, needed) + 0.02
    bar.set_position((left / page.width, middle - share / 2, 0.09 / page.width, share))
    figure.draw_without_rendering()


def _square(page: Page, x: float, y: float, side: float, tall: float) -> tuple[float, float, float, float]:
    """Of ``side`` inches round a middle, in shares of a page ``tall`` inches high."""
    across, up = side / page.width, side / tall
    return x - across / 2, y - up / 2, across, up


def _inches(figure: Any, name: str) -> float:
    """The height of the title or the small print."""
    text = getattr(figure, name, None)
    if text is None or not text.get_text():
        return 0.0
    return float(text.get_window_extent().height / figure.dpi) + 0.06


def _content(figure: Any, axes: Any) -> Bbox:
    """What is drawn of the three axes with their labels, and of the box, in inches."""
    boxes = [axis.get_tightbbox(figure.canvas.get_renderer()) for axis in axes._axis_map.values()]
    corners = np.array(list(itertools.product(axes.get_xlim3d(), axes.get_ylim3d(), axes.get_zlim3d()))).T
    flat = proj3d.proj_transform(*corners, axes.get_proj())[:2]  # type: ignore[call-arg]
    boxes.append(Bbox.null())
    boxes[-1].update_from_data_xy(axes.transData.transform(np.transpose(flat)), ignore=True)
    legend = axes.get_legend()
    boxes += [legend.get_window_extent()] if legend else []
    return Bbox.union([box for box in boxes if box]).transformed(figure.dpi_scale_trans.inverted())
