"""Modules whose ``train()`` and ``eval()`` do more than to set ``training``: in every mode as a plain loop has them."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import landscape
from landscape import Objective

X = torch.randn(13, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.arange(13) % 3


class Warm(nn.Module):
    """A temperature, and a forward, of each mode; its batch norm never trains."""

    def __init__(self):
        super().__init__()
        self.body, self.norm = nn.Linear(4, 3).double(), nn.BatchNorm1d(3).double()
        self.norm.running_mean.fill_(0.3)
        self.temperature = 1.0
        self.ended = self.plainly

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        self.temperature, self.ended = (1.0, self.plainly) if mode else (0.1, self.doubled)
        return self

    def plainly(self, h):
        return h

    def doubled(self, h):
        return 2 * h

    def forward(self, x):
        return self.ended(self.norm(self.body(x))) / self.temperature


class Resetting(Warm):
    """Each mode with a cache, a dtype, a layer without parameters, a mask made anew, and a hook, of its own."""

    hook = None

    def train(self, mode=True):
        super().train(mode)
        self.cache, self.shift, self.dtype = (
            {},
            (0.0, 0.5 if mode else 0.0),
            (torch.float32, torch.float64)[mode],
        )
        self.bend = nn.Tanh() if mode else nn.Sigmoid()
        self.register_buffer("mask", torch.ones(3, dtype=torch.float64))
        if self.hook is not None:
            self.hook.remove()
        self.hook = self.body.register_forward_hook(lambda *given: 3 * given[-1]) if mode else None
        return self

    def forward(self, x):
        mask = self.cache.setdefault("mask", self.mask.to(self.dtype).double())
        return self.ended(self.bend(self.norm(self.body(x)))) / self.temperature * mask + self.shift[1]


class Tempered(Warm):
    """The temperature of each mode is a tensor, made anew."""

    def train(self, mode=True):
        super().train(mode)
        self.temperature = torch.tensor(self.temperature, dtype=torch.float64)
        return self


class Kept(Warm):
    """In eval mode a tensor is kept that is computed from θ."""

    def train(self, mode=True):
        super().train(mode)
        self.temperature = torch.tensor(1.0) if mode else self.body.weight.detach().norm()
        return self


class Merging(nn.Module):
    """An adapter that eval() adds to the weights, as that of loralib does."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 3).double()
        self.down = nn.Parameter(torch.full((2, 4), 0.3, dtype=torch.float64))
        self.up = nn.Parameter(torch.full((3, 2), 0.1, dtype=torch.float64))
        self.is_merged = False

    def train(self, mode=True):
        super().train(mode)
        if mode is self.is_merged:
            self.body.weight.data.add_(self.up @ self.down, alpha=-1 if mode else 1)
            self.is_merged = not mode
        return self

    def forward(self, x):
        return self.body(x) if self.is_merged else self.body(x) + x @ self.down.T @ self.up.T


class Averaging(nn.Module):
    """eval() puts an average in the place of the weights."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 3).double()
        self.register_buffer("average", torch.ones(3, 4, dtype=torch.float64))

    def train(self, mode=True):
        if mode is not self.training:
            ours = self.body.weight.data.clone()
            self.body.weight.data.copy_(self.average)
            self.average.copy_(ours)
        return super().train(mode)

    def forward(self, x):
        return self.body(x)


def loop(module, steps):
    """Losses in eval mode along plain steps in training mode."""
    module, found = copy.deepcopy(module), []
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for number in range(steps + 1):
        found.append(cross_entropy(module.eval()(X), Y).item())
        if number < steps:
            optimizer.zero_grad()
            cross_entropy(module.train()(X), Y).backward()
            optimizer.step()
    return found


@pytest.mark.parametrize(
    ("make", "is_training"),
    [*((kind, mode) for kind in (Warm, Resetting, Tempered) for mode in (True, False)), (Merging, True)],
)
def test_losses_and_steps_are_those_of_a_plain_loop(make, is_training):
    torch.manual_seed(1)
    module = make().train(is_training)
    before = {name: one.clone() for name, one in module.state_dict().items()}
    held = [{**layer.__dict__, **layer._modules, **layer._forward_hooks} for layer in module.modules()]
    objective = Objective(module, "cross_entropy", (X, Y))
    run = landscape.train(objective, method="gd", steps=3, lr=0.1, measure_every=1)
    assert run.status == "complete"
    assert run.loss.tolist() == pytest.approx(loop(module, 3), rel=1e-12)
    outputs = objective.module_at(objective.theta)(X)
    assert cross_entropy(outputs, Y).item() == pytest.approx(run.loss[0], rel=1e-12)
    assert all(torch.equal(one, before[name]) for name, one in module.state_dict().items())
    for layer, had in zip(module.modules(), held, strict=True):
        now = {**layer.__dict__, **layer._modules, **layer._forward_hooks}
        assert now.keys() == had.keys()
        assert all(now[key] is had[key] for key in had)


@pytest.mark.parametrize(
    ("make", "is_training", "what"),
    [
        (Merging, False, "by train"),
        (Averaging, False, "body.weight"),
        (Averaging, True, "place of its parameters"),
        (Kept, False, "temperature"),
        (Kept, True, "place of its parameters"),
    ],
)
def test_numbers_that_the_other_mode_has_put_there_are_refused(make, is_training, what):
    module = make().train(is_training)
    before = {name: one.clone() for name, one in module.state_dict().items()}
    with pytest.raises(landscape.LandscapeError, match=what):
        Objective(module, "cross_entropy", (X, Y))
    assert all(torch.equal(one, before[name]) for name, one in module.state_dict().items())
    if make is Merging:
        Objective(module.train(), "cross_entropy", (X, Y))
