"""Levenberg and Marquardt's steps on ∇F = 0: never up, independent of one another, resumed to the last bit."""

import torch

from landscape.numerics.steps.newton import Local, searched

SPREAD = torch.linspace(-2, 3, 6, dtype=torch.float64)


def wall(thetas: torch.Tensor) -> Local:
    """F = ‖θ‖⁴/4 − θᵀDθ/2 of a diagonal D, by hand."""
    square = (thetas**2).sum(1, keepdim=True)
    eye = torch.eye(len(SPREAD), dtype=torch.float64)
    matrices = square[:, :, None] * eye + 2 * thetas[:, :, None] * thetas[:, None] - torch.diag(SPREAD)
    values = square[:, 0] ** 2 / 4 - (SPREAD * thetas**2).sum(1) / 2
    return Local(
        values, square * thetas - SPREAD * thetas, matrices, torch.zeros(len(thetas), dtype=torch.float64)
    )


def starts(count: int = 7) -> torch.Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_every_end_is_an_eigenvector_or_the_origin():
    found = searched(wall, starts(40))
    assert float(found.norms[:, -1].max()) < 1e-12
    squares = (found.thetas**2).sum(1)
    known = torch.cat([SPREAD[SPREAD > 0], torch.zeros(1, dtype=torch.float64)])
    assert float((squares[:, None] - known).abs().amin(1).max()) < 1e-9


def test_the_gradient_norm_never_rises():
    states = []
    searched(wall, starts(), offer=lambda state: states.append(state()["norms"][:, -1]))
    norms = torch.stack(states)
    assert bool((norms[1:] <= norms[:-1]).all())


def test_a_search_does_not_depend_on_its_neighbours():
    together, alone = searched(wall, starts()), searched(wall, starts()[3:4])
    torch.testing.assert_close(together.thetas[3:4], alone.thetas, rtol=1e-9, atol=1e-11)


def test_it_goes_on_from_what_was_kept():
    states = []
    whole = searched(wall, starts(), offer=lambda state: states.append(state()))
    # As they come back from a journal: products of tensors that lie otherwise are rounded otherwise.
    assert all(one.is_contiguous() for one in states[0].values())
    for kept in (states[0], states[len(states) // 2]):
        again = searched(wall, starts(), kept={name: one.clone() for name, one in kept.items()})
        assert torch.equal(again.thetas, whole.thetas)
        assert torch.equal(again.steps, whole.steps)


def test_a_search_that_ended_by_a_short_step_stays_ended_where_it_goes_on():
    """Beside a slope of 1 no step helps, and the last one tried is next to nothing."""

    def roof(thetas: torch.Tensor) -> Local:
        there = wall(thetas)
        is_still = thetas[:, :1] > 50
        slopes = torch.where(is_still, 1.0, there.slopes)
        return there._replace(slopes=slopes)

    begun, states = starts(3), []
    begun[1] = 100.0
    whole = searched(roof, begun, num_steps=500, offer=lambda state: states.append(state()))
    ended = [one for one in states if bool(one["is_short"][1])]
    again = searched(roof, begun, num_steps=500, kept={name: one.clone() for name, one in ended[0].items()})
    assert torch.equal(again.steps, whole.steps)
