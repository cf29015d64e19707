"""The limits of stability against plain loops of torch.optim on F = ½ λ x²."""

import pytest
import torch

from landscape.curvature.places import adaptive_stability_limit, stability_limit


def growth(step, curvature: float, count: int = 400) -> float:
    """How many times |x| grows in the second half of a descent."""
    x = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    stepper, sizes = step(x), []
    for _ in range(count):
        x.grad = curvature * x.detach()
        stepper.step()
        sizes.append(abs(float(x.detach())))
    return max(sizes[count // 2 :]) / max(sizes[: count // 2])


@pytest.mark.parametrize("decay", [0.0, 0.5])
@pytest.mark.parametrize("nesterov", [False, True])
def test_weight_decay_takes_from_the_limit(decay, nesterov):
    how = {"momentum": 0.9, "nesterov": nesterov, "weight_decay": decay}
    limit = stability_limit(0.5, **how)
    assert growth(lambda x: torch.optim.SGD([x], lr=0.5, **how), 0.99 * limit) < 1
    assert growth(lambda x: torch.optim.SGD([x], lr=0.5, **how), 1.01 * limit) > 1


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_decoupled_decay_scales_the_limit_of_adam(decay):
    limit, (step_size, beta) = adaptive_stability_limit(0.5, weight_decay=decay), (0.5, 0.9)

    def grows(curvature: float) -> bool:
        x, mean, sizes = 1.0, 0.0, []
        for _ in range(4000):
            mean = beta * mean + (1 - beta) * curvature * x
            x = (1 - step_size * decay) * x - step_size * mean
            sizes.append(abs(x))
        return max(sizes[2000:]) > max(sizes[:2000])

    assert not grows(0.99 * limit)
    assert grows(1.01 * limit)
