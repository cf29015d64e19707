"""Families are of the function, however far its scores or whatever its rows, and each direction is counted once."""

import pytest
import torch
from families import gaussian, nullity, tensors_of
from symmetric import built, numbers
from torch import Tensor, nn

from landscape.symmetry import function_difference, symmetry_of
from landscape.symmetry.continuous import families_of
from landscape.symmetry.families import Found
from landscape.symmetry.independent import dimensions, rank_bounds, without_redundant
from landscape.symmetry.moments import near
from landscape.symmetry.translations import Translation
from landscape.symmetry.verified import batch_experts


def families_in(module: nn.Module, x: Tensor) -> Found:
    module = batch_experts(module)
    return families_of(module, (x,), symmetry_of(module, (x,)))


class Asked(nn.Module):
    """Attention over what a bias was added to; no norm, so that scores may be far apart."""

    def __init__(self):
        super().__init__()
        self.inputs, self.shift = nn.Linear(4, 6), nn.Parameter(torch.ones(6))
        self.query, self.key, self.value = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(6, 4)
        self.outputs = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.inputs(x).tanh()
        y = h + self.shift
        scores = self.query(y) @ self.key(y).mT
        return self.outputs(scores.softmax(-1) @ self.value(y)) + self.outputs(h[..., :4])


def test_scores_so_far_apart_that_no_query_is_seen_hide_no_queries():
    module, x = built(Asked), gaussian(4, 5, 4)()
    tensors = tensors_of(module)
    with torch.no_grad():
        for name in ("query.weight", "key.weight"):
            module.get_parameter(name).mul_(300)
    found = families_in(module, x)
    generator = torch.Generator().manual_seed(0)
    for one in found.families:
        for _ in range(3):
            moved = one.acted(tensors, one.random(generator))
            assert function_difference(module, tensors, moved, [(x,)]) < 1e-9, one.name
    # The shift is read by all three, each with a bias.
    shifts = [one for one in found.families if isinstance(one, Translation) and one.name == "shift[0]"]
    assert [len(one.readers) for one in shifts] == [2, 2]


class Rows(nn.Module):
    def __init__(self, padding: int | None):
        super().__init__()
        self.rows = nn.Embedding(7, 4, padding_idx=padding)
        self.outputs = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs(self.rows(x))


def test_the_row_for_padding_is_read_though_no_slope_says_so():
    x = torch.tensor([[0, 0, 0, 1], [0, 2, 0, 3]])
    texts = []
    for padding in (None, 0):
        module = built(lambda row=padding: Rows(row))
        texts.append([one.text for one in families_in(module, x).families])
    assert texts[0] == texts[1]
    assert texts[0][0] == "GL(4)"


class Tables(nn.Module):
    """Words and positions, of which a norm that centres sees neither what is along ones nor what moves between."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(7, 5), nn.Parameter(torch.randn(3, 5))
        self.norm, self.outputs = nn.LayerNorm(5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs(self.norm(self.words(x) + self.places)).tanh()


def test_what_two_families_share_is_counted_once():
    module, x = built(Tables), numbers(7, 60, 3)()
    found = families_in(module, x)
    assert found.dimension == nullity(module, x) < sum(one.dimension for one in found.families)
    # The same twice: all of one of them is the other's.
    there = near(tensors_of(module), ["words.weight"], torch.Generator().manual_seed(0))
    twice = [*found.families, *found.families]
    assert dimensions(twice, there) == [*found.dimensions, *[0] * len(found.families)]
    assert (
        rank_bounds(twice, there) == rank_bounds(found.families, there) == (found.dimension, found.dimension)
    )
    assert without_redundant(twice, there) == without_redundant(found.families, there) == found.families


@pytest.mark.parametrize("most", [0, 10**6])
def test_more_than_can_be_counted_are_as_they_are(most, monkeypatch):
    monkeypatch.setattr("landscape.symmetry.independent.MOST_DIRECTIONS", most)
    module, x = built(Tables), numbers(7, 60, 3)()
    found = families_in(module, x)
    own = sum(one.dimension for one in found.families)
    assert (found.dimension == own) == (most == 0)


class States(nn.Module):
    """Hands out its stream, as encoders do, of which a norm's readers know nothing but what its gain says."""

    def __init__(self):
        super().__init__()
        self.inputs, self.norm = nn.Linear(3, 5), nn.LayerNorm(5)
        self.inside, self.outside = nn.Linear(5, 4), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.inputs(x)
        return y + self.outside(self.inside(self.norm(y)).tanh())


class Tokens(nn.Module):
    """As ViT: a token of no input first, and a place for each."""

    def __init__(self):
        super().__init__()
        self.token, self.places = nn.Parameter(torch.ones(1, 1, 6)), nn.Parameter(torch.ones(1, 4, 6))
        self.inputs, self.norm, self.outputs = nn.Linear(3, 6), nn.LayerNorm(6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([self.token.expand(len(x), -1, -1), self.inputs(x)], 1) + self.places
        y = self.norm(y)
        return self.outputs(((y @ y.mT).softmax(-1) @ y).tanh().mean(1))


# What goes along ones from a bias to another is no family.
@pytest.mark.parametrize(("factory", "inputs", "others"), [(States, (60, 3), 1), (Tokens, (200, 3, 3), 0)])
def test_there_are_as_many_as_no_output_sees(factory, inputs, others):
    module, x = built(factory), gaussian(*inputs)()
    assert families_in(module, x).dimension + others == nullity(module, x)


def test_rows_that_the_data_look_up_are_not_taken_for_what_stands_beside_them():
    """The first word is the same in all data, and so is its place: no symmetry of the module."""
    module, x = built(Tables), numbers(7, 60, 3)()
    x[:, 1:] = x[:, 1:].clamp_min(1)
    x[:, 0] = 0
    found, tensors = families_in(module, x), tensors_of(module)
    generator = torch.Generator().manual_seed(0)
    for one in found.families:
        before = tensors if isinstance(one, Translation) else one.folded(tensors)
        moved = one.acted(before, one.random(generator))
        assert function_difference(module, before, moved, [(numbers(7, 60, 3)(),)]) < 1e-9, one.name
