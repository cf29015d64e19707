"""The state of work under way is kept when its time has come, and no sooner."""

import itertools
from types import SimpleNamespace

import pytest

from landscape.progress import Saver


@pytest.fixture
def clock(monkeypatch):
    """A second passes whenever one looks."""
    monkeypatch.setattr("landscape.progress.time", SimpleNamespace(monotonic=itertools.count().__next__))


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_a_state_is_kept_every_so_many_seconds(clock, monkeypatch, weight):
    monkeypatch.setattr("landscape.progress.SAVE_SECONDS", 2.5)
    journal, kept, made = {}, [], []
    saver = Saver(journal, "state", weight=weight)
    for step in range(40):
        saver.offer(lambda step=step: made.append(step) or {"step": step})
        if "state" in journal and journal["state"]["step"] not in kept:
            kept.append(step)
    # At the first look beyond 2.5 (7.5) seconds; saving looks once more.
    every = 3 if weight == 1 else 8
    assert kept == list(range(every - 1, 40, every))
    assert made == kept  # no state is made in vain


def test_a_state_may_be_kept_at_once_and_is_found_again(clock):
    journal = {}
    assert Saver(journal, "state").restore() is None
    Saver(journal, "state").save({"step": 3})
    assert Saver(journal, "state").restore() == {"step": 3}
    assert Saver(journal, "another").restore() is None
