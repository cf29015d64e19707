"""The shared list of meanings in several processes: F, its slope and a product of each, as one process finds them."""

import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from meanings import MEANINGS, draw
from torch.nn.utils import parameters_to_vector

from landscape import Objective, distributed
from landscape.objective import checks


def found() -> dict[str, np.ndarray]:
    """F, ∇F and Hv, away from where the module stands, and the checks that failed."""
    torch.set_num_threads(1)
    answers: dict[str, np.ndarray] = {}
    for name, make in MEANINGS.items():
        meaning = make()
        start = parameters_to_vector(p for p in meaning.module.parameters() if p.requires_grad).detach()
        theta = start + 0.1 * draw(len(start), seed=21)
        objective = Objective(meaning.module, meaning.loss, meaning.data, chunk_size=7)
        value, slope = objective.value_and_gradient(theta)
        proofs = checks.meaning(objective, objective.as_point(theta))
        answers[f"{name}: value"] = np.array(value)
        answers[f"{name}: slope"] = slope.numpy()
        answers[f"{name}: product"] = objective.hvp(theta, draw(len(start), seed=22)).numpy()
        answers[f"{name}: failed"] = np.array(str([one.name for one in proofs if not one.passed]))
    return answers


if __name__ == "__main__":
    distributed.start("cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.savez(Path(sys.argv[1]) / f"{distributed.rank()}.npz", **found())
    distributed.stop()
