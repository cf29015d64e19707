"""Where a result may be written, and what it may be called."""

import errno
import os
from pathlib import Path

from landscape.errors import BadInput

# What is written beside a result, and the longest name that is looked for there.
ENDINGS = (".tmp", ".tmp.part")
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
    if os.path.isdir(output):  # which a name that is too long is not
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
    try:
        for ending in ENDINGS:
            trial = output.with_name(output.name + ending)
            # Tried, not asked: root may write where a file system may not be written.
            with open(trial, "ab"):
                pass
            # Of several processes another may have been faster.
            trial.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        if error.errno == errno.ENAMETOOLONG:
            raise BadInput(
                f"{output.name} is too long a name", "a shorter one", "give another `output`"
            ) from None
        seen = f"{folder} cannot be written ({error.strerror})"
        raise BadInput(seen, "a folder you may write to", "give another `output`") from None
    # What stands there is read, which never ends of a pipe, and replaced, which a device must not be.
    if output.exists() and not output.is_file():
        raise BadInput(
            f"{output} is a pipe or a device", "the name of a file to write", "give another `output`"
        )
