"""F of a module in training mode with its buffers frozen, for one that gives its losses in no other mode."""

import copy
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import landscape
from landscape import BadInput, Objective
from landscape.objective.checks import fingerprint

N = 18


class Detector(nn.Module):
    """Losses by name in training, boxes in eval, as detection models do; a batch norm and a counter that calls move."""

    def __init__(self, rate: float = 0.0, *, norm: bool = False):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(8)
            self.body, self.head = nn.Linear(3, 5), nn.Linear(5, 2)
        self.norm = nn.BatchNorm1d(5) if norm else nn.Identity()
        self.drop = nn.Dropout(rate)
        self.register_buffer("calls", torch.zeros(()))
        self.double()

    def forward(self, x, boxes):
        found = self.head(self.drop(self.norm(self.body(x)).tanh())) * (1 + self.calls)
        if not self.training:
            return [{"boxes": one} for one in found]
        self.calls += 1
        return {"near": (found - boxes).square().mean(), "small": found.abs().mean()}


def summed(losses, targets):
    return sum(losses.values())


def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, 3, generator=generator, dtype=torch.float64)
    return (x, torch.randn(N, 2, generator=generator, dtype=torch.float64)), torch.zeros(N)


def plain(module, theta):
    """F, ∇F and H by a plain call of a copy in training mode."""
    other = copy.deepcopy(module).train()
    torch.nn.utils.vector_to_parameters(theta.clone(), other.parameters())
    weights = list(other.parameters())
    value = summed(other(*data()[0]), None)
    slopes = torch.autograd.grad(value, weights, create_graph=True)
    slope = torch.cat([one.flatten() for one in slopes])
    rows = [
        torch.cat(
            [
                one.flatten()
                for one in torch.autograd.grad(
                    entry, weights, retain_graph=True, allow_unused=True, materialize_grads=True
                )
            ]
        )
        for entry in slope
    ]
    return value.item(), slope.detach(), torch.stack(rows)


def test_eval_mode_that_gives_no_loss_is_named_and_training_offered():
    with pytest.raises(BadInput, match=r"in eval mode .*in training mode it is taken.*`training`"):
        Objective(Detector(), summed, data())


def test_what_fits_in_neither_mode_is_told_as_it_is():
    with pytest.raises(BadInput) as refused:
        Objective(Detector(), lambda o, t: o["far"], data())
    assert "in training mode it is taken" not in str(refused.value)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("chunk_size", [1, 7, None])
def test_it_is_that_of_a_plain_call_in_training_mode(norm, chunk_size):
    module = Detector(norm=norm).eval()
    before = fingerprint(module)
    objective = Objective(module, summed, data(), training=True, chunk_size=chunk_size)
    for theta in (objective.theta, objective.theta * 1.5):
        value, slope, matrix = plain(module, theta)
        for _ in range(2):
            assert objective.value(theta) == pytest.approx(value, rel=1e-12)
        torch.testing.assert_close(objective.gradient(theta), slope, rtol=1e-9, atol=1e-12)
        v = torch.linspace(-1, 1, len(theta), dtype=torch.float64)
        torch.testing.assert_close(objective.hvp(theta, v), matrix @ v, rtol=1e-8, atol=1e-10)
    assert any("training mode, its buffers frozen" in note for note in objective.notes)
    found = landscape.hessian(objective, objective.theta, top_k=1)
    assert [one.name for one in found.checks if not one.passed] == []
    values = torch.linalg.eigvalsh(plain(module, objective.theta)[2])
    assert found.eigenvalues[0] == pytest.approx(float(values[-1]), rel=1e-6)
    assert fingerprint(module) == before
    assert objective.varied(l2=0.1).training
    assert objective.on(data()).training
    assert objective.module_at(objective.theta).training


def test_in_training_mode_batch_norm_takes_the_statistics_of_the_batch():
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)).double()
    module[1].running_mean += 3
    (x, y), _ = data()
    frozen = Objective(module, "mse", (x, y))
    batch = Objective(module, "mse", (x, y), training=True)
    wanted = functional.mse_loss(copy.deepcopy(module).train()(x), y).item()
    assert batch.value(batch.theta) == pytest.approx(wanted, rel=1e-12)
    assert abs(frozen.value(frozen.theta) - wanted) > 1e-3
    assert batch.is_whole


@pytest.mark.parametrize("rate", [0.5, 0.01])
def test_dropout_is_refused_in_training_mode(rate):
    with pytest.raises(BadInput, match=r"draws random numbers in training mode.*dropout to 0"):
        Objective(Detector(rate), summed, data(), training=True)


PAIRS = """
import torch
from test_training_mode import Detector, data, summed

class Paired(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.detector = Detector()

    def forward(self, both):
        return self.detector(both[:, :3], both[:, 3:])

def net(num_outputs=2):
    return Paired()

def pairs():
    (x, boxes), targets = data()
    return torch.cat([x, boxes], 1), targets[:, None]

def loss(losses, targets):
    return summed(losses, targets)
"""


def test_another_randomness_than_torchs_is_refused_by_two_calls():
    module, drawn = Detector(), random.Random(0)
    module.drop.forward = lambda h: h * drawn.random()
    with pytest.raises(BadInput, match="different outputs for the same inputs in training mode"):
        Objective(module, summed, data(), training=True)


def test_the_command_line_records_it_and_later_commands_follow_the_run(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    (tmp_path / "mine.py").write_text(PAIRS)
    module = Detector()
    torch.save({f"detector.{name}": tensor for name, tensor in module.state_dict().items()}, "w.pt")
    given = [
        "w.pt",
        "--model",
        "mine.py:net",
        "--data",
        "mine.py:pairs",
        "--loss",
        "mine.py:loss",
        "-o",
        "a.h5",
    ]
    refused = command("import", *given, "--dtype", "float64")
    assert refused.code == 2
    assert "--training" in refused.err
    assert command("import", *given, "--dtype", "float64", "--training").code == 0
    run = landscape.Run("a.h5")
    assert run.training
    assert run.config["training"] is True
    assert command("slice1d", "a.h5", "--num-points", 3).code == 0
    row = landscape.load("a.slice1d.h5")
    theta = torch.nn.utils.parameters_to_vector(module.parameters()).detach()
    assert row.loss[1] == pytest.approx(plain(module, theta)[0], rel=1e-12)
    assert np.isfinite(row.loss).all()
