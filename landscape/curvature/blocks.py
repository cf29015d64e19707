"""Some of the parameters by name: diagonal blocks of an operator, and F as a function of a block alone."""

import copy
from dataclasses import replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from landscape import distributed
from landscape.errors import BadInput
from landscape.numerics.pieces import Piece
from landscape.numerics.spectra.krylov import Operator
from landscape.objective import parameters
from landscape.objective.objective import Fixed, Objective
from landscape.objective.parameters import Point


def matching(pieces: tuple[Piece, ...], pattern: str) -> tuple[Piece, ...]:
    """The pieces whose name, or the name of a module that holds them, matches the glob ``pattern``.

    ``hidden1``, ``hidden1.*`` and ``hidden1.[wb]*`` are the same for a linear layer. Raises BadInput
    listing the names where none does.
    """
    found = tuple(p for p in pieces if fnmatchcase(p.name, pattern) or fnmatchcase(p.name, f"{pattern}.*"))
    if not found:
        names = ", ".join(piece.name for piece in pieces)
        raise BadInput(f"no parameter matches {pattern!r}", f"a pattern for some of {names}")
    return found


def blocks(objective: Objective, *, per: str = "layer") -> dict[str, tuple[Piece, ...]]:
    """θ cut into blocks by name: one per ``layer`` (the module that owns the parameters) or ``parameter``.

    Parameters of the outermost module itself make up the layer ``.``.
    """
    if per not in ("layer", "parameter"):
        raise BadInput(f"blocks per {per!r}", "layer or parameter")
    found: dict[str, tuple[Piece, ...]] = {}
    for piece in objective.pieces:
        name = piece.name if per == "parameter" else piece.name.rpartition(".")[0] or "."
        found[name] = (*found.get(name, ()), piece)
    return found


def restricted(objective: Objective, point: Point, pieces: tuple[Piece, ...]) -> tuple[Objective, Point]:
    """The same F as a function of some parameters alone, the others fixed at ``point``; and that point in it.

    Its operators are the diagonal blocks of the whole ones, at the cost of differentiating by these
    parameters only; its penalty is that of these parameters. ``pieces`` are some of the objective's.
    """
    point = objective.as_point(point)
    part = copy.copy(objective)
    chosen: list[Piece] = []
    for piece in sorted(pieces, key=lambda piece: piece.offset):
        chosen.append(replace(piece, offset=sum(one.size for one in chosen)))
    part.pieces = tuple(chosen)
    tensors = parameters.split(point.theta, objective.pieces)
    theta = parameters.flatten(tensors, part.pieces)
    names = {piece.name for piece in chosen}
    others = {name: tensor for name, tensor in tensors.items() if name not in names}
    return part, Point(theta, {**others, **point.fixed}, point.label)


def block_operator(
    operator: Operator, pieces: tuple[Piece, ...], pattern: str
) -> tuple[Operator, tuple[Piece, ...]]:
    """v ↦ P A Pᵀ v for vectors of the parameters that match ``pattern``, and these pieces.

    ``operator`` is v ↦ A v on all ``pieces``. Works for any A, at the cost of its whole product; a
    block of one of our operators is cheaper by :func:`restricted`. Raises BadInput.
    """
    chosen = matching(pieces, pattern)
    dimension = pieces[-1].span.stop
    rows = torch.cat([torch.arange(dimension)[piece.span] for piece in chosen])

    def product(v: Tensor) -> Tensor:
        if v.shape != rows.shape:
            raise BadInput(f"a vector of shape {tuple(v.shape)}", f"{tuple(rows.shape)}")
        inside = rows.to(v.device)
        return operator(v.new_zeros(dimension).index_copy(0, inside, v))[inside]

    return product, chosen


def unused_parameters(objective: Objective, theta: Tensor, fixed: Fixed | None = None) -> list[str]:
    """Names of the parameters that the loss does not depend on at θ: no road leads from them to F.

    Their rows of every operator are zero but for the penalty.
    """
    point = objective.as_point(theta if fixed is None else Point(theta, fixed))
    leaves = {
        name: tensor.clone().requires_grad_()
        for name, tensor in parameters.split(point.theta, objective.pieces).items()
    }
    used = torch.zeros(len(leaves), dtype=torch.float64, device=objective.device)
    for inputs, targets in objective.chunks():
        if bool(used.all()):
            break
        outputs = objective.outputs(point.theta, {**point.fixed, **leaves}, inputs)
        total = objective.loss.total(outputs, targets)
        if total.requires_grad:
            slopes = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
            used += torch.tensor([slope is not None for slope in slopes]).to(used)
    used = distributed.total(used).tolist()
    return [name for name, count in zip(leaves, used, strict=True) if not count]
