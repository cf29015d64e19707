"""Slopes of ReLU-like units multiplied by noise that is drawn once, a number for each sample and unit."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import BadInput

# φ(cz) = cφ(z) for c > 0: to multiply what they give is to multiply their slopes.
UNITS = (nn.ReLU, nn.LeakyReLU, nn.PReLU)
# So that the noise is not what the parameters were drawn from.
STREAM = 0x5EED


class SlopeNoise(nn.Module):
    """h(x, i): ``base``, but of sample i the slope of unit h is multiplied by ε_ih (Soudry and Carmon 2016).

    Takes inputs (b, …) and the numbers (b,) of these samples among the ``num_samples`` for which noise was drawn:
    independent and Gaussian with ``mean`` and ``deviation``, or ``values``, sample after sample. It is a buffer, the
    same in every call, drawn in float64; a sample that it was not drawn for has none. Every layer of ReLU, leaky ReLU
    or PReLU units that ``base`` calls is multiplied, whatever lies between. Raises BadInput where there is none, for
    ``values`` of another number, and for a deviation that is not positive.
    """

    def __init__(
        self,
        base: nn.Module,
        input_shape: Sequence[int],
        num_samples: int,
        seed: int = 0,
        mean: float = 0.0,
        deviation: float = 1.0,
        values: Sequence[float] | None = None,
    ):
        super().__init__()
        self.base = base
        self.is_gaussian = values is None
        if not (math.isfinite(mean) and 0 < deviation < math.inf):
            raise BadInput(f"noise of mean {mean!r} and deviation {deviation!r}", "a positive deviation")
        shapes = self._shapes(input_shape)
        if not shapes:
            raise BadInput(
                f"{type(base).__name__} for `modify` noise",
                "layers nn.ReLU, nn.LeakyReLU or nn.PReLU, whose slopes are multiplied",
            )
        self.num_layers = len(shapes)
        if values is None:
            generator = torch.Generator().manual_seed(seed ^ STREAM)
            for number, shape in enumerate(shapes):
                drawn = torch.randn(num_samples, *shape, generator=generator, dtype=torch.float64)
                self.register_buffer(f"noise{number}", mean + deviation * drawn)
            return
        sizes = [num_samples * math.prod(shape) for shape in shapes]
        if len(values) != sum(sizes):
            raise BadInput(
                f"{len(values)} values of noise for {num_samples} samples of {sum(map(math.prod, shapes))} units",
                f"{sum(sizes)} numbers, sample after sample",
            )
        parts = torch.tensor(values, dtype=torch.float64).split(sizes)
        for number, (shape, part) in enumerate(zip(shapes, parts, strict=True)):
            self.register_buffer(f"noise{number}", part.reshape(num_samples, *shape).clone())

    def forward(self, inputs: Tensor, sample: Tensor) -> Tensor:
        def multiplied(number: int, made: Tensor) -> Tensor:
            return made * self.get_buffer(f"noise{number}")[sample].to(made.dtype)

        with self._hooked(multiplied):
            return self.base(inputs)

    @contextmanager
    def _hooked(self, change: Callable[[int, Tensor], Tensor]) -> Iterator[None]:
        """Inside, what the k-th call of a ReLU-like layer gives is ``change(k, …)`` of it."""
        count = 0

        def hook(module: nn.Module, arguments: Any, made: Tensor) -> Tensor:
            nonlocal count
            count += 1
            return change(count - 1, made)

        handles = [one.register_forward_hook(hook) for one in self.base.modules() if isinstance(one, UNITS)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _shapes(self, input_shape: Sequence[int]) -> list[tuple[int, ...]]:
        """What each call of a ReLU-like layer gives for one sample."""
        found: list[tuple[int, ...]] = []

        def seen(number: int, made: Tensor) -> Tensor:
            found.append(tuple(made.shape[1:]))
            return made

        was_training = self.base.training
        own = next(self.base.parameters(), torch.zeros(()))
        try:
            # Two samples, as batch norm of one is none; in eval mode, which keeps its statistics.
            with torch.no_grad(), self._hooked(seen):
                self.base.eval()(torch.zeros(2, *input_shape, dtype=own.dtype))
        finally:
            self.base.train(was_training)
        return found
