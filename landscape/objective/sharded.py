"""F of a module that FSDP2 shards over the processes, taken as it is: a point is the part of θ that lies here.

Every process holds its rows of every parameter, a :class:`~landscape.numerics.spread.Spread`, and writes a point into
them in place; the module gathers what a layer needs when it is run, and leaves of a gradient, by ``.backward()`` on
itself, what lies here. Of such a graph autograd has no second derivative, so products are differences of gradients.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape import distributed
from landscape.errors import BadInput
from landscape.inputs.sharded import here, is_fully_sharded
from landscape.numerics.pieces import Piece
from landscape.numerics.spread import Layout, Spread, local
from landscape.objective import batchnorm, trees
from landscape.objective.batch_slope import BatchSlope
from landscape.objective.kernels import exact
from landscape.objective.leaves import Leaves
from landscape.objective.objective import Measurement, Objective
from landscape.objective.parameters import layout
from landscape.objective.parametrised import Fixed
from landscape.objective.samples import Samples
from landscape.objective.sharded_slopes import filled, layers, reshard, slopes
from landscape.objective.summed import Sum

DOUBT = "of a sharded module autograd has no second derivative"


class InParts(BadInput):
    """A module that lies in parts where each process was to compute tasks of its own."""


class Sharded(Objective):
    """An :class:`~landscape.objective.objective.Objective` of a module that ``fully_shard`` was called on.

    ``Objective(module, ...)`` makes one. Each process evaluates its share of the samples where these can be shared
    evenly, so that all of them gather the same layers at the same time; otherwise everything, which ``notes`` then say.
    Frozen parameters stay where they are.
    Raises BadInput for parameters that are sharded otherwise than by rows, or not at all, for other processes than
    those of the mesh, and for what a part of a module cannot give: a copy, another dtype, samples read as they come.
    """

    is_sharded = True

    def __init__(
        self, module: nn.Module, loss: Any, data: Any, *, pieces: Sequence[Piece] | None = None, **how: Any
    ):
        # What a layer has gathered would stay when a point is written.
        reshard(module)
        own, asked = {one.dtype for one in module.parameters() if one.requires_grad}, how.get("dtype")
        if asked is not None and asked not in own:
            here, there = (str(one).removeprefix("torch.") for one in (min(own, key=str), asked))
            raise BadInput(
                f"a module sharded in {here}, in {there}",
                "the dtype that its parts have",
                f"give `dtype` {here}, or convert it before it is sharded",
            )
        found = {piece.name: _rows(piece, module.get_parameter(piece.name)) for piece in layout(module)}
        self._rows = {name: rows for name, (rows, _) in found.items()}
        self._copies = max(copies for _, copies in found.values())
        super().__init__(module, loss, data, pieces=layout(module) if pieces is None else pieces, **how)
        self._may_batch = False
        policies = [one._get_fsdp_state()._mp_policy for one in layers(module)]
        kept = {(one.param_dtype, one.reduce_dtype, one.output_dtype) for one in policies}
        self._narrow = frozenset(one for each in kept for one in each if one is not None)

    # --- vectors --------------------------------------------------------------------------------

    @property
    def _held(self) -> Layout:
        ranges = []
        for piece in self.pieces:
            first, count = self._rows[piece.name]
            row = piece.size // max(piece.shape[0], 1) if piece.shape else 1
            if count:
                ranges.append((piece.offset + first * row, count * row))
        return Layout(self.num_parameters, tuple(ranges), self._copies)

    def spread(self, theta: Tensor) -> Spread:
        """The part here of a vector (d,), which may be whole."""
        if theta.shape != (self.num_parameters,):
            raise BadInput(f"a point of shape {tuple(theta.shape)}", f"({self.num_parameters},)")
        theta = theta.detach()
        if not isinstance(theta, Spread):
            held = self._held
            parts = [theta[first : first + count] for first, count in held.ranges]
            theta = Spread(torch.cat(parts) if parts else theta[:0].clone(), held)
        found = theta.to(self.device, self.dtype)
        assert isinstance(found, Spread)
        return found

    def flat(self, tensors: Iterable[Tensor]) -> Tensor:
        """(d,) of tensors in the shapes of the parameters, whole ones and sharded ones, taken one after the other."""
        parts = []
        for piece, tensor in zip(self.pieces, tensors, strict=True):
            first, count = self._rows[piece.name]
            is_whole = here(tensor) is tensor and not isinstance(tensor, Spread)
            part = tensor[first : first + count] if is_whole else local(here(tensor))
            parts.append(part.detach().reshape(-1))
        return Spread(torch.cat(parts), self._held)

    def _spread_out(self, theta: Tensor) -> Tensor:
        return self.spread(theta)

    def _leaf(self, theta: Tensor) -> Tensor:
        return self.spread(theta)

    # --- the module at a point ------------------------------------------------------------------

    def _fixed_tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.module.named_buffers()

    @contextmanager
    def standing(
        self, theta: Tensor | Leaves | Mapping[str, Tensor], fixed: Fixed, *, training: bool = False
    ) -> Iterator[None]:
        placed = self._parts(theta) if isinstance(theta, Tensor) else theta
        assert not isinstance(placed, Leaves)
        with self.written({**placed, **fixed}, training=training):
            yield

    @contextmanager
    def written(self, tensors: Mapping[str, Tensor], *, training: bool = False) -> Iterator[None]:
        """Inside, the rows here of the module's own parameters hold those of ``tensors``."""
        own = {name: here(self.module.get_parameter(name)).detach() for name in self._rows if name in tensors}
        beside = self._beside({name: one for name, one in tensors.items() if name not in own})
        before = {}
        with (
            distributed.needing_all(),
            exact(self.device.type),
            self._standing.at({**self._rest, **beside}, training=training),
        ):
            try:
                for name, part in own.items():
                    before[name] = part.clone()
                    part.copy_(local(here(tensors[name])))
                yield
            finally:
                reshard(self.module)
                for name, part in before.items():
                    own[name].copy_(part)

    def _parts(self, theta: Tensor) -> dict[str, Tensor]:
        part, placed, offset = self.spread(theta).part, {}, 0
        for piece in self.pieces:
            size = here(self.module.get_parameter(piece.name)).numel()
            own = here(self.module.get_parameter(piece.name))
            placed[piece.name] = part[offset : offset + size].view(own.shape)
            offset += size
        return placed

    # --- what it is worth -----------------------------------------------------------------------

    def measure_with_gradient(self, theta: Tensor, fixed: Fixed | None = None) -> tuple[Measurement, Tensor]:
        found = self._added(theta, self._fixed_or_present(fixed), counts=True)
        return Measurement(found.value, found.accuracy), found.slope.to(self.dtype)

    def _summed(self, theta: Tensor, fixed: Fixed) -> tuple[float, Tensor]:
        found = self._added(theta, fixed)
        return found.value, found.slope

    def _added(self, theta: Tensor, fixed: Fixed, *, counts: bool = False) -> Sum:
        """F, the accuracy and ∇F by ``.backward()`` on the module itself; chunks are added in float64."""
        correct = self.loss.correct if counts else None
        point, total = self.spread(theta), torch.zeros(2, dtype=torch.float64, device=self.device)
        slope: Tensor | None = None
        placed, own = self._parts(point), [self.now(piece.name) for piece in self.pieces]
        for inputs, targets in self.chunks(self.derivative_chunk()):
            with torch.enable_grad(), self.passed(placed, fixed, inputs) as outputs:
                chunk = self.loss.total(outputs, targets)
                right = correct and correct(trees.mapped(Tensor.detach, outputs), targets).double().sum()
                found = self.flat(filled(slopes(chunk, own, self.module), own))
            slope = found if slope is None else slope.double().add_(found)
            total[0] += chunk.detach()
            total[1] += torch.nan if right is None else right
        value, right = distributed.total(total).tolist()
        assert slope is not None
        value, slope = value / self.divisor, slope.div_(self.divisor)
        if self.l2:
            value += 0.5 * self.l2 * float(point.double().square().sum())
            slope.add_(point, alpha=self.l2)
        return Sum(value, right / self.num_counted if correct else torch.nan, slope)

    def batch_slope(
        self, theta: Tensor, indices: Tensor | None, fixed: Fixed, *, training: bool = False
    ) -> BatchSlope:
        samples, count = self.samples, self.num_samples if indices is None else len(indices)
        inputs, targets = samples if indices is None else samples.select(indices)
        is_counted = len(targets) > 0
        if not is_counted:
            # A layer is gathered by all processes, so that this one runs a sample that counts nothing.
            inputs, targets = samples.picked(torch.zeros(1, dtype=torch.int64))
        if training:
            batchnorm.require_splittable(self.module)
        point, own = self.spread(theta), [self.now(piece.name) for piece in self.pieces]
        with (
            torch.enable_grad(),
            self._parts_explained(len(targets)),
            self.passed(self._parts(point), fixed, inputs, training) as outputs,
        ):
            total, weight = self.loss.of_batch(outputs, targets, count)
            found = slopes(total if is_counted else 0 * total, own, self.module)
        is_reached = np.array([one is not None for one in found])
        slope = self.flat(filled(found, own)).double()
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        if is_counted:
            sums += torch.stack([total.detach().reshape(()), (total if weight is None else weight).detach()])
        mean, weight_of_all = distributed.total(sums)
        divisor = weight_of_all if self.loss.over == "weight" else self.num_copies
        mean, slope = mean / divisor, slope / divisor
        if self.l2:
            slope.add_(point, alpha=self.l2)
        return BatchSlope(mean, slope.to(self.dtype), is_reached)

    @property
    def is_repeated(self) -> bool:
        return self.is_whole or self.samples.count_here == self.samples.count

    @property
    def dtypes(self) -> frozenset[torch.dtype]:
        return super().dtypes | getattr(self, "_narrow", frozenset())

    def _shared(self, samples: Samples) -> Samples:
        if samples.is_read_anew:
            raise BadInput("a stream of samples for a sharded module", "samples that fit into memory")
        if samples.count % distributed.num_processes() == 0:
            return samples.here()
        return samples.noted(
            [
                f"{samples.count} samples are no whole number for each of {distributed.num_processes()} processes, "
                "so that each of them computes all"
            ]
        )

    # --- what it cannot give --------------------------------------------------------------------

    def _doubt(self, theta: Tensor, fixed: Fixed) -> str | None:
        self._doubts[self.pieces] = DOUBT
        return DOUBT

    def _double_backward(self, *_: Any, **__: Any) -> Any:
        raise BadInput(
            DOUBT, "differences of gradients", "leave `product` out, or ask for central-difference"
        )

    def product(self, *_: Any, **__: Any) -> Any:
        raise BadInput(
            "a matrix between the outputs of a sharded module",
            "the operator hessian",
            "leave `operator` out, or gather the module, as "
            "torch.distributed.checkpoint.state_dict.get_model_state_dict does, and give it whole",
        )

    def module_at(self, *_: Any, **__: Any) -> nn.Module:
        raise _cannot("a copy")

    def varied(self, **what: Any) -> "Objective":
        device, dtype = what.get("device"), what.get("dtype")
        if what.get("module") is not None:
            raise _cannot("another module")
        if (dtype or self.dtype) != self.dtype or torch.device(device or self.device) != self.device:
            raise _cannot("another dtype or device")
        return super().varied(**what)


def type_of(module: nn.Module) -> type:
    """The class of a module, that which it had before ``fully_shard`` gave it another."""
    return type(module).__bases__[-1] if is_fully_sharded(module) else type(module)


def _rows(piece: Piece, parameter: Tensor) -> tuple[tuple[int, int], int]:
    """(first, number) of the rows here of a parameter, and how many processes hold them."""
    from torch.distributed.tensor import DTensor, Replicate, Shard

    if not isinstance(parameter, DTensor):
        raise BadInput(
            f"{piece.name} is not sharded, though others are",
            "one call of fully_shard on the whole module at last",
        )
    mesh, placements = parameter.device_mesh, parameter.placements
    if mesh.size() == distributed.num_launched() > distributed.num_processes():
        raise InParts(
            f"a module sharded over {mesh.size()} processes, each of which computes tasks of its own",
            "hessian, slice1d, slice2d, sharpness, compare, interpolate or connect, which take one",
            "gather the module, as torch.distributed.checkpoint.state_dict.get_model_state_dict does, and give it "
            "whole",
        )
    if mesh.size() != distributed.num_processes():
        raise BadInput(
            f"a mesh of {mesh.size()} processes, where there are {distributed.num_processes()}",
            "a mesh of all that torchrun started",
            "start them by torchrun, and call fully_shard on a mesh of all",
        )
    sharded = [number for number, one in enumerate(placements) if type(one) is Shard and one.dim == 0]
    if len(sharded) != 1 or not all(
        isinstance(one, Replicate) for one in placements if type(one) is not Shard
    ):
        raise BadInput(
            f"{piece.name} is placed as {placements}", "rows in parts, as fully_shard alone gives them"
        )
    size, place = mesh.size(sharded[0]), mesh.get_local_rank(sharded[0])
    each = -(-parameter.shape[0] // size)
    first = min(place * each, parameter.shape[0])
    return (first, len(parameter.to_local())), mesh.size() // size


def _cannot(what: str) -> BadInput:
    return BadInput(
        f"{what} of a sharded module",
        "what a module in parts can give",
        "gather the module, and give it whole",
    )
