"""Single faults in a copy of the library: each must make a test fail, and a check of a result."""

import pytest
from mutations.expected import CHECKS, UNSEEN
from mutations.faults.all import FAULTS
from mutations.harness import Fault, check_side, test_side, without_fault

pytestmark = pytest.mark.slow


def test_without_a_fault_every_scenario_is_complete():
    statuses = {name: one["status"] for name, one in without_fault().items() if one["status"] != "complete"}
    assert statuses == {"connect_diverging": "diverged"}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_test_sees(fault: Fault):
    fails, said = test_side(fault, fault.tests)
    assert fails, said


@pytest.mark.parametrize(
    "fault", [FAULTS[name] for name, check in CHECKS.items() if check], ids=lambda one: one.name
)
def test_a_check_sees(fault: Fault, request: pytest.FixtureRequest):
    if fault.name in UNSEEN:
        request.applymarker(pytest.mark.xfail(strict=True, reason="no check sees it yet"))
    seen = check_side(fault, fault.scenarios)
    assert seen.sees(CHECKS[fault.name]), f"failed: {seen.failed}; moved: {seen.moved()}"
