"""F, its gradient and its Hessian products: closed forms, dense oracles, and a plain loop over the module."""

import copy
import math

import numpy as np
import pytest
import torch
from cases import Attention
from torch import nn
from torch.nn import functional

import landscape
from landscape import Objective
from landscape.errors import BadInput, NotDifferentiable, NotFinite
from landscape.objective import plain
from landscape.objective.batching import by_rules_alone
from landscape.objective.checks import fingerprint, independent_loss
from landscape.objective.losses import Loss

DOUBLE = torch.float64


def draw(*shape, seed=0, dtype=DOUBLE):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class TwoInputs(nn.Module):
    """Takes a pair of inputs."""

    def __init__(self):
        super().__init__()
        self.bilinear = nn.Bilinear(4, 2, 3)

    def forward(self, x, z):
        return self.bilinear(torch.tanh(x), z)


class Tied(nn.Module):
    """An auto-encoder whose second layer is the first, transposed and by module."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))


class Counting(nn.Module):
    """Writes into a buffer, and replaces another, whenever it is called."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x):
        self.calls += 1
        outputs = self.linear(x) * (1 + self.calls)
        self.mean = outputs.detach().mean(0)
        return outputs


def frozen_first():
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    module[0].requires_grad_(False)
    return module


N = 20
X, CLASSES = draw(N, 4), torch.arange(N) % 3
SIDES = (draw(N, 1, seed=9) > 0).double()
MODULES = {
    "mlp": (lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)), X),
    "batch norm, dropout": (
        lambda: nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.GELU(), nn.Dropout(0.5), nn.Linear(6, 3)
        ),
        X,
    ),
    "cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Softplus(), nn.Flatten(), nn.Linear(12, 3)
        ),
        draw(N, 1, 4, 4),
    ),
    "attention": (Attention, draw(N, 5, 4)),
    "two inputs": (TwoInputs, (X, draw(N, 2, seed=1))),
    "tied": (Tied, X),
    "frozen": (frozen_first, X),
    "embedding": (
        lambda: nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 3)),
        torch.arange(3 * N).reshape(N, 3) % 7,
    ),
    "counting": (Counting, X),
    "relu in place": (lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 3)), X),
}


def make(name, dtype=DOUBLE, **options):
    factory, inputs = MODULES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = factory().to(DOUBLE)
    for buffer in module.buffers():
        if buffer.is_floating_point() and buffer.dim():
            buffer.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(4))
    return Objective(module, "cross_entropy", (inputs, CLASSES), dtype=dtype, **options)


def plain_value(objective, theta):
    """Parameters copied in one by one, ``model.eval()``, the loss of torch.nn.functional."""
    module = copy.deepcopy(objective.module).eval()
    with torch.no_grad():
        offset = 0
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.copy_(theta[offset : offset + parameter.numel()].view_as(parameter))
                offset += parameter.numel()
        assert offset == len(theta)
        inputs, targets = objective.samples
        return float(functional.cross_entropy(module(*(part.clone() for part in inputs)), targets))


# --- closed forms ---------------------------------------------------------------------------


def test_linear_regression_in_closed_form(regression):
    """F = ‖XWᵀ − Y‖²/(nm), ∇F = 2(XWᵀ − Y)ᵀX/(nm), H = I_m ⊗ 2XᵀX/(nm)."""
    (x,), y = regression.samples
    n, m = y.shape
    w, v = draw(3, 5, seed=7), draw(3, 5, seed=8)
    residual = x @ w.T - y
    value, slope = regression.value_and_gradient(w.flatten())
    assert value == pytest.approx(float(residual.square().sum() / (n * m)), rel=1e-14)
    assert regression.value(w.flatten()) == pytest.approx(value, rel=1e-14)
    torch.testing.assert_close(slope, (2 / (n * m) * residual.T @ x).flatten(), rtol=1e-13, atol=1e-15)
    product = regression.hvp(w.flatten(), v.flatten())
    torch.testing.assert_close(product, (2 / (n * m) * v @ x.T @ x).flatten(), rtol=1e-13, atol=1e-15)


def test_logistic_regression_in_closed_form():
    """F = mean log(1 + e^z) − yz, ∇F = Xᵀ(σ − y)/n, H = Xᵀ diag(σ(1 − σ)) X/n."""
    x, y = draw(30, 4), (torch.arange(30) % 2).double()
    objective = Objective(nn.Linear(4, 1, bias=False).double(), "bce", (x, y))
    w, v = draw(4, seed=5), draw(4, seed=6)
    z = x @ w
    s = 1 / (1 + torch.exp(-z))
    value = (torch.log(1 + torch.exp(z)) - y * z).mean()
    assert objective.value(w) == pytest.approx(float(value), rel=1e-14)
    assert objective.measure(w).accuracy == float(((z > 0) == (y > 0.5)).double().mean())
    torch.testing.assert_close(objective.gradient(w), x.T @ (s - y) / 30, rtol=1e-13, atol=1e-15)
    expected = x.T @ (s * (1 - s) * (x @ v)) / 30
    torch.testing.assert_close(objective.hvp(w, v), expected, rtol=1e-13, atol=1e-15)


def test_the_penalty_adds_its_value_gradient_and_curvature(regression):
    (x,), y = regression.samples
    penalised = Objective(regression.module, "mse", (x, y), l2=0.3)
    theta, v = draw(15, seed=1), draw(15, seed=2)
    assert penalised.value(theta) - regression.value(theta) == pytest.approx(0.15 * float(theta @ theta))
    assert penalised.values(theta[None])[0] == pytest.approx(penalised.value(theta))
    assert penalised.value_and_gradient(theta)[0] == pytest.approx(penalised.value(theta), rel=1e-14)
    torch.testing.assert_close(penalised.gradient(theta) - regression.gradient(theta), 0.3 * theta)
    torch.testing.assert_close(penalised.hvp(theta, v) - regression.hvp(theta, v), 0.3 * v)
    assert independent_loss(penalised, penalised.as_point(theta)) == pytest.approx(penalised.value(theta))


# --- dense oracles --------------------------------------------------------------------------


def dense_loss(name, theta, objective):
    """The same loss written out by hand on a flat vector, sharing nothing with the objective."""
    parts, offset, tensors = dict(objective.module.named_parameters()), 0, {}
    for key, parameter in parts.items():
        if parameter.requires_grad:
            tensors[key] = theta[offset : offset + parameter.numel()].view(parameter.shape)
            offset += parameter.numel()
        else:
            tensors[key] = parameter.detach()
    buffers = dict(objective.module.named_buffers())
    x = MODULES[name][1]

    def norm(x, prefix, view):
        mean, var = (buffers[f"{prefix}.running_{part}"].view(view) for part in ("mean", "var"))
        scale, shift = (tensors[f"{prefix}.{part}"].view(view) for part in ("weight", "bias"))
        return (x - mean) / (var + 1e-5).sqrt() * scale + shift

    def affine(x, prefix):
        return x @ tensors[f"{prefix}.weight"].T + tensors[f"{prefix}.bias"]

    if name == "mlp" or name == "frozen":
        z = affine(affine(x, "0").tanh(), "2")
    elif name == "batch norm, dropout":
        a = norm(affine(x, "0"), "1", (1, -1))
        z = affine(a * 0.5 * (1 + torch.erf(a / math.sqrt(2))), "4")
    elif name == "cnn":
        windows = x.unfold(2, 3, 1).unfold(3, 3, 1)[:, 0].flatten(3)
        a = windows @ tensors["0.weight"].flatten(1).T + tensors["0.bias"]
        a = norm(a.permute(0, 3, 1, 2), "1", (1, -1, 1, 1))
        z = affine(torch.log1p(a.exp()).flatten(1), "4")
    elif name == "attention":
        q, k, v = affine(x, "project").chunk(3, dim=-1)
        z = affine(((q @ k.transpose(1, 2) / 2).softmax(-1) @ v).mean(1), "out")
    elif name == "two inputs":
        z = torch.einsum("ni,oij,nj->no", x[0].tanh(), tensors["bilinear.weight"], x[1])
        z = z + tensors["bilinear.bias"]
    elif name == "tied":
        tensors["second.weight"] = tensors["first.weight"]
        z = affine(affine(affine(x, "first").tanh(), "second").tanh(), "head")
    else:
        raise AssertionError(name)
    return (z.logsumexp(1) - z[torch.arange(N), CLASSES]).mean()


@pytest.mark.parametrize(
    "name", ["mlp", "frozen", "batch norm, dropout", "cnn", "attention", "two inputs", "tied"]
)
def test_against_dense_derivatives_of_a_loss_written_by_hand(name):
    objective = make(name, chunk_size=7)
    theta = objective.theta + 0.1 * draw(objective.num_parameters, seed=9)

    def by_hand(theta):
        return dense_loss(name, theta, objective)

    value, slope = objective.value_and_gradient(theta)
    assert value == pytest.approx(float(by_hand(theta)), rel=1e-13)
    expected = torch.autograd.functional.jacobian(by_hand, theta)
    torch.testing.assert_close(slope, expected, rtol=1e-11, atol=1e-14)
    dense = torch.autograd.functional.hessian(by_hand, theta)
    vectors = draw(3, objective.num_parameters, seed=10)
    operator = objective.hessian_operator(theta)
    for v in vectors:
        torch.testing.assert_close(operator(v), dense @ v, rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(objective.hvp(theta, v), dense @ v, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("limit", [0, 3000, 2**31])
def test_products_do_not_depend_on_how_many_graphs_are_kept(limit):
    objective = make("mlp", chunk_size=3)
    operator = objective.hessian_operator(objective.theta, memory_limit=limit)
    v = draw(objective.num_parameters)
    expected = objective.hvp(objective.theta, v)
    for _ in range(3):
        torch.testing.assert_close(operator(v), expected, rtol=1e-14, atol=1e-16)


def test_a_loss_that_is_linear_has_no_curvature():
    objective = Objective(nn.Linear(4, 1).double(), "output", (X, CLASSES))
    assert not objective.hvp(objective.theta, draw(5)).any()


# --- one value, however it is computed ------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(DOUBLE, 1e-12), (torch.float32, 1e-6)])
def test_nothing_depends_on_the_chunk_size(name, dtype, tolerance):
    whole = make(name, dtype, chunk_size=N)
    theta = whole.theta
    v = draw(len(theta), seed=1).to(dtype)
    value, slope, product = whole.value(theta), whole.gradient(theta), whole.hvp(theta, v)
    for size in (1, 7, 64):
        part = make(name, dtype, chunk_size=size)
        assert part.value(theta) == pytest.approx(value, rel=tolerance)
        assert part.value_and_gradient(theta)[0] == pytest.approx(value, rel=tolerance)
        for one, other in ((part.gradient(theta), slope), (part.hvp(theta, v), product)):
            assert float((one - other).norm()) <= tolerance * float(other.norm())


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("batched", [True, False])
def test_many_points_equal_a_plain_loop(name, batched, monkeypatch):
    if not batched:
        monkeypatch.setattr("landscape.objective.batching.BATCHED_ACTIVATIONS", 0)
    objective = make(name)
    thetas = objective.theta + 0.3 * draw(9, objective.num_parameters)
    found = objective.values(thetas)
    assert found.dtype == DOUBLE
    np.testing.assert_allclose(found, [plain_value(objective, theta) for theta in thetas], rtol=1e-12)
    np.testing.assert_allclose(found, [objective.value(theta) for theta in thetas], rtol=1e-12)


def test_points_are_batched_where_they_can_be(monkeypatch):
    calls = []
    objective = make("mlp")
    forward = objective.passed
    monkeypatch.setattr(objective, "passed", lambda *args: calls.append(1) or forward(*args))
    objective.values(objective.theta + draw(40, objective.num_parameters))
    assert len(calls) == 2  # one alone to compare with, one for all


def test_a_module_that_cannot_be_batched_is_looped():
    class Branching(nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            return y if float(y.sum()) > 0 else 2 * y  # vmap refuses to look at a value

    objective = Objective(Branching(4, 3).double(), "output", (X, CLASSES), chunk_size=N)
    thetas = draw(5, 15)
    for value, theta in zip(objective.values(thetas), thetas, strict=True):
        y = (X @ theta[:12].view(3, 4).T + theta[12:]).mean()
        assert float(value) == pytest.approx(float(y if y > 0 else 2 * y), rel=1e-12)


def test_an_operation_without_a_batching_rule_is_refused_without_a_warning(recwarn):
    """As an error torch's own warning is printed all the same."""

    def packed(x):
        return nn.utils.rnn.pack_padded_sequence(x[:, :, None], torch.tensor([2, 1]), True, False).data

    with by_rules_alone(), pytest.raises(RuntimeError, match="fallback"):
        torch.func.vmap(packed)(draw(3, 2, 4))
    assert not any("batching rule" in str(one.message) for one in recwarn)


def test_no_points_have_no_values(regression):
    assert regression.values(torch.empty(0, 15)).shape == (0,)


def test_sums_are_made_in_float64():
    """A thousand equal losses of 0.1 in float32 keep the value to the last bit of one of them."""
    x = torch.full((100_000, 1), math.sqrt(0.1))
    module = nn.Linear(1, 1, bias=False)
    nn.init.ones_(module.weight)
    objective = Objective(module, "mse", (x, torch.zeros(100_000, 1)))
    one = float(x[0].square())
    assert objective.value(torch.ones(1)) == pytest.approx(one, rel=1e-13)


def test_accuracy_is_that_of_a_loop():
    objective = make("mlp")
    with torch.no_grad():
        right = (objective.module(X).argmax(1) == CLASSES).double().mean()
    assert objective.measure(objective.theta).accuracy == float(right)
    assert math.isnan(Objective(nn.Linear(4, 1).double(), "mse", (X, draw(N, 1))).measure(draw(5)).accuracy)


@pytest.mark.parametrize(
    ("last", "loss", "targets", "right"),
    [
        (nn.Identity(), functional.cross_entropy, CLASSES, lambda o: o.argmax(1) == CLASSES),
        (nn.LogSoftmax(1), functional.nll_loss, CLASSES, lambda o: o.argmax(1) == CLASSES),
        (nn.Identity(), functional.multi_margin_loss, CLASSES, lambda o: o.argmax(1) == CLASSES),
        (nn.Identity(), nn.MultiMarginLoss(), CLASSES, lambda o: o.argmax(1) == CLASSES),
        (nn.Sigmoid(), nn.BCELoss(), SIDES, lambda o: (o > 0.5) == (SIDES > 0.5)),
        (nn.Sigmoid(), functional.binary_cross_entropy, SIDES, lambda o: (o > 0.5) == (SIDES > 0.5)),
        (
            nn.Identity(),
            functional.binary_cross_entropy_with_logits,
            SIDES,
            lambda o: (o > 0) == (SIDES > 0.5),
        ),
    ],
    ids=["cross_entropy", "nll", "margin", "MarginLoss", "BCELoss", "bce", "bce of logits"],
)
def test_accuracy_by_losses_of_torch(last, loss, targets, right):
    """As functions they tell what is right as their modules do; of probabilities a half parts the classes."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 3 if targets is CLASSES else 1), last).double()
    objective = Objective(module, loss, (X, targets))
    with torch.no_grad():
        expected = float(right(module(X)).double().mean())
    assert objective.measure(objective.theta).accuracy == expected
    assert plain.measure(objective, dict(module.named_parameters())).accuracy == expected


def test_accuracy_is_over_the_targets_that_count():
    targets = torch.where(torch.arange(len(X)) % 3 == 0, -100, CLASSES)
    module = nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(1)).double()
    found = Objective(module, functional.nll_loss, (X, targets))
    counted = targets >= 0
    with torch.no_grad():
        right = (module(X).argmax(1) == targets)[counted].double().mean()
        loss = functional.nll_loss(module(X), targets)
    assert found.measure(found.theta).accuracy == pytest.approx(float(right), rel=1e-14)
    assert found.value(found.theta) == pytest.approx(float(loss), rel=1e-14)


def test_the_same_numbers_twice(classifier):
    theta, v = classifier.theta, draw(classifier.num_parameters)
    assert classifier.value(theta) == classifier.value(theta)
    assert torch.equal(classifier.gradient(theta), classifier.gradient(theta))
    assert torch.equal(classifier.hvp(theta, v), classifier.hvp(theta, v))


def test_nan_and_infinity_are_values():
    objective = make("mlp")
    assert math.isnan(objective.value(torch.full((objective.num_parameters,), torch.nan)))
    regression = Objective(nn.Linear(4, 1).double(), "mse", (X, draw(N, 1)))
    assert regression.value(torch.full((5,), 1e200, dtype=DOUBLE)) == math.inf
    with pytest.raises(NotFinite, match=r"0\.weight"):
        objective.hvp(torch.full((objective.num_parameters,), torch.nan), draw(objective.num_parameters))


# --- the module passed in -------------------------------------------------------------------


def everything_about(module):
    return {
        "tensors": {n: t.detach().clone() for n, t in [*module.named_parameters(), *module.named_buffers()]},
        "modes": [layer.training for layer in module.modules()],
        "requires_grad": [p.requires_grad for p in module.parameters()],
        "identities": [id(t) for t in [*module.parameters(), *module.buffers()]],
    }


def assert_untouched(module, before):
    after = everything_about(module)
    for name, tensor in before.pop("tensors").items():
        assert torch.equal(tensor, after["tensors"][name]), name
    assert {name: after[name] for name in before} == before
    assert all(p.grad is None for p in module.parameters())


def use(objective):
    theta, v = objective.theta + 0.1, draw(objective.num_parameters)
    objective.values(torch.stack([theta, -theta]))
    objective.value(theta)
    objective.gradient(theta)
    objective.hvp(theta, v)
    objective.recalibrated(theta)
    point = objective.present_point()
    objective.batch_gradient(theta, torch.arange(6), point.fixed, training=True)


@pytest.mark.parametrize("name", MODULES)
def test_the_module_comes_back_bit_for_bit(name):
    objective = make(name)
    module = objective.module.train()
    next(module.modules()).eval()  # modes may differ from layer to layer
    before, data = everything_about(module), copy.deepcopy(objective.samples)
    use(objective)
    assert_untouched(module, before)
    for used, kept in zip((*objective.samples[0], objective.samples[1]), (*data[0], data[1]), strict=True):
        assert torch.equal(used, kept)


def test_the_module_comes_back_when_the_loss_raises_half_way(classifier):
    calls = []

    def failing(outputs, targets):
        calls.append(1)
        if len(calls) > 20:
            raise FloatingPointError("half way")
        return functional.cross_entropy(outputs, targets, reduction="sum")

    module = classifier.module.train()
    before = everything_about(module)
    objective = Objective(module, Loss("failing", failing), (X, CLASSES), chunk_size=3)
    theta = objective.theta
    for action in (objective.value, objective.gradient, lambda t: objective.hvp(t, t)):
        del calls[15:]
        calls += [1] * (18 - len(calls))
        with pytest.raises(FloatingPointError):
            action(theta)
    assert_untouched(module, before)


def test_gradients_and_hooks_of_the_user_stay(regression):
    module = nn.Linear(4, 1).double()
    module(X).sum().backward()
    grad = module.weight.grad.clone()
    seen = []
    module.register_forward_hook(lambda *_: seen.append(1))
    use(Objective(module, "mse", (X, draw(N, 1))))
    assert torch.equal(module.weight.grad, grad)
    before = len(seen)
    module(X)
    assert len(seen) == before + 1


def test_graphs_made_before_and_hooks_where_gradients_arrive_stay():
    module, x, y = nn.Linear(4, 1), X.float(), draw(N, 1).float()
    arriving = [torch.autograd.graph.get_gradient_edge(p).node for p in module.parameters()]
    seen = []
    for node in arriving:  # as data parallelism does
        node.register_hook(lambda *_: seen.append(1))
    slopes = torch.autograd.grad(functional.mse_loss(module(x), y), module.weight, create_graph=True)[0]
    objective = Objective(module, "mse", (x, y))
    landscape.hessian(objective, objective.theta, top_k=1)
    seen.clear()
    module(x).sum().backward()
    assert len(seen) == 2
    torch.testing.assert_close(torch.autograd.grad(slopes.sum(), module.weight)[0][0], 2 * x.T @ x.sum(1) / N)


def test_gradients_left_by_training_do_not_stand_in_the_way_of_proofs_in_float64():
    module = nn.Linear(4, 1)
    module(X.float()).sum().backward()
    left = module.weight.grad.clone()
    objective = Objective(module, "mse", (X.float(), draw(N, 1).float()))
    found = plain.gradient(objective, {name: p.detach().double() for name, p in module.named_parameters()})
    torch.testing.assert_close(found, objective.gradient(objective.theta).double(), rtol=1e-5, atol=1e-6)
    landscape.hessian(objective, objective.theta, top_k=1)
    assert module.weight.grad.dtype is torch.float32
    assert torch.equal(module.weight.grad, left)


def test_the_fingerprint_sees_every_change(classifier):
    module = classifier.module
    seen = {fingerprint(module)}
    with torch.no_grad():
        module[0].weight[0, 0] += 1e-16 * module[0].weight[0, 0].abs() + 1e-15
    seen.add(fingerprint(module))
    module[1].num_batches_tracked += 1
    seen.add(fingerprint(module))
    module[3].eval()
    seen.add(fingerprint(module))
    module[4].bias.requires_grad_(False)
    seen.add(fingerprint(module))
    assert len(seen) == 5


# --- points ---------------------------------------------------------------------------------


def test_a_point_carries_buffers_and_frozen_parameters():
    objective = make("frozen")
    assert objective.num_parameters == 5 * 3 + 3
    assert set(objective.present_point().fixed) == {"0.weight", "0.bias"}
    other = {name: 2 * tensor.detach() for name, tensor in objective.module.named_parameters()}
    point = objective.point(other, "doubled")
    module = copy.deepcopy(objective.module)
    module.load_state_dict(other)
    with torch.no_grad():
        expected = float(functional.cross_entropy(module(X), CLASSES))
    same = objective.as_point(point)
    assert objective.value(same.theta, same.fixed) == pytest.approx(expected, rel=1e-13)
    assert objective.value(same.theta) != pytest.approx(expected, rel=1e-3)


def test_buffers_outside_the_state_dict_may_be_absent_from_a_point():
    module = nn.Linear(4, 3).double()
    module.register_buffer("cache", torch.ones(2), persistent=False)
    objective = Objective(module, "cross_entropy", (X, CLASSES))
    point = objective.point(module.state_dict())
    assert torch.equal(point.fixed["cache"], torch.ones(2, dtype=DOUBLE))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_a_point_by_the_names_of_a_wrapper(prefix):
    objective = make("mlp")
    state = {prefix + name: 2 * tensor for name, tensor in objective.module.state_dict().items()}
    assert torch.equal(objective.point(state).theta, 2 * objective.theta)
    with pytest.raises(BadInput, match=r"0.weight missing"):
        objective.point({f"other.{name}": tensor for name, tensor in state.items()})


def test_a_point_of_another_architecture_is_refused():
    objective = make("mlp")
    state = objective.module.state_dict()
    state["0.weight"] = state["0.weight"][:2]
    del state["2.bias"]
    with pytest.raises(BadInput, match=r"0.weight \(2, 4\) instead of \(6, 4\), 2.bias missing"):
        objective.point(state, "b.h5@final")


def test_a_point_of_a_larger_architecture_is_refused():
    """What its other layers do was left out without a word."""
    objective = make("mlp")
    state = {**objective.module.state_dict(), "4.weight": torch.ones(2, 2)}
    with pytest.raises(BadInput, match=r"it holds 4.weight; expected the parameters of Sequential alone"):
        objective.point(state, "b.h5@final")


def test_a_point_may_hold_a_tied_parameter_twice_and_not_two_of_them():
    class Tied(nn.Module):
        def __init__(self, is_tied: bool):
            super().__init__()
            self.words, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
            if is_tied:
                self.head.weight = self.words.weight

        def forward(self, tokens):
            return self.head(self.words(tokens))

    data = torch.randint(5, (8,)), torch.randint(5, (8,))
    tied, apart = (Objective(Tied(one), "cross_entropy", data) for one in (True, False))
    point = tied.point(tied.module.state_dict())
    assert torch.equal(point.theta, tied.theta)
    lost = {name: torch.full_like(tensor, math.nan) for name, tensor in tied.module.state_dict().items()}
    assert bool(tied.point(lost).theta.isnan().all())
    with pytest.raises(BadInput, match=r"head.weight apart from its words.weight.*with them tied"):
        tied.point(apart.module.state_dict(), "b.h5@final")
    with pytest.raises(BadInput, match=r"head.weight missing.*where head.weight is tied to words.weight"):
        apart.point({"words.weight": tied.module.words.weight})


def test_other_data_keep_module_and_loss(regression):
    x, y = draw(9, 5), draw(9, 3)
    test = regression.on((x, y))
    w = regression.theta.view(3, 5)
    assert test.value(regression.theta) == pytest.approx(float((x @ w.T - y).square().mean()), rel=1e-13)
    one = regression.on((x[:1], y[:1]))
    assert one.value(regression.theta) == pytest.approx(
        float((x[:1] @ w.T - y[:1]).square().mean()), rel=1e-13
    )


# --- training passes ------------------------------------------------------------------------


def test_a_training_step_is_that_of_plain_torch():
    """Loss, gradient and moved batch-norm statistics of a batch, in float64."""
    objective = make("cnn")
    theta, fixed = objective.theta, dict(objective.present_point().fixed)
    plain = copy.deepcopy(objective.module).train()
    batch = torch.tensor([3, 1, 4, 15, 9, 2, 6])
    loss, slope = objective.batch_gradient(theta, batch, fixed, training=True)
    expected = functional.cross_entropy(plain(objective.samples[0][0][batch]), CLASSES[batch])
    expected.backward()
    assert float(loss) == pytest.approx(expected.item(), rel=1e-13)
    gradient = torch.cat([p.grad.flatten() for p in plain.parameters()])
    torch.testing.assert_close(slope, gradient, rtol=1e-11, atol=1e-14)
    for name, buffer in plain.named_buffers():
        torch.testing.assert_close(fixed[name], buffer, rtol=1e-14, atol=0)
    assert float((fixed["1.running_mean"] - objective.module[1].running_mean).abs().max()) > 1e-3


def test_a_training_step_keeps_buffers_that_were_replaced():
    objective = make("counting")
    fixed = dict(objective.present_point().fixed)
    objective.batch_gradient(objective.theta, None, fixed, training=True)
    assert fixed["calls"] == 1
    with torch.no_grad():
        expected = (objective.module.linear(X) * 2).mean(0)
    torch.testing.assert_close(fixed["mean"], expected)


def test_all_indices_give_the_whole_gradient(regression):
    theta = regression.theta
    loss, slope = regression.batch_gradient(theta, None, {})
    assert float(loss) == pytest.approx(regression.value(theta), rel=1e-14)
    torch.testing.assert_close(slope, regression.gradient(theta))
    assert float(regression.batch_gradient(theta, torch.tensor([2]), {})[0]) == pytest.approx(
        regression.on((regression.samples[0][0][2:3], regression.samples[1][2:3])).value(theta)
    )


def test_batch_norm_on_one_sample_is_a_sentence(classifier):
    with pytest.raises(BadInput, match="batch of one sample"):
        classifier.batch_gradient(
            classifier.theta, torch.tensor([3]), dict(classifier.present_point().fixed), training=True
        )


# --- what is refused ------------------------------------------------------------------------


def linear():
    return nn.Linear(4, 3).double()


BAD = {
    "no samples": (linear(), "cross_entropy", (X[:0], CLASSES[:0]), "data are empty"),
    "no inputs": (linear(), "cross_entropy", ((), CLASSES), "data are empty"),
    "no pair": (linear(), "cross_entropy", X, "a pair"),
    "a number": (linear(), "cross_entropy", (X, torch.tensor(1)), "single number"),
    "too few": (linear(), "cross_entropy", (X[:5], CLASSES), "5 inputs and 20 targets"),
    "NaN": (linear(), "cross_entropy", (X.clone().fill_(torch.nan), CLASSES), "80 NaN or infinite"),
    "infinite": (linear(), "mse", (X, draw(N, 3).fill_(torch.inf)), "infinite numbers in the targets"),
    "class 3 of 3": (linear(), "cross_entropy", (X, CLASSES + 1), "from 1 to 3; expected classes 0 to 2"),
    "class -1": (linear(), nn.CrossEntropyLoss(), (X, CLASSES - 1), "from -1 to 1"),
    "one-hot": (linear(), "mse", (X, CLASSES + 1), "classes 0 to 2"),
    "bce": (nn.Linear(4, 1).double(), "bce", (X, CLASSES), "0 to 1 for the loss bce"),
    "ignored": (
        linear(),
        nn.CrossEntropyLoss(ignore_index=2),
        (X, 0 * CLASSES + 2),
        "every target has the weight 0",
    ),
    "inputs": (nn.Linear(5, 3).double(), "cross_entropy", (X, CLASSES), r"inputs of shape \(4, 4\)"),
    "outputs": (linear(), "mse", (X, draw(N, 2)), r"\(4, 2\) for outputs of shape \(4, 3\)"),
    "targets": (linear(), "cross_entropy", (X, draw(N, 2, 2)), "does not take outputs"),
    "no module": (torch.tanh, "cross_entropy", (X, CLASSES), "torch.nn.Module"),
    "no parameters": (nn.Flatten(), "output", (X, CLASSES), "no trainable parameter"),
    "max_norm": (
        nn.Sequential(nn.Embedding(7, 3, max_norm=1.0), nn.Flatten()),
        "output",
        (CLASSES[:, None], CLASSES),
        "max_norm",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_a_sentence(name):
    module, loss, data, message = BAD[name]
    with pytest.raises(BadInput, match=message):
        Objective(module, loss, data)


def test_another_penalty_shares_the_module_and_the_data(classifier):
    theta = classifier.theta + 0.1
    penalised = classifier.varied(l2=0.3)
    assert penalised.module is classifier.module
    assert penalised.samples is classifier.samples
    assert penalised.loss is classifier.loss
    expected = classifier.value(theta) + 0.15 * float(theta.square().sum())
    assert penalised.value(theta) == pytest.approx(expected, rel=1e-14)
    torch.testing.assert_close(
        penalised.gradient(theta), classifier.gradient(theta) + 0.3 * theta, rtol=1e-12, atol=1e-15
    )
    bare = penalised.varied(l2=0.0)
    assert bare.value(theta) == classifier.value(theta)
    assert (penalised.l2, classifier.l2) == (0.3, 0.0)


def test_some_of_the_pieces_share_the_module_and_the_data(regression):
    """F of both biases alone, the weights as they are in the module."""
    module = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3)).double()
    whole = Objective(module, "mse", regression.samples, l2=0.2)
    last = whole.pieces[1], whole.pieces[3]
    part = whole.varied(pieces=last[::-1])
    assert part.module is whole.module
    assert part.samples is whole.samples
    assert [piece.name for piece in part.pieces] == ["0.bias", "1.bias"]
    assert [piece.offset for piece in part.pieces] == [0, 4]
    assert part.num_parameters == 7
    assert whole.num_parameters == 24 + 15
    biases = draw(7, seed=5)
    (x,), y = whole.samples
    with torch.no_grad():
        hidden = x @ module[0].weight.T + biases[:4]
        expected = (
            hidden @ module[1].weight.T + biases[4:] - y
        ).square().mean() + 0.1 * biases.square().sum()
    assert part.value(biases) == pytest.approx(float(expected), rel=1e-13)


def test_what_is_varied_keeps_the_rest(classifier):
    """Pieces, penalty, chunk size and samples outlast another dtype, module or data set."""
    inputs, targets = classifier.samples
    objective = Objective(classifier.module, "cross_entropy", classifier.samples, chunk_size=7, l2=0.1)
    part = objective.varied(pieces=objective.pieces[2:4])
    for twin in (
        part.varied(dtype=torch.float32),
        part.varied(module=copy.deepcopy(part.module)),
        part.on((inputs, targets)),
        part.varied(l2=0.1),
    ):
        assert twin.pieces == part.pieces
        assert (twin.l2, twin.chunk_size, twin.num_samples) == (0.1, 7, 30)
    single = part.varied(dtype=torch.float32)
    assert single.value(part.theta) == pytest.approx(part.value(part.theta), rel=1e-6)
    assert single.samples.inputs[0].dtype == torch.float32
    wide = part.varied(l2=0.5, dtype=torch.float64)
    assert wide.value(part.theta) - part.value(part.theta) == pytest.approx(
        0.2 * float(part.theta.square().sum()), rel=1e-12
    )


def test_chunks_of_nothing_are_refused(regression):
    with pytest.raises(BadInput, match="at least one sample"):
        Objective(regression.module, "mse", regression.samples, chunk_size=0)


def test_a_module_random_in_eval_mode_is_refused():
    class Noisy(nn.Linear):
        def forward(self, x):
            return functional.dropout(super().forward(x), 0.5, training=True)

    with pytest.raises(BadInput, match="different outputs for the same inputs"):
        Objective(Noisy(4, 3).double(), "cross_entropy", (X, CLASSES))


def test_a_module_that_mixes_samples_takes_them_all_at_once():
    """Batch norm without running statistics makes the value depend on the chunks."""
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False)).double()
    objective = Objective(module, "cross_entropy", (X, CLASSES))
    assert objective.chunk_size == N
    with torch.no_grad():
        expected = float(functional.cross_entropy(module.eval()(X), CLASSES))
    assert objective.value(objective.theta) == pytest.approx(expected, rel=1e-13)
    cut = Objective(module, "cross_entropy", (X, CLASSES), chunk_size=7)
    assert cut.value(cut.theta) == pytest.approx(expected, rel=1e-13)
    assert any("chunk size 7 is ignored" in note for note in cut.notes)


def test_a_loss_without_derivative_is_named():
    class Hard(nn.Linear):
        def forward(self, x):
            return super().forward(x).sign().detach()

    hard = Objective(Hard(4, 1).double(), "output", (X, CLASSES))
    with pytest.raises(NotDifferentiable, match="detach"):
        hard.gradient(hard.theta)


def test_points_of_the_wrong_shape_are_refused(regression):
    theta = regression.theta
    wrong = (theta[:-1], theta.view(3, 5), theta[None])
    for one in wrong:
        for action in (regression.value, regression.gradient, regression.as_point):
            with pytest.raises(BadInput, match=r"expected .*15"):
                action(one)
    with pytest.raises(BadInput, match=r"\(K, 15\)"):
        regression.values(theta)
    with pytest.raises(BadInput, match="a vector of shape"):
        regression.hvp(theta, theta[:-1])
