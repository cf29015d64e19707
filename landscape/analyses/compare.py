"""Which of these solutions is flatter, wider, better connected, and do the measures agree?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from landscape.analyses.declare import analysis
from landscape.analyses.options import Option
from landscape.analyses.shared import (
    AtRest,
    Critical,
    FisherRao,
    GridPoints,
    LineStatistics,
    ProfilePoints,
    RelativeFlatness,
)
from landscape.errors import BadInput
from landscape.progress import Journal, Progress, silent
from landscape.result import Check, Result, array, scalar

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np
    from torch import Tensor

    from landscape.curvature.sharpness import Asked
    from landscape.objective.objective import Objective
    from landscape.objective.parameters import Point
    from landscape.paths.profile import PathLoss
    from landscape.valleys.compared import Seen


# Two values are told apart where they differ by more than so many errors of their difference.
APART = 2.0


@dataclass(kw_only=True, eq=False)
class Compare(Result):
    """Measures of several points by one seed of directions, one span and one scale, with ranks and their agreement.

    Measures beside those of :class:`~landscape.analyses.sharpness.Sharpness`, of the same names:
    ``convexity``, the share of places of the slices where F is convex; ``width``, the mean half-width of
    {F ≤ F(θ) + ``rise``} along filter-normalised directions; ``barrier``, the mean height over the chord
    of the straight lines to the other points; ``loss``; with test data ``test_loss``, ``generalisation_gap``, the test
    loss less the training loss, and ``error_gap``, the same of the shares that are told wrong.
    """

    kind: ClassVar[str] = "compare"
    point: np.ndarray = array("point", long_name="point")
    label: np.ndarray = array("point", long_name="its name in its run")
    measure: np.ndarray = array("measure", long_name="measure")
    better: np.ndarray = array("measure", long_name="which values are better: low or high")
    unchanged_by: np.ndarray = array(
        "measure",
        long_name="what leaves it as it is: any rescaling of a ReLU-like unit, that of whole layers, or none",
    )
    values: np.ndarray = array(
        "measure", "point", printed=True, long_name="value", errors="errors", apart="told_apart"
    )
    errors: np.ndarray = array(
        "measure", "point", long_name="its error: residual of λ_max, standard errors, else rounding"
    )
    ranks: np.ndarray = array("measure", "point", printed=True, long_name="rank, 1 the best")
    told_apart: np.ndarray = array(
        "measure", "point", long_name="whether it differs from those of all other points beyond the errors"
    )
    other_measure: np.ndarray = array("other_measure", long_name="other measure")
    tau: np.ndarray = array(
        "measure", "other_measure", long_name="Kendall's τ of two rankings, 1 where they agree"
    )
    tau_low: np.ndarray = array("measure", "other_measure", long_name="lower end of its 95 % interval")
    tau_high: np.ndarray = array("measure", "other_measure", long_name="upper end of its 95 % interval")
    tau_p: np.ndarray = array("measure", "other_measure", long_name="two-sided p of no agreement")
    alpha: np.ndarray = array("alpha", long_name="step α along the direction")
    slice_loss: np.ndarray = array("point", "draw", "alpha", long_name="training loss along each direction")
    half_width: np.ndarray = array(
        "point", "draw", "side", long_name="half-width of the sublevel set, against and along the direction"
    )
    is_reached: np.ndarray = array(
        "point", "draw", "side", long_name="whether F rises so much within the span; else it is a lower bound"
    )
    other: np.ndarray = array("other", long_name="other point")
    barrier: np.ndarray = array(
        "point", "other", long_name="barrier over the chord, straight line", name="barrier"
    )
    barrier_error: np.ndarray = array("point", "other", long_name="its standard error from the data")
    span: float = scalar("half width of the slices")
    rise: float = scalar("rise of F that ends the sublevel set")
    sigma: float = scalar("standard deviation σ of the noise")
    rho: float = scalar("radius ρ of the ball")
    mean_tau: float = scalar("mean τ between two measures of flatness")
    flattest: str = scalar("the point that most measures of flatness rank first, or those")
    num_first: int = scalar("measures of flatness that rank it first")
    num_flatness: int = scalar("measures of flatness")

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        agree = "" if self.mean_tau != self.mean_tau else f", mean τ {self.mean_tau:.2f}"
        return f"{self.flattest} flattest by {self.num_first} of {self.num_flatness} measures{agree}"


@analysis(
    points=range(2, sys.maxsize),
    metavar="A B [C ...]",
    paper="Li et al. 2018; Dinh et al. 2017; Kendall 1938",
    examples=("a.h5 b.h5 c.h5", "a.h5@epoch=10 a.h5 b.h5 --rise 0.1 --draws 32"),
    compared=lambda options: True,
)
def compare(
    objective: Objective,
    points: Sequence[Tensor | Point],
    *,
    test: Objective | None = None,
    draws: Annotated[
        int, Option("Directions of the slices, the same at every point.", least=2, is_how=True)
    ] = 8,
    span: Annotated[float, Option("Half width s of the slices, [−s, s].", above=0)] = 1.0,
    num_points: GridPoints = 25,
    rise: Annotated[
        float | None,
        Option(
            "Rise of F that ends a sublevel set [default: half of what all slices reach, or a twentieth of what half "
            "of them do].",
            above=0,
        ),
    ] = None,
    ignore: AtRest = ("bias", "norm"),
    sigma: Annotated[float, Option("Standard deviation of the noise.", above=0)] = 0.02,
    noise_draws: Annotated[int, Option("Pairs ±ξ of noise.", least=2, is_how=True)] = 32,
    rho: Annotated[float, Option("Radius of the ball (Foret et al. 2021).", above=0)] = 0.05,
    ascent_steps: Annotated[int, Option("Steps of ascent within the ball.", least=1, is_how=True)] = 20,
    line_points: ProfilePoints = 21,
    tolerance: Annotated[
        float,
        Option(
            "Refine a line wherever its barrier may be higher by more.",
            above=0,
            is_finite=False,
            is_how=True,
        ),
    ] = 1e-4,
    batchnorm: LineStatistics = "recalibrate",
    critical: Critical = False,
    fisher_rao: FisherRao = False,
    relative_flatness: RelativeFlatness = False,
    seed: int = 0,
    journal: Journal | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Compare:
    """Measures of two or more points of one F side by side, ranked, and Kendall's τ between every two rankings.

    Directions, noise and the starts of searches are drawn by one ``seed``, so that points differ and not
    draws. Along ``draws`` filter-normalised directions (Li et al. 2018) F is cut on [−s, s]: ``convexity``
    is the share of places where it is convex (error: the standard error over the directions, places that
    rounding leaves open, no less than one place), ``width`` the mean distance at which F has first risen by
    ``rise``, on both sides (standard error over the directions; a lower bound where the span ends first).
    λ_max, trace, noise at ``sigma``, the rises within the ball ``rho``, and what is asked for beside them, are those
    of :func:`~landscape.analyses.sharpness.sharpness`. ``barrier`` is the mean height over the chord of the
    straight lines to all others, its error no more than the mean of theirs; batch norm there as in
    :func:`~landscape.analyses.connect.connect`, and frozen for all else. Not all of these are the function's
    own: ``unchanged_by`` says which rescaling of ReLU-like units leaves a measure as it is (Dinh et al. 2017).

    Ranks are from the best, 1. τ is 1 where two measures rank the points alike; its p is exact for few points, and
    below five points no agreement is beyond chance, which a note says. Resumable through ``journal``. Raises
    BadInput for fewer than two points; NotDifferentiable, NotFinite.
    """
    import numpy as np

    from landscape.curvature.further import Wanted
    from landscape.curvature.sharpness import TOLERANCES, Asked
    from landscape.objective import checks
    from landscape.objective.sweep import Sweep
    from landscape.objective.tasks import computed_by
    from landscape.paths.slices import Cut
    from landscape.paths.straight import straight_lines
    from landscape.valleys.compared import proofs_of, seen_at

    if len(points) < 2:
        raise BadInput(f"{len(points)} points", "at least two", "sharpness measures one")
    places = [objective.as_point(point) for point in points]
    tol = TOLERANCES.get(8 * objective.coarsest.itemsize, 5e-2)
    asked = Asked(
        np.array([sigma]),
        noise_draws,
        rho,
        ascent_steps,
        tol,
        ignore,
        seed,
        {} if journal is None else journal,
        Wanted(critical, fisher_rao, relative_flatness, None, test if critical else None),
    )
    cut = Cut(
        directions="random",
        norm="filter",
        ignore=ignore,
        span=span,
        num_points=num_points,
        draws=draws,
        show_trajectory=False,
        seed=seed,
        has_derivatives=True,
    )
    proofs: list[Check] = []
    with computed_by(executor), checks.untouched(objective, proofs):
        seen, height = seen_at(objective, places, test, cut, asked, rise, progress)
        sweep = Sweep(objective.varied(l2=0.0), None, batchnorm, asked.journal, progress, is_line=True)
        lines = straight_lines(sweep, places, line_points, tolerance)
        result = _result(objective, seen, lines, tolerance, asked, height, span)
        result.notes += [*sweep.notes(*places), *objective.doubts_at(places[0])]
        stated = proofs_of(
            objective,
            result,
            seen,
            lines,
            cut,
            asked,
            test,
            times=APART,
            is_given=rise is not None,
            refined=(line_points, tolerance),
        )
    result.checks = proofs + stated
    return result


def _result(
    objective: Objective,
    seen: Sequence[Seen],
    lines: dict[tuple[int, int], PathLoss],
    tolerance: float,
    asked: Asked,
    rise: float,
    span: float,
) -> Compare:
    import numpy as np

    from landscape.numerics.agreement import agreement, apart, ranked
    from landscape.paths.profile import unrefined
    from landscape.valleys.compared import MEASURES, OTHERS, badness_of, table_of

    count = len(seen)
    barrier, error = np.zeros((count, count)), np.zeros((count, count))
    for (i, j), line in lines.items():
        found = line.summary(asked.seed)
        barrier[i, j] = barrier[j, i] = found.height.chord
        error[i, j] = error[j, i] = found.height_error.chord
    others = [[j for j in range(count) if j != i] for i in range(count)]
    tables = [
        table_of(objective, one, barrier[i, others[i]], error[i, others[i]]) for i, one in enumerate(seen)
    ]
    undefined = {name: one.name for one in reversed(seen) for name in one.sharpness.further.undefined}
    names = [name for name in tables[0] if name not in undefined]
    values = np.array([[table[name][0] for table in tables] for name in names])
    errors = np.array([[table[name][1] for table in tables] for name in names])
    badness, room = badness_of(objective, names, values, errors, rise)
    ranks = np.stack([ranked(*one) for one in zip(badness, room, strict=True)])
    agree = [[agreement(one, other) for other in ranks] for one in ranks]
    flat = [k for k, name in enumerate(names) if name not in OTHERS]
    taus = np.array([agree[k][m].tau for k in flat for m in flat if k < m])
    first = (ranks[flat] == 1).sum(axis=0)
    unconverged = [what for one in seen for what in one.sharpness.unconverged]
    notes = [note for one in seen for note in one.slice.notes]
    notes += [f"at {one.name}: {note}" for one in seen for note in one.sharpness.further.notes]
    notes += unrefined(lines.values(), tolerance)
    return Compare(
        point=np.array([one.name for one in seen]),
        label=np.array([one.point.label or one.name for one in seen]),
        measure=np.array(names),
        better=np.array([MEASURES[name].better for name in names]),
        unchanged_by=np.array([MEASURES[name].unchanged_by for name in names]),
        values=values,
        errors=errors,
        ranks=ranks,
        told_apart=np.stack([apart(*one, APART) for one in zip(values, errors, strict=True)]),
        other_measure=np.array(names),
        tau=np.array([[one.tau for one in row] for row in agree]),
        tau_low=np.array([[one.low for one in row] for row in agree]),
        tau_high=np.array([[one.high for one in row] for row in agree]),
        tau_p=np.array([[one.p for one in row] for row in agree]),
        alpha=seen[0].slice.grid[0],
        slice_loss=np.stack([one.slice.losses for one in seen]),
        half_width=np.stack([one.widths.length for one in seen]),
        is_reached=np.stack([one.widths.reached for one in seen]),
        other=np.array([one.name for one in seen]),
        barrier=barrier,
        barrier_error=error,
        span=span,
        rise=rise,
        sigma=float(asked.sigmas[0]),
        rho=asked.rho,
        mean_tau=float(np.nanmean(taus)) if np.isfinite(taus).any() else float("nan"),
        flattest=", ".join(one.name for one, count in zip(seen, first, strict=True) if count == first.max()),
        num_first=int(first.max()),
        num_flatness=len(flat),
        outcome="not-converged" if unconverged else "complete",
        notes=[*dict.fromkeys(notes), *_remarks(seen, first), *unconverged],
    )


def _remarks(seen: Sequence[Seen], first: np.ndarray) -> list[str]:
    from landscape.numerics.agreement import fewest, least_p

    found = []
    if len(seen) < fewest():
        found.append(
            f"{len(seen)} points are too few to tell whether measures agree: even two equal rankings come about by "
            f"chance with p = {least_p(len(seen)):.2g}; it takes {fewest()} points"
        )
    for one in seen:
        beyond = int((~one.widths.reached).sum())
        if beyond:
            found.append(
                f"at {one.name} F does not rise so much within the span on {beyond} of "
                f"{one.widths.reached.size} sides: its width is a lower bound"
            )
    if (first == first.max()).sum() > 1:
        tied = " and ".join(one.name for one, k in zip(seen, first, strict=True) if k == first.max())
        found.append(f"{tied} are ranked first by as many measures of flatness")
    return found
