"""Sums over millions of entries in float32, beside the same in float64; and what a Krylov space makes of them."""

import numpy as np
import pytest
import torch

from landscape.numerics import sums
from landscape.numerics.spectra.krylov import Krylov

SIZE = 3_000_000


@pytest.fixture
def rows():
    drawn = torch.randn(3, SIZE, generator=torch.Generator().manual_seed(0))
    drawn[1] += drawn[0]
    return drawn


def test_products_and_norms_are_those_of_float64(rows):
    """On one thread a plain product of a matrix with a vector is off by 2e-4 of it here, a norm by 1e-4."""
    wide = rows.double()
    size = wide.norm(dim=1)
    # Each block is right to its own rounding, and that of blocks has either sign.
    for made, wanted in (
        (sums.product(rows, rows[0]), wide @ wide[0]),
        (sums.product(rows[1], rows[0]), wide[1] @ wide[0]),
    ):
        assert float(((made - wanted) / (size.max() * size[0])).abs().max()) < 2e-6
    assert (
        float((sums.product(rows, rows.T.contiguous()) - wide @ wide.T).abs().max())
        < 2e-6 * float(size.max()) ** 2
    )
    torch.testing.assert_close(sums.norms(rows), size, rtol=1e-12, atol=0.0)


def test_what_the_matrix_of_a_long_basis_holds_across_its_diagonal_is_rounding():
    """A diagonal operator with eigenvalues from 1 to 10: plain products leave 1e-4 there."""
    values = torch.linspace(1, 10, SIZE)
    space = Krylov(lambda v: values * v, torch.empty(0, SIZE), 12, torch.Generator().manual_seed(0))
    for _ in range(8):
        space.extend()
    assert space.asymmetry < 1e-5
    # The law of Legendre's polynomials on [1, 10], whose moments it has but for the draw.
    assert space.ritz()[0] == pytest.approx(5.5 + 4.5 * np.polynomial.legendre.leggauss(8)[0], abs=0.02)
