"""The Hessian at a point as SciPy knows operators, for its solvers and for whatever else takes one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def linear_operator(
    product: Callable[[Tensor], Tensor], size: int, dtype: torch.dtype, device: torch.device
) -> Any:
    """``product`` v ↦ A v of vectors (d,), A symmetric, as a ``scipy.sparse.linalg.LinearOperator`` (d, d).

    Vectors are NumPy's, on the CPU; those that the product takes have ``dtype``, and lie on ``device``.
    """
    from scipy.sparse.linalg import LinearOperator

    def image(v: np.ndarray) -> np.ndarray:
        # A copy, as those of ARPACK are views of one array that it goes on to write.
        one = torch.tensor(np.asarray(v).reshape(-1), dtype=dtype, device=device)
        return product(one).cpu().numpy()

    kind = torch.empty(0, dtype=dtype).numpy().dtype
    return LinearOperator((size, size), matvec=image, rmatvec=image, dtype=kind)  # pyright: ignore[reportCallIssue]
