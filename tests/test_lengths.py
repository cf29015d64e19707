"""What the default run leaves out is there, and every test that has a quick case is in it."""

import ast
from collections import Counter
from pathlib import Path

import lengths
import pytest

ROOT = Path(__file__).parents[1]


def defined(file: str) -> set[str]:
    """The tests of a file, those of a class by its name."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    found = {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}
    for group in (one for one in tree.body if isinstance(one, ast.ClassDef)):
        found |= {f"{group.name}::{one.name}" for one in group.body if isinstance(one, ast.FunctionDef)}
    return found


def test_what_is_listed_is_there():
    listed = sorted(lengths.listed())
    assert lengths.LISTED.read_text(encoding="utf-8") == "\n".join(listed) + "\n"
    tests = {one.partition("[")[0].partition("::")[::2] for one in listed}
    known = {file: defined(file) for file, _ in tests}
    assert [one for one in tests if one[1] not in known[one[0]]] == []


@pytest.mark.parametrize("seconds", [1.0, 6.0])
def test_the_quickest_case_is_left_in_unless_it_takes_very_long(seconds):
    report = "\n".join(
        f"{seconds + i:.2f}s {what}     a.py::test[{i} call x]"
        for i in range(3)
        for what in ("setup", "call")
    )
    found = lengths.long_of(lengths.timed(f"slowest durations\n{report}\n(9 durations < 0.005s hidden.)\n"))
    assert Counter(found) == Counter([f"a.py::test[{i} call x]" for i in range(3) if i or seconds > 5])
