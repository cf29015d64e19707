"""California housing (Pace and Barry 1997): house values from eight features of 20640 districts."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np

from landscape.errors import BadInput
from landscape.inputs.data import files
from landscape.inputs.data.bundled import train_test_indices
from landscape.inputs.data.dataset import DataSet, data_set, standardised

CSV, CACHE = "cal_housing.data", "cal_housing_py3.pkz"
# The archive that scikit-learn's fetcher takes, which has the CSV inside.
URL = "https://ndownloader.figshare.com/files/5976036"
URL_CHECKSUM = "sha256:aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681"
# scikit-learn's cache is a pickle, which can run anything: only this one, known to be numbers, is opened.
KNOWN_CACHE_SHA256 = "740b911884b5405599c461cf5c9a620aad36c63a0d32494567de2ebee803a42f"
SHAPE = (20640, 9)


def housing(test_size: float = 0.2, seed: int = 0, data_dir: Path | None = None) -> DataSet:
    """Median house values: inputs (n, 8) and targets (n, 1), all standardised by the training samples.

    ``test_size`` is the share held out for testing, drawn by ``seed``. Raises BadInput for files that
    are damaged, or absent and not to be had from the network.
    """
    inputs, targets = features_and_values(data_dir)
    train, test = train_test_indices(len(targets), test_size, seed)
    train_inputs, test_inputs = standardised(inputs[train], inputs[test])
    train_targets, test_targets = standardised(targets[train], targets[test])
    return data_set("housing", train_inputs, train_targets, test_inputs, test_targets)


def features_and_values(data_dir: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's eight features (20640, 8) and the values (20640, 1) in 100 000 $, in their own units.

    From StatLib's CSV ``cal_housing.data`` if it is there, else from scikit-learn's cache
    ``cal_housing_py3.pkz``, else from the network.
    """
    folders = files.search_folders(["housing"], data_dir)
    csv = files.first_file([CSV], folders)
    if csv is not None:
        return from_csv(files.read_bytes(csv), str(csv))
    cache = files.first_file([CACHE], folders)
    if cache is not None:
        return _from_cache(cache)
    return _downloaded(folders, files.download_folder("housing", data_dir))


def from_csv(content: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Features and values, as in ``features_and_values``, of StatLib's CSV; ``where`` is for messages."""
    try:
        columns = np.loadtxt(io.BytesIO(content), delimiter=",", ndmin=2)
    except ValueError as error:
        raise BadInput(f"{where} is damaged ({error})", "StatLib's CSV", "fetch it again") from None
    if columns.shape != SHAPE:
        raise BadInput(
            f"{where} has {columns.shape[0]} rows of {columns.shape[1]}", "20640 of 9", "fetch it again"
        )
    longitude, latitude, age, rooms, bedrooms, population, households, income, value = columns.T
    features = np.stack(
        [
            income,
            age,
            rooms / households,
            bedrooms / households,
            population,
            population / households,
            latitude,
            longitude,
        ],
        axis=1,
    )
    return features, value[:, None] / 100_000


def _from_cache(path: Path) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import fetch_california_housing

    if hashlib.sha256(files.read_bytes(path)).hexdigest() != KNOWN_CACHE_SHA256:
        raise BadInput(
            f"{path} is a pickle other than the known one, and is not opened because a pickle can run code",
            f"StatLib's CSV {CSV}",
            f"put that beside it, or remove {path.name} to have it fetched",
        )
    features, values = map(
        np.asarray,
        fetch_california_housing(data_home=path.parent, download_if_missing=False, return_X_y=True),
    )
    return features, values[:, None]


def _downloaded(folders: list[Path], destination: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        archive = files.download([URL], URL_CHECKSUM)
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as members:
            member = members.extractfile(f"CaliforniaHousing/{CSV}")
            assert member is not None
            content = member.read()
        files.publish(content, destination / CSV)
    except OSError as error:
        raise files.not_found("housing", f"{CSV} or {CACHE}", folders, destination, str(error)) from None
    return from_csv(content, URL)
