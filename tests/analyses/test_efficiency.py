"""Methods compared within one budget: replicas against plain loops, baselines by hand, the choice of step sizes."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape import Objective, efficiency
from landscape.descent.budgets import Budget
from landscape.descent.comparison import baseline_costs, selected
from landscape.errors import BadInput, NotFinite
from landscape.inputs.data.housing import features_and_values
from landscape.numerics.steps.sampling import Sampler
from landscape.result import field_metadata, with_error
from landscape.runs.recipe import Recipe

STEPS = (0.5, 0.1)
LINE = {"step_sizes": STEPS, "batch_size": 4, "observations_per_sample": 3, "num_records": 3}


def problem(dtype: torch.dtype = torch.float64, noise: float = 0.1, dropout: bool = False) -> Objective:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 3, generator=generator, dtype=dtype)
    y = x[:, :1] - x[:, 1:2] + 2 + noise * torch.randn(20, 1, generator=generator, dtype=dtype)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).to(dtype)
    if dropout:
        module.insert(2, nn.Dropout(0.5))
    return Objective(module, "mse", (x, y))


def starts(objective: Objective) -> list[torch.Tensor]:
    return [objective.theta, 0.5 * objective.theta]


def plain_costs(objective, rows, theta, method, alpha, seed, sampling) -> list[float]:
    """F at the start and after each pass of the samples ``rows``, by a loop that everybody would write."""
    module = copy.deepcopy(objective.module)
    nn.utils.vector_to_parameters(theta.clone(), module.parameters())
    (x,), y = objective.samples
    x, y = x[rows], y[rows]
    size = {"gd": len(y), "minibatch": 4, "sgd": 1}[method]
    sampler = Sampler(sampling, len(y), size, seed)
    costs = [functional.mse_loss(module(x), y).item()]
    for _ in range(3):
        for _ in range(len(y) // size):
            batch = slice(None) if method == "gd" else sampler.next()
            module.zero_grad()
            functional.mse_loss(module(x[batch]), y[batch]).backward()
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter -= alpha * parameter.grad
        costs.append(functional.mse_loss(module(x), y).item())
    return costs


@pytest.mark.parametrize("sampling", ["uniform", "reshuffle"])
def test_every_replica_is_the_plain_loop_of_its_seed(sampling):
    objective = problem()
    points = starts(objective)
    result = efficiency(objective, points, sizes=(8, 16), sampling=sampling, draw_seed=5, seed=7, **LINE)
    draw = np.random.default_rng(5)
    for i, n in enumerate((8, 16)):
        rows = torch.from_numpy(draw.choice(20, n, replace=False))
        for j, method in enumerate(result.method):
            for k, alpha in enumerate(STEPS):
                for s, theta in enumerate(points):
                    plain = plain_costs(objective, rows, theta, method, alpha, 7 + s, sampling)
                    np.testing.assert_allclose(result.replica_cost[i, j, k, s], plain, rtol=1e-9)
    np.testing.assert_array_equal(result.observations[:, :, -1], [[24] * 3, [48] * 3])
    assert result.status == "complete", result.checks


def test_a_split_stack_is_the_same_and_said_once_a_size():
    objective = problem()
    whole, split = (
        efficiency(objective, starts(objective), memory_limit=limit, **LINE) for limit in (2.0**30, 30000.0)
    )
    np.testing.assert_allclose(split.replica_cost, whole.replica_cost, rtol=1e-12)
    assert sum("stacks" in note for note in split.notes) == 1
    assert not any("stacks" in note for note in whole.notes)


@pytest.mark.parametrize("dropout", [False, True])
def test_resumed_from_any_state_it_ends_in_the_same_bits(monkeypatch, dropout):
    """Saved after every block of steps, and stopped right there."""
    monkeypatch.setattr("landscape.progress.SAVE_SECONDS", -1.0)
    monkeypatch.setattr("landscape.descent.budgets.BLOCK_STEPS", 13)
    objective, line = problem(dropout=dropout), {**LINE, "observations_per_sample": 2}
    whole = efficiency(objective, starts(objective), **line)

    class Stopped(Exception):
        pass

    class Stopping(dict):
        def __setitem__(self, key, value):
            super().__setitem__(key, copy.deepcopy(value))
            raise Stopped

    journal: dict = {}
    for _ in range(200):
        try:
            again = efficiency(objective, starts(objective), journal=(trap := Stopping(journal)), **line)
            break
        except Stopped:
            journal = dict(trap)
    np.testing.assert_array_equal(again.replica_cost, whole.replica_cost)


def test_the_best_step_is_that_of_the_lowest_mean_without_divergence():
    """Two methods, three steps, two seeds: the lowest single cost has a mean above another's or a NaN beside it."""
    nan = np.nan
    final = np.array([[[0.1, nan], [0.4, 0.6], [0.2, 0.9]], [[nan, nan], [nan, 1.0], [nan, nan]]])
    curves = np.stack([final + 1, final], -1)[None]
    found = selected(curves, (1.0, 0.5, 0.1))
    np.testing.assert_array_equal(found["best_step"], [[0.5, nan]])
    np.testing.assert_allclose(found["best_cost"], [[0.5, nan]])
    np.testing.assert_allclose(found["best_cost_error"], [[0.1, nan]])
    np.testing.assert_allclose(found["cost_curve"], [[[1.5, 0.5], [nan, nan]]])
    np.testing.assert_array_equal(found["num_diverged"], [[[1, 0, 0], [2, 1, 2]]])
    single = selected(curves[:, :, :, :1], (1.0, 0.5, 0.1))
    np.testing.assert_array_equal(single["best_step"], [[1.0, nan]])
    assert single["cost_spread"] is None


@pytest.mark.parametrize("reaches_zero", [False, True])
def test_the_shade_is_what_its_caption_says(reaches_zero):
    """Mean ± standard deviation over the seeds, by hand from the cost of every replica at the best step size."""
    objective = problem()
    points = [scale * objective.theta for scale in (1.0, 0.5, 0.2)]
    result = efficiency(objective, points, sizes=(8, 16), **LINE)
    if reaches_zero:
        # One seed far above the others: the mean less the standard deviation is below zero.
        costs = result.replica_cost.copy()
        costs[0, 1, :, 2] *= 100
        result = replace(result, **selected(costs, STEPS))
    figure, is_out = result.plot(), False
    for i, axes in enumerate(figure.axes[:2]):
        assert axes.get_yscale() == "log"
        bottom = axes.get_ylim()[0]
        for j, band in enumerate(axes.collections):
            k = STEPS.index(result.best_step[i, j])
            costs = result.replica_cost[i, j, k]
            mean = costs.sum(0) / 3
            deviation = np.sqrt(((costs - mean) ** 2).sum(0) / 2)
            vertices = band.get_paths()[0].vertices
            for x, low, high in zip(
                result.observations[i, j], mean - deviation, mean + deviation, strict=True
            ):
                ends = vertices[vertices[:, 0] == x, 1]
                assert ends.max() == pytest.approx(high, rel=1e-12)
                if low >= bottom:
                    assert ends.min() == pytest.approx(low, rel=1e-12)
                else:
                    assert ends.min() < bottom
                    is_out = True
        assert len(axes.collections) == 3
    caption = " ".join(figure.get_supxlabel().split())
    assert "shaded: mean ± standard deviation over 3 seeds" in caption
    assert ("runs out of the panel" in caption) is is_out
    assert is_out or not reaches_zero
    about = field_metadata(type(result))
    assert "mean over seeds" in about["cost_curve"]["long_name"]
    assert "standard deviation over seeds" in about["cost_curve_spread"]["long_name"]
    # What is printed beside the cost is another thing, and says so.
    first = next(note for note in result.notes if note.startswith("n = 8"))
    assert "(± standard error over seeds)" in first
    if not reaches_zero:
        j = int(np.argmin(result.best_cost[0]))
        final = result.replica_cost[0, j, STEPS.index(result.best_step[0, j]), :, -1]
        assert with_error(final.mean(), final.std(ddof=1) / 3**0.5) in first


def test_baselines_are_those_of_the_normal_equations():
    objective = problem()
    (x,), y = objective.samples
    design = torch.cat([x, torch.ones(20, 1)], 1)
    weights = torch.linalg.solve(design.T @ design, design.T @ y)
    zero, least = baseline_costs(objective)
    np.testing.assert_allclose([zero, least], [y.square().mean(), (design @ weights - y).square().mean()])
    module = nn.Linear(3, 2, dtype=torch.float64)
    classes = Objective(module, "cross_entropy", (x, torch.arange(20) % 2))
    assert np.isnan(baseline_costs(classes)).all()


def test_a_replica_that_diverges_is_marked_and_the_others_go_on():
    objective = problem()
    result = efficiency(
        objective, starts(objective), **{**LINE, "observations_per_sample": 20, "step_sizes": (1e30, 0.1)}
    )
    assert result.num_diverged[0, :, 0].tolist() == [2, 2, 2]
    assert np.isnan(result.cost[0, :, 0]).all()
    assert np.isfinite(result.replica_cost[0, :, 1]).all()
    np.testing.assert_array_equal(result.best_step, [[0.1] * 3])
    assert "6 of 12 replicas diverged" in " ".join(result.notes)
    assert result.status == "complete"


def test_a_grid_where_every_step_diverges_is_one_sentence():
    objective = problem()
    with pytest.raises(NotFinite, match="diverges at every step size, down to 1e\\+25") as error:
        efficiency(
            objective,
            starts(objective),
            **{**LINE, "observations_per_sample": 20, "step_sizes": (1e30, 1e25)},
        )
    assert "take smaller `step_sizes`" in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sizes": (21,)}, "size 21; expected between 1 and the 20"),
        ({"methods": ("gd", "gd")}, "each once"),
        ({"discarded": 21}, "21 samples to discard"),
    ],
)
def test_options_out_of_range(changes, words):
    objective = problem()
    with pytest.raises(BadInput) as error:
        efficiency(objective, starts(objective), **{**LINE, **changes})
    assert words in str(error.value)


def test_without_initial_points():
    with pytest.raises(BadInput, match="no initial point"):
        efficiency(problem(), [])


def test_a_budget_counts_short_batches():
    """Ten samples in batches of four: a pass of 4 + 4 + 2 where none is drawn twice."""
    common = {"num_samples": 10, "batch_size": 4, "observations_per_sample": 2.5, "num_records": 5}
    passes, uniform = Budget(**common, sampling="reshuffle"), Budget(**common)
    assert passes.steps.tolist() == [0, 1, 3, 4, 6, 7]
    assert passes.observations.tolist() == [0, 4, 10, 14, 20, 24]
    assert uniform.steps.tolist() == [0, 1, 2, 3, 5, 6]
    assert uniform.observations.tolist() == [0, 4, 8, 12, 20, 24]


def test_the_thesis_baselines():
    """Its square loss is the plain mean of squares, without a half, and least squares has an intercept.

    Fleischmann 2021, section 5.2: standardised on all rows, sizes drawn after a discarded draw of ten.
    """
    try:
        features_and_values()
    except BadInput:
        pytest.skip("California housing is not here")
    recipe = Recipe("mlp", {"init": "glorot"}, "housing", {"test_size": 0})
    data = recipe.data_set()
    recipe = recipe.completed(data)
    objective = recipe.objectives(recipe.module(), data).train
    result = efficiency(
        objective,
        [objective.theta],
        sizes=(100, 1000, 10000),
        methods=("gd",),
        step_sizes=(0.01,),
        observations_per_sample=1,
        num_records=1,
        draw_seed=42,
        discarded=10,
    )
    # The thesis cuts some digits off, others it rounds.
    np.testing.assert_allclose(result.zero_predictor, [1.140219, 0.982870, 1.002817], atol=1e-6)
    np.testing.assert_allclose(result.least_squares, [0.287780, 0.384357, 0.398398], atol=1e-6)
