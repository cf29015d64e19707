"""What a training run says of itself, by another road: its points as they are stored, its logs, its step sizes."""

import math
from typing import Any

import numpy as np
import torch

from landscape.descent.regime import Regime
from landscape.descent.step_proofs import step_size_of
from landscape.descent.training import Trainer
from landscape.numerics.steps.schedules import schedule_parameters
from landscape.objective import checks, plain
from landscape.objective.objective import Objective
from landscape.objective.penalised import identity_checks
from landscape.objective.stored import point_checks, same, state_of
from landscape.result import Check, largest_gap

# Terms of a gradient are as long as the longest one logged; where they cancel, their rounding stays, over this part.
CANCELLED = 0.1


def training_checks(trainer: Trainer, result: Any) -> list[Check]:
    """Of a :class:`~landscape.analyses.train.Train`: its stored end, a seeded logged point, steps and step sizes.

    An evaluation of F, two on the test data, and a gradient, besides the steps.
    """
    objective, test = trainer.objective, trainer.test
    final = state_of(objective, result, "final")
    found = point_checks(
        "final",
        objective,
        final,
        result.final_loss,
        result.final_accuracy,
        "of the stored end, by name, against a plain loop over model.eval()",
    )
    if test is not None:
        found += point_checks(
            "final test",
            test,
            final,
            _or_nan(result.final_test_loss),
            result.final_test_accuracy,
            "of the stored end on the test data against a plain loop",
        )
    return [
        *found,
        *_logged(trainer, result),
        *identity_checks(objective, final),
        _begins(objective, result),
        *trainer.again.checks(),
        *_step_sizes(trainer, result),
        _passes(trainer, result),
        *_divisor(trainer, result),
        Check(
            "taken up",
            float(trainer.num_different),
            0.0,
            "entries of the state that differ from those kept, where a stopped run went on (0 = none)",
        ),
    ]


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _logged(trainer: Trainer, result: Any) -> list[Check]:
    """A seeded stored point against the log at it; at the start where no other is logged."""
    rows = {label: row for label in result.states if (row := _row(result, label)) is not None}
    inner = [label for label in rows if label not in ("init", "final")] or ["init"]
    label = str(np.random.default_rng(trainer.regime.seed).choice(inner))
    row, objective = rows[label], trainer.objective
    tensors = state_of(objective, result, label)

    def at(column: np.ndarray | None) -> float:
        return float("nan") if column is None else float(column[row])

    meaning = f"logged at the stored point {label}, against a plain loop"
    accuracy = None if result.accuracy is None else at(result.accuracy)
    said = at(result.gradient_norm)
    seen, slope = (
        plain.measure_with_gradient(objective, tensors) if np.isfinite(said) else (None, torch.zeros(0))
    )
    found = point_checks("logged", objective, tensors, at(result.loss), accuracy, meaning, seen)
    if trainer.test is not None:
        accuracy = None if result.test_accuracy is None else at(result.test_accuracy)
        found += point_checks("logged test", trainer.test, tensors, at(result.test_loss), accuracy, meaning)
    if np.isfinite(at(result.parameter_norm)):
        own = [tensors[piece.name].double().flatten() for piece in objective.pieces]
        sizes = [at(result.parameter_norm), math.sqrt(sum(float(one @ one) for one in own))]
        if result.largest_bias is not None:
            # Numbers of either sign, beside the length of θ.
            sizes += [sizes[0] + at(result.largest_bias), sizes[0] + float(tensors["b"].double().max())]
        pairs = zip(sizes[::2], sizes[1::2], strict=True)
        gap = largest_gap(*(abs(a - b) / max(b, 1e-300) for a, b in pairs))
        about = f"‖θ‖, and the largest b, {meaning} over the tensors"
        found.append(Check("logged length", gap, checks.rounding(objective), about))
    if seen is not None:
        true = float(slope.norm())
        longest = float(np.nanmax(np.where(np.isfinite(result.gradient_norm), result.gradient_norm, np.nan)))
        gap = abs(said - true) / max(true, CANCELLED * longest, 1e-300)
        about = f"‖∇F‖ {meaning} with autograd; over a tenth of the longest logged where it is shorter"
        found.append(Check("logged gradient norm", gap, checks.rounding(objective), about))
    return found


def _row(result: Any, label: str) -> int | None:
    """The row of the log at a point, told by its label."""
    if label in ("init", "final"):
        return 0 if label == "init" else len(result.step) - 1
    unit, _, number = label.partition("=")
    found = np.flatnonzero(getattr(result, unit) == float(number))
    return int(found[0]) if len(found) else None


def _begins(objective: Objective, result: Any) -> Check:
    """That the stored start is what the module holds."""
    wrong = sum(
        not same(tensor, objective.now(name).detach())
        for name, tensor in state_of(objective, result, "init").items()
    )
    return Check(
        "init", float(wrong), 0.0, "tensors of the stored start that are not the module's own (0 = none)"
    )


def _step_sizes(trainer: Trainer, result: Any) -> list[Check]:
    """Every logged step size against the formula of its schedule, or against those that a plateau can come to."""
    regime, every = trainer.regime, trainer.again.every
    gaps = []
    for step, size in zip(result.step.tolist(), result.step_size.tolist(), strict=True):
        wanted = step_size_of(regime, every, max(0, int(step) - 1))
        wanted = _fallen(regime, size) if wanted is None else wanted
        gaps.append(abs(size - wanted) / max(abs(wanted), 1e-300))
    meaning = "logged step sizes against the formula of the schedule, relative"
    return [Check("step size", largest_gap(*gaps), 1e-12, meaning)]


def _passes(trainer: Trainer, result: Any) -> Check:
    """Every logged number of passes against the step, and the steps: the first, every so many, and the last."""
    regime, per_pass, steps = trainer.regime, trainer.again.per_pass, result.step.astype(int).tolist()
    gaps = zip(steps, result.epoch.tolist(), strict=True)
    worst = largest_gap(*(abs(epoch * per_pass - step) / max(step, 1) for step, epoch in gaps))
    period = max([1, *steps[1:2]])
    if regime.measure_every is not None:
        period = regime.measure_every * (per_pass if regime.steps is None else 1)
    if steps != sorted({*range(0, result.num_steps + 1, period), result.num_steps}):
        worst = math.inf
    meaning = (
        "logged passes over the data, of as many steps as data and batch make, against the steps, relative, and these "
        "at equal distances from the first to the last"
    )
    return Check("logged passes", worst, 1e-12, meaning)


def _fallen(regime: Regime, size: float) -> float:
    """The step size nearest to ``size`` that a plateau comes to: cut so many times, at least the floor."""
    about = schedule_parameters("plateau", regime.schedule_arguments)
    factor, times = about["factor"], 0.0
    if 0 < factor < 1 and size > 0:
        times = max(0.0, round(math.log(size / regime.lr) / math.log(factor)))
    cut = max(about["floor"], regime.lr * factor**times)
    return min((regime.lr, cut, about["floor"]), key=lambda one: abs(one - size))


def _divisor(trainer: Trainer, result: Any) -> list[Check]:
    """P at the end, by a step of torch's own Adam that comes to the moments there with no gradient: it moves by m/P."""
    if result.preconditioner is None or "exp_avg_sq" not in trainer.moments:
        return []
    moments = {name: one.clone() for name, one in trainer.moments.items()}
    still = torch.nn.Parameter(torch.zeros_like(moments["exp_avg"]))
    adam = torch.optim.Adam([still], lr=1.0)
    group = adam.param_groups[0]
    first, second = group["betas"]
    before = {"step": -1 + moments["step"], "exp_avg": moments["exp_avg"] / first}
    adam.state[still] = {**before, "exp_avg_sq": moments["exp_avg_sq"] / second}
    still.grad = torch.zeros_like(still)
    adam.step()
    stated = torch.from_numpy(np.asarray(result.preconditioner[-1])).double()
    moved, mean = still.detach().cpu().double(), moments["exp_avg"].cpu().double()
    # Of a run that overflowed: nothing moves by an infinite P, but by ∞/∞, and NaN stays NaN.
    is_known = stated.isfinite()
    is_lost = torch.where(stated.isnan(), moved.isnan(), (moved == 0) | mean.isinf())
    off = torch.where(is_known, stated * moved + mean, torch.where(is_lost, 0.0, torch.inf)).abs()
    size = torch.where(is_known, mean, 0.0).abs().max()
    gap = float(off.max()) / max(float(size), 1e-300)
    meaning = "P at the end times a step of torch's Adam without a gradient, against its mean of gradients, relative"
    return [
        Check(
            "preconditioner",
            float(np.nan_to_num(gap, nan=np.inf)),
            checks.rounding(trainer.objective),
            meaning,
        )
    ]
