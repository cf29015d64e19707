"""What processes tell one another, here of one process, through a store in memory."""

import time
from types import SimpleNamespace

import pytest
import torch.distributed

from landscape.distributed import watch
from landscape.distributed.watch import Watch

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch):
    """Two watches in quick time, which look; neither ends this process."""
    for name, seconds in (("BEAT", 0.02), ("GRACE", 0.5), ("PATIENCE", 0.2), ("STUCK", 3)):
        monkeypatch.setattr(watch, name, seconds)
    own = SimpleNamespace(environ={}, write=lambda *_: None, _exit=lambda code: None)
    monkeypatch.setattr(watch, "os", own)
    store = torch.distributed.HashStore()
    pair = [Watch(store, number, 2, "landscape hessian a.h5") for number in range(2)]
    yield pair
    for one in pair:
        one.leave()


def look(*watches: Watch) -> None:
    for one in watches:
        one._begin(one._look)


def ending(one: Watch) -> str:
    end = time.monotonic() + 20
    while one.ending is None and time.monotonic() < end:
        time.sleep(0.01)
    return str(one.ending)


def test_the_first_that_tells_is_the_one_that_says(two):
    first, second = two
    assert first.tell("no such file.", 2)["by"] == 0
    assert second.cause().exit_code == 2
    assert str(second.ending) == "no such file."
    # It keeps silent, so another one says it, and nobody after that.
    assert second.is_first_to_say("no such file.", 2)
    assert not first.is_first_to_say("no such file.", 2)


def test_one_that_beats_no_more_is_gone_with_the_command_that_goes_on(two):
    first, _ = two
    look(first)
    assert str(first.cause()) == "process 1 of 2 is gone; go on with: landscape hessian a.h5"
    assert first.ending.exit_code == 1


def test_nobody_is_gone_where_all_beat(two):
    look(*two)
    assert two[0].cause() is None


def test_one_that_is_silent_for_long_is_missed(two, monkeypatch):
    monkeypatch.setattr(watch, "SILENT", 10)
    look(two[0])
    assert ending(two[0]).startswith("process 1 of 2 is gone")


def test_one_that_has_left_is_not_missed_until_it_is_waited_for(two, monkeypatch):
    monkeypatch.setattr(watch, "SILENT", 10)
    first, second = two
    look(*two)
    second.leave()
    time.sleep(0.5)
    assert first.ending is None
    with first.during("a sum of 3 numbers"):
        assert "process 1 of 2 has finished where process 0 waits for a sum of 3 numbers" in ending(first)


def test_those_who_wait_in_different_operations_are_told_apart(two):
    first, second = two
    look(*two)
    with first.during("a sum of 3 numbers"), second.during("a sum of 4 numbers"):
        assert " waits for a sum of " in ending(first)
        assert ending(second) == ending(first)


def test_those_who_wait_long_in_the_same_operation_are_left_alone(two):
    first, second = two
    look(*two)
    with first.during("a sum of 3 numbers"), second.during("a sum of 3 numbers"):
        time.sleep(0.5)
    assert first.ending is None is second.ending
