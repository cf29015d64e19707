"""Faults drawn at random: the changes of a source, what an analysis says of one, and that it stays in its process."""

import importlib
import os
import sys

import pytest
from mutations import drawn
from mutations.edits import Edit, edits

SOURCE = '''"""1 + 1 is no expression."""
def f(x: "a + b", n=2) -> "min":
    """min"""
    if x < 0.5:
        x = min(x, n) - 1
    put(x[1:].abs())
    return -x if n else np.sqrt(x)
'''


def test_every_small_change_of_a_source():
    lines = {one.applied(SOURCE).splitlines()[one.line - 1].strip() for one in edits(SOURCE)}
    assert lines == {
        'def f(x: "a + b", n=3) -> "min":',
        "if x > 0.5:",
        "if x < 1.0:",
        "if not (x < 0.5):",
        "x = max(x, n) - 1",
        "x = min(x, n) + 1",
        "x = min(x, n) - 2",
        "pass",
        "put(x[:].abs())",
        "put(x[2:].abs())",
        "put(x[1:])",
        "return (x) if n else np.sqrt(x)",
        "return (-x)",
        "return (np.sqrt(x))",
        "return -x if n else (x)",
    }


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.slow
def test_a_fault_is_seen_in_its_process_and_not_in_this_one():
    source = (drawn.LIBRARY / "descent/step_sums.py").read_text()
    start = source.index("sizes.sum()")
    fault = Edit(1, start, start + len("sizes.sum()"), "(2 * sizes.sum())")
    found = drawn.with_fault("descent/step_sums.py", fault, ["train_adam"])
    assert found is not None
    assert found["train_adam"].failed == ["step sums"]
    quiet = Edit(1, 0, 0, "")
    usual = drawn.with_fault("descent/step_sums.py", quiet, ["train_adam"])
    assert usual is not None
    assert found["train_adam"].moved(usual["train_adam"]) == ["weighted_squared_gradient_norm"]
    assert not any(isinstance(one, drawn._Edited) for one in sys.meta_path)
    # Nor is what this process has loaded taken for what is edited there.
    importlib.import_module("landscape.descent.step_sums")
    again = drawn.with_fault("descent/step_sums.py", fault, ["train_adam"])
    assert again is not None
    assert again["train_adam"].failed == ["step sums"]
