"""Numbers of the data keep the precision that they come in, until they meet the dtype of the computation."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from landscape.inputs.data import data_set, load_data
from landscape.inputs.data.batches import as_tensor, stacked
from landscape.inputs.data.streams import Stream

# In float32 none of them is itself.
X = np.array([[0.1, 0.7], [1 / 3, 0.3], [-0.9, 1.1]])
Y = [0.1, 0.2, 0.7]


class Rows(Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, i: int):
        return X[i].tolist(), Y[i]


def test_lists_of_numbers_are_what_they_are_in_python():
    data = data_set("a", X.tolist(), Y)
    assert np.array_equal(data.inputs.numpy(), X)
    assert data.targets[:, 0].tolist() == Y
    inputs, targets = Stream.of(Rows()).whole()
    assert np.array_equal(inputs.numpy(), X)
    assert targets.tolist() == Y


def test_what_has_a_precision_keeps_it():
    for kind in (np.float32, np.float64):
        assert as_tensor(list(X[0].astype(kind))).numpy().dtype == kind
        assert as_tensor(torch.from_numpy(X.astype(kind))).numpy().dtype == kind
    assert stacked([0.5, 1]).tolist() == [0.5, 1.0]
    assert stacked([1, 0.1]).tolist() == [1.0, 0.1]
    assert as_tensor([1, 2]).dtype == torch.int64
    assert as_tensor([True, False]).dtype == torch.bool


def test_columns_on_disk_and_in_memory_are_not_rounded(tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"x": X.tolist(), "label": Y})
    for number, one in enumerate((rows, rows.with_format("torch", columns=["x"]))):
        one.save_to_disk(tmp_path / f"{number}")
        data = load_data(str(tmp_path / f"{number}"), {}, None, torch.float64)
        assert np.array_equal(data.inputs.numpy(), X)
        assert data.targets[:, 0].tolist() == Y
    inputs, targets = Stream.of(rows).whole()
    assert np.array_equal(inputs.numpy(), X)
    assert targets.tolist() == Y
    narrow = datasets.Features({"x": datasets.Sequence(datasets.Value("float32"))})
    assert Stream.of(rows.select_columns("x").cast(narrow)).whole()[0].dtype == torch.float32
