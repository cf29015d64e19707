"""v ↦ H v by differences of the gradient, each product with the error that it shows of itself.

For modules and losses whose second derivative autograd has not, or has wrong.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from landscape.errors import BadInput, NotFinite
from landscape.numerics.pieces import Piece
from landscape.numerics.roughness import PLACES, roughness
from landscape.numerics.vectors import normal

# From one step to the next one tried: truncation changes 64 times, rounding 8 times.
FACTOR = 8.0
# The longest step over ‖θ‖; the first one is the cube root of the precision.
LONGEST = 1e-2
# An error of a product, relative to its length, below which no other step is tried.
ENOUGH = 1e-11


class Quotient(NamedTuple):
    """A difference quotient (d,), what it may be off by, and its step."""

    image: Tensor
    error: float
    step: float


class Differences:
    """v ↦ (∇F(θ + hv̂) − ∇F(θ − hv̂)) ‖v‖ / 2h + l2·v for vectors (d,), in place of a double backward.

    ``gradient`` is that of F without its penalty, summed in float64, and called at points in the dtype of ``theta``
    (d,), whose own rounding counts as the gradient's; ``precision``, by default that of ``theta``, is that of the
    coarsest dtype it is computed in. Images have ``dtype`` and lie on ``device``.

    A third gradient tells the ``error`` of each product, by the third difference Δ³ of ∇F over −h, 0, h and 2h:
    ‖Δ³‖/h is six times the truncation h²/6 ‖∇⁴F v̂v̂v̂‖, about six times the rounding σ/√2h, and twice or more what a
    kink crossed between −h and h leaves in the quotient. It counts as √20 σ/h at least, its mean for rounding alone,
    σ being the norm of the rounding of ∇F, from differences over a thousand units of rounding of θ (Moré and Wild
    2011). The step h is chosen once, along a random direction; shorter ones are tried where Δ³ is not rounding.

    ``largest_error`` is that of all products so far along a unit vector.

    A call raises BadInput for another shape, NotDifferentiable, and NotFinite naming a parameter.
    """

    # There are no graphs to keep.
    num_kept, kept_bytes = 0, 0

    def __init__(
        self,
        gradient: Callable[[Tensor], Tensor],
        theta: Tensor,
        *,
        l2: float,
        pieces: Sequence[Piece],
        num_chunks: int,
        dtype: torch.dtype,
        device: torch.device,
        precision: float | None = None,
    ):
        self._gradient, self._theta, self._l2 = gradient, theta.detach(), l2
        self._pieces, self.num_chunks = pieces, num_chunks
        self._dtype, self._device = dtype, device
        self._precision = precision or torch.finfo(theta.dtype).eps
        self._centre: Tensor | None = None
        self._step = self._rounding = 0.0
        self.error = self.largest_error = 0.0

    def __call__(self, v: Tensor) -> Tensor:
        theta = self._theta
        if v.shape != theta.shape:
            raise BadInput(f"a vector of shape {tuple(v.shape)}", f"{tuple(theta.shape)}")
        if self._centre is None:
            self._prepare()
        v = v.detach().to(theta.device, torch.float64)
        length = _norm(v)
        if length > 0:
            axis = v / length
            found = self._shortened(axis, self._tried(axis, self._step))
            del axis
        else:
            found = Quotient(torch.zeros_like(v), 0.0, 0.0)
        exact = found.image.mul_(length).add_(v, alpha=self._l2)
        result = exact.to(self._device, self._dtype)
        self.error = length * found.error
        if result.dtype != exact.dtype:
            self.error += _norm(result.to(exact) - exact)
        self.largest_error = max(self.largest_error, self.error / (length or 1.0))
        return result

    def _prepare(self) -> None:
        """∇F at θ, its rounding, and the step, by a direction of its own, the same in every process."""
        axis = normal(self._theta, torch.Generator().manual_seed(0))
        axis = axis.div_(_norm(axis)).to(self._theta.device)
        centre = self._centre = self._finite(self._gradient(self._theta), axis)
        size, precision = _norm(self._theta) or 1.0, self._precision
        others = (self._at(axis, step * precision * size) for step in PLACES[1:])
        self._rounding = max(roughness(chain([centre], others)), precision * _norm(centre))
        found = self._tried(axis, precision ** (1 / 3) * size)
        while found.error > ENOUGH * _norm(found.image) and FACTOR * found.step <= LONGEST * size:
            longer = self._tried(axis, FACTOR * found.step)
            if longer.error >= found.error:
                break
            found = longer
        self._step = self._shortened(axis, found).step

    def _shortened(self, axis: Tensor, found: Quotient) -> Quotient:
        """``found``, or a quotient of a shorter step, as long as rounding leaves room for a smaller error."""
        step = found.step / FACTOR
        while ENOUGH * _norm(found.image) < found.error and self._floor(step) < found.error:
            shorter = self._tried(axis, step)
            found = min(found, shorter, key=lambda one: one.error)
            step /= FACTOR
        return found

    def _tried(self, axis: Tensor, step: float) -> Quotient:
        assert self._centre is not None
        # Nothing but these holds what a gradient gives, and all else is done in its place: d may be large.
        before, after, beyond = (self._at(axis, times * step) for times in (-1, 1, 2))
        third = beyond.sub_(after, alpha=3).add_(self._centre, alpha=3).sub_(before)
        error = max(_norm(third) / step, self._floor(step))
        return Quotient(after.sub_(before).div_(2 * step), error, step)

    def _floor(self, step: float) -> float:
        return 20**0.5 * self._rounding / step

    def _at(self, axis: Tensor, step: float) -> Tensor:
        place = torch.add(self._theta, axis, alpha=step)
        return self._finite(self._gradient(place.to(self._theta.dtype)), axis)

    def _finite(self, slope: Tensor, axis: Tensor) -> Tensor:
        slope = slope.to(axis)
        if not bool(torch.isfinite(slope).all()):
            name = next(
                piece.name for piece in self._pieces if not bool(torch.isfinite(slope[piece.span]).all())
            )
            raise NotFinite(
                f"the product is not finite in {name}",
                "finite gradients beside the point",
                "is the loss finite at this point?",
            )
        return slope


def _norm(vector: Tensor) -> float:
    return float(torch.linalg.vector_norm(vector))
