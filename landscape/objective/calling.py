"""A call of a module, and the sentence where it does not take its inputs: their shape, or what their numbers are."""

import re
from collections.abc import Mapping
from typing import Any

from landscape.errors import BadInput, LandscapeError
from landscape.objective import trees
from landscape.objective.arguments import by_keyword, parameters
from landscape.objective.parametrised import Parametrised

# How torch says that numbers of two dtypes meet in an operation that takes one, one of them whole, or wants places.
DTYPES_MEET = re.compile(r"dtype|scalar type|\btype \(|got Double")
OF_INTEGERS = re.compile(
    r"\b(Long|Int|Short|Byte|Char|Bool|long int|int|short|bool|unsigned char|signed char)\b"
)
OF_PLACES = re.compile(r"\bind(ices|ex)\b")


def called(subject: Parametrised, inputs: tuple[Any, ...]) -> Any:
    """The outputs of the module of ``subject``. Raises BadInput where it does not take the inputs."""
    try:
        return subject.called(inputs)
    except LandscapeError:
        raise
    except Exception as error:
        raise _refusal(subject, inputs, error) from error


def _refusal(subject: Parametrised, inputs: tuple[Any, ...], error: Exception) -> BadInput:
    name, said = type(subject.module).__name__, str(error)
    dtype = str(subject.dtype).removeprefix("torch.")
    shapes = ", ".join(map(trees.described, inputs))
    if "requires_grad flags of leaf" in said:
        return BadInput(
            f"{name} changes requires_grad of its parameters in its forward",
            "parameters that are moved or frozen before",
            "call requires_grad_ outside of forward; inside, detach() what is computed, or torch.no_grad(), does it",
        )
    if "deepcopy protocol" in said:
        return BadInput(
            f"{name} copies parameters of its own by copy.deepcopy in its forward",
            "what they hold, taken as it is",
            "for a frozen twin of a layer call torch.func.functional_call(layer, {name: tensor.detach() for name, "
            "tensor in layer.named_parameters()}, (x,))",
        )
    if "modified inplace" in said and "view" in said:
        return rewrites(name, "its parameters")
    if not DTYPES_MEET.search(said):
        remedy = _by_keyword(subject, inputs)
        return BadInput(
            f"{name} does not take inputs of shape {shapes}: {error}", "a module that fits the data", remedy
        )
    are_real = [one.is_floating_point() for one in trees.tensors(inputs)]
    if all(are_real) and OF_PLACES.search(said):
        return BadInput(
            f"{name} does not take inputs of shape {shapes}, which are no integers: {error}",
            "tokens, or other numbers of places",
            "let the data return inputs.long(); of a table, store them as integers in an .npz file",
        )
    if not any(are_real) and OF_INTEGERS.search(said):
        return BadInput(
            f"{name} does not take inputs of shape {shapes}, which are integers: {error}",
            f"numbers in {dtype}",
            "let the data return inputs.float(); of a file, store them as floats",
        )
    return BadInput(
        f"{name} does not compute in {dtype}: {error}",
        f"operations that take {dtype}",
        _of_experts(subject)
        or "write `x.to(weight.dtype)` in the place of `x.float()`, or take another `dtype`",
    )


def rewrites(name: str, listed: str) -> BadInput:
    """The refusal of a module that writes into parameters as it is called, so that F is of others than θ."""
    return BadInput(
        f"{name} writes into {listed} in its forward",
        "a function of its parameters, which stay as they are",
        "compute with another tensor, as w = self.weight / self.weight.norm() in the forward, or write into them "
        "before, outside of it",
    )


def _of_experts(subject: Parametrised) -> str:
    """What to do where a model of ``transformers`` has its experts in a kernel for a dtype of its own; '' elsewhere."""
    switches = [one for one in subject.module.modules() if hasattr(one, "set_experts_implementation")]
    kernels = [getattr(getattr(one, "config", None), "_experts_implementation", None) for one in switches]
    if all(one in (None, "eager") for one in kernels):
        return ""
    return (
        "let its experts be computed one after another: by name give `model_arg` experts_implementation=eager, in "
        "Python call module.set_experts_implementation('eager')"
    )


def _by_keyword(subject: Parametrised, inputs: tuple[Any, ...]) -> str:
    """What to do where a dictionary meets a forward that takes others by keyword; '' elsewhere."""
    known = parameters(subject.module)
    is_by_keyword = any(one.kind in (one.KEYWORD_ONLY, one.VAR_KEYWORD) for one in known)
    if len(inputs) != 1 or not is_by_keyword or by_keyword(subject.module, inputs[0]) is not None:
        return ""
    if not isinstance(inputs[0], Mapping):
        has_others = any(one.kind not in (one.KEYWORD_ONLY, one.VAR_KEYWORD) for one in known)
        return (
            ""
            if has_others
            else "give the data as (inputs, targets), inputs a dictionary by the names of those arguments"
        )
    return (
        f"let the dictionary have the names of the arguments, it has {', '.join(map(str, inputs[0]))}; "
        "or write forward(self, batch), which is given the dictionary"
    )
