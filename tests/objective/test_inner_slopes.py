"""A forward or a loss that takes derivatives by the parameters is a function of them, as of plain calls."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import landscape
from landscape import BadInput, Objective

DRAW = torch.Generator().manual_seed(0)
X, SUPPORT, Y = (
    torch.randn(*shape, generator=DRAW, dtype=torch.float64) for shape in ((9, 3), (5, 3), (9, 1))
)


def net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1)).double()


def squared(module: nn.Module, o: Tensor, t: Tensor) -> Tensor:
    loss = F.mse_loss(o, t)
    slopes = torch.autograd.grad(loss, list(module.parameters()), create_graph=True)
    return loss + 0.1 * torch.stack([one.square().sum() for one in slopes]).sum()


class Adapted(nn.Module):
    """A step of gradient descent on a support set, then the outputs (Finn et al. 2017)."""

    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        own = dict(self.net.named_parameters())
        loss = self.net(SUPPORT).square().mean()
        slopes = torch.autograd.grad(loss, list(own.values()), create_graph=True)
        moved = {name: one - 0.1 * slope for (name, one), slope in zip(own.items(), slopes, strict=True)}
        return torch.func.functional_call(self.net, moved, (x,))


def adapted():
    module = Adapted()
    return Objective(module, "mse", (X, Y)), lambda: F.mse_loss(module(X), Y), module


def penalised():
    module = net()
    loss = lambda o, t: squared(module, o, t)  # noqa: E731
    return Objective(module, loss, (X, Y)), lambda: loss(module(X), Y), module


def closed():
    module = net()
    return (
        Objective.from_closure(module, lambda m: squared(m, m(X), Y)),
        lambda: squared(module, module(X), Y),
        module,
    )


@pytest.mark.parametrize("make", [adapted, penalised, closed])
def test_value_slope_and_curvature_are_those_of_plain_calls(make):
    objective, plain, module = make()
    own = list(module.parameters())
    v = torch.linspace(-1, 1, objective.num_parameters, dtype=torch.float64)
    slope = torch.cat([one.reshape(-1) for one in torch.autograd.grad(plain(), own, create_graph=True)])
    image = torch.cat([one.reshape(-1) for one in torch.autograd.grad(slope @ v, own)])
    theta = objective.theta
    assert objective.value(theta) == pytest.approx(float(plain()), rel=1e-12)
    torch.testing.assert_close(objective.gradient(theta), slope.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(objective.hvp(theta, v), image, rtol=1e-10, atol=1e-12)
    assert landscape.hessian(objective, theta, top_k=2, per_layer=True).status == "complete"
    assert landscape.slice1d(objective, theta, num_points=5).status == "complete"
    assert landscape.train(objective, steps=2, method="gd").status == "complete"
    assert landscape.sharpness(objective, theta, num_draws=2, fisher_rao=True).status == "complete"


def test_a_gauss_newton_matrix_of_such_a_loss_is_refused():
    objective, _, _ = penalised()
    with pytest.raises(
        BadInput, match=r"takes derivatives by the parameters .* ask for the operator hessian"
    ):
        landscape.hessian(objective, objective.theta, operator="gauss-newton")


def test_a_forward_with_slopes_by_its_inputs_is_certified():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, x):
            x = x.detach().requires_grad_()
            u = self.net(x)
            (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
            return slope[:, :1] + u

    objective = Objective(Residual(), "mse", (X, Y))
    assert landscape.certify(objective, objective.theta).status == "complete"
