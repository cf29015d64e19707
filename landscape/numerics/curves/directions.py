"""Directions to cut a landscape along: random and filter-normalised, principal components, planes through points."""

from collections.abc import Collection, Sequence
from typing import NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from landscape.choices import Norm, Role
from landscape.errors import BadInput
from landscape.numerics.pieces import Piece
from landscape.numerics.vectors import filter_norms, is_rounding, least_squares, normal

NORMS = get_args(Norm)
IGNORABLE = get_args(Role)


class Components(NamedTuple):
    """Principal directions (2, d), the variance each explains, and what two of a random walk would explain."""

    directions: Tensor
    explained: np.ndarray
    explained_by_random_walk: np.ndarray


def random_direction(
    theta: Tensor,
    pieces: Sequence[Piece],
    *,
    norm: str = "filter",
    ignore: Collection[str] = ("bias", "norm"),
    generator: torch.Generator,
) -> Tensor:
    """A standard normal direction (d,), rescaled to ‖d_f‖ = ‖w_f‖ for every filter f (Li et al. 2018, section 4).

    ``norm='layer'`` rescales each parameter as a whole, ``'none'`` not at all. Roles in ``ignore`` get
    a zero direction, and so do filters that are zero. The draw is float64 on the CPU, so one seed gives
    one direction on every device and for every dtype. Raises BadInput when nothing is left.
    """
    draw = normal(theta, generator)
    direction = normalised(draw, theta, pieces, norm=norm, ignore=ignore)
    if not bool(direction.any()):
        raise BadInput(
            f"the direction is zero: every parameter is ignored ({', '.join(sorted(ignore))}) or zero",
            "something to move along",
            "ignore less",
        )
    return direction


def normalised(
    direction: Tensor, theta: Tensor, pieces: Sequence[Piece], *, norm: str, ignore: Collection[str] = ()
) -> Tensor:
    """``direction`` with each filter (or layer) as long as that of θ; the dtype and device are θ's."""
    if norm not in NORMS:
        raise BadInput(f"normalisation {norm!r}", f"one of {', '.join(NORMS)}")
    unknown = set(ignore) - set(IGNORABLE)
    if unknown:
        raise BadInput(f"cannot ignore {', '.join(sorted(unknown))}", f"some of {', '.join(IGNORABLE)}")
    weights = theta.detach().cpu().double()
    result = torch.zeros_like(weights)
    for piece in pieces:
        if piece.role in ignore:
            continue
        part = direction[piece.span].detach().cpu().double()
        if norm == "none":
            result[piece.span] = part
        elif norm == "layer":
            own, wanted = (torch.linalg.vector_norm(one[None], dim=1) for one in (part, weights[piece.span]))
            result[piece.span] = _rescaled(part, own, wanted)
        else:
            own, wanted = (filter_norms(piece, one) for one in (part, weights[piece.span]))
            result[piece.span] = _rescaled(part, own, wanted)
    return result.to(theta.device, theta.dtype)


def orthogonalised(direction: Tensor, against: Tensor) -> Tensor:
    """``direction`` without its part along ``against``, at its former length.

    Raises BadInput where the two are parallel.
    """
    first, second = direction.double(), against.double()
    length = torch.linalg.vector_norm(first)
    if not bool(second.any()):
        raise BadInput("a direction of length zero", "two directions that span a plane")
    for _ in range(2):
        first = first - second * (torch.dot(first, second) / torch.dot(second, second))
    rest = torch.linalg.vector_norm(first)
    if rest <= 1e-10 * length:
        raise BadInput("the two directions are parallel", "two directions that span a plane")
    return (first * (length / rest)).to(direction.dtype)


def gram_matrix(directions: Tensor) -> np.ndarray:
    """Inner products of the directions, (m, d) -> (m, m), float64."""
    wide = directions.double()
    return (wide @ wide.T).cpu().numpy()


def principal_components(trajectory: Tensor, centre: Tensor) -> Components:
    """The two principal directions of ``trajectory`` (T, d) about ``centre`` (d,), exactly, by the Gram matrix.

    As in Li et al. (2018), section 7.2, the differences θ_t − θ_final are not centred on their mean.
    Both directions have unit length. For a random walk of T equal independent steps in many dimensions
    the Gram matrix tends to min(T − s, T − t), so its explained variance is known without drawing one
    (Antognini and Sohl-Dickstein 2018). Raises BadInput when fewer than two independent differences exist.
    """
    differences = (trajectory - centre).double()
    eigenvalues, vectors = torch.linalg.eigh(differences @ differences.T)
    eigenvalues, vectors = eigenvalues.flip(0).clamp_min(0), vectors.flip(1)
    if len(eigenvalues) < 2 or float(eigenvalues[1]) <= 1e-12 * float(eigenvalues[0]):
        raise BadInput(
            f"a trajectory of {len(trajectory)} points spans no plane",
            "at least two checkpoints in different directions from the final point",
            "train with `checkpoint_every`",
        )
    first, second = (vectors[:, :2] / eigenvalues[:2].sqrt()).T @ differences
    # The Gram matrix squares the condition of the differences; what rounding left is taken off.
    first = first / torch.linalg.vector_norm(first)
    second = orthogonalised(second, first)
    directions = torch.stack([first, second / torch.linalg.vector_norm(second)])
    moved = int((differences.abs().sum(1) > 0).sum())
    left = np.arange(moved, 0, -1, dtype=float)
    walk = np.linalg.eigvalsh(np.minimum.outer(left, left))[::-1]
    return Components(
        directions.to(centre.dtype),
        (eigenvalues[:2] / eigenvalues.sum()).cpu().numpy(),
        walk[:2] / walk.sum(),
    )


def plane_through(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """An orthonormal basis (2, d) of the plane through three points, first axis along b − a (Garipov et al. 2018).

    Raises BadInput when two are the same or the three lie on one line, both to rounding.
    """
    first, second = (b - a).double(), (c - a).double()
    wanted = "three points that span a plane"
    if any(is_rounding(one, a, b, c) for one in (first, second, second - first)):
        raise BadInput("two of the three points are the same", wanted)
    beside = second - first * (torch.dot(first, second) / torch.dot(first, first))
    is_none = float(torch.linalg.vector_norm(beside)) <= 1e-10 * float(torch.linalg.vector_norm(second))
    if is_none or is_rounding(beside, a, b, c):
        raise BadInput("the three points lie on one line", wanted)
    second = orthogonalised(second, first)
    rows = [one / torch.linalg.vector_norm(one) for one in (first, second)]
    return torch.stack(rows).to(a.dtype)


def coordinates(points: Tensor, origin: Tensor, directions: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares coordinates (T, m) of ``points`` (T, d) on a plane, and their distances (T,) from it."""
    offsets, wide = (points - origin).double(), directions.double()
    solved = least_squares(wide, offsets)
    distance = torch.linalg.vector_norm(offsets - solved @ wide, dim=1)
    return solved.cpu().numpy(), distance.cpu().numpy()


def _rescaled(values: Tensor, own: Tensor, wanted: Tensor) -> Tensor:
    """``values`` of lengths ``own`` at the lengths ``wanted``; what is zero stays zero."""
    return torch.where(own > 0, values * (wanted / own), torch.zeros_like(values))
