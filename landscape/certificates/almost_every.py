"""When every differentiable local minimum has F = 0, for almost every (X, 𝓔): Soudry and Carmon 2016, as it is."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from landscape.certificates.claims import FAILS, HOLDS, UNKNOWN, Assumption
from landscape.certificates.kernel import errors_of
from landscape.certificates.limit import wide
from landscape.certificates.linear import LinearNet, floor, linear_net
from landscape.certificates.losses import meaning_of
from landscape.certificates.structure import Structure, structure_at
from landscape.certificates.two_layer import two_layers
from landscape.errors import LandscapeError
from landscape.objective.objective import Objective

# Samples by which the module is recognised.
FEW = 16
ONE_LAYER, UNITS, ONE_OUTPUT = "one hidden layer", "leaky ReLUs, of slopes 1 and s ≠ 0", "one output"
NO_BIAS, ALL = "no biases", "the weights of both layers are all of θ"
SQUARE, ENOUGH = "square loss, no penalty", "n ≤ d₀d₁"
NOISE = "slopes multiplied by Gaussian noise 𝓔, fixed in training"
OUTSIDE = "(X, 𝓔) outside a set of measure 0"
ASSUMPTIONS = (ONE_LAYER, UNITS, ONE_OUTPUT, NO_BIAS, ALL, SQUARE, ENOUGH, NOISE, OUTSIDE)


class Setting(NamedTuple):
    """A module on its data: the theorem's ``assumptions``, and the least loss that any linear net of its widths has.

    ``floor`` is NaN where there is none in closed form.
    """

    assumptions: tuple[Assumption, ...]
    floor: float


def setting_of(objective: Objective, width: int) -> Setting:
    """Which assumptions hold, fail, or cannot be known; ``width`` is d₁ where the module does not show it.

    The module is watched on a few samples, at the point where it stands and beside it.
    """
    here = wide(objective)
    try:
        few = here if here.num_samples <= FEW else here.varied(data=here.samples.few(FEW))
        seen = structure_at(few, few.present_point())
    except (LandscapeError, RuntimeError):
        unknown = tuple(Assumption(text, UNKNOWN) for text in ASSUMPTIONS)
        return Setting(unknown, float("nan"))
    net = linear_net(seen, few, few.present_point())
    states = _states(seen, few, width, objective.num_samples, net) | _of_loss(objective)
    assumptions = tuple(Assumption(text, states[text]) for text in ASSUMPTIONS)
    return Setting(assumptions, _floor(here, net is not None))


def settings(
    families: Mapping[int, Callable[[int, int, int], Objective]],
    depths: Sequence[int],
    widths: Sequence[int],
    seed: int,
) -> dict[str, np.ndarray]:
    """``state`` of every assumption, (samples, depth, width, a), and ``floor``, of each family's modules."""
    found = [
        [[setting_of(family(width, depth, seed), width) for width in widths] for depth in depths]
        for family in families.values()
    ]

    def each(value: Callable[[Setting], Any]) -> np.ndarray:
        return np.array([[[value(one) for one in row] for row in rows] for rows in found])

    return {
        "state": each(lambda one: [a.state for a in one.assumptions]),
        "floor": each(lambda one: one.floor),
    }


def _states(
    seen: Structure, objective: Objective, width: int, num_samples: int, net: LinearNet | None
) -> dict[str, str]:
    two, is_followed = two_layers(seen, objective), not seen.unfollowed
    d0, d1 = objective.samples.num_inputs, width
    if two is not None:
        d0, d1 = two.first.features.shape[1], two.slopes.shape[1]
    if two is not None:
        noise = _of(two.factor is not None and (_is_gaussian(objective) or None))
    else:
        # Without units that have slopes there is nothing that noise could multiply.
        noise = FAILS if net or (is_followed and not seen.kinks) else UNKNOWN
    has_bias = any(layer.bias is not None for layer in seen.layers)
    slopes = [kink.below for kink in seen.kinks]
    is_leaky = bool(slopes) and all(one != 0 and one == one for one in slopes)
    is_one = two is not None or (len(seen.layers) == 2 and not seen.repeated)
    return {
        ONE_LAYER: HOLDS if is_one else FAILS if len(seen.layers) > 2 or net else UNKNOWN,
        UNITS: _of(is_leaky) if slopes and is_followed else FAILS if is_followed else UNKNOWN,
        ONE_OUTPUT: _of(seen.outputs.shape[1] == 1),
        NO_BIAS: FAILS if has_bias else HOLDS if net or (two is not None and two.has_all) else UNKNOWN,
        ALL: UNKNOWN if two is None else _of(two.has_all or has_bias),
        ENOUGH: _of(num_samples <= d0 * d1),
        NOISE: noise,
        OUTSIDE: UNKNOWN,
    }


def _of_loss(objective: Objective) -> dict[str, str]:
    meaning = meaning_of(objective)
    is_known = meaning.is_square or meaning.is_convex is not None
    return {SQUARE: _of(meaning.is_square and not objective.l2) if is_known or objective.l2 else UNKNOWN}


def _of(value: bool | None) -> str:
    return UNKNOWN if value is None else HOLDS if value else FAILS


def _is_gaussian(objective: Objective) -> bool:
    """Whether the module itself says that its factors were drawn so."""
    return bool(getattr(objective.module, "is_gaussian", False))


def _floor(here: Objective, is_linear: bool) -> float:
    if not is_linear or not meaning_of(here).is_square:
        return float("nan")
    point = here.present_point()
    seen = structure_at(here, point)
    net = linear_net(seen, here, point)
    if net is None or not net.is_free:
        return float("nan")
    errors = errors_of(here, point, seen.outputs.reshape(-1)).reshape(seen.outputs.shape)
    least = floor(net, seen.outputs - errors * (seen.outputs.shape[1] / 2))
    return float("nan") if least is None else least


# --- in words -------------------------------------------------------------------------------


def notes_of(result: Any, axes: Mapping[str, Sequence[int]]) -> list[str]:
    """The theorem with its assumptions, and what it says, of a :class:`~landscape.analyses.minima.Minima`."""
    states = np.asarray(result.state)
    parts = [f"{text} ({_where(states[..., k], axes)})" for k, text in enumerate(ASSUMPTIONS)]
    n, d0 = result.num_samples, result.num_inputs
    theorem = (
        "Theorem 3.6 (Soudry and Carmon 2016), for almost every (X, 𝓔): every differentiable local minimum has F = 0, "
        f"where all of this holds: {'; '.join(parts)}"
    )
    said = (states[..., :-1] == HOLDS).all(-1)
    open_ = ~said & (states[..., :-1] != FAILS).all(-1)
    if not said.any():
        what = "whether it speaks cannot be known" if open_.any() else "it says nothing"
        return [theorem, f"{what} here (n = {n}, d₀ = {d0})"]
    status = np.asarray(result.end_status)[said]
    cost = np.asarray(result.cost if result.polished_cost is None else result.polished_cost)[said]
    counts = {
        name: int((status == name).sum()) for name in ("minimum", "degenerate", "kink", "saddle", "cut short")
    }
    is_end = np.isin(status, ("minimum", "degenerate"))
    highest = f", F ≤ {cost[is_end].max():.3g} at all of them" if is_end.any() else ""
    others = ", ".join(f"{counts[name]} {name}" for name in ("saddle", "kink", "cut short") if counts[name])
    return [
        theorem,
        f"it speaks of {int(said.sum())} of {said.size} cells, and there of ends that are differentiable local minima: "
        f"{counts['minimum']} minimum, {counts['degenerate']} degenerate (which may be none){highest}"
        + (f"; not of {others}" if others else ""),
    ]


def _where(state: np.ndarray, axes: Mapping[str, Sequence[int]]) -> str:
    kinds = [one for one in (HOLDS, FAILS, UNKNOWN) if (state == one).any()]
    if len(kinds) == 1:
        return kinds[0]
    return ", ".join(f"{kind} at {_places(state == kind, axes)}" for kind in kinds)


def _places(where: np.ndarray, axes: Mapping[str, Sequence[int]]) -> str:
    """The values of the axes that some cells have, where these are all cells of such values; else their number."""
    rows = [np.unique(one) for one in np.nonzero(where)]
    if math.prod(map(len, rows)) > int(where.sum()):
        return f"{int(where.sum())} of {where.size} cells"
    return ", ".join(
        f"{name} {'/'.join(str(values[i]) for i in own)}"
        for (name, values), own in zip(axes.items(), rows, strict=True)
        if len(own) < len(values)
    )
