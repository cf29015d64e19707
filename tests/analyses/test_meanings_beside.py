"""More analyses on modules, losses and data as people bring them: planes, descents, measures of sharpness, stacks.

Their numbers against plain calls of everything at once, as in ``test_meanings``; where an analysis cannot take such a
module, the sentence says why.
"""

import numpy as np
import pytest
import torch
from meanings import MEANINGS, draw
from torch.nn.utils import parameters_to_vector

import landscape
from landscape import BadInput, Objective

# A few of every kind: what F reads, a whole, a derivative by differences, a module's own loss, trees, a complex buffer.
QUICK = [
    "forward that closes over the module",
    "once differentiable",
    "contrastive",
    "module with its own mean",
    "dictionary in",
    "complex buffer",
]
NAMES = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in MEANINGS]
# Why the units of a module cannot be told, in key words.
BLOCKED = ("can be permuted", "cannot be traced", "several processes", "does not take inputs")


class Plainly:
    """A meaning, its objective by sevens, two points and plain calls."""

    def __init__(self, name: str):
        self.meaning = MEANINGS[name]()
        self.objective = Objective(self.meaning.module, self.meaning.loss, self.meaning.data, chunk_size=7)
        weights = [p for p in self.meaning.module.parameters() if p.requires_grad]
        self.theta = parameters_to_vector(weights).detach().clone()
        self.other = self.theta + 0.2 * draw(len(self.theta), seed=21)

    def __call__(self, theta) -> float:
        with self.meaning.at(torch.as_tensor(theta, dtype=torch.float64)):
            return float(self.meaning.value().detach())

    def slope(self, theta) -> torch.Tensor:
        return self.meaning.derivatives(theta, torch.zeros_like(theta))[1]


@pytest.fixture
def plainly(request) -> Plainly:
    return Plainly(request.param)


every = pytest.mark.parametrize("plainly", NAMES, indirect=True)


def is_sound(result):
    assert [one.name for one in result.checks if not one.passed] == []
    assert result.status in ("complete", "not-converged")


@every
def test_planes(plainly):
    plane = landscape.slice2d(plainly.objective, plainly.theta, num_points=3, ignore=())
    is_sound(plane)
    first, second = map(torch.as_tensor, plane.directions)
    for i, beta in enumerate(plane.beta):
        for j, alpha in enumerate(plane.alpha):
            wanted = plainly(plainly.theta + alpha * first + beta * second)
            assert plane.loss[i, j] == pytest.approx(wanted, rel=1e-11)


@every
def test_sharpness(plainly):
    sharp = landscape.sharpness(
        plainly.objective, plainly.theta, num_draws=2, sigmas=(0.01,), ascent_steps=1, rescaling="none"
    )
    is_sound(sharp)
    slope = plainly.slope(plainly.theta)
    assert sharp.loss == pytest.approx(plainly(plainly.theta), rel=1e-12)
    assert sharp.gradient_norm == pytest.approx(float(slope.norm()), rel=1e-9)


@every
def test_descents(plainly):
    run = landscape.train(plainly.objective, method="gd", steps=2, lr=1e-3, seed=3)
    is_sound(run)
    if plainly.objective.has_batchnorm or any(
        layer.training != plainly.meaning.module.training for layer in plainly.meaning.module.modules()
    ):
        return
    assert run.loss[0] == pytest.approx(plainly(plainly.theta), rel=1e-12)
    end = plainly.objective.point({name: torch.as_tensor(one) for name, one in run.states["final"].items()})
    assert run.loss[-1] == pytest.approx(plainly(end.theta), rel=1e-11)


@every
def test_stacks_of_replicas(plainly):
    objective, theta = plainly.objective, plainly.theta
    refusal, settings = "", {"step_sizes": [1e-3], "batch_sizes": [4], "num_steps": 4, "num_seeds": 2}
    if objective.is_mean:
        is_sound(landscape.noise(objective, theta, **settings))
    else:
        with pytest.raises(BadInput, match="no mean over samples"):
            landscape.noise(objective, theta, **settings)
    cell = landscape.minima(lambda *_: objective, widths=[2], restarts=[2], steps=2, max_steps=2)
    is_sound(cell)
    try:
        race = landscape.efficiency(objective, [theta], sizes=[8], methods=["gd"], step_sizes=[1e-3])
    except BadInput as error:
        race, refusal = None, str(error)
    if race is None:
        # What takes all samples together need not take eight of them.
        assert objective.is_whole
        assert "does not take" in refusal or "a part of the samples" in refusal
        return
    is_sound(race)


@every
def test_modes(plainly):
    theta, other = plainly.theta, plainly.other
    third = theta + 0.2 * draw(len(theta), seed=22)
    count = len(plainly.objective.samples.targets)
    found = landscape.modes(
        plainly.objective, [theta, other, third], epochs=1, batch_size=count, num_points=5, lr=1e-3
    )
    is_sound(found)
    np.testing.assert_allclose(found.mode_loss, [plainly(one) for one in (theta, other, third)], rtol=1e-11)


@every
def test_alignment_leaves_the_function_or_says_why_not(plainly):
    (theta, other), refusal = (plainly.theta, plainly.other), ""
    try:
        found = landscape.align(plainly.objective, theta, other, num_points=5)
    except BadInput as error:
        found, refusal = None, str(error)
    if found is None:
        assert any(words in refusal for words in BLOCKED)
        return
    is_sound(found)
    assert found.loss_before[0] == pytest.approx(plainly(theta), rel=1e-11)
    assert found.loss_before[-1] == pytest.approx(plainly(other), rel=1e-11)
    assert found.loss_after[-1] == pytest.approx(plainly(other), rel=1e-9)
