"""Pictures: what is drawn is what was measured, and what is not drawn is said."""

import json
import subprocess
import sys
from dataclasses import dataclass, fields
from typing import Any

import matplotlib
import numpy as np
import pytest
from pictured import OURS, at_one_point, line_between, made_up, plane

import landscape.analyses
from landscape.analyses import (
    Connect,
    Hessian,
    Import,
    Merge,
    Modes,
    Slice1D,
    Train,
    result_of,
)
from landscape.errors import BadInput
from landscape.numerics.pieces import Piece
from landscape.plots import plot as drawn
from landscape.plots.axes import cell_edges
from landscape.plots.levels import levels_between
from landscape.plots.words import short, text_inches, wrapped
from landscape.result import KINDS, Check, Result, array, field_metadata, scalar
from landscape.runs import store

plot: Any = drawn  # so that matplotlib's many artists need no casts


def labelled(axes, label):
    """The line of that name."""
    (found,) = [one for one in axes.lines if one.get_label() == label]
    return found


def small_print(figure) -> str:
    return " ".join(figure.get_supxlabel().split())


def title(figure) -> str:
    return figure.get_suptitle().replace("\n", " ").replace("\u00a0", " ")


def meshes(figure):
    return [one for one in figure.axes[0].collections if type(one).__name__ == "QuadMesh"]


def contours(figure):
    """The lines, without the filled ones under them."""
    return [one for one in figure.axes[0].collections if getattr(one, "filled", None) is False]


@pytest.mark.parametrize(
    ("log", "optional"),
    [
        (True, True),
        (False, False),
        pytest.param(True, False, marks=pytest.mark.slow),
        pytest.param(False, True, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", OURS)
def test_every_kind_can_be_drawn_and_stays_as_it_is(name, log, optional):
    result = made_up(result_of(name), optional=optional)
    before = {one.name: one.values.copy() for one in result.arrays()}
    figure = plot(result, log=log)
    # Points that are compared are letters in the title.
    assert "one.h5" in (small_print(figure) if name == "compare" else title(figure))
    for axes in figure.axes:
        assert not axes.axison or axes.get_xlabel() or axes.get_ylabel() or axes.get_subplotspec()
    for one in result.arrays():
        np.testing.assert_array_equal(one.values, before[one.name])
        assert one.values.dtype == before[one.name].dtype


@pytest.mark.parametrize("log", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", OURS)
def test_a_picture_survives_arrays_of_nothing_but_nan(name, log):
    result = made_up(result_of(name))
    for about, values in ((one.metadata, getattr(result, one.name)) for one in fields(result)):
        if "dims" in about and values.dtype.kind == "f" and not np.array_equal(values, np.sort(values, None)):
            values[...] = np.nan
    for one, about in field_metadata(type(result)).items():
        if "dims" not in about:
            setattr(result, one, float("nan"))
    assert plot(result, log=log).axes


class TestSaving:
    @pytest.mark.parametrize(
        ("ending", "magic"), [(".png", b"\x89PNG\r\n\x1a\n"), (".pdf", b"%PDF-"), (".SVG", b"<?xml")]
    )
    def test_formats(self, tmp_path, ending, magic):
        path = tmp_path / f"picture{ending}"
        plot(plane(), path)
        assert path.read_bytes().startswith(magic)
        assert [one.name for one in tmp_path.iterdir()] == [path.name]

    @pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
    def test_same_result_same_bytes(self, tmp_path, ending):
        for name in ("a", "b"):
            plot(plane(), str(tmp_path / f"{name}.{ending}"))
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()

    @pytest.mark.parametrize("name", ["a.jpg", "a.h5", "a"])
    def test_other_endings_are_refused(self, tmp_path, name):
        with pytest.raises(BadInput, match="png, pdf, svg"):
            plot(plane(), tmp_path / name)

    def test_places_that_cannot_be(self, tmp_path):
        with pytest.raises(BadInput, match="there is no folder"):
            plot(plane(), tmp_path / "missing" / "a.png")
        (tmp_path / "a.png").mkdir()
        with pytest.raises(BadInput, match="is a folder"):
            plot(plane(), tmp_path / "a.png")

    def test_a_folder_without_leave_to_write(self, tmp_path, monkeypatch):
        def refused(*_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("os.replace", refused)
        with pytest.raises(BadInput, match="cannot be written"):
            plot(plane(), tmp_path / "a.png")
        assert not list(tmp_path.iterdir())

    def test_a_failure_leaves_the_old_picture_and_no_debris(self, tmp_path, monkeypatch):
        path = tmp_path / "a.png"
        path.write_bytes(b"old")
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            plot(plane(), path)
        assert path.read_bytes() == b"old"
        assert [one.name for one in tmp_path.iterdir()] == ["a.png"]

    def test_a_loaded_result_draws_the_same(self, tmp_path):
        store.save(plane(), tmp_path / "a.h5")
        plot(plane(), tmp_path / "a.png")
        plot(store.load(tmp_path / "a.h5"), tmp_path / "b.png")
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({"kind": "pie"}, "one of contour, surface, heatmap"),
            ({"levels": 1}, "at least 2"),
            ({"levels": []}, "increasing"),
            ({"levels": [1.0]}, "increasing"),
            ({"levels": [2.0, 1.0]}, "increasing"),
            ({"levels": [1.0, np.nan]}, "finite"),
            ({"levels": [0.0, 1.0], "log": True}, "positive levels"),
            ({"levels": 5, "kind": "heatmap"}, "contour"),
        ],
    )
    def test_wrong_ones_are_refused_in_a_sentence(self, options, sentence):
        with pytest.raises(BadInput, match=sentence) as caught:
            plot(plane(), **options)
        assert str(caught.value).endswith(".")

    @pytest.mark.parametrize("options", [{"kind": "surface"}, {"kind": "heatmap"}, {"levels": 4}])
    def test_those_of_a_plane_mean_nothing_for_a_line(self, options):
        with pytest.raises(BadInput, match="two coordinates"):
            plot(line_between(), **options)

    def test_matplotlib_is_left_alone(self):
        before = dict(matplotlib.rcParams)
        plot(plane())
        assert dict(matplotlib.rcParams) == before
        code = "import sys, landscape.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestPlane:
    def test_cells_are_centred_on_the_coordinates_with_alpha_across(self):
        result = plane()
        (mesh,) = meshes(plot(result, kind="heatmap"))
        corners = mesh.get_coordinates()
        centres = (corners[:-1, :-1] + corners[1:, 1:]) / 2
        np.testing.assert_allclose(centres[..., 0], np.broadcast_to(result.alpha, (5, 7)), atol=1e-15)
        np.testing.assert_allclose(centres[..., 1], np.broadcast_to(result.beta[:, None], (5, 7)), atol=1e-15)
        np.testing.assert_array_equal(mesh.get_array().reshape(5, 7), result.loss)

    def test_the_lowest_contour_lies_where_the_loss_is_lowest(self):
        """At (α, β) = (0.5, 0): were rows and columns exchanged it would be at (0, 0.5)."""
        figure = plot(plane(), levels=[0.75, 2.0])
        lowest = contours(figure)[0].get_paths()[0].vertices
        assert lowest[:, 0].mean() == pytest.approx(0.5, abs=0.1)
        assert lowest[:, 1].mean() == pytest.approx(0.0, abs=0.1)

    def test_axes_say_what_they_are(self):
        axes, bar = plot(plane()).axes
        assert axes.get_xlabel().replace("\n", " ") == "step α along the first direction"
        assert axes.get_ylabel().replace("\n", " ") == "step β along the second direction"
        assert bar.get_ylabel() == "training loss"
        assert axes.get_xlim() == (-1.5, 1.5)
        assert axes.get_ylim() == (-2, 2)

    def test_levels_are_those_asked_for_and_clipping_is_said(self):
        figure = plot(plane(), levels=[0.5, 1.0, 2.0])
        np.testing.assert_array_equal(contours(figure)[0].levels, [1.0, 2.0])
        assert "values from 0.5 to 8.5: beyond the levels in the end colours" in small_print(figure)
        assert "beyond" not in small_print(plot(plane(), levels=[0.1, 1.0, 10.0]))
        assert "no level within the range" in small_print(plot(plane(), levels=[100, 200]))

    @pytest.mark.parametrize("log", [False, True])
    @pytest.mark.parametrize("count", [2, 5, 12, 40])
    def test_counted_levels_cover_everything(self, count, log):
        figure = plot(plane(), levels=count, log=log)
        filled = next(one for one in figure.axes[0].collections if getattr(one, "filled", False))
        assert len(filled.levels) <= count + 2
        assert filled.levels[0] <= 0.5
        assert filled.levels[-1] >= 8.5
        assert small_print(figure) == ""

    def test_the_point_is_marked_by_a_star(self):
        axes = plot(plane()).axes[0]
        (star,) = [one for one in axes.lines if one.get_marker() == "*"]
        assert (star.get_xdata()[0], star.get_ydata()[0]) == (0, 0)

    def test_three_points_have_their_letters_and_names(self):
        result = plane(
            point_alpha=np.array([0.0, 1.0, 0.3]),
            point_beta=np.array([0.0, 0.0, 1.5]),
            point_loss=np.array([0.5, 0.7, 3.0]),
        )
        figure = plot(result)
        axes = figure.axes[0]
        assert title(figure).endswith("through A = one.h5@final, B = two.h5@final, C = three.h5@final")
        letters = {one.get_text(): one.xy for one in axes.texts if hasattr(one, "xy")}
        assert letters["A"] == (0.0, 0.0)
        assert letters["B"] == (1.0, 0.0)
        assert letters["C"] == (0.3, 1.5)
        assert not [one for one in axes.lines if one.get_marker() == "*"]

    def test_one_scale_only_where_the_directions_have_one(self):
        alike = plot(plane()).axes[0]
        assert alike.get_aspect() == 1.0
        box = alike.get_window_extent()
        assert box.height / box.width == pytest.approx(4 / 3, abs=0.02)
        for gram in (np.diag([1.0, 4.0]), np.array([[1.0, 0.5], [0.5, 1.0]])):
            assert plot(plane(gram=gram)).axes[0].get_aspect() == "auto"
        stretched = plot(plane(beta=np.linspace(-9, 9, 5)))
        assert stretched.axes[0].get_aspect() == "auto"
        assert "different scales" in small_print(stretched)

    @pytest.mark.parametrize("kind", ["contour", "heatmap", "surface"])
    def test_the_trajectory_keeps_its_coordinates(self, kind):
        way = {
            "trajectory_alpha": np.array([0.9, 0.4, 0.0]),
            "trajectory_beta": np.array([1.0, 0.3, 0.0]),
            "trajectory_residual": np.array([0.125, 0.1, 0.0]),
            "trajectory_loss": np.array([2.0, 1.0, 0.75]),
        }
        figure = plot(plane(**way), kind=kind)
        lines = [one for one in figure.axes[0].lines if len(one.get_xdata()) == 3]
        assert lines
        for one in lines:
            data = one.get_data_3d() if kind == "surface" else one.get_data()
            np.testing.assert_array_equal(data[0], way["trajectory_alpha"])
            np.testing.assert_array_equal(data[1], way["trajectory_beta"])
            if kind == "surface":
                np.testing.assert_array_equal(data[2], way["trajectory_loss"])
        assert "up to 0.125 off the plane" in small_print(figure)
        way["trajectory_alpha"] = np.array([1.75, 0.4, 0.0])
        assert "1 of 3 checkpoints outside the picture" in small_print(plot(plane(**way), kind=kind))

    @pytest.mark.parametrize("kind", ["contour", "heatmap", "surface"])
    def test_on_its_own_axes_a_module_is_read_in_the_values_of_its_parameters(self, kind):
        result = plane(
            centre=np.array([3.0, -1.0]),
            parameters=(Piece("first.v", (), 0, "vector"), Piece("w", (1,), 1, "vector")),
            trajectory_alpha=np.array([0.9, 0.0]),
            trajectory_beta=np.array([1.0, 0.0]),
            trajectory_residual=np.zeros(2),
            trajectory_loss=np.array([2.0, 0.75]),
        )
        figure = plot(result, kind=kind)
        axes = figure.axes[0]
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("parameter first.v", "parameter w")
        (star,) = [one for one in axes.lines if one.get_marker() == "*"]
        places = [one.get_data_3d()[:2] if kind == "surface" else one.get_data() for one in axes.lines]
        np.testing.assert_allclose(places[axes.lines.index(star)], [[3], [-1]])
        (line, *_) = [one for one in places if np.shape(one) == (2, 2)]
        np.testing.assert_allclose(line, [[3.9, 3], [0, -1]])
        if kind == "contour":
            assert axes.get_xlim() == (1.5, 4.5)
        assert small_print(figure) == "white: checkpoints, ring: start, large: end"
        np.testing.assert_array_equal(result.alpha, plane().alpha)

    def test_draws_are_averaged_unless_a_trajectory_belongs_to_the_first(self):
        first = plane().loss
        draws = {"draw_loss": np.stack([first, 3 * first]), "loss_mean": 2 * first, "loss_spread": first}
        figure = plot(plane(**draws), kind="heatmap")
        np.testing.assert_array_equal(meshes(figure)[0].get_array().reshape(5, 7), 2 * first)
        assert "2 draws, standard deviation up to 8.5" in small_print(figure)
        way = {f"trajectory_{name}": np.zeros(2) for name in ("alpha", "beta", "residual", "loss")}
        figure = plot(plane(**draws, **way), kind="heatmap")
        np.testing.assert_array_equal(meshes(figure)[0].get_array().reshape(5, 7), first)


class TestWhatCannotBeShown:
    @pytest.mark.parametrize(("kind", "log"), [("contour", True), ("heatmap", False), ("surface", True)])
    def test_cells_without_a_value_are_left_out_and_counted(self, kind, log):
        loss, done = plane().loss, np.ones((5, 7), dtype=bool)
        loss[0, 0], loss[1, 1], loss[4, 6] = np.nan, np.inf, 123.0
        done[4] = False
        figure = plot(plane(loss, done=done), kind=kind, log=log)
        assert "7 of 35 cells not computed" in small_print(figure)
        assert "2 of 35 cells NaN or infinite" in small_print(figure)
        axes = figure.axes[0]
        if kind == "heatmap":
            hidden = np.ma.getmaskarray(meshes(figure)[0].get_array()).reshape(5, 7)
            np.testing.assert_array_equal(hidden, ~(np.isfinite(loss) & done))
        if kind == "surface":
            (surface,) = axes.collections
            # 4 × 6 quads, without the last row and those with a corner at [0, 0] or [1, 1].
            assert len(surface.get_facecolor()) == 3 * 6 - 4
            assert axes.get_zlim()[1] < 20
        else:
            assert axes.patch.get_hatch()

    @pytest.mark.parametrize(("kind", "log"), [("contour", False), ("heatmap", True), ("surface", True)])
    @pytest.mark.parametrize(
        ("loss", "said"),
        [
            (np.full((5, 7), np.nan), "no finite value"),
            (np.full((5, 7), 0.25), "constant: 0.25 in every cell"),
            (np.zeros((5, 7)), "constant: 0 in every cell"),
        ],
    )
    def test_nothing_to_see_is_said(self, kind, log, loss, said):
        assert said in small_print(plot(plane(loss), kind=kind, log=log))

    @pytest.mark.parametrize("kind", ["contour", "heatmap", "surface"])
    def test_losses_below_zero(self, kind):
        saddle = plane().alpha ** 2 - plane().beta[:, None] ** 2
        assert small_print(plot(plane(saddle), kind=kind)) == ""
        hidden = int((saddle <= 0).sum())
        assert f"{hidden} of 35 cells not positive" in small_print(plot(plane(saddle), kind=kind, log=True))
        assert "the scale is linear" in small_print(plot(plane(-plane().loss), kind=kind, log=True))

    @pytest.mark.parametrize(("kind", "log"), [("contour", True), ("heatmap", False), ("surface", False)])
    def test_ranges_tiny_and_huge(self, kind, log):
        bowl = plane().loss
        figure = plot(plane(2.5 + 1e-12 * bowl), kind=kind, log=log)
        label = figure.axes[1].get_ylabel()
        assert label.replace("\n", " ").startswith("training loss above its minimum 2.5")
        if kind == "heatmap":
            drawn = meshes(figure)[0].get_array().reshape(5, 7)
            np.testing.assert_array_equal(drawn, (2.5 + 1e-12 * bowl) - (2.5 + 1e-12 * bowl).min())
        huge = 10.0 ** np.linspace(-8, 8, 35).reshape(5, 7)
        told = "" if log or kind == "surface" else "colours by the logarithm"
        assert small_print(plot(plane(huge), kind=kind, log=log)) == told

    def test_lines_have_gaps_that_are_hatched_and_counted(self):
        loss = np.array([1.5, 1.0, np.nan, 3.0, np.inf, 0.5, 0.7])
        figure = plot(line_between(loss, barrier_chord=np.nan))
        drawn = labelled(figure.axes[0], "training").get_ydata()
        np.testing.assert_array_equal(np.isfinite(drawn), np.isfinite(loss))
        hatched = [one for one in figure.axes[0].patches if one.get_hatch()]
        assert [one.get_x() for one in hatched] == [0.125, 0.625]
        assert "2 of 7 values (training) NaN or infinite, hatched" in small_print(figure)

    def test_a_logarithmic_axis_says_what_it_hides(self):
        loss = np.array([1.5, 1.0, 0.0, 3.0, -1.0, 0.5, 0.7])
        figure = plot(line_between(loss), log=True)
        assert figure.axes[0].get_yscale() == "log"
        assert "2 of 7 values not positive" in small_print(figure)
        figure = plot(line_between(-np.ones(7)), log=True)
        assert figure.axes[0].get_yscale() == "linear"
        assert "the axis is linear" in small_print(figure)
        figure = plot(line_between(2.5 + 1e-9 * np.arange(7)), log=True)
        assert "too narrow" in small_print(figure)

    def test_what_did_not_go_well_is_under_the_picture(self):
        assert small_print(plot(line_between())) == ""
        checks = [Check("first end", 3e-3, 2e-5, "x"), Check("second end", 0.0, 1.0, "x")]
        figure = plot(line_between(outcome="diverged", checks=checks))
        assert small_print(figure) == "status: diverged; failed check: first end, 0.003 above 2×10⁻⁵"


class TestLines:
    def test_interpolate(self):
        test = np.array([2.0, 1.5, 2.5, 3.5, 2.5, 1.0, 1.0])
        result = line_between(test_loss=test, accuracy=test / 4, test_accuracy=test / 5)
        figure = plot(result)
        above, below = figure.axes[:2]
        for axes, label, values in (
            (above, "training", result.loss),
            (above, "test", test),
            (below, "training", test / 4),
            (below, "test", test / 5),
        ):
            np.testing.assert_array_equal(labelled(axes, label).get_xdata(), result.alpha)
            np.testing.assert_array_equal(labelled(axes, label).get_ydata(), values)
        chord = labelled(above, "chord A to B")
        np.testing.assert_allclose(chord.get_ydata(), 1 - 0.5 * chord.get_xdata())
        assert labelled(above, "barrier 2.25")
        (height,) = [one for one in above.lines if one.get_marker() == "_"]
        np.testing.assert_array_equal(height.get_xydata(), [[0.5, 0.75], [0.5, 3.0]])
        bump = labelled(above, "bump")
        assert (bump.get_xdata()[0], bump.get_ydata()[0]) == (0.5, 3.0)
        assert below.get_xlabel().startswith("position α on the line")
        assert (above.get_ylabel(), below.get_ylabel()) == ("loss", "accuracy")
        assert title(figure) == "Straight line from A = one.h5@final to B = two.h5@final"
        assert title(plot(line_between(provenance={}))) == "Straight line from A to B"

    def test_train(self):
        step = np.arange(4) * 10
        result = Train(
            step=step,
            loss=np.array([2.0, 1.0, 0.5, 0.1]),
            gradient_norm=np.array([1.0, 0.5, 0.2, 0.1]),
            step_size=np.full(4, 0.1),
            epoch=step / 10,
            test_loss=np.array([2.0, 1.5, 1.0, 1.0]),
            accuracy=np.array([0.1, 0.5, 0.8, 1.0]),
            final_loss=0.1,
            final_gradient_norm=0.1,
            num_steps=30,
            num_observations=300,
        )
        above, middle, below = plot(result).axes
        np.testing.assert_array_equal(labelled(above, "training").get_ydata(), result.loss)
        np.testing.assert_array_equal(labelled(above, "test").get_ydata(), result.test_loss)
        np.testing.assert_array_equal(middle.lines[0].get_ydata(), result.gradient_norm)
        np.testing.assert_array_equal(below.lines[0].get_ydata(), result.accuracy)
        np.testing.assert_array_equal(middle.lines[0].get_xdata(), result.epoch)
        assert (above.get_yscale(), middle.get_yscale(), below.get_yscale()) == ("log", "log", "linear")
        assert below.get_xlabel() == "passes over the data"
        result.loss = np.array([1.0, 0.5, 0.0, -0.5])
        assert plot(result).axes[0].get_yscale() == "linear"

    def test_hessian(self):
        result = at_one_point(made_up(Hessian, size=4))
        assert isinstance(result, Hessian)
        result.rank, result.eigenvalues = np.arange(1, 5), np.array([5.0, 2.0, 0.5, -1.0])
        result.residuals = np.array([0.0, 0.1, 0.2, 0.3])
        result.converged = np.array([True, True, False, False])
        axes = plot(result).axes[0]
        good, bad = axes.containers
        assert (good.get_label(), bad.get_label()) == ("converged", "not converged")
        np.testing.assert_array_equal(good[0].get_xydata(), [[1, 5], [2, 2]])
        np.testing.assert_array_equal(bad[0].get_xydata(), [[3, 0.5], [4, -1]])
        ends = np.array([segment[:, 1] for segment in bad[2][0].get_segments()])
        np.testing.assert_allclose(ends, [[0.3, 0.7], [-1.3, -0.7]])
        figure = plot(result, log=True)
        assert len(figure.axes[0].containers[1][0].get_xdata()) == 1
        assert "1 of 4 values not positive" in small_print(figure)

    def test_hessian_along_a_run(self):
        result = made_up(Hessian)
        assert isinstance(result, Hessian)
        assert result.point is not None
        above, below = plot(result).axes
        np.testing.assert_array_equal(above.containers[0][0].get_ydata(), result.eigenvalues[:, 0])
        np.testing.assert_array_equal(labelled(above, "stable up to").get_ydata(), result.stability_limit)
        overlap = labelled(below, "overlap with the point before")
        np.testing.assert_array_equal(overlap.get_ydata(), result.overlap)

    def test_every_layer_has_a_row_with_its_name(self):
        result = made_up(Hessian)
        count = 25
        result.point = np.array([f"layers.{number}.attention.query" for number in range(count)])
        result.eigenvalues = np.outer(np.geomspace(1, 100, count), [1.0, 0.5])
        result.residuals = np.zeros((count, 2))
        result.converged = np.ones((count, 2), dtype=bool)
        result.rank, result.overlap, result.stability_limit = np.arange(2) + 1, None, None
        result.gradient_in_span = np.linspace(0, 1, count)
        left, right = plot(result).axes
        for axes in (left, right):
            names = [one.get_text() for one in axes.get_yticklabels()]
            assert names == result.point.tolist()
            assert axes.yaxis_inverted()
        assert left.get_xscale() == "log"
        for number in range(2):
            drawn = left.containers[number][0].get_xydata()
            np.testing.assert_array_equal(drawn[:, 0], result.eigenvalues[:, number])
            np.testing.assert_array_equal(drawn[:, 1], np.arange(count))
        np.testing.assert_array_equal(right.lines[0].get_xdata(), result.gradient_in_span)
        result.eigenvalues[0, 0] = -1.0
        assert plot(result).axes[0].get_xscale() == "linear"

    def test_the_eigenvalues_of_every_subset_are_drawn(self):
        result = at_one_point(made_up(Hessian))
        assert isinstance(result, Hessian)
        assert result.subset_eigenvalues is not None
        line = labelled(plot(result).axes[0], "each subset of the samples")
        np.testing.assert_array_equal(line.get_ydata(), result.subset_eigenvalues.ravel())
        np.testing.assert_array_equal(line.get_xdata()[: len(result.rank)], result.rank)

    def test_every_eigenvalue_is_in_the_spectrum(self):
        """The shares add up to one, and the band about zero holds what lies in it."""
        result = at_one_point(made_up(Hessian, size=3))
        assert isinstance(result, Hessian)
        result.verdict = result.subset_eigenvalues = None
        result.rank, result.converged = np.arange(1, 3), np.array([True, True])
        result.eigenvalues = result.residuals = np.array([2.0, 1.0])
        result.spectrum, result.zero_threshold = np.array([-0.5, -1e-9, 0.0, 1e-9, 1.0, 2.0]), np.array(1e-3)
        _, linear, below = plot(result).axes
        for axes in (linear, below):
            stairs = next(one for one in axes.patches if type(one).__name__ == "StepPatch")
            heights, edges, _ = stairs.get_data()
            assert heights.sum() == pytest.approx(1)
        assert heights[(edges[:-1] == -1e-3)][0] == pytest.approx(3 / 6)

    def test_slice1d_with_draws(self):
        result = made_up(Slice1D)
        assert isinstance(result, Slice1D)
        assert result.loss_mean is not None
        assert result.loss_spread is not None
        figure = plot(result)
        axes = figure.axes[0]
        mean = labelled(axes, "mean ± s.d., 9 draws")
        np.testing.assert_array_equal(mean.get_ydata(), result.loss_mean)
        band = axes.collections[0].get_paths()[0].vertices
        low, high = result.loss_mean - result.loss_spread, result.loss_mean + result.loss_spread
        assert band[:, 1].min() == low.min()
        assert band[:, 1].max() == high.max()
        np.testing.assert_array_equal(labelled(axes, "checkpoints").get_ydata(), result.trajectory_loss)
        star = labelled(axes, "θ*")
        assert (star.get_xdata()[0], star.get_ydata()[0]) == (0, result.centre_loss)
        assert "off the line" in small_print(figure)

    def test_connect(self):
        result = made_up(Connect)
        assert isinstance(result, Connect)
        result.barrier_chord, result.barrier_chord_straight = 0.25, 0.75
        result.barrier_chord_error, result.barrier_chord_straight_error = 0.02, 0.4
        figure = plot(result)
        above, plane, below = [axes for axes in figure.axes if axes.lines]
        np.testing.assert_array_equal(labelled(above, "curve").get_ydata(), result.loss)
        np.testing.assert_array_equal(labelled(above, "straight line").get_ydata(), result.loss_straight)
        np.testing.assert_array_equal(below.lines[0].get_xydata().T, [result.epoch, result.epoch_loss])
        watched = [result.training_epoch, result.training_barrier]
        np.testing.assert_array_equal(labelled(below, "barrier").get_xydata().T, watched)
        assert labelled(above, "barrier 0.25\u00a0±\u00a00.02")
        assert labelled(above, "barrier 0.8\u00a0±\u00a00.4")
        said = small_print(figure).replace("\u00a0", " ")
        assert "barrier 0.8 ± 0.4: none beyond its error" in said
        assert "barrier 0.25 ± 0.02: none" not in said
        assert "shaded: ± standard error over the test samples" in said
        bands = [one.get_paths()[0].vertices[:, 1] for one in above.collections]
        for values, errors in (
            (result.test_loss_straight, result.test_loss_straight_error),
            (result.test_loss, result.test_loss_error),
        ):
            ends = (values - errors).min(), (values + errors).max()
            assert any((one.min(), one.max()) == pytest.approx(ends, rel=1e-12) for one in bands)
        drawn = [one.get_xydata().T.tolist() for one in plane.lines]
        assert [list(result.curve_alpha), list(result.curve_beta)] in drawn
        assert [list(result.control_alpha), list(result.control_beta)] in drawn
        assert "off the plane" in small_print(figure)
        result.plane_loss = None
        assert len([axes for axes in plot(result).axes if axes.lines]) == 2

    def test_whose_statistics_are_said_where_there_is_batch_norm(self):
        result = made_up(Connect)
        result.config = {"options": {"batchnorm": "repair"}}
        result.parameters = (Piece("layer.weight", (2, 2), 0, "weight"),)
        # A layer norm has none.
        result.parameters += (Piece("norm.weight", (2,), 4, "norm"),)
        assert "repaired" in small_print(plot(result))
        assert "taken anew" not in small_print(plot(result))
        result.notes = ["batch-norm statistics were taken anew from the data at every point of the path"]
        assert "taken anew" in small_print(plot(result))

    def test_modes(self):
        matrix = np.array([[0, 0.5, 0.25], [0.5, 0, 0.75], [0.25, 0.75, 0]])
        result = Modes(
            mode=np.array(["x", "y", "z"]),
            other=np.array(["x", "y", "z"]),
            mode_loss=np.zeros(3),
            barrier_straight=2 * matrix,
            barrier_curved=matrix,
            barrier_straight_error=0 * matrix,
            barrier_curved_error=0 * matrix,
            distance=matrix,
            tree_from=np.array([0, 0]),
            tree_to=np.array([2, 1]),
            tree_barrier=np.array([0.25, 0.5]),
            largest_barrier=0.5,
        )
        figure = plot(result)
        straight, curved, bar = figure.axes
        assert straight.images[0].norm is curved.images[0].norm
        assert (straight.images[0].norm.vmin, straight.images[0].norm.vmax) == (0.0, 1.5)
        assert bar.get_ylabel() == "barrier over the chord"
        for axes in (straight, curved):
            for axis in (axes.xaxis, axes.yaxis):
                assert [one.get_text() for one in axis.get_ticklabels()] == ["x", "y", "z"]
        for axes, values in ((straight, 2 * matrix), (curved, matrix)):
            for text in axes.texts:
                column, row = map(int, text.get_position())
                assert float(text.get_text()) == values[row, column]
            assert len(axes.texts) == 6
        outlined = {tuple(np.add(one.get_xy(), 0.5)) for one in curved.patches}
        assert outlined == {(0, 1), (1, 0), (0, 2), (2, 0)}
        assert not straight.patches
        assert "x:" not in small_print(figure)
        assert "highest barrier 0.5" in small_print(figure)

    @pytest.mark.parametrize("has_test", [False, True])
    def test_merge(self, has_test):
        rows = np.array([0.5, 0.7, 0.9, 2.0])
        result = Merge(
            of=np.array(["a", "b", "merged", "mean without alignment"]),
            loss=rows,
            loss_error=0.1 * rows,
            accuracy=None,
            test_loss=2 * rows if has_test else None,
            test_loss_error=0.2 * rows if has_test else None,
            model=np.array(["a", "b"]),
            distance_before=np.ones(2),
            distance_after=np.ones(2),
            spread=np.ones(1),
            barrier=0.3,
            barrier_soup=1.4,
            function_difference=0.0,
            num_parameters=4,
            num_movable=3,
        )
        figure = plot(result)
        (axes,) = figure.axes
        assert [one.get_text() for one in axes.get_xticklabels()] == ["a", "b", "merged", "not aligned"]
        heights = [patch.get_height() for patch in axes.patches]
        assert heights == [*rows, *(2 * rows if has_test else [])]
        assert [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"] == [0.6]
        assert ("hatched" in small_print(figure)) == has_test
        assert "0.3, 1.4 not aligned" in small_print(figure)

    def test_import_is_a_table(self):
        result = Import(final_loss=0.125, final_accuracy=0.5)
        words = [one.get_text() for one in plot(result).axes[0].texts]
        assert words == [
            "training loss of the last point",
            "0.125",
            "training accuracy of the last point",
            "0.5",
        ]


class TestOtherKinds:
    """Drawn by dimensions alone."""

    @pytest.fixture(autouse=True)
    def _registry(self, monkeypatch):
        monkeypatch.setattr("landscape.result.KINDS", dict(KINDS))

    def test_lines_over_a_coordinate(self):
        @dataclass(kw_only=True, eq=False)
        class Density(Result):
            kind = "density of the test"
            value: np.ndarray = array("value", long_name="eigenvalue", units="1/s")
            density: np.ndarray = array("value", long_name="spectral density")
            done: np.ndarray = array("value", long_name="whether")
            matrix: np.ndarray = array("value", "parameter", long_name="vectors")

        grid = np.linspace(0, 1, 5)
        result = Density(value=grid, density=grid**2, done=grid > 2, matrix=np.zeros((5, 3)))
        (axes,) = plot(result).axes
        np.testing.assert_array_equal(axes.lines[0].get_xydata().T, [grid, grid**2])
        assert axes.get_xlabel() == "eigenvalue (1/s)"
        assert axes.get_ylabel() == "spectral density"

    @pytest.mark.parametrize("kind", ["contour", "heatmap", "surface"])
    def test_fields_over_two_coordinates(self, kind):
        @dataclass(kw_only=True, eq=False)
        class Table(Result):
            kind = "table of the test"
            row: np.ndarray = array("row", long_name="batch size")
            column: np.ndarray = array("column", long_name="step size")
            value: np.ndarray = array("row", "column", long_name="final loss")
            other: np.ndarray = array("row", "column", long_name="accuracy")

        values = np.arange(6.0).reshape(2, 3)
        result = Table(
            row=np.array([8, 16]), column=np.array([0.1, 0.2, 0.4]), value=values, other=values / 6
        )
        figure = plot(result, kind=kind)
        assert figure.axes[0].get_xlabel() == "step size"
        assert figure.axes[0].get_ylabel() == "batch size"
        if kind == "heatmap":
            np.testing.assert_array_equal(meshes(figure)[0].get_array().reshape(2, 3), values)
            edges = meshes(figure)[0].get_coordinates()[0, :, 0]
            np.testing.assert_allclose(edges, [0.05, 0.15, 0.3, 0.5])

    def test_scalars_and_nothing(self):
        @dataclass(kw_only=True, eq=False)
        class Number(Result):
            kind = "number of the test"
            trace: float | None = scalar("trace of the Hessian", units="m", optional=True)
            sharp: bool | None = scalar("whether it is sharp", optional=True)

        words = [one.get_text() for one in plot(Number(trace=1e-7, sharp=True)).axes[0].texts]
        assert words == ["trace of the Hessian", "10⁻⁷ m", "whether it is sharp", "yes"]
        assert "nothing to draw" in small_print(plot(Number()))


@pytest.mark.parametrize(
    "inputs", ["not JSON", "[1]", '[{"point": "x"}]', "{}", 7, [{"path": "a.h5"}], '[{"path": "a.h5"}]']
)
def test_provenance_of_others_does_no_harm(inputs):
    assert title(plot(plane(provenance={"inputs": inputs}))).startswith("Loss on a plane")


def test_names_are_taken_as_they_stand():
    name = "a_{$x^2$}_\\frac漢字_" + "long" * 20 + ".h5"
    figure = plot(line_between(provenance={"inputs": json.dumps([{"path": name}, {"path": "b.h5"}])}))
    assert r"a_{\$x^2\$}_\fra" in title(figure)
    renderer = figure.canvas.get_renderer()
    (heading,) = [one for one in figure.texts if one.get_text() == figure.get_suptitle()]
    box, page = heading.get_window_extent(renderer), figure.bbox
    assert box.x0 >= 0
    assert box.x1 <= page.width


def test_words_are_wrapped_by_their_width():
    text = wrapped("several words and averyveryveryverylongone that must be broken", 1.0)
    assert all(text_inches(row, 8) <= 1.0 for row in text.split("\n"))
    assert (
        text.replace("\n", "").replace(" ", "") == "severalwordsandaveryveryveryverylongonethatmustbebroken"
    )
    assert wrapped("漢 costs $5", 3) == r"□ costs \$5"


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.5, "0.5"), (-1e-7, "−10⁻⁷"), (2.5e10, "2.5×10¹⁰"), (np.nan, "nan"), (1000, "10³")],
)
def test_short(value, written):
    assert short(value) == written


def test_cell_edges_lie_midway():
    np.testing.assert_array_equal(cell_edges(np.array([0.0, 1.0, 3.0])), [-0.5, 0.5, 2.0, 4.0])
    np.testing.assert_array_equal(cell_edges(np.array([2.0])), [1.5, 2.5])
    assert len(cell_edges(np.zeros(0))) == 0


@pytest.mark.parametrize("count", [2, 3, 7, 15, 50])
@pytest.mark.parametrize(
    ("low", "high", "log"),
    [
        (0.0, 1.0, False),
        (-3.0, 2.0, False),
        (1e-8, 1e8, True),
        (0.027, 6.3, True),
        (2.0, 2.9, True),
        (1.0, 10.0, True),
    ],
)
def test_levels_cover_the_range_in_order(low, high, log, count):
    levels = levels_between(low, high, count, log)
    assert 2 <= len(levels) <= count + 2
    assert (np.diff(levels) > 0).all()
    assert levels[0] <= low
    assert levels[-1] >= high


def test_the_public_name():
    assert landscape.plot is plot
