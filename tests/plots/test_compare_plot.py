"""What the picture of several points shows: one scale, marked widths, shaded ranks, values as in the result."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb

import landscape
from landscape.analyses.compare import Compare
from landscape.numerics.agreement import agreement
from landscape.plots.page import BLUE, VERMILLION, WIDTH
from landscape.valleys.compared import GAPS, MEASURES


def made(count: int, *, test: bool = True) -> Compare:
    """Bowls along two directions, the first point the sharpest, with a rise of 0.1."""
    names = [name for name in MEASURES if test or name not in ("test_loss", *GAPS)]
    alpha, bends = np.linspace(-1, 1, 9), np.array([2.0 ** (2 - i) for i in range(count)])
    losses = 0.1 + 0.5 * bends[:, None, None] * np.array([1.0, 1.5])[:, None] * alpha**2
    widths = np.sqrt(2 * 0.1 / (bends[:, None, None] * np.array([1.0, 1.5])[None, :, None])) * np.ones(2)
    values = np.repeat(bends[None], len(names), axis=0)
    values[names.index("width")] = widths.mean(axis=(1, 2))
    values[names.index("noise_rise")] = 1e-4 * bends
    ranks = np.repeat(np.arange(count, 0.0, -1)[None], len(names), axis=0)
    agree = np.array([[agreement(a, b) for b in ranks] for a in ranks])
    letters = np.array([chr(65 + i) for i in range(count)])
    barrier = 0.3 * (1 - np.eye(count))
    apart = np.ones(values.shape, dtype=bool)
    apart[names.index("trace"), 0] = False
    return Compare(
        point=letters,
        label=letters,
        measure=np.array(names),
        better=np.array([MEASURES[name].better for name in names]),
        unchanged_by=np.array([MEASURES[name].unchanged_by for name in names]),
        values=values,
        errors=0.02 * values,
        ranks=ranks,
        told_apart=apart,
        other_measure=np.array(names),
        tau=agree[..., 0],
        tau_low=agree[..., 1],
        tau_high=agree[..., 2],
        tau_p=agree[..., 3],
        alpha=alpha,
        slice_loss=losses,
        half_width=widths,
        is_reached=np.ones(widths.shape, dtype=bool),
        other=letters,
        barrier=barrier,
        barrier_error=0 * barrier,
        span=1.0,
        rise=0.1,
        sigma=0.02,
        rho=0.05,
        mean_tau=1.0,
        flattest=str(letters[-1]),
        num_first=10,
        num_flatness=10,
    )


def texts(axes) -> list[str]:
    return [one.get_text() for one in axes.texts]


def test_slices_are_on_one_scale_with_the_sublevel_set_marked():
    found = made(3)
    figure = landscape.plot(found)
    assert figure.get_size_inches()[0] == pytest.approx(WIDTH)
    panels = figure.axes[:3]
    assert [axes.get_title() for axes in panels] == ["A", "B", "C"]
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in panels}) == 1
    for i, axes in enumerate(panels):
        (mean,) = [one for one in axes.lines if one.get_color() == BLUE]
        np.testing.assert_allclose(mean.get_ydata(), found.slice_loss[i].mean(axis=0))
        (width,) = [one for one in axes.lines if one.get_color() == VERMILLION]
        value = found.values[found.measure.tolist().index("width"), i]
        np.testing.assert_allclose(width.get_xdata(), [-value, value])
        np.testing.assert_allclose(width.get_ydata(), 0.1 + found.rise)


def test_the_table_has_every_value_shaded_by_its_rank():
    found = made(3)
    table = landscape.plot(found).axes[3]
    shown = texts(table)
    assert [one for one in shown if one in ("A", "B", "C")] == ["A", "B", "C"]
    assert {"convex share", "λₘₐₓ", "noise (10⁻⁴)", "test loss", "τ, test", "free of"} <= set(shown)
    assert (shown.count("layers"), shown.count("units"), shown.count("–")) == (6, 5, 9)
    assert "≈4.00±0.08" in shown
    assert "4.00±0.08" in shown
    assert len(table.patches) == 3 * len(found.measure)
    # The better the rank, the darker, in every row; all words lie in their cells.
    light = [sum(to_rgb(one.get_facecolor())) for one in table.patches]
    for row in np.array(light).reshape(len(found.measure), 3):
        assert row[0] > row[1] > row[2]
    figure = table.figure
    figure.canvas.draw()
    cells = [one.get_window_extent() for one in table.patches]
    inside = [one for one in table.texts if "±" in one.get_text()]
    assert inside
    for one in inside:
        box = one.get_window_extent()
        middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
        (cell,) = [place for place in cells if place.contains(*middle)]
        assert box.x0 >= cell.x0 - 1
        assert box.x1 <= cell.x1 + 1


@pytest.mark.parametrize(("count", "shown"), [(2, "4.00±0.08"), (5, "4"), (8, "8")])
def test_more_points_leave_room_for_less(count, shown):
    found = made(count, test=False)
    figure = landscape.plot(found)
    assert len(figure.axes) == count + 1
    table = texts(figure.axes[-1])
    assert shown in table
    assert ("4.00±0.08" in table) == (count == 2)
    assert "τ, test" not in table
    small = figure._supxlabel.get_text().replace("\n", " ")  # pyright: ignore
    assert ("in the file" in small) == (count > 3)
    assert ("ranks, their values" in small) == (count == 8)


def test_log_and_what_is_not_finite():
    found = made(2)
    losses = found.slice_loss.copy()
    losses[0, 0, 0] = np.inf
    figure = landscape.plot(replace(found, slice_loss=losses), log=True)
    assert [axes.get_yscale() for axes in figure.axes[:2]] == ["log", "log"]
    assert "1 of 36 losses NaN or infinite" in figure._supxlabel.get_text().replace("\n", " ")  # pyright: ignore
