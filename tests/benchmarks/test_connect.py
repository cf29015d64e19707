"""What connect must reach on the digits, and what an epoch of it costs.

``pytest -o addopts= tests/benchmarks/test_connect.py -s``. An MLP 64-128-128-10 without weight decay,
five pairs of seeds, ends trained for 60 epochs to a loss below 1e-3; 61 points, no refinement. Peers on this
problem with 180 epochs for the curve, three times those of an end: straight 0.2345, Bézier 0.0161, chain
0.0050, AutoNEB with 14 × 60 epochs per pivot 0.0013; interpolated batch-norm statistics 0.42, recalibrated 0.05.
"""

import copy
import resource
from collections.abc import Callable
from statistics import mean, median

import numpy as np
import pytest
import torch
from torch.nn import functional

from landscape import Objective
from landscape.analyses import connect, interpolate, train
from landscape.inputs.data import load_data
from landscape.inputs.models import build_model
from landscape.objective.parameters import Point

PAIRS = 5
END_EPOCHS = 60


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def objective(seed: int, width: int = 128, batchnorm: bool = False) -> Objective:
    data = load_data("digits", {}, None)
    arguments = {"widths": (width, width), "batchnorm": batchnorm}
    module = build_model("mlp", arguments, seed, input_shape=data.input_shape, num_outputs=10)
    return Objective(module, "cross_entropy", (data.inputs, data.targets))


def end(seed: int, batchnorm: bool = False) -> Point:
    start = objective(seed, batchnorm=batchnorm)
    run = train(start, epochs=END_EPOCHS, lr=0.1, momentum=0.9, batch_size=64, seed=seed)
    assert run.final_loss < 1e-3
    return start.point({name: torch.from_numpy(value) for name, value in run.states["final"].items()})


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Point, Point]]:
    return [(end(2 * i), end(2 * i + 1)) for i in range(PAIRS)]


def barriers(pairs: list[tuple[Point, Point]], **options) -> list[float]:
    """Over the chord, of every pair."""
    found = [
        connect(objective(0), *pair, num_points=61, tolerance=np.inf, **options).barrier_chord
        for pair in pairs
    ]
    print(f"\n{options}: mean {mean(found):.5f}, largest {max(found):.5f}")
    return found


def test_the_straight_line_is_that_of_the_peers(pairs):
    found = [interpolate(objective(0), *pair, num_points=61).barrier_chord for pair in pairs]
    print(f"\nstraight: mean {mean(found):.4f}, {min(found):.4f} to {max(found):.4f}")
    assert mean(found) == pytest.approx(0.2345, abs=0.03)


@pytest.mark.parametrize(("method", "ask"), [("bezier", 0.012), ("chain", 0.004)])
def test_one_free_point_at_the_same_epochs(pairs, method, ask):
    assert mean(barriers(pairs, method=method, bends=1, epochs=3 * END_EPOCHS)) <= ask


def test_aligned_then_sixty_epochs_of_a_curve(pairs):
    """Peers: a largest loss of 0.0038."""
    found = [
        connect(objective(0), *pair, align=True, epochs=60, num_points=61, tolerance=np.inf) for pair in pairs
    ]
    tops, straight = [one.max_loss for one in found], [one.barrier_chord_straight for one in found]
    print(f"\naligned: straight {mean(straight):.4f}, largest loss on the curve {mean(tops):.5f}, {tops}")
    assert mean(tops) <= 0.002


@pytest.mark.parametrize("epochs", [3 * END_EPOCHS, 14 * END_EPOCHS])
def test_the_best_method_within_the_budget_of_autoneb(pairs, epochs):
    """One pivot's 14 budgets of an end are 840 epochs."""
    assert mean(barriers(pairs, method="minmax", bends=1, epochs=epochs)) <= 0.001


def test_the_band_at_the_same_epochs_a_pivot(pairs):
    assert mean(barriers(pairs[:2], method="neb", bends=1, epochs=3 * END_EPOCHS)) <= 0.002


@pytest.mark.parametrize(("width", "ask", "epochs"), [(128, 1.4, 180), (512, 1.5, 60)])
@pytest.mark.parametrize("l2", [0.0, 1e-4])
def test_an_epoch_costs_little_more_than_one_of_plain_training(width, ask, epochs, l2):
    """All of connect but a long profile: three points, so that the epochs count."""
    first, other = objective(0, width), objective(1, width)
    (x,), y = first.samples
    penalised = Objective(first.module, "cross_entropy", (x, y), l2=l2)

    def plain() -> None:
        module = copy.deepcopy(first.module).train()
        optimiser = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=l2)
        for _ in range(epochs):
            for batch in torch.randperm(len(y)).split(128):
                optimiser.zero_grad()
                functional.cross_entropy(module(x[batch]), y[batch]).backward()
                optimiser.step()

    def curve() -> None:
        options = {"num_points": 3, "tolerance": np.inf}
        connect(penalised, first.theta, other.theta, lr=0.05, epochs=epochs, **options)

    assert ratio(curve, plain, rounds=3) <= ask


def ratio(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> float:
    """Median of the ratios of processor times, each of ours against theirs right after it; one round warms up."""
    found = []
    for _ in range(rounds + 1):
        seconds = []
        for function in (ours, theirs):
            used = resource.getrusage(resource.RUSAGE_SELF)
            function()
            now = resource.getrusage(resource.RUSAGE_SELF)
            seconds.append(now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime)
        found.append(seconds[0] / seconds[1])
    print(f"\n{median(found[1:]):.3f}")
    return median(found[1:])


def test_batch_norm_between_two_nets_wants_statistics_of_its_own():
    net = objective(0, batchnorm=True)
    pair = end(0, batchnorm=True), end(1, batchnorm=True)
    frozen, fresh, repaired = (
        interpolate(net, *pair, num_points=61, batchnorm=name).barrier_chord
        for name in ("frozen", "recalibrate", "repair")
    )
    print(f"\nfrozen {frozen:.4f}, recalibrated {fresh:.4f}, repaired {repaired:.4f}")
    assert frozen > 3 * fresh
    assert repaired <= fresh


def test_repair_lowers_the_line_between_nets_without_batch_norm(pairs):
    net = objective(0)
    lines = {
        name: mean(interpolate(net, *pair, num_points=61, batchnorm=name).barrier_chord for pair in pairs)
        for name in ("frozen", "repair")
    }
    print(f"\nplain {lines['frozen']:.4f}, repaired {lines['repair']:.4f}")
    assert lines["repair"] < lines["frozen"]
