"""The element of one family that is nearest: nothing small beside it is nearer, and what was planted comes back."""

import pytest
import torch
from families import found_in

from landscape.symmetry.moments import near
from landscape.symmetry.nearest import nearest
from landscape.symmetry.orbit import between

SMALL = 1e-3


@pytest.mark.parametrize("name", ["Llama", "GPT-2", "ReLU"])
def test_no_small_element_is_nearer_and_what_was_planted_comes_back(name):
    *_, families, tensors = found_in(name)
    generator = torch.Generator().manual_seed(4)
    for family in [one for one in families if one.kind in ("scaling", "rotary", "invertible")]:
        a, other = (near(tensors, list(tensors), generator) for _ in "ab")
        a, other = ({n: t[n] for n in family.tensors} for t in (a, other))
        there = family.acted(other, nearest(family, a, other))
        size = between(a, there) ** 2
        for _ in range(10):
            step = SMALL * torch.randn(family.logarithm, generator=generator, dtype=torch.float64)
            ends = [family.acted(there, family.exponential(sign * step)) for sign in (1, -1)]
            slope = (between(a, ends[0]) ** 2 - between(a, ends[1]) ** 2) / (2 * SMALL)
            # Maps are left where a step brings a millionth of the square, scales where rounding begins.
            assert abs(slope) < (0.02 if family.kind == "invertible" else 1e-5) * size, family.text
        moved = family.acted(a, family.random(generator))
        assert between(a, family.acted(moved, nearest(family, a, moved))) < 1e-7 * between(a, moved), (
            family.text
        )
