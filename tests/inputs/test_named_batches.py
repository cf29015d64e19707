"""Batches whose parts have names: the target is the one that is called so, wherever it stands."""

import dataclasses
from collections import namedtuple

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import landscape

GENERATOR = torch.Generator().manual_seed(0)
# Either could be the target: whichever is taken for it, module and loss stand it.
A, B = (torch.randn(20, 3, generator=GENERATOR) for _ in range(2))
First, Last, Unnamed = (
    namedtuple("Sample", names) for names in (("label", "image"), ("image", "label"), ("one", "other"))
)


@dataclasses.dataclass
class Batch:
    label: torch.Tensor
    image: torch.Tensor


class Of(Dataset):
    def __init__(self, make):
        self.make = make

    def __len__(self):
        return len(A)

    def __getitem__(self, index):
        return self.make(A[index], B[index])


def collated(samples):
    one, other = (torch.stack(column) for column in zip(*samples, strict=True))
    return Batch(one, other)


@pytest.mark.parametrize(
    ("data", "inputs", "targets"),
    [
        (Of(First), B, A),
        (DataLoader(Of(First), 7), B, A),
        (DataLoader(Of(Last), 7), A, B),
        (DataLoader(Of(Unnamed), 7), A, B),
        (DataLoader(Of(lambda one, other: (one, other)), 7, collate_fn=collated), B, A),
    ],
    ids=["data set", "first", "last", "unnamed", "dataclass"],
)
def test_the_target_is_the_part_of_that_name(data, inputs, targets):
    torch.manual_seed(1)
    module = nn.Linear(3, 3)
    objective = landscape.Objective(module, "mse", data)
    with torch.no_grad():
        own = float(functional.mse_loss(module(inputs), targets))
    assert objective.value(objective.theta) == pytest.approx(own, rel=1e-6)
