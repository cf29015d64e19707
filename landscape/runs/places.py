"""Where a result may be written, and what it may be called."""

import errno
from pathlib import Path

from landscape.errors import BadInput

DRAWN = "its picture is drawn by landscape plot"
# Of endings that promise what is no result: the command that makes it of one.
OTHERS = {
    **dict.fromkeys((".png", ".pdf", ".svg"), DRAWN),
    **dict.fromkeys((".pt", ".pth", ".safetensors"), "weights are written by landscape export"),
    ".html": "a page is written by landscape report",
}


def require_place(output: Path) -> None:
    """Raises BadInput where no result can be written, or where its name says that it is no HDF5 file."""
    folder = output.parent
    if output.is_dir():
        raise BadInput(f"{output} is a folder", "the name of a file to write", "give `output` FILE.h5")
    if remedy := OTHERS.get(output.suffix.lower()):
        name = output.with_suffix(".h5")
        raise BadInput(
            f"{output} ends as another kind of file",
            "the name of an HDF5 file",
            f"give `output` {name}; {remedy} {name}",
        )
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}", "an existing folder for the output", "make it first")
    trial = output.with_name(output.name + ".tmp")
    try:
        # Tried, not asked: root may write where a file system may not be written.
        with open(trial, "ab"):
            pass
        # Of several processes another may have been faster.
        trial.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        seen = f"{folder} cannot be written ({error.strerror})"
        raise BadInput(seen, "a folder you may write to", "give another `output`") from None
