"""Several runs on one plane: components, coordinates and losses by other roads, refusals, the file, the picture."""

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from plain import another, named, plain_loss
from torch import nn

import landscape
from landscape import BadInput, slice2d
from landscape.cli import main
from landscape.objective.trajectory import Trajectory
from landscape.runs import store
from landscape.runs.beside import told_apart
from landscape.runs.journal import Journal
from landscape.runs.run import Run

MINE = """
import torch
from torch import nn

def net(width=4, act="tanh"):
    return nn.Sequential(nn.Linear(2, width), {"tanh": nn.Tanh, "relu": nn.ReLU}[act](), nn.Linear(width, 1))

def data(n=12, shift=0.0):
    x = torch.linspace(-1, 1, 2 * n).reshape(n, 2)
    return x, (x[:, :1] * x[:, 1:] + shift).sin()

def loss(outputs, targets):
    return (outputs - targets).abs().mean(1)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one net of the user's own under two optimisers, and of others."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "mine.py").write_text(MINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        common = [
            "--model",
            "mine.py:net",
            "--data",
            "mine.py:data",
            "--dtype",
            "float64",
            "-q",
            "--epochs",
            "3",
        ]
        every = ["--checkpoint-every", "1", "--loss", "mse"]
        for name, more in {
            "sgd": [*every, "--lr", "0.2"],
            "adam": [*every, "--optimizer", "adam", "--lr", "0.05", "--model-arg", "width=4"],
            "far": [*every, "--optimizer", "adam", "--lr", "0.05", "--seed", "1"],
            "relu": [*every, "--model-arg", "act=relu"],
            "wide": [*every, "--model-arg", "width=5"],
            "moved": [*every, "--data-arg", "shift=0.5"],
            "l1": ["--loss", "mine.py:loss"],
        }.items():
            assert main(["train", *common, *more, "-o", f"{name}.h5"]) == 0
    return folder


@pytest.fixture
def here(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for file in trained.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def flat(file: str) -> dict[str, np.ndarray]:
    """Every stored point of a run as one vector in the order of the user's own state_dict."""
    names = ["0.weight", "0.bias", "2.weight", "2.bias"]
    states = {label: store.read_state(file, label) for label in store.point_labels(file)}
    return {
        label: np.concatenate([np.asarray(state[name]).ravel() for name in names])
        for label, state in states.items()
    }


def own_loss(theta: np.ndarray) -> float:
    """The user's own module and loss, a plain loop."""
    names: dict = {}
    exec(MINE, names)
    net = names["net"]().double()
    nn.utils.vector_to_parameters(torch.from_numpy(theta), net.parameters())
    x, y = (one.double() for one in names["data"]())
    with torch.no_grad():
        return float(np.mean([float((net(a[None]) - b) ** 2) for a, b in zip(x, y, strict=True)]))


def seen(result, name: str) -> np.ndarray:
    return np.stack([getattr(result, f"{name}_alpha"), getattr(result, f"{name}_beta")], axis=1)


def test_paths_by_least_squares_over_state_dicts_and_losses_by_the_users_own_module(here):
    result = landscape.measure(
        ["sgd.h5", "adam.h5"],
        "slice2d",
        directions="pca",
        show_trajectory=True,
        num_points=5,
        mark=("far.h5", "far.h5@epoch=2"),
    )
    runs = {name: flat(f"{name}.h5") for name in ("sgd", "adam", "far")}
    origin = runs["sgd"]["final"]
    way = np.stack([*runs["sgd"].values(), *runs["adam"].values()])
    _, sizes, rows = np.linalg.svd(way - origin, full_matrices=False)
    np.testing.assert_allclose(np.abs(result.directions @ rows[:2].T), np.eye(2), atol=1e-8)
    np.testing.assert_allclose(result.explained_variance, (sizes**2 / (sizes**2).sum())[:2], rtol=1e-9)
    assert result.random_walk_variance is None
    places = {
        "trajectory": way,
        "point": np.stack([origin, runs["adam"]["final"]]),
        "mark": np.stack([runs["far"]["final"], runs["far"]["epoch=2"]]),
    }
    for name, points in places.items():
        found, *_ = np.linalg.lstsq(result.directions.T, (points - origin).T)
        np.testing.assert_allclose(seen(result, name), found.T, atol=1e-12)
        off = np.linalg.norm(points - origin - found.T @ result.directions, axis=1)
        np.testing.assert_allclose(getattr(result, f"{name}_residual"), off, atol=1e-12)
        losses = [own_loss(one) for one in points]
        np.testing.assert_allclose(getattr(result, f"{name}_loss"), losses, rtol=1e-12)
    assert result.trajectory_run.tolist() == [0] * 4 + [1] * 4
    assert result.trajectory_epoch.tolist() == [0, 1, 2, 3] * 2
    assert list(result.run) == ["sgd.h5", "adam.h5"]
    assert list(result.mark) == ["far.h5@final", "far.h5@epoch=2"]
    for axis in (0, 1):
        every = np.concatenate([seen(result, name)[:, axis] for name in places])
        line = (result.alpha, result.beta)[axis]
        assert line[0] < every.min() <= every.max() < line[-1]
    wanted = {
        "checkpoint coordinates",
        "point coordinates",
        "mark coordinates",
        "mark loss",
        "principal components",
    }
    assert wanted <= named(result).keys()
    assert result.status == "complete"
    for one in ("2 runs up to", "the plane holds"):
        assert one in result.headline


def test_pca_first_is_the_plane_of_the_first_run(here):
    options = {"directions": "pca-first", "num_points": 3, "output": "first.h5"}
    result = landscape.measure(["sgd.h5", "adam.h5"], "slice2d", show_trajectory=True, **options)
    alone = landscape.measure("sgd.h5", "slice2d", directions="pca", num_points=3, output="alone.h5")
    np.testing.assert_array_equal(result.directions, alone.directions)
    np.testing.assert_array_equal(result.explained_variance, alone.explained_variance)
    np.testing.assert_array_equal(result.random_walk_variance, alone.random_walk_variance)
    assert len(result.trajectory_alpha) == 8
    assert result.trajectory_residual[-1] > result.trajectory_residual[:4].max()
    assert result.status == "complete"


def test_a_point_is_named_and_the_whole_run_is_drawn(here):
    result = landscape.measure(
        ["sgd.h5@epoch=1", "sgd.h5", "adam.h5@epoch=2"],
        "slice2d",
        directions="pca",
        show_trajectory=True,
        num_points=3,
    )
    runs = {name: flat(f"{name}.h5") for name in ("sgd", "adam")}
    assert result.centre_loss == pytest.approx(own_loss(runs["sgd"]["epoch=1"]), rel=1e-12)
    losses = [own_loss(runs["sgd"]["final"]), own_loss(runs["adam"]["epoch=2"])]
    np.testing.assert_allclose(result.point_loss[1:], losses, rtol=1e-12)
    # Each run once, however many of its points are named.
    assert list(result.run) == ["sgd.h5", "adam.h5"]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("wide", "its model is mine.py:net width=5, that of sgd.h5 mine.py:net"),
        ("relu", "its model is mine.py:net act=relu, that of sgd.h5 mine.py:net"),
        ("moved", "its data is mine.py:data shift=0.5, that of sgd.h5 mine.py:data"),
        ("l1", "its loss is mine.py:loss, that of sgd.h5 mse"),
    ],
)
def test_runs_of_another_function_are_refused_by_name(here, command, other, words):
    lines = [
        ["slice2d", "sgd.h5", f"{other}.h5", "--directions", "pca", "--trajectory"],
        ["slice2d", "sgd.h5", "--mark", f"{other}.h5"],
    ]
    for line in lines:
        outcome = command(*line)
        assert outcome.code == 2
        assert words in " ".join(outcome.err.split())
        assert f"{other}.h5 beside sgd.h5" in " ".join(outcome.err.split())
    assert not list(here.glob("*.slice2d*"))


def test_other_samples_under_the_same_words_are_other_data(here, command):
    (here / "mine.py").write_text(MINE.replace("-1, 1", "-1, 2"))
    common = ["--model", "mine.py:net", "--data", "mine.py:data", "--loss", "mse", "--dtype", "float64"]
    assert command("train", *common, "--epochs", 1, "-q", "-o", "stretched.h5").code == 0
    outcome = command("slice2d", "sgd.h5", "--mark", "stretched.h5")
    assert outcome.code == 2
    assert "its data is another mine.py:data" in " ".join(outcome.err.split())


def test_how_many_points_which_directions_take(here, command):
    for line, words in (
        (["sgd.h5", "adam.h5"], "2 points on a plane of directions random"),
        (["sgd.h5", "adam.h5", "far.h5", "--directions", "eigen"], "on the plane through three points"),
        (["sgd.h5", "--mark", "far.h5@nowhere"], "far.h5 has no point 'nowhere'"),
    ):
        outcome = command("slice2d", *line, "--num-points", 3)
        assert outcome.code == 2, line
        assert words in " ".join(outcome.err.split())
    through = landscape.measure(["sgd.h5", "adam.h5", "far.h5"], "slice2d", num_points=3)
    np.testing.assert_allclose(through.point_residual, 0, atol=1e-12)
    assert through.status == "complete"


def test_the_file_says_every_run_comes_back_whole_and_is_found_again(here, command):
    line = ["slice2d", "sgd.h5", "adam.h5", "--directions", "pca", "--trajectory", "--mark", "far.h5"]
    line += ["--num-points", 5]
    first = command(*line, "--json")
    assert first.code == 0
    assert first.json["values"]["run"] == ["sgd.h5", "adam.h5"]
    assert first.json["values"]["mark"] == ["far.h5@final"]
    file = "sgd-adam.slice2d.h5"
    with h5py.File(file) as written:
        inputs = json.loads(written.attrs["inputs"])
    assert [(one["path"], one["point"]) for one in inputs] == [
        ("sgd.h5", "final"),
        ("adam.h5", "final"),
        ("far.h5", "final"),
    ]
    for one in inputs:
        assert one["sha256"] == hashlib.sha256(Path(one["path"]).read_bytes()).hexdigest()
    again = command(*line)
    assert again.code == 0
    other = command(*line[:-4], "--num-points", 5)
    assert other.code == 2
    assert "another configuration" in " ".join(other.err.split())
    result = landscape.load(file)
    figure = landscape.plot(result)
    texts = [one.get_text() for one in figure.axes[0].get_legend().get_texts()]
    assert texts == ["sgd.h5", "adam.h5", "1 far.h5@final"]
    assert figure.axes[0].get_xlabel().startswith("component 1 (")


def stopped_at(number: int):
    """A progress callback that is Ctrl-C when it is called for so-and-so-many-th time."""
    calls = []

    def progress(*_):
        calls.append(1)
        if len(calls) == number:
            raise KeyboardInterrupt

    return progress


def test_killed_among_the_checkpoints_it_goes_on_bit_for_bit(classifier, tmp_path):
    runs = [
        Trajectory([another(classifier, i) for i in some], name)
        for name, some in (("a", (1, 2)), ("b", (3, 4, 5)))
    ]
    options = {"directions": "pca", "trajectories": lambda: runs, "show_trajectory": True, "num_points": 3}
    options["marks"] = [another(classifier, 6)]
    ends = [run.points[-1] for run in runs]
    whole = slice2d(classifier, ends, **options)
    for kill in (1, 5, 8):
        journal = Journal(tmp_path / "x.part", {})
        with pytest.raises(KeyboardInterrupt):
            slice2d(classifier, ends, **options, journal=journal, progress=stopped_at(kill))
        journal.close()
    again = slice2d(classifier, ends, **options, journal=Journal(tmp_path / "x.part", {}))
    for one, other in zip(again.arrays(), whole.arrays(), strict=True):
        np.testing.assert_array_equal(one.values, other.values, err_msg=one.name)
    # Batch norm: each checkpoint with statistics of its own.
    points = [point for run in runs for point in run.points]
    wanted = [plain_loss(classifier, one.theta, one.fixed) for one in points]
    np.testing.assert_allclose(whole.trajectory_loss, wanted, rtol=1e-12)
    assert whole.mark.tolist() == ["seed 6"]
    assert any(note.startswith("batch-norm statistics of the cells are those of θ*") for note in whole.notes)


def test_the_picture_tells_both_paths_apart(here):
    result = landscape.measure(
        ["sgd.h5", "adam.h5"], "slice2d", directions="pca", show_trajectory=True, num_points=7
    )
    axes = landscape.plot(result).axes[0]
    ways = [one for one in axes.lines if len(one.get_xdata()) == 4 and one.get_linestyle() == "-"]
    assert len({one.get_color() for one in ways}) == 2
    assert len({one.get_marker() for one in axes.lines if len(one.get_xdata()) == 4} - {"None"}) == 2
    for one, run in zip(ways, (0, 1), strict=True):
        np.testing.assert_array_equal(one.get_xdata(), result.trajectory_alpha[result.trajectory_run == run])
    written = {one.get_text().strip() for one in axes.texts}
    assert {"A", "B"} <= written
    assert {"1", "2"} & written


def test_runs_of_one_name_are_told_apart_by_their_folders():
    assert told_apart([Path("one/a.h5"), Path("two/a.h5"), Path("b.h5")]) == ["one/a.h5", "two/a.h5", "b.h5"]
    assert told_apart([Path("a.h5")]) == ["a.h5"]


def test_a_mark_that_is_shown_elsewhere_fails_its_checks(here, monkeypatch):
    from landscape.paths import slices

    plain = slices.projected

    def shifted(sweep, name, points, origin, directions):
        found = plain(sweep, name, points, origin, directions)
        return (
            found._replace(coordinates=found.coordinates + 0.01, loss=found.loss + 0.01)
            if name == "mark"
            else found
        )

    monkeypatch.setattr(slices, "projected", shifted)
    result = landscape.measure("sgd.h5", "slice2d", mark=("far.h5",), num_points=3, output="x.h5")
    assert {name for name, one in named(result).items() if not one.passed} == {
        "mark coordinates",
        "mark loss",
    }


def test_an_epoch_is_what_was_logged(here):
    run = Run("sgd.h5")
    assert [run.epoch_at(one) for one in run.labels] == [0, 1, 2, 3]
    objective = run.objectives().train
    with pytest.raises(BadInput, match="`mark` for an objective"):
        landscape.measure(objective, "slice2d", mark=("far.h5",), output="x.h5")
