"""Data as people bring them, and F of each against the user's own loop over them."""

import itertools
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler

from landscape import Objective, Stream
from landscape.errors import BadInput
from landscape.inputs.data import load_data

N, LENGTH, WORDS, CLASSES = 23, 5, 11, 3
GENERATOR = torch.Generator().manual_seed(7)
IDS = torch.randint(1, WORDS, (N, LENGTH), generator=GENERATOR)
MASK = (torch.rand(N, LENGTH, generator=GENERATOR) > 0.3).long()
MASK[:, 0] = 1
LABELS = torch.randint(0, CLASSES, (N,), generator=GENERATOR)
X = torch.randn(N, 2, generator=GENERATOR, dtype=torch.float64)
Z = torch.randn(N, 4, generator=GENERATOR, dtype=torch.float64)
Y = torch.randn(N, 1, generator=GENERATOR, dtype=torch.float64)


class Reader(nn.Module):
    """The mean of what is not masked; called as models of language are, by name."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.out = nn.Embedding(WORDS, 4), nn.Linear(4, CLASSES)
        self.double()

    def forward(self, input_ids, token_type_ids=None, attention_mask=None):
        assert token_type_ids is None
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        weight = mask[..., None].to(self.out.weight.dtype)
        return self.out((self.words(input_ids) * weight).sum(1) / weight.sum(1))


class BatchReader(Reader):
    def forward(self, batch):
        return super().forward(batch["input_ids"], attention_mask=batch["attention_mask"])


class Pair(nn.Module):
    """Of two inputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(2, 3), nn.Linear(4, 3)
        self.double()

    def forward(self, x, z):
        return (self.first(x) * self.second(z)).sum(1, keepdim=True)


class Texts(Dataset):
    def __len__(self):
        return N

    def __getitem__(self, i):
        return {"input_ids": IDS[i], "attention_mask": MASK[i], "labels": LABELS[i]}


def padded(batch):
    """A collate_fn that pads to the longest of a batch."""
    length = max(len(ids) for ids, _ in batch)
    ids = torch.zeros(len(batch), length, dtype=torch.int64)
    for i, (one, _) in enumerate(batch):
        ids[i, : len(one)] = one
    return {
        "input_ids": ids,
        "attention_mask": (ids > 0).long(),
        "labels": torch.stack([y for _, y in batch]),
    }


RAGGED = [(IDS[i, : 2 + i % 4], LABELS[i]) for i in range(N)]


def mean_over(batches, loss, count):
    """The user's own loop: the losses of all batches, summed, over the number of what counts."""
    total = weight = 0.0
    for batch in batches:
        total += float(loss(batch).detach())
        weight += count(batch)
    return total / weight


def by_name(module, batch):
    batch = dict(batch)
    labels = batch.pop("labels")
    return functional.cross_entropy(module(**batch), labels, reduction="sum")


def square(module, inputs, targets):
    return functional.mse_loss(module(*inputs), targets, reduction="sum")


READER, BATCH_READER, PAIR = Reader(), BatchReader(), Pair()
LOADER = DataLoader(Texts(), 4)
OVER_TEXTS = mean_over(LOADER, lambda batch: by_name(READER, batch), lambda batch: len(batch["labels"]))
OVER_PAIRS = mean_over(
    DataLoader(TensorDataset(X, Z, Y), 4), lambda one: square(PAIR, one[:2], one[2]), lambda one: len(one[2])
)


@pytest.mark.parametrize(
    ("module", "loss", "data", "expected"),
    [
        (READER, "cross_entropy", Texts(), OVER_TEXTS),
        (READER, "cross_entropy", LOADER, OVER_TEXTS),
        (READER, "cross_entropy", DataLoader(Texts(), 4, shuffle=True), OVER_TEXTS),
        (READER, "cross_entropy", Stream(LOADER), OVER_TEXTS),
        (READER, "cross_entropy", ({"input_ids": IDS, "attention_mask": MASK}, LABELS), OVER_TEXTS),
        (BATCH_READER, "cross_entropy", Texts(), OVER_TEXTS),
        (PAIR, "mse", TensorDataset(X, Z, Y), OVER_PAIRS),
        (PAIR, "mse", DataLoader([((x, z), y) for x, z, y in zip(X, Z, Y, strict=True)], 4), OVER_PAIRS),
        (PAIR, "mse", ((X.numpy(), Z.numpy()), Y.numpy()), OVER_PAIRS),
        (PAIR, "mse", Stream([((X[:9], Z[:9]), Y[:9]), ((X[9:], Z[9:]), Y[9:])]), OVER_PAIRS),
        (PAIR, "mse", Stream(lambda: iter([(X[:20], Z[:20], Y[:20]), (X[20:], Z[20:], Y[20:])])), OVER_PAIRS),
    ],
)
@pytest.mark.parametrize("chunk_size", [None, 5])
def test_a_number_on_any_source_is_that_of_a_plain_loop(module, loss, data, expected, chunk_size):
    objective = Objective(module, loss, data, chunk_size=chunk_size)
    assert objective.value(objective.theta) == pytest.approx(expected, rel=1e-12)
    assert objective.num_samples == N


@pytest.mark.parametrize("chunk_size", [None, 3])
def test_batches_padded_to_lengths_of_their_own_are_as_the_loop_has_them(chunk_size):
    loader = DataLoader(RAGGED, 4, collate_fn=padded)
    expected = mean_over(loader, lambda batch: by_name(READER, batch), lambda batch: len(batch["labels"]))
    objective = Objective(READER, "cross_entropy", loader, chunk_size=chunk_size)
    assert objective.value(objective.theta) == pytest.approx(expected, rel=1e-12)


def test_what_a_loader_leaves_out_is_left_out_and_said():
    loader = DataLoader(Texts(), 4, drop_last=True)
    objective = Objective(READER, "cross_entropy", loader)
    expected = mean_over(loader, lambda batch: by_name(READER, batch), lambda batch: len(batch["labels"]))
    assert objective.value(objective.theta) == pytest.approx(expected, rel=1e-12)
    assert "3 of 23 samples are left out by the loader (drop_last)" in objective.notes


class Counted(IterableDataset):
    def __iter__(self):
        return ((torch.tensor([float(i)]), i % 2) for i in range(5))


def test_samples_that_a_loader_gives_again_count_again_and_that_is_said():
    rows = TensorDataset(torch.arange(4.0)[:, None], torch.tensor([0, 1, 0, 1]))
    stream = Stream.of(DataLoader(rows, 3, sampler=[2, 2, 0, 3, 2]))
    assert stream.whole()[0][:, 0].tolist() == [2, 2, 0, 3, 2]
    assert "of 5 samples 2 are repeated by the loader's sampler, and count again" in stream.notes
    stream = Stream.of(DataLoader(Counted(), 2, num_workers=2))
    assert sorted(stream.whole()[0][:, 0].tolist()) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert any("each sample counts 2 times where it does not divide them" in one for one in stream.notes)


def test_what_was_taken_for_granted_is_said():
    said = Objective(READER, "cross_entropy", DataLoader(Texts(), 4, shuffle=True)).notes
    assert said[0] == "the loader shuffles: its samples are taken in the order of its data set"
    assert said[1] == "the field labels is the target, input_ids, attention_mask the inputs"
    assert said[2] == "input_ids, attention_mask are given to the module by name"
    said = Objective(PAIR, "mse", TensorDataset(X, Z, Y)).notes
    assert said == ["of the 3 parts of a sample the last is the target, the others are inputs, in order"]
    narrow = (IDS.numpy().astype(np.uint8), LABELS.int())
    objective = Objective(READER, "cross_entropy", narrow)
    assert objective.notes == [
        "the inputs are uint8 and are taken as int64, as an embedding asks for",
        "the targets are int32 and are taken as int64, as classes are",
    ]
    expected = float(functional.cross_entropy(READER(IDS), LABELS).detach())
    assert objective.value(objective.theta) == pytest.approx(expected, rel=1e-12)
    wide = Objective(nn.Linear(2, 1), "mse", (X, Y))
    assert wide.notes == ["numbers of the data are taken as float32, the module's own"]


def test_the_generators_of_a_loader_stay_as_they_were():
    generator = torch.Generator().manual_seed(3)
    before, everywhere = generator.get_state(), torch.get_rng_state()
    Objective(READER, "cross_entropy", DataLoader(Texts(), 4, shuffle=True, generator=generator))
    assert torch.equal(generator.get_state(), before)
    assert torch.equal(torch.get_rng_state(), everywhere)


@pytest.mark.parametrize("chunk_size", [None, 5])
@pytest.mark.parametrize("has_stream", [False, True])
def test_targets_that_are_ignored_do_not_count(chunk_size, has_stream):
    torch.manual_seed(0)
    module = nn.Conv1d(2, CLASSES, 1).double()
    inputs = torch.randn(N, 2, LENGTH, dtype=torch.float64)
    targets = torch.randint(0, CLASSES, (N, LENGTH))
    targets[:, 0], targets[3] = -100, -100
    data = Stream([(inputs[:9], targets[:9]), (inputs[9:], targets[9:])]) if has_stream else (inputs, targets)
    objective = Objective(module, "cross_entropy", data, chunk_size=chunk_size)
    expected = functional.cross_entropy(module(inputs), targets)
    slope = torch.cat([one.flatten() for one in torch.autograd.grad(expected, list(module.parameters()))])
    assert objective.value(objective.theta) == pytest.approx(float(expected.detach()), rel=1e-12)
    assert torch.allclose(objective.gradient(objective.theta), slope, rtol=1e-10, atol=1e-14)
    assert (
        f"{N + LENGTH - 1} of {N * LENGTH} targets are -100: the mean is over the others" in objective.notes
    )


def next_word(outputs, ids):
    return functional.cross_entropy(outputs[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


@pytest.mark.parametrize("data", [(IDS, None), TensorDataset(IDS), DataLoader(TensorDataset(IDS), 4)])
def test_without_targets_the_inputs_stand_for_them(data):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Embedding(WORDS, 4), nn.Linear(4, WORDS)).double()
    objective = Objective(module, next_word, data, chunk_size=6)
    assert objective.value(objective.theta) == pytest.approx(
        float(next_word(module(IDS), IDS).detach()), rel=1e-12
    )
    assert "there are no targets: the inputs stand for them" in objective.notes


class Named(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, i):
        return {"text": "words", "label": i}


class Noise(IterableDataset):
    """Another draw at each pass."""

    passes = itertools.count()

    def __iter__(self):
        number = next(self.passes)
        return iter([(torch.full((2,), float(number)), torch.ones(1)) for _ in range(3)])


BATCHES = [(X.float(), Y.float())]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            lambda: DataLoader(Texts(), 4, shuffle=True, drop_last=True),
            "draws and drops the last ones.*shuffle=False",
        ),
        (
            lambda: DataLoader(Texts(), 4, sampler=WeightedRandomSampler([1] * N, N)),
            "the loader draws, so that which",
        ),
        (
            Named,
            "text in the inputs of batch 1 of the data hold text, 'words'; expected numbers; leave that field out",
        ),
        (list, "pair"),
        (lambda: iter(BATCHES), "pair .inputs, targets., a list of samples, a Dataset or a DataLoader"),
        (lambda: Stream(iter(BATCHES)), "an iterator can be read once; give the function that makes it"),
        (lambda: Stream(Noise()), "cannot be repeated: batch 1, from sample 0 on, is not what it was"),
        (lambda: Stream([(X, Y[:5])]), "tensors of 5, 23 entries along axis 0"),
        (
            lambda: Stream([(X, Y), (X.clone().fill_(torch.nan), Y)]),
            "in the inputs of the data, first in sample 23",
        ),
        (lambda: Stream([]), "the data are empty"),
        (lambda: Stream([(X, {"a": Y, "b": Y[:3]})]), "the targets of batch 1 of the data are a dict"),
        (lambda: Stream([(X, {"a": Y})]), "targets that hold several tensors, for the loss mse"),
    ],
)
def test_what_cannot_be_used_gets_a_sentence(data, sentence):
    def measured():
        objective = Objective(nn.Linear(2, 1).double(), "mse", data())
        return objective.value(objective.theta)

    with pytest.raises(BadInput, match=sentence):
        measured()


def test_a_stream_that_ends_sooner_at_a_later_pass_is_refused():
    lengths = iter([3, 2])
    stream = Stream(lambda: iter([(X, Y)] * next(lengths)))
    with pytest.raises(BadInput, match="46 samples at this pass, 69 at the first"):
        list(stream.batches())


def test_a_stream_has_the_hash_of_its_samples_whatever_its_batches():
    one, other = Stream([(X[:9], Y[:9]), (X[9:], Y[9:])]), Stream([(X, Y)])
    assert one.seen.sha256 == other.seen.sha256
    assert Stream([(X, Y + 1)]).seen.sha256 != one.seen.sha256


def test_rows_of_a_stream_are_those_of_the_data():
    stream = Stream([(X[:9], Y[:9]), (X[9:], Y[9:])])
    rows = torch.tensor([0, 8, 9, 20])
    inputs, targets = stream.picked(rows)
    assert torch.equal(inputs, X[rows])
    assert torch.equal(targets, Y[rows])


def test_draws_while_reading_are_the_same_at_every_pass_and_said():
    class Drawn(Dataset):
        def __len__(self):
            return 130

        def __getitem__(self, i):
            return torch.randn(2), torch.ones(1)

    before = torch.get_rng_state()
    stream = Stream(Drawn())
    first, second = ([inputs for inputs, _ in stream.batches()] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(torch.get_rng_state(), before)
    assert "reading the data draws at random: from the same seed at every pass" in stream.notes


def test_what_is_held_and_would_be_other_samples_when_read_again_is_said():
    objective = Objective(nn.Linear(2, 1), "mse", Noise())
    assert objective.notes == ["the data are others at every reading: those of the first are kept"]


# On the command line

OWN = """
import torch
from torch.utils.data import DataLoader, TensorDataset
import landscape

X, Z, Y = torch.arange(24.0).reshape(12, 2), torch.arange(12.0), torch.arange(12) % 3

def several(): return (X, Z), Y
def named(): return {"x": X, "z": Z}, Y
def fields(): return {"x": X, "z": Z, "labels": Y}
def loader(): return DataLoader(TensorDataset(X, Y), 5)
def both(): return loader(), loader()
def stream(): return landscape.Stream(loader())
def shapes(): return X, X.reshape(12, 1, 2)
def flat(): return X, Z
def nothing(): return X, None
def ignored(): return X, torch.where(Y == 2, -100, Y)
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def test_factories_may_return_all_of_these(own: Path):
    def load(name):
        return load_data(f"{own}:{name}", {}, None)

    x, z, y = torch.arange(24.0).reshape(12, 2), torch.arange(12.0), torch.arange(12) % 3
    assert [one.tolist() for one in load("several").inputs] == [x.tolist(), z.tolist()]
    assert load("named").inputs["z"].tolist() == z.tolist()
    assert load("fields").notes == ("the field labels is the target, x, z the inputs",)
    assert load("loader").inputs.tolist() == load("both").test_inputs.tolist() == x.tolist()
    stream = load("stream")
    assert stream.stream is not None
    assert (len(stream), stream.num_classes, stream.input_shape) == (12, 3, (2,))
    part = stream.subset(5, torch.Generator().manual_seed(1))
    assert part.stream is None
    assert torch.equal(part.inputs, x[part.numbers])
    assert torch.equal(part.targets, y[part.numbers])
    assert load("shapes").num_outputs("mse") == 2
    assert load("flat").target_shape == ()
    assert load("ignored").default_loss == "cross_entropy"
    assert not load("nothing").has_targets
    with pytest.raises(BadInput, match=r"no loss, and .* has no targets"):
        _ = load("nothing").default_loss


def test_a_named_tuple_is_one_argument_where_a_forward_has_one_place():
    class Fields(Pair):
        def forward(self, both):
            return super().forward(both.x, both.z)

    Both = namedtuple("Both", "x z")
    samples = [(Both(x, z), y) for x, z, y in zip(X, Z, Y, strict=True)]
    known = Objective(Pair(), "mse", ((X, Z), Y))
    for data in ((Both(X, Z), Y), samples, DataLoader(samples, 4), Stream(DataLoader(samples, 4))):
        for module in (Pair(), Fields()):
            found = Objective(module, "mse", data, chunk_size=5)
            assert found.value(found.theta) == pytest.approx(known.value(known.theta), rel=1e-12)


@pytest.mark.parametrize(
    "loss", [nn.MSELoss, lambda: nn.MSELoss(), "torch.nn:MSELoss"], ids=["class", "function", "spec"]
)
def test_what_makes_a_loss_stands_for_it(loss):
    assert Objective(Pair(), loss, ((X, Z), Y)).loss.name == "MSELoss"


def test_a_loss_of_the_modules_own_reads_no_targets_and_a_class_may_want_arguments():
    found = Objective(Pair(), "output", ((X, Z), {"a": Y, "b": X}))
    assert found.value(found.theta) == pytest.approx(Pair()(X, Z).mean().item(), rel=1e-12)
    with pytest.raises(BadInput, match="the loss DataLoader is a class whose instances want arguments"):
        Objective(Pair(), DataLoader, ((X, Z), Y))
