"""What other programs read: opened again by plain readers, which recompute the points."""

import csv
import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from pictured import line_between, plane, with_run

from landscape.errors import BadInput
from landscape.plots import plot
from landscape.result import Result


def arrays_of(path) -> dict[str, np.ndarray]:
    """Every data array of a VTK file by its name, read with nothing but an XML parser."""
    found = {}
    for one in ElementTree.parse(path).iter("DataArray"):
        kind = {"Float64": float, "Int64": int, "UInt8": int}[one.attrib["type"]]
        numbers = np.array([kind(word) for word in (one.text or "").split()])
        parts = int(one.attrib["NumberOfComponents"])
        found[one.attrib["Name"]] = numbers.reshape(-1, parts) if parts > 1 else numbers
    return found


@pytest.mark.parametrize("log", [False, True])
def test_a_surface_for_paraview_holds_every_point(tmp_path, log):
    result = plane(accuracy=np.linspace(0, 1, 35).reshape(5, 7))
    plot(result, tmp_path / "a.vts", kind="surface", log=log)
    root = ElementTree.parse(tmp_path / "a.vts").getroot()
    assert root.attrib["type"] == "StructuredGrid"
    assert {one.attrib["Extent"] for one in root.iter("Piece")} == {"0 6 0 4 0 0"}
    found = arrays_of(tmp_path / "a.vts")
    # Recomputed, point by point: the first index runs fastest.
    expected = [
        (a, b, np.log10(0.5 + (a - 0.5) ** 2 + b**2) if log else 0.5 + (a - 0.5) ** 2 + b**2)
        for b in result.beta.tolist()
        for a in result.alpha.tolist()
    ]
    np.testing.assert_allclose(found["points"], expected, rtol=1e-15, atol=1e-15)
    np.testing.assert_array_equal(found["loss"], result.loss.ravel())
    np.testing.assert_array_equal(found["accuracy"], result.accuracy.ravel())
    assert not found["vtkGhostType"].any()


def test_gaps_are_hidden_and_no_number_is_missing(tmp_path):
    loss = plane().loss.copy()
    loss[1, 2], loss[4, 0] = np.nan, np.inf
    plot(plane(loss), tmp_path / "a.vts")
    found = arrays_of(tmp_path / "a.vts")
    unknown = np.flatnonzero(~np.isfinite(loss.ravel()))
    np.testing.assert_array_equal(np.flatnonzero(found["vtkGhostType"]), unknown)
    np.testing.assert_array_equal(np.flatnonzero(found["loss_known"] == 0), unknown)
    assert all(np.isfinite(one).all() for one in found.values())


def test_a_trajectory_for_paraview_is_a_line_through_its_points(tmp_path):
    result = with_run()
    plot(result, tmp_path / "a.vtp")
    found = arrays_of(tmp_path / "a.vtp")
    parts = result.trajectory_alpha, result.trajectory_beta, result.trajectory_loss
    np.testing.assert_array_equal(found["points"], np.stack(parts, axis=1))
    np.testing.assert_array_equal(found["connectivity"], [0, 1, 2])
    np.testing.assert_array_equal(found["offsets"], [3])
    np.testing.assert_array_equal(found["residual"], result.trajectory_residual)
    with pytest.raises(BadInput, match="without a trajectory"):
        plot(plane(), tmp_path / "b.vtp")


def test_a_table_brings_every_number_back(tmp_path):
    result = plane(plane().loss / 3)
    plot(result, tmp_path / "a.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))
    assert len(rows) == 35
    for name, values in (
        ("loss", result.loss.ravel()),
        ("alpha", np.tile(result.alpha, 5)),
        ("beta", np.repeat(result.beta, 7)),
    ):
        np.testing.assert_array_equal([float(row[name]) for row in rows], values)
    assert {row["done"] for row in rows} == {"1"}
    plot(line_between(), tmp_path / "b.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "b.csv").read_text())))
    np.testing.assert_array_equal([float(row["loss"]) for row in rows], line_between().loss)


@pytest.mark.parametrize("ending", ["vts", "vtp", "csv", "html"])
def test_what_has_no_surface_is_refused_and_nothing_is_left(tmp_path, ending):
    pytest.importorskip("plotly", reason="the page needs plotly")
    with pytest.raises(BadInput):
        plot(Result(), tmp_path / f"a.{ending}")
    with pytest.raises(BadInput, match="2 results in one"):
        plot([plane(), plane()], tmp_path / f"a.{ending}")
    assert list(tmp_path.iterdir()) == []
