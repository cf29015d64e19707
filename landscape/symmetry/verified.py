"""A symmetry that was found is tried: random permutations must leave the function as it is."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from landscape.errors import BadInput
from landscape.objective import trees
from landscape.objective.arguments import call, placed
from landscape.objective.modes import in_mode
from landscape.symmetry.opened import opened
from landscape.symmetry.permutations import permuted
from landscape.symmetry.tracing import Traced, traced
from landscape.symmetry.untraced import kernel

# What a symmetry may move the outputs by, relative, by the coarsest dtype that a module in float64 computes in inside.
PRESERVED = {torch.float64: 1e-9, torch.float32: 2e-5}


def batch_experts(module: nn.Module) -> nn.Module:
    """``module``, a copy, with the experts of models of ``transformers`` in a kernel to be traced, in float64 too.

    The others go by the values of the data, or take no float64. And with embeddings whose slopes are those of all rows:
    the row for padding has one of 0, though what is read is the row. Of objects it returns the tensors.
    """
    for one in module.modules():
        if isinstance(one, nn.Embedding):
            one.padding_idx = None
        switch: Any = getattr(one, "set_experts_implementation", None)
        if switch is not None and getattr(one.config, "_experts_implementation", None) is not None:
            switch("batched_mm")
    return opened(module)


def symmetry_of(module: nn.Module, inputs: tuple[Any, ...], *, seed: int = 0) -> Traced:
    """The permutations of hidden units that leave the function of ``module`` as it is.

    Found from its graph on ``inputs`` (a few samples along axis 0); then all groups are permuted at random
    in float64, and where the outputs move by more than rounding of their size (1e-9; 2e-5 where the module computes in
    float32 inside), each one alone: those that change the function are blocked and say so. The module stays as it
    is. Raises BadInput for a module that cannot be traced, or not be called in float64.
    """
    module = batch_experts(in_mode(copy.deepcopy(module), False).double().cpu().requires_grad_())
    inputs = trees.mapped(in_double, inputs)
    _require_float64(module, inputs)
    found = traced(module, inputs)
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: t.detach() for name, t in (*module.named_parameters(), *module.named_buffers())}
    symmetry, tolerance = found.symmetry, preserved(found)

    again = function_difference(module, tensors, tensors, [inputs])
    if not again < torch.inf:
        raise BadInput(
            f"outputs of {type(module).__name__} that are not finite, or of which there are none",
            "numbers, as those of a symmetric point are compared with them",
        )
    if not again <= tolerance:
        raise BadInput(
            f"outputs of {type(module).__name__} at the same numbers that are {again:.2g} of their size apart",
            "outputs that a second call gives again, as those of a symmetric point are compared with them",
            "give what it draws at random as an input, or draw it from a generator with a seed of its own",
        )

    def changes(only: int | None = None) -> str:
        """By how much the outputs move, where that is more than rounding."""
        other = permuted(tensors, symmetry, symmetry.random(generator, only))
        gap = function_difference(module, tensors, other, [inputs])
        return "" if gap <= tolerance else f"changed the outputs by {gap:.2g} of their size"

    if found.is_parted and changes():
        found = traced(module, inputs, parting=False)
        symmetry, tolerance = found.symmetry, preserved(found)
    if changes():
        for group in symmetry.free:
            if said := changes(group):
                symmetry = symmetry.without(group, f"permuting it {said}")
        if said := changes():
            for group in symmetry.free:
                symmetry = symmetry.without(group, f"permuting it with others {said}")
    return found._replace(symmetry=symmetry)


def _require_float64(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    try:
        with torch.no_grad():
            call(module, trees.mapped(torch.clone, inputs))
    except RuntimeError as error:
        if "does not require grad" in str(error):
            raise BadInput(
                f"{type(module).__name__} takes derivatives in its forward, through which no unit can be followed",
                "a forward without torch.autograd.grad",
                "give the module inside of it that is differentiated, with data of its own",
            ) from error
        raise BadInput(
            f"{type(module).__name__} cannot be called in float64 ({str(error).splitlines()[0]})",
            "operations that take float64, in which a symmetry is tried",
            kernel(str(error))
            or "choose another kernel of that operation where the model's configuration offers one, and write "
            "`x.to(weight.dtype)` in the place of `x.float()`",
        ) from error


def preserved(found: Traced) -> float:
    """What rounding may move the outputs of a traced module by, max |Δh| over max |h|."""
    return PRESERVED.get(found.coarsest, 5e-2)


def function_difference(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    other: Mapping[str, Tensor],
    batches: Iterable[tuple[Any, ...]],
    beside: nn.Module | None = None,
) -> float:
    """max |h(x; other) − h(x; tensors)| over max |h(x; tensors)|; infinite where an output is not finite, or none is.

    ``beside``: the module that ``other`` is of, where it is another one; infinite where its outputs are more or fewer.
    """
    gap, scale = 0.0, 0.0
    for inputs in batches:
        with torch.no_grad():
            first, second = (
                _numbers(
                    functional_call(called, dict(one), *placed(called, trees.mapped(torch.clone, inputs)))
                )
                for called, one in ((module, tensors), (beside or module, other))
            )
        if first.shape != second.shape or not first.numel():
            return torch.inf
        gap = max(gap, float((second - first).abs().max().nan_to_num(torch.inf)))
        scale = max(scale, float(first.abs().max().nan_to_num(torch.inf)))
    return gap / scale if 0 < scale < torch.inf else gap


def _numbers(outputs: Any) -> Tensor:
    """All numbers of the tensors of outputs, and of those that objects in them hold, as distributions do."""
    found = [torch.view_as_real(one) if one.is_complex() else one for one in trees.held(outputs).values()]
    return torch.cat([one.double().flatten() for one in found]) if found else torch.zeros(0)


def in_double(part: Any) -> Any:
    """A tensor on the CPU, in float64 where it is of real numbers."""
    part = part.detach().cpu()
    return part.double() if part.is_floating_point() else part
