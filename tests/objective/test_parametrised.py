"""A module as a function of θ: it stands where it is told to, as ``load_state_dict`` would put it."""

import copy

import pytest
import torch
from cases import CASES
from plain import another
from torch import nn

import landscape
from landscape import BadInput, Objective
from landscape.objective.blocks import restricted
from landscape.objective.checks import fingerprint


def moved(objective: Objective):
    """A point elsewhere, buffers and frozen parameters too."""
    point = objective.present_point()
    fixed = {name: t + 0.25 if t.is_floating_point() else t + 1 for name, t in point.fixed.items()}
    return type(point)(point.theta + 0.5, fixed, "moved")


@pytest.mark.parametrize("name", CASES)
def test_the_module_at_a_point_is_that_of_load_state_dict(name):
    objective = CASES[name].objective()
    point, before = moved(objective), fingerprint(objective.module)
    found = objective.module_at(point)
    by_hand = copy.deepcopy(objective.module)
    state = by_hand.state_dict()
    for piece in objective.pieces:
        state[piece.name] = point.theta[piece.offset : piece.offset + piece.size].reshape(piece.shape)
        # A tied parameter has several names in a state_dict.
        names = [n for n, p in by_hand.named_parameters(remove_duplicate=False)]
        owner = by_hand.get_parameter(piece.name)
        state |= {n: state[piece.name] for n in names if by_hand.get_parameter(n) is owner}
    by_hand.load_state_dict(state | {n: t for n, t in point.fixed.items() if n in state})
    assert found.state_dict().keys() == by_hand.state_dict().keys()
    for key, tensor in by_hand.state_dict().items():
        assert torch.equal(found.state_dict()[key], tensor), key
    assert not any(layer.training for layer in found.modules())
    assert fingerprint(objective.module) == before
    assert objective.varied(module=found).value(
        objective.theta * 0 + point.theta, point.fixed
    ) == pytest.approx(objective.value(point.theta, point.fixed), rel=1e-14)


def test_batch_norm_stands_with_the_statistics_of_the_point(classifier):
    point = another(classifier, 4)
    (x,), y = classifier.samples
    with torch.no_grad():
        expected = float(nn.functional.cross_entropy(classifier.module_at(point)(x), y))
    assert classifier.value(point.theta, point.fixed) == pytest.approx(expected, rel=1e-14)
    assert not torch.equal(point.fixed["1.running_mean"], classifier.module[1].running_mean)


def test_a_vector_stands_with_the_present_buffers(classifier):
    module = classifier.module_at(classifier.theta)
    for name, tensor in classifier.module.state_dict().items():
        assert torch.equal(module.state_dict()[name], tensor)
    with pytest.raises(BadInput, match="a point of shape"):
        classifier.module_at(classifier.theta[1:])


def test_a_module_keeps_every_digit_of_a_wider_point():
    """An objective in float64 of a module in float32: its points have more digits than the module can hold."""
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    objective = Objective(nn.Linear(4, 3), "mse", (x, x[:, :3]), dtype=torch.float64)
    theta = objective.theta + 1 / 3
    assert torch.equal(objective.module_at(theta).weight.detach().flatten(), theta[:12])
    single = objective.module_at(theta, dtype=torch.float32)
    assert torch.equal(single.weight.detach().flatten(), theta[:12].float())
    assert objective.module.weight.dtype == torch.float32


def test_the_module_of_a_restricted_objective_has_the_others_where_the_point_has_them(classifier):
    point = another(classifier, 4)
    part, inside = restricted(classifier, point, classifier.pieces[-1:])
    whole, found = classifier.module_at(point), part.module_at(inside)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor)


def replaced(module):
    module[2] = nn.Linear(5, 5)


def grown(module):
    module.append(nn.Linear(1, 1))


def frozen(module):
    module[0].requires_grad_(False)


def changed_since(change):
    """An objective of a module that ``change`` made another one since, and θ as it was."""
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 1))
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    objective = Objective(module, "mse", (x, x[:, :1]))
    theta = objective.theta
    change(module)
    return objective, theta


@pytest.mark.parametrize(
    ("change", "names"), [(replaced, "2.weight"), (grown, "5.weight"), (frozen, "0.weight")]
)
def test_a_module_that_is_another_since_is_refused(change, names):
    # A slice along weights of a layer that is called no more was F of the new layer, at another point than was given.
    objective, theta = changed_since(change)
    for measure in (landscape.slice1d, landscape.hessian):
        with pytest.raises(BadInput, match=f"since the objective was made.*{names}.*make the objective anew"):
            measure(objective, theta)


@pytest.mark.parametrize("call", ["value", "gradient", "module_at"])
@pytest.mark.parametrize("change", [replaced, grown])
def test_a_call_of_a_module_that_is_another_since_is_refused(change, call):
    # It was F of the new layer, at its own numbers in the place of θ.
    objective, theta = changed_since(change)
    with pytest.raises(BadInput, match=r"since the objective was made.*make the objective anew"):
        getattr(objective, call)(theta)


def test_a_layer_without_parameters_that_was_exchanged_stands_in_the_mode_of_f():
    # Dropout in the place of tanh stayed in training mode, so that F was another number at every call.
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    objective = Objective(module, "mse", (x, x[:, :1]))
    objective.value(objective.theta)
    module[1] = nn.Dropout()
    wanted = ((module[2](module[0](x)) - x[:, :1]) ** 2).mean()
    assert objective.value(objective.theta) == pytest.approx(float(wanted.detach()), rel=1e-12)
    assert module[1].training


def test_calls_under_autocast_and_in_inference_mode_are_those_of_an_analysis():
    x = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    objective = Objective(nn.Linear(2, 1), "mse", (x, x[:, :1]))
    theta = objective.theta
    value, gradient = objective.value_and_gradient(theta)
    product = objective.hvp(theta, gradient)
    for call in (objective.value, objective.gradient):
        with torch.autocast("cpu", torch.bfloat16), pytest.raises(BadInput, match=r"under torch\.autocast"):
            call(theta)
    with torch.inference_mode():
        assert objective.value(theta) == value
        # It was said that the loss does not depend on the parameters.
        with pytest.raises(BadInput, match=r"under torch\.inference_mode.*behind that block"):
            objective.gradient(theta)
    with torch.no_grad():
        # So was it said here.
        assert torch.equal(objective.gradient(theta), gradient)
        assert torch.equal(objective.hvp(theta, gradient), product)


def test_data_made_in_inference_mode_are_those_made_outside():
    # The backward pass ended in a traceback of torch.
    with torch.inference_mode():
        x = torch.linspace(-1, 1, 8)[:, None]
    module = nn.Linear(1, 1)
    found, wanted = (Objective(module, "mse", (data, data**2)) for data in (x, x.clone()))
    assert torch.equal(found.gradient(found.theta), wanted.gradient(wanted.theta))


def test_a_module_without_numbers_or_derivatives_is_refused_with_the_remedy():
    x = torch.linspace(-1, 1, 8)[:, None]
    with torch.inference_mode():
        inferring = nn.Linear(1, 1)
    with pytest.raises(BadInput, match=r"weight of Linear was made under torch\.inference_mode.*deepcopy"):
        Objective(inferring, "mse", (x, x))
    assert Objective(copy.deepcopy(inferring), "mse", (x, x)).num_parameters == 2
    with pytest.raises(BadInput, match=r"weight of Linear is on the device meta.*to_empty"):
        Objective(nn.Linear(1, 1, device="meta"), "mse", (x, x))
    with pytest.raises(BadInput, match="is not initialised; send one batch"):
        Objective(nn.LazyLinear(1), "mse", (x, x))


def test_a_module_that_was_trained_further_or_has_other_tensors_is_measured_as_it_is():
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    objective = Objective(module, "mse", (x, x[:, :1]))
    with torch.no_grad():
        module[2].weight.mul_(1.5)
    module[0].weight = nn.Parameter(module[0].weight.detach() + 0.1)
    line = landscape.slice1d(objective, objective.theta, num_points=3)
    assert line.status == "complete"
    assert line.centre_loss == pytest.approx(float(((module(x) - x[:, :1]) ** 2).mean().detach()), rel=1e-12)
