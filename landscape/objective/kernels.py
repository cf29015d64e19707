"""The kernels and roads that torch may choose from: those that round as the dtype says, in the same order twice."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch.utils import checkpoint

from landscape.errors import BadInput

_are_exact: ContextVar[bool] = ContextVar("are exact", default=False)


def exact(device: str = "cuda") -> AbstractContextManager[None]:
    """Inside, float32 is float32 on ``device``, and a convolution gives the same bits twice.

    Unasked, torch computes convolutions and recurrent layers of float32 on a GPU in TF32, whose ε is 1e-3, and takes
    sums of their derivatives in any order; a user may have asked for products of matrices of that kind. Settings are
    put back. Nothing is to be done on other devices.
    """
    return nullcontext() if device != "cuda" or _are_exact.get() else _exact()


@contextmanager
def _exact() -> Iterator[None]:
    cudnn = torch.backends.cudnn
    try:
        matmul = torch.get_float32_matmul_precision()
        flags = cudnn.flags(enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=False)
        flags.__enter__()
    except RuntimeError as error:
        raise BadInput(
            f"torch does not tell how it rounds ({str(error).splitlines()[0]})",
            "its switches of TF32 set by one of its two ways",
            "set torch.backends.cudnn.allow_tf32 instead of fp32_precision",
        ) from error
    token = _are_exact.set(True)
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        flags.__exit__(None, None, None)
        _are_exact.reset(token)


@contextmanager
def plain_modes() -> Iterator[None]:
    """Inside, derivatives are taken, whatever is switched off around it. Raises BadInput where none can be, or no F."""
    require_own_dtypes()
    require_derivatives()
    with torch.enable_grad():
        yield


def require_own_dtypes() -> None:
    """Raises BadInput under autocast, where F and a plain loop over the data round otherwise."""
    for kind in ("cpu", "cuda"):
        if torch.is_autocast_enabled(kind):
            dtype = str(torch.get_autocast_dtype(kind)).removeprefix("torch.")
            raise BadInput(
                f"a measurement under torch.autocast in {dtype}",
                "one outside of it",
                "call it behind that block, and where the module is to compute so have its forward say so",
            )


def require_derivatives() -> None:
    """Raises BadInput in inference mode, where no tensor can be differentiated."""
    if torch.is_inference_mode_enabled():
        raise BadInput(
            "a measurement under torch.inference_mode", "one outside of it", "call it behind that block"
        )


def without_cudnn() -> AbstractContextManager[None]:
    """Inside, torch's own kernels stand in for cuDNN's, and round as exactly."""
    return torch.backends.cudnn.flags(enabled=False, deterministic=True, allow_tf32=False)


class Repeatable:
    """In the place of ``torch.utils.checkpoint.CheckpointFunction``, the reentrant checkpoint, the other one.

    The reentrant one refuses ``torch.autograd.grad``, has no second derivative, and leaves parameters without a
    gradient where none of its inputs has one.
    """

    @staticmethod
    def apply(function: Any, preserve_rng_state: bool, *inputs: Any) -> Any:
        """What ``function`` makes of ``inputs``, computed again by every backward."""
        return checkpoint.checkpoint(
            function, *inputs, use_reentrant=False, preserve_rng_state=preserve_rng_state
        )


def branch(pred: Any, true_fn: Any, false_fn: Any, operands: Any = ()) -> Any:
    """In the place of ``torch.cond``, which has no second derivative: the branch that is chosen, as it is written."""
    return (true_fn if pred else false_fn)(*operands)


@contextmanager
def differentiable() -> Iterator[None]:
    """Inside, what torch may compute without derivatives, or with those of first order alone, has all of them.

    That is the fast path of a transformer, whose outputs differ from what is differentiated, reentrant
    checkpoints and ``torch.cond``. Parts that the user has compiled run as they were written: a compiler has no
    second derivatives either, and would take what watches a call for a part of it. Settings are put back.
    """
    fast, reentrant = torch.backends.mha.get_fastpath_enabled(), checkpoint.CheckpointFunction
    cond, torch.cond = torch.cond, branch
    torch.backends.mha.set_fastpath_enabled(False)
    checkpoint.CheckpointFunction = Repeatable
    # Nobody has compiled anything where the compiler was not even loaded.
    stance = torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
    try:
        with stance:
            yield
    finally:
        checkpoint.CheckpointFunction, torch.cond = reentrant, cond
        torch.backends.mha.set_fastpath_enabled(fast)
