"""How fast do gradient descent, noisy gradient descent and SGD leave this point, and where to?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from landscape.analyses.declare import analysis
from landscape.analyses.options import Option
from landscape.choices import EscapeNoise
from landscape.errors import BadInput, NotFinite
from landscape.progress import Journal, Progress, silent
from landscape.result import Check, Result, array, scalar

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np
    from torch import Tensor

    from landscape.descent.escape import Bottom, Leave
    from landscape.objective.objective import Objective
    from landscape.objective.parameters import Point

RUN = ("amplitude", "seed")
PLAINLY = "loss at the point against a plain loop over model.eval()"
POINT = {"data": "point", "loss": "mse", "lr": 0.05}
# (1 − vw)² from the stable manifold v = −w of its saddle, λ = −2; (1 − xyz)² from its saddle of order 3;
# Ge et al. (2015) on the former.
PRESETS: dict[str, dict[str, Any]] = {
    "saddle": {
        **POINT,
        "model": "toy-product",
        "model_arg": {"v": 1.0, "w": -1.0},
        "noise": "none",
        "amplitudes": (1e-2, 1e-4, 1e-6, 1e-8, 1e-10),
        "direction": (1.0, 1.0),
        "drop": 3.5,
        "max_steps": 2000,
    },
    "chain": {
        **POINT,
        "model": "toy-chain",
        "model_arg": {"x": 0.0, "y": 0.0, "z": 0.0},
        "noise": "none",
        "amplitudes": (0.1, 0.05, 0.02, 0.01, 1e-3),
        "direction": (1.0, 1.0, 1.0),
        "drop": 0.5,
        "max_steps": 20000,
    },
    "ge-2015": {
        **POINT,
        "model": "toy-product",
        "model_arg": {"v": 1.0, "w": -1.0},
        "noise": "sphere",
        "amplitudes": (1e-1, 1e-2, 1e-3, 1e-4),
        "num_seeds": 400,
        "drop": 3.5,
        "max_steps": 2000,
    },
}


@dataclass(kw_only=True, eq=False)
class Escape(Result):
    """Steps until runs from a point, or from beside it, are so far below it, by size of noise or distance and seed.

    ``status``: ``left``, ``stayed`` for all of ``max_steps``, or ``diverged``. Steps and exits of what did not leave
    are NaN. The stillest point is where ∇F was smallest on the way of gradient descent without noise: the saddle, if
    that has one on its way.
    """

    kind: ClassVar[str] = "escape"
    json_limit: ClassVar[int] = 10_000
    amplitude: np.ndarray = array("amplitude", long_name="size of the noise, or distance of the start")
    seed: np.ndarray = array("seed", long_name="seed")
    mean_steps: np.ndarray = array("amplitude", long_name="mean steps of those that left", printed=True)
    share_left: np.ndarray = array("amplitude", long_name="share of the runs that left", printed=True)
    steps: np.ndarray = array(*RUN, long_name="steps until F < F(A) − δ")
    exit_cosine: np.ndarray = array(
        *RUN, long_name="share of the way out along the eigenvectors of the lowest eigenvalue, a cosine"
    )
    final_loss: np.ndarray = array(*RUN, long_name="loss at the end")
    end_status: np.ndarray = array(*RUN, long_name="left, stayed or diverged", name="status")
    gradient_sum: np.ndarray = array(*RUN, long_name="Σ‖∇F(θ_k)‖² over the steps until then")
    gradient_bound: np.ndarray = array(
        *RUN, long_name="(F(θ₁) − F_end + ½α²LMK)/(α(1 − αL/2)), which bounds the sum, under noise its mean"
    )
    lemma_broken: np.ndarray | None = array(
        *RUN, long_name="steps by which F fell by less than α(1 − αL/2)‖∇F‖²", optional=True
    )
    smoothing: np.ndarray | None = array(
        "amplitude",
        long_name="τ: in the mean the steps are those on F convolved with noise of it",
        optional=True,
    )
    record: np.ndarray = array("record", long_name="step")
    loss_on_the_way: np.ndarray = array("record", *RUN, long_name="loss on the way")
    steps_per_decade: float | None = scalar("steps for each tenth of the amplitude", optional=True)
    steps_per_decade_error: float | None = scalar("error of the steps per decade", optional=True)
    steps_per_decade_theory: float | None = scalar("ln 10/ln(1 + α|λ_min|) at a strict saddle", optional=True)
    power: float | None = scalar("power of 1/amplitude that the steps grow by", optional=True)
    power_error: float | None = scalar("error of the power", optional=True)
    fit: str = scalar("which of both fits: logarithmic, algebraic, or undecided")
    plain_steps: int | None = scalar("steps until descent without noise left the point itself", optional=True)
    plain_status: str = scalar("left, stayed or diverged: descent without noise from the point itself")
    loss: float = scalar("loss F(A) at the point")
    level: float = scalar("the loss F(A) − δ below which a run has left")
    gradient_norm: float = scalar("gradient norm at the point")
    stillest_loss: float = scalar("loss at the stillest point")
    stillest_gradient_norm: float = scalar("gradient norm at the stillest point")
    stillest_distance: float = scalar("distance of the stillest point from the point")
    smallest_eigenvalue: float = scalar("λ_min of the Hessian at the stillest point")
    zero_threshold: float = scalar("what counts as zero there")
    curvature: float = scalar("L, the largest |λ| at the stillest point and at the point")
    falling_share: float = scalar("share of random directions along which F falls there, of those seen")
    falling_share_error: float = scalar("standard error of that share")
    falling_share_theory: float | None = scalar("that share by the eigenvalues", optional=True)
    step_size: float = scalar("step size α")
    max_steps: int = scalar("steps at most")

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        from landscape.result import with_error

        left = int((self.end_status == "left").sum())
        told = f"{left} of {self.steps.size} runs left"
        if self.fit == "algebraic" and self.power is not None and self.power_error is not None:
            return f"{told}, steps to the power {with_error(self.power, self.power_error)} of 1/amplitude"
        if self.steps_per_decade is None or self.steps_per_decade_error is None:
            return told
        return f"{told}, {with_error(self.steps_per_decade, self.steps_per_decade_error)} steps per decade"


@analysis(
    points=1,
    deals=True,
    needs=lambda options: "gradients of batches of samples" if options.get("noise") == "sgd" else "",
    paper="Lee et al. 2016; Ge et al. 2015; Jin et al. 2017",
    examples=(
        "a.h5@init --noise sphere --amplitudes 1e-1,1e-2,1e-3 --seeds 10 --drop 0.1",
        "--preset saddle -o saddle.h5",
    ),
    presets=PRESETS,
)
def escape(
    objective: Objective,
    theta: Tensor | Point,
    *,
    noise: Annotated[
        EscapeNoise,
        "What is added to ∇F, inside the step, times α; none: the start is moved instead; sgd: that of a batch.",
    ] = "sphere",
    amplitudes: Annotated[
        tuple[float, ...], Option("Sizes of the noise; with none distances of the start.", least=0)
    ] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6),
    num_seeds: Annotated[int, Option("Runs of each amplitude.", least=1, called="seeds")] = 20,
    lr: Annotated[float, Option("Step size α.", above=0)] = 0.05,
    drop: Annotated[
        float | None,
        Option("δ: a run has left once F < F(A) − δ [default: half of |F(A)|].", above=0),
    ] = None,
    perturb_when_below: Annotated[
        float | None, Option("Add noise only where ‖∇F‖ is at most this (Jin et al. 2017).", above=0)
    ] = None,
    direction: Annotated[
        tuple[float, ...] | None,
        "With none: the start is A + amplitude · direction, as given [default: uniform on the sphere].",
    ] = None,
    batch_size: Annotated[int, Option("Samples of a batch of sgd, with replacement.", least=1)] = 1,
    max_steps: Annotated[int, Option("Steps at most.", least=1)] = 10000,
    further: Annotated[
        int, Option("Steps after leaving, at whose end the final loss is taken.", least=0, is_how=True)
    ] = 200,
    directions: Annotated[int, Option("Random directions tried at the saddle.", least=1, is_how=True)] = 200,
    radius: Annotated[float, Option("How far they are tried.", above=0, is_how=True)] = 1e-3,
    seed: int = 0,
    journal: Journal | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Escape:
    """Steps of θ ← θ − α(∇F(θ) + ω) from a point A until F < F(A) − δ, for each amplitude a and seed.

    ω has the length a (``sphere``; Ge et al. 2015), is uniform in a ball of radius a, or has a for the standard
    deviation of each component (``gaussian``); ``sgd`` adds a times the gradient of a batch less ∇F, so that a = 1 is
    SGD itself. It is inside the step: the point moves by α times it. With ``none`` the start is moved by a, along
    ``direction`` or to where the seed says. The same seeds serve every amplitude. All of it is float64 and one
    stack, of F itself: in eval mode, dropout at rest and the statistics of batch norm as they are.

    Beside these, descent without noise from A itself: where its ∇F is smallest, before it leaves, is the saddle, if
    there is one. λ_min < 0 gives the steps per decade of theory, ln 10/ln(1 + α|λ_min|); where λ_min is zero to its
    error the saddle, if it is one, is degenerate and the steps grow by a power. Both lines are fitted; ``fit`` says
    which is nearer.

    Per step without noise the descent lemma is looked at, F falling by α(1 − αL/2)‖∇F‖², L the largest |λ| at A and the
    saddle, which that on the way may exceed. Raises BadInput for options out of range, NotFinite where F(A) is none.
    """
    import torch

    from landscape import distributed
    from landscape.descent.escape import Leave, curvature_at, escaped, falls, level_of, plain_run, rounding_of
    from landscape.descent.escape_proofs import escape_checks, falls_checks, largest_checks
    from landscape.descent.escape_words import notes_beside
    from landscape.descent.leaving_proofs import leaving_checks, summary_check
    from landscape.descent.noise import objective_beside
    from landscape.objective import checks, tasks
    from landscape.objective.precision import in_float64, told

    distributed.require_one_process("replicas")
    journal, proofs = {} if journal is None else journal, list[Check]()
    with tasks.computed_by(executor), checks.untouched(objective, proofs):
        beside, start = objective_beside(objective, theta)
        here = in_float64(beside)
        start = start.to(here.device, here.dtype)
        _check(noise, amplitudes, direction, perturb_when_below, len(start), batch_size)
        loss, slope = here.value_and_gradient(start)
        if not math.isfinite(loss):
            raise NotFinite(f"F(A) = {loss}", "a point with a finite loss", "take another point")
        asked = Leave(
            noise=noise,
            amplitudes=amplitudes,
            num_seeds=1 if direction is not None else num_seeds,
            step_size=lr,
            level=level_of(loss, drop, rounding_of(here, start)),
            max_steps=max_steps,
            further=further,
            quiet_above=perturb_when_below,
            direction=direction,
            batch_size=batch_size,
            seed=seed,
        )
        plain = plain_run(here, start, asked, journal, progress)
        stillest = torch.from_numpy(plain["stillest"][0]).to(start)
        saddle = stillest if math.isfinite(plain["lowest_norm"][0]) else start
        size, at = float(here.gradient(saddle).double().norm()), here.as_point(saddle)
        ends = [(saddle, bottom := curvature_at(here, saddle, size, seed, progress))]
        if not torch.equal(saddle, start):
            ends.append((start, curvature_at(here, start, 0.0, seed, progress)))
        curvature = max(one.largest for _, one in ends)
        found = escaped(here, start, asked, curvature, journal, progress)
        num_lower, num_seen = falls(here, saddle, radius, directions, seed)
        about = {
            "loss": loss,
            "gradient_norm": float(slope.double().norm()),
            "stillest_loss": here.value(saddle),
            "stillest_gradient_norm": size,
            "stillest_distance": float((saddle.double() - start.double()).norm()),
            "curvature": curvature,
        }
        proofs += [
            *checks.meaning(here, here.as_point(start), stated=checks.Stated("loss", loss, PLAINLY)),
            *escape_checks(here, saddle, asked, bottom, found),
        ]
        notes = [*here.doubts_at(at), *told(here), *notes_beside(here, asked, directions - num_seen, radius)]
        result = _result(asked, plain, found, bottom, about, len(start))
        falling = falls_checks(here, saddle, radius, directions, seed)
        result.checks += [*largest_checks(here, result.curvature, ends), *falling]
        result.checks += leaving_checks(here, start, saddle, asked, found, plain, result)
    _add_share(result, bottom, num_lower, num_seen, radius)
    runs = {**found, "saddle": plain["stillest"][0]}
    stated = summary_check(result, asked, bottom, runs, len(start), num_seen)
    result.checks = [*proofs, *result.checks, stated]
    result.notes += [*(note for note in notes if note not in result.notes)]
    return result


def _check(
    noise: str,
    amplitudes: tuple[float, ...],
    direction: tuple[float, ...] | None,
    perturb_when_below: float | None,
    dimension: int,
    batch_size: int,
) -> None:
    if batch_size != 1 and noise != "sgd":
        raise BadInput(f"`batch_size` {batch_size} with `noise` {noise}", "`noise` sgd, which draws batches")
    if len(set(amplitudes)) < len(amplitudes):
        raise BadInput(f"`amplitudes` = {', '.join(f'{a:g}' for a in amplitudes)}", "each once")
    if direction is not None and noise != "none":
        raise BadInput(
            f"a `direction` of the start with `noise` {noise}", "`noise` none, which moves the start"
        )
    if direction is not None and len(direction) != dimension:
        raise BadInput(f"a direction of {len(direction)} numbers", f"{dimension}, as many as θ has")
    if direction is not None and not any(direction):
        raise BadInput("a `direction` of zeros", "a direction")
    if perturb_when_below is not None and noise == "none":
        raise BadInput("`perturb_when_below` without noise", "a `noise` to add where ∇F is small")


def _result(
    asked: Leave,
    plain: dict[str, Any],
    found: dict[str, Any],
    bottom: Bottom,
    about: dict[str, Any],
    dimension: int,
) -> Escape:
    import numpy as np

    from landscape.descent.escape import cosines, rate_of, statuses
    from landscape.descent.escape_words import notes_of
    from landscape.numerics.steps.kicks import LAWS, deviation, mean_square

    shape = (len(asked.amplitudes), asked.num_seeds)
    amplitude, alpha = np.array(asked.amplitudes), asked.step_size
    status = statuses(found)
    left = status == "left"
    steps = np.where(left, found["steps"], np.nan).reshape(shape)
    rate = rate_of(bottom, about["stillest_gradient_norm"], alpha)
    along = np.full(len(status), np.nan)
    if rate is not None:
        along[left] = cosines(found["exits"][left], plain["stillest"][0], bottom.vectors)
    count = np.where(left, found["steps"], asked.max_steps)
    has_law = asked.noise in LAWS
    variance = np.zeros(len(status)) if asked.noise == "none" else np.full(len(status), np.nan)
    if has_law:
        variance = np.repeat(amplitude**2, asked.num_seeds) * mean_square(asked.noise, dimension)
    end = np.where(left, found["at_exit"], found["losses"])
    gamma, curvature = alpha * (1 - alpha * about["curvature"] / 2), about["curvature"]
    bound = np.full(len(status), np.nan)
    if gamma > 0:
        bound = (found["first"] - end + alpha**2 * curvature * variance * count / 2) / gamma
    num_left = (~np.isnan(steps)).sum(1)
    result = Escape(
        amplitude=amplitude,
        seed=np.arange(asked.num_seeds),
        mean_steps=np.where(num_left > 0, np.nansum(steps, 1) / np.maximum(num_left, 1), np.nan),
        share_left=num_left / asked.num_seeds,
        steps=steps,
        exit_cosine=along.reshape(shape),
        final_loss=found["losses"].reshape(shape),
        end_status=status.reshape(shape),
        gradient_sum=found["sums"].reshape(shape),
        gradient_bound=bound.reshape(shape),
        lemma_broken=found["broken"].reshape(shape) if asked.noise == "none" else None,
        smoothing=alpha * amplitude * deviation(asked.noise, dimension) if has_law else None,
        record=found["every"] * np.arange(found["records"].shape[1]),
        loss_on_the_way=found["records"].T.reshape(-1, *shape),
        fit="undecided",
        plain_steps=int(plain["steps"][0]) if plain["steps"][0] >= 0 else None,
        plain_status=str(statuses(plain)[0]),
        level=asked.level,
        smallest_eigenvalue=bottom.smallest,
        zero_threshold=bottom.threshold,
        steps_per_decade_theory=rate,
        falling_share=math.nan,
        falling_share_error=math.nan,
        step_size=alpha,
        max_steps=asked.max_steps,
        outcome="diverged" if (status == "diverged").any() else "complete",
        **about,
    )
    _fit(result)
    broken = found["first_broken"]
    result.notes += notes_of(result, asked, int(min(broken[broken >= 0], default=-1)))
    return result


def _fit(result: Escape) -> None:
    """Both lines through the amplitudes from which every run left."""
    import numpy as np

    from landscape.descent.escape_proofs import line_check
    from landscape.numerics.decades import fit_decades

    used = (result.share_left == 1) & (result.amplitude > 0)
    if used.sum() < 2:
        return
    amplitude, steps = result.amplitude[used], result.steps[used]
    found = fit_decades(amplitude, steps)
    result.steps_per_decade, result.steps_per_decade_error = found.per_decade, found.error
    result.power, result.power_error, result.fit = found.power, found.power_error, found.fit
    result.checks.append(line_check(amplitude, steps, found))
    if not np.all(used):
        left_out = ", ".join(f"{one:g}" for one in result.amplitude[~used])
        result.notes.append(f"left out of the fits, as not every run left from there: amplitude {left_out}")


def _add_share(result: Escape, bottom: Bottom, num_lower: int, count: int, radius: float) -> None:
    """The share of directions that fall, and what the eigenvalues say of it where they say anything."""
    import numpy as np

    from landscape.descent.escape import falling_share_of
    from landscape.descent.escape_proofs import share_check

    if not count:
        return
    result.falling_share = share = num_lower / count
    result.falling_share_error = math.sqrt(max(share * (1 - share), 0.25 / count) / count)
    values = np.abs(bottom.values)
    pull = result.stillest_gradient_norm / radius
    if bottom.is_whole and values.min() > bottom.threshold and pull < 1e-3 * values.min():
        result.falling_share_theory = falling_share_of(bottom.values)
        result.checks.append(share_check(num_lower, count, result.falling_share_theory))
