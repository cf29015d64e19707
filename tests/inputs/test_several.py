"""Targets that are several tensors: carried as one and given back, and what is told apart from them."""

from collections import UserDict, namedtuple
from dataclasses import dataclass

import pytest
import torch

from landscape.errors import BadInput
from landscape.inputs.data.several import are_several, carried

N = 5
X = torch.arange(10.0).view(N, 2)
Boxes = namedtuple("Boxes", "corner size")
DTYPES = (
    *(torch.bool, torch.uint8, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32),
    *(torch.float64, torch.complex64, torch.complex128),
)


def draw(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(
            N, *shape, generator=generator, dtype=torch.complex128 if dtype.is_complex else None
        ).to(dtype)
    return torch.randint(0, 2 if dtype == torch.bool else 200, (N, *shape), generator=generator).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_bit_comes_back_in_its_place(dtype):
    targets = {
        "a": draw(dtype),
        "b": (draw(dtype, 2, 3), [draw(torch.float64, 1)]),
        "c": Boxes(draw(dtype, 4), draw(torch.int64)),
    }
    together, layout = carried(X, targets, "the data")
    assert (together.dtype, together.shape) == (
        torch.int64,
        (N, (1 + 6 + 4) * (2 if dtype.is_complex else 1) + 2),
    )
    rows = torch.tensor([3, 0, 3])
    found = layout.parted(together.to(torch.int64)[rows], None)
    assert isinstance(found["c"], Boxes)
    pairs = [
        (found["a"], targets["a"]),
        (found["b"][0], targets["b"][0]),
        (found["b"][1][0], targets["b"][1][0]),
    ]
    pairs += [(found["c"].corner, targets["c"].corner), (found["c"].size, targets["c"].size)]
    for one, other in pairs:
        assert one.dtype == other.dtype
        assert torch.equal(one, other[rows])


def test_large_integers_and_signs_of_zero_come_back():
    targets = (torch.tensor([2**62 + 1, -(2**62) - 1]), torch.tensor([-0.0, 1e-45]))
    together, layout = carried(torch.zeros(2, 1), targets, "the data")
    large, small = layout.parted(together, None)
    assert large.tolist() == [2**62 + 1, -(2**62) - 1]
    assert torch.equal(small.signbit(), torch.tensor([True, False]))
    assert float(small[1]) == float(torch.tensor(1e-45))


def test_real_ones_are_no_coarser_than_what_is_beside():
    together, layout = carried(X, (draw(torch.float32), draw(torch.float64), draw(torch.int32)), "the data")
    assert [one.dtype for one in layout.parted(together, torch.float64)] == [torch.float64] * 2 + [
        torch.int32
    ]
    assert [one.dtype for one in layout.parted(together, torch.bfloat16)] == [
        torch.float32,
        torch.float64,
        torch.int32,
    ]


@pytest.mark.parametrize(
    ("inputs", "targets", "wanted"),
    [
        (X, {"a": X, "b": X[:, 0]}, True),
        (X, (X, X), True),
        ((X, X), (X[:, 0], X), True),
        (X, {"a": X, "b": X[:3]}, False),
        (X, {"a": X, "b": torch.tensor(1.0)}, False),
        (X, {"a": X, "b": ["words"] * N}, False),
        (X, [X[0]] * N, False),  # one for each sample
        (X[:2], (X[:2], X[:2]), False),  # or two for each of two
        (X[:2], {"a": X[:2], "b": X[:2]}, True),
        ((X, X[:, 0]), (X, X[:, 0]), False),  # a training and a test pair
        ({"a": X}, {"a": X}, True),  # an autoencoder of fields
        (X, X, False),
        (X, [0, 1, 2, 3, 4], False),
        (X, {}, False),
    ],
)
def test_what_is_side_by_side_is_told_from_what_is_not(inputs, targets, wanted):
    assert are_several(inputs, targets) is wanted


@dataclass
class Both:
    kind: torch.Tensor
    size: torch.Tensor


@pytest.mark.parametrize(
    "targets", [Both(draw(torch.int64), X), UserDict(kind=draw(torch.int64), size=X)], ids=type
)
def test_records_and_dictionaries_of_other_kinds_come_back_as_they_were(targets):
    together, layout = carried(X, targets, "the data")
    found = layout.parted(together[1:], None)
    assert type(found) is type(targets)
    size, whole = (one.size if isinstance(one, Both) else one["size"] for one in (found, targets))
    assert torch.equal(size, whole[1:])


def test_a_known_layout_tells_two_tensors_from_two_samples():
    _, layout = carried(X, (X, X), "the data")
    assert are_several(X[:2], (X[:2], X[:2]), layout)


@pytest.mark.parametrize(
    ("targets", "sentence"),
    [
        ({"a": X, "b": X[:3]}, "the targets of the data are a dict; expected one tensor"),
        ({"a": X * torch.nan}, "10 NaN or infinite numbers in the targets of the data"),
        ({"a": X, "c": X}, "the data has targets of other fields, shapes or dtypes"),
        ({"a": X, "b": X.double()}, "the data has targets of other fields, shapes or dtypes"),
    ],
)
def test_others_get_a_sentence(targets, sentence):
    _, known = carried(X, {"a": X, "b": X}, "the data")
    with pytest.raises(BadInput, match=sentence):
        carried(X, targets, "the data", known)
