"""The contents a user trusts: remembered by one line each, never run, for the process where they cannot be."""

import hashlib
import json

import pytest

from landscape.runs import trust

CONTENT = b"x = 1\n"


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Where trust is written, a file that is not there yet."""
    monkeypatch.setenv("LANDSCAPE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(trust, "_for_this_process", {})
    return tmp_path / "state" / "trusted.jsonl"


def test_a_content_is_trusted_once_its_file_was_named(store, tmp_path):
    assert not trust.is_trusted(CONTENT)
    trust.trust(tmp_path / "a.py", CONTENT)
    trust.trust(tmp_path / "a.py", CONTENT)
    assert trust.is_trusted(CONTENT)
    assert not trust.is_trusted(CONTENT + b" ")
    digest = hashlib.sha256(CONTENT).hexdigest()
    entries = [json.loads(line) for line in store.read_text().splitlines()]
    assert entries == [{"sha256": digest, "path": str((tmp_path / "a.py").resolve())}]
    trust.trust(tmp_path / "b.py", CONTENT)
    assert [path.name for path in trust.places(digest)] == ["a.py", "b.py"]


def test_a_damaged_line_neither_trusts_nor_swallows_the_next(store, tmp_path):
    store.parent.mkdir()
    digest = hashlib.sha256(CONTENT).hexdigest()
    store.write_text(f'[1]\nnull\n"{digest}"\n{{"sha256": "{digest}", "pa')
    assert not trust.is_trusted(CONTENT)
    trust.trust(tmp_path / "a.py", CONTENT)
    assert trust.is_trusted(CONTENT)


def test_without_a_place_to_write_trust_lasts_for_the_process(store, tmp_path, monkeypatch):
    store.parent.write_text("a file where the folder would be")
    trust.trust(tmp_path / "a.py", CONTENT)
    assert trust.is_trusted(CONTENT)
    monkeypatch.setattr(trust, "_for_this_process", {})
    assert not trust.is_trusted(CONTENT)


def test_the_folder_follows_the_users_settings(monkeypatch, tmp_path):
    monkeypatch.delenv("LANDSCAPE_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert trust.folder() == tmp_path / "landscape"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert trust.folder() == tmp_path / ".local" / "state" / "landscape"
