"""What stands in memory beside the module, the data and θ, in numbers d of parameters."""

from typing import Any

import pytest
import torch
from peak import Peak
from torch import nn
from torch.nn.functional import cross_entropy

import landscape
from landscape.numerics.spectra import krylov
from landscape.numerics.spectra.lanczos import top_eigenpairs
from landscape.objective import leaves

NET = nn.Sequential(*(nn.Sequential(nn.Linear(96, 96), nn.Tanh()) for _ in range(12)), nn.Linear(96, 4))
DATA = torch.randn(8, 96, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 4
# Activations and single numbers.
BESIDE = 0.1


def most(work) -> float:
    """The peak of ``work``, met before, in vectors of d numbers of float32."""
    work()
    with Peak() as peak:
        result = work()
    del result
    return peak.bytes / 4 / sum(p.numel() for p in NET.parameters())


def test_the_counter_counts_what_lives():
    outside = torch.ones(1000)
    with Peak() as peak:
        one = outside * 2
        seen = outside.view(10, 100)  # memory that was there before
        two = one.view(-1)[:10]  # memory of one
        del one
        three = torch.empty(500)
        assert peak.now == 6000  # of the first a part is held
        del two
        assert peak.now == 2000
        four = [torch.empty(250) for _ in range(2)]
    del seen, three, four
    assert peak.bytes == 6000
    assert peak.now == 0


@pytest.fixture
def objective(monkeypatch) -> landscape.Objective:
    monkeypatch.setattr(leaves, "LARGE", 0)
    return landscape.Objective(NET, "cross_entropy", DATA)


def test_parameters_that_are_leaves_give_what_parts_of_one_give(monkeypatch):
    objective = landscape.Objective(NET, "cross_entropy", DATA, chunk_size=3)
    theta, v = objective.theta, torch.linspace(-1, 1, objective.num_parameters)
    kept = objective.hessian_operator(theta)
    whole = [objective.gradient(theta), objective.hvp(theta, v), kept(v), kept(v)]
    monkeypatch.setattr(leaves, "LARGE", 0)
    kept = objective.hessian_operator(theta)
    cut = [objective.gradient(theta), objective.hvp(theta, v), kept(v), kept(v)]
    assert all(torch.equal(*pair) for pair in zip(whole, cut, strict=True))


def test_a_gradient_stands_once(objective):
    theta = objective.theta
    largest = 96 * 96 / len(theta)
    plain = most(lambda: torch.autograd.grad(cross_entropy(NET(DATA[0]), DATA[1]), list(NET.parameters())))
    assert most(lambda: objective.gradient(theta)) <= plain + largest + BESIDE
    assert most(lambda: objective.gradient(theta)) <= 1.25


def test_a_product_stands_once_beside_its_parts(objective):
    theta = objective.theta
    v = torch.ones_like(theta)
    assert most(lambda: objective.hvp(theta, v)) <= 2 + 3 * BESIDE
    kept = objective.hessian_operator(theta)
    assert most(lambda: kept(v)) <= 2 + BESIDE


def test_a_product_over_chunks_stands_once_in_float64_beside_its_parts(monkeypatch):
    monkeypatch.setattr(leaves, "LARGE", 0)
    objective = landscape.Objective(NET, "cross_entropy", DATA, chunk_size=3)
    theta = objective.theta
    v = torch.ones_like(theta)
    assert most(lambda: objective.hvp(theta, v)) <= 3 + 3 * BESIDE


@pytest.mark.parametrize(("limit", "most"), [(2**31, 36), (4 * 10**5 * 12, 12)], ids=["grows", "restarts"])
def test_a_basis_grows_and_restarts_without_another_beside_it(limit, most):
    """16, 24 and 36 vectors, none of which is copied; or twelve, the best of which take the place of the first."""
    d = 10**5
    diagonal = torch.linspace(1, 2, d)

    def search():
        return top_eigenpairs(
            lambda v: diagonal * v,
            d,
            1,
            max_products=30,
            memory_limit=limit,
            search=False,
            generator=torch.Generator().manual_seed(0),
            dtype=torch.float32,
        )

    search()
    with Peak() as peak:
        pairs = search()
    assert pairs.num_products == 31
    assert bool(pairs.num_restarts) == (most == 12)
    assert peak.bytes <= 4 * d * (most + 4)


@pytest.fixture
def searched(monkeypatch) -> landscape.Objective:
    monkeypatch.setattr(leaves, "LARGE", 0)
    monkeypatch.setattr(krylov, "ROOM_BYTES", 1)
    layers = [nn.Linear(64, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh()]
    data = torch.randn(16, 64, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 10
    torch.manual_seed(0)
    return landscape.Objective(nn.Sequential(*layers, nn.Linear(200, 10)), "cross_entropy", data)


def test_a_search_holds_four_vectors_beside_its_basis_certified_or_not(searched):
    """The one that comes next, and images on their way."""
    objective, d, theta = searched, searched.num_parameters, searched.theta
    for certify in (None, False):  # the first is tried in float64 after its basis has gone
        peaks = []
        for number in (16, 24):
            how: dict[str, Any] = {"max_products": number, "certify": certify, "search": False, "tol": 1e-14}
            landscape.hessian(objective, theta, top_k=1, **how)
            with Peak() as peak:
                found = landscape.hessian(objective, theta, top_k=1, **how)
            assert found.status == "not-converged"
            peaks.append(peak.bytes / 4 / d - number)
        assert max(peaks) <= 4


def test_a_trial_in_float64_holds_ten_vectors_beside_the_basis(searched):
    """θ, the sum of a chunk and the image of the next are twice as wide; three lie in float32.

    Each of the images comes in two parts, so that another of the largest parameter stands beside it, or two.
    """
    theta, largest = searched.theta, 200 * 200 / searched.num_parameters
    with Peak() as peak:
        found = landscape.hessian(searched, theta, top_k=1, tol=1e-4)
    assert found.status == "complete"
    beside = peak.bytes / 4 / len(theta) - found.num_products
    assert beside <= 9 + 4 * largest + BESIDE


@pytest.mark.parametrize("chunk_size", [4, 1])
def test_vectors_that_are_no_places_of_their_own_are_divided_and_added_elsewhere(chunk_size):
    """The Hessian of ½‖θ‖² gives back what it is multiplied with."""

    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.arange(3.0))

        def forward(self, x):
            return x[:, :1] * 0 + self.w.square().sum() / 2

    data = torch.ones(4, 1), torch.zeros(4)
    found = landscape.Objective(
        Norm(), lambda h, y: h.mean(), data, chunk_size=chunk_size, dtype=torch.float64
    )
    v = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    assert torch.equal(found.hvp(found.theta, v), v)
    assert torch.equal(v, torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64))
    assert torch.equal(found.gradient(found.theta), torch.arange(3.0, dtype=torch.float64))


def test_two_parameters_with_one_derivative(monkeypatch):
    """Two shifts that are added have one tensor as their derivative, and each its own product."""

    class Shifts(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = (nn.Parameter(torch.tensor([0.1 * k, 0.2 * k])) for k in (1, 2))

        def forward(self, x):
            return torch.tanh(x + self.a + self.b)

    x, y = torch.randn(5, 2, generator=torch.Generator().manual_seed(1)), torch.zeros(5, 2)
    monkeypatch.setattr(leaves, "LARGE", 0)
    found = landscape.Objective(Shifts().double(), "mse", (x, y))
    theta = found.theta
    dense = torch.autograd.functional.hessian(
        lambda t: torch.tanh(x.double() + t[:2] + t[2:]).square().mean(), theta
    )
    v = torch.tensor([1.0, -2.0, 3.0, 0.5], dtype=torch.float64)
    torch.testing.assert_close(found.hvp(theta, v), dense @ v, rtol=1e-12, atol=1e-15)


class Inner(torch.autograd.Function):
    """A layer that is computed again in its backward, and whose parameters accumulate there, as in RevNets."""

    @staticmethod
    def forward(ctx, x, layer):  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.layer = layer
        ctx.save_for_backward(x)
        return layer(x.detach()).detach()

    @staticmethod
    def backward(ctx, slope):  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            out = ctx.layer(x)
        torch.autograd.backward(out, slope)
        return x.grad, None


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.again = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return Inner.apply(torch.tanh(Inner.apply(self.first(x), self.again)), self.again)  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.parametrize("chunk_size", [None, 3])
@pytest.mark.parametrize("large", [0, 2**20])
def test_what_comes_in_parts_is_added(chunk_size, large, monkeypatch):
    monkeypatch.setattr(leaves, "LARGE", large)
    torch.manual_seed(0)
    module, x, y = Twice().double(), torch.randn(7, 4).double(), torch.randint(3, (7,))
    cross_entropy(module(x), y).backward()
    wanted = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
    module.zero_grad()
    found = landscape.Objective(module, "cross_entropy", (x, y), chunk_size=chunk_size)
    torch.testing.assert_close(found.gradient(found.theta), wanted, rtol=1e-12, atol=1e-15)
    batch = found.batch_gradient(found.theta, None, {})[1]
    torch.testing.assert_close(batch, wanted, rtol=1e-12, atol=1e-15)
    v = torch.ones_like(wanted)

    def slope(step: float) -> torch.Tensor:
        return found.gradient(found.theta + step * v)

    between = (slope(1e-5) - slope(-1e-5)) / 2e-5
    torch.testing.assert_close(found.hvp(found.theta, v), between, rtol=1e-6, atol=1e-8)
