"""How sharp is this point, by each of the numbers that go by that name, and which of them is the function's own?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from landscape.analyses.declare import analysis
from landscape.analyses.options import Option
from landscape.analyses.shared import AT, Critical, FisherRao, RelativeFlatness
from landscape.choices import Rescaling, Role
from landscape.errors import BadInput
from landscape.progress import Journal, Progress, Within, silent
from landscape.result import Check, Result, array, scalar

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np
    from torch import Tensor

    from landscape.curvature.further import Wanted
    from landscape.curvature.sharpness import Asked, Measured
    from landscape.objective.objective import Objective
    from landscape.objective.parameters import Point

NORMS = ("none", "filter")
SIGMAS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(kw_only=True, eq=False)
class Sharpness(Result):
    """Measures of sharpness side by side, here and after a rescaling that leaves the function as it is.

    Measures: ``lambda_max``, ``trace``, ``trace_per_parameter`` of the Hessian; ``noise_rise``,
    E[F(θ + σξ)] − F(θ) at ``table_sigma``; ``ball_rise_at_least``, a lower bound of the largest rise
    within the ball ‖ε‖ ≤ ρ; ``sam_rise``, the rise after SAM's one step. Those that end in ``_filter``
    are relative to the lengths of the filters. Where asked for: ``critical_sharpness`` 2/η_c,
    ``directional_sharpness`` gᵀHg/gᵀg, ``relative_critical_sharpness`` (of the test loss, along −∇F),
    ``fisher_rao_norm``, ``relative_flatness``; NaN where it is not defined, and a note why. With several points
    everything is of the last one, and ``values_along`` and ``errors_along`` are of all.
    """

    kind: ClassVar[str] = "sharpness"
    measure: np.ndarray = array("measure", long_name="measure of sharpness")
    values: np.ndarray = array("measure", long_name="value at the point")
    errors: np.ndarray = array(
        "measure", long_name="its error: residual of λ_max, standard error of trace and noise, else rounding"
    )
    rescaled_values: np.ndarray | None = array(
        "measure", long_name="value after the rescaling", optional=True
    )
    rescaled_errors: np.ndarray | None = array(
        "measure", long_name="error of the value after the rescaling", optional=True
    )
    changes_under_rescaling: np.ndarray | None = array(
        "measure",
        long_name="whether it changes beyond its errors: no property of the function",
        optional=True,
    )
    group: np.ndarray | None = array("group", long_name="group that alone moved the point", optional=True)
    values_by_group: np.ndarray | None = array(
        "group", "measure", long_name="value after an element of this group alone", optional=True
    )
    changes_by_group: np.ndarray | None = array(
        "group",
        "measure",
        long_name="whether it changed under this group by more than its errors",
        optional=True,
    )
    point: np.ndarray | None = array("point", long_name="where", optional=True)
    values_along: np.ndarray | None = array(
        "point",
        "measure",
        printed=True,
        long_name="value at each point",
        optional=True,
        errors="errors_along",
    )
    errors_along: np.ndarray | None = array("point", "measure", long_name="its error", optional=True)
    loss_along: np.ndarray | None = array("point", long_name="loss at each point", optional=True)
    gradient_norm_along: np.ndarray | None = array("point", long_name="‖∇F‖ at each point", optional=True)
    sigma: np.ndarray = array("sigma", long_name="standard deviation σ of the noise")
    noise_rise: np.ndarray = array("sigma", long_name="mean rise E[F(θ + σξ)] − F(θ)")
    noise_rise_error: np.ndarray = array("sigma", long_name="standard error of the mean rise")
    noise_rise_filter: np.ndarray | None = array(
        "sigma", long_name="mean rise under noise relative to each filter", optional=True
    )
    noise_rise_filter_error: np.ndarray | None = array(
        "sigma", long_name="standard error of the mean rise, noise relative to each filter", optional=True
    )
    rescaled_noise_rise: np.ndarray | None = array(
        "sigma", long_name="mean rise after the rescaling", optional=True
    )
    rescaled_noise_rise_error: np.ndarray | None = array(
        "sigma", long_name="standard error of the mean rise after the rescaling", optional=True
    )
    rescaled_noise_rise_filter: np.ndarray | None = array(
        "sigma", long_name="mean rise after the rescaling, noise relative to each filter", optional=True
    )
    rescaled_noise_rise_filter_error: np.ndarray | None = array(
        "sigma", long_name="its standard error, noise relative to each filter", optional=True
    )
    ascent_step: np.ndarray = array("ascent_step", long_name="step of the ascent within the ball")
    ascent_rise: np.ndarray = array("ascent_step", long_name="largest rise found so far")
    ascent_rise_filter: np.ndarray | None = array(
        "ascent_step", long_name="largest rise found so far, ball relative to each filter", optional=True
    )
    search_step: np.ndarray | None = array("search_step", long_name="step η tried along −∇F", optional=True)
    search_rise: np.ndarray | None = array("search_step", long_name="rise F(θ − η∇F) − F(θ)", optional=True)
    relative_search_step: np.ndarray | None = array(
        "relative_search_step", long_name="step η tried along −∇F for the test loss", optional=True
    )
    relative_search_rise: np.ndarray | None = array(
        "relative_search_step", long_name="rise of the test loss", optional=True
    )
    critical_step: float | None = scalar("η_c, the first step along −∇F at which F rises", optional=True)
    critical_step_error: float | None = scalar("half the bracket of η_c", optional=True)
    relative_critical_step: float | None = scalar(
        "the first step along −∇F at which the test loss rises", optional=True
    )
    relative_critical_step_error: float | None = scalar("half its bracket", optional=True)
    layer: str | None = scalar("weight that the relative flatness is of", optional=True)
    loss: float = scalar("loss at the point")
    gradient_norm: float = scalar("gradient norm ‖∇F‖ at the point")
    num_draws: int = scalar("pairs ±ξ of noise")
    table_sigma: float = scalar("σ of the noise among the measures")
    rho: float = scalar("radius ρ of the ball")
    tolerance: float = scalar("residual of λ_max that counts as converged, relative to it")
    rescaling: str = scalar("what was moved: each unit, each layer, by all symmetries, or none")
    num_rescaled_units: int = scalar("hidden units that were rescaled")

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        return f"{self.measure[0]} {self.values[0]:.3g} ± {self.errors[0]:.0e}"


@analysis(
    points=1,
    paper="Dinh et al. 2017; Foret et al. 2021",
    examples=(
        "a.h5 --sigmas 0.01,0.1 --draws 100",
        "a.h5 --critical --fisher-rao --relative-flatness",
        "a.h5 --at all --critical --rescaling none",
    ),
    opens=(AT,),
)
def sharpness(
    objective: Objective,
    theta: Tensor | Point | Sequence[Tensor | Point],
    *,
    sigmas: Annotated[
        tuple[float, ...], Option("Standard deviations of the noise, increasing.", above=0)
    ] = SIGMAS,
    num_draws: Annotated[
        int, Option("Pairs ±ξ of noise, the same at every σ.", least=2, called="draws", is_how=True)
    ] = 32,
    rho: Annotated[float, Option("Radius of the ball (Foret et al. 2021).", above=0)] = 0.05,
    ascent_steps: Annotated[int, Option("Steps of ascent within the ball.", least=1, is_how=True)] = 20,
    tol: Annotated[
        float | None,
        Option("Error of λ_max, relative [default: 1e-6; 1e-5 in float32].", above=0, is_how=True),
    ] = None,
    ignore: Annotated[
        tuple[Role, ...],
        "Roles at rest where filters set the scale: some of bias,norm,vector; none for none.",
    ] = ("bias", "norm"),
    rescaling: Annotated[
        Rescaling,
        "Measure again, each unit or layer of a ReLU-like net rescaled, or moved by all symmetries.",
    ] = "unit",
    critical: Critical = False,
    fisher_rao: FisherRao = False,
    relative_flatness: RelativeFlatness = False,
    layer: Annotated[str | None, "An nn.Linear, for the relative flatness [default: the last]."] = None,
    test: Objective | None = None,
    seed: int = 0,
    journal: Journal | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Sharpness:
    """The scalars that are called the sharpness of F at θ, each with an error; at several points, beside one another.

    λ_max of the Hessian (error: the residual, within which it *proves* some eigenvalue) and its trace
    (standard error). E[F(θ + σξ)] − F(θ) over ``num_draws`` pairs ±ξ, ξ ~ N(0, 1), the same at every
    σ; the standard error is that of the pairs' means. On a quadratic it is (σ²/2) tr H; on a ReLU net
    not even for small σ, since noise crosses kinks that the Hessian does not see. The rise within
    ‖ε‖ ≤ ``rho`` by ``ascent_steps`` steps of projected gradient ascent, from SAM's step
    ε = ρ ∇F/‖∇F‖ (Foret et al. 2021, equation 2) and from both ends of the top eigenvector: a lower
    bound, whose error is that of rounding; how far it lies below the maximum is not known. Both again
    relative to the filters' lengths T: noise with ‖ξ_f‖ = ‖w_f‖ (Li et al. 2018), the ball ‖T⁻¹ε‖ ≤ ρ
    (as Kwon et al. 2021), with the roles in ``ignore`` at rest.

    And the same again after a random positive rescaling of the hidden units, or with
    ``rescaling='layer'`` of whole layers, of ReLU-like nets, which leaves the function as it is
    (Dinh et al. 2017): a number that changes is no property of the function. Where the module's
    structure shows no such units, or its outputs do change, a note says so. ``rescaling='all'`` moves θ by
    a random element of every symmetry that a trace of the module shows: permutations, scalings, turns of a
    residual stream, invertible maps of heads (see :func:`landscape.align`); where a number changes, each kind of group
    is then tried alone, and a note names those that change it.

    ``critical``: η_c is the smallest step η > 0 with F(θ − ηg) > F(θ), g = ∇F, by doubling and bisection
    with values of F alone; 2/η_c is the critical sharpness (Kalra et al. 2026), which on a quadratic is
    gᵀHg/gᵀg, given beside it; and the relative one of the ``test`` loss along the same step.
    ``fisher_rao``: √(θᵀIθ), I the mean of gᵢgᵢᵀ over samples (Liang et al. 2019). ``relative_flatness``:
    Σ ⟨w_s, w_s'⟩ tr H_{s,s'} over the rows of one layer (Petzka et al. 2021). Both of the loss without
    the penalty.

    Raises BadInput, NotDifferentiable, NotFinite.
    """
    import numpy as np
    from torch import Tensor

    from landscape.curvature.along_run import side_by_side
    from landscape.curvature.sharpness import TOLERANCES, Asked
    from landscape.objective.parameters import Point
    from landscape.objective.tasks import computed_by

    steps = np.array(sigmas, dtype=float)
    if not (np.diff(steps) > 0).all():
        raise BadInput(f"`sigmas` = {', '.join(f'{s:g}' for s in steps)}", "numbers in increasing order")
    tol = TOLERANCES.get(8 * objective.coarsest.itemsize, 5e-2) if tol is None else tol
    wanted = _wanted(objective, critical, fisher_rao, relative_flatness, layer, test)
    asked = Asked(
        steps, num_draws, rho, ascent_steps, tol, ignore, seed, {} if journal is None else journal, wanted
    )
    if isinstance(theta, Tensor | Point):
        with computed_by(executor):
            return _at(objective, objective.as_point(theta), asked, rescaling, progress)
    if not theta:
        raise BadInput("no points", "one or several")
    *before, last = [objective.as_point(one) for one in theta]
    found = []
    with computed_by(executor):
        for number, point in enumerate([*before, last]):
            here = asked._replace(journal=Within(asked.journal, f"point {number} "))
            how = rescaling if point is last else "none"
            found.append(_at(objective, point, here, how, progress))
    return side_by_side(found, [one.label for one in (*before, last)])


def _at(
    objective: Objective, point: Point, asked: Asked, rescaling: Rescaling, progress: Progress
) -> Sharpness:
    """All of it at one point, with its proofs."""
    from landscape.curvature.sharpness import measured, measured_ahead
    from landscape.curvature.sharpness_proofs import prove
    from landscape.curvature.stays import by_group, changed, verdict
    from landscape.numerics.steps.ascent import filter_lengths
    from landscape.objective import checks
    from landscape.objective.uses import guesses
    from landscape.symmetry.element import elsewhere

    precision, proofs = checks.rounding(objective), list[Check]()
    with checks.untouched(objective, proofs):
        norms, notes = NORMS, guesses(objective.pieces, asked.ignore)
        if not bool(filter_lengths(point.theta, objective.pieces, asked.ignore).any()):
            norms, notes = ("none",), ["nothing relative to the filters: every filter is zero or ignored"]
        moved = elsewhere(objective, point, rescaling, seed=asked.seed, tolerance=precision)
        places = {"here": point}
        if moved and moved.point:
            places["rescaled"] = moved.point
        elif moved:
            notes.append(moved.reason)
        measured_ahead(objective, places, norms, asked, progress)
        here, *more = [
            measured(objective, one, where, norms, asked, progress) for where, one in places.items()
        ]
        there = more[0] if more else None
        proofs += _checks(objective, point, asked, [one for one in (here, there) if one is not None])
        changes, groups, each = None, {}, {}
        if moved and there:
            verb = "moving" if rescaling == "all" else "rescaling"
            meaning = f"outputs after {verb} {moved.num_units} units against those before, ‖Δh‖/‖h‖"
            proofs.append(Check("function preserved", moved.gap, precision, meaning))
            changes = {name: changed(objective, here, there, name) for name in here.table}
            notes.append(verdict([name for name, flag in changes.items() if flag], rescaling))
            if any(changes.values()):
                measured_ahead(objective, moved.alone, norms, asked, progress)
                each = {k: measured(objective, p, k, norms, asked, progress) for k, p in moved.alone.items()}
                groups, said = by_group(objective, here, each)
                notes += said
        num_units = moved.num_units if moved else 0
        notes += objective.doubts_at(point)
        result = _result(
            asked, here, there, changes, rescaling if there else "none", num_units, notes, groups
        )
        prove(result, objective, asked, [(point, here), (moved.point if moved else None, there)], each)
    result.checks = [*proofs, *result.checks]
    return result


def _wanted(
    objective: Objective,
    critical: bool,
    fisher_rao: bool,
    relative_flatness: bool,
    layer: str | None,
    test: Objective | None,
) -> Wanted:
    """What is asked for beside the usual ones. Raises BadInput for a layer that is none, or of nothing."""
    from landscape.curvature.further import Wanted
    from landscape.curvature.invariants import layer_of

    if layer is not None and not relative_flatness:
        raise BadInput(f"`layer` {layer} without the relative flatness", remedy="ask for it as well")
    if layer is not None:
        layer_of(objective, layer)
    return Wanted(critical, fisher_rao, relative_flatness, layer, test if critical else None)


def _checks(objective: Objective, point: Point, asked: Asked, results: Sequence[Measured]) -> list[Check]:
    import numpy as np

    from landscape.curvature.sharpness import noise_direction
    from landscape.curvature.sharpness_proofs import seeded
    from landscape.numerics.steps.sampling import seed_of_draw
    from landscape.objective import checks
    from landscape.paths.direction_checks import norm_check

    here = results[0]
    # What is not defined is said in a note.
    tables = [
        [pair for name, pair in one.table.items() if name not in one.further.undefined] for one in results
    ]
    numbers = [[v for pair in table for v in pair] for table in tables]
    numbers += [part for one in results for pair in one.noise.values() for part in pair]
    overshoot, meaning = (
        max(one.overshoot for one in results),
        "largest ‖T⁻¹ε‖/ρ − 1 of the points of the ascent",
    )
    proofs = [
        *checks.meaning(objective, point, stated=checks.Stated("loss", here.loss, checks.PLAINLY)),
        checks.finite(np.concatenate(numbers)),
        Check("within the ball", overshoot, 1e-12, meaning),
    ]
    if "filter" in here.noise:
        # Of a pair that is measured again, so that it is the one used.
        number, _ = seeded(asked)
        drawn = noise_direction(objective, point, "filter", asked.ignore, seed_of_draw(asked.seed, number))[
            None
        ]
        proofs.append(norm_check(objective, point.theta, drawn, "filter", asked.ignore))
    return proofs


def _result(
    asked: Asked,
    here: Measured,
    there: Measured | None,
    changes: dict[str, bool] | None,
    rescaling: str,
    num_units: int,
    notes: list[str],
    groups: dict[str, Any],
) -> Sharpness:
    import numpy as np

    from landscape.curvature.sharpness import part, searched_steps

    table, steps = here.table, asked.sigmas
    unconverged = [what for one in (here, there) if one for what in one.unconverged]
    notes = [*notes, *here.further.notes]
    return Sharpness(
        measure=np.array(list(table)),
        values=np.array([value for value, _ in table.values()]),
        errors=np.array([error for _, error in table.values()]),
        rescaled_values=there and np.array([there.table[name][0] for name in table]),
        rescaled_errors=there and np.array([there.table[name][1] for name in table]),
        changes_under_rescaling=None if changes is None else np.array(list(changes.values())),
        **groups,
        sigma=steps,
        noise_rise=here.noise["none"][0],
        noise_rise_error=here.noise["none"][1],
        noise_rise_filter=part(here, "filter", 0),
        noise_rise_filter_error=part(here, "filter", 1),
        rescaled_noise_rise=part(there, "none", 0),
        rescaled_noise_rise_error=part(there, "none", 1),
        rescaled_noise_rise_filter=part(there, "filter", 0),
        rescaled_noise_rise_filter_error=part(there, "filter", 1),
        ascent_step=np.arange(asked.ascent_steps + 1),
        ascent_rise=here.ascents["none"],
        ascent_rise_filter=here.ascents.get("filter"),
        **searched_steps(here),
        layer=here.further.layer,
        loss=here.loss,
        gradient_norm=here.gradient_norm,
        num_draws=asked.num_draws,
        table_sigma=float(steps[len(steps) // 2]),
        rho=asked.rho,
        tolerance=asked.tol,
        rescaling=rescaling,
        num_rescaled_units=num_units,
        outcome="not-converged" if unconverged else "complete",
        notes=notes + unconverged,
    )
