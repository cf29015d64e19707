"""Families that few samples let pass and others do not."""

import pytest
import torch
from torch import Tensor, nn

from landscape import Objective
from landscape.objective.samples import converted
from landscape.symmetry import function_difference
from landscape.symmetry.alignment import aligned, with_units
from landscape.symmetry.continuous import families_of
from landscape.symmetry.everywhere import families_on
from landscape.symmetry.orbit import random_of_families


class Rare(nn.Module):
    """What only inputs above 2 reach: units of tanh."""

    def __init__(self):
        super().__init__()
        self.usual, self.rare = (
            nn.Sequential(nn.Linear(3, n), one, nn.Linear(n, 2))
            for n, one in ((5, nn.ReLU()), (4, nn.Tanh()))
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x[:, :1] > 2, self.rare(x), self.usual(x))


class Resting(nn.Module):
    """Units of ReLU that are at rest but for one sample, and of which only it says that they are squared."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(x)
        return self.down(torch.relu(y) + torch.relu(x[:, :1] - 2) * y.square())


@pytest.mark.parametrize("net", [Rare, Resting])
@pytest.mark.parametrize("chunk", [7, 100])
def test_what_few_samples_do_not_reach_is_looked_at(net, chunk):
    torch.manual_seed(0)
    x = torch.randn(60, 3).clamp(max=1.9)
    x[41, 0] = 3
    objective = Objective(net(), "mse", (x, torch.randn(60, 2)), chunk_size=chunk)
    a, b = (objective.point(dict(net().named_parameters())) for _ in "ab")
    module, traced = with_units(objective, b, "a test", 4, 0)
    inputs = converted(x, torch.device("cpu"), torch.float64)
    few = families_of(module, (inputs[:4],), traced)
    every = families_of(module, (inputs,), traced)
    found = families_on(objective, module, traced, 4, 0)

    start = {name: one.detach() for name, one in module.named_parameters()}
    generator = torch.Generator().manual_seed(1)
    assert [
        function_difference(module, start, random_of_families(one.families, start, generator), [(inputs,)])
        < 1e-9
        for one in (few, every, found)
    ] == [False, True, True]
    assert [(one.text, one.name) for one in found.families] == [
        (one.text, one.name) for one in every.families
    ]
    assert found.dimension == every.dimension < few.dimension
    assert aligned(objective, a, b, symmetry="all").planted_recovered


def test_samples_that_do_not_fit_beside_the_first_have_their_families_refused(monkeypatch):
    torch.manual_seed(0)
    x = torch.randn(60, 3).clamp(max=1.9)
    x[41, 0] = 3
    objective = Objective(Rare(), "mse", (x, torch.randn(60, 2)))
    monkeypatch.setattr("landscape.symmetry.everywhere._joined", lambda *_: None)
    point = objective.point(dict(Rare().named_parameters()))
    found = families_on(objective, *with_units(objective, point, "a test", 4, 0), 4, 0)
    assert [one.text for one in found.families] == ["R>0^5"]
    assert found.dimension == 5
    assert any("at samples that it was not found on" in one for one in found.refused)


class Graph(nn.Module):
    """Nodes that hear from others by edges that the module holds: of fewer nodes there is no call."""

    def __init__(self):
        super().__init__()
        self.register_buffer("edges", torch.stack([torch.arange(20), torch.arange(20).flip(0)]))
        self.first, self.last = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        heard = torch.zeros_like(h).index_add_(0, self.edges[1], h[self.edges[0]])
        return self.last(torch.relu(h + 0.5 * heard))


def test_a_graph_is_looked_at_as_a_whole():
    torch.manual_seed(0)
    x, y = torch.randn(20, 3), torch.arange(20) % 2
    objective = Objective(Graph(), "cross_entropy", (x, y))
    a, b = (objective.point({**Graph().state_dict(), "edges": objective.module.edges}) for _ in "ab")
    module, traced = with_units(objective, b, "a test", 4, 0)
    found = families_on(objective, module, traced, 4, 0)
    assert [(one.text, one.name) for one in found.families] == [("R>0^5", "first.weight[0]")]
    start = {name: one.detach() for name, one in (*module.named_parameters(), *module.named_buffers())}
    after = random_of_families(found.families, start, torch.Generator().manual_seed(1))
    assert function_difference(module, start, after, [(x.double(),)]) < 1e-9
    found = aligned(objective, a, b, symmetry="all")
    assert found.planted_recovered
    assert found.symmetry.groups[found.symmetry.free[0]].size == 5
