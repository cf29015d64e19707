"""A path between two nets through idle units: where half of the units do for each, the other half holds the other net.

After Kuditipudi et al. (2019), for one hidden layer. Each net is first brought to half of its units by its last layer
alone; B's are copied into A's idle ones, the outgoing weights fade from A's to B's (the outputs are then those of
(1 − s)A + sB), and B's are moved to their places one by one, through units that are idle. With a loss convex in the
outputs F is nowhere above the worst of the ends and of the two halves.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from landscape import distributed
from landscape.errors import BadInput
from landscape.numerics.curves.curves import chain
from landscape.objective.objective import Objective
from landscape.objective.precision import required_in_float64
from landscape.paths.path import Path
from landscape.valleys.raising import best_last
from landscape.valleys.readout import Readout, readout_of, seen

# Units that are listed, of more only the ends.
MOST = 8


def through_idle_units(objective: Objective, readout: Readout, a: Tensor, b: Tensor) -> list[Tensor] | None:
    """Nodes from ``a`` to ``b`` (d,); None for a net of one unit, or of more than one hidden layer."""
    if not readout.is_shallow or readout.width < 2:
        return None
    (half_a, used_a), (half_b, used_b) = (_halved(objective, readout, one) for one in (a, b))
    idle = _others(readout, used_a)
    nodes = [a, half_a]
    # Where each of B's units stands now.
    place = dict(zip(used_b, idle, strict=False))
    copied = half_a
    for unit, at in place.items():
        copied = readout.with_unit(copied, at, readout.unit(half_b, unit))
    last_b = readout.last(half_b)
    faded = torch.zeros_like(last_b)
    faded[:, readout.width :] = last_b[:, readout.width :]
    for unit, at in place.items():
        faded[:, at] = last_b[:, unit]
    nodes += [copied, readout.with_last(copied, faded)]
    for unit in used_b:
        if place[unit] == unit:
            continue
        standing = next((other for other, at in place.items() if at == unit), None)
        if standing is not None:
            free = next(j for j in range(readout.width) if j not in place.values())
            nodes += _shifted(readout, nodes[-1], place[standing], free)
            place[standing] = free
        nodes += _shifted(readout, nodes[-1], place[unit], unit)
        place[unit] = unit
    there = nodes[-1]
    for j in range(readout.width):
        if j not in used_b:
            there = readout.with_unit(there, j, readout.unit(b, j))
    return [*nodes, there, b]


def idle_path(objective: Objective, chord: Path, said: list[str]) -> Path:
    """That path between the ends of ``chord``, found in float64: a chain whose t is the share of its length.

    ``said`` is told of which layer and which units. Raises BadInput for a module that is not one hidden layer of two
    units or more and a linear one, and for several processes.
    """
    distributed.require_one_process("a path through idle units")
    wide = required_in_float64(objective, "a path through idle units")
    first, last = (one.theta.to(torch.float64) for one in chord.ends)
    readout = readout_of(wide, first)
    nodes = through_idle_units(wide, readout, first, last) if isinstance(readout, Readout) else None
    if nodes is None:
        raise BadInput(
            "a path through idle units in a module that is not one hidden layer of two units or more",
            "one hidden layer and a linear last one",
            "take another `method`",
        )
    assert isinstance(readout, Readout)
    said += [one for one in [_words(readout, *_used(wide, readout, first, last))] if one not in said]
    control = torch.stack(nodes).to(chord.ends[0].theta)
    control[0], control[-1] = chord.ends[0].theta, chord.ends[1].theta
    steps = (control[1:].double() - control[:-1].double()).norm(dim=1).cpu().numpy()
    # Where nothing moves there is no piece.
    kept = np.append(True, steps > 1e-12 * steps.sum())
    kept[-1] = True
    control = control[torch.from_numpy(np.flatnonzero(kept)).to(control.device)]
    control[-1] = chord.ends[1].theta
    along = np.append(
        0.0, np.cumsum((control[1:].double() - control[:-1].double()).norm(dim=1).cpu().numpy())
    )
    return chord.along(chain(along / along[-1]), control)


def _used(objective: Objective, readout: Readout, a: Tensor, b: Tensor) -> tuple[list[int], list[int]]:
    """The units that each of two nets keeps."""
    first, second = (_halved(objective, readout, one)[1] for one in (a, b))
    return first, second


def _words(readout: Readout, used_a: list[int], used_b: list[int]) -> str:
    layer, last = (one.name.rpartition(".")[0] or one.name for one in (readout.incoming[0], readout.weight))
    idle = _others(readout, used_a)[: len(used_b)]
    return (
        f"through idle units of the layer {layer} ({readout.width} units, read by {last}): A is brought to its units "
        f"{_listed(used_a)}, B to its units {_listed(used_b)}, which are copied to {_listed(idle)} of A"
    )


def _listed(units: list[int]) -> str:
    """Numbers from 0, the first and the last of many."""
    shown = [str(one) for one in units]
    return ", ".join(shown if len(shown) <= MOST else [*shown[: MOST - 1], "…", shown[-1]])


def _others(readout: Readout, units: list[int]) -> list[int]:
    return [j for j in range(readout.width) if j not in units]


def _halved(objective: Objective, readout: Readout, theta: Tensor) -> tuple[Tensor, list[int]]:
    """``theta`` with half of the outgoing weights 0 and the others at their best, and the units that are used."""
    here, last = seen(objective, theta), readout.last(theta)
    size = last[:, : readout.width].norm(dim=0) * here.features.norm(dim=0)
    used = sorted(torch.argsort(size, descending=True, stable=True)[: readout.width // 2].tolist())
    unused = _others(readout, used)
    # Blind to what it is not to use, the last layer finds its best for the others.
    blind = theta
    for j in unused:
        blind = readout.with_unit(blind, j, readout.unit(theta, used[0]))
    fitted = readout.last(best_last(objective, readout, blind))
    merged = fitted.clone()
    merged[:, used[0]] += fitted[:, unused].sum(1)
    merged[:, unused] = 0.0
    return readout.with_last(theta, merged), used


def _shifted(readout: Readout, theta: Tensor, source: int, target: int) -> list[Tensor]:
    """The unit ``source`` copied to the idle ``target``, then its outgoing weights handed over: the outputs stay."""
    copied = readout.with_unit(theta, target, readout.unit(theta, source))
    last = readout.last(copied).clone()
    last[:, target], last[:, source] = last[:, source].clone(), 0.0
    return [copied, readout.with_last(copied, last)]
