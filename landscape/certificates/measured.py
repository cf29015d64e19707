"""The numbers that certificates go by, at one point: ranks, gradients, floors, kinks."""

from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.certificates import kernel
from landscape.certificates.inactive import Woken, woken
from landscape.certificates.linear import LinearNet, floor, linear_net
from landscape.certificates.losses import Meaning
from landscape.certificates.structure import Structure, structure_at
from landscape.certificates.two_layer import TwoLayers, pattern_matrix, two_layers
from landscape.errors import BadInput, NotFinite
from landscape.numerics.rank import FACTOR, Rank, numerical_rank, rank_of
from landscape.numerics.spectra.lanczos import top_eigenpairs
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.reading import reads_parameters
from landscape.progress import Progress, silent

# n·k of the largest kernel that is formed.
LARGEST = 4096
# Residual of an eigenvalue of K by Lanczos, over the largest.
LANCZOS = 1e-10


@dataclass
class Measured:
    """Of one point. ``errors`` (n, k) are h − y of the square loss, n·∂F/∂h of another.

    ``last``: the rank of what the last layer multiplies, ``last_width`` columns, one of ones where it trains a bias,
    out of n; ``last_gradient_norm`` is ‖∇F‖ of its parameters. ``kernel``: the rank of K out of n·k, ``matrix`` K
    itself where it was formed; ``is_converged``: else its extreme eigenvalues have been found. ``num_moving``:
    parameters on which some output depends. ``floor``: see :func:`~landscape.certificates.linear.floor`. ``reads``: the
    loss reads parameters itself, so that ∇F is more than Jᵀ∂F/∂h.
    """

    point: Point
    structure: Structure
    meaning: Meaning
    loss: float
    gradient: Tensor
    errors: Tensor
    features: dict[str, Rank]
    last: Rank | None
    last_width: int
    last_gradient_norm: float
    kernel: Rank
    matrix: Tensor | None
    is_converged: bool
    num_moving: int
    net: LinearNet | None
    product: Rank | None
    floor: float | None
    two: TwoLayers | None
    pattern: Rank | None
    woken: Woken | None
    reads: bool

    @property
    def gradient_norm(self) -> float:
        return float(torch.linalg.vector_norm(self.gradient))

    @property
    def num_outputs(self) -> int:
        """n·k."""
        return self.errors.numel()

    @property
    def loss_bound(self) -> float:
        """nk‖∇F‖²/(4 λ_min(K)), at least F of the square loss; infinite where nothing is bounded."""
        if not self.meaning.is_square or not self.kernel.is_sure:
            return torch.inf
        return self.num_outputs * self.gradient_norm**2 / (4 * self.kernel.smallest)

    @property
    def last_layer_bound(self) -> float:
        """nk‖∇F of the last layer‖²/(4 σₙ²), at least F of the square loss; infinite where nothing is bounded."""
        if not self.meaning.is_square or self.last is None or not self.last.is_sure:
            return torch.inf
        return self.num_outputs * self.last_gradient_norm**2 / (4 * self.last.smallest**2)


def measured(
    objective: Objective,
    point: Point,
    meaning: Meaning,
    *,
    is_dense: bool = True,
    seed: int = 0,
    progress: Progress = silent,
) -> Measured:
    """What there is to measure at ``point`` of an objective without a penalty.

    Raises BadInput for outputs without samples and a kernel that is too large, NotDifferentiable, NotFinite.
    """
    structure = structure_at(objective, point)
    if not bool(torch.isfinite(structure.outputs).all()):
        raise NotFinite("the outputs are not finite at this point", "finite ones")
    flat = structure.outputs.reshape(-1)
    if is_dense:
        require_room(objective.num_samples, len(flat) // objective.num_samples)
    loss, gradient = objective.value_and_gradient(point.theta, point.fixed)
    slopes = kernel.errors_of(objective, point, flat).reshape(structure.outputs.shape)
    k = structure.outputs.shape[1]
    errors = slopes * (k / 2) if meaning.is_square else slopes
    matrix, is_converged = None, True
    if is_dense:
        matrix, moving = kernel.dense_kernel(objective, point, progress=progress)
        num_moving = int(moving.sum())
        rank = kernel_rank(matrix, _known_to(objective))
    else:
        random = torch.randn(len(flat), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        num_moving = int(kernel.pulled(objective, point, random.to(flat)).count_nonzero())
        rank, is_converged = _extreme(objective, point, len(flat), num_moving, seed, progress)
    net = linear_net(structure, objective, point)
    two = two_layers(structure, objective)
    last, last_width, last_norm = _last(structure, objective, gradient)
    targets = structure.outputs - errors
    reads = reads_parameters(objective, point)
    return Measured(
        point=point,
        structure=structure,
        meaning=meaning,
        loss=loss,
        gradient=gradient,
        errors=errors,
        features=_features(structure),
        last=last,
        last_width=last_width,
        last_gradient_norm=last_norm,
        kernel=rank,
        matrix=matrix,
        is_converged=is_converged,
        num_moving=num_moving,
        net=net,
        product=net and _product_rank(net),
        floor=floor(net, targets) if net and meaning.is_square else None,
        two=two,
        pattern=two and numerical_rank(pattern_matrix(two), full=len(structure.outputs)),
        # What a loss makes of the weights themselves changes with them by ε² too.
        woken=None if reads or two is None else woken(objective, structure, two, slopes),
        reads=reads,
    )


def require_room(num_samples: int, k: int) -> None:
    """Raises BadInput, saying how large, for a kernel that is not to be formed."""
    size = num_samples * k
    if size > LARGEST:
        raise BadInput(
            f"a tangent kernel of {size} × {size} numbers, {8e-9 * size**2:.2g} GB (n = {num_samples} samples times "
            f"k = {k} outputs)",
            f"n·k of at most {LARGEST}",
            f"take a part of the samples with `subset` {LARGEST // max(k, 1)}, or its extreme eigenvalues alone with "
            "`kernel` lanczos",
        )


def kernel_rank(matrix: Tensor, epsilon: float) -> Rank:
    """The rank of K (nk, nk) by its eigenvalues, which are known to ``epsilon``."""
    values = torch.linalg.eigvalsh(matrix)
    return rank_of(values, len(matrix), max(epsilon, torch.finfo(matrix.dtype).eps))


def _known_to(objective: Objective) -> float:
    """What eigenvalues of K are known to: of what single precision adds to J the squares are next to nothing."""
    coarse = torch.finfo(objective.coarsest)
    return coarse.eps if coarse.bits < 32 else torch.finfo(torch.float64).eps


def _extreme(
    objective: Objective, point: Point, size: int, num_moving: int, seed: int, progress: Progress
) -> tuple[Rank, bool]:
    """By the ends of the spectrum alone: full where the smallest is more than its error, else at most one less.

    At most the number of parameters that move an output, too. And whether both ends have converged; that no smaller
    eigenvalue was missed is assumed.
    """
    pairs = top_eigenpairs(
        kernel.kernel_operator(objective, point),
        size,
        1,
        bottom=1,
        tol=LANCZOS,
        search=False,
        generator=torch.Generator().manual_seed(seed),
        device=objective.device,
        progress=lambda done, total: progress(done, total, "products"),
    )
    largest, smallest = float(pairs.values.max()), max(0.0, float(pairs.values.min()))
    threshold = FACTOR * size * _known_to(objective) * largest + float(pairs.residuals.max())
    is_full = smallest > threshold and num_moving >= size
    most = size if is_full else min(size - 1, num_moving)
    # With fewer columns than rows K has the eigenvalue 0, of which Lanczos finds the rounding.
    least = smallest if num_moving >= size else 0.0
    rank = Rank(most, size, least, least, largest, threshold, is_bound=not is_full)
    return rank, bool(pairs.converged.all())


def _features(structure: Structure) -> dict[str, Rank]:
    """By layer, each once: what a layer that is called several times receives first."""
    found: dict[str, Rank] = {}
    for layer in structure.layers:
        name = layer.name.removesuffix(".weight")
        if name not in found:
            found[name] = numerical_rank(layer.features)
    return found


def _product_rank(net: LinearNet) -> Rank:
    # Each factor adds its rounding, so that the size that counts is that of all of them.
    values = torch.linalg.svdvals(net.product)
    return rank_of(values, sum(net.widths), torch.finfo(net.product.dtype).eps)


def _last(structure: Structure, objective: Objective, gradient: Tensor) -> tuple[Rank | None, int, float]:
    """Rank of the last layer's features out of n, their width, ‖∇F‖ of its parameters; None where these do not move."""
    layer = structure.last
    spans = {piece.name: piece.span for piece in objective.pieces}
    if layer is None or layer.name not in spans:
        return None, 0, 0.0
    features, own = layer.features, [layer.name]
    if layer.bias_name in spans:
        features, own = torch.cat([features, features.new_ones(len(features), 1)], 1), [*own, layer.bias_name]
    slope = torch.cat([gradient[spans[name]] for name in own])
    rank = numerical_rank(features, full=len(features))
    return rank, features.shape[1], float(torch.linalg.vector_norm(slope))
