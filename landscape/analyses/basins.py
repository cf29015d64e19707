"""Is every point joined to the bottom by a path that never rises, from which width on, and which basins has a plane?"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from landscape.analyses.declare import Brought, analysis
from landscape.analyses.options import Option
from landscape.errors import BadInput
from landscape.progress import Journal, Progress, silent
from landscape.result import Check, Result, array, scalar

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np

    from landscape.descent.starts import Family
    from landscape.objective.objective import Objective
    from landscape.valleys.widths import Restarts

MEMORY_LIMIT = 2.0**31
END = ("width", "restart")


@dataclass(kw_only=True, eq=False)
class Basins(Result):
    """Of a grid its basins, the deepest first; of a module by width and restart how high a path to the bottom goes.

    A basin of a grid is a component of {F ≤ c} from its birth to its death, where it meets a deeper one. Heights are
    those of paths that were found: upper bounds.
    """

    kind: ClassVar[str] = "basins"
    alpha: np.ndarray | None = array("alpha", long_name="step α along the first direction", optional=True)
    beta: np.ndarray | None = array("beta", long_name="step β along the second direction", optional=True)
    grid_loss: np.ndarray | None = array("beta", "alpha", long_name="loss on the grid", optional=True)
    basin_of: np.ndarray | None = array(
        "beta", "alpha", long_name="basin that a cell runs down to, −1 where F is not finite", optional=True
    )
    birth: np.ndarray | None = array("basin", long_name="lowest loss of a basin", optional=True)
    death: np.ndarray | None = array("basin", long_name="loss at which it meets a deeper one", optional=True)
    persistence: np.ndarray | None = array("basin", long_name="death − birth", optional=True)
    persistence_change: np.ndarray | None = array(
        "basin", long_name="persistence less that of the basin of its rank on half the grid", optional=True
    )
    parent: np.ndarray | None = array("basin", long_name="the basin it merges into, −1: none", optional=True)
    birth_alpha: np.ndarray | None = array("basin", long_name="α of its lowest cell", optional=True)
    birth_beta: np.ndarray | None = array("basin", long_name="β of its lowest cell", optional=True)
    saddle_alpha: np.ndarray | None = array("basin", long_name="α of the cell where it merges", optional=True)
    saddle_beta: np.ndarray | None = array("basin", long_name="β of the cell where it merges", optional=True)
    mark_alpha: np.ndarray | None = array("mark", long_name="α of a marked cell", optional=True)
    mark_beta: np.ndarray | None = array("mark", long_name="β of a marked cell", optional=True)
    mark_loss: np.ndarray | None = array("mark", long_name="loss at a marked cell", optional=True)
    pass_first: np.ndarray | None = array("pair", long_name="first mark of a pair", optional=True)
    pass_second: np.ndarray | None = array("pair", long_name="second mark of a pair", optional=True)
    pass_height: np.ndarray | None = array(
        "pair", long_name="least highest loss of a path in the plane", optional=True
    )
    pass_barrier: np.ndarray | None = array(
        "pair", long_name="height of that path over the worse of its ends", optional=True
    )
    path_alpha: np.ndarray | None = array("step", long_name="α on the lowest path", optional=True)
    path_beta: np.ndarray | None = array("step", long_name="β on the lowest path", optional=True)
    path_loss: np.ndarray | None = array("step", long_name="loss on the lowest path", optional=True)
    width: np.ndarray | None = array("width", long_name="width", optional=True)
    restart: np.ndarray | None = array("restart", long_name="restart", optional=True)
    loss: np.ndarray | None = array(*END, long_name="loss at the end of a descent", optional=True)
    path_height: np.ndarray | None = array(
        *END, long_name="lowest highest loss found of a path to the best end's level", optional=True
    )
    is_strict: np.ndarray | None = array(
        *END, long_name="the Hessian is positive definite at a critical point", optional=True
    )
    path_end: np.ndarray | None = array(*END, long_name="loss where that path ends", optional=True)
    way: np.ndarray | None = array(*END, long_name="construction of that path", optional=True)
    gradient_norm: np.ndarray | None = array(*END, long_name="‖∇F‖ at the end", optional=True)
    index: np.ndarray | None = array(*END, long_name="negative eigenvalues of the Hessian", optional=True)
    nullity: np.ndarray | None = array(
        *END, long_name="eigenvalues that are zero to their error", optional=True
    )
    smallest_eigenvalue: np.ndarray | None = array(
        *END, long_name="smallest eigenvalue of the Hessian", optional=True
    )
    largest_eigenvalue: np.ndarray | None = array(
        *END, long_name="largest eigenvalue of the Hessian", optional=True
    )
    feature_rank: np.ndarray | None = array(
        *END, long_name="rank of the last hidden layer on the data", optional=True
    )
    num_rounds: np.ndarray | None = array(
        *END, long_name="rounds that raised the rank of the last hidden layer", optional=True
    )
    plateau_length: np.ndarray | None = array(
        *END, long_name="length of the walk along the plateau to where it is left", optional=True
    )
    best_loss: np.ndarray | None = array("width", long_name="lowest loss of an end", optional=True)
    share_joined: np.ndarray | None = array(
        "width", long_name="share of the ends with a path that never rises", optional=True, printed=True
    )
    num_basins: int | None = scalar("basins deeper than the least persistence", optional=True)
    num_basins_change: int | None = scalar("its change from half the grid", optional=True)
    total_persistence: float | None = scalar("sum of death − birth over basins that merge", optional=True)
    total_persistence_change: float | None = scalar("its change from half the grid", optional=True)
    mean_persistence: float | None = scalar(
        "their mean, the saddle-minimum average distance; 0 where none merges", optional=True
    )
    mean_persistence_change: float | None = scalar("its change from half the grid", optional=True)
    relative_persistence: float | None = scalar("their mean over the range of F on the grid", optional=True)
    relative_persistence_change: float | None = scalar("its change from half the grid", optional=True)
    in_plane_barrier: float | None = scalar(
        "largest rise of the lowest paths in the plane over the worse of their ends", optional=True
    )
    in_plane_barrier_change: float | None = scalar("its change from half the grid", optional=True)
    in_plane_height: float | None = scalar("height of that path", optional=True)
    least_persistence: float | None = scalar(
        "persistence up to which no basin is counted, by default the highest that rounding asked for",
        optional=True,
    )
    num_left_out: int | None = scalar("cells that are not finite, left out", optional=True)
    num_samples: int | None = scalar("samples n", optional=True)

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        if self.share_joined is not None and self.width is not None:
            whole = [int(w) for w, one in zip(self.width, self.share_joined, strict=True) if one == 1]
            return f"all ends joined at widths {', '.join(map(str, whole)) or '(none)'}"
        barrier = "" if self.in_plane_barrier is None else f", barrier {self.in_plane_barrier:.3g}"
        return f"{self.num_basins} basin{'' if self.num_basins == 1 else 's'}{barrier}"


# The surfaces of Sun et al. (2020) that are drawn: a valley of minima runs between the cells of a grid, so that shallow
# basins are those of the grid. Marked: minima of both branches, and the bad minimum where there is one.
# Ding, Li and Sun 2019: y of three samples x with which the net of sigmoid units has a bad minimum at every width, less
# what the net is there; −q/2‖q‖, q being φ''(x)x² less its projection on φ(x) and φ'(x)x.
DING = (-0.3329267129401159, 0.36410492532956945, -0.0811628434792566)
SURVEY: dict[str, Any] = {"data": "point", "loss": "mse", "widths": None, "persistence": 0.1}
SQUARE = (-2.0, 2.0, -2.0, 2.0)
PRESETS: dict[str, dict[str, Any]] = {
    "ding": {
        "model": "ding",
        "data": "point",
        "data_arg": {"x": (1.0, 2.0, 3.0), "y": DING},
        "loss": "mse",
        "widths": (1, 2, 3, 5, 10, 20),
        "restarts": 5,
        "init": "uniform:-4,4",
    },
    "survey-1": {"model": "toy-product", "plane": SQUARE, "between": (1.0, 1.0, -1.0, -1.0), **SURVEY},
    "survey-2": {
        "model": "toy-neuron",
        "plane": (-16.0, 16.0, -3.0, 5.0),
        "between": (1.0, 1.0, -8.0, 0.0, -8.0, 2.0),
        **SURVEY,
    },
    "survey-3": {"model": "toy-relu-neuron", "plane": SQUARE, "between": (1.0, -1.0, 1.0, 1.0), **SURVEY},
}


def _settled(options: dict[str, Any], given: Container[str], preset: Mapping[str, Any]) -> dict[str, Any]:
    """A plane has no widths unless they are asked for."""
    is_plane = options["plane"] is not None and "widths" not in given
    return {**options, "widths": None} if is_plane else options


def _places(work: Any, options: Mapping[str, Any]) -> tuple[Any, ...]:
    """The session's model by width and seed, or as it is where its plane is looked at."""
    if options["plane"] is not None:
        return (work.objective,)
    return (lambda width, depth, seed: work.variant(seed, {"width": width}),)


@analysis(
    source="recipe",
    needs="the outputs on samples",
    points=(0, 1),
    paper="Sun et al. 2020",
    examples=(
        "a.slice2d.h5 --persistence 0.01",
        "--preset survey-2 -o s.h5",
    ),
    brought=Brought(
        data="circles",
        model_help="Any factory that takes width; mlp is one.",
        model_arg_help="Arguments of the model: activation=tanh.",
        data_arg_help="Arguments of the data: num_samples=20 noise=0.2.",
    ),
    presets=PRESETS,
    settled=_settled,
    places=_places,
    deals=True,
    varies={"width": "widths"},
    stored=("slice2d", "slice1d"),
    stored_options=("persistence", "between"),
    dtype="float64",
)
def basins(
    place: Result | Objective | Family,
    *,
    persistence: Annotated[
        float | None, Option("Count deeper basins alone [default: than rounding].", least=0)
    ] = None,
    between: Annotated[
        tuple[float, ...] | None,
        Option("Places α,β of a plane to find the lowest path between: α,β,α,β, … [default: its points]."),
    ] = None,
    plane: Annotated[
        tuple[float, ...] | None,
        Option("Look at the plane of a module with two parameters: from, to of the first, of the second."),
    ] = None,
    num_points: Annotated[int, Option("Points per axis of that plane, odd.", least=3, is_how=True)] = 129,
    widths: Annotated[tuple[int, ...] | None, Option("Units of the hidden layers.", least=1)] = (
        1,
        2,
        3,
        5,
        10,
        20,
    ),
    restarts: Annotated[int, Option("Descents per width.", least=1)] = 10,
    init: Annotated[
        str, "Of the restarts after the first: own (the module's), or uniform:a,b for all weights."
    ] = "own",
    lr: Annotated[float, Option("Step size of the descents.", above=0, is_how=True)] = 0.1,
    steps: Annotated[int, Option("Steps of them, before Newton's method.", least=0, is_how=True)] = 2000,
    curve_steps: Annotated[
        int, Option("Steps of a curve where nothing else never rises; 0: none.", least=0, is_how=True)
    ] = 200,
    seed: int = 0,
    memory_limit: float = MEMORY_LIMIT,
    max_threads: int | None = None,
    journal: Journal | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Basins:
    """How high a path to the bottom goes, by width; basins of a stored slice or of a plane, by its merge tree.

    ``place(width, depth, seed)`` gives the objective. From ``restarts`` starts of every width, the first at the
    module's own, gradient descent goes ``steps`` steps and on to ‖∇F‖ ≤ 1e-9. From each end the lowest highest loss
    of a path to the level of the best end is found, the least of several constructions: the last layer alone, and
    before it units freed and moved until its features have rank n, F constant (Nguyen 2019; Li et al. 2018); units
    exchanged one by one for the best end's, or half of them idle (Kuditipudi et al. 2019); a walk along the Hessian's
    null space to where an eigenvalue turns negative, shorter where there are many parameters; the line, and a minmax
    curve, to the best end with its units permuted. Each is an upper bound. A bad
    minimum is certain only where ``is_strict`` and there is a lower end.

    Of a slice, or of the ``plane`` of a module with two parameters: where the components of {F ≤ c} are born and
    merge, by union-find over the cells, joined along the axes and not over the rim; the lowest path between marked
    cells (``between``, or the points of the slice, or its two deepest basins); how rough it is, by the total and the
    mean persistence of what merges (Xie et al. 2024; Chen et al. 2026); and how much each changes from half of the
    grid. What is not finite is left out and counted. A plane says nothing of paths outside of it.

    Raises BadInput for options out of range, and for a module that has not what is asked for.
    """
    from landscape import distributed
    from landscape.objective.objective import Objective

    distributed.require_one_process("basins")
    if executor is not None and isinstance(place, Result | Objective):
        raise BadInput(
            "several processes for the basins of a plane",
            "one, which needs a moment for them",
            "leave out `workers`, and torchrun",
        )
    if isinstance(place, Result):
        return _of_slice(place, between, persistence)
    if isinstance(place, Objective):
        return _of_plane(place, plane, num_points, between, persistence)
    if not widths or len(set(widths)) < len(widths):
        raise BadInput(f"`widths` = {', '.join(map(str, widths or ())) or 'none'}", "one or more, each once")
    if between or persistence is not None:
        raise BadInput("`between` or `persistence` without a plane", "a stored slice, or a `plane`")
    import torch

    from landscape.valleys.widths import Restarts

    how: dict[str, Any] = {"count": restarts, "init": init, "lr": lr, "steps": steps, "seed": seed}
    how |= {"curve_steps": curve_steps, "memory_limit": memory_limit, "progress": progress}
    how |= {
        "max_threads": max_threads or torch.get_num_threads(),
        "journal": {} if journal is None else journal,
    }
    return _of_family(Restarts(family=place, **how), widths, executor)


def _of_family(how: Restarts, widths: tuple[int, ...], executor: Executor | None) -> Basins:
    """How high paths to the bottom go, by width and restart."""
    import numpy as np

    from landscape.numerics.steps.sampling import isolated_rng
    from landscape.objective import checks
    from landscape.objective.tasks import computed_by
    from landscape.valleys.end_proofs import shares_check
    from landscape.valleys.joining import ROUNDING
    from landscape.valleys.widths import by_width
    from landscape.valleys.words import said

    first = how.family(widths[0], 1, how.seed)
    proofs: list[Check] = []
    with computed_by(executor), isolated_rng(how.seed, first.device), checks.untouched(first, proofs):
        found, more, notes = by_width(how, widths)
        proofs += [*more, *checks.meaning(first, first.present_point())]
    result = Basins(
        width=np.array(widths),
        restart=np.arange(how.count),
        **found,
        num_samples=first.num_samples,
        checks=proofs,
        notes=[*first.notes, *(note for note in notes if note not in first.notes)],
    )
    counted = sum(len(part) for part in first.samples.target_parts())
    result.checks.append(shares_check(vars(result), counted, 10 * ROUNDING))
    result.notes += said(result)
    return result


def _marks(between: tuple[float, ...] | None, num_axes: int) -> list[tuple[float, ...]]:
    if between is None:
        return []
    if len(between) % num_axes or len(between) < 2 * num_axes:
        raise BadInput(f"{len(between)} numbers for `between`", f"{num_axes} for each of two places or more")
    return [between[k : k + num_axes] for k in range(0, len(between), num_axes)]


def _of_slice(stored: Any, between: tuple[float, ...] | None, persistence: float | None) -> Basins:
    """The basins of a slice that was computed before."""
    import numpy as np

    from landscape.paths.basins import Grid, basins_of

    if stored.kind not in ("slice1d", "slice2d"):
        raise BadInput(f"a result of {stored.kind}", "a slice1d or a slice2d")
    coordinates = (stored.alpha,) if stored.kind == "slice1d" else (stored.alpha, stored.beta)
    grid = Grid(coordinates, np.asarray(stored.loss, dtype=np.float64))
    marks = _marks(between, len(coordinates))
    if not marks and getattr(stored, "point_alpha", None) is not None:
        marks = list(zip(stored.point_alpha.tolist(), stored.point_beta.tolist(), strict=True))
    found, proofs, notes = basins_of(grid, marks, persistence, stored.provenance.get("dtype", ""))
    result = _on_grid(grid, found, proofs, notes)
    if stored.status != "complete":
        result.notes.append(f"the slice is {stored.status}")
    if getattr(stored, "smooth_loss", None) is not None:
        result.notes.append("of the loss itself: what it is on average over noise is not looked at")
    if getattr(stored, "loss_mean", None) is not None:
        result.notes.append("of several draws of directions the first is looked at")
    return result


def _of_plane(
    objective: Objective,
    plane: tuple[float, ...] | None,
    num_points: int,
    between: tuple[float, ...] | None,
    persistence: float | None,
) -> Basins:
    """The basins of all of the plane that two parameters span."""
    import numpy as np
    import torch

    from landscape.numerics.curves.grids import grid as spaced
    from landscape.objective import checks
    from landscape.objective.precision import required_in_float64
    from landscape.paths.basins import Grid, basins_of

    if plane is None or len(plane) != 4 or not (plane[0] < plane[1] and plane[2] < plane[3]):
        shown = "no `plane`" if plane is None else f"`plane` = {', '.join(f'{one:g}' for one in plane)}"
        raise BadInput(shown, "from, to of the first parameter and of the second")
    if objective.num_parameters != 2:
        raise BadInput(f"the plane of {objective.num_parameters} parameters", "a module with two")
    proofs: list[Check] = []
    with checks.untouched(objective, proofs):
        wide = required_in_float64(objective, "basins")
        axes = tuple(spaced(plane[k], plane[k + 1], num_points) for k in (0, 2))
        first, second = np.meshgrid(*axes)
        thetas = torch.from_numpy(np.stack([first.ravel(), second.ravel()], axis=1))
        grid = Grid(axes, wide.values(thetas).numpy().reshape(first.shape))
        found, more, notes = basins_of(grid, _marks(between, 2), persistence)
        cell = int(np.random.default_rng(0).integers(len(thetas)))
        here = wide.as_point(thetas[cell])
        value = float(grid.values.ravel()[cell])
        stated = checks.Stated("cell", value, "F in a cell against a plain loop")
        proofs += [*checks.meaning(wide, here, stated=stated), *more]
    notes.append("the plane is all of the parameters' space within its bounds")
    result = _on_grid(grid, found, proofs, notes)
    result.parameters = objective.pieces
    return result


def _on_grid(grid: Any, found: dict[str, Any], proofs: list[Check], notes: list[str]) -> Basins:
    names = ("alpha", "beta")[: len(grid.coordinates)]
    axes = dict(zip(names, grid.coordinates, strict=True))
    notes = [
        *notes,
        "cells are joined along the axes, not over corners nor over the rim: heights are upper bounds of those "
        "of the plane between the cells, and basins at the rim may have a way out of the picture",
    ]
    return Basins(**axes, grid_loss=grid.values, **found, checks=proofs, notes=notes)
