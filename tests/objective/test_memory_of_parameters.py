"""Parameters in one memory, and those that a forward makes or freezes: refused, or said, with a remedy that works."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape import BadInput, Objective

X, Y = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3


class Net(nn.Module):
    def __init__(self, change):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        change(self)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


def tied_by_data(net):
    net.b.weight.data = net.a.weight.data


def frozen_over(net):
    net.b.weight = nn.Parameter(net.a.weight.data, requires_grad=False)


def buffer_over(net):
    net.register_buffer("kept", net.a.weight.data.t())


def overlapping(net):
    memory = torch.randn(15)
    net.a.weight, net.b.weight = nn.Parameter(memory[:9].view(3, 3)), nn.Parameter(memory[6:].view(3, 3))


def expanded(net):
    net.a.weight = nn.Parameter(torch.ones(1, 3).expand(3, 3))


@pytest.mark.parametrize("change", [tied_by_data, frozen_over, buffer_over, overlapping, expanded])
def test_numbers_in_one_memory_are_refused(change):
    with pytest.raises(BadInput, match="memory"):
        Objective(Net(change), "cross_entropy", (X, Y))


def side_by_side(net):
    memory = torch.randn(3, 6)
    net.a.weight, net.b.weight = nn.Parameter(memory[:, ::2]), nn.Parameter(memory[:, 1::2])


def tied(net):
    net.b.weight = net.a.weight


def turned(net):
    net.a.weight = nn.Parameter(torch.randn(3, 3).t())


@pytest.mark.parametrize("change", [side_by_side, tied, turned])
def test_parts_of_one_memory_that_do_not_meet_are_taken(change):
    module = Net(change)
    objective = Objective(module, "cross_entropy", (X, Y))
    assert objective.value(objective.theta) == pytest.approx(
        functional.cross_entropy(module(X), Y).item(), rel=1e-6
    )


def test_what_lies_beside_and_would_move_with_steps_is_said():
    def kept(net):
        net.b.kept = net.a.weight.detach()

    (said,) = Objective(Net(kept), "cross_entropy", (X, Y)).notes
    assert said.startswith("b.kept lies in the memory of a.weight")


class Late(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.w = nn.Linear(3, 3), None

    def forward(self, x):
        if self.w is None:
            self.w = nn.Parameter(torch.ones(3, 3))
        return self.a(x) @ self.w


@pytest.mark.parametrize("loss", ["cross_entropy", nn.CrossEntropyLoss()])
def test_parameters_that_a_forward_makes_are_to_be_there_before(loss):
    module = Late()
    with pytest.raises(BadInput, match="Late makes w in its forward"):
        Objective(module, loss, (X, Y))
    assert module.w is None
    module(X)
    assert Objective(module, loss, (X, Y)).num_parameters == 9 + 3 + 9


def test_a_forward_that_freezes_is_told_to_do_it_outside():
    class Freezing(Net):
        def forward(self, x):
            self.a.requires_grad_(self.training)
            return super().forward(x)

    with pytest.raises(BadInput, match="changes requires_grad of its parameters in its forward"):
        Objective(Freezing(lambda net: None), "cross_entropy", (X, Y))


@pytest.mark.parametrize("method", ["parameters", "named_parameters"])
def test_a_listing_of_its_own_is_refused(method):
    class Lists(Net):
        pass

    setattr(Lists, method, lambda self, *_, **__: getattr(self.b, method)())
    with pytest.raises(
        BadInput, match=rf"^{method}\(\) of Lists lists others than it holds, 2 of 4.*requires_grad_"
    ):
        Objective(Lists(lambda net: None), "cross_entropy", (X, Y))
