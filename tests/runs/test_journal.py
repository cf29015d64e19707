"""The journal: whatever byte a kill falls on, what was finished is there and nothing else."""

import errno
import json
import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from landscape.errors import BadInput
from landscape.runs.config import config_difference, config_hash
from landscape.runs.journal import Journal

CONFIG = {"kind": "slice2d", "num_points": 51, "options": {"seed": 0}}


def opened(path, config=CONFIG, **options):
    return Journal(path / "a.h5.part", config, **options)


def contents(journal):
    """Pieces with arrays as lists, to be compared."""
    return {
        key: {
            name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in piece.items()
        }
        for key, piece in journal.items()
    }


def fill(journal):
    journal["draw 0"] = {"rows": [[1.5, float("nan")], [float("inf"), -0.0]]}
    journal["point init"] = {"step": 0, "a.weight": np.arange(6.0).reshape(2, 3), "n": np.array(3)}
    journal["log 1"] = {"step": np.int64(1), "loss": np.float64(0.1), "ok": np.bool_(True), "none": None}
    journal["état/✓"] = {"name": "tab\tand\nline"}
    journal["point init"] = {"step": 5, "a.weight": np.zeros((2, 3)), "n": np.array(4)}
    journal["was array"] = {"x": np.ones(2)}
    journal["was array"] = {"y": 3}


def test_a_resumed_journal_holds_what_was_written(tmp_path):
    journal = opened(tmp_path)
    assert not journal.resumed
    fill(journal)
    before = contents(journal)
    assert before["log 1"] == {"step": 1, "loss": 0.1, "ok": True, "none": None}
    journal.close()
    again = opened(tmp_path)
    assert again.resumed
    assert list(again) == list(journal)
    assert repr(contents(again)) == repr(before)
    assert again["point init"]["n"].shape == ()
    assert again["point init"]["a.weight"].dtype == np.float64
    assert len(list((tmp_path / "a.h5.part").glob("*.npz"))) == 1


def test_deleted_pieces_stay_deleted(tmp_path):
    journal = opened(tmp_path)
    fill(journal)
    del journal["point init"]
    with pytest.raises(KeyError):
        del journal["point init"]
    journal.close()
    assert set(opened(tmp_path)) == {"draw 0", "log 1", "état/✓", "was array"}
    assert not list((tmp_path / "a.h5.part").glob("*.npz"))


def test_a_removed_journal_leaves_nothing(tmp_path):
    journal = opened(tmp_path)
    fill(journal)
    journal.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def history(tmp_path):
    """A journal of pieces with and without arrays, and the state after each line."""
    journal = opened(tmp_path, about={"threads": 1})
    states = [contents(journal)]
    pieces = [
        ("a", {"x": 1}),
        ("b", {"y": np.arange(3)}),
        ("c", {"x": 2.5, "y": np.ones((1, 2))}),
        ("d", {"x": "text"}),
    ]
    for key, piece in pieces:
        journal[key] = piece
        states.append(contents(journal))
    journal.close()
    return tmp_path / "a.h5.part", states


def test_cut_at_any_byte_it_resumes_with_a_prefix(history, tmp_path):
    folder, states = history
    data = (folder / "rank-0.jsonl").read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    for length in range(len(data) + 1):
        shutil.rmtree(tmp_path / "cut", ignore_errors=True)
        shutil.copytree(folder, tmp_path / "cut")
        with open(tmp_path / "cut" / "rank-0.jsonl", "rb+") as file:
            file.truncate(length)
        whole = sum(end <= length for end in ends)
        journal = Journal(tmp_path / "cut", CONFIG, about={"threads": 1})
        assert journal.resumed == (whole > 0)
        assert contents(journal) == states[max(0, whole - 1)]
        journal["next"] = {"x": 7}
        journal.close()
        after = Journal(tmp_path / "cut", CONFIG)
        assert contents(after) == {**states[max(0, whole - 1)], "next": {"x": 7}}
        after.close()


def test_any_damaged_byte_ends_the_good_part(history, tmp_path):
    folder, states = history
    data = (folder / "rank-0.jsonl").read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    for position in range(ends[0], len(data), 7):
        damaged = bytearray(data)
        damaged[position] ^= 0x01
        shutil.rmtree(tmp_path / "damaged", ignore_errors=True)
        shutil.copytree(folder, tmp_path / "damaged")
        (tmp_path / "damaged" / "rank-0.jsonl").write_bytes(damaged)
        whole = sum(end <= position for end in ends)
        journal = Journal(tmp_path / "damaged", CONFIG)
        assert contents(journal) == states[whole - 1]
        journal.close()


def test_a_damaged_array_is_computed_again(history):
    folder, _ = history
    (first, second) = sorted(folder.glob("*.npz"))
    data = bytearray(first.read_bytes())
    data[len(data) // 3] ^= 0xFF
    first.write_bytes(data)
    second.write_bytes(second.read_bytes()[:100])
    assert set(Journal(folder, CONFIG)) == {"a", "d"}


def test_arrays_that_no_line_names_go(history):
    folder, _ = history
    (folder / "rank-0-77.npz").write_bytes(b"orphan")
    (folder / "rank-0-78.npz.tmp").write_bytes(b"half")
    (folder / "rank-1-0.npz").write_bytes(b"of another process")
    Journal(folder, CONFIG).close()
    assert {path.name for path in folder.iterdir()} == {
        "rank-0.jsonl",
        "rank-0-0.npz",
        "rank-0-1.npz",
        "rank-1-0.npz",
    }


def test_an_old_line_never_finds_newer_arrays(tmp_path):
    """Cut back to an older version of a piece, its arrays are gone or its own."""
    journal = opened(tmp_path)
    for step in range(5):
        journal["state"] = {"step": step, "theta": np.full(3, step)}
    journal.close()
    path = tmp_path / "a.h5.part" / "rank-0.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]))
    for piece in opened(tmp_path).values():
        assert piece["step"] == piece["theta"][0]


def test_another_configuration_is_refused_by_name_and_left_alone(history):
    folder, states = history
    before = (folder / "rank-0.jsonl").read_bytes()
    with pytest.raises(BadInput, match="num_points is 51 there, 25 here"):
        Journal(folder, {**CONFIG, "num_points": 25})
    assert (folder / "rank-0.jsonl").read_bytes() == before
    assert contents(Journal(folder, CONFIG)) == states[-1]


def test_the_header_keeps_what_was_said_first(history):
    folder, _ = history
    assert Journal(folder, CONFIG, about={"threads": 2}).header["threads"] == 1


def test_processes_keep_their_own(tmp_path):
    journals = [opened(tmp_path, rank=rank) for rank in range(2)]
    for rank, journal in enumerate(journals):
        journal["state"] = {"theta": np.full(2, rank)}
        journal.close()
    for rank in range(2):
        assert opened(tmp_path, rank=rank)["state"]["theta"].tolist() == [rank, rank]


def test_two_at_once_are_refused(tmp_path):
    journal = opened(tmp_path)
    with pytest.raises(BadInput, match="another process is working"):
        opened(tmp_path)
    journal.close()
    opened(tmp_path).close()


def full_disk(monkeypatch, written):
    """os.write that stores ``written`` bytes of a line and no more."""
    write = os.write

    def short(descriptor, data):
        if written is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:written])

    monkeypatch.setattr(os, "write", short)


@pytest.mark.parametrize("written", [None, 0, 10])
def test_a_full_disk_loses_the_piece_in_hand_alone(tmp_path, monkeypatch, written):
    journal = opened(tmp_path)
    journal["a"] = {"x": 1}
    with monkeypatch.context() as patch:
        full_disk(patch, written)
        with pytest.raises(OSError, match="No space left") as caught:
            journal["b"] = {"x": 2}
        assert caught.value.errno == errno.ENOSPC
    assert "b" not in journal
    journal["c"] = {"x": 3}
    journal.close()
    assert contents(opened(tmp_path)) == {"a": {"x": 1}, "c": {"x": 3}}


def test_a_full_disk_while_an_array_is_written_leaves_no_litter(tmp_path, monkeypatch):
    journal = opened(tmp_path)

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", fail)
        with pytest.raises(OSError, match="No space left"):
            journal["state"] = {"theta": np.zeros(3)}
    assert [path.name for path in (tmp_path / "a.h5.part").iterdir()] == ["rank-0.jsonl"]


def test_killed_with_no_warning_it_resumes(tmp_path):
    """A process that dies at once after its last piece, with nothing closed or flushed by hand."""
    script = """
        import os, sys
        from pathlib import Path
        import numpy as np
        from landscape.runs.journal import Journal
        journal = Journal(Path(sys.argv[1]), {"kind": "test"})
        for i in range(20):
            journal[f"piece {i}"] = {"i": i, "square": np.array([i * i])}
        os.kill(os.getpid(), 9)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "part")], check=False
    )
    assert done.returncode == -9
    journal = Journal(tmp_path / "part", {"kind": "test"})
    assert [piece["square"].item() for piece in journal.values()] == [i * i for i in range(20)]


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "a.h5.part").write_text("a file")
    with pytest.raises(BadInput, match="cannot be written"):
        opened(tmp_path)


def test_hashes_do_not_depend_on_the_order_of_keys():
    assert config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1})
    assert config_hash({"a": 1}) != config_hash({"a": 2})
    assert config_difference({"a": 1, "b": (1, 2)}, {"a": 1, "b": [1, 2]}) == ""
    mine, theirs = ({"kind": "minima", "options": {"lr": lr, "steps": 5}} for lr in (1, 2))
    assert config_difference(mine, theirs) == "lr is 2 there, 1 here"
    assert config_difference({"a": 1}, {"b": 2}) == "a is None there, 1 here, b is 2 there, None here"


def test_lines_are_readable_json(history):
    folder, _ = history
    for line in (folder / "rank-0.jsonl").read_text().splitlines():
        json.loads(line.rpartition("\t")[0])
