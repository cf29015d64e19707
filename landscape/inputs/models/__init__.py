"""Ready modules by name, and the user's own by spec: everything a run may be told to train."""

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from landscape import specs
from landscape.errors import BadInput
from landscape.inputs.models import by_name
from landscape.inputs.models.cnn import cnn
from landscape.inputs.models.ding import ding
from landscape.inputs.models.linear import linear
from landscape.inputs.models.mlp import mlp
from landscape.inputs.models.ntk import ntk_net
from landscape.inputs.models.resnet import resnet
from landscape.inputs.models.spin import spin
from landscape.inputs.models.toy import toy_chain, toy_neuron, toy_product, toy_relu_neuron, toy_saddle
from landscape.inputs.models.toy_path import toy_path

__all__ = ["MODELS", "build_model", "takes_num_outputs", "with_defaults"]

MODELS: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "linear": linear,
    "cnn": cnn,
    "resnet": resnet,
    "ntk-net": ntk_net,
    "toy-product": toy_product,
    "toy-neuron": toy_neuron,
    "toy-relu-neuron": toy_relu_neuron,
    "toy-saddle": toy_saddle,
    "toy-chain": toy_chain,
    "toy-path": toy_path,
    "ding": ding,
    "spin": spin,
}


def build_model(
    spec: str,
    arguments: Mapping[str, Any],
    seed: int,
    *,
    input_shape: tuple[int, ...] | None,
    num_outputs: int,
) -> nn.Module:
    """The module that ``spec`` names, a name in MODELS or a factory spec, initialised from ``seed``.

    ``input_shape`` is the shape of one sample. It and ``num_outputs`` go to any factory that has
    parameters of these names, where there are data (else None), unless ``arguments`` gives them. The
    parameters depend on the spec, the arguments and the seed alone, and the global random state and dtype are left as
    they were.

    Raises BadInput for an unknown name, for arguments that the factory does not take, and when it
    raises or returns something other than a module with trainable parameters.
    """
    with global_state_kept():
        factory = _factory(spec)
        from_data: dict[str, Any] = {}
        if input_shape is not None:
            from_data = {"input_shape": tuple(input_shape), "num_outputs": num_outputs}
        wanted = _parameter_names(factory)
        complete = {name: value for name, value in from_data.items() if name in wanted} | dict(arguments)
        # Seeded only now: an import may draw too, and happens once. And torch.manual_seed would
        # reseed every accelerator as well, which the fork does not cover.
        torch.default_generator.manual_seed(seed)
        module = specs.call(factory, complete, f"model {spec}")
    _check_trainable(module, spec)
    return module


def takes_num_outputs(spec: str) -> bool:
    """Whether the number of outputs follows from the data: the factory has a parameter of this name."""
    with global_state_kept():
        return "num_outputs" in _parameter_names(_factory(spec))


def with_defaults(spec: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """``arguments`` of a factory with the defaults of those left away, but for what the data tell."""
    with global_state_kept():
        factory = _factory(spec)
    try:
        known = inspect.signature(factory).parameters.values()
    except ValueError:
        return dict(arguments)
    told = ("input_shape", "num_outputs")
    found = {one.name: one.default for one in known if one.default is not one.empty and one.name not in told}
    return found | dict(arguments)


def _factory(spec: str) -> Callable[..., Any]:
    if spec in MODELS:
        return MODELS[spec]
    if by_name.is_by_name(spec):
        return by_name.factory(spec)
    if not specs.is_factory_spec(spec):
        specs.require_attribute(spec)
        close = difflib.get_close_matches(spec, MODELS, n=1)
        raise BadInput(
            f"unknown model {spec!r}",
            f"one of {', '.join(MODELS)}, hf:ORG/NAME, timm:NAME, or your own as pkg.mod:factory or file.py:factory",
            f"did you mean {_meant(spec, close)!r}?" if close or _is_of_a_model(spec) else "",
        )
    factory = specs.resolve(spec)
    # A module is callable too, but one made at import has parameters that no seed decides.
    if isinstance(factory, nn.Module) or not callable(factory):
        raise BadInput(
            f"{spec} is {_described(factory)}",
            "a class or a function that returns a torch.nn.Module",
            "wrap it in a function and name that",
        )
    return factory


def _parameter_names(factory: Callable[..., Any]) -> set[str]:
    try:
        return set(inspect.signature(factory).parameters)
    except ValueError:
        return set()


@contextmanager
def global_state_kept() -> Iterator[None]:
    """Where modules are made: what is drawn is drawn in float32 and changes no draw of the caller's."""
    dtype = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        try:
            # Draws in float64 differ from those in float32, so one seed needs one dtype.
            torch.set_default_dtype(torch.float32)
            yield
        finally:
            torch.set_default_dtype(dtype)


def _check_trainable(module: Any, spec: str) -> None:
    if not isinstance(module, nn.Module):
        raise BadInput(
            f"model {spec} returned {_described(module)}", "a torch.nn.Module", "return the module itself"
        )
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not parameters:
        raise BadInput(
            f"model {spec} has no parameters that require grad",
            "at least one",
            "leave requires_grad on for what the loss is to be a function of",
        )
    if any(nn.parameter.is_lazy(parameter) for parameter in parameters):
        raise BadInput(
            f"model {spec} has lazy parameters with no shape yet",
            "parameters of known shape",
            "call the module once inside the factory, or use the layers that are not lazy",
        )


def _described(value: Any) -> str:
    if value is None:
        return "None"
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def _is_of_a_model(spec: str) -> bool:
    """Whether ``spec`` is a folder as ``save_pretrained`` writes it, named without saying so."""
    return (Path(spec) / "config.json").is_file()


def _meant(spec: str, close: list[str]) -> str:
    if not _is_of_a_model(spec):
        return close[0]
    return specs.HUGGING_FACE + (spec if spec.startswith((".", "/")) else f"./{spec}")
