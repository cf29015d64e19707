"""Results as people meet them: in a prompt, in a notebook, as rows, as a dataset, saved and drawn."""

import base64
import dataclasses
import html
import importlib.util
import io
import json
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import matplotlib.figure
import numpy as np
import pytest
import xarray
from PIL import Image

import landscape
from landscape.analyses import FUNCTIONS
from landscape.errors import BadInput
from landscape.result import KINDS, Check, Result, array, file_name, folded, scalar

FILES = Path(__file__).parent / "files"
OURS = sorted(FUNCTIONS)


@pytest.fixture(scope="module")
def measured() -> dict[str, Result]:
    """A small result of every kind, as the functions return it."""
    spec = importlib.util.spec_from_file_location("make_v1", FILES / "make_v1.py")
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return {**made.of_one_product(), **made.of_small_nets()}


@pytest.fixture(params=[f"{kind} {where}" for kind in OURS for where in ("measured", "opened")])
def result(request, measured) -> Result:
    kind, where = request.param.split()
    return measured[kind] if where == "measured" else landscape.load(FILES / f"v1-{kind}.h5")


@pytest.fixture
def _registry(monkeypatch):
    """What a test declares is forgotten after it."""
    monkeypatch.setattr("landscape.result.KINDS", dict(KINDS))


@pytest.fixture
def toy(_registry) -> Result:
    @dataclass(kw_only=True, eq=False)
    class Toy(Result):
        kind = "toy"
        x: np.ndarray = array("x", long_name="place", units="m")
        name: np.ndarray = array("x", long_name="what is there")
        y: np.ndarray = array("x", "z", long_name="value")
        single: np.ndarray = array("z", long_name="another")
        loss: float = scalar("loss")
        word: str = scalar("a word")

    return Toy(
        x=np.array([1.0, 2.0]),
        name=np.array(["a<b", "c"]),
        y=np.full((2, 3), 123.456),
        single=np.arange(3),
        loss=0.25,
        word="w" * 100,
        checks=[Check("close", 1.0, 2.0, ""), Check("far", 3.0, 2.0, "")],
        notes=["one"],
    )


class TestRepr:
    def test_every_kind_in_ten_short_lines(self, result):
        text = repr(result)
        lines = text.splitlines()
        assert len(lines) <= 10
        assert max(map(len, lines)) <= 100
        assert lines[0] == f"{type(result).__name__}: {result.status}"
        passed = sum(check.passed for check in result.checks)
        assert f"  checks: {passed} passed" in lines
        first = next(result.arrays(), None)
        if first is not None:
            shape = " × ".join(f"{d} {n}" for d, n in zip(first.dims, first.values.shape, strict=True))
            assert f"  arrays: {first.name} ({shape})" in text

    def test_says_what_there_is(self, toy):
        assert repr(toy) == (
            "Toy: failed-checks\n"
            "  scalars: loss 0.25, word " + "w" * 39 + "…\n"
            "  arrays: x (x 2), name (x 2), y (x 2 × z 3), single (z 3)\n"
            "  checks: 1 passed, far failed\n"
            "  notes: 1"
        )

    def test_never_the_numbers_of_an_array(self, toy):
        assert "123" not in repr(toy)
        assert "c" not in re.findall(r"\w+", repr(toy))

    @pytest.mark.usefixtures("_registry")
    def test_a_kind_with_a_text_of_its_own_keeps_it(self):
        @dataclass(kw_only=True, eq=False)
        class Own(Result):
            kind = "own text"

            def __repr__(self) -> str:
                return "mine"

        assert repr(Own()) == "mine"

    def test_what_is_left_out_is_counted(self, toy):
        toy.states = {f"epoch={i}": {} for i in range(500)}
        toy.checks = [Check(f"check number {i}", 1.0, 0.0, "") for i in range(200)]
        lines = repr(toy).splitlines()
        assert len(lines) <= 10
        (points,) = (line for line in lines if line.startswith("  points: epoch=0, epoch=1,"))
        shown = points.count("epoch=")
        assert points.endswith(f" and {500 - shown} more")
        assert shown > 5


class TestFolded:
    @pytest.mark.parametrize("width", [30, 50, 100])
    @pytest.mark.parametrize("lines", [1, 2, 5])
    @pytest.mark.parametrize("count", [0, 1, 5, 40])
    def test_nothing_is_lost_or_broken(self, count, lines, width):
        parts = [f"name {i}" for i in range(count)]
        found = folded("title: ", parts, lines=lines, width=width)
        assert len(found) <= lines
        assert max(map(len, found)) <= width
        shown = re.findall(r"name \d+", "\n".join(found))
        assert shown == parts[: len(shown)]
        more = re.search(r" (\d+) more", " ".join(found))
        assert len(shown) + (int(more[1]) if more else 0) == count

    def test_a_part_longer_than_the_room_is_counted(self):
        assert folded("a: ", ["x" * 300], lines=2, width=40) == ["a: and 1 more"]


class TestHtml:
    @pytest.mark.parametrize("kind", OURS)
    def test_every_kind_has_its_table_and_its_picture(self, measured, kind):
        result = measured[kind]
        text = result._repr_html_()
        assert len(text) <= 85_000
        titles = re.findall(r"<th>(.*?)</th>", text)
        assert titles[0] == type(result).__name__
        assert "checks" in titles
        (picture,) = re.findall(r'<img alt="(.*?)" src="data:image/png;base64,(.*?)">', text)
        assert picture[0] == result.kind
        assert base64.b64decode(picture[1]).startswith(b"\x89PNG\r\n\x1a\n")

    @pytest.mark.parametrize("kind", ["slice2d", "train"])
    def test_few_colours_are_the_colours_of_the_picture(self, measured, kind):
        result = measured[kind]
        figure, whole = result.plot(), io.BytesIO()
        figure.savefig(whole, format="png", dpi=200)
        drawn = np.asarray(Image.open(whole).convert("RGB"), dtype=int)
        (inlined,) = re.findall(r"base64,(.*?)\"", result._repr_html_())
        small = Image.open(io.BytesIO(base64.b64decode(inlined)))
        assert small.mode == "P"
        shown = np.asarray(small.convert("RGB"), dtype=int)
        assert shown.shape == drawn.shape
        assert np.abs(shown - drawn).mean() < 1.5  # of 255
        assert (np.abs(shown - drawn).max(axis=-1) > 48).mean() < 0.002

    def test_every_text_is_escaped(self, toy):
        toy.checks = [Check("a<b>", 2.0, 1.0, "")]
        text = toy._repr_html_()
        assert html.escape("a<b> failed") in text
        assert "<b>" not in text

    def test_the_table_alone_where_nothing_can_be_drawn(self, toy, monkeypatch):
        def fails(*_: object, **__: object) -> None:
            raise RuntimeError("no picture")

        monkeypatch.setattr(type(toy), "plot", fails)
        text = toy._repr_html_()
        assert text.startswith("<table>")
        assert text.endswith("</table>")
        assert "<img" not in text

    def test_a_picture_too_large_is_made_smaller_then_left_out(self, toy, monkeypatch):
        def size(limit: int) -> int:
            monkeypatch.setattr("landscape.result.INLINE_BYTES", limit)
            found = re.findall(r"base64,(.*?)\"", toy._repr_html_())
            return len(base64.b64decode(found[0])) if found else 0

        whole = size(10**9)
        smaller = size(whole - 1)
        assert 0 < smaller < whole
        assert size(100) == 0


class TestPlotAndSave:
    def test_plot_is_that_of_landscape(self, toy, tmp_path):
        figure = toy.plot(tmp_path / "a.png", log=True)
        assert isinstance(figure, matplotlib.figure.Figure)
        landscape.plot(toy, tmp_path / "b.png", log=True)
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()

    def test_plot_takes_every_option(self, measured, tmp_path):
        plane = measured["slice2d"]
        for name, options in {"s": {"kind": "surface"}, "l": {"levels": [0.1, 0.5, 1.0]}}.items():
            plane.plot(tmp_path / f"{name}1.png", **options)
            landscape.plot(plane, tmp_path / f"{name}2.png", **options)
            assert (tmp_path / f"{name}1.png").read_bytes() == (tmp_path / f"{name}2.png").read_bytes()
        with pytest.raises(BadInput, match="unknown kind"):
            plane.plot(kind="nothing")

    def test_what_is_saved_is_loaded(self, toy, tmp_path):
        """Also of a kind that no table lists, while its class is there."""
        toy.save(str(tmp_path / "a.h5"))
        again = landscape.load(tmp_path / "a.h5")
        assert type(again) is type(toy)
        assert repr(again) == repr(toy)

    def test_a_kind_that_nothing_declares_is_refused(self, toy, tmp_path, monkeypatch):
        toy.save(tmp_path / "a.h5")
        monkeypatch.delitem(sys.modules["landscape.result"].KINDS, "toy")
        with pytest.raises(BadInput, match=r"holds a 'toy'; expected one of align, basins, .*train; update"):
            landscape.load(tmp_path / "a.h5")


class TestTable:
    def test_rows_over_the_dimension_with_most_arrays(self, toy):
        assert toy.table() == [{"x": 1.0, "name": "a<b"}, {"x": 2.0, "name": "c"}]

    def test_rows_over_another_dimension(self, toy):
        assert toy.table("z") == [{"single": 0}, {"single": 1}, {"single": 2}]

    def test_other_dimensions_are_refused(self, toy):
        with pytest.raises(BadInput, match="no one-dimensional array over 'w'; expected one of x, z"):
            toy.table("w")

    def test_no_rows_where_there_is_no_array(self, measured):
        assert measured["import"].table() == []

    def test_every_kind(self, result):
        for dimension in {one.dims[0] for one in result.arrays() if len(one.dims) == 1}:
            rows = result.table(dimension)
            for one in result.arrays():
                if one.dims == (dimension,):
                    np.testing.assert_array_equal([row[one.name] for row in rows], one.values)
                else:
                    assert not rows or one.name not in rows[0]

    def test_a_run(self, measured):
        run = measured["train"]
        assert [row["loss"] for row in run.table()] == run.loss.tolist()
        assert [row["step"] for row in run.table()] == list(range(9))


class TestXarray:
    def test_is_the_dataset_of_the_file(self, result, tmp_path):
        result.save(tmp_path / "a.h5")
        ours = result.to_xarray()
        with xarray.open_dataset(tmp_path / "a.h5", engine="h5netcdf") as file:
            assert set(ours.coords) == set(file.coords)
            assert dict(ours.sizes) == dict(file.sizes)
            np.testing.assert_equal({name: file.attrs[name] for name in ours.attrs}, dict(ours.attrs))
            # Kinds and numbers, dimensions, long names and units.
            xarray.testing.assert_identical(ours.assign_attrs(file.attrs), file)

    def test_without_xarray_the_remedy_is_named(self, toy, monkeypatch):
        monkeypatch.setitem(sys.modules, "xarray", None)
        with pytest.raises(BadInput, match=r"pip install torch-landscape\[xarray\]"):
            toy.to_xarray()


def test_file_names():
    assert [file_name(kind) for kind in ("train", "import", "class")] == ["train", "import_", "class_"]


def test_a_check_of_numpy_numbers_is_json(measured):
    result = replace(measured["train"], checks=[Check("one", np.float64(1), np.float64(2), "")])
    assert json.loads(json.dumps(result.as_json()))["checks"][0]["passed"] is True


def test_json_says_infinities_with_their_sign_and_holds_arrays_up_to_its_limit():
    @dataclasses.dataclass(kw_only=True, eq=False)
    class Few(Result):
        json_limit: ClassVar[int] = 3
        three: np.ndarray = array("x", long_name="three")
        four: np.ndarray = array("y", long_name="four")

    values = Few(three=np.array([np.inf, -np.inf, np.nan]), four=np.zeros(4)).as_json()["values"]
    assert values == {"three": ["Infinity", "-Infinity", "NaN"]}
