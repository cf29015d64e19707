"""Files of format version 1, one of every kind (tests/files/make_v1.py), open forever and say what they said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import landscape
from landscape.analyses import FUNCTIONS, result_of
from landscape.numerics.curves.barriers import barriers
from landscape.runs import store

FILES = Path(__file__).parents[1] / "files"
START = np.array([2.0, 0.25])  # v and w, where h = v w x


def opened(kind: str) -> Any:
    return landscape.load(FILES / f"v1-{kind}.h5")


def product_loss(v: Any, w: Any) -> Any:
    return (1 - v * w) ** 2


def end_of_run() -> np.ndarray:
    state = store.read_state(FILES / "v1-train.h5", "final")
    return np.array([state["v"].item(), state["w"].item()])


def train(run: Any) -> None:
    v, w = START
    for loss in run.loss:
        assert loss == pytest.approx(product_loss(v, w), rel=1e-12, abs=1e-17)
        v, w = v + 0.25 * w * (1 - v * w), w + 0.25 * v * (1 - v * w)


def imported(point: Any) -> None:
    state = point.states["final"]
    assert state["scale"].shape == ()
    assert [state["v"].item(), state["w"].item()] == end_of_run().tolist()
    assert point.final_loss == pytest.approx(product_loss(*end_of_run()), rel=1e-6)


def hessian(spectrum: Any) -> None:
    # ∂²F = [[2w², 4vw − 2], [4vw − 2, 2v²]] = diag(1/8, 8), and the gradient is (−w, −v).
    np.testing.assert_allclose(spectrum.eigenvalues, [8, 0.125], rtol=1e-12)
    np.testing.assert_allclose(np.abs(spectrum.eigenvectors), [[0, 1], [1, 0]], atol=1e-12)
    assert spectrum.gradient_norm == pytest.approx(np.linalg.norm(START), rel=1e-12)


def sharpness(measured: Any) -> None:
    values = dict(zip(measured.measure.tolist(), measured.values.tolist(), strict=True))
    assert values["lambda_max"] == pytest.approx(8, rel=1e-12)
    assert values["trace"] == pytest.approx(8.125, rel=1e-12)
    assert values["trace_per_parameter"] == pytest.approx(8.125 / 2, rel=1e-12)


def compare(found: Any) -> None:
    values = dict(zip(found.measure.tolist(), found.values.tolist(), strict=True))
    np.testing.assert_allclose(values["lambda_max"], [8, 4], rtol=1e-12)
    np.testing.assert_allclose(values["trace"], [8.125, 4], rtol=1e-12)
    np.testing.assert_allclose(values["loss"], [0.25, 0], atol=1e-15)
    assert found.ranks[found.measure.tolist().index("trace")].tolist() == [2, 1]
    assert found.flattest == "B"


def interpolate(line: Any) -> None:
    end = end_of_run()
    np.testing.assert_allclose(
        line.loss, product_loss(*(START + line.alpha[:, None] * (end - START)).T), rtol=1e-6, atol=1e-15
    )
    assert line.distance == pytest.approx(np.linalg.norm(end - START), rel=1e-12)
    assert line.is_monotone


def slice1d(cut: Any) -> None:
    np.testing.assert_allclose(
        cut.loss, product_loss(*(START + cut.alpha[:, None] * cut.directions[0]).T), rtol=1e-12
    )
    np.testing.assert_allclose(cut.gram, [[START @ START]], rtol=1e-12)


def slice2d(plane: Any) -> None:
    alpha, beta = np.meshgrid(plane.alpha, plane.beta)
    v, w = (START[i] + alpha * plane.directions[0, i] + beta * plane.directions[1, i] for i in range(2))
    np.testing.assert_allclose(plane.loss, product_loss(v, w), rtol=1e-12)


def noise(measured: Any) -> None:
    # One sample: no noise, so the mean of ‖∇F‖² = 4(1 − vw)²(v² + w²) along gradient descent.
    for step, found in zip(measured.step_size, measured.mean_squared_gradient_norm[:, 0], strict=True):
        v, w = START
        norms = []
        for _ in range(measured.num_steps):
            norms.append(4 * product_loss(v, w) * (v * v + w * w))
            v, w = v + 2 * step * w * (1 - v * w), w + 2 * step * v * (1 - v * w)
        assert found == pytest.approx(np.mean(norms), rel=1e-6)
    assert measured.variance == 0


def connect(curve: Any) -> None:
    assert curve.barrier_chord == pytest.approx(barriers(curve.t, curve.loss).chord, abs=1e-15)
    assert curve.barrier_mean == pytest.approx(barriers(curve.t, curve.loss).mean, rel=1e-12)
    assert curve.max_loss == curve.loss.max()
    np.testing.assert_allclose(curve.loss[[0, -1]], curve.loss_straight[[0, -1]], rtol=1e-12)


def modes(found: Any) -> None:
    assert found.mode.tolist() == ["point 0", "point 1", "point 2"]
    np.testing.assert_array_equal(found.barrier_curved, found.barrier_curved.T)
    np.testing.assert_array_equal(found.barrier_curved[found.tree_from, found.tree_to], found.tree_barrier)
    # Two of the points are those of the curve and of the aligned pair.
    np.testing.assert_allclose(found.mode_loss[:2], opened("connect").loss[[0, -1]], rtol=1e-12)
    assert found.distance[0, 1] == pytest.approx(opened("align").distance_before, rel=1e-12)


def align(found: Any) -> None:
    np.testing.assert_allclose(found.loss_before[[0, -1]], found.loss_after[[0, -1]], rtol=1e-12)
    assert sorted(found.permutation) == [0, 1, 2]
    assert found.distance_after < found.distance_before
    assert found.movable.tolist() == ["0.weight", "0.bias", "2.weight"]


def merge(found: Any) -> None:
    ends = opened("align")
    np.testing.assert_allclose(found.loss[:2], ends.loss_before[[0, -1]], rtol=1e-12)
    assert found.barrier == pytest.approx(found.loss[3] - found.loss[:3].mean(), rel=1e-9)
    assert found.distance_after.sum() < found.distance_before.sum()
    names = ["final", "model-1", "model-2", "model-3"]
    assert list(found.states) == names
    mean = np.mean([found.states[one]["0.weight"] for one in names[1:]], axis=0)
    np.testing.assert_allclose(found.states["final"]["0.weight"], mean, rtol=1e-12)


def minima(found: Any) -> None:
    np.testing.assert_allclose(
        found.cost_quantiles[0, 0], np.quantile(found.cost[0, 0], found.quantile), rtol=1e-12
    )
    assert found.num_parameters.tolist() == [[2 * 2 + 2 + 2 * 2 + 2]]
    assert {*found.end_status[0, 0]} == {"cut short"}


def efficiency(found: Any) -> None:
    np.testing.assert_allclose(found.cost, found.replica_cost.mean(axis=3)[..., -1], rtol=1e-12)
    np.testing.assert_array_equal(found.best_cost, found.cost.min(axis=2))
    assert found.method.tolist() == ["gd", "minibatch", "sgd"]


def escape(found: Any) -> None:
    assert found.steps.ravel().tolist() == [44, 92, 141]
    np.testing.assert_allclose(found.steps_per_decade_theory, np.log(10) / np.log(1.1), rtol=1e-12)
    assert found.plain_status == "stayed"
    assert {*found.end_status[:, 0]} == {"left"}


def certify(found: Any) -> None:
    v, w = START
    assert found.ntk_spectrum.tolist() == pytest.approx([v**2 + w**2])
    assert found.loss == pytest.approx(product_loss(v, w))
    assert found.loss_bound == pytest.approx((2 * (1 - v * w)) ** 2 / 4)
    np.testing.assert_allclose(found.path_loss, (1 - found.t) ** 2 * found.loss, atol=1e-14)


def basins(found: Any) -> None:
    assert (found.path_height >= found.loss * (1 - 1e-12)).all()
    assert found.best_loss.tolist() == [found.loss.min()]
    assert {*found.way[:, int(found.loss[0].argmin())]} == {"itself"}


def critical(found: Any) -> None:
    np.testing.assert_allclose(found.loss, [1.0, 0.0], atol=1e-12)
    assert found.index.tolist() == [1, 0]
    assert found.nullity.tolist() == [0, 1]
    assert found.verdict.tolist() == ["local minimum, flat along 1 direction (setwise)", "saddle of index 1"]


KNOWN: dict[str, Callable[[Any], None]] = {
    "import": imported,
    **{
        one.__name__: one
        for one in (
            train,
            hessian,
            sharpness,
            compare,
            certify,
            interpolate,
            slice1d,
            slice2d,
            noise,
            connect,
            modes,
            align,
            merge,
        )
    },
    "minima": minima,
    "efficiency": efficiency,
    "escape": escape,
    "basins": basins,
    "critical": critical,
}


def test_there_is_a_file_of_every_kind():
    assert {path.stem.removeprefix("v1-") for path in FILES.glob("v1-*.h5")} == set(FUNCTIONS) == set(KNOWN)


@pytest.mark.parametrize("kind", sorted(KNOWN))
def test_a_file_of_version_1(kind, tmp_path):
    result = opened(kind)
    assert type(result) is result_of(kind)
    assert result.status == "complete"
    assert all(check.passed for check in result.checks)
    assert len(result.checks) >= 2
    assert result.config == {"kind": kind, "seed": 3}
    assert result.provenance["command"] == f"landscape {kind}"
    KNOWN[kind](result)
    result.plot(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5_000


@pytest.mark.parametrize("kind", sorted(KNOWN))
def test_what_is_written_today_is_the_same_file(kind, tmp_path):
    """Attributes but for the seal, names, dimensions and numbers, at the root and in the groups."""
    import h5py

    def contents(path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        with h5py.File(path) as file:
            found["/"] = {name: str(value) for name, value in file.attrs.items() if name != store.SEAL}

            def visit(name: str, one: Any) -> None:
                attributes = {
                    k: str(v) for k, v in one.attrs.items() if "REFERENCE" not in k and "DIM" not in k
                }
                is_array = isinstance(one, h5py.Dataset)
                values = [one.dtype.str, one.shape, one[()].tolist().__repr__()] if is_array else []
                scales = [[scale.name for scale in dim.values()] for dim in one.dims] if is_array else []
                found[name] = [attributes, values, scales]

            file.visititems(visit)
        return found

    opened(kind).save(tmp_path / "a.h5")
    assert contents(tmp_path / "a.h5") == contents(FILES / f"v1-{kind}.h5")
