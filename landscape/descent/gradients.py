"""Losses and gradients of one objective at many points at once: what makes replicas one computation.

A plain perceptron goes through hand-written batched products; any other module through ``torch.func.vmap``,
whose graph is recorded once and replayed, as calling it takes longer than its arithmetic.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad_and_value, vmap

from landscape import distributed
from landscape.descent.recorded import recorded_function
from landscape.errors import BadInput
from landscape.numerics.steps import perceptron
from landscape.numerics.steps.perceptron import Activation, Layer
from landscape.numerics.steps.replicas import Gradients
from landscape.numerics.steps.sampling import isolated_rng
from landscape.objective import trees
from landscape.objective.batching import keep_freed_memory
from landscape.objective.losses import LOSSES
from landscape.objective.objective import Objective
from landscape.objective.trial import draws
from landscape.objective.undefined import RAISED
from landscape.objective.uses import listed

# Samples of a batch that is tried.
FEW = 8
# A loss of one row in a stack and alone, relative.
SAME = 1e-3
ACTIVATIONS: dict[type, Callable[[Any], Activation]] = {
    nn.ReLU: lambda one: perceptron.RELU,
    nn.Tanh: lambda one: perceptron.TANH,
    nn.Sigmoid: lambda one: perceptron.SIGMOID,
    nn.SiLU: lambda one: perceptron.SILU,
    nn.LeakyReLU: lambda one: perceptron.leaky_relu(one.negative_slope),
    nn.ELU: lambda one: perceptron.elu(one.alpha),
    nn.GELU: lambda one: perceptron.gelu(one.approximate),
    nn.Softplus: lambda one: perceptron.softplus(one.beta, one.threshold),
}


def stacked_gradients(objective: Objective, *, training: bool = True) -> Gradients:
    """(thetas (R, d), indices (R, B) or None) ↦ mean losses (R,) float64 and gradients (R, d).

    Row r is the loss of θ_r over its samples ``indices[r]``, or over all of them, in training mode as in plain
    training; without ``training`` in the mode of F, running statistics as they are. Raises BadInput for several
    processes, and in training for a module whose running statistics, or other buffers that batches move (the vectors
    of a spectral norm), each replica would have to own.
    """
    distributed.require_one_process("replicas")
    if training and objective.has_batchnorm:
        raise BadInput(
            "batch norm in replicas that are trained as one",
            "a module without running statistics",
            "take another norm, or landscape train for one run at a time",
        )
    moving = _moving(objective) if training else []
    if moving:
        raise BadInput(
            f"{listed(moving)} of {type(objective.module).__name__}, which batches move, in replicas that are "
            "trained as one",
            "a module whose buffers stand still in training mode",
            "take another norm, or landscape train for one run at a time",
        )
    keep_freed_memory()
    layers = perceptron_layers(objective)
    return by_vmap(objective, training=training) if layers is None else by_hand(objective, layers)


def _moving(objective: Objective) -> list[str]:
    """The buffers that a batch moves in training mode; counts aside, which say how many there were."""
    point = objective.present_point()
    before = {name: one for name, one in point.fixed.items() if one.is_floating_point()}
    if not before:
        return []
    fixed = {name: one.clone() for name, one in point.fixed.items()}
    few = torch.arange(min(objective.num_samples, FEW))
    with isolated_rng(0, objective.device):
        objective.batch_gradient(point.theta, few, fixed, training=True)
    return [name for name, one in before.items() if not torch.equal(one, fixed[name])]


def value_and_gradient(objective: Objective) -> Callable[[Tensor], tuple[float, Tensor]]:
    """θ (d,) ↦ F and ∇F, for one point at a time that is asked for many times, in the mode of F.

    A perceptron by hand, a quarter of the time of autograd; anything else by autograd itself: a graph recorded for a
    stack of one took 2 s to make, and 2.4 times as long a call (32 parameters, 12 samples).
    """
    layers = perceptron_layers(objective)
    if layers is None:
        return objective.value_and_gradient
    gradients = by_hand(objective, layers)

    def one(theta: Tensor) -> tuple[float, Tensor]:
        values, slopes = gradients(theta[None], None)
        return float(values[0]), slopes[0]

    return one


def by_hand(objective: Objective, layers: list[Layer]) -> Gradients:
    """The gradients of a perceptron by batched products."""
    (inputs,), targets = objective.samples
    inputs, targets = inputs.flatten(1), _target_rows(objective)
    features_first = inputs.T.contiguous().T
    head = perceptron.HEADS[objective.loss.name]
    if head is perceptron.bce and targets.shape[1] == 1 and bool(((targets == 0) | (targets == 1)).all()):
        targets, head = 2 * targets - 1, perceptron.logistic

    def gradients(thetas: Tensor, indices: Tensor | None) -> tuple[Tensor, Tensor]:
        x, y = (features_first, targets) if indices is None else (inputs[indices], targets[indices])
        losses, slopes = perceptron.losses_and_gradients(layers, head, thetas, x, y)
        if objective.l2:
            losses += 0.5 * objective.l2 * thetas.double().square().sum(1)
            slopes.add_(thetas, alpha=objective.l2)
        return losses, slopes

    return gradients


def by_vmap(objective: Objective, *, training: bool = True) -> Gradients:
    """The gradients of any module by ``torch.func``; one after another where vmap cannot."""
    inputs, targets = objective.samples
    fixed = objective.present_point().fixed
    recorded: dict[tuple[int, ...], Callable[..., Any]] = {}

    def loss(theta: Tensor, x: tuple[Tensor, ...], y: Tensor) -> Tensor:
        with objective.passed(theta, fixed, x, training) as outputs:
            mean = objective.loss.mean(outputs, y)
        return mean + 0.5 * objective.l2 * theta.double().square().sum() if objective.l2 else mean

    def one_by_one(thetas: Tensor, indices: Tensor | None) -> tuple[Tensor, Tensor]:
        rows = [None] * len(thetas) if indices is None else list(indices)
        found = [
            objective.batch_gradient(theta, row, fixed, training=training)
            for theta, row in zip(thetas, rows, strict=True)
        ]
        values, slopes = zip(*found, strict=True)
        return torch.stack(values) + _penalties(objective, thetas), torch.stack(slopes)

    def agrees(found: Any, thetas: Tensor, indices: Tensor | None) -> bool:
        """Whether the first row is that of the module alone, which one with a generator of its own is not."""
        alone: list[Tensor] = []
        row = None if indices is None else indices[0]

        def call() -> None:
            copies = {name: one.clone() for name, one in fixed.items()}
            alone.append(objective.batch_gradient(thetas[0], row, copies, training=training)[0])

        if draws(call):
            return True
        here, there = float(found[1][0]), float(alone[0] + _penalties(objective, thetas)[0])
        return not abs(here - there) > SAME * max(abs(here), abs(there), SAME)

    def gradients(thetas: Tensor, indices: Tensor | None) -> tuple[Tensor, Tensor]:
        if indices is not None and objective.samples.is_one_piece:
            return one_by_one(thetas, indices)
        key = (len(thetas), *(() if indices is None else indices.shape))
        x, y = inputs, targets
        if indices is not None:
            x, y = trees.rows(inputs, indices), targets[indices]
        if key not in recorded:
            axis = None if indices is None else 0
            function = vmap(grad_and_value(loss), in_dims=(0, axis, axis), randomness="different")
            # Recording runs the module, whose draws must not depend on what was recorded before.
            with isolated_rng(0, thetas.device):
                made = recorded_function(function, thetas, x, y)
                recorded[key] = (
                    made if made and agrees(made(thetas, x, y), thetas, indices) else lambda *_: None
                )
        try:
            found = recorded[key](thetas, x, y)
        except RAISED:
            # One of the points is where F is not defined.
            found = None
        if found is None:
            return one_by_one(thetas, indices)
        slopes, losses = found
        return losses, slopes

    return gradients


def perceptron_layers(objective: Objective) -> list[Layer] | None:
    """The layers of a plain perceptron with a built-in loss, or None for everything else."""
    loss, module = objective.loss, objective.module
    inputs, targets = objective.samples
    is_plain = (
        isinstance(module, nn.Sequential)
        and not any("forward" in layer.__dict__ for layer in module.modules())
        and type(module).forward is nn.Sequential.forward
        and not objective.is_mixed
        and loss.name in perceptron.HEADS
        and LOSSES[loss.name] is loss
        and objective.is_mean
        and len(inputs) == 1
        and isinstance(inputs[0], Tensor)
        and inputs[0].is_floating_point()
        and not (module._forward_hooks or module._forward_pre_hooks)
    )
    if not is_plain:
        return None
    spans = {piece.name: piece.span for piece in objective.pieces}
    layers: list[Layer] = []
    names: list[str] = []
    for name, child in module._modules.items():  # named_children leaves out what occurs twice
        if child is None or child._forward_hooks or child._forward_pre_hooks:
            return None
        if type(child) is nn.Linear:
            weight, bias = spans.get(f"{name}.weight"), spans.get(f"{name}.bias")
            if weight is None:
                return None
            names += [f"{name}.weight"] + ([] if child.bias is None else [f"{name}.bias"])
            layers.append(Layer(child.in_features, child.out_features, weight, bias, None))
        elif type(child) in ACTIVATIONS and layers and layers[-1].activation is None:
            layers[-1] = layers[-1]._replace(activation=ACTIVATIONS[type(child)](child))
        elif type(child) is nn.Flatten and not layers and (child.start_dim, child.end_dim) == (1, -1):
            continue
        elif type(child) is not nn.Identity:
            return None
    is_whole = layers and names == list(spans)
    fits = inputs[0].dim() == 2 or type(next(module.children())) is nn.Flatten
    has_all_classes = targets.is_floating_point() or int(targets.min()) >= 0
    return layers if is_whole and fits and has_all_classes and targets.dim() <= 2 else None


def _target_rows(objective: Objective) -> Tensor:
    """Targets as the rows (n, m) that the outputs are compared with; classes as probabilities 0 and 1."""
    (inputs,), targets = objective.samples
    width = objective.outputs(objective.theta, objective.present_point().fixed, (inputs[:1],)).shape[1]
    if not targets.is_floating_point() and objective.loss.of_classes and width > 1:
        return nn.functional.one_hot(targets, width).to(objective.dtype)
    return targets.to(objective.dtype).reshape(len(targets), width)


def _penalties(objective: Objective, thetas: Tensor) -> Tensor:
    return 0.5 * objective.l2 * thetas.double().square().sum(1)
