"""Is F by chunks that of one call on all samples? Asked of all the data where one call takes little.

What some samples were seen to mean, see :mod:`landscape.objective.meaning`, may be another thing where something rare
comes together: a sum over the number of positives, one at least, is a sum as long as there is one of them.
"""

from typing import Any

import torch

from landscape import distributed
from landscape.errors import LandscapeError
from landscape.objective import meaning, trees
from landscape.objective.hosted import on_host_first
from landscape.objective.losses import Loss
from landscape.objective.samples import Samples, coarsest
from landscape.objective.trial import Trial, callable_of

# Parts, and from how many samples on they are tried: two evaluations of F.
PARTS, LEAST = 4, 256
# Activations of all up to which they are one call: for a built-in loss, of which the module alone may make another.
MOST, MOST_OF_BUILT_IN = 2**24, 2**22
# Up to where two sums of the same losses are one.
SAME = {torch.float64: 1e-7, torch.float32: 1e-3}


def is_sum_of_parts(
    trial: Trial, given: Any, samples: Samples, loss: Loss, divisor: float, activations: int
) -> bool:
    """Whether one call on all ``samples`` gives what ``loss`` of their parts adds to, over ``divisor``.

    True where nothing can be said: where these are many, in other processes or on disk, or F is not finite.
    """
    is_here = samples.head.count == samples.count and samples.is_even and distributed.num_processes() == 1
    most = MOST_OF_BUILT_IN if loss is given else MOST
    if not is_here or samples.count <= LEAST or samples.count * activations > most:
        return True
    try:
        with trial.passed(None) as (outputs, targets):
            function = loss
            if loss is not given:
                function = on_host_first(callable_of(given, outputs), trial.subject.device)
                function = meaning.whole(function, samples.count)
            dtypes = [one.dtype for one in trees.tensors(outputs) if one.is_floating_point()]
            together = float(function.total(outputs, targets).detach())
        totals: list[float] = []
        for rows in torch.arange(samples.count).chunk(PARTS):
            with trial.passed(rows) as (outputs, targets):
                totals.append(float(loss.total(outputs, targets).detach()) / divisor)
    except (LandscapeError, RuntimeError, ValueError, IndexError):
        return True
    tolerance = SAME.get(coarsest((trial.subject.dtype, *dtypes)), 5e-2)
    together /= divisor if loss is given else 1.0
    return not abs(sum(totals) - together) > tolerance * max(abs(together), sum(map(abs, totals)))
