"""Merging: every model stays its function, the arrangement is the best, and no order of the models matters."""

import re
from functools import cache
from itertools import permutations, product

import numpy as np
import pytest
import torch
from families import found_in, gaussian
from symmetric import Encoder, built, numbers
from torch import nn
from torch.nn.functional import cross_entropy

from landscape import Objective, Point
from landscape.analyses import align, merge, train
from landscape.errors import BadInput, ChangedFunction
from landscape.inputs.models.mlp import mlp
from landscape.inputs.models.resnet import resnet
from landscape.objective.parameters import split
from landscape.symmetry import merging, merging_proofs, symmetry_of
from landscape.symmetry.orbit import random_of_orbit
from landscape.symmetry.permutations import permuted


def problem(module: nn.Module, *shape: int, samples: int = 40) -> Objective:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(samples, *shape, generator=generator, dtype=torch.float64)
    return Objective(module, "cross_entropy", (x, torch.arange(samples) % 3))


def planted(objective: Objective, *seeds: int) -> list[Point]:
    """The present point with its units permuted at random, by every seed."""
    module = objective.module
    symmetry = symmetry_of(module, tuple(part[:2] for part in objective.samples[0])).symmetry
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    detached = {name: tensor.detach() for name, tensor in tensors.items()}
    orders = [symmetry.random(torch.Generator().manual_seed(seed)) for seed in seeds]
    return [objective.point(permuted(detached, symmetry, order)) for order in orders]


@cache
def trained(width: int = 10, count: int = 3) -> tuple[Objective, list[Point]]:
    """An objective and solutions from several starts."""
    points, objective = [], problem(built(lambda: mlp((4,), 3, (width,)), 0), 4)
    for seed in range(count):
        objective = problem(built(lambda: mlp((4,), 3, (width,)), seed), 4)
        result = train(objective, epochs=20, lr=0.2, batch_size=20, seed=seed)
        points.append(objective.point({n: torch.from_numpy(v) for n, v in result.states["final"].items()}))
    return objective, points


MODULES = {
    "mlp": (lambda: mlp((4,), 3, (12, 8), activation="gelu"), (4,)),
    "batch norm": (lambda: mlp((4,), 3, (12,), batchnorm=True, activation="gelu"), (4,)),
    "resnet": (lambda: resnet((2, 8, 8), 3, depth=8), (2, 8, 8)),
    "encoder": (lambda: Encoder(), (5, 8)),
}


@pytest.mark.parametrize("name", MODULES)
def test_models_that_are_permutations_of_one_have_it_as_their_mean(name):
    make, shape = MODULES[name]
    objective = problem(built(make, 0), *shape)
    points = planted(objective, 1, 2, 3, 4)
    result = merge(objective, points, batchnorm="frozen")
    assert not [one.name for one in result.checks if not one.passed]
    # The numbers of one model in one order, four times, but for the rounding of their mean.
    np.testing.assert_allclose(result.distance_after, 0, atol=1e-12)
    np.testing.assert_allclose(result.loss[:5], objective.value(objective.theta), rtol=1e-12)
    assert result.of.tolist()[4:] == ["merged", "mean without alignment"]
    assert abs(result.barrier) < 1e-12
    assert abs(result.barrier_soup) > 1e-3
    assert result.distance_before.min() > 0.1


@pytest.mark.parametrize("batchnorm", ["frozen", "recalibrate"])
def test_statistics_of_models_of_their_own_are_averaged_or_taken_anew(batchnorm):
    make, shape = MODULES["batch norm"]
    points = []
    for seed in range(3):
        objective = problem(built(make, seed), *shape)
        states = train(objective, epochs=4, lr=0.1, batch_size=20, seed=seed).states
        points.append(objective.point({n: torch.from_numpy(v) for n, v in states["final"].items()}))
    result = merge(objective, points, batchnorm=batchnorm)
    assert not [one for one in result.checks if not one.passed]
    names = [name for name in result.states["final"] if "running_mean" in name]
    assert names
    for name in names:
        mean = np.mean([result.states[f"model-{i + 1}"][name] for i in range(3)], axis=0)
        assert np.allclose(result.states["final"][name], mean) == (batchnorm == "frozen")


def test_the_order_in_which_the_models_are_given_decides_nothing():
    objective, points = trained()
    results = [merge(objective, [points[i] for i in order]) for order in permutations(range(3))]
    first = results[0].states["final"]
    for order, other in zip(permutations(range(3)), results, strict=True):
        for name, values in other.states["final"].items():
            assert np.array_equal(values, first[name])
        assert np.array_equal(other.distance_after, results[0].distance_after[list(order)])
        for k, i in enumerate(order):
            for name, values in other.states[f"model-{k + 1}"].items():
                assert np.array_equal(values, results[0].states[f"model-{i + 1}"][name])


@cache
def tokens(name: str) -> tuple[Objective, list[Point]]:
    """A net with continuous symmetries, and three that are random."""
    x = numbers(11, 24, 6)()
    data = (x, x.roll(1, 1))
    if name in ("ViT", "linear"):
        data = gaussian(24, *((7,) if name == "linear" else (3, 4, 4)))(), x[:, 0] % 3
    objective = Objective(found_in(name)[0], lambda h, y: cross_entropy(h if y.dim() == 1 else h.mT, y), data)
    return objective, [objective.point(found_in(name, seed)[4]) for seed in range(3)]


def test_models_moved_by_all_their_symmetries_have_one_of_them_as_their_mean():
    objective, (point, *_) = tokens("GPT-2")
    _, _, symmetry, families, tensors = found_in("GPT-2")
    points = [point]
    for seed in (1, 2):
        moved = random_of_orbit(symmetry, families, tensors, torch.Generator().manual_seed(seed))
        points.append(objective.point(moved))
    result = merge(objective, points, symmetry="all", restarts=1)
    assert not [one.name for one in result.checks if not one.passed]
    assert "nearest maps" in [one.name for one in result.checks]
    assert (result.distance_after < 1e-5 * result.distance_before).all()
    models = [result.states[f"model-{i + 1}"] for i in range(3)]
    family = next(one for one in families if one.kind == "invertible")
    away = family.acted(
        {name: torch.from_numpy(values) for name, values in models[2].items()},
        1.1 * torch.eye(family.size, dtype=torch.float64).repeat(family.copies, 1, 1),
    )
    models[2] = {name: values.numpy() for name, values in away.items()}
    check = merging_proofs.nearest_maps(objective, families, models, 0)
    assert check is not None
    assert not check.passed
    np.testing.assert_allclose(result.loss[:4], objective.value(point.theta), rtol=1e-9)
    assert abs(result.barrier_soup) > 1e-3
    assert any(re.match(r"all but model \d were moved by .*GL\(4\)\^2", note) for note in result.notes)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) for name in ("linear", "Llama", "ViT", "GPT-2")]
)
def test_with_all_symmetries_the_order_decides_nothing_and_models_come_closer_than_by_permutations(name):
    objective, points = tokens(name)
    orders = [(0, 1, 2), (2, 0, 1)]
    results = [merge(objective, [points[i] for i in order], symmetry="all", restarts=1) for order in orders]
    for result in results:
        assert not [one.name for one in result.checks if not one.passed]
    for name, values in results[0].states["final"].items():
        assert np.array_equal(values, results[1].states["final"][name])
    np.testing.assert_array_equal(results[1].distance_after, results[0].distance_after[list(orders[1])])
    alone = merge(objective, points, restarts=1)
    assert min(results[0].spread) < 0.9 * min(alone.spread)


def test_no_arrangement_of_few_units_is_closer():
    objective, points = trained(width=4)
    found = merge(objective, points, restarts=6)
    thetas = [{n: v.detach().numpy() for n, v in split(p.theta, objective.pieces).items()} for p in points]
    names = list(thetas[0])
    assert [thetas[0][n].shape for n in names] == [(4, 4), (4,), (3, 4), (3,)]

    def arranged(theta: dict, order: tuple[int, ...], signs: tuple[int, ...]) -> np.ndarray:
        w, b, v, c = (theta[n] for n in names)
        o, s = list(order), np.array(signs)
        return np.concatenate([(s[:, None] * w[o]).ravel(), s * b[o], (v[:, o] * s).ravel(), c])

    # ReLU units have no other sign.
    every = [[arranged(t, o, (1,) * 4) for o in permutations(range(4))] for t in thetas[1:]]
    base = arranged(thetas[0], (0, 1, 2, 3), (1,) * 4)
    best = min(
        float(sum(((one - np.mean(trio, axis=0)) ** 2).sum() for one in trio))
        for trio in ([base, one, other] for one, other in product(*every))
    )
    assert found.spread.min() == pytest.approx(best, rel=1e-9)


def test_two_models_lie_half_as_far_from_their_mean_as_aligned_ones_from_each_other():
    objective, points = trained()
    pair = align(objective, *points[:2], restarts=6)
    result = merge(objective, points[:2], restarts=6)
    np.testing.assert_allclose(result.distance_after, pair.distance_after / 2, rtol=1e-9)


def test_what_is_said_of_the_mean_is_what_a_plain_loop_says():
    objective, points = trained()
    x, y = (part[:20] for part in (*objective.samples.few(40).inputs, torch.arange(40) % 3))
    test = objective.on((x, y))
    result = merge(objective, points, test=test)
    module = objective.module_at(
        objective.point({n: torch.from_numpy(v) for n, v in result.states["final"].items()})
    )
    data = objective.samples.few(40)
    each = cross_entropy(module(*data.inputs), torch.arange(40) % 3, reduction="none").detach().numpy()
    models = [objective.module_at(one) for one in points]
    ends = np.stack(
        [cross_entropy(m(*data.inputs), torch.arange(40) % 3, reduction="none").detach() for m in models]
    )
    gaps = each - ends.mean(0)
    assert result.loss[3] == pytest.approx(each.mean(), rel=1e-12)
    assert result.barrier == pytest.approx(gaps.mean(), rel=1e-9)
    assert result.barrier_error == pytest.approx(gaps.std(ddof=1) / 40**0.5, rel=1e-9)
    assert result.test_loss is not None
    assert result.test_loss[3] == pytest.approx(each[:20].mean(), rel=1e-12)
    theta = np.mean([p.theta.numpy() for p in points], axis=0)
    assert result.barrier_soup == pytest.approx(
        objective.value(torch.from_numpy(theta)) - ends.mean(), rel=1e-9
    )


def test_what_cannot_be_merged_is_said(monkeypatch):
    objective, points = trained()
    with pytest.raises(BadInput, match="2 points that are one and the same; expected points that differ"):
        merge(objective, [points[0], points[0]])
    with pytest.raises(BadInput, match="1 points; expected at least two"):
        merge(objective, points[:1])
    notes = merge(objective, [points[0], points[1], points[0]]).notes
    assert any(one == "model 3 is model 1 again, and counts twice" for one in notes)
    monkeypatch.setattr(merging, "function_difference", lambda *_: 0.5)
    with pytest.raises(ChangedFunction, match=r"by 0\.5 of their size"):
        merge(objective, points)


def test_a_penalty_that_maps_move_is_said_of_every_model():
    """Scales leave the outputs of a ReLU net, not the sum of its squares; permutations leave both."""
    module = built(lambda: mlp((4,), 3, (6,)), 0)
    x = torch.randn(20, 4, dtype=torch.float64)
    objective = Objective(module, "cross_entropy", (x, torch.arange(20) % 3), l2=0.1)
    generator = torch.Generator().manual_seed(2)
    points = [
        objective.present_point(),
        objective.as_point(torch.randn(objective.num_parameters, generator=generator, dtype=torch.float64)),
    ]
    plainly = merge(objective, points, restarts=1)
    assert not [note for note in plainly.notes if "F of" in note]
    assert [check.passed for check in plainly.checks if check.name == "models kept"] == [True]
    scaled = merge(objective, points, symmetry="scaling", restarts=1)
    (said,) = [note for note in scaled.notes if note.startswith("F of")]
    name, before, after = re.findall(r"F of (.+) was (\S+) and is (\S+):", said)[0]
    row = scaled.model.tolist().index(name)
    state = {key: torch.from_numpy(value) for key, value in scaled.states[f"model-{row + 1}"].items()}
    assert float(before) == pytest.approx(objective.value(points[row].theta), rel=1e-5)
    assert float(after) == pytest.approx(objective.value(objective.point(state).theta), rel=1e-5)
    assert all(check.passed for check in scaled.checks)


class Adapted(nn.Module):
    """A frozen net with an adapter of low rank on its hidden layer."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 3)
        self.requires_grad_(False)
        self.down, self.up = nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(6, 3))

    def forward(self, x):
        return self.last(torch.tanh(self.first(x) + x @ self.down.T @ self.up.T))


@pytest.mark.parametrize("symmetry", ["permutation", "all"])
def test_adapters_of_one_frozen_net_leave_it_as_it_is(symmetry):
    """Its units were permuted to bring those of the adapters closer, and averaged with those of another order."""
    x = torch.randn(20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    objective = Objective(built(Adapted).double(), "cross_entropy", (x, torch.arange(20) % 3))
    generator = torch.Generator().manual_seed(1)
    size = len(objective.theta)
    points = [objective.as_point(torch.randn(size, generator=generator).double()) for _ in range(3)]
    found = align(objective, *points[:2], symmetry=symmetry, num_points=3)
    both = merge(objective, points, symmetry=symmetry, restarts=1)
    assert {found.status, both.status} == {"complete"}
    assert found.group_size.tolist() == [3]
    for state in (found.states["final"], *both.states.values()):
        for name, one in points[0].fixed.items():
            np.testing.assert_allclose(state[name], one, rtol=1e-15)
