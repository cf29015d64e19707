"""The objective F(θ): a module, a loss and a data set folded into one function of a vector.

Everything is computed on a private copy of the module, so the module passed in is never touched,
not even when the loss raises half way. Sums over samples run in float64 whatever the compute dtype.
"""

import math
from collections.abc import Callable, Iterator, Mapping
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
from landscape.objective.fit import FEW, fit, private_copy
from landscape.objective.losses import Loss, named_loss
from landscape.objective.parameters import Point, flatten, layout, require, split
from landscape.objective.products import Part, Product
from landscape.objective.samples import check_cuts, checked_data

Fixed = Mapping[str, Tensor]

# Below this many activations per evaluation the overhead of a forward pass is dearer than its arithmetic.
BATCHED_ACTIVATIONS = 2**15
BATCH_ACTIVATIONS = 2**20


class Measurement(NamedTuple):
    """Loss and, where the loss knows it, the fraction of samples classified right (else NaN)."""

    loss: float
    accuracy: float


class Objective:
    """F(θ) = (1/n) Σᵢ ℓ(yᵢ, h(xᵢ; θ)) + (l2/2)‖θ‖² over the whole data set, in eval mode, fixed order.

    ``module`` maps inputs to outputs; ``loss`` is a name, a callable of (outputs, targets) or a
    :class:`~landscape.objective.losses.Loss`; ``data`` is (inputs, targets) with n samples along axis 0 (inputs
    may be a tuple of tensors). ``chunk_size`` is the number of samples at a time: it bounds memory and
    never moves the value beyond rounding. θ has shape (d,), see :func:`~landscape.objective.parameters.layout`.

    Raises BadInput for empty data, NaN in the data, targets out of range, or a module that does not
    take the data.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: str | nn.Module | Callable[..., Tensor] | Loss,
        data: tuple[Any, Tensor],
        *,
        dtype: torch.dtype | None = None,
        device: str | torch.device | None = None,
        chunk_size: int | None = None,
        l2: float = 0.0,
    ):
        if not isinstance(module, nn.Module):
            raise BadInput(f"the module is a {type(module).__name__}", "a torch.nn.Module")
        if chunk_size is not None and chunk_size < 1:
            raise BadInput(f"chunk size {chunk_size}", "at least one sample")
        self.module = module
        self.pieces: tuple[Piece, ...] = layout(module)
        reference = next(p for p in module.parameters() if p.requires_grad)
        self.dtype = dtype or reference.dtype
        self.device = torch.device(device) if device is not None else reference.device
        self.l2 = l2
        self._module = private_copy(module).to(device=self.device, dtype=self.dtype).eval()
        # Looking for ties in each call would cost a small net a twentieth of its forward pass.
        self._has_ties = any(
            len(list(named(remove_duplicate=False))) > len(list(named()))
            for named in (self._module.named_parameters, self._module.named_buffers)
        )
        self._chunk_size = chunk_size
        inputs, targets = checked_data(data)
        self.num_samples = len(targets)
        *few, few_targets = (self._converted(part[:FEW]) for part in (*inputs, targets))
        self._fit = fit(self._module, named_loss(loss), tuple(few), few_targets, targets)
        self.loss = self._fit.loss
        check_cuts(self._fit, self.num_samples, chunk_size, distributed.num_processes())
        share = distributed.share(self.num_samples)
        self._inputs = tuple(self._converted(part[share]) for part in inputs)
        self._targets = self._converted(targets[share])
        self._may_batch = distributed.num_processes() == 1

    # --- what it is -------------------------------------------------------------------------

    @property
    def num_parameters(self) -> int:
        """d, the length of θ."""
        return self.pieces[-1].span.stop

    @property
    def theta(self) -> Tensor:
        """The module's present parameters, shape (d,)."""
        return self.present_point().theta

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

    def present_point(self, label: str = "present") -> Point:
        """The module as it stands now: θ, and the buffers and frozen parameters beside it."""
        return self.point(
            {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}, label
        )

    def point(self, tensors: Mapping[str, Tensor], label: str = "") -> Point:
        """A Point from tensors by name; buffers that no state_dict holds may be absent and are the module's.

        Raises BadInput naming every missing or misshapen tensor.
        """
        fixed = dict(self._fixed_tensors())
        kept_elsewhere = self._module.state_dict().keys()
        tensors = {**{name: fixed[name] for name in fixed.keys() - kept_elsewhere}, **tensors}
        shapes = {piece.name: piece.shape for piece in self.pieces}
        shapes |= {name: tuple(tensor.shape) for name, tensor in fixed.items()}
        require(tensors, shapes, label or "the point", type(self.module).__name__)
        theta = flatten(tensors, self.pieces).to(self.device, self.dtype)
        kept = {name: self._converted(tensors[name].detach().clone()) for name in fixed}
        return Point(theta, kept, label)

    def as_point(self, point: Point | Tensor) -> Point:
        """``point`` itself, or a vector of shape (d,) with the module's present buffers."""
        if isinstance(point, Point):
            theta, fixed, label = point.theta, point.fixed, point.label
        else:
            theta, fixed, label = point, self._fixed_or_present(None), ""
        if theta.shape != (self.num_parameters,):
            raise BadInput(f"a point of shape {tuple(theta.shape)}", f"({self.num_parameters},)")
        return Point(theta.detach().to(self.device, self.dtype), fixed, label)

    @property
    def activations(self) -> int:
        """Numbers that one evaluation over this process's data passes from layer to layer."""
        return self._fit.activations_per_sample * max(1, len(self._targets))

    @property
    def layers(self) -> dict[str, nn.Module]:
        """The modules that are run, by name: a private copy, to hook and not to change."""
        return dict(self._module.named_modules())

    @property
    def samples(self) -> tuple[tuple[Tensor, ...], Tensor]:
        """This process's inputs and targets, on the device."""
        return self._inputs, self._targets

    def on(self, data: tuple[Any, Tensor]) -> "Objective":
        """The same function of θ on other data, for example the test set."""
        return self.varied(data=data)

    def varied(
        self,
        *,
        module: nn.Module | None = None,
        data: tuple[Any, Tensor] | None = None,
        dtype: torch.dtype | None = None,
        device: str | torch.device | None = None,
    ) -> "Objective":
        """The same but for what is given; a function of some parameters alone stays one of these."""
        twin = Objective(
            module or self.module,
            self.loss,
            data or self.samples,
            dtype=dtype or self.dtype,
            device=device or self.device,
            chunk_size=self._chunk_size,
            l2=self.l2,
        )
        twin.pieces = self.pieces
        return twin

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
        inputs, targets = self._inputs, self._targets
        count = self.num_samples if indices is None else len(indices)
        if indices is not None:
            if distributed.num_processes() > 1:
                share = distributed.share(self.num_samples)
                indices = indices[(indices >= share.start) & (indices < share.stop)] - share.start
            inputs, targets = tuple(part[indices] for part in inputs), targets[indices]
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

        return Product(self, leaf, part, num_products=num_products, memory_limit=memory_limit)

    # --- batch norm -------------------------------------------------------------------------

    @property
    def has_batchnorm(self) -> bool:
        """Whether the module keeps running statistics that belong to one θ."""
        return bool(batchnorm.normalisation_layers(self._module))

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

    # --- inside -----------------------------------------------------------------------------

    def _fixed_tensors(self) -> Iterator[tuple[str, Tensor]]:
        trainable = {piece.name for piece in self.pieces}
        yield from ((name, p) for name, p in self._module.named_parameters() if name not in trainable)
        yield from self._module.named_buffers()

    def _fixed_or_present(self, fixed: Fixed | None) -> Fixed:
        if fixed is not None:
            return fixed
        present = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        return {name: self._converted(present[name].detach().clone()) for name, _ in self._fixed_tensors()}

    def _converted(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else tensor.dtype)

    def _leaf(self, theta: Tensor) -> Tensor:
        if theta.shape != (self.num_parameters,):
            raise BadInput(f"a point of shape {tuple(theta.shape)}", f"({self.num_parameters},)")
        return theta.detach().to(self.device, self.dtype).requires_grad_()

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

    def chunks(self, size: int | None = None) -> Iterator[tuple[Any, Tensor]]:
        """(inputs, targets) of this process's samples, ``size`` (default ``chunk_size``) at a time."""
        size, count = size or self.chunk_size, len(self._targets)
        if size >= count:
            yield self._inputs, self._targets
            return
        for start in range(0, count, size):
            part = slice(start, start + size)
            yield tuple(one[part] for one in self._inputs), self._targets[part]

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
