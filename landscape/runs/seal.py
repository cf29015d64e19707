"""One sha256 over everything that an HDF5 file says: a flipped bit, a cut or an edit is told by it.

It is fed with every group and data set in the order of their paths, ``/`` first: a line for the object, then one for
each attribute in the order of names, then the values of a data set. A line is a JSON list, ended by a newline: path
and ``group``, or path, type and shape; an attribute's name, type and shape. Numbers follow as their bytes in the order
of C, texts and references as a line each: a reference is the path that it leads to. So nothing depends on where in the
file anything stands, on chunks or on compression; a copy by ``h5repack`` has the same seal.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5o, h5r, h5s  # pyright: ignore[reportAttributeAccessIssue]

# So many numbers do no harm whatever their file says.
SMALL = 2**20
# So much is read at a time, and nothing is packed more tightly than that (deflate: 1032).
SLAB_BYTES, MOST_PACKED = 2**24, 1100
# Where an object stands: its file and its address there.
Place = tuple[int, int]


def seal_of(file: h5py.File, besides: str) -> str:
    """The sha256 of a file's contents; ``besides``: the attribute of the root that keeps it, and does not count.

    Raises what HDF5 raises, or ValueError, for a file that contradicts itself.
    """
    objects = sorted(_objects(h5o.open(file.id, b"/"), "/", set()))
    paths = {_place(one): path for path, one in objects}

    def path_of(reference: h5r.Reference) -> str:
        return paths[_place(h5r.dereference(reference, file.id))]

    digest = hashlib.sha256()
    for path, one in objects:
        is_array = isinstance(one, h5d.DatasetID)
        about = (_type(one.dtype), one.shape) if is_array else ("group",)
        digest.update(_line(path, *about))
        for name, value in _attributes(one):
            if (path, name) != ("/", besides):
                digest.update(_line(name, _type(value.dtype), value.shape))
                digest.update(_bytes(value, path_of))
        for slab in _slabs(one) if is_array else ():
            digest.update(_bytes(slab, path_of))
    return digest.hexdigest()


def require_room(dataset: h5d.DatasetID) -> None:
    """Raises ValueError for a data set whose shape says more than its file can hold, before memory is asked for it."""
    size = dataset.get_space().get_simple_extent_npoints()
    if size < SMALL:
        return
    stored = dataset.get_storage_size()
    if stored and size * dataset.dtype.itemsize > stored * MOST_PACKED:
        raise ValueError(f"{stored} bytes for an array of shape {dataset.shape}")


def _objects(one: Any, path: str, seen: set[Place]) -> Iterator[tuple[str, Any]]:
    """Every group and data set with its path, each once: no link may lead back."""
    if _place(one) in seen:
        raise ValueError(f"{path} stands in two places")
    seen.add(_place(one))
    yield path, one
    if isinstance(one, h5g.GroupID):
        for name in one:
            yield from _objects(h5o.open(one, name), f"{path.rstrip('/')}/{name.decode()}", seen)


def _place(one: Any) -> Place:
    info = h5o.get_info(one)
    return info.fileno, info.addr


def _attributes(one: Any) -> Iterator[tuple[str, np.ndarray]]:
    """An object's attributes, by name."""
    names: list[bytes] = []
    h5a.iterate(one, names.append)
    for name in sorted(names):
        attribute = h5a.open(one, name)
        value = np.empty(attribute.shape, attribute.dtype)
        attribute.read(value)
        yield name.decode(), value


def _slabs(dataset: h5d.DatasetID) -> Iterator[np.ndarray]:
    """Its values, so many rows at a time; none where none were ever written."""
    shape, dtype = dataset.shape, dataset.dtype
    if not dataset.get_storage_size():
        return
    require_room(dataset)
    rows = max(1, SLAB_BYTES // max(1, dtype.itemsize * math.prod(shape[1:])))
    if not shape or shape[0] <= rows:
        values = np.empty(shape, dtype)
        dataset.read(h5s.ALL, h5s.ALL, values)
        yield values
        return
    for start in range(0, shape[0], rows):
        values = np.empty((min(rows, shape[0] - start), *shape[1:]), dtype)
        there = dataset.get_space()
        there.select_hyperslab((start, *[0] * (len(shape) - 1)), values.shape)
        dataset.read(h5s.create_simple(values.shape), there, values)
        yield values


def _type(dtype: np.dtype) -> str:
    text = h5py.check_string_dtype(dtype)
    if text is not None and text.length is None:
        return text.encoding
    return "reference" if dtype.hasobject else dtype.str


def _bytes(values: np.ndarray, path_of: Callable[[h5r.Reference], str]) -> bytes:
    def plain(value: Any) -> Any:
        if isinstance(value, h5r.Reference):
            return path_of(value)
        if isinstance(value, np.ndarray | tuple):
            return [plain(part) for part in value]
        return value.decode() if isinstance(value, bytes) else value

    if not values.dtype.hasobject:
        return values.tobytes()
    return b"".join(_line(plain(one)) for one in values.ravel().tolist())


def _line(*parts: Any) -> bytes:
    return json.dumps(parts).encode() + b"\n"
