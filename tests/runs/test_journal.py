"""The journal: whatever byte a kill falls on, what was finished is there and nothing else."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import zlib

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


def rewritten(folder, change):
    """The journal with its lines, each without the end of line, as ``change`` leaves them."""
    path = folder / "rank-0.jsonl"
    lines = path.read_bytes().splitlines()
    change(lines)
    path.write_bytes(b"".join(line + b"\n" for line in lines))


def with_crc(text: bytes) -> bytes:
    """A line of its own, whose CRC fits it and not what stands before."""
    return text + f"\t{zlib.crc32(text):08x}".encode()


def of_another_point(lines):
    lines[2] = with_crc(b'{"key": "b", "values": {"y": 7}}')


def renamed(lines):
    lines[2] = lines[2].replace(b'"key": "b"', b'"key": "c"')


def renamed_with_care(lines):
    lines[2] = with_crc(lines[2].rpartition(b"\t")[0].replace(b'"key": "b"', b'"key": "c"'))


def swapped(lines):
    lines[2], lines[3] = lines[3], lines[2]


def left_out(lines):
    del lines[2]


def twice(lines):
    lines.insert(2, lines[1])


@pytest.mark.parametrize(
    "change",
    [of_another_point, renamed, renamed_with_care, swapped, left_out, twice],
    ids=lambda one: one.__name__,
)
def test_a_line_that_is_not_what_was_written_there_is_named_and_it_and_what_follows_dropped(history, change):
    folder, states = history
    rewritten(folder, change)
    journal = Journal(folder, CONFIG)
    assert contents(journal) == states[1]
    assert len(journal.dropped) == 1
    assert "rank-0.jsonl, line 3 of" in journal.dropped[0]
    journal["b"] = {"x": 1}
    journal.close()
    again = Journal(folder, CONFIG)
    assert again.dropped == []
    assert contents(again) == {**states[1], "b": {"x": 1}}


def test_lines_of_another_journal_are_not_taken(history, tmp_path):
    """Of the same names, by the same options, at another point: what was there is not ours."""
    folder, _ = history
    other = Journal(tmp_path / "other", {**CONFIG, "inputs": [{"sha256": "0" * 64}]})
    for key in "abcd":
        other[key] = {"x": 9}
    other.close()
    theirs = (tmp_path / "other" / "rank-0.jsonl").read_bytes().splitlines()

    def change(lines):
        lines[1:] = theirs[1:]

    rewritten(folder, change)
    journal = Journal(folder, CONFIG)
    assert contents(journal) == {}
    assert "line 2 of 5" in journal.dropped[0]


def test_a_damaged_first_line_is_refused_and_nothing_touched(history):
    """It says whose work this is: without it nothing is ours to cut."""
    folder, _ = history
    path = folder / "rank-0.jsonl"
    data = bytearray(path.read_bytes())
    data[data.index(b"slice2d")] ^= 1
    path.write_bytes(data)
    before = {one.name: one.read_bytes() for one in folder.iterdir()}
    with pytest.raises(BadInput, match=r"the first line of .*rank-0.jsonl.* is damaged.*`overwrite`"):
        Journal(folder, CONFIG)
    assert {one.name: one.read_bytes() for one in folder.iterdir()} == before


@pytest.mark.parametrize("how", ["swapped", "renamed", "of another journal"])
def test_arrays_that_are_not_those_of_their_piece_are_named_and_computed_again(history, tmp_path, how):
    folder, states = history
    first, second = (folder / f"rank-0-{number}.npz" for number in (0, 1))
    if how == "swapped":
        one, other = first.read_bytes(), second.read_bytes()
        first.write_bytes(other)
        second.write_bytes(one)
        left = {"a", "d"}
    elif how == "renamed":
        second.replace(first)
        left = {"a", "d"}
    else:
        other = Journal(tmp_path / "other", {**CONFIG, "num_points": 7})
        other["b"] = {"y": np.arange(3) + 1}
        other.close()
        first.write_bytes((tmp_path / "other" / "rank-0-0.npz").read_bytes())
        left = {"a", "c", "d"}
    journal = Journal(folder, CONFIG)
    assert contents(journal) == {key: piece for key, piece in states[-1].items() if key in left}
    assert [one[0] for one in journal.dropped] == sorted(set("abcd") - left)
    assert all("does not hold its arrays as they were written" in one for one in journal.dropped)


MADE_FROM = {"torch": "2.8.0", "landscape": "1", "data": "0" * 64, "points": ["1" * 64]}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"torch": "2.9.1"}, "torch is '2.8.0' there, '2.9.1' here"),
        ({"landscape": "2"}, "landscape is '1' there, '2' here"),
        ({"data": "a" * 64}, "the data are not the same numbers"),
        ({"points": ["a" * 64]}, "the points are not the same numbers"),
    ],
)
def test_work_made_from_something_else_is_refused_by_name_and_left_alone(tmp_path, change, sentence):
    journal = opened(tmp_path, made_from=MADE_FROM)
    journal["a"] = {"x": 1}
    journal.close()
    with pytest.raises(BadInput, match=re.escape(sentence)) as refused:
        opened(tmp_path, made_from={**MADE_FROM, **change})
    assert "`overwrite`" in str(refused.value)
    assert contents(opened(tmp_path, made_from=MADE_FROM)) == {"a": {"x": 1}}


def test_a_journal_of_old_that_does_not_say_what_it_is_made_from_is_refused(history):
    folder, _ = history
    with pytest.raises(BadInput, match=r"torch is None there, '2\.8\.0' here"):
        Journal(folder, CONFIG, made_from=MADE_FROM)


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


def test_arrays_written_after_a_resumption_leave_those_before_it(tmp_path):
    for key, value in (("first", 1.0), ("second", 2.0), ("third", 3.0)):
        journal = opened(tmp_path)
        journal[key] = {"x": np.full(2, value)}
        journal.close()
    again = opened(tmp_path)
    assert contents(again) == {"first": {"x": [1, 1]}, "second": {"x": [2, 2]}, "third": {"x": [3, 3]}}
    assert again.dropped == []


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
