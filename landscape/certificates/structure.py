"""What a module does with the data at one point: the features of its layers, its kinks, its units; by one watched pass.

Every operation of the user's own module is seen as torch carries it out, whether a layer or a function of the
module's makes it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from landscape.certificates.kinks import KINKS, OTHERS, aten, is_broken, slope_below
from landscape.errors import BadInput
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point

# Rounding of a function computed twice, relative.
SAME = 1e-10
# How far a point near by is, in each weight: relative, and absolute of weights that are 0.
NEAR = 0.1


@dataclass
class Layer:
    """Features (n, width) that a parameter ``name`` multiplies: ``made`` = features · weightᵀ + bias.

    ``weight`` (outputs, width) and ``bias`` (outputs,), None where it is no such product of one row a sample.
    ``source`` and ``target`` say where in memory the features and what was made of them lie.
    """

    name: str
    features: Tensor
    weight: Tensor | None
    bias: Tensor | None
    bias_name: str
    source: int
    target: int


@dataclass
class Kink:
    """One piecewise linear operation: its arguments (n, …), slopes there, and distances from the kink.

    ``distances`` (n, …) are |wᵀx|/(‖w‖‖x‖) where a weight made the argument, |z|/max|z| otherwise; infinite where the
    layer receives nothing, so that nothing can cross. ``below``: the slope under 0, one number for all; NaN where it is
    learned. ``factor`` (n, …): what its results are multiplied by at once, which the slopes then hold; else None.
    """

    arguments: Tensor
    slopes: Tensor
    distances: Tensor
    source: int
    target: int
    below: float = torch.nan
    factor: Tensor | None = None


@dataclass
class Structure:
    """Layers and kinks in the order in which they are met, inputs (n, d₀) and outputs (n, k).

    Layers whose features are not one row a sample are left out. ``unfollowed``: operations whose kinks are not at 0;
    ``repeated``: parameters that are used more than once, whatever becomes of them before; ``elsewhere``: the same at a
    point near by.
    """

    inputs: Tensor
    outputs: Tensor
    layers: list[Layer] = field(default_factory=list)
    kinks: list[Kink] = field(default_factory=list)
    unfollowed: set[str] = field(default_factory=set)
    repeated: set[str] = field(default_factory=set)
    elsewhere: "Structure | None" = None

    @property
    def last(self) -> Layer | None:
        """The layer whose products are the outputs, its features multiplied by its own weight alone; else None.

        Near by as well: at a point alone, z and z² agree where z = 0.
        """
        layer = self.layers[-1] if self.layers else None
        if layer is None or layer.weight is None or len(layer.features) != len(self.outputs):
            return None
        # A parameter that is used before as well is no last layer alone.
        if layer.name in self.repeated:
            return None
        made = layer.features @ layer.weight.T + (0.0 if layer.bias is None else layer.bias)
        if made.shape != self.outputs.shape or not same(made, self.outputs):
            return None
        other = self.elsewhere and self.elsewhere.last
        return layer if self.elsewhere is None or (other and other.name == layer.name) else None

    @property
    def nearest_kink(self) -> float:
        """The smallest distance of a sample from a kink; infinite where there is none."""
        every = [float(one.distances.min()) for one in self.kinks if one.distances.numel()]
        return min(every, default=torch.inf)

    @property
    def num_patterns(self) -> int:
        """How many activation patterns the samples have."""
        parts = [(one.arguments > 0).flatten(1) for one in self.kinks]
        return len(torch.unique(torch.cat(parts, 1), dim=0)) if parts else 1

    @property
    def num_dead(self) -> int:
        """Units that no sample activates: their slope is 0 at every one, so that nothing of them moves an output."""
        return sum(int(_dead(one).sum()) for one in self.kinks)

    @property
    def num_inactive(self) -> int:
        """Hidden units whose incoming weights, a bias among them, and outgoing are all 0 (Haeffele and Vidal 2017).

        Layers that receive the same stand side by side and have no units between them.
        """
        found = 0
        for first, second in pairwise(self.layers):
            if first.weight is not None and second.weight is not None and first.source != second.source:
                rows, columns = first.weight, second.weight
                if rows.shape[0] == columns.shape[1]:
                    still = (rows == 0).all(1) & (True if first.bias is None else first.bias == 0)
                    found += int((still & (columns == 0).all(0)).sum())
        return found


def structure_at(objective: Objective, point: Point) -> Structure:
    """What the module does with all of the data at ``point``. Raises BadInput for outputs without samples."""
    whole = _seen(objective, point)
    if whole.layers:
        whole.elsewhere = _seen(objective, near(point, whole.layers))
    if whole.last is not None and not _stands_alone(objective, point, whole.last):
        whole.repeated.add(whole.last.name)
    return whole


def _stands_alone(objective: Objective, point: Point, last: Layer) -> bool:
    """Whether the features of the last layer stay as they are while its parameters alone move."""
    theta, moved = point.theta.clone(), near(point, ()).theta
    for piece in objective.pieces:
        if piece.name in (last.name, last.bias_name):
            theta[piece.span] = moved[piece.span]
    other = _seen(objective, Point(theta, point.fixed)).last
    if other is None or other.name != last.name or other.features.shape != last.features.shape:
        return False
    return same(other.features, last.features)


def near(point: Point, layers: Sequence[Layer]) -> Point:
    """A point at random near ``point``, frozen weights of its layers moved as well."""
    generator = torch.Generator().manual_seed(0)
    names = {name for layer in layers for name in (layer.name, layer.bias_name)}

    def moved(tensor: Tensor) -> Tensor:
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor)
        return tensor + NEAR * (NEAR + tensor.abs()) * noise

    theta = moved(point.theta)
    return Point(theta, {name: moved(one) if name in names else one for name, one in point.fixed.items()})


def _seen(objective: Objective, point: Point) -> Structure:
    parts: list[Structure] = []
    for inputs, _ in objective.chunks():
        watch = _Watch(objective, point)
        # The pass itself happens as the context is entered.
        with torch.no_grad(), watch, objective.passed(point.theta, point.fixed, inputs) as outputs:
            parts.append(watch.ended(inputs, outputs))
    return _joined(parts)


class _Watch(TorchDispatchMode):
    """Inside, products with parameters and operations with kinks are noted down, what they touch kept alive."""

    def __init__(self, objective: Objective, point: Point):
        super().__init__()
        self._pieces = {piece.offset: piece for piece in objective.pieces}
        self._theta = point.theta.untyped_storage().data_ptr()
        self._start, self._dtype = point.theta.storage_offset(), point.theta.dtype
        self._fixed = {_place(tensor): name for name, tensor in point.fixed.items() if tensor.numel() > 1}
        self._layers: list[Layer] = []
        self._kinks: list[Kink] = []
        self._unfollowed: set[str] = set()
        self._made: dict[int, Layer] = {}
        self._alive: list[Any] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # To be kept out of the compiler, torch would load it first.
        return False

    def ended(self, inputs: Any, outputs: Any) -> Structure:
        """What was seen, once the module has returned."""
        if not isinstance(outputs, Tensor) or not outputs.is_floating_point() or outputs.dim() == 0:
            what = (
                f"of shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
            )
            raise BadInput(f"outputs {what}", "one tensor of numbers, with the samples along axis 0")
        first = next((one for one in inputs if isinstance(one, Tensor)), None)
        # A module may round to another dtype than that of θ.
        outputs = outputs.detach().to(torch.promote_types(outputs.dtype, self._dtype))
        given = outputs.new_empty(len(outputs), 0) if first is None else _rows(first.detach())
        names = Counter(one.name for one in self._layers)
        repeated = {name for name, count in names.items() if count > 1}
        layers = [one for one in self._layers if len(one.features) == len(outputs)]
        return Structure(given, _rows(outputs), layers, self._kinks, self._unfollowed, repeated)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        with self:
            # In inference mode operations come before they are taken apart.
            made = func.decompose(*args, **kwargs)
        if made is not NotImplemented:
            return made
        operation = func.overloadpacket
        is_kink = operation in KINKS and not args[0].is_complex()
        before = args[0].detach().clone() if is_kink else None
        made = func(*args, **kwargs)
        if not is_kink:
            self._overwritten(func, args)
        if before is not None:
            self._bend(before, args[0], made, slope_below(operation, args))
        elif operation in OTHERS or is_broken(operation, args):
            self._unfollowed.add(func._schema.name.partition("::")[2])
        elif operation is not aten.mul or not self._scale(args, made):
            self._multiply(operation, args, made)
        return made

    def _scale(self, args: Sequence[Any], made: Tensor) -> bool:
        """Notes down that what a kink gave is multiplied, number by number, in whichever order they stand."""
        for given, factor in (args, args[::-1]):
            kink = next((one for one in self._kinks if one.target == _place(given) != 0), None)
            if kink is not None and isinstance(factor, Tensor) and factor.shape == given.shape:
                self._alive += [factor, made]
                kink.slopes, kink.target = kink.slopes * factor, _place(made)
                kink.factor = factor.clone() if kink.factor is None else kink.factor * factor
                return True
        return False

    def _overwritten(self, func: Any, args: Sequence[Any]) -> None:
        """What is changed in place is no longer what a layer or a kink has made."""
        for about, given in zip(func._schema.arguments, args, strict=False):
            if about.alias_info is None or not about.alias_info.is_write or not isinstance(given, Tensor):
                continue
            storage = given.untyped_storage()
            start = storage.data_ptr()
            for one in (*self._layers, *self._kinks):
                if start <= one.target < start + storage.nbytes():
                    self._made.pop(one.target, None)
                    one.target = -1

    def _bend(self, before: Tensor, given: Tensor, made: Tensor, below: float) -> None:
        self._alive += [given, made]
        slopes = made.detach() / torch.where(before == 0, 1.0, before)
        layer = self._made.get(_place(given))
        places = _place(given), _place(made)
        self._kinks.append(Kink(before, slopes, _distances(before, layer), *places, below))

    def _multiply(self, operation: Any, args: Sequence[Any], made: Any) -> None:
        """Notes down a product of data with a parameter, in whichever order they stand."""
        bias, factors = None, args[:2]
        if operation in (aten.addmm, aten.addmv):
            bias, factors = args[0], args[1:3]
        elif operation not in (aten.mm, aten.mv, aten.bmm, aten.mul, aten.convolution):
            return
        if len(factors) < 2 or not all(isinstance(one, Tensor) for one in factors) or made.is_complex():
            return
        names = [self._name(one) for one in factors]
        if bool(names[0]) == bool(names[1]):
            return
        data, weight = factors if names[1] else factors[::-1]
        if operation is aten.mul and (
            data.dim() != 2 or weight.numel() != data.shape[-1] or weight.numel() < 2
        ):
            return
        self._alive += [*factors, made]
        data, weight = data.detach(), weight.detach()
        if operation is aten.bmm:
            if len(data) > 1:
                return
            data, weight = data[0], weight[0]
        wide = None
        if operation is aten.mul:
            wide = weight.reshape(1, -1)
        elif operation is not aten.convolution:
            is_second = bool(names[1])
            wide = weight[None] if weight.dim() == 1 else weight.T if is_second else weight
            data = data if is_second or data.dim() == 1 else data.T
            data = data[None] if data.dim() == 1 else data
        layer = Layer(
            names[0] or names[1],
            _rows(data).clone(),
            None if wide is None else wide.clone(),
            None if bias is None else bias.detach().clone().reshape(-1),
            "" if bias is None else self._name(bias),
            _place(data),
            _place(made),
        )
        self._layers.append(layer)
        if wide is not None and operation is not aten.mul:
            self._made[_place(made)] = layer

    def _name(self, tensor: Tensor) -> str:
        """The parameter or buffer whose numbers, all of them, a tensor holds; '' for anything else."""
        if tensor.numel() < 1 or tensor.layout != torch.strided:
            return ""
        if tensor.untyped_storage().data_ptr() == self._theta:
            offset: Any = tensor.storage_offset()
            piece = self._pieces.get(offset - self._start)
            return piece.name if piece and piece.size == tensor.numel() and piece.role != "norm" else ""
        return self._fixed.get(_place(tensor), "")


def _place(tensor: Any) -> int:
    """Where the numbers of a tensor begin, as long as it is kept alive."""
    return tensor.data_ptr() if isinstance(tensor, Tensor) and tensor.layout == torch.strided else 0


def _rows(tensor: Tensor) -> Tensor:
    return tensor.flatten(1) if tensor.dim() > 1 else tensor[:, None]


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one shape agree to rounding."""
    gap = float((one - other).abs().max()) if one.numel() else 0.0
    return gap <= SAME * max(1.0, float(other.abs().max()) if other.numel() else 0.0)


def _distances(arguments: Tensor, layer: Layer | None) -> Tensor:
    size = arguments.abs()
    if layer is None or layer.weight is None or size.shape != (len(layer.features), len(layer.weight)):
        return size / (float(size.max()) or 1.0) if size.numel() else size
    rows, length = layer.weight.square().sum(1), layer.features.square().sum(1)
    if layer.bias is not None:
        rows, length = rows + layer.bias.square(), length + 1
    scale = torch.outer(length, rows).sqrt()
    still = (length == 0)[:, None].expand_as(size)
    return torch.where(still, torch.inf, size / torch.where(scale == 0, 1.0, scale))


def _dead(kink: Kink) -> Tensor:
    """Of every unit, whether no sample has a slope there; the channels of an image are units."""
    moves = kink.slopes != 0
    if moves.dim() > 2:
        moves = moves.flatten(2).any(2)
    return ~moves.any(0)


def _joined(parts: Sequence[Structure]) -> Structure:
    """The chunks of the data as one; places in memory are those of the first."""
    whole = parts[0]
    if len(parts) == 1:
        return whole
    shapes = [[(layer.name, layer.features.shape[1]) for layer in one.layers] for one in parts]
    if any(one != shapes[0] for one in shapes):
        # Of some chunk a row is no sample, which only looks like one in another.
        shared = set(shapes[0]).intersection(*shapes[1:])
        for part, shape in zip(parts, shapes, strict=True):
            part.layers = [one for one, name in zip(part.layers, shape, strict=True) if name in shared]
    for others in zip(*(one.layers for one in parts), strict=False):
        others[0].features = torch.cat([one.features for one in others])
    for others in zip(*(one.kinks for one in parts), strict=False):
        for name in ("arguments", "slopes", "distances", "factor"):
            if all(getattr(one, name) is not None for one in others):
                setattr(others[0], name, torch.cat([getattr(one, name) for one in others]))
    whole.inputs = torch.cat([one.inputs for one in parts])
    whole.outputs = torch.cat([one.outputs for one in parts])
    whole.unfollowed = set().union(*(one.unfollowed for one in parts))
    return whole
