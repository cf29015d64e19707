"""What is to be said of an escape: what was seen, what theory asks for, and which of that holds."""

from typing import Any

import numpy as np

from landscape.descent.escape import Leave
from landscape.numerics.decades import LEAST_SPAN, span
from landscape.numerics.spectra.inertia import STATIONARY
from landscape.numerics.steps.leaving import NOT_YET
from landscape.objective.objective import Objective


def notes_of(result: Any, asked: Leave, first_broken: int) -> list[str]:
    """Of an :class:`~landscape.analyses.escape.Escape`; ``first_broken`` is the first step that broke the lemma."""
    notes = [_plain(result), _saddle(result), _step_size(result), _theorem(result, asked)]
    if asked.noise != "none":
        notes.append(
            f"the noise is inside the step: the point moves by α = {asked.step_size:g} times it, so an amplitude a "
            "here is one of αa outside"
        )
    if asked.quiet_above is not None:
        notes.append(f"noise only where ‖∇F‖ ≤ {asked.quiet_above:g}")
    if asked.direction is not None:
        notes.append("along one direction and without noise every seed is the same: one is taken")
    for amplitude, words in zip(result.amplitude, result.end_status, strict=True):
        stayed, lost = int((words == "stayed").sum()), int((words == "diverged").sum())
        if stayed:
            notes.append(
                f"amplitude {amplitude:g}: {stayed} of {len(words)} runs stayed for {result.max_steps} steps; what "
                "comes later is not known"
            )
        if lost:
            notes.append(
                f"amplitude {amplitude:g}: {lost} of {len(words)} runs diverged before they had left"
            )
    lost = int((~np.isfinite(result.final_loss) & (result.end_status == "left")).sum())
    if lost:
        notes.append(f"{lost} runs diverged after they had left: no final loss")
    return notes + _fit(result) + _lemma(result, asked, first_broken)


def notes_beside(objective: Objective, asked: Leave, num_unseen: int, radius: float) -> list[str]:
    """That batches of a loss that is no mean have another gradient, and that rounding hides F along some directions."""
    notes = []
    if asked.noise == "sgd" and not objective.is_mean:
        notes.append(
            f"the loss {objective.loss.name} is no mean over samples: the mean of the gradients of its batches is not "
            "∇F, so that the noise is not 0 in the mean"
        )
    if num_unseen:
        notes.append(
            f"along {num_unseen} of the random directions F changes by no more than rounding at a radius of "
            f"{radius:g}: left out of the share that falls; a larger `radius` sees more"
        )
    return notes


def _plain(result: Any) -> str:
    if result.plain_status == "stayed":
        still = ", exactly: ∇F is 0 there" if result.gradient_norm == 0 else ""
        return (
            f"gradient descent without noise from the point itself stayed for {result.max_steps} steps{still}"
        )
    if result.plain_status == "left":
        return f"gradient descent without noise from the point itself leaves too, after {result.plain_steps} steps"
    return "gradient descent without noise from the point itself diverges"


def _saddle(result: Any) -> str:
    smallest, threshold = result.smallest_eigenvalue, result.zero_threshold
    where = (
        "at the point" if result.stillest_distance == 0 else f"{result.stillest_distance:.3g} from the point"
    )
    if result.stillest_gradient_norm > STATIONARY:
        when = "before it left" if result.plain_status == "left" else "as far as it went"
        return (
            f"no equilibrium on the way without noise: ‖∇F‖ ≥ {result.stillest_gradient_norm:.3g} {when}, so "
            "that no rate follows from curvature"
        )
    if result.steps_per_decade_theory is not None:
        return (
            f"strict saddle {where}: λ_min = {smallest:.6g} ± {threshold:.1g}; the steps grow with the logarithm, by "
            f"{result.steps_per_decade_theory:.6g} a decade"
        )
    kind = "zero to its error" if abs(smallest) <= threshold else "positive"
    rest = (
        "a saddle, if it is one, of higher order: steps by a power"
        if kind != "positive"
        else "a minimum, if ∇F vanishes there"
    )
    return f"no strict saddle {where}: λ_min = {smallest:.3g} ± {threshold:.1g} is {kind}: {rest}"


def _step_size(result: Any) -> str:
    alpha, curvature = result.step_size, result.curvature
    if curvature == 0:
        return f"α = {alpha:g}; L = 0 at the points looked at, where the Hessian vanishes"
    relation = "below" if alpha * curvature < 1 else "not below"
    return f"α = {alpha:g} is {relation} 1/L = {1 / curvature:.4g}, L the largest |λ| at the points looked at alone"


def _theorem(result: Any, asked: Leave) -> str:
    """What is assumed for a random start not to end at a strict saddle, or for noise to lead to a minimum."""
    if asked.noise != "none":
        spread = "cannot be known" if asked.noise == "sgd" else "holds"
        return (
            "reaching a minimum under noise (Ge et al. 2015, Jin et al. 2017) assumes every point to have a large "
            f"gradient, a λ_min well below 0 or a minimum near: cannot be known; noise in every direction: {spread}; "
            "a step small enough: cannot be known, the constants are not stated"
        )
    is_strict = result.steps_per_decade_theory is not None
    is_small = result.step_size * result.curvature < 1
    is_random = asked.direction is None
    parts = {
        "strict saddle": "holds" if is_strict else "fails",
        "α < 1/L": "cannot be known beyond the points looked at, where it holds" if is_small else "fails",
        "∇F Lipschitz everywhere": "cannot be known",
        "F twice differentiable": "cannot be known",
        "random start, no noise": "holds" if is_random else "fails",
    }
    words = "; ".join(f"{name}: {said}" for name, said in parts.items())
    return f"almost sure escape (Lee et al. 2016) assumes {words}"


def _fit(result: Any) -> list[str]:
    if result.steps_per_decade is None:
        return ["no fit: fewer than two amplitudes above 0 from which every run left"]
    fitted = result.amplitude[(result.end_status == "left").all(1) & (result.amplitude > 0)]
    if result.fit == "undecided" and (decades := span(fitted)) < LEAST_SPAN:
        return [
            f"undecided whether the steps grow by the logarithm or by a power: amplitudes {decades:.2g} decades apart "
            f"are too near to tell; take {LEAST_SPAN:g} at least"
        ]
    return {
        "logarithmic": [],
        "algebraic": ["a power fits better than the logarithm: no strict saddle decides the steps"],
        "undecided": ["neither the logarithm nor a power fits clearly better than the other"],
    }[result.fit]


def _lemma(result: Any, asked: Leave, first_broken: int) -> list[str]:
    if asked.step_size * result.curvature >= 2:
        return ["α ≥ 2/L: the descent lemma promises no fall"]
    notes = []
    if result.lemma_broken is not None:
        broken = int(result.lemma_broken.sum())
        if broken == 0:
            notes.append("descent lemma: held at every step until the runs left")
        elif first_broken != NOT_YET:
            notes.append(
                f"descent lemma: broken at {broken} steps, of one run first at step {first_broken}: the curvature on "
                f"the way is above L = {result.curvature:.4g}"
            )
    above = int((result.gradient_sum > result.gradient_bound * (1 + 1e-9)).sum())
    if above and asked.noise == "none":
        notes.append(f"Σ‖∇F‖² is above its bound in {above} runs, as L is larger on their way")
    return notes
