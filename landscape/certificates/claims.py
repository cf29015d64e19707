"""What follows from the numbers at a point: every theorem with its assumptions, and a verdict in words.

A theorem whose assumptions do not all hold says nothing: that a certificate fails never means that a point is not a
global minimum.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from landscape.certificates.linear import fitted
from landscape.certificates.measured import Measured
from landscape.numerics.rank import Rank, numerical_rank

HOLDS, FAILS, UNKNOWN = "holds", "fails", "cannot be known"
# A kink nearer than this is at the point.
KINK = 1e-8
# What rounding leaves of F − floor, relative to the mean square of the targets.
AT_FLOOR = 1e-12
# Singular values closer than this part of the largest one are not distinct.
DISTINCT = 1e-8
# What a bound of F may be beside the mean square of outputs and targets; of other losses, the mean square of ∂ℓ/∂h.
SMALL = 1e-8


class Assumption(NamedTuple):
    """One of a theorem's, and whether it ``holds``, ``fails`` or ``cannot be known``."""

    text: str
    state: str


@dataclass(frozen=True)
class Claim:
    """A theorem at a point: its assumptions, and what follows, or what is in its way, in short and ``at_length``."""

    name: str
    assumptions: tuple[Assumption, ...]
    conclusion: str
    at_length: str = ""

    @property
    def holds(self) -> bool:
        return all(one.state == HOLDS for one in self.assumptions)


def claims_at(seen: Measured, tolerance: float) -> list[Claim]:
    """Every claim that is about such a module, a point of ‖∇F‖ ≤ ``tolerance`` being critical."""
    found = [_kernel(seen), _last_layer(seen)]
    if seen.net is not None:
        found += [_floor(seen), _product(seen, tolerance)]
    if seen.two is not None:
        found += [_pattern(seen), _inactive(seen)]
    return found


def verdict(seen: Measured, claims: list[Claim], tolerance: float) -> str:
    """The strongest that holds, in words."""
    by_name = {one.name: one for one in claims}
    is_critical = seen.gradient_norm <= tolerance
    if seen.net is not None and by_name["floor"].holds and (seen.net.is_free or _at_floor(seen)):
        return _linear_verdict(seen, by_name, is_critical)
    before = "" if is_critical else f"not a critical point: ‖∇F‖ = {seen.gradient_norm:.6g}; "
    certain = [one for one in claims[:2] if one.holds]
    if certain and is_critical and not _is_small(seen, certain):
        return (
            f"no certificate: ‖∇F‖ = {seen.gradient_norm:.3g} is not small beside K; {certain[0].at_length}"
        )
    if certain and is_critical:
        return f"global minimum certified: {certain[0].at_length}"
    if certain:
        return before + certain[0].at_length
    # The ranks that forbid a critical point of a loss without minimum.
    for one in claims[:2]:
        missing = [a for a in one.assumptions if a.state != HOLDS]
        if missing == [_attains(seen)] and seen.meaning.attains is False:
            return before + one.at_length
    return before + _no_certificate(seen, claims)


def _is_small(seen: Measured, certain: list[Claim]) -> bool:
    """Whether what a small gradient leaves is small: in tiny units every gradient is."""
    if not seen.meaning.is_square:
        return float(seen.errors.square().mean()) <= SMALL
    outputs, targets = seen.structure.outputs, seen.structure.outputs - seen.errors
    bounds = {"kernel": seen.loss_bound, "last layer": seen.last_layer_bound}
    scale = max(float(outputs.square().mean()), float(targets.square().mean()))
    return min(bounds[one.name] for one in certain) <= SMALL * scale


def _at_floor(seen: Measured) -> bool:
    assert seen.floor is not None
    scale = float((seen.structure.outputs - seen.errors).square().mean())
    return seen.loss - seen.floor <= AT_FLOOR * max(scale, seen.loss)


def _linear_verdict(seen: Measured, claims: dict[str, Claim], is_critical: bool) -> str:
    assert seen.floor is not None
    above = seen.loss - seen.floor
    if _at_floor(seen):
        return f"global minimum certified: F lies {max(above, 0.0):.2g} above the floor {seen.floor:.10g} of such nets"
    higher = f"F lies {above:.6g} above the floor {seen.floor:.6g} of linear nets of rank {_thinnest(seen)} at most"
    if not is_critical:
        bound = f"; F ≤ {seen.loss_bound:.6g}" if seen.loss_bound < torch.inf else ""
        return f"not a critical point: ‖∇F‖ = {seen.gradient_norm:.6g}; {higher}{bound}"
    if claims["product"].holds and seen.product is not None and seen.product.rank == _thinnest(seen):
        # At a critical point of full rank F would be the floor.
        return f"not a critical point, though ‖∇F‖ = {seen.gradient_norm:.6g}: {claims['product'].conclusion}; {higher}"
    if claims["product"].holds:
        return f"saddle: {claims['product'].conclusion}; {higher}"
    return f"not a global minimum: {higher}"


def _thinnest(seen: Measured) -> int:
    return seen.net.thinnest if seen.net else 0


def _no_certificate(seen: Measured, claims: list[Claim]) -> str:
    words = f"no certificate: rank {seen.kernel} of the tangent kernel"
    if seen.kernel.is_sure:
        missing = [one for one in claims[0].assumptions if one.state != HOLDS]
        words = "no certificate: " + "; ".join(f"{one.text} ({one.state})" for one in missing)
    elif seen.kernel.is_full:
        words += f", numerically full alone: λ_min/λ_max = {seen.kernel.smallest / seen.kernel.largest:.1e}"
    if seen.num_moving < seen.num_outputs:
        words += f" (cannot hold: {_too_few(seen)})"
    return words


def _too_few(seen: Measured) -> str:
    return f"P = {seen.num_moving} parameters that move an output < nk = {seen.num_outputs}"


# --- the theorems ---------------------------------------------------------------------------


def _state(value: bool | None) -> str:
    return UNKNOWN if value is None else HOLDS if value else FAILS


def _convex(seen: Measured) -> Assumption:
    return Assumption("loss convex in the outputs", _state(seen.meaning.is_convex))


def _attains(seen: Measured) -> Assumption:
    return Assumption("loss attains its minimum", _state(seen.meaning.attains))


def _square(seen: Measured) -> Assumption:
    meaning = seen.meaning
    is_known = meaning.is_square or meaning.is_convex is not None
    return Assumption("square loss", _state(meaning.is_square if is_known else None))


def _differentiable(seen: Measured) -> Assumption:
    nearest = seen.structure.nearest_kink
    state = FAILS if nearest <= KINK else UNKNOWN if seen.structure.unfollowed else HOLDS
    return Assumption("differentiable: no kink within 1e-8", state)


def _full(what: str, rank: Rank) -> Assumption:
    return Assumption(f"{what} of full rank, beyond rounding", _state(rank.is_sure))


def _follows(seen: Measured, what: str, rank: Rank, bound: float, symbol: str) -> tuple[str, str]:
    """What a full rank says: of the square loss a bound, of a loss without minimum that nothing here is critical."""
    if seen.meaning.is_square:
        short = f"F = {seen.loss:.6g} ≤ {bound:.6g} (rank {rank})"
        return short, f"F ≤ {symbol} = {bound:.6g}, F = {seen.loss:.6g}: {what} has rank {rank}"
    if seen.meaning.attains is False:
        name = seen.meaning.name
        said = f"no critical point can be here: {what} has rank {rank}, and {name} attains no minimum"
        return f"no critical point can be here (rank {rank})", said
    return (
        f"∂ℓ/∂h = 0 at a critical point (rank {rank})",
        f"{what} has rank {rank}: ∂ℓ/∂h = 0 at a critical point",
    )


def _kernel(seen: Measured) -> Claim:
    """Survey, Claim VI.3: rank K = nk, so that ∇F = 0 means ∂ℓ/∂h = 0."""
    count = seen.num_outputs
    assumptions = (
        _convex(seen),
        _attains(seen),
        _differentiable(seen),
        Assumption("parameters that move an output: P ≥ nk", _state(seen.num_moving >= count)),
        _full("K", seen.kernel),
    )
    words, at_length = "", ""
    if seen.num_moving < count:
        words = f"cannot hold: {_too_few(seen)}"
    elif not seen.kernel.is_sure:
        words = f"silent: rank {seen.kernel}"
    else:
        words, at_length = _follows(seen, "K", seen.kernel, seen.loss_bound, "nk‖∇F‖²/(4 λ_min(K))")
    return Claim("kernel", assumptions, words, at_length)


def _last_layer(seen: Measured) -> Claim:
    """Survey, Claim VI.1, read as rank n: ∂F/∂W_L = 0 then means ∂ℓ/∂h = 0."""
    count, rank = len(seen.structure.outputs), seen.last
    assumptions = (
        _convex(seen),
        _attains(seen),
        Assumption("outputs = last layer (trained) × features", _state(rank is not None)),
        Assumption("features: width ≥ n", _state(seen.last_width >= count)),
        Assumption("features: rank n, beyond rounding", _state(rank is not None and rank.is_sure)),
    )
    at_length = ""
    if rank is None:
        words = "silent: no last layer"
    elif seen.last_width < count:
        words = f"cannot hold: width {seen.last_width} < n = {count}"
    elif not rank.is_sure:
        words = f"silent: rank {rank}"
    else:
        symbol = "nk‖∇F of the last layer‖²/(4 σₙ²)"
        words, at_length = _follows(seen, "the last features", rank, seen.last_layer_bound, symbol)
    return Claim("last layer", assumptions, words, at_length)


def _floor(seen: Measured) -> Claim:
    """Survey, Theorem III.1: no linear net of these widths is lower, by Eckart and Young."""
    assert seen.net is not None
    no_hidden = not seen.net.has_hidden_bias or seen.net.has_last_bias
    assumptions = (
        _square(seen),
        Assumption("a product of matrices", HOLDS),
        Assumption("hidden biases: only with a last one", _state(no_hidden)),
    )
    words = "silent" if seen.floor is None else f"F − floor = {seen.loss - seen.floor:.6g}"
    return Claim("floor", assumptions, words)


def _product(seen: Measured, tolerance: float) -> Claim:
    """Yun, Sra and Jadbabaie 2018, theorem 2: the rank of the product says which a critical point is."""
    net, rank = seen.net, seen.product
    assert net is not None
    assert rank is not None
    x, y = net.inputs, seen.structure.outputs - seen.errors
    n, dx, dy = len(x), x.shape[1], y.shape[1]
    full = min(dx, dy)
    covariance = numerical_rank(x.T @ y)
    values = torch.linalg.svdvals(fitted(x, y))[:full]
    apart = float(-torch.diff(values).max()) if len(values) > 1 else torch.inf
    is_distinct = apart > DISTINCT * float(values[0]) if len(values) else False
    assumptions = (
        _square(seen),
        Assumption("no biases", _state(not net.has_bias)),
        Assumption("every factor trained, and a parameter of its own", _state(net.is_free)),
        Assumption("d_x ≤ n and d_y ≤ n", _state(dx <= n and dy <= n)),
        Assumption("XXᵀ of full rank", _state(numerical_rank(x).rank == dx)),
        Assumption("XYᵀ of full rank", _state(covariance.is_full)),
        Assumption("YXᵀ(XXᵀ)⁻¹X: distinct singular values", _state(is_distinct)),
        Assumption("thinnest layer: the input or the output", _state(net.thinnest == full)),
        Assumption(f"critical: ‖∇F‖ ≤ {tolerance:g}", _state(seen.gradient_norm <= tolerance)),
    )
    if net.thinnest < full:
        words = f"cannot hold: a layer of width {net.thinnest} < min(d_x, d_y) = {full}"
    elif not all(one.state == HOLDS for one in assumptions):
        words = "silent"
    else:
        words = f"the product has rank {rank.rank} {'=' if rank.rank == full else '<'} min(d_x, d_y) = {full}"
    return Claim("product", assumptions, words)


def _pattern(seen: Measured) -> Claim:
    """Soudry and Carmon 2016 on one pattern of activations, where the outputs are linear in v_h w_h."""
    two, rank = seen.two, seen.pattern
    assert two is not None
    assert rank is not None
    has_bias = two.first.bias is not None or two.second.bias is not None
    n, d0, d1 = len(two.slopes), two.first.features.shape[1], two.slopes.shape[1]
    assumptions = (
        _square(seen),
        Assumption("one output", _state(len(two.outgoing) == 1)),
        Assumption("no biases", _state(not has_bias)),
        _differentiable(seen),
        Assumption("n ≤ d₀d₁", _state(n <= d0 * d1)),
        _full("aᵢ ⊗ xᵢ", rank),
        Assumption(
            "every outgoing weight ≠ 0",
            _state(bool((two.outgoing != 0).all())),
        ),
    )
    is_met = all(one.state == HOLDS for one in assumptions)
    words = "F = 0 at every critical point of this pattern" if is_met else f"silent: rank {rank}"
    return Claim("pattern", assumptions, words)


def _inactive(seen: Measured) -> Claim:
    """Haeffele and Vidal 2017: a local minimum with a unit that is all zero is global."""
    found = seen.woken
    is_left = found is not None and found.fall > found.rounding
    assumptions = (
        _convex(seen),
        Assumption("a hidden unit without any weight", _state(seen.structure.num_inactive > 0)),
        Assumption("a local minimum", FAILS if is_left else UNKNOWN),
    )
    words = "silent: no derivative at a point tells a local minimum here"
    if found is not None and is_left:
        words = f"no local minimum: a unit without weights, given εa and εb, lowers F by {found.fall:.6g} ε²"
    elif found is not None:
        words = "silent: no fall of second order by a unit without weights was found; not every one was tried"
    return Claim("inactive", assumptions, words)
