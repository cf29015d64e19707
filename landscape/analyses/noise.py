"""How small does SGD make the gradient, against its step size and its batch size?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from landscape.analyses.declare import analysis
from landscape.analyses.options import Option
from landscape.choices import KnownSchedule
from landscape.errors import BadInput, NotFinite
from landscape.progress import Journal, Progress, silent
from landscape.result import Check, Result, array, scalar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.descent.gradient_noise import Probe
    from landscape.descent.known_sizes import KnownSizes
    from landscape.descent.noise import NoisyRuns, Setting
    from landscape.numerics.powerlaw import PowerLaw
    from landscape.objective.objective import Objective
    from landscape.objective.parameters import Point


# Fleischmann (2021), section 5.3; its model and data are made here, and trained first.
THESIS: dict[str, Any] = {
    "model": "mlp",
    "model_arg": {"widths": (10, 10, 10), "init": "glorot"},
    "data": "mnist",
    "data_arg": {"classes": (3, 6), "size": 14},
    "loss": "bce",
    "batch_sizes": tuple(range(1, 11)),
    "num_steps": 30000,
    "num_seeds": 20,
    "descent_steps": 25000,
}
PRESETS: dict[str, dict[str, Any]] = {
    "thesis-5.3": THESIS | {"step_sizes": tuple(k / 10000 for k in range(1, 11))},
    # With the step sizes of its printed text.
    "thesis-5.3-printed": THESIS | {"step_sizes": tuple(k / 1000 for k in range(1, 11))},
}


@dataclass(kw_only=True, eq=False)
class Noise(Result):
    """Mean squared gradient norms of SGD runs by setting and seed, their power laws, and the bound of theory.

    A setting is a step size, the first of a schedule, with a batch size: first the step sizes at the smallest batch,
    then the batch sizes at the largest step. ``probe`` counts points: θ₁, then ends of runs.
    """

    kind: ClassVar[str] = "noise"
    json_limit: ClassVar[int] = 10_000
    step_size: np.ndarray = array("setting", long_name="step size α")
    batch_size: np.ndarray = array("setting", long_name="batch size B")
    mean_squared_gradient_norm: np.ndarray = array(
        "setting", "seed", long_name="mean of ‖∇F(θ_k)‖² over the steps of a run"
    )
    mean: np.ndarray = array("setting", long_name="its mean over seeds")
    standard_error: np.ndarray = array("setting", long_name="standard error of that mean")
    bound: np.ndarray = array("setting", long_name="bound αLM/B + 2(F(θ₁) − F_inf)/(Kα)")
    diverged: np.ndarray = array("setting", "seed", long_name="whether the run diverged")
    run_step_sum: np.ndarray | None = array("setting", long_name="Σα_k of a run", optional=True)
    run_step_square_sum: np.ndarray | None = array("setting", long_name="Σα_k² of a run", optional=True)
    step_sum: float | None = scalar("Σα of the schedule from the largest α on, for ever", optional=True)
    step_square_sum: float | None = scalar("its Σα²", optional=True)
    schedule: str | None = scalar("how the step size falls", optional=True)
    robbins_monro: str | None = scalar("Σα = ∞ and Σα² < ∞ of the schedule, for ever", optional=True)
    slope_step: float | None = scalar("exponent of α at the smallest batch", optional=True)
    slope_step_interval: np.ndarray | None = array(
        "end", long_name="95 % confidence interval of the exponent of α", optional=True
    )
    slope_batch: float | None = scalar("exponent of B at the largest step", optional=True)
    slope_batch_interval: np.ndarray | None = array(
        "end", long_name="95 % confidence interval of the exponent of B", optional=True
    )
    probe_loss: np.ndarray = array("probe", long_name="loss at a visited point")
    probe_squared_gradient_norm: np.ndarray = array("probe", long_name="‖∇F‖² at a visited point")
    probe_variance: np.ndarray = array("probe", long_name="variance E‖g‖² − ‖∇F‖² of single samples there")
    probe_curvature: np.ndarray = array("probe", long_name="largest |λ| of the Hessian there")
    start_loss: float = scalar("loss F(θ₁) at the start")
    infimum: float = scalar("F_inf, a lower bound of the loss")
    lipschitz: float = scalar("L, the largest curvature found at the probes")
    variance: float = scalar("M, the largest variance found at the probes, for B = 1 (and M_G = 1)")
    num_steps: int = scalar("steps K of each run")
    measure_every: int = scalar("steps between measurements; 0: at random, about one in a hundred")
    descent_steps: int = scalar("steps of gradient descent before")

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        slopes = (("α", self.slope_step), ("B", self.slope_batch))
        said = [f"{name} to the power {slope:.2g}" for name, slope in slopes if slope is not None]
        if self.robbins_monro is not None and self.schedule != "constant":
            said.append(f"Robbins–Monro {self.robbins_monro}")
        return ", ".join(said)


@analysis(
    points=1,
    needs="gradients of batches of samples",
    paper="Bottou et al. 2018",
    examples=(
        "a.h5 --step-sizes 0.001,0.002,0.004 --batch-sizes 1,2,4 --steps 5000 --seeds 10",
        "a.h5 --schedule polynomial --schedule-arg gamma=0.75 --step-sizes 0.1 --batch-sizes 1,4",
        "--preset thesis-5.3 -o noise.h5",
    ),
    presets=PRESETS,
)
def noise(
    objective: Objective,
    theta: Tensor | Point,
    *,
    step_sizes: Annotated[tuple[float, ...], Option("At the smallest batch size.", above=0)] = (
        0.001,
        0.002,
        0.005,
        0.01,
    ),
    batch_sizes: Annotated[tuple[int, ...], Option("At the largest step size.", least=1)] = (1, 2, 5, 10),
    schedule: Annotated[KnownSchedule, "How the step size falls, from each of `step_sizes` on."] = "constant",
    schedule_arguments: Annotated[
        Mapping[str, Any] | None,
        Option(
            "every=STEPS (by default 1); gamma (piecewise), rate (exponential), beta gamma (polynomial).",
            called="schedule_arg",
        ),
    ] = None,
    num_steps: Annotated[int, Option("Steps K of each run.", least=1, called="steps")] = 3000,
    num_seeds: Annotated[int, Option("Runs of each setting.", least=1, called="seeds")] = 10,
    measure_every: Annotated[
        int | None,
        Option("Measure every N steps [default: at random, about one in a hundred].", least=1, is_how=True),
    ] = None,
    num_probes: Annotated[
        int,
        Option("Visited points at which L and M are taken.", least=0, called="probes", is_how=True),
    ] = 5,
    infimum: Annotated[float, "F_inf, a lower bound of the loss."] = 0.0,
    descent_steps: Annotated[int, Option("Steps of gradient descent before.", least=0)] = 0,
    descent_step_size: Annotated[float, Option("Their step size.", above=0)] = 0.1,
    seed: int = 0,
    journal: Journal | None = None,
    progress: Progress = silent,
) -> Noise:
    """The mean of ‖∇F(θ_k)‖² over ``num_steps`` of SGD from θ, for each setting and ``num_seeds`` seeds.

    The settings are all ``step_sizes`` at the smallest of ``batch_sizes``, and all batch sizes at the largest
    step; samples are drawn uniformly with replacement, every run by its own generator, and all runs are one
    stack. The full gradient is measured at θ_k before each ``measure_every``-th step, or, by default,
    before about one step in a hundred: one at random in each of equal spans, which is unbiased.

    With a ``schedule`` each step size is the first of its steps α_k, and the mean is the weighted one,
    Σα_k‖∇F(θ_k)‖²/Σα_k: over the measured steps, or, by default, unbiased, as the spans are then equal in Σα.

    The exponents are those of :func:`~landscape.numerics.powerlaw.fit_power_law` through the means over
    seeds, unweighted; settings with a run that diverged are left out. ``bound`` is that of Bottou et al. (2018),
    theorem 4.8 (4.10 for steps that fall, as its proof has it after K steps), with L the largest |λ| and M the largest
    variance at θ₁ and at the ends of ``num_probes`` runs (evenly over the settings): estimates from below, since the
    theorem asks for them everywhere. ``infimum`` is F_inf; 0 suits losses that are not negative.

    ``descent_steps`` of gradient descent may go before: their end is θ₁. With ``journal`` all of it resumes.
    Raises BadInput for options out of range, NotFinite where every run diverges.
    """
    from landscape import distributed
    from landscape.descent.gradient_noise import kept_probe, probe_checks, probes_of_ends
    from landscape.descent.gradients import stacked_gradients
    from landscape.descent.known_sizes import KnownSizes
    from landscape.descent.noise import gradient_descent, noisy_runs, objective_beside
    from landscape.descent.noise_proofs import run_checks
    from landscape.objective import checks

    settings = _settings(objective, step_sizes, batch_sizes)
    known = KnownSizes(schedule, schedule_arguments or {})
    known.check()
    distributed.require_one_process("replicas")
    journal = {} if journal is None else journal
    proofs: list[Check] = []
    with checks.untouched(objective, proofs):
        here, start = objective_beside(objective, theta)
        gradients = stacked_gradients(here)
        work, taken = {"seed": seed, "journal": journal, "progress": progress}, 0
        if descent_steps:
            start, taken = gradient_descent(
                here, gradients, start, num_steps=descent_steps, step_size=descent_step_size, **work
            )
        first = kept_probe(here, start, gradients, seed, journal, "probe start")
        if not first.loss >= infimum:
            raise BadInput(f"F(θ₁) = {first.loss:.6g} below F_inf = {infimum:g}", "a lower bound of the loss")
        runs = noisy_runs(
            here,
            gradients,
            start,
            settings,
            num_seeds=num_seeds,
            num_steps=num_steps,
            measure_every=measure_every,
            known=known,
            **work,
        )
        ends, places = probes_of_ends(
            here, runs.ends[:, 0], ~runs.diverged[:, 0], gradients, num_probes, **work
        )
        proofs += probe_checks(here, start, gradients, first)
        proofs += run_checks(
            here,
            start,
            settings,
            runs,
            [first, *ends],
            [start, *places],
            num_steps=num_steps,
            measure_every=measure_every,
            seed=seed,
            known=known,
        )
    if runs.lost.all():
        # Nothing is worth going on from: other steps may take the place of these.
        journal.clear()
        raise NotFinite(
            f"every run diverged, down to the step size {min(one.step_size for one in settings):g}",
            "a step size at which the loss stays finite",
            "take smaller `step_sizes`",
        )
    fields = {"infimum": infimum, "measure_every": measure_every or 0, "descent_steps": taken}
    result = _result(settings, runs, [first, *ends], num_steps, known, fields, proofs)
    result.notes += here.doubts_at(here.as_point(start))
    return result


def _result(
    settings: Sequence[Setting],
    runs: NoisyRuns,
    probes: Sequence[Probe],
    num_steps: int,
    known: KnownSizes,
    fields: dict[str, Any],
    proofs: list[Check],
) -> Noise:
    import numpy as np

    from landscape.descent.noise_proofs import probes_check
    from landscape.numerics.averages import mean_and_spread
    from landscape.numerics.steps.stationarity import gradient_bound

    first, lost = probes[0], runs.lost
    lipschitz, variance = max(p.curvature for p in probes), max(p.variance for p in probes)
    above = first.loss - fields["infimum"]
    sizes = [known.sizes(alpha, num_steps) for alpha, _ in settings]
    bound = np.array(
        [
            gradient_bound(each, lipschitz=lipschitz, variance=variance / one.batch_size, above=above)
            for each, one in zip(sizes, settings, strict=True)
        ]
    )
    falls = known.schedule != "constant"
    ever = known.sums(settings[-1].step_size)
    (mean, spread), num_seeds = mean_and_spread(runs.means), runs.means.shape[1]
    error = spread / math.sqrt(num_seeds) if num_seeds > 1 else np.full(len(mean), np.nan)
    step_size, batch_size = (np.array(column) for column in zip(*settings, strict=True))
    usable = ~lost.any(1) & (mean > 0)
    by_step = _law(step_size, mean, usable & (batch_size == batch_size.min()))
    by_batch = _law(batch_size, mean, usable & (step_size == step_size.max()))
    found = Noise(
        step_size=step_size,
        batch_size=batch_size,
        mean_squared_gradient_norm=runs.means,
        mean=mean,
        standard_error=error,
        bound=bound,
        run_step_sum=np.array([each.sum() for each in sizes]) if falls else None,
        run_step_square_sum=np.array([np.square(each).sum() for each in sizes]) if falls else None,
        step_sum=ever.total,
        step_square_sum=ever.squares,
        schedule=known.schedule,
        robbins_monro=ever.verdict,
        diverged=lost,
        slope_step=by_step and by_step.exponent,
        slope_step_interval=by_step and by_step.interval,
        slope_batch=by_batch and by_batch.exponent,
        slope_batch_interval=by_batch and by_batch.interval,
        probe_loss=np.array([p.loss for p in probes]),
        probe_squared_gradient_norm=np.array([p.squared_norm for p in probes]),
        probe_variance=np.array([p.variance for p in probes]),
        probe_curvature=np.array([p.curvature for p in probes]),
        start_loss=first.loss,
        lipschitz=lipschitz,
        variance=variance,
        num_steps=num_steps,
        **fields,
        outcome="diverged" if lost.any() else "complete",
        notes=_notes(settings, lost, bound, lipschitz) + _of_steps(known, settings, fields["measure_every"]),
        checks=proofs,
    )
    found.checks += [*_table_checks(found, known), probes_check(found, probes)]
    above_bound = int((mean > bound).sum())
    if above_bound:
        found.notes.append(
            f"{above_bound} means lie above the bound: L or M is larger than at the points visited"
        )
    return found


def _table_checks(found: Noise, known: KnownSizes) -> list[Check]:
    """The columns and laws of a result from the arrays it has."""
    from landscape.descent.noise_proofs import sums_checks, table_checks

    names = (
        "step_size",
        "batch_size",
        "mean",
        "standard_error",
        "bound",
        "run_step_sum",
        "run_step_square_sum",
        "probe_curvature",
        "probe_variance",
    )
    laws = {
        "α": (found.slope_step, found.slope_step_interval),
        "B": (found.slope_batch, found.slope_batch_interval),
    }
    ever: tuple[Any, ...] = (
        found.step_size.max(),
        found.step_sum,
        found.step_square_sum,
        found.robbins_monro,
    )
    return sums_checks(known, *ever) + table_checks(
        {name: getattr(found, name) for name in names} | {"runs": found.mean_squared_gradient_norm},
        lipschitz=found.lipschitz,
        variance=found.variance,
        above=found.start_loss - found.infimum,
        num_steps=found.num_steps,
        laws=laws,
        known=known,
    )


def _settings(objective: Objective, step_sizes: Sequence[float], batch_sizes: Sequence[int]) -> list[Setting]:
    from landscape.descent.noise import Setting

    steps, sizes = sorted(set(step_sizes)), sorted(set(batch_sizes))
    if sizes[-1] > objective.num_samples:
        raise BadInput(f"batches of {sizes[-1]}", f"numbers from 1 to the {objective.num_samples} samples")
    by_step = [Setting(alpha, sizes[0]) for alpha in steps]
    return by_step + [Setting(steps[-1], size) for size in sizes[1:]]


def _law(x: np.ndarray, mean: np.ndarray, which: np.ndarray) -> PowerLaw | None:
    from landscape.numerics.powerlaw import fit_power_law

    return fit_power_law(x[which], mean[which]) if which.sum() > 1 else None


def _notes(settings: Sequence[Setting], lost: np.ndarray, bound: np.ndarray, lipschitz: float) -> list[str]:
    import numpy as np

    notes = []
    for setting, count in zip(settings, lost.sum(1), strict=True):
        if count:
            what = f"α = {setting.step_size:g}, B = {setting.batch_size}"
            notes.append(f"{count} of {lost.shape[1]} runs diverged at {what}: left out of the fits")
    if np.isnan(bound).any():
        largest = 1 / lipschitz
        notes.append(f"no bound beyond the step size 1/L = {largest:.3g}: theorem 4.8 asks for α ≤ 1/(L M_G)")
    return notes


def _of_steps(known: KnownSizes, settings: Sequence[Setting], measure_every: int) -> list[str]:
    """What theory says of such steps, for ever, and what of the run."""
    from landscape.descent.step_sums import in_words

    if known.schedule == "constant":
        return [
            "the step sizes are fixed: Σα = ∞ and Σα² = ∞ for ever, so ‖∇F‖² need not vanish (Robbins and Monro "
            "1951), and theorem 4.8 bounds its mean"
        ]
    largest = settings[-1].step_size
    sums = known.sums(largest)
    follows = (
        "the weighted mean of E‖∇F‖² goes to 0 (theorem 4.10)"
        if sums.verdict == "holds"
        else "theorem 4.10 does not say that the weighted mean of E‖∇F‖² goes to 0"
    )
    said = [
        f"{in_words(sums)}, of a schedule from α = {largest:g} on; where it goes on for ever, {follows}; the means are "
        "Σα_k‖∇F(θ_k)‖²/Σα_k, and the bound is (LMΣα_k²/B + 2(F(θ₁) − F_inf))/Σα_k"
    ]
    if measure_every > 1:
        said.append(
            f"weighted means over every {measure_every}-th step alone: where α_k falls fast between two of them the "
            "first count for too much; left to chance (no `measure_every`) they are unbiased"
        )
    return said
