"""Every check of critical points is seen to fail: what it proves is broken, and it alone says so."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import landscape
from landscape import Objective
from landscape.analyses.critical import Critical
from landscape.descent import critical_proofs, kinds, known_points, seeking
from landscape.inputs.models.spin import spin

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


@pytest.mark.parametrize(
    ("name", "change", "seen"),
    [
        ("loss", lambda one: one + 1e-3, {"loss of a start", "closed form"}),
        ("gradient_norm", lambda one: one + 1e-6, {"gradient norm of a start"}),
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
    assert seen <= failed(searched()) <= seen | {"closed form", "rank correlation", "distinct points"}


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


def test_a_correlation_of_numbers_instead_of_ranks(monkeypatch):
    monkeypatch.setattr(kinds, "ranks", lambda values: values)
    assert failed(searched()) == {"rank correlation"}


def test_a_correlation_of_few_or_equal_numbers_is_none():
    assert critical_proofs.correlation_check(np.zeros(2), np.zeros(2), float("nan")).passed
    assert np.isnan(kinds.rank_correlation(np.zeros(5), np.arange(5.0), 0)[0])
    value, error, (low, high) = kinds.rank_correlation(np.arange(30.0), np.arange(30.0) ** 3, 0)
    assert (value, low, high) == (pytest.approx(1.0), pytest.approx(1.0), pytest.approx(1.0))
    assert error == pytest.approx(0.0, abs=1e-12)
