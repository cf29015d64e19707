"""What is refused says what to do, and what it says works: each remedy is taken here, and F is that of a plain call."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset

import landscape
from landscape import BadInput, Objective
from landscape.errors import NotDifferentiable
from landscape.objective.closures import seeded

N = 23
X = torch.randn(N, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.arange(N) % 3
CE = functional.cross_entropy


def net(inputs: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 3), nn.Tanh(), nn.Linear(3, 3)).double()


def value(module, loss, data) -> float:
    objective = Objective(module, loss, data)
    return objective.value(objective.theta)


class Rows(Dataset):
    """Samples made one by one."""

    def __init__(self, make):
        self.make = make

    def __len__(self):
        return N

    def __getitem__(self, i):
        return self.make(i)


class Own(nn.Module):
    """A module that takes labels and gives its loss."""

    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x, labels):
        return CE(self.net(x), labels)


@pytest.mark.parametrize(
    ("module", "loss", "data", "said", "mended"),
    [
        (
            net(),
            "cross_entropy",
            TensorDataset(X, Y, torch.arange(N)),
            "of the 3 parts of a sample the last is the target",
            TensorDataset(X, Y),
        ),
        (
            net(),
            "cross_entropy",
            Rows(lambda i: {"x": X[i], "number": i, "label": Y[i]}),
            "the field label is the target, x, number the inputs",
            Rows(lambda i: (X[i], Y[i])),
        ),
        (
            net(),
            "cross_entropy",
            Rows(lambda i: {"image": X[i], "class_id": Y[i]}),
            "no field is called labels, .*: image, class_id are inputs",
            Rows(lambda i: (X[i], Y[i])),
        ),
        (
            Own(),
            "output",
            Rows(lambda i: {"x": X[i], "labels": Y[i]}),
            "the field labels is the target, x the input",
            Rows(lambda i: ({"x": X[i], "labels": Y[i]}, Y[i])),
        ),
    ],
)
def test_how_the_data_were_read_stands_in_the_refusal(module, loss, data, said, mended):
    with pytest.raises(
        BadInput, match=f"the data were taken so: {said}.*let the data be \\(inputs, targets\\)"
    ):
        Objective(module, loss, data)
    plain = getattr(module, "net", module)
    assert value(module, loss, mended) == pytest.approx(float(CE(plain(X), Y).detach()), rel=1e-12)


class ByKeyword(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, *, x, scale):
        return self.net(x) * scale


class AnyKeyword(ByKeyword):
    def forward(self, **batch):
        return self.net(batch["x"]) * batch["scale"]


class PartlyByKeyword(ByKeyword):
    def forward(self, x, *, scale=None):
        return self.net(x) * scale


class ByName(ByKeyword):
    def forward(self, x, scale):
        return self.net(x) * scale


class ByBatch(ByKeyword):
    def forward(self, batch):
        return self.net(batch["x"]) * batch["scale"]


@pytest.mark.parametrize("module", [ByKeyword(), AnyKeyword(), PartlyByKeyword(), ByName(), ByBatch()])
def test_arguments_by_keyword_alone(module):
    data = {"x": X, "scale": X[:, :1].exp()}, Y
    wanted = float(CE(ByKeyword()(**data[0]), Y).detach())
    assert value(module, "cross_entropy", data) == pytest.approx(wanted, rel=1e-12)
    objective = Objective(module, "cross_entropy", data)
    # Cut, on other data, and of a module given as it is.
    assert objective.on(data).value(objective.theta) == pytest.approx(wanted, rel=1e-12)
    parts = Objective(module, "cross_entropy", data, chunk_size=3)
    assert parts.value(parts.theta) == pytest.approx(wanted, rel=1e-12)
    assert isinstance(module, ByBatch) or "x, scale are given to the module by name" in objective.notes
    run = landscape.train(objective, steps=3, batch_size=4)
    assert all(check.passed for check in run.checks)


def test_every_road_takes_arguments_by_keyword():
    data = {"x": X, "scale": X[:, :1].exp()}, Y
    torch.manual_seed(1)
    other, found = ByName(), []
    for one in other.parameters():
        torch.nn.init.normal_(one)
    for module in (ByKeyword(), ByName()):
        objective = Objective(module, "cross_entropy", data)
        theta = torch.cat([one.detach().flatten() for one in other.parameters()])
        results = [
            landscape.hessian(objective, theta, top_k=2, operator="gauss-newton"),
            landscape.align(objective, theta, objective.theta, symmetry="all"),
            landscape.sharpness(objective, theta, num_draws=2),
        ]
        assert all(check.passed for one in results for check in one.checks)
        found.append([results[0].eigenvalues, results[1].distance_after, results[2].values])
    for keyword, place in zip(*found, strict=True):
        np.testing.assert_allclose(keyword, place, rtol=1e-9)


class OneByKeyword(ByKeyword):
    def forward(self, *, tokens, scale=2.0):
        return self.net(tokens) * scale


def test_one_field_is_the_argument_that_is_needed():
    wanted = float(CE(OneByKeyword()(tokens=X), Y).detach())
    batches = DataLoader([{"tokens": x, "labels": y} for x, y in zip(X, Y, strict=True)], batch_size=5)
    for data in ((X, Y), ({"tokens": X}, Y), batches):
        assert value(OneByKeyword(), "cross_entropy", data) == pytest.approx(wanted, rel=1e-12)


def test_other_names_by_keyword_are_told():
    with pytest.raises(
        BadInput, match=r"names of the arguments, it has a, b; or write forward\(self, batch\)"
    ):
        Objective(ByKeyword(), "cross_entropy", ({"a": X, "b": X}, Y))
    with pytest.raises(BadInput, match=r"give the data as \(inputs, targets\), inputs a dictionary"):
        Objective(ByKeyword(), "cross_entropy", (X, Y))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int64, torch.bool])
def test_whole_numbers_for_a_module_of_real_ones(dtype):
    whole = (3 * X).abs().to(dtype)
    with pytest.raises(BadInput, match=r"which are integers: .*let the data return inputs.float\(\)"):
        Objective(net(), "cross_entropy", (whole, Y))
    wanted = float(CE(net()(whole.double()), Y).detach())
    assert value(net(), "cross_entropy", (whole.float(), Y)) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("loss", ["cross_entropy", nn.CrossEntropyLoss(), CE])
@pytest.mark.parametrize(
    ("targets", "said", "mended"),
    [
        (Y[:, None], r"targets.squeeze\(1\)", [Y[:, None].squeeze(1)]),
        (
            functional.one_hot(Y),
            r"targets.argmax\(1\), or shares of classes, targets.float\(\)",
            [functional.one_hot(Y).argmax(1), functional.one_hot(Y).float()],
        ),
    ],
)
def test_classes_in_another_shape(loss, targets, said, mended):
    with pytest.raises(BadInput, match=said):
        Objective(net(), loss, (X, targets))
    for one in mended:
        assert value(net(), loss, (X, one)) == pytest.approx(float(CE(net()(X), Y).detach()), rel=1e-12)


def test_classes_for_a_loss_of_yes_and_no():
    with pytest.raises(
        BadInput, match=r"of classes take cross_entropy, or torch.nn.functional.one_hot\(targets"
    ):
        Objective(net(), "bce", (X, Y % 2))
    shares = functional.one_hot(Y % 2, 3).double()
    wanted = float(functional.binary_cross_entropy_with_logits(net()(X), shares).detach())
    assert value(net(), "bce", (X, functional.one_hot(Y % 2, 3).float())) == pytest.approx(wanted, rel=1e-12)


def test_targets_that_are_not_as_many_are_put_together():
    with pytest.raises(BadInput, match=r"the targets are a tuple.*side by side into one tensor"):
        Objective(net(), lambda o, t: CE(o, t[0]), (X, (Y, Y[:3])))


# --- what draws -----------------------------------------------------------------------------


class Seldom(nn.Module):
    """A net that halves its input once in five times."""

    def __init__(self, draw):
        super().__init__()
        self.net, self.draw = net(), draw

    def forward(self, x):
        return self.net(x / 2 if self.draw() < 0.2 else x)


@pytest.mark.parametrize(
    "draw",
    [random.random, lambda: np.random.rand(), lambda: float(torch.rand(()))],
    ids=["own", "numpy", "torch"],
)
def test_a_module_that_draws_and_seldom_shows_it_is_refused(draw):
    for seed in range(5):
        with (
            seeded(seed),
            pytest.raises(BadInput, match="gives different outputs for the same inputs in eval"),
        ):
            Objective(Seldom(draw), "cross_entropy", (X, Y))


def test_a_draw_that_never_shows_is_no_matter():
    module = Seldom(lambda: 1 + random.random() + float(torch.rand(())))
    assert value(module, "cross_entropy", (X, Y)) == pytest.approx(
        float(CE(module.net(X), Y).detach()), rel=1e-12
    )


# --- accuracy -------------------------------------------------------------------------------


class Messages(nn.Module):
    """Nodes that hear from others."""

    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x, edges):
        return self.net(x.index_add(0, edges[1], x[edges[0]]))


def test_the_accuracy_of_a_graph_is_that_of_the_nodes_with_labels():
    edges = torch.stack([torch.arange(N), torch.arange(N).flip(0)])
    labels = torch.where(torch.arange(N) < 9, Y, -100)
    module = Messages()
    objective = Objective(module, "cross_entropy", ((X, edges), labels))
    found = objective.measure(objective.theta)
    outputs = module(X, edges)
    assert found.loss == pytest.approx(float(CE(outputs, labels).detach()), rel=1e-12)
    assert found.accuracy == pytest.approx(float((outputs.argmax(1) == Y)[:9].double().mean()), rel=1e-12)
    result = landscape.slice1d(objective, objective.theta, num_points=3)
    assert all(one.passed for one in result.checks)


# --- targets that are not there, classes by other numbers ------------------------------------


@pytest.mark.parametrize("read", [lambda x, y: (x, y), TensorDataset])
def test_targets_that_are_not_there(read):
    y = X[:, :1].sin()
    y[[3, 4, 17]] = torch.nan
    one = nn.Sequential(net(), nn.Linear(3, 1)).double()

    def over_the_others(outputs, targets):
        return ((outputs - targets) ** 2)[targets > -1e4].mean()

    with pytest.raises(BadInput, match=r"targets.nan_to_num\(nan=-1e4\).*\[targets > -1e4\].mean\(\)"):
        Objective(one, lambda o, t: torch.nanmean((o - t) ** 2), read(X, y))
    wanted = float(torch.nanmean((one(X) - y) ** 2).detach())
    assert value(one, over_the_others, read(X, y.nan_to_num(nan=-1e4))) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(
    ("targets", "said", "mended"),
    [(Y.double(), r"targets.long\(\)", Y), (Y + 1, "let the data give targets - 1", Y)],
)
def test_classes_as_other_numbers(targets, said, mended):
    for loss in ("cross_entropy", nn.CrossEntropyLoss()):
        with pytest.raises(BadInput, match=said):
            Objective(net(), loss, (X, targets))
        assert value(net(), loss, (X, mended)) == pytest.approx(float(CE(net()(X), Y).detach()), rel=1e-12)


def test_a_loss_that_gives_a_number_of_python():
    with pytest.raises(BadInput, match=r"returned a float; expected a tensor; leave out item\(\), float\(\)"):
        Objective(net(), lambda o, t: CE(o, t).item(), (X, Y))


def test_pairs_of_inputs_without_targets_are_told():
    class Gap(ByKeyword):
        def forward(self, x, other):
            return (self.net(x) - self.net(other)).square().sum(1)

    module = Gap()
    with pytest.raises(
        BadInput, match=r"where it is an input as well, give \(\(first, second\), None\) or a dictionary"
    ):
        Objective(module, "output", TensorDataset(X, 2 * X))
    wanted = float(module(X, 2 * X).mean().detach())
    rows = DataLoader([{"x": one, "other": 2 * one} for one in X], batch_size=4)
    for data in (((X, 2 * X), None), rows):
        assert value(module, "output", data) == pytest.approx(wanted, rel=1e-12)


def test_a_loss_that_writes_into_its_targets_is_told_to_copy_them():
    """Targets below 0 do not count; once they are 0 they would, at the next call."""

    def masked(outputs, targets):
        counts = targets >= 0
        targets[~counts] = 0
        return (CE(outputs, targets, reduction="none") * counts).mean()

    given = torch.where(Y == 1, -1, Y)
    before = given.clone()
    with pytest.raises(BadInput, match=r"the loss masked writes into its targets.*targets.clone\(\)"):
        Objective(net(), masked, (X, given))
    assert torch.equal(given, before)
    wanted = float(masked(net()(X), before.clone()).detach())
    assert value(net(), lambda o, t: masked(o, t.clone()), (X, given)) == pytest.approx(wanted, rel=1e-12)
    # Of several targets each call is given copies.
    assert value(net(), lambda o, t: masked(o, t["a"]), (X, {"a": given})) == pytest.approx(wanted, rel=1e-12)
    assert torch.equal(given, before)


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [
        (X.tolist(), Y),
        (list(X), Y),
        ([one.numpy() for one in X], Y),
        (X, Y.tolist()),
        (X, list(Y)),
        (X, range(N)),
    ],
    ids=["numbers", "tensors", "arrays", "classes", "classes as tensors", "a range"],
)
def test_lists_become_tensors_by_what_is_said(inputs, targets):
    with pytest.raises(BadInput, match=r"give (torch|numpy)\.\w+\(") as said:
        Objective(net(), CE, (inputs, targets))
    given, known = str(said.value).rpartition("give ")[2].rstrip("."), {"torch": torch, "numpy": np}
    if "inputs" in given:
        inputs = eval(given, known, {"inputs": inputs})
    else:
        # A range numbers more classes than there are.
        targets = eval(given, known, {"targets": targets}) % 3
    assert value(net(), CE, (inputs, targets)) == pytest.approx(float(CE(net()(X), Y).detach()), rel=1e-12)


class Parts(nn.Module):
    """A module that gives several outputs, as many tutorials' do."""

    def __init__(self, made):
        super().__init__()
        self.net, self.made = net(), made

    def forward(self, x, labels=None):
        outputs = self.net(x)
        return self.made(outputs, None if labels is None else CE(outputs, labels))


@pytest.mark.parametrize(
    ("made", "loss", "data"),
    [
        (lambda o, loss: {"loss": loss, "logits": o}, "output", ({"x": X, "labels": Y}, None)),
        (lambda o, loss: (o, loss), "output", ((X, Y), None)),
        (lambda o, loss: {"logits": o, "features": o.exp()}, "cross_entropy", (X, Y)),
        (lambda o, loss: (o, loss), nn.CrossEntropyLoss(), (X, Y)),
    ],
)
def test_one_of_several_outputs_is_taken_by_a_loss_of_ones_own(made, loss, data):
    with pytest.raises(BadInput, match="of one part of several make a loss of your own, as `lambda") as said:
        Objective(Parts(made), loss, data)
    own = eval(str(said.value).split("`")[1], {"loss": CE})
    assert value(Parts(made), own, data) == pytest.approx(float(CE(net()(X), Y).detach()), rel=1e-12)


def test_a_loss_without_data_is_one_of_the_module():
    with pytest.raises(BadInput, match=r"without data give landscape.Objective.from_closure\(module, f\)"):
        Objective(net(), "mse", None)


def test_complex_parameters_are_held_by_their_parts():
    class Turned(nn.Module):
        def __init__(self, made):
            super().__init__()
            self.w = nn.Parameter(made(torch.tensor([1 + 2j, 3 - 1j, 0.5j])))

        def forward(self, x):
            w = self.w if self.w.is_complex() else torch.view_as_complex(self.w)
            return (x * w).abs().square().sum(1)

    with pytest.raises(BadInput, match=r"hold its parts, .*view_as_real\(w\).*view_as_complex"):
        Objective(Turned(lambda w: w), "output", (X, None))
    # F = Σ mean(xᵢ²) |wᵢ|², so that H is diagonal.
    objective = Objective(Turned(torch.view_as_real), "output", (X, None), dtype=torch.float64)
    found = objective.hvp(objective.theta, torch.ones(6, dtype=torch.float64))
    wanted = 2 * X.square().mean(0).repeat_interleave(2)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)


# --- what is written in training ---------------------------------------------------------------


class Queue(nn.Module):
    """Outputs over the keys of batches before, as of a momentum contrast; in training the keys are replaced."""

    def __init__(self, copies: bool):
        super().__init__()
        self.layer, self.copies = nn.Linear(3, 3), copies
        self.register_buffer("keys", torch.eye(3))

    def forward(self, x):
        queries = self.layer(x)
        outputs = queries @ (self.keys.clone() if self.copies else self.keys).T
        if self.training:
            self.keys[0] = queries.detach().mean(0)
        return outputs


def test_a_tensor_that_the_backward_pass_needs_is_not_written():
    with pytest.raises(NotDifferentiable, match=r"writes into a tensor.*\.clone\(\)"):
        landscape.train(Objective(Queue(False).double(), CE, (X, Y)), epochs=1, batch_size=5)
    done = landscape.train(Objective(Queue(True).double(), CE, (X, Y)), epochs=1, batch_size=5)
    assert done.status == "complete"
