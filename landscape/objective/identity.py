"""What must be the same in every process, as hashes: the data, the point, the code."""

import hashlib
import inspect
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import landscape
from landscape.objective.of_parts import own
from landscape.objective.parameters import Point
from landscape.objective.samples import Samples, sha256

# Where an object has no text of its own, Python says where it lies in memory.
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def parts_of(module: nn.Module, loss: Any, samples: Samples) -> dict[str, str]:
    """Of an objective: its data, the present parameters and buffers, structure and source of module and loss."""
    tensors = [*module.parameters(), *module.buffers()]
    names = [f"{name} {type(layer).__qualname__} {layer.extra_repr()}" for name, layer in _layers(module)]
    kinds = [*(type(layer) for _, layer in _layers(module)), own(loss)]
    return {
        "data": f"{samples.count} {samples.sha256_of_all}",
        "code": _hashed([_plain("\n".join(names)), *_sources(kinds), own_code()]),
        "point": sha256(tensors),
    }


def parts_of_call(name: str, places: Iterable[Any], options: Mapping[str, Any]) -> dict[str, str]:
    """Of an analysis: at which points, from which seed, with which options."""
    points = [_numbers(one) for one in places]
    plain = {key: value for key, value in options.items() if _is_plain(value)}
    return {
        "analysis": name,
        "point": _hashed(points),
        "seed": str(options.get("seed")),
        "options": _hashed([repr(sorted(plain.items()))]),
    }


@cache
def own_code() -> str:
    """A sha256 of this package, and of the versions of what it computes with."""
    folder = Path(landscape.__file__).parent
    files = (path.read_bytes() for path in sorted(folder.rglob("*.py")))
    return _hashed([landscape.__version__, torch.__version__, np.__version__, *files])


def _layers(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return list(module.named_modules())


def _plain(text: str) -> str:
    return ADDRESS.sub("", text)


def _sources(kinds: Iterable[Any]) -> list[bytes]:
    """The files, each once, in which classes and functions stand that are neither torch's nor ours."""
    found: dict[str, bytes] = {}
    for kind in kinds:
        owner = kind if inspect.isclass(kind) or inspect.isroutine(kind) else type(kind)
        if (owner.__module__ or "").partition(".")[0] in ("torch", "landscape", "builtins"):
            continue
        try:
            file = inspect.getsourcefile(owner)
            found.setdefault(str(file), Path(str(file)).read_bytes())
        except (TypeError, OSError):
            continue  # typed into a console
    return list(found.values())


def _numbers(place: Any) -> str:
    """Of a point, a vector, several of these, or of an objective its present point."""
    if isinstance(place, Point):
        return sha256([place.theta, *place.fixed.values()])
    if isinstance(place, Tensor):
        return sha256([place])
    if isinstance(place, list | tuple):
        return _hashed([_numbers(one) for one in place])
    return _numbers(place.present_point()) if hasattr(place, "present_point") else ""


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, bool | int | float | str)


def _hashed(texts: Iterable[str | bytes]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        content = text.encode() if isinstance(text, str) else text
        digest.update(f"{len(content)} ".encode() + content)
    return digest.hexdigest()
