"""The house plan, enforced: who may import whom, what stays in which room, and how long a file may grow."""

import ast
import functools
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSE = ROOT / "landscape"

# Every folder with the folders it may import from, beside itself and the files at the top.
MAY_IMPORT = {
    "numerics": set(),
    "inputs": set(),
    "objective": {"inputs", "numerics"},
    "curvature": {"objective", "numerics"},
    "paths": {"objective", "numerics"},
    "symmetry": {"objective", "numerics"},
    "descent": {"objective", "numerics"},
    "certificates": {"objective", "numerics"},
    "valleys": {"curvature", "paths", "symmetry", "descent", "objective", "numerics"},
    "analyses": {
        *("valleys", "curvature", "paths", "symmetry", "descent", "certificates"),
        *("objective", "numerics"),
    },
    "plots": {"numerics"},
    "runs": {"analyses", "inputs", "objective", "numerics"},
    "cli": {"runs", "plots", "analyses"},
    "distributed": set(),
    "callbacks": {"runs"},
}
GROUND = {"errors", "progress", "distributed", "specs", "choices", "result"}
MOST_FILES_AT_THE_TOP = 8
# Third-party packages that live in one room only.
ONLY_IN = {
    "h5py": {"runs.store", "runs.seal", "runs.surface_files"},
    "matplotlib": {"plots"},
    "mpl_toolkits": {"plots"},
    "cycler": {"plots"},
    "click": {"cli", "__main__"},
    "rich": {"cli", "__main__"},
    "sklearn": {"inputs.data"},
    "safetensors": {"inputs.checkpoints"},
    "xarray": {"result"},
    "distributed": {"runs.workers"},
    "dask": {"runs.workers"},
    "cloudpickle": {"objective.tasks"},
}
FILES = sorted(HOUSE.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(HOUSE).with_suffix("")).replace("/", ".").removesuffix(".__init__")


def room_of(module: str) -> str:
    """``numerics.spectra.lanczos`` stands in ``numerics``."""
    return module.partition(".")[0]


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All of the syntax tree of a file."""
    return tuple(ast.walk(ast.parse(path.read_text())))


@functools.cache
def imports_of(path: Path) -> frozenset[str]:
    """Every module imported anywhere in a file, for types alone too; ours without ``landscape.``."""
    found: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            module = node.module or ""
            names = {f"{module}.{alias.name}" for alias in node.names}
            found |= {name if module == "landscape" or is_module(name) else module for name in names}
    return frozenset(found)


def is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


def ours(names: Iterable[str]) -> set[str]:
    return {name.removeprefix("landscape.") for name in names if name.startswith("landscape.")}


def ids(path: Path) -> str:
    return name_of(path) or "landscape"


INSIDE = [path for path in FILES if path != HOUSE / "__init__.py"]


def test_the_table_names_every_folder_and_the_top_stays_small():
    assert {path.name for path in HOUSE.iterdir() if path.is_dir() and path.name[0] != "_"} == set(MAY_IMPORT)
    top = [path.stem for path in HOUSE.glob("*.py")]
    assert len(top) <= MOST_FILES_AT_THE_TOP
    assert set(top) <= {"__init__", "__main__", *GROUND}


@pytest.mark.parametrize("path", INSIDE, ids=ids)
def test_imports_point_downwards(path):
    room = room_of(name_of(path))
    for other in ours(imports_of(path)):
        below = room_of(other)
        if room == "__main__" or other == "__version__":
            continue
        if room in GROUND:
            # Of what stands above, a result knows what a piece of θ is.
            assert below in GROUND or (room, other) == ("result", "numerics.pieces"), (
                f"{room} imports {other}"
            )
        else:
            assert below in {room, *GROUND, *MAY_IMPORT[room]}, f"{room} must not import {other}"


def test_no_module_leads_back_to_itself():
    """What is imported when a module is, followed to the end."""
    at_once = {name_of(path): ours(imported_at_once(path)) - {"__version__"} for path in INSIDE}
    done: set[str] = set()

    def follow(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"{' → '.join((*way, module))} is a circle"
        if module not in done:
            for other in at_once.get(module, ()):
                # A package's own names may be brought together by its __init__.
                if not module.startswith(f"{other}."):
                    follow(other, (*way, module))
            done.add(module)

    for module in at_once:
        follow(module, ())


def imported_at_once(path: Path) -> set[str]:
    """The imports that are not put off until a function is called."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if is_module(name) else str(node.module) for name in names}
    return found


@pytest.mark.parametrize("path", sorted((HOUSE / "analyses").glob("[!_]*.py")), ids=ids)
def test_analyses_do_not_import_each_other(path):
    others = {name for name in ours(imports_of(path)) if name.startswith("analyses.")}
    assert others <= {"analyses.declare", "analyses.options", "analyses.shared", "analyses.asked"}


@pytest.mark.parametrize("path", sorted((HOUSE / "numerics").rglob("*.py")), ids=ids)
def test_numerics_know_no_module_and_no_file(path):
    for name in imports_of(path):
        first = name.partition(".")[0]
        if first == "landscape":
            # Two files know that a vector may lie in several processes.
            sums = {"distributed"} if name_of(path) in {"numerics.spread", "numerics.vectors"} else set()
            assert room_of(name.removeprefix("landscape.")) in {"numerics", "errors", "choices"} | sums
        else:
            assert first in {"torch", "numpy", "scipy"} or first in sys.stdlib_module_names
            assert first not in {"pathlib", "os", "io", "json"}


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_packages_stay_in_their_room(path):
    for name in imports_of(path):
        rooms = ONLY_IN.get(name.partition(".")[0])
        own = name_of(path)
        assert rooms is None or any(own == room or own.startswith(f"{room}.") for room in rooms), (
            f"{name} in {path.name}"
        )


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_files_stay_short_and_say_what_they_are(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400, "wants a second room"
    if text:
        assert ast.get_docstring(ast.parse(text)), "has no docstring"


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_no_function_is_longer_than_120_lines(path):
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 120, f"{node.name} wants to be opened"


@pytest.mark.parametrize(
    "path", [path for path in FILES if room_of(name_of(path)) not in ("cli", "__main__")], ids=ids
)
def test_the_library_neither_prints_nor_exits_nor_seeds_globally(path):
    for node in nodes(path):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {
                "print",
                "exit",
                "sys.exit",
                "torch.manual_seed",
                "np.random.seed",
                "random.seed",
                "torch.set_default_dtype",
                "pickle.load",
                "pickle.loads",
            } or (called == "torch.set_default_dtype" and path.parent.name == "models"), called


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_no_exception_is_swallowed_whole(path):
    for node in nodes(path):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"bare except in {path.name}, line {node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_no_gap_of_a_check_is_passed_over(path):
    """``max`` of a number and NaN is the number: what a check is of is the :func:`largest_gap`."""
    text = path.read_text()
    if re.search(r"\bCheck\(", text):
        assert not re.search(r"\b(worst|gap) = max\((worst|gap),|\bmax\(gaps(\)|, default)", text)
