"""F, ∇F and the Hessian of one objective at many points: one computation where the net is small."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.func import vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape import distributed
from landscape.errors import NotFinite
from landscape.numerics.spectra.inertia import Dense, dense_matrix, symmetrised
from landscape.numerics.steps.newton import Local
from landscape.objective.batching import REFUSALS, by_rules_alone, keep_freed_memory
from landscape.objective.objective import Objective
from landscape.objective.products import Product

# Numbers that the Hessian of one point of a stack passes from layer to layer at most, those of all points that are
# taken together, and of its columns: further ones come after these, whose memory is then used again.
STACKED, TOGETHER, COLUMNS = 2**24, 2**22, 2**20


class Derivatives:
    """F, ∇F and H of an objective in float64 at the rows of ``thetas`` (R, d).

    Through ``torch.func.vmap`` where it takes the module, autograd has its second derivative and the first row agrees
    with the objective's own; else one row after another. Raises BadInput for several processes.
    """

    def __init__(self, objective: Objective, fixed: Mapping[str, Tensor] | None = None):
        distributed.require_one_process("critical points")
        keep_freed_memory()
        self.objective = objective
        point = objective.present_point()
        self._fixed = point.fixed if fixed is None else fixed
        self._data = (objective.samples.inputs, objective.samples.targets)
        self._may_stack = (
            not objective.doubts_at(point) and objective.activations * objective.num_parameters <= STACKED
        )
        self._has_agreed = False

    @property
    def is_stacked(self) -> bool:
        """Whether rows have been one computation."""
        return self._has_agreed

    def slopes(self, thetas: Tensor) -> tuple[Tensor, Tensor]:
        """F (R,) and ∇F (R, d)."""
        found = self._stacked(thetas, with_matrix=False)
        if found is not None:
            return found[0], found[1]
        rows = [self.objective.value_and_gradient(theta, self._fixed) for theta in thetas]
        values = torch.tensor([value for value, _ in rows], dtype=torch.float64, device=thetas.device)
        return values, torch.stack([slope.double() for _, slope in rows])

    def local(self, thetas: Tensor) -> Local:
        """F, ∇F and H."""
        found = self._stacked(thetas, with_matrix=True)
        if found is not None:
            values, slopes, matrices = found
            gaps = torch.linalg.matrix_norm(matrices - matrices.mT) / 2
            return Local(values, slopes, (matrices + matrices.mT) / 2, gaps)
        values, slopes = self.slopes(thetas)
        matrices, gaps = zip(*map(self._matrix, thetas), strict=True)
        return Local(values, slopes, torch.stack(matrices), slopes.new_tensor(gaps))

    def dense(self, theta: Tensor, memory_limit: float = 2**34) -> tuple[float, Tensor, Dense]:
        """F, ∇F (d,) and H at one point. Raises BadInput where H would take more than ``memory_limit`` bytes."""
        found = self._stacked(theta[None], with_matrix=True)
        if found is None:
            return *self.objective.value_and_gradient(theta, self._fixed), self._dense(theta, memory_limit)
        values, slopes, matrices = found
        return float(values[0]), slopes[0], symmetrised(matrices[0].contiguous())

    def products(self, theta: Tensor) -> Callable[[Tensor], Tensor]:
        """v ↦ Hv at one point."""
        return self.objective.hessian_operator(theta, self._fixed)

    def _matrix(self, theta: Tensor) -> tuple[Tensor, float]:
        """H (d, d) and how far it is known; NaN, as of a stack, where it is not finite."""
        try:
            found = self._dense(theta)
        except NotFinite:
            return torch.full((len(theta), len(theta)), torch.nan).to(theta), torch.nan
        return found.matrix, found.rounding + found.product_error

    def _dense(self, theta: Tensor, memory_limit: float = 2**34) -> Dense:
        product = self.objective.hessian_operator(theta, self._fixed)
        error = (lambda: 0.0) if isinstance(product, Product) else (lambda: product.error)
        return dense_matrix(
            product,
            self.objective.num_parameters,
            device=self.objective.device,
            memory_limit=memory_limit,
            product_error=error,
        )

    def _stacked(self, thetas: Tensor, with_matrix: bool) -> tuple[Tensor, ...] | None:
        """F, ∇F and, ``with_matrix``, H at every row, None where that has to be done row by row."""
        if not self._may_stack:
            return None
        width = self.objective.num_parameters if with_matrix else 1
        block = max(1, TOGETHER // max(1, self.objective.activations * width))
        try:
            with by_rules_alone(), sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
                parts = [self._derived(part, with_matrix) for part in thetas.split(block)]
        except REFUSALS:
            self._may_stack = False
            return None
        found = tuple(torch.cat(one) for one in zip(*parts, strict=True))
        return found if self._has_agreed or self._agrees(thetas, found) else None

    def _agrees(self, thetas: Tensor, found: tuple[Tensor, ...]) -> bool:
        """Whether ∇F of the first row is the objective's own: functional calls do not reach every module."""
        slope = self.objective.gradient(thetas[0], self._fixed)
        close = {"rtol": 1e-9, "atol": 1e-12, "equal_nan": True}
        self._may_stack = self._has_agreed = torch.allclose(found[1][0], slope.double(), **close)
        return self._has_agreed

    def _loss(self, theta: Tensor) -> Tensor:
        inputs, targets = self._data
        with self.objective.passed(theta, self._fixed, inputs) as outputs:
            mean = self.objective.loss.total(outputs, targets).double().reshape(()) / self.objective.divisor
        return mean + 0.5 * self.objective.l2 * theta.square().sum() if self.objective.l2 else mean

    def _derived(self, thetas: Tensor, with_matrix: bool) -> tuple[Tensor, ...]:
        """F of one row is no function of another: derivatives of the sum over rows are those of each."""
        leaf = thetas.detach().clone().requires_grad_()
        values = vmap(self._loss)(leaf)
        (slopes,) = torch.autograd.grad(values.sum(), leaf, create_graph=with_matrix)
        if not with_matrix:
            return values.detach(), slopes
        rows, d = thetas.shape
        if not slopes.requires_grad:
            return values.detach(), slopes, thetas.new_zeros(rows, d, d)
        units = torch.eye(d, dtype=thetas.dtype, device=thetas.device)
        how = {"is_grads_batched": True, "materialize_grads": True, "retain_graph": True}
        bent = [
            torch.autograd.grad(slopes, leaf, part[:, None].expand(-1, rows, -1), **how)[0]
            for part in units.split(max(1, COLUMNS // max(1, self.objective.activations * rows)))
        ]
        return values.detach(), slopes.detach(), torch.cat(bent).transpose(0, 1)
