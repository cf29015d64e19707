"""What an element of every group alone does to the numbers called sharpness, against a Hessian written out in full."""

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from symmetric import Decoder, Gpt, built, numbers
from torch import Tensor, nn
from torch.autograd.functional import hessian
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

import landscape
from landscape import Objective, Point
from landscape.objective.parameters import split
from landscape.symmetry.element import moved


class Last(nn.Module):
    """The logits at the last place of a net of tokens."""

    def __init__(self, inside: nn.Module):
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor) -> Tensor:
        return self.inside(x)[:, -1]


def gaussian() -> Tensor:
    return torch.randn(12, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def tokens() -> Tensor:
    return numbers(5, 6, 4)()


# A module, its inputs, and its groups, of which those that are orthogonal maps of θ.
MODULES = {
    "ReLU": (
        lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)),
        gaussian,
        {"permutations", "scalings of units"},
    ),
    "tanh": (
        lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)),
        gaussian,
        {"permutations", "changes of sign"},
    ),
    "linear": (
        lambda: nn.Sequential(*(nn.Linear(a, b, bias=False) for a, b in pairwise((4, 3, 3)))),
        gaussian,
        {"permutations", "invertible maps"},
    ),
    "GPT-2": (
        lambda: Last(Gpt(width=4, vocabulary=5, bias=False)),
        tokens,
        {
            "permutations",
            "scalings of units",
            "turns of a residual stream",
            "invertible maps",
            "translations of what no output sees",
        },
    ),
    "Llama": (
        lambda: Last(Decoder(width=4, hidden=3, vocabulary=5)),
        tokens,
        {
            "permutations",
            "scalings of units",
            "turns of a residual stream",
            "invertible maps",
            "turns and scales of rotary pairs",
        },
    ),
}  # fmt: skip
ORTHOGONAL = {"permutations", "changes of sign"}
NAMES = [pytest.param(one, marks=pytest.mark.slow) if one in ("Llama", "GPT-2") else one for one in MODULES]


def dense(objective: Objective, point: Point) -> Tensor:
    """The Hessian of the mean cross entropy, by derivatives of the user's module alone."""
    (x,), y = objective.samples
    fixed = dict(point.fixed)

    def loss(theta: Tensor) -> Tensor:
        outputs = functional_call(objective.module, {**fixed, **split(theta, objective.pieces)}, (x,))
        return nn.functional.cross_entropy(outputs, y)

    with sdpa_kernel(SDPBackend.MATH):
        found: Any = hessian(loss, point.theta, vectorize=False)
    return found


@cache
def seen(name: str) -> tuple[Objective, Any, dict[str, Point], dict[str, Tensor]]:
    """The objective, what sharpness says, points moved by one group alone, and the Hessian at each."""
    factory, inputs, _ = MODULES[name]
    x = inputs()
    objective = Objective(built(factory).double().eval(), "cross_entropy", (x, torch.arange(len(x)) % 3))
    result = landscape.sharpness(
        objective, objective.theta, rescaling="all", fisher_rao=True, sigmas=(0.01,), num_draws=2, ascent_steps=2
    )  # fmt: skip
    precision = 1e-9
    there = moved(objective, objective.present_point(), seed=0, tolerance=precision)
    places = {"here": objective.present_point(), **there.alone}
    return objective, result, places, {what: dense(objective, one) for what, one in places.items()}


@pytest.mark.parametrize("name", NAMES)
def test_every_group_is_tried_alone_and_keeps_the_function(name):
    objective, _, places, _ = seen(name)
    assert set(places) - {"here"} == MODULES[name][2]
    (x,), _ = objective.samples
    with torch.no_grad():
        wanted = objective.module_at(places["here"])(x)
        for what, point in places.items():
            given = objective.module_at(point)(x)
            assert float((given - wanted).abs().max()) <= 1e-9 * float(wanted.abs().max()), what


@pytest.mark.parametrize("name", [one for one in NAMES if one != "tanh"])
def test_the_numbers_by_group_are_those_of_the_hessian_written_out(name):
    _, result, _, matrices = seen(name)
    rows = dict(zip(result.group.tolist(), result.values_by_group, strict=True))
    measures = result.measure.tolist()
    here = torch.linalg.eigvalsh(matrices["here"])
    for what, row in rows.items():
        there = torch.linalg.eigvalsh(matrices[what])
        largest = float(there[-1])
        assert row[measures.index("lambda_max")] == pytest.approx(largest, rel=2e-3), what
        changes = abs(largest - float(here[-1])) > 1e-6 * float(here[-1])
        flag = bool(result.changes_by_group[result.group.tolist().index(what)][measures.index("lambda_max")])
        assert flag == changes, what
        if what in ORTHOGONAL:
            np.testing.assert_allclose(there, here, atol=1e-9 * float(here.abs().max()))


@pytest.mark.parametrize("name", [one for one in NAMES if one != "tanh"])
def test_what_changes_is_said_by_group_and_the_function_stays(name):
    _, result, _, _ = seen(name)
    assert {one.name: one for one in result.checks}["function preserved"].value <= 1e-9
    names = result.measure.tolist()
    rows = dict(zip(result.group.tolist(), result.changes_by_group.tolist(), strict=True))
    assert set(rows) == MODULES[name][2]
    assert result.values_by_group.shape == (len(rows), len(names))
    note = next(one for one in result.notes if one.startswith("changed by one kind of group alone: "))
    for group, row in rows.items():
        clause = next(part for part in note.split("; ") if group in part)
        assert ("lambda_max" in clause) == row[names.index("lambda_max")]


@pytest.mark.parametrize("name", NAMES)
def test_the_spectrum_stays_under_orthogonal_maps_of_the_weights_alone(name):
    _, _, _, matrices = seen(name)
    here = torch.linalg.eigvalsh(matrices["here"])
    for what, matrix in matrices.items():
        gap = float((torch.linalg.eigvalsh(matrix) - here).abs().max() / here.abs().max())
        if what in {"here", *ORTHOGONAL}:
            assert gap <= 1e-9, what
        elif what != "turns of a residual stream":  # which are orthogonal but for the gains that they take in
            assert gap > 0.01, what
    # The inertia is that of the function where the map is linear in θ (Sylvester): signs stay, sizes do not.
    counts = {what: int((torch.linalg.eigvalsh(one) < -1e-8).sum()) for what, one in matrices.items()}
    if "invertible maps" not in MODULES[name][2]:
        assert len(set(counts.values())) == 1
