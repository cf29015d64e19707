"""Files of tomgoldstein/loss-landscape: written here as its scripts do, read, and read again as its plots would."""

import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from pictured import plane
from torch import nn

import landscape
from landscape import BadInput, Objective, export_surface, import_surface, load, plot
from landscape.runs.surface_files import fractions, percent_of

SAMPLES = 50_000


def loss_at(x: float, y: float = 0.0) -> float:
    return 0.25 + x * x + 0.5 * x * y + 2 * y**4


def correct_at(x: float, y: float = 0.0) -> int:
    return round(SAMPLES * math.exp(-loss_at(x, y)))


def theirs(path: Path, x, y=None, left_out=(), test=False, **more) -> Path:
    """A file as ``plot_surface.py`` makes it, cell by cell in the order of its scheduler."""
    x = np.asarray(x, dtype=float)
    shape = x.shape if y is None else (len(x), len(y))
    arrays = {name: -np.ones(shape) for name in ("train_loss", "train_acc")}
    if test:
        arrays |= {name: -np.ones(shape) for name in ("test_loss", "test_acc")}
    # Cell k of the arrays as they lie in memory is at the k-th place of a grid whose rows are y.
    places = [(a, 0.0) for a in x] if y is None else [(a, b) for b in y for a in x]
    for k, place in enumerate(places):
        if k in left_out:
            continue
        arrays["train_loss"].ravel()[k] = loss_at(*place)
        arrays["train_acc"].ravel()[k] = 100.0 * correct_at(*place) / SAMPLES
        if test:
            arrays["test_loss"].ravel()[k] = 1.5 * loss_at(*place)
            arrays["test_acc"].ravel()[k] = 100.0 * (correct_at(*place) // 7) / 10_007
    with h5py.File(path, "w") as file:
        file["dir_file"] = "nets/model_300.t7_weights_xnorm=filter.h5"
        file["xcoordinates"] = x
        if y is not None:
            file["ycoordinates"] = np.asarray(y, dtype=float)
        for name, values in {**arrays, **more}.items():
            if values is not None:
                file[name] = values
    return path


def contents(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {name: one[()] for name, one in file.items() if name != "dir_file"}


def small_print(figure: Figure) -> str:
    return " ".join(figure.get_supxlabel().split())


def same(one: Any, other: Any) -> bool:
    """Bit for bit."""
    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    return one.shape == other.shape and one.tobytes() == other.tobytes()


AXIS = np.linspace(-1, 1, 5)
LONG = np.linspace(-0.5, 1.5, 9)


@pytest.mark.parametrize(("x", "y"), [(AXIS, AXIS), (AXIS, LONG), (LONG, AXIS)], ids=["5x5", "5x9", "9x5"])
def test_a_plane_has_the_loss_of_every_place(tmp_path, x, y):
    result: Any = import_surface(theirs(tmp_path / "x.h5", x, y, test=True))
    assert (result.kind, result.status) == ("slice2d", "complete")
    assert same(result.alpha, x)
    assert same(result.beta, y)
    for i, b in enumerate(y):
        for j, a in enumerate(x):
            assert result.loss[i, j] == loss_at(a, b)
            assert result.accuracy[i, j] == correct_at(a, b) / SAMPLES
            assert result.test_loss[i, j] == 1.5 * loss_at(a, b)
            assert result.test_accuracy[i, j] == (correct_at(a, b) // 7) / 10_007
    assert result.done.all()
    assert result.centre_loss == loss_at(0)
    assert (result.directions, result.gram, result.trajectory_alpha) == (None, None, None)
    assert any("taken by number" in note for note in result.notes) == (len(x) != len(y))
    assert (
        load(tmp_path / "x.slice2d.h5").headline
        == result.headline
        == f"loss 0.25 at θ*, up to {result.loss.max():.3g}"
    )


def test_a_line_has_the_loss_of_every_place(tmp_path):
    result: Any = import_surface(str(theirs(tmp_path / "x.h5", LONG, train_acc=None)))
    assert result.kind == "slice1d"
    assert result.loss.tolist() == [loss_at(a) for a in LONG]
    assert result.accuracy is None
    assert (tmp_path / "x.slice1d.h5").exists()


def test_it_says_that_it_was_computed_elsewhere_and_what_nobody_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result: Any = import_surface(theirs(Path("x.h5"), AXIS, AXIS), "mine.h5")
    stored = load("mine.h5").provenance
    assert stored == result.provenance
    assert stored["computed"] == "elsewhere"
    assert stored["command"] == "landscape.import_surface('x.h5', output='mine.h5')"
    assert "no" in stored["assumed"]
    assert "which module, data and directions" not in " ".join(result.notes)
    assert not {"torch", "seed", "device", "dtype"} & set(stored)
    assert [one["path"] for one in json.loads(stored["inputs"])] == ["x.h5"]
    assert result.checks == []
    assert any("model_300.t7_weights_xnorm=filter.h5" in note for note in result.notes)
    assert "computed elsewhere, not checked" in small_print(plot(result))


def test_cells_that_were_not_computed_are_no_losses(tmp_path):
    result: Any = import_surface(theirs(tmp_path / "x.h5", AXIS, AXIS, left_out=(3, 12, 24), test=True))
    assert result.outcome == "interrupted"
    absent = np.zeros(25, dtype=bool)
    absent[[3, 12, 24]] = True
    for values in (result.loss, result.accuracy, result.test_loss, result.test_accuracy):
        np.testing.assert_array_equal(np.isnan(values).ravel(), absent)
    np.testing.assert_array_equal(~result.done.ravel(), absent)
    assert math.isnan(result.centre_loss)  # the cell in the middle is one of them
    assert result.headline.startswith("no finite loss at θ*, up to ")
    assert any(note.startswith("3 of 25 cells were not computed") for note in result.notes)
    assert "3 of 25 cells not computed" in small_print(plot(result))
    # The same call reads again what may have grown.
    theirs(tmp_path / "x.h5", AXIS, AXIS)
    assert import_surface(tmp_path / "x.h5", overwrite=True).status == "complete"


def test_nan_was_computed_and_a_negative_loss_is_one(tmp_path):
    loss = np.arange(25.0).reshape(5, 5) - 7.5
    loss[1, 2], loss[2, 2] = np.nan, np.inf
    result: Any = import_surface(theirs(tmp_path / "x.h5", AXIS, AXIS, train_loss=loss, train_acc=None))
    assert result.done.all()
    assert result.outcome == "complete"
    assert same(result.loss, loss)
    assert any("2 of 25 losses are NaN or infinite" in note for note in result.notes)


def test_a_grid_beside_the_centre_has_no_loss_there(tmp_path):
    result: Any = import_surface(theirs(tmp_path / "x.h5", np.linspace(-1, 1, 4), AXIS))
    assert math.isnan(result.centre_loss)
    assert any("θ* is not on the grid" in note for note in result.notes)
    for kind in ("contour", "surface"):
        assert isinstance(plot(result, kind=kind), Figure)
    # Rounding of the coordinates moves nobody off the grid.
    nearly = AXIS + 1e-17 * (AXIS == 0)
    assert import_surface(theirs(tmp_path / "n.h5", nearly, AXIS)).scalars()["centre_loss"] == loss_at(0)


@pytest.mark.parametrize("samples", [1, 2, 3, 7, 10, 150, 1797, 10_000, 50_000, 1_281_167])
def test_accuracies_come_back_bit_for_bit(samples):
    counts = np.unique(np.linspace(0, samples, 400).astype(int)).tolist()
    there = np.array([100.0 * count / samples for count in counts])
    here = np.array([count / samples for count in counts])
    assert same(fractions(there), here)
    assert same(percent_of(here), there)
    assert np.isnan(fractions(np.array([np.nan]))).all()


def test_without_counts_they_come_back_to_rounding():
    values = np.random.default_rng(0).uniform(0, 100, 500)
    assert np.abs(percent_of(fractions(values)) / values - 1).max() <= 2**-51


@pytest.mark.parametrize(
    ("x", "y"), [(AXIS, AXIS), (LONG, AXIS), (LONG, None)], ids=["square", "oblong", "line"]
)
@pytest.mark.parametrize("left_out", [(), (2, 5)], ids=["whole", "stopped"])
@pytest.mark.parametrize("test", [False, True], ids=["train", "test"])
def test_there_and_back_bit_for_bit(tmp_path, x, y, left_out, test):
    before = contents(theirs(tmp_path / "x.h5", x, y, left_out, test))
    result = import_surface(tmp_path / "x.h5")
    export_surface(result, tmp_path / "y.h5")
    after = contents(tmp_path / "y.h5")
    assert after.keys() == before.keys()
    for name, values in before.items():
        # Pictures want rows of y; the cells lie in memory as they did.
        assert same(after[name].ravel(), values.ravel()), name
    again = import_surface(tmp_path / "y.h5")
    for one, other in zip(result.arrays(), again.arrays(), strict=True):
        np.testing.assert_array_equal(one.values, other.values)


def test_a_test_loss_that_is_nan_goes_back_as_nan_and_one_not_computed_as_the_mark(tmp_path):
    loss, accuracy = np.ones((5, 5)), np.full((5, 5), 50.0)
    loss[0, 0], (loss[1, 1], accuracy[1, 1]) = np.nan, (-1, -1)
    surface = theirs(tmp_path / "x.h5", AXIS, AXIS, test=True, test_loss=loss, test_acc=accuracy)
    result: Any = import_surface(surface)
    assert np.isnan(result.test_loss).sum() == 2
    assert any(note.startswith("2 of 25 test losses") for note in result.notes)
    export_surface(result, tmp_path / "y.h5")
    after = contents(tmp_path / "y.h5")
    assert same(after["test_loss"], loss)
    assert same(after["test_acc"], accuracy)


def net(seed: int = 0) -> Objective:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
        data = torch.randn(37, 3), torch.randint(3, (37,))
    return Objective(module, "cross_entropy", data)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"draws": 2},
        {"curvature": True},
        {"directions": "pca", "show_trajectory": True},
    ],
    ids=["random", "draws", "curvature", "pca"],
)
def test_a_plane_of_ours_comes_back_bit_for_bit(tmp_path, options):
    objective = net()
    test = Objective(objective.module, "cross_entropy", (torch.randn(11, 3), torch.arange(11) % 3))
    theta = objective.theta
    if "directions" in options:
        points = [objective.as_point(theta + k * torch.sin(k + torch.arange(len(theta)))) for k in range(4)]
        options = {**options, "trajectory": points[::-1]}
    ours = landscape.slice2d(objective, theta, test=test, num_points=5, **options)
    export_surface(ours, tmp_path / "x.h5")
    back: Any = import_surface(tmp_path / "x.h5")
    names = ["alpha", "beta", "loss", "done", "accuracy", "test_loss", "test_accuracy"]
    names += ["lambda_max", "lambda_min", "curvature_ratio"] if "curvature" in options else []
    names += ["trajectory_alpha", "trajectory_beta", "explained_variance"] if "directions" in options else []
    for name in names:
        assert getattr(ours, name) is not None
        assert same(getattr(back, name), getattr(ours, name)), name
    assert back.centre_loss == ours.centre_loss
    assert (back.lambda_max is None) == ("curvature" not in options)
    assert (back.trajectory_alpha is None) == ("directions" not in options)


def test_of_several_runs_the_first_is_their_line(tmp_path):
    places = {"trajectory_alpha": np.array([0.1, 0.2, 0.3, 0.4]), "trajectory_beta": np.arange(4.0)}
    more = {"trajectory_loss": np.ones(4), "trajectory_residual": np.zeros(4), "run": np.array(["a", "b"])}
    both = plane(**places, **more, trajectory_run=np.array([0, 1, 0, 1]))
    export_surface(both, tmp_path / "x.h5")
    back: Any = import_surface(tmp_path / "x.h5")
    assert (back.trajectory_alpha.tolist(), back.trajectory_beta.tolist()) == ([0.1, 0.3], [0.0, 2.0])


@pytest.mark.parametrize("named", [np.arange(3), "", None], ids=["numbers", "empty", "a group"])
def test_what_is_no_name_of_directions_is_not_told(tmp_path, named):
    surface = theirs(tmp_path / "x.h5", AXIS, AXIS)
    with h5py.File(surface, "a") as file:
        del file["dir_file"]
        if named is None:
            file.create_group("dir_file")
        else:
            file["dir_file"] = named
    assert import_surface(surface).notes == []


def test_a_line_of_ours_comes_back_bit_for_bit(tmp_path):
    objective = net(1)
    ours = landscape.slice1d(objective, objective.theta, num_points=9)
    ours.save(tmp_path / "a.h5")
    export_surface(tmp_path / "a.h5", tmp_path / "x.hdf5")
    back: Any = import_surface(tmp_path / "x.hdf5")
    assert all(same(getattr(back, name), getattr(ours, name)) for name in ("alpha", "loss", "accuracy"))


# --- what their scripts make of a file, in words of our own -------------------------------------


def as_their_contours(path: Path, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``plot_2D.py --surf_file``: a mesh of both coordinates and the values over it, which contours must accept."""
    with h5py.File(path, "r") as file:
        x, y = (np.array(file[one][:]) for one in ("xcoordinates", "ycoordinates"))
        assert name in file
        values = np.array(file[name][:])
    across, along = np.meshgrid(x, y)
    assert len(x) > 1
    assert len(y) > 1
    Figure().subplots().contour(across, along, values, levels=np.arange(0.1, 10, 0.5))
    return across, along, values


def as_their_trajectory(surface: Path, directions: Path, projection: Path) -> tuple[Any, ...]:
    """``plot_2D.py --surf_file --dir_file --proj_file``: contours, the run on them, two shares for the axes."""
    across, along, values = as_their_contours(surface, "train_loss")
    figure = Figure().subplots()
    figure.contour(across, along, values, levels=np.logspace(1, 8, num=8))
    with h5py.File(projection, "r") as file:
        (line,) = figure.plot(file["proj_xcoord"][:], file["proj_ycoord"][:])
    with h5py.File(directions, "r") as file:
        first, second = (file["explained_variance_ratio_"][i] for i in (0, 1))
    return line.get_xydata(), first, second


def as_their_line(path: Path) -> dict[str, np.ndarray]:
    """``plot_1D.py --surf_file``: losses and accuracies of training, which must be there, and both of the test."""
    with h5py.File(path, "r") as file:
        names = ["train_loss", "train_acc", *(["test_loss", "test_acc"] if "test_loss" in file else [])]
        found = {name: file[name][:] for name in ["xcoordinates", *names]}
    axes = Figure().subplots()
    for name in names:
        axes.plot(found["xcoordinates"], found[name])
    return found


@pytest.mark.filterwarnings("ignore:No contour levels were found")
@pytest.mark.parametrize(("x", "y"), [(AXIS, AXIS), (AXIS, LONG)], ids=["square", "oblong"])
def test_their_contours_are_of_the_places_they_are_drawn_at(tmp_path, x, y):
    export_surface(import_surface(theirs(tmp_path / "x.h5", x, y, test=True)), tmp_path / "y.h5")
    for name, factor in (("train_loss", 1.0), ("test_loss", 1.5)):
        across, along, values = as_their_contours(tmp_path / "y.h5", name)
        for a, b, value in zip(across.ravel(), along.ravel(), values.ravel(), strict=True):
            assert value == factor * loss_at(a, b)
    _, _, percent = as_their_contours(tmp_path / "y.h5", "train_acc")
    assert percent[0, 0] == 100.0 * correct_at(x[0], y[0]) / SAMPLES


@pytest.mark.filterwarnings("ignore:No contour levels were found")
def test_one_file_serves_them_as_surface_directions_and_projection(tmp_path):
    with h5py.File(tmp_path / "p.h5", "w") as file:
        file["proj_xcoord"], file["proj_ycoord"] = np.linspace(0.9, 0, 4), np.linspace(0.5, 0, 4) ** 2
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["explained_variance_ratio_"] = np.array([0.7, 0.2])
    surface = theirs(tmp_path / "x.h5", AXIS, AXIS)
    result: Any = import_surface(surface, proj_file=tmp_path / "p.h5", dir_file=tmp_path / "d.h5")
    files = json.loads(result.provenance["sources"])
    assert [Path(one["path"]).name for one in files] == ["p.h5", "d.h5"]
    one = tmp_path / "y.h5"
    export_surface(result, one)
    line, first, second = as_their_trajectory(one, one, one)
    assert (first, second) == (0.7, 0.2)
    assert same(line[:, 0], np.linspace(0.9, 0, 4))
    assert same(line[:, 1], np.linspace(0.5, 0, 4) ** 2)
    figure = plot(result)
    told = small_print(figure)
    assert "how far off the plane is not known" in told
    assert "the directions hold 90% of the run's variance" in told
    assert "component 1 (70% of variance)" in figure.axes[0].get_xlabel()
    turned = small_print(plot(result, kind="surface"))
    assert "checkpoints of unknown loss are not drawn on the surface" in turned
    assert "ring" not in turned


def test_their_line_finds_all_that_it_asks_for(tmp_path):
    theirs(tmp_path / "x.h5", LONG, train_acc=None)
    export_surface(import_surface(tmp_path / "x.h5"), tmp_path / "y.h5")
    found = as_their_line(tmp_path / "y.h5")
    assert found["train_loss"].tolist() == [loss_at(a) for a in LONG]
    assert found["train_acc"].tolist() == [-1.0] * 9  # not computed
    export_surface(import_surface(theirs(tmp_path / "t.h5", LONG, test=True)), tmp_path / "u.h5")
    assert as_their_line(tmp_path / "u.h5")["test_loss"].tolist() == [1.5 * loss_at(a) for a in LONG]


def test_eigenvalues_beside_the_losses(tmp_path):
    largest, smallest = np.arange(25.0).reshape(5, 5) + 1, -np.arange(25.0).reshape(5, 5) / 3
    largest[2, 3], smallest[2, 3] = -1, 1  # as they begin
    surface = theirs(tmp_path / "x.h5", AXIS, AXIS, max_eig=largest, min_eig=smallest)
    result: Any = import_surface(surface)
    assert np.isnan(result.lambda_max[2, 3])
    known = np.isfinite(result.lambda_max)
    assert known.sum() == 24
    np.testing.assert_array_equal(result.curvature_ratio[known], np.abs(smallest / largest)[known])
    export_surface(result, tmp_path / "y.h5")
    after = contents(tmp_path / "y.h5")
    assert same(after["max_eig"], largest)
    assert same(after["min_eig"], smallest)
    begun = theirs(tmp_path / "b.h5", AXIS, AXIS, max_eig=-np.ones((5, 5)), min_eig=np.ones((5, 5)))
    assert import_surface(begun).scalars().keys() == {"centre_loss"}
    assert load(tmp_path / "b.slice2d.h5").to_xarray().get("lambda_max") is None


# --- the commands --------------------------------------------------------------------------------


def test_every_command_takes_it_like_a_slice(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    theirs(Path("x.h5"), AXIS, LONG)
    done = command("import-surface", "x.h5", "--json")
    assert (done.code, done.json["output"], done.json["kind"]) == (0, "x.slice2d.h5", "slice2d")
    assert done.json["values"]["centre_loss"] == loss_at(0)
    again = command("import-surface", "x.h5")
    assert "already there" in again.out
    shown = command("show", "x.slice2d.h5")
    assert "assumed: that x.h5 is right" in " ".join(shown.out.split())
    assert "computed elsewhere" in " ".join(shown.out.split())
    for ending in ("png", "vts", "csv"):
        assert command("plot", "x.slice2d.h5", "-o", f"x.{ending}").code == 0
    assert len(Path("x.csv").read_text().splitlines()) == 46
    found = command("basins", "x.slice2d.h5", "--json")
    assert found.code == 0, found.err
    basins: Any = load("x.slice2d.basins.h5")
    assert basins.birth[0] == min(loss_at(a, b) for a in AXIS for b in LONG)
    assert command("report", "x.slice2d.h5").code == 0
    page = Path("report.html").read_text(encoding="utf-8")
    assert "computed elsewhere" in page
    assert "landscape import-surface x.h5" in page
    out = command("export", "x.slice2d.h5", "-o", "y.h5")
    assert (out.code, out.out) == (0, "x.slice2d.h5 → y.h5\n")
    # Python writes the same arrays under the same name.
    before = load("x.slice2d.h5")
    after = import_surface("x.h5", overwrite=True)
    assert all(same(a.values, b.values) for a, b in zip(before.arrays(), after.arrays(), strict=True))
    export_surface("x.slice2d.h5", "z.h5")
    assert {name: one.tobytes() for name, one in contents(Path("y.h5")).items()} == {
        name: one.tobytes() for name, one in contents(Path("z.h5")).items()
    }


def test_it_turns_on_a_page(tmp_path):
    pytest.importorskip("plotly", reason="needs plotly")
    plot(import_surface(theirs(tmp_path / "x.h5", AXIS, LONG)), tmp_path / "x.html")
    assert "loss 0.25" in (tmp_path / "x.html").read_text(encoding="utf-8")


def test_another_file_in_its_place_is_not_overwritten(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    theirs(Path("x.h5"), AXIS, AXIS)
    assert command("import-surface", "x.h5", "-q").out == ""
    theirs(Path("x.h5"), AXIS, LONG)
    done = command("import-surface", "x.h5")
    assert done.code == 2
    assert "--overwrite" in done.err
    assert command("import-surface", "x.h5", "--overwrite").code == 0
    for target in ("x.h5", "./x.h5"):
        done = command("import-surface", "x.h5", "-o", target, "--overwrite")
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert "is what the result is made from" in done.err


def without(name):
    def change(file):
        del file[name]

    return change


def put(name, values):
    def change(file):
        if name in file:
            del file[name]
        file[name] = values

    return change


def put_both(first, its, second, others):
    def change(file):
        put(first, its)(file)
        put(second, others)(file)

    return change


NAN = np.full((5, 5), np.nan)
BAD = {
    "no coordinates": (
        without("xcoordinates"),
        "has no xcoordinates (it has dir_file, train_acc, train_loss",
    ),
    "no loss": (without("train_loss"), "has no train_loss"),
    "one place": (put("xcoordinates", np.zeros(1)), "xcoordinates in x.h5 of shape 1"),
    "a number": (put("xcoordinates", 1.0), "of shape a single number"),
    "a table": (put("ycoordinates", np.zeros((2, 2))), "of shape 2 × 2"),
    "nan places": (put("xcoordinates", np.array([0, np.nan, 1])), "NaN or infinite coordinates"),
    "falling": (put("ycoordinates", AXIS[::-1]), "ycoordinates in x.h5 that do not rise"),
    "shape": (put("train_loss", np.ones((5, 4))), "of shape 5 × 4; expected 5 × 5"),
    "more axes": (put("train_loss", np.ones((5, 5, 1))), "of shape 5 × 5 × 1"),
    "accuracy shape": (put("train_acc", np.ones(25)), "train_acc in x.h5 of shape 25"),
    "test shape": (put("test_loss", np.ones((3, 3))), "test_loss in x.h5 of shape 3 × 3"),
    "nothing computed": (put("train_loss", -np.ones((5, 5))), "−1 in every cell, none computed"),
    "nan": (put("train_loss", NAN), "train_loss in x.h5 without a finite number"),
    "nan or absent": (
        put("train_loss", np.where(np.eye(5) > 0, -1, NAN)),
        "train_loss in x.h5 without a finite number",
    ),
    "accuracy": (put("train_acc", np.full((5, 5), 101.0)), "train_acc in x.h5 from 101 to 101"),
    "negative accuracy": (put("train_acc", np.full((5, 5), -2.0)), "expected accuracies in per cent"),
    "text": (put("train_loss", "none"), "train_loss in x.h5 holds no real numbers"),
    "complex": (put("train_loss", np.ones((5, 5), dtype=complex)), "holds no real numbers"),
    "a group": (put("train_loss/inner", 1.0), "holds no real numbers"),
    "uneven run": (
        put_both("proj_xcoord", np.zeros(3), "proj_ycoord", np.zeros(4)),
        "expected as many of one as of the other",
    ),
    "nowhere": (
        put_both("proj_xcoord", np.zeros(2), "proj_ycoord", np.array([0, np.nan])),
        "a trajectory in x.h5 with NaN or infinite places",
    ),
    "a link to nothing": (put("test_loss", h5py.SoftLink("/nothing")), "x.h5 is damaged"),
    "half a run": (put("proj_xcoord", np.zeros(3)), "has no proj_ycoord"),
    "variance": (put("explained_variance_ratio_", np.array([0.5])), "expected two shares from 0 to 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_sentence(command, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    change, said = BAD[name]
    theirs(Path("x.h5"), AXIS, AXIS, train_loss=None if name == "a group" else np.ones((5, 5)))
    with h5py.File("x.h5", "a") as file:
        change(file)
    done = command("import-surface", "x.h5")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert said in done.err
    with pytest.raises(BadInput):
        import_surface("x.h5")
    assert [one.name for one in Path().iterdir()] == ["x.h5"]


def test_what_is_no_such_file_is_one_sentence(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("text.h5").write_text("x")
    Path("folder").mkdir()
    theirs(Path("x.h5"), AXIS, AXIS)
    theirs(Path("line.h5"), AXIS)
    import_surface("x.h5")
    Path("cut.h5").write_bytes(Path("x.h5").read_bytes()[:1500])
    for line, said in (
        (["text.h5"], "text.h5 is not an HDF5 file"),
        (["cut.h5"], "cut.h5 is damaged"),
        (["none.h5"], "none.h5 does not exist"),
        (["folder"], "folder is a folder"),
        (["x.slice2d.h5"], "is a file of landscape's own"),
        (["x.h5", "--proj-file", "none.h5"], "none.h5 does not exist"),
        (["x.h5", "--proj-file", "x.h5"], "x.h5 has no proj_xcoord"),
        (["x.h5", "--dir-file", "x.h5"], "x.h5 has no explained_variance_ratio_"),
        (["line.h5", "--proj-file", "x.h5"], "--proj-file for line.h5, which is a line"),
        (["x.h5", "-o", "none/y.h5"], "there is no folder none"),
        (["x.h5", "-o", "folder"], "folder is a folder"),
    ):
        done = command("import-surface", *line)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
        assert said in done.err


def test_what_cannot_be_handed_on_is_one_sentence(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder.h5").mkdir()
    theirs(Path("x.h5"), AXIS, AXIS)
    marked: Any = import_surface("x.h5")
    marked.loss[0, 0] = -1.0
    marked.save("marked.h5")
    landscape.hessian(net(), net().theta, top_k=1).save("h.h5")
    for line, said in (
        (["h.h5", "-o", "y.h5"], "h.h5 of kind 'hessian' as a surface; expected a slice1d or a slice2d"),
        (["marked.h5", "-o", "y.h5"], "a loss of exactly −1 in marked.h5"),
        (["x.slice2d.h5", "-o", "x.slice2d.h5"], "x.slice2d.h5 is there already"),
        (["x.slice2d.h5", "-o", "x.slice2d.h5", "--overwrite"], "x.slice2d.h5 is what is to be exported"),
        (["x.slice2d.h5", "-o", "h.h5", "--overwrite"], "h.h5 is a result"),
        (["x.slice2d.h5", "-o", "none/y.h5"], "there is no folder none"),
        (["x.slice2d.h5", "-o", "folder.h5"], "folder.h5 is a folder"),
        (["x.h5", "-o", "y.h5"], "is an HDF5 file of something else"),
        (["x.slice2d.h5@final", "-o", "y.h5"], "the point x.slice2d.h5@final in a surface file"),
    ):
        done = command("export", *line)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
        assert said in done.err
        assert not Path("y.h5").exists()
    with pytest.raises(BadInput, match=r"^y.npz ends in .npz; expected h5 or hdf5"):
        export_surface("x.slice2d.h5", "y.npz")
    with pytest.raises(BadInput, match=r"^a Hessian of kind 'hessian' as a surface"):
        export_surface(load("h.h5"), "y.h5")


@pytest.mark.parametrize("role", ["proj_file", "dir_file"])
def test_which_of_several_files_is_wrong_is_said(command, tmp_path, monkeypatch, role):
    monkeypatch.chdir(tmp_path)
    theirs(Path("x.h5"), AXIS, AXIS)
    theirs(Path("line.h5"), AXIS)
    import_surface("x.h5")
    Path("notes.txt").write_text("x")
    Path("folder").mkdir()
    flag = f"--{role.replace('_', '-')}"
    named = {"proj_file": "proj_xcoord", "dir_file": "explained_variance_ratio_"}[role]
    for given in ("none.h5", "notes.txt", "x.h5", "x.slice2d.h5", "folder"):
        done = command("import-surface", "x.h5", "-o", "y.h5", flag, given)
        assert done.code == 2
        assert done.err.startswith(f"Error: {flag}: {given} "), done.err
        assert named in done.err
        assert done.err.rstrip().endswith(f"give another {flag}.")
        with pytest.raises(BadInput, match=f"^`{role}`: {given} .*give another `{role}`"):
            import_surface("x.h5", "y.h5", **{role: given})
    assert f"{flag} for line.h5, which is a line" in command("import-surface", "line.h5", flag, "x.h5").err
