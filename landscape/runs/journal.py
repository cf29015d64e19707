"""The journal of long work: every finished piece survives a kill, the rest is computed again.

``<output>.part/`` holds one ``rank-K.jsonl`` per process: a first line with the configuration and its
hash, then a line per finished piece, each written by a single ``os.write`` and ended by a CRC, which goes on
from that of the line before: a line that was changed, moved, or comes from another journal ends the good part.
Arrays are files of their own (``.npz``, no pickles), published whole before the line that names them, with
their sha256.
"""

import errno
import hashlib
import json
import os
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np

from landscape.errors import BadInput
from landscape.runs.config import config_difference, config_hash, is_same

Piece = dict[str, Any]
# Bytes above which the arrays of a piece stay on the disk until they are asked for.
LARGE = 2**22


class Journal(MutableMapping[str, Piece]):
    """Finished pieces by key, on disk. A piece is a dictionary of JSON values and numpy arrays.

    ``about`` joins the header of a new journal; on resume ``header`` is what was written then. ``made_from``: what
    pieces depend on besides the configuration (versions, hashes of numbers); None compares nothing. Opening cuts the
    file back to its last good line; ``dropped`` names what was not taken, but for a line that a kill left unfinished.
    ``everyones(mine)`` is what every process says, where each keeps its own part of the same pieces: they go on from
    the last line that all of them have, and nothing is dropped before.
    Raises BadInput where the folder belongs to another configuration, or to work made from something else.
    """

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        *,
        about: Mapping[str, Any] | None = None,
        made_from: Mapping[str, Any] | None = None,
        rank: int = 0,
        everyones: Callable[[Any], list[Any]] | None = None,
        sync_seconds: float = 1.0,
    ):
        self.keeps_parts = everyones is not None
        self._everyones = everyones or (lambda mine: [mine])
        self.folder = folder
        self.header: dict[str, Any] = {"sha256": config_hash(config), "config": config, **(about or {})}
        self.header |= {} if made_from is None else {"made_from": dict(made_from)}
        self.dropped: list[str] = []
        self._sync_seconds = sync_seconds
        self._last_sync = time.monotonic()
        self._pieces: dict[str, Piece] = {}
        self._files: dict[str, str] = {}
        self._digests: dict[str, str] = {}
        self._rank = rank
        self._end = self._crc = self._number = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            require_own(folder)
            self._descriptor = os.open(folder / f"rank-{rank}.jsonl", os.O_RDWR | os.O_CREAT, 0o644)
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise BadInput(
                f"the journal {folder} cannot be written ({error.strerror})", "a folder you may write to"
            ) from None
        try:
            _lock(self._descriptor, folder)
            self.resumed = self._read_back()
            self._drop_orphans()
            if not self.resumed:
                self._append(self.header)
                self._sync()
        except BaseException:
            os.close(self._descriptor)
            raise

    def __getitem__(self, key: str) -> Piece:
        piece = self._pieces[key]
        return piece | self._load(self._files[key], self._digests[key]) if key in self._digests else piece

    def __setitem__(self, key: str, piece: Piece) -> None:
        arrays = {name: value for name, value in piece.items() if isinstance(value, np.ndarray)}
        line: dict[str, Any] = {"key": key, "values": {k: v for k, v in piece.items() if k not in arrays}}
        if arrays:
            line["arrays"], line["sha256"] = self._publish(arrays)
        text = self._append(line)
        if arrays or time.monotonic() - self._last_sync > self._sync_seconds:
            self._sync()
        self._everyones(None)
        # What is read back now is what a resumed run will read.
        self._pieces[key] = json.loads(text)["values"]
        self._drop_file(key)
        if arrays:
            self._files[key] = line["arrays"]
            self._hold(key, arrays, line["sha256"])

    def __delitem__(self, key: str) -> None:
        if key not in self._pieces:
            raise KeyError(key)
        self._append({"key": key, "gone": True})
        self._sync()
        self._everyones(None)
        del self._pieces[key]
        self._drop_file(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)

    def close(self) -> None:
        """Make everything durable and keep the folder for a later resume."""
        if self._descriptor >= 0:
            self._sync()
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """The result is published: the journal goes."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _hold(self, key: str, arrays: Piece, digest: str) -> None:
        """The arrays of a piece in memory, or where they are large the hash of their file."""
        if sum(array.nbytes for array in arrays.values()) > LARGE:
            self._digests[key] = digest
        else:
            self._pieces[key] |= arrays

    def _drop_file(self, key: str) -> None:
        self._digests.pop(key, None)
        if key in self._files:
            (self.folder / self._files.pop(key)).unlink(missing_ok=True)

    def _append(self, line: dict[str, Any]) -> str:
        """Write one line, whole or not at all, and return its text."""
        text = json.dumps(line, default=_as_json)
        crc = zlib.crc32(text.encode(), self._crc)
        data = f"{text}\t{crc:08x}\n".encode()
        try:
            if os.write(self._descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder))
        except OSError:
            self._cut(self._end)
            raise
        self._end, self._crc = self._end + len(data), crc
        return text

    def _cut(self, end: int) -> None:
        """Make ``end`` the end of the file, where the next line goes."""
        os.ftruncate(self._descriptor, end)
        os.lseek(self._descriptor, end, os.SEEK_SET)
        self._end = end

    def _sync(self) -> None:
        os.fsync(self._descriptor)
        self._last_sync = time.monotonic()

    def _publish(self, arrays: dict[str, np.ndarray]) -> tuple[str, str]:
        """Write arrays to a file of their own: its name and its sha256."""
        # A name is never used twice: a line that outlives its file must not find another's arrays.
        name = f"rank-{self._rank}-{self._number}.npz"
        self._number += 1
        temporary = self.folder / f"{name}.tmp"
        # An array per number, as the names of parameters may not be names of files.
        columns: dict[str, Any] = {str(i): value for i, value in enumerate(arrays.values())}
        try:
            with open(temporary, "wb+") as file:
                np.savez(file, names=np.array(list(arrays)), **columns)
                file.flush()
                os.fsync(file.fileno())
                file.seek(0)
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.replace(temporary, self.folder / name)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        return name, digest

    def _drop_orphans(self) -> None:
        """Arrays of this process that no line names: a kill came between the two."""
        named = set(self._files.values())
        for path in self.folder.glob(f"rank-{self._rank}-*.npz*"):
            if path.name not in named:
                path.unlink(missing_ok=True)

    def _load(self, name: str, digest: str) -> dict[str, np.ndarray]:
        # Opened here, as numpy leaves a damaged file open.
        with open(self.folder / name, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise ValueError("not the arrays that were written")
            file.seek(0)
            with np.load(file, allow_pickle=False) as stored:
                return {str(key): stored[str(i)] for i, key in enumerate(stored["names"])}

    def _read_back(self) -> bool:
        """Read the good lines, cut off the rest; False where there was no journal yet."""
        lines, ends = self._good_lines()
        said = self._everyones((len(lines), lines[:1]))
        # What one refuses all do.
        for _, first in said:
            for header in first:
                self._require_same(header)
        lines = lines[: min(count for count, _ in said)]
        if not lines:
            self._cut(0)
            self._crc = 0
            return False
        # Only now: the journal of another configuration is not ours to cut.
        good, self._crc = ends[len(lines) - 1]
        self._cut(good)
        self.header = lines[0]
        digests: dict[str, str] = {}
        for line in lines[1:]:
            self._files.pop(line["key"], None)
            if line.get("gone"):
                self._pieces.pop(line["key"], None)
                continue
            self._pieces[line["key"]] = dict(line["values"])
            if "arrays" in line:
                self._number = max(
                    self._number, int(line["arrays"].rpartition("-")[2].removesuffix(".npz")) + 1
                )
                self._files[line["key"]], digests[line["arrays"]] = line["arrays"], line["sha256"]
        for key, name in list(self._files.items()):
            try:
                self._hold(key, self._load(name, digests[name]), digests[name])
            except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
                self.dropped.append(
                    f"{key}: {self.folder / name} does not hold its arrays as they were written"
                )
                del self._pieces[key], self._files[key]
        for key in set(self._pieces).difference(*(set(one) for one in self._everyones(list(self._pieces)))):
            del self._pieces[key]
            self._files.pop(key, None)
        return True

    def _good_lines(self) -> tuple[list[dict[str, Any]], list[tuple[int, int]]]:
        """The lines up to the first that does not follow from those before it; the bytes and the CRC up to each."""
        path = self.folder / f"rank-{self._rank}.jsonl"
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            written = file.read().splitlines(keepends=True)
        good, lines, ends = 0, [], []
        for number, raw in enumerate(written, start=1):
            text, tab, stated = raw.rstrip(b"\n").rpartition(b"\t")
            crc = zlib.crc32(text, ends[-1][1] if ends else 0)
            if not raw.endswith(b"\n"):  # where a kill came
                break
            if not tab or f"{crc:08x}".encode() != stated:
                if number == 1:
                    raise BadInput(
                        f"the first line of {path}, which says whose work this is, is damaged",
                        "a journal as it was written",
                        "give another `output`, or `overwrite` to start afresh",
                    )
                self.dropped.append(
                    f"{path}, line {number} of {len(written)}: not what was written there, so it and what follows"
                )
                break
            lines.append(json.loads(text))
            good += len(raw)
            ends.append((good, crc))
        return lines, ends

    def _require_same(self, theirs: dict[str, Any]) -> None:
        """Raises BadInput, naming what differs, for the first line of other work than this."""
        config, made_from = self.header["config"], self.header.get("made_from")
        if theirs.get("sha256") != self.header["sha256"] and not is_same(config, theirs.get("config", {})):
            difference = config_difference(config, theirs.get("config", {}))
            raise BadInput(
                f"{self.folder} holds unfinished work of another configuration ({difference})",
                "the same command as before",
                "give the same options to resume, another `output`, or `overwrite` to start afresh",
            )
        before = theirs.get("made_from", {})
        if made_from is not None and made_from != before:
            difference = config_difference(made_from, before)
            raise BadInput(
                f"{self.folder} holds unfinished work made from something else ({difference})",
                "the same versions and the same numbers as before",
                "give them to resume, or another `output`, or `overwrite` to start afresh",
            )


def require_own(folder: Path) -> None:
    """BadInput where others keep files in ``folder``, all of which goes with a journal; hidden ones do not count."""
    other = next((one.name for one in folder.iterdir() if not one.name.startswith((".", "rank-"))), None)
    if other is not None:
        raise BadInput(
            f"{folder}, a folder for unfinished work, holds {other}",
            "no files of others, as it is removed in the end",
            "move it, or give another `output`",
        )


def _as_json(value: Any) -> Any:
    """numpy's numbers as Python's; anything else that JSON does not know as its text."""
    return value.item() if isinstance(value, np.generic) else str(value)


def _lock(descriptor: int, folder: Path) -> None:
    """One process at a time writes a journal. Raises BadInput where another one is at work."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BadInput(
            f"another process is working on {folder}",
            "one at a time",
            "wait for it, or give another `output`",
        ) from None
    except OSError:
        pass  # a file system without locks
