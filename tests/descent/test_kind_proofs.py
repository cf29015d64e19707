"""Errors of a rank correlation by another road: the bootstrap of right ones passes, of others it does not."""

import numpy as np
import pytest

from landscape.descent.kind_proofs import bootstrap_check
from landscape.descent.kinds import rank_correlation
from landscape.descent.seeking import CRITICAL


def stated(seed: int) -> dict:
    draws = np.random.default_rng(7)
    index, loss = draws.integers(0, 6, 12).astype(float), draws.standard_normal(12)
    value, error, interval = rank_correlation(index / 9, loss, seed)
    return {
        "end_status": np.array([CRITICAL] * 12),
        "index": index,
        "loss": loss,
        "num_parameters": 9,
        "rank_correlation": value,
        "rank_correlation_error": error,
        "rank_correlation_interval": np.array(interval),
    }


@pytest.mark.parametrize("seed", range(3))
def test_a_right_bootstrap_passes(seed):
    assert bootstrap_check(stated(seed), seed).passed


@pytest.mark.parametrize("field", ["rank_correlation_error", "rank_correlation_interval"])
def test_an_error_of_other_draws_is_seen(field):
    found = stated(0)
    assert not bootstrap_check({**found, field: found[field] * 1.001}, 0).passed


@pytest.mark.parametrize(
    ("count", "correlation"),
    [(3, 0.0), (5, 0.0), (6, 0.95), (8, 0.99), (30, 0.8)],
)
def test_the_interval_holds_the_truth_of_few_rows_too(count, correlation, monkeypatch):
    """By the bootstrap alone 63, 90, 79, 81 and 97 times in 100."""
    monkeypatch.setattr("landscape.descent.kinds.RESAMPLES", 100)
    generator, held = np.random.default_rng(count), 0
    truth = 6 / np.pi * np.arcsin(correlation / 2)
    for seed in range(60):
        one, other = generator.standard_normal((2, count))
        _, _, (low, high) = rank_correlation(
            one, correlation * one + (1 - correlation**2) ** 0.5 * other, seed
        )
        held += low <= truth <= high
    assert held >= 54


@pytest.mark.parametrize("rows", [4, 5, 12])
def test_rows_in_one_order_pass_and_are_not_certain(rows):
    value, error, interval = rank_correlation(np.arange(rows) / 20, np.arange(rows) ** 2.0, 0)
    found = {
        "end_status": np.array([CRITICAL] * rows),
        "index": np.arange(rows),
        "loss": np.arange(rows) ** 2.0,
        "num_parameters": 20,
        "rank_correlation": value,
        "rank_correlation_error": error,
        "rank_correlation_interval": np.array(interval),
    }
    assert value == pytest.approx(1.0)
    assert interval[0] < 0.999
    assert bootstrap_check(found, 0).passed
