"""Other ways through the same analyses: losses, data, layers and products that the usual ones do without."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mutations.scenarios.ground import TRAIN, mlp, problem, rows, scenario, trained, two
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

import landscape
from landscape import Objective


class Attention(nn.Module):
    """Four tokens of four numbers, two heads."""

    def __init__(self):
        super().__init__()
        self.tokens, self.heads = nn.Linear(4, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm, self.out = nn.LayerNorm(8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.tokens(x.reshape(-1, 4, 4))
        return self.out(self.norm(h + self.heads(h, h, h, need_weights=False)[0]).mean(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.out = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cells(x.reshape(-1, 4, 4))[0][:, -1])


class Twice(nn.Module):
    """The same normalised layer for both halves of a sample."""

    def __init__(self):
        super().__init__()
        self.each = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU())
        self.out = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.cat([self.each(x[:, :8]), self.each(x[:, 8:])], 1))


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(*rows(*TRAIN), strict=True)


def weighted() -> nn.Module:
    return nn.CrossEntropyLoss(weight=torch.linspace(0.5, 2.0, 10), label_smoothing=0.1, ignore_index=3)


class Contrast(nn.Module):
    """A loss of whole batches: no mean over samples."""

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        likeness = torch.log_softmax(outputs @ outputs.T / 4, 1)
        same = (labels[:, None] == labels[None]).to(outputs)
        return -(likeness * same).sum() / same.sum()


def _hessian(objective: Objective, **options: Any) -> Any:
    usual = {"top_k": 3, "bottom_k": 1, "trace": True, "trace_error": 0.1, "seed": 1}
    return landscape.hessian(objective, objective.present_point(), **{**usual, **options})


@scenario
def hessian_weighted() -> Any:
    return _hessian(Objective(trained(mlp, 0, steps=40), weighted(), rows(*TRAIN), chunk_size=70))


@scenario
def hessian_of_batch() -> Any:
    return _hessian(Objective(trained(mlp, 0, steps=40), Contrast(), rows(*TRAIN)))


@scenario
def hessian_by_differences() -> Any:
    return _hessian(problem(trained(mlp, 0, steps=40).double())[0], product="central-difference")


@scenario
def hessian_of_stream() -> Any:
    loader = DataLoader(Stream(), batch_size=60)
    return _hessian(Objective(trained(mlp, 0, steps=40), "cross_entropy", loader), density=True)


@scenario
def hessian_attention() -> Any:
    return _hessian(problem(trained(Attention, 0, steps=40))[0], operator="gauss-newton", density=True)


@scenario
def hessian_recurrent() -> Any:
    return _hessian(problem(trained(Recurrent, 0, steps=40))[0], operator="fisher", per_layer=True)


@scenario
def train_of_stream() -> Any:
    objective = Objective(trained(mlp, 0, steps=1), "cross_entropy", DataLoader(Stream(), batch_size=60))
    return landscape.train(objective, epochs=2, lr=0.1, momentum=0.9, method="minibatch", batch_size=60)


@scenario
def train_weighted() -> Any:
    objective = Objective(trained(mlp, 0, steps=1), weighted(), rows(*TRAIN))
    return landscape.train(
        objective, epochs=2, lr=0.1, nesterov=True, momentum=0.9, schedule="polynomial", weight_decay=1e-2
    )


@scenario
def interpolate_twice() -> Any:
    objective, test, a, b = two(Twice, steps=60)
    return landscape.interpolate(objective, a, b, test=test, num_points=7, batchnorm="recalibrate")


@scenario
def slice2d_attention() -> Any:
    objective, test = problem(trained(Attention, 0, steps=40))
    return landscape.slice2d(objective, objective.present_point(), test=test, num_points=5, draws=2)


@scenario
def align_attention() -> Any:
    objective, _, a, b = two(Attention, steps=60)
    return landscape.align(objective, a, b, symmetry="all", num_points=7)


@scenario
def critical_linear() -> Any:
    inputs, labels = rows(0, 30)
    wanted = nn.functional.one_hot(labels, 10)[:, :2].double()
    module = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Linear(2, 2, bias=False)).double()
    objective = Objective(module, "mse", (inputs[:, 4:8].double(), wanted))
    return landscape.critical(objective, starts=6)


@scenario
def critical_of_index() -> Any:
    return landscape.critical(
        Objective(_valley(), "mse", _few()), starts=3, method="hisd", index=1, max_steps=60
    )


@scenario
def minima_wide() -> Any:
    """More parameters than a whole Hessian is taken of."""

    def family(width: int, depth: int, seed: int) -> Objective:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = nn.Sequential(nn.Linear(16, width), nn.Tanh(), nn.Linear(width, 1)).double()
        inputs, labels = rows(0, 24)
        return Objective(module, "mse", (inputs.double(), (labels[:, None] > 4).double()))

    return landscape.minima(family, widths=(120,), restarts=(2,), steps=200, max_steps=200, polish=True)


@scenario
def certify_descent() -> Any:
    """A run of gradient descent, whose F is bounded by the kernel."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.h5"
        options = {"model": "mlp", "model_arg": {"widths": 60}, "data": "digits", "subset": 3, "loss": "mse"}
        landscape.measure(
            None, "train", output=path, method="gd", epochs=4, lr=0.01, checkpoint_every=1, **options
        )
        return landscape.measure(path, "certify", output=Path(folder) / "certificate.h5", at="all")


def _few() -> tuple[Tensor, Tensor]:
    inputs, labels = rows(0, 12)
    return inputs[:, 4:7].double(), (labels[:, None] > 4).double()


def _valley() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1)).double()
