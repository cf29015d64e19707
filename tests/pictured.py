"""Results that are drawn: a plane and a line of known shape."""

import json

import numpy as np

from landscape.analyses import Interpolate, Slice2D

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
