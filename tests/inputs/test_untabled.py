"""Numbers that have no place in one table, tables in another order, and reading that draws out of sight."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence
from torch.utils.data import DataLoader, Dataset, TensorDataset

from landscape import Objective, Stream
from landscape.errors import BadInput
from landscape.inputs.data.own import from_factory

X, Y = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 2
PACKED = pack_sequence([X[:3], X[:2], X[:1]])


class Words:
    """A matrix of SciPy's, as far as it is read."""

    def toarray(self):
        return X.numpy()


REFUSED = {
    "sparse": (X.to_sparse(), "are a sparse tensor; .* give inputs.to_dense"),
    "of SciPy": (Words(), "give inputs.toarray"),
    "packed": (PACKED, "are a PackedSequence; .*pad_packed_sequence"),
    "text": (np.array([["a"]] * 6, dtype=object), "the inputs are text, 'a'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_table_is_refused_with_what_to_give(name):
    inputs, words = REFUSED[name]
    with pytest.raises(BadInput, match=words):
        Objective(nn.Linear(3, 2), "cross_entropy", (inputs, Y[:3] if name == "packed" else Y))
    if name in ("sparse", "of SciPy"):
        with pytest.raises(BadInput, match=f"^the inputs of it {words}" if name == "sparse" else words):
            from_factory("it", lambda: (inputs, Y), {})


@pytest.mark.parametrize("name", ["sparse", "packed"])
def test_nor_is_it_in_batches(name):
    inputs, words = REFUSED[name]
    loader = DataLoader(TensorDataset(Y[:3]), 3, collate_fn=lambda _: (inputs, Y[: len(inputs)]))
    with pytest.raises(BadInput, match=words):
        Stream.of(loader)


class Packing(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRU(3, 2, batch_first=True)

    def forward(self, x, lengths):
        return self.cell(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))[1][-1]


def test_a_packed_sequence_is_given_padded_with_its_lengths():
    module = Packing()
    padded, lengths = pad_packed_sequence(PACKED, batch_first=True)
    objective = Objective(module, "cross_entropy", ((padded, lengths), Y[:3]))
    wanted = nn.functional.cross_entropy(module.cell(PACKED)[1][-1], Y[:3])
    assert objective.value(objective.theta) == pytest.approx(float(wanted.detach()), rel=1e-6)


def test_columns_of_several_kinds_are_numbers():
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"a": X[:, 0].numpy(), "b": Y.numpy() > 0, "c": pd.array(Y.tolist(), dtype="Int64")})
    module = nn.Linear(3, 2).double()
    rows = torch.stack([X[:, 0].double(), Y.double(), Y.double()], 1)
    wanted = nn.functional.cross_entropy(module(rows), Y)
    objective = Objective(module, "cross_entropy", (table, pd.Series(Y.tolist(), dtype="Int64")))
    assert objective.value(objective.theta) == pytest.approx(float(wanted.detach()), rel=1e-12)


def test_tables_whose_rows_stand_in_another_order_are_refused():
    pd = pytest.importorskip("pandas")
    table, column = pd.DataFrame(X.numpy()), pd.Series(Y.numpy())
    mixed = table.sample(frac=1, random_state=0)
    module = nn.Linear(3, 2)
    for take in (
        lambda data: Objective(module, "cross_entropy", data),
        lambda data: from_factory("it", lambda: data, {}),
    ):
        with pytest.raises(BadInput, match=r"stand in another order; .* give targets\.loc"):
            take((mixed, column))
    values = []
    for data in ((table, column), (mixed, column.loc[mixed.index])):
        objective = Objective(module, "cross_entropy", data)
        values.append(objective.value(objective.theta))
    assert values[0] == pytest.approx(values[1], rel=1e-6)


class Pooled(nn.Module):
    """A mean over the nodes of every graph."""

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(3, 2).double()

    def forward(self, x, graph):
        one_hot = nn.functional.one_hot(graph).double()
        return self.map(one_hot.T @ x / one_hot.sum(0)[:, None])


def test_nodes_that_have_the_number_of_their_graph_are_one_piece():
    module, graph, targets = Pooled(), torch.tensor([0, 0, 1, 1, 1, 2]), torch.tensor([0, 1, 1])
    objective = Objective(module, "cross_entropy", ((X.double(), graph), targets))
    wanted = nn.functional.cross_entropy(module(X.double(), graph), targets)
    assert objective.value(objective.theta) == pytest.approx(float(wanted.detach()), rel=1e-12)
    with pytest.raises(BadInput, match=r"6 inputs and 3 targets; .*from_closure"):
        Objective(module.map, "cross_entropy", (X.double(), targets))


class Drawn(Dataset):
    def __init__(self, draw):
        self.draw = draw

    def __len__(self):
        return 6

    def __getitem__(self, i):
        return self.draw() * torch.ones(2), torch.ones(1)


PASSES = itertools.count()


@pytest.mark.parametrize(
    ("draw", "workers", "said"),
    [
        (lambda: torch.rand(()), 1, "reading the data draws at random: from the same seed at every pass"),
        (
            lambda: torch.rand(()) + next(PASSES),
            0,
            "the data are others at every reading: those of the first are kept",
        ),
    ],
)
def test_draws_in_workers_and_of_others_beside_torch_are_said(draw, workers, said):
    assert said in Stream.of(DataLoader(Drawn(draw), 3, num_workers=workers)).notes
