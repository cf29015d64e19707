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
