"""A text for people as a file: the whole or nothing, and never in the place of a result."""

import os
from pathlib import Path

from landscape.errors import BadInput


def check_place(path: Path, name: str) -> None:
    """Raises BadInput where ``path`` is a folder, in which a file could be called ``name``, or where there is none."""
    if path.is_dir():
        raise BadInput(f"{path} is a folder", "the name of a file to write", f"name one in it: {path / name}")
    if not path.parent.is_dir():
        raise BadInput(f"there is no folder {path.parent}", "an existing folder", "make it first")


def write(path: Path, text: str) -> None:
    """Write ``text`` beside its place and rename it.

    Raises BadInput where the folder is not there or cannot be written, and where a result stands in its place.
    """
    from landscape.runs import store

    check_place(path, "table.csv")
    if path.exists() and store.is_ours(path):
        raise BadInput(f"{path} is a result", "the name of another file")
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, PermissionError):
            raise BadInput(f"{path.parent} cannot be written", "a folder you may write to") from None
        raise
