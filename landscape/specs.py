"""Where things come from: ``pkg.mod:attr`` and ``file.py:attr`` specs, and ``run.h5@point`` addresses."""

import ast
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from landscape.errors import BadInput


def is_factory_spec(spec: str) -> bool:
    """Whether ``spec`` has the form ``pkg.mod:attr`` or ``path/file.py:attr``."""
    head, colon, attribute = spec.rpartition(":")
    return bool(colon) and bool(head) and attribute.isidentifier()


def resolve(spec: str) -> Any:
    """The object that ``pkg.mod:attr`` or ``path/file.py:attr`` names.

    This imports, and so runs, the code named: it is the user's own spec, never one read unseen.
    Raises BadInput when the module, the file or the attribute is missing, or its import fails.
    """
    if not is_factory_spec(spec):
        raise BadInput(f"{spec!r} names no factory", "'pkg.mod:attr' or 'path/file.py:attr'")
    head, _, attribute = spec.rpartition(":")
    module = _module_from_file(Path(head)) if head.endswith(".py") else _module_by_name(head)
    try:
        return getattr(module, attribute)
    except AttributeError:
        public = [name for name in vars(module) if not name.startswith("_")]
        raise BadInput(f"{head} has no {attribute!r}", f"one of {', '.join(sorted(public)[:20])}") from None


def origin(spec: str) -> Path | None:
    """The file a spec's code would come from, found without running any of it; None where there is none."""
    head = spec.rpartition(":")[0]
    if head.endswith(".py"):
        return Path(head)
    _see_current_folder()
    found = importlib.util.find_spec(head.partition(".")[0])
    if found is None or not (found.has_location or found.submodule_search_locations):
        return None
    return Path(found.origin or next(iter(found.submodule_search_locations or ["?"])))


def call(factory: Callable[..., Any], arguments: Mapping[str, Any], what: str) -> Any:
    """``factory(**arguments)``, with any exception of the user's code turned into one sentence."""
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        raise BadInput(
            f"{what} does not take these arguments ({error})",
            f"what its signature has, {_signature(factory)}",
            "give others, or let it take them",
        ) from None
    except ValueError:
        pass  # no signature to be had (a builtin); the call itself will tell
    try:
        return factory(**arguments)
    except BadInput:
        raise
    except (Exception, SystemExit) as error:
        raise BadInput(
            f"{what} raised {type(error).__name__}: {error}", remedy="fix it or its arguments"
        ) from error


def parse_arguments(pairs: tuple[str, ...] | list[str]) -> dict[str, Any]:
    """``("depth=20", "widths=100,100", "bias=false")`` as a dictionary of Python values.

    >>> parse_arguments(["depth=20", "widths=100,100", "activation=tanh", "bias=false"])
    {'depth': 20, 'widths': (100, 100), 'activation': 'tanh', 'bias': False}
    """
    arguments: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise BadInput(f"{pair!r} is not an argument", "name=value, for example depth=20")
        arguments[name] = _parse_value(text)
    return arguments


def _parse_value(text: str) -> Any:
    lowered = text.lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    if lowered == "none":
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _signature(factory: Callable[..., Any]) -> str:
    try:
        return str(inspect.signature(factory))
    except ValueError:
        return "(unknown)"


def _see_current_folder() -> None:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def _module_by_name(name: str) -> Any:
    _see_current_folder()
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise BadInput(
            f"cannot import {name!r} ({type(error).__name__}: {error})",
            "a module importable from here",
            "for a file write path/file.py:attr",
        ) from error


def _module_from_file(path: Path) -> Any:
    if not path.is_file():
        raise BadInput(f"{path} is not a file", "a Python file")
    name = f"landscape_user_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise BadInput(f"{path} is no Python module", "a file ending in .py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise BadInput(f"{path} failed to import ({type(error).__name__}: {error})") from error
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module
