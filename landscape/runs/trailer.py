"""The last line of a result file: the sha256 of all bytes before it.

HDF5 looks no further than its own end, so every reader takes such a file as any other, and whoever opens it for
writing or copies it by ``h5repack`` loses the line. It is looked at before HDF5 is: some damage makes that library
read for ever. By hand: ``head -c -82 a.h5 | sha256sum`` and ``tail -c 82 a.h5``.
"""

import hashlib
import os
import re
from pathlib import Path

LENGTH = len("landscape sha256 ") + 64 + 1


def append(path: Path) -> None:
    """Put the line behind a file that is otherwise finished, and the whole on the disk."""
    with open(path, "rb+") as file:
        line = _line(hashlib.file_digest(file, "sha256").hexdigest())
        file.seek(0, os.SEEK_END)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_kept(path: Path) -> bool | None:
    """Whether the bytes of a file are those that were written; None where it has no such line."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END) - LENGTH
        if size < 0:
            return None
        file.seek(size)
        line = file.read()
        if not re.fullmatch(rb"landscape sha256 [0-9a-f]{64}\n", line):
            return None
        file.seek(0)
        digest, left = hashlib.sha256(), size
        while left:
            part = file.read(min(left, 2**20))
            digest.update(part)
            left -= len(part)
        return _line(digest.hexdigest()) == line


def _line(digest: str) -> bytes:
    return f"landscape sha256 {digest}\n".encode()
