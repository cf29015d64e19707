"""Training runs: plain, with batch norm, a penalty, chunks, stopped and taken up, and as a file gives them back."""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from mutations.scenarios.ground import TRAIN, mlp, normed, problem, rows, scenario, trained
from torch import nn

import landscape
from landscape import Objective
from landscape.inputs.models.modified import modified
from landscape.objective.penalised import penalised


def _train(module: nn.Module | None = None, data: dict[str, Any] | None = None, **options: Any) -> Any:
    objective, test = problem(module or trained(mlp, 0, steps=2), **(data or {}))
    usual = {"epochs": 4, "batch_size": 32, "lr": 0.2, "momentum": 0.9, "seed": 3, "test": test}
    return landscape.train(objective, **{**usual, **options})


@scenario
def train() -> Any:
    return _train(schedule="exponential", schedule_arguments={"every": 3}, checkpoint_every=1)


@scenario
def train_bn() -> Any:
    return _train(trained(normed, 0, steps=2))


@scenario
def train_l2() -> Any:
    return _train(data={"l2": 0.01})


@scenario
def train_chunk() -> Any:
    return _train(data={"chunk_size": 50})


@scenario
def train_adam() -> Any:
    return _train(optimizer="adam", lr=0.01, momentum=0.0)


@scenario
def train_plain() -> Any:
    return _train(method="gd", epochs=None, steps=20, momentum=0.0, schedule="polynomial", lr=0.5)


@scenario
def train_uniform() -> Any:
    return _train(sampling="uniform", nesterov=True)


@scenario
def train_resumed() -> Any:
    """Stopped after seven steps, with its state kept at each, and gone on."""
    journal: dict[str, Any] = {}
    with patch("landscape.progress.SAVE_SECONDS", -1.0):
        with suppress(KeyboardInterrupt):
            _train(journal=journal, progress=_stopping(7))
        return _train(journal=journal)


@scenario
def train_saved() -> Any:
    """As it comes back from its file."""
    result = _train(data={"dtype": torch.float64})
    with tempfile.TemporaryDirectory() as folder:
        result.save(Path(folder) / "run.h5")
        return landscape.load(Path(folder) / "run.h5")


def _stopping(number: int) -> Callable[[int, int, str], None]:
    def progress(done: int, total: int, what: str) -> None:
        if done == number:
            raise KeyboardInterrupt

    return progress


@scenario
def imported() -> Any:
    objective, test = problem(trained(mlp, 0))
    return landscape.import_point(objective, objective.present_point(), test=test)


@scenario
def begun() -> Any:
    """From a file: where the point is another's, or not where its run says."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.h5"
        landscape.measure(None, "train", output=path, model="mlp", data="digits", epochs=1, subset=100)
        return landscape.measure(path, "slice1d", output=Path(folder) / "line.h5", num_points=5)


@scenario
def train_modified() -> Any:
    """An exponential neuron beside a net, its price in the loss."""
    inputs, labels = rows(*TRAIN)
    net = nn.Sequential(nn.Linear(inputs.shape[1], 4), nn.Tanh(), nn.Linear(4, 1)).double()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter in net.parameters():
            nn.init.normal_(parameter, std=0.1)
        shapes = {"input_shape": inputs.shape[1:], "num_outputs": 1}
        module = modified("exponential", {"regulariser": 0.1}, 0, net, **shapes).double()
    objective = Objective(module, penalised("bce"), (inputs.double(), (labels > 4).double()[:, None]))
    return landscape.train(objective, epochs=3, batch_size=32, lr=0.01, seed=3)
