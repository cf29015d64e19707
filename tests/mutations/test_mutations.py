"""Single faults in a copy of the library: each must make a test fail, and a check of a result."""

import pytest
from mutations.expected import CHECKS, UNSEEN
from mutations.faults.all import FAULTS
from mutations.harness import ROOT, Fault, check_side, test_side, without_fault

CHECKED = [FAULTS[name] for name, check in CHECKS.items() if check]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_its_place_is_there_once(fault: Fault):
    assert (ROOT / "landscape" / fault.file).read_text().count(fault.old) == 1


def test_every_fault_has_its_check():
    assert set(CHECKS) == set(FAULTS)
    assert {name for name in UNSEEN if not CHECKS[name]} == set()


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
