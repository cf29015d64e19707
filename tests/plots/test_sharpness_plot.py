"""What pictures show of the search along the gradient, and say of the roughness of a plane."""

import numpy as np
import torch
from matplotlib.text import Text
from torch import nn

import landscape
from landscape import Objective
from landscape.analyses.basins import Basins


def result_of(**how):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        module = nn.Sequential(nn.Linear(4, 7, bias=False), nn.ReLU(), nn.Linear(7, 3, bias=False)).double()
    generator = torch.Generator().manual_seed(3)
    x, y = torch.randn(60, 4, generator=generator).double(), torch.randint(3, (60,), generator=generator)
    objective = Objective(module, "cross_entropy", (x[:40], y[:40]))
    small = {"sigmas": (0.1,), "num_draws": 2, "ascent_steps": 1}
    return landscape.sharpness(
        objective, objective.theta, test=objective.on((x[10:], y[10:])), **small, **how
    )


def texts(figure) -> str:
    return "\n".join(one.get_text() for one in figure.findobj(Text))


def test_the_search_stands_with_the_first_rise_marked():
    result = result_of(critical=True, fisher_rao=True, relative_flatness=True)
    figure = landscape.plot(result)
    axes = figure.axes[1]
    curves = {one.get_label(): one for one in axes.get_lines()}
    x, y = curves["F"].get_data()
    assert x[0] == 0
    inside = result.search_step <= x[-1]
    np.testing.assert_array_equal(x[1:], result.search_step[inside])
    np.testing.assert_array_equal(y[1:], result.search_rise[inside])
    assert axes.get_ylim()[0] < result.search_rise[inside].min()
    marked = [one.get_xdata()[0] for one in axes.get_lines() if len(set(one.get_xdata())) == 1]
    assert marked == [result.critical_step, result.relative_critical_step]
    assert max(marked) < axes.get_xlim()[1]
    assert axes.get_xlabel() == "step η tried along −∇F"
    said = texts(figure).replace("\n", " ").replace("\u00a0", " ")
    assert f"F at η = {result.critical_step:.4g}" in said
    for name in ("2/η, critical", "gᵀHg / gᵀg", "2/η, test loss", "Fisher–Rao", "rel. flatness"):
        assert name in said


def test_without_a_search_there_is_no_panel_of_it():
    plain, other = result_of(), result_of(fisher_rao=True)
    assert len(landscape.plot(plain).axes) == len(landscape.plot(other).axes) == 2
    nowhere = result_of(critical=True)
    nowhere.critical_step = nowhere.relative_critical_step = None
    assert len(landscape.plot(nowhere).axes) == 2


def test_without_a_rescaling_the_measures_are_a_table_as_broad_as_the_page():
    """The right half would be empty, where the changes stand."""
    plain, rescaled = result_of(rescaling="none"), result_of()
    axes = landscape.plot(plain).axes[-1]
    values = [one.get_position()[0] for one in axes.texts[1::2]]
    assert len(values) == len(plain.measure)
    assert min(values) > 0.5
    assert len(axes.collections[0].get_segments()) == len(plain.measure) - 1
    assert "not rescaled" in texts(axes.figure)
    other = landscape.plot(rescaled).axes[-1]
    assert max(one.get_position()[0] for one in other.texts) < 0.5
    assert "not rescaled" not in texts(other.figure)


def test_a_plane_says_how_rough_it_is():
    x, y = np.linspace(-2, 3, 21), np.linspace(-1, 1, 11)
    values = 3 * x**4 - 4 * x**3 - 12 * x**2 + y[:, None] ** 2
    result = Basins(
        alpha=x, beta=y, grid_loss=values, basin_of=np.zeros(values.shape, dtype=int),
        birth=np.array([-32.0]), death=np.array([np.inf]), parent=np.array([-1]), birth_alpha=x[:1], birth_beta=y[:1],
        total_persistence=5.25, mean_persistence=1.75, relative_persistence=0.0312,
    )  # fmt: skip
    said = texts(landscape.plot(result)).replace("\n", " ").replace("\u00a0", " ")
    assert "total persistence 5.25, mean 1.75, 0.031 of the range of F" in said
