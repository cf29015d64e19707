"""Losses of the module alone from a file, losses chosen by what the module gives, and the line that says so."""

import json

import pytest
import torch

import landscape

CODE = """
import landscape
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
x = torch.rand(6, 1)
def net(width=3): return nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1))
def two(): return nn.Linear(1, 2)
def residual(module):
    t = x.to(next(module.parameters()).dtype).requires_grad_()
    slope, = torch.autograd.grad(module(t).sum(), t, create_graph=True)
    return (slope - 1).square().mean() + module(t[:1]).square().sum()
def either(outputs, targets=None):
    return outputs(x).square().mean() if targets is None else (outputs - targets).square().mean()
def mse(outputs, targets): return (outputs - targets).square().mean()
def three(a, b, c): return 0
def data(): return torch.ones(4, 1), torch.zeros(4, 1)
def sides(): return torch.linspace(-1, 1, 6)[:, None], torch.tensor([0, 0, 0, 1, 1, 1])
def read(targets): return landscape.Stream(DataLoader(TensorDataset(sides()[0], targets), 2))
def side_stream(): return read(sides()[1])
def flag_stream(): return read(torch.tensor([0.0, 0, 1, 1, 0, 1]))
def numbers(): return torch.arange(300) % 2 * torch.arange(300).clamp(290).sub(289.0)
def number_stream(): return landscape.Stream(DataLoader(TensorDataset(torch.ones(300, 1), numbers()), 50))
def flags(): return torch.linspace(-1, 1, 4)[:, None], torch.tensor([0.0, 0, 1, 1])
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "own.py").write_text(CODE)
    return tmp_path


def own():
    names = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        exec(CODE, names)
    return names


def train(**given):
    return landscape.measure(None, "train", model="own.py:net", steps=2, output="a.h5", **given)


def test_a_loss_of_the_module_alone_needs_no_data_and_opens_again(place):
    result = train(loss="own.py:residual")
    names, net = own(), landscape.Run("a.h5").module()
    assert result.final_loss == pytest.approx(names["residual"](net).item(), rel=1e-5)
    assert result.provenance["assumed"] == (
        "loss residual of the module alone: it can be called with one argument; float32, the default; F in eval mode"
    )
    assert landscape.load("a.h5").provenance["assumed"] == result.provenance["assumed"]
    line = landscape.measure(["a.h5@init", "a.h5"], "interpolate", num_points=3)
    assert line.status == "complete"
    assert line.loss[2] == pytest.approx(result.final_loss, rel=1e-6)
    torch.save(net.state_dict(), "w.pt")
    came = landscape.measure("w.pt", "import", model="own.py:net", loss="own.py:residual", output="b.h5")
    assert came.final_loss == pytest.approx(result.final_loss, rel=1e-6)
    with pytest.raises(
        landscape.BadInput, match=r"noise of the loss residual.*it needs gradients of batches"
    ):
        landscape.measure("a.h5", "noise", step_sizes=(0.1,), batch_sizes=(2,), num_steps=4, output="n.h5")
    with pytest.raises(landscape.BadInput, match="a subset for the loss"):
        landscape.measure("a.h5", "slice1d", subset=2, output="s.h5")


def test_what_a_loss_of_the_users_takes_decides_whether_there_are_data(place):
    with pytest.raises(landscape.BadInput, match=r"`data` own.py:data beside the loss own.py:residual"):
        train(loss="own.py:residual", data="own.py:data")
    with pytest.raises(landscape.BadInput, match="takes neither one argument nor two"):
        train(loss="own.py:three")
    torch.save(own()["net"]().state_dict(), "w.pt")
    with pytest.raises(landscape.BadInput, match="no `data`"):
        landscape.measure("w.pt", "import", model="own.py:net", loss="own.py:mse", output="b.h5")
    assert "4 samples" in train(loss="own.py:either", data="own.py:data").provenance["assumed"]
    again = train(loss="own.py:either", overwrite=True)
    assert "module alone" in again.provenance["assumed"]
    assert json.loads(json.dumps(again.config))["recipe"]["data"] == ""


def test_the_loss_is_chosen_by_what_the_module_gives_and_named(place):
    result = landscape.measure(None, "train", model="own.py:two", data="own.py:sides", steps=1, output="a.h5")
    x, y = own()["sides"]()
    with torch.no_grad():
        wanted = torch.nn.functional.cross_entropy(landscape.Run("a.h5").module()(x), y)
    assert result.final_loss == pytest.approx(wanted.item(), rel=1e-5)
    assert result.provenance["assumed"] == (
        "loss cross_entropy, for 2 outputs and 2 classes; the mean over 6 samples along axis 0; "
        "float32, the default; F in eval mode"
    )
    one = landscape.measure(None, "train", model="own.py:net", data="own.py:sides", steps=1, output="b.h5")
    assert "loss bce, for 1 output and 2 classes" in one.provenance["assumed"]
    with pytest.raises(landscape.BadInput, match="bce or mse"):
        landscape.measure(None, "train", model="own.py:net", data="own.py:flags", steps=1, output="c.h5")
    given = landscape.measure(
        None,
        "train",
        model="own.py:net",
        data="own.py:flags",
        loss="mse",
        dtype="float64",
        steps=1,
        output="c.h5",
    )
    assert given.provenance["assumed"] == "the mean over 4 samples along axis 0; F in eval mode"


def test_of_a_stream_the_loss_is_chosen_as_it_is_of_data_in_memory(place):
    names = own()
    torch.save(names["two"]().state_dict(), "two.pt")
    torch.save(names["net"]().state_dict(), "one.pt")

    def imported(data, model="net"):
        weights = {"two": "two.pt", "net": "one.pt"}[model]
        how = {"model": f"own.py:{model}", "data": f"own.py:{data}", "output": f"{model}-{data}.h5"}
        return landscape.measure(weights, "import", **how)

    x, y = names["sides"]()
    result = imported("side_stream", "two")
    two = landscape.Run("two-side_stream.h5").module()
    assert "loss cross_entropy, for 2 outputs and 2 classes" in result.provenance["assumed"]
    assert result.final_loss == pytest.approx(torch.nn.functional.cross_entropy(two(x), y).item(), rel=1e-5)
    for weights, data in (("two", "flag_stream"), ("net", "flag_stream")):
        with pytest.raises(
            landscape.BadInput, match="integers where they are" if weights == "two" else "bce or mse"
        ):
            imported(data, weights)
    # The first samples are 0 and 1 alone, the last reach further.
    result = imported("number_stream")
    one = landscape.Run("net-number_stream.h5").module()
    wanted = (one(torch.ones(300, 1))[:, 0] - names["numbers"]()).square().mean().item()
    assert result.final_loss == pytest.approx(wanted, rel=1e-5)
    assert "loss mse, for the targets are real numbers" in result.provenance["assumed"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_dtype_of_a_checkpoint_is_not_said_to_be_that_of_f_where_it_is_another(place, dtype):
    name = str(dtype).removeprefix("torch.")
    torch.save(own()["net"]().to(dtype).state_dict(), "w.pt")
    about = {"model": "own.py:net", "data": "own.py:data", "loss": "mse"}
    result = landscape.measure("w.pt", "import", output="a.h5", **about)
    of_f = f"the default, where the checkpoint is in {name}" if name != "float32" else "as in the checkpoint"
    assert f"float32, {of_f};" in result.provenance["assumed"]
    assert any("rounded to float32" in note for note in result.notes) == (dtype is torch.float64)
    asked = landscape.measure("w.pt", "import", output="b.h5", dtype="float32", **about)
    assert not any("rounded to float32" in note for note in asked.notes)
