"""Samples: each once and in order whatever the chunks, shares that make up the whole, a hash that sees every bit."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from landscape import BadInput, Objective, distributed
from landscape.objective import Samples
from landscape.objective.precision import in_float64
from landscape.objective.samples import sha256

N = 13
X = torch.randn(N, 4, generator=torch.Generator().manual_seed(0))
Z = torch.randn(N, 2, 3, generator=torch.Generator().manual_seed(1))
CLASSES = torch.arange(N) % 3


def pairs(count: int = N) -> Samples:
    return Samples.of(((X[:count], Z[:count]), CLASSES[:count]))


def assert_same(samples, inputs, targets):
    assert len(samples[0]) == len(inputs)
    for part, expected in zip((*samples[0], samples[1]), (*inputs, targets), strict=True):
        assert torch.equal(part, expected)


def in_process(monkeypatch, rank: int, size: int) -> None:
    monkeypatch.setattr(distributed, "rank", lambda: rank)
    monkeypatch.setattr(distributed, "num_processes", lambda: size)


@given(count=st.integers(1, N), size=st.integers(1, N + 2))
def test_chunks_cover_each_sample_once_in_order(count, size):
    parts = list(pairs(count).chunks(size))
    assert [len(targets) for _, targets in parts[:-1]] == [size] * (len(parts) - 1)
    assert 1 <= len(parts[-1][1]) <= size
    inputs = [torch.cat(column) for column in zip(*(inputs for inputs, _ in parts), strict=True)]
    assert_same(
        (inputs, torch.cat([targets for _, targets in parts])), (X[:count], Z[:count]), CLASSES[:count]
    )


def test_one_chunk_copies_nothing():
    samples = pairs()
    ((inputs, targets),) = samples.chunks(N)
    assert inputs is samples.inputs
    assert targets is samples.targets


def test_it_reads_as_a_pair():
    (x, z), y = pairs()
    assert_same(((x, z), y), (X, Z), CLASSES)
    single = Samples.of((X, CLASSES))
    assert_same(single, (X,), CLASSES)
    assert (single.count, single.count_here, single.share) == (N, N, slice(0, N))


@pytest.mark.parametrize("size", [1, 2, 3, 5, N])
def test_shares_make_up_the_whole(size, monkeypatch):
    found, chosen, rows = [], [], torch.tensor([12, 0, 7, 7, 3])
    for rank in range(size):
        in_process(monkeypatch, rank, size)
        samples = pairs()
        assert samples.count == N
        assert samples.count_here == len(samples.targets)
        assert samples.share == distributed.share(N)
        found.append(samples)
        chosen.append(samples.select(rows))
    parts = [torch.cat([one.inputs[i] for one in found]) for i in range(2)]
    assert_same((parts, torch.cat([one.targets for one in found])), (X, Z), CLASSES)
    # Each process has its own of the rows, in the order asked for.
    of_rank = [next(r for r, one in enumerate(found) if row in range(N)[one.share]) for row in rows.tolist()]
    for rank, (inputs, targets) in enumerate(chosen):
        mine = rows[torch.tensor(of_rank) == rank]
        assert_same((inputs, targets), (X[mine], Z[mine]), CLASSES[mine])


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("few", [1, 4, 5, 6, 100])
def test_few_are_the_first_of_every_process(size, few, monkeypatch):
    counts = []
    for rank in range(size):
        in_process(monkeypatch, rank, size)
        whole, first = pairs(), pairs().few(few)
        assert_same(first, (whole.inputs[0][:few], whole.inputs[1][:few]), whole.targets[:few])
        assert first.share == distributed.share(first.count)
        assert first.count_here == len(first.targets)
        counts.append((first.count_here, first.count))
    assert {count for _, count in counts} == {sum(here for here, _ in counts)}


def test_rows_are_selected_in_the_order_asked_for():
    rows = torch.tensor([5, 5, 0])
    assert_same(pairs().select(rows), (X[rows], Z[rows]), CLASSES[rows])


def test_a_dtype_changes_floating_point_numbers_alone():
    wide = pairs().to(torch.device("cpu"), torch.float64)
    assert_same(wide, (X.double(), Z.double()), CLASSES)
    assert (wide.inputs[0].dtype, wide.targets.dtype) == (torch.float64, torch.int64)
    again = wide.to(torch.device("cpu"), torch.float64)
    assert again.inputs[0] is wide.inputs[0]


def test_the_hash_sees_every_bit():
    whole = pairs().sha256
    assert pairs().sha256 == whole
    for which, place in ((0, (3, 2)), (1, (12, 1, 0)), (2, (6,))):
        parts = [X.clone(), Z.clone(), CLASSES.clone()]
        bits = parts[which].view(torch.int32 if which < 2 else torch.int64)
        for bit in (0, 7, 22):
            bits[place] ^= 1 << bit
            assert Samples.of((tuple(parts[:2]), parts[2])).sha256 != whole
            bits[place] ^= 1 << bit
        assert Samples.of((tuple(parts[:2]), parts[2])).sha256 == whole
    assert Samples.of(((X, Z.view(N, 6)), CLASSES)).sha256 != whole
    assert Samples.of(((X, Z), CLASSES.int())).sha256 != whole


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.bool, torch.uint8])
def test_the_hash_takes_any_dtype_and_any_layout(dtype):
    one = (X > 0).to(dtype)
    assert sha256([one.t()]) == sha256([one.t().contiguous()]) != sha256([one])


def net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


@pytest.mark.parametrize("chunk_size", [None, 5])
@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_samples_and_their_pair_give_the_same_function_bit_for_bit(chunk_size, dtype):
    module = net()
    pair, samples = (
        Objective(module, "cross_entropy", data, chunk_size=chunk_size, dtype=dtype, l2=0.1)
        for data in ((X, CLASSES), Samples.of((X, CLASSES)))
    )
    theta = pair.theta + 0.1
    assert pair.measure(theta) == samples.measure(theta)
    assert torch.equal(pair.gradient(theta), samples.gradient(theta))
    assert torch.equal(pair.hvp(theta, theta), samples.hvp(theta, theta))
    rows = torch.tensor([3, 1, 8])
    for one, other in zip(*(f.batch_gradient(theta, rows, {}) for f in (pair, samples)), strict=True):
        assert torch.equal(one, other)


def test_samples_are_taken_as_they_are():
    samples = Samples.of((X, CLASSES))
    objective = Objective(net(), "cross_entropy", samples)
    assert objective.samples.inputs[0] is samples.inputs[0]
    assert objective.on(samples).samples.inputs[0] is samples.inputs[0]


def test_few_samples_in_float64_are_the_first_ones():
    objective = Objective(net(), "cross_entropy", (X, CLASSES))
    few = in_float64(objective, 4)
    assert few.num_samples == 4
    with torch.no_grad():
        expected = nn.functional.cross_entropy(objective.module.double()(X[:4].double()), CLASSES[:4])
    assert few.value(objective.theta) == pytest.approx(float(expected), rel=1e-14)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X, "a pair"),
        ((X, CLASSES[:3]), "13 inputs and 3 targets"),
        (((X, Z[1:]), CLASSES), "12 inputs and 13 targets"),
        ((X[:0], CLASSES[:0]), "empty"),
        ((X / 0, CLASSES), "52 NaN or infinite numbers in the inputs"),
    ],
)
def test_bad_data_are_a_sentence(data, message):
    with pytest.raises(BadInput, match=message):
        Samples.of(data)


class TestOnePiece:
    """Inputs of several lengths: a graph's nodes and its edges (2, E)."""

    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.send = nn.Linear(3, 2).double()

        def forward(self, nodes, edges, graph=None):
            sent = self.send(nodes).tanh()
            met = torch.zeros_like(sent).index_add(0, edges[1], sent[edges[0]])
            return met if graph is None else torch.zeros_like(met[:2]).index_add(0, graph, met)

    nodes = torch.arange(15, dtype=torch.float64).reshape(5, 3) / 7
    edges = torch.tensor([[0, 1, 2, 3, 4, 0, 2], [1, 2, 3, 4, 0, 2, 4]])
    labels = torch.tensor([0, 1, 1, 0, 1])

    def test_labels_of_nodes_and_of_graphs(self):
        graph = torch.tensor([0, 0, 0, 1, 1])
        cases = [((self.nodes, self.edges), self.labels), ((self.nodes, self.edges, graph), self.labels[:2])]
        for inputs, labels in cases:
            module = self.Graph()
            objective = Objective(module, nn.CrossEntropyLoss(), (inputs, labels), chunk_size=2)
            plain = nn.functional.cross_entropy(module(*inputs), labels)
            assert objective.value(objective.theta) == pytest.approx(plain.item(), rel=1e-14)
            slope = torch.autograd.grad(plain, list(module.parameters()))
            expected = torch.cat([part.flatten() for part in slope])
            torch.testing.assert_close(objective.gradient(objective.theta), expected, rtol=1e-12, atol=0)
            assert objective.is_whole

    def test_all_of_them_in_any_order_are_the_piece_and_a_part_is_refused(self):
        samples = Samples.of(((self.nodes, self.edges), self.labels))
        inputs, targets = samples.select(torch.tensor([4, 0, 3, 1, 2]))
        assert inputs[1] is self.edges
        assert targets is self.labels
        assert samples.few(2) is samples
        with pytest.raises(BadInput, match="a part of the samples, where the inputs have 5, 2 entries"):
            samples.select(torch.tensor([0, 1]))
        with pytest.raises(BadInput, match="all 5 samples together"):
            list(samples.chunks(3))

    def test_as_many_of_each_input_and_other_targets_stay_a_mistake(self):
        with pytest.raises(BadInput, match="5 inputs and 4 targets"):
            Samples.of(((self.nodes, self.labels), self.labels[:4]))
        with pytest.raises(BadInput, match="4 inputs and 5 targets"):
            Samples.of(((self.nodes, self.nodes[:4]), self.labels))
