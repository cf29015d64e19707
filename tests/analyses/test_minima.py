"""Minima against width: closed forms, a plain loop from the same starts, and the thesis' data."""

import copy
import functools
import math

import numpy as np
import pytest
import torch
from plain import quadratic
from torch import Tensor, nn

from landscape import Objective
from landscape.analyses import minima
from landscape.analyses.minima import PRESETS
from landscape.certificates.almost_every import NO_BIAS, NOISE, SQUARE, UNITS
from landscape.descent.critical import examined
from landscape.errors import BadInput
from landscape.inputs.data import load_data
from landscape.inputs.models.mlp import mlp
from landscape.plots.plot import plot
from landscape.runs import store

QUICK = {"steps": 60, "max_steps": 100, "restarts": (4,), "lr": (0.3,)}


def family(width: int, depth: int, seed: int) -> Objective:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(9)
    x = torch.randn(12, 2, generator=generator)
    module = mlp((2,), 1, activation="tanh", width=width, depth=depth).double()
    return Objective(module, "bce", (x.double(), (x[:, 0] > 0).long()))


def dropping(width: int, depth: int, seed: int) -> Objective:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Dropout(0.5), nn.Linear(width, 1)).double()
    return Objective(module, "bce", family(1, 1, 0).samples)


class Well(nn.Module):
    """(u² − 1)² + v²: minima at (±1, 0), a saddle at (0, 0), 0 the least cost."""

    def __init__(self, seed: int):
        super().__init__()
        start = torch.tensor([(0.5, 1.0), (-0.5, 1.0), (0.0, 0.7), (2.0, 0.1)][seed], dtype=torch.float64)
        self.place = nn.Parameter(start)

    def forward(self, x: Tensor) -> Tensor:
        u, v = self.place
        return ((u**2 - 1) ** 2 + v**2) + 0 * x[:, :1] + 0 * u * x[:, :1]


def wells(width: int, depth: int, seed: int) -> Objective:
    return Objective(Well(seed), "output", (torch.zeros(3, 1, dtype=torch.float64), torch.zeros(3, 1)))


def test_ends_whose_kind_is_known():
    found = minima(wells, widths=[1], restarts=[4], lr=[0.05], steps=400, max_steps=400)
    assert found.end_status[0, 0].tolist() == ["minimum", "minimum", "saddle", "minimum"]
    assert found.index[0, 0].tolist() == [0, 0, 1, 0]
    np.testing.assert_allclose(found.cost[0, 0], [0, 0, 1, 0], atol=1e-12)
    # The Hessian is diag(12u² − 4, 2).
    np.testing.assert_allclose(found.smallest_eigenvalue[0, 0], [2, 2, -4, 2], atol=1e-6)
    np.testing.assert_allclose(found.largest_eigenvalue[0, 0], [8, 8, 2, 8], atol=1e-5)
    assert found.num_distinct_costs[0, 0] == 2
    # (1, 0) and (−1, 0) are one function.
    assert found.num_distinct[0, 0] == 2
    assert found.status == "complete"


def test_an_eigenvalue_counts_from_its_error_on():
    """That of diag(4, 1, −2e-12), rotated, is 100 ε · 4 = 9e-14, and a little for asymmetry."""
    spectrum = torch.tensor([4.0, 1.0, -2e-12])
    objective, _, _, minimum = quadratic(torch.float64, spectrum)
    end = examined(objective, minimum)
    assert (end.index, end.is_exact, end.status) == (1, True, "saddle")


def test_polishing_goes_on_to_the_minimum():
    rough = {"widths": [1], "restarts": [2], "lr": [0.05], "steps": 10, "max_steps": 10}
    found = minima(wells, **rough, polish=True)
    assert (found.cost > 1e-3).all()
    assert (found.polished_gradient_norm <= 1e-9).all()
    assert (found.polished_cost < 1e-18).all()
    assert set(found.polish_reason.ravel()) == {""}
    assert set(found.end_status.ravel()) == {"minimum"}
    assert set(minima(wells, **rough).end_status.ravel()) == {"cut short"}


def test_each_end_is_that_of_a_plain_loop():
    found = minima(family, widths=[2, 3], depths=[1, 2], restarts=[2], lr=[0.3], steps=60, max_steps=60)
    for i, j, r in np.ndindex(found.cost.shape):
        objective = family(int(found.width[j]), int(found.depth[i]), r)
        module = copy.deepcopy(objective.module)
        (x,), y = objective.samples
        for step in range(61):
            loss = nn.functional.binary_cross_entropy_with_logits(module(x)[:, 0], y.double())
            slopes = torch.autograd.grad(loss, list(module.parameters()))
            with torch.no_grad():
                for parameter, slope in zip(module.parameters(), slopes, strict=True):
                    parameter -= 0.3 * slope * (step < 60)
        norm = math.sqrt(sum(float(slope.square().sum()) for slope in slopes))
        assert found.cost[i, j, r] == pytest.approx(loss.item(), rel=1e-9)
        assert found.gradient_norm[i, j, r] == pytest.approx(norm, rel=1e-6)
    assert found.num_parameters.tolist() == [[9, 13], [15, 25]]
    assert all(check.passed for check in found.checks)


def test_uniform_starts_and_settings_of_each_depth():
    found = minima(
        family,
        widths=[2],
        depths=[1, 2],
        restarts=[3, 2],
        init=["uniform:-1,1", "uniform:2,3"],
        lr=[0.1, 1e-30],
        steps=5,
        max_steps=5,
    )
    assert found.done.tolist() == [[[True] * 3], [[True, True, False]]]
    assert np.isnan(found.cost[1, 0, 2])
    objective = family(2, 2, 0)
    for r in range(2):
        draw = torch.rand(
            objective.num_parameters, generator=torch.Generator().manual_seed(r), dtype=torch.float64
        )
        assert found.cost[1, 0, r] == pytest.approx(objective.value(2 + draw), rel=1e-12)


def test_a_replica_that_diverges_is_kept_and_marked():
    class Steep(Well):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) ** 4

    def steep(width: int, depth: int, seed: int) -> Objective:
        return Objective(Steep(seed), "output", (torch.zeros(3, 1, dtype=torch.float64), torch.zeros(3, 1)))

    found = minima(steep, widths=[1], restarts=[4], lr=[0.01], steps=50, max_steps=50)
    assert found.end_status[0, 0].tolist().count("diverged") == 1
    assert found.status == "diverged"
    assert np.isfinite(found.cost[0, 0]).sum() == 3
    assert "1 of 4 replicas diverged" in found.notes[0]
    assert "1 diverged" in found.notes[1]
    np.testing.assert_allclose(
        found.cost_quantiles[0, 0],
        np.quantile(found.cost[0, 0][np.isfinite(found.cost[0, 0])], found.quantile),
    )


def test_a_cell_of_which_nothing_is_left_does_not_take_the_others_along():
    def family_or_none(width: int, depth: int, seed: int) -> Objective:
        objective = family(width, depth, seed)
        if width == 3:
            objective.module[0].weight.data.fill_(math.nan)
        return (
            family(width, depth, seed) if width < 3 else Objective(objective.module, "bce", objective.samples)
        )

    found = minima(family_or_none, widths=[2, 3], **QUICK)
    assert found.status == "diverged"
    assert np.isfinite(found.cost[0, 0]).all()
    assert set(found.end_status[0, 1]) == {"diverged"}
    assert np.isnan(found.cost_quantiles[0, 1]).all()
    assert found.num_distinct.tolist() == [[found.num_distinct[0, 0], 0]]


def test_a_module_that_draws_is_not_replayed():
    found = minima(dropping, widths=[2], **QUICK)
    assert not [check for check in found.checks if check.name.startswith("stack")]
    assert "draws random numbers in training" in found.notes[-1]


def test_too_large_for_memory_is_split_and_said_once():
    whole = minima(family, widths=[2, 3], **QUICK)
    cut = minima(family, widths=[2, 3], **QUICK, memory_limit=3 * 8 * 6 * 100)
    assert sum("stacks" in note for note in cut.notes) == 1
    assert not any("stacks" in note for note in whole.notes)
    np.testing.assert_allclose(cut.cost, whole.cost, rtol=1e-9)


class Killed(dict):
    """Journal of a run that is killed when it would remember one so many."""

    def __init__(self, after: int):
        super().__init__()
        self.after = after

    def __setitem__(self, key, value):
        if len(self) == self.after:
            raise KeyboardInterrupt
        super().__setitem__(key, value)


@functools.cache
def undisturbed(build):
    return minima(build, widths=[2, 3], **QUICK)


@pytest.mark.parametrize("build", [family, dropping])
@pytest.mark.parametrize("after", [0, 1, 3, 6])
def test_killed_and_gone_on_it_ends_bit_for_bit_the_same(after, build, monkeypatch):
    monkeypatch.setattr("landscape.progress.SAVE_SECONDS", -1.0)
    monkeypatch.setattr("landscape.descent.starts.BLOCK_STEPS", 7)
    journal = Killed(after)
    with pytest.raises(KeyboardInterrupt):
        minima(build, widths=[2, 3], **QUICK, journal=journal)
    resumed = minima(build, widths=[2, 3], **QUICK, journal=dict(journal))
    for one, other in zip(undisturbed(build).arrays(), resumed.arrays(), strict=True):
        np.testing.assert_array_equal(one.values, other.values)


def test_the_theorem_is_stated_where_it_holds():
    found = minima(family, widths=[5, 6], **QUICK)
    assert found.is_wide.tolist() == [False, True]
    assert any("n ≤ d₀d₁ (holds at width 6, fails at width 5)" in note for note in found.notes)
    # By tanh, biases and log loss, however wide.
    assert any(note == "it says nothing here (n = 12, d₀ = 2)" for note in found.notes)
    states = dict(zip(found.assumption, found.state[0, 1], strict=True))
    failing = [text for text, state in states.items() if state == "fails"]
    assert failing == [UNITS, NO_BIAS, SQUARE, NOISE]


@pytest.mark.parametrize("dense", [True, False])
def test_a_long_examination_says_how_far_it_is(monkeypatch, dense):
    monkeypatch.setattr("landscape.descent.critical.LONG", 0)
    if not dense:
        monkeypatch.setattr("landscape.descent.critical.DENSE_PARAMETERS", 1)
    told = []
    minima(family, widths=[3], **QUICK, progress=lambda done, total, what: told.append((done, total, what)))
    products = [one for one in told if one[2] == "products at the end of depth 1, width 3, restart 2"]
    assert products
    assert all(0 < done <= total for done, total, _ in products)


def test_samples_of_the_plane_are_kept_and_drawn_in_two_kinds():
    found = minima(family, widths=[2], **QUICK)
    (x,), y = family(2, 1, 0).samples
    np.testing.assert_array_equal(np.stack([found.sample_x, found.sample_y], 1), x.numpy())
    np.testing.assert_array_equal(found.sample_target, y.flatten().numpy())
    *_, plane = plot(found).axes
    drawn = {line.get_label(): np.stack(line.get_data(), 1) for line in plane.lines if len(line.get_xdata())}
    for label, kind in (("target 0", 0), ("target 1", 1)):
        np.testing.assert_array_equal(drawn[label], x[y.flatten() == kind].numpy())


def test_no_plane_no_samples():
    found = minima(wells, widths=[1], restarts=[2], lr=[0.05], steps=5, max_steps=5)
    assert found.sample is None
    assert found.prediction is None


def test_it_is_saved_under_its_published_names(tmp_path):
    found = minima(family, widths=[2], **QUICK)
    store.save(found, tmp_path / "m.h5")
    again = store.load(tmp_path / "m.h5")
    np.testing.assert_array_equal(again.end_status, found.end_status)
    names = {one.name: one.dims for one in found.arrays()}
    for name in ("cost", "gradient_norm", "index", "smallest_eigenvalue", "status"):
        assert names[name] == ("depth", "width", "restart")
    assert names["num_distinct"] == ("depth", "width")
    assert found.as_json()["values"]["status"] == found.end_status.tolist()
    assert again.status == "complete"


def test_the_index_beyond_the_dense_limit_is_that_of_lanczos(monkeypatch):
    objective = family(3, 1, 0)
    theta = torch.randn(objective.num_parameters, generator=torch.Generator().manual_seed(1)).double()
    dense = examined(objective, theta, tolerance=0.0)
    monkeypatch.setattr("landscape.descent.critical.DENSE_PARAMETERS", 1)
    krylov = examined(objective, theta, tolerance=0.0)
    assert krylov.index == dense.index > 0
    assert krylov.smallest_eigenvalue == pytest.approx(dense.smallest_eigenvalue, rel=1e-5)
    assert krylov.largest_eigenvalue == pytest.approx(dense.largest_eigenvalue, rel=1e-5)


def test_an_index_is_a_lower_bound_where_lanczos_saw_negative_eigenvalues_alone(monkeypatch):
    objective = family(3, 1, 0)
    theta = torch.randn(objective.num_parameters, generator=torch.Generator().manual_seed(1)).double()
    dense = examined(objective, theta, tolerance=0.0)
    assert dense.is_exact
    assert dense.index > 1
    monkeypatch.setattr("landscape.descent.critical.DENSE_PARAMETERS", 1)
    for pairs, is_exact in ((1, False), (dense.index, False), (dense.index + 1, True)):
        monkeypatch.setattr("landscape.descent.critical.LANCZOS_PAIRS", pairs)
        found = examined(objective, theta, tolerance=0.0)
        assert found.is_exact is is_exact
        assert found.index == min(pairs, dense.index)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": []}, "widths"),
        ({"widths": [2, 2]}, "each once"),
        ({"restarts": [1, 2]}, "2 values of restarts for 1 depths"),
        ({"init": ["normal:1,2"]}, "own, or uniform:a,b"),
        ({"init": ["uniform:1,1"]}, "a < b"),
        ({"steps": 5, "max_steps": 4}, "5 steps of at most 4"),
        ({"stop_after": 0}, "at least 1"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(BadInput, match=message):
        minima(family, **{"widths": [2], "steps": 1, "max_steps": 1, "restarts": [1]} | options)


def test_the_preset_has_the_data_of_the_thesis():
    preset = PRESETS["thesis-5.1"]
    data = load_data(preset["data"], preset["data_arg"], None)
    assert data.targets.bincount().tolist() == [56, 44]
    share = 0.44
    assert -(share * math.log(share) + (1 - share) * math.log(1 - share)) == pytest.approx(0.685930, abs=5e-7)


@pytest.mark.parametrize(
    "loss",
    [
        "cross_entropy",
        nn.CrossEntropyLoss(label_smoothing=0.1),
        lambda o, t: (o.logsumexp(1) - o.gather(1, t[:, None])[:, 0]).mean(),
    ],
)
def test_one_classifier_is_one_minimum_whatever_all_its_logits_are_moved_by(loss):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 2, generator=generator, dtype=torch.float64)
    y = torch.randint(3, (30,), generator=generator)

    def family(width, depth, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Objective(nn.Linear(2, 3).double(), loss, (x, y))

    result = minima(family, widths=(1,), restarts=(4,), steps=20, polish=True)
    assert (result.status, result.num_distinct.item(), result.num_distinct_minima.item()) == (
        "complete",
        1,
        1,
    )
