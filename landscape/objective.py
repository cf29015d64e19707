"""The objective F(θ): a module, a loss and a data set folded into one function of a vector.

Everything is computed on a private copy of the module, so the module passed in is never touched,
not even when the loss raises half way. Sums over samples run in float64 whatever the compute dtype.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape import batchnorm, distributed
from landscape.errors import BadInput, LandscapeError, NotDifferentiable, NotFinite
from landscape.losses import Loss, named_loss, settle_reduction
from landscape.parameters import Piece, Point, flatten, layout, split

Fixed = Mapping[str, Tensor]

# Activations of one chunk, in numbers: about 128 MB of float32 on a CPU, eight times that elsewhere.
CHUNK_ACTIVATIONS = {"cpu": 2**25, "other": 2**28}
# Below this many activations per evaluation the overhead of a forward pass is dearer than its arithmetic.
BATCHED_ACTIVATIONS = 2**15
BATCH_ACTIVATIONS = 2**19


class Measurement(NamedTuple):
    """Loss and, where the loss knows it, the fraction of samples classified right (else NaN)."""

    loss: float
    accuracy: float


class Objective:
    """F(θ) = (1/n) Σᵢ ℓ(yᵢ, h(xᵢ; θ)) + (l2/2)‖θ‖² over the whole data set, in eval mode, fixed order.

    ``module`` maps inputs to outputs; ``loss`` is a name, a callable of (outputs, targets) or a
    :class:`~landscape.losses.Loss`; ``data`` is (inputs, targets) with n samples along axis 0 (inputs
    may be a tuple of tensors). ``chunk_size`` is the number of samples at a time: it bounds memory and
    never moves the value beyond rounding. θ has shape (d,), see :func:`~landscape.parameters.layout`.

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
        self._module = _private_copy(module).to(device=self.device, dtype=self.dtype).eval()
        self._is_training = False
        self._load_data(data)
        self._chunk_size = chunk_size
        self._buffers_move = False
        self.loss = self._probe(named_loss(loss))
        self._may_batch = distributed.num_processes() == 1

    # --- what it is -------------------------------------------------------------------------

    @property
    def num_parameters(self) -> int:
        """d, the length of θ."""
        last = self.pieces[-1]
        return last.offset + last.size

    @property
    def theta(self) -> Tensor:
        """The module's present parameters, shape (d,)."""
        return self.present_point().theta

    @property
    def chunk_size(self) -> int:
        """Samples at a time."""
        if self._chunk_size is not None:
            return min(self._chunk_size, self.num_samples)
        room = CHUNK_ACTIVATIONS["cpu" if self.device.type == "cpu" else "other"]
        return max(1, min(self.num_samples, room // self._activations_per_sample))

    def present_point(self, label: str = "present") -> Point:
        """The module as it stands now: θ, and the buffers and frozen parameters beside it."""
        return self.point(
            {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}, label
        )

    def point(self, tensors: Mapping[str, Tensor], label: str = "") -> Point:
        """A Point from tensors by name. Raises BadInput naming every missing or misshapen one."""
        trainable = {piece.name: piece.shape for piece in self.pieces}
        fixed = {name: tuple(tensor.shape) for name, tensor in self._fixed_tensors()}
        faults = [
            f"{name} {tuple(tensors[name].shape)} instead of {shape}"
            if name in tensors
            else f"{name} missing"
            for name, shape in {**trainable, **fixed}.items()
            if name not in tensors or tuple(tensors[name].shape) != shape
        ]
        if faults:
            raise BadInput(
                f"{label or 'the point'} does not fit this architecture: {', '.join(faults)}",
                f"the parameters of {type(self.module).__name__}",
            )
        theta = flatten(tensors, self.pieces).to(self.device, self.dtype)
        kept = {name: self._converted(tensors[name].detach().clone()) for name in fixed}
        return Point(theta, kept, label)

    def as_point(self, point: Point | Tensor) -> Point:
        """``point`` itself, or a vector of shape (d,) with the module's present buffers."""
        if isinstance(point, Point):
            theta, fixed, label = point.theta, point.fixed, point.label
        else:
            theta, fixed, label = point, self.present_point().fixed, ""
        if theta.shape != (self.num_parameters,):
            raise BadInput(f"a point of shape {tuple(theta.shape)}", f"({self.num_parameters},)")
        return Point(theta.detach().to(self.device, self.dtype), fixed, label)

    @property
    def activations(self) -> int:
        """Numbers that one evaluation over this process's data passes from layer to layer."""
        return self._activations_per_sample * max(1, len(self._targets))

    @property
    def samples(self) -> tuple[tuple[Tensor, ...], Tensor]:
        """This process's inputs and targets, on the device."""
        return self._inputs, self._targets

    def on(self, data: tuple[Any, Tensor]) -> "Objective":
        """The same module and loss on other data, for example the test set."""
        return Objective(
            self.module,
            self.loss,
            data,
            dtype=self.dtype,
            device=self.device,
            chunk_size=self._chunk_size,
            l2=self.l2,
        )

    # --- what it is worth -------------------------------------------------------------------

    def value(self, theta: Tensor, fixed: Fixed | None = None) -> float:
        """F(θ) for θ of shape (d,). NaN and infinity are values and stay ones."""
        return self.measure(theta, fixed).loss

    def measure(self, theta: Tensor, fixed: Fixed | None = None) -> Measurement:
        """F(θ) and the accuracy, from one pass over the data."""
        return Measurement(*self.measurements(theta.reshape(1, -1), fixed)[0].tolist())

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
        thetas = thetas.detach().to(self.device, self.dtype)
        fixed = self._fixed_or_present(fixed)
        with torch.no_grad():
            sums = self._batched_sums(thetas, fixed) if self._is_small() and len(thetas) > 1 else None
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
        for inputs, targets in self._chunks():
            chunk = self.loss.total(self._forward(leaf, fixed, inputs), targets)
            slope += _derivative(chunk, leaf)
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
        if len(targets):
            mean = self.loss.total(self._forward(leaf, fixed, inputs, training), targets) / count
            slope = _derivative(mean, leaf)
        else:
            mean, slope = leaf.detach().new_zeros(()), torch.zeros_like(leaf)
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
    ) -> Callable[[Tensor], Tensor]:
        """v ↦ H v at one θ, for many products (Pearlmutter 1994).

        The graph of the gradient is kept, chunk by chunk, until it would fill ``memory_limit`` bytes
        (estimated at eight numbers per activation), and recomputed for the chunks beyond: a product on
        a kept graph costs about 2 gradients instead of 3 to 4. Chunks are added in float64; each
        product is one sum over all processes. Raises NotDifferentiable and NotFinite.
        """
        fixed = self._fixed_or_present(fixed)
        leaf = self._leaf(theta.clone())
        chunk_bytes = 8 * self._activations_per_sample * self.chunk_size * leaf.element_size()
        num_kept = int(memory_limit // chunk_bytes) if num_products > 1 else 0
        kept: list[Tensor] = []

        def slope_of(inputs: Any, targets: Tensor) -> Tensor:
            with sdpa_kernel(SDPBackend.MATH):
                chunk = self.loss.total(self._forward(leaf, fixed, inputs), targets)
                return _derivative(chunk, leaf, create_graph=True)

        def product(v: Tensor) -> Tensor:
            if v.shape != leaf.shape:
                raise BadInput(f"a vector of shape {tuple(v.shape)}", f"{tuple(leaf.shape)}")
            v = v.detach().to(self.device, self.dtype)
            result = torch.zeros(self.num_parameters, dtype=torch.float64, device=self.device)
            for number, (inputs, targets) in enumerate(self._chunks()):
                slope = kept[number] if number < len(kept) else slope_of(inputs, targets)
                if number == len(kept) and number < num_kept:
                    kept.append(slope)
                result += _second_derivative(slope, leaf, v, keep=number < len(kept))
            result = distributed.total(result) / self.num_samples
            if self.l2:
                result += self.l2 * v
            if not bool(torch.isfinite(result).all()):
                raise NotFinite(
                    f"the Hessian-vector product is not finite in {self._first_not_finite(result)}",
                    "finite second derivatives",
                    "is the loss finite at this point?",
                )
            return result.to(self.dtype)

        return product

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
                lambda fixed, inputs: self._forward(theta, fixed, inputs),
                lambda: [inputs for inputs, _ in self._chunks()],
            )

    # --- inside -----------------------------------------------------------------------------

    def _load_data(self, data: tuple[Any, Tensor]) -> None:
        try:
            inputs, targets = data
        except (TypeError, ValueError):
            raise BadInput(f"the data are a {type(data).__name__}", "a pair (inputs, targets)") from None
        inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        if not all(isinstance(part, Tensor) for part in (*inputs, targets)):
            raise BadInput("inputs or targets are no tensors", "torch tensors")
        self.num_samples = len(targets)
        if self.num_samples == 0:
            raise BadInput("the data are empty", "at least one sample")
        if any(len(part) != self.num_samples for part in inputs):
            raise BadInput(f"{len(inputs[0])} inputs and {self.num_samples} targets", "as many of each")
        for name, part in (*(("inputs", part) for part in inputs), ("targets", targets)):
            if part.is_floating_point() and not bool(torch.isfinite(part).all()):
                count = int((~torch.isfinite(part)).sum())
                raise BadInput(f"{count} NaN or infinite numbers in the {name}", "finite data")
        share = distributed.share(self.num_samples)
        self._inputs = tuple(self._converted(part[share]) for part in inputs)
        self._targets = self._converted(targets[share])

    def _probe(self, loss: Loss) -> Loss:
        """Run a few samples once: do module, data and loss fit, and does the forward pass move buffers?"""
        few = tuple(part[:4] for part in self._inputs)
        targets = self._targets[:4]
        before = {name: tensor.clone() for name, tensor in self._module.named_buffers()}
        sizes: list[int] = []
        hooks = [
            layer.register_forward_hook(
                lambda _, __, out: sizes.append(out.numel() if isinstance(out, Tensor) else 0)
            )
            for layer in self._module.modules()
        ]
        try:
            with torch.no_grad():
                outputs = self._module(*few)
        except LandscapeError:
            raise
        except Exception as error:
            shapes = ", ".join(str(tuple(part.shape)) for part in few)
            raise BadInput(
                f"{type(self.module).__name__} does not take inputs of shape {shapes}: {error}",
                "a module that fits the data",
            ) from error
        finally:
            for hook in hooks:
                hook.remove()
        self._activations_per_sample = max(1, sum(sizes) // max(1, len(targets)))
        self._buffers_move = any(
            not torch.equal(before[name], now) for name, now in self._module.named_buffers()
        )
        for name, tensor in self._module.named_buffers():
            tensor.copy_(before[name])
        self._check_targets(loss, outputs)
        try:
            with torch.no_grad():
                settled = settle_reduction(loss, outputs, targets)
                settled.total(outputs, targets)
        except LandscapeError:
            raise
        except Exception as error:
            raise BadInput(
                f"the loss {loss.name} does not take outputs {_shape(outputs)} and targets "
                f"{tuple(targets.shape)} ({targets.dtype}): {error}",
                "a loss that fits module and data",
            ) from error
        return settled

    def _check_targets(self, loss: Loss, outputs: Any) -> None:
        if loss.name == "cross_entropy" and isinstance(outputs, Tensor) and outputs.dim() >= 2:
            classes = outputs.shape[1]
            if self._targets.is_floating_point():
                return
            low, high = int(self._targets.min()), int(self._targets.max())
            if low < 0 or high >= classes:
                raise BadInput(
                    f"targets run from {low} to {high}",
                    f"classes 0 to {classes - 1}, as the module has {classes} outputs",
                )
        if loss.name == "bce":
            low, high = float(self._targets.min()), float(self._targets.max())
            if low < 0 or high > 1:
                raise BadInput(f"targets run from {low:g} to {high:g}", "0 to 1 for the loss bce")

    def _fixed_tensors(self) -> Iterator[tuple[str, Tensor]]:
        trainable = {piece.name for piece in self.pieces}
        yield from ((name, p) for name, p in self._module.named_parameters() if name not in trainable)
        yield from self._module.named_buffers()

    def _fixed_or_present(self, fixed: Fixed | None) -> Fixed:
        return self.present_point().fixed if fixed is None else fixed

    def _converted(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else tensor.dtype)

    def _leaf(self, theta: Tensor) -> Tensor:
        return theta.detach().to(self.device, self.dtype).requires_grad_()

    def _forward(self, theta: Tensor, fixed: Fixed, inputs: Any, training: bool = False) -> Any:
        if training is not self._is_training:
            self._module.train(training)
            self._is_training = training
        if self._buffers_move and not training:
            fixed = {name: tensor.clone() for name, tensor in fixed.items()}
        return functional_call(self._module, {**split(theta, self.pieces), **fixed}, inputs)

    def _chunks(self) -> Iterator[tuple[Any, Tensor]]:
        size, count = self.chunk_size, len(self._targets)
        if size >= count:
            yield self._inputs, self._targets
            return
        for start in range(0, count, size):
            part = slice(start, start + size)
            yield tuple(one[part] for one in self._inputs), self._targets[part]

    def _sums(self, theta: Tensor, fixed: Fixed) -> Tensor:
        """Sum of the losses and number of samples right on this process: shape (2,), float64."""
        parts: list[Tensor] = []
        for inputs, targets in self._chunks():
            outputs = self._forward(theta, fixed, inputs)
            loss = self.loss.total(outputs, targets).double().reshape(())
            if self.loss.correct is None:
                right = torch.full_like(loss, torch.nan)
            else:
                right = self.loss.correct(outputs, targets).sum().double()
            parts.append(torch.stack([loss, right]))
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)

    def _is_small(self) -> bool:
        return self._may_batch and self.activations <= BATCHED_ACTIVATIONS

    def _batched_sums(self, thetas: Tensor, fixed: Fixed) -> Tensor | None:
        alone = self._sums(thetas[0], fixed)
        block = max(2, BATCH_ACTIVATIONS // self.activations)
        batched = torch.func.vmap(lambda theta: self._sums(theta, fixed))
        try:
            sums = torch.cat([batched(part) for part in thetas.split(block)])
        except (RuntimeError, NotImplementedError, TypeError, ValueError):
            self._may_batch = False
            return None
        tolerance = 1e3 * torch.finfo(self.dtype).eps
        if not torch.allclose(sums[0], alone, rtol=tolerance, atol=tolerance, equal_nan=True):
            self._may_batch = False
            return None
        return sums

    def _first_not_finite(self, vector: Tensor) -> str:
        position = int((~torch.isfinite(vector)).nonzero()[0])
        return next(p.name for p in self.pieces if p.offset <= position < p.offset + p.size)


def _private_copy(module: nn.Module) -> nn.Module:
    try:
        private = copy.deepcopy(module)
    except Exception as error:
        raise BadInput(
            f"{type(module).__name__} cannot be copied ({error})",
            "a module that copy.deepcopy takes",
            "old-style weight_norm hooks are the usual cause; use torch.nn.utils.parametrizations",
        ) from error
    for layer in private.modules():
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
            if layer.max_norm is not None:
                raise BadInput("an embedding with max_norm rewrites its weights when called", "max_norm=None")
            layer.sparse = False
    return private


def _derivative(scalar: Tensor, leaf: Tensor, create_graph: bool = False) -> Tensor:
    if not scalar.requires_grad:
        if create_graph:
            return torch.zeros_like(leaf)
        raise NotDifferentiable(
            "the loss does not depend differentiably on any trainable parameter",
            "a loss with a gradient",
            "is there a detach, an argmax or a torch.no_grad in the way?",
        )
    try:
        (slope,) = torch.autograd.grad(scalar, leaf, create_graph=create_graph)
    except (RuntimeError, NotImplementedError) as error:
        raise _undifferentiable(error) from error
    return slope


def _second_derivative(slope: Tensor, leaf: Tensor, v: Tensor, keep: bool) -> Tensor:
    if not slope.requires_grad:
        return torch.zeros_like(leaf)
    try:
        (product,) = torch.autograd.grad(slope, leaf, v, retain_graph=keep, allow_unused=True)
    except (RuntimeError, NotImplementedError) as error:
        raise _undifferentiable(error) from error
    return torch.zeros_like(leaf) if product is None else product


def _undifferentiable(error: Exception) -> Exception:
    if isinstance(error, torch.OutOfMemoryError):
        return error
    return NotDifferentiable(
        f"an operation has no derivative of this order ({str(error).splitlines()[0]})",
        "operations that autograd can differentiate twice",
    )


def _shape(outputs: Any) -> str:
    return str(tuple(outputs.shape)) if isinstance(outputs, Tensor) else type(outputs).__name__
