"""A module as a function of one vector: its trainable parameters as θ, the points it can stand at.

Everything is computed on the module itself with other tensors in place of its own, which are put back,
also when something raises half way.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.inputs.sharded import is_fully_sharded, require_whole
from landscape.numerics.pieces import Piece
from landscape.objective import batchnorm
from landscape.objective.arguments import call
from landscape.objective.kernels import exact, require_derivatives, require_own_dtypes
from landscape.objective.leaves import Leaves
from landscape.objective.memory import (
    require_dense,
    require_numbers,
    require_own_listing,
    require_own_memory,
)
from landscape.objective.parameters import (
    Point,
    by_pairs,
    chosen,
    flatten,
    layout,
    require,
    require_own,
    split,
)
from landscape.objective.samples import in_dtype
from landscape.objective.standing import Standing, copied, unwrapped, unwrapped_names

Fixed = Mapping[str, Tensor]


class Parametrised:
    """``module`` with its trainable parameters, or ``pieces`` of them alone, as θ of shape (d,).

    On ``device``, and everything in ``dtype`` where one is given. Otherwise every tensor keeps its own, and θ has the
    least dtype that holds the numbers of all parameters: of a bfloat16 embedding under a float32 head, float32. It
    stands in eval mode, or in ``training`` mode, and what calls write into its buffers is put back.
    """

    # Whether of every vector of parameters a part lies here: see :mod:`landscape.objective.sharded`.
    is_sharded = False

    def __init__(
        self,
        module: nn.Module,
        *,
        dtype: torch.dtype | None,
        device: str | torch.device | None,
        pieces: Sequence[Piece] | None,
        training: bool = False,
    ):
        if not isinstance(module, nn.Module):
            raise BadInput(f"the module is a {type(module).__name__}", "a torch.nn.Module")
        if not (self.is_sharded and is_fully_sharded(module)):
            require_whole(module)
        module = unwrapped(module)
        require_own_listing(module)
        require_dense(module)
        whole = layout(module)
        require_numbers(module)
        require_own_memory(module)
        self.module = module
        self.pieces: tuple[Piece, ...] = whole if pieces is None else chosen(pieces)
        self._num_trainable = len(whole)
        reference = next(p for p in module.parameters() if p.requires_grad)
        floats = {p.dtype for p in module.parameters() if p.is_floating_point()}
        self.dtype = dtype or reduce(torch.promote_types, floats, reference.dtype)
        self.device = torch.device(device) if device is not None else reference.device
        self._asked = dtype
        # Whether θ stands as leaves also where nothing is differentiated: a forward that goes down the slope of a loss
        # of its own asks for derivatives by the parameters, and a penalty may be of those alone that require_grad.
        self.stands_as_leaves = False
        # Whether it sees parameters of pairs as complex numbers, and so wants them at even places.
        self.sees_pairs = False
        # The diagonal P of an adaptive method, by the names of the parameters: see curvature.preconditioned.
        self.preconditioner: Mapping[str, Tensor] | None = None
        self._standing = Standing(module, is_training=training)
        held = [*module.named_parameters(), *module.named_buffers()]
        self._dtypes = {
            name: tensor.dtype if dtype is None else in_dtype(tensor, dtype) for name, tensor in held
        }
        # What stands in where a call gives nothing else: frozen parameters as they are, buffers to write into.
        self._rest = {
            name: self._converted(
                name, one.detach() if isinstance(one, nn.Parameter) else one.detach().clone()
            )
            for name, one in self._fixed_tensors()
        }

    @property
    def num_parameters(self) -> int:
        """d, the length of θ."""
        return self.pieces[-1].span.stop

    @property
    def is_part(self) -> bool:
        """Whether θ is of some of the trainable parameters alone, the others fixed."""
        return len(self.pieces) < self._num_trainable

    @property
    def training(self) -> bool:
        """Whether the module stands in training mode."""
        return self._standing.is_training

    @property
    def has_own_modes(self) -> bool:
        """Whether ``train()`` or ``eval()`` of the module or one of its layers is its own."""
        return self._standing.has_own_modes

    @property
    def is_mixed(self) -> bool:
        """Whether some parameter or buffer of real numbers is in another dtype than θ."""
        return any(dtype != self.dtype for dtype in self._dtypes.values() if dtype.is_floating_point)

    @property
    def is_double(self) -> bool:
        """Whether θ, and everything beside it, is in float64."""
        return self.dtype == torch.float64 and not self.is_mixed

    @property
    def theta(self) -> Tensor:
        """The module's present parameters, shape (d,)."""
        return self.present_point().theta

    @property
    def layers(self) -> dict[str, nn.Module]:
        """The modules that are run, by name: the user's own, to hook for a while and not to change."""
        return dict(self.module.named_modules())

    @property
    def has_batchnorm(self) -> bool:
        """Whether the module keeps running statistics that belong to one θ."""
        return bool(batchnorm.normalisation_layers(self.module))

    def require_as_made(self) -> None:
        """Raises BadInput for a module that has other layers or parameters than this was made of, or has θ frozen."""
        self._require_own_layers()
        if frozen := [one.name for one in self.pieces if not self.now(one.name).requires_grad]:
            raise _outdated(frozen, "parameters of its module were frozen")

    def _require_own_layers(self) -> None:
        if replaced := self._standing.replaced():
            raise _outdated(replaced, "layers of its module were replaced, added or taken away, with")

    def _require_as_asked(self) -> None:
        """Of every call, also one that no analysis makes: its own layers, its own dtypes."""
        require_own_dtypes()
        if not self._standing.is_familiar:
            self._require_own_layers()
            self._standing.become_familiar()

    def present_point(self, label: str = "present") -> Point:
        """The module as it stands now: θ, and the buffers and frozen parameters beside it."""
        self._require_own_layers()
        return self.point(
            {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}, label
        )

    def point(self, tensors: Mapping[str, Tensor], label: str = "") -> Point:
        """A Point from tensors by name; buffers that no state_dict holds may be absent and are the module's.

        The names may be those of the module before data parallelism or a compiler was taken off it.
        Raises BadInput naming every missing or misshapen tensor, those that the module has not, and two for one
        that it ties.
        """
        fixed = dict(self._fixed_tensors())
        kept = self.module.state_dict().keys()
        tensors = unwrapped_names(tensors, kept)
        tensors = {**{name: fixed[name] for name in fixed.keys() - kept}, **tensors}
        shapes = {piece.name: piece.shape for piece in self.pieces}
        shapes |= {name: tuple(tensor.shape) for name, tensor in fixed.items()}
        about = label or "the point", type(self.module).__name__
        require(tensors, shapes, *about)
        if others := tensors.keys() - shapes.keys():
            named = dict(self.module.named_parameters(remove_duplicate=False))
            named |= dict(self.module.named_buffers(remove_duplicate=False))
            first = {id(named[name]): name for name in shapes if name in named}
            tied = {
                name: first[id(named[name])] for name in others & named.keys() if id(named[name]) in first
            }
            require_own(tensors, tied, {*shapes, *named, *kept}, *about)
        theta = self.flat([tensors[piece.name] for piece in self.pieces]).to(self.device, self.dtype)
        beside = {name: self._converted(name, tensors[name].detach().clone()) for name in fixed}
        return Point(theta, beside, label)

    def as_point(self, point: Point | Tensor) -> Point:
        """``point`` itself, or a vector of shape (d,) with the module's present buffers."""
        if isinstance(point, Point):
            theta, fixed, label = point.theta, point.fixed, point.label
        else:
            theta, fixed, label = point, self._fixed_or_present(None), ""
        if theta.shape != (self.num_parameters,):
            raise BadInput(f"a point of shape {tuple(theta.shape)}", f"({self.num_parameters},)")
        return Point(self._spread_out(theta.detach()).to(self.device, self.dtype), fixed, label)

    def brought(self, point: Point) -> tuple[Tensor, Fixed]:
        """θ of shape (d,) and what stands beside it, on the device and in the dtypes of this objective."""
        return self._spread_out(point.theta.detach()).to(self.device, self.dtype), self._beside(point.fixed)

    def module_at(
        self,
        point: Point | Tensor,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> nn.Module:
        """A copy of the module that stands at the point, its frozen parameters and buffers too.

        In the mode, on the device and in the dtypes of the objective, unless others are given.
        """
        self._require_own_layers()
        point = self.as_point(point)
        tensors = {**self._rest, **split(point.theta, self.pieces), **point.fixed}
        with self._standing.written({}):
            module = copied(self.module)
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            wanted = self._dtypes[name] if dtype is None else in_dtype(tensor, dtype)
            # By way of the CPU, as not every device knows every dtype.
            tensor.data = tensors.get(name, tensor).detach().cpu().to(wanted, copy=True)
        return module.to(device or self.device)

    def called(self, inputs: Sequence[Any]) -> Any:
        """What the module, as it stands, makes of a chunk's inputs."""
        return call(self.module, inputs)

    @contextmanager
    def standing(
        self, theta: Tensor | Leaves | Mapping[str, Tensor], fixed: Fixed, *, training: bool = False
    ) -> Iterator[None]:
        """Inside, the user's own module stands at θ with ``fixed`` beside it; afterwards as before, bit for bit.

        θ may be given by its pieces, which then are what stands in the module.
        """
        self._require_as_asked()
        placed = self._placed(theta) if isinstance(theta, Tensor | Leaves) else theta
        tensors = {**self._rest, **placed, **fixed}
        if self.stands_as_leaves:
            for name, own in self.module.named_parameters():
                if own.requires_grad and not tensors[name].requires_grad:
                    # With memory of its own, by which some tell parameters apart.
                    tensors[name] = tensors[name].detach().clone().requires_grad_()
                # What a user has marked it with, and what isinstance(tensor, nn.Parameter) asks for, or its type.
                vars(tensors[name]).update(vars(own), _is_param=True)
                if type(own).__torch_function__ is nn.Parameter.__torch_function__ and tensors[name].is_leaf:
                    tensors[name].__class__ = type(own)
        with exact(self.device.type), self._standing.at(tensors, training=training):
            yield

    def leaves_nothing(self, *, training: bool) -> bool:
        """Whether a call was seen to leave nothing behind in the module, buffers aside; not before the first one."""
        return self._standing.leaves_nothing(training=training)

    @contextmanager
    def written(self, tensors: Mapping[str, Tensor], *, training: bool = False) -> Iterator[None]:
        """Inside, the module's own tensors hold the numbers of ``tensors``, in the mode of F or in training."""
        self._require_as_asked()
        tensors = {**self._rest, **self._beside(tensors)}
        with exact(self.device.type), self._standing.written(tensors, training=training):
            yield

    @contextmanager
    def in_training(self) -> Iterator[None]:
        """Inside, the module stands in training mode."""
        before = self._standing.is_training
        self._standing.is_training = True
        try:
            yield
        finally:
            self._standing.is_training = before

    def now(self, name: str) -> Tensor:
        """What is in the place of one of the module's tensors at present."""
        return self._standing.now(name)

    def flat(self, tensors: Iterable[Tensor]) -> Tensor:
        """(d,) of tensors in the shapes of the parameters; always a copy."""
        return flatten({one.name: part for one, part in zip(self.pieces, tensors, strict=True)}, self.pieces)

    def _spread_out(self, theta: Tensor) -> Tensor:
        """θ (d,) as the vectors of this objective lie."""
        return theta

    def _fixed_tensors(self) -> Iterator[tuple[str, Tensor]]:
        trainable = {piece.name for piece in self.pieces}
        yield from ((name, p) for name, p in self.module.named_parameters() if name not in trainable)
        yield from self.module.named_buffers()

    def _fixed_or_present(self, fixed: Fixed | None) -> Fixed:
        if fixed is not None:
            return fixed
        self._require_as_asked()
        present = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        return {
            name: self._converted(name, present[name].detach().clone()) for name, _ in self._fixed_tensors()
        }

    def _converted(self, name: str, tensor: Tensor) -> Tensor:
        """``tensor`` as it stands beside θ under that name."""
        return tensor.to(self.device, self._dtypes[name])

    def _beside(self, fixed: Fixed) -> Fixed:
        """``fixed`` as it stands beside θ."""
        return {name: self._converted(name, tensor) for name, tensor in fixed.items()}

    def _placed(self, theta: Tensor | Leaves) -> dict[str, Tensor]:
        """The parameters of θ by name, each in its own dtype."""
        parts = split(theta, self.pieces) if isinstance(theta, Tensor) else theta.parts
        if self.sees_pairs:
            parts = {piece.name: by_pairs(parts[piece.name], piece) for piece in self.pieces}
        return {name: part.to(self._dtypes[name]) for name, part in parts.items()} if self.is_mixed else parts

    def _leaf(self, theta: Tensor) -> Tensor:
        if theta.shape != (self.num_parameters,):
            raise BadInput(f"a point of shape {tuple(theta.shape)}", f"({self.num_parameters},)")
        require_derivatives()
        return theta.detach().to(self.device, self.dtype).requires_grad_()


def _outdated(names: Sequence[str], what: str) -> BadInput:
    some = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return BadInput(
        f"since the objective was made {what} {some}",
        "the layers and the trainable parameters that it was made of",
        "make the objective anew",
    )
