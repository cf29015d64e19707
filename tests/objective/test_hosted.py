"""What a loss raises on the CPU is raised before a GPU sees it; what holds tensors of the GPU is called there alone."""

import pytest
import torch
from torch.nn import functional as F

from landscape.objective.hosted import on_host_first

GPU = torch.device("cuda")


def test_an_index_out_of_range_is_raised_by_the_first_of_two_calls():
    calls = []

    def loss(outputs, targets):
        calls.append(outputs.device)
        return F.cross_entropy(outputs, targets)

    with pytest.raises(IndexError, match="out of bounds"):
        on_host_first(loss, GPU)(torch.zeros(2, 3), torch.tensor([0, 5]))
    assert len(calls) == 1
    assert on_host_first(loss, GPU)(torch.zeros(2, 3), torch.tensor([0, 2])) == pytest.approx(
        1.0986, abs=1e-4
    )
    assert len(calls) == 3


def test_a_loss_that_stays_on_its_device_is_called_there():
    calls = []

    def loss(outputs, targets):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("Expected all tensors to be on the same device")
        return outputs.sum()

    assert on_host_first(loss, GPU)(torch.ones(3), torch.ones(3)) == 3
    assert len(calls) == 2


def test_on_the_cpu_there_is_one_call():
    assert on_host_first(F.mse_loss, torch.device("cpu")) is F.mse_loss
