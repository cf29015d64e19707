"""The limits of stability against plain loops of torch.optim on F = ½ λ x²."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from landscape.curvature.limit_proofs import Stepping, limits_check
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


@pytest.mark.parametrize("decay", [0.0, 0.5])
@pytest.mark.parametrize(
    ("rule", "momentum", "nesterov"),
    [("sgd", 0.0, False), ("sgd", 0.9, False), ("sgd", 0.9, True), ("adamw", 0.9, False)],
)
def test_limits_pass_their_check_and_others_do_not(rule, momentum, nesterov, decay):
    size, how = 0.05, {"momentum": momentum, "nesterov": nesterov, "weight_decay": decay}
    of_adam = rule == "adamw"
    limit = adaptive_stability_limit(size, weight_decay=decay) if of_adam else stability_limit(size, **how)
    steppings = {"final": Stepping(size, rule, **how)}

    def checked(stated: float, label: str) -> list[bool]:
        result = SimpleNamespace(stability_limit=np.array([stated]), point=np.array([f"a.h5@{label}"]))
        return [check.passed for check in limits_check(result, steppings)]

    assert checked(limit, "final") == [True]
    assert [checked(factor * limit, "final") for factor in (0.99, 1.01, 0.0)] == [[False]] * 3
    assert checked(limit, "epoch=1") == []
