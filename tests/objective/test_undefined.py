"""Where the module or the loss raises an error of its own F is NaN, as where the same is computed without a look."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal

import landscape
from landscape import Objective
from landscape.descent.told_apart import row_of
from landscape.errors import NotFinite
from landscape.objective import plain

X = torch.randn(13, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.randn(13, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Scaled(nn.Module):
    """A normal distribution of a scale that is no function of one."""

    def __init__(self, scale=2.0, looks=True):
        super().__init__()
        self.mean, self.looks = nn.Linear(4, 1).double(), looks
        nn.init.constant_(self.mean.weight, 0.1)
        self.scale = nn.Parameter(torch.full((2,), scale, dtype=torch.float64))

    def forward(self, x):
        return Normal(self.mean(x), self.scale[0], validate_args=self.looks) if self.looks else self.free(x)

    def free(self, x):
        return Normal(self.mean(x), self.scale[0].log().exp(), validate_args=False)


def nll(outputs, targets):
    return -outputs.log_prob(targets).mean()


def pair(**how):
    return [Objective(Scaled(2.0, looks), nll, (X, Y), **how) for looks in (True, False)]


@pytest.mark.parametrize("chunk_size", [None, 5])
def test_values_and_slopes_are_nan_there_alone(chunk_size):
    here, free = pair(chunk_size=chunk_size)
    there = here.theta.clone()
    there[here.pieces[0].span] = -1.0
    assert here.pieces[0].name == "scale"
    points = torch.stack([here.theta, there, here.theta + 0.1])
    np.testing.assert_allclose(here.values(points), free.values(points), rtol=1e-12)
    assert np.isnan(here.value(there))
    assert bool(here.gradient(there).isnan().all())
    assert not here.gradient(here.theta).isnan().any()
    with pytest.raises(NotFinite, match="scale of Normal to satisfy"):
        here.hvp(there, there)


@pytest.mark.parametrize(
    "compute",
    [
        lambda o: landscape.slice1d(o, o.theta, ignore=(), norm="none", span=4.0, num_points=7, seed=3),
        lambda o: landscape.interpolate(o, o.theta, o.theta - 3, num_points=5),
        lambda o: landscape.train(o, method="gd", steps=5, lr=50.0),
        lambda o: landscape.train(o, batch_size=4, steps=5, lr=50.0),
        lambda o: landscape.efficiency(
            o, [o.theta], step_sizes=(0.01, 50.0), observations_per_sample=2, batch_size=4
        ),
        lambda o: landscape.critical(
            o,
            [o.theta],
            begin="points",
            starts=5,
            perturb=6.0,
            max_steps=5,
            method="gradient-norm",
            seed=3,
        ),
        lambda o: landscape.critical(
            o, [o.theta], begin="points", starts=5, perturb=6.0, max_steps=5, seed=3
        ),
    ],
)
def test_analyses_go_on_as_with_nan(compute):
    found, free = (compute(one) for one in pair())
    assert found.status == free.status
    for name in ("loss", "replica_cost"):
        if hasattr(found, name):
            losses = getattr(found, name)
            np.testing.assert_array_equal(np.isnan(losses), np.isnan(getattr(free, name)))
            assert np.isnan(losses).any()
    assert any("raises ValueError (Expected parameter scale of Normal" in note for note in found.notes)
    assert not any("raises" in note for note in free.notes)


def test_a_matrix_that_is_not_positive():
    class Kernel(nn.Module):
        def __init__(self):
            super().__init__()
            self.noise = nn.Parameter(torch.tensor([0.01], dtype=torch.float64))

    def evidence(module):
        matrix = torch.exp(-(torch.cdist(X / 100, X / 100) ** 2)) + module.noise * torch.eye(
            13, dtype=torch.float64
        )
        factor = torch.linalg.cholesky(matrix)
        return 0.5 * (Y * torch.cholesky_solve(Y, factor)).sum() + factor.diagonal().log().sum()

    objective = Objective.from_closure(Kernel(), evidence)
    line = landscape.interpolate(objective, objective.theta, objective.theta - 0.04, num_points=5)
    assert np.isnan(line.loss[[0, 2, 3, 4]]).tolist() == [False, True, True, True]
    assert any("LinAlgError" in note for note in line.notes)
    assert not any(
        "LinAlgError" in note for note in landscape.hessian(objective, objective.theta, top_k=1).notes
    )


def test_a_point_near_the_edge_is_taken():
    module = Scaled(0.001)
    assert (
        Objective(module, nll, (X, Y)).value(
            torch.tensor([1e-3] * 2 + [0.1] * 4 + [0.0], dtype=torch.float64)
        )
        > 0
    )


def test_data_that_it_does_not_take_at_its_own_point_are_no_such_place():
    class Counting(Scaled):
        def forward(self, x):
            if len(x) == 3:
                raise ValueError("three samples")
            return super().forward(x)

    objective = Objective(Counting(), nll, (X, Y), chunk_size=5)
    with pytest.raises(ValueError, match="three samples"):
        objective.value(objective.theta)


class Backward(torch.autograd.Function):
    """One whose backward does not take more samples than the module is tried on."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, *slopes):
        if len(slopes[0]) > 30:
            raise ValueError("a backward of its own")
        return slopes[0]


@pytest.mark.parametrize(
    "compute",
    [
        lambda o: o.gradient(o.theta),
        lambda o: o.hvp(o.theta, o.theta),
        lambda o: o.batch_gradient(o.theta, None, o.present_point().fixed, training=True),
        lambda o: plain.gradient(o, plain.by_name(o, o.present_point())),
    ],
)
def test_a_backward_that_fails_everywhere_is_no_such_place(compute):
    class Bent(nn.Linear):
        def forward(self, x):
            return Backward.apply(super().forward(x))

    objective = Objective(Bent(4, 1).double(), "mse", (X.repeat(3, 1), Y.repeat(3, 1)))
    with pytest.raises(ValueError, match="backward of its own"):
        compute(objective)


def test_ends_are_told_apart_where_moved_outputs_are_no_outputs():
    """A matrix to which different numbers are added along its first column has no Cholesky factor any more."""

    class Kernel(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1, dtype=torch.float64))

        def forward(self, x):
            return self.scale.square() * torch.eye(len(x), dtype=x.dtype) * 1e-3

    x = torch.randn(4, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    objective = Objective(Kernel(), lambda o, t: torch.linalg.cholesky(o).sum() + t.sum(), (x, x))
    matrix = objective.module(x)
    assert row_of(objective)(matrix).tolist() == [0.0, *matrix.flatten().tolist()]
