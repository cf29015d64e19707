"""The house plan, enforced: who may import whom, what stays in which room, and how long a file may grow."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSE = ROOT / "landscape"

# From the ground up: a room imports from floors below its own, and inside its own folder.
FLOORS = [
    {"errors", "progress", "chunking"},
    {"parameters", "sources", "distributed", "derivatives", "batching", "journal"},
    {"result", "losses", "batchnorm", "numerics", "models", "data", "checkpoints", "products"},
    {"probe", "symmetry"},
    {"objective"},
    {"repair"},
    {"checks", "rescaling", "sweep", "threads", "blocks", "precision", "stacks", "plane"},
    {"cuts", "operators", "curvature_map", "pathloss", "curve_training", "alignment", "budgets", "replay"},
    {"curvature", "measures", "connections", "ends", "descents", "gradient_noise", "noisy_runs"},
    {"analyses"},
    {"store", "provenance", "plots"},
    {"runs"},
    {"cli"},
    {"__main__"},
]
FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor}
# Third-party packages that live in one room only.
ONLY_IN = {
    "h5py": {"store"},
    "matplotlib": {"plots"},
    "mpl_toolkits": {"plots"},
    "cycler": {"plots"},
    "click": {"cli", "__main__"},
    "rich": {"cli", "__main__"},
    "sklearn": {"data"},
    "safetensors": {"checkpoints"},
}
FILES = sorted(HOUSE.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(HOUSE).with_suffix("")).replace("/", ".").removesuffix(".__init__")


def room_of(module: str) -> str:
    """``numerics.lanczos`` stands in ``numerics``; the plots' further files stand in ``plots``."""
    first = module.partition(".")[0]
    return "plots" if first.startswith("plots_") else first


def imports_of(path: Path) -> set[str]:
    """Every module imported anywhere in a file, except for types alone; ours without ``landscape.``."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            module = node.module or ""
            found |= {f"{module}.{alias.name}" if module == "landscape" else module for alias in node.names}
    return found


def ours(names: set[str]) -> set[str]:
    return {name.removeprefix("landscape.") for name in names if name.startswith("landscape.")}


def ids(path: Path) -> str:
    return name_of(path) or "landscape"


INSIDE = [path for path in FILES if path != HOUSE / "__init__.py"]


@pytest.mark.parametrize("path", INSIDE, ids=ids)
def test_imports_point_downwards(path):
    room = room_of(name_of(path))
    assert room in FLOOR_OF, f"{room} has no place in the house plan yet"
    for other in ours(imports_of(path)):
        if room_of(other) == room or other == "__version__":
            continue
        assert room_of(other) in FLOOR_OF, f"{other} has no place in the house plan yet"
        assert FLOOR_OF[room_of(other)] < FLOOR_OF[room], f"{room} must not import {other}"


@pytest.mark.parametrize("path", sorted((HOUSE / "analyses").glob("[!_]*.py")), ids=ids)
def test_analyses_do_not_import_each_other(path):
    others = {name for name in ours(imports_of(path)) if name.startswith("analyses")}
    assert others == set()


@pytest.mark.parametrize("path", sorted((HOUSE / "numerics").glob("*.py")), ids=ids)
def test_numerics_know_no_module_and_no_file(path):
    for name in imports_of(path):
        first = name.partition(".")[0]
        if first == "landscape":
            assert room_of(name.removeprefix("landscape.")) in {"numerics", "errors", "parameters"}
        else:
            assert first in {"torch", "numpy", "scipy"} or first in sys.stdlib_module_names
            assert first not in {"pathlib", "os", "io", "json"}


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_packages_stay_in_their_room(path):
    for name in imports_of(path):
        first = name.partition(".")[0]
        if first in ONLY_IN:
            assert room_of(name_of(path)) in ONLY_IN[first], f"{name} in {path.name}"


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_files_stay_short_and_say_what_they_are(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400, "wants a second room"
    if text:
        assert ast.get_docstring(ast.parse(text)), "has no docstring"


@pytest.mark.parametrize(
    "path", [path for path in FILES if room_of(name_of(path)) not in ("cli", "__main__")], ids=ids
)
def test_the_library_neither_prints_nor_exits_nor_seeds_globally(path):
    for node in ast.walk(ast.parse(path.read_text())):
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
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"bare except in {path.name}, line {node.lineno}"
