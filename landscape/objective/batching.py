"""A function at many points at once, where the overhead of a call costs more than its arithmetic."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

# Up to so many activations an evaluation is less than the overhead of its calls; so many are then taken at a time.
BATCHED_ACTIVATIONS = 2**15
BATCH_ACTIVATIONS = 2**20
KEPT_BYTES = 2**24
# As malloc.h of glibc numbers them.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# How vmap says that it cannot; an error of the module itself comes again where the points go one by one.
REFUSALS = (RuntimeError, TypeError, ValueError, UserWarning, ArithmeticError, AssertionError)


def is_worthwhile(activations: int, points: Tensor) -> bool:
    """Whether evaluations of so many ``activations`` at ``points`` are quicker together."""
    return activations <= BATCHED_ACTIVATIONS and len(points) > 1


def batched(function: Callable[[Tensor], Tensor], points: Tensor, activations: int) -> Tensor | None:
    """``function``, of so many ``activations``, at every row of ``points``, through ``torch.func.vmap``.

    None where vmap cannot (control flow that looks at values, operations it would only loop over), and
    where the first point evaluated alone disagrees, as for a module that functional calls do not reach.
    """
    block = max(2, BATCH_ACTIVATIONS // activations)
    alone = function(points[0])
    together = torch.func.vmap(function)
    try:
        # The other attention kernels have no batching rule.
        with by_rules_alone(), sdpa_kernel(SDPBackend.MATH):
            values = torch.cat([together(part) for part in points.split(block)])
    except REFUSALS:
        return None
    tolerance = 1e3 * torch.finfo(points.dtype).eps
    agrees = torch.allclose(values[0], alone, rtol=tolerance, atol=tolerance, equal_nan=True)
    return values if agrees else None


@contextmanager
def by_rules_alone() -> Iterator[None]:
    """Inside, vmap raises RuntimeError where a rule is missing, in the place of a warning and a loop.

    As an error that warning is printed by torch all the same, once for every call.
    """
    functorch = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
    before = functorch._is_vmap_fallback_enabled()
    functorch._set_vmap_fallback_enabled(False)
    try:
        yield
    finally:
        functorch._set_vmap_fallback_enabled(before)


def keep_freed_memory() -> None:
    """Makes glibc keep what layers free, instead of faulting the same pages in for every call.

    It gives back what is larger than one limit, or lies at the end beyond another (mallopt(3)). A sweep of a tiny net
    takes half the time, a stack of wide ones three quarters. Other allocators do not know the call. glibc alone would
    raise both as large pieces are freed, but for processes in whose environment one of them is set, as Dask's are.
    """
    with suppress(OSError, TypeError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, 2 * KEPT_BYTES)
