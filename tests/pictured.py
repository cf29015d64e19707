"""Results that are drawn: a plane and a line of known shape, and any kind from what its fields say."""

import json
from dataclasses import MISSING, fields

import numpy as np

from landscape.analyses import FUNCTIONS, Interpolate, Slice2D
from landscape.result import Result, field_metadata

OURS = sorted(FUNCTIONS)

INPUTS = json.dumps(
    [{"path": f"runs/{name}.h5", "point": "final", "sha256": "0"} for name in ("one", "two", "three")]
)


def plane(loss=None, **changes) -> Slice2D:
    """An uneven bowl over 5 × 7 cells, lowest at (0.5, 0), its rows β and its columns α."""
    alpha, beta = np.linspace(-1.5, 1.5, 7), np.linspace(-2, 2, 5)
    if loss is None:
        loss = 0.5 + (alpha - 0.5) ** 2 + beta[:, np.newaxis] ** 2
    return Slice2D(
        **{
            "alpha": alpha,
            "beta": beta,
            "loss": loss,
            "done": np.ones((5, 7), dtype=bool),
            "directions": np.eye(2),
            "gram": np.eye(2),
            "centre_loss": float(loss[2, 3]),
            "provenance": {"inputs": INPUTS},
            **changes,
        }
    )


def line_between(loss=None, **changes) -> Interpolate:
    alpha = np.array([-0.25, 0, 0.25, 0.5, 0.75, 1, 1.25])
    loss = np.array([1.5, 1.0, 2.0, 3.0, 1.5, 0.5, 0.7]) if loss is None else loss
    return Interpolate(
        **{
            "alpha": alpha,
            "loss": loss,
            "barrier_chord": 2.25,
            "barrier_ends": 2.0,
            "is_monotone": False,
            "bump_alpha": np.array([0.5]),
            "bump_height": np.array([2.0]),
            "distance": 1.0,
            "provenance": {"inputs": INPUTS},
            **changes,
        }
    )


def with_run(**changes) -> Slice2D:
    """The same plane with three checkpoints on it."""
    return plane(
        trajectory_alpha=np.array([-1.0, -0.5, 0.0]),
        trajectory_beta=np.array([1.0, 0.25, 0.0]),
        trajectory_loss=np.array([3.75, 1.5625, 0.75]),
        trajectory_residual=np.array([0.1, 0.05, 0.0]),
        **changes,
    )


def made_up(kind: type[Result], *, optional: bool = True, size: int = 9) -> Result:
    """A result of any kind, from nothing but what its fields say of themselves."""
    generator = np.random.default_rng(0)
    sizes = {"point": 3, "direction": 2, "other_direction": 2, "bump": 1, "side": 2}
    values = {}
    for one in fields(kind):
        about = one.metadata
        if not about or (not optional and one.default is not MISSING):
            continue
        if "dims" in about:
            shape = tuple(sizes.get(dim, size) for dim in about["dims"])
            is_coordinate = about["dims"] == (one.name,)
            values[one.name] = (
                np.linspace(0, 1, shape[0]) if is_coordinate else generator.uniform(0.1, 1, shape)
            )
            if one.name in ("done", "converged"):
                values[one.name] = np.ones(shape, dtype=bool)
        else:
            values[one.name] = 0.5
    result = kind(**values, provenance={"inputs": INPUTS})
    return result if optional else at_one_point(result)


def at_one_point(result):
    """The first of several points, without the dimension ``point``; unchanged where there are always several."""
    if any(one.name == "point" and one.default is MISSING for one in fields(result)):
        return result
    for name, about in field_metadata(type(result)).items():
        value = getattr(result, name)
        if about.get("dims", ())[:1] == ("point",) and value is not None:
            setattr(result, name, None if name == "point" else value[0])
    return result
