"""How products are taken can be asked for: both ways give the eigenvalues of the dense matrix within their errors."""

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape.errors import BadInput
from landscape.objective.differences import Differences
from landscape.objective.objective import Objective
from landscape.objective.products import Product


@pytest.fixture(params=[torch.float64, torch.float32], ids=str)
def objective(request) -> Objective:
    torch.manual_seed(5)
    x = torch.randn(30, 3)
    module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
    return Objective(module, "mse", (x, x.prod(1, keepdim=True)), dtype=request.param)


@pytest.mark.parametrize(("by", "kind"), [("double-backward", Product), ("central-difference", Differences)])
def test_both_ways_are_right_within_their_errors(objective, by, kind, monkeypatch):
    taken = []
    whole = kind.__call__
    monkeypatch.setattr(kind, "__call__", lambda self, v: taken.append(1) or whole(self, v))
    found = landscape.hessian(objective, objective.theta, top_k=4, product=by)
    dense = landscape.hessian(
        objective.varied(dtype=torch.float64), objective.theta.double(), top_k=1, exact=True
    )
    exact = np.sort(np.asarray(dense.spectrum).ravel())[::-1][:4]
    assert (np.abs(found.eigenvalues - exact) <= found.errors + 1e-13).all()
    assert len(taken) >= 4
    assert not [check.name for check in found.checks if not check.passed]


def test_other_matrices_have_one_way(objective):
    with pytest.raises(BadInput, match="the operator hessian"):
        landscape.hessian(objective, objective.theta, operator="gauss-newton", product="central-difference")
