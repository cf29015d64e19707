"""The batches of every step as they are meant, without a sampler: what takes steps again draws them this way."""

from collections.abc import Sequence

import torch
from torch import Tensor


def batches(
    rule: str | None, num_samples: int, size: int, seed: int, steps: Sequence[int]
) -> dict[int, Tensor]:
    """The samples of each of ``steps``, from 0, drawn from ``seed`` in the order of all steps.

    Without a rule: all samples, every time. A pass is a permutation of all samples cut into batches of ``size``, the
    last one shorter: the same for every pass (``cycle``), another (``reshuffle``) or none (``ordered``). Draws with
    replacement (``uniform``) come after one permutation that is not used.
    """
    if rule is None:
        return {step: torch.arange(num_samples) for step in steps}
    if rule == "ordered":
        places = {step: step % -(-num_samples // size) * size for step in steps}
        return {step: torch.arange(at, min(at + size, num_samples)) for step, at in places.items()}
    generator, size = torch.Generator().manual_seed(seed), min(size, num_samples)
    permutation = torch.randperm(num_samples, generator=generator)
    if rule == "uniform":
        draws = (torch.randint(num_samples, (size,), generator=generator) for _ in range(max(steps) + 1))
        return {step: rows for step, rows in enumerate(draws) if step in steps}
    per_pass, found = -(-num_samples // size), {}
    for number in range(max(steps) // per_pass + 1):
        if number and rule == "reshuffle":
            permutation = torch.randperm(num_samples, generator=generator)
        for place, rows in enumerate(permutation.split(size)):
            if number * per_pass + place in steps:
                found[number * per_pass + place] = rows
    return found
