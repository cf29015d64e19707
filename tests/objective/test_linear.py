"""The Hessian as SciPy takes it: against the dense matrix, and its eigenvalues against ours."""

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh
from torch import nn

import landscape
from landscape.objective.objective import Objective


@pytest.fixture
def objective() -> Objective:
    torch.manual_seed(2)
    x = torch.randn(20, 3, dtype=torch.float64)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    return Objective(module, "mse", (x, x.prod(1, keepdim=True)), l2=0.1)


def test_it_is_the_dense_matrix(objective):
    def loss(theta):
        (x,), y = objective.samples
        shapes = [p.shape for p in objective.module.parameters()]
        pieces = theta.split([shape.numel() for shape in shapes])
        w, b, v, c = (piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True))
        return ((torch.tanh(x @ w.T + b) @ v.T + c - y) ** 2).mean() + 0.05 * theta @ theta

    dense = torch.autograd.functional.hessian(loss, objective.theta).numpy()
    found = objective.as_linear_operator()
    assert (found.shape, found.dtype) == (dense.shape, np.float64)
    np.testing.assert_allclose(found @ np.eye(len(dense)), dense, atol=1e-13)
    np.testing.assert_allclose(found.rmatvec(np.ones(len(dense))), dense.sum(1), atol=1e-13)


def test_scipys_eigenvalues_are_ours(objective):
    values = np.sort(eigsh(objective.as_linear_operator(), k=3, which="LA", tol=1e-10)[0])[::-1]
    ours = landscape.hessian(objective, objective.theta, top_k=3, tol=1e-8)
    np.testing.assert_allclose(values, ours.eigenvalues, rtol=1e-7)


def test_at_another_point_in_float32(objective):
    single = objective.varied(dtype=torch.float32)
    theta = single.theta + 0.1
    v = np.linspace(-1, 1, single.num_parameters, dtype=np.float32)
    found = single.as_linear_operator(theta)
    assert found.dtype == np.float32
    wanted = objective.hvp(theta.double(), torch.from_numpy(v).double()).numpy()
    np.testing.assert_allclose(found @ v, wanted, rtol=2e-5, atol=2e-5 * np.abs(wanted).max())
