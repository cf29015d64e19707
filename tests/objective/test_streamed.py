"""F of samples that are read anew at every pass: the numbers of a loop, and memory bounded by the chunk."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import landscape
from landscape import Objective, Stream
from landscape.errors import BadInput

N = 601
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(N, 3, generator=GENERATOR, dtype=torch.float64)
Y = torch.randint(0, 3, (N,), generator=GENERATOR)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def streamed(module: nn.Module, loss="cross_entropy", **how) -> Objective:
    return Objective(module, loss, Stream(DataLoader(TensorDataset(X, Y), 70)), **how)


@pytest.mark.parametrize("chunk_size", [None, 37, 1000])
@pytest.mark.parametrize(
    "loss", ["cross_entropy", nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64))]
)
def test_value_gradient_and_products_are_those_of_the_loop(chunk_size, loss):
    module = net()
    objective = streamed(module, loss, chunk_size=chunk_size)
    parameters = list(module.parameters())
    called = functional.cross_entropy if loss == "cross_entropy" else loss
    value = called(module(X), Y)
    slope = torch.cat([one.flatten() for one in torch.autograd.grad(value, parameters, create_graph=True)])
    v = torch.linspace(-1, 1, len(slope), dtype=torch.float64)
    image = torch.cat([one.flatten() for one in torch.autograd.grad(slope @ v, parameters)])
    assert objective.value(objective.theta) == pytest.approx(float(value.detach()), rel=1e-12)
    assert torch.allclose(objective.gradient(objective.theta), slope.detach(), rtol=1e-10, atol=1e-14)
    assert torch.allclose(objective.hvp(objective.theta, v), image, rtol=1e-9, atol=1e-12)
    accuracy = float((module(X).argmax(1) == Y).double().mean())
    measured = objective.measure(objective.theta).accuracy
    assert measured == pytest.approx(accuracy, abs=1e-12) or loss != "cross_entropy"


def test_in_the_same_chunks_it_is_bit_for_bit_what_it_is_in_memory():
    module = net()
    one, other = streamed(module, chunk_size=50), Objective(module, "cross_entropy", (X, Y), chunk_size=50)
    assert one.value(one.theta) == other.value(other.theta)
    assert torch.equal(one.gradient(one.theta), other.gradient(other.theta))


def test_analyses_pass_their_checks_on_a_stream():
    objective = streamed(net(), chunk_size=64)
    found = [
        landscape.hessian(objective, objective.theta, top_k=2),
        landscape.slice1d(objective, objective.theta, num_points=3),
    ]
    assert [one.status for one in found] == ["complete", "complete"]
    assert all(check.passed for one in found for check in one.checks)


def test_batch_norm_is_recalibrated_a_chunk_at_a_time():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3)).double()
    one, other = streamed(module, chunk_size=64), Objective(module, "cross_entropy", (X, Y), chunk_size=64)
    found, expected = (objective.recalibrated(objective.theta) for objective in (one, other))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_what_wants_all_samples_at_once_is_refused():
    objective = streamed(net())
    with pytest.raises(BadInput, match=r"read anew at every pass.*samples in memory.*`subset` = 601"):
        _ = objective.samples.inputs
    with pytest.raises(BadInput, match="read anew at every pass"):
        objective.samples.picked(torch.tensor([3, 600]))

    def spread(outputs, targets):
        return outputs.std()

    with pytest.raises(BadInput, match="takes the samples together, and there are too many to hold"):
        streamed(net(), spread)


def test_classes_beyond_the_outputs_are_seen_anywhere():
    targets = Y.clone()
    targets[-1] = 3
    with pytest.raises(BadInput, match="targets run from 0 to 3; expected classes 0 to 2"):
        Objective(net(), "cross_entropy", Stream(DataLoader(TensorDataset(X, targets), 70)))


MEMORY = """
import resource, sys, torch
from torch.utils.data import DataLoader, IterableDataset
import landscape

torch.set_num_threads(1)
CHUNK, WIDTH, TIMES = 2048, 1024, 20  # 8 MB a chunk

class Rows(IterableDataset):
    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        for _ in range(CHUNK * TIMES // 256):
            yield torch.randn(256, WIDTH, generator=generator), torch.randn(256, 1, generator=generator)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def objective(times):
    global TIMES
    TIMES = times
    return landscape.Objective(module, "mse", landscape.Stream(DataLoader(Rows(), batch_size=None)), chunk_size=CHUNK)

module = torch.nn.Linear(WIDTH, 1)
small = objective(2)
small.value_and_gradient(small.theta)
before = peak()
large = objective(20)
value, slope = large.value_and_gradient(large.theta)
grown = peak() - before
total = count = 0
for x, y in Rows():
    total += float((module(x) - y).square().sum()); count += len(y)
assert large.num_samples == count == 20 * CHUNK
assert abs(value - total / count) < 1e-5 * abs(value), (value, total / count)
print(grown / (CHUNK * WIDTH * 4))
"""


@pytest.mark.slow
@pytest.mark.cpu("its memory")
def test_twenty_chunks_take_the_memory_of_two():
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    # Of 18 chunks more, none stays.
    assert float(run.stdout) < 3
