"""Outputs that are objects: what was planted comes back, and a map that changes what they hold is none."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily, Normal
from torch.nn.modules import transformer

import landscape
from landscape import Objective
from landscape.symmetry import symmetry_of

X = torch.randn(13, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.randn(13, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
KINDS = {
    "normal": (lambda a, b: Normal(a, b.exp()), lambda o, t: -o.log_prob(t).mean()),
    "mixture": (
        lambda a, b: MixtureSameFamily(Categorical(logits=a), Normal(b, a.exp())),
        lambda o, t: -o.log_prob(t[:, 0]).mean(),
    ),
    "namespace": (
        lambda a, b: SimpleNamespace(mean=a, spread=b),
        lambda o, t: ((o.mean - t) * o.spread).square().mean(),
    ),
}


class Wrapped(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            self.first, self.one, self.other = (
                nn.Linear(*sizes).double() for sizes in ((4, 5), (5, 2), (5, 2))
            )
        self.wrap = wrap

    def forward(self, x):
        h = self.first(x).tanh()
        return self.wrap(self.one(h), self.other(h))


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_planted_comes_back(kind):
    wrap, loss = KINDS[kind]
    looks = Distribution._validate_args  # none, where something was compiled before
    objective = Objective(Wrapped(wrap), loss, (X, Y))
    tensors, order = {**objective.module.state_dict()}, torch.tensor([2, 0, 4, 1, 3])
    for name in ("first.weight", "first.bias"):
        tensors[name] = tensors[name][order]
    for name in ("one.weight", "other.weight"):
        tensors[name] = tensors[name][:, order]
    found = landscape.align(
        objective, objective.as_point(objective.theta), objective.point(tensors), num_points=3
    )
    assert found.status == "complete"
    assert found.distance_after == 0
    assert Distribution._validate_args is looks


def test_signs_before_an_object_come_back():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(2)
            self.net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 4)).double()

        def forward(self, x):
            return KINDS["mixture"][0](*self.net(x).chunk(2, 1))

    objective = Objective(Mixed(), KINDS["mixture"][1], (X, Y))
    tensors = {name: one.clone() for name, one in objective.module.state_dict().items()}
    for name, at in (("net.0.weight", 1), ("net.0.bias", 1), ("net.2.weight", (slice(None), 1))):
        tensors[name][at] *= -1
    found = landscape.align(objective, objective.present_point(), objective.point(tensors), num_points=3)
    assert found.status == "complete"
    assert found.distance_after == 0


def test_what_objects_hold_is_compared():
    """The units of the output are not hidden ones: in another order the object holds other numbers."""
    symmetry = symmetry_of(Wrapped(KINDS["namespace"][0]), (X,)).symmetry
    assert [group.size for group in symmetry.groups if not group.reason] == [5]


class Masked(nn.Module):
    """Layers of torch's own, with a mask that they look at."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(6, 2, 5, 0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.last = nn.Linear(6, 2)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]).to(x)
        return self.last(self.layers(x, mask=mask))


def test_layers_that_look_at_their_mask_are_traced():
    look = transformer._detect_is_causal_mask
    module = Masked().double().eval()
    x = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = symmetry_of(module, (x,))
    assert sorted(found.symmetry.groups[i].size for i in found.symmetry.free) == [2, 3, 3, 5]
    assert transformer._detect_is_causal_mask is look
