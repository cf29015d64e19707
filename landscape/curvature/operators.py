"""Curvature beside the Hessian: Gauss–Newton, Fisher and empirical Fisher matrices, by their products.

Every operator here is a function v ↦ A v of vectors (d,) at one θ, with A = (1/n) Σᵢ Jᵢᵀ Bᵢ Jᵢ + l2·I, where
Jᵢ is the Jacobian of the outputs of sample i with respect to θ and Bᵢ a matrix between outputs. Sums run
over the whole data set, chunk by chunk in float64, and over all processes.

J v comes from two backward passes, as the derivative of u ↦ Jᵀu, whose graph does not depend on v and is
kept: a product then costs less than one of the Hessian (measured on the digits MLP 64-100-100-10: 1.2
gradients against 1.5; forward-mode AD, which evaluates the module again for each v, 1.7).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape import distributed
from landscape.choices import ProductBy
from landscape.curvature.preconditioned import Preconditioned, preconditioned_operator
from landscape.errors import BadInput, NotDifferentiable
from landscape.numerics.spectra.krylov import Operator
from landscape.objective import trees
from landscape.objective.derivatives import derivative, second_derivative
from landscape.objective.differences import Differences
from landscape.objective.losses import likelihood_of
from landscape.objective.objective import Fixed, Objective
from landscape.objective.parameters import Point
from landscape.objective.products import Part, Product
from landscape.objective.reading import losses_of_samples, reads_parameters

# Fisher information of one observation over the second derivative of the loss of one.
FISHER_SCALES = {"cross_entropy": 1.0, "bce": 1.0, "mse": 0.5}
# Samples by which a loss is seen to be linear in the outputs.
FEW = 64


def gauss_newton_operator(
    objective: Objective,
    theta: Tensor,
    fixed: Fixed | None = None,
    *,
    num_products: int = 1000,
    memory_limit: float = 2**31,
) -> Product:
    """v ↦ G v, the generalised Gauss–Newton matrix: Bᵢ = ∂²ℓᵢ/∂h², for any loss (Schraudolph 2002).

    G is the Hessian of F with the module replaced by its linearisation at θ; positive semi-definite
    where the loss is convex in the outputs. Outputs may be a tensor or nested tuples, lists and
    dictionaries of tensors. Raises BadInput, NotDifferentiable and NotFinite.
    """
    return _sandwich(objective, theta, fixed, _second_derivative_of_loss, num_products, memory_limit)


def fisher_operator(
    objective: Objective,
    theta: Tensor,
    fixed: Fixed | None = None,
    *,
    num_products: int = 1000,
    memory_limit: float = 2**31,
) -> Product:
    """v ↦ F v, the Fisher information of the model: (1/n) Σᵢ E[g gᵀ], g = −∇ log p(y | xᵢ; θ) with y drawn from p.

    p is what the loss is the negative logarithm of: for ``cross_entropy`` the categorical and for
    ``bce`` the Bernoulli distribution of the outputs, where the Fisher information *is* the
    Gauss–Newton matrix; for ``mse`` the normal distribution of variance one about each output, where
    it is half of it, as −log p = ½(h − y)² + const is half the squared error. A sample of several
    observations (outputs of ``bce`` and ``mse``, positions of ``cross_entropy``) counts with the mean
    of their Fisher informations, as the loss does (Martens 2020, sections 5, 9).

    Raises BadInput for other losses, of which no distribution is known, and for targets of
    ``cross_entropy`` that are no probabilities.
    """
    name = likelihood_of(objective.given)
    if name is None:
        raise BadInput(
            f"no distribution is known whose negative logarithm the loss {objective.loss.name} is",
            f"one of {', '.join(FISHER_SCALES)}, or torch's own without weights, smoothing and sums",
            "ask for gauss-newton, which needs none, or for empirical-fisher",
        )
    if name == "cross_entropy" and objective.samples.head.targets.is_floating_point():
        targets = objective.samples.targets
        num_wrong = int(distributed.total(((targets.double().sum(1) - 1).abs() > 1e-3).double().sum()))
        if num_wrong:
            raise BadInput(f"{num_wrong} targets of cross_entropy do not sum to one", "probabilities")
    scale = FISHER_SCALES[name]

    def middle(flat: Tensor, rebuilt: Callable[[Tensor], Any], targets: Tensor, loss: Any) -> Operator:
        curvature = _second_derivative_of_loss(flat, rebuilt, targets, loss)
        return lambda u: scale * curvature(u)

    return _sandwich(objective, theta, fixed, middle, num_products, memory_limit)


def empirical_fisher_operator(
    objective: Objective,
    theta: Tensor,
    fixed: Fixed | None = None,
    *,
    num_products: int = 1000,
    memory_limit: float = 2**31,
) -> Product:
    """v ↦ E v with E = (1/n) Σᵢ gᵢ gᵢᵀ, gᵢ the gradient of the loss of sample i at its own target.

    Where F is the sum of the samples' losses, not their mean, E is the sum too: Σᵢ gᵢ gᵢᵀ.

    Not the Fisher information, nor near it away from a good fit (Kunstner et al. 2019): a second
    moment of gradients, whose difference to ∇F∇Fᵀ is the covariance of the gradients of single samples.
    Never forms the gᵢ: Bᵢ = sᵢsᵢᵀ with sᵢ = ∂ℓᵢ/∂h, or of a loss that reads parameters itself Jᵢ = gᵢᵀ and Bᵢ = 1. The
    penalty `l2` is no part of gᵢ; what the loss itself makes of the parameters is.

    Raises BadInput where the outputs have no axis of samples, and for a loss that is not made of one per sample.
    """
    if not objective.has_sample_losses:
        raise BadInput(
            f"the empirical Fisher matrix of the loss {objective.loss.name}, no mean or sum of one per sample",
            "a loss per sample",
            "ask for gauss-newton or hessian, which need none",
        )
    point = objective.as_point(theta if fixed is None else Point(theta, fixed))
    if not reads_parameters(objective, point):
        return _sandwich(objective, theta, fixed, _outer_product_of_slopes, num_products, memory_limit)

    def losses(inputs: Any, outputs: Any, targets: Tensor) -> tuple[Tensor, Callable[[Tensor], Any]]:
        return losses_of_samples(objective, inputs, outputs, targets), lambda flat: flat

    def square(*_: Any) -> Operator:
        return lambda u: u

    return _sandwich(objective, theta, fixed, square, num_products, memory_limit, seen=losses)


OPERATORS: dict[str, Callable[..., Product | Differences | Preconditioned]] = {
    "hessian": Objective.hessian_at,
    "gauss-newton": gauss_newton_operator,
    "fisher": fisher_operator,
    "empirical-fisher": empirical_fisher_operator,
    "preconditioned": preconditioned_operator,
}
# Those that are the Hessian, as it is or in other units: they need no outputs of samples.
OF_GRADIENT = ("hessian", "preconditioned")


def operator(
    name: str,
    objective: Objective,
    theta: Tensor,
    fixed: Fixed | None = None,
    *,
    num_products: int = 1000,
    memory_limit: float = 2**31,
    by: ProductBy = "auto",
) -> Product | Differences | Preconditioned:
    """The operator ``name`` of :data:`OPERATORS` at θ. Raises BadInput for another name.

    ``by``: how a product with the Hessian is taken, see
    :meth:`~landscape.objective.objective.Objective.hessian_at`; with the others there is one way.
    """
    if name not in OPERATORS:
        raise BadInput(f"unknown operator {name!r}", f"one of {', '.join(OPERATORS)}")
    if by != "auto" and name not in OF_GRADIENT:
        raise BadInput(f"`product` {by} for the {name} matrix", "the operator hessian", "leave `product` out")
    if objective.is_closure and name not in OF_GRADIENT:
        raise BadInput(
            f"the {name} matrix of the loss {objective.loss.name}, which takes the module alone",
            "samples: it needs the outputs of each",
            "give `data` and a `loss` of (outputs, targets), or ask for the `operator` hessian",
        )
    how = {"by": by} if name in OF_GRADIENT else {}
    return OPERATORS[name](
        objective, theta, fixed, num_products=num_products, memory_limit=memory_limit, **how
    )


def gauss_newton_split(
    objective: Objective,
    theta: Tensor,
    fixed: Fixed | None,
    vectors: Tensor,
    *,
    memory_limit: float = 2**31,
) -> tuple[Tensor, Tensor]:
    """vᵀHv of each row of ``vectors`` (k, d) as Gauss–Newton part (k,) + remainder (k,), float64.

    The remainder (1/n) Σᵢ Σₖ ∂ℓᵢ/∂hₖ vᵀ∇²hₖv is what the curvature of the *module* adds; the penalty
    counts to the first part. Two products a row.
    """
    quadratic = []
    for name in ("gauss-newton", "hessian"):
        product = operator(
            name, objective, theta, fixed, num_products=len(vectors), memory_limit=memory_limit
        )
        values = [torch.dot(v.double(), product(v).double()) for v in vectors]
        quadratic.append(torch.stack(values) if values else vectors.new_zeros(0, dtype=torch.float64))
    first, whole = quadratic
    return first, whole - first


def left_out(objective: Objective, point: Point) -> list[str]:
    """What a Gauss–Newton matrix lacks of a loss that reads parameters itself, or that the module gives itself."""
    name, notes = objective.loss.name, []
    if reads_parameters(objective, point):
        notes.append(
            f"the loss {name} reads parameters itself, beside the outputs: its curvature in these is no part of the "
            "Gauss–Newton matrix"
        )
    if _is_linear(objective, point):
        notes.append(
            f"the loss {name} is linear in the outputs, as where the module gives its loss itself: its Gauss–Newton "
            "matrix is 0; let the module return what that is computed from"
        )
    return notes


def _is_linear(objective: Objective, point: Point) -> bool:
    """Whether the loss of some samples has no second derivative in their outputs, there and at others of their size."""
    inputs, targets = objective.few(FEW).picked(None)
    generator = torch.Generator().manual_seed(0)
    with torch.enable_grad(), objective.passed(point.theta, point.fixed, inputs) as outputs:
        flat, rebuilt = _packed(outputs)
        h = flat.detach().requires_grad_()
        total = objective.loss.total(rebuilt(h), targets)
        if not total.requires_grad or torch.autograd.grad(total, h, allow_unused=True)[0] is None:
            return False
        spread = float(flat.detach().double().square().mean()) ** 0.5
        for size in (0.0, spread):
            noise = torch.randn(flat.shape, generator=generator).to(flat)
            h = (flat.detach() + size * noise).requires_grad_()
            (slope,) = torch.autograd.grad(objective.loss.total(rebuilt(h), targets), h, create_graph=True)
            if not slope.requires_grad:
                continue
            try:
                (bent,) = torch.autograd.grad(slope, h, noise, allow_unused=True, materialize_grads=True)
            except RuntimeError:  # it has none, which the product says
                return False
            if bool((bent != 0).any()):
                return False
    return True


# --- the product ----------------------------------------------------------------------------


# (outputs (m,), how to shape them as the module does, targets, the objective's loss) -> B.
_Middle = Callable[[Tensor, Callable[[Tensor], Any], Tensor, Any], Operator]
# (inputs, outputs, targets) -> numbers (m,), and how to shape them for B.
_Seen = Callable[[Any, Any, Tensor], tuple[Tensor, Callable[[Tensor], Any]]]


def _sandwich(
    objective: Objective,
    theta: Tensor,
    fixed: Fixed | None,
    middle: _Middle,
    num_products: int,
    memory_limit: float,
    seen: _Seen | None = None,
) -> Product:
    """v ↦ (1/n) Σ JᵀBJ v + l2·v, graphs kept chunk by chunk up to ``memory_limit`` bytes.

    J is the Jacobian of what is ``seen`` of a chunk, by default its outputs.
    """
    point = objective.as_point(theta if fixed is None else Point(theta, fixed))
    leaf = point.theta.clone().requires_grad_()

    def part(inputs: Any, targets: Tensor) -> Part:
        wanted = _as_leaves(objective, point, inputs) if objective.stands_as_leaves else None
        with (
            _explained(),
            sdpa_kernel(SDPBackend.MATH),
            objective.passed(leaf, point.fixed, inputs) as outputs,
        ):
            if wanted is not None:
                _require_same(objective, outputs, wanted)
            flat, rebuilt = seen(inputs, outputs, targets) if seen else _packed(outputs)
            u = torch.zeros_like(flat).requires_grad_()
            # Outputs that do not depend on θ have no graph.
            pulled = (
                derivative((flat * u).sum(), leaf, create_graph=True)
                if flat.requires_grad
                else torch.zeros_like(leaf)
            )
            try:
                curvature = middle(flat, rebuilt, targets, objective.loss)
            except RuntimeError as error:
                if not objective.stands_as_leaves:
                    raise
                raise BadInput(
                    f"the loss {objective.loss.name} takes derivatives by the parameters ({error})",
                    "a function of the outputs",
                    "ask for the operator hessian",
                ) from error

        def image(v: Tensor, keep: bool) -> list[Tensor]:
            with _explained():
                pushed = second_derivative(pulled, u, v.to(leaf.dtype), keep=True)
                return [second_derivative(flat, leaf, curvature(pushed), keep)]

        return Part((flat, pulled), image, lambda: objective.computing_again(leaf, point.fixed))

    return objective.product(leaf, part, num_products=num_products, memory_limit=memory_limit)


def _as_leaves(objective: Objective, point: Point, inputs: Any) -> Any:
    """The outputs where what stands in for parameters are leaves, as in F."""
    with torch.no_grad(), objective.passed(point.theta, point.fixed, inputs) as outputs:
        return trees.mapped(Tensor.detach, outputs)


def _require_same(objective: Objective, outputs: Any, wanted: Any) -> None:
    """Raises BadInput where the outputs are others as the module stands at parts of one leaf."""
    if trees.agree(trees.mapped(Tensor.detach, outputs), wanted, 1e-3):
        return
    raise BadInput(
        f"the outputs of {type(objective.module).__name__} depend on whether its parameters are leaves",
        "a forward that takes them as they are",
        "ask requires_grad where it asks is_leaf, or for the operator hessian",
    )


@contextmanager
def _explained() -> Iterator[None]:
    """A derivative that autograd has not, where the Hessian could be had in another way."""
    try:
        yield
    except NotDifferentiable as error:
        raise NotDifferentiable(
            error.seen, error.wanted, "ask for the operator hessian, whose products can be differences of ∇F"
        ) from error


def _packed(outputs: Any) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """The real and complex numbers of ``outputs`` in one vector (m,), and how to get back."""
    moving = trees.moving(outputs)
    hidden = [int(where[0]) for where, one in trees.held(outputs).items() if where[1:] and one.requires_grad]
    if hidden or not moving:
        inside = trees.leaves(outputs)[hidden[0]] if hidden else outputs
        raise BadInput(
            f"the outputs {'hold' if hidden else 'are'} a {type(inside).__name__}",
            "tensors, in tuples, lists, dictionaries or dataclasses",
            "let the module return the tensors that the loss makes it of, or ask for the operator hessian",
        )
    shapes = [one.shape for one in moving]
    flat = torch.cat([one.reshape(-1) for one in moving])

    def rebuilt(flat: Tensor) -> Any:
        parts = flat.split([shape.numel() for shape in shapes])
        return trees.with_moving(
            outputs, [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
        )

    return flat, rebuilt


def _second_derivative_of_loss(
    flat: Tensor, rebuilt: Callable[[Tensor], Any], targets: Tensor, loss: Any
) -> Operator:
    """u ↦ (∂²ℓ/∂h²) u."""
    h = flat.detach().requires_grad_()
    slope = derivative(loss.total(rebuilt(h), targets), h, create_graph=True)
    return lambda u: second_derivative(slope, h, u, keep=True)


def _outer_product_of_slopes(
    flat: Tensor, rebuilt: Callable[[Tensor], Any], targets: Tensor, loss: Any
) -> Operator:
    """u ↦ s (sᵀu) sample by sample."""
    h = flat.detach().requires_grad_()
    outputs = rebuilt(h)
    slope = derivative(loss.total(outputs, targets), h)
    parts = trees.moving(outputs)
    count = len(targets)
    if any(one.dim() == 0 or len(one) != count for one in parts):
        raise BadInput("the outputs have no axis of samples", f"{count} along axis 0, one per sample")
    samples = torch.arange(count, device=h.device)
    sample = torch.cat([samples.repeat_interleave(one.numel() // count) for one in parts])
    return lambda u: slope * u.new_zeros(count).index_add(0, sample, slope * u)[sample]
