"""When every differentiable local minimum has F = 0, for almost every (X, 𝓔): Soudry and Carmon 2016, as it is."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

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
    """A module on its data: the theorem's ``assumptions``, d₀, and of a linear net the least loss that any has.

    ``floor`` is NaN where there is none in closed form; ``is_linear``: whether the module is a linear net.
    """

    assumptions: tuple[Assumption, ...]
    num_inputs: int
    floor: float
    is_linear: bool


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
        return Setting(unknown, objective.samples.num_inputs, float("nan"), False)
    net = linear_net(seen, few, few.present_point())
    states = _states(seen, few, width, objective.num_samples, net) | _of_loss(objective)
    assumptions = tuple(Assumption(text, states[text]) for text in ASSUMPTIONS)
    num_inputs = seen.layers[0].features.shape[1] if net else objective.samples.num_inputs
    return Setting(assumptions, num_inputs, _floor(here, net is not None), net is not None)


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


def speaks(states: np.ndarray) -> np.ndarray:
    """Whether nothing fails or is unknown but that (X, 𝓔) is no exception: states (…, assumption) -> (…,)."""
    return (states[..., :-1] == HOLDS).all(-1)


def in_words(states: np.ndarray, axes: Mapping[str, Sequence[int]]) -> str:
    """Every assumption of the theorem and its state, by ``axes`` where it is not everywhere the same."""
    parts = [f"{text} ({_where(states[..., k], axes)})" for k, text in enumerate(ASSUMPTIONS)]
    return (
        "Theorem 3.6 (Soudry and Carmon 2016), for almost every (X, 𝓔): every differentiable local minimum has F = 0, "
        f"where all of this holds: {'; '.join(parts)}"
    )


def _where(state: np.ndarray, axes: Mapping[str, Sequence[int]]) -> str:
    kinds = [one for one in (HOLDS, FAILS, UNKNOWN) if (state == one).any()]
    if len(kinds) == 1:
        return kinds[0]
    said = []
    for kind in kinds:
        places = [
            f"{name} {', '.join(str(values[i]) for i in rows)}"
            for number, (name, values) in enumerate(axes.items())
            if len(rows := np.unique(np.nonzero(state == kind)[number])) < len(values)
        ]
        said.append(f"{kind} at {'; '.join(places) or 'others'}")
    return ", ".join(said)
