"""Maps that lower the loss between two points: elements of their groups, their slopes, and what they find."""

from functools import cache

import pytest
import torch
from families import found_in
from symmetric import numbers
from torch import nn

from landscape import Objective
from landscape.progress import silent
from landscape.symmetry import function_difference
from landscape.symmetry.alignment import tensors_of
from landscape.symmetry.refinement import (
    ALONG,
    HALF_WAY,
    _Maps,  # pyright: ignore[reportPrivateUsage]
    _on_the_way,  # pyright: ignore[reportPrivateUsage]
    refined,
)

WANTED = ("Llama", "GPT-2", "BERT", "ViT", "ReLU", "linear")


@pytest.mark.parametrize("name", WANTED)
def test_any_logarithms_leave_the_function_and_those_of_zero_the_weights(name):
    module, x, _, families, b = found_in(name)
    maps = _Maps(families, b)
    for tensor, same in zip(maps.acted().values(), b.values(), strict=True):
        torch.testing.assert_close(tensor.detach(), same, rtol=1e-10, atol=1e-12)
    generator = torch.Generator().manual_seed(0)
    for one in maps.logarithms:
        one.data = 0.3 * torch.randn(one.shape, generator=generator, dtype=one.dtype)
    moved = {key: tensor.detach() for key, tensor in maps.acted().items()}
    assert function_difference(module, b, moved, [(x,)]) <= 1e-9
    assert sum(float((moved[key] - b[key]).norm()) for key in b) > 0.1


@pytest.mark.parametrize("name", WANTED)
def test_an_exponential_is_one_plus_its_logarithm_and_powers_are_multiples(name):
    generator = torch.Generator().manual_seed(0)
    for family in found_in(name)[3]:
        if family.kind == "sign":
            continue
        small = torch.randn(family.logarithm, generator=generator, dtype=torch.float64)
        element, twice = family.exponential(0.1 * small), family.exponential(0.2 * small)
        if family.kind in ("shear", "translation"):
            torch.testing.assert_close(element + element, twice)
            continue
        product = element * element if family.kind == "scaling" else element @ element
        torch.testing.assert_close(product, twice)
        if family.kind in ("orthogonal", "centred"):
            eye = torch.eye(family.size, dtype=torch.float64).expand_as(element)
            torch.testing.assert_close(element @ element.mT, eye)
        if family.kind == "centred":
            torch.testing.assert_close(element.sum(2), torch.ones_like(element[:, 0]))


@cache
def pair(name: str):
    """An objective on random tokens, and two random nets."""
    x = numbers(11, 24, 6)()
    objective = Objective(found_in(name)[0], next_token, (x, x.roll(1, 1)))
    return objective, *(objective.point(found_in(name, seed)[4]) for seed in (0, 1))


def next_token(outputs, targets):
    return nn.functional.cross_entropy(outputs.mT, targets)


def on_the_way(objective, a, b, places=ALONG) -> float:
    return sum(objective.value((1 - t) * a.theta + t * b.theta, a.fixed) for t in places) / len(places)


@pytest.mark.parametrize("name", ["Llama", "GPT-2"])
def test_with_maps_the_loss_on_the_way_falls_below_that_of_permutations(name):
    objective, a, b = pair(name)
    module, x, symmetry, families, _ = found_in(name)
    start, losses = tensors_of(objective, b), {}
    for maps in ([], families):
        generator = torch.Generator().manual_seed(0)
        found = refined(objective, symmetry, maps, a, start, 40, generator=generator, progress=silent)
        assert function_difference(module, start, found.tensors, [(x,)]) <= 1e-9
        there = objective.point(found.tensors)
        losses[len(maps)] = on_the_way(objective, a, there)
        told = on_the_way(objective, a, there, ALONG if maps else HALF_WAY)
        assert told == pytest.approx(found.loss, rel=1e-12)
    before = on_the_way(objective, a, b)
    assert losses[0] <= before
    assert before - losses[len(families)] > 2 * (before - losses[0])


def test_the_slope_of_the_logarithms_is_that_of_the_loss_on_the_way():
    objective, a, b = pair("Llama")
    maps = _Maps(found_in("Llama")[3], tensors_of(objective, b))

    def loss() -> float:
        now = objective.point({name: tensor.detach() for name, tensor in maps.acted().items()})
        return on_the_way(objective, a, now)

    moved = maps.acted()
    theta = torch.cat([moved[piece.name].flatten() for piece in objective.pieces])
    now = objective.point({name: tensor.detach() for name, tensor in moved.items()})
    value, slope = _on_the_way(objective, a, now, ALONG)
    assert value == pytest.approx(loss(), rel=1e-12)
    slopes = torch.autograd.grad((slope * theta).sum(), maps.logarithms)
    for one, its in zip(maps.logarithms, slopes, strict=True):
        direction = its / its.norm().clamp_min(1e-300)
        with torch.no_grad():
            one += 1e-5 * direction
            above = loss()
            one -= 2e-5 * direction
            below = loss()
            one += 1e-5 * direction
        assert (above - below) / 2e-5 == pytest.approx(float(its.norm()), rel=1e-4, abs=1e-9)
