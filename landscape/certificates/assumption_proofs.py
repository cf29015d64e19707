"""Assumptions of theorems once more: by shapes, and by what the user's own module and loss make of other numbers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.certificates.almost_every import ONE_LAYER
from landscape.certificates.claims import FAILS, HOLDS
from landscape.objective import plain, trees
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.result import Check

# Outputs at which a loss is tried, and what two formulas of one loss differ by, relative.
TRIALS, SAME = 8, 1e-5
# Layers in a row of which it is known what theorems are about them; those that do nothing to rows in evaluation.
PLAIN, KINKED = (nn.Linear,), (nn.ReLU, nn.LeakyReLU)
SILENT = (nn.Identity, nn.Dropout, nn.Flatten)
# What is said of a loss.
OF_LOSS = ("square loss", "square loss, no penalty", "loss convex in the outputs")
# Smallest over largest singular value: above the first of full rank, below the second not, between them either.
FULL, LACKING = 1e-6, 1e-15


def family_check(found: Mapping[str, Any], family: Callable[[int, int, int], Objective], seed: int) -> Check:
    """Of one seeded cell of a table, its fields ``found`` by name, on a module made anew."""
    rng, states = np.random.default_rng(seed), np.asarray(found["state"])
    i, j = (int(rng.integers(len(found[name]))) for name in ("depth", "width"))
    objective = family(int(found["width"][j]), int(found["depth"][i]), seed)
    here = states[..., i, j, :].reshape(-1, states.shape[-1])[0].tolist()
    said = dict(zip(found["assumption"].tolist(), here, strict=True))
    known = of_module(objective, objective.present_point())
    if is_told(said):
        known |= of_loss(objective, objective.present_point())
    if said[ONE_LAYER] != HOLDS:
        known.pop("no biases", None)
    meaning = "assumptions that are not as other outputs and weights of a module made anew say (0 = none)"
    return Check("assumptions", float(num_wrong(said, known)), 0.0, meaning)


def of_module(objective: Objective, point: Point) -> dict[str, bool]:
    """What a module of one hidden layer, recognised as such, does: outputs, biases."""
    inputs, _ = next(iter(objective.chunks()))
    outputs = _outputs(objective, point, inputs)
    if outputs is None or outputs.dim() != 2:
        return {}
    weights = [piece.name for piece in objective.pieces if len(piece.shape) == 2]
    biases = of_biases(objective, point, weights) if len(weights) == 2 else {}
    return {"one output": outputs.shape[1] == 1, **biases}


def is_told(states: Mapping[str, str]) -> bool:
    """Whether anything is said of the loss: one of a user's own may know no other outputs than the module's."""
    return any(states.get(text) in (HOLDS, FAILS) for text in OF_LOSS)


def of_loss(objective: Objective, point: Point) -> dict[str, bool]:
    """Whether a loss of one tensor is the mean square of outputs less targets, and convex, at random outputs.

    Nothing of a loss that is not defined there, as that of probabilities.
    """
    inputs, targets = next(iter(objective.chunks()))
    outputs = _outputs(objective, point, inputs)
    if outputs is None or objective.loss.has_price:
        return {}
    generator = torch.Generator().manual_seed(0)
    with objective.written(plain.by_name(objective, point)):
        drawn = torch.randn((TRIALS, *outputs.shape), generator=generator, dtype=torch.float64).to(outputs)
        try:
            ends = [_with_loss(objective, one, targets) for one in drawn]
            pairs = list(zip(ends[::2], ends[1::2], strict=True))
            middles = [_with_loss(objective, (one + other) / 2, targets)[1] for (one, _), (other, _) in pairs]
        except Exception:  # It is the user's own, and may refuse them in any way.
            return {}
    if not np.isfinite([loss for _, loss in ends]).all():
        return {}
    if not targets.is_floating_point() and targets.dim() == 1 and outputs.dim() == 2 and outputs.shape[1] > 1:
        targets = functional.one_hot(targets.long(), outputs.shape[1])
    is_square = targets.numel() == outputs.numel()
    if is_square:
        wanted = [float((h - targets.reshape(h.shape).to(h)).square().mean()) for h, _ in ends]
        is_square = all(
            abs(loss - one) <= SAME * max(one, abs(loss)) for (_, loss), one in zip(ends, wanted, strict=True)
        )
    is_convex = all(
        middle <= (a + b) / 2 + SAME * (abs(a) + abs(b))
        for ((_, a), (_, b)), middle in zip(pairs, middles, strict=True)
    )
    return dict(zip(OF_LOSS, (is_square, is_square and not objective.l2, is_convex), strict=True))


def of_biases(objective: Objective, point: Point, weights: Sequence[str]) -> dict[str, bool]:
    """Whether twice every one of L ``weights`` makes 2ᴸ times the outputs, wherever all tensors lie otherwise."""
    tensors = plain.by_name(objective, point)
    if not weights or any(name not in tensors for name in weights):
        return {}
    generator = torch.Generator().manual_seed(1)
    drawn = {
        name: torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in tensors.items()
    }
    twice = {name: 2 * tensor if name in weights else tensor for name, tensor in drawn.items()}
    inputs, _ = next(iter(objective.chunks()))
    one, other = (_called(objective, these, inputs) for these in (drawn, twice))
    if one is None or other is None or not bool(torch.isfinite(other).all()):
        return {}
    size = float(other.abs().max())
    return {"no biases": bool((other - 2 ** len(weights) * one).abs().max() <= SAME * size)}


def ends_linearly(objective: Objective) -> bool:
    """Whether layers of torch's own, one after the other, end in a trained linear one that makes rows of outputs.

    False too where that cannot be told: of other modules, of hooks, and where a parameter is used twice.
    """
    module, last = objective.module, objective.module
    while type(last) is nn.Sequential and len(last):
        last = last[-1]
    every = [one for _, one in module.named_modules(remove_duplicate=False)]
    parameters = [id(one) for layer in every for one in layer.parameters(recurse=False)]
    is_torchs = all(type(one).__module__.startswith("torch.nn.modules.") for one in every)
    is_hooked = any(one._forward_hooks or one._forward_pre_hooks for one in every)
    names = {piece.name for piece in objective.pieces}
    is_trained = any(one is last and f"{name}.weight" in names for name, one in module.named_modules())
    if last is module or type(last) is not nn.Linear or not is_torchs or is_hooked or not is_trained:
        return False
    tensors = plain.by_name(objective, objective.present_point())
    outputs = _called(objective, tensors, next(iter(objective.chunks()))[0])
    return len(parameters) == len(set(parameters)) and outputs is not None and outputs.dim() == 2


def of_layers(objective: Objective) -> set[str]:
    """Claims that are made of layers of torch's own one after the other.

    Nothing of other modules, and where a layer or a parameter is used twice.
    """
    module, inputs = objective.module, _alone(next(iter(objective.chunks()))[0])
    layers = [layer for layer in module.modules() if not list(layer.children())]
    parameters = [id(one) for layer in layers for one in layer.parameters()]
    is_plain = all(type(one) in (nn.Sequential, *PLAIN, *KINKED, *SILENT) for one in module.modules())
    is_chain = isinstance(module, nn.Sequential) and len(parameters) == len(set(parameters))
    if not (is_plain and is_chain and inputs is not None and inputs.dim() == 2):
        return set()
    kinds = [type(one) for one in layers if type(one) not in SILENT]
    ends = [kind in PLAIN for kind in kinds]
    if kinds and all(ends):
        return {"floor", "product"}
    return {"pattern", "inactive"} if ends == [True, False, True] else set()


def of_shapes(
    objective: Objective, point: Point, layers: Sequence[str], widths: Sequence[int], num_outputs: int
) -> dict[str, bool]:
    """What counts say: of samples, of features (``widths`` of ``layers``, as they are met), of outputs in all."""
    tensors = plain.by_name(objective, point)
    weights = [tensors.get(f"{layer}.weight") for layer in layers]
    if not weights or any(one is None or one.dim() != 2 for one in weights):
        return {}
    n, last = objective.num_samples, weights[-1]
    outputs, inputs = num_outputs // n, int(widths[0])
    trained = {piece.name for piece in objective.pieces}
    assert last is not None
    thinnest = min(min(one.shape) for one in weights if one is not None)
    found = {
        "one output": outputs == 1,
        "n ≤ d₀d₁": n <= inputs * int(widths[-1]),
        "features: width ≥ n": int(widths[-1]) + (f"{layers[-1]}.bias" in trained) >= n,
        "every outgoing weight ≠ 0": bool((last != 0).all()),
        "d_x ≤ n and d_y ≤ n": inputs <= n and outputs <= n,
        "thinnest layer: the input or the output": thinnest == min(inputs, outputs),
    }
    # Other modules may hand their layers something else than the data.
    return found | _of_data(objective, inputs, outputs) if of_layers(objective) else found


def _of_data(objective: Objective, num_inputs: int, num_outputs: int) -> dict[str, bool]:
    """Ranks of inputs (n, d_x), and of these with targets (n, d_y), where singular values leave no doubt."""
    n, parts = objective.num_samples, list[tuple[Tensor, Tensor]]()
    for inputs, y in objective.chunks():
        x = _alone(inputs)
        if x is None or x.numel() != len(y) * num_inputs:
            return {}
        parts.append((x, y))
    x = torch.cat([x.reshape(len(y), -1) for x, y in parts]).double().cpu().numpy()
    found = {"XXᵀ of full rank": _is_full(x, num_inputs)}
    y = torch.cat([y.reshape(len(y), -1) for _, y in parts]).double().cpu().numpy()
    if parts[0][1].is_floating_point() and y.shape == (n, num_outputs):
        found["XYᵀ of full rank"] = _is_full(x.T @ y, min(num_inputs, num_outputs))
    return {text: one for text, one in found.items() if one is not None}


def _is_full(matrix: np.ndarray, rank: int) -> bool | None:
    values = np.linalg.svd(matrix, compute_uv=False)
    if len(values) < rank or not values[0]:
        return False
    share = float(values[rank - 1] / values[0])
    return True if share > FULL else False if share < LACKING else None


def num_wrong(states: Mapping[str, str], known: Mapping[str, bool]) -> int:
    """How many of the ``states`` that say something, by assumption, say otherwise than what is ``known``."""
    wanted = {text: HOLDS if one else FAILS for text, one in known.items()}
    return sum(
        states[text] in (HOLDS, FAILS) and states[text] != one
        for text, one in wanted.items()
        if text in states
    )


def _alone(inputs: Any) -> Tensor | None:
    """The one tensor that a module is called with; None where it is called with others."""
    one = inputs[0] if isinstance(inputs, tuple | list) and len(inputs) == 1 else inputs
    return one if isinstance(one, Tensor) else None


def _with_loss(objective: Objective, outputs: Tensor, targets: Tensor) -> tuple[Tensor, float]:
    return outputs, plain.loss_of_outputs(objective, outputs, targets)


def _outputs(objective: Objective, point: Point, inputs: object) -> Tensor | None:
    return _called(objective, plain.by_name(objective, point), inputs)


def _called(objective: Objective, tensors: Mapping[str, Tensor], inputs: object) -> Tensor | None:
    with torch.set_grad_enabled(objective.needs_gradients), objective.written(tensors):
        outputs = objective.called(trees.mapped(torch.clone, inputs))
        return outputs.detach() if isinstance(outputs, Tensor) else None
