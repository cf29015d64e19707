"""What a stack lets be seen of itself: where some of its replicas stood, so that the steps between are taken again."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.arrays import array_of
from landscape.numerics.steps.replicas import NEVER, Plan, Replicas

# Steps between the two points of a replica that are kept, and how many replicas of each size of batch.
STEPS, REPLICAS = 2, 2
KEPT = "seen "
NOBODY = -1


class Seen(NamedTuple):
    """Replicas by their number (w,), the steps (w,) they stood at, and their points (w, 2, d) there and STEPS later."""

    replicas: np.ndarray
    first: np.ndarray
    length: np.ndarray
    thetas: np.ndarray


class Witness:
    """Of each size of batch two replicas, looked at before and after a few steps: who and when, the seed says.

    ``watched(i)`` are steps before which replica i may be looked at first; None: any. Only steps that are taken
    for certain count: those before a plateau or a stop rule sets in. One that has diverged by then is replaced by
    another with batches of its size.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        theta: Tensor,
        seed: Sequence[int],
        watched: Callable[[int], np.ndarray] | None = None,
    ):
        self._sizes = np.array([plan.sampler.batch_size if plan.sampler else 0 for plan in plans])
        generator = np.random.default_rng(seed)
        chosen: list[tuple[int, int, int]] = []
        for size in np.unique(self._sizes):
            members = np.flatnonzero(self._sizes == size)
            certain = min(_certain(plans[i]) for i in members.tolist())
            length = min(STEPS, certain)
            for who in generator.permutation(members)[:REPLICAS].tolist():
                steps = np.arange(certain) if watched is None else watched(who)
                steps = steps[steps <= certain - length]
                late = steps[steps > 0]
                if length and len(steps):
                    chosen.append((who, int(generator.choice(late if len(late) else steps)), length))
        self._who, self._first, self._length = np.array(chosen, dtype=np.int64).reshape(-1, 3).T.copy()
        self._is_begun = np.zeros(len(chosen), dtype=bool)
        self._is_ended = np.zeros(len(chosen), dtype=bool)
        self._thetas = torch.zeros((len(chosen), 2, len(theta)), dtype=theta.dtype)

    @property
    def who(self) -> np.ndarray:
        """The replicas chosen."""
        return self._who

    def next_look(self, step: int) -> int:
        """The first step after ``step`` at which something is to be seen."""
        steps = np.concatenate([self._first, self._first + self._length])
        return int(min(steps[steps > step], default=NEVER))

    def look(self, replicas: Replicas) -> None:
        """Keep what is to be seen at the step at hand."""
        is_due = (self._first == replicas.step) & (self._who != NOBODY)
        for k in np.flatnonzero(is_due & ~self._is_begun).tolist():
            alike = [i for i in replicas.active if self._sizes[i] == self._sizes[self._who[k]]]
            if self._who[k] not in alike:
                self._who[k] = alike[0] if alike else NOBODY
            if self._who[k] != NOBODY:
                self._keep(replicas, k, 0)
                self._is_begun[k] = True
        is_due = self._first + self._length == replicas.step
        for k in np.flatnonzero(is_due & self._is_begun & ~self._is_ended).tolist():
            self._keep(replicas, k, 1)
            self._is_ended[k] = True

    def found(self, replicas: Replicas, begin: int) -> dict[str, np.ndarray]:
        """A :class:`Seen` as arrays, of a stack that has ended and whose first replica has the number ``begin``."""
        for k in np.flatnonzero(self._is_begun & ~self._is_ended).tolist():
            # It diverged meanwhile, and the stack went no further.
            self._keep(replicas, k, 1)
        kept = self._is_begun
        seen = Seen(
            self._who[kept] + begin, self._first[kept], self._length[kept], array_of(self._thetas)[kept]
        )
        return {f"{KEPT}{name}": value.copy() for name, value in seen._asdict().items()}

    def state(self) -> dict[str, Any]:
        """What a stack that goes on needs to know."""
        about = {"who": self._who, "begun": self._is_begun, "ended": self._is_ended}
        return {
            f"{KEPT}{name}": one.copy() for name, one in (about | {"points": array_of(self._thetas)}).items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._who = np.array(state[f"{KEPT}who"])
        self._is_begun, self._is_ended = (np.array(state[f"{KEPT}{name}"]) for name in ("begun", "ended"))
        self._thetas = torch.from_numpy(np.array(state[f"{KEPT}points"])).to(self._thetas.dtype)

    def _keep(self, replicas: Replicas, k: int, which: int) -> None:
        self._thetas[k, which] = replicas.thetas[int(self._who[k])].cpu()


def seen_of(found: Sequence[Mapping[str, Any]]) -> Seen:
    """What was seen of several stacks."""
    return Seen(*(np.concatenate([one[f"{KEPT}{name}"] for one in found]) for name in Seen._fields))


def _certain(plan: Plan) -> int:
    """The steps that a plan takes at sizes known beforehand, whatever the loss does."""
    if plan.schedule != "plateau" and plan.patience is None:
        return plan.num_steps
    return min(plan.num_steps, max(1, plan.begin))
