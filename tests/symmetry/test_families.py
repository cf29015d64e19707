"""Continuous symmetries: as many as the Jacobian says, each of the kind that the theory says."""

from functools import cache
from itertools import combinations, pairwise

import pytest
import torch
from families import gaussian, nullity, tensors_of
from symmetric import SYMMETRIC, Decoder, Gpt, Packed, Residual, Shared, built, numbers
from torch import Tensor, nn

from landscape.symmetry import continuous, function_difference, symmetry_of
from landscape.symmetry import signs as changes_of_sign
from landscape.symmetry.continuous import families_of
from landscape.symmetry.families import Family, Found
from landscape.symmetry.moments import whole_null_space


@cache
def found_in(factory, inputs) -> tuple[nn.Module, Tensor, Found]:
    module, x = built(factory).double().eval(), inputs()
    return module, x, families_of(module, (x,), symmetry_of(module, (x,)))


def linear(*sizes: int) -> list[nn.Module]:
    return [nn.Linear(a, b, bias=False) for a, b in pairwise(sizes)]


class Asking(nn.Module):
    """A query of its own reads a set: its width, and that of what it reads, are permuted as one and mapped apart."""

    def __init__(self):
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 1, 4))
        self.inside = nn.Linear(4, 4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.outside = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        read = self.inside(x)
        return self.outside(self.attention(self.query.expand(len(x), -1, -1), read, read)[0][:, 0])


# A module, inputs on which its Jacobian has full rank, the groups, and directions that are no linear map of units.
COUNTED = {
    "ReLU": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)),
        gaussian(200, 4),
        ["R>0^6"],
        0,
    ),
    "tanh": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)),
        gaussian(60, 4),
        ["{±1}^6"],
        0,
    ),
    "linear": (lambda: nn.Sequential(*linear(4, 3, 3, 5)), gaussian(60, 4), ["GL(3)", "GL(3)"], 0),
    "gated": (lambda: Decoder(), numbers(11, 30, 6), ["GL(4)^2", "C*^4", *["R*^6"] * 3, "R*^5", "O(6)"], 0),
    "gains of 1 + w": (
        lambda: Decoder(one_more=True),
        numbers(11, 30, 6),
        ["GL(4)^2", "C*^4", *["R*^6"] * 3, "R*^5", "O(6)"],
        0,
    ),
    "residual": (lambda: Residual(4, 3, 1, 3), gaussian(60, 4), ["GL(3)", "R>0^3", "R^3", "R^3"], 0),
    # LayerNorm does not see what is written along ones (rows of embeddings and positions, columns of two weights), nor
    # its readers their rows' part along 1/gain; and positions take from embeddings what is added to all, of which the
    # same number for all channels is along ones: one direction that is counted once.
    "GPT-2": (
        lambda: Gpt(bias=False),
        numbers(11, 60, 6),
        [*["GL(4)^2"] * 2, *["R*^8"] * 3, "O(7)", "R^11", "R^6", "R^8", "R^10", *["R^8"] * 4, "R^10", "R^11"],
        0,
    ),
    # Of the two rows of keys of a head, one query sees a single sum: to each head 6 directions, of which GL(2) is 4.
    "asking": (Asking, gaussian(60, 5, 4), [*["GL(2)^2"] * 2, *["GL(4)"] * 3, *["R^4"] * 5], 4),
}


@pytest.mark.parametrize("name", COUNTED)
def test_there_are_as_many_as_directions_that_no_output_sees(name):
    factory, inputs, groups, others = COUNTED[name]
    module, x, found = found_in(factory, inputs)
    assert [one.text for one in found.families] == groups
    if others is not None:
        assert nullity(module, x) == found.dimension + others


@pytest.mark.parametrize("name", COUNTED)
def test_an_element_of_every_family_leaves_the_outputs_and_moves_the_weights(name):
    module, x, found = found_in(*COUNTED[name][:2])
    generator = torch.Generator().manual_seed(5)
    for family in found.families:
        before = family.folded(tensors_of(module))
        assert function_difference(module, tensors_of(module), before, [(x,)]) <= 1e-9
        after = family.acted(before, family.random(generator))
        assert function_difference(module, before, after, [(x,)]) <= 1e-9
        assert max(float((after[n] - before[n]).abs().max()) for n in after) > 0.1


@pytest.mark.parametrize(
    ("activation", "texts"),
    [
        (nn.ReLU(), ["R>0^6"]),
        (nn.LeakyReLU(0.2), ["R>0^6"]),
        (nn.Identity(), ["GL(6)", "R^6"]),
        (nn.Softsign(), ["{±1}^6"]),
        (nn.GELU(), []),
        (nn.Softplus(), []),
        # Homogeneous and odd near 0 alone.
        (nn.ReLU6(), []),
        (nn.Hardtanh(), ["{±1}^6"]),
        (nn.Hardsigmoid(), []),
    ],
)
def test_what_stands_between_two_layers_decides(activation, texts):
    module = built(lambda: nn.Sequential(nn.Linear(4, 6), activation, nn.Linear(6, 3)))
    x = 4 * gaussian(5, 4)()
    found = families_of(module, (x,), symmetry_of(module, (x,)))
    assert [one.text for one in found.families] == texts


class Squared(nn.Module):
    """Homogeneous of degree two: incoming weights times c, outgoing ones over c²."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)).square())


def test_exponents_are_those_of_the_function():
    _, _, found = found_in(Squared, gaussian(5, 4))
    (family,) = found.families
    assert [a for _, a in family.members] == [2, 2, -4] or [a for _, a in family.members] == [1, 1, -2]
    assert (family.text, family.dimension) == ("R>0^6", 6)


TEXTS = {
    "packed attention, chunks": ["GL(4)^2", "GL(4)^2", "R*^8", "R^8", "R^8"],
    "grouped queries, tiled": ["GL(5)^2", "GL(5)^2", "R>0^8"],
    "encoder, norm first": [*["GL(4)^2"] * 4, *["R*^8"] * 4, "O(7)", *["R^8"] * 15, *["R^16"] * 2],
    "recurrent": ["GL(5)", "R^5", *["R^4"] * 4],
    "embedding": ["GL(4)", "R>0^5", "R^4"],
    "cnn": ["R>0^4", "R>0^6"],
    "bilinear, weights normed": ["R>0^6", "R>0^5", "{±1}^5", "{±1}^5", "{±1}^7"],
    "tied": [],
}


@pytest.mark.parametrize("name", [name for name in TEXTS if name in SYMMETRIC])
def test_modules_of_many_kinds(name):
    one = SYMMETRIC[name]
    _, _, found = found_in(one.module, one.inputs)
    texts = [family.text.replace("R*", "R>0") for family in found.families]
    assert sorted(texts) == sorted(text.replace("R*", "R>0") for text in TEXTS[name])


def test_a_turn_that_the_gain_of_a_norm_stops_is_said_with_the_gain():
    one = SYMMETRIC["encoder"]
    _, _, found = found_in(one.module, one.inputs)
    assert not [family for family in found.families if family.kind in ("orthogonal", "centred")]
    assert any("the gain encoder.layers.0.norm1.weight cannot be taken" in said for said in found.refused)
    _, _, found = found_in(lambda: Gpt(tied=True), numbers(11, 3, 6))
    assert found.refused == [
        "turns of embedding.weight[1]: the gain norm.weight cannot be taken into the weights that read it"
    ]


def test_maps_act_on_heads_as_plain_loops_do():
    module, _, found = found_in(lambda: Packed("chunk"), gaussian(2, 5, 8))
    family = found.families[1]
    assert family.kind == "invertible"
    maps = family.random(torch.Generator().manual_seed(0))
    before = tensors_of(module)
    after = family.acted(before, maps)
    for head in range(2):
        rows = slice(16 + 4 * head, 20 + 4 * head)
        for name in ("project.weight", "project.bias"):
            torch.testing.assert_close(after[name][rows], maps[head] @ before[name][rows])
        columns = slice(4 * head, 4 * head + 4)
        wanted = before["out.weight"][:, columns] @ torch.linalg.inv(maps[head])
        torch.testing.assert_close(after["out.weight"][:, columns], wanted)
    assert torch.equal(after["project.weight"][:16], before["project.weight"][:16])


def test_gains_and_keys_that_all_heads_share_have_maps_of_their_own():
    """Axes that nothing permutes: a gain of queries against that of keys, and one key against every query."""
    for normed, text, name in ((True, "R*^4", "norms.0.weight[0]"), (False, "GL(4)", "q.weight[0]")):
        module, x, found = found_in(lambda normed=normed: Shared(normed=normed), gaussian(150, 5, 8))
        assert (text, name) in [(one.text, one.name) for one in found.families]
        # With norms the scales of queries and of keys are among them, which each head's norm takes away.
        assert nullity(module, x) == found.dimension


def test_a_layer_of_one_unit_may_be_scaled():
    chain = lambda: nn.Sequential(nn.Linear(4, 1), nn.ReLU(), nn.Linear(1, 5), nn.ReLU(), nn.Linear(5, 3))  # noqa: E731
    found = found_in(chain, gaussian(200, 4))[2]
    assert [(one.text, one.name) for one in found.families] == [
        ("R>0^1", "0.weight[0]"),
        ("R>0^5", "2.weight[0]"),
    ]


def test_turns_that_there_would_not_be_without_a_gain_either_are_no_news():
    chain = lambda: nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 3))  # noqa: E731
    assert found_in(chain, gaussian(9, 4))[2].refused == []


class Biased(nn.Module):
    """One head with biases, its keys turned by their positions or not."""

    def __init__(self, rotary: bool):
        super().__init__()
        self.rotary = rotary
        self.q, self.k, self.v, self.out = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        angle = torch.arange(x.shape[1], device=x.device)[:, None] * torch.tensor([1.0, 0.3], device=x.device)
        sine, cosine = (one.repeat(1, 2).to(x) for one in (angle.sin(), angle.cos()))

        def turned(y: Tensor) -> Tensor:
            return y * cosine + torch.cat([-y[..., 2:], y[..., :2]], -1) * sine if self.rotary else y

        scores = turned(self.q(x)) @ turned(self.k(x)).mT
        return self.out(torch.relu(scores.softmax(-1) @ self.v(x)))


@pytest.mark.parametrize("rotary", [False, True])
def test_biases_of_keys_may_be_anything_unless_positions_turn_them(rotary):
    module, x, found = found_in(lambda: Biased(rotary), gaussian(20, 3, 4))
    idle = [one for one in found.families if one.kind == "translation"]
    assert [(one.text, one.dimension, one.name) for one in idle] == (
        [] if rotary else [("R^4", 4, "k.bias[0]")]
    )
    before = tensors_of(module)
    after = {**before, "k.bias": before["k.bias"] + torch.tensor([3.0, -1.0, 2.0, 5.0])}
    assert (function_difference(module, before, after, [(x,)]) <= 1e-9) == (not rotary)
    if idle:
        assert nullity(module, x) == found.dimension
        moved = idle[0].acted(before, torch.tensor([[3.0, -1.0, 2.0, 5.0]]))
        assert all(torch.equal(moved[name], after[name]) for name in after)


def test_a_family_that_is_too_large_is_refused_by_the_trial():
    """Every scale of hidden units by themselves would change the function, and the trial sees it."""
    module, x, found = found_in(*COUNTED["ReLU"][:2])
    (family,) = found.families
    broken = Family("scaling", family.members[:-1], family.group)
    before = tensors_of(module)
    after = broken.acted(before, broken.random(torch.Generator().manual_seed(0)))
    assert function_difference(module, before, after, [(x,)]) > 0.01


def test_whole_numbers_of_a_null_space():
    rows = torch.tensor([[1.0, 2, 3, 0], [2, 1, 3, 0], [1, 1, 2, 0]], dtype=torch.float64)
    assert whole_null_space(rows, 1e-9) == [[1, 1, -1, 0]]
    assert whole_null_space(torch.zeros(3, 2), 1e-9) == []
    irrational = torch.tensor([[1.0, 2**0.5]], dtype=torch.float64)
    assert whole_null_space(irrational, 1e-9) == []


@pytest.mark.parametrize("seed", range(6))
def test_a_relation_with_what_is_small_is_found_where_that_passes_for_nothing(seed):
    """As slopes of a key's bias are: with them of 0 to 1e-4 there were no whole numbers, or they were left out."""
    generator = torch.Generator().manual_seed(seed)
    query, bias, small = torch.randn(3, 60, 2, generator=generator, dtype=torch.float64)
    small = 3e-4 * small
    found = whole_null_space(torch.cat([query, bias, query + bias - small, small], 1), 1e-4)
    assert found[:2] == [[1, 0, 1, 0, -1, 0, -1, 0], [0, 1, 0, 1, 0, -1, 0, -1]]


class Stream(nn.Module):
    """A residual stream without norms that is read in many places, where only permutations leave the function."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 2)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 5)) for _ in range(6)
        )

    def forward(self, x):
        stream = self.first(x)
        for block in self.blocks:
            stream = stream + block(stream)
        return self.last(torch.sigmoid(stream))


def test_choices_of_signs_are_not_even_listed_where_units_stand_in_many_places(monkeypatch):
    """They double with every place: of a stream of a hundred they would never end."""

    def few(slots, count):
        assert len(slots) <= changes_of_sign.MOST_PLACES
        return combinations(slots, count)

    monkeypatch.setattr(changes_of_sign, "combinations", few)
    module, x = built(Stream).double().eval(), gaussian(20, 4)()
    found = families_of(module, (x,), symmetry_of(module, (x,)))
    signs = [one for one in found.families if one.kind != "translation"]
    assert [(one.kind, one.size) for one in signs] == 6 * [("sign", 3)]


def test_positions_that_are_too_many_to_be_looked_through_are_said(monkeypatch):
    monkeypatch.setattr(continuous, "MOST_POSITIONS", 4)
    module, x = built(lambda: Decoder()).double().eval(), numbers(11, 4, 6)()
    refused = families_of(module, (x,), symmetry_of(module, (x,))).refused
    assert any(one.startswith("scalings of 8 positions") and "more than 4" in one for one in refused), refused


class Widened(nn.Module):
    """A layer beside another one without columns, as MobileBERT has where its embedding is as wide as its stream."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 3)
        self.more = nn.Parameter(torch.empty(3, 0))

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.cat([self.last.weight, self.more], dim=1)
        return nn.functional.linear(torch.relu(self.first(x)), weight, self.last.bias)


def test_a_parameter_without_numbers_is_in_nobodys_way():
    module, x = Widened().double(), torch.randn(5, 4).double()
    traced = symmetry_of(module, (x,))
    found = families_of(module, (x,), traced)
    assert [(one.kind, one.size) for one in found.families] == [("scaling", 6)]
    assert "more" not in traced.symmetry.names
    assert [traced.symmetry.groups[i].size for i in traced.symmetry.free] == [6]


@pytest.mark.parametrize(
    ("bounded", "texts"),
    [
        (lambda x: x.clamp(0, 6), []),
        (lambda x: x.clamp(-6, 6), ["{±1}^6"]),
        (lambda x: torch.minimum(x, torch.tensor(5.0).to(x)), []),
        (lambda x: torch.where(x > 5, x / 2, x), []),
        (lambda x: torch.fmod(x, 4), ["{±1}^6"]),
        (lambda x: x.clamp(min=1e-12), ["R>0^6"]),
    ],
)
def test_bounds_beyond_all_that_the_inputs_bring_are_seen(bounded, texts):
    """ReLU6 where no number is 6 seemed to be ReLU: a scaling of it moved the outputs of others."""

    class Bounded(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(bounded(self.a(x)))

    assert [one.text for one in found_in(Bounded, gaussian(8, 4))[2].families] == texts
