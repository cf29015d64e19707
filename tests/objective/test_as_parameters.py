"""What a penalty asks of parameters before it takes them: what stands in for them says the same."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import landscape
from landscape import BadInput, Objective

X = torch.randn(17, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.arange(17) % 2
ASKED = [
    lambda one: one.requires_grad,
    lambda one: isinstance(one, nn.Parameter),
    lambda one: getattr(one, "is_decayed", False),
    lambda one: type(one) is nn.Parameter,
    lambda one: one.is_leaf and one.requires_grad,
    lambda one: one.is_leaf,
    lambda one: one.grad_fn is None,
]


def mean_square(module):
    """That of what is trained: none where nothing is said to be."""
    own = [one for one in module.parameters() if one.requires_grad]
    return torch.tensor(0.0) + sum(one.square().sum() for one in own) / sum(one.numel() for one in own)


class Net(nn.Module):
    """``inside``: the penalty is a factor of its outputs."""

    def __init__(self, asked=None, inside=False):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(3, 4).double(), nn.Linear(4, 2).double()
        self.last.bias.requires_grad_(False)
        self.first.weight.is_decayed = True
        self.asked, self.inside = asked, inside

    def penalty(self):
        return sum(one.square().sum() for one in self.parameters() if self.asked(one))

    def forward(self, x):
        outputs = self.last(torch.tanh(self.first(x)))
        return outputs * (1 + 0.1 * self.penalty()) if self.inside else outputs


def objective(kind: str, net: Net) -> Objective:
    def loss(outputs, targets):
        return functional.cross_entropy(outputs, targets) + 0.1 * net.penalty()

    if kind == "closure":
        return Objective.from_closure(net, lambda net: loss(net(X), Y))
    net.inside = kind == "outputs"
    return Objective(net, functional.cross_entropy if net.inside else loss, (X, Y), chunk_size=5)


ASKS = ["requires_grad", "isinstance", "mark", "type", "leaf that requires_grad", "leaf", "grad_fn"]


@pytest.mark.parametrize("kind", ["loss", "outputs", "closure"])
@pytest.mark.parametrize("asked", ASKED, ids=ASKS)
def test_a_penalty_of_parameters_that_are_asked_is_that_of_a_plain_call(kind, asked):
    found, net = objective(kind, Net(asked)), Net(asked)
    assert found.stands_as_leaves
    theta = found.theta + 0.1
    own = [one for one in net.parameters() if one.requires_grad]
    torch.nn.utils.vector_to_parameters(theta, own)
    net.inside = kind == "outputs"
    value = functional.cross_entropy(net(X), Y) + (0 if net.inside else 0.1 * net.penalty())
    slopes = torch.autograd.grad(value, own, create_graph=True)
    slope = torch.cat([one.flatten() for one in slopes])
    v = torch.linspace(-1, 1, len(theta), dtype=theta.dtype)
    image = torch.cat([one.flatten() for one in torch.autograd.grad(slope @ v, own)])
    assert found.value(theta) == pytest.approx(value.item(), rel=1e-12)
    torch.testing.assert_close(found.gradient(theta), slope.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.hvp(theta, v), image, rtol=1e-10, atol=1e-12)
    # Of a block the other parameters are those of before.
    assert landscape.hessian(found, theta, top_k=1, block="last.*").status == "complete"
    assert not any(hasattr(one, "_is_param") for one in found.module.parameters())


@pytest.mark.parametrize(
    "penalty",
    [
        mean_square,
        lambda net: 0.1 * net.get_parameter("first.weight").square().sum(),
        lambda net: 1e-6 * net.penalty(),
    ],
    ids=["count", "get_parameter", "small"],
)
def test_penalties_that_cannot_do_without_being_told_and_small_ones(penalty):
    net = Net(ASKED[0])
    found = Objective(net, lambda o, t: functional.cross_entropy(o, t) + penalty(net), (X, Y))
    value = functional.cross_entropy(net(X), Y) + penalty(net)
    assert found.stands_as_leaves
    assert found.value(found.theta) == pytest.approx(value.item(), rel=1e-12)


def by_memory(net):
    return sum(
        one.square().sum()
        for one in {one.untyped_storage().data_ptr(): one for one in net.parameters()}.values()
    )


def of_an_optimiser(net):
    groups = torch.optim.SGD(net.parameters(), lr=0.1).param_groups
    return sum(one.square().sum() for group in groups for one in group["params"])


def beside_a_copy(net):
    return (net(X) - copy.deepcopy(net)(0.9 * X).detach()).square().mean()


class Marked(nn.Parameter):
    pass


def of_a_class(net):
    return sum(one.square().sum() for one in net.parameters() if type(one) is Marked)


@pytest.mark.parametrize("penalty", [by_memory, of_an_optimiser, beside_a_copy, of_a_class])
def test_stand_ins_have_memory_and_classes_of_their_own_and_are_leaves(penalty):
    net = Net()
    net.first.weight = Marked(net.first.weight.detach())
    found = Objective(net, lambda o, t: functional.cross_entropy(o, t) + penalty(net), (X, Y))
    assert found.stands_as_leaves
    value = functional.cross_entropy(net(X), Y) + penalty(net)
    own = [one for one in net.parameters() if one.requires_grad]
    slope = torch.cat([one.flatten() for one in torch.autograd.grad(value, own)])
    assert found.value(found.theta) == pytest.approx(value.item(), rel=1e-12)
    torch.testing.assert_close(found.gradient(found.theta), slope, rtol=1e-10, atol=1e-12)


def test_gauss_newton_of_a_forward_that_asks_for_leaves_is_refused_and_of_others_is_not():
    for asked, is_refused in zip(ASKED[:5], [False, False, False, True, True], strict=True):
        found = objective("outputs", Net(asked))
        if is_refused:
            with pytest.raises(BadInput, match="whether its parameters are leaves"):
                landscape.hessian(found, found.theta, top_k=1, operator="gauss-newton")
        else:
            result = landscape.hessian(found, found.theta, top_k=1, operator="gauss-newton")
            assert all(check.passed for check in result.checks)


def test_a_penalty_by_how_parameters_lie_in_memory_is_refused():
    net = Net()
    net.first.weight = nn.Parameter(net.first.weight.detach().t().contiguous().t())
    with pytest.raises(BadInput, match="read from where the module holds them"):
        Objective(
            net,
            lambda o, t: functional.cross_entropy(o, t) + net.first.weight.is_contiguous() * o.mean(),
            (X, Y),
        )


def test_a_forward_that_is_another_one_where_gradients_are_recorded_stays_refused():
    class Either(Net):
        def forward(self, x):
            h = self.first(x)
            return self.last(h.tanh() if h.requires_grad else h) * (1 + 0.1 * self.penalty())

    with pytest.raises(BadInput, match="gives other outputs where gradients are recorded"):
        Objective(Either(ASKED[0]), "cross_entropy", (X, Y))


def test_a_copy_within_a_forward_is_refused_with_what_to_write():
    class Twin(Net):
        def forward(self, x):
            return super().forward(x) + copy.deepcopy(self.last)(x.new_ones(len(x), 4)).detach()

    with pytest.raises(BadInput, match=r"by copy.deepcopy in its forward.*functional_call\(layer"):
        Objective(Twin(), "cross_entropy", (X, Y))
