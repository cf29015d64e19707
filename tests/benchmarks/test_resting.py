"""How long a cut along the last layer takes beside one for which every layer is called at every point."""

import contextlib
import time
from statistics import median

import pytest
import torch
from torch import nn

import landscape
from landscape import Objective
from landscape.objective.resting import Resting


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        layers = [nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True) for _ in range(2)]
        self.first, self.layers, self.last = nn.Linear(16, 32), nn.Sequential(*layers), nn.Linear(32, 10)

    def forward(self, inputs):
        return self.last(self.layers(self.first(inputs)).mean(1))


def perceptron():
    layers = [nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
    return nn.Sequential(nn.Sequential(*layers), nn.Linear(256, 10)), torch.randn(1500, 64), "1.*"


def convolutions():
    layers = [
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, 10)), torch.randn(400, 3, 16, 16), "6.*"


def attention():
    return Attention(), torch.randn(300, 12, 16), "last.*"


@pytest.mark.parametrize("make", [perceptron, convolutions, attention], ids=lambda one: one.__name__)
def test_what_rests_is_called_once(make, monkeypatch):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module, inputs, block = make()
    objective = Objective(module, "cross_entropy", (inputs, torch.randint(10, (len(inputs),))))

    def seconds():
        start = time.process_time()
        landscape.slice1d(objective, objective.theta, num_points=101, block=block)
        return time.process_time() - start

    found = []
    for _ in range(4):
        here = seconds()
        with monkeypatch.context() as patch:
            patch.setattr(Resting, "during", lambda self, thetas: contextlib.nullcontext())
            found.append(here / seconds())
    ratio = median(found[1:])
    print(f"{make.__name__}: {ratio:.2f}")
    assert ratio <= 0.8
