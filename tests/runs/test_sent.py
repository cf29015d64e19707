"""``landscape.send``: the numbers of a file as three loggers would be called with them."""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from test_light import without_torch

import landscape
from landscape import BadInput, load, send
from landscape.runs.sent import LABEL

FILES = Path(__file__).parents[1] / "files"
KINDS = sorted(path.stem.removeprefix("v1-") for path in FILES.glob("v1-*.h5"))


class Wandb:
    """Takes ``log(data, step=)`` as wandb's run does: what comes with an earlier step than before is lost."""

    def __init__(self):
        self.kept: dict[str, list[tuple[int, Any]]] = defaultdict(list)
        self.step = 0

    def log(self, data: dict[str, Any], step: int | None = None):
        assert step is not None
        if step < self.step:
            return
        self.step = step
        for name, value in data.items():
            self.kept[name].append((step, value))


class MLflow:
    """Takes ``log_metric(key, value, step=None, ...)``; names of a few letters alone, steps of whole numbers."""

    def __init__(self):
        self.kept: dict[str, list[tuple[int, Any]]] = defaultdict(list)

    def log_metric(self, key: str, value: float, step: int | None = None, synchronous: bool | None = None):
        assert set(key) <= {*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. /"}
        assert type(step) is int
        assert synchronous is None
        self.kept[key].append((step, float(value)))


class TensorBoard:
    """Takes ``add_scalar(tag, scalar_value, global_step=None, ...)``."""

    def __init__(self):
        self.kept: dict[str, list[tuple[int, Any]]] = defaultdict(list)

    def add_scalar(
        self, tag: str, scalar_value: float, global_step: int | None = None, walltime: float | None = None
    ):
        assert type(global_step) is int
        assert walltime is None
        assert isinstance(scalar_value, int | float)
        self.kept[tag].append((global_step, scalar_value))


def recorded(result: Any, **given: Any) -> list[dict[str, list[tuple[int, Any]]]]:
    """What each of the three keeps, each called as its adapter says."""
    run, mlflow, writer = Wandb(), MLflow(), TensorBoard()
    counts = {
        send(result, lambda name, value, step: run.log({name: value}, step=step), **given),
        send(result, mlflow.log_metric, **given),
        send(result, writer.add_scalar, **given),
    }
    assert counts == {sum(map(len, one.kept.values())) for one in (run, mlflow, writer)}
    return [run.kept, mlflow.kept, writer.kept]


@pytest.mark.parametrize("kind", KINDS)
def test_three_loggers_keep_the_numbers_of_the_file(kind):
    path = FILES / f"v1-{kind}.h5"
    first, *others = recorded(path)
    for other in others:
        np.testing.assert_equal(dict(other), dict(first))
    with h5py.File(path) as file:  # plain HDF5, nothing of ours
        arrays = {
            name: one[()]
            for name, one in file.items()
            if isinstance(one, h5py.Dataset) and one.dtype.kind in "biuf" and one.dtype != ">f4" and one.size
        }
        leading = {name: file[name].dims[0][0].name for name, one in arrays.items() if one.ndim == 2}
        scalars = {
            name.removeprefix("value:"): value
            for name, value in file.attrs.items()
            if name.startswith("value:") and not isinstance(value, str)
        }
    wanted = {f"{kind}/{name}": values for name, values in arrays.items() if values.ndim == 1}
    for name, values in wanted.items():
        np.testing.assert_array_equal([value for _, value in first[name]], values)
    last = max((step for kept in first.values() for step, _ in kept), default=0)
    for name, value in scalars.items():
        np.testing.assert_equal(first[f"{kind}/{name}"], [(last, float(value))])
    columns = {
        f"{kind}/{name}/{i}"
        for name, values in arrays.items()
        if values.ndim == 2 and leading[name] == "/point"
        for i in range(values.shape[1])
    }
    assert set(first) == {*wanted, *(f"{kind}/{name}" for name in scalars), *columns}


def test_training_is_sent_at_its_steps_in_an_order_that_never_falls():
    calls: list[tuple[str, Any, int]] = []
    count = send(FILES / "v1-train.h5", lambda *one: calls.append(one))
    assert count == len(calls)
    result: Any = load(FILES / "v1-train.h5")
    steps = [step for _, _, step in calls]
    assert steps == sorted(steps)
    losses = [(step, value) for name, value, step in calls if name == "train/loss"]
    assert losses == list(zip(result.step.tolist(), result.loss.tolist(), strict=True))
    assert ("train/final_loss", result.final_loss, int(result.step[-1])) in calls
    # Steps that are not one after the other stay what they are.
    result.step = result.step * 50
    assert [step for step, _ in recorded(result)[0]["train/loss"]] == result.step.tolist()


def along(labels, **more):
    """A spectrum at several points."""
    base: Any = load(FILES / "v1-hessian.h5")
    count = len(labels)
    for name in ("eigenvalues", "residuals", "estimated_residuals", "errors", "converged"):
        setattr(base, name, np.stack([getattr(base, name)] * count))
    base.eigenvalues = np.arange(2.0 * count).reshape(count, 2)
    base.eigenvectors = None
    base.point = np.array(labels)
    for name in ("loss", "gradient_norm", "gradient_curvature", "gradient_in_span"):
        setattr(base, name, np.arange(count) / 7)
    for name, values in more.items():
        setattr(base, name, values)
    return base


@pytest.mark.parametrize(
    ("labels", "steps"),
    [
        (["init", "epoch=5", "epoch=20"], [0, 5, 20]),
        (["a.h5@step=3", "a.h5@step=400"], [3, 400]),
        (["init", "epoch=5", "final"], [0, 1, 2]),  # nobody says which epoch the last one is
        (["epoch=5", "step=20"], [0, 1]),
        (["epoch=5", "epoch=3"], [0, 1]),  # they fall
        (["a", "b", "c"], [0, 1, 2]),
    ],
)
def test_points_along_a_run_have_their_epochs_and_a_series_for_each_rank(labels, steps):
    result = along(labels)
    for kept in recorded(result):
        for rank in (0, 1):
            name = f"hessian/eigenvalues/{rank}"
            assert kept[name] == list(zip(steps, result.eigenvalues[:, rank], strict=True))
        assert [step for step, _ in kept["hessian/loss"]] == steps
        assert "hessian/point" not in kept


def test_nan_truth_values_and_the_prefix():
    result = along(["epoch=1", "epoch=2"], trace=np.array([np.nan, np.inf]))
    kept = recorded(result, prefix="a/b")[2]
    assert math.isnan(kept["a/b/trace"][0][1])
    assert kept["a/b/trace"][1] == (2, math.inf)
    assert kept["a/b/converged/0"] == [(1, 1), (2, 1)]
    assert all(type(value) is int for _, value in kept["a/b/converged/0"])
    assert "trace" in recorded(result, prefix="")[0]
    assert "a/b/operator" not in kept  # a text


def test_what_the_logger_raises_and_a_file_that_is_none_are_told(tmp_path):
    def full(name, value, step):
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        send(FILES / "v1-train.h5", full)
    with pytest.raises(BadInput, match=r"none.h5 does not exist"):
        send(tmp_path / "none.h5", full)


def test_none_of_the_loggers_nor_torch_is_imported():
    code = (
        "import sys, landscape\n"
        "landscape.send(sys.argv[1], lambda *_: None)\n"
        "print({'wandb', 'mlflow', 'tensorboard'} & set(sys.modules))"
    )
    run = without_torch(code, str(FILES / "v1-train.h5"))
    assert (run.returncode, run.stdout.strip()) == (0, "set()"), run.stderr


def test_the_labels_are_those_that_runs_give():
    assert LABEL.fullmatch("epoch=12")
    assert landscape.send.__doc__ is not None
    for adapter in ("run.log({name: value}, step=step)", "mlflow.log_metric", "writer.add_scalar"):
        assert adapter in landscape.send.__doc__
