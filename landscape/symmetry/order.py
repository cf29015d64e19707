"""How many arrangements of a module's hidden units are the same function: the order of its permutation group."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.objective import trees
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.symmetry.permutations import Symmetry
from landscape.symmetry.rescaling import CONVOLUTIONS, HOMOGENEOUS, ODD, Junction, junctions
from landscape.symmetry.verified import batch_experts, function_difference, in_double, symmetry_of

# Samples on which it is tried, and what rounding may move the outputs by, relative.
FEW, ROUNDING = 4, 1e-9
# Unit by unit, so that permuted units give permuted results.
POINTWISE = (*HOMOGENEOUS, *ODD, nn.Sigmoid, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.SELU, nn.CELU, nn.Mish)
POINTWISE += (nn.ReLU6, nn.Hardsigmoid, nn.Hardswish, nn.LogSigmoid)
Change = Callable[[Tensor], Tensor]
# Beyond it a product is said as a power of ten.
LARGEST = 10**9


class Order(NamedTuple):
    """Permutations of hidden units that leave F as it is at every θ: a symmetric group of each of ``sizes`` units.

    ``num_scales`` units can have incoming weights times any c > 0 and outgoing ones over c, ``num_signs`` c = −1.
    ``reason``: why it is not known, '' where it is.
    """

    sizes: tuple[int, ...]
    num_scales: int = 0
    num_signs: int = 0
    reason: str = ""

    @property
    def log10(self) -> float:
        """Of the order, Π size!; NaN where it is not known."""
        return math.nan if self.reason else sum(math.lgamma(size + 1) for size in self.sizes) / math.log(10)

    @property
    def text(self) -> str:
        """The product, a layer after the other, and what it is.

        >>> Order((5, 5)).text, Order((3, 2)).text, Order(()).text
        ('(5!)^2 = 14400', '3!·2! = 12', '1')
        >>> Order((100, 100, 100)).text
        '(100!)^3 ≈ 10^473.9'
        """
        if self.reason:
            return "not known"
        if not self.sizes:
            return "1"
        parts = [
            f"{size}!" if count == 1 else f"({size}!)^{count}" for size, count in Counter(self.sizes).items()
        ]
        is_small = self.log10 <= math.log10(LARGEST)
        value = f"= {math.prod(map(math.factorial, self.sizes))}" if is_small else f"≈ 10^{self.log10:.1f}"
        return f"{'·'.join(parts)} {value}"


def order_of(objective: Objective, seed: int = 0) -> Order:
    """The order of the group that acts on θ while buffers and frozen parameters stay as they are.

    Layers that follow each other in an ``nn.Sequential`` are tried on the module itself: two permutations generate all
    of them. Any other module is traced.
    """
    point = objective.present_point()
    try:
        module = batch_experts(objective.module_at(point, device="cpu", dtype=torch.float64))
        inputs = trees.mapped(in_double, objective.few(FEW).inputs)
        tried = Tried(module, inputs, objective, point, seed)
        chain = junctions(module, objective.pieces, between=POINTWISE)
        if all(piece.size == 1 for piece in objective.pieces):
            # Numbers without an axis, along which no unit can lie.
            sizes = ()
        elif _is_all(module, chain, objective) and all(map(tried.permutes, chain)):
            sizes = tuple(one.num_units for one in chain if one.num_units > 1)
        else:
            sizes = _traced(module, inputs, objective, seed)
        scales = sum(one.num_units for one in junctions(module, objective.pieces) if tried.scales(one, 2.0))
        odd = junctions(module, objective.pieces, odd=True)
        return Order(sizes, scales, sum(one.num_units for one in odd if tried.scales(one, -1.0)))
    except (LandscapeError, RuntimeError) as error:
        return Order((), reason=str(error))


class Tried:
    """Changes of θ tried on the outputs of a few samples, at a point beside the present one."""

    def __init__(
        self, module: nn.Module, inputs: tuple[Any, ...], objective: Objective, point: Point, seed: int
    ):
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(point.theta.shape, generator=generator, dtype=torch.float64)
        # Of parameters that are all equal, or 0, any change is none.
        theta = (
            point.theta.detach().cpu().double()
            + 0.1 * (0.1 + point.theta.detach().cpu().double().abs()) * noise
        )
        self.module, self.inputs = module, inputs
        self.tensors = {piece.name: theta[piece.span].reshape(piece.shape) for piece in objective.pieces}

    def permutes(self, one: Junction) -> bool:
        """Whether both generators of the symmetric group leave the outputs: a turn by one, and a swap."""
        turn = torch.arange(one.num_units).roll(1)
        swap = torch.arange(one.num_units)
        swap[:2] = swap[:2].flip(0)
        return all(self._stays(one, lambda t, p=p: t[p]) for p in (turn, swap))

    def scales(self, one: Junction, by: float) -> bool:
        """Whether incoming weights times ``by`` and outgoing ones over it leave the outputs."""
        return self._stays(one, lambda t: t * by, lambda t: t / by)

    def _stays(self, one: Junction, rows: Change, columns: Change | None = None) -> bool:
        moved = dict(self.tensors)
        for piece in one.incoming:
            tensor = moved[piece.name]
            moved[piece.name] = rows(tensor.reshape(one.num_units, -1)).reshape(tensor.shape)
        tensor = moved[one.outgoing.name]
        units = tensor.reshape(tensor.shape[0], one.num_units, -1).transpose(0, 1)
        change = rows if columns is None else columns
        moved[one.outgoing.name] = change(units).transpose(0, 1).reshape(tensor.shape)
        return function_difference(self.module, self.tensors, moved, [self.inputs]) <= ROUNDING


def tried_junctions(objective: Objective, *, odd: bool = False, seed: int = 0) -> list[Junction]:
    """The junctions of ReLU-like layers, or ``odd`` ones, whose scaling, or sign, leaves outputs on a few samples.

    A module may call the layers of its ``nn.Sequential`` one by one, with something else between.
    """
    found = junctions(objective.module, objective.pieces, odd=odd)
    if not found:
        return []
    point = objective.present_point()
    module = objective.module_at(point, device="cpu", dtype=torch.float64)
    inputs = trees.mapped(in_double, objective.few(FEW).inputs)
    tried = Tried(module, inputs, objective, point, seed)
    return [one for one in found if tried.scales(one, -1.0 if odd else 2.0)]


def _is_all(module: nn.Module, chain: list[Junction], objective: Objective) -> bool:
    """Whether the chain holds every layer, and these every parameter of θ."""
    layers = [one for one in module.modules() if type(one) is nn.Linear or type(one) in CONVOLUTIONS]
    own = {id(p) for layer in layers for p in layer.parameters()}
    names = {name for name, p in module.named_parameters() if id(p) in own}
    return len(chain) == len(layers) - 1 and {piece.name for piece in objective.pieces} <= names


def _traced(module: nn.Module, inputs: tuple[Any, ...], objective: Objective, seed: int) -> tuple[int, ...]:
    symmetry = symmetry_of(module, inputs, seed=seed).symmetry
    tensors = {name: t.detach() for name, t in (*module.named_parameters(), *module.named_buffers())}
    own, sizes = {piece.name for piece in objective.pieces}, []
    for number in symmetry.free:
        group = symmetry.groups[number]
        if group.size < 2 or not _leaves_the_rest(symmetry, number, tensors, own):
            continue
        copies = 1 if group.outer is None else symmetry.groups[group.outer].size
        sizes += [group.size] * copies
    return tuple(sizes)


def _leaves_the_rest(symmetry: Symmetry, group: int, tensors: dict[str, Tensor], own: set[str]) -> bool:
    """Whether what is no part of θ, as noise of each unit, is the same for all units of the group."""
    for block in symmetry.of(group):
        if block.tensor not in own:
            values, axis = block.of(tensors), block.groups.index(group)
            if not bool((values == values.narrow(axis, 0, 1)).all()):
                return False
    return True


def orders(
    family: Callable[[int, int, int], Objective], depths: Sequence[int], widths: Sequence[int], seed: int
) -> dict[str, np.ndarray]:
    """The orders of ``family(width, depth, seed)``, (depth, width), by field of a result."""
    found = [[order_of(family(width, depth, seed), seed) for width in widths] for depth in depths]

    def each(value: Callable[[Order], Any]) -> np.ndarray:
        return np.array([[value(one) for one in row] for row in found])

    return {
        "permutations": each(lambda one: one.text),
        "log10_permutations": each(lambda one: one.log10),
        "num_scales": each(lambda one: one.num_scales),
        "num_signs": each(lambda one: one.num_signs),
    }
