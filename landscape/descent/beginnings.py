"""Where searches begin: at initialisations of a module, or beside points it has stood at."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from landscape.numerics.steps.sampling import isolated_rng
from landscape.numerics.vectors import normal
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.standing import copied

# Numbers are moved by so much, to see which of them are drawn anew.
ASIDE = 0.7321
Fresh = Callable[[int], Mapping[str, Tensor]]


def beginnings(
    wide: Objective,
    at: Sequence[Point | Tensor],
    is_random: bool,
    count: int,
    spread: float,
    seed: int,
    fresh: Fresh | None,
    notes: list[str],
) -> Tensor:
    """The starts (R, d) of searches for an objective in float64; start r depends on ``seed`` + r alone.

    Random ones are those of ``fresh(seed + r)``, tensors by name, or of a copy of the module whose layers reset
    themselves. Others are the points ``at``, evenly chosen where they are more than ``count``; with noise of ``spread``
    on each number there are ``count`` of them, which take the points in turn.
    """
    if is_random:
        draw = fresh or _resets(wide.module, notes)
        return torch.stack([_of(wide, draw(seed + r)) for r in range(count)])
    rows = torch.stack([wide.as_point(_brought(wide, one)).theta.double() for one in at])
    if not spread:
        places = torch.linspace(0, len(rows) - 1, min(count, len(rows))).round().long()
        return rows[places]
    found = []
    for r in range(count):
        generator = torch.Generator().manual_seed(seed + r)
        found.append(rows[r % len(rows)] + spread * normal(rows, generator).to(rows))
    return torch.stack(found)


def _brought(wide: Objective, point: Point | Tensor) -> Point | Tensor:
    return point.theta if isinstance(point, Point) else point


def _of(wide: Objective, tensors: Mapping[str, Tensor]) -> Tensor:
    pieces = [tensors[one.name].detach().reshape(-1).double() for one in wide.pieces]
    return torch.cat(pieces).to(wide.device)


def _resets(module: nn.Module, notes: list[str]) -> Fresh:
    """The tensors of a copy of ``module`` whose layers have drawn anew; numbers of no such layer standard normal."""
    made = copied(module)
    layers = [one for one in made.modules() if callable(getattr(one, "reset_parameters", None))]

    def reset() -> None:
        for layer in layers:
            layer.reset_parameters()  # pyright: ignore[reportCallIssue]

    # A layer whose weight is computed from parameters, as by weight norm, draws what was computed, and no parameter.
    with isolated_rng(0, torch.device("cpu")), torch.no_grad():
        aside = {name: one.mul_(ASIDE).add_(ASIDE).clone() for name, one in made.named_parameters()}
        reset()
    now = dict(made.named_parameters())
    others = [name for name, was in aside.items() if len(was.flatten()) and torch.equal(was, now[name])]
    if others:
        notes.append(f"random starts draw {', '.join(others[:3])} from the standard normal distribution")

    def fresh(seed: int) -> Mapping[str, Tensor]:
        with isolated_rng(seed, torch.device("cpu")), torch.no_grad():
            reset()
            for name, one in made.named_parameters():
                if name in others:
                    one.normal_()
        return {name: one.detach().clone() for name, one in made.named_parameters()}

    return fresh
