"""Where does a gradient method lead from this initial point?"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from landscape import checks
from landscape.errors import BadInput
from landscape.numerics.sampling import Sampler, isolated_rng, restore_rng, rng_state
from landscape.numerics.schedules import Plateau, schedule_parameters, step_size
from landscape.objective import Objective
from landscape.parameters import Point, split
from landscape.progress import Pieces, Progress, silent
from landscape.result import Result, array, scalar

METHODS = ("gd", "minibatch", "sgd")
OPTIMIZERS = ("sgd", "adam", "adamw")
SAVE_SECONDS = 5.0


@dataclass(kw_only=True, eq=False)
class Train(Result):
    """A training run: its logs, and its points ``init``, ``epoch=…`` or ``step=…``, and ``final``."""

    kind: ClassVar[str] = "train"
    step: np.ndarray = array("step", long_name="step")
    loss: np.ndarray = array("step", long_name="training loss")
    gradient_norm: np.ndarray = array("step", long_name="gradient norm ‖∇F‖")
    step_size: np.ndarray = array("step", long_name="step size α")
    epoch: np.ndarray = array("step", long_name="passes over the data")
    accuracy: np.ndarray | None = array("step", long_name="training accuracy", optional=True)
    test_loss: np.ndarray | None = array("step", long_name="test loss", optional=True)
    test_accuracy: np.ndarray | None = array("step", long_name="test accuracy", optional=True)
    final_loss: float = scalar("training loss at the final point")
    final_gradient_norm: float = scalar("gradient norm at the final point")
    final_accuracy: float | None = scalar("training accuracy at the final point", optional=True)
    final_test_loss: float | None = scalar("test loss at the final point", optional=True)
    final_test_accuracy: float | None = scalar("test accuracy at the final point", optional=True)
    num_steps: int = scalar("steps taken")
    num_observations: int = scalar("samples whose gradient was taken")


def train(
    objective: Objective,
    *,
    test: Objective | None = None,
    method: str = "minibatch",
    batch_size: int = 128,
    sampling: str = "reshuffle",
    epochs: float | None = None,
    steps: int | None = None,
    lr: float = 0.1,
    optimizer: str = "sgd",
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    schedule: str = "constant",
    schedule_arguments: Mapping[str, Any] | None = None,
    measure_every: int | None = None,
    checkpoint_every: int | None = None,
    seed: int = 0,
    pieces: Pieces | None = None,
    progress: Progress = silent,
) -> Train:
    """Train from the module's present parameters; the module passed in stays as it is.

    ``method``: ``gd`` takes all samples a step, ``minibatch`` ``batch_size`` of them, ``sgd`` one.
    Give ``epochs`` (passes over the data) or ``steps``. ``measure_every`` and ``checkpoint_every`` are
    in the unit of the run: epochs, or steps where ``steps`` was given. Measured are F and ‖∇F‖ over the
    whole set in eval mode. Schedules are those of :mod:`landscape.numerics.schedules`; their period
    ``every`` is in steps (default: one pass). The optimisers are torch.optim's, on the flat θ.

    A NaN or infinite loss ends the run with outcome ``diverged`` and what there is. ``pieces`` makes the
    run resumable: from the last saved state it goes on bit for bit. Raises BadInput for options out of
    range.
    """
    _check_options(objective, method, batch_size, epochs, steps, lr, optimizer, momentum, nesterov)
    pieces = {} if pieces is None else pieces
    size = {"gd": objective.num_samples, "minibatch": batch_size, "sgd": 1}[method]
    sampler = Sampler(sampling, objective.num_samples, size, seed)
    per_pass = sampler.batches_per_pass
    unit = 1 if epochs is None else per_pass
    total = int(steps if epochs is None else math.ceil((epochs or 0) * per_pass))
    measure_steps = max(1, measure_every * unit) if measure_every else max(per_pass, math.ceil(total / 200))
    arguments = dict(schedule_arguments or {})
    parameters = schedule_parameters(schedule, arguments)
    every = int(arguments.get("every", per_pass))
    if every < 1:
        raise BadInput(f"the schedule's period every={every}", "at least one step")
    plateau = Plateau(lr, parameters) if schedule == "plateau" else None

    start = objective.present_point("init")
    theta = torch.nn.Parameter(start.theta.clone())
    fixed = {name: tensor.clone() for name, tensor in start.fixed.items()}
    optimiser = _optimiser(optimizer, theta, lr, momentum, nesterov, weight_decay)
    step, diverged, last_save = 0, False, time.monotonic()
    proofs: list[checks.Check] = []

    def measure() -> None:
        value, slope = objective.value_and_gradient(theta, fixed)
        seen = objective.measure(theta, fixed) if objective.loss.correct else None
        tested = test.measure(theta, fixed) if test else None
        pieces[f"log {step}"] = {
            "step": step,
            "loss": value,
            "gradient_norm": float(torch.linalg.vector_norm(slope.double())),
            "step_size": optimiser.param_groups[0]["lr"],
            "epoch": step / per_pass,
            "accuracy": seen.accuracy if seen else math.nan,
            "test_loss": tested.loss if tested else math.nan,
            "test_accuracy": tested.accuracy if tested else math.nan,
        }

    def keep(label: str) -> None:
        pieces[f"point {label}"] = {"step": step, **_state(theta, fixed, objective)}

    with checks.untouched(objective, proofs), isolated_rng(seed, objective.device):
        if "state" in pieces:
            step = _restore(pieces["state"], theta, fixed, optimiser, sampler, plateau, objective)
            for key in [k for k in pieces if k != "state" and pieces[k]["step"] > step]:
                del pieces[key]
        else:
            keep("init")
            measure()
        while step < total and not diverged:
            if plateau is None and step % every == 0:
                optimiser.param_groups[0]["lr"] = step_size(schedule, parameters, lr, step // every)
            indices = None if method == "gd" else sampler.next()
            batch_loss, theta.grad = objective.batch_gradient(theta, indices, fixed, training=True)
            if not math.isfinite(float(batch_loss)):
                diverged = True
                break
            optimiser.step()
            step += 1
            if plateau is not None and step % every == 0:
                optimiser.param_groups[0]["lr"] = plateau.observe(objective.value(theta, fixed))
            if step % measure_steps == 0 or step == total:
                measure()
                diverged = not math.isfinite(pieces[f"log {step}"]["loss"])
            if checkpoint_every and step % (checkpoint_every * unit) == 0 and step < total:
                keep(f"step={step}" if epochs is None else f"epoch={step // per_pass}")
            if time.monotonic() - last_save > SAVE_SECONDS:
                pieces["state"] = _saved(step, theta, fixed, optimiser, sampler, plateau, objective)
                last_save = time.monotonic()
            progress(step, total, "steps")
        if f"log {step}" not in pieces:
            measure()
        keep("final")
    final = Point(theta.detach(), fixed, "final")
    logs = sorted((pieces[key] for key in pieces if key.startswith("log ")), key=lambda log: log["step"])
    last = logs[-1]
    proofs.append(
        checks.agreement(
            "final loss", objective, last["loss"], final, "logged loss against a plain loop over model.eval()"
        )
    )
    column = {name: np.array([log[name] for log in logs]) for name in last}
    result = Train(
        **{name: column[name] for name in ("step", "loss", "gradient_norm", "step_size", "epoch")},
        **{name: _known(column[name]) for name in ("accuracy", "test_loss", "test_accuracy")},
        final_loss=last["loss"],
        final_gradient_norm=last["gradient_norm"],
        **{f"final_{name}": _known(last[name]) for name in ("accuracy", "test_loss", "test_accuracy")},
        num_steps=step,
        num_observations=step * sampler.batch_size,
        outcome="diverged" if diverged else "complete",
        checks=proofs,
        parameters=objective.pieces,
        states=_points(pieces),
    )
    if diverged:
        result.notes.append(
            f"the loss was NaN or infinite after step {step} of {total}: stopped there; a smaller --lr may help"
        )
    return result


def _check_options(
    objective: Objective,
    method: str,
    batch_size: int,
    epochs: float | None,
    steps: int | None,
    lr: float,
    optimizer: str,
    momentum: float,
    nesterov: bool,
) -> None:
    if method not in METHODS:
        raise BadInput(f"unknown method {method!r}", f"one of {', '.join(METHODS)}")
    if optimizer not in OPTIMIZERS:
        raise BadInput(f"unknown optimizer {optimizer!r}", f"one of {', '.join(OPTIMIZERS)}")
    if (epochs is None) == (steps is None):
        raise BadInput(
            "epochs and steps both given" if epochs else "neither epochs nor steps given", "one of them"
        )
    if (epochs or steps or 0) <= 0:
        raise BadInput(f"{epochs or steps or 0} {'steps' if epochs is None else 'epochs'}", "at least one")
    if batch_size < 1:
        raise BadInput(f"batch size {batch_size}", "at least 1")
    if not lr > 0:
        raise BadInput(f"step size {lr:g}", "a positive number")
    if nesterov and not momentum > 0:
        raise BadInput("Nesterov's method without momentum", "a momentum above 0")
    if optimizer != "sgd" and (momentum or nesterov):
        raise BadInput(f"momentum with {optimizer}", "momentum only with --optimizer sgd")


def _optimiser(
    name: str, theta: torch.nn.Parameter, lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.Adam([theta], lr=lr, weight_decay=weight_decay)
    if name == "adamw":
        return torch.optim.AdamW([theta], lr=lr, weight_decay=weight_decay)
    return torch.optim.SGD([theta], lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


def _state(theta: Tensor, fixed: Mapping[str, Tensor], objective: Objective) -> dict[str, np.ndarray]:
    tensors = {**split(theta.detach(), objective.pieces), **fixed}
    return {name: tensor.cpu().numpy().copy() for name, tensor in tensors.items()}


def _saved(
    step: int,
    theta: Tensor,
    fixed: Mapping[str, Tensor],
    optimiser: torch.optim.Optimizer,
    sampler: Sampler,
    plateau: Plateau | None,
    objective: Objective,
) -> dict[str, Any]:
    tensors: dict[str, Tensor] = {"theta": theta.detach()}
    tensors |= {f"fixed {name}": tensor for name, tensor in fixed.items()}
    tensors |= {
        f"optimiser {name}": value for name, value in optimiser.state[theta].items() if value is not None
    }
    tensors |= {f"sampler {name}": value for name, value in sampler.state().items()}
    tensors |= {f"global {name}": value for name, value in rng_state(objective.device).items()}
    return {
        "step": step,
        "lr": optimiser.param_groups[0]["lr"],
        "plateau": [plateau.step, plateau.best, plateau.waited, plateau.cooling] if plateau else None,
        **{name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()},
    }


def _restore(
    saved: dict[str, Any],
    theta: torch.nn.Parameter,
    fixed: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    sampler: Sampler,
    plateau: Plateau | None,
    objective: Objective,
) -> int:
    def group(prefix: str) -> dict[str, Tensor]:
        start = f"{prefix} "
        return {k.removeprefix(start): torch.from_numpy(v) for k, v in saved.items() if k.startswith(start)}

    with torch.no_grad():
        theta.copy_(torch.from_numpy(saved["theta"]))
        for name, tensor in group("fixed").items():
            fixed[name].copy_(tensor)
    optimiser.state[theta] = {
        name: tensor if name == "step" else tensor.to(objective.device)
        for name, tensor in group("optimiser").items()
    }
    optimiser.param_groups[0]["lr"] = saved["lr"]
    sampler.restore(group("sampler"))
    restore_rng(group("global"), objective.device)
    if plateau is not None:
        plateau.step, plateau.best, plateau.waited, plateau.cooling = saved["plateau"]
    return saved["step"]


def _points(pieces: Pieces) -> dict[str, dict[str, np.ndarray]]:
    found = [(pieces[key]["step"], key.removeprefix("point ")) for key in pieces if key.startswith("point ")]
    order = {"init": -1, "final": 1}
    labels = [label for _, label in sorted(found, key=lambda one: (one[0], order.get(one[1], 0)))]
    return {label: {k: v for k, v in pieces[f"point {label}"].items() if k != "step"} for label in labels}


def _known(value: Any) -> Any:
    return None if np.all(np.isnan(value)) else value
