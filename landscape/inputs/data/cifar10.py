"""Photographs in 32×32 pixels and ten classes (Krizhevsky 2009), from the binary records."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from landscape.errors import BadInput
from landscape.inputs.data import files
from landscape.inputs.data.dataset import DataSet, data_set, first, standardised

RECORD_BYTES = 1 + 3 * 32 * 32
TRAIN_BATCHES = [f"data_batch_{i}.bin" for i in range(1, 6)]
SUBSET = ("cifar10_train_first4000.bin", "cifar10_test_first1000.bin")
FOLDERS = ("cifar10", "cifar-10-batches-bin", "cifar10_subset")


def cifar10(limit: int | None = None, test_limit: int | None = None, data_dir: Path | None = None) -> DataSet:
    """CIFAR-10: inputs (n, 3, 32, 32), targets (n,); ``limit`` and ``test_limit`` keep the first so many.

    Every channel is standardised with mean and deviation of the training images that are kept.
    Reads ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``, or a subset in two files,
    ``cifar10_train_first4000.bin`` and ``cifar10_test_first1000.bin``.

    Raises BadInput where these are absent, incomplete or damaged.
    """
    train_paths, test_path = _find(data_dir)
    train_images, train_labels = _records(train_paths, first(limit))
    test_images, test_labels = _records([test_path], first(test_limit, "test_limit"))
    train_images, test_images = standardised(train_images, test_images, axes=(0, 2, 3))
    return data_set("cifar10", train_images, train_labels, test_images, test_labels, num_classes=10)


def _find(data_dir: Path | None) -> tuple[list[Path], Path]:
    folders = files.search_folders(FOLDERS, data_dir)
    for train_names, test_name in ((TRAIN_BATCHES, "test_batch.bin"), ([SUBSET[0]], SUBSET[1])):
        one = files.first_file([*train_names, test_name], folders)
        if one is not None:
            wanted = [one.parent / name for name in (*train_names, test_name)]
            absent = [path.name for path in wanted if not path.is_file()]
            if absent:
                raise BadInput(
                    f"{one.parent} has {one.name} but no {', '.join(absent)}",
                    "all files of cifar10",
                    "put them there",
                )
            return wanted[:-1], wanted[-1]
    raise files.not_found(
        "cifar10",
        f"the binary version, {', '.join([*TRAIN_BATCHES, 'test_batch.bin'])}",
        folders,
        files.download_folder("cifar10", data_dir),
    )


def _records(paths: Sequence[Path], kept: slice) -> tuple[np.ndarray, np.ndarray]:
    parts = []
    for path in paths:
        content = np.frombuffer(files.read_bytes(path), np.uint8)
        if len(content) == 0 or len(content) % RECORD_BYTES:
            raise BadInput(
                f"{path} has {len(content)} bytes", f"a multiple of {RECORD_BYTES}", "fetch it again"
            )
        parts.append(content.reshape(-1, RECORD_BYTES))
        if parts[-1][:, 0].max() > 9:
            raise BadInput(f"{path} has labels up to {parts[-1][:, 0].max()}", "0 to 9", "fetch it again")
    records = np.concatenate(parts)[kept]
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]
