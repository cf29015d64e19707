"""Modules whose tensors are of several dtypes: everything as a plain loop over the user's own module says.

The plain loop writes numbers into the module's own parameters, which round them to their dtypes, and calls
``loss(module(x), y)``. What may differ is rounding of the coarsest dtype, and nothing where the arithmetic is the same.
"""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parameters_to_vector

import landscape
from landscape import Objective
from landscape.objective.checks import fingerprint
from landscape.symmetry import symmetry_of

N = 24


class Mixed(nn.Module):
    """bfloat16 embedding of int32 tokens, float32 body, float64 head; buffers in float16 and, not stored, complex64."""

    def __init__(self, coarse: torch.dtype = torch.bfloat16):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.embed = nn.Embedding(6, 4, dtype=coarse)
            self.body = nn.Linear(4, 4)
            self.head = nn.Linear(4, 3, dtype=torch.float64)
        self.register_buffer("shift", torch.linspace(-1, 1, 4).half())
        self.register_buffer("turn", torch.polar(torch.ones(2), torch.tensor([0.3, 1.1])), persistent=False)

    def forward(self, tokens):
        assert tokens.dtype == torch.int32
        h = self.body(self.embed(tokens).mean(1).float()).tanh() + self.shift
        h = torch.view_as_real(torch.view_as_complex(h.reshape(-1, 2, 2)) * self.turn).flatten(1)
        return self.head(h.double())


class Halved(nn.Module):
    """float32 over a bfloat16 layer, on floating-point inputs that keep the user's dtype."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            self.first = nn.Linear(3, 5, dtype=torch.bfloat16)
            self.last = nn.Linear(5, 1)

    def forward(self, x):
        assert x.dtype == torch.float64
        return self.last(self.first(x.bfloat16()).float().tanh())


def squares(outputs, targets):
    assert targets.dtype == torch.float64
    return (outputs - targets).square().mean()


def tokens():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(6, (N, 3), generator=generator, dtype=torch.int32)
    return drawn, torch.randint(3, (N,), generator=generator)


def numbers():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(N, 3, generator=generator, dtype=torch.float64), torch.randn(
        N, 1, generator=generator, dtype=torch.float64
    )


CASES = {
    "every dtype": (Mixed, functional.cross_entropy, tokens, 3e-2),
    "a float32 embedding": (lambda: Mixed(torch.float32), functional.cross_entropy, tokens, 1e-5),
    "a bfloat16 layer": (Halved, squares, numbers, 5e-2),
}


def made(name):
    make, loss, data, bound = CASES[name]
    module = make()
    return Objective(module, loss, data()), module, loss, data(), bound


def written(module, theta):
    """A copy with the numbers of θ, each parameter in its own dtype."""
    other = copy.deepcopy(module).eval()
    start = 0
    with torch.no_grad():
        for parameter in other.parameters():
            end = start + parameter.numel()
            parameter.copy_(theta[start:end].view_as(parameter))
            start = end
    return other


def plain(module, theta, loss, data):
    """F and ∇F by a plain loop."""
    other = written(module, theta)
    value = loss(other(data[0]), data[1])
    slopes = torch.autograd.grad(value, list(other.parameters()))
    return value.item(), torch.cat([one.flatten().double() for one in slopes])


@pytest.fixture(params=CASES)
def case(request):
    return made(request.param)


def test_value_and_gradient_are_those_of_a_plain_loop(case):
    objective, module, loss, data, bound = case
    before = fingerprint(module)
    widest = max((p.dtype for p in module.parameters()), key=lambda one: one.itemsize)
    assert objective.dtype == objective.theta.dtype == widest
    assert objective.is_mixed
    step = 0.1 * torch.randn(
        objective.num_parameters, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    for theta in (objective.theta, objective.theta + step.to(widest)):
        value, slope = plain(module, theta, loss, data)
        assert objective.value(theta) == value
        found = objective.gradient(theta).double()
        # The same operations backward, of n times the loss, which the coarsest dtype rounds otherwise.
        assert float((found - slope).norm()) <= bound / 10 * float(slope.norm())
        assert float(found @ step) == pytest.approx(float(slope @ step), abs=bound / 10 * float(slope.norm()))
    assert fingerprint(module) == before


@pytest.mark.parametrize("chunk_size", [1, 7, None])
def test_chunks_change_rounding_alone(case, chunk_size):
    _, module, loss, data, bound = case
    cut = Objective(module, loss, data, chunk_size=chunk_size)
    assert cut.value(cut.theta) == pytest.approx(plain(module, cut.theta, loss, data)[0], rel=bound / 10)


def test_products_and_the_top_eigenvalue_are_those_of_plain_double_backward(case):
    objective, module, loss, data, bound = case
    theta, d = objective.theta, objective.num_parameters
    other = written(module, theta)
    weights = list(other.parameters())
    slopes = torch.autograd.grad(loss(other(data[0]), data[1]), weights, create_graph=True)
    rows = []
    for k in range(d):
        axis = torch.eye(d, dtype=torch.float64)[k].split([w.numel() for w in weights])
        along = sum((s.double() * a.view_as(s)).sum() for s, a in zip(slopes, axis, strict=True))
        images = torch.autograd.grad(along, weights, retain_graph=True)
        rows.append(torch.cat([one.flatten().double() for one in images]))
    matrix = torch.stack(rows)
    v = torch.randn(d, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    image = objective.hvp(theta, v.to(objective.dtype)).double()
    scale = float(matrix.norm(2))
    assert float((image - matrix @ v).norm()) <= bound * scale * float(v.norm())
    found = landscape.hessian(objective, theta, top_k=1)
    assert [one.name for one in found.checks if not one.passed] == []
    assert found.eigenvalues[0] == pytest.approx(
        float(torch.linalg.eigvalsh((matrix + matrix.T) / 2)[-1]), abs=bound * scale
    )


def test_a_slice_is_that_of_plain_loops(case):
    objective, module, loss, data, bound = case
    row = landscape.slice1d(objective, objective.theta, num_points=5, ignore=())
    assert [one.name for one in row.checks if not one.passed] == []
    away = torch.as_tensor(row.directions[0])
    for alpha, found in zip(row.alpha, row.loss, strict=True):
        theta = objective.theta + alpha * away
        assert found == pytest.approx(plain(module, theta, loss, data)[0], rel=bound / 10)


def test_training_moves_every_parameter_and_leaves_its_dtype(case):
    objective, module, loss, data, bound = case
    rate, theta = 0.5, objective.theta
    run = landscape.train(objective, method="gd", steps=3, lr=rate, seed=0)
    for _ in range(3):
        theta = theta - rate * plain(module, theta, loss, data)[1].to(theta)
    assert float(run.loss[-1]) == pytest.approx(plain(module, theta, loss, data)[0], rel=bound / 10)
    end = objective.point({k: torch.as_tensor(v) for k, v in run.states["final"].items()})
    reached = objective.module_at(end)
    for (name, one), (_, was) in zip(reached.named_parameters(), module.named_parameters(), strict=True):
        assert one.dtype == was.dtype, name
        assert not torch.equal(one, was), name
    for (name, one), (_, was) in zip(reached.named_buffers(), module.named_buffers(), strict=True):
        assert one.dtype == was.dtype, name
        assert torch.equal(one, was), name


def test_a_dtype_that_is_asked_for_is_that_of_everything():
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    module[1].register_buffer("unused", torch.ones(2, dtype=torch.float16))
    x, y = numbers()
    asked = Objective(module, "mse", (x, y), dtype=torch.float64)
    wide = copy.deepcopy(module).double()
    assert asked.value(asked.theta) == pytest.approx(functional.mse_loss(wide(x), y).item(), rel=1e-14)
    assert not asked.is_mixed
    assert asked.present_point().fixed["1.unused"].dtype == torch.float64
    # float64 data, which a float32 net does not take, are taken to its dtype.
    plainly = Objective(module, "mse", (x, y))
    assert plainly.dtype == plainly.samples.inputs[0].dtype == torch.float32
    assert plainly.present_point().fixed["1.unused"].dtype == torch.float16


def test_points_in_memory_go_to_files_and_back(case, tmp_path: Path):
    objective, *_ = case
    point = objective.as_point(objective.theta * 1.25)
    stored = landscape.import_point(objective, point)
    path = tmp_path / "a.h5"
    landscape.save(stored, path)
    state = landscape.load(path).states["final"]
    again = objective.point({name: torch.as_tensor(np.asarray(array)) for name, array in state.items()})
    assert torch.equal(again.theta, point.theta)
    for name, tensor in point.fixed.items():
        assert again.fixed[name].dtype == tensor.dtype
        assert torch.equal(again.fixed[name], tensor)
    assert objective.value(again.theta, again.fixed) == objective.value(point.theta, point.fixed)


def test_theta_of_a_module_in_float16_and_bfloat16_holds_both():
    module = nn.ModuleList([nn.Linear(2, 2, dtype=torch.float16), nn.Linear(2, 2, dtype=torch.bfloat16)])
    module.forward = lambda x: module[1](module[0](x.half()).bfloat16()).float()
    objective = Objective(module, squares, (numbers()[0][:, :2], numbers()[0][:, :2]))
    assert objective.dtype == torch.float32
    wanted = parameters_to_vector([p.float() for p in module.parameters()])
    assert torch.equal(objective.theta, wanted)


SOURCE = """
import torch
from test_mixed import Mixed, Halved, tokens, numbers, squares

def net(num_outputs=3):
    return Mixed()

def halved(num_outputs=1):
    return Halved()
"""


@pytest.mark.parametrize(
    ("net", "data", "loss"),
    [("net", "tokens", "cross_entropy"), ("halved", "numbers", "mine.py:squares")],
)
def test_run_files_keep_the_dtypes_that_nobody_asked_to_change(net, data, loss, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    (tmp_path / "mine.py").write_text(SOURCE)
    module, (x, y) = (Mixed(), tokens()) if net == "net" else (Halved(), numbers())
    said = functional.cross_entropy if net == "net" else squares
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.25)
        wanted = float(said(module(x), y))
    torch.save(module.state_dict(), "w.pt")
    given = {"model": f"mine.py:{net}", "data": f"mine.py:{data}", "loss": loss, "output": "a.h5"}
    found = landscape.measure("w.pt", "import", **given)
    assert found.final_loss == wanted
    assert landscape.Run("a.h5").dtype == "mixed"
    line = landscape.measure("a.h5", "slice1d", num_points=3)
    # Points side by side are rounded otherwise than one alone.
    assert line.loss[1] == pytest.approx(wanted, rel=1e-3)
    for name, tensor in landscape.Run("a.h5").module().state_dict().items():
        assert tensor.dtype == module.state_dict()[name].dtype
        assert torch.equal(tensor, module.state_dict()[name])
    # Where float32 is asked for, everything is cast, and this module does not bear it.
    with pytest.raises(landscape.BadInput):
        landscape.measure("a.h5", "slice1d", num_points=3, dtype="float32")


class NormedInside(nn.Module):
    """float64 but for a norm that computes in float32, or in bfloat16, as language models do."""

    def __init__(self, inside: torch.dtype):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(6)
            self.first, self.last = nn.Linear(3, 8).double(), nn.Linear(8, 2).double()
        self.inside = inside

    def forward(self, x):
        h = self.first(x).tanh().to(self.inside)
        return self.last((h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-3)).to(x.dtype))


@pytest.mark.parametrize("inside", [torch.float32, torch.bfloat16])
def test_symmetries_are_tried_to_the_rounding_of_what_computes_inside(inside):
    module, (x, _) = NormedInside(inside), numbers()
    symmetry = symmetry_of(module, (x,)).symmetry
    assert set(symmetry.movable) == {"first.weight", "first.bias", "last.weight"}
    objective = Objective(module, squares, (x, x[:, :2]))
    assert objective.coarsest == inside
    other = objective.theta + 0.3 * torch.randn(
        objective.num_parameters, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    found = landscape.align(objective, objective.theta, other)
    assert [one.name for one in found.checks if not one.passed] == []


def test_eigenpairs_of_a_module_that_computes_in_bfloat16_pass_their_checks():
    """Also in float64 its outputs are float32, so that a product is known to that alone."""

    class Cast(nn.Module):
        def __init__(self):
            super().__init__()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(2)
                self.body = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))

        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return self.body(x).float()

    x = torch.randn(13, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).float()
    y = torch.randint(3, (13,), generator=torch.Generator().manual_seed(1))
    objective = Objective(Cast(), "cross_entropy", (x, y))
    for seed in range(4):
        found = landscape.hessian(objective, objective.theta, top_k=3, trace=True, seed=seed)
        assert [check.name for check in found.checks if not check.passed] == []
