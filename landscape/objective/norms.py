"""Which layers normalise, where torch does not say so itself: by their parameters and by what they do to the data."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from landscape.numerics.pieces import Piece
from landscape.objective.contractions import PRODUCTS
from landscape.objective.parameters import NORMS

# What a layer does that divides by a spread of what it gets, if it is not one operation.
NORMALISING = ("layer_norm", "batch_norm", "group_norm", "rms_norm")
MEANS = {"mean", "sum", "var", "var_mean", "std", "std_mean", "linalg_vector_norm", "norm"}
ROOTS = {"sqrt", "sqrt_", "std", "std_mean", "linalg_vector_norm", "norm"}
DIVISIONS = {"div", "div_", "reciprocal", "reciprocal_"}


def scaling_layers(module: nn.Module, pieces: Sequence[Piece]) -> dict[nn.Module, list[str]]:
    """Layers that torch does not know, with nothing but vectors of one length: a norm has no other parameters.

    With the names of these among ``pieces``.
    """
    found: dict[nn.Module, list[str]] = {}
    for piece in pieces:
        layer = module.get_submodule(piece.name.rpartition(".")[0])
        own = list(layer.parameters())
        is_torch = isinstance(layer, NORMS) or type(layer).__module__.startswith("torch.")
        are_alike = all(one.numel() == max(one.shape, default=1) == own[0].numel() for one in own)
        if not is_torch and are_alike and len(own) == len(list(layer.parameters(recurse=False))):
            found.setdefault(layer, []).append(piece.name)
    return found


def step_of(func: Any, args: Sequence[Any]) -> str:
    """What an operation is called among the steps of a layer."""
    name = func.overloadpacket.__name__
    if name in ("pow", "pow_") and isinstance(args[1], float) and abs(args[1]) == 0.5:
        return "sqrt" if args[1] > 0 else "rsqrt"
    return name


def normalises(steps: set[str]) -> bool:
    """Whether what was done to the data divides them by their spread, and multiplies no matrices."""
    if steps & {one.__name__ for one in PRODUCTS}:
        return False
    if any(part in step for step in steps for part in NORMALISING):
        return True
    divides = "rsqrt" in steps or (steps & ROOTS and steps & DIVISIONS)
    return bool(steps & MEANS and divides)
