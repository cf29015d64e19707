"""F of modules, losses and data as people bring them, against plain calls of everything at once; refusals."""

import functools

import numpy as np
import pytest
import torch
from meanings import MEANINGS, WEIGHT, N, X, Y, draw, net
from torch import nn
from torch.nn import functional

from landscape import BadInput, Objective
from landscape.objective import checks, trees
from landscape.objective.meaning import probe

# What a function of the user's closes over stays in float64, which then does not go with float32.
CLOSED_OVER = {"weighted, by a function", "graph in one piece", "gradient penalty in the loss"}


@functools.cache
def plain(name):
    """(shift, v, F, ∇F, Hv at the present point and at a moved one)."""
    meaning = MEANINGS[name]()
    theta = torch.nn.utils.parameters_to_vector(
        p for p in meaning.module.parameters() if p.requires_grad
    ).detach()
    shift, v = 0.1 * draw(len(theta), seed=11), draw(len(theta), seed=12)
    return shift, v, [meaning.derivatives(point, v) for point in (theta, theta + shift)]


def state(module):
    """Everything that must come back."""
    return (
        checks.fingerprint(module),
        [
            {key: value for key, value in layer.__dict__.items() if key != "training"}
            for layer in module.modules()
        ],
        [
            list(map(id, (*layer._parameters.values(), *layer._buffers.values())))
            for layer in module.modules()
        ],
        torch.get_rng_state().tolist(),
        torch.backends.mha.get_fastpath_enabled(),
    )


@pytest.mark.parametrize(
    "chunk_size", [7, None, *(pytest.param(size, marks=pytest.mark.slow) for size in (1, 64))]
)
@pytest.mark.parametrize("name", MEANINGS)
def test_it_is_that_of_plain_calls(name, chunk_size):
    meaning = MEANINGS[name]()
    shift, v, (here, moved) = plain(name)
    meaning.module.train(name != "old spectral norm")
    before = state(meaning.module)
    objective = Objective(meaning.module, meaning.loss, meaning.data, chunk_size=chunk_size)
    theta = objective.theta
    for point, (value, slope, image) in ((theta, here), (theta + shift, moved)):
        assert objective.value(point) == pytest.approx(value, rel=1e-12)
        assert objective.values(torch.stack([point, point]))[1] == pytest.approx(value, rel=1e-12)
        torch.testing.assert_close(objective.gradient(point), slope, rtol=1e-9, atol=1e-12)
        # Differences of the gradient err as vectors do.
        off = 1e-11 if meaning.by_hand is None else 1e-8 * float(image.norm())
        torch.testing.assert_close(objective.hvp(point, v), image, rtol=1e-8, atol=off)
    assert objective.is_whole is meaning.is_whole
    assert bool(objective.doubts) is (meaning.by_hand is not None)
    notes = [one for one in objective.notes if "trainable parameters of its own" not in one]
    assert (len(notes) > len(objective.doubts)) is meaning.is_whole
    if meaning.is_whole and chunk_size in (1, 7):
        assert any(f"chunk size {chunk_size} is ignored" in note for note in objective.notes)
    after = state(meaning.module)
    assert [one.keys() for one in after[1]] == [one.keys() for one in before[1]]
    assert all(
        value is kept[key]
        for layer, kept in zip(after[1], before[1], strict=True)
        for key, value in layer.items()
    )
    assert (after[0], *after[2:]) == (before[0], *before[2:])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", MEANINGS)
def test_the_checks_of_the_meaning_pass(name, dtype):
    meaning = MEANINGS[name]()
    if dtype == torch.float32 and name in CLOSED_OVER:
        with pytest.raises(BadInput, match="does not take"):
            Objective(meaning.module, meaning.loss, meaning.data, dtype=dtype)
        return
    objective = Objective(meaning.module, meaning.loss, meaning.data, dtype=dtype, chunk_size=5)
    before = checks.fingerprint(objective.module)
    found = checks.meaning(objective, objective.present_point())
    assert [one.name for one in found] == ["cut", "moved", "cut, derivative"]
    assert [one.name for one in found if not one.passed] == []
    loss = checks.agreement("", objective, objective.value(objective.theta), objective.present_point(), "")
    assert loss.passed
    assert checks.fingerprint(objective.module) == before


@pytest.mark.parametrize("name", MEANINGS)
def test_a_batch_of_all_samples_is_the_whole(name):
    """What a training step is given: the plain loss of the batch, which F is where the batch is everything."""
    meaning = MEANINGS[name]()
    _, _, ((value, slope, _), _) = plain(name)
    objective = Objective(meaning.module, meaning.loss, meaning.data)
    fixed = dict(objective.present_point().fixed)
    for indices in (None, torch.arange(N)):
        loss, gradient = objective.batch_gradient(objective.theta, indices, fixed)
        assert float(loss) == pytest.approx(value, rel=1e-12)
        torch.testing.assert_close(gradient, slope, rtol=1e-9, atol=1e-12)


def test_a_batch_of_what_is_taken_together_is_a_sentence():
    meaning = MEANINGS["graph in one piece"]()
    objective = Objective(meaning.module, meaning.loss, meaning.data)
    with pytest.raises(BadInput, match=f"a batch of 4 samples.*all {N} samples in every step"):
        objective.batch_gradient(objective.theta, torch.arange(4), dict(objective.present_point().fixed))


def test_a_wrong_cut_is_seen(monkeypatch):
    """The centre of each chunk instead of that of all samples."""
    meaning = MEANINGS["centred over the batch"]()
    objective = Objective(meaning.module, meaning.loss, meaning.data, chunk_size=7)
    objective._fit.is_whole = False
    found = {one.name: one for one in checks.meaning(objective, objective.present_point())}
    assert not found["cut"].passed
    assert not found["cut, derivative"].passed


def test_weights_that_stay_behind_are_seen():
    """A layer that, from some moment on, reads the parameter itself instead of what stands in for it."""
    module = net()
    objective = Objective(module, "cross_entropy", (X, Y))
    own = module[0].weight
    module[0].forward = lambda x: functional.linear(x, own, module[0].bias)
    found = {one.name: one for one in checks.meaning(objective, objective.as_point(objective.theta + 0.3))}
    assert not found["moved"].passed
    assert not found["cut"].passed


class Cached(nn.Module):
    """Computes from its weight once, in the first call."""

    def __init__(self):
        super().__init__()
        self.layer, self.kept = nn.Linear(3, 4).double(), []
        self(X)

    def forward(self, x):
        if not self.kept:
            self.kept.append(2 * self.layer.weight)
        return functional.linear(x, self.kept[0], self.layer.bias)


class Listed(nn.Module):
    """Reads its weights from a list."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Parameter(draw(3, 4)), nn.Parameter(draw(4, 4))
        self.all = [self.first]

    def forward(self, x):
        return torch.tanh(x @ self.all[0]) @ self.second


class TwoFunctions(nn.Module):
    """Another function where gradients are recorded."""

    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        return self.net(x) * (2 if torch.is_grad_enabled() else 1)


REFUSED = {
    "shapes that broadcast": (lambda: net(3, 1), nn.MSELoss(), draw(N), "would broadcast"),
    "shapes that broadcast, inside": (
        lambda: net(3, 1),
        lambda o, t: functional.mse_loss(o, t),
        draw(N),
        "would broadcast",
    ),
    "weights in a list": (Listed, "cross_entropy", Y, "^first of Listed do not move F"),
    "weights computed from once": (Cached, "cross_entropy", Y, "^layer.weight of Cached do not move F"),
    "two functions": (TwoFunctions, "cross_entropy", Y, "other outputs where gradients are recorded"),
    "a scripted module": (lambda: torch.jit.trace(net(), X), "cross_entropy", Y, "scripted or traced"),
    "a scripted layer": (
        lambda: nn.Sequential(torch.jit.trace(net(), X), nn.Linear(4, 4).double()),
        "cross_entropy",
        Y,
        "0 is a scripted or traced",
    ),
    "all ignored": (net, nn.CrossEntropyLoss(ignore_index=7), 0 * Y + 7, "weight 0"),
    "a loss that raises on everything": (net, nn.NLLLoss(WEIGHT[:2]), Y, "does not take outputs"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_has_no_meaning_is_refused(name):
    make, loss, targets, message = REFUSED[name]
    with pytest.raises(BadInput, match=message):
        Objective(make(), loss, (X, targets))


def cross(o, t, reduction="mean"):
    return functional.cross_entropy(o, t, reduction=reduction)


ASIDE = {
    "what else is known": lambda o, t: (cross(o, t), o.square().mean()),
    "accuracy": lambda o, t: (cross(o, t), (o.argmax(1) == t).double().mean().item()),
    "labels told": lambda o, t: (cross(o, t), (o.argmax(1) == t).sum()),
    "a mean and how many": lambda o, t: (cross(o, t), len(t)),
    "outputs": lambda o, t: (cross(o, t), o),
    "rows": lambda o, t: (cross(o, t, "none"), WEIGHT[t]),
}


@pytest.mark.parametrize("name", ASIDE)
def test_what_stands_beside_a_loss_is_no_weight(name):
    module = net()
    for one in (module, Centred(module)):
        with pytest.raises(BadInput, match="no total and its weight"):
            Objective(one, ASIDE[name], (X, Y))
    remedied = Objective(module, lambda o, t: ASIDE[name](o, t)[0], (X, Y))
    assert remedied.value(remedied.theta) == pytest.approx(float(cross(module(X), Y)), rel=1e-12)


def test_two_numbers_of_all_samples_are_one_over_the_other_and_said():
    def soft(o, t):
        p = o.softmax(1)
        return -p[torch.arange(len(t)), t].sum(), p.square().sum() + len(t)

    module = net()
    objective = Objective(module, soft, (X, Y))
    first, second = soft(module(X), Y)
    assert objective.value(objective.theta) == pytest.approx(float(first / second), rel=1e-12)
    assert "the loss soft returns two numbers: F is the first over the second" in objective.notes


class Centred(nn.Module):
    """Its samples hang together."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        h = self.module(x)
        return h - h.mean(0)


def test_a_function_named_like_a_built_in_loss_is_the_users_own():
    def bce(o, t):
        return (o[:, 0] - t).abs().mean()

    targets = 3 * draw(N)
    module = net()
    objective = Objective(module, bce, (X, targets))
    assert objective.value(objective.theta) == pytest.approx(float(bce(module(X), targets)), rel=1e-13)


def test_telling_samples_come_first():
    targets = torch.zeros(1000, dtype=torch.int64)
    targets[777] = 5
    x = torch.zeros(1000, 2)
    x[123, 0], x[456, 1] = 9.0, -9.0
    rows = probe((x,), targets, 8).tolist()
    assert {0, 999, 777, 123, 456} <= set(rows)
    assert len(rows) == 8
    assert probe((x[:1],), targets[:1], 8).tolist() == [0, 0]


def rare_positives(o, t):
    """Over their number, as in RetinaNet."""
    return functional.binary_cross_entropy_with_logits(o[:, 0], t, reduction="sum") / t.sum().clamp(min=1)


def tail(o, t):
    far = t.abs() > 2.5
    return (o[:, 0] - t).square().mean() + (o[:, 0] * far).sum() / far.sum().clamp(min=1)


class Rare(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = net()

    def forward(self, x):
        return self.body(x) / (x[:, 0] > 2.5).sum().clamp(min=1)


@pytest.mark.parametrize("loss", [rare_positives, tail, "mse"])
def test_a_number_of_rare_things_hangs_together_in_the_data_though_not_in_those_tried(loss):
    count = 900
    x = 0.1 * draw(count, X.shape[1])
    targets = torch.zeros(count, dtype=torch.float64) if loss is rare_positives else 0.1 * draw(count)
    targets[[100, 333, 650]] = 1.0 if loss is rare_positives else 2.6
    x[[101, 334, 651], 0] = 2.6
    module = Rare() if loss == "mse" else net()
    targets = torch.zeros_like(module(x)) if loss == "mse" else targets
    wanted = functional.mse_loss(module(x), targets) if loss == "mse" else loss(module(x), targets)
    objective = Objective(module, loss, (x, targets), chunk_size=50)
    assert objective.value(objective.theta) == pytest.approx(float(wanted), rel=1e-12)
    assert any("takes the samples together" in one for one in objective.notes)


def test_trees_are_cut_in_their_own_shape():
    tree = {"a": X, "b": [Y, None, 3], "c": (X,)}
    part = trees.rows(tree, slice(2, 5))
    assert torch.equal(part["a"], X[2:5])
    assert torch.equal(part["b"][0], Y[2:5])
    assert part["b"][1:] == [None, 3]
    assert isinstance(part["c"], tuple)
    assert trees.count(part) == 3
    assert len(trees.leaves(tree)) == 4
    assert np.isclose(trees.largest(tree), float(X.abs().max()))


def test_what_few_samples_have_is_among_those_tried():
    """A target left out that is the last of many integers, and weights that are not one: means over what counts."""
    count, words = 6000, 200
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    rare = torch.randperm(count, generator=generator)[:2]
    tokens = torch.randint(0, words - 1, (count,), generator=generator)
    tokens[rare] = words - 1
    weighed = torch.stack([x.sum(1), torch.ones(count, dtype=torch.float64)], 1)
    weighed[rare, 1] = torch.tensor([0.37, 0.61], dtype=torch.float64)

    def ignoring(outputs, targets):
        return functional.cross_entropy(outputs, targets, ignore_index=words - 1)

    def weighted(outputs, targets):
        return (targets[:, 1] * (outputs[:, 0] - targets[:, 0]).square()).sum() / targets[:, 1].sum()

    for loss, targets in ((ignoring, tokens), (weighted, weighed)):
        module = nn.Linear(3, words).double()
        objective = Objective(module, loss, (x, targets), chunk_size=500)
        wanted = loss(module(x), targets)
        slopes = torch.autograd.grad(wanted, list(module.parameters()))
        assert objective.value(objective.theta) == pytest.approx(float(wanted.detach()), rel=1e-12)
        own = torch.cat([one.flatten() for one in slopes])
        torch.testing.assert_close(objective.gradient(objective.theta), own, rtol=1e-9, atol=1e-12)
