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
        (
            iter([(X[:4], LABELS[:4]), (X[4:8], LABELS[4:8])]),
            r"anew, and of samples give list\(data\), of batches",
        ),
        (zip(X, LABELS, strict=True), r"of samples give list\(data\)"),
        (lambda: zip(X, LABELS, strict=True), r"landscape\.Stream\(list\(data\(\)\)\)"),
        ([(X[:4], X[:4]), (X[4:8], X[4:8]), (X[:4], X[:4])], r"of batches give landscape\.Stream\(data\)"),
        ({"a": LOADER, "b": TensorDataset(X)}, r"data\['a'\], and objective.on\(data\['b'\]\) for"),
        ({"a": (X, LABELS)}, r"give one of them, data\['a'\]"),
        ({"x": X, "y": LABELS}, r"give \(inputs, targets\): inputs may be a dictionary"),
        ([LOADER, LOADER], r"data\[0\], and objective.on\(data\[1\]\) for the other"),
        (
            ((X[0], LABELS[0]), (X[1], LABELS[1]), (X[2], LABELS[2])),
            r"give torch\.\S+DataLoader\(list\(data\), 64",
        ),
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


class Itself(nn.Module):
    """Of as many outputs as inputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(2, 2).double()

    def forward(self, x):
        return self.net(x)


EQUAL = [(one, one.sin()) for one in X]
RAGGED = [torch.randn(2 + i % 3, 2, generator=GENERATOR, dtype=torch.float64) for i in range(N)]


def said(data, loss="mse") -> str:
    with pytest.raises(BadInput) as error:
        Objective(Itself(), loss, data)
    return str(error.value)


@pytest.mark.parametrize(
    ("data", "targets"),
    [
        (X, X),
        (X[:2], X[:2]),
        (X.numpy(), X),
        ((X,), X),
        ([X], X),
        (list(X), X),
        (EQUAL, X.sin()),
        (EQUAL[:2], X[:2].sin()),
        (tuple(EQUAL), X.sin()),
        ([{"x": one, "y": two} for one, two in EQUAL], X.sin()),
    ],
    ids=str,
)
def test_the_remedy_for_samples_without_a_frame_is_taken_as_it_is_typed(data, targets):
    remedy = said(data).rpartition("give torch.utils")[2].partition(", of batches")[0].rstrip(".")
    objective = Objective(Itself(), "mse", eval("torch.utils" + remedy, {"torch": torch, "data": data}))
    expected = functional.mse_loss(Itself()(X[: len(targets)]), targets)
    assert objective.value(objective.theta) == pytest.approx(float(expected.detach()), rel=1e-12)


def test_several_inputs_without_a_frame():
    torch.manual_seed(0)
    module = Pair()
    expected = float(functional.mse_loss(module(X, Z), Y).detach())
    for data, wanted in (
        ((X, Z, Y), r"the last one, give torch\.utils\.data\.TensorDataset\(\*data\)"),
        ((X.numpy(), Z.numpy(), Y.numpy()), r"give \(\(data\[0\], data\[1\]\), data\[2\]\)"),
    ):
        with pytest.raises(BadInput, match=wanted):
            Objective(module, "mse", data)
    for data in (TensorDataset(X, Z, Y), ((X.numpy(), Z.numpy()), Y.numpy())):
        objective = Objective(module, "mse", data)
        assert objective.value(objective.theta) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(BadInput, match=r"give \(data\[0\], data\[1\]\), and objective.on"):
        Objective(module, "mse", (X, Y, X[:3], Y[:3]))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested")
def test_samples_of_different_lengths_one_at_a_time():
    targets = torch.arange(N, dtype=torch.float64)

    def means(outputs, targets):
        return (outputs.mean((1, 2)) - targets).square()

    assert "pad_sequence(inputs, batch_first=True)" in said((RAGGED, targets), means)
    assert "DataLoader(list(zip(inputs, targets)), 1) for one sample at a time" in said(
        (RAGGED, targets), means
    )
    module = Itself()
    objective = Objective(module, means, DataLoader(list(zip(RAGGED, targets, strict=True)), 1))
    expected = (
        sum(float((module(x).mean() - y).detach() ** 2) for x, y in zip(RAGGED, targets, strict=True)) / N
    )
    assert objective.value(objective.theta) == pytest.approx(expected, rel=1e-12)
    assert "give torch.stack(inputs)" in said((list(Z), targets))
    padded = torch.nested.nested_tensor(RAGGED)
    assert "give its numbers padded, inputs.to_padded_tensor(0)" in said((padded, targets))
    assert Objective(module, means, (padded.to_padded_tensor(0), targets)).num_samples == N


class Reader(nn.Module):
    """Scores of the next token."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.out = nn.Embedding(7, 3), nn.Linear(3, 7)
        self.double()

    def forward(self, x):
        return self.out(self.embedding(x)).transpose(1, 2)


def padded(samples, fill, length=None):
    length = length or max(map(len, samples))
    return torch.stack([functional.pad(one, (0, length - len(one)), value=fill) for one in samples])


TEXTS = [torch.randint(0, 7, (2 + i // 4,), generator=GENERATOR) for i in range(14)]


def per_token(outputs, targets):
    return functional.cross_entropy(outputs, targets, ignore_index=-100)


def as_a_pair(outputs, targets):
    return functional.cross_entropy(outputs, targets, reduction="sum"), (targets != -100).sum()


def test_a_loss_of_batches_that_differ_in_shape_says_so():
    def loader(length=None):
        return DataLoader(
            TEXTS, 5, collate_fn=lambda batch: (padded(batch, 0, length), padded(batch, -100, length))
        )

    with pytest.raises(BadInput, match="batches differ in shape, so that no call has all of them") as error:
        Objective(Reader(), per_token, loader())
    assert "too many" not in str(error.value)
    module = Reader()
    total = sum(float(functional.cross_entropy(module(x), y, reduction="sum").detach()) for x, y in loader())
    expected = total / sum(map(len, TEXTS))
    for loss, data in (
        (as_a_pair, loader()),
        (functional.cross_entropy, loader()),
        (per_token, loader(max(map(len, TEXTS)))),
    ):
        objective = Objective(module, loss, data)
        assert objective.value(objective.theta) == pytest.approx(expected, rel=1e-12)
