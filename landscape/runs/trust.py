"""The code that this user trusts: contents by their sha256, remembered when a file of theirs is named.

``trusted.jsonl`` in the user's state folder has a line a content, ``{"sha256": …, "path": …}``, appended by one write;
it is read and never run. Where it cannot be written, trust lasts as long as the process.
"""

import hashlib
import json
import os
from pathlib import Path

# What could not be written down.
_for_this_process: dict[str, set[str]] = {}


def folder() -> Path:
    """$LANDSCAPE_STATE, or $XDG_STATE_HOME/landscape, or ~/.local/state/landscape."""
    if os.environ.get("LANDSCAPE_STATE"):
        return Path(os.environ["LANDSCAPE_STATE"])
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "landscape"


def trust(path: Path, content: bytes) -> None:
    """Remember that this user has named ``path`` with this ``content``."""
    digest, place = hashlib.sha256(content).hexdigest(), str(path.resolve())
    if place in _places().get(digest, ()):
        return
    line = json.dumps({"sha256": digest, "path": place}) + "\n"
    try:
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(_store(), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            # A line that a crash or a full disk has cut short must not swallow this one.
            size = os.fstat(descriptor).st_size
            os.lseek(descriptor, max(0, size - 1), os.SEEK_SET)
            is_cut = size > 0 and os.read(descriptor, 1) != b"\n"
            os.write(descriptor, ("\n" * is_cut + line).encode())
        finally:
            os.close(descriptor)
    except OSError:
        _for_this_process.setdefault(digest, set()).add(place)


def is_trusted(content: bytes) -> bool:
    """Whether this user has named a file with this content, wherever it stood."""
    return hashlib.sha256(content).hexdigest() in _places()


def places(digest: str) -> list[Path]:
    """Where files with this sha256 stood when they were named."""
    return [Path(one) for one in sorted(_places().get(digest, ()))]


def _store() -> Path:
    return folder() / "trusted.jsonl"


def _places() -> dict[str, set[str]]:
    """Every trusted content with its places; lines that are none are passed over."""
    found = {digest: set(paths) for digest, paths in _for_this_process.items()}
    try:
        text = _store().read_text(errors="replace")
    except OSError:
        return found
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            found.setdefault(str(entry["sha256"]), set()).add(str(entry["path"]))
        except (ValueError, TypeError, KeyError):
            continue
    return found
