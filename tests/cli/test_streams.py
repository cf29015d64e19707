"""A console that has no θ gets words: every command, on an ASCII and on a Western European stream."""

import io
import json
import os
import subprocess
import sys

import pytest

from landscape.cli import commands, main
from landscape.cli.streams import HANDLER, PLAIN, readable

LINES = [
    ["--help"],
    *([name, "--help"] for name in commands()),
    ["show", "a.h5"],
    ["show", "a.h5", "--json"],
    ["slice2d", "a.h5", "--num-points", "3"],
    ["export", "a.h5", "-o", "w.pt", "--overwrite"],
    ["plot", "a.h5", "-o", "θ.png"],
    ["hessian", "θ.h5"],
]


@pytest.fixture
def written(monkeypatch):
    """Both streams with an encoding, as bytes."""

    def run(encoding: str, line: list[str]) -> tuple[int, bytes, bytes]:
        streams = [
            io.TextIOWrapper(io.BytesIO(), encoding, errors="strict", write_through=True) for _ in range(2)
        ]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            code = main(line)
        return code, *(stream.buffer.getvalue() for stream in streams)  # type: ignore[attr-defined]

    return run


@pytest.mark.parametrize("line", LINES, ids=" ".join)
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_stream_gets_what_it_can_encode(written, folder, encoding, line):
    code, out, err = written(encoding, line)
    assert code == (2 if line == ["hessian", "θ.h5"] else 0)
    assert b"codec" not in err
    assert b"Traceback" not in err
    wide_code, wide, wide_err = written("utf-8", line)
    assert wide_code == code
    with readable():
        for mine, theirs in ((out, wide), (err, wide_err)):
            if b"already there" not in theirs:
                # Bytes of utf-8 would be no text of this encoding.
                assert mine == theirs.decode().encode(encoding, HANDLER)


def test_a_process_with_an_ascii_console(folder):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for line in (["hessian", "--help"], ["show", "a.h5"], ["hessian", "θ.h5"]):
        done = subprocess.run(
            [sys.executable, "-m", "landscape", *line], capture_output=True, env=environment
        )
        assert (done.stdout + done.stderr).isascii()
        assert done.returncode == (2 if "θ.h5" in line else 0), done.stderr
    assert b"theta.h5 does not exist" in done.stderr


def test_json_is_ascii(written, folder):
    _, out, _ = written("utf-8", ["slice1d", "a.h5", "--num-points", "3", "-o", "θ.h5", "--json"])
    assert out.isascii()
    assert json.loads(out)["output"] == "θ.h5"


def test_words_in_place_of_letters():
    with readable():
        assert "‖∇F(θ)‖² ≤ 1e-9 → é 你".encode("ascii", HANDLER) == b"||grad F(theta)||^2 <= 1e-9 -> e ?"
    assert all(word.isascii() for word in PLAIN.values())


def test_the_streams_are_left_as_they_were(written, folder):
    before = sys.stdout, sys.stderr
    main(["show", "a.h5"])
    assert (sys.stdout, sys.stderr) == before
