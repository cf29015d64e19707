"""Sparse matrices that a module holds, as edges of a graph: as attributes they are constants, no buffers."""

import pytest
import torch
from torch import nn

import landscape
from landscape import BadInput, Objective


class Graph(nn.Module):
    """Two layers with messages along the edges of a ring between them."""

    def __init__(self, matrix: torch.Tensor, is_buffer: bool):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.last = nn.Linear(3, 4).double(), nn.Linear(4, 2).double()
        if is_buffer:
            self.register_buffer("edges", matrix)
        else:
            self.edges = matrix

    def forward(self, x):
        return self.last(self.edges @ self.first(x).tanh())


RING = torch.eye(9, dtype=torch.float64).roll(1, 0)
DATA = (
    torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64),
    torch.arange(9) % 2,
)


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("make", [torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr])
def test_a_sparse_matrix_is_what_a_dense_one_is_or_is_refused_with_what_to_do(make):
    with pytest.raises(BadInput, match=r"edges of Graph is a sparse tensor.*an attribute, self.edges = …"):
        Objective(Graph(make(RING), is_buffer=True), "cross_entropy", DATA)
    one, other = (
        Objective(Graph(matrix, is_buffer=False), "cross_entropy", DATA) for matrix in (make(RING), RING)
    )
    found, expected = (landscape.hessian(each, each.theta, top_k=2) for each in (one, other))
    assert found.eigenvalues == pytest.approx(expected.eigenvalues, rel=1e-8)
    assert found.status == landscape.slice1d(one, one.theta, num_points=3).status == "complete"
    assert landscape.certify(one, one.theta).status == "complete"
