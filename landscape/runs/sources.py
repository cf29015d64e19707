"""The user's own files that a run is made from: recorded, found again from elsewhere, run only if trusted."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from landscape import specs
from landscape.errors import BadInput
from landscape.inputs import checkpoints
from landscape.inputs.data import NPZ, is_a_place
from landscape.inputs.models import by_name
from landscape.runs import trust
from landscape.runs.provenance import sha256
from landscape.runs.recipe import Recipe


@dataclass(frozen=True)
class Sources:
    """What a recipe is made from: ``files`` by spec, and ``recipe`` with specs that lead to them from here.

    Inside :meth:`opened` its code may be imported: that of trusted content alone, unless ``is_named``, which makes all
    that is imported trusted. ``is_kept`` is false for a file of old that names no sources.
    """

    recipe: Recipe
    files: Mapping[str, Path]
    is_named: bool
    is_kept: bool = True
    notes: tuple[str, ...] = ()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """The time in which the module, the data and the loss are made."""
        code = [path for spec, path in self.files.items() if _is_code(spec)]
        if not code or not self.is_kept:
            yield
            return
        admit = trust.trust if self.is_named else _require_trust
        with specs.gated([Path.cwd(), *(path.resolve().parent for path in code)], admit):
            yield

    def contents(self) -> dict[str, str]:
        """The sha256 of each file, of code or of data, for a configuration."""
        return {spec: _sha256(spec, path) for spec, path in self.files.items()}

    def recorded(self, output: Path) -> list[dict[str, str]]:
        """Every file relative to the folder of ``output``, with its sha256."""
        folder = output.resolve().parent
        return [
            {"spec": spec, "path": _relative(path.resolve(), folder), "sha256": _sha256(spec, path)}
            for spec, path in self.files.items()
        ]


def named(recipe: Recipe) -> Sources:
    """The sources of a recipe whose specs the user has just given: naming a file trusts its content."""
    files: dict[str, Path] = {}
    for spec in _specs(recipe):
        path = _origin(spec)
        if path is not None and path.exists():
            files[spec] = path
            if _is_code(spec):
                trust.trust(path, path.read_bytes())
    return Sources(recipe, files, is_named=True)


def require_same(contents: Mapping[str, str]) -> None:
    """Raises BadInput where a spec leads to a file of other than the sha256 that ``contents`` has; nothing is run."""
    for spec, digest in contents.items():
        path = _origin(spec)
        if path is not None and path.exists() and _sha256(spec, path) != digest:
            raise BadInput(
                f"{path} is not what the caller has there",
                "the same files in every process",
                "start the workers in the same place, or with copies of the same files",
            )


def found(recipe: Recipe, run: Path, header: Mapping[str, Any], *, is_trusted: bool) -> Sources:
    """The sources of a run file, wherever they stand by now. Nothing of them is run.

    Each is looked for relative to the run file and as its spec has it, the recorded content first, and where it is at
    neither place, where this user has named that content. ``is_trusted``: trust their content. Raises BadInput for one
    that is nowhere, and for code that this user has not named. A file of old that names no sources may run code in the
    current folder.
    """
    recorded = _recorded(header, run)
    wanted, files, notes = _specs(recipe), {}, []
    located: dict[str, str] = {}
    for spec in wanted:
        if spec not in recorded:
            continue
        path = files[spec] = _found(spec, recorded[spec], run)
        located[spec] = _leading_to(spec, path, run)
        if _sha256(spec, path) != recorded[spec]["sha256"] and _is_code(spec):
            notes.append(f"{path} is not what {run.name} was made with: its content has changed since")
    kept = [spec for spec in wanted if spec in recorded]
    unrecorded = [spec for spec in recipe.foreign_specs() if spec not in recorded]
    for spec in [*kept, *unrecorded]:
        path = files.get(spec) or _origin(spec)
        if not _is_code(spec):
            continue
        content = path.read_bytes() if path is not None and path.is_file() else None
        if is_trusted and path is not None and content is not None:
            trust.trust(path, content)
        elif not is_trusted and (content is None or not trust.is_trusted(content)):
            where = "which lies outside this folder and " if spec in unrecorded else ""
            raise BadInput(
                f"{run} asks to run {spec if path is None else path}, {where}whose present content "
                "no command of yours has named",
                "code whose content you trust",
                "look into it, then give `trust`",
            )
    parts = {
        name: located.get(getattr(recipe, name), getattr(recipe, name)) for name in ("model", "data", "loss")
    }
    return Sources(replace(recipe, **parts), files, is_trusted, bool(recorded), tuple(dict.fromkeys(notes)))


def _recorded(header: Mapping[str, Any], run: Path) -> dict[str, dict[str, str]]:
    """What a run file says of its sources, by spec."""
    stored = json.loads(str(header.get("sources", "[]")))
    if not all(isinstance(one, dict) and {"spec", "path", "sha256"} <= one.keys() for one in stored):
        raise BadInput(f"the sources in {run} are damaged", "a whole file", "make it again")
    return {one["spec"]: one for one in stored}


def _specs(recipe: Recipe) -> list[str]:
    """Those of its specs that lead to a file, each once."""
    given = dict.fromkeys((recipe.model, recipe.data, recipe.loss))
    return [
        spec
        for spec in given
        if _is_code(spec) or by_name.folder_of(spec) is not None or (spec == recipe.data and is_a_place(spec))
    ]


def _origin(spec: str) -> Path | None:
    if by_name.is_by_name(spec):
        return by_name.folder_of(spec)
    return specs.origin(spec) if _is_code(spec) else Path(spec.removeprefix(NPZ))


def _is_code(spec: str) -> bool:
    """Whether a spec names what would be run, and not arrays or weights."""
    return specs.is_factory_spec(spec) and not spec.startswith(NPZ)


def _sha256(spec: str, path: Path) -> str:
    """The hash of a file; of a folder's weights for a model, of its names and sizes for data."""
    return checkpoints.fingerprint(path) if by_name.is_by_name(spec) else sha256(path)


def _found(spec: str, recorded: Mapping[str, str], run: Path) -> Path:
    as_given = _origin(spec)
    if as_given is not None and as_given.is_file() and _is_in_a_package(spec, as_given):
        # What would be imported, whatever other copies there are.
        return as_given
    candidates = [(run.resolve().parent / recorded["path"]).resolve(), as_given]
    there = [path for path in candidates if path is not None and path.exists()]
    if not there:
        # A run file that was moved away from its code.
        places = [path for path in trust.places(recorded["sha256"]) if path.is_file()]
        there = [path for path in places if _sha256(spec, path) == recorded["sha256"]]
    if not there:
        looked = dict.fromkeys(str(path.absolute()) for path in candidates if path is not None)
        raise BadInput(
            f"{run} was made with {spec}, and its file is no longer at {' or '.join(looked)}",
            "the file it was made with",
            "put it back there, or import the weights again with the file where it is now",
        )
    same = [path for path in there if _sha256(spec, path) == recorded["sha256"]]
    return (same or there)[0]


def _leading_to(spec: str, path: Path, run: Path) -> str:
    """A spec that leads to ``path`` from the current folder: as it was given, where that does."""
    as_given = _origin(spec)
    if as_given is not None and as_given.exists() and as_given.samefile(path):
        return spec
    if not _is_code(spec):
        prefix = next((one for one in (NPZ, specs.HUGGING_FACE) if spec.startswith(one)), "")
        return f"{prefix}{path}"
    head, _, attribute = spec.rpartition(":")
    if _is_in_a_package(spec, path):
        root = path.parents[head.count(".") + (path.name == "__init__.py")]
        raise BadInput(
            f"{run} was made with {spec}, which is not importable from here",
            f"the package in {root}",
            "run this in that folder, or add it to PYTHONPATH",
        )
    return f"{path}:{attribute}"


def _is_in_a_package(spec: str, path: Path) -> bool:
    """Whether a spec's module needs others round it to be imported."""
    head = spec.rpartition(":")[0]
    is_file = not _is_code(spec) or head.endswith(".py")
    return not is_file and ("." in head or path.name == "__init__.py")


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        return str(path)


def _require_trust(path: Path, content: bytes) -> None:
    if not trust.is_trusted(content):
        raise BadInput(
            f"{path} would be imported, and no command of yours has named it or imported it before",
            "code whose content you trust",
            "look into it, then give `trust`",
        )


@dataclass(frozen=True)
class Fresh:
    """A seed ↦ the tensors, by name, of a recipe's module as that seed initialises it."""

    own: Sources
    recipe: Recipe

    def __call__(self, seed: int) -> Mapping[str, Any]:
        with self.own.opened():
            return replace(self.recipe, seed=seed).module().state_dict()
