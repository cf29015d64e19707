"""A text for people as a file: the whole or nothing, and never in the place of a result."""

import os
from pathlib import Path

from landscape.errors import BadInput


def write(path: Path, text: str) -> None:
    """Write ``text`` beside its place and rename it.

    Raises BadInput where the folder is not there or cannot be written, and where a result stands in its place.
    """
    from landscape.runs import store

    if not path.parent.is_dir():
        raise BadInput(f"there is no folder {path.parent}", "an existing folder", "make it first")
    if path.is_dir():
        raise BadInput(f"{path} is a folder", "the name of a file")
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
