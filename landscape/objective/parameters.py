"""Module ↔ flat vector: what each piece of θ is called, its shape, its role and its filters."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from landscape import distributed
from landscape.errors import BadInput
from landscape.numerics.pieces import Piece, conventional
from landscape.numerics.spread import Spread, local
from landscape.objective.uses import listed

NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
# Layers of torch whose weights have their output units along axis 0, or where _units says.
KNOWN = (
    nn.Linear,
    nn.Bilinear,
    nn.modules.conv._ConvNd,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
)
# Of what two architectures differ in, so much is told.
MOST_FAULTS = 4
# What two models of which one ties parameters are brought together by.
TIED = "train or import both with them tied, or both with them apart"


@dataclass(frozen=True)
class Point:
    """A parameter vector with everything else its module needs to be itself.

    ``theta`` has shape (d,); ``fixed`` holds buffers and frozen parameters by name; ``label`` says
    where the point came from.
    """

    theta: Tensor
    fixed: Mapping[str, Tensor]
    label: str = ""

    def __repr__(self) -> str:
        """A line, whatever is in it: a notebook prints what a cell ends with."""
        label = f" {self.label}" if self.label else ""
        fixed = f", and {len(self.fixed)} fixed tensors" if self.fixed else ""
        return f"Point{label}: {self.theta.numel()} parameters, {str(self.theta.dtype).removeprefix('torch.')}{fixed}"

    @property
    def sha256(self) -> str:
        """The hash of all its numbers; of those of one in parts every process has to ask for it."""
        digest = hashlib.sha256()
        for name, tensor in {"theta": self.theta, **self.fixed}.items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(local(tensor).detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        if isinstance(self.theta, Spread):
            return hashlib.sha256("".join(distributed.everyones(digest.hexdigest())).encode()).hexdigest()
        return digest.hexdigest()


def layout(module: nn.Module) -> tuple[Piece, ...]:
    """The pieces of θ: trainable parameters in ``named_parameters()`` order, tied ones once.

    Raises BadInput for a module without trainable parameters, and for parameters that are complex
    or not initialised yet.
    """
    pieces: list[Piece] = []
    offset = 0
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise BadInput(
                f"parameter {name} is not initialised", remedy="send one batch through the lazy module"
            )
        if not parameter.is_floating_point():
            remedy = (
                "hold its parts, torch.nn.Parameter(torch.view_as_real(w)), and take torch.view_as_complex of these in "
                "the forward"
            )
            raise BadInput(f"parameter {name} is {parameter.dtype}", "real floating-point parameters", remedy)
        owner = module.get_submodule(name.rpartition(".")[0])
        shape = tuple(parameter.shape)
        piece = Piece(
            name,
            shape,
            offset,
            "norm" if isinstance(owner, NORMS) else name_of_role(name, shape),
            _units(parameter, owner),
            is_guess=len(shape) > 1 and not _is_known(owner),
        )
        pieces.append(piece)
        offset += piece.size
    if offset == 0:
        raise BadInput(
            f"{type(module).__name__} has no trainable parameter",
            "at least one parameter with requires_grad",
            "a landscape needs something to move",
        )
    return tuple(pieces)


def chosen(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Some of the pieces of θ as all of a shorter one, in the order of their offsets."""
    found: list[Piece] = []
    for piece in sorted(pieces, key=lambda piece: piece.offset):
        found.append(replace(piece, offset=found[-1].span.stop if found else 0))
    return tuple(found)


def require(
    tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], label: str, module: str
) -> None:
    """Raises BadInput naming some of ``shapes`` that ``tensors`` lack or have otherwise, and how many more."""
    missing = [name for name in shapes if name not in tensors]
    faults = [
        f"{name} {tuple(tensors[name].shape)} instead of {shape}" if name in tensors else f"{name} missing"
        for name, shape in shapes.items()
        if name in missing or tuple(tensors[name].shape) != shape
    ]
    if not faults:
        return
    alike = [
        [one for one in tensors if one in shapes and len(shapes[name]) > 1 and shapes[one] == shapes[name]]
        for name in missing
    ]
    remedy = ""
    if len(faults) == len(missing) == 1 and alike[0]:
        remedy = f"where {missing[0]} is tied to {alike[0][0]} there, as embeddings may be: {TIED}"
    said = f"{label} does not fit this architecture: {listed(faults, MOST_FAULTS)}"
    raise BadInput(said, f"the parameters of {module}", *([remedy] if remedy else []))


def require_own(
    tensors: Mapping[str, Tensor], first: Mapping[str, str], known: Collection[str], label: str, module: str
) -> None:
    """Raises BadInput where ``tensors`` hold others than are ``known`` of a module, or two for one that it ties.

    ``first``: the first name of every tensor that has several, by each of its names.
    """
    if strange := [name for name in tensors if name not in known]:
        some = ", ".join(strange[:3]) + (" and others" if len(strange) > 3 else "")
        raise BadInput(
            f"{label} does not fit this architecture: it holds {some}", f"the parameters of {module} alone"
        )
    for name in first.keys() & tensors.keys():
        one, other = tensors[name], tensors[first[name]]
        # NaN of a model that diverged is as much the same.
        if one.shape != other.shape or not bool(((one == other) | (one.isnan() & other.isnan())).all()):
            seen = f"{label} has a {name} apart from its {first[name]}, where {module} ties one to the other"
            raise BadInput(seen, "one tensor for both", TIED)


def flatten(tensors: Mapping[str, Tensor], pieces: Sequence[Piece]) -> Tensor:
    """θ of shape (d,) from tensors by name; always a copy."""
    return torch.cat([tensors[piece.name].detach().reshape(-1) for piece in pieces])


def split(theta: Tensor, pieces: Sequence[Piece]) -> dict[str, Tensor]:
    """Views of θ under the parameters' names and in their shapes."""
    parts = theta.split([piece.size for piece in pieces])
    return {piece.name: part.view(piece.shape) for piece, part in zip(pieces, parts, strict=True)}


def are_odd_pairs(piece: Piece) -> bool:
    """Whether a parameter may be seen by torch.view_as_complex, which takes no tensor that begins at an odd number."""
    return piece.shape[-1:] == (2,) and piece.span.start % 2 == 1


def by_pairs(part: Tensor, piece: Piece) -> Tensor:
    """``part`` of a vector (d,) as torch.view_as_complex takes it, and what is differentiated once and twice.

    A product with 1 makes a tensor of its own forwards and in both backward passes; a clone does forwards alone.
    """
    is_odd = piece.shape[-1:] == (2,) and (piece.span.start % 2 or part.storage_offset() % 2)
    return part * 1 if is_odd else part


def name_of_role(name: str, shape: tuple[int, ...]) -> str:
    """The role of a parameter that is no part of a normalisation layer."""
    if len(shape) >= 2:
        return "weight"
    return "bias" if "bias" in name.rpartition(".")[2] else "vector"


def _units(parameter: Tensor, owner: nn.Module) -> tuple[int, ...]:
    shape = tuple(parameter.shape)
    if isinstance(owner, nn.modules.conv._ConvTransposeNd) and len(shape) >= 2:
        return (owner.groups, shape[1], *(1 for _ in shape[2:]))
    return conventional(shape)


def _is_known(owner: nn.Module) -> bool:
    """Whether torch itself says what a layer does with its weights."""
    return isinstance(owner, KNOWN) and type(owner).forward.__module__.startswith("torch.")
