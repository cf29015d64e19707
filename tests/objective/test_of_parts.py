"""Losses of targets that are several tensors, against the user's own loop."""

import importlib
from collections import namedtuple

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

import landscape
from landscape.errors import BadInput
from landscape.inputs.data.several import carried
from landscape.objective import Objective
from landscape.objective.identity import parts_of
from landscape.objective.of_parts import of_parts
from landscape.objective.samples import Samples

N = 23
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(N, 4, generator=GENERATOR, dtype=torch.float64)
KINDS = torch.randint(0, 3, (N,), generator=GENERATOR)
BOXES = torch.randn(N, 2, generator=GENERATOR, dtype=torch.float64)
MASK = torch.rand(N, 2, generator=GENERATOR) > 0.4
Pair = namedtuple("Pair", "kind box")


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.kind, self.box = nn.Linear(4, 5), nn.Linear(5, 3), nn.Linear(5, 2)

    def forward(self, x):
        h = torch.tanh(self.body(x))
        return {"kind": self.kind(h), "box": self.box(h)}


def parts(outputs, kind, box):
    return functional.cross_entropy(outputs["kind"], kind) + functional.mse_loss(outputs["box"], box)


class Weighted(nn.Module):
    """A criterion with a buffer, which takes the samples together."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64))

    def forward(self, outputs, targets):
        kinds = functional.cross_entropy(outputs["kind"], targets["kind"], self.weight)
        return kinds + ((outputs["box"] - targets["box"]).square() * targets["mask"]).mean()


CASES = {
    "dictionary": (lambda o, t: parts(o, t["kind"], t["box"]), {"kind": KINDS, "box": BOXES}),
    "tuple": (lambda o, t: parts(o, *t), (KINDS, BOXES)),
    "list": (lambda o, t: parts(o, *t), [KINDS, BOXES]),
    "named tuple": (lambda o, t: parts(o, t.kind, t.box), Pair(KINDS, BOXES)),
    "nested": (lambda o, t: parts(o, t["a"][0], t["a"][1]), {"a": (KINDS, BOXES), "unread": MASK}),
    "arrays": (lambda o, t: parts(o, t["kind"], t["box"]), {"kind": KINDS.numpy(), "box": BOXES.numpy()}),
    "a loss of each": (
        lambda o, t: (
            functional.cross_entropy(o["kind"], t["kind"], reduction="none")
            + (o["box"] - t["box"]).square().sum(1)
        ),
        {"kind": KINDS, "box": BOXES},
    ),
    "ignored": (
        lambda o, t: (
            functional.cross_entropy(o["kind"], t[0], ignore_index=1) + functional.l1_loss(o["box"], t[1])
        ),
        (KINDS, BOXES),
    ),
    "criterion": (Weighted(), {"kind": KINDS, "box": BOXES, "mask": MASK}),
}


def plainly(module, loss, targets):
    targets = (
        {k: torch.as_tensor(v) for k, v in targets.items()}
        if isinstance(targets, dict) and "a" not in targets
        else targets
    )
    value = loss(module(X), targets).mean()
    weights = list(module.parameters())
    slope = torch.cat([one.reshape(-1) for one in torch.autograd.grad(value, weights, create_graph=True)])
    v = torch.linspace(-1, 1, len(slope), dtype=slope.dtype)
    return (
        value.detach(),
        slope.detach(),
        torch.cat([one.reshape(-1) for one in torch.autograd.grad(slope @ v, weights)]),
        v,
    )


@pytest.mark.parametrize("chunk_size", [None, 7, 1])
@pytest.mark.parametrize("name", CASES)
def test_value_gradient_and_product_are_those_of_a_loop(name, chunk_size):
    loss, targets = CASES[name]
    module = Heads().double()
    value, slope, image, v = plainly(module, loss, targets)
    found = Objective(module, loss, (X, targets), chunk_size=chunk_size)
    assert found.value(found.theta) == pytest.approx(float(value), rel=1e-13)
    torch.testing.assert_close(found.gradient(found.theta), slope, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(found.hvp(found.theta, v), image, rtol=1e-12, atol=1e-13)


def test_a_module_in_float32_has_a_twin_in_float64():
    module = Heads()
    targets = {"kind": KINDS, "box": BOXES.float()}
    found = Objective(module, CASES["dictionary"][0], (X.float(), targets), dtype=torch.float64)
    module.double()
    value = CASES["dictionary"][0](module(X.float().double()), targets | {"box": BOXES.float().double()})
    assert found.value(found.theta) == pytest.approx(float(value.detach()), rel=1e-13)


def _samples():
    return [(X[i], {"kind": KINDS[i], "box": BOXES[i]}) for i in range(N)]


@pytest.mark.parametrize(
    "data",
    [
        lambda: DataLoader(_samples(), batch_size=4),
        lambda: landscape.Stream(DataLoader(_samples(), batch_size=4)),
        lambda: _samples(),
        lambda: [
            (X[:10], {"kind": KINDS[:10], "box": BOXES[:10]}),
            (X[10:], {"kind": KINDS[10:], "box": BOXES[10:]}),
        ],
    ],
    ids=["loader", "stream", "samples", "batches"],
)
def test_data_that_are_read_are_the_same(data):
    loss, targets = CASES["dictionary"]
    wanted = plainly(Heads().double(), loss, targets)[0]
    given = data()
    if isinstance(given, list) and len(given) == 2:
        given = landscape.Stream(given, held=2**20)
    found = Objective(Heads().double(), loss, given, chunk_size=5)
    assert found.value(found.theta) == pytest.approx(float(wanted), rel=1e-13)


def test_named_tuples_of_a_loader_keep_their_names():
    loss, targets = CASES["named tuple"]
    samples = [(X[i], Pair(KINDS[i], BOXES[i])) for i in range(N)]
    wanted = plainly(Heads().double(), loss, targets)[0]
    for data in (samples, DataLoader(samples, batch_size=6)):
        found = Objective(Heads().double(), loss, data)
        assert found.value(found.theta) == pytest.approx(float(wanted), rel=1e-13)


def test_processes_compare_the_code_of_the_loss_itself(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    hashes = []
    for number in (1, 2):
        (tmp_path / f"lossy{number}.py").write_text(
            f"def loss(o, t):\n    return {number} * t['box'].mean()\n"
        )
        loss = importlib.import_module(f"lossy{number}").loss
        layout = carried(X, {"box": BOXES}, "the data")[1]
        wrapped = of_parts(loss, layout, BOXES)
        hashes.append(parts_of(Heads(), wrapped, Samples.of((X, KINDS)))["code"])
    assert hashes[0] != hashes[1]


def test_the_checks_of_a_run_and_of_curvature_pass():
    loss, targets = CASES["dictionary"]
    objective = Objective(Heads(), loss, (X.float(), targets | {"box": BOXES.float()}))
    test = objective.on((X[:9].float(), {"kind": KINDS[:9], "box": BOXES[:9].float()}))
    for found in (
        landscape.train(objective, epochs=2, batch_size=8, lr=0.05, test=test),
        landscape.hessian(objective, objective.theta, top_k=2),
        landscape.noise(objective, objective.theta, num_steps=200, num_seeds=3),
    ):
        result = getattr(found, "result", found)
        assert all(check.passed for check in result.checks)


@pytest.mark.parametrize(
    ("loss", "targets", "sentence"),
    [
        (
            "mse",
            CASES["tuple"][1],
            "targets that hold several tensors, for the loss mse; expected one tensor",
        ),
        (lambda o, t: t["none"].mean(), CASES["dictionary"][1], "outputs dict and targets dict: 'none'"),
        (CASES["tuple"][0], (KINDS, BOXES[:4]), "the targets are a tuple.*side by side into one tensor"),
    ],
)
def test_what_does_not_fit_gets_a_sentence(loss, targets, sentence):
    with pytest.raises(BadInput, match=sentence):
        Objective(Heads().double(), loss, (X, targets))


@pytest.mark.parametrize("targets", [KINDS, {"kind": KINDS}, {"kind": KINDS, "box": BOXES[:, :1]}])
def test_other_data_are_laid_out_alike(targets):
    found = Objective(Heads().double(), CASES["dictionary"][0], (X, CASES["dictionary"][1]))
    with pytest.raises(BadInput, match="targets of other fields, shapes or dtypes"):
        found.on((X, targets))
