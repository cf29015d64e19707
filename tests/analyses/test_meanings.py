"""Analyses on modules, losses and data as people bring them: their numbers against plain calls of everything.

The truth is :class:`meanings.Meaning`: weights written into the module, ``loss(module(x), y)`` of all samples at once.
"""

import functools

import numpy as np
import pytest
import torch
from meanings import MEANINGS, draw
from torch.nn.utils import parameters_to_vector

import landscape
from landscape import Objective

# Values, slopes and products of every meaning at every size are compared in tests/objective/test_meaning.py.
CHUNKS = [7, *(pytest.param(size, marks=pytest.mark.slow) for size in (1, 64, None))]
# Near relatives of others: what analyses are made of is compared for them too, there.
RELATIVES = {
    "1 - R²",
    "a weight of the outputs",
    "balance that the module keeps",
    "bce with a weight per sample",
    "contrastive",
    "criterion with one parameter",
    "dataclass in",
    "dictionary out",
    "graph by its edges",
    "graph in one piece",
    "ignored pixels, by a function",
    "list out",
    "mixing that is zero at first",
    "module with its own sum",
    "named tuple out",
    "old weight norm",
    "ranking",
    "sum, by a function",
    "triplets",
    "weight norm of a convolution",
    "weighted likelihood",
    "weighted, by a function",
}
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name in RELATIVES else []) for name in MEANINGS]


@functools.cache
def meaning_of(name):
    return MEANINGS[name]()


def start(name):
    return parameters_to_vector(p for p in meaning_of(name).module.parameters() if p.requires_grad).detach()


def plain(name, theta) -> float:
    """F at θ by a plain call."""
    meaning = meaning_of(name)
    with meaning.at(torch.as_tensor(theta, dtype=torch.float64)):
        return float(meaning.value().detach())


@functools.cache
def truth(name):
    """θ, another point, ∇F and the eigenvalues of H at θ, from products of plain double backward."""
    theta = start(name)
    other = theta + 0.2 * draw(len(theta), seed=21)
    meaning = meaning_of(name)
    rows = [meaning.derivatives(theta, axis)[2] for axis in torch.eye(len(theta), dtype=torch.float64)]
    matrix = torch.stack(rows)
    slope = meaning.derivatives(theta, torch.zeros_like(theta))[1]
    return theta, other, slope, torch.linalg.eigvalsh((matrix + matrix.T) / 2).numpy()


def objective_of(name, chunk_size):
    meaning = meaning_of(name)
    return Objective(meaning.module, meaning.loss, meaning.data, chunk_size=chunk_size)


def test_relatives_are_meanings():
    assert set(MEANINGS) > RELATIVES


def is_sound(result):
    assert [one.name for one in result.checks if not one.passed] == []
    assert result.status == "complete"


@pytest.mark.parametrize("chunk_size", CHUNKS)
@pytest.mark.parametrize("name", NAMES)
def test_values_slopes_and_eigenvalues(name, chunk_size):
    theta, other, slope, values = truth(name)
    objective = objective_of(name, chunk_size)
    found = landscape.hessian(objective, theta, top_k=1, exact=True)
    is_sound(found)
    scale = np.abs(values).max()
    assert float(found.loss) == pytest.approx(plain(name, theta), rel=1e-12)
    assert float(found.gradient_norm) == pytest.approx(float(slope.norm()), rel=1e-9)
    assert found.eigenvalues[0] == pytest.approx(values[-1], abs=1e-6 * scale)
    np.testing.assert_allclose(found.spectrum, values, atol=1e-9 * scale)

    row = landscape.slice1d(objective, theta, num_points=5, ignore=())
    is_sound(row)
    (away,) = row.directions
    for alpha, loss in zip(row.alpha, row.loss, strict=True):
        assert loss == pytest.approx(plain(name, theta + alpha * torch.as_tensor(away)), rel=1e-11)

    line = landscape.interpolate(objective, theta, other, num_points=5)
    is_sound(line)
    for alpha, loss in zip(line.alpha, line.loss, strict=True):
        assert loss == pytest.approx(plain(name, (1 - alpha) * theta + alpha * other), rel=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_the_losses_on_a_curve(name):
    theta, other, _, _ = truth(name)
    objective = objective_of(name, 7)
    settings = {"steps": 2, "lr": 1e-3, "num_points": 5, "batch_size": len(objective.samples.targets)}
    curve = landscape.connect(objective, theta, other, batchnorm="frozen", **settings)
    is_sound(curve)
    (bend,) = torch.as_tensor(curve.control_points)
    for t, loss, straight in zip(curve.t, curve.loss, curve.loss_straight, strict=True):
        on_curve = (1 - t) ** 2 * theta + 2 * t * (1 - t) * bend + t**2 * other
        assert loss == pytest.approx(plain(name, on_curve), rel=1e-11)
        assert straight == pytest.approx(plain(name, (1 - t) * theta + t * other), rel=1e-11)
    told = any("no standard errors" in note for note in curve.notes)
    assert told is not objective.tells_samples_apart
