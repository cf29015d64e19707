"""Where does a gradient method lead from this initial point?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from landscape.descent.training import Regime, Trainer
from landscape.objective import checks
from landscape.objective.objective import Objective
from landscape.progress import Journal, Progress, silent
from landscape.result import Result, array, scalar


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
    regime = Regime(
        method=method,
        batch_size=batch_size,
        sampling=sampling,
        epochs=epochs,
        steps=steps,
        lr=lr,
        optimizer=optimizer,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        schedule=schedule,
        schedule_arguments=schedule_arguments or {},
        measure_every=measure_every,
        checkpoint_every=checkpoint_every,
        seed=seed,
    )
    trainer = Trainer(objective, test, regime, {} if journal is None else journal)
    proofs: list[checks.Check] = []
    with checks.untouched(objective, proofs):
        trainer.run(progress)
    return _result(trainer, proofs)


def _result(trainer: Trainer, proofs: list[checks.Check]) -> Train:
    logs = trainer.logs
    last = logs[-1]
    column = {name: np.array([log[name] for log in logs]) for name in last}
    meaning = "logged loss against a plain loop over model.eval()"
    loss = checks.agreement("final loss", trainer.objective, last["loss"], trainer.final, meaning)
    result = Train(
        **{name: column[name] for name in ("step", "loss", "gradient_norm", "step_size", "epoch")},
        **{name: _known(column[name]) for name in ("accuracy", "test_loss", "test_accuracy")},
        final_loss=last["loss"],
        final_gradient_norm=last["gradient_norm"],
        **{f"final_{name}": _known(last[name]) for name in ("accuracy", "test_loss", "test_accuracy")},
        num_steps=trainer.step,
        num_observations=trainer.num_observations,
        outcome="diverged" if trainer.diverged else "complete",
        checks=[*proofs, loss],
        parameters=trainer.objective.pieces,
        states=trainer.states,
    )
    if trainer.diverged:
        result.notes.append(
            f"the loss was NaN or infinite after step {trainer.step} of {trainer.total}: stopped there; "
            "a smaller `lr` may help"
        )
    return result


def _known(value: Any) -> Any:
    return None if np.all(np.isnan(value)) else value
