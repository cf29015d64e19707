"""Where things come from: ``pkg.mod:attr`` and ``file.py:attr`` specs, and ``run.h5@point`` addresses."""

import ast
import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from landscape.errors import BadInput, raised_at

# Told of a file's path and content before any of it runs; raises where it must not.
Admit = Callable[[Path, bytes], None]
# Models that are published under a name: of transformers, and of timm.
HUGGING_FACE, TIMM = "hf:", "timm:"


def is_factory_spec(spec: str) -> bool:
    """Whether ``spec`` has the form ``pkg.mod:attr`` or ``path/file.py:attr``."""
    head, colon, attribute = spec.rpartition(":")
    is_by_name = spec.startswith((HUGGING_FACE, TIMM))
    return bool(colon) and bool(head) and attribute.isidentifier() and not is_by_name


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
        raise _no_attribute(head, module, attribute) from None


def require_attribute(spec: str) -> None:
    """Raise BadInput where ``spec`` is a Python file alone, with the classes and functions that it may mean."""
    path = Path(spec)
    if path.suffix != ".py":
        return
    if not path.is_file():
        raise BadInput(f"there is no file {spec}", "a Python file and a name of it, path/file.py:attr")
    try:
        body = ast.parse(path.read_text(encoding="utf-8")).body
    except (SyntaxError, ValueError):
        body = []
    made = (ast.FunctionDef, ast.ClassDef)
    names = [node.name for node in body if isinstance(node, made) and not node.name.startswith("_")]
    raise BadInput(
        f"{spec} names a file and nothing in it",
        "path/file.py:attr",
        f"give {' or '.join(f'{spec}:{name}' for name in names[:8])}" if names else "",
    )


def origin(spec: str) -> Path | None:
    """The file a spec's code would come from, found without running any of it; None where there is none."""
    head = spec.rpartition(":")[0]
    if head.endswith(".py"):
        return Path(head)
    _see_current_folder()
    top, *inner = head.split(".")
    try:
        found = importlib.util.find_spec(top)
    except ValueError:  # a module in memory that no file made
        return None
    for count in range(1, len(inner) + 1):
        if found is not None:
            name = ".".join([top, *inner[:count]])
            found = PathFinder.find_spec(name, found.submodule_search_locations or [])
    return Path(found.origin) if found is not None and found.has_location and found.origin else None


@contextmanager
def gated(folders: Iterable[Path], admit: Admit) -> Iterator[None]:
    """Whatever is imported from ``folders`` meanwhile, by a spec or by what it names, has to be admitted first."""
    gate = _Gate(folders, admit)
    sys.meta_path.insert(0, gate)
    try:
        yield
    finally:
        sys.meta_path.remove(gate)


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
            f"{what} raised {type(error).__name__}: {error}{raised_at(error)}",
            remedy="fix it or its arguments",
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
    except BadInput:
        raise
    except (Exception, SystemExit) as error:
        raise BadInput(
            f"cannot import {name!r} ({type(error).__name__}: {error}{raised_at(error)})",
            "a module importable from here",
            "for a file write path/file.py:attr",
        ) from error


def _module_from_file(path: Path) -> Any:
    if not path.is_file():
        raise BadInput(f"{path} is not a file", "a Python file")
    name = f"landscape_user_{path.stem}"
    gate = next((one for one in sys.meta_path if isinstance(one, _Gate)), None)
    loader = _Admitted(name, str(path), gate.admit) if gate else None
    specification = importlib.util.spec_from_file_location(name, path, loader=loader)
    if specification is None or specification.loader is None:
        raise BadInput(f"{path} is no Python module", "a file ending in .py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        specification.loader.exec_module(module)
    except BadInput:
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise BadInput(
            f"{path} failed to import ({type(error).__name__}: {error}{raised_at(error)})"
        ) from error
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module


def _no_attribute(head: str, module: ModuleType, attribute: str) -> BadInput:
    """The refusal: names that the module defines itself, and the nearest of all it has."""
    public = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    ]
    own = [name for name in public if name in _defined_in(module)]
    near = difflib.get_close_matches(attribute, own, n=1) or difflib.get_close_matches(attribute, public, n=1)
    more = f" and {len(own) - 20} more" if len(own) > 20 else ""
    return BadInput(
        f"{head} has no {attribute!r}",
        f"one of {', '.join(sorted(own)[:20])}{more}" if own else "a name it defines",
        f"did you mean {near[0]!r}?" if near else "",
    )


def _defined_in(module: ModuleType) -> set[str]:
    """The names that a module's own source binds by def, class or assignment; none where there is no source."""
    try:
        tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


class _Admitted(SourceFileLoader):
    """Runs the very bytes that were admitted, never a compiled copy that lies beside them."""

    def __init__(self, fullname: str, path: str, admit: Admit):
        super().__init__(fullname, path)
        self._admit = admit

    def get_code(self, fullname: str) -> Any:
        path = self.get_filename(fullname)
        content = self.get_data(path)
        self._admit(Path(path), content)
        return self.source_to_code(content, path)


class _Gate(MetaPathFinder):
    """Asked before every import: what would come from the folders is admitted, all else left to the others."""

    # Packages that came through a gate: their modules do, whenever they are imported.
    admitted: ClassVar[set[str]] = set()

    def __init__(self, folders: Iterable[Path], admit: Admit):
        self.folders = {folder.resolve() for folder in folders}
        self.admit = admit
        self.passed_over = {*sys.builtin_module_names, *(name.partition(".")[0] for name in sys.modules)}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top = fullname.partition(".")[0]
        if top in self.passed_over - self.admitted:
            return None
        found = PathFinder.find_spec(fullname, path)
        if found is None or not (top in self.admitted or self._is_inside(found)):
            return None
        self.admitted.add(top)
        if not found.has_location or found.origin is None:
            return None
        if isinstance(found.loader, SourceFileLoader):
            found.loader = _Admitted(fullname, found.origin, self.admit)
            return found
        self.admit(Path(found.origin), Path(found.origin).read_bytes())
        return None

    def _is_inside(self, found: ModuleSpec) -> bool:
        """Whether a top module stands in one of the folders, a package as a folder of theirs."""
        places = list(found.submodule_search_locations or [found.origin or ""])
        return any(Path(place).parent.resolve() in self.folders for place in places)
