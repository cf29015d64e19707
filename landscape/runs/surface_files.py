"""The surface files of tomgoldstein/loss-landscape (Li et al. 2018), read and written; no other room knows them.

Such a file is HDF5 with ``xcoordinates``, in two dimensions ``ycoordinates``, ``train_loss``, ``train_acc``, perhaps
``test_loss``, ``test_acc``, ``min_eig``, ``max_eig`` and the name ``dir_file`` of its directions. −1 marks a cell that
was not computed, of ``min_eig`` 1. Accuracies are in per cent. Cells count along x first: cell k lies at
(x[k mod len(x)], y[k // len(x)]), though ``plot_surface.py`` makes its arrays of shape (len(x), len(y)), so that they
must be taken by this number where the lengths differ. A projection file has ``proj_xcoord`` and ``proj_ycoord``, a
direction file of principal components ``explained_variance_ratio_``; ``plot_2D.py`` finds all of them in one file too,
which is how they are written.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from landscape.analyses.slice1d import Slice1D
from landscape.analyses.slice2d import Slice2D
from landscape.errors import BadInput
from landscape.runs import store
from landscape.runs.seal import require_room

MARK = -1.0
# An accuracy is so many of so many samples; more samples no count is looked for among.
MOST_SAMPLES = 10**7
OURS = "another file of loss-landscape (tomgoldstein)"
SURFACE = "a surface file of loss-landscape (tomgoldstein)"
BESIDE = {
    "proj_file": "a projection file of loss-landscape (tomgoldstein), with proj_xcoord and proj_ycoord",
    "dir_file": "a direction file of loss-landscape (tomgoldstein), with explained_variance_ratio_",
}
# Of the value's name there, and here; a test loss has an accuracy beside it.
PAIRS = (("train_loss", "train_acc"), ("test_loss", "test_acc"))


def fractions(percent: np.ndarray) -> np.ndarray:
    """Per cent as parts of 1: c/n where 100·c/n is the number, for some c of n samples, and so comes back bit for bit.

    >>> fractions(np.array([29.0, 100 * 43 / 150])).tolist() == [0.29, 43 / 150]
    True
    """

    def part(number: float) -> float:
        count = (Fraction(number) / 100).limit_denominator(MOST_SAMPLES)
        return float(count) if float(100 * count) == number else number / 100

    return _each(part, percent)


def percent_of(parts: np.ndarray) -> np.ndarray:
    """Parts of 1 as per cent, the way back: 100·c/n where c/n is the number for some c of n samples."""

    def percent(number: float) -> float:
        count = Fraction(number).limit_denominator(MOST_SAMPLES)
        return float(100 * count) if float(count) == number else 100 * number

    return _each(percent, parts)


def _each(change: Callable[[float], float], values: np.ndarray) -> np.ndarray:
    """``change`` of every number, made once of those that are equal; what is not finite stays."""
    seen, place = np.unique(np.asarray(values, dtype=float), return_inverse=True)
    changed = [change(one) if math.isfinite(one) else one for one in seen.tolist()]
    return np.array(changed, dtype=float)[place].reshape(np.shape(values))


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Another's HDF5 file. Raises BadInput in one sentence for what is none, is ours, or breaks while it is read."""
    if not path.exists():
        raise BadInput(f"{path} does not exist", SURFACE)
    if path.is_dir():
        raise BadInput(f"{path} is a folder", SURFACE)
    if store.is_ours(path):
        raise BadInput(f"{path} is a file of landscape's own", OURS, "plot it as it is")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (KeyError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        if not os.access(path, os.R_OK):
            raise BadInput(f"{path} cannot be read", "a file you may read") from None
        with open(path, "rb") as raw:
            is_hdf5 = raw.read(8) == b"\x89HDF\r\n\x1a\n"
        seen = f"is damaged ({error})" if is_hdf5 else "is not an HDF5 file"
        raise BadInput(f"{path} {seen}", OURS) from error


@contextmanager
def _named(role: str) -> Iterator[None]:
    """Refusals within it say that it is this one of the files that was given, and what that should be."""
    try:
        yield
    except BadInput as error:
        wanted = BESIDE[role] if error.wanted in (OURS, SURFACE) else error.wanted
        raise BadInput(f"`{role}`: {error.seen}", wanted, f"give another `{role}`") from error


def _numbers(file: h5py.File, name: str) -> np.ndarray:
    """A data set as float64. Raises BadInput where it is missing or holds something else."""
    path = file.filename
    if name not in file:
        there = ", ".join(sorted(file)) or "nothing"
        raise BadInput(f"{path} has no {name} (it has {there})", OURS)
    one = file[name]
    if not isinstance(one, h5py.Dataset) or one.dtype.kind not in "iuf":
        raise BadInput(f"{name} in {path} holds no real numbers", OURS)
    require_room(one.id)
    return np.asarray(one[()], dtype=np.float64)


def _axis(file: h5py.File, name: str) -> np.ndarray:
    """Coordinates, at least two, each larger than the one before."""
    found = _numbers(file, name)
    if found.ndim != 1 or len(found) < 2:
        shape = " × ".join(map(str, found.shape)) or "a single number"
        raise BadInput(f"{name} in {file.filename} of shape {shape}", "two coordinates or more in a row")
    if not np.isfinite(found).all():
        raise BadInput(f"{name} in {file.filename} with NaN or infinite coordinates", "finite ones")
    if not (np.diff(found) > 0).all():
        raise BadInput(f"{name} in {file.filename} that do not rise", "each larger than the one before")
    return found


def _cells(file: h5py.File, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values in the cells, (len(y), len(x)) or (len(x),), whichever way round their array was made."""
    found = _numbers(file, name)
    if found.shape not in (shape, shape[::-1]):
        seen, wanted = (" × ".join(map(str, one)) or "a single number" for one in (found.shape, shape[::-1]))
        raise BadInput(f"{name} in {file.filename} of shape {seen}", f"{wanted}, as its coordinates say")
    return found.reshape(shape)


def _known(values: np.ndarray, mark: float = MARK) -> np.ndarray:
    """NaN in place of the mark."""
    return np.where(values == mark, np.nan, values)


def _accuracy(file: h5py.File, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """Parts of 1; None where there is none, or none was computed."""
    if name not in file:
        return None
    found = _known(_cells(file, name, shape))
    known = found[np.isfinite(found)]
    if not len(known):
        return None
    if known.min() < 0 or known.max() > 100:
        seen = f"{known.min():g} to {known.max():g}"
        raise BadInput(f"{name} in {file.filename} from {seen}", "accuracies in per cent")
    return fractions(found)


def read_surface(
    path: Path, proj_file: Path | None = None, dir_file: Path | None = None
) -> Slice1D | Slice2D:
    """The slice that a surface file holds, with nothing said yet of where it comes from.

    Raises BadInput for a file that is none; a projection and a direction file add a trajectory and its
    shares of variance, which are otherwise looked for in the file itself.
    """
    with _opened(path) as file:
        x = _axis(file, "xcoordinates")
        y = _axis(file, "ycoordinates") if "ycoordinates" in file else None
        shape = (len(x),) if y is None else (len(y), len(x))
        stored = _cells(file, "train_loss", shape)
        done = stored != MARK
        loss = _known(stored)
        if not done.any():
            raise BadInput(f"train_loss in {path} is −1 in every cell, none computed", "some computed losses")
        if not np.isfinite(loss).any():
            raise BadInput(f"train_loss in {path} without a finite number", "some that are")
        values: dict[str, Any] = {"alpha": x, "loss": loss, "done": done}
        values["accuracy"] = _accuracy(file, "train_acc", shape)
        if "test_loss" in file:
            tested = _known(_cells(file, "test_loss", shape))
            values["test_loss"] = None if np.isnan(tested).all() else tested
        values["test_accuracy"] = _accuracy(file, "test_acc", shape)
        notes = list(_remarks(file, path, values))
        if y is None:
            if proj_file is not None or dir_file is not None:
                role = "proj_file" if proj_file is not None else "dir_file"
                raise BadInput(f"`{role}` for {path}, which is a line", "a surface over two coordinates")
            return Slice1D(**values, **_centre(values, notes), notes=notes)
        values |= {"beta": y, **_eigenvalues(file, shape)}
        values |= _trajectory(file) if "proj_xcoord" in file and proj_file is None else {}
        values |= _variance(file) if "explained_variance_ratio_" in file and dir_file is None else {}
        if len(x) != len(y) and file["train_loss"].shape == shape[::-1]:  # pyright: ignore[reportAttributeAccessIssue]
            notes.append(
                f"the arrays are of shape {len(x)} × {len(y)}; their cells were taken by number, along x first"
            )
    if proj_file is not None:
        with _named("proj_file"), _opened(proj_file) as file:
            values |= _trajectory(file)
    if dir_file is not None:
        with _named("dir_file"), _opened(dir_file) as file:
            values |= _variance(file)
    if "explained_variance" in values:
        notes.append("the shares of variance are those of its file, of checkpoints about their mean")
    return Slice2D(**values, **_centre(values, notes), notes=notes)


def _remarks(file: h5py.File, path: Path, values: Mapping[str, Any]) -> Iterator[str]:
    """What is missing in the file, or not finite."""
    done, loss = values["done"], values["loss"]
    if not done.all():
        yield f"{int((~done).sum())} of {done.size} cells were not computed (−1 in {path.name})"
    if wrong := int((done & ~np.isfinite(loss)).sum()):
        yield f"{wrong} of {done.size} losses are NaN or infinite in {path.name}"
    tested = values.get("test_loss")
    if tested is not None and (missing := int((~np.isfinite(tested) & done).sum())):
        yield f"{missing} of {done.size} test losses were not computed, or are not finite"
    named: Any = file.get("dir_file")
    is_name = isinstance(named, h5py.Dataset) and named.shape == () and h5py.check_string_dtype(named.dtype)
    text = named[()].decode(errors="replace") if is_name else ""
    if text:
        yield f"its directions are said to be those of {text}"


def _centre(values: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """The loss at θ*, α = β = 0, and whether all is there; ``notes`` grow where the grid goes round θ*."""
    place = []
    for axis in (values[name] for name in ("beta", "alpha") if name in values):
        nearest = int(np.abs(axis).argmin())
        if abs(axis[nearest]) > 1e-9 * np.diff(axis).min():
            notes.append("θ* is not on the grid: its loss is not known")
            place = None
            break
        place.append(nearest)
    return {
        "centre_loss": float("nan") if place is None else float(values["loss"][tuple(place)]),
        "outcome": "complete" if values["done"].all() else "interrupted",
    }


def _eigenvalues(file: h5py.File, shape: tuple[int, ...]) -> dict[str, Any]:
    """λ of the Hessian where ``plot_hessian_eigen.py`` has been; 1 marks a ``min_eig`` that has not been computed."""
    if "max_eig" not in file or "min_eig" not in file:
        return {}
    largest, smallest = _cells(file, "max_eig", shape), _cells(file, "min_eig", shape)
    absent = (largest == MARK) & (smallest == -MARK)
    if absent.all():
        return {}
    largest, smallest = np.where(absent, np.nan, largest), np.where(absent, np.nan, smallest)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(smallest / largest)
    return {"lambda_max": largest, "lambda_min": smallest, "curvature_ratio": ratio}


def _trajectory(file: h5py.File) -> dict[str, Any]:
    x, y = _numbers(file, "proj_xcoord"), _numbers(file, "proj_ycoord")
    if x.ndim != 1 or x.shape != y.shape or not len(x):
        raise BadInput(
            f"proj_xcoord and proj_ycoord in {file.filename} of other lengths",
            "as many of one as of the other",
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise BadInput(f"a trajectory in {file.filename} with NaN or infinite places", "finite ones")
    return {"trajectory_alpha": x, "trajectory_beta": y}


def _variance(file: h5py.File) -> dict[str, Any]:
    found = _numbers(file, "explained_variance_ratio_")
    if found.ndim != 1 or len(found) < 2 or not ((found[:2] >= 0) & (found[:2] <= 1)).all():
        raise BadInput(f"explained_variance_ratio_ in {file.filename}", "two shares from 0 to 1")
    return {"explained_variance": found[:2]}


def arrays_of(found: Any, name: str) -> Iterator[tuple[str, np.ndarray]]:
    """Every array of a slice, called ``name``, by its name there. Raises BadInput for a loss of exactly −1."""
    yield "xcoordinates", np.asarray(found.alpha, dtype=float)
    if found.kind == "slice2d":
        yield "ycoordinates", np.asarray(found.beta, dtype=float)
    done = np.asarray(found.done, dtype=bool)
    for (loss_name, accuracy_name), loss, accuracy in zip(
        PAIRS, (found.loss, found.test_loss), (found.accuracy, found.test_accuracy), strict=True
    ):
        if loss is None and accuracy is None:
            continue
        nothing = np.full(done.shape, np.nan)
        loss = nothing if loss is None else np.asarray(loss, dtype=float)
        parts = nothing if accuracy is None else np.asarray(accuracy, dtype=float)
        if ((loss == MARK) & done).any():
            raise BadInput(f"a loss of exactly −1 in {name}", "others: there −1 marks a cell not computed")
        # A test loss is not computed where its accuracy is not either, and NaN where that is known.
        absent = ~done if loss_name == "train_loss" else np.isnan(loss) & np.isnan(parts)
        yield loss_name, np.where(absent, MARK, loss)
        yield accuracy_name, np.where(np.isnan(parts), MARK, percent_of(parts))
    if found.kind == "slice1d":
        return
    if found.lambda_max is not None and found.lambda_min is not None:
        absent = np.isnan(found.lambda_max) & np.isnan(found.lambda_min)
        yield "max_eig", np.where(absent, MARK, found.lambda_max)
        yield "min_eig", np.where(absent, -MARK, found.lambda_min)
    if found.trajectory_alpha is not None:
        # There a trajectory is one line.
        first = slice(None) if found.trajectory_run is None else found.trajectory_run == 0
        yield "proj_xcoord", np.asarray(found.trajectory_alpha, dtype=float)[first]
        yield "proj_ycoord", np.asarray(found.trajectory_beta, dtype=float)[first]
    if found.explained_variance is not None:
        yield "explained_variance_ratio_", np.asarray(found.explained_variance, dtype=float)


def write_surface(arrays: Mapping[str, np.ndarray], output: Path) -> None:
    """The whole file or none. Raises BadInput where the folder cannot be written."""
    temporary = output.with_name(output.name + ".tmp")
    try:
        with h5py.File(temporary, "w") as file:
            file["dir_file"] = output.name
            for key, values in arrays.items():
                file[key] = values
        os.replace(temporary, output)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, PermissionError):
            raise BadInput(f"{output.parent} cannot be written", "a folder you may write to") from None
        raise
