"""What targets mean, classes or quantities, in files and from factories: what is a guess is said."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape.errors import BadInput
from landscape.inputs.data import data_set, load_data
from landscape.inputs.data.dataset import DataSet
from landscape.objective import Objective
from landscape.objective.suiting import suiting_loss

X = np.arange(12.0).reshape(6, 2) / 10
CLASSES = np.array([0, 2, 1, 1, 2, 0])
ONE_HOT = np.eye(3)[CLASSES]


def npz(folder: Path, given: dict | None = None, **arrays: Any) -> DataSet:
    np.savez(folder / "a.npz", **arrays)
    return load_data(str(folder / "a.npz"), given or {}, None)


@pytest.mark.parametrize("targets", [CLASSES * 1.0, CLASSES[:, None] * 1.0, ONE_HOT], ids=str)
def test_classes_as_floats_are_said_and_may_be_taken_as_classes(tmp_path: Path, targets: np.ndarray):
    stayed = npz(tmp_path, x=X, y=targets)
    assert stayed.task == "regression"
    assert [one for one in stayed.notes if "as floats and are not taken as classes" in one]
    taken = npz(tmp_path, {"task": "classification"}, x=X, y=targets)
    assert (taken.task, taken.num_classes, taken.targets.tolist()) == ("classification", 3, CLASSES.tolist())


@pytest.mark.parametrize(
    "targets", [X[:, 0], CLASSES - 1.0, np.arange(6.0), np.ones(6), 1e6 * CLASSES, X, 2 * ONE_HOT], ids=str
)
def test_quantities_are_not_said_to_be_classes(targets: np.ndarray):
    assert data_set("a", X, targets).notes == ()


def test_numbers_with_a_fraction_are_no_classes(tmp_path: Path):
    with pytest.raises(BadInput, match=r"dtype torch.float64; expected integer classes"):
        npz(tmp_path, {"task": "classification"}, x=X, y=X[:, 0])
    for spec in ("a.npz", "a.csv"):
        (tmp_path / "a.csv").write_text("a,y\n1,0\n2,1\n")
        with pytest.raises(BadInput, match="task='regress'; expected classification or regression"):
            load_data(str(tmp_path / spec), {"task": "regress", "target": "y"}, None)


@pytest.mark.parametrize("kind", [str, bytes])
def test_text_is_classes_numbered_over_both_parts(tmp_path: Path, kind: type):
    words = np.array(["dog", "ape", "cat"], kind)
    data = npz(tmp_path, x=X, y=words[[0, 2, 0, 0, 2, 0]], x_test=X[:3], y_test=words)
    assert data.targets.tolist() == [2, 1, 2, 2, 1, 2]
    assert data.test_targets is not None
    assert data.test_targets.tolist() == [2, 0, 1]
    assert data.notes == (
        "classes of the targets: ape 0, cat 1, dog 2",
        "class 0 has samples to test with and none to train with",
    )
    with pytest.raises(BadInput, match="are text, 'ape'; expected numbers, as quantities"):
        data_set("a", X, ["ape"] * 6, task="regression")
    with pytest.raises(BadInput, match="numbers or text in all of them"):
        data_set("a", X, ["ape"] * 6, X, CLASSES)


def test_classes_without_samples_are_named():
    assert data_set("a", X, CLASSES).notes == ()
    assert data_set("a", X, CLASSES + 1).notes == (
        "there are 4 classes, as the largest is 3: class 0 has no sample",
    )
    assert data_set("a", X, CLASSES * 2).notes == (
        "there are 5 classes, as the largest is 4: classes 1, 3 have no sample",
    )
    with pytest.raises(BadInput, match="number the classes from 0 on, or make them floats"):
        data_set("a", X, 1 - CLASSES)


def test_arrays_by_other_names_two_that_may_be_meant_and_those_left_unread(tmp_path: Path):
    arrays = {"arr_0": X, "arr_1": CLASSES}
    with pytest.raises(BadInput, match="`data_arg` inputs=NAME and `data_arg` target=NAME"):
        npz(tmp_path, **arrays)
    named = {"inputs": "arr_0", "target": "arr_1"}
    assert npz(tmp_path, named, **arrays).targets.tolist() == CLASSES.tolist()
    with pytest.raises(BadInput, match="has no array 'z'; expected one of arr_0, arr_1"):
        npz(tmp_path, named | {"target": "z"}, **arrays)
    assert not npz(tmp_path, {"target": "none"}, x=X, y=CLASSES).has_targets
    with pytest.raises(BadInput, match=r"holds x and X, and each may be the inputs.*`data_arg` inputs=x"):
        npz(tmp_path, x=X, X=2 * X, y=CLASSES)
    both = npz(tmp_path, {"inputs": "X"}, x=X, X=2 * X, y=CLASSES, weights=X)
    assert torch.equal(both.inputs, torch.tensor(2 * X, dtype=torch.float32))
    assert both.notes == ("arrays that are not read: x, weights",)
    kept = npz(tmp_path, x_train=X, y_train=CLASSES, x_test=X[:2], y_test=CLASSES[:2])
    assert kept.test_targets is not None
    assert len(kept.test_targets) == 2
    with pytest.raises(BadInput, match=r"numpy.array\(y, str\)"):
        npz(tmp_path, x=X, y=np.array(["a", 1] * 3, object))


def test_shares_of_classes_have_as_many_outputs_and_the_loss_of_the_classes():
    shares, sides = data_set("a", X, ONE_HOT), data_set("a", X, (CLASSES > 0) * 1.0)
    assert (shares.num_outputs("cross_entropy"), shares.num_outputs("bce"), sides.num_outputs("bce")) == (
        3,
        3,
        1,
    )
    for data, loss in ((sides, "cross_entropy"), (data_set("a", X, 2 * ONE_HOT), "bce")):
        with pytest.raises(BadInput, match=r"has no classes; expected .*, or give the numbers of classes as"):
            data.num_outputs(loss)
    net = nn.Linear(2, 3).double()
    wanted = functional.cross_entropy(net(torch.tensor(X)), torch.tensor(CLASSES)).item()
    found = Objective(net, "cross_entropy", (torch.tensor(X), torch.tensor(ONE_HOT)))
    assert float(found.value(found.theta)) == pytest.approx(wanted, rel=1e-14)


def test_outputs_for_every_class_beside_floats_ask_for_integers():
    outputs, targets = torch.zeros(6, 3), torch.tensor(CLASSES)[:, None].double()
    with pytest.raises(BadInput, match=r"without a fraction, 0 to 2, .*`data_arg` task=classification"):
        suiting_loss(outputs, targets, None)
    assert suiting_loss(outputs, targets / 2, None)[0] == "mse"
    assert suiting_loss(outputs[:, :1], targets, None)[0] == "mse"


def test_integers_for_a_module_of_floats_and_floats_for_one_of_tokens():
    classes = torch.tensor(CLASSES)
    with pytest.raises(BadInput, match=r"\(\d, 2\).*, which are integers: .*inputs.float\(\)"):
        Objective(nn.Linear(2, 3), "cross_entropy", (torch.ones(6, 2, dtype=torch.int64), classes))
    embedding = nn.Sequential(nn.Embedding(4, 3), nn.Flatten(), nn.Linear(6, 3))
    with pytest.raises(BadInput, match=r"\(\d, 2\).*, which are no integers: .*inputs.long\(\)"):
        Objective(embedding, "cross_entropy", (torch.ones(6, 2), classes))


@pytest.mark.parametrize(
    "text", ["5,3,rose\n6,2,lily\n7,1,rose\n", "5,,3\n1,2,4\n3,4,1\n", "5,3,True\n6,2,False\n7,1,True\n"]
)
def test_a_sample_of_whole_numbers_on_the_first_line_is_not_taken_for_names(tmp_path: Path, text: str):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(BadInput, match=r"numbers where names belong.*header=false"):
        load_data(str(tmp_path / "a.csv"), {"target": text[:1]}, None)
    (tmp_path / "a.csv").write_text("country,2019,2020\nItaly,1,0\nPeru,2,1\n")
    years = load_data(str(tmp_path / "a.csv"), {"target": "2020", "drop": "country"}, None)
    assert years.inputs.tolist() == [[1], [2]]


def test_files_in_other_forms_and_files_that_are_not_there(tmp_path: Path):
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(
        BadInput, match=r"x.npy is in no form that is read; expected .csv, .tsv, .parquet, .npz"
    ):
        load_data(str(tmp_path / "x.npy"), {}, None)
    with pytest.raises(BadInput, match=r"there is no file or folder .*here.pt"):
        load_data(str(tmp_path / "here.pt"), {}, None)
    (tmp_path / "A.CSV").write_text("a,y\n1,0\n2,1\n")
    assert len(load_data(str(tmp_path / "A.CSV"), {"target": "y"}, None)) == 2
