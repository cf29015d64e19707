"""How wide a valley is along random directions, and how much of them is convex: from slices through a point."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.errors import BadInput
from landscape.numerics.curves.crossings import crossings
from landscape.numerics.spectra.trace import student_factor
from landscape.objective import checks, plain
from landscape.objective.parameters import Point
from landscape.paths.slices import Slice
from landscape.result import Check

# Of the rise asked for; what the rounding of F allows where that is more.
TOLERANCE = 1e-9


class HalfWidths(NamedTuple):
    """By draw and side, −d before d: how far F stays below F(θ*) + rise, (draws, 2).

    ``error`` is what the search leaves; where the rise is not ``reached`` the half-width is the span, a lower bound.
    """

    length: np.ndarray
    error: np.ndarray
    reached: np.ndarray


def common_rise(slices: Sequence[Slice]) -> float:
    """Half of the least highest rise of all half slices, no less than a twentieth of the median highest.

    Raises BadInput where F rises along none.
    """
    parts = []
    for one in slices:
        rises = one.losses - one.centre_loss
        parts += [rises[:, : one.middle + 1].max(axis=1), rises[:, one.middle :].max(axis=1)]
    highest = np.concatenate(parts)
    highest = highest[np.isfinite(highest)]
    found = max(float(highest.min()) / 2, float(np.median(highest)) / 20) if len(highest) else 0.0
    if found <= 0:
        raise BadInput("slices along which F does not rise", "a `rise` of F", "give one, or a wider `span`")
    return found


def half_widths(found: Slice, rise: float) -> HalfWidths:
    """Where F first rises by ``rise`` on both sides of every direction of 1-D slices, searched within a cell.

    The cell is the first whose far end lies as high, or is NaN. What rises and falls again within a cell is not seen.
    """
    middle, losses = found.middle, found.losses - found.centre_loss
    origin, count = found.points[0].theta, len(losses)
    sides = np.stack([losses[:, middle::-1], losses[:, middle:]], axis=1).reshape(2 * count, -1)
    steps = found.grid[0][middle:]
    above = np.logical_not(sides < rise)
    above[:, 0] = False
    reached = np.asarray(above.any(axis=1))
    rows, far = np.flatnonzero(reached), above.argmax(axis=1)[reached]
    signs = np.where(rows % 2, 1.0, -1.0)
    objective = found.sweep.objective

    def heights(number: int, at: np.ndarray) -> np.ndarray:
        def fill(block: range, thetas: Tensor) -> None:
            for theta, i in zip(thetas, block, strict=True):
                way = found.axes.draws[rows[i] // 2][0]
                torch.add(origin, way, alpha=float(signs[i] * at[i]), out=theta)

        table = found.sweep.measure(f"width {number}", len(rows), fill, found.points[:1])
        return table[:, 0] - found.centre_loss - rise

    length, error = np.full(2 * count, steps[-1]), np.zeros(2 * count)
    if len(rows):
        room = checks.rounding(objective) * (abs(found.centre_loss) + rise)
        at = crossings(
            heights,
            steps[far - 1],
            steps[far],
            sides[rows, far - 1] - rise,
            sides[rows, far] - rise,
            tolerance=max(TOLERANCE * rise, room),
        )
        length[rows], error[rows] = at
    shape = (count, 2)
    return HalfWidths(length.reshape(shape), error.reshape(shape), reached.reshape(shape))


def widths_check(found: Slice, rise: float, widths: HalfWidths, seed: int) -> list[Check]:
    """F by a plain loop at one half-width off θ*: higher than there by the rise asked for, or below just before and
    above just behind, within what the search leaves. One F, or three, and F(θ*).
    """
    rows = np.argwhere(widths.reached)
    if not len(rows):
        return []
    draw, side = rows[int(np.random.default_rng(seed).integers(len(rows)))].tolist()
    objective, point = found.sweep.objective, found.points[0]
    way = (2 * side - 1) * found.axes.draws[draw][0].double()
    length, error = float(widths.length[draw, side]), float(widths.error[draw, side])

    def height(at: float) -> float:
        theta = (point.theta.double() + at * way).to(point.theta.dtype)
        return plain.measure(objective, plain.by_name(objective, Point(theta, point.fixed))).loss

    there, here = height(length), height(0.0)
    bound = 4 * checks.rounding(objective) * (abs(there) + abs(here) + rise) / rise + 1e-6
    gap = float(np.nan_to_num(abs(there - here - rise) / rise, nan=np.inf))
    if (
        gap > bound
        and height(length - 2 * error) - here < rise
        and not height(length + 2 * error) - here < rise
    ):
        # F jumps there, or is as good as.
        gap = 0.0
    meaning = "how much F rises at one half-width by a plain loop, over the rise asked for, less 1; 0 where it jumps"
    return [Check("half width", gap, bound, meaning)]


def in_numbers(losses: np.ndarray, widths: HalfWidths, rounding: float) -> dict[str, tuple[float, float]]:
    """Convexity and width of slices (draws, num_points) with their errors, those of means over the directions.

    To that of the convexity the places that rounding leaves open are added, and it is no less than one place; to that
    of the width what the search leaves.
    """
    shares, is_open = convex_share(losses, rounding)
    by_draw = widths.length.mean(axis=1)
    scatter = student_factor(len(losses)) / len(losses) ** 0.5
    convexity = float(np.hypot(scatter * shares.std(ddof=1), is_open.mean()))
    width = float(np.hypot(scatter * by_draw.std(ddof=1), widths.error.mean()))
    return {
        "convexity": (float(shares.mean()), max(convexity, 1 / losses[:, 2:].size)),
        "width": (float(by_draw.mean()), width),
    }


def convex_share(losses: np.ndarray, rounding: float) -> tuple[np.ndarray, np.ndarray]:
    """By draw: at how many places of a slice F is convex, and at how many rounding leaves that open, as shares.

    ``losses`` (draws, num_points) on equal steps. A place is convex where F(α − h) − 2F(α) + F(α + h) is not below 0 by
    more than rounding; one that is not finite is not.
    """
    with np.errstate(invalid="ignore"):
        bends = losses[:, 2:] - 2 * losses[:, 1:-1] + losses[:, :-2]
        room = rounding * (np.abs(losses[:, 2:]) + 2 * np.abs(losses[:, 1:-1]) + np.abs(losses[:, :-2]))
        return (bends >= -room).mean(axis=1), (np.abs(bends) <= room).mean(axis=1)
