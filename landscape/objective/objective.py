"""The objective F(θ): a module, a loss and a data set folded into one function of a vector.

Sums over samples run in float64 whatever the compute dtype.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape import distributed
from landscape.errors import BadInput
from landscape.numerics.pieces import Piece
from landscape.objective import batchnorm, chunking
from landscape.objective.batching import batched
from landscape.objective.derivatives import derivative, second_derivative
from landscape.objective.fit import FEW, fit
from landscape.objective.losses import Loss, named_loss
from landscape.objective.parameters import chosen, split
from landscape.objective.parametrised import Fixed, Parametrised
from landscape.objective.products import Part, Product
from landscape.objective.samples import Chunk, Samples, check_cuts, checked_data

# Below this many activations per evaluation the overhead of a forward pass costs more than its arithmetic.
BATCHED_ACTIVATIONS = 2**15
BATCH_ACTIVATIONS = 2**20


class Measurement(NamedTuple):
    """Loss and, where the loss knows it, the fraction of samples classified right (else NaN)."""

    loss: float
    accuracy: float


class Objective(Parametrised):
    """F(θ) = (1/n) Σᵢ ℓ(yᵢ, h(xᵢ; θ)) + (l2/2)‖θ‖² over the whole data set, in eval mode, fixed order.

    ``module`` maps inputs to outputs; ``loss`` is a name, a callable of (outputs, targets) or a
    :class:`~landscape.objective.losses.Loss`; ``data`` is (inputs, targets) with n samples along axis 0 (inputs
    may be a tuple of tensors), or :class:`~landscape.objective.samples.Samples`. ``chunk_size`` is the number of
    samples at a time: it bounds memory and never moves the value beyond rounding. θ has shape (d,), see
    :func:`~landscape.objective.parameters.layout`; ``pieces`` are some of these, the other parameters fixed.

    Raises BadInput for empty data, NaN in the data, targets out of range, or a module that does not
    take the data.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: str | nn.Module | Callable[..., Tensor] | Loss,
        data: tuple[Any, Tensor] | Samples,
        *,
        dtype: torch.dtype | None = None,
        device: str | torch.device | None = None,
        chunk_size: int | None = None,
        l2: float = 0.0,
        pieces: Sequence[Piece] | None = None,
    ):
        if chunk_size is not None and chunk_size < 1:
            raise BadInput(f"chunk size {chunk_size}", "at least one sample")
        super().__init__(module, dtype=dtype, device=device, pieces=pieces)
        self.l2, self._chunk_size = l2, chunk_size
        inputs, targets = data if isinstance(data, Samples) else checked_data(data)
        *few, few_targets = (self._converted(part[:FEW]) for part in (*inputs, targets))
        self._fit = fit(self._module, named_loss(loss), tuple(few), few_targets, targets)
        self.loss = self._fit.loss
        samples = data if isinstance(data, Samples) else Samples.shared(inputs, targets)
        self.num_samples = samples.count
        mixes_samples = self._fit.mixes_samples
        check_cuts(self.num_samples, chunk_size, distributed.num_processes(), mixes_samples=mixes_samples)
        self.samples = samples.to(self.device, self.dtype)
        self._may_batch = distributed.num_processes() == 1

    # --- what it is -------------------------------------------------------------------------

    @property
    def chunk_size(self) -> int:
        """Samples at a time."""
        if self._fit.mixes_samples:
            return self.num_samples
        if self._chunk_size is not None:
            return min(self._chunk_size, self.num_samples)
        return min(self.num_samples, chunking.for_values(self._fit.activations_per_sample, self.device.type))

    def derivative_chunk(self, memory_limit: float = math.inf) -> int:
        """Samples at a time in a derivative, unless a chunk size was asked for."""
        if self._fit.mixes_samples or self._chunk_size is not None:
            return self.chunk_size
        per_sample, number_bytes = self._fit.activations_per_sample, torch.finfo(self.dtype).bits // 8
        size = chunking.for_derivatives(per_sample, self.device.type, memory_limit, number_bytes)
        return min(size, self.num_samples)

    @property
    def activations(self) -> int:
        """Numbers that one evaluation over this process's data passes from layer to layer."""
        return self._fit.activations_per_sample * max(1, self.samples.count_here)

    def on(self, data: tuple[Any, Tensor] | Samples) -> "Objective":
        """The same function of θ on other data, for example the test set."""
        return self.varied(data=data)

    def varied(
        self,
        *,
        module: nn.Module | None = None,
        data: tuple[Any, Tensor] | Samples | None = None,
        dtype: torch.dtype | None = None,
        device: str | torch.device | None = None,
        l2: float | None = None,
        pieces: Sequence[Piece] | None = None,
    ) -> "Objective":
        """The same but for what is given; where that is ``l2`` or ``pieces`` alone, with the same copy of everything.

        ``module``: one with the same parameters. ``pieces``: some of this objective's, of which alone F becomes
        a function, and its penalty as well.
        """
        l2 = self.l2 if l2 is None else l2
        pieces = self.pieces if pieces is None else chosen(pieces)
        if module is None and data is None and dtype is None and device is None:
            twin = copy.copy(self)
            twin.l2, twin.pieces = l2, pieces
            return twin
        return Objective(
            self.module if module is None else module,
            self.loss,
            self.samples if data is None else data,
            dtype=dtype or self.dtype,
            device=device or self.device,
            chunk_size=self._chunk_size,
            l2=l2,
            pieces=pieces,
        )

    # --- what it is worth -------------------------------------------------------------------

    def value(self, theta: Tensor, fixed: Fixed | None = None) -> float:
        """F(θ) for θ of shape (d,). NaN and infinity are values and stay ones."""
        return self.measure(theta, fixed).loss

    def measure(self, theta: Tensor, fixed: Fixed | None = None) -> Measurement:
        """F(θ) and the accuracy, from one pass over the data."""
        return Measurement(*self.measurements(theta[None], fixed)[0].tolist())

    def values(self, thetas: Tensor, fixed: Fixed | None = None) -> Tensor:
        """F at K points: (K, d) -> (K,) float64, on the CPU."""
        return self.measurements(thetas, fixed)[:, 0]

    def measurements(self, thetas: Tensor, fixed: Fixed | None = None) -> Tensor:
        """Loss and accuracy at K points: (K, d) -> (K, 2) float64, on the CPU.

        Where one evaluation is smaller than the overhead of a forward pass, the points go through
        ``torch.func.vmap`` together; the first point is always evaluated alone as well, and the
        batch is given up where the two disagree (a module that functional calls do not reach).
        Whether to batch is decided from sizes, never from timings, so that a resumed run takes the
        same road. With several processes there is one sum per call, not per point.
        """
        if thetas.dim() != 2 or thetas.shape[1] != self.num_parameters:
            raise BadInput(f"points of shape {tuple(thetas.shape)}", f"(K, {self.num_parameters})")
        if len(thetas) == 0:
            return torch.empty((0, 2), dtype=torch.float64)
        thetas = thetas.detach().to(self.device, self.dtype)
        fixed = self._fixed_or_present(fixed)
        with torch.no_grad():
            is_small = self.activations <= BATCHED_ACTIVATIONS and len(thetas) > 1
            sums = self._batched_sums(thetas, fixed) if self._may_batch and is_small else None
            if sums is None:
                sums = torch.stack([self._sums(theta, fixed) for theta in thetas])
            result = distributed.total(sums).cpu() / self.num_samples
            if self.l2:
                result[:, 0] += 0.5 * self.l2 * thetas.double().square().sum(1).cpu()
        return result

    # --- how it changes ---------------------------------------------------------------------

    def gradient(self, theta: Tensor, fixed: Fixed | None = None) -> Tensor:
        """∇F(θ), shape (d,), chunks added in float64. Raises NotDifferentiable."""
        return self.value_and_gradient(theta, fixed)[1]

    def value_and_gradient(self, theta: Tensor, fixed: Fixed | None = None) -> tuple[float, Tensor]:
        """F(θ) and ∇F(θ) from one pass over the data."""
        fixed = self._fixed_or_present(fixed)
        leaf = self._leaf(theta)
        value = torch.zeros((), dtype=torch.float64, device=self.device)
        slope = torch.zeros(self.num_parameters, dtype=torch.float64, device=self.device)
        for inputs, targets in self.chunks(self.derivative_chunk()):
            chunk = self.loss.total(self.outputs(leaf, fixed, inputs), targets)
            slope += derivative(chunk, leaf)
            value += chunk.detach()
        value = distributed.total(value).item() / self.num_samples
        slope = distributed.total(slope) / self.num_samples
        if self.l2:
            value += 0.5 * self.l2 * leaf.detach().double().square().sum().item()
            slope += self.l2 * leaf.detach()
        return value, slope.to(self.dtype)

    def batch_gradient(
        self, theta: Tensor, indices: Tensor | None, fixed: Fixed, *, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Mean loss and gradient over the samples ``indices`` (all of them for None).

        With ``training`` the module is in training mode and ``fixed`` collects the moved buffers in
        place: dropout is active and batch norm uses the batch, as in plain training.
        """
        samples = self.samples
        count = self.num_samples if indices is None else len(indices)
        inputs, targets = samples if indices is None else samples.select(indices)
        leaf = self._leaf(theta)
        if training and distributed.num_processes() > 1:
            batchnorm.require_splittable(self._module)
        if len(targets):
            with batchnorm.single_samples_explained():
                outputs = self.outputs(leaf, fixed, inputs, training)
            mean = self.loss.total(outputs, targets).double() / count
            slope = derivative(mean, leaf)
        else:
            mean, slope = leaf.detach().double().new_zeros(()), torch.zeros_like(leaf)
        mean, slope = distributed.total(mean.detach()), distributed.total(slope)
        if self.l2:
            slope = slope.add(leaf.detach(), alpha=self.l2)
        return mean, slope

    def hvp(self, theta: Tensor, v: Tensor, fixed: Fixed | None = None) -> Tensor:
        """H v, the Hessian of F at θ times v, shapes (d,) -> (d,)."""
        return self.hessian_operator(theta, fixed, num_products=1)(v)

    def hessian_operator(
        self,
        theta: Tensor,
        fixed: Fixed | None = None,
        *,
        num_products: int = 1000,
        memory_limit: float = 2**31,
    ) -> Product:
        """v ↦ H v at one θ, for many products, by the graph of the gradient (Pearlmutter 1994).

        It is kept, chunk by chunk, within ``memory_limit`` bytes: a product then costs 1.5 to 2 gradients
        instead of 3 to 4. Each product is one sum over all processes.
        """
        fixed = self._fixed_or_present(fixed)
        leaf = self._leaf(theta.clone())

        def part(inputs: Any, targets: Tensor) -> Part:
            with sdpa_kernel(SDPBackend.MATH):
                chunk = self.loss.total(self.outputs(leaf, fixed, inputs), targets)
                slope = derivative(chunk, leaf, create_graph=True)
            return Part((slope,), lambda v, keep: second_derivative(slope, leaf, v, keep))

        return self.product(leaf, part, num_products=num_products, memory_limit=memory_limit)

    def product(
        self,
        leaf: Tensor,
        part: Callable[[Any, Tensor], Part],
        *,
        num_products: int,
        memory_limit: float,
    ) -> Product:
        """v ↦ (1/n) Σᵢ Aᵢ v + l2·v, ``part`` giving Aᵢ of a chunk, in chunks that suit a derivative."""
        return Product(
            self.samples,
            self.derivative_chunk(memory_limit),
            leaf,
            part,
            l2=self.l2,
            pieces=self.pieces,
            num_products=num_products,
            memory_limit=memory_limit,
        )

    # --- batch norm -------------------------------------------------------------------------

    def recalibrated(self, theta: Tensor, fixed: Fixed | None = None) -> Fixed:
        """``fixed`` with batch-norm statistics of the whole data set at θ."""
        fixed = self._fixed_or_present(fixed)
        theta = theta.detach().to(self.device, self.dtype)
        with torch.no_grad():
            return batchnorm.recalibrated(
                self._module,
                fixed,
                lambda fixed, inputs: self.outputs(theta, fixed, inputs),
                lambda: [inputs for inputs, _ in self.chunks()],
            )

    # --- a pass over the data -----------------------------------------------------------------------------

    def outputs(self, theta: Tensor, fixed: Fixed, inputs: Any, training: bool = False) -> Any:
        """h(x; θ) of a chunk's inputs, differentiable in θ, and in whatever of ``fixed`` requires a gradient."""
        if training is not self._module.training:
            self._module.train(training)
        if self._fit.moves_buffers and not training:
            fixed = {name: tensor.clone() for name, tensor in fixed.items()}
        if self._fit.moves_inputs:
            inputs = tuple(part.clone() for part in inputs)
        tensors = {**split(theta, self.pieces), **fixed}
        outputs = functional_call(self._module, tensors, inputs, tie_weights=self._has_ties)
        if training:
            for name, tensor in fixed.items():
                if tensors[name] is not tensor:  # a buffer that was replaced, not written into
                    tensor.copy_(tensors[name].detach())
        return outputs

    def chunks(self, size: int | None = None) -> Iterator[Chunk]:
        """(inputs, targets) of this process's samples, ``size`` (default ``chunk_size``) at a time."""
        return self.samples.chunks(size or self.chunk_size)

    def _sums(self, theta: Tensor, fixed: Fixed) -> Tensor:
        """Sum of the losses and number of samples right on this process: shape (2,), float64."""
        parts: list[Tensor] = []
        for inputs, targets in self.chunks():
            outputs = self.outputs(theta, fixed, inputs)
            loss = self.loss.total(outputs, targets).double().reshape(())
            correct = self.loss.correct
            right = correct(outputs, targets).double().sum() if correct else torch.full_like(loss, torch.nan)
            parts.append(torch.stack([loss, right]))
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)

    def _batched_sums(self, thetas: Tensor, fixed: Fixed) -> Tensor | None:
        block = max(2, BATCH_ACTIVATIONS // self.activations)
        sums = batched(lambda theta: self._sums(theta, fixed), thetas, block)
        self._may_batch = sums is not None
        return sums
