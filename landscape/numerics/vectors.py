"""Vectors that are whole, or of which every process holds a part: what a kernel asks of them without knowing which.

Random numbers belong to entries: :func:`normal` and :func:`signs` give the same ones to few processes and to many.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from landscape import distributed
from landscape.numerics import sums
from landscape.numerics.pieces import Piece, filters, from_filters
from landscape.numerics.spread import Spread, local

# Entries that are drawn together, each block from a stream of its own, whoever holds it.
BLOCK = 4096


def is_rounding(apart: Tensor, *points: Tensor) -> bool:
    """Whether no entry of ``apart`` (d,) is more than rounding leaves between points (d,) of one dtype.

    That is ten ε of what they have there and of what they have as a rule: not of ‖θ‖, which one large entry makes
    large, and beside which a step in few others is little.

    >>> a = torch.tensor([1.0, 0.5, -1e9])
    >>> is_rounding(torch.tensor([1e-7, -1e-7, 64.0]), a), is_rounding(torch.tensor([0.0, 1e-4, 0.0]), a)
    (True, False)
    """
    if isinstance(apart, Spread) or not bool(apart.any()):
        return not bool(apart.any())
    room = 10 * torch.finfo(points[0].dtype).eps
    sizes = torch.stack([one.detach().abs().double() for one in points]).amax(0)
    if float(apart.abs().max()) > 2 * room * float(sizes.max()):
        return False
    usual = typical_share(sizes) * float(torch.linalg.vector_norm(sizes)) / len(sizes) ** 0.5
    return bool((apart.double().abs() <= room * (sizes + usual)).all())


def one_point(a: Tensor, b: Tensor) -> list[str]:
    """What is said of two points that are one, or differ by no more than rounding; of others nothing."""
    if not is_rounding(b - a, a, b):
        return []
    apart = float(torch.linalg.vector_norm((b - a).double()))
    but = f", but for rounding: ‖B − A‖ = {apart:.1e}" if apart else ""
    return [f"the two points are the same{but}"]


def normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers (d,), float64, for vectors as in ``like`` (…, d): by entry, whoever holds it.

    They are not the ones that ``generator`` would give itself: weights and data are drawn by these, often from the
    same seed, and what begins with weights drawn as float64 would be a direction along θ.
    """
    return _drawn(like, generator, lambda stream, count: stream.standard_normal(count))


def signs(like: Tensor, generator: torch.Generator) -> Tensor:
    """Random signs (d,), float64, for vectors as in ``like`` (…, d): by entry, whoever holds it."""
    return _drawn(like, generator, lambda stream, count: 2.0 * stream.integers(2, size=count) - 1)


def share_held(like: Tensor) -> float:
    """How many vectors are held where there would be room for one whole: d over the entries that lie in one process."""
    if not isinstance(like, Spread):
        return 1.0
    return like.held.size / distributed.largest(like.held.size_here)[0]


def unit(like: Tensor, place: int) -> Tensor:
    """The unit vector (d,) along the axis ``place``, for vectors as in ``like`` (…, d)."""
    axis = like.new_zeros(like.shape[-1])
    if not isinstance(axis, Spread):
        axis[place] = 1
        return axis
    axis.part[axis.held.cut(place, place + 1)[1]] = 1
    return axis


def gathered(tensor: Tensor) -> Tensor:
    """All of ``tensor`` in every process, by one sum: for what is no larger than a layer that is gathered to be run."""
    if not isinstance(tensor, Spread):
        return tensor
    whole, place = torch.zeros(tensor.shape, dtype=torch.float64, device=tensor.device), 0
    for first, count in tensor.held.ranges:
        whole.narrow(tensor.axis, first, count).copy_(tensor.part.narrow(tensor.axis, place, count))
        place += count
    return (distributed.total(whole) / tensor.held.copies).to(tensor.dtype)


def portion(vector: Tensor, span: slice, values: Tensor) -> tuple[Tensor, Tensor]:
    """What lies here of the entries ``span`` of a vector (d,), a view of it, and what belongs there of ``values``.

    These are whole, in every process.
    """
    if not isinstance(vector, Spread):
        return vector[span], values
    layout, here = vector.held.cut(*span.indices(len(vector))[:2])
    own = [values[first : first + count] for first, count in layout.ranges]
    return vector.part[here], torch.cat(own) if own else values[:0]


def placed(like: Tensor, span: slice, values: Tensor) -> Tensor:
    """A vector as ``like`` (d,), 0 but for the entries ``span``, which are ``values``, as in :func:`portion`."""
    found = torch.zeros_like(like)
    own, its = portion(found, span, values)
    own.copy_(its)
    return found


def along(rows: Tensor, vector: Tensor) -> Tensor:
    """``rows @ vector`` (m,), in their dtype: the parts of ``vector`` (d,) along ``rows`` (m, d)."""
    return rows @ vector if isinstance(rows, Spread) else sums.product(rows, vector)


def lessen(vector: Tensor, rows: Tensor, weights: Tensor) -> None:
    """Takes Σ weightᵢ · rowᵢ of (m, d) from ``vector`` (d,), in its place, and is not made beside it."""
    if isinstance(vector, Spread):
        vector -= rows.T @ weights
    else:
        vector.addmv_(rows.T, weights, alpha=-1)


def add(total: Tensor, weights: Tensor, rows: Tensor) -> None:
    """Adds ``weights`` (k, m) times ``rows`` (m, d) to ``total`` (k, d), in its place."""
    if isinstance(total, Spread):
        total += weights @ rows
    else:
        total.addmm_(weights, rows)


def combined(weights: Tensor, rows: Tensor) -> Tensor:
    """Σ weightᵢ · rowᵢ (d,), float64, of (m, d): no row is widened beside it."""
    found = torch.zeros_like(rows[0], dtype=torch.float64)
    add_each(found, weights, rows)
    return found


def add_each(total: Tensor, weights: Tensor, rows: Tensor) -> None:
    """Adds Σ weightᵢ · rowᵢ, of (m, d), to ``total`` (d,), float64: no row is widened beside it."""
    for weight, row in zip(weights.tolist(), rows, strict=True):
        total.add_(row, alpha=weight)


def lengths(rows: Tensor) -> Tensor:
    """The norms (…), float64, of ``rows`` (…, d)."""
    if isinstance(rows, Spread):
        return torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float64)
    return sums.norms(rows)


def gram(rows: Tensor, others: Tensor) -> Tensor:
    """``rows @ others.T`` (m, n), float64, of (m, d) and (n, d)."""
    if isinstance(rows, Spread):
        return rows.double() @ others.double().T
    return sums.gram(rows, others)


def turn(rows: Tensor, by: Tensor) -> None:
    """``by`` (m, m) times ``rows`` (m, d), in their place."""
    sums.turn(local(rows), by)


def turned(rows: Tensor, images: Tensor, by: Tensor, factors: Tensor) -> Tensor:
    """As :func:`turn`, and ‖by · images − factors · by · rows‖ (m,), float64, of each row of (m, d)."""
    if not isinstance(rows, Spread):
        return sums.turned(rows, images, by, factors)
    wide = by @ rows.double()
    local(rows).copy_(local(wide))
    return torch.linalg.vector_norm(by @ images.double() - factors[:, None] * wide, dim=1)


def typical_share(theta: Tensor) -> float:
    """Of ‖θ‖ (d,) what is left where no entry counts for more than ten times the median of those that are not 0.

    A step of ``1e-7 ‖θ‖`` is none to tell a slope by where one weight is a mask of −1e9. Of zeros, and in parts, it is
    1.

    >>> typical_share(torch.tensor([3.0, 0.0, 4.0])), typical_share(torch.tensor([1.0, 1.0, 1.0, -1e9])) < 1e-7
    (1.0, True)
    """
    if isinstance(theta, Spread) or not bool(theta.any()):
        return 1.0
    sizes = theta.detach().double().abs()
    most = 10 * float(sizes[sizes > 0].median())
    return float(torch.linalg.vector_norm(sizes.clamp(max=most)) / torch.linalg.vector_norm(sizes))


def least_squares(directions: Tensor, rows: Tensor) -> Tensor:
    """Coordinates (T, m) of ``rows`` (T, d) on independent ``directions`` (m, d): the closest combinations."""
    if isinstance(directions, Spread):
        q, triangle = torch.linalg.qr(directions.T)
        return torch.linalg.solve_triangular(triangle, (rows @ q).T, upper=True).T
    # torch's own choice on a CPU, gelsy, rounds by where its workspace lies in memory: no two runs alike.
    driver = "gelsd" if directions.device.type == "cpu" else None
    return torch.linalg.lstsq(directions.T, rows.T, driver=driver).solution.T


def leading_signs(rows: Tensor) -> Tensor:
    """±1 (m, 1), for each of ``rows`` (m, d) the sign of its entry of largest magnitude, 0 for a row of zeros."""
    if not isinstance(rows, Spread):
        return rows.gather(1, rows.abs().argmax(dim=1, keepdim=True)).sign()
    signed = [float(row.max()) + float(row.min()) for row in rows]
    return torch.tensor(signed, dtype=rows.dtype, device=rows.device)[:, None].sign()


def filter_norms(piece: Piece, values: Tensor) -> Tensor:
    """‖f‖ of the filter f that each of a parameter's ``values`` (size,) belongs to, (size,).

    Of one in parts a process sums the squares of its rows, and a number per filter is added over all of them.
    """
    if not isinstance(values, Spread):
        rows = filters(piece, values)
        return from_filters(piece, torch.linalg.vector_norm(rows, dim=1, keepdim=True).expand_as(rows))
    if len(piece.shape) < 2 or not piece.size:
        return torch.linalg.vector_norm(values) * torch.ones_like(values)
    row, places = piece.size // piece.shape[0], [torch.arange(0)]
    for first, count in values.held.ranges:
        places.append(torch.arange(first // row, (first + count) // row))
    group = torch.cat(places).to(values.device) // (piece.shape[0] // piece.units[0])
    cut = [len(group)]
    for size, units in zip(piece.shape[1:], piece.units[1:], strict=True):
        cut += [units, size // units]
    squares = values.part.reshape(cut).square().sum(list(range(2, len(cut), 2)))
    table = squares.new_zeros(piece.units).index_add_(0, group, squares)
    norms = (distributed.total(table) / values.held.copies).sqrt()[group]
    within = [len(group)] + [size for units in piece.units[1:] for size in (units, 1)]
    return Spread(norms.reshape(within).expand(cut).reshape(-1), values.held)


def _drawn(
    like: Tensor, generator: torch.Generator, draw: Callable[[np.random.Generator, int], np.ndarray]
) -> Tensor:
    """Every block of entries from its own place of a counter (Salmon et al. 2011), which ``generator`` seeds."""
    key = int(torch.randint(2**62, (), generator=generator))
    d = like.shape[-1]
    ranges = like.held.ranges if isinstance(like, Spread) else ((0, d),)
    part = torch.empty(sum(count for _, count in ranges), dtype=torch.float64)
    place = 0
    for first, count in ranges:
        for block in range(first // BLOCK, -(-(first + count) // BLOCK)):
            stream = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, block, 0]))
            low, high = max(first, block * BLOCK), min(first + count, (block + 1) * BLOCK)
            numbers = draw(stream, high - block * BLOCK)[low - block * BLOCK :]
            part[place : place + high - low] = torch.from_numpy(numbers)
            place += high - low
    return Spread(part.to(like.device), like.held) if isinstance(like, Spread) else part
