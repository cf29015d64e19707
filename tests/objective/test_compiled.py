"""Parts of a module that the user has compiled run as they were written, and the compiler takes no part in proofs."""

import torch
from torch import nn

import landscape
from landscape import Objective


def test_a_compiled_part_has_the_numbers_of_what_it_was_made_from():
    calls = []

    def backend(graph, inputs):
        calls.append(graph)
        return graph.forward

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    compiled = nn.Sequential(torch.compile(plain[0], backend=backend), *plain[1:])
    x = torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one, other = (
        Objective(module, "cross_entropy", (x, torch.arange(9) % 2)) for module in (compiled, plain)
    )
    found, expected = (landscape.hessian(each, each.theta, top_k=2) for each in (one, other))
    assert found.status == "complete"
    assert (found.eigenvalues == expected.eigenvalues).all()
    assert not calls
