"""What every kind of result must have: a command with help, a row in README, a function, a test, its names."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import landscape
from landscape import analyses
from landscape.analyses import FUNCTIONS, result_of
from landscape.cli import commands
from landscape.result import KINDS, Result, field_metadata

ROOT = Path(__file__).parents[2]
OURS = sorted(FUNCTIONS)


def test_every_file_is_in_the_table_and_every_kind_has_a_file():
    about = {"__init__", "asked", "declare", "options", "shared"}
    files = {path.stem for path in (ROOT / "landscape" / "analyses").glob("*.py")} - about
    assert files == {analyses.module_of(kind).__name__.rpartition(".")[2] for kind in FUNCTIONS}


@pytest.mark.parametrize("kind", OURS)
def test_command_file_function_and_test_share_the_name(kind):
    declared = result_of(kind)
    assert declared is not None
    assert issubclass(declared, Result)
    assert declared.kind == declared.__name__.lower() == kind
    assert declared.__module__.rpartition(".")[2].rstrip("_") == kind
    assert analyses.declared(kind).command in commands()
    assert FUNCTIONS[kind].removesuffix("_point") == kind
    assert list((ROOT / "tests" / "analyses").glob(f"test_{kind}*.py"))


@pytest.mark.parametrize("kind", OURS)
def test_the_package_has_the_function_and_the_result_of_a_kind_and_landscape_the_function(kind):
    name = FUNCTIONS[kind]
    file = analyses.module_of(kind)
    function = getattr(file, name)
    assert callable(function)
    # Also after the file was imported, which would set the package's attribute to the module.
    assert getattr(analyses, name) is getattr(landscape, name) is function
    assert getattr(analyses, result_of(kind).__name__) is result_of(kind)
    assert name in landscape.__all__


def test_a_class_derived_from_ours_does_not_take_its_place(monkeypatch):
    monkeypatch.setattr("landscape.result.KINDS", dict(KINDS))

    class Own(analyses.Slice1D):
        pass

    assert Own.kind == "slice1d"
    assert result_of("slice1d") is analyses.Slice1D


def test_other_names_are_refused():
    for name in ("Nothing", "unheard", "HESSIAN"):
        with pytest.raises(AttributeError, match=name):
            getattr(analyses, name)
    assert result_of("nothing") is None


def test_type_checkers_are_told_the_same_names():
    tree = ast.parse(Path(analyses.__file__).read_text())
    (block,) = (one for one in tree.body if isinstance(one, ast.If))
    told = {
        (one.module, alias.name)
        for one in block.body
        if isinstance(one, ast.ImportFrom)
        for alias in one.names
    }
    wanted = {("landscape.analyses.declare", "Analysis"), ("landscape.result", "Result")}
    for kind, function in FUNCTIONS.items():
        file = analyses.module_of(kind).__name__
        wanted |= {(file, function)}
    assert told == wanted


def test_the_table_alone_imports_no_torch_and_no_numpy():
    code = "import sys, landscape.analyses; print({'torch', 'numpy', 'scipy', 'click'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


def test_the_table_of_commands_in_readme_is_what_the_declarations_say():
    text = (ROOT / "README.md").read_text()
    for name in commands():
        if name in analyses.commands():
            assert f"\n{analyses.declared(name).readme_row}\n" in text
        assert text.count(f"\n| `landscape {name}` |") == 1


@pytest.mark.parametrize("kind", OURS)
def test_every_array_and_scalar_says_what_it_is(kind):
    about = field_metadata(result_of(kind))
    assert about
    assert all(metadata["long_name"] for metadata in about.values())
