"""A list of samples is a data set; what could be one of batches, or is a dictionary of loaders, is told what to do."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from landscape import Objective, Stream
from landscape.errors import BadInput
from landscape.inputs.data.own import from_factory

N, CLASSES = 9, 3
GENERATOR = torch.Generator().manual_seed(7)
X = torch.randn(N, 2, generator=GENERATOR, dtype=torch.float64)
Z = torch.randn(N, 4, generator=GENERATOR, dtype=torch.float64)
Y = torch.randn(N, 1, generator=GENERATOR, dtype=torch.float64)
LABELS = torch.arange(N) % CLASSES
LOADER = DataLoader(TensorDataset(X, LABELS), 4)


class Pair(nn.Module):
    """Of two inputs."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 3), nn.Linear(4, 3)
        self.double()

    def forward(self, x, z):
        return (self.first(x) * self.second(z)).sum(1, keepdim=True)


LISTED = [
    [(one, target) for one, target in zip(X, LABELS, strict=True)],
    [(one.tolist(), int(target)) for one, target in zip(X, LABELS, strict=True)],
    [{"x": one, "label": target.numpy()} for one, target in zip(X, LABELS, strict=True)],
]


@pytest.mark.parametrize("samples", LISTED)
@pytest.mark.parametrize("count", [2, len(X)])
def test_a_list_of_samples_is_a_data_set(samples, count):
    torch.manual_seed(0)
    module = nn.Linear(X.shape[1], CLASSES).double()
    objective = Objective(module, "cross_entropy", samples[:count])
    expected = functional.cross_entropy(module(X[:count]), LABELS[:count])
    assert objective.num_samples == count
    assert objective.value(objective.theta) == pytest.approx(float(expected.detach()), rel=1e-12)


def test_a_list_of_samples_with_several_inputs_and_its_test_set():
    module = Pair()
    samples = [(one, other, target) for one, other, target in zip(X, Z, Y, strict=True)]
    objective = Objective(module, "mse", samples)
    expected = float(functional.mse_loss(module(X, Z), Y).detach())
    assert objective.value(objective.theta) == pytest.approx(expected, rel=1e-12)
    made = from_factory("f", lambda: (LISTED[0][:5], LISTED[0][5:]), {})
    assert torch.equal(made.inputs, X[:5].to(made.inputs.dtype))
    assert torch.equal(made.test_targets, LABELS[5:])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([(X[:4], LABELS[:4]), (X[4:8], LABELS[4:8])], r"of batches give landscape\.Stream\(data\)"),
        ([(X[:4], X[:4]), (X[4:8], X[4:8]), (X[:4], X[:4])], r"of batches give landscape\.Stream\(data\)"),
        ({"a": LOADER, "b": TensorDataset(X)}, r"data\['a'\], and objective.on\(data\['b'\]\) for"),
        ({"a": (X, LABELS)}, r"give one of them, data\['a'\]"),
        ({"x": X, "y": LABELS}, r"give \(inputs, targets\): inputs may be a dictionary"),
        ([LOADER, LOADER], r"data\[0\], and objective.on\(data\[1\]\) for the other"),
        (((X[0], LABELS[0]), (X[1], LABELS[1]), (X[2], LABELS[2])), "stack the samples"),
        ([], "a list of samples"),
        (((x, y) for x, y in zip(X, Y, strict=True)), "a list of samples"),
    ],
)
def test_what_is_no_list_of_samples_is_refused_with_a_remedy(data, words):
    with pytest.raises(BadInput, match=words):
        Objective(nn.Linear(X.shape[1], CLASSES).double(), "cross_entropy", data)


def test_the_remedy_for_a_list_of_batches_works():
    torch.manual_seed(0)
    module = nn.Linear(X.shape[1], CLASSES).double()
    objective = Objective(module, "cross_entropy", Stream([(X[:4], LABELS[:4]), (X[4:8], LABELS[4:8])]))
    expected = functional.cross_entropy(module(X[:8]), LABELS[:8])
    assert objective.value(objective.theta) == pytest.approx(float(expected.detach()), rel=1e-12)


def test_a_factory_that_returns_a_dictionary_of_loaders_is_told_how():
    with pytest.raises(
        BadInput, match=r"a dictionary of train, test; .* return the training and the test data as a"
    ):
        from_factory("f", lambda: {"train": LOADER, "test": LOADER}, {})
