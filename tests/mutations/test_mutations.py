"""Single faults in a copy of the library: each must make a test fail, and a check of a result."""

import re

import pytest
from mutations.checks import PAGE, collected, table, written
from mutations.expected import CHECKS, TESTS, UNSEEN
from mutations.failed import failed
from mutations.faults.all import FAULTS
from mutations.harness import ROOT, Fault, check_side, test_side, without_fault
from mutations.words import BOUNDS, COSTS, by_check

CHECKED = [FAULTS[name] for name, check in CHECKS.items() if check]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_its_place_is_there_once(fault: Fault):
    assert (ROOT / "landscape" / fault.file).read_text().count(fault.old) == 1


def test_every_fault_has_its_check():
    assert set(CHECKS) == set(FAULTS)
    assert {name for name in UNSEEN if not CHECKS[name]} == set()


def test_every_check_stands_in_the_table_once_and_something_makes_it_fail():
    rows = written(PAGE.read_text())
    names = [row[0] for row in rows]
    assert len(set(names)) == len(names)
    assert [row for row in rows if len(row) != 6 or not all(row[:5])] == []
    assert set(by_check(BOUNDS)) == set(by_check(COSTS)) == set(names)
    assert {one for found in failed().values() for one in found} - {"refused"} <= set(names)
    assert {row[0] for row in rows if not row[5]} == set()


def test_every_fault_failed_its_check_when_it_was_last_tried():
    seen = {name: check for name, check in CHECKS.items() if check and name not in UNSEEN}
    assert {name for name, check in seen.items() if check not in failed()[name]} == set()


def test_what_breaks_a_check_is_there():
    for place in TESTS.values():
        file, _, name = place.partition("::")
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(), place


def test_every_check_of_the_library_stands_in_the_table():
    """By the names that stand in its text; others are put together."""
    names = {row[0] for row in written(PAGE.read_text())}
    found = set()
    for path in (ROOT / "landscape").rglob("*.py"):
        if path.name != "screen.py":
            found |= set(re.findall(r'(?:Check|agreement|close)\(\s*"([^"]+)"', path.read_text()))
    assert len(found) > 60
    assert found - names == set()


@pytest.mark.slow
def test_the_table_is_what_results_say_of_themselves():
    assert written(PAGE.read_text()) == table(collected(without_fault()))


@pytest.mark.slow
def test_without_a_fault_every_scenario_is_complete():
    assert without_fault().failed == []
    statuses = {name: one["status"] for name, one in without_fault().items() if one["status"] != "complete"}
    assert statuses == {"connect_diverging": "diverged"}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_test_sees(fault: Fault):
    fails, said = test_side(fault, fault.tests)
    assert fails, said


@pytest.mark.slow
@pytest.mark.parametrize("fault", CHECKED, ids=[one.name for one in CHECKED])
def test_a_check_sees(fault: Fault, request: pytest.FixtureRequest):
    if fault.name in UNSEEN:
        request.applymarker(pytest.mark.xfail(strict=True, reason="no check sees it yet"))
    seen = check_side(fault, fault.scenarios)
    assert seen.sees(CHECKS[fault.name]), f"failed: {seen.failed}; moved: {seen.moved()}"
