"""How many threads: one for small nets, else as many as a measurement finds faster."""

import time
from statistics import median

import torch

from landscape.objective import Objective

# Numbers that pass from layer to layer in one evaluation. Below this the work of a thread is smaller
# than waking it, and on busy cores a second thread has been seen ten times slower.
SMALL_ACTIVATIONS = 2**20
ROUNDS = 3
# A second thread must earn its core.
GAIN = 1.2


def best_number(objective: Objective) -> int:
    """1, or torch's own number where full gradients run at least 1.2 times faster with it.

    Small objectives are not measured, so their runs use the same number, and so give the same bits,
    every time. Leaves torch's setting as it was.
    """
    most = torch.get_num_threads()
    if objective.device.type != "cpu" or most == 1 or objective.activations < SMALL_ACTIVATIONS:
        return 1
    theta, fixed = objective.theta, objective.present_point().fixed
    seconds: dict[int, list[float]] = {1: [], most: []}
    try:
        for _ in range(ROUNDS):
            for number, found in seconds.items():
                torch.set_num_threads(number)
                start = time.perf_counter()
                objective.value_and_gradient(theta, fixed)
                found.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(most)
    return most if median(seconds[1]) > GAIN * median(seconds[most]) else 1
