"""The file format, version 1; it, :mod:`landscape.runs.seal` and one room for files of others alone know HDF5.

::

    /                 attrs: format="landscape" format-version=1 kind status outcome notes
                             config (JSON) config-sha256 contents-sha256 (the seal of the file; absent in files of
                             old), and the provenance: created generated-by
                             command seed dtype device threads processes inputs torch numpy python platform,
                             what its checks took (checks-evaluations checks-gradients checks-seconds),
                             and sources (JSON: spec path sha256) where there are files of the user's own;
                             every scalar of the result is an attribute ``value:<name>``
    /<name>           one dataset per array; dimension scales attached to every axis;
                      attrs long_name, units; numbers with a fletcher32 for each chunk
    /<dimension>      its coordinate, or, where there is none, a bare netCDF-4 dimension
    /parameters/      columns name shape offset role output_axis groups over the dimension ``piece``: the filters
                      lie along axis 0, or along axis 1 apart for each of as many groups of axis 0; where this
                      cannot say it of every piece, a column units does, as 8x1x64 of the shape 8x32x64 (see
                      :class:`~landscape.numerics.pieces.Piece`), and where some are guesses a column is_guess
    /checks/          columns name value bound passed meaning over the dimension ``check``
    /points/<label>/  one dataset per parameter and buffer, under its own name (run files);
                      attribute ``order`` of /points keeps the labels' order

A file is written whole beside its place, flushed, fsynced and renamed, and never opened for writing
again. It opens with plain h5py and, at the root and in every group, with xarray's h5netcdf engine.
Its last line is a sha256 of its bytes (:mod:`landscape.runs.trailer`); opening compares this, or, in a copy that has
lost it, the seal, so a file that was damaged, cut or edited says so.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from landscape.analyses import known_kinds, result_of
from landscape.errors import BadInput
from landscape.numerics.pieces import Piece, along_axis_1, conventional
from landscape.result import Check, Result, field_metadata
from landscape.runs import trailer
from landscape.runs.config import config_hash
from landscape.runs.readback import require_written
from landscape.runs.seal import require_room, seal_of

FORMAT, VERSION = "landscape", 1
SEAL = "contents-sha256"
# What a file must say of itself, and what of it is JSON.
REQUIRED = ("kind", "status", "outcome", "notes", "config", "config-sha256")
JSON = {"notes": list, "config": dict, "inputs": list, "sources": list}
CHUNK_BYTES = 2**20
MAKE_AGAIN = "make it again, or give another one"
AS_IT_IS = "make it again, or give `verify=False` to take it as it is"
# How a file that cannot be read shows: what h5py and json raise where bytes are not what they were.
UNREADABLE = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
_BARE_DIMENSION = "This is a netCDF dimension but not a netCDF variable."


def save(result: Result, path: Path) -> None:
    """Publish ``result`` at ``path``: all of it or nothing, read back before it is there.

    Raises BadInput where the folder cannot be written, OSError where the disk is full, LandscapeError where another
    number was written than there is; what was there before then stands untouched.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    if not path.parent.is_dir():
        raise BadInput(f"there is no folder {path.parent}", "an existing folder", "make it first")
    if path.is_dir():
        raise BadInput(f"{path} is a folder", "the name of a file")
    try:
        # 1.10 is the first to keep a checksum of where a chunk is, and takes no room for it.
        with h5py.File(temporary, "w", libver=("v110", "v110")) as file:
            _write(file, result)
            file.attrs[SEAL] = seal_of(file, SEAL)
        trailer.append(temporary)
        if result_of(result.kind) is not None:
            require_written(result, load(temporary, verify=False), path)
        os.replace(temporary, path)
        trailer.sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, PermissionError):
            raise BadInput(f"{path.parent} cannot be written", "a folder you may write to") from None
        raise


def load(path: Path | str, *, verify: bool = True) -> Result:
    """The Result in a file.

    ``verify`` reads all of it and compares its sha256, which is worth it but for files of gigabytes. Raises BadInput
    for a file that was damaged or changed since it was written, and for anything that is not one of ours.
    """
    with _opened(Path(path), verify) as file:
        kind = str(file.attrs["kind"])
        declared = result_of(kind)
        if declared is None:
            known = ", ".join(known_kinds())
            raise BadInput(f"{path} holds a {kind!r}", f"one of {known}", "update landscape")
        values: dict[str, Any] = {}
        for name, metadata in field_metadata(declared).items():
            stored = metadata.get("name", name)
            if "dims" in metadata and stored in file:
                values[name] = _read(file[stored])
            elif f"value:{name}" in file.attrs:
                values[name] = _plain(file.attrs[f"value:{name}"])
        required = [one.name for one in fields(declared) if one.metadata and one.default is MISSING]
        missing = [name for name in required if name not in values]
        if missing:
            raise BadInput(f"{path} lacks {', '.join(missing)}", f"a whole {kind}", "make it again")
        return declared(
            **values,
            outcome=str(file.attrs["outcome"]),
            notes=json.loads(str(file.attrs["notes"])),
            config=json.loads(str(file.attrs["config"])),
            checks=_read_checks(file),
            parameters=_read_pieces(file),
            states={label: _read_state(file, label) for label in _point_labels(file)},
            provenance={
                k: _plain(v) for k, v in file.attrs.items() if k not in _OWN and not k.startswith("value:")
            },
        )


def is_ours(path: Path | str) -> bool:
    """Whether a file was written by landscape, whole or not."""
    try:
        if trailer.is_kept(Path(path)) is not None:
            return True
        with h5py.File(path, "r") as file:
            return file.attrs.get("format") == FORMAT
    except OSError:
        return False


def header(path: Path | str, *, verify: bool = True) -> dict[str, Any]:
    """The attributes of a file's root, without its arrays; what must be there is, and what is JSON can be read."""
    with _opened(Path(path), verify) as file:
        found = {name: _plain(value) for name, value in file.attrs.items()}
        for name in REQUIRED:
            if name not in found:
                raise ValueError(f"it lacks its {name}")
        for name, kind in JSON.items():
            if name in found and not isinstance(json.loads(str(found[name])), kind):
                raise ValueError(f"its {name} is no {kind.__name__}")
        return found


def point_labels(path: Path | str, *, verify: bool = True) -> list[str]:
    """The points a run file holds, in the order of training."""
    with _opened(Path(path), verify) as file:
        return _point_labels(file)


def read_state(path: Path | str, label: str, *, verify: bool = True) -> dict[str, np.ndarray]:
    """Parameters and buffers of one point, by name."""
    with _opened(Path(path), verify) as file:
        if label not in _point_labels(file):
            raise BadInput(f"{path} has no point {label!r}", f"one of {', '.join(_point_labels(file))}")
        return _read_state(file, label)


_OWN = {"format", "format-version", SEAL, *REQUIRED}


@contextmanager
def _opened(path: Path, verify: bool) -> Iterator[h5py.File]:
    if path.name and path.with_name(f"{path.name}.part").exists():
        from landscape.runs.recorded import take_up  # which opens files too

        take_up(path)
    if not path.exists():
        raise BadInput(f"{path} does not exist", "a result or run file")
    if not path.is_file():
        seen = "a folder" if path.is_dir() else "a pipe or a device"
        raise BadInput(f"{path} is {seen}", "a result or run file")
    try:
        is_kept = trailer.is_kept(path) if verify else None
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror})", "a file you may read") from None
    if is_kept is False:
        raise BadInput(
            f"{path} is damaged: its bytes are not those that were written", "a whole file", AS_IT_IS
        )
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        if not os.access(path, os.R_OK):
            raise BadInput(f"{path} cannot be read", "a file you may read") from None
        with open(path, "rb") as raw:
            is_hdf5 = raw.read(8) == b"\x89HDF\r\n\x1a\n"
        seen = "is a truncated or damaged HDF5 file" if is_hdf5 else "is not an HDF5 file"
        raise BadInput(f"{path} {seen}", "a file written by landscape", MAKE_AGAIN) from error
    with file:
        try:
            _check_format(file, path)
            if verify and not is_kept:
                _check_seal(file, path)
            yield file
        except UNREADABLE as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(f"{path} is damaged ({error})", "a whole file", MAKE_AGAIN) from error


def _check_format(file: h5py.File, path: Path) -> None:
    if file.attrs.get("format") != FORMAT:
        raise BadInput(f"{path} is an HDF5 file of something else", "a file written by landscape")
    version = int(file.attrs.get("format-version", 0))
    if version > VERSION:
        raise BadInput(
            f"{path} has format version {version}",
            f"version {VERSION} or older",
            "update landscape to read it",
        )


def _check_seal(file: h5py.File, path: Path) -> None:
    if SEAL not in file.attrs:  # a file of old
        return
    try:
        is_whole = seal_of(file, SEAL) == file.attrs[SEAL]
    except MemoryError:
        raise ValueError("it asks for more memory than there is") from None
    if not is_whole:
        raise BadInput(
            f"{path} has changed since it was written", "the contents that its sha256 was taken of", AS_IT_IS
        )


def _write(file: h5py.File, result: Result) -> None:
    attributes = {
        "format": FORMAT,
        "format-version": VERSION,
        "kind": result.kind,
        "status": result.status,
        "outcome": result.outcome,
        "notes": json.dumps(result.notes),
        "config": json.dumps(result.config, default=str),
        "config-sha256": config_hash(result.config),
        **result.provenance,
        **{f"value:{name}": value for name, value in result.scalars().items()},
    }
    for name, value in attributes.items():
        file.attrs[name] = value
    for variable in result.arrays():
        _write_array(file, variable.name, variable.dims, variable.values, variable.long_name, variable.units)
    if result.parameters:
        _write_table(file, "parameters", "piece", _rows_of_pieces(result.parameters))
    rows = [{**asdict(check), "passed": check.passed} for check in result.checks]
    _write_table(file, "checks", "check", rows)
    if result.states:
        _write_points(file, result.states)


def _write_array(
    group: h5py.Group,
    name: str,
    dims: tuple[str, ...],
    values: np.ndarray,
    long_name: str = "",
    units: str = "",
) -> None:
    if values.dtype.kind in "US":
        values = values.astype(h5py.string_dtype())
    dataset = _create(group, name, values)
    dataset.attrs["long_name"], dataset.attrs["units"] = long_name, units
    if dims == (name,):
        dataset.make_scale(name)
        return
    if len(dims) != values.ndim:
        raise ValueError(f"{name} has {values.ndim} axes for the dimensions {dims}")
    for axis, dim in enumerate(dims):
        if dim not in group:
            _write_bare_dimension(group, dim, values.shape[axis])
        dataset.dims[axis].attach_scale(group[dim])


def _create(group: h5py.Group, name: str, values: np.ndarray) -> h5py.Dataset:
    # A checksum needs chunks, which a single number has not, and HDF5 takes none for texts.
    if values.size == 0 or values.ndim == 0 or values.dtype.hasobject:
        return group.create_dataset(name, data=values)
    return group.create_dataset(name, data=values, chunks=_chunks(values), fletcher32=True)


def _chunks(values: np.ndarray) -> tuple[int, ...]:
    """Blocks that are contiguous in memory, as even as can be; the whole where it is small."""
    room, sizes = max(1, CHUNK_BYTES // values.itemsize), []
    for size in reversed(values.shape):
        count = -(-size // room)
        sizes.append(-(-size // count))
        room = max(1, room // sizes[-1])
    return tuple(reversed(sizes))


def _write_bare_dimension(group: h5py.Group, dim: str, size: int) -> None:
    # Never filled, so it takes no room in the file whatever its length.
    scale = group.create_dataset(dim, shape=(size,), dtype=">f4")
    scale.make_scale(f"{_BARE_DIMENSION}{size:>10d}")


def _write_table(file: h5py.File, name: str, dim: str, rows: list[dict[str, Any]]) -> None:
    group = file.create_group(name)
    if not rows:
        return
    for column in rows[0]:
        _write_array(group, column, (dim,), np.array([row[column] for row in rows]))


def _write_points(file: h5py.File, states: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    points = file.create_group("points")
    points.attrs["order"] = json.dumps(list(states))
    for label, state in states.items():
        group = points.create_group(label)
        group.attrs["names"] = json.dumps(list(state))
        for name, values in state.items():
            dims = tuple(f"{name}.axis{axis}" for axis in range(values.ndim))
            dataset = _create(group, name, values)
            for axis, dim in enumerate(dims):
                if dim not in points:
                    _write_bare_dimension(points, dim, values.shape[axis])
                dataset.dims[axis].attach_scale(points[dim])


def _point_labels(file: h5py.File) -> list[str]:
    return json.loads(str(file["points"].attrs["order"])) if "points" in file else []


def _read_state(file: h5py.File, label: str) -> dict[str, np.ndarray]:
    group = _group(file, f"points/{label}")
    return {name: _read(group[name]) for name in json.loads(str(group.attrs["names"]))}


def _group(file: h5py.File, name: str) -> h5py.Group:
    found = file[name]
    if not isinstance(found, h5py.Group):
        raise KeyError(f"{name} is no group")
    return found


def _read(dataset: Any) -> np.ndarray:
    require_room(dataset.id)
    # A dataset without axes would otherwise come as a number.
    # Strings come back as they went in, with a width of their own, not as objects.
    is_text = h5py.check_string_dtype(dataset.dtype) is not None
    return np.asarray(dataset.asstr()[()]).astype(str) if is_text else np.asarray(dataset[()])


def _read_table(file: h5py.File, name: str) -> list[dict[str, Any]]:
    if name not in file:
        return []
    group = _group(file, name)
    columns = {str(key): _read(group[key]) for key in group if "NAME" not in group[key].attrs}
    length = len(next(iter(columns.values()), []))
    return [{key: _plain(values[row]) for key, values in columns.items()} for row in range(length)]


def _read_checks(file: h5py.File) -> list[Check]:
    return [
        Check(row["name"], row["value"], row["bound"], row["meaning"]) for row in _read_table(file, "checks")
    ]


def _rows_of_pieces(pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    rows, is_all_told = [asdict(piece) for piece in pieces], True
    for row, piece in zip(rows, pieces, strict=True):
        row["shape"], row["units"] = ("x".join(map(str, sizes)) for sizes in (piece.shape, piece.units))
        is_along_1 = len(piece.shape) > 1 and piece.units == along_axis_1(piece.shape, piece.units[0])
        is_along_0 = piece.units == conventional(piece.shape)
        row["output_axis"], row["groups"] = (1, piece.units[0]) if is_along_1 and not is_along_0 else (0, 1)
        is_all_told &= is_along_0 or is_along_1
    without = {"units"} if is_all_told else set()
    without |= set() if any(piece.is_guess for piece in pieces) else {"is_guess"}
    return [{column: value for column, value in row.items() if column not in without} for row in rows]


def _read_pieces(file: h5py.File) -> tuple[Piece, ...]:
    rows = _read_table(file, "parameters")
    for row in rows:
        row["shape"] = shape = _sizes(row["shape"])
        axis, groups = row.pop("output_axis"), row.pop("groups")
        told = along_axis_1(shape, groups) if axis == 1 else conventional(shape)
        row["units"] = _sizes(row["units"]) if "units" in row else told
    return tuple(Piece(**row) for row in rows)


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split("x") if size)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
