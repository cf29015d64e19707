"""Permutation symmetries found by tracing: the function stays, coverage is as known by hand, doubt blocks."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from symmetric import SPOILT, SYMMETRIC, Grouped, Recurrent, Spoilt, built, difference, found, image
from torch import nn

from landscape.errors import BadInput
from landscape.objective.checks import fingerprint
from landscape.symmetry import operations, symmetry_of
from landscape.symmetry.axes import Factor, factors, fixed, free, join, resolved, size_of
from landscape.symmetry.permutations import Symmetry, composed, permuted
from landscape.symmetry.views import regrouped


@pytest.mark.parametrize("name", SYMMETRIC)
def test_every_permutation_that_is_found_leaves_the_function_as_it_is(name):
    module, x, symmetry = found(name)
    generator = torch.Generator().manual_seed(3)
    for _ in range(3):
        assert difference(module, x, symmetry, symmetry.random(generator)) <= 1e-9
    for group in symmetry.free:
        assert difference(module, x, symmetry, symmetry.random(generator, group)) <= 1e-9


@pytest.mark.parametrize("name", SYMMETRIC)
def test_coverage_is_what_counting_by_hand_gives(name):
    case = SYMMETRIC[name]
    symmetry = found(name)[2]
    assert (len(symmetry.movable), len(symmetry.names)) == (case.movable, case.total)
    sizes = [
        (group.size, None if group.outer is None else symmetry.groups[group.outer].size)
        for group in (symmetry.groups[i] for i in symmetry.free)
    ]
    assert sorted(sizes, key=str) == sorted(case.groups, key=str)
    assert set(symmetry.blocked) == set(symmetry.names) - set(symmetry.movable)
    assert all(reason.endswith("an output of the module") for reason in symmetry.blocked.values())


@pytest.mark.parametrize("name", ["cnn with batch norm", "u-net", "encoder", "grouped and depthwise"])
def test_one_tensor_less_and_the_function_changes(name):
    module, x, symmetry = found(name)
    permutations = symmetry.random(torch.Generator().manual_seed(3))
    for left_out in {block.tensor for block in symmetry.blocks}:
        blocks = tuple(block for block in symmetry.blocks if block.tensor != left_out)
        partial = Symmetry(symmetry.groups, blocks, symmetry.names, symmetry.reasons)
        moves = not torch.equal(
            permuted(dict(module.state_dict()), symmetry, permutations)[left_out],
            module.state_dict()[left_out],
        )
        # A bias of keys shifts all scores of a query alike, which the softmax takes out again.
        if moves and not left_out.endswith("in_proj_bias"):
            assert difference(module, x, partial, permutations) > 1e-6, left_out


@pytest.mark.parametrize("how", SPOILT)
def test_what_ties_units_to_their_places_blocks_them_and_no_others(how):
    module, x = built(lambda: Spoilt(SPOILT[how])), image(4, 4)()
    symmetry = symmetry_of(module, (x,)).symmetry
    assert difference(module, x, symmetry, symmetry.random(torch.Generator().manual_seed(3))) <= 1e-9
    assert {"b.bias", "c.weight", "c.bias"} <= set(symmetry.blocked), symmetry.blocked
    assert {"a.weight", "a.bias", "b.weight"} == set(symmetry.movable)
    assert all(len(symmetry.blocked[name]) > 10 for name in symmetry.blocked)


def test_the_reason_names_the_operation():
    symmetry = symmetry_of(built(lambda: Spoilt(SPOILT["sorted"])), (image(4, 4)(),)).symmetry
    assert symmetry.blocked["b.bias"] == "[0] sort does not commute with a permutation of it"


@pytest.mark.parametrize("wrong", ["flip", "cumsum"])
def test_a_rule_that_is_wrong_is_found_out_by_trying(wrong, monkeypatch):
    monkeypatch.setitem(operations.RULES, wrong, operations.RULES["clone"])
    how = {"flip": "reversed", "cumsum": "accumulated"}[wrong]
    module, x = built(lambda: Spoilt(SPOILT[how])), image(4, 4)()
    symmetry = symmetry_of(module, (x,)).symmetry
    assert set(symmetry.movable) == {"a.weight", "a.bias", "b.weight"}
    by = r"permuting it changed the outputs by [\d.]+ of their size"
    assert re.fullmatch(by, symmetry.blocked["b.bias"])
    assert difference(module, x, symmetry, symmetry.random(torch.Generator().manual_seed(3))) <= 1e-9


def test_a_branch_on_the_data_cannot_be_traced():
    module = built(lambda: Spoilt(lambda x: x if x.sum() > 0 else -x))
    with pytest.raises(
        BadInput, match=r"Spoilt cannot be traced by torch\.export .*line \d+ of .*x\.sum\(\) > 0"
    ):
        symmetry_of(module, (image(4, 4)(),))


def test_where_a_kernel_of_attention_is_in_the_way_others_are_named():
    def fast(x):
        if x.requires_grad or x.dtype == torch.float64:
            raise RuntimeError("FlashAttention only supports half types")
        return x

    module = built(lambda: Spoilt(fast))
    with pytest.raises(
        BadInput, match=r'in float64 .*`scaled_dot_product_attention`.*attn_implementation="sdpa"'
    ):
        symmetry_of(module, (image(4, 4)(),))


def test_as_many_positions_as_the_data_say_cannot_be_traced():
    module = built(lambda: Spoilt(lambda x: x + x[(x[:, 0] > 0).nonzero()[:, 0]].sum()))
    with pytest.raises(
        BadInput, match=r"how many positions nonzero makes .*line \d+ of (symmetric|test_tracing)\.py"
    ):
        symmetry_of(module, (image(4, 4)(),))


def test_parameters_that_are_not_used_do_not_move():
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    module.register_parameter("spare", nn.Parameter(torch.randn(6)))
    symmetry = symmetry_of(module, (image(2, 4)().float(),)).symmetry
    assert symmetry.blocked["spare"] == "[0] the traced module does not use it"


def test_keys_that_are_tiled_keep_their_places():
    """Beside a tiling keys and channels are permuted in each tile alike, and queries of a key are not found."""
    module, x = built(lambda: Grouped("tile")), image(2, 5, 7)()
    symmetry = symmetry_of(module, (x,)).symmetry
    found = [(symmetry.groups[i].size, symmetry.groups[i].outer) for i in symmetry.free]
    assert found == [(2, None), (5, 0), (5, 0), (8, None)]
    generator = torch.Generator().manual_seed(0)
    assert difference(module, x, symmetry, symmetry.random(generator)) <= 1e-9


def test_columns_side_by_side_are_no_group():
    """Single positions one after the other, from parts of their own, have no order to change."""

    class Columns(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.out = nn.Linear(3, 1), nn.Linear(3, 1), nn.Linear(2, 2)

        def forward(self, x):
            return self.out(torch.cat([self.a(x), self.b(x)], -1))

    symmetry = symmetry_of(Columns(), (torch.randn(3, 3),)).symmetry
    assert not symmetry.groups
    assert "single positions" in symmetry.blocked["out.weight"]


def test_positions_that_shorter_inputs_leave_out_do_not_move():
    """Their permutation would change the function of longer ones, which the trial does not see."""

    class Positioned(nn.Module):
        def __init__(self):
            super().__init__()
            self.places = nn.Parameter(torch.randn(9, 4))
            self.register_buffer("numbers", torch.arange(9)[None])
            self.embedding, self.first, self.out = nn.Embedding(9, 4), nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            n = x.shape[1]
            places = self.places[:n] + self.embedding(self.numbers[:, :n])
            return self.out(torch.relu(self.first(x) + places)).mean(1)

    symmetry = symmetry_of(Positioned(), (torch.randn(3, 5, 3),)).symmetry
    assert [symmetry.groups[group].size for group in symmetry.free] == [4]


def test_the_module_is_left_as_it_was():
    module = built(Recurrent).train().requires_grad_(False)
    before = fingerprint(module)
    symmetry_of(module, (image(2, 4, 3)(),))
    assert fingerprint(module) == before


@pytest.mark.parametrize("name", ["mlp", "encoder", "grouped and depthwise"])
def test_two_permutations_make_one(name):
    module, _, symmetry = found(name)
    generator = torch.Generator().manual_seed(5)
    first, then = symmetry.random(generator), symmetry.random(generator)
    tensors = dict(module.state_dict())
    twice = permuted(permuted(tensors, symmetry, first), symmetry, then)
    once = permuted(tensors, symmetry, composed(symmetry, first, then))
    assert all(torch.equal(once[name], twice[name]) for name in tensors)


@st.composite
def trees(draw: st.DrawFn) -> tuple[nn.Module, torch.Tensor]:
    """A convolutional part, or none, then a fully connected one."""
    activations = [nn.ReLU, nn.Tanh, nn.GELU, nn.Identity]
    layers: list[nn.Module] = []
    size, features = 6, 4
    if draw(st.booleans()):
        channels = 2
        for _ in range(draw(st.integers(1, 3))):
            groups = draw(st.sampled_from([1, 2])) if channels % 2 == 0 else 1
            wider = groups * draw(st.integers(1, 3))
            layers.append(nn.Conv2d(channels, wider, 3, padding=1, groups=groups, bias=draw(st.booleans())))
            norms = [nn.Identity(), nn.BatchNorm2d(wider), nn.GroupNorm(groups, wider)]
            layers += [draw(st.sampled_from(norms)), draw(st.sampled_from(activations))()]
            channels = wider
        layers += [draw(st.sampled_from([nn.MaxPool2d(2), nn.AvgPool2d(3)])), nn.Flatten()]
        probe = torch.zeros(1, 2, size, size)
        features = nn.Sequential(*layers).eval()(probe).shape[1]
    for _ in range(draw(st.integers(1, 3))):
        width = draw(st.integers(1, 5))
        layers += [nn.Linear(features, width), draw(st.sampled_from(activations))()]
        features = width
    module = nn.Sequential(*layers, nn.Linear(features, 2))
    is_image = isinstance(module[0], nn.Conv2d)
    return module, image(2, 2, size, size)() if is_image else image(2, 4)()


@settings(max_examples=settings().max_examples // 4)
@given(trees())
def test_any_tree_of_layers_keeps_its_function(tree):
    module, x = tree
    module = built(lambda: module)
    symmetry = symmetry_of(module, (x,)).symmetry
    assert difference(module, x, symmetry, symmetry.random(torch.Generator().manual_seed(3))) <= 1e-9


# --- the algebra of axes --------------------------------------------------------------------


def test_a_free_axis_takes_the_shape_of_another():
    channels, pixels = Factor(3), Factor(4, reason="space")
    axis = free(12)
    join(axis, ((channels, pixels),), "")
    assert resolved(axis) == ((channels, pixels),)


def test_a_concatenation_cuts_what_it_is_joined_with():
    a, b, whole = Factor(2), Factor(3), free(5)
    join(((a,), (b,)), whole, "")
    assert [len(product) for product in resolved(whole)] == [1, 1]
    assert [f.size for f in factors(whole)] == [2, 3]
    assert factors(whole) == factors(((a,), (b,)))


def test_axes_that_do_not_fit_are_pinned_with_the_reason():
    one, other = (Factor(2), Factor(3)), (Factor(3), Factor(2))
    join((one,), (other,), "no common shape")
    assert {f.reason for f in (*one, *other)} == {"no common shape"}


def test_what_is_joined_with_a_pinned_axis_is_pinned_too():
    axis = free(4)
    join(axis, fixed(4, "an input"), "")
    assert [factor.reason for factor in factors(axis)] == ["an input"]


def test_a_view_splits_and_a_view_back_joins():
    axis = free(12)
    outer, inner = regrouped([axis], (3, 4), "cut")
    assert [f.size for f in factors(axis)] == [3, 4]
    assert factors(inner)[0].outer is factors(outer)[0]
    (back,) = regrouped([outer, inner], (12,), "cut")
    assert back == resolved(axis)


def test_a_view_that_cuts_through_pins():
    one, other = free(4), free(9)
    assert [size_of(axis) for axis in regrouped([one, other], (6, 6), "cut")] == [6, 6]
    assert {f.reason for f in (*factors(one), *factors(other))} == {"cut"}


def test_experts_that_are_picked_by_number_are_said_to_stay_in_order():
    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.router, self.out = nn.Linear(5, 3), nn.Linear(5, 2)
            self.up, self.down = nn.Parameter(torch.randn(3, 5, 7)), nn.Parameter(torch.randn(3, 7, 5))

        def forward(self, x):
            chosen = self.router(x).argmax(1)
            hidden = torch.relu(torch.einsum("bi,bij->bj", x, self.up[chosen]))
            return self.out(torch.einsum("bj,bjk->bk", hidden, self.down[chosen]))

    symmetry = symmetry_of(Experts(), (torch.randn(6, 5),)).symmetry
    assert sorted(symmetry.groups[group].size for group in symmetry.free) == [5, 7]
    assert symmetry.coverage.endswith(
        "picked by number, as experts are, these stay in order, all units alike in each: up [0], down [0]"
    )
    assert "stay in order" not in symmetry_of(nn.Linear(3, 2), (torch.randn(4, 3),)).symmetry.coverage


class Solving(nn.Module):
    """A system of equations, whose matrix torch looks at, before two layers."""

    def __init__(self):
        super().__init__()
        self.mix, self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x):
        square = torch.eye(4) + self.mix.weight @ self.mix.weight.T
        return self.last(self.first(torch.linalg.solve(square, x.T).T).tanh())


def test_units_behind_a_system_of_equations_are_found():
    module = Solving()
    symmetry = symmetry_of(module, (torch.randn(7, 4),)).symmetry
    assert [group.size for group in symmetry.groups if group.size == 5] == [5]
