"""What may be added to parameters: as much of it as the Jacobian says, found, moved and brought back."""

from functools import cache

import pytest
import torch
from families import gaussian, nullity, tensors_of
from symmetric import built, numbers
from torch import Tensor, nn

from landscape.symmetry import function_difference, symmetry_of
from landscape.symmetry.continuous import families_of
from landscape.symmetry.families import Found
from landscape.symmetry.orbit import between, folded, nearest_of_orbit, random_of_families, random_of_orbit
from landscape.symmetry.translations import Translation, nearest_translations, translated


@cache
def found_in(factory, inputs) -> tuple[nn.Module, Tensor, Found]:
    module, x = built(factory).double().eval(), inputs()
    return module, x, families_of(module, (x,), symmetry_of(module, (x,)))


class Experts(nn.Module):
    """A soft mixture of experts: the softmax sees no number that is added to all scores."""

    def __init__(self):
        super().__init__()
        self.router = nn.Linear(4, 3)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)) for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        outputs = torch.stack([one(x) for one in self.experts], -2)
        return (self.router(x).softmax(-1)[..., None] * outputs).sum(-2)


class Summed(nn.Module):
    """Three tables that are added, as those of BERT, and a layer written out."""

    def __init__(self):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(n, 6) for n in (7, 4, 2))
        self.w, self.b = nn.Parameter(torch.randn(6, 8)), nn.Parameter(torch.zeros(8))
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1]).expand_as(x)
        segments = (x[:, :1] % 2).expand_as(x)
        summed = self.tables[0](x) + self.tables[1](places) + self.tables[2](segments)
        return self.last(torch.tanh(summed @ self.w + self.b))


class Normed(nn.Module):
    """A norm that centres and has a bias, read by two layers, one of them written out."""

    def __init__(self, norm: type[nn.Module] = nn.LayerNorm):
        super().__init__()
        self.first, self.norm, self.one = nn.Linear(4, 6), norm(6), nn.Linear(6, 5)
        self.w, self.b, self.last = (
            nn.Parameter(torch.randn(6, 5)),
            nn.Parameter(torch.zeros(5)),
            nn.Linear(5, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.first(x))
        return self.last(torch.tanh(self.one(y)) * torch.sigmoid(y @ self.w + self.b))


class Values(nn.Module):
    """Two heads whose values have a bias, and so does what reads them."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.attention(x, x, x, need_weights=False)[0]))


class Halved(nn.Module):
    """A norm of channels that a convolution reads in patches, as ConvNeXt makes its images smaller."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.patch = nn.Conv2d(2, 4, 1), nn.LayerNorm(4), nn.Conv2d(4, 5, 2, 2)
        self.last = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.first(x).movedim(1, -1)).movedim(-1, 1)
        return self.last(torch.tanh(self.patch(h)).mean((2, 3)))


class Tied(nn.Module):
    """A table that is looked up beside another one, and read through a norm at the end, as that of BERT is."""

    def __init__(self):
        super().__init__()
        self.table, self.places = nn.Embedding(7, 6), nn.Embedding(4, 6)
        self.first, self.layer, self.norm = nn.LayerNorm(6), nn.Linear(6, 6), nn.LayerNorm(6)
        self.bias = nn.Parameter(torch.randn(7))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.layer(self.first(self.table(x) + self.places(torch.arange(x.shape[1])))))
        return nn.functional.linear(self.norm(h), self.table.weight, self.bias)


# A module, its inputs, the first place and the dimension of each translation, and directions that are of no family.
COUNTED = {
    "experts": (Experts, gaussian(90, 4), {"router.weight[1]": [4], "router.bias[0]": [1]}, 0),
    # What the tables have in common, the layer's bias has.
    "tables": (
        Summed,
        lambda: numbers(7, 60, 4)(),
        {"tables.0.weight[1]": [6], "tables.1.weight[1]": [6], "tables.2.weight[1]": [6]},
        0,
    ),
    # The scale of what a norm divides by its own length: the bias of the layer before can pay for its ε.
    "norm": (
        Normed,
        gaussian(60, 4),
        {
            "first.weight[1]": [4],
            "first.bias[0]": [1],
            "norm.bias[0]": [6],
            "one.weight[1]": [5],
            "w[1]": [5],
        },
        1,
    ),
    "patches": (
        Halved,
        gaussian(90, 2, 4, 4),
        # Of each of four places that a filter sees, one; and what the first layer adds along ones.
        {"first.weight[1]": [2], "first.bias[0]": [1], "norm.bias[0]": [4], "patch.weight[2]": [20]},
        1,
    ),
    # Over the gain along all rows, from the table of places, and from what the norm's bias adds.
    "tied": (
        Tied,
        lambda: numbers(7, 60, 4)(),
        {
            "places.weight[1]": [4],
            "first.bias[0]": [6],
            "norm.bias[0]": [6],
            "layer.weight[1]": [6],
            "table.weight[1]": [1],
        },
        0,
    ),
    "values": (Values, gaussian(60, 4, 6), {"attention.in_proj_bias[0]": [6, 6]}, 0),
}


@pytest.mark.parametrize("name", COUNTED)
def test_there_are_as_many_as_the_jacobian_says(name):
    factory, inputs, wanted, others = COUNTED[name]
    module, x, found = found_in(factory, inputs)
    names: dict[str, list[int]] = {}
    for one in found.families:
        if isinstance(one, Translation):
            names.setdefault(one.name, []).append(one.dimension)
    assert names == wanted
    assert nullity(module, x) == found.dimension + others
    generator = torch.Generator().manual_seed(2)
    before = tensors_of(module)
    for one in found.families:
        if isinstance(one, Translation):
            after = one.acted(before, one.random(generator))
            assert function_difference(module, before, after, [(x,)]) <= 1e-12
            assert {n for n in before if not torch.equal(after[n], before[n])} <= one.tensors
            assert max(float((after[n] - before[n]).abs().max()) for n in after) > 0.01


@pytest.mark.parametrize("name", COUNTED)
def test_any_two_points_of_an_orbit_come_to_the_same_and_back_to_each_other(name):
    module, x, found = found_in(*COUNTED[name][:2])
    translations = [one for one in found.families if one.kind == "translation"]
    generator = torch.Generator().manual_seed(4)
    a = tensors_of(module)
    b = random_of_families(translations, a, generator)
    assert between(a, b) > 0.1
    assert between(folded(a, translations), folded(b, translations)) <= 1e-12 * between(a, b)
    assert between(a, translated(translations, a, b)) <= 1e-10 * between(a, b)
    symmetry = symmetry_of(module, (x[:4],)).symmetry
    b = random_of_orbit(symmetry, found.families, a, generator)
    back = nearest_of_orbit(symmetry, found.families, a, b, generator=generator).tensors
    assert between(a, back) <= 1e-5 * between(a, b)


def test_a_router_moves_as_a_plain_loop_does():
    module, _, found = found_in(Experts, gaussian(90, 4))
    (family,) = [one for one in found.families if one.name == "router.weight[1]"]
    before = tensors_of(module)
    after = family.acted(before, torch.tensor([[1.0, -2.0, 0.5, 3.0]], dtype=torch.float64))
    for row in range(3):
        wanted = before["router.weight"][row] + torch.tensor([1.0, -2.0, 0.5, 3.0])
        torch.testing.assert_close(after["router.weight"][row], wanted)
    assert all(torch.equal(after[n], before[n]) for n in before if n != "router.weight")


def test_a_bias_of_a_norm_goes_into_both_its_readers():
    module, _, found = found_in(Normed, gaussian(60, 4))
    (family,) = [one for one in found.families if one.name == "norm.bias[0]"]
    before, delta = tensors_of(module), torch.arange(6, dtype=torch.float64)
    after = family.acted(before, delta[None])
    torch.testing.assert_close(after["norm.bias"], before["norm.bias"] + delta)
    torch.testing.assert_close(after["one.bias"], before["one.bias"] - before["one.weight"] @ delta)
    torch.testing.assert_close(after["b"], before["b"] - delta @ before["w"])


def test_a_norm_that_does_not_centre_sees_all():
    found = found_in(lambda: Normed(nn.RMSNorm), gaussian(60, 4))[2]
    assert not [one for one in found.families if one.kind == "translation"]


def test_what_the_data_alone_do_not_show_is_no_symmetry():
    """Inputs that sum to 0 would let any number be added to the rows that read them."""
    x = gaussian(9, 4)()
    x = x - x.mean(1, keepdim=True)
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    assert not [
        one
        for one in families_of(module, (x,), symmetry_of(module, (x,))).families
        if one.kind == "translation"
    ]


def test_the_nearest_are_those_of_dense_least_squares():
    module, _, found = found_in(Normed, gaussian(60, 4))
    families = [one for one in found.families if isinstance(one, Translation)]
    a = tensors_of(module)
    noise = torch.Generator().manual_seed(7)
    b = {n: t + torch.randn(t.shape, generator=noise, dtype=t.dtype) for n, t in a.items()}
    columns = []
    for one in families:
        for i in range(one.dimension):
            unit = torch.zeros(one.dimension, dtype=torch.float64)
            unit[i] = 1
            moved = one.acted(b, unit.reshape(one.copies, one.size))
            columns.append(torch.cat([(moved[n] - b[n]).flatten() for n in a]))
    wanted = torch.cat([(a[n] - b[n]).flatten() for n in a])
    solution = torch.linalg.lstsq(torch.stack(columns, 1), wanted[:, None]).solution[:, 0]
    found_here = torch.cat([one.flatten() for one in nearest_translations(families, a, b)])
    torch.testing.assert_close(found_here, solution, rtol=1e-5, atol=1e-5)
