"""The Hessian as an adaptive method meets it: P^-½ H P^-½, P the diagonal that divides its steps."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from landscape.choices import ProductBy
from landscape.errors import BadInput
from landscape.objective.differences import Differences
from landscape.objective.objective import Fixed, Objective
from landscape.objective.parameters import Point, split
from landscape.objective.products import Product


class Preconditioned:
    """v ↦ P^-½ A P^-½ v for vectors (d,), with ``scale`` the diagonal of P^-½, (d,).

    Its eigenvalues are those of P⁻¹A, at which a method is stable or not that moves by −α P⁻¹∇F; as it is symmetric
    they come with the same errors as those of A. ``error`` is what is known of the last product, see
    :class:`~landscape.objective.products.Product`.
    """

    def __init__(self, product: Product | Differences, scale: Tensor):
        self._product, self._scale = product, scale
        self._largest = float(scale.max())
        self.error = self.largest_error = 0.0

    def __call__(self, v: Tensor) -> Tensor:
        scale = self._scale
        image = self._product(v.to(scale) * scale) * scale
        self.error = self._largest * self._product.error
        length = float(torch.linalg.vector_norm(v.double())) or 1.0
        self.largest_error = max(self.largest_error, self.error / length)
        return image

    @property
    def num_chunks(self) -> int:
        return self._product.num_chunks

    @property
    def num_kept(self) -> int:
        return self._product.num_kept

    @property
    def kept_bytes(self) -> int:
        return self._product.kept_bytes


def preconditioned(objective: Objective, preconditioner: Tensor, label: str = "") -> Objective:
    """The same F, with the diagonal P, (d,) by the objective's θ, of which :func:`scale` is made.

    A restriction to a block takes the part of it. Raises BadInput for another shape, for entries that are not positive,
    as at a point that no step has led to, and for a module whose parameters are shared out among processes.
    """
    where = f" at {label}" if label else ""
    if objective.is_sharded:
        raise BadInput(
            "a preconditioner of a sharded module",
            "the operator hessian",
            "leave `operator` out, or gather the module, as "
            "torch.distributed.checkpoint.state_dict.get_model_state_dict does, and give it whole",
        )
    if preconditioner.shape != (objective.num_parameters,):
        raise BadInput(
            f"a preconditioner of shape {tuple(preconditioner.shape)}{where}",
            f"({objective.num_parameters},)",
        )
    if not bool((preconditioner > 0).all()):
        raise BadInput(
            f"a preconditioner{where} that is not positive everywhere, as before the first step",
            "positive numbers: what Adam divides its steps by",
            "look at points after it: `at` final, or step=…",
        )
    twin = objective.varied()
    twin.preconditioner = split(preconditioner.detach().double().cpu(), objective.pieces)
    return twin


def scale(objective: Objective) -> Tensor:
    """The diagonal (d,) of P^-½, in the dtype of the objective. Raises BadInput where it has no P."""
    if objective.preconditioner is None:
        raise BadInput(
            "the preconditioned Hessian without a preconditioner",
            "points of a run that adam or adamw trained",
            "train with `optimizer` adam, or give `preconditioners` to landscape.hessian",
        )
    chosen = objective.flat([objective.preconditioner[piece.name] for piece in objective.pieces])
    return chosen.rsqrt().to(objective.device, objective.dtype)


def met(objective: Objective, operator: str, gradient: Tensor) -> Tensor:
    """∇F, (d,), in the coordinates of the matrix: P^-½∇F, the gradient by P^½θ, for the preconditioned Hessian."""
    return gradient * scale(objective).to(gradient) if operator == "preconditioned" else gradient


def preconditioned_operator(
    objective: Objective,
    theta: Tensor,
    fixed: Fixed | None = None,
    *,
    num_products: int = 1000,
    memory_limit: float = 2**31,
    by: ProductBy = "auto",
) -> Preconditioned:
    """v ↦ P^-½ H P^-½ v (Cohen et al. 2022), P of :func:`preconditioned`; BadInput where there is none."""
    diagonal = scale(objective)
    product = objective.hessian_at(theta, fixed, num_products=num_products, memory_limit=memory_limit, by=by)
    return Preconditioned(product, diagonal)


def one_each(points: Sequence[Point], preconditioners: Sequence[Tensor] | None) -> Sequence[Tensor | None]:
    """P of every point, or None for each where there are none. Raises BadInput where there is not one a point."""
    if preconditioners is None:
        return [None for _ in points]
    if len(preconditioners) != len(points):
        raise BadInput(f"{len(preconditioners)} preconditioners of {len(points)} points", "one of each")
    return preconditioners


class Reached(NamedTuple):
    """Points that steps led to, P and the limit of stability of each, where given, and a note of those left out."""

    points: Any
    preconditioners: Sequence[Tensor] | None
    limits: Sequence[float] | None
    notes: list[str]


def reached(points: Any, preconditioners: Sequence[Tensor] | None, limits: Sequence[float] | None) -> Reached:
    """Of several ``points`` those with a P: before the first step it is NaN, and says nothing.

    Where none has one, or there is a single point, all stay, which :func:`preconditioned` then refuses.
    """
    if isinstance(points, Tensor | Point) or preconditioners is None or len(points) != len(preconditioners):
        return Reached(points, preconditioners, limits, [])
    kept = [k for k, one in enumerate(preconditioners) if not bool(one.isnan().all())]
    if len(kept) in (0, len(points)):
        return Reached(points, preconditioners, limits, [])
    names = [getattr(one, "label", "") or f"point {k}" for k, one in enumerate(points) if k not in kept]
    return Reached(
        [points[k] for k in kept],
        [preconditioners[k] for k in kept],
        None if limits is None else [limits[k] for k in kept],
        [f"{', '.join(names)} left out: no step has led there, so that Adam has no P to divide by"],
    )
