"""The file format: what goes in comes out, other readers read it, and nothing half-written is ever seen."""

import errno
import functools
import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray
from torch import nn

import landscape
from landscape import Objective
from landscape.analyses import FUNCTIONS
from landscape.errors import BadInput
from landscape.inputs.models import build_model
from landscape.objective import checks
from landscape.result import Check
from landscape.runs import provenance, store, trailer

FILES = Path(__file__).parents[1] / "files"


class Net(nn.Module):
    """Batch norm, a 0-d parameter, a 0-d buffer, names with dots and capitals, and a frozen parameter."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Tanh())
        self.Head = nn.Linear(3, 2)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.body[0].bias.requires_grad_(False)

    def forward(self, x):
        return self.Head(self.body(x)) * self.scale


@pytest.fixture(scope="module")
def results():
    """One small result of every kind."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Net()
        x, y = torch.randn(24, 2), torch.arange(24) % 2
    objective = Objective(module, "cross_entropy", (x, y), dtype=torch.float64)
    plain = Objective(nn.Linear(2, 2), "cross_entropy", (x, y), dtype=torch.float64)
    test = objective.on((x[:8] + 0.1, y[:8]))
    run = landscape.train(
        objective, test=test, batch_size=8, epochs=3, lr=0.1, checkpoint_every=1, measure_every=1
    )
    points = [
        objective.point({n: torch.from_numpy(t) for n, t in state.items()}) for state in run.states.values()
    ]
    start, end = points[0], points[-1]
    bare = Objective(torch.nn.Linear(2, 2, dtype=torch.float64), "cross_entropy", (x, y))
    nothing = torch.zeros(1, 1, dtype=torch.float64)
    spins = Objective(
        build_model("spin", {"size": 3}, 0, input_shape=(1,), num_outputs=1), "output", (nothing, nothing)
    )
    made = {
        "train": run,
        "import": landscape.import_point(objective, end, test=test),
        "hessian": landscape.hessian(objective, end, top_k=3, save_vectors=True),
        "certify": landscape.certify(objective, end, last_layer=True),
        "sharpness": landscape.sharpness(objective, end, sigmas=(0.01, 0.1), num_draws=3, ascent_steps=2),
        "compare": landscape.compare(
            objective,
            points[:3],
            test=test,
            draws=2,
            num_points=5,
            noise_draws=3,
            ascent_steps=2,
            line_points=5,
        ),
        "interpolate": landscape.interpolate(objective, start, end, test=test, num_points=7),
        "slice1d": landscape.slice1d(
            objective, end, num_points=5, trajectory=points, show_trajectory=True, draws=2
        ),
        "slice2d": landscape.slice2d(
            objective, end, num_points=5, trajectory=points, directions="pca", show_trajectory=True
        ),
        "connect": landscape.connect(objective, start, end, epochs=1, num_points=5, plane=True, restarts=2),
        "modes": landscape.modes(objective, points[:3], epochs=1, num_points=5),
        "align": landscape.align(objective, start, end, num_points=5),
        "merge": landscape.merge(objective, points[:3], restarts=1),
        "critical": landscape.critical(spins, starts=12, save_points=True),
        "minima": landscape.minima(
            lambda *_: Objective(nn.Linear(2, 2), "cross_entropy", (x, y)), widths=[2], steps=1, max_steps=1
        ),
        "basins": landscape.basins(
            lambda *_: Objective(nn.Linear(2, 2), "cross_entropy", (x, y)), widths=[2], restarts=1, steps=1
        ),
        "efficiency": landscape.efficiency(
            bare, [bare.theta, -bare.theta], sizes=(8, 24), step_sizes=(0.1, 0.01), observations_per_sample=2
        ),
        "noise": landscape.noise(
            plain, plain.theta, step_sizes=(0.01, 0.1), batch_sizes=(1, 2, 3), num_steps=5, num_seeds=2
        ),
        "escape": landscape.escape(
            plain, plain.theta, amplitudes=(1.0, 0.1), num_seeds=2, max_steps=30, drop=0.1, directions=9
        ),
    }
    for kind, result in made.items():
        result.config = {"kind": kind, "options": {"span": 1.5, "ignore": ("bias",)}, "naïve": "✓"}
        result.provenance = provenance.record(
            command=f"landscape {kind} a.h5 -o 'b c.h5'",
            seed=0,
            dtype="float64",
            device="cpu",
            inputs=[{"path": "a.h5", "sha256": "0" * 64, "point": "final"}],
        )
        result.notes.append("a note: ‖∇F‖")
    return made


@pytest.fixture(scope="module")
def written(results, tmp_path_factory):
    """By kind: the bytes of its file, written once."""
    folder = tmp_path_factory.mktemp("written")

    @functools.cache
    def of(kind):
        store.save(results[kind], folder / f"{kind}.h5")
        return (folder / f"{kind}.h5").read_bytes()

    return of


@pytest.fixture(
    params=[
        "train",
        "import",
        "hessian",
        "sharpness",
        "compare",
        "certify",
        "interpolate",
        "slice1d",
        "slice2d",
        "connect",
        "modes",
        "align",
        "merge",
        "minima",
        "efficiency",
        "noise",
        "escape",
        "basins",
        "critical",
    ]
)
def saved(request, results, written, tmp_path):
    path = tmp_path / f"a.{request.param}.h5"
    path.write_bytes(written(request.param))
    return results[request.param], path


def test_every_kind_is_here(results):
    assert set(results) == set(FUNCTIONS)


def test_what_goes_in_comes_out(saved):
    result, path = saved
    again = store.load(path)
    assert type(again) is type(result)
    for one, other in zip(result.arrays(), again.arrays(), strict=True):
        assert one.name == other.name
        assert one.dims == other.dims
        assert one.values.dtype == other.values.dtype
        np.testing.assert_array_equal(one.values, other.values)
    assert again.scalars() == result.scalars()
    assert {type(value) for value in again.scalars().values()} <= {int, float, bool, str}
    assert again.checks == result.checks
    assert again.parameters == result.parameters
    assert again.notes == result.notes
    assert again.outcome == result.outcome
    assert again.status == result.status
    assert again.provenance == result.provenance
    assert again.config == json.loads(json.dumps(result.config))
    assert again.as_json("x") == result.as_json("x")


def test_points_come_out_whole_and_in_order(results, tmp_path):
    store.save(results["train"], tmp_path / "run.h5")
    assert store.point_labels(tmp_path / "run.h5") == ["init", "epoch=1", "epoch=2", "final"]
    for label, state in results["train"].states.items():
        again = store.read_state(tmp_path / "run.h5", label)
        assert list(again) == list(state)
        assert {"scale", "body.0.weight", "Head.bias", "body.1.num_batches_tracked"} <= set(again)
        for name, values in state.items():
            assert isinstance(again[name], np.ndarray)
            assert again[name].shape == values.shape
            assert again[name].dtype == values.dtype
            np.testing.assert_array_equal(again[name], values)
    assert again["scale"].shape == ()
    assert again["body.1.num_batches_tracked"].dtype == np.int64
    with pytest.raises(BadInput, match="one of init, epoch=1, epoch=2, final"):
        store.read_state(tmp_path / "run.h5", "epoch=9")


def test_attributes_of_the_root(saved):
    result, path = saved
    with h5py.File(path) as file:
        assert file.attrs["format"] == "landscape"
        assert file.attrs["format-version"] == 1
        assert file.attrs["kind"] == result.kind
        assert file.attrs["status"] == result.status
        for name in ("created", "generated-by", "command", "dtype", "device", "torch", "platform"):
            assert isinstance(file.attrs[name], str)
            assert file.attrs[name]
        assert file.attrs["seed"] == 0
        assert json.loads(file.attrs["inputs"])[0]["sha256"] == "0" * 64
        assert json.loads(file.attrs["config"])["naïve"] == "✓"
        assert len(file.attrs["config-sha256"]) == 64
        assert set(file["checks"]) >= {"name", "value", "bound", "passed", "meaning"}
        if result.parameters:
            assert set(file["parameters"]) >= {"name", "shape", "offset"}
    assert store.header(path)["kind"] == result.kind


def test_every_axis_has_its_dimension_scale(saved):
    result, path = saved
    dims = {variable.name: variable.dims for variable in result.arrays()}
    unnamed = []

    def look(name, item):
        if not isinstance(item, h5py.Dataset) or item.is_scale:
            return
        for axis in range(item.ndim):
            if len(item.dims[axis]) != 1:
                unnamed.append((name, axis))
            elif name in dims:
                assert item.dims[axis][0].name == f"/{dims[name][axis]}"

    with h5py.File(path) as file:
        file.visititems(look)
        for name in dims:
            assert file[name].attrs["long_name"]
    assert unnamed == []


def test_xarray_opens_every_kind_and_group(saved):
    result, path = saved
    with xarray.open_dataset(path, engine="h5netcdf") as data:
        for variable in result.arrays():
            assert data[variable.name].dims == variable.dims
            np.testing.assert_array_equal(data[variable.name].values, variable.values)
            assert data[variable.name].attrs["long_name"] == variable.long_name
        assert not [dim for dim in data.dims if "phony" in str(dim)]
    groups = ["checks", *(f"points/{label}" for label in result.states)]
    for group in groups:
        with xarray.open_dataset(path, engine="h5netcdf", group=group) as data:
            assert not [dim for dim in data.dims if "phony" in str(dim)]
            assert len(data.variables)


def test_a_slice_opens_with_its_coordinates(results, tmp_path):
    store.save(results["slice2d"], tmp_path / "s.h5")
    with xarray.open_dataset(tmp_path / "s.h5", engine="h5netcdf") as data:
        assert data.loss.dims == ("beta", "alpha")
        assert data.done.dtype == bool
        np.testing.assert_array_equal(data.coords["alpha"], results["slice2d"].alpha)
        centre = data.loss.sel(alpha=0, beta=0)
        assert float(centre) == results["slice2d"].centre_loss


def test_a_result_without_arrays_of_any_length(results, tmp_path):
    """No bumps, no checks, no notes: empty arrays and tables survive."""
    bare = results["interpolate"]
    bare = type(bare)(**{**vars(bare), "bump_alpha": np.empty(0), "bump_height": np.empty(0), "checks": []})
    bare.notes = []
    store.save(bare, tmp_path / "bare.h5")
    again = store.load(tmp_path / "bare.h5")
    assert again.bump_alpha.shape == (0,)
    assert again.checks == []
    with xarray.open_dataset(tmp_path / "bare.h5", engine="h5netcdf") as data:
        assert data.sizes["bump"] == 0


def test_not_a_number_and_infinity_stay_what_they_are(results, tmp_path):
    strange = results["connect"]
    strange = type(strange)(**{**vars(strange), "loss": np.array([np.nan, np.inf, -np.inf, 0.0, -0.0])})
    strange.checks = [Check("finite", float("nan"), 0.0, "a check that cannot pass")]
    strange.max_loss = float("nan")
    store.save(strange, tmp_path / "x.h5")
    again = store.load(tmp_path / "x.h5")
    np.testing.assert_array_equal(again.loss, strange.loss)
    assert np.signbit(again.loss[-1])
    assert again.status == "failed-checks"
    assert np.isnan(again.max_loss)
    text = json.dumps(again.as_json(), allow_nan=False)
    assert json.loads(text)["values"]["loss"] == ["NaN", "Infinity", "-Infinity", 0.0, -0.0]


def test_long_texts_fit(results, tmp_path):
    """An attribute of a plain old HDF5 file holds 64 kB."""
    result = results["import"]
    long = type(result)(**{**vars(result), "config": {"long": "x" * 200_000}})
    long.states = {"final": {f"{'layer.' * 30}{i}.weight": np.zeros(1) for i in range(400)}}
    store.save(long, tmp_path / "long.h5")
    again = store.load(tmp_path / "long.h5")
    assert again.config == long.config
    assert list(again.states["final"]) == list(long.states["final"])


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(saved, share, tmp_path):
    _, path = saved
    data = path.read_bytes()
    cut = tmp_path / "cut.h5"
    cut.write_bytes(data[: int(share * (len(data) - trailer.LENGTH))])
    for action in (store.load, store.header, store.point_labels):
        with pytest.raises(BadInput, match=r"truncated or damaged HDF5|not an HDF5"):
            action(cut)


def test_what_is_not_ours_is_refused(tmp_path):
    text, foreign, folder = tmp_path / "a.txt", tmp_path / "foreign.h5", tmp_path / "folder"
    text.write_text("not HDF5 at all")
    folder.mkdir()
    with h5py.File(foreign, "w") as file:
        file["loss"] = np.zeros(3)
    for path, message in (
        (text, "is not an HDF5 file"),
        (foreign, "HDF5 file of something else"),
        (folder, "is a folder"),
        (tmp_path / "none.h5", "does not exist"),
    ):
        with pytest.raises(BadInput, match=message):
            store.load(path)


def changed(result, path, change):
    store.save(result, path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def test_newer_versions_and_kinds_are_named(results, tmp_path):
    def newer(file):
        file.attrs["format-version"] = 2

    def unknown(file):
        file.attrs["kind"] = "slice4d"

    with pytest.raises(BadInput, match="format version 2; expected version 1 or older; update landscape"):
        store.load(changed(results["import"], tmp_path / "a.h5", newer))
    with pytest.raises(BadInput, match="holds a 'slice4d'"):
        store.load(changed(results["import"], tmp_path / "a.h5", unknown), verify=False)


def test_a_file_that_lacks_a_field_is_refused(results, tmp_path):
    def poorer(file):
        del file["loss"]
        del file.attrs["value:centre_loss"]

    with pytest.raises(BadInput, match="lacks loss, centre_loss"):
        store.load(changed(results["slice2d"], tmp_path / "a.h5", poorer), verify=False)


# --- publishing -----------------------------------------------------------------------------


def test_nothing_is_left_beside_the_file(saved):
    _, path = saved
    assert os.listdir(path.parent) == [path.name]


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_litter(results, tmp_path, monkeypatch, moment):
    path = tmp_path / "a.h5"
    store.save(results["import"], path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        if moment == "write":
            patch.setattr(h5py.Group, "create_dataset", full_disk)
        else:
            patch.setattr(os, moment, full_disk)
        with pytest.raises(OSError, match="No space left"):
            store.save(results["slice2d"], path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.h5"]


def test_an_interruption_leaves_the_old_file_and_no_litter(results, tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    store.save(results["import"], path)
    before = path.read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.save(results["slice2d"], path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.h5"]


def test_places_that_cannot_be_written(results, tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="there is no folder"):
        store.save(results["import"], tmp_path / "none" / "a.h5")
    (tmp_path / "a.h5").mkdir()
    with pytest.raises(BadInput, match="is a folder"):
        store.save(results["import"], tmp_path / "a.h5")

    def forbidden(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(h5py, "File", forbidden)
    with pytest.raises(BadInput, match="cannot be written"):
        store.save(results["import"], tmp_path / "b.h5")


def test_a_saved_file_is_a_fresh_one(results, tmp_path):
    """The old file's inode is untouched: who has it open reads on."""
    path = tmp_path / "a.h5"
    store.save(results["import"], path)
    with h5py.File(path) as file:
        store.save(results["slice2d"], path)
        assert file.attrs["kind"] == "import"
        assert file["checks/name"].asstr()[0]
    assert store.header(path)["kind"] == "slice2d"


# --- files that must open forever -----------------------------------------------------------


def test_a_slice_of_version_1():
    result = store.load(FILES / "v1-slice2d.h5")
    np.testing.assert_array_equal(result.alpha, [-0.5, -0.25, 0, 0.25, 0.5])
    assert result.status == "complete"
    assert result.provenance["command"] == "landscape slice2d"
    for i, j in np.ndindex(5, 5):
        v, w = [2.0, 0.25] + result.alpha[j] * result.directions[0] + result.beta[i] * result.directions[1]
        assert result.loss[i, j] == pytest.approx((1 - v * w) ** 2, rel=1e-12)
    assert result.centre_loss == 0.25
    np.testing.assert_allclose(np.abs(result.directions), [[2.0, 0.25], [2.0, 0.25]], rtol=1e-14)
    assert [piece.name for piece in result.parameters] == ["v", "w"]


def test_a_run_of_version_1():
    path = FILES / "v1-train.h5"
    result = store.load(path)
    v, w, losses = 2.0, 0.25, []
    for _ in range(9):
        losses.append((1 - v * w) ** 2)
        v, w = v + 0.25 * w * (1 - v * w), w + 0.25 * v * (1 - v * w)
    np.testing.assert_allclose(result.loss, losses, rtol=1e-12)
    np.testing.assert_array_equal(result.step, np.arange(9))
    assert store.point_labels(path) == ["init", "step=4", "final"]
    state = store.read_state(path, "init")
    assert state["v"].tolist() == [[2.0]]
    assert state["scale"].shape == ()
    assert result.config == {"kind": "train", "seed": 3}


def test_checks_are_recomputed_by_nobody(results, tmp_path):
    """A loaded result is what was proved when it was made, failures included."""
    result = results["import"]
    proofs = [Check("loss", 1.0, 0.5, "too far"), Check("moved", 0.1, 0.5, "near")]
    failed = type(result)(**{**vars(result), "checks": proofs})
    store.save(failed, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["checks/passed"][()].tolist() == [False, True]
    assert store.header(tmp_path / "a.h5")["status"] == "failed-checks"
    assert not store.load(tmp_path / "a.h5").checks[0].passed


def test_checks_of_close_values():
    assert checks.close("x", np.nan, np.nan, 0.0, "").passed
    assert checks.close("x", np.inf, np.inf, 0.0, "").passed
    assert not checks.close("x", np.nan, 1.0, 1e300, "").passed
    assert not checks.close("x", np.inf, 1.0, 1e300, "").passed
    assert checks.close("x", 1.0 + 1e-9, 1.0, 1e-8, "").passed
