"""Matching against exhaustive search, and permutations planted and found again."""

import itertools
import math
import time
from functools import cache

import pytest
import torch
from symmetric import SYMMETRIC, Residual, built, found
from torch import Tensor, nn

from landscape.inputs.models.mlp import mlp
from landscape.symmetry import symmetry_of
from landscape.symmetry.matching import Costs, assigned, coordinate_descent, matched
from landscape.symmetry.permutations import Symmetry, flipped, permuted


@cache
def residual_symmetry(width: int) -> Symmetry:
    return symmetry_of(Residual(width=width), (torch.zeros(2, 16),)).symmetry


def perceptron() -> nn.Module:
    return mlp((16,), 10, (64, 64))


@cache
def perceptron_symmetry() -> Symmetry:
    return symmetry_of(built(perceptron), (torch.zeros(2, 16).double(),)).symmetry


def trained(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


def is_recovered(
    a: dict[str, Tensor], symmetry: Symmetry, seed: int, *, noise: float = 0.0, restarts: int = 1
) -> bool:
    """Whether A, permuted at random and with noise of so many standard deviations, is put back unit by unit."""
    generator = torch.Generator().manual_seed(seed)
    planted = symmetry.random(generator)
    disturbed = {
        name: tensor
        + noise * tensor.std() * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
        if noise
        else tensor
        for name, tensor in a.items()
    }
    b = permuted(disturbed, symmetry, planted)
    found = matched(symmetry, a, b, generator=generator, restarts=restarts)
    back = permuted(b, symmetry, found.permutations)
    return all(torch.equal(back[name], disturbed[name]) for name in a)


def only(symmetry: Symmetry, tensors: dict[str, Tensor]) -> Symmetry:
    """Without the blocks of buffers."""
    blocks = tuple(block for block in symmetry.blocks if block.tensor in tensors)
    return Symmetry(symmetry.groups, blocks, symmetry.names, symmetry.reasons)


@pytest.mark.parametrize("seed", range(5))
def test_permutations_planted_in_an_mlp_are_found(seed):
    module, symmetry = built(perceptron, seed), perceptron_symmetry()
    assert is_recovered(trained(module), symmetry, seed)
    assert is_recovered(trained(module), symmetry, seed, noise=0.3)


@pytest.mark.parametrize("name", [name for name in SYMMETRIC if name != "tied"])
def test_permutations_planted_anywhere_are_found(name):
    tensors = trained(built(SYMMETRIC[name].module, 1))
    symmetry = only(found(name)[2], tensors)
    assert is_recovered(tensors, symmetry, 2)


@pytest.mark.parametrize("seed", range(4))
def test_permutations_planted_in_a_random_residual_net_are_found(seed):
    torch.manual_seed(seed)
    assert is_recovered(trained(Residual(width=128)), residual_symmetry(128), seed)


@pytest.mark.slow
def test_thirty_of_thirty_planted_in_random_residual_nets_sooner_than_ten_restarts_of_descent():
    # Coordinate descent from random permutations alone, as the published code does it.
    found, ours, theirs = 0, 0.0, 0.0
    symmetry = residual_symmetry(128)
    for seed in range(30):
        torch.manual_seed(seed)
        a = trained(Residual(width=128))
        start = time.process_time()
        found += is_recovered(a, symmetry, seed)
        ours += time.process_time() - start
        generator = torch.Generator().manual_seed(seed)
        b = permuted(a, symmetry, symmetry.random(generator))
        start = time.process_time()
        for _ in range(10):
            coordinate_descent(symmetry, a, b, symmetry.random(generator), generator)
        theirs += time.process_time() - start
    print(f"{found} of 30 in {ours:.2f} s; ten restarts take {theirs:.2f} s")
    assert found >= 27
    assert ours < theirs


def test_it_finds_what_trying_all_permutations_finds():
    generator = torch.Generator().manual_seed(0)
    module = built(lambda: nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)))
    symmetry = symmetry_of(module, (torch.zeros(2, 3).double(),)).symmetry
    a, b = (
        {n: torch.randn(t.shape, generator=generator, dtype=t.dtype) for n, t in trained(module).items()}
        for _ in "ab"
    )
    found = matched(symmetry, a, b, generator=generator)
    moved = {"0.weight": 0, "0.bias": 0, "2.weight": 1}
    values = [
        sum(float((a[n] * b[n].index_select(axis, torch.tensor(order))).sum()) for n, axis in moved.items())
        for order in itertools.permutations(range(5))
    ]
    assert found.value == pytest.approx(max(values), rel=1e-12)


def test_with_signs_it_finds_what_trying_all_of_them_finds():
    generator = torch.Generator().manual_seed(1)
    module = built(lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)))
    symmetry = symmetry_of(module, (torch.zeros(2, 3).double(),)).symmetry
    a, b = (
        {n: torch.randn(t.shape, generator=generator, dtype=t.dtype) for n, t in trained(module).items()}
        for _ in "ab"
    )
    found = matched(symmetry, a, b, generator=generator, odd=symmetry.free)
    moved = {"0.weight": 0, "0.bias": 0, "2.weight": 1}
    best = -math.inf
    for signs in itertools.product((-1.0, 1.0), repeat=4):
        turned = flipped(b, symmetry, {symmetry.free[0]: torch.tensor(signs)})
        for order in itertools.permutations(range(4)):
            parts = (a[n] * turned[n].index_select(axis, torch.tensor(order)) for n, axis in moved.items())
            best = max(best, sum(float(part.sum()) for part in parts))
    assert found.value == pytest.approx(best, rel=1e-12)
    back = permuted(flipped(b, symmetry, found.signs), symmetry, found.permutations)
    assert sum(float((a[n] * back[n]).sum()) for n in moved) == pytest.approx(best, rel=1e-12)


def test_it_is_never_worse_than_the_identity_and_no_group_alone_improves_it():
    torch.manual_seed(0)
    symmetry = residual_symmetry(12)
    a, b = trained(Residual(width=12)), trained(Residual(width=12))
    found = matched(symmetry, a, b, generator=torch.Generator().manual_seed(0), restarts=3)
    generator = torch.Generator().manual_seed(1)

    def value(permutations) -> float:
        back = permuted(b, symmetry, permutations)
        moved = {block.tensor for block in symmetry.blocks}
        return sum(float((a[name] * back[name]).double().sum()) for name in moved)

    assert found.value == pytest.approx(value(found.permutations), rel=1e-5)
    assert found.value >= value(symmetry.identity())
    for _ in range(200):
        group = symmetry.free[int(torch.randint(len(symmetry.free), (), generator=generator))]
        one, other = torch.randint(12, (2,), generator=generator).tolist()
        swapped = [order.clone() for order in found.permutations]
        swapped[group][[one, other]] = swapped[group][[other, one]]
        assert value(swapped) <= found.value + 1e-4


def test_more_restarts_are_never_worse():
    torch.manual_seed(0)
    symmetry = residual_symmetry(32)
    a, b = trained(Residual(width=32)), trained(Residual(width=32))
    values = [
        matched(symmetry, a, b, generator=torch.Generator().manual_seed(0), restarts=n).value
        for n in (1, 2, 4, 8)
    ]
    assert values == sorted(values)


def test_costs_alone_assign_heads_and_what_is_in_them():
    symmetry = found("packed attention, chunks")[2]
    wanted = symmetry.random(torch.Generator().manual_seed(7))
    costs = {}
    for unit in (i for i in symmetry.free if symmetry.groups[i].outer is None):
        size = symmetry.groups[unit].size
        own = torch.zeros(size, size)
        own[torch.arange(size), wanted[unit]] = 1
        nested = {}
        for inner in (i for i in symmetry.free if symmetry.groups[i].outer == unit):
            width = symmetry.groups[inner].size
            nested[inner] = torch.zeros(size, size, width, width)
            for j in range(size):
                nested[inner][:, j, torch.arange(width), wanted[inner][j]] = 1
        costs[unit] = Costs(own, nested)
    orders, signs = assigned(symmetry, costs)
    assert not signs
    assert all(torch.equal(x, y) for x, y in zip(orders, wanted, strict=True))
