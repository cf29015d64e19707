"""Directions: filter norms by a loop of their own, principal components by another decomposition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from modules import LAYERS, filters_by_hand, module_trees
from torch import nn

from landscape.errors import BadInput
from landscape.numerics.curves.directions import (
    coordinates,
    gram_matrix,
    normalised,
    orthogonalised,
    plane_through,
    principal_components,
    random_direction,
)
from landscape.numerics.vectors import normal
from landscape.objective.parameters import flatten, layout, split


def theta_of(module):
    return flatten(dict(module.named_parameters()), layout(module))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def assert_filter_norms(module, theta, direction, pieces, ignore):
    parts = split(direction, pieces)
    for piece in pieces:
        owner = module.get_submodule(piece.name.rpartition(".")[0])
        weight = split(theta, pieces)[piece.name]
        if piece.role in ignore:
            assert not parts[piece.name].any()
            continue
        for w, d in zip(
            filters_by_hand(owner, weight), filters_by_hand(owner, parts[piece.name]), strict=True
        ):
            assert float(d.norm()) == pytest.approx(float(w.norm()), rel=1e-14, abs=1e-300)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("ignore", [(), ("bias", "norm")])
def test_each_filter_is_as_long_as_its_weights(name, ignore):
    layer = LAYERS[name]().double()
    theta, pieces = theta_of(layer), layout(layer)
    if all(piece.role in ignore for piece in pieces):
        with pytest.raises(BadInput, match="every parameter is ignored"):
            random_direction(theta, pieces, ignore=ignore, generator=seeded())
        return
    theta = torch.randn(theta.shape, generator=seeded(5), dtype=torch.float64)
    direction = random_direction(theta, pieces, ignore=ignore, generator=seeded())
    assert_filter_norms(layer, theta, direction, pieces, ignore)


@settings(max_examples=30)
@given(module_trees())
def test_filter_norms_hold_for_any_module_tree(module):
    theta, pieces = theta_of(module), layout(module)
    direction = random_direction(theta, pieces, ignore=("bias",), generator=seeded())
    assert_filter_norms(module, theta, direction, pieces, ("bias",))


def test_zero_filters_stay_at_rest():
    module = nn.Linear(4, 3, bias=False).double()
    with torch.no_grad():
        module.weight[1] = 0
    direction = random_direction(theta_of(module), layout(module), generator=seeded()).reshape(3, 4)
    assert not direction[1].any()
    assert direction[0].all()
    assert direction.isfinite().all()


def test_a_zero_draw_gives_zero_and_no_nan():
    module = nn.Linear(4, 3).double()
    zero = torch.zeros(15, dtype=torch.float64)
    assert not normalised(zero, theta_of(module), layout(module), norm="filter").any()


@pytest.mark.parametrize("name", ["linear", "conv2d", "transposed grouped"])
def test_layer_norm_rescales_each_parameter_as_a_whole(name):
    layer = LAYERS[name]().double()
    theta, pieces = theta_of(layer), layout(layer)
    direction = random_direction(theta, pieces, norm="layer", ignore=(), generator=seeded())
    draw = normal(theta, seeded())
    for piece in pieces:
        part, raw = direction[piece.span], draw[piece.span]
        torch.testing.assert_close(part, raw * (theta[piece.span].norm() / raw.norm()))


def test_no_norm_leaves_the_draw():
    layer = nn.Linear(4, 3).double()
    direction = random_direction(
        theta_of(layer), layout(layer), norm="none", ignore=("bias",), generator=seeded()
    )
    draw = normal(theta_of(layer), seeded())
    assert torch.equal(direction[:12], draw[:12])
    assert not direction[12:].any()


def test_one_seed_gives_one_direction_in_every_dtype():
    module = nn.Conv2d(3, 4, 3)
    pieces, theta = layout(module), theta_of(module)
    single = random_direction(theta, pieces, generator=seeded(3))
    double = random_direction(theta.double(), pieces, generator=seeded(3))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-7, atol=0)


def test_unknown_norms_and_roles_are_refused():
    module = nn.Linear(2, 2)
    with pytest.raises(BadInput, match="one of filter, layer, none"):
        random_direction(theta_of(module), layout(module), norm="filters", generator=seeded())
    with pytest.raises(BadInput, match="cannot ignore weight"):
        random_direction(theta_of(module), layout(module), ignore=("weight",), generator=seeded())


def test_principal_components_are_those_of_a_singular_value_decomposition():
    trajectory = torch.randn(7, 50, generator=seeded(), dtype=torch.float64).cumsum(0)
    found = principal_components(trajectory, trajectory[-1])
    _, sizes, rows = np.linalg.svd((trajectory - trajectory[-1]).numpy(), full_matrices=False)
    np.testing.assert_allclose(found.explained, (sizes**2 / (sizes**2).sum())[:2], rtol=1e-12)
    cosines = np.abs(found.directions.numpy() @ rows[:2].T)
    np.testing.assert_allclose(cosines, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(gram_matrix(found.directions), np.eye(2), atol=1e-14)


def test_principal_components_stay_orthonormal_where_one_dominates():
    """The Gram matrix squares the condition: a second component 1e-5 of the first would lose it."""
    line = torch.linspace(5, 0, 6, dtype=torch.float64)[:, None] * torch.randn(
        1, 40, generator=seeded(), dtype=torch.float64
    )
    bent = line + 1e-5 * torch.randn(6, 40, generator=seeded(1), dtype=torch.float64)
    found = principal_components(bent, bent[-1])
    np.testing.assert_allclose(gram_matrix(found.directions), np.eye(2), atol=1e-14)


def test_explained_variance_of_a_random_walk_is_that_of_one():
    """In very many dimensions every random walk explains what the formula says (measured: one draw)."""
    steps = 12
    walk = torch.randn(steps, 200_000, generator=seeded(), dtype=torch.float32).cumsum(0)
    found = principal_components(walk, walk[-1])
    np.testing.assert_allclose(found.explained, found.explained_by_random_walk, atol=0.01)
    # and of 12 points, 11 differ from the last, so that the walk has 11 steps
    left = np.arange(11, 0, -1)
    sizes = np.linalg.eigvalsh(np.minimum.outer(left, left))
    assert found.explained_by_random_walk[0] == pytest.approx(sizes[-1] / sizes.sum())


@pytest.mark.parametrize("trajectory", [torch.zeros(1, 3), torch.zeros(4, 3), torch.ones(3, 3).cumsum(0)])
def test_a_trajectory_on_a_line_spans_no_plane(trajectory):
    with pytest.raises(BadInput, match="spans no plane"):
        principal_components(trajectory, trajectory[-1])


def test_plane_through_three_points_is_orthonormal_and_holds_them():
    a, b, c = torch.randn(3, 30, generator=seeded(), dtype=torch.float64)
    basis = plane_through(a, b, c)
    np.testing.assert_allclose(gram_matrix(basis), np.eye(2), atol=1e-14)
    torch.testing.assert_close(basis[0], (b - a) / (b - a).norm())
    found, distance = coordinates(torch.stack([a, b, c]), a, basis)
    np.testing.assert_allclose(distance, 0, atol=1e-13)
    np.testing.assert_allclose(found[:2], [[0, 0], [float((b - a).norm()), 0]], atol=1e-13)
    torch.testing.assert_close(a + torch.from_numpy(found[2]) @ basis, c)


def test_three_points_on_a_line_or_equal_are_refused():
    a, b = torch.randn(2, 5, generator=seeded(), dtype=torch.float64)
    with pytest.raises(BadInput, match="on one line"):
        plane_through(a, b, a + 3 * (b - a))
    with pytest.raises(BadInput, match="on one line"):
        plane_through(*(one.float() for one in (a, b, (a + b) / 2 + 1e-8)))
    for three in ((a, a, b), (a, b, a), (a, b, b * (1 + 1e-15))):
        with pytest.raises(BadInput, match="the same"):
            plane_through(*three)


def test_coordinates_are_least_squares_on_an_oblique_basis():
    rng = np.random.default_rng(0)
    basis, points, origin = rng.normal(size=(2, 9)), rng.normal(size=(4, 9)), rng.normal(size=9)
    found, distance = coordinates(*(torch.from_numpy(part) for part in (points, origin, basis)))
    for point, here, far in zip(points, found, distance, strict=True):
        solved, squares, *_ = np.linalg.lstsq(basis.T, point - origin, rcond=None)
        np.testing.assert_allclose(here, solved, rtol=1e-12)
        assert far**2 == pytest.approx(float(squares[0]), rel=1e-12)


def test_orthogonalised_keeps_its_length():
    first, second = torch.randn(2, 20, generator=seeded(), dtype=torch.float64)
    turned = orthogonalised(first, second)
    assert abs(float(turned @ second)) < 1e-14 * float(turned.norm() * second.norm())
    assert float(turned.norm()) == pytest.approx(float(first.norm()), rel=1e-14)


def test_parallel_and_zero_directions_are_refused():
    one = torch.ones(4, dtype=torch.float64)
    with pytest.raises(BadInput, match="parallel"):
        orthogonalised(-2 * one, one)
    with pytest.raises(BadInput, match="length zero"):
        orthogonalised(one, 0 * one)


def test_coordinates_are_the_same_bits_wherever_they_lie_in_memory():
    points, plane = (torch.randn(n, 63, generator=torch.Generator().manual_seed(n)).double() for n in (20, 2))
    held, found = [], set()
    for i in range(1000):
        held = [*held[-50:], torch.empty(1 + 37 * i % 499)]
        where, distance = coordinates(points.clone(), torch.zeros(63).double(), plane.clone())
        found.add(where.tobytes() + distance.tobytes())
    assert len(found) == 1
