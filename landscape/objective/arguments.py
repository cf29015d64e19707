"""How a chunk's inputs are given to a module: in order, or a dictionary by the names of the arguments."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

# Those of a function, which stay: to list them takes as long as the forward pass of a small net.
_KNOWN: WeakKeyDictionary[Callable[..., Any], list[inspect.Parameter]] = WeakKeyDictionary()


def call(module: nn.Module, inputs: Sequence[Any]) -> Any:
    """What ``module``, as it stands, makes of ``inputs``: ``module(*inputs)``, or ``module(**fields)`` of a dictionary
    whose fields its forward takes by keyword alone.
    """
    places, named = placed(module, inputs)
    return module(*places, **named)


def placed(module: nn.Module, inputs: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """``inputs`` as those of :func:`call`: the arguments in order, and those by name."""
    named = by_keyword(module, inputs[0]) if len(inputs) == 1 else None
    return (tuple(inputs), {}) if named is None else ((), named)


def by_keyword(module: nn.Module, given: Any) -> dict[str, Any] | None:
    """The only input as arguments by name, where ``module.forward`` has no places for it; None where it has.

    A dictionary whose names a forward has, some of them behind a ``*`` or within ``**``; or what is no dictionary,
    for a forward whose only argument without a default is behind a ``*``.
    """
    known = parameters(module)
    behind = [one for one in known if one.kind is one.KEYWORD_ONLY]
    takes_any = any(one.kind is one.VAR_KEYWORD for one in known)
    if not behind and not takes_any:
        return None
    places = [one for one in known if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    has_places = bool(places) or any(one.kind is one.VAR_POSITIONAL for one in known)
    needed = {one.name for one in [*places, *behind] if one.default is one.empty}
    if not isinstance(given, Mapping):
        return {needed.pop(): given} if not has_places and len(needed) == 1 else None
    fields = {str(name) for name in given}
    names = {one.name for one in [*places, *behind] if one.kind is not one.POSITIONAL_ONLY}
    fits = needed <= fields and (takes_any or fields <= names)
    # A forward(batch=None, **options) that knows none of the names is given the dictionary.
    return (
        {str(name): part for name, part in given.items()}
        if fits and (fields & names or not has_places)
        else None
    )


def parameters(module: nn.Module) -> list[inspect.Parameter]:
    """Those of ``module.forward``; none where they cannot be had."""
    forward = module.forward
    function = getattr(forward, "__func__", None)
    if not inspect.isfunction(function):
        return _listed(forward)
    if function not in _KNOWN:
        _KNOWN[function] = _listed(forward)
    return _KNOWN[function]


def _listed(forward: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(forward).parameters.values())
    except (TypeError, ValueError):
        return []
