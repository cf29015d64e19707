"""What is asked at a point, and the operator that it is asked of."""

from dataclasses import dataclass

from landscape.choices import ProductBy
from landscape.curvature import operators
from landscape.curvature.preconditioned import Preconditioned
from landscape.errors import BadInput
from landscape.objective.differences import Differences
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.products import Product


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked at a point; see :func:`landscape.analyses.hessian.hessian`."""

    top_k: int
    bottom_k: int
    which: str
    operator: str
    product: ProductBy
    tol: float
    max_products: int | None
    memory_limit: float
    basis_device: str | None
    search: bool
    certify: bool | None
    residuals: str
    trace: bool
    trace_error: float
    density: bool
    num_probes: int | None
    num_steps: int
    exact: bool
    seed: int

    def check(self) -> None:
        """Raises BadInput for what cannot be asked."""
        if self.top_k + self.bottom_k < 1:
            raise BadInput(f"`top_k` = {self.top_k}, `bottom_k` = {self.bottom_k}", "at least 1 of either")


def operator_of(
    objective: Objective, point: Point, question: Question, num_products: int = 1000
) -> Product | Differences | Preconditioned:
    theta, fixed = objective.brought(point)
    # Half of it, as the basis, or the graphs of the certificate after it, stand beside these graphs.
    room = question.memory_limit / 2
    return operators.operator(
        question.operator,
        objective,
        theta,
        fixed,
        num_products=num_products,
        memory_limit=room,
        by=question.product,
    )
