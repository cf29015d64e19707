"""Gauss–Newton matrices of losses and outputs of every kind: against dense JᵀBJ, and what they lack is said."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

import landscape
from landscape import BadInput, Objective

X = torch.randn(17, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.arange(17) % 3


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()


@dataclass
class Record:
    """What a model may return."""

    logits: Tensor
    kind: str = "logits"


class Returning(nn.Module):
    """A net that wraps what it returns."""

    def __init__(self, wrap):
        super().__init__()
        self.net, self.wrap = net(), wrap

    def forward(self, x, *more):
        return self.wrap(self.net(x), *more)


def gauss_newton(module: nn.Module) -> np.ndarray:
    """Eigenvalues, falling, of JᵀBJ for cross entropy, by autograd on the module itself."""
    names = dict(module.named_parameters())
    theta = torch.cat([one.detach().flatten() for one in names.values()])

    def outputs(theta: Tensor) -> Tensor:
        parts = theta.split([one.numel() for one in names.values()])
        own = {name: part.view_as(one) for (name, one), part in zip(names.items(), parts, strict=True)}
        return functional_call(module, own, (X,)).flatten()

    jacobian = torch.autograd.functional.jacobian(outputs, theta)
    bent = torch.autograd.functional.hessian(
        lambda h: functional.cross_entropy(h.view(17, 3), Y), outputs(theta)
    )
    return np.linalg.eigvalsh((jacobian.T @ bent @ jacobian).numpy())[::-1]


def measured(objective: Objective, **how):
    return landscape.hessian(objective, objective.theta, top_k=3, **how)


def failed(result) -> list[str]:
    return [one.name for one in result.checks if not one.passed]


@pytest.mark.parametrize("operator", ["gauss-newton", "empirical-fisher"])
def test_outputs_may_be_a_dataclass(operator):
    module = Returning(Record)
    of_record = Objective(module, lambda o, t: functional.cross_entropy(o.logits, t), (X, Y))
    result = measured(of_record, operator=operator)
    plain = measured(Objective(module.net, functional.cross_entropy, (X, Y)), operator=operator)
    np.testing.assert_allclose(result.eigenvalues, plain.eigenvalues, rtol=1e-7)
    if operator == "gauss-newton":
        np.testing.assert_allclose(result.eigenvalues, gauss_newton(module.net)[:3], rtol=1e-6)
    assert not failed(result)


@pytest.mark.parametrize("loss", ["cross_entropy", nn.CrossEntropyLoss(), functional.cross_entropy])
def test_the_fisher_information_passes_its_checks_whatever_the_loss_is_called(loss):
    result = measured(Objective(net(), loss, (X, Y)), operator="fisher")
    np.testing.assert_allclose(result.eigenvalues, gauss_newton(net())[:3], rtol=1e-6)
    assert not failed(result)


@pytest.mark.parametrize("how", [{"operator": "gauss-newton"}, {"split": True}])
def test_a_penalty_inside_of_the_loss_is_said_to_be_left_out(how):
    module = net()

    def penalised(o, t):
        return functional.cross_entropy(o, t) + 0.5 * sum(one.square().sum() for one in module.parameters())

    result = measured(Objective(module, penalised, (X, Y)), **how)
    assert any("penalised reads parameters itself" in one for one in result.notes)
    plain = measured(Objective(module, functional.cross_entropy, (X, Y)), **how)
    assert not any("reads parameters" in one or "is linear" in one for one in plain.notes)
    if "split" not in how:
        np.testing.assert_allclose(result.eigenvalues, plain.eigenvalues, rtol=1e-7)


def test_a_loss_that_the_module_gives_itself_has_no_gauss_newton_matrix_and_that_is_said():
    module = Returning(lambda h, t: {"loss": functional.cross_entropy(h, t), "logits": h})
    objective = Objective(module, lambda o, t: o["loss"], ((X, Y), Y))
    result = measured(objective, operator="gauss-newton")
    assert not np.any(result.eigenvalues)
    assert any("is linear in the outputs" in one for one in result.notes)


def test_a_likelihood_of_log_probabilities_is_said_to_be_linear_in_them():
    module = nn.Sequential(net(), nn.LogSoftmax(1))
    result = measured(Objective(module, functional.nll_loss, (X, Y)), operator="gauss-newton")
    assert not np.any(result.eigenvalues)
    assert any("is linear in the outputs" in one for one in result.notes)
    # One that is linear for some of the samples is not.
    far = torch.full((len(X), 3), 0.3, dtype=X.dtype)
    far[0] = 1e3
    result = measured(Objective(net(), functional.huber_loss, (X, far)), operator="gauss-newton")
    assert np.any(result.eigenvalues)
    assert not any("is linear" in one for one in result.notes)


def test_the_fisher_information_of_places_that_count_passes_its_checks():
    module = nn.Conv1d(2, 3, 1).double()
    inputs, targets = (
        X[:, :, None] * torch.linspace(1, 2, 4, dtype=X.dtype),
        (Y[:, None] + torch.arange(4)) % 3,
    )
    targets[:, 2:] = 255
    targets[0] = 255
    loss = nn.CrossEntropyLoss(ignore_index=255)
    result = measured(Objective(module, loss, (inputs[:, :2], targets)), operator="fisher")
    own = measured(Objective(module, loss, (inputs[:, :2], targets)), operator="gauss-newton")
    np.testing.assert_allclose(result.eigenvalues, own.eigenvalues, rtol=1e-9)
    assert not failed(result)
    assert not failed(own)


@pytest.mark.parametrize("operator", ["gauss-newton", "fisher", "empirical-fisher"])
def test_eigenvalues_of_another_matrix_have_no_gauss_newton_part(operator):
    objective = Objective(net(), "cross_entropy", (X, Y))
    with pytest.raises(BadInput, match="those of hessian or preconditioned; leave `operator` away"):
        measured(objective, operator=operator, split=True)
    assert not failed(measured(objective, split=True))


class Reading(nn.Module):
    """A net with vectors of classes that the loss alone reads, and what its last call was like."""

    def __init__(self):
        super().__init__()
        self.net, self.proxies = net(), nn.Parameter(torch.eye(3, dtype=torch.float64) + 0.1)

    def forward(self, x):
        h = self.net(x)
        self.sizes = h.square().sum(1)
        return h


READING = {
    "penalty": lambda m, o, t: (
        functional.cross_entropy(o, t) + 0.1 * sum(p.square().sum() for p in m.net.parameters())
    ),
    "proxies": lambda m, o, t: (o - m.proxies[t]).square().sum(1).mean(),
    "left in the module": lambda m, o, t: functional.cross_entropy(o, t) + m.sizes.mean(),
}


@pytest.mark.parametrize("loss", READING.values(), ids=READING)
def test_gradients_of_samples_have_all_that_the_loss_reads(loss):
    module = Reading()
    objective = Objective(module, lambda o, t: loss(module, o, t), (X, Y), chunk_size=5)
    own, rows = list(module.parameters()), []
    for i in range(len(X)):
        one = loss(module, module(X[i : i + 1]), Y[i : i + 1])
        slopes = torch.autograd.grad(one, own, allow_unused=True, materialize_grads=True)
        rows.append(torch.cat([part.flatten() for part in slopes]))
    vars(module).pop("sizes")
    fisher = torch.stack(rows).T @ torch.stack(rows) / len(X)
    result = measured(objective, operator="empirical-fisher")
    np.testing.assert_allclose(
        result.eigenvalues, torch.linalg.eigvalsh(fisher).flip(0)[:3].numpy(), rtol=1e-6
    )
    assert not failed(result)
    theta = objective.theta
    sharp = landscape.sharpness(objective, theta, num_draws=2, ascent_steps=1, fisher_rao=True)
    if loss is READING["left in the module"]:
        # What a call leaves is there whenever the loss is called, and is no part of JᵀBJ.
        plain = Objective(module, functional.cross_entropy, (X, Y))
        bent = measured(objective, operator="gauss-newton")
        np.testing.assert_allclose(
            bent.eigenvalues, measured(plain, operator="gauss-newton").eigenvalues, rtol=1e-7
        )
        assert not failed(bent)
        assert not failed(landscape.certify(objective, [theta, 1.01 * theta]))
    found = dict(zip(sharp.measure.tolist(), sharp.values.tolist(), strict=True))["fisher_rao_norm"]
    assert found == pytest.approx(float((theta @ fisher @ theta).sqrt()), rel=1e-9)
    assert not failed(sharp)


def test_complex_outputs_count_as_their_two_parts_beside_real_ones_too():
    def parts(loss):
        return Objective(Returning(lambda h: h), lambda o, t: loss(o[:, 0], o[:, 1], o[:, 2]), (X, X))

    def of_complex(z, real):
        return (z * z.conj() - 1).abs().square().mean() + real.square().mean()

    known = parts(lambda a, b, c: of_complex(torch.complex(a, b), c))
    module = Returning(lambda h: {"z": torch.complex(h[:, 0], h[:, 1]), "real": h[:, 2]})
    found = Objective(module, lambda o, t: of_complex(o["z"], o["real"]), (X, X))
    for operator in ("gauss-newton", "empirical-fisher"):
        wanted, result = (measured(one, operator=operator) for one in (known, found))
        np.testing.assert_allclose(result.eigenvalues, wanted.eigenvalues, rtol=1e-9)
        assert result.status == "complete"


def test_outputs_within_other_objects_are_no_part_of_a_matrix_that_leaves_them_out():
    def wrapped(h):
        return torch.distributions.Normal(h[:, 0], h[:, 1].exp()), h[:, 2]

    def loss(outputs, targets):
        return -outputs[0].log_prob(targets[:, 0]).mean() + outputs[1].square().mean()

    objective = Objective(Returning(wrapped), loss, (X, X))
    with pytest.raises(BadInput, match="the outputs hold a Normal"):
        measured(objective, operator="gauss-newton")


class Own(nn.Module):
    """What it returns is, or holds, its own parameter itself."""

    def __init__(self, wrap):
        super().__init__()
        self.xy, self.wrap = nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64)), wrap

    def forward(self, x):
        return self.wrap(self.xy, x)


@pytest.mark.parametrize(
    ("wrap", "own"),
    [(lambda xy, x: xy, lambda o: o), (lambda xy, x: {"weights": xy, "x": x}, lambda o: o["weights"])],
)
def test_outputs_that_are_parameters_themselves_pass_their_checks(wrap, own):
    """Of the banana of Rosenbrock, whose Hessian at (−1.2, 1) is [[1330, 480], [480, 200]]; J is the identity."""

    def rosenbrock(outputs, targets):
        x, y = own(outputs)
        return (1 - x) ** 2 + 100 * (y - x**2) ** 2

    objective = Objective(Own(wrap), rosenbrock, (X, Y))
    found = landscape.hessian(objective, objective.theta, top_k=2, operator="gauss-newton")
    wanted = np.linalg.eigvalsh([[1330.0, 480.0], [480.0, 200.0]])[::-1]
    np.testing.assert_allclose(found.eigenvalues, wanted, rtol=1e-9)
    assert [check.name for check in found.checks if not check.passed] == []
    split = landscape.hessian(objective, objective.theta, top_k=1, split=True)
    assert [check.name for check in split.checks if not check.passed] == []
