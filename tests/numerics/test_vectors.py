"""Vectors in parts do what whole ones do, and refuse what would take a part for the whole."""

import numpy as np
import pytest
import torch

from landscape.errors import BadInput
from landscape.numerics import spread, vectors
from landscape.numerics.pieces import Piece
from landscape.numerics.spread import Layout, Spread

D = 20
LAYOUT = Layout(D, ((0, 12), (12, 8)))


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


A, B = drawn(D), drawn(3, D)
TURN = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], dtype=torch.float64)
OPERATIONS = {
    "norm": lambda a, b: a.norm(),
    "dot": lambda a, b: torch.dot(a, a),
    "coefficients": lambda a, b: b @ a,
    "span": lambda a, b: b.T @ (b @ a),
    "gram": lambda a, b: b @ b.T,
    "combinations": lambda a, b: TURN @ b,
    "combination": lambda a, b: TURN[0] @ b,
    "sum": lambda a, b: a.double().square().sum(),
    "unit rows": lambda a, b: b / torch.linalg.vector_norm(b, dim=1, keepdim=True),
    "norms": lambda a, b: torch.linalg.vector_norm(b, dim=1),
    "stack": lambda a, b: torch.stack([a, 2 * a]),
    "cat": lambda a, b: torch.cat([b, b[:1]]),
    "differences": lambda a, b: torch.diff(b, n=2, dim=0),
    "triangle": lambda a, b: torch.linalg.qr(b.T, mode="r").R.abs(),
    "finite": lambda a, b: torch.isfinite(a).all(),
    "any": lambda a, b: (a > 1e9).any(),
    "cut": lambda a, b: a[3:9],
    "shape": lambda a, b: a[3:15].reshape(4, 3),
    "split": lambda a, b: a.split([7, 13])[1],
    "largest": lambda a, b: a.abs().max(),
    "dtype": lambda a, b: a.float(),
    "fresh": lambda a, b: a.new_zeros((4, D)),
    "in place": lambda a, b: a.clone().mul_(2).add_(a),
    "where": lambda a, b: torch.where(a > 0, a, 0 * a),
    "chosen": lambda a, b: b[torch.tensor([1, 0])],
    "row": lambda a, b: b[1][None],
    "distance": lambda a, b: torch.dist(a, 2 * a),
}
REFUSED = {
    "list": lambda a: a.tolist(),
    "array": lambda a: a.numpy(),
    "order": lambda a: a.sort(),
    "a whole one": lambda a: a + A,
    "an entry": lambda a: float(a[2]),
    "running sums": lambda a: a.cumsum(0),
    "bytes": lambda a: a.view(torch.uint8),
    "another layout": lambda a: a[:10] + a[10:],
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_alone_it_is_the_tensor(name):
    found, wanted = OPERATIONS[name](Spread(A, LAYOUT), Spread(B, LAYOUT)), OPERATIONS[name](A, B)
    assert found.shape == wanted.shape
    torch.testing.assert_close(spread.local(found), wanted)


def test_rows_are_written_in_place():
    basis = Spread(B.clone(), LAYOUT)
    basis[1] = Spread(A, LAYOUT)
    torch.testing.assert_close(basis.part[1], A)


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_it_whole_is_refused(name):
    with pytest.raises(BadInput, match="the parameters are sharded"):
        REFUSED[name](Spread(A, LAYOUT))


@pytest.mark.parametrize("draw", [vectors.normal, vectors.signs])
def test_draws_belong_to_entries_not_to_processes(draw):
    size = 3 * vectors.BLOCK + 5
    whole = Spread(torch.zeros(size), Layout(size, ((0, size),)))
    ranges = ((10, 7), (vectors.BLOCK - 2, 5), (3 * vectors.BLOCK, 5))
    parts = Spread(torch.zeros(17), Layout(size, ranges))
    all_of_it = draw(whole, torch.Generator().manual_seed(3)).part
    wanted = torch.cat([all_of_it[first : first + count] for first, count in ranges])
    assert torch.equal(draw(parts, torch.Generator().manual_seed(3)).part, wanted)
    assert torch.equal(draw(torch.zeros(size), torch.Generator().manual_seed(3)), all_of_it)
    assert not torch.equal(draw(whole, torch.Generator().manual_seed(4)).part, all_of_it)
    assert abs(float(all_of_it.mean())) < 5 / size**0.5
    assert float(all_of_it.var()) == pytest.approx(1, abs=0.1)


def test_draws_are_those_of_a_counter_that_the_seed_keys():
    """Written out, so that a seed stays the direction that it is."""
    size = vectors.BLOCK + 7
    key = int(torch.randint(2**62, (), generator=torch.Generator().manual_seed(11)))
    blocks = [np.random.Philox(key=key, counter=[0, 0, k, 0]) for k in range(2)]
    counts = (vectors.BLOCK, 7)
    wanted = [np.random.Generator(one).standard_normal(n) for one, n in zip(blocks, counts, strict=True)]
    found = vectors.normal(torch.zeros(size), torch.Generator().manual_seed(11))
    np.testing.assert_array_equal(found, np.concatenate(wanted))


@pytest.mark.parametrize("seed", range(4))
def test_draws_are_not_the_numbers_that_weights_are_drawn_from_by_the_same_seed(seed):
    size = 5000
    for weights in (torch.randn, torch.rand):
        own = weights(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        for draw in (vectors.normal, vectors.signs):
            drawn = draw(own, torch.Generator().manual_seed(seed))
            cosine = torch.corrcoef(torch.stack([own, drawn]))[0, 1]
            assert abs(float(cosine)) < 5 / size**0.5


def test_a_unit_vector_lies_where_its_entry_does():
    parts = Spread(torch.zeros(4), Layout(D, ((3, 2), (9, 2))))
    assert vectors.unit(parts, 9).part.tolist() == [0, 0, 1, 0]
    assert not vectors.unit(parts, 5).part.any()
    assert np.array_equal(vectors.unit(torch.zeros(3), 1).numpy(), [0, 1, 0])


@pytest.mark.parametrize(
    ("shape", "units"),
    [((6, 4), (6, 1)), ((6, 4), (1, 4)), ((6, 4, 2), (3, 4, 1)), ((24,), (1,)), ((6, 4), (1, 1))],
    ids=str,
)
def test_each_filter_is_as_long_in_parts_as_whole(shape, units):
    piece = Piece("weight", shape, 0, "weight", units)
    values = drawn(piece.size)
    parts = Spread(values.clone(), Layout(piece.size, ((0, piece.size),)))
    squares = np.zeros(shape)
    for index in np.ndindex(*units):
        cut = tuple(slice(i * n // u, (i + 1) * n // u) for i, n, u in zip(index, shape, units, strict=True))
        squares[cut] = (values.reshape(shape).numpy()[cut] ** 2).sum()
    for one in (values, parts):
        found = spread.local(vectors.filter_norms(piece, one)).numpy()
        np.testing.assert_allclose(found, np.sqrt(squares).ravel(), rtol=1e-14)


def test_coordinates_and_signs_in_parts_are_those_of_whole_ones():
    whole, layout = drawn(2, D), Layout(D, ((0, D),))
    coordinates = torch.tensor([[1.0, 2.0], [-3.0, 0.5]], dtype=torch.float64)
    parts = Spread(whole, layout)
    for rows in (whole, parts):
        torch.testing.assert_close(vectors.least_squares(rows, coordinates @ rows), coordinates)
    assert vectors.leading_signs(parts).tolist() == vectors.leading_signs(whole).tolist()
    assert torch.equal(vectors.gathered(parts), whole)


@pytest.mark.parametrize("span", [slice(3, 8), slice(0, 2), slice(0, 10)])
def test_numbers_are_placed_in_a_vector_and_in_what_lies_here_of_one(span):
    values = torch.arange(1.0, span.stop - span.start + 1)
    whole = vectors.placed(torch.randn(10), span, values)
    assert torch.equal(whole[span], values)
    assert whole.sum() == values.sum()
    held = Layout(10, ((1, 3), (6, 3)))
    part = vectors.placed(Spread(torch.randn(6), held), span, values)
    assert isinstance(part, Spread)
    assert torch.equal(part.part, torch.cat([whole[1:4], whole[6:9]]))
