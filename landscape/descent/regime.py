"""How to train, as it was asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from landscape.descent.stated_kicks import KICKS
from landscape.errors import BadInput
from landscape.numerics.steps.kicks import Kicks
from landscape.numerics.steps.sampling import Sampler

# What is not asked for: the default of train.
USUAL_BATCH = 128


@dataclass(frozen=True, kw_only=True)
class Regime:
    """How to train; see :func:`landscape.analyses.train.train`. Raises BadInput for options that exclude each other."""

    method: str
    batch_size: int
    sampling: str
    epochs: float | None
    steps: int | None
    lr: float
    optimizer: str
    momentum: float
    nesterov: bool
    weight_decay: float
    schedule: str
    schedule_arguments: Mapping[str, Any] = field(default_factory=dict)
    measure_every: int | None
    checkpoint_every: int | None
    seed: int
    noise: str = "none"
    amplitude: float | None = None

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            seen = "neither epochs nor steps" if self.epochs is None else "both epochs and steps"
            raise BadInput(f"{seen} given", "one of them")
        if self.method == "sgd" and self.batch_size not in (1, USUAL_BATCH):
            raise BadInput(
                f"`batch_size` {self.batch_size} with `method` sgd, which takes one sample a step",
                "`method` minibatch",
                "give that, or leave `batch_size` away",
            )
        if self.nesterov and self.momentum == 0:
            raise BadInput("Nesterov's method without momentum", "a momentum above 0")
        if self.optimizer != "sgd" and self.momentum:
            raise BadInput(f"momentum with {self.optimizer}", "momentum only where `optimizer` is sgd")
        if (self.noise == "none") != (self.amplitude is None):
            is_given = self.amplitude is not None
            raise BadInput(
                f"an `amplitude` of {self.amplitude:g} without `noise`"
                if is_given
                else f"`noise` {self.noise}",
                "a `noise`, sphere, ball or gaussian" if is_given else "its `amplitude`",
            )

    def kicks(self, dimension: int) -> Kicks | None:
        """What is added to the gradient (d,) of every step, over ``amplitude``; None where there is no noise."""
        return None if self.noise == "none" else Kicks(self.noise, dimension, (self.seed, KICKS))

    def sampler(self, num_samples: int) -> Sampler:
        """The batches of a training set of so many samples."""
        size = {"gd": num_samples, "minibatch": self.batch_size, "sgd": 1}[self.method]
        return Sampler(self.sampling, num_samples, size, self.seed)

    def require_one_pass(self) -> None:
        """BadInput where a pass does not take the samples as they come, batch after batch."""
        seen = "data that are read anew at every pass"
        if self.method == "gd":
            raise BadInput(
                f"`method` gd of {seen}", "mini-batches", "take `method` = minibatch, `sampling` = ordered"
            )
        if self.sampling != "ordered":
            raise BadInput(
                f"`sampling` {self.sampling} of {seen}",
                "samples in the order in which they come",
                "take `sampling` = ordered; what is sorted, by classes say, is better shuffled once where it lies",
            )
