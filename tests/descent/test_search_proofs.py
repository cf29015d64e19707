"""What is said of searches for critical points is seen to be wrong: steps, exponents, thresholds, where they begin."""

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import Objective
from landscape.descent import every_height, seeking
from landscape.descent.every_height import fallen
from landscape.descent.search_proofs import Counted
from landscape.inputs.models.toy_path import toy_path
from landscape.numerics.spectra.inertia import error_at
from landscape.numerics.steps import matrix_free
from landscape.objective.stacked import Derivatives

ONE = torch.ones(1, 1, dtype=torch.float64)


def net(seed: int = 0) -> Objective:
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)).double()
    x = torch.randn(9, 2, generator=generator, dtype=torch.float64)
    return Objective(module, "mse", (x, torch.sin(2 * x[:, :1])), l2=0.01)


def failed(result) -> set[str]:
    return {check.name for check in result.checks if not check.passed}


def changed(monkeypatch, name: str, change) -> None:
    true = seeking.Seeker.found
    monkeypatch.setattr(
        seeking.Seeker,
        "found",
        lambda self, *at: (found := true(self, *at)) | {name: change(found[name])},
    )


@pytest.mark.parametrize("method", ["newton", "gradient-norm", "hisd"])
@pytest.mark.parametrize("is_dense", [True, False])
def test_right_searches_pass(method, is_dense, monkeypatch):
    if not is_dense:
        monkeypatch.setattr(seeking, "DENSE_PARAMETERS", 0)
        method = "newton" if method == "hisd" else method
    result = landscape.critical(net(), starts=4, method=method, descend=12, max_steps=60)
    assert failed(result) == set()


@pytest.mark.parametrize(
    ("name", "change", "check"),
    [
        ("steps", lambda one: one + 1, "steps of the starts"),
        ("steps", lambda one: one[::-1].copy(), "steps of the starts"),
        ("zero_threshold", lambda one: 100 * one, "threshold of a start"),
        ("zero_threshold", lambda one: one / 100, "threshold of a start"),
    ],
)
def test_steps_and_thresholds_of_others_are_seen(name, change, check, monkeypatch):
    changed(monkeypatch, name, change)
    assert check in failed(landscape.critical(net(), starts=6))


@pytest.mark.parametrize("is_dense", [True, False])
def test_an_exponent_turned_over_is_seen(is_dense, monkeypatch):
    if not is_dense:
        monkeypatch.setattr(seeking, "DENSE_PARAMETERS", 0)
    objective = Objective(toy_path(2.0), "mse", (ONE, ONE))
    starts = [torch.tensor([k], dtype=torch.float64) for k in (1.0, 3.0)]
    assert failed(landscape.critical(objective, starts, begin="points")) == set()
    changed(monkeypatch, "exponent", lambda one: 1 / one)
    assert failed(landscape.critical(objective, starts, begin="points")) == {"exponents"}


def test_steps_are_counted_by_evaluations_where_a_search_went_on():
    looked = Counted(lambda thetas: thetas)
    for size in (4, 4, 2, 1):
        looked(torch.zeros(size, 3))
    steps = torch.tensor([1, 3, 1, 2])
    assert looked.tried(steps, None).tolist() == [1, 3, 1, 2]
    kept = Counted(lambda thetas: thetas)
    for size in (2, 1):
        kept(torch.zeros(size, 3))
    assert kept.tried(steps, torch.tensor([1, 1, 1, 1])).tolist() == [1, 3, 1, 2]


@pytest.mark.parametrize("most", [1, 7, 40, 300])
def test_starts_at_every_height_are_those_of_a_loop(most):
    objective = net()
    starts = torch.randn(5, objective.num_parameters, generator=torch.Generator().manual_seed(1)).double()
    found, (check,) = fallen(Derivatives(objective), starts, most)
    assert check.passed
    assert torch.equal(found[0], starts[0])
    losses = [objective.value(one) for one in found]
    assert all(one <= objective.value(start) for one, start in zip(losses, starts, strict=True))


@pytest.mark.parametrize("counts", [lambda counts: counts.flip(0), lambda counts: counts + (counts > 0)])
def test_starts_at_other_heights_are_seen(counts, monkeypatch):
    true = every_height.descended
    monkeypatch.setattr(every_height, "descended", lambda slopes, at, how: true(slopes, at, counts(how)))
    result = landscape.critical(net(), starts=4, descend=12)
    assert "descents of starts" in failed(result)


def test_what_counts_as_zero_of_many_parameters_is_the_gradient_and_the_solver(monkeypatch):
    monkeypatch.setattr(seeking, "DENSE_PARAMETERS", 0)
    result = landscape.critical(net(), starts=3, save_points=True)
    rows = np.flatnonzero(result.end_status == "critical")
    assert len(rows)
    for k in rows:
        largest = np.abs(torch.linalg.eigvalsh(_hessian(net(), result.thetas[k])).numpy()).max()
        wanted = error_at(float(result.gradient_norm[k])) + 1e-12 * largest
        assert result.zero_threshold[k] == pytest.approx(wanted, rel=1e-6)


def _hessian(objective: Objective, theta: np.ndarray) -> torch.Tensor:
    at = torch.from_numpy(np.array(theta))
    return torch.stack([objective.hvp(at, axis) for axis in torch.eye(len(at), dtype=torch.float64)])


def test_the_way_of_a_search_is_as_long_as_its_window():
    assert matrix_free.WINDOW == seeking.WINDOW
