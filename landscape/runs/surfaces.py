"""Slices that were computed by tomgoldstein/loss-landscape, brought in, and slices of ours, handed to its scripts."""

import json
from datetime import UTC, datetime
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

import landscape
from landscape import distributed
from landscape.errors import BadInput
from landscape.result import Result
from landscape.runs import provenance, store
from landscape.runs.publish import Answer, standing_there
from landscape.runs.settings import Settings, called
from landscape.runs.surface_files import arrays_of, read_surface, write_surface

# What is not in such a file, and what is therefore taken on trust.
ASSUMED = (
    "that {name} is right: its numbers were computed elsewhere, and it does not say of which module, data and "
    "directions they are, so none was computed again and there are no checks"
)


def import_surface(
    path: Path | str,
    output: Path | str | None = None,
    *,
    proj_file: Path | str | None = None,
    dir_file: Path | str | None = None,
    overwrite: bool = False,
) -> Result:
    """A surface file of tomgoldstein/loss-landscape as a slice, as ``landscape import-surface`` publishes it.

    The result is written to ``output``, by default ``x.slice2d.h5`` beside ``x.h5``, and taken from there where the
    same call has made it. ``proj_file`` adds the trajectory of a projection file, ``dir_file`` the shares of variance
    of a direction file of principal components; both are otherwise looked for in the file itself. Accuracies are parts
    of 1 here, per cent there. Cells that were not computed (−1 there) are NaN and not ``done``, the outcome is then
    ``interrupted``. Directions are not taken over, distances from the plane not known, and nothing is checked; the
    result says so.

    Raises BadInput for what is no such file, for other coordinates than two or more that rise, for arrays of other
    shapes than theirs, a loss that is −1 or not finite in every cell, accuracies beyond 0 to 100, a trajectory on a
    line, and an ``output`` that something else has made unless it may be overwritten.
    """
    given = {"output": output, "proj_file": proj_file, "dir_file": dir_file}
    words = [
        repr(fspath(path)),
        *(f"{name}={fspath(one)!r}" for name, one in given.items() if one is not None),
    ]
    words += ["overwrite=True"] if overwrite else []
    settings = {"overwrite": overwrite} | ({} if output is None else {"output": output})
    command = f"landscape.import_surface({', '.join(words)})"
    return imported(path, proj_file, dir_file, called(command, settings)).result


def imported(
    path: PathLike[str] | str,
    proj_file: PathLike[str] | str | None,
    dir_file: PathLike[str] | str | None,
    settings: Settings,
) -> Answer:
    """:func:`import_surface` with where the result stands."""
    distributed.require_one_process("surface files")
    named = {"": path, "proj_file": proj_file, "dir_file": dir_file}
    files = {role: Path(one) for role, one in named.items() if one is not None}
    result = read_surface(files[""], files.get("proj_file"), files.get("dir_file"))
    hashes = {role: provenance.sha256(one) for role, one in files.items()}
    config: dict[str, Any] = {
        "kind": result.kind,
        "inputs": [{"sha256": one, "point": role} for role, one in hashes.items()],
        "computed": "elsewhere",
        "options": {},
    }
    output = settings.output or files[""].with_name(f"{files[''].stem}.{result.kind}.h5")
    if standing_there(output, config, settings, list(files.values())) is not None:
        return Answer(store.load(output, verify=False), output, was_there=True)
    others = [{"spec": role, "path": str(one), "sha256": hashes[role]} for role, one in files.items() if role]
    result.config = config
    result.provenance = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "generated-by": f"landscape {landscape.__version__}",
        "command": settings.command,
        "computed": "elsewhere",
        "assumed": ASSUMED.format(name=files[""].name),
        "inputs": json.dumps([{"path": str(files[""]), "sha256": hashes[""], "point": ""}]),
        **({"sources": json.dumps(others)} if others else {}),
        **({"config-file": settings.config_file} if settings.config_file else {}),
        "numpy": np.__version__,
    }
    store.save(result, output)
    return Answer(result, output)


def export_surface(result: Result | Path | str, output: Path | str, *, verify: bool = True) -> None:
    """Write a slice as a surface file of tomgoldstein/loss-landscape, as its ``plot_2D.py`` and ``plot_1D.py`` read it.

    Losses, test losses and eigenvalues as they are (of several draws the first), accuracies in per cent, −1 in cells
    without; a trajectory (of several runs the first) and its shares of variance in the same file, which then serves
    as ``--surf_file``, ``--proj_file`` and ``--dir_file``. Arrays are of shape (len(y), len(x)), as pictures want
    them. What :func:`import_surface` reads of it is what was written, bit for bit. ``verify=False`` takes a damaged
    file as it is. Raises BadInput for a result of another kind, a loss of exactly −1, an ``output`` that does not end
    in .h5 or is a result, and a folder that is not there or cannot be written.
    """
    output = Path(output)
    found: Any = result if isinstance(result, Result) else store.load(result, verify=verify)
    name = f"a {type(result).__name__}" if isinstance(result, Result) else str(result)
    if found.kind not in ("slice1d", "slice2d"):
        remedy = "weights of a run go into a file .safetensors, .pt or .pth" if found.kind == "train" else ""
        raise BadInput(f"{name} of kind {found.kind!r} as a surface", "a slice1d or a slice2d", remedy)
    if output.suffix.lower() not in (".h5", ".hdf5"):
        raise BadInput(f"{output} ends in {output.suffix or 'nothing'}", "h5 or hdf5")
    if output.is_dir():
        raise BadInput(
            f"{output} is a folder", "the name of a file to write", f"name one in it: {output / 'surface.h5'}"
        )
    if output.exists() and store.is_ours(output):
        raise BadInput(f"{output} is a result", "the name of another file")
    if not output.parent.is_dir():
        raise BadInput(f"there is no folder {output.parent}", "an existing folder", "make it first")
    write_surface(dict(arrays_of(found, name)), output)
