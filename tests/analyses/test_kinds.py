"""What every kind of result must have: a command with help, a row in README, a function, a test."""

from pathlib import Path

import pytest

import landscape.analyses
from landscape.cli import COMMANDS
from landscape.result import KINDS

ROOT = Path(__file__).parents[2]
# One command may lead to two kinds, by the number of its points.
COMMAND_OF = {"modes": "connect"}
OURS = sorted(kind for kind, cls in KINDS.items() if cls.__module__.startswith("landscape.analyses"))


def test_the_kinds_are_there():
    assert {"train", "import", "hessian", "interpolate", "slice1d", "slice2d", "connect", "align"} <= set(
        OURS
    )


@pytest.mark.parametrize("kind", OURS)
def test_command_file_function_and_test_share_the_name(kind):
    module = KINDS[kind].__module__.rpartition(".")[2]
    assert module.rstrip("_") == kind
    assert COMMAND_OF.get(kind, kind) in COMMANDS
    assert hasattr(landscape.analyses, kind) or hasattr(landscape.analyses, f"{kind}_point")
    assert list((ROOT / "tests" / "analyses").glob(f"test_{kind}*.py"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_row_in_readme(name):
    assert f"\n| `landscape {name}` |" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("kind", OURS)
def test_every_array_and_scalar_says_what_it_is(kind):
    from landscape.result import field_metadata

    about = field_metadata(KINDS[kind])
    assert about
    assert all(metadata["long_name"] for metadata in about.values())
