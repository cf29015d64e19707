"""How many threads: one for small nets, else as many as a measurement finds faster."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import torch
from torch import Tensor

from landscape import distributed
from landscape.objective.objective import Objective

# Numbers that pass from layer to layer in one evaluation. Below this the work of a thread is smaller
# than waking it, and on busy cores a second thread has been seen ten times slower.
SMALL_ACTIVATIONS = 2**20
# Parameters times samples, over all replicas of a stack.
SMALL_STACK = 2**20
ROUNDS = 3
# A second thread must earn its core.
GAIN = 1.2


def best_number(objective: Objective) -> int:
    """1, or torch's own number where full gradients run at least 1.2 times faster with it.

    Small objectives are not measured, so their runs use the same number, and so give the same bits,
    every time. Leaves torch's setting as it was.
    """
    # As the first of several processes sees it, for all of them sum the gradients that are timed.
    most = distributed.from_first(torch.get_num_threads)
    if objective.device.type != "cpu" or most == 1 or objective.activations < SMALL_ACTIVATIONS:
        return 1
    theta, fixed = objective.theta, objective.present_point().fixed
    number = faster(lambda: objective.value_and_gradient(theta, fixed), most)
    return distributed.from_first(lambda: number)


def for_stack(objective: Objective, num_replicas: int, step: Callable[[], object], most: int) -> int:
    """1, or ``most`` where ``step``, a gradient of all replicas, runs at least 1.2 times faster with it."""
    size = num_replicas * objective.num_parameters * objective.num_samples
    if objective.device.type != "cpu" or most == 1 or size < SMALL_STACK:
        return 1
    return faster(step, most)


def for_batches(gradients: Callable[[Tensor, Tensor], object], thetas: Tensor) -> int:
    """1, or torch's own number where gradients of one sample at each of ``thetas`` (R, d) run faster with it.

    Steps of stochastic methods are small even where a full gradient is large: for 380 nets of 2200 parameters a
    second thread made them two to four times slower on busy cores.
    """
    most = torch.get_num_threads()
    if thetas.device.type != "cpu" or most == 1 or thetas.numel() < SMALL_STACK:
        return 1
    first = torch.zeros(len(thetas), 1, dtype=torch.int64)
    return faster(lambda: gradients(thetas, first), most)


def faster(work: Callable[[], object], most: int) -> int:
    """1, or ``most`` where ``work`` runs at least 1.2 times faster with it."""
    seconds: dict[int, list[float]] = {1: [], most: []}
    for _ in range(ROUNDS):
        for number, found in seconds.items():
            with using(number):
                start = time.perf_counter()
                work()
                found.append(time.perf_counter() - start)
    return most if median(seconds[1]) > GAIN * median(seconds[most]) else 1


@contextmanager
def using(number: int) -> Iterator[None]:
    """torch at work with so many threads; afterwards as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
