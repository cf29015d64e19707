"""Where a training is measured that was not told: so seldom that measuring takes a tenth of its time at most."""

import math

from landscape.descent.regime import Regime
from landscape.objective.batching import BATCHED_ACTIVATIONS
from landscape.objective.objective import Objective

# A share of the time of the steps for measuring, and so many activations anyhow: two hundredths of a second.
PART, FEW_ACTIVATIONS = 0.1, 2**21
# Points of a curve that nobody tells apart from more.
MOST = 200


def measuring_period(regime: Regime, objective: Objective, test: Objective | None, total: int) -> int:
    """After how many steps F, the accuracy and ∇F are measured again, in a run of ``total``; besides, first and last.

    What was asked for, or whole passes: as many as leave measuring a tenth of the time of the steps, by sizes and not
    by timings, as a resumed run measures at the same places. They fall on the points that are kept, where they can.
    """
    per_pass = regime.sampler(objective.num_samples).batches_per_pass
    unit = per_pass if regime.steps is None else 1
    if regime.measure_every:
        return regime.measure_every * unit
    size = -(-objective.num_samples // per_pass)
    steps = total * _cost(objective, size, size)
    once = _cost(objective, objective.num_samples, objective.derivative_chunk())
    if test is not None:
        once += _cost(test, test.num_samples, test.chunk_size) / 3
    most = max(2, math.floor(PART * steps / once), math.floor(FEW_ACTIVATIONS / once))
    wanted = max(1, -(-total // min(MOST, most - 1)))
    period = per_pass * -(-wanted // per_pass)
    kept = (regime.checkpoint_every or 0) * unit
    if not kept:
        return period
    if period > kept:
        return kept * -(-period // kept)
    return next(count for count in range(period, kept + 1) if kept % count == 0)


def _cost(objective: Objective, num_samples: int, chunk: int) -> float:
    """Of a gradient, in activations; a call counts as much as those that take as long as its overhead."""
    calls = -(-num_samples // chunk)
    return calls * BATCHED_ACTIVATIONS + num_samples * objective.activations / objective.num_samples
