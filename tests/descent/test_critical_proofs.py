"""Every check of critical points is seen to fail: what it proves is broken, and it alone says so."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import Objective
from landscape.analyses.critical import Critical
from landscape.descent import critical_proofs, far_out, kinds, known_points, proofs, seeking
from landscape.inputs.models.spin import spin
from landscape.inputs.models.toy_path import ToyPath, toy_path

NOTHING = torch.zeros(1, 1, dtype=torch.float64)


def searched(**options) -> Critical:
    objective = Objective(spin(matrix=((1, 0, 0), (0, 2, 0), (0, 0, 5))), "output", (NOTHING, NOTHING))
    generator = torch.Generator().manual_seed(0)
    starts = list(torch.randn(12, 3, generator=generator, dtype=torch.float64))
    return landscape.critical(objective, starts, begin="points", **options)


def failed(result: Critical) -> set[str]:
    return {check.name for check in result.checks if not check.passed}


def test_nothing_fails_where_nothing_is_broken():
    assert failed(searched()) == set()


def test_attention_is_proven_by_a_second_derivative_that_its_fused_kernel_has_not():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 1, 2, dropout=0.0, batch_first=True).double()
    x = torch.randn(3, 2, 4, dtype=torch.float64)
    objective = Objective(layer, "mse", (x, x.flip(0)))
    theta = objective.theta
    norm, matrix = proofs.plain_hessian(objective, theta)
    assert norm == pytest.approx(float(objective.gradient(theta).norm()), rel=1e-12)
    v = torch.ones_like(theta)
    assert matrix @ v.numpy() == pytest.approx(objective.hvp(theta, v).numpy(), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "change", "seen"),
    [
        ("loss", lambda one: one + 1e-3, {"loss of a start", "closed form"}),
        ("gradient_norm", lambda one: one + 1e-6, {"gradient norm of a start", "threshold of a start"}),
        ("index", lambda one: one + 1, {"index of a start", "closed form"}),
        ("index", lambda one: np.where(np.arange(len(one)) == 3, np.nan, one), {"status of the starts"}),
    ],
)
def test_what_is_said_of_the_starts(name, change, seen, monkeypatch):
    true = seeking.Seeker.found

    def wrong(self, objective, starts):
        found = true(self, objective, starts)
        return found | {name: change(found[name])}

    monkeypatch.setattr(seeking.Seeker, "found", wrong)
    # What is counted from a number that is wrong may be wrong with it.
    assert (
        seen
        <= failed(searched())
        <= seen | {*("closed form", "rank correlation", "rank correlation error", "distinct points")}
    )


def test_distinct_points_counted_by_something_else(monkeypatch):
    monkeypatch.setattr(kinds, "SAME_OUTPUT", 1e9)
    monkeypatch.setattr(kinds, "SAME_LOSS", 1e9)
    true = kinds.distinct

    def wrong(objective, found):
        return true(objective, found | {"index": 0 * found["index"]})

    monkeypatch.setattr(kinds, "distinct", wrong)
    assert failed(searched()) == {"distinct points"}


def test_a_closed_form_of_another_matrix(monkeypatch):
    true = known_points.known_kinds

    def wrong(objective):
        found = true(objective)
        assert found is not None
        return replace(found, loss=found.loss + 1e-6)

    monkeypatch.setattr(known_points, "known_kinds", wrong)
    assert failed(searched()) == {"closed form"}


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_kinds_of_linear_nets_are_proven_whatever_the_size_of_the_data(size):
    """Where one layer is of the size of the targets and the other of 1, the Hessian has eigenvalues of 1 and size²."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(20, n, generator=generator, dtype=torch.float64) for n in (3, 2))
    module = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 2, bias=False)).double()
    objective = Objective(module, "mse", (x, size * y))
    listed = known_points.known_kinds(objective)
    assert listed is not None
    nothing = {"status": np.zeros(0)}
    for seed in range(4):
        assert critical_proofs.known_check(objective, listed, np.zeros(0), nothing, seed).passed
        other = replace(listed, index=listed.index + 1)
        assert not critical_proofs.known_check(objective, other, np.zeros(0), nothing, seed).passed


def test_a_correlation_of_numbers_instead_of_ranks(monkeypatch):
    monkeypatch.setattr(kinds, "ranks", lambda values: values)
    assert {"rank correlation"} <= failed(searched()) <= {"rank correlation", "rank correlation error"}


def test_a_correlation_of_few_or_equal_numbers_is_none():
    assert critical_proofs.correlation_check(np.zeros(2), np.zeros(2), float("nan")).passed
    assert np.isnan(kinds.rank_correlation(np.zeros(5), np.arange(5.0), 0)[0])
    value, error, (low, high) = kinds.rank_correlation(np.arange(30.0), np.arange(30.0) ** 3, 0)
    assert (value, low, high) == (pytest.approx(1.0), pytest.approx(1.0, abs=1e-3), pytest.approx(1.0))
    assert error == pytest.approx(0.0, abs=1e-12)


def on_the_path(*ks: float):
    one = torch.ones(1, 1, dtype=torch.float64)
    objective = landscape.Objective(toy_path(2.0), "mse", (one, one))
    points = [torch.tensor([k], dtype=torch.float64) for k in ks]
    return landscape.critical(objective, points, begin="points")


@pytest.mark.parametrize("ks", [(1.0, 4.0, 10.0), (0.2, 100.0)])
def test_the_path_to_infinity_has_no_critical_point(ks):
    found = on_the_path(*ks)
    assert set(found.end_status) == {"running-to-infinity"}
    assert failed(found) == set()
    assert (found.num_critical, found.outcome) == (0, "complete")
    k = np.array(ks)
    np.testing.assert_allclose(found.start_loss, (1 + k**-1.5) ** 2, rtol=1e-14)
    np.testing.assert_allclose(found.norm, found.growth * k, rtol=1e-12)
    np.testing.assert_allclose(found.loss, (1 + found.norm**-1.5) ** 2, rtol=1e-14)
    # dF/dk = −3k^(−5/2)(1 + k^(−3/2)).
    np.testing.assert_allclose(found.gradient_norm, 3 * found.norm**-2.5 * (1 + found.norm**-1.5), rtol=1e-9)
    np.testing.assert_allclose(found.exponent, -2.5, atol=1e-4)
    np.testing.assert_allclose(found.known_far_loss, (1 + found.known_norm**-1.5) ** 2, rtol=1e-14)
    figure = landscape.plot(found)
    (axes,) = figure.axes
    lines = {line.get_label().partition(",")[0]: line for line in axes.lines}
    np.testing.assert_array_equal(lines["start"].get_xdata(), found.start_norm)
    np.testing.assert_array_equal(lines["end"].get_ydata(), found.loss)
    np.testing.assert_array_equal(lines["closed form"].get_xdata(), found.known_norm)
    assert axes.get_xscale() == "log"


def test_what_is_said_of_ways_to_infinity(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ToyPath, "loss_far_out", staticmethod(lambda sizes: (1 + sizes**-1.5) ** 2 + 1e-9))
        assert failed(on_the_path(1.0, 3.0)) == {"loss far out"}
    with monkeypatch.context() as patch:
        size = far_out._fall_check
        patch.setattr(far_out, "_fall_check", lambda objective, a, b, *at: size(objective, b, a, *at))
        assert failed(on_the_path(1.0, 3.0)) == {"falls far out"}


def test_a_search_that_ends_says_nothing_of_infinity():
    found = searched()
    assert found.exponent is found.norm is found.known_norm is None


class OfOne(nn.Module):
    """Three outputs that are the first of a layer: equal, so that F is constant."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3, dtype=torch.float64)

    def forward(self, x):
        return self.layer(x)[:, :1].expand(-1, 3)


@pytest.mark.parametrize(("norm", "wrong"), [(0.0, set()), (1e-11, {"gradient norm of a start"})])
def test_what_cancels_between_outputs_is_no_gradient(norm, wrong):
    x = torch.randn(24, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.manual_seed(0)
    objective = Objective(OfOne(), "cross_entropy", (x, torch.arange(24) % 3))
    assert float(objective.gradient(objective.theta).norm()) > 0
    found = {
        "theta": objective.theta[None].numpy(),
        "loss": np.array([objective.value(objective.theta)]),
        "gradient_norm": np.array([norm]),
        "status": np.array([seeking.CRITICAL]),
        "index": np.zeros(1),
        "nullity": np.full(1, 9.0),
        "zero_threshold": np.array([1e-14]),
        "growth": np.ones(1),
        "noise": np.zeros(1),
    }
    proofs = critical_proofs.start_checks(objective, objective.theta[None], found, np.zeros(1), 0)
    assert {one.name for one in proofs if not one.passed} == wrong


def test_the_gradient_of_a_loss_that_is_next_to_nothing_is_known_to_the_terms_that_cancel_in_it():
    """Where F runs to 0 at infinity, σ(z) − 1 is a few ε, whatever there is left of F and H."""
    torch.manual_seed(2)
    module = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    x = torch.randn(15, 2, dtype=torch.float64)
    objective = Objective(module, "bce", (x, (torch.sin(2 * x[:, :1]) > 0).double()))
    result = landscape.critical(objective, starts=4, seed=2, method="newton", descend=150, max_steps=60)
    assert result.loss.min() < 1e-15
    assert not [check.name for check in result.checks if not check.passed]
