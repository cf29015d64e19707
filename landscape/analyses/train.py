"""Where does a gradient method lead from this initial point?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_args

from landscape.analyses.declare import Brought, analysis
from landscape.analyses.options import Option, Parameter
from landscape.choices import (
    Data,
    LossName,
    Method,
    Model,
    Optimizer,
    Schedule,
    TrainingNoise,
    TrainingSampling,
)
from landscape.progress import Journal, Progress, silent
from landscape.result import Result, array, scalar

if TYPE_CHECKING:
    import numpy as np

    from landscape.descent.training import Trainer
    from landscape.objective import checks
    from landscape.objective.objective import Objective


OPTIONAL = ("accuracy", "test_loss", "test_accuracy", "parameter_norm", "largest_bias")


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
    parameter_norm: np.ndarray | None = array("step", long_name="‖θ‖", optional=True)
    largest_bias: np.ndarray | None = array(
        "step", long_name="largest b of the neurons a exp(w·x + b)", optional=True
    )
    point: np.ndarray | None = array("point", long_name="point that was kept", optional=True)
    preconditioner: np.ndarray | None = array(
        "point",
        "parameter",
        long_name="P of Adam, by which it divides its mean gradient for a step: (1 − β₁ᵗ)(√(v/(1 − β₂ᵗ)) + ε)",
        optional=True,
    )
    final_loss: float = scalar("training loss at the final point")
    final_gradient_norm: float = scalar("gradient norm at the final point")
    final_accuracy: float | None = scalar("training accuracy at the final point", optional=True)
    final_test_loss: float | None = scalar("test loss at the final point", optional=True)
    final_test_accuracy: float | None = scalar("test accuracy at the final point", optional=True)
    step_sum: float | None = scalar("Σα of the schedule, for ever", optional=True)
    step_square_sum: float | None = scalar("Σα² of the schedule, for ever", optional=True)
    robbins_monro: str | None = scalar("Σα = ∞ and Σα² < ∞ of the schedule, for ever", optional=True)
    weighted_squared_gradient_norm: float | None = scalar(
        "Σα_k‖∇F(θ_k)‖²/Σα_k over the measured steps", optional=True
    )
    num_steps: int = scalar("steps taken")
    num_observations: int = scalar("samples whose gradient was taken")

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        accuracy = f", test accuracy {self.final_test_accuracy:.3g}" if self.final_test_accuracy else ""
        return f"loss {self.final_loss:.3g}{accuracy}"


@analysis(
    source="recipe",
    needs=lambda options: "one sample a step" if options.get("method") == "sgd" else "",
    points=0,
    paper="Robbins and Monro 1951",
    examples=(
        "--model mlp --data digits -o a.h5",
        "--model my_net.py:build --model-arg depth=20 --data cifar10 -o b.h5",
        "--init a.h5 --lr 0.01 --epochs 10 --seed 1 -o fine-tuned.h5",
    ),
    brought=Brought(
        may_modify=True,
        model_help=f"{', '.join(get_args(Model))}; or yours: pkg.mod:factory, path/file.py:factory.",
        model_arg_help="Arguments of the model: widths=100,100 activation=tanh.",
        data_help=f"{', '.join(get_args(Data))}; or yours: npz:file.npz, pkg.mod:factory, path/file.py:factory.",
        data_arg_help="Arguments of the data: classes=3,6 size=14 limit=1000.",
        loss_help=f"{', '.join(get_args(LossName))} (the module's own), or yours: pkg.mod:function of (outputs, "
        "targets) that gives a mean, a sum or one loss per sample, or of the module alone, then without data "
        "[default: follows outputs and targets].",
    ),
    opens=(
        Parameter(
            "init",
            str | None,
            None,
            Option(
                "Point of a run file to begin at, a.h5@epoch=5; its model, data and loss unless others are named.",
                metavar="POINT",
            ),
        ),
    ),
    places=lambda work, options: (work.objective,),
)
def train(
    objective: Objective,
    *,
    test: Objective | None = None,
    method: Annotated[Method, "All samples a step, `batch_size` of them, or one."] = "minibatch",
    batch_size: Annotated[int, Option("Samples of a mini-batch.", least=1)] = 128,
    sampling: Annotated[
        TrainingSampling, "With replacement, one order for ever, a new order each epoch, or as the data come."
    ] = "reshuffle",
    epochs: Annotated[
        float | None, Option("Passes over the data [default: 60, unless `steps`].", above=0)
    ] = None,
    steps: Annotated[int | None, Option("Steps, instead of `epochs`.", least=1)] = None,
    lr: Annotated[float, Option("First step size.", above=0)] = 0.1,
    optimizer: Annotated[Optimizer, ""] = "sgd",
    momentum: Annotated[float, Option("", least=0, below=1)] = 0.0,
    nesterov: Annotated[bool, "Nesterov's momentum."] = False,
    weight_decay: Annotated[float, Option("", least=0)] = 0.0,
    schedule: Annotated[Schedule, "How the step size falls."] = "constant",
    schedule_arguments: Annotated[
        Mapping[str, Any] | None,
        Option(
            "every=STEPS; gamma (piecewise), rate (exponential), beta gamma (polynomial), "
            "factor threshold patience cooldown floor (plateau).",
            called="schedule_arg",
        ),
    ] = None,
    noise: Annotated[
        TrainingNoise,
        "Added to every gradient: on a sphere (Ge et al. 2015), in a ball, or of every component.",
    ] = "none",
    amplitude: Annotated[
        float | None, Option("Radius of the noise, or its standard deviation where gaussian.", above=0)
    ] = None,
    measure_every: Annotated[
        int | None,
        Option(
            "Log the full loss and ‖∇F‖ every N epochs (or steps, with `steps`) [default: for a tenth of the time].",
            least=1,
            is_how=True,
        ),
    ] = None,
    checkpoint_every: Annotated[
        int | None,
        Option("Keep a point every N epochs (or steps, with `steps`).", least=1, is_how=True),
    ] = None,
    seed: int = 0,
    journal: Journal | None = None,
    progress: Progress = silent,
) -> Train:
    """Train from the module's present parameters; the module passed in stays as it is.
    A run file trained with ``init`` begins at a point of another run, as fine-tuned siblings of one ancestor do.

    ``method``: ``gd`` takes all samples a step, ``minibatch`` ``batch_size`` of them, ``sgd`` one.
    It goes on for ``epochs`` (passes over the data, by default 60) or ``steps``.
    ``measure_every`` and ``checkpoint_every`` are
    in the unit of the run: epochs, or steps where ``steps`` was given. Measured are F and ‖∇F‖ over the
    whole set in eval mode, beside the step size of the step just taken: first and last, and between them, where
    ``measure_every`` is not given, after as many passes as leave measuring a tenth of the time. Schedules are those of
    :mod:`landscape.numerics.steps.schedules`; their period ``every`` is in steps (default: one pass). The
    optimisers are torch.optim's, on the flat θ. Data that are read anew at every pass, see
    :class:`~landscape.inputs.data.streams.Stream`, are taken ``ordered`` alone: a batch in memory at a time.

    ``noise`` is added to the gradient of every step before the optimiser sees it, so that plain SGD moves by the step
    size times it: of length ``amplitude`` (``sphere``), uniform in a ball of that radius, or with that standard
    deviation in every component (``gaussian``). It follows from the seed and the number of the step.

    A NaN or infinite loss ends the run with outcome ``diverged`` and what there is. ``journal`` makes the
    run resumable: from the last saved state it goes on bit for bit. Raises BadInput for options out of
    range.
    """
    from landscape.descent.regime import Regime
    from landscape.descent.training import Trainer
    from landscape.objective import checks

    regime = Regime(
        method=method,
        batch_size=batch_size,
        sampling=sampling,
        epochs=60 if epochs is None and steps is None else epochs,
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
        noise=noise,
        amplitude=amplitude,
    )
    trainer = Trainer(objective, test, regime, {} if journal is None else journal)
    proofs: list[checks.Check] = []
    with checks.untouched(objective, proofs):
        trainer.run(progress)
    return _result(trainer, proofs)


def _result(trainer: Trainer, proofs: list[checks.Check]) -> Train:
    import numpy as np

    from landscape.descent.training_proofs import training_checks
    from landscape.objective import checks
    from landscape.objective.uses import listed

    logs = trainer.logs
    last = logs[-1]
    # A log that an earlier version kept has no lengths.
    column = {name: np.array([log.get(name, math.nan) for log in logs]) for name in last}
    result = Train(
        **{name: column[name] for name in ("step", "loss", "gradient_norm", "step_size", "epoch")},
        **{name: _known(column[name]) for name in OPTIONAL if name in column},
        final_loss=last["loss"],
        final_gradient_norm=last["gradient_norm"],
        **{f"final_{name}": _known(last[name]) for name in ("accuracy", "test_loss", "test_accuracy")},
        num_steps=trainer.step,
        num_observations=trainer.num_observations,
        outcome="diverged" if trainer.diverged else "complete",
        checks=proofs,
        parameters=trainer.objective.pieces,
        states=trainer.states,
    )
    result.preconditioner = trainer.preconditioners
    if result.preconditioner is not None:
        result.point = np.array(list(result.states))
    result.checks += training_checks(trainer, result)
    result.checks += checks.meaning(trainer.objective, trainer.final, trainer.measured)
    if trainer.objective.is_closure:
        if trainer.regime.method != "gd":
            result.notes.append(
                f"the loss {trainer.objective.loss.name} takes the module alone: every step takes it whole, as gd does"
            )
    elif trainer.regime.method != "gd" and not trainer.objective.is_mean:
        result.notes.append(
            f"the loss {trainer.objective.loss.name} is no mean over samples: the mean of its mini-batches is not F"
        )
    result.notes += _carried(trainer.objective)
    regime = trainer.regime
    is_adaptive = regime.optimizer != "sgd"
    if trainer.missed and not trainer.leaves and (regime.momentum or regime.weight_decay or is_adaptive):
        result.notes.append(
            f"some batches do not reach {listed(trainer.missed)}: there its gradient is 0, and momentum or decay moves "
            "it all the same, where torch.optim leaves what has no gradient as it is"
        )
    elif trainer.missed and is_adaptive:
        result.notes.append(
            f"some batches do not reach {listed(trainer.missed)}: there it stays, as torch.optim leaves it, but Adam's "
            "correction of the bias counts every step here, there those that reach it"
        )
    if trainer.diverged:
        said = f"the loss was NaN or infinite after step {trainer.step} of {trainer.total}: stopped there; "
        if math.isfinite(result.final_loss):
            said = (
                f"the loss of the batch of step {trainer.step + 1} of {trainer.total} was NaN or infinite where F is "
                f"{result.final_loss:.3g}: stopped there; a batch may have no target that counts, then take a larger "
                "`batch_size`; else "
            )
        result.notes.append(f"{said}a smaller `lr` may help")
    if trainer.regime.measure_every is None and trainer.measure_steps > trainer.per_pass:
        is_seldom = trainer.measure_steps >= trainer.total
        often = (
            "first and last alone"
            if is_seldom
            else f"every {trainer.measure_steps // trainer.per_pass} passes"
        )
        result.notes.append(
            f"measured {often}, so that measuring takes a tenth of the time at most; `measure_every` says otherwise"
        )
    _add_sums(trainer, result)
    _add_way(result)
    return result


def _carried(objective: Objective) -> list[str]:
    """What steps would carry on in a loop of one's own."""
    from landscape.objective.carried import carried
    from landscape.objective.fit import few_of
    from landscape.objective.trial import Trial

    if objective.is_closure:
        return []
    head = objective.samples.head
    return carried(Trial(objective, head), few_of(head), training=True)


def _add_way(result: Train) -> None:
    """What says that the infimum may lie at infinity, where neurons were added that make it so."""
    sizes, biases = result.parameter_norm, result.largest_bias
    if sizes is None or biases is None:
        return
    result.notes.append(
        f"‖θ‖ went from {sizes[0]:.4g} to {sizes[-1]:.4g}, the largest b of the added neurons from {biases[0]:.4g} to "
        f"{biases[-1]:.4g}: their price falls as b grows, so that at a bad minimum of the model the infimum lies at "
        "infinity and is not attained"
    )


def _add_sums(trainer: Trainer, result: Train) -> None:
    """Whether the steps are those of the theorem for diminishing ones, by formula."""
    from landscape.descent.step_sums import diminishing, sums_check, sums_note

    regime, every = trainer.regime, trainer.again.every
    sums, mean = diminishing(regime, every, trainer.logs)
    result.step_sum, result.step_square_sum = _known(sums.total), _known(sums.squares)
    result.robbins_monro = sums.verdict
    result.weighted_squared_gradient_norm = _known(mean)
    result.checks.append(sums_check(regime, every, result))
    result.notes.append(sums_note(regime, sums, trainer.step))


def _known(value: Any) -> Any:
    import numpy as np

    return None if np.all(np.isnan(value)) else value
