"""Where does a gradient method lead from this initial point?"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from landscape.errors import BadInput
from landscape.numerics.steps.motion import OPTIMIZERS, Motion, optimiser
from landscape.numerics.steps.sampling import Sampler, isolated_rng
from landscape.numerics.steps.schedules import Plateau, schedule_parameters, step_size
from landscape.objective import checks
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point, split
from landscape.progress import Journal, Progress, silent
from landscape.result import Result, array, scalar

METHODS = ("gd", "minibatch", "sgd")
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
    journal: Journal | None = None,
    progress: Progress = silent,
) -> Train:
    """Train from the module's present parameters; the module passed in stays as it is.

    ``method``: ``gd`` takes all samples a step, ``minibatch`` ``batch_size`` of them, ``sgd`` one.
    Give ``epochs`` (passes over the data) or ``steps``. ``measure_every`` and ``checkpoint_every`` are
    in the unit of the run: epochs, or steps where ``steps`` was given. Measured are F and ‖∇F‖ over the
    whole set in eval mode, beside the step size of the step just taken. Schedules are those of
    :mod:`landscape.numerics.steps.schedules`; their period ``every`` is in steps (default: one pass). The
    optimisers are torch.optim's, on the flat θ.

    A NaN or infinite loss ends the run with outcome ``diverged`` and what there is. ``journal`` makes the
    run resumable: from the last saved state it goes on bit for bit. Raises BadInput for options out of
    range.
    """
    _check_options(
        method=method,
        optimizer=optimizer,
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        measure_every=measure_every,
        checkpoint_every=checkpoint_every,
    )
    journal = {} if journal is None else journal
    size = {"gd": objective.num_samples, "minibatch": batch_size, "sgd": 1}[method]
    sampler = Sampler(sampling, objective.num_samples, size, seed)
    per_pass = sampler.batches_per_pass
    unit = 1 if epochs is None else per_pass
    total = steps if epochs is None else math.ceil(epochs * per_pass)
    assert total is not None
    measure_steps = measure_every * unit if measure_every else max(per_pass, math.ceil(total / 200))
    arguments = dict(schedule_arguments or {})
    parameters = schedule_parameters(schedule, arguments)
    every = int(arguments.get("every", per_pass))
    if every < 1:
        raise BadInput(f"the schedule's period every={every}", "at least one step")
    plateau = Plateau(lr, parameters) if schedule == "plateau" else None

    start = objective.present_point("init")
    theta = torch.nn.Parameter(start.theta.clone())
    fixed = {name: tensor.clone() for name, tensor in start.fixed.items()}
    buffers = [fixed[name] for name, _ in objective.module.named_buffers() if name in fixed]
    stepper = optimiser(optimizer, theta, lr, momentum, nesterov, weight_decay)
    group = stepper.param_groups[0]
    tensors = {"theta": theta, **{f"fixed {name}": tensor for name, tensor in fixed.items()}}
    motion = Motion(tensors, sampler, objective.device, optimiser=stepper)
    step, diverged, last_save = 0, False, time.monotonic()
    proofs: list[checks.Check] = []

    def measure() -> None:
        value, slope = objective.value_and_gradient(theta, fixed)
        seen = objective.measure(theta, fixed) if objective.loss.correct else None
        tested = test.measure(theta, fixed) if test else None
        journal[f"log {step}"] = {
            "step": step,
            "loss": value,
            "gradient_norm": float(torch.linalg.vector_norm(slope.double())),
            "step_size": group["lr"],
            "epoch": step / per_pass,
            "accuracy": seen.accuracy if seen else math.nan,
            "test_loss": tested.loss if tested else math.nan,
            "test_accuracy": tested.accuracy if tested else math.nan,
        }

    def measured_not_finite() -> bool:
        return f"log {step}" in journal and not math.isfinite(journal[f"log {step}"]["loss"])

    def keep(label: str) -> None:
        tensors = {**split(theta.detach(), objective.pieces), **fixed}
        arrays = {f"tensor {name}": tensor.cpu().numpy().copy() for name, tensor in tensors.items()}
        journal[f"point {label}"] = {"step": step, **arrays}

    with checks.untouched(objective, proofs), isolated_rng(seed, objective.device):
        if "state" in journal:
            state = journal["state"]
            step = state["step"]
            motion.restore(state)
            group["lr"] = state["step size"]
            if plateau:
                plateau.step, plateau.best, plateau.waited, plateau.cooling = state["plateau"]
            diverged = measured_not_finite()
        else:
            keep("init")
            measure()
        while step < total and not diverged:
            if step % every == 0:
                if plateau is None:
                    group["lr"] = step_size(schedule, parameters, lr, step // every)
                elif step:
                    group["lr"] = plateau.observe(objective.value(theta, fixed))
            indices = None if method == "gd" else sampler.next()
            before = [buffer.clone() for buffer in buffers]
            batch_loss, slope = objective.batch_gradient(theta, indices, fixed, training=True)
            if not math.isfinite(float(batch_loss)):
                diverged = True
                for buffer, value in zip(buffers, before, strict=True):
                    buffer.copy_(value)
                break
            theta.grad = slope
            stepper.step()
            step += 1
            if step % measure_steps == 0 or step == total:
                measure()
                diverged = measured_not_finite()
            if checkpoint_every and step % (checkpoint_every * unit) == 0 and step < total:
                keep(f"step={step}" if epochs is None else f"epoch={step // per_pass}")
            if time.monotonic() - last_save > SAVE_SECONDS:
                about = {"step": step, "step size": group["lr"], "plateau": _memory(plateau)}
                journal["state"] = about | motion.state()
                last_save = time.monotonic()
            progress(step, total, "steps")
        if f"log {step}" not in journal:
            measure()
        keep("final")
    final = Point(theta.detach(), fixed, "final")
    logs = sorted((journal[key] for key in journal if key.startswith("log ")), key=lambda log: log["step"])
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
        num_observations=_num_observations(sampler, step),
        outcome="diverged" if diverged else "complete",
        checks=proofs,
        parameters=objective.pieces,
        states=_points(journal),
    )
    if diverged:
        result.notes.append(
            f"the loss was NaN or infinite after step {step} of {total}: stopped there; a smaller --lr may help"
        )
    return result


def _check_options(
    *,
    method: str,
    optimizer: str,
    epochs: float | None,
    steps: int | None,
    batch_size: int,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    measure_every: int | None,
    checkpoint_every: int | None,
) -> None:
    if method not in METHODS:
        raise BadInput(f"unknown method {method!r}", f"one of {', '.join(METHODS)}")
    if optimizer not in OPTIMIZERS:
        raise BadInput(f"unknown optimizer {optimizer!r}", f"one of {', '.join(OPTIMIZERS)}")
    if (epochs is None) == (steps is None):
        seen = "neither epochs nor steps" if epochs is None else "both epochs and steps"
        raise BadInput(f"{seen} given", "one of them")
    if epochs is not None and not 0 < epochs < math.inf:
        raise BadInput(f"{epochs:g} epochs", "a positive number")
    for name, count in (
        ("steps", steps),
        ("samples a batch", batch_size),
        ("as measure_every", measure_every),
        ("as checkpoint_every", checkpoint_every),
    ):
        if count is not None and count < 1:
            raise BadInput(f"{count} {name}", "at least 1")
    if not 0 < lr < math.inf:
        raise BadInput(f"step size {lr:g}", "a positive number")
    if not 0 <= momentum < 1:
        raise BadInput(f"momentum {momentum:g}", "a number in [0, 1)")
    if not 0 <= weight_decay < math.inf:
        raise BadInput(f"weight decay {weight_decay:g}", "a number of at least 0")
    if nesterov and momentum == 0:
        raise BadInput("Nesterov's method without momentum", "a momentum above 0")
    if optimizer != "sgd" and momentum:
        raise BadInput(f"momentum with {optimizer}", "momentum only with --optimizer sgd")


def _memory(plateau: Plateau | None) -> list[float] | None:
    return [plateau.step, plateau.best, plateau.waited, plateau.cooling] if plateau else None


def _num_observations(sampler: Sampler, step: int) -> int:
    if sampler.rule == "uniform":
        return step * sampler.batch_size
    passes, rest = divmod(step, sampler.batches_per_pass)
    return passes * sampler.num_samples + rest * sampler.batch_size


def _points(journal: Journal) -> dict[str, dict[str, np.ndarray]]:
    found = [
        (journal[key]["step"], key.removeprefix("point ")) for key in journal if key.startswith("point ")
    ]
    order = {"init": -1, "final": 1}
    labels = [label for _, label in sorted(found, key=lambda one: (one[0], order.get(one[1], 0)))]
    return {
        label: {k.removeprefix("tensor "): v for k, v in journal[f"point {label}"].items() if k != "step"}
        for label in labels
    }


def _known(value: Any) -> Any:
    return None if np.all(np.isnan(value)) else value
