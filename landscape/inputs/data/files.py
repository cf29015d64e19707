"""Finding the files of a data set in the usual folders, and fetching them where a network is there."""

import hashlib
import http.client
import os
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from landscape.errors import BadInput

TIMEOUT_SECONDS = 10


def search_folders(names: Sequence[str], data_dir: Path | None) -> list[Path]:
    """Where to look, in order: ``data_dir``, $LANDSCAPE_DATA, the cache; each itself, then its sub-folders.

    ``names`` are the sub-folders' names, the data set's own first.
    """
    places = [Path(data_dir)] if data_dir is not None else []
    if os.environ.get("LANDSCAPE_DATA"):
        places.append(Path(os.environ["LANDSCAPE_DATA"]))
    places.append(cache_folder())
    return [place / name for place in places for name in ("", *names)]


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/landscape, or ~/.cache/landscape."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "landscape"


def download_folder(name: str, data_dir: Path | None) -> Path:
    """Where to put what is fetched: the sub-folder ``name`` of ``data_dir``, or else of the cache."""
    return Path(data_dir if data_dir is not None else cache_folder()) / name


def first_file(file_names: Sequence[str], folders: Sequence[Path]) -> Path | None:
    """The first of ``folders`` that has any of ``file_names``, as the path of that file; None if none has."""
    candidates = (folder / file_name for folder in folders for file_name in file_names)
    return next((path for path in candidates if path.is_file()), None)


def read_bytes(path: Path) -> bytes:
    """The bytes of ``path``; BadInput where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {path} ({error.strerror})", "a readable file") from None


def download(urls: Sequence[str], checksum: str) -> bytes:
    """The bytes behind the first of ``urls`` that answers and whose ``checksum``, ``md5:...``, is right.

    Raises OSError with every mirror's reason when none does.
    """
    algorithm, _, digest = checksum.partition(":")
    reasons = []
    for url in urls:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
                content = response.read()
        except (OSError, http.client.HTTPException) as error:
            reasons.append(f"{url}: {error}")
            continue
        if hashlib.new(algorithm, content, usedforsecurity=False).hexdigest() == digest:
            return content
        reasons.append(f"{url}: wrong {algorithm}, not the file wanted")
    raise OSError("; ".join(reasons))


def publish(content: bytes, path: Path) -> None:
    """Write ``path`` whole or not at all. Raises OSError where the folder is not writable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several processes may fetch at once: each has its own temporary file, and the last one wins.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def not_found(name: str, wanted: str, folders: Sequence[Path], destination: Path, why: str = "") -> BadInput:
    """The sentence for files that are nowhere: where they were looked for and where to put them."""
    places = ", ".join(str(folder) for folder in folders if folder.is_dir()) or "no existing folder"
    return BadInput(
        f"the files of {name} are not here (looked in {places}{f'; download failed: {why}' if why else ''})",
        wanted,
        f"put them into {destination}, or name their folder with `data_dir` or LANDSCAPE_DATA",
    )
