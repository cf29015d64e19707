"""Bounds that are exact where the paths of Ding, Li and Sun are, and barriers of linear nets, which are known."""

import numpy as np
import pytest
import torch
from torch import nn

from landscape import Objective
from landscape.descent.critical import perfected
from landscape.valleys.exchange import exchanged
from landscape.valleys.joining import lowest_path, never_rises
from landscape.valleys.polyline import measured
from landscape.valleys.raising import best_last
from landscape.valleys.readout import readout_of
from tests.valleys.test_paths import THREE, column, of_ding

FIVE = column(-2, -1, 0.5, 1, 3)


def ends(objective: Objective, number: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    draws = torch.empty(number, objective.num_parameters, dtype=torch.float64)
    found = [
        perfected(objective, one, tolerance=1e-9).theta for one in draws.uniform_(-4, 4, generator=generator)
    ]
    return sorted((one for one in found if np.isfinite(objective.value(one))), key=objective.value)


# Too few units to give the features rank n: the sheet's data, and others, with w of better ends.
LOWER = [
    (THREE, [1439.0, -12.7]),
    (column(-1, 1, 2), [59001.0, 12.12]),
    (FIVE, [-1.79, 2.6, -1.54]),
    (column(0.5, 1, 1.5, 2, 3), [-0.22, -82.4, 0.51, 13.1]),
]


@pytest.mark.parametrize(("x", "w"), LOWER, ids=["the sheet's", "both signs", "three units", "four units"])
def test_a_bad_minimum_is_left_without_a_rise_at_widths_below_the_samples(x, w):
    objective = of_ding(len(w), x)
    theta, value = objective.theta, objective.value(objective.theta)
    readout = readout_of(objective, theta)
    best = best_last(objective, readout, torch.cat([torch.tensor(w, dtype=torch.float64), theta[len(w) :]]))
    level = objective.value(best)
    assert level < value / 2
    path = measured(objective, "", torch.stack(exchanged(objective, readout, theta, best)))
    assert never_rises(path, value)
    # The end is the other net's function, with its units in another order.
    assert path.end == pytest.approx(level, rel=1e-9, abs=1e-14)
    if len(w) == 2:
        found = lowest_path(objective, theta, best, level=level * (1 + 1e-9), curve_steps=0, seed=0)
        assert never_rises(found.path, value)


@pytest.mark.slow
@pytest.mark.parametrize("x", [column(0.5, 1, 2, 3), FIVE], ids=["four", "five"])
def test_a_freed_unit_falls_where_no_exchange_stays_below(x):
    objective = of_ding(2, x)
    best = ends(objective, 8)[0]
    level = objective.value(best) * (1 + 1e-9)
    found = lowest_path(objective, objective.theta, best, level=level, curve_steps=0, seed=0)
    assert never_rises(found.path, objective.value(objective.theta))


# X and Y of Baldi and Hornik's problem; F of the global minima and where mirror images of them are joined.
X = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], dtype=torch.float64)
Y = torch.tensor([[3, 0, 1], [0, 2, 0], [0, 0, 1], [1, -1, 0]], dtype=torch.float64)
BARRIERS = {
    1: (1.6298695586, 3.7073571044),
    2: (1.0872266630, 1.6051428956),
    3: (1.0625, 1.0872266630),
    4: (1.0625, 1.0625),
}


def mirrored(width: int, x: torch.Tensor, y: torch.Tensor) -> tuple[Objective, torch.Tensor, torch.Tensor]:
    """A global minimum of a two-layer linear net, and its image with a unit's signs turned."""
    net = nn.Sequential(nn.Linear(x.shape[1], width, bias=False), nn.Linear(width, y.shape[1], bias=False))
    objective = Objective(net.double(), "mse", (x, y))
    torch.manual_seed(1)
    best = perfected(objective, torch.randn(objective.num_parameters, dtype=torch.float64), tolerance=1e-9)
    readout = readout_of(objective, best.theta)
    last = readout.last(best.theta).clone()
    last[:, 0] *= -1
    image = readout.with_last(readout.with_unit(best.theta, 0, -readout.unit(best.theta, 0)), last)
    return objective, best.theta, image


def formula(width: int, x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
    """F of the global minima and of the lowest pass between mirror images (Freeman and Bruna), by eigenvalues."""
    whole = y.T @ x @ torch.linalg.inv(x.T @ x) @ x.T @ y
    values = torch.linalg.eigvalsh(whole).flip(0)
    total = float((y**2).sum())
    q = len(values)

    def loss(*kept: int) -> float:
        return (total - float(values[list(kept)].sum())) / y.numel()

    first = tuple(range(min(width, q)))
    if width > q:
        return loss(*first), loss(*first)
    return loss(*first), loss(*first[:-1], width) if width < q else loss(*first[:-1])


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_the_formula_is_the_sheet_s(width):
    # `mse` is the mean over three outputs too.
    np.testing.assert_allclose(3 * np.array(formula(width, X, Y)), BARRIERS[width], atol=1e-9)


OTHER = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(6, 2).sin() @ torch.diag(column(1, 2)[:, 0])
CASES = [(width, X, Y) for width in BARRIERS] + [
    (width, torch.cat([OTHER, OTHER[:, :1] ** 2], 1), torch.cat([OTHER**2, OTHER[:, 1:] ** 3 - 1], 1))
    for width in (2, 4)
]


@pytest.mark.parametrize(("width", "x", "y"), CASES)
def test_no_path_between_mirror_images_is_below_the_barrier_of_a_linear_net(width, x, y):
    objective, a, b = mirrored(width, x, y)
    low, high = formula(width, x, y)
    assert objective.value(a) == pytest.approx(low, abs=1e-10)
    nodes = exchanged(objective, readout_of(objective, a), a, b)
    height = measured(objective, "", torch.stack(nodes)).height
    assert height >= high - 1e-12
    if width > min(x.shape[1], y.shape[1]):
        assert height == pytest.approx(high, abs=1e-10)
