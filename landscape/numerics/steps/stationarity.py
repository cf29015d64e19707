"""How small gradients become under a fixed step: the bound of theory, and when to look."""

import numpy as np


def gradient_bound(
    step_size: float, num_steps: int, *, lipschitz: float, variance: float, above: float
) -> float:
    """αLM + 2 (F(θ₁) − F_inf)/(Kα), which bounds the mean of E‖∇F(θ_k)‖² over K steps of size α.

    Bottou, Curtis and Nocedal (2018), theorem 4.8, for unbiased stochastic gradients g with
    E‖g‖² ≤ M + ‖∇F‖² (their μ = 1 and M_G = 1): ``lipschitz`` is L, that of ∇F, ``variance`` is M, and ``above``
    is F(θ₁) − F_inf. It holds for α ≤ 1/(L M_G); beyond, the answer is NaN.

    >>> round(gradient_bound(0.1, 100, lipschitz=2.0, variance=0.5, above=1.0), 12)
    0.3
    >>> gradient_bound(0.6, 100, lipschitz=2.0, variance=0.5, above=1.0)
    nan
    """
    if step_size * lipschitz > 1:
        return float("nan")
    return step_size * lipschitz * variance + 2 * above / (num_steps * step_size)


def random_steps(num_steps: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """``count`` of the steps 0, …, num_steps − 1, one at random in each of as many equal spans, ascending.

    A mean over them is an unbiased estimate of that over all steps, of less variance than steps drawn
    regardless of each other: each step is expected as often as any other (one on the border of two spans
    may come twice).

    >>> random_steps(10, 10, np.random.default_rng(0)).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    drawn = (np.arange(count) + generator.random(count)) * (num_steps / count)
    return np.minimum(drawn.astype(np.int64), num_steps - 1)
