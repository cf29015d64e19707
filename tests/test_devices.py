"""Analyses on a device of their own (``tests/pretend.py``), their numbers held against those of the CPU."""

from collections.abc import Callable
from contextlib import nullcontext

import devices
import everything
import numpy as np
import pretend
import pytest
import torch
from torch import nn

import landscape
from landscape import Objective, Result
from landscape.numerics.arrays import brought
from landscape.objective import kernels, plain
from landscape.objective.standing import Standing

DRAW = torch.Generator().manual_seed(0)
IMAGES = torch.randn(12, 1, 6, 6, generator=DRAW, dtype=torch.float64)


def convolutional() -> Objective:
    layers = (nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(32, 3))
    return Objective(everything.net(*layers), "cross_entropy", (IMAGES, torch.arange(12) % 3))


def recurrent() -> Objective:
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 3)

        def forward(self, x):
            return self.head(self.cell(x)[0][:, -1])

    x = torch.randn(8, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Objective(everything.net(Last()), "cross_entropy", (x, torch.arange(8) % 3))


def there(objective: Objective) -> torch.Tensor:
    return 0.9 * objective.theta


ALIKE: dict[str, Callable[[], Result]] = {
    "train": lambda: landscape.train(everything.plain(), batch_size=8, epochs=2, lr=0.3, momentum=0.9),
    "hessian": lambda: landscape.hessian(recurrent(), there(recurrent()), top_k=1),
    "slice1d": lambda: landscape.slice1d(convolutional(), there(convolutional()), num_points=11),
    "interpolate": lambda: landscape.interpolate(
        everything.normed(),
        everything.normed().theta,
        1.1 * everything.normed().theta,
        num_points=5,
        batchnorm="repair",
    ),
    "certify": lambda: landscape.certify(everything.plain(), everything.plain().theta),
    "critical": lambda: landscape.critical(
        everything.plain(), everything.plain().theta, starts=3, max_steps=4
    ),
    "noise": lambda: landscape.noise(
        everything.plain(), everything.plain().theta, step_sizes=[0.1], batch_sizes=[4], num_steps=12
    ),
    "escape": lambda: landscape.escape(
        everything.plain(), everything.plain().theta, num_seeds=2, max_steps=5
    ),
    "efficiency": lambda: landscape.efficiency(
        everything.plain(), [everything.plain().theta], sizes=[8], methods=["gd"], step_sizes=[0.1]
    ),
}
SLOW = {"escape"}


@pytest.mark.cpu("holds a device against it")
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in ALIKE],
)
@pytest.mark.filterwarnings("ignore")
def test_a_device_gives_the_numbers_of_the_cpu(name):
    here = everything.numbers(ALIKE[name]())
    with devices.computing_on("pretend"):
        result = ALIKE[name]()
    assert [check.name for check in result.checks if not check.passed] == []
    found = everything.numbers(result)
    assert found.keys() == here.keys()
    for key, value in here.items():
        if "seconds" not in key:
            np.testing.assert_allclose(found[key], value, rtol=1e-9, atol=1e-12, err_msg=key)


@pytest.mark.cpu("its device is a pretended one")
def test_a_mixture_of_devices_is_refused():
    with pretend.device() as device:
        x = torch.ones(3, 3).to(device)
        assert x.device == device
        assert float((2 * x).sum()) == 18
        for mixture in (
            lambda: x + torch.ones(3, 3),
            lambda: x @ torch.ones(3),
            lambda: torch.ones(3)[x[0] > 0],
        ):
            with pytest.raises(RuntimeError, match="device"):
                mixture()
        with pytest.raises(TypeError):
            x.numpy()
        assert x[torch.tensor([0, 2])].shape == (2, 3)
        assert float((x + torch.tensor(2.0))[0, 0]) == 3


def test_numbers_are_written_where_the_objective_computes(monkeypatch):
    """As for a module on the CPU whose objective computes elsewhere."""
    objective, written = everything.normed(), {}
    tensors = plain.by_name(objective, objective.present_point())
    monkeypatch.setattr(Standing, "written", lambda _, given, **options: nullcontext(written.update(given)))
    objective.device = torch.device("meta")
    with objective.written(tensors):
        assert {name for name, tensor in written.items() if tensor.is_meta} == tensors.keys()


def test_float32_is_not_tf32():
    cudnn, before = torch.backends.cudnn, torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    seen = cudnn.allow_tf32, cudnn.deterministic, cudnn.enabled
    try:
        with kernels.exact(), kernels.exact():
            assert (cudnn.allow_tf32, cudnn.deterministic, cudnn.enabled) == (False, True, seen[2])
            assert torch.get_float32_matmul_precision() == "highest"
            with kernels.without_cudnn():
                assert (cudnn.allow_tf32, cudnn.deterministic, cudnn.enabled) == (False, True, False)
        assert torch.get_float32_matmul_precision() == "high"
        assert (cudnn.allow_tf32, cudnn.deterministic, cudnn.enabled) == seen
        with kernels.exact("cpu"):
            assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


def test_analyses_compute_in_exact_kernels(monkeypatch):
    seen = []
    value = Objective.value_and_gradient
    monkeypatch.setattr(
        Objective,
        "value_and_gradient",
        lambda *given: (seen.append(torch.backends.cudnn.allow_tf32), value(*given))[1],
    )
    objective = everything.plain()
    landscape.import_point(objective, objective.present_point())
    assert seen
    assert not any(seen)


def test_what_is_there_is_not_brought():
    x = torch.ones(2)
    assert brought(x, torch.device("cpu")) is x
