"""Handwritten digits in 28×28 pixels (LeCun et al. 1998), whole or a few classes of it, or made smaller."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from landscape.errors import BadInput
from landscape.inputs.data import files
from landscape.inputs.data.dataset import DataSet, data_set, first
from landscape.inputs.data.idx import read_idx

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
# The md5 of each file in its gzipped form.
FILES = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}

# Sub-folders that hold them; the latter are torchvision's.
FOLDERS = ("mnist", "MNIST/raw", "raw")


def holding(path: Path) -> Path | None:
    """The folder at, round or below ``path`` that holds a file of these names; None where there is none."""
    place = path if path.is_dir() else path.parent
    for folder in (place / name for name in ("", *FOLDERS)):
        if any((folder / f"{stem}{end}").is_file() for stem in FILES for end in (".gz", "")):
            return folder
    return None


def mnist(
    classes: Sequence[int] | None = None,
    size: int = 28,
    limit: int | None = None,
    test_limit: int | None = None,
    flat: bool = False,
    data_dir: Path | None = None,
) -> DataSet:
    """MNIST: inputs (n, 1, size, size), or (n, size²) when ``flat``, in [0, 1]; targets (n,).

    ``classes`` keeps those digits alone and numbers them 0, 1, ... in the order given; ``limit`` and
    ``test_limit`` then keep the first so many samples; ``size`` divides 28, each new pixel being the
    mean of a block. An ``mlp`` flattens images by itself, so ``flat`` is for modules that do not.

    Raises BadInput for arguments out of range, and for files that are damaged, or absent and not to
    be had from the network.
    """
    classes = distinct_digits(classes)
    if not isinstance(size, int) or size < 1 or 28 % size:
        raise BadInput(f"size={size}", "a divisor of 28 (28, 14, 7, 4, 2, 1)")
    train_images, train_labels, test_images, test_labels = (
        read_idx(path) for path in _find_or_download(data_dir)
    )
    train = _prepared(train_images, train_labels, classes, size, first(limit), flat)
    test = _prepared(test_images, test_labels, classes, size, first(test_limit, "test_limit"), flat)
    return data_set("mnist", *train, *test, num_classes=len(classes))


def distinct_digits(classes: Sequence[int] | None) -> tuple[int, ...]:
    """The digits asked for, all ten where None; BadInput for fewer than two, or the same one twice."""
    if classes is None:
        return tuple(range(10))
    several = tuple(classes) if isinstance(classes, Sequence) else (classes,)
    if len(several) < 2 or len(set(several)) < len(several) or not set(several) <= set(range(10)):
        raise BadInput(
            f"classes={classes!r}", "two or more different digits", "write for example classes=3,6"
        )
    return several


def _prepared(
    images: np.ndarray,
    labels: np.ndarray,
    classes: tuple[int, ...],
    size: int,
    kept: slice,
    flat: bool,
) -> tuple[np.ndarray, np.ndarray]:
    if images.ndim != 3 or images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
        raise BadInput(
            f"mnist has images of shape {images.shape} and labels of shape {labels.shape}",
            "(n, 28, 28) and (n,)",
            "fetch its files again",
        )
    indices = np.flatnonzero(np.isin(labels, classes))[kept]
    new_labels = np.full(256, -1)
    new_labels[list(classes)] = range(len(classes))
    block = 28 // size
    blocks = images[indices].reshape(-1, size, block, size, block)
    # Means over powers of two are exact, so that float64 rounded is what float32 gives; of more pixels it is not.
    dtype = np.float64 if block <= 4 else np.float32
    pixels = blocks.mean(axis=(2, 4), dtype=dtype) / dtype(255)
    return pixels.reshape((-1, size**2) if flat else (-1, 1, size, size)), new_labels[labels[indices]]


def _find_or_download(data_dir: Path | None) -> list[Path]:
    folders = files.search_folders(FOLDERS, data_dir)
    destination = files.download_folder("mnist", data_dir)
    return [
        files.first_file([f"{stem}.gz", stem], folders) or _downloaded(stem, folders, destination)
        for stem in FILES
    ]


def _downloaded(stem: str, folders: Sequence[Path], destination: Path) -> Path:
    path = destination / f"{stem}.gz"
    try:
        content = files.download([mirror + path.name for mirror in MIRRORS], f"md5:{FILES[stem]}")
        files.publish(content, path)
    except OSError as error:
        wanted = f"{', '.join(FILES)}, each as it is or as .gz"
        raise files.not_found("mnist", wanted, folders, destination, str(error)) from None
    return path
