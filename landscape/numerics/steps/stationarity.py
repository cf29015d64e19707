"""How small gradients become in steps of known sizes: the bound of theory, and when to look."""

import numpy as np


def gradient_bound(sizes: np.ndarray, *, lipschitz: float, variance: float, above: float) -> float:
    """(LM Σα_k² + 2 (F(θ₁) − F_inf))/Σα_k, which bounds Σα_k E‖∇F(θ_k)‖²/Σα_k over steps of ``sizes`` α_k (K,).

    For unbiased stochastic gradients g with E‖g‖² ≤ M + ‖∇F‖² (M_G = 1): ``lipschitz`` is L, that of ∇F, ``variance``
    is M, and ``above`` is F(θ₁) − F_inf. It holds where every α_k ≤ 1/(L M_G); else the answer is NaN. Of K steps of
    one size α it is αLM + 2 (F(θ₁) − F_inf)/(Kα), theorem 4.8 of Bottou, Curtis and Nocedal (2018) with μ = 1; of
    others the sum over k from which theorem 4.10 follows.

    >>> round(gradient_bound(np.full(100, 0.1), lipschitz=2.0, variance=0.5, above=1.0), 12)
    0.3
    >>> gradient_bound(np.full(100, 0.6), lipschitz=2.0, variance=0.5, above=1.0)
    nan
    """
    if not sizes.max() * lipschitz <= 1:
        return float("nan")
    # LM may be infinite, and Σα² zero, where this is not: αL and the weights are 1 at most.
    total = sizes.sum()
    return float(variance * (lipschitz * sizes * (sizes / total)).sum() + 2 * above / total)


def random_steps(
    num_steps: int, count: int, generator: np.random.Generator, weights: np.ndarray | None = None
) -> np.ndarray:
    """``count`` of the steps 0, …, num_steps − 1, one at random in each of as many equal spans, ascending.

    A mean over them is an unbiased estimate of that over all steps, of less variance than steps drawn
    regardless of each other: each step is expected as often as any other (one on the border of two spans
    may come twice). With ``weights`` (K,) the spans are equal in their sum, every step is expected as often as its
    weight says, and the plain mean is an unbiased estimate of the weighted one; a heavy step comes several times.

    >>> random_steps(10, 10, np.random.default_rng(0)).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    >>> random_steps(3, 4, np.random.default_rng(0), np.array([2.0, 1.0, 1.0])).tolist()
    [0, 0, 1, 2]
    """
    drawn = np.arange(count) + generator.random(count)
    if weights is None:
        return np.minimum((drawn * (num_steps / count)).astype(np.int64), num_steps - 1)
    past = np.cumsum(weights)
    found = np.searchsorted(past, drawn * (past[-1] / count), side="right")
    return np.minimum(found, np.flatnonzero(weights)[-1]).astype(np.int64)
