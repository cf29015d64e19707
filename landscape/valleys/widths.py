"""Ends of descent by width and restart, each joined to the level of the best by the lowest path found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.descent.critical import DENSE_PARAMETERS, POLISHED, perfected
from landscape.descent.starts import Family, bounds_of, descended, starts
from landscape.errors import BadInput
from landscape.numerics.arrays import array_of
from landscape.numerics.steps.replicas import Plan
from landscape.objective import checks, plain
from landscape.objective.objective import Objective
from landscape.objective.precision import required_in_float64
from landscape.progress import Journal, Progress
from landscape.result import Check
from landscape.valleys.joining import ROUNDING, lowest_path
from landscape.valleys.plateau import FEW, local
from landscape.valleys.polyline import points

NUMBERS = ("loss", "path_height", "path_end", "gradient_norm", "smallest_eigenvalue", "largest_eigenvalue")
COUNTS = ("index", "nullity", "feature_rank", "num_rounds")
# What a smooth path may rise between the points at which its height was taken, over the height.
BETWEEN = 1e-4
PROBES = 16
# Ends at ‖∇F‖ ≤ 1e-9 are at one level where their losses differ by less, over the loss at the module's own start.
SAME = 1e-9


def by_width(
    family: Family,
    widths: Sequence[int],
    *,
    restarts: int,
    init: str,
    lr: float,
    steps: int,
    curve_steps: int,
    seed: int,
    memory_limit: float,
    max_threads: int,
    journal: Journal,
    progress: Progress,
) -> tuple[dict[str, Any], list[Check], list[str]]:
    """The fields of the result over width and restart, its checks and notes."""
    shape = (len(widths), restarts)
    rows: dict[str, Any] = {name: np.full(shape, math.nan) for name in NUMBERS}
    rows |= {name: np.full(shape, -1) for name in COUNTS}
    rows |= {"is_strict": np.zeros(shape, dtype=bool), "plateau_length": np.full(shape, math.nan)}
    rows["way"] = np.full(shape, "diverged", dtype="U48")
    best_loss, share = np.full(len(widths), math.nan), np.full(len(widths), math.nan)
    proofs: list[Check] = []
    notes: list[str] = []
    plan = Plan(step_size=lr, num_steps=steps)
    worst: tuple[float, float] = (0.0, 0.0)
    for i, width in enumerate(widths):
        made, cell = family(width, 1, seed), f"width {width}"
        objective = required_in_float64(made, "basins")
        if objective.num_parameters > DENSE_PARAMETERS:
            raise BadInput(
                f"{objective.num_parameters} parameters at width {width}",
                f"at most {DENSE_PARAMETERS}, of which the whole Hessian is taken",
            )

        def begin(made: Objective = made, width: int = width) -> Tensor:
            drawn = starts(family, made, width, 1, restarts, bounds_of(init), seed)
            # The module's own start is among them, wherever the others are.
            return torch.cat([made.theta[None].to(drawn), drawn[1:]])

        descent = descended(
            made, begin, plan, restarts, cell, memory_limit, max_threads, seed, journal, progress, notes
        )
        thetas = torch.from_numpy(descent["thetas"]).to(objective.device, torch.float64)
        kept = np.flatnonzero(~descent["diverged"])
        for k in kept:
            key = f"end of {cell}, restart {k}"
            if key not in journal:
                journal[key] = _end(objective, thetas[k])
            thetas[k] = torch.from_numpy(journal[key]["theta"]).to(thetas)
            for name in (
                "loss",
                "gradient_norm",
                "smallest_eigenvalue",
                "largest_eigenvalue",
                "index",
                "nullity",
            ):
                rows[name][i, k] = journal[key][name]
            rows["is_strict"][i, k] = journal[key]["is_strict"]
            progress(int(k) + 1, restarts, f"ends of {cell}")
        if not len(kept):
            continue
        best = int(kept[np.argmin(rows["loss"][i, kept])])
        best_loss[i] = rows["loss"][i, best]
        level = best_loss[i] + SAME * abs(objective.value(objective.theta))
        rises = []
        for k in kept:
            key = f"path of {cell}, restart {k}"
            if key not in journal:
                found = lowest_path(
                    objective, thetas[k], thetas[best], level=level, curve_steps=curve_steps, seed=seed
                )
                journal[key] = {
                    "path_height": found.path.height,
                    "path_end": found.path.end,
                    "way": found.path.made,
                    "feature_rank": found.rank,
                    "num_rounds": found.rounds,
                    "plateau_length": found.plateau,
                    "nodes": array_of(found.path.nodes),
                }
            for name in ("path_height", "path_end", "way", "feature_rank", "num_rounds", "plateau_length"):
                rows[name][i, k] = journal[key][name]
            nodes = torch.from_numpy(journal[key]["nodes"]).to(thetas)
            over = _rise_between(objective, nodes, rows["path_height"][i, k], seed + int(k))
            worst = max(worst, (over, 0.0))
            value = rows["loss"][i, k]
            rises.append(rows["path_height"][i, k] <= value + 10 * ROUNDING * max(abs(value), 1e-12))
            progress(int(k) + 1, restarts, f"paths of {cell}")
        share[i] = float(np.mean(rises))
        proofs.append(
            checks.agreement(
                f"lowest loss, {cell}",
                objective,
                best_loss[i],
                objective.as_point(thetas[best]),
                "loss of the best end against a plain loop",
            )
        )
        notes += [note for note in objective.doubts if note not in notes]
        lost = restarts - len(kept)
        if lost:
            notes.append(
                f"{lost} of {restarts} descents at {cell} met NaN or diverged: kept as NaN, without a path"
            )
    proofs = [_worst(proofs), _between_check(worst[0])] if proofs else []
    # Words as wide as the longest, which is how they come back from a file.
    rows["way"] = np.array(rows["way"].tolist())
    return {**rows, "best_loss": best_loss, "share_joined": share}, proofs, notes


def _end(objective: Objective, theta: Tensor) -> dict[str, Any]:
    """An end polished, and what its Hessian says."""
    # Where a whole Hessian takes its time, more steps without one and fewer with.
    steps = {"quasi_newton_steps": 3000, "newton_steps": 15} if len(theta) > FEW else {}
    better = perfected(objective, theta, tolerance=POLISHED, **steps)
    here = local(objective, better.theta)
    size = float(torch.linalg.vector_norm(here.gradient))
    index, num_zero = here.signs.num_negative, here.signs.num_zero
    return {
        "theta": array_of(better.theta),
        "loss": here.value,
        "gradient_norm": size,
        "index": index,
        "nullity": num_zero,
        "smallest_eigenvalue": float(here.eigenvalues[0]),
        "largest_eigenvalue": float(here.eigenvalues[-1]),
        "is_strict": size <= POLISHED and index == num_zero == 0,
    }


def _rise_between(objective: Objective, nodes: Tensor, height: float, seed: int) -> float:
    """How far the plain loss lies above the stated height, relative to it, at places between the nodes."""
    if len(nodes) == 1:
        places = np.zeros(1)
    else:
        places = np.random.default_rng(seed).uniform(0, len(nodes) - 1, PROBES)
    values = [
        plain.measure(objective, plain.by_name(objective, objective.as_point(theta))).loss
        for theta in points(nodes, places)
    ]
    return max(0.0, (max(values) - height) / max(abs(height), 1e-3))


def _between_check(worst: float) -> Check:
    meaning = f"plain loss at {PROBES} places between the nodes of a path above its stated height, relative"
    return Check("path heights", worst, BETWEEN, meaning)


def _worst(found: Sequence[Check]) -> Check:
    one = max(found, key=lambda check: check.value)
    return Check("lowest loss", one.value, one.bound, one.meaning)
