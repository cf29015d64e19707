"""Products by chunks: graphs kept within a limit, measured, and the memory of a whole process below it."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from landscape import Objective
from landscape.objective import chunking
from landscape.objective.products import saved_bytes

N, WIDTH = 40, 30


def net(chunk_size: int | None = 10) -> Objective:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 3)).double()
    return Objective(
        module,
        "cross_entropy",
        (torch.randn(N, 6).double(), torch.arange(N) % 3),
        chunk_size=chunk_size,
    )


def test_what_a_graph_saves_is_counted_once_and_without_the_leaves():
    x = torch.randn(50, 8)
    w = torch.randn(8, 20, requires_grad=True)
    hidden = (x @ w).tanh()
    total = (hidden * hidden.exp()).sum()
    # Products save their factors: x and w stand outside; tanh and exp save their results, and the product both.
    assert saved_bytes([total], [x, w]) == 4 * (2 * 50 * 20 + 1)
    assert saved_bytes([total], []) == 4 * (2 * 50 * 20 + 1 + 50 * 8)


def test_what_a_function_written_in_python_saves_counts():
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x.clone())
            return x * x

        @staticmethod
        def backward(ctx, slope):
            return 2 * ctx.saved_tensors[0] * slope

    x = torch.randn(30, requires_grad=True)
    assert saved_bytes([Square.apply(x).sum()], [x]) == 4 * (30 + 1)


@pytest.mark.parametrize(("room", "kept"), [(0.0, 0), (1.5, 0), (3.2, 2), (4.2, 3), (5.2, 4), (100.0, 4)])
def test_graphs_are_kept_as_far_as_they_and_the_work_on_one_fit(room, kept):
    objective = net()
    v = torch.randn(objective.num_parameters, dtype=torch.float64)
    whole = objective.hessian_operator(objective.theta)
    expected = whole(v)
    assert (whole.num_kept, whole.num_chunks) == (4, 4)
    limited = objective.hessian_operator(objective.theta, memory_limit=room * whole.kept_bytes / 4)
    for _ in range(3):
        torch.testing.assert_close(limited(v), expected, rtol=1e-13, atol=1e-15)
    assert (limited.num_kept, limited.num_chunks) == (kept, 4)
    assert limited.kept_bytes <= room * whole.kept_bytes / 4


def test_one_product_keeps_nothing():
    objective = net()
    product = objective.hessian_operator(objective.theta, num_products=1)
    product(torch.ones(objective.num_parameters).double())
    assert product.num_kept == 0


def test_chunks_of_derivatives_fit_the_cache_but_hold_enough_samples():
    assert chunking.for_derivatives(2000, "cpu", 1e12, 4) == 2**20 // 2000
    assert chunking.for_derivatives(500_000, "cpu", 1e12, 4) == 64
    assert chunking.for_derivatives(2000, "cuda", 1e12, 4) == chunking.for_values(2000, "cuda")
    assert chunking.for_derivatives(500_000, "cpu", 24e6, 4) == 2
    assert chunking.for_derivatives(500_000, "cpu", 0.0, 4) == 1
    assert net(chunk_size=7).derivative_chunk() == 7


PEAK = """
import re, torch
from torch import nn
from landscape import Objective
torch.manual_seed(0)
torch.set_num_threads(1)
module = nn.Sequential(*[layer for _ in range(6) for layer in (nn.Linear(256, 256), nn.Tanh())])
objective = Objective(module, "mse", (torch.randn(8000, 256), torch.randn(8000, 256)))
def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
small = Objective(module, "mse", (torch.randn(64, 256), torch.randn(64, 256)))
v = torch.randn(objective.num_parameters)
small.hvp(small.theta, v)
objective.doubts_at(objective.present_point())
before = peak()
product = objective.hessian_operator(objective.theta, memory_limit={limit})
for _ in range(3):
    product(v)
print(product.num_kept, product.num_chunks, peak() - before)
"""


# The largest size that getrusage knows of is inherited from the process that started this one.
linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads what a process holds from /proc"
)


@linux
@pytest.mark.parametrize(
    ("limit", "share"), [(2**31, 1.0), (2**27, 0.5), (2**23, 0.0)], ids=["kept", "some kept", "recomputed"]
)
def test_the_memory_of_a_process_stays_below_the_limit(limit, share):
    text = subprocess.run(
        [sys.executable, "-c", PEAK.format(limit=limit)], capture_output=True, text=True, check=True
    ).stdout
    kept, chunks, bytes_more = map(int, text.split())
    assert bytes_more <= limit
    assert kept == chunks if share == 1 else kept <= 1 < chunks if share == 0 else 1 < kept < chunks


VECTORS = """
import re, resource, torch
from torch import nn
from landscape import Objective
torch.manual_seed(0)
torch.set_num_threads(1)
module = nn.Sequential(nn.Linear(3000, 3000), nn.Tanh(), nn.Linear(3000, 10))
objective = Objective(module, "cross_entropy", (torch.randn(16, 3000), torch.randint(10, (16,))))
theta, bytes_each = objective.theta, 4 * objective.num_parameters
v = torch.randn_like(theta)
def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
before = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
for _ in range(2):
    objective.hvp(theta, v)
print((peak() - before) / bytes_each)
"""


@linux
def test_a_product_and_its_first_trial_hold_seven_vectors():
    """Beside θ and v; the trial of the second derivative, on the first product, is the most of all."""
    # What is freed goes back at once, so that the most that is held is the most that is wanted.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", VECTORS]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert float(found) <= 7.5
