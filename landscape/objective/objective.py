"""The objective F(θ): a module, a loss and a data set folded into one function of a vector.

Sums over samples run in float64 whatever the compute dtype.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape import distributed
from landscape.choices import ProductBy
from landscape.errors import BadInput, NotFinite
from landscape.numerics.pieces import Piece
from landscape.objective import batchnorm, doubts
from landscape.objective.batch_slope import BatchSlope, batch_slope
from landscape.objective.batching import batched, is_worthwhile
from landscape.objective.closures import NOTHING, Closure
from landscape.objective.differences import Differences
from landscape.objective.fit import Fit
from landscape.objective.fitted import Fitted
from landscape.objective.leaves import Leaves
from landscape.objective.linear import linear_operator
from landscape.objective.losses import Loss
from landscape.objective.parameters import Point, chosen
from landscape.objective.parametrised import Fixed
from landscape.objective.products import Part, Product
from landscape.objective.samples import Samples
from landscape.objective.summed import summed
from landscape.objective.undefined import required, undefined

# Beyond so many parameters a second derivative is tried in the dtype of F, as vectors of float64 would be its peak.
MOST_WIDE = 2**22


class Measurement(NamedTuple):
    """Loss and, where the loss knows it, the fraction of samples classified right (else NaN)."""

    loss: float
    accuracy: float


class Objective(Fitted):
    """F(θ) = loss(h(x; θ), y) + (l2/2)‖θ‖²: all of the data in one call, in eval mode, fixed order.

    ``module`` maps inputs to outputs; ``loss`` is a name, a callable of (outputs, targets) or a
    :class:`~landscape.objective.losses.Loss`; ``data`` is (inputs, targets) with n samples along axis 0 (a tuple of
    inputs is one for every argument, anything else one argument; targets are a tensor, or several in a dictionary, a
    tuple or a list, for a loss of the user's own that takes them so), a list of samples, a Dataset or a DataLoader,
    a :class:`~landscape.inputs.data.streams.Stream` of what is larger than memory, or
    :class:`~landscape.objective.samples.Samples`. A loss per sample is averaged. ``chunk_size`` is the number of
    samples at a time: it bounds memory and never moves the value beyond rounding; where the data cannot be cut it
    is ignored, which ``notes`` then say. θ has shape (d,), see
    :func:`~landscape.objective.parameters.layout`; ``pieces`` are some of these, the other parameters fixed.
    With ``training`` the module stands in training mode, its buffers frozen, for one that gives its losses in no other.
    F is evaluated on the module itself, which is as before after every call; the loss is called while it stands at
    θ. Raises BadInput for no data, NaN in them, targets out of range, a module that does not take them, one that draws
    at random, or one whose parameters do not move F.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: str | nn.Module | Callable[..., Tensor] | Loss,
        data: Any,
        *,
        dtype: torch.dtype | None = None,
        device: str | torch.device | None = None,
        chunk_size: int | None = None,
        l2: float = 0.0,
        pieces: Sequence[Piece] | None = None,
        training: bool = False,
        _known: Fit | None = None,
    ):
        how: dict[str, Any] = {"device": device, "chunk_size": chunk_size, "pieces": pieces, "known": _known}
        super().__init__(module, loss, data, dtype=dtype, training=training, **how)
        self.l2 = l2
        self._may_batch = distributed.num_processes() == 1 and not self.is_closure
        # By what θ is made of: why its second derivative by autograd is not used, or None. Twins know the same.
        self._doubts: dict[tuple[Piece, ...], str | None] = {}

    @classmethod
    def from_closure(
        cls, module: nn.Module, loss_of_module: Callable[[nn.Module], Tensor], **how: Any
    ) -> "Objective":
        """F(θ) = ``loss_of_module(module)``, a scalar: it calls the module itself, on what it likes, as a whole.

        ``how`` are ``dtype``, ``device``, ``l2``, ``pieces`` and ``training``. There are no samples, so what takes
        them refuses. Raises BadInput for one that is random, changes the module, returns no scalar, has no
        gradient, or does not depend on the parameters: see :mod:`landscape.objective.closed`.

        >>> module = nn.Linear(1, 1, bias=False, dtype=torch.float64)
        >>> objective = Objective.from_closure(module, lambda net: (net.weight.sum() - 3) ** 2)
        >>> float(objective.hvp(objective.theta, torch.ones(1, dtype=torch.float64)))
        2.0
        """
        return cls(module, Closure(loss_of_module), NOTHING, **how)

    # --- what it is -------------------------------------------------------------------------

    def on(self, data: Any) -> "Objective":
        """The same function of θ on other data, for example the test set."""
        return self.varied(data=data)

    def varied(
        self,
        *,
        module: nn.Module | None = None,
        data: Any = None,
        dtype: torch.dtype | None = None,
        device: str | torch.device | None = None,
        l2: float | None = None,
        pieces: Sequence[Piece] | None = None,
        is_part: bool = False,
    ) -> "Objective":
        """The same but for what is given; where that is ``l2`` or ``pieces`` alone, with the same copy of everything.

        ``module``: one with the same parameters. ``pieces``: some of this objective's, of which alone F becomes
        a function, and its penalty as well. ``is_part``: ``data`` are of this objective's, whose meaning is then known.
        """
        l2 = self.l2 if l2 is None else l2
        pieces = self.pieces if pieces is None else chosen(pieces)
        if module is None and data is None and dtype is None and device is None:
            twin = copy.copy(self)
            twin.l2, twin.pieces = l2, pieces
            return twin
        if self.is_closure and data is not None and not isinstance(data, Samples):
            raise BadInput("data for a loss of the module alone", "none")
        twin = Objective(
            self.module if module is None else module,
            self._given,
            self.samples if data is None else data,
            dtype=dtype or self._asked,
            device=device or self.device,
            chunk_size=self._chunk_size,
            l2=l2,
            pieces=pieces,
            training=self.training,
            # What a loss holds is in the dtype that its meaning was found in.
            _known=self._fit if is_part and not isinstance(self._given, nn.Module) else None,
        )
        twin._doubts, twin.preconditioner = self._doubts, self.preconditioner
        twin._fit.undefined = self._fit.undefined
        return twin

    @property
    def notes(self) -> list[str]:
        """What a reader of any number of this objective should know."""
        return [*super().notes, *self.doubts]

    @property
    def doubts(self) -> list[str]:
        """Why products with the Hessian are differences of the gradient, where they have turned out to be."""
        found = dict.fromkeys(one for one in self._doubts.values() if one)
        return [f"Hessian products are differences of the gradient: {one}" for one in found]

    def doubts_at(self, point: Point) -> list[str]:
        """:attr:`doubts`, found out at ``point`` where that has not been done: the same after a resumption."""
        self._doubt(point.theta, self._fixed_or_present(point.fixed))
        return self.doubts

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
        with torch.set_grad_enabled(self._fit.needs_gradients):
            sums = None
            if self._may_batch and is_worthwhile(self.activations, thetas):
                sums = batched(lambda theta: self._sums(theta, fixed), thetas, self.activations)
                self._may_batch = sums is not None
            if sums is None:
                sums = torch.stack([self._sums(theta, fixed) for theta in thetas])
            result = distributed.total(sums.detach()).cpu()
            result /= torch.tensor([self.divisor, self.num_counted], dtype=torch.float64)
            if self.l2:
                result[:, 0] += 0.5 * self.l2 * thetas.double().square().sum(1).cpu()
        return result

    def gradient(self, theta: Tensor, fixed: Fixed | None = None) -> Tensor:
        """∇F(θ), shape (d,), chunks added in float64. Raises NotDifferentiable."""
        return self.value_and_gradient(theta, fixed)[1]

    def value_and_gradient(self, theta: Tensor, fixed: Fixed | None = None) -> tuple[float, Tensor]:
        """F(θ) and ∇F(θ) from one pass over the data."""
        value, slope = self._summed(theta, self._fixed_or_present(fixed))
        return value, slope.to(self.dtype)

    def measure_with_gradient(self, theta: Tensor, fixed: Fixed | None = None) -> tuple[Measurement, Tensor]:
        """F(θ), the accuracy and ∇F(θ) from one pass over the data. Raises NotDifferentiable."""
        found = summed(self, self._leaf(theta), self._fixed_or_present(fixed), self.l2, counts=True)
        return Measurement(found.value, found.accuracy), found.slope.to(self.dtype)

    def _summed(self, theta: Tensor, fixed: Fixed) -> tuple[float, Tensor]:
        """F(θ) and ∇F(θ), in float64 where chunks are added."""
        found = summed(self, self._leaf(theta), fixed, self.l2)
        return found.value, found.slope

    def batch_gradient(
        self, theta: Tensor, indices: Tensor | None, fixed: Fixed, *, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        """What the loss says of the samples ``indices`` (all of them for None) as a batch, and its gradient.

        With ``training`` the module is in training mode and ``fixed`` collects the moved buffers in
        place: dropout is active and batch norm uses the batch, as in plain training.
        """
        return self.batch_slope(theta, indices, fixed, training=training)[:2]

    def batch_slope(
        self, theta: Tensor, indices: Tensor | None, fixed: Fixed, *, training: bool = False
    ) -> BatchSlope:
        """:meth:`batch_gradient`, and which parameters the batch reaches."""
        return batch_slope(self, theta, indices, fixed, self.l2, training=training)

    def hvp(self, theta: Tensor, v: Tensor, fixed: Fixed | None = None) -> Tensor:
        """H v, the Hessian of F at θ times v, shapes (d,) -> (d,)."""
        return self.hessian_operator(theta, fixed, num_products=1)(v)

    def as_linear_operator(self, theta: Tensor | None = None, fixed: Fixed | None = None) -> Any:
        """H (d, d) at θ, by default the module's own, as a SciPy ``LinearOperator``, by :meth:`hessian_operator`."""
        product = self.hessian_operator(self.theta if theta is None else theta, fixed)
        return linear_operator(product, self.num_parameters, self.dtype, self.device)

    def hessian_operator(
        self,
        theta: Tensor,
        fixed: Fixed | None = None,
        *,
        num_products: int = 1000,
        memory_limit: float = 2**31,
        by: ProductBy = "auto",
    ) -> Product | Differences:
        """:meth:`hessian_at` of a copy of θ, so that it may be moved between products."""
        theta = theta.clone() if num_products > 1 else theta
        return self.hessian_at(theta, fixed, num_products=num_products, memory_limit=memory_limit, by=by)

    def hessian_at(
        self,
        theta: Tensor,
        fixed: Fixed | None = None,
        *,
        num_products: int = 1000,
        memory_limit: float = 2**31,
        by: ProductBy = "auto",
    ) -> Product | Differences:
        """v ↦ H v at one θ, for many products, by the graph of the gradient (Pearlmutter 1994); θ is to stay as it is.

        It is kept, chunk by chunk, within ``memory_limit`` bytes: a product then costs 1.5 to 2 gradients
        instead of 3 to 4. Each product is one sum over all processes.

        Where autograd has no second derivative, or a wrong one, which the first call finds out on a few samples,
        products are :class:`~landscape.objective.differences.Differences` of the gradient, in float64 where the
        device has it and module and loss take it; ``notes`` then say so, and each product has its ``error``. ``by``
        asks for one of both, whatever is found out.
        """
        fixed = self._fixed_or_present(fixed)
        if by == "double-backward" or (by == "auto" and self._doubt(theta, fixed) is None):
            return self._double_backward(theta, fixed, num_products, memory_limit)
        wide = self._wide(self.samples).varied(l2=0.0)
        beside = wide._beside(fixed)
        return Differences(
            lambda point: wide._summed(point, beside)[1],
            self._leaf(theta).detach().to(wide.device, wide.dtype),
            l2=self.l2,
            pieces=self.pieces,
            num_chunks=-(-self.samples.count_here // self.derivative_chunk()),
            dtype=self.dtype,
            device=self.device,
            precision=torch.finfo(wide.coarsest).eps,
        )

    def _double_backward(
        self, theta: Tensor, fixed: Fixed, num_products: int, memory_limit: float
    ) -> Product:
        leaves = Leaves(self._leaf(theta), self.pieces, is_cut=self.stands_as_leaves)

        def part(inputs: Any, targets: Tensor) -> Part:
            with (
                torch.enable_grad(),
                required(self, inputs, targets),
                sdpa_kernel(SDPBackend.MATH),
                self.passed(leaves, fixed, inputs) as outputs,
            ):
                slopes = leaves.slopes(self.loss.total(outputs, targets))

            def image(v: Tensor, keep: bool) -> list[Tensor]:
                return leaves.image(slopes, v, keep)

            roots = [] if slopes.total is None else [slopes.total]
            return Part(roots, image, lambda: self.computing_again(leaves, fixed))

        return self.product(leaves.theta, part, num_products=num_products, memory_limit=memory_limit)

    def _doubt(self, theta: Tensor, fixed: Fixed) -> str | None:
        """Why a double backward is not to be used, found out once; where it is wrong for some pieces, for any."""
        if self.pieces not in self._doubts:
            known = next((one for one in self._doubts.values() if one), None)
            if known is not None:
                return known
            few = self.few(self.num_smooth)
            # Beside a large penalty nothing would show.
            part = self._wide(few).varied(l2=0.0)
            point, beside = self._leaf(theta).detach().to(part.device, part.dtype), part._beside(fixed)
            try:
                self._doubts[self.pieces] = doubts.doubt(
                    lambda x: part.gradient(x, beside),
                    lambda v: part._double_backward(point, beside, 1, 2**31)(v),
                    point,
                    part.coarsest,
                )
            except NotFinite:
                # Elsewhere there may be something to find out.
                return None
        return self._doubts[self.pieces]

    def _wide(self, samples: Samples) -> "Objective":
        """The same on some of its own samples, in float64 where device, loss and module take it and it fits."""
        if not self.is_double and self.num_parameters <= MOST_WIDE:
            try:
                device = "cpu" if self.device.type == "mps" else None
                return self.varied(data=samples, dtype=torch.float64, device=device)
            except BadInput:
                pass
        twin = copy.copy(self)
        twin.samples = samples
        return twin

    def product(
        self,
        leaf: Tensor,
        part: Callable[[Any, Tensor], Part],
        *,
        num_products: int,
        memory_limit: float,
    ) -> Product:
        """v ↦ Σᵢ Aᵢ v / ``divisor`` + l2·v, ``part`` giving Aᵢ of a chunk, in chunks that suit a derivative."""
        return Product(
            self.samples,
            self.derivative_chunk(memory_limit),
            leaf,
            part,
            divisor=self.divisor,
            l2=self.l2,
            pieces=self.pieces,
            num_products=num_products,
            memory_limit=memory_limit,
        )

    def recalibrated(self, theta: Tensor, fixed: Fixed | None = None) -> Fixed:
        """``fixed`` with batch-norm statistics of the whole data set at θ."""
        fixed = self._fixed_or_present(fixed)
        theta = theta.detach().to(self.device, self.dtype)
        with torch.no_grad():
            return batchnorm.recalibrated(
                self.module,
                fixed,
                lambda fixed, inputs: self.outputs(theta, fixed, inputs),
                lambda: (inputs for inputs, _ in self.chunks()),
            )

    # --- sums over the data -------------------------------------------------------------------------------

    def _sums(self, theta: Tensor, fixed: Fixed) -> Tensor:
        """Sum of the losses and number of samples right on this process: shape (2,), float64."""
        parts: list[Tensor] = []
        for inputs, targets in self.chunks():
            correct = self.loss.correct
            loss = right = torch.tensor(torch.nan, dtype=torch.float64, device=self.device)
            with undefined(self, inputs, targets), self.passed(theta, fixed, inputs) as outputs:
                loss = self.loss.total(outputs, targets).double().reshape(()).detach()
                right = correct(outputs, targets).double().sum() if correct else loss * torch.nan
            parts.append(torch.stack([loss, right]))
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
