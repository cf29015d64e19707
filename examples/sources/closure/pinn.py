"""What the user has already: a net for u″ + u = 0 with u(0) = 0, u′(0) = 1, its loss by derivatives of the outputs."""

import torch

places = torch.linspace(0, 3, 40)[:, None]


def net(width=16):
    return torch.nn.Sequential(torch.nn.Linear(1, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))


def residual(module):
    t = places.to(next(module.parameters()).dtype).requires_grad_()
    u = module(t)
    (du,) = torch.autograd.grad(u.sum(), t, create_graph=True)
    (ddu,) = torch.autograd.grad(du.sum(), t, create_graph=True)
    return (ddu + u).square().mean() + u[0, 0] ** 2 + (du[0, 0] - 1) ** 2
