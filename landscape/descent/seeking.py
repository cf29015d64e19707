"""Critical points of an objective from many starts: found by a method, told apart from what only looks like one."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.descent.critical import DENSE_PARAMETERS, examined, named
from landscape.descent.search_proofs import Counted
from landscape.numerics.arrays import array_of
from landscape.numerics.roughness import NOTHING, PLACES, roughness
from landscape.numerics.spectra.inertia import Dense, error_at, inertia, stated_error
from landscape.numerics.spectra.zeros import zero_thresholds
from landscape.numerics.steps.following import followed
from landscape.numerics.steps.matrix_free import by_gradient_norm, by_products
from landscape.numerics.steps.newton import WINDOW, Search, exponent, rounding, searched
from landscape.objective.objective import Objective
from landscape.objective.stacked import Derivatives
from landscape.objective.tasks import Task, ahead
from landscape.progress import Journal, Progress, Saver, silent

CRITICAL, FLAT, KINK = "critical", "gradient-flat", "kink"
INFINITE, OPEN = "running-to-infinity", "not-converged"
STATUSES = (CRITICAL, FLAT, KINK, INFINITE, OPEN)
# ‖∇F‖ this many times its rounding is zero; a last step that is this part of the last ones together is a short one.
SMALL, SETTLED = 16.0, 0.02
# ‖H∇F‖/(‖H‖‖∇F‖) at a point where ‖∇F‖ stands still for lying in the kernel of H.
IN_KERNEL = 1e-3
# Growth of ‖θ‖ over the last steps, and since the start, of what runs away.
GROWTH, FARTHER = 1.01, 1.5
# Over ‖θ‖ how far away a boundary is here, and a way a hundred times as long; what part of the change of ∇F across the
# second one, which is a hundredth where it is smooth, must be had across the first.
BESIDE, JUMP = (1e-7, 1e-5), 0.3
# Bytes of a stack: about six matrices for each start.
MEMORY = 2**30


@dataclass(frozen=True, kw_only=True)
class Seeker:
    """How critical points are sought: ``method``, for ``hisd`` the index (None: that of H at each start), and how many
    steps at most.
    """

    method: str
    index: int | None
    num_steps: int
    journal: Journal
    progress: Progress

    def found(self, objective: Objective, starts: Tensor) -> dict[str, np.ndarray]:
        """By name, of the end of every start (R, d) for an objective in float64: ``theta`` and what it is.

        Rows of ``loss``, ``gradient_norm``, ``index`` and ``nullity`` (NaN but at critical points), ``zero_threshold``,
        ``flatness``, ``status``, ``steps``, ``growth``, ‖θ‖ at the end over that at the start, and ``exponent``,
        d log‖∇F‖/d log‖θ‖ over the last steps. What proves these: ``tried``, steps by the evaluations that they took,
        NaN where a step takes several, and ``way`` (R, 2, …), ‖∇F‖ and ‖θ‖ of the last steps.
        """
        d, rows = objective.num_parameters, []
        is_dense = d <= DENSE_PARAMETERS
        block = max(1, MEMORY // (48 * d * d)) if is_dense else 1
        derivatives = Derivatives(objective)
        parts = {
            f"starts {first}–{min(first + block, len(starts)) - 1}": starts[first : first + block]
            for first in range(0, len(starts), block)
        }
        if len(parts) > 1:
            ahead(self.journal, lambda: self._tasks(objective, parts), self.progress, "blocks of starts")
        done = 0
        for key, part in parts.items():
            if key not in self.journal:
                self._keep(objective, derivatives, part, key)
            rows.append(self.journal[key])
            done += len(part)
            self.progress(done, len(starts), "starts")
        return {name: np.concatenate([one[name] for one in rows]) for name in rows[0]}

    def _tasks(self, objective: Objective, parts: dict[str, Tensor]) -> list[Task]:
        alone = replace(self, journal={}, progress=silent)
        return [
            Task((key,), partial(_sought, alone, objective, part, key), (_under_way(key),))
            for key, part in parts.items()
        ]

    def _keep(self, objective: Objective, derivatives: Derivatives, part: Tensor, key: str) -> None:
        """Keep the ends of some starts."""
        seek = self._stacked if objective.num_parameters <= DENSE_PARAMETERS else self._alone
        self.journal[key] = seek(objective, derivatives, part, key)
        self.journal.pop(_under_way(key), None)

    def _stacked(
        self, objective: Objective, derivatives: Derivatives, starts: Tensor, key: str
    ) -> dict[str, np.ndarray]:
        report = partial(named, self.progress, f"steps at most of {key}")
        begun, noise = starts, _noise(derivatives, starts)
        if self.method == "hisd":
            begun = followed(derivatives.local, starts, self.index, num_steps=self.num_steps, report=report)
        elif self.method == "gradient-norm":
            # Newton's steps after these tell whether ∇F goes to zero, or stands in the kernel of H.
            ends = [by_gradient_norm(slopes_of(derivatives), derivatives.products, one) for one in starts]
            begun = torch.stack([one.theta for one in ends])
        # Of rounding no method leads anywhere.
        begun = torch.where((noise > 0)[:, None], starts, begun)
        saver = _Tensors(self.journal, _under_way(key))
        saver.device = starts.device
        kept, looked = saver.restore(), Counted(derivatives.local)
        search = searched(
            looked, begun, num_steps=self.num_steps, noise=noise, kept=kept, offer=saver.offer, report=report
        )
        jumps = _jumps(derivatives, search.thetas, 100 * search.rounding)
        # H as well is rounding there, which moves ∇F by no more than its own along ‖θ‖.
        errors = _errors(derivatives, search) + array_of(
            noise / torch.where(search.begun > 0, search.begun, 1.0)
        )
        status = [_status(search, k, bool(jumps[k])) for k in range(len(starts))]
        flatness = array_of(search.flatness)
        found = _empty(len(starts)) | {
            "theta": array_of(search.thetas),
            "loss": array_of(search.values),
            "gradient_norm": array_of(search.norms[:, -1]),
            "flatness": np.where(array_of(search.norms[:, -1]) > 0, np.nan_to_num(flatness), math.nan),
            "status": np.array(status, dtype="U20"),
            "steps": array_of(search.steps),
            "tried": looked.tried(search.steps, kept["steps"] if kept else None),
            "way": array_of(torch.stack([search.norms, search.sizes], 1)),
            "growth": array_of(search.sizes[:, -1] / torch.linalg.vector_norm(starts, dim=1)),
            "exponent": np.array(
                [exponent(*map(array_of, way)) for way in zip(search.norms, search.sizes, strict=True)]
            ),
        }
        found["noise"] = array_of(noise)
        found["zero_threshold"] = np.where(np.isfinite(found["gradient_norm"]), errors, math.nan)
        for k in np.flatnonzero(found["status"] == CRITICAL):
            signs = inertia(array_of(search.eigenvalues[k]), errors[k])
            found["index"][k], found["nullity"][k] = signs.num_negative, signs.num_zero
        return found

    def _alone(
        self, objective: Objective, derivatives: Derivatives, starts: Tensor, key: str
    ) -> dict[str, np.ndarray]:
        """One start by products with H, where its matrix is too large or not wanted."""
        start = starts[0]
        slopes = Counted(slopes_of(derivatives))
        seek = by_gradient_norm if self.method == "gradient-norm" else by_products
        report = partial(named, self.progress, f"steps at most of {key}")
        noise = float(_noise(derivatives, starts)[0])
        num_steps = 0 if noise else self.num_steps
        end = seek(slopes, derivatives.products, start, num_steps=num_steps, report=report)
        size, begun = float(end.theta.norm()), float(start.norm())
        value, *about = start.new_tensor([[end.value], [end.curvature], [size], [end.scale]])
        least = rounding(value, *about) + noise
        jump = bool(_jumps(derivatives, end.theta[None], 100 * least)[0])
        status = _kind(
            norm=end.norm,
            small=SMALL * float(least[0]),
            settles=end.settles,
            jumps=jump,
            stands=end.stands,
            flatness=end.flatness,
            runs=end.grows and size > FARTHER * begun,
        )
        found = _empty(1) | {
            "theta": array_of(end.theta[None]),
            "loss": array_of(value),
            "gradient_norm": np.array([end.norm]),
            "flatness": np.array([end.flatness]),
            "status": np.array([status], dtype="U20"),
            "steps": np.array([end.steps]),
            "tried": np.array([len(slopes.sizes) - 1 if seek is by_products else math.nan]),
            "way": end.way[None],
            "growth": np.array([size / begun if begun else math.inf]),
            "exponent": np.array([end.exponent]),
            "noise": np.array([noise]),
        }
        if status == CRITICAL:
            about = examined(objective, end.theta, progress=self.progress, what=f"products at {key}")
            threshold = error_at(end.norm) + 1e-12 * abs(about.largest_eigenvalue)
            threshold += noise / (begun or 1.0)
            found["index"][0] = about.index if about.smallest_eigenvalue < -threshold else 0
            found["zero_threshold"][0] = threshold
        return found


def _sought(how: Seeker, objective: Objective, part: Tensor, key: str, journal: Journal) -> None:
    """Keep the ends of some starts in another journal."""
    replace(how, journal=journal)._keep(objective, Derivatives(objective), part, key)


def _under_way(key: str) -> str:
    """Where the state of unfinished starts stands."""
    return f"{key}, under way"


class _Tensors(Saver):
    """A saver of tensors of one ``device``, which journals keep as arrays."""

    device = torch.device("cpu")

    def restore(self) -> dict[str, Any] | None:
        """The tensors kept last."""
        kept = super().restore()
        return kept and {
            name: torch.from_numpy(np.array(value)).to(self.device) for name, value in kept.items()
        }

    def save(self, state: dict[str, Any]) -> None:
        """Keep the tensors now."""
        super().save({name: array_of(value) for name, value in state.items()})


def slopes_of(derivatives: Derivatives) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """F and ∇F at one point."""
    return lambda theta: tuple(one[0] for one in derivatives.slopes(theta[None]))


def _empty(count: int) -> dict[str, np.ndarray]:
    return {name: np.full(count, math.nan) for name in ("index", "nullity", "zero_threshold")}


def _status(search: Search, k: int, jumps: bool) -> str:
    """What the search ``k`` ended at."""
    norms, sizes, lengths = (array_of(one[k]) for one in (search.norms, search.sizes, search.lengths))
    taken = lengths[np.isfinite(lengths)]
    settles = len(taken) < WINDOW // 3 or taken[-1] <= SETTLED * taken.sum()
    steady = np.isfinite(norms[0])
    return _kind(
        norm=float(norms[-1]),
        small=SMALL * float(search.rounding[k]),
        settles=bool(settles),
        jumps=jumps,
        stands=len(taken) < 2 or bool(norms[-1] > 0.99 * norms[-2]),
        flatness=float(np.nan_to_num(array_of(search.flatness[k]))),
        runs=bool(steady and sizes[-1] > GROWTH * sizes[0] and sizes[-1] > FARTHER * float(search.begun[k])),
    )


def _kind(
    *, norm: float, small: float, settles: bool, jumps: bool, stands: bool, flatness: float, runs: bool
) -> str:
    if not math.isfinite(norm):
        return OPEN
    if jumps:
        return KINK
    if norm <= small:
        return CRITICAL if settles else INFINITE if runs else OPEN
    if runs:
        return INFINITE
    return FLAT if stands and flatness <= IN_KERNEL else OPEN


def _noise(derivatives: Derivatives, thetas: Tensor) -> Tensor:
    """What rounding is measured to leave of ∇F at each of R points (R,) where ∇F is no more; 0 elsewhere."""
    draw = torch.randn(thetas.shape[1], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sizes = torch.linalg.vector_norm(thetas, dim=1, keepdim=True)
    way = (draw / draw.norm()).to(thetas) * torch.where(sizes > 0, sizes, 1.0)
    eps = torch.finfo(thetas.dtype).eps
    near = torch.stack([derivatives.slopes(thetas + step * eps * way)[1] for step in PLACES])
    noise = NOTHING * thetas.new_tensor([roughness(list(of_one)) for of_one in near.unbind(1)])
    return torch.where(torch.linalg.vector_norm(near[0], dim=1) <= noise, noise, 0.0)


def _errors(derivatives: Derivatives, search: Search) -> np.ndarray:
    """|λ| that counts as zero at the end of every search (R,)."""
    local = derivatives.local(search.thetas)
    eigenvalues = search.eigenvalues
    stated = [
        stated_error(Dense(eigenvalues[k : k + 1], 0.0, float(local.asymmetry[k])), array_of(eigenvalues[k]))
        for k in range(len(eigenvalues))
    ]

    def beyond(steps: Tensor) -> tuple[Tensor, Tensor]:
        there = derivatives.local(search.thetas + steps)
        norms = torch.linalg.vector_norm(there.slopes, dim=1)
        is_finite = torch.isfinite(there.matrices).all(2).all(1)
        matrices = torch.where(is_finite[:, None, None], there.matrices, 0.0)
        return torch.where(is_finite, norms, math.nan), torch.linalg.eigvalsh(matrices)

    known = torch.tensor(stated, dtype=torch.float64, device=eigenvalues.device)
    return array_of(zero_thresholds(eigenvalues, search.vectors, search.slopes, known, beyond))


def _jumps(derivatives: Derivatives, thetas: Tensor, floor: Tensor) -> Tensor:
    """Where ∇F jumps (R,), by more than its rounding ``floor`` (R,): as much across a short way as a longer one."""
    noise = torch.randn(thetas.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    way = (noise / torch.linalg.vector_norm(noise, dim=1, keepdim=True)).to(thetas)
    sizes = torch.linalg.vector_norm(thetas, dim=1)
    way = way * torch.where(sizes > 1e-6, sizes, 1.0)[:, None]
    changes = []
    for step in BESIDE:
        (_, after), (_, before) = (derivatives.slopes(thetas + sign * step * way) for sign in (1, -1))
        changes.append(torch.linalg.vector_norm(after - before, dim=1))
    return (changes[0] > floor) & (changes[0] > JUMP * changes[1])
