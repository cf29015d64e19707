"""Options that several analyses have, each declared once, and what slices say of themselves."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from landscape.analyses.options import Option, Parameter
from landscape.choices import (
    BatchNorm,
    CurveMethod,
    CurveSchedule,
    Directions,
    LineBatchNorm,
    Norm,
    Role,
    Symmetries,
)
from landscape.errors import BadInput

Statistics = Annotated[
    BatchNorm,
    Option(
        "Batch-norm statistics between points: theirs, mixed in proportion, or taken anew from the data.",
        is_how=True,
    ),
]
LineStatistics = Annotated[
    LineBatchNorm,
    Option(
        "Batch-norm statistics between points: theirs, mixed in proportion (right only for nearby points), or taken "
        "anew from the data at every point; repair also gives every layer of the straight line the spread it has at "
        "the ends (Jordan et al. 2023).",
        is_how=True,
    ),
]

# Slices.
AlongWhat = Annotated[
    Directions,
    "Random, the principal components of the runs (pca-first: of the first alone), Hessian eigenvectors (top, or both "
    "ends), or the two axes of a module with two trainable numbers.",
]
LengthOf = Annotated[Norm, "What of a random direction is as long as in θ* (Li et al. 2018)."]
AtRest = Annotated[
    tuple[Role, ...],
    "What stays at rest: bias, norm (scales and shifts), vector (others of one axis), or none.",
]
# Of a run, with whose points the session opens it.
AT = Parameter("at", str | None, None, Option("Several points of the run: all, or init,final,epoch=10."))
Block = Annotated[str | None, "Only the parameters whose names match, for example 'layers.0.*'."]
HalfWidth = Annotated[
    float | None, Option("Half width s of the cut, [−s, s] [default: 1, or what is drawn].", above=0)
]
GridPoints = Annotated[int, Option("Points per axis, odd.", least=3, is_how=True)]
DirectionDraws = Annotated[int, Option("Direction seeds, for a mean and a spread.", least=1, is_how=True)]
ShowTrajectory = Annotated[
    bool, Option("Draw each run's checkpoints, with their distance.", called="trajectory")
]
SmoothBy = Annotated[
    float | None,
    Option(
        "F averaged over Gaussian noise of this deviation on every weight as well (Kleinberg et al. 2018).",
        above=0,
    ),
]
SmoothDraws = Annotated[
    int | None,
    Option("Pairs ±ξ of that noise, the same at all places [default: 50].", least=2, is_how=True),
]

# Curves between points.
CurveKind = Annotated[
    CurveMethod,
    "Bézier curve or polygonal chain of low mean loss, minimum-energy band, or a Bézier curve of low (smooth) "
    "maximum.",
]
Bends = Annotated[
    int,
    Option(
        "Free control points; Garipov's num_bends counts the two ends as well. A band begins with so many.",
        least=1,
    ),
]
CurveEpochs = Annotated[
    int | None,
    Option(
        "Passes over the data to train the curve; neb makes each for every pivot [default: 60, unless `steps`].",
        least=1,
        is_how=True,
    ),
]
CurveSteps = Annotated[int | None, Option("Steps, instead of `epochs`.", least=1, is_how=True)]
CurveStepSize = Annotated[
    float, Option("First step size, of the size that trained the ends.", above=0, is_how=True)
]
CurveMomentum = Annotated[float, Option("", least=0, below=1, is_how=True)]
CurveBatch = Annotated[int, Option("Samples of a mini-batch.", least=1, is_how=True)]
CurveFall = Annotated[
    CurveSchedule,
    Option(
        "How the step size falls; garipov: level for half of the passes, then linear to a hundredth at 90 %.",
        is_how=True,
    ),
]
CurveFallArguments = Annotated[
    Mapping[str, Any] | None,
    Option(
        "every=PASSES; gamma (piecewise), rate (exponential), beta gamma (polynomial), "
        "factor threshold patience cooldown floor (plateau).",
        called="schedule_arg",
        is_how=True,
    ),
]
CurveRestarts = Annotated[
    int, Option("Trainings, of which the lowest barrier is shown.", least=1, is_how=True)
]
ProfilePoints = Annotated[int, Option("Points of the profile, before refinement.", least=3, is_how=True)]
ProfileTolerance = Annotated[
    float,
    Option(
        "Refine the profile wherever the barrier may be higher by more.",
        above=0,
        is_finite=False,
        is_how=True,
    ),
]
AlignFirst = Annotated[bool, "Permute the hidden units of B to lie closest to A first."]
AlignBy = Annotated[
    Symmetries,
    "What moves an aligned B beside permutations: scalings of units, turns of a residual stream too, or all maps.",
]

# Further measures of sharpness.
Critical = Annotated[
    bool, "Critical sharpness 2/η_c, by the first step η_c along −∇F at which the loss rises; and gᵀHg/gᵀg."
]
FisherRao = Annotated[bool, "The Fisher–Rao norm √(θᵀIθ) (Liang et al. 2019)."]
RelativeFlatness = Annotated[bool, "The relative flatness of one fully connected layer (Petzka et al. 2021)."]


def smoothing_pairs(smooth: float | None, draws: int | None) -> int:
    """How many pairs ±ξ of noise are drawn. Raises BadInput where there is no noise that they would be of."""
    if draws is not None and smooth is None:
        raise BadInput(f"`smooth_draws` {draws} without `smooth`", "the deviation `smooth` of that noise")
    return 50 if draws is None else draws


def range_said(cut: Any) -> str:
    """What a slice says of its losses: the one at θ* and the highest, of the cells that were computed."""
    highest = f"up to {cut.loss[cut.done].max():.3g}"
    at_centre = f"loss {cut.centre_loss:.3g}" if math.isfinite(cut.centre_loss) else "no finite loss"
    return f"{at_centre} at θ*, {highest}"
