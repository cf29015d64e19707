"""The order in which stochastic gradient methods see the samples."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from landscape.choices import TrainingSampling
from landscape.errors import BadInput

KEPT = "global "
SAMPLINGS = get_args(TrainingSampling)


class Sampler:
    """Mini-batches of indices by one of four rules, with a state that can be saved and restored.

    ``uniform`` draws with replacement (what the theorems assume), ``cycle`` shuffles once and goes
    round, ``reshuffle`` shuffles before each pass, ``ordered`` leaves them
    as they come. The last batch of a pass may be short, so that every
    pass sees each sample once.
    """

    def __init__(self, rule: str, num_samples: int, batch_size: int, seed: int):
        if rule not in SAMPLINGS:
            raise BadInput(f"unknown sampling {rule!r}", f"one of {', '.join(SAMPLINGS)}")
        self.rule, self.num_samples, self.batch_size = rule, num_samples, min(batch_size, num_samples)
        self._generator = torch.Generator().manual_seed(seed)
        self._order: Tensor | None = None
        if rule != "ordered":
            self._order = torch.randperm(num_samples, generator=self._generator)
        self._position = 0

    @property
    def batches_per_pass(self) -> int:
        return -(-self.num_samples // self.batch_size)

    def next(self) -> Tensor:
        """The indices of the next batch."""
        if self.rule == "uniform":
            return torch.randint(self.num_samples, (self.batch_size,), generator=self._generator)
        if self._position >= self.num_samples:
            self._position = 0
            if self.rule == "reshuffle":
                self._order = torch.randperm(self.num_samples, generator=self._generator)
        start, end = self._position, min(self._position + self.batch_size, self.num_samples)
        self._position += self.batch_size
        return torch.arange(start, end) if self._order is None else self._order[start:end]

    def several(self, count: int) -> list[Tensor]:
        """The indices of the next ``count`` batches: those that as many calls of :meth:`next` give."""
        if self.rule == "uniform":
            # The generator fills in this order, so one call draws what many would, in less time.
            shape = (count, self.batch_size)
            return list(torch.randint(self.num_samples, shape, generator=self._generator))
        return [self.next() for _ in range(count)]

    def state(self) -> dict[str, Tensor]:
        found = {"generator": self._generator.get_state(), "position": torch.tensor(self._position)}
        # Drawing with replacement knows no order, which would be most of what hundreds of replicas save.
        return found if self.rule == "uniform" or self._order is None else found | {"order": self._order}

    def restore(self, state: dict[str, Tensor]) -> None:
        self._generator.set_state(state["generator"])
        self._order, self._position = state.get("order", self._order), int(state["position"])


@contextmanager
def isolated_rng(seed: int, device: torch.device) -> Iterator[None]:
    """Global generators seeded inside (dropout knows no other) and put back as they were outside."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        # torch.manual_seed would reseed every accelerator there is, which the fork does not cover.
        torch.default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def rng_state(device: torch.device) -> dict[str, Tensor]:
    """The state of the global generators that dropout on ``device`` draws from."""
    state = {"rng": torch.get_rng_state()}
    if device.type == "cuda":
        state["rng_cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_rng(state: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["rng"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["rng_cuda"], device)


def kept_rng(device: torch.device) -> dict[str, np.ndarray]:
    """:func:`rng_state` as arrays for a journal, among whose other keys :func:`restore_kept_rng` finds them."""
    return {f"{KEPT}{name}": one.cpu().numpy().copy() for name, one in rng_state(device).items()}


def restore_kept_rng(piece: Mapping[str, Any], device: torch.device) -> None:
    kept = {name: np.array(value) for name, value in piece.items() if name.startswith(KEPT)}
    restore_rng({name.removeprefix(KEPT): torch.from_numpy(value) for name, value in kept.items()}, device)


def seed_of_draw(seed: int, number: int) -> int:
    """The seed of draw ``number`` < 10⁶ of ``seed``, which no seed beside it shares: 0 and 1 are independent."""
    return (seed * 1_000_003 + number) % 2**63
