"""A file tells its damage: whatever bit is flipped, wherever it is cut and whoever edits it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from landscape.errors import BadInput
from landscape.runs import seal, store, trailer
from landscape.runs.run import Run

FILES = Path(__file__).parents[1] / "files"


@pytest.fixture(params=["train", "slice2d"])
def saved(request, tmp_path) -> Path:
    path = tmp_path / "a.h5"
    store.save(store.load(FILES / f"v1-{request.param}.h5"), path)
    return path


def everything(path: Path) -> dict[Any, Any]:
    """All that h5py can see in a file: types, shapes, values and attributes, references by what they lead to."""
    found: dict[Any, Any] = {}
    with h5py.File(path) as file:

        def plain(value: Any) -> Any:
            if isinstance(value, h5py.Reference):
                return file[value].name
            if isinstance(value, np.void | tuple) or (
                isinstance(value, np.ndarray) and value.dtype.hasobject
            ):
                return [plain(part) for part in value]
            return value.tobytes() if isinstance(value, np.ndarray | np.generic) else value

        def visit(name: str, one: Any) -> None:
            found[name, "attributes"] = {key: plain(value) for key, value in one.attrs.items()}
            found[name] = (one.dtype.str, one.shape, plain(one[()])) if isinstance(one, h5py.Dataset) else ()

        visit("/", file)
        file.visititems(visit)
    return found


def test_no_flipped_bit_and_no_cut_goes_unnoticed(saved):
    """Told in a sentence, or nothing that the file says has changed; never another exception."""
    data, whole = saved.read_bytes(), everything(saved)
    random = np.random.default_rng(0)
    told = 0
    for position, bit in zip(random.integers(0, len(data), 250), random.integers(0, 8, 250), strict=True):
        damaged = bytearray(data)
        damaged[position] ^= 1 << bit
        saved.write_bytes(damaged)
        told += is_told(saved, whole)
    cuts = random.integers(0, len(data), 30)
    for length in cuts:
        saved.write_bytes(data[:length])
        told += is_told(saved, whole)
    assert told >= 280 - 10  # what is not told fell on the last line


def is_told(path: Path, whole: dict[Any, Any]) -> bool:
    try:
        store.load(path)
    except BadInput:
        return True
    assert everything(path) == whole
    return False


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[bytes, Any]:
    """A file, and what it says."""
    path, whole = tmp_path_factory.mktemp("written") / "a.h5", store.load(FILES / "v1-import.h5")
    store.save(whole, path)
    return path.read_bytes(), whole.as_json()


@pytest.mark.parametrize("length", range(trailer.LENGTH + 1))
def test_without_its_last_line_or_part_of_it_a_file_is_what_it_was(length, written, tmp_path):
    path, (data, whole) = tmp_path / "a.h5", written
    path.write_bytes(data[: len(data) - length])
    assert store.load(path).as_json() == whole


def test_the_last_line_is_what_other_tools_make_of_the_bytes_before_it(saved):
    import hashlib

    data = saved.read_bytes()
    digest = hashlib.sha256(data[: -trailer.LENGTH]).hexdigest()
    assert data[-trailer.LENGTH :] == f"landscape sha256 {digest}\n".encode()


def test_opened_for_writing_and_closed_again_it_still_says_the_same(saved):
    with h5py.File(saved, "r+") as file:
        file["more"] = np.arange(1000)
        del file["more"]
    assert trailer.is_kept(saved) is None
    store.load(saved)


def other(value: Any) -> Any:
    """A value of the same type and shape that is not this one."""
    if isinstance(value, str):
        return value + "x"
    return (
        ~value
        if np.asarray(value).dtype == bool
        else np.nextafter(value, 9e9)
        if is_real(value)
        else value + 1
    )


def is_real(value: Any) -> bool:
    return np.asarray(value).dtype.kind == "f"


def test_every_edit_is_told(tmp_path):
    """Each attribute and each array of each group: changed by one bit, in another type, renamed, and gone."""
    saved = tmp_path / "a.h5"
    store.save(store.load(FILES / "v1-import.h5"), saved)
    data = saved.read_bytes()
    with h5py.File(saved) as file:
        places = ["/"]
        file.visit(places.append)
        attributes = [
            (place, name)
            for place in places
            for name in file[place].attrs
            if name not in (store.SEAL, "format")
        ]
        arrays = [place for place in places if isinstance(file[place], h5py.Dataset)]

    def edited(change: Callable[[h5py.File], None]) -> None:
        saved.write_bytes(data)
        with h5py.File(saved, "r+") as file:
            change(file)
        with pytest.raises(BadInput, match=r"has changed since it was written|is damaged|format version"):
            store.load(saved)

    def rewritten(file: h5py.File, place: str, name: str) -> None:
        one = file[place].attrs[name]
        if isinstance(one, str | int | float | np.number):
            file[place].attrs.modify(name, other(one))
        else:  # a reference, or a text of fixed length
            file[place].attrs[name] = "another"

    for place, name in attributes:
        edited(lambda file, place=place, name=name: rewritten(file, place, name))
        edited(lambda file, place=place, name=name: file[place].attrs.__delitem__(name))
    for place in arrays:
        edited(lambda file, place=place: file.move(place, place + "2"))
        edited(lambda file, place=place: file.__delitem__(place))
        edited(lambda file, place=place: file[place].attrs.__setitem__("more", 1))

        def changed(file: h5py.File, place: str = place) -> None:
            one = file[place]
            if one.id.get_storage_size():
                value = one.asstr()[()] if h5py.check_string_dtype(one.dtype) else one[()]
                one[()] = np.vectorize(other, otypes="O")(value) if value.dtype == object else other(value)
            else:
                one.attrs["more"] = 1

        edited(changed)
    edited(lambda file: file.create_group("more") and None)


def test_files_that_differ_in_anything_have_different_seals(tmp_path):
    """Names, types and shapes too, where the bytes of the values are the same."""
    zeros = [
        np.zeros(2, "<i8"),
        np.zeros(2, ">i8"),
        np.zeros(2),
        np.zeros((2, 1)),
        np.zeros((1, 2)),
        np.zeros(()),
    ]
    values = [*zeros, np.zeros(0), np.zeros((0, 2)), "", "0", "00", b"0", ["0", "0"], ["", "00"], ["00", ""]]
    found: dict[str, str] = {}

    def sealed(what: str, write: Callable[[h5py.File], Any]) -> None:
        with h5py.File(tmp_path / "a.h5", "w") as file:
            write(file)
            found[what] = seal.seal_of(file, "seal")

    sealed("nothing", lambda file: None)
    sealed("group", lambda file: file.create_group("x"))
    sealed("inner group", lambda file: file.create_group("x/x"))
    for value in values:
        for name in ("x", "y"):
            about = f"{name} {np.shape(value)} {value!r} {np.asarray(value).dtype.str}"
            sealed(
                f"array {about}", lambda file, name=name, value=value: file.create_dataset(name, data=value)
            )
            sealed(f"attribute {about}", lambda file, name=name, value=value: file.attrs.create(name, value))
    for leads_to in ("x", "y"):

        def referring(file: h5py.File, leads_to: str = leads_to) -> None:
            file["x"], file["y"] = 0, 0
            file.attrs["to"] = file[leads_to].ref

        sealed(f"reference to {leads_to}", referring)
    seen: dict[str, str] = {}
    for what, digest in found.items():
        assert digest not in seen, f"{what} and {seen[digest]}"
        seen[digest] = what


def test_the_seal_knows_nothing_of_how_a_file_is_laid_out(saved, tmp_path, monkeypatch):
    """As a copy by h5repack, or by another version of HDF5, lays it out."""
    result, again = store.load(saved), tmp_path / "again.h5"

    def packed(group: h5py.Group, name: str, values: np.ndarray) -> h5py.Dataset:
        how: dict[str, Any] = {"chunks": (1,) * values.ndim, "compression": "gzip"} if values.size > 1 else {}
        return group.create_dataset(name, data=values, **({} if values.ndim == 0 else how))

    monkeypatch.setattr(store, "_create", packed)
    store.save(result, again)
    assert store.header(again)[store.SEAL] == store.header(saved)[store.SEAL]
    monkeypatch.setattr(seal, "SLAB_BYTES", 16)
    with h5py.File(again) as file:
        assert seal.seal_of(file, store.SEAL) == store.header(saved)[store.SEAL]


def test_plain_h5py_tells_a_flipped_number(saved):
    """Without our code: every array of numbers has a checksum for each of its chunks."""
    with h5py.File(saved) as file:
        found: list[h5py.Dataset] = []
        file.visititems(lambda _, one: found.append(one) if isinstance(one, h5py.Dataset) else None)
        arrays = [one for one in found if one.shape and not one.dtype.hasobject and one.id.get_storage_size()]
        assert len(arrays) > 10
        assert all(one.fletcher32 and one.size == np.prod(one.chunks) for one in arrays)
        place = file["loss"].id.get_chunk_info(0).byte_offset
    data = bytearray(saved.read_bytes())
    data[place + 3] ^= 4
    saved.write_bytes(data)
    with h5py.File(saved) as file, pytest.raises(OSError, match="filter returned failure"):
        file["loss"][()]


@pytest.mark.parametrize("shape", [(3,), (2**17,), (2**17 + 1,), (2, 10**6), (3, 500, 700), (5, 1, 300_000)])
def test_chunks_are_contiguous_small_and_waste_little(shape):
    chunks = store._chunks(np.broadcast_to(0.0, shape))
    counts = [-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True)]
    assert 8 * np.prod(chunks) <= store.CHUNK_BYTES
    assert np.prod(chunks) * np.prod(counts) <= 1.1 * np.prod(shape)
    cut = next((axis for axis, count in enumerate(counts) if count > 1), len(shape))
    whole = [axis for axis, count in enumerate(counts) if count == 1 and axis > cut]
    assert all(chunks[axis] == shape[axis] for axis in whole)
    if int(np.prod(counts)) > 1:
        assert 8 * np.prod(chunks) > store.CHUNK_BYTES / 3


def test_a_shape_that_cannot_be_and_a_link_that_leads_back_are_damage(saved):
    """Nothing asks for all memory there is, and nothing goes on for ever."""
    data = saved.read_bytes()
    with h5py.File(saved, "r+") as file:
        del file["loss"]
        file.create_dataset("loss", shape=(2**50,), chunks=(10,), dtype=float)[0] = 1
    for verify in (True, False):
        with pytest.raises(BadInput, match="is damaged"):
            store.load(saved, verify=verify)
    saved.write_bytes(data)
    with h5py.File(saved, "r+") as file:
        file["checks/back"] = file["/"]
    with pytest.raises(BadInput, match=r"is damaged .* stands in two places"):
        store.load(saved)


# Kinds that came when files had a seal already.
LATER = {"basins", "certify", "compare", "critical", "escape", "merge"}


def test_files_of_old_open_without_a_seal():
    for path in FILES.glob("v1-*.h5"):
        if path.stem.removeprefix("v1-") in LATER:
            continue
        assert trailer.is_kept(path) is None
        assert store.SEAL not in store.header(path)
        store.load(path)


# --- the command line --------------------------------------------------------------------------


def flip(path: Path, share: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[int(share * len(data))] ^= 16
    path.write_bytes(data)


LINES = (
    ["show", "a.h5"],
    ["plot", "a.h5"],
    ["export", "a.h5", "-o", "w.pt"],
    ["hessian", "a.h5", "--top-k", 1],
    ["interpolate", "b.h5", "a.h5"],
    ["hessian", "a.h5", "--at", "all"],
)


@pytest.mark.parametrize("line", LINES, ids=[" ".join(map(str, line)) for line in LINES])
def test_every_command_says_that_a_file_is_damaged(command, folder, line):
    flip(folder / "a.h5")
    refused = command(*line)
    assert refused.code == 2
    assert refused.out == ""
    assert refused.err.startswith("Error: a.h5 is damaged: its bytes are not those that were written")
    assert refused.err.count("\n") == 1
    assert "give --no-verify" in refused.err


def test_an_edited_file_is_taken_as_it_is_where_that_is_asked_for(command, folder):
    with h5py.File(folder / "a.h5", "r+") as file:
        file.attrs["command"] = "by hand"
    for line in (["show", "a.h5"], ["export", "a.h5", "-o", "w.pt", "-q"], ["hessian", "a.h5", "--top-k", 1]):
        refused = command(*line)
        assert (refused.code, refused.out) == (2, "")
        assert "a.h5 has changed since it was written" in refused.err
        assert "give --no-verify" in refused.err
        assert command(*line, "--no-verify").code == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config", '{"kind": "train", "recipe": {'),
        ("config", "[1, 2]"),
        ("config", '{"kind": "train", "recipe": 7}'),
        ("config", '{"kind": "train", "recipe": {"model": "mlp"}}'),
        ("config", '{"kind": "train", "recipe": {"modle": "mlp", "input_shape": [2]}}'),
        ("notes", "{"),
        ("sources", '[{"spec": "a.py:net"}]'),
        ("sources", "[7]"),
        ("outcome", None),
    ],
)
def test_a_damaged_recipe_is_damage_also_where_nothing_is_verified(command, folder, name, text):
    with h5py.File(folder / "a.h5", "r+") as file:
        del file.attrs[store.SEAL]
        if text is None:
            del file.attrs[name]
        else:
            file.attrs[name] = text
    with pytest.raises(BadInput, match="damaged"):
        Run(folder / "a.h5")
    refused = command("hessian", "a.h5", "--top-k", 1)
    assert refused.code == 2
    assert "a.h5" in refused.err
    assert "damaged" in refused.err
    assert refused.err.count("\n") == 1


def test_a_run_is_verified_once(folder, monkeypatch):
    calls: list[Path] = []
    is_kept = trailer.is_kept
    monkeypatch.setattr(trailer, "is_kept", lambda path: calls.append(path) or is_kept(path))
    run = Run(folder / "a.h5")
    run.module("init")
    run.step_size_at("final")
    assert len(calls) == 1
    assert json.loads(run.header["config"])["kind"] == "train"
