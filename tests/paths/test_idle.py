"""The path through idle units as a curve of `connect`: never above the ends and their halves, whatever the dtype."""

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import Objective
from landscape.errors import BadInput


def net(width: int, bias: bool, dtype: torch.dtype) -> Objective:
    generator = torch.Generator().manual_seed(width)
    x, y = torch.randn(2, 12, 2, generator=generator, dtype=torch.float64).to(dtype)
    torch.manual_seed(width)
    layers = nn.Sequential(nn.Linear(2, width, bias=bias), nn.Tanh(), nn.Linear(width, 2, bias=bias))
    return Objective(layers.to(dtype), "mse", (x, y))


@pytest.mark.parametrize(
    ("width", "bias", "dtype"),
    [(4, True, torch.float64), (5, False, torch.float64), (6, True, torch.float32)],
)
def test_no_point_is_above_the_ends_and_their_halves(width, bias, dtype):
    objective = net(width, bias, dtype)
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, objective.num_parameters, generator=generator, dtype=torch.float64).to(dtype)
    found = landscape.connect(objective, a, b, method="idle", num_points=101)
    halves = [objective.value(torch.as_tensor(found.control_points[k]).to(a)) for k in (0, -1)]
    highest = max(objective.value(a), objective.value(b), *halves)
    assert found.max_loss <= highest * (1 + 1e-5)
    assert len(found.epoch) == 0
    assert (np.diff(found.control_t) > 0).all()
    # The halves are corners, so they are met exactly.
    assert np.isin(found.control_t, found.t).all()
    assert [check.name for check in found.checks if not check.passed] == []
    assert landscape.plot(found).axes


@pytest.mark.parametrize("width", [4, 5, 30])
def test_the_layer_and_the_units_are_named(width):
    objective = net(width, False, torch.float64)
    generator = torch.Generator().manual_seed(2)
    a, b = torch.randn(2, objective.num_parameters, generator=generator, dtype=torch.float64)
    found = landscape.connect(objective, a, b, method="idle", num_points=5)
    (words,) = [note for note in found.notes if note.startswith("through idle units")]
    assert f"of the layer 0 ({width} units, read by 2)" in words
    # By the path itself: after its first piece the outgoing weights of the others are 0.
    half = found.control_points[1][-2 * width :].reshape(2, width)
    used = [str(j) for j in range(width) if half[:, j].any()]
    said = words.split("A is brought to its units ")[1].split(", B to")[0]
    assert said == ", ".join(used if len(used) <= 8 else [*used[:7], "…", used[-1]])


def test_halves_that_do_as_well_make_it_flat():
    # Half of the units are idle in both: the path is convex in the outputs, 0 at both ends.
    objective = net(4, False, torch.float64)
    w = torch.tensor([[1.0, 0.5], [-0.3, 1], [0.2, 0.1], [0.7, -1]], dtype=torch.float64)
    v = torch.tensor([[1.0, -1, 0, 0], [0.5, 2, 0, 0]], dtype=torch.float64)
    a = torch.cat([w.ravel(), v.ravel()])
    # Its units in the other order: the same function.
    b = torch.cat([w.flip(0).ravel(), v.flip(1).ravel()])
    (x,) = objective.samples[0]
    exact = Objective(objective.module, "mse", (x, torch.tanh(x @ w.T) @ v.T))
    found = landscape.connect(exact, a, b, method="idle")
    assert found.max_loss < 1e-24
    assert found.barrier_chord_straight > 1e-3


@pytest.mark.parametrize(
    ("layers", "more"),
    [
        ([nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)], {}),
        ([nn.Linear(2, 2)], {}),
        ([nn.Linear(2, 1), nn.Tanh(), nn.Linear(1, 2)], {}),
        ([nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)], {"epochs": 2}),
    ],
    ids=["deep", "linear", "one unit", "epochs"],
)
def test_what_has_no_such_path_is_said(layers, more):
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    objective = Objective(nn.Sequential(*layers), "mse", (x, x))
    with pytest.raises(BadInput):
        landscape.connect(objective, objective.theta, objective.theta + 1, method="idle", **more)
