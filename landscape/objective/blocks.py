"""Some of the parameters by name: blocks of θ, and F as a function of a block alone."""

from fnmatch import fnmatchcase

from landscape.errors import BadInput
from landscape.numerics.pieces import Piece
from landscape.objective import parameters
from landscape.objective.objective import Objective
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

    Parameters of the outermost module itself make up the layer ``.``. Those without numbers are in none.
    """
    if per not in ("layer", "parameter"):
        raise BadInput(f"blocks per {per!r}", "layer or parameter")
    found: dict[str, tuple[Piece, ...]] = {}
    for piece in (one for one in objective.pieces if one.size):
        name = piece.name if per == "parameter" else piece.name.rpartition(".")[0] or "."
        found[name] = (*found.get(name, ()), piece)
    return found


def restricted(objective: Objective, point: Point, pieces: tuple[Piece, ...]) -> tuple[Objective, Point]:
    """The same F as a function of some parameters alone, the others fixed at ``point``; and that point in it.

    Its operators are the diagonal blocks of the whole ones, at the cost of differentiating by these
    parameters only; its penalty is that of these parameters. ``pieces`` are some of the objective's.
    """
    point = objective.as_point(point)
    part = objective.varied(pieces=pieces)
    tensors = parameters.split(point.theta, objective.pieces)
    if objective.sees_pairs:
        tensors = {one.name: parameters.by_pairs(tensors[one.name], one) for one in objective.pieces}
    theta = part.flat([tensors[piece.name] for piece in part.pieces])
    names = {piece.name for piece in pieces}
    others = {name: tensor for name, tensor in tensors.items() if name not in names}
    return part, Point(theta, {**others, **point.fixed}, point.label)
