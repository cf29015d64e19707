"""Checkpoints of a loop of the user's own, many at once: every number against that loop's own terms."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import landscape
from landscape import BadInput, Run
from landscape.runs import store

EPOCHS = (0, 1, 2, 9, 10)
NET = """
import torch
def net(width=5):
    return torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.BatchNorm1d(width), torch.nn.Tanh(),
                               torch.nn.Linear(width, 3))
def data():
    g = torch.Generator().manual_seed(3)
    x = torch.randn(30, 2, generator=g)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
"""
GIVEN = {"model": "mine.py:net", "data": "mine.py:data", "loss": "cross_entropy"}
LINE = ["--model", "mine.py:net", "--data", "mine.py:data", "--loss", "cross_entropy"]


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))


def data() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(3))
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with the user's code and what their loop saved; the state_dict and the loss of every epoch."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(NET)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module, (x, y) = net(), data()
    optimizer, saved = torch.optim.SGD(module.parameters(), 0.5), {}
    for epoch in range(max(EPOCHS) + 1):
        if epoch in EPOCHS:
            torch.save(module.state_dict(), f"sgd_{epoch}.pt")
            module.eval()
            loss = functional.cross_entropy(module(x).double(), y).item()
            saved[epoch] = {k: v.clone() for k, v in module.state_dict().items()}, loss
            module.train()
        optimizer.zero_grad()
        functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    return saved


FILES = [f"sgd_{k}.pt" for k in sorted(EPOCHS, key=str)]


def test_a_point_for_each_file_with_the_loss_of_the_users_own_loop(own, command):
    done = command("import", *FILES, *LINE, "-o", "sgd.h5")
    assert done.code == 0, done.err
    assert "5 points, epoch=0 (sgd_0.pt) to epoch=10 (sgd_10.pt)" in " ".join(done.out.split())
    result = landscape.load("sgd.h5")
    assert result.status == "complete"
    assert result.point.tolist() == [f"epoch={k}" for k in EPOCHS] == Run("sgd.h5").labels
    assert result.epoch.tolist() == list(EPOCHS)
    np.testing.assert_allclose(result.loss, [loss for _, loss in own.values()], rtol=1e-6)
    assert result.final_loss == result.loss[-1]
    for epoch, (state, _) in own.items():
        stored = store.read_state("sgd.h5", f"epoch={epoch}")
        assert stored.keys() == state.keys() - {n for n in state if n.endswith("tracked")} | (
            stored.keys() & state.keys()
        )
        for name, values in stored.items():
            np.testing.assert_array_equal(values, state[name])


def test_what_follows_is_as_after_training(own, command):
    command("import", *FILES, *LINE, "-o", "sgd.h5")
    run = Run("sgd.h5")
    assert [run.label(name) for name in ("", "final", "init", "2", "epoch=9")] == [
        "epoch=10",
        "epoch=10",
        "epoch=0",
        "epoch=2",
        "epoch=9",
    ]
    with pytest.raises(BadInput, match="no point 'epoch=3'"):
        run.label("3")
    found = landscape.measure("sgd.h5", "slice2d", directions="pca", show_trajectory=True, num_points=3)
    np.testing.assert_allclose(found.trajectory_loss, [loss for _, loss in own.values()], rtol=1e-6)
    # The off-plane residual, by least squares on the weights as they were saved.
    theta = np.stack(
        [
            np.concatenate(
                [v.numpy().ravel() for k, v in state.items() if "running" not in k and "num_" not in k]
            )
            for state, _ in own.values()
        ]
    ).astype(float)
    away = theta - theta[-1]
    _, _, basis = np.linalg.svd(away, full_matrices=False)
    residual = np.linalg.norm(away - away @ basis[:2].T @ basis[:2], axis=1)
    np.testing.assert_allclose(found.trajectory_residual, residual, atol=1e-5 * np.abs(away).max())
    spectra = landscape.measure("sgd.h5", "hessian", at="all", top_k=1)
    assert spectra.point.tolist() == [f"sgd.h5@epoch={k}" for k in EPOCHS]
    joined = landscape.measure(["sgd.h5@2", "sgd.h5"], "interpolate", num_points=3)
    np.testing.assert_allclose(joined.loss[[0, -1]], [own[2][1], own[10][1]], rtol=1e-6)
    assert {check.name for check in joined.checks} >= {"points", "as logged"}
    assert joined.status == "complete"
    command("export", "sgd.h5@9", "-o", "nine.pt")
    again = torch.load("nine.pt", weights_only=True)
    assert all(torch.equal(again[name], one) for name, one in own[9][0].items() if "num_" not in name)


def test_points_are_added_in_a_new_file_and_the_old_one_stays(own, command):
    command("import", "sgd_0.pt", "sgd_2.pt", "sgd_10.pt", *LINE, "-o", "a.h5")
    before = Path("a.h5").read_bytes()
    done = command("import", "a.h5", "sgd_1.pt", "sgd_9.pt", "-o", "b.h5")
    assert done.code == 0, done.err
    assert Path("a.h5").read_bytes() == before
    assert Run("b.h5").labels == [f"epoch={k}" for k in EPOCHS]
    np.testing.assert_allclose(landscape.load("b.h5").loss, [loss for _, loss in own.values()], rtol=1e-6)
    # The same once more, and one more point for a run with a single one.
    assert "already there" in command("import", "a.h5", "sgd_1.pt", "sgd_9.pt", "-o", "b.h5").out
    command("import", "sgd_0.pt", *LINE, "-o", "start.h5")
    assert command("import", "start.h5", "sgd_9.pt", "-o", "two.h5").code == 0
    assert Run("two.h5").labels == ["start", "epoch=9"]
    refused = command("import", "a.h5", "sgd_2.pt", "-o", "c.h5")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "a.h5 and sgd_2.pt would both be the point 'epoch=2'" in refused.err
    assert command("import", "a.h5", "sgd_2.pt", "--label", "{name}", "-o", "c.h5").code == 0


def test_points_join_a_run_of_ours_before_its_end(command, folder):
    run = Run("a.h5")
    run.export("epoch=3", folder / "w_100.pt")
    done = command("import", "a.h5", "w_100.pt", "-o", "more.h5", "--label", "epoch=100")
    assert done.code == 0, done.err
    longer = Run("more.h5")
    assert longer.labels[0] == "init"
    assert longer.labels[-1] == "epoch=100"
    assert "final" not in longer.labels
    last = landscape.load("a.h5").epoch[-1]
    ends = [
        store.read_state(path, label) for path, label in (("a.h5", "final"), ("more.h5", f"epoch={last:.0f}"))
    ]
    assert all(np.array_equal(one, ends[1][name]) for name, one in ends[0].items())


def test_each_thing_that_is_wrong_is_one_sentence(own, command):
    torch.save(nn.Linear(2, 3).state_dict(), "sgd_3.pt")
    torch.save({k: v.double() for k, v in own[1][0].items()}, "sgd_4.pt")
    Path("sgd_5.pt").write_text("hello")
    for files, parts in (
        (("sgd_0.pt", "sgd_3.pt"), ("sgd_3.pt does not fit Sequential", "missing")),
        (("sgd_0.pt", "sgd_5.pt"), ("sgd_5.pt is a text file",)),
        (("sgd_0.pt", "sgd_77.pt"), ("sgd_77.pt does not exist",)),
        (("sgd_0.pt", "sgd_1.pt", "sgd_0.pt"), ("sgd_0.pt is given twice",)),
        (("sgd_0.pt", "sgd_1.pt", "--label", "a"), ("1 of --label for 2 files", "give --label {name}")),
        (("sgd_0.pt", "--label", "a"), ("--label for one file",)),
    ):
        done = command("import", *files, *LINE, "-o", "x.h5")
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
        assert all(part in done.err for part in parts), done.err
    assert not Path("x.h5").exists()
    result = landscape.measure(["sgd_1.pt", "sgd_4.pt"], "import", **GIVEN, output="x.h5")
    notes = " ".join(result.notes)
    assert "several dtypes (sgd_1.pt in float32, others in float64" in notes or "sgd_4.pt in float64" in notes
    assert "taken in float32" in notes
    assert "epoch=1 and epoch=4 are the same numbers" in notes


def test_a_pattern_that_no_shell_has_seen_is_followed(own):
    result = landscape.measure("sgd_*.pt", "import", **GIVEN, output="x.h5")
    assert result.epoch.tolist() == list(EPOCHS)


def test_points_saved_from_python_come_in_with_all_their_labels(own):
    torch.manual_seed(0)
    objective = landscape.Objective(net().eval(), "cross_entropy", data())
    points = [objective.point(state, f"epoch={k}") for k, (state, _) in own.items()]
    landscape.save(landscape.import_point(objective, points), Path("bare.h5"))
    found = landscape.measure("bare.h5", "import", **GIVEN, output="x.h5")
    assert found.point.tolist() == [f"epoch={k}" for k in EPOCHS]
    np.testing.assert_allclose(found.loss, [loss for _, loss in own.values()], rtol=1e-6)
    one = landscape.measure("bare.h5@epoch=2", "import", **GIVEN, output="one.h5")
    assert one.final_loss == found.loss[2]


def test_what_is_said_of_every_file_is_said_once(own):
    for epoch, (state, _) in own.items():
        torch.save({"net_g": state, "model_ema": state}, f"sgd_{epoch}.pt")
    found = landscape.measure(
        [f"sgd_{epoch}.pt" for epoch in EPOCHS], "import", key="net_g", output="s.h5", **GIVEN
    )
    assert found.loss.tolist() == pytest.approx([loss for _, loss in own.values()], rel=1e-6)
    said = [note for note in found.notes if "net_g was taken" in note]
    assert said == [
        "epoch=0 to epoch=10, 5 points: net_g was taken, the weights themselves; "
        "averages of them are there as well (model_ema)"
    ]


def test_epochs_in_the_files_show_beside_other_objects(own):
    for number, (state, _) in enumerate(own.values()):
        about = {"epoch": 5 + 2 * number, "args": argparse.Namespace(lr=0.1)}
        torch.save({"state_dict": state, **about}, f"run_{number}.pt")
    found = landscape.measure([f"run_{i}.pt" for i in range(len(own))], "import", output="r.h5", **GIVEN)
    assert found.point.tolist() == [f"epoch={5 + 2 * i}" for i in range(len(own))]
    assert found.loss.tolist() == pytest.approx([loss for _, loss in own.values()], rel=1e-6)


def test_a_key_goes_for_every_file_and_one_that_lacks_it_is_named(own):
    for epoch in (1, 2, 9):
        state = own[epoch][0]
        torch.save(
            {"student": state, "teacher": {k: v + 0.5 * (k == "3.bias") for k, v in state.items()}},
            f"{epoch}.pt",
        )
    landscape.measure(["1.pt", "2.pt"], "import", key="student", output="two.h5", **GIVEN)
    assert landscape.load("two.h5").loss == pytest.approx([own[1][1], own[2][1]], rel=1e-6)
    torch.save({"pupil": own[9][0], "teacher": own[9][0]}, "9.pt")
    with pytest.raises(BadInput, match=r"9\.pt has no weights under 'student'; expected one of pupil"):
        landscape.measure(["1.pt", "9.pt"], "import", key="student", output="no.h5", **GIVEN)
