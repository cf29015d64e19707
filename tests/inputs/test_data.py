"""The ready data sets against their published numbers, and the sentence for everything that can be wrong."""

import gzip
import hashlib
import importlib
import io
import math
import struct
import tarfile
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from landscape.errors import BadInput
from landscape.inputs.data import DATA_SETS, DataSet, data_set, files, load_data
from landscape.inputs.data.cifar10 import RECORD_BYTES, SUBSET, TRAIN_BATCHES
from landscape.inputs.data.housing import CACHE, CSV, features_and_values
from landscape.inputs.data.idx import DTYPES, read_idx
from landscape.inputs.data.mnist import FILES, MIRRORS

REAL_DATA = Path(__file__).parents[3] / "shared" / "data"
needs_real_data = pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"the real files are not at {REAL_DATA}")


@pytest.fixture(autouse=True)
def _no_other_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Neither the user's own data folders nor the network have a say in the tests."""

    def no_network(url: str, timeout: float):
        raise urllib.error.URLError("no network")

    monkeypatch.delenv("LANDSCAPE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("urllib.request.urlopen", no_network)


def load(spec: object, data_dir: Path | None = None, **arguments) -> DataSet:
    return load_data(str(spec), arguments, data_dir)


# scikit-learn's bundled sets


def test_digits_are_all_of_scikit_learns_over_16():
    from sklearn.datasets import load_digits

    data = load("digits", test_size=0)
    pixels, classes = load_digits(return_X_y=True)
    assert np.array_equal(data.inputs.numpy(), (pixels / 16).astype(np.float32))
    assert np.array_equal(data.targets.numpy(), classes)
    assert data.test_inputs is None
    assert (data.task, data.num_classes, data.default_loss) == ("classification", 10, "cross_entropy")


def test_digits_are_split_once_and_within_each_class():
    data = load("digits")
    assert data.test_inputs is not None
    assert data.test_targets is not None
    assert (len(data.inputs), len(data.test_inputs)) == (1437, 360)
    whole = load("digits", test_size=0)
    both = torch.cat([data.inputs, data.test_inputs])
    assert torch.equal(both.sort(dim=0).values, whole.inputs.sort(dim=0).values)
    shares = data.test_targets.bincount() / whole.targets.bincount()
    assert ((shares - 0.2).abs() < 0.01).all()
    assert torch.equal(load("digits").inputs, data.inputs)
    assert not torch.equal(load("digits", seed=1).inputs, data.inputs)


def test_digits_of_some_classes_are_those_in_the_order_given():
    whole, some = load("digits", test_size=0), load("digits", test_size=0, classes=(7, 2))
    for new, old in enumerate((7, 2)):
        assert torch.equal(some.inputs[some.targets == new], whole.inputs[whole.targets == old])
    assert len(some.targets) == ((whole.targets == 7) | (whole.targets == 2)).sum()
    with pytest.raises(BadInput, match="two or more different digits"):
        load("digits", classes=(3, 3))


def test_digits_as_images_are_the_same_pixels():
    images, flat = load("digits", image=True), load("digits")
    assert images.input_shape == (1, 8, 8)
    assert torch.equal(images.inputs.flatten(1), flat.inputs)


def test_breast_cancer_is_standardised_by_its_training_samples():
    data = load("breast_cancer")
    assert data.test_inputs is not None
    assert len(data.inputs) + len(data.test_inputs) == 569
    assert data.input_shape == (30,)
    torch.testing.assert_close(data.inputs.mean(dim=0), torch.zeros(30), atol=1e-5, rtol=0)
    torch.testing.assert_close(data.inputs.std(dim=0, correction=0), torch.ones(30))
    assert data.test_inputs.mean(dim=0).abs().max() > 0.01
    assert load("breast_cancer", test_size=0).targets.bincount().tolist() == [212, 357]


def test_circles_without_noise_lie_on_two_circles():
    data = load("circles", num_samples=100, noise=0, factor=0.3, test_size=0)
    radii = torch.tensor([1.0, 0.3])[data.targets]
    torch.testing.assert_close(data.inputs.norm(dim=1), radii)
    assert (data.default_loss, data.targets.bincount().tolist()) == ("bce", [50, 50])


def test_moons_without_noise_lie_on_two_half_circles():
    data = load("moons", num_samples=100, noise=0, test_size=0.1)
    centres = torch.tensor([[0.0, 0.0], [1.0, 0.5]])[data.targets]
    torch.testing.assert_close((data.inputs - centres).norm(dim=1), torch.ones(90))


def test_point_is_one_sample_or_those_given():
    data = load("point")
    assert (data.inputs.tolist(), data.targets.tolist()) == ([[1.0]], [[1.0]])
    assert (data.default_loss, data.input_shape, data.num_outputs("output")) == ("mse", (1,), 1)
    assert load("point", x=(1, 2), y=(3, 4.5)).targets.tolist() == [[3.0], [4.5]]


# Real files


@needs_real_data
def test_mnist_is_whole():
    data = load("mnist", REAL_DATA)
    assert data.test_inputs is not None
    assert (data.inputs.shape, len(data.test_inputs)) == ((60000, 1, 28, 28), 10000)
    assert data.targets[:5].tolist() == [5, 0, 4, 1, 9]
    # The mean pixel and its deviation, known from every tutorial.
    assert data.inputs.mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert data.inputs.std().item() == pytest.approx(0.3081, abs=5e-5)
    assert data.inputs.max() == 1


@needs_real_data
def test_mnist_threes_and_sixes_are_numbered_in_the_order_given():
    data = load("mnist", REAL_DATA / "mnist", classes=(3, 6), size=14)
    assert (len(data.targets), data.targets.bincount().tolist()) == (12049, [6131, 5918])
    assert (data.input_shape, data.default_loss) == ((1, 14, 14), "bce")
    swapped = load("mnist", REAL_DATA, classes=(6, 3), limit=100, test_limit=10, flat=True, size=7)
    assert torch.equal(swapped.targets, 1 - data.targets[:100])
    assert swapped.inputs.shape == (100, 49)
    assert swapped.test_inputs is not None
    assert len(swapped.test_inputs) == 10


@needs_real_data
def test_mnist_is_made_smaller_by_the_means_of_blocks():
    images = load("mnist", REAL_DATA, limit=3, test_limit=1).inputs
    smaller = load("mnist", REAL_DATA, limit=3, test_limit=1, size=4).inputs
    torch.testing.assert_close(smaller, torch.nn.functional.avg_pool2d(images, 7))


@needs_real_data
def test_housing_is_the_same_from_csv_and_from_scikit_learns_cache(tmp_path: Path):
    folders = {name: tmp_path / name for name in (CSV, CACHE)}
    for name, folder in folders.items():
        folder.mkdir()
        (folder / name).write_bytes((REAL_DATA / "housing" / name).read_bytes())
    inputs, targets = features_and_values(folders[CSV])
    assert inputs.shape == (20640, 8)
    assert inputs[:, 0].mean() == pytest.approx(3.870671, abs=5e-7)
    assert targets.mean() == pytest.approx(2.068558, abs=5e-7)
    cached_inputs, cached_targets = features_and_values(folders[CACHE])
    assert np.array_equal(inputs, cached_inputs)
    assert np.array_equal(targets, cached_targets)


@needs_real_data
def test_housing_is_standardised_targets_too():
    data = load("housing", REAL_DATA)
    assert (data.inputs.shape, data.targets.shape) == ((16512, 8), (16512, 1))
    for values in (data.inputs, data.targets):
        torch.testing.assert_close(values.mean(dim=0), torch.zeros(values.shape[1]), atol=1e-5, rtol=0)
        torch.testing.assert_close(values.std(dim=0), torch.ones(values.shape[1]), atol=1e-4, rtol=0)
    assert len(load("housing", REAL_DATA, test_size=0).inputs) == 20640


@needs_real_data
def test_cifar10_subset_is_found_and_standardised_by_channel():
    data = load("cifar10", REAL_DATA, limit=500, test_limit=20)
    assert data.targets[:5].tolist() == [6, 9, 9, 4, 1]
    assert (data.inputs.shape, data.num_classes) == ((500, 3, 32, 32), 10)
    torch.testing.assert_close(data.inputs.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(data.inputs.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)
    assert data.test_inputs is not None
    assert len(data.test_inputs) == 20


# Small files of the same formats, written here


def idx_bytes(array: np.ndarray) -> bytes:
    code = next(code for code, dtype in DTYPES.items() if dtype[1:] == f"{array.dtype.kind}{array.itemsize}")
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_mnist(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.arange(4 * 28 * 28, dtype=np.uint8).reshape(4, 28, 28)
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(pixels))
        labels = idx_bytes(np.array([7, 1, 7, 2], np.uint8))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))


def write_cifar10(path: Path, labels: list[int]) -> None:
    records = np.zeros((len(labels), RECORD_BYTES), np.uint8)
    records[:, 0] = labels
    records[:, 1:1025] = 255 * (np.arange(len(labels)) % 2)[:, None]
    path.write_bytes(records.tobytes())


@given(
    st.sampled_from(list(DTYPES.values())).flatmap(
        lambda dtype: st_numpy.arrays(
            np.dtype(dtype).newbyteorder("="), st_numpy.array_shapes(max_dims=4, max_side=4, min_side=0)
        )
    ),
    st.booleans(),
)
def test_idx_files_are_read_as_they_were_written(tmp_path_factory, array: np.ndarray, zipped: bool):
    path = tmp_path_factory.mktemp("idx") / "array"
    path.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
    found = read_idx(path)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@given(st.integers(0, 24), st.booleans())
def test_a_cut_idx_file_is_refused_wherever_it_is_cut(tmp_path_factory, length: int, zipped: bool):
    path = tmp_path_factory.mktemp("idx") / "array"
    content = idx_bytes(np.arange(13, dtype=np.uint8).reshape(1, 13))
    content = gzip.compress(content, mtime=0) if zipped else content
    path.write_bytes(content[:length])
    with pytest.raises(BadInput, match="fetch it again"):
        read_idx(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\0\0\x07\1\0\0\0\0", "no IDX file: it begins with 00 00 07 01"),
        (b"", "begins with nothing"),
        (idx_bytes(np.zeros(3, np.uint8)) + b"!", "has 12 bytes; expected 11 as its header says"),
        (b"\x1f\x8b rather more rubbish", "is damaged"),
    ],
)
def test_what_is_no_idx_file_gets_a_sentence(tmp_path: Path, content: bytes, sentence: str):
    (tmp_path / "array").write_bytes(content)
    with pytest.raises(BadInput, match=sentence):
        read_idx(tmp_path / "array")


@pytest.mark.parametrize("place", ["argument", "sub-folder", "environment", "cache"])
def test_files_are_found_in_each_place(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data_dir = tmp_path / "data" if place in ("argument", "sub-folder") else None
    folder = {
        "argument": tmp_path / "data",
        "sub-folder": tmp_path / "data" / "mnist",
        "environment": tmp_path / "elsewhere" / "mnist",
        "cache": tmp_path / "cache" / "landscape" / "mnist",
    }[place]
    monkeypatch.setenv("LANDSCAPE_DATA", str(tmp_path / "elsewhere"))
    write_mnist(folder)
    data = load("mnist", data_dir, classes=(2, 7))
    assert data.targets.tolist() == [1, 1, 0]


@pytest.mark.parametrize("place", ["MNIST/raw", "raw"])
def test_mnist_as_others_keep_it_is_found_and_told(place: str, tmp_path: Path):
    write_mnist(tmp_path / place)
    assert load("mnist", tmp_path, classes=(2, 7)).targets.tolist() == [1, 1, 0]
    folder, file = tmp_path / place, tmp_path / place / "train-images-idx3-ubyte"
    for spec in (str(folder), str(file), str(folder.parent)):
        with pytest.raises(BadInput, match=f"give `data` mnist and `data_dir` {folder}, whose"):
            load(spec)
    assert load("mnist", folder, classes=(2, 7)).targets.tolist() == [1, 1, 0]


def test_mnist_without_files_or_network_says_where_to_put_them(tmp_path: Path):
    with pytest.raises(BadInput) as caught:
        load("mnist", tmp_path)
    sentence = str(caught.value)
    assert all(stem in sentence for stem in FILES)
    assert f"put them into {tmp_path / 'mnist'}" in sentence
    assert "no network" in sentence


def test_mnist_is_downloaded_from_the_second_mirror_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_mnist(tmp_path / "source")
    served = {}
    for stem in FILES:
        path = files.first_file([stem, f"{stem}.gz"], [tmp_path / "source"])
        assert path is not None
        content = path.read_bytes()
        served[f"{stem}.gz"] = content if path.suffix else gzip.compress(content)
    asked = []

    def urlopen(url: str, timeout: float):
        asked.append(url)
        if url.startswith(MIRRORS[0]):
            return io.BytesIO(b"<html>please log in</html>")
        return io.BytesIO(served[url.rpartition("/")[2]])

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    with pytest.raises(BadInput, match="wrong md5"):
        load("mnist", tmp_path / "data")
    assert not (tmp_path / "data").exists()

    for stem in FILES:
        monkeypatch.setitem(FILES, stem, hashlib.md5(served[f"{stem}.gz"]).hexdigest())
    assert len(load("mnist", tmp_path / "data").inputs) == 4
    assert sorted(path.name for path in (tmp_path / "data" / "mnist").iterdir()) == sorted(served)
    num_asked = len(asked)
    load("mnist", tmp_path / "data")
    assert len(asked) == num_asked


def test_a_download_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full_disk(source: object, target: object):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        files.publish(b"content", tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_mnist_of_another_shape_gets_a_sentence(tmp_path: Path):
    write_mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((4, 2, 2), np.uint8)))
    with pytest.raises(BadInput, match=r"images of shape \(4, 2, 2\)"):
        load("mnist", tmp_path)


def test_cifar10_in_its_full_form_is_read_in_order(tmp_path: Path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for i, name in enumerate(TRAIN_BATCHES):
        write_cifar10(folder / name, [i, i + 1])
    with pytest.raises(BadInput, match=r"but no test_batch\.bin"):
        load("cifar10", tmp_path)
    write_cifar10(folder / "test_batch.bin", [9])
    data = load("cifar10", tmp_path)
    assert data.targets.tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    # The first 1024 bytes are the red channel: half zeros and half 255s, so −1 and 1.
    assert data.inputs[:2, :, 0, 0].tolist() == [[-1, 0, 0], [1, 0, 0]]


def test_damaged_or_absent_cifar10_gets_a_sentence(tmp_path: Path):
    with pytest.raises(
        BadInput, match=r"the files of cifar10 are not here.*data_batch_1\.bin.*put them into"
    ):
        load("cifar10", tmp_path)
    for name in SUBSET:
        write_cifar10(tmp_path / name, [11])
    with pytest.raises(BadInput, match="labels up to 11; expected 0 to 9"):
        load("cifar10", tmp_path)
    (tmp_path / SUBSET[0]).write_bytes(b"short")
    with pytest.raises(BadInput, match="has 5 bytes; expected a multiple of 3073"):
        load("cifar10", tmp_path)


def test_absent_or_damaged_housing_gets_a_sentence(tmp_path: Path):
    with pytest.raises(BadInput, match=r"cal_housing\.data or cal_housing_py3\.pkz; put them into"):
        load("housing", tmp_path)
    (tmp_path / CACHE).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(BadInput, match="not opened because a pickle can run code"):
        load("housing", tmp_path)
    (tmp_path / CSV).write_text("1,2,3\n")
    with pytest.raises(BadInput, match="has 1 rows of 3; expected 20640 of 9"):
        load("housing", tmp_path)
    (tmp_path / CSV).write_text("longitude,latitude\n")
    with pytest.raises(BadInput, match="is damaged"):
        load("housing", tmp_path)


def test_housing_is_downloaded_as_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    row = "-122.0,37.0,41.0,880.0,129.0,322.0,126.0,8.3,452600.0\n"
    csv = (row * 20640).encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as members:
        member = tarfile.TarInfo("CaliforniaHousing/cal_housing.data")
        member.size = len(csv)
        members.addfile(member, io.BytesIO(csv))
    checksum = f"sha256:{hashlib.sha256(archive.getvalue()).hexdigest()}"
    monkeypatch.setattr(importlib.import_module("landscape.inputs.data.housing"), "URL_CHECKSUM", checksum)
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(archive.getvalue()))
    inputs, targets = features_and_values(tmp_path)
    assert inputs[7].tolist() == [8.3, 41, 880 / 126, 129 / 126, 322, 322 / 126, 37, -122]
    assert targets[7].item() == 4.526
    assert (tmp_path / "housing" / CSV).read_bytes() == csv


# The user's own


def save_npz(path: Path, **arrays: np.ndarray) -> str:
    np.savez(path, **arrays)
    return f"npz:{path}"


def test_bytes_of_pictures_are_said_to_be_as_they_are():
    pixels = np.arange(4 * 9, dtype=np.uint8).reshape(4, 3, 3) * 7
    said = "up to 245 and not scaled: where training diverges or stands still let the data give inputs / 255"
    raw = data_set("raw", pixels, np.arange(4) % 2)
    assert any(said in note for note in raw.notes)
    scaled = data_set("scaled", pixels / 255, np.arange(4) % 2)
    assert torch.equal(scaled.inputs, raw.inputs.double() / 255)
    for others in (pixels / 255, pixels % 17, pixels[:, 0, 0]):
        assert not any("scaled" in note for note in data_set("other", others, np.arange(4) % 2).notes)


def test_npz_with_integers_is_classification(tmp_path: Path):
    rng = np.random.default_rng(0)
    spec = save_npz(
        tmp_path / "a.npz",
        X=rng.normal(size=(6, 2)),
        y=np.array([0, 2, 1, 0, 2, 1], np.uint8),
        X_test=rng.normal(size=(2, 2)),
        y_test=np.array([[3], [0]]),
    )
    data = load(spec)
    assert (data.task, data.num_classes, data.name) == ("classification", 4, "a.npz")
    assert (data.inputs.dtype, data.targets.dtype) == (torch.float32, torch.int64)
    assert data.test_targets is not None
    assert data.test_targets.tolist() == [3, 0]


def test_npz_with_floats_is_regression(tmp_path: Path):
    data = load(save_npz(tmp_path / "a.npz", inputs=np.arange(3.0), targets=np.ones((3, 2))))
    assert (data.task, data.num_classes, data.default_loss) == ("regression", None, "mse")
    assert (data.input_shape, data.num_outputs("mse")) == ((1,), 2)


def test_npz_that_is_wrong_gets_a_sentence(tmp_path: Path):
    path = tmp_path / "a.npz"
    with pytest.raises(BadInput, match="there is no file"):
        load(f"npz:{path}")
    with pytest.raises(BadInput, match="cannot be read"):
        load(f"npz:{tmp_path}")
    with pytest.raises(BadInput, match="holds z, targets and no inputs"):
        load(save_npz(path, z=np.ones(3), targets=np.ones(3)))
    with pytest.raises(BadInput, match=r"cannot be read \(Object arrays"):
        load(save_npz(path, x=np.array([{}, None]), y=np.ones(2)))
    with pytest.raises(BadInput, match="does not take these arguments"):
        load(save_npz(path, x=np.ones(3), y=np.ones(3)), limit=2)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadInput, match="cannot be read"):
        load(f"npz:{path}")
    path.write_bytes(b"")
    with pytest.raises(BadInput, match="cannot be read"):
        load(f"npz:{path}")
    np.save(tmp_path / "b.npy", np.ones(3))
    with pytest.raises(BadInput, match="is a single array"):
        load(f"npz:{tmp_path / 'b.npy'}")


USER_FILE = """
import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset
from landscape.inputs.data import data_set

torch.rand(1)
value = 7

def pair(n=3):
    return torch.ones(n, 2, requires_grad=True), torch.arange(n)

def four():
    return [[1.0], [2.0]], [0, 1], np.array([[3.0]]), np.array([1])

def pairs():
    return pair(), pair(2)

def drawn():
    return torch.randn(4, 2), torch.randn(4)

def placed(data_dir=None):
    return torch.tensor([[float(len(str(data_dir)))]]), torch.ones(1)

def read_only():
    inputs = np.ones((3, 2))
    inputs.setflags(write=False)
    return inputs[::-1], np.arange(3)

def tokens():
    return torch.arange(6).reshape(3, 2), torch.ones(3)

def mapped():
    return TensorDataset(*pair())

class Stream(IterableDataset):
    def __iter__(self):
        return iter([([1.0, 2.0], 0), ([3.0, 4.0], 1)])

class Endless(Dataset):
    def __getitem__(self, index):
        return torch.ones(2), 0

class Single(Endless):
    def __len__(self):
        return 2
    def __getitem__(self, index):
        return torch.ones(2)

class Ragged(Single):
    def __getitem__(self, index):
        return torch.ones(index + 1), 0

def ready():
    return data_set("ready", torch.ones(3, 1), [0, 1, 0], num_classes=5)

def broken():
    raise RuntimeError("out of luck")

def number():
    return 3

def three():
    return 1, 2, 3

def words():
    return ["a", "b"], [0, 1]

def empty():
    return torch.ones(0, 2), torch.ones(0)
"""


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(USER_FILE)
    return path


@pytest.mark.parametrize(
    ("name", "inputs", "targets"),
    [
        ("pair", [[1, 1]] * 3, [0, 1, 2]),
        ("mapped", [[1, 1]] * 3, [0, 1, 2]),
        ("four", [[1], [2]], [0, 1]),
        ("read_only", [[1, 1]] * 3, [0, 1, 2]),
        ("tokens", [[0, 1], [2, 3], [4, 5]], [[1], [1], [1]]),
        ("Stream", [[1, 2], [3, 4]], [0, 1]),
        ("ready", [[1]] * 3, [0, 1, 0]),
    ],
)
def test_user_factories_may_return_any_of_these(user_file: Path, name: str, inputs: list, targets: list):
    data = load(f"{user_file}:{name}")
    assert (data.inputs.tolist(), data.targets.tolist()) == (inputs, targets)
    assert data.inputs.dtype == (torch.int64 if name == "tokens" else torch.float32)
    assert not data.inputs.requires_grad
    assert data.num_classes == {"ready": 5, "tokens": None, "Stream": 2, "four": 2}.get(name, 3)
    assert (data.test_inputs is not None) == (name == "four")


def test_user_factory_gets_its_arguments_and_the_folder(user_file: Path):
    assert len(load(f"{user_file}:pair", n=5).inputs) == 5
    assert load(f"{user_file}:placed", Path("abc")).inputs.item() == 3
    assert load_data(f"{user_file}:placed", {"data_dir": "abcde"}, Path("abc")).inputs.item() == 5
    assert load(f"{user_file}:placed").inputs.item() == len("None")


def test_data_drawn_without_a_seed_are_the_same_each_time_and_the_global_state_stays(user_file: Path):
    before = torch.get_rng_state()
    first = load(f"{user_file}:drawn")
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.rand(3)
        assert torch.equal(load(f"{user_file}:drawn").inputs, first.inputs)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("number", r"returned something of type int; expected \(inputs, targets\)"),
        ("three", "of type tuple of length 3"),
        ("broken", "raised RuntimeError: out of luck"),
        ("Endless", "Endless has no length"),
        ("Ragged", r"samples have shapes \(1,\) and \(2,\); expected one shape"),
        ("words", "inputs of .* are no tensor"),
        ("pairs", "targets of .* are a tuple of 2; .*: inputs, targets, test inputs, test targets"),
        ("empty", "has no samples"),
        ("value", "is of type int"),
        ("absent", "has no 'absent'"),
    ],
)
def test_user_factory_that_is_wrong_gets_a_sentence(user_file: Path, name: str, sentence: str):
    with pytest.raises(BadInput, match=sentence):
        load(f"{user_file}:{name}")


# What every data set promises


def test_num_outputs_follow_the_loss():
    two, three = (data_set("a", torch.ones(3, 1), targets) for targets in ([0, 1, 1], [0, 1, 2]))
    real = data_set("a", torch.ones(3, 1), torch.full((3, 4), 2.0))
    assert [two.num_outputs(loss) for loss in ("bce", "cross_entropy", "mse", "output")] == [1, 2, 2, 1]
    assert [three.num_outputs(loss) for loss in ("cross_entropy", "mse", "mine:loss")] == [3, 3, 3]
    assert [real.num_outputs(loss) for loss in ("mse", "output")] == [4, 4]
    with pytest.raises(BadInput, match="loss bce on a, which has 3 classes; expected two classes"):
        three.num_outputs("bce")
    with pytest.raises(BadInput, match="loss cross_entropy on a, which has no classes"):
        real.num_outputs("cross_entropy")


@given(st.integers(1, 20), st.integers(0, 2**31))
def test_subsets_are_ascending_without_repeats_and_keep_the_test_set(n: int, seed: int):
    data = data_set("a", torch.arange(20.0), torch.arange(20.0), torch.ones(2, 1), torch.ones(2))
    part = data.subset(n, torch.Generator().manual_seed(seed))
    kept = part.inputs[:, 0]
    assert len(kept) == n
    assert (kept.diff() > 0).all()
    assert torch.equal(part.inputs, part.targets)
    assert part.test_inputs is data.test_inputs
    assert torch.equal(data.subset(n, torch.Generator().manual_seed(seed)).inputs, part.inputs)


@pytest.mark.parametrize("n", [0, 4])
def test_a_subset_larger_than_the_data_is_refused(n: int):
    data = data_set("a", torch.ones(3, 1), torch.ones(3))
    with pytest.raises(BadInput, match=f"a subset of {n} samples of a; expected between 1 and its 3"):
        data.subset(n, torch.Generator())


ONES = torch.ones(3, 2)
NOT_FINITE = torch.tensor([[1.0, 1.0], [1.0, math.nan], [math.inf, -math.inf]])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((ONES, torch.ones(2)), "a has 3 inputs and 2 targets"),
        ((torch.ones(0, 2), torch.ones(0)), "a has no samples"),
        ((torch.ones(0, 2), torch.ones(0, dtype=torch.int64)), "a has no samples"),
        (
            (NOT_FINITE, torch.ones(3)),
            r"inputs of a are NaN or infinite in 3 of 6 places, first at index \(1, 1\)",
        ),
        ((ONES.double() * 1e39, torch.ones(3)), r"in 6 of 6 places, first at index \(0, 0\)"),
        ((ONES, NOT_FINITE), "targets of a are NaN or infinite in 3 of 6"),
        ((ONES, [0, -1, 1]), "out of range in 1 of 3 places, the first is -1 at index 1; expected 0 to 1"),
        ((ONES, [0, 0, 0]), "a single class"),
        ((ONES, torch.eye(3).long()), r"have shape \(3, 3\).*argmax of one-hot"),
        ((ONES * 1j, torch.ones(3)), "inputs of a are complex"),
        ((1.0, torch.ones(3)), "a single number"),
        ((ONES, torch.ones(3), ONES), "only one of test inputs and test targets"),
        ((ONES, torch.ones(3), torch.ones(3, 4), torch.ones(3)), r"shape \(4,\) per sample; expected \(2,\)"),
        ((ONES, torch.ones(3), ONES, torch.ones(2)), "3 test inputs and 2 test targets"),
    ],
)
def test_data_that_cannot_be_used_get_a_sentence(arguments: tuple, sentence: str):
    with pytest.raises(BadInput, match=sentence):
        data_set("a", *arguments)


def test_targets_beyond_the_classes_are_refused():
    with pytest.raises(BadInput, match="the first is 3 at index 2; expected 0 to 2"):
        data_set("a", ONES, [0, 1, 3], num_classes=3)


def test_an_empty_test_set_is_none():
    assert data_set("a", ONES, torch.ones(3), ONES[:0], torch.ones(0)).test_inputs is None


@pytest.mark.parametrize(
    ("spec", "arguments", "sentence"),
    [
        ("digts", {}, "unknown data set 'digts'; expected one of digits, .*did you mean 'digits'"),
        ("digits", {"tset_size": 0.1}, "does not take these arguments.*test_size"),
        ("digits", {"test_size": 1.0}, r"test_size=1.0; expected a share in \[0, 1\)"),
        ("circles", {"factor": 2.0}, "data circles raised"),
        ("mnist", {"classes": (3, 3)}, r"classes=\(3, 3\); expected two or more different digits"),
        ("mnist", {"classes": 3}, "classes=3; expected two or more"),
        ("mnist", {"classes": "3-6"}, "classes='3-6'; expected two or more"),
        ("mnist", {"size": 10}, "size=10; expected a divisor of 28"),
        ("point", {"x": (1, 2)}, "point has 2 inputs and 1 targets"),
    ],
)
def test_bad_input_gets_a_sentence(spec: str, arguments: dict, sentence: str):
    with pytest.raises(BadInput, match=sentence):
        load_data(spec, arguments, None)


def test_a_limit_below_one_is_refused(tmp_path: Path):
    write_mnist(tmp_path)
    with pytest.raises(BadInput, match="test_limit=0; expected a positive integer"):
        load("mnist", tmp_path, test_limit=0)


def test_every_data_set_is_in_this_file():
    text = Path(__file__).read_text()
    assert all(f'load("{name}"' in text for name in DATA_SETS)


@pytest.mark.parametrize(("size", "is_fine"), [(28, True), (14, True), (7, True), (4, False)])
def test_digits_in_float64_are_those_in_float32_in_more_digits(tmp_path: Path, size: int, is_fine: bool):
    """Against whole numbers: a block's sum over 255 times its size."""
    write_mnist(tmp_path)
    coarse, fine = (
        load_data("mnist", {"size": size}, tmp_path, dtype) for dtype in (torch.float32, torch.float64)
    )
    assert torch.equal(fine.inputs.float(), coarse.inputs)
    block = 28 // size
    sums = torch.from_numpy(read_idx(tmp_path / "train-images-idx3-ubyte").astype(np.int64))
    sums = sums.reshape(-1, 1, size, block, size, block).sum((3, 5))
    error = (fine.inputs - sums.double() / (255 * block**2)).abs().max()
    assert (error < 1e-15) == is_fine
