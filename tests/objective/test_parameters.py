"""θ and its pieces: order, names, ties, and filters by an independent loop."""

import pytest
import torch
from hypothesis import given, settings
from modules import LAYERS, filters_by_hand, module_trees
from torch import nn

from landscape.errors import BadInput
from landscape.numerics.pieces import filters, from_filters
from landscape.objective.parameters import chosen, flatten, layout, require, split


def test_layout_follows_named_parameters_with_ties_once_and_frozen_out():
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    module[1].weight = module[0].weight
    module[2].bias.requires_grad_(False)
    pieces = layout(module)
    assert [piece.name for piece in pieces] == ["0.weight", "0.bias", "1.bias", "2.weight"]
    assert [piece.offset for piece in pieces] == [0, 9, 12, 15]
    assert pieces[-1].span == slice(15, 21)


def test_chosen_pieces_follow_each_other_in_the_order_of_theta():
    pieces = layout(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 4)))
    found = chosen([pieces[3], pieces[1], pieces[0]])
    assert [(piece.name, piece.offset) for piece in found] == [("0.weight", 0), ("0.bias", 6), ("1.bias", 8)]
    assert chosen(found) == found
    assert chosen(pieces) == pieces


def test_roles():
    module = nn.ModuleDict(
        {"conv": nn.Conv2d(2, 3, 3), "bn": nn.BatchNorm2d(3), "ln": nn.LayerNorm(3), "act": nn.PReLU()}
    )
    assert {piece.name: piece.role for piece in layout(module)} == {
        "conv.weight": "weight",
        "conv.bias": "bias",
        "bn.weight": "norm",
        "bn.bias": "norm",
        "ln.weight": "norm",
        "ln.bias": "norm",
        "act.weight": "vector",
    }


def test_flatten_is_a_copy_and_split_gives_views():
    module = nn.Linear(3, 2)
    pieces = layout(module)
    theta = flatten(dict(module.named_parameters()), pieces)
    split(theta, pieces)["weight"][0, 0] = 7.0
    assert theta[0] == 7.0
    assert module.weight[0, 0] != 7.0


@pytest.mark.parametrize("name", LAYERS)
def test_filters_are_those_of_the_layer(name):
    layer = LAYERS[name]().double()
    for piece in layout(layer):
        weight = layer.get_parameter(piece.name).detach()
        rows = filters(piece, weight.reshape(-1))
        expected = filters_by_hand(layer, weight)
        assert len(rows) == len(expected)
        for row, by_hand in zip(rows, expected, strict=True):
            assert torch.equal(row, by_hand.reshape(-1))


def test_a_filter_of_a_transposed_convolution_makes_one_output_channel():
    """By what the layer computes: zeroing filter c leaves channel c at its bias, and no other."""
    layer = nn.ConvTranspose2d(6, 4, 3, groups=2).double()
    (piece, *_) = layout(layer)
    x = torch.randn(1, 6, 5, 5, dtype=torch.float64)
    before = layer(x).detach()
    for channel in range(4):
        rows = filters(piece, layer.weight.detach().reshape(-1)).clone()
        rows[channel] = 0
        weight = from_filters(piece, rows).reshape(piece.shape)
        after = torch.func.functional_call(layer, {"weight": weight}, (x,)).detach()
        changed = (after != before).flatten(2).any(2)[0]
        assert changed.nonzero().flatten().tolist() == [channel]
        torch.testing.assert_close(after[0, channel], layer.bias[channel].detach().expand(7, 7))


@settings(max_examples=40)
@given(module_trees())
def test_round_trips_are_exact_for_any_module_tree(module):
    pieces = layout(module)
    tensors = dict(module.named_parameters())
    theta = flatten(tensors, pieces)
    assert len(theta) == sum(p.numel() for p in module.parameters() if p.requires_grad)
    for name, tensor in split(theta, pieces).items():
        assert torch.equal(tensor, tensors[name])
    for piece in pieces:
        values = torch.arange(piece.size)
        assert torch.equal(from_filters(piece, filters(piece, values)), values)


def test_a_parameter_without_elements_has_empty_filters():
    module = nn.ParameterDict({"empty": torch.zeros(0, 3), "full": torch.zeros(2, 3)})
    (empty, full) = layout(module)
    assert filters(empty, torch.zeros(0)).shape == (0, 3)
    assert from_filters(empty, filters(empty, torch.zeros(0))).shape == (0,)
    assert full.offset == 0


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.ReLU(), "no trainable parameter"),
        (nn.Linear(2, 2).requires_grad_(False), "no trainable parameter"),
        (nn.LazyLinear(3), "not initialised"),
        (nn.Linear(2, 2, dtype=torch.complex64), "complex64"),
    ],
)
def test_modules_without_a_real_theta_are_refused(module, message):
    with pytest.raises(BadInput, match=message):
        layout(module)


def test_every_misfit_is_named():
    with pytest.raises(BadInput, match=r"b \(2,\) instead of \(3,\), c missing"):
        require({"a": torch.zeros(1), "b": torch.zeros(2)}, {"a": (1,), "b": (3,), "c": ()}, "x.pt", "Net")


def test_every_number_has_a_name():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1, bias=False))
    module.scale = nn.Parameter(torch.ones(()))
    names = [name for piece in layout(module) for name in piece.entries]
    assert names[0] == "scale"
    assert names[1:5] == ["0.weight[0, 0]", "0.weight[0, 1]", "0.weight[1, 0]", "0.weight[1, 1]"]
    assert names[5:7] == ["0.bias[0]", "0.bias[1]"]
    assert len(names) == 9
