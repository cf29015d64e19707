"""Which checkpoint is which point: orders and labels from names and from contents, against lists written by hand."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from landscape.errors import BadInput
from landscape.inputs.counters import counters
from landscape.inputs.series import natural, series


def labelled(names, wanted=(), held=None):
    """Names with their labels, in order, and the notes as one text."""
    found = series([Path(name) for name in names], wanted, lambda path: (held or {}).get(str(path), {}))
    return list(zip(map(str, found.files), found.labels, strict=True)), " ".join(found.notes)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ("sgd_1.pt sgd_10.pt sgd_2.pt", "epoch=1 epoch=2 epoch=10"),
        ("a/epoch_0009.pth.tar a/epoch_0010.pth.tar", "epoch=9 epoch=10"),
        ("net-ep3-acc0.91.pt net-ep2-acc0.93.pt", "epoch=2 epoch=3"),
        ("epoch=1-step=20.ckpt epoch=0-step=10.ckpt", "epoch=0 epoch=1"),
        ("epoch=0-step=20.ckpt epoch=0-step=10.ckpt", "step=10 step=20"),
        ("resnet18_iter500.pt resnet18_iter1500.pt", "step=500 step=1500"),
        ("init.pt w_5.pt w_10.pt final.pt", "init epoch=5 epoch=10 final"),
        ("w_final.pt w_0.pt w_1.pt", "epoch=0 epoch=1 final"),
        ("checkpoint-20/model.pt checkpoint-3/model.pt", "step=3 step=20"),
        ("checkpoint-20.pt checkpoint-3.pt", "epoch=3 epoch=20"),
        ("warm.pt best.pt", "warm best"),
        ("sgd_2.pt adam_10.pt sgd_10.pt", "adam_10 sgd_2 sgd_10"),
    ],
)
def test_orders_and_labels_follow_from_names(names, labels):
    assert [label for _, label in labelled(names.split())[0]] == labels.split()


def test_folders_of_a_trainer_are_numbered_by_steps(tmp_path):
    folders = [tmp_path / f"checkpoint-{k}" for k in (500, 1000)]
    for folder in folders:
        folder.mkdir()
        (folder / "model.safetensors").touch()
    for files in (folders, [folder / "model.safetensors" for folder in folders]):
        found = series(files, (), lambda path: {})
        assert found.labels == ["step=500", "step=1000"]
        assert "step" in found.notes[0]
    epochs = dict(zip(folders, (1, 2), strict=True))
    said = series(folders, ["epoch={epoch}"], lambda path: {"epoch": epochs[path]})
    assert said.labels == ["epoch=1", "epoch=2"]


def test_a_name_that_no_address_can_hold_is_written_otherwise():
    assert [label for _, label in labelled(["my net.pt", "other@home.pt"])[0]] == ["my-net", "other-home"]


def test_natural_order_counts():
    assert sorted(["a10", "a9b", "a9", "B1"], key=natural) == ["a9", "a9b", "a10", "B1"]


def test_files_say_their_epochs_where_names_do_not():
    names = ["a.pt", "b.pt", "c.pt"]
    found, note = labelled(names, held={name: {"epoch": 9 - k} for k, name in enumerate(names)})
    assert found == [("c.pt", "epoch=7"), ("b.pt", "epoch=8"), ("a.pt", "epoch=9")]
    assert "its file holds" in note
    assert "not that of the names" in note


def test_names_and_files_that_disagree_are_said():
    names = ["w_1.pt", "w_2.pt", "w_3.pt"]
    # Counted from 0 there, from 1 here: the names are what the user sees.
    found, note = labelled(names, held={name: {"epoch": k} for k, name in enumerate(names)})
    assert [label for _, label in found] == ["epoch=1", "epoch=2", "epoch=3"]
    assert "hold 0, 1, 2 instead of 1, 2, 3" in note
    # Steps, as the files know.
    names = ["w_100.pt", "w_200.pt"]
    held = {name: {"epoch": k, "step": 100 * k + 100} for k, name in enumerate(names)}
    assert [label for _, label in labelled(names, held=held)[0]] == ["step=100", "step=200"]
    # Numbers of something else.
    held = {name: {"epoch": 3 * k} for k, name in enumerate(names)}
    found, note = labelled(names, held=held)
    assert [label for _, label in found] == ["epoch=0", "epoch=3"]
    assert "not the number in its name, 100, 200" in note


def test_labels_by_hand_go_to_files_in_natural_order():
    names = ["w_10.pt", "w_9.pt"]
    assert labelled(names, ("warm", "cold"))[0] == [("w_9.pt", "warm"), ("w_10.pt", "cold")]
    # Who typed them in another order is told of every pair, where the ends alone were named.
    assert "not in that given: warm is w_9.pt, cold is w_10.pt" in labelled(names, ("warm", "cold"))[1]
    assert not labelled(names[::-1], ("warm", "cold"))[1]
    assert labelled(names, ("{name}",))[0] == [("w_9.pt", "w_9"), ("w_10.pt", "w_10")]
    assert labelled(names, ("s{number}-{index}",))[0] == [("w_9.pt", "s9-0"), ("w_10.pt", "s10-1")]
    assert labelled(names, ("step={number}",))[0] == [("w_9.pt", "step=9"), ("w_10.pt", "step=10")]
    found, note = labelled(names, ("20", "10"))
    assert found == [("w_10.pt", "epoch=10"), ("w_9.pt", "epoch=20")]
    assert "order of their numbers" in note


@pytest.mark.parametrize(
    ("names", "wanted", "parts"),
    [
        ("a.pt b.pt a.pt", (), "a.pt is given twice"),
        ("a.pt ./a.pt", (), "given twice"),
        ("w_1.pt w_2.pt w_best.pt", (), "w_best.pt has no number in its name"),
        ("w_1.pt w_2.pt", ("a",), "1 of `label` for 2 files"),
        ("w_1.pt w_2.pt", ("a", "a"), "w_1.pt and w_2.pt would both be the point 'a'"),
        ("w_1.pt w_2.pt", ("{nam}",), "fields among {name}"),
        ("w_1.pt w_2.pt", ("{",), "fields among {name}"),
        ("w_1.pt w_2.pt", ("{0.__class__}",), "fields among {name}"),
        ("w.pt v.pt", ("{epoch}",), "says its epoch"),
        ("w_1.pt w_2.pt", ("a/b", "c"), "'a/b' for w_1.pt"),
        ("w_1.pt w_2.pt", ("all", "c"), "not 'all'"),
    ],
)
def test_what_cannot_be_is_one_sentence(names, wanted, parts):
    with pytest.raises(BadInput) as raised:
        labelled(names.split(), wanted)
    assert parts in str(raised.value)


def test_the_way_out_that_is_named_leads_out():
    names = ["w_1.pt", "w_2.pt", "w_best.pt"]
    assert [label for _, label in labelled(names, ("{name}",))[0]] == ["w_1", "w_2", "w_best"]
    assert [label for _, label in labelled(["w_1.pt", "w_2.pt"], ("{name}",))[0]] == ["w_1", "w_2"]


def test_epochs_and_steps_are_read_from_what_scripts_save(tmp_path):
    weights = {"w": torch.ones(2)}
    torch.save({"state_dict": weights, "epoch": 3, "global_step": 120}, tmp_path / "a.ckpt")
    torch.save({"model": weights, "epoch": torch.tensor(4), "lr": 0.1}, tmp_path / "b.pt")
    torch.save({"model": weights, "epoch": True, "iteration": 7.5}, tmp_path / "c.pt")
    torch.save(weights, tmp_path / "d.pt", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 6, **weights}, tmp_path / "e.pt", _use_new_zipfile_serialization=False)
    save_file(weights, tmp_path / "f.safetensors", {"epoch": "8"})
    (tmp_path / "g.pt").write_text("hello")
    folder = tmp_path / "checkpoint-500"
    folder.mkdir()
    (folder / "trainer_state.json").write_text(json.dumps({"epoch": 1.25, "global_step": 500}))
    save_file(weights, folder / "model.safetensors")
    found = {path.name: counters(path) for path in [*tmp_path.iterdir(), folder / "model.safetensors"]}
    assert found == {
        "a.ckpt": {"epoch": 3, "step": 120},
        "b.pt": {"epoch": 4},
        "c.pt": {},
        "d.pt": {},
        "e.pt": {"epoch": 6},
        "f.safetensors": {"epoch": 8},
        "g.pt": {},
        "checkpoint-500": {"step": 500},
        "model.safetensors": {"step": 500},
    }
