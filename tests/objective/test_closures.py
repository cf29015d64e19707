"""A loss of the module alone: every number is that of a loop of the user's own, and what is no function is refused."""

import itertools
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import landscape
from landscape import Objective
from landscape.objective.closures import taken_by

pytestmark = pytest.mark.cpu  # closures here hold tensors of the CPU


def pinn():
    """u″ + u = 0, u(0) = 0, u′(0) = 1 for a small net, its derivatives by autograd inside."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    places = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]

    def residual(module):
        t = places.clone().requires_grad_()
        u = module(t)
        (du,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        (ddu,) = torch.autograd.grad(du.sum(), t, create_graph=True)
        return (ddu + u).square().mean() + u[0, 0] ** 2 + (du[0, 0] - 1) ** 2

    return net, residual


def graph():
    """Two rounds of messages along the edges of a ring with a chord, labels known at some of its nodes."""
    torch.manual_seed(1)
    net = nn.ModuleDict({"first": nn.Linear(3, 4), "second": nn.Linear(4, 2)}).double()
    edges = torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 0, 2]])
    features, labels = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 1])

    def spread(h):
        return torch.zeros_like(h).index_add(0, edges[1], h[edges[0]]) + h

    def loss(module):
        return F.cross_entropy(module["second"](spread(module["first"](spread(features)).tanh()))[:3], labels)

    return net, loss


def policy():
    """The clipped objective over two stored episodes of other lengths: the module is called once for each."""
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    episodes = [
        (torch.randn(n, 2, dtype=torch.float64), torch.randint(3, (n,)), torch.randn(n, dtype=torch.float64))
        for n in (4, 7)
    ]

    def loss(module):
        total = torch.zeros((), dtype=torch.float64)
        for states, actions, gains in episodes:
            chances = module(states).log_softmax(1).gather(1, actions[:, None])[:, 0]
            ratio = (chances - chances.detach().mean() + 0.1).exp()
            total = total - (chances * gains).sum() + 0.01 * ratio.clamp(max=1.2).sum()
        return total / len(episodes)

    return net, loss


def written(net, theta):
    """The net with the numbers of θ in it, by hand."""
    nn.utils.vector_to_parameters(theta, net.parameters())
    return net


@pytest.mark.parametrize("case", [pinn, graph], ids=lambda one: one.__name__)
def test_value_slope_and_curvature_are_those_of_a_plain_loop(case):
    net, loss = case()
    objective = Objective.from_closure(net, loss)
    theta = objective.theta + 0.1 * torch.randn(objective.num_parameters, dtype=torch.float64)
    twin, _ = case()
    written(twin, theta)
    value = loss(twin)
    own = list(twin.parameters())
    slopes = torch.autograd.grad(value, own, create_graph=True, materialize_grads=True)
    flat = torch.cat([one.reshape(-1) for one in slopes])
    rows = [torch.autograd.grad(one, own, retain_graph=True, materialize_grads=True) for one in flat]
    dense = torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in rows])
    assert objective.value(theta) == pytest.approx(value.item(), rel=1e-12)
    torch.testing.assert_close(objective.gradient(theta), flat.detach(), rtol=1e-10, atol=1e-12)
    result = landscape.hessian(objective, theta, top_k=3)
    wanted = torch.linalg.eigvalsh(dense).flip(0)[:3]
    torch.testing.assert_close(torch.tensor(result.eigenvalues).flatten(), wanted, rtol=1e-6, atol=1e-9)
    assert result.status == "complete"
    assert landscape.hessian(objective, theta, exact=True).status == "complete"


def test_a_loss_that_calls_the_module_several_times():
    net, loss = policy()
    objective = Objective.from_closure(net, loss)
    assert objective.value(objective.theta) == pytest.approx(loss(net).item(), rel=1e-12)
    own = torch.autograd.grad(loss(net), list(net.parameters()))
    torch.testing.assert_close(objective.gradient(objective.theta), torch.cat([one.flatten() for one in own]))


def test_lines_and_planes_are_those_of_a_loop_that_writes_the_weights():
    net, loss = pinn()
    objective = Objective.from_closure(net, loss)
    a = objective.theta
    b = a + torch.randn(len(a), dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    line = landscape.interpolate(objective, a, b, num_points=5)
    twin, _ = pinn()
    wanted = [loss(written(twin, (1 - t) * a + t * b)).item() for t in line.alpha]
    np.testing.assert_allclose(line.loss, wanted, rtol=1e-11)
    plane = landscape.slice2d(objective, a, num_points=3)
    one, other = torch.from_numpy(plane.directions)
    wanted = [[loss(written(twin, a + x * one + y * other)).item() for x in plane.alpha] for y in plane.beta]
    np.testing.assert_allclose(plane.loss, wanted, rtol=1e-10)
    curve = landscape.connect(objective, a, b, steps=3)
    for result in (line, plane, landscape.sharpness(objective, a), curve):
        assert result.status == "complete", result.checks
    assert landscape.slice1d(objective, a, num_points=3).loss[1] == pytest.approx(loss(net).item(), rel=1e-12)


def test_filters_are_seen_where_the_inputs_are_constants_of_the_loss():
    net, loss = pinn()
    first = Objective.from_closure(net, loss).pieces[0]
    assert (first.units, first.is_guess) == ((5, 1), False)


def test_gradient_descent_is_that_of_torch():
    net, loss = pinn()
    result = landscape.train(Objective.from_closure(net, loss), steps=5, lr=0.01)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01)
    for _ in range(5):
        optimiser.zero_grad()
        loss(net).backward()
        optimiser.step()
    assert result.final_loss == pytest.approx(loss(net).item(), rel=1e-10)
    assert any("takes the module alone" in one for one in result.notes)


NET = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 1)).eval()
OTHER = nn.Linear(2, 1)
X, Y = torch.randn(8, 2, generator=torch.Generator().manual_seed(0)), torch.ones(8, 1)
OWN, NUMBERS = torch.Generator().manual_seed(0), itertools.count()
OPTIMISER = torch.optim.SGD(NET.parameters(), lr=0.1)


def fit(module, x=X):
    return (module(x) - Y[: len(x)]).square().mean()


def stepped(module):
    loss = fit(module)
    loss.backward()
    OPTIMISER.step()
    return loss


def backward(module):
    loss = fit(module)
    loss.backward()
    return loss


def shrunk(module):
    with torch.no_grad():
        module[0].weight.mul_(0.9)
    return fit(module)


def frozen(module):
    module[0].weight.requires_grad_(False)
    return fit(module)


REFUSED = [
    ("draws at random", lambda module: fit(module, X + 0.1 * torch.randn(8, 2))),
    ("draws at random", lambda module: fit(module, X[np.random.randint(0, 8, 3)])),
    ("draws at random", lambda module: fit(module) * (1 + (random.random() < 0.4))),
    ("not the same function", lambda module: fit(module, X[torch.randint(8, (3,), generator=OWN)])),
    ("is not the same function", lambda module: fit(module) + next(NUMBERS)),
    ("switches the mode of Sequential", lambda module: fit(module.train())),
    (
        "changes 1.running_mean",
        lambda module: (
            module[1].train()(X @ torch.ones(2, 3)).mean(),
            module.eval(),
            fit(module),
        )[2],
    ),
    ("changes 0.weight, 0.bias", stepped),
    ("leaves a gradient in 0.weight", backward),
    ("changes 0.weight of the module", shrunk),
    ("changes requires_grad of 0.weight", frozen),
    ("returned None", lambda module: None),
    ("returned a float", lambda module: fit(module).item()),
    (r"tensor of shape \(8, 1\)", lambda module: module(X)),
    ("returned a tuple", lambda module: (fit(module), 1)),
    ("a complex tensor", lambda module: fit(module) * 1j),
    ("has no gradient with respect", lambda module: fit(module).detach()),
    ("has no gradient with respect", lambda module: (module(X) > 0).float().mean() + fit(module).detach()),
    ("does not depend on the parameters of Sequential", lambda module: fit(OTHER)),
    ("does not depend on the parameters", lambda module: torch.tensor(1.0)),
    (r"raised RuntimeError: .*\(.*test_closures.py, line", lambda module: module(X[:, :1]).mean()),
    (
        r"make what it computes with in the dtype of next\(module.parameters",
        lambda module: fit(module, X.double()),
    ),
    ("cannot be called with one argument", lambda outputs, targets: 0),
    ("cannot be called with one", lambda: 0),
    ("is a int", 3),
]


@pytest.mark.parametrize(("said", "loss"), REFUSED)
def test_what_is_no_function_of_the_parameters_is_refused_by_name(said, loss):
    before = {name: tensor.clone() for name, tensor in NET.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    with pytest.raises(landscape.BadInput, match=said):
        Objective.from_closure(NET, loss)
    assert all(torch.equal(tensor, before[name]) for name, tensor in NET.state_dict().items())
    assert all(one.grad is None and one.requires_grad for one in NET.parameters())
    assert not any(layer.training for layer in NET.modules())
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (np.random.get_state()[1].tolist(), random.getstate())


def test_draws_that_do_not_show_are_none_and_leave_no_trace():
    """A loader draws a seed for its workers; a loss may seed its own draws."""
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X), batch_size=4)

    def over_loader(module):
        return sum(fit(module, x) for (x,) in loader) / 2

    def seeding(module):
        torch.manual_seed(3)
        return fit(module, X + torch.randn(8, 2))

    for loss in (over_loader, seeding):
        state = torch.get_rng_state()
        objective = Objective.from_closure(NET, loss)
        value = objective.value(objective.theta)
        assert torch.equal(state, torch.get_rng_state())
        with torch.random.fork_rng(devices=[]):
            assert value == pytest.approx(loss(NET).item(), rel=1e-6)


def test_parameters_without_influence_are_named():
    objective = Objective.from_closure(NET, lambda module: module[0](X).square().mean())
    assert objective.notes == [
        "the loss <lambda> does not depend on 1.weight, 1.bias, 3.weight, 3.bias: ∇F is 0 there"
    ]


def test_a_loss_that_is_a_module_with_numbers_of_its_own_comes_along():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("x", X.clone())

        def forward(self, module):
            return fit(module, self.x)

    objective = Objective.from_closure(NET, Residual(), dtype=torch.float64)
    assert objective.value(objective.theta) == pytest.approx(fit(NET).item(), rel=1e-6)


SAMPLES = [
    ("noise", {}),
    ("align", {}),
    ("certify", {}),
    ("critical", {}),
    ("minima", {}),
    ("efficiency", {}),
    ("basins", {}),
    ("escape", {"noise": "sgd"}),
    ("train", {"method": "sgd"}),
    ("hessian", {"operator": "gauss-newton"}),
    ("hessian", {"operator": "fisher"}),
    ("hessian", {"operator": "empirical-fisher"}),
]


@pytest.mark.parametrize(("kind", "options"), SAMPLES)
def test_what_needs_samples_says_so(kind, options):
    net, loss = pinn()
    objective = Objective.from_closure(net, loss)
    points = {"align": 2, "minima": 0, "efficiency": 0, "basins": 0, "train": 0}.get(kind, 1)
    with pytest.raises(
        landscape.BadInput,
        match="of the loss residual, which takes the module alone; expected samples: it needs",
    ):
        getattr(landscape, kind)(objective, *[objective.theta] * points, **options)


def test_other_data_are_refused():
    net, loss = pinn()
    with pytest.raises(landscape.BadInput, match="data for a loss of the module alone"):
        Objective.from_closure(net, loss).on((X, Y))


def test_what_a_loss_takes_is_told_by_its_signature():
    def both(outputs, targets=None): ...

    def options(module, *, weight=1.0): ...

    assert taken_by(nn.MSELoss()) == "outputs and targets"
    assert taken_by(both) == taken_by(fit) == "either"
    assert taken_by(options) == "module"
    assert taken_by(lambda: 0) == "neither"
