"""What verdicts and conclusions say is held against the numbers and states that are stated beside them."""

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from certified import BH_X, BH_Y, K_X, draw, exact, kernel_net, linear_objective, two_layer, weighted
from torch import nn

import landscape
from landscape import Objective
from landscape.certificates.word_proofs import words_check


def narrow() -> Objective:
    return two_layer(2, 2, 2, 9, (False, False), nn.Tanh())


def still() -> Objective:
    return weighted(K_X, draw(4, 1), [exact((1, 1), (0, 0)), exact((1, 0))], nn.ReLU)


def saddle() -> Objective:
    return weighted(torch.eye(2).double(), torch.diag(exact(3, 1)), [torch.zeros(2, 2).double()] * 2)


def without_minimum() -> Objective:
    module = nn.Sequential(nn.Linear(3, 9), nn.Tanh(), nn.Linear(9, 2)).double()
    return Objective(module, "cross_entropy", (draw(5, 3), (draw(5, seed=2) > 0).long()))


def nobody_knows() -> Objective:
    def loss(h, y):
        return (h - y).abs().pow(1.5).mean(1)

    return two_layer(3, 9, 1, 4, (True, True), nn.Tanh(), loss=loss)


CASES = {
    "kernel": kernel_net,
    "last layer": lambda: two_layer(3, 12, 2, 5, (True, True), nn.Tanh()),
    "narrow": narrow,
    "idle": still,
    "linear": lambda: linear_objective(BH_X, BH_Y, (3, 2, 3)),
    "saddle": saddle,
    "cross-entropy": without_minimum,
    "own loss": nobody_knows,
}


def num_wrong(objective: Objective, result: Any) -> float:
    about: Any = SimpleNamespace(objective=objective, points=[None] * np.size(result.verdict))
    return words_check(about, result).value


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("several", [False, True])
def test_every_number_in_words_is_one_that_is_stated(case, several):
    objective = CASES[case]()
    theta = objective.theta
    result: Any = landscape.certify(objective, [theta, theta + 0.1] if several else theta)
    assert [one for one in result.checks if not one.passed] == []
    assert num_wrong(objective, result) == 0
    first = result.verdict[-1] if several else result.verdict
    rows = result.conclusion[-1] if several else result.conclusion
    tried = 0
    for place, words in [(None, str(first)), *enumerate(rows.tolist())]:
        for one in re.finditer(r"(?<![\d^-])\d[\d.]*(?:e[-+]\d+)?", words):
            is_known = re.search(
                r"(at most|F|‖| [Pnk]+| above|the floor|rank|of|width|by|\)|max|=|≤|<) ?$",
                words[: one.start()],
            )
            if (
                not is_known
                or words[one.start() :].startswith(("1e-8", "0 at "))
                or "d₀" in words[: one.start()][-4:]
            ):
                continue
            other = words[: one.start()] + f"{1.7 * float(one[0]) + 2:.6g}" + words[one.end() :]
            assert num_wrong(objective, changed(result, place, other, several)) > 0, other
            tried += 1
    assert tried > 1


def changed(result: Any, place: int | None, words: str, several: bool) -> Any:
    """The result with other words in one place, of its last point."""
    twin = SimpleNamespace(**vars(result))
    name = "verdict" if place is None else "conclusion"
    values = np.array(getattr(result, name), dtype=object)
    if place is None and not several:
        twin.verdict = words
        return twin
    at = (-1,) * several + (() if place is None else (place,))
    values[at] = words
    setattr(twin, name, values)
    return twin


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("kernel", "not a critical point: ‖∇F‖ = 28.2843; no certificate: rank 4 of 4 of the tangent kernel"),
        ("narrow", "no certificate: parameters that move an output: P ≥ nk (fails)"),
        ("cross-entropy", "no certificate: loss attains its minimum (fails)"),
        ("own loss", "no certificate: rank 4 of 4 of the tangent kernel"),
    ],
)
def test_a_verdict_for_another_reason_is_seen(case, words):
    objective = CASES[case]()
    result: Any = landscape.certify(objective, objective.theta)
    assert num_wrong(objective, changed(result, None, words, False)) > 0


@pytest.mark.parametrize(
    ("case", "claim", "words"),
    [
        ("kernel", "kernel", "silent: rank 4 of 4"),
        ("kernel", "last layer", "silent: no last layer"),
        ("narrow", "kernel", "silent: rank 8 of 18"),
        ("idle", "inactive", "silent: no derivative at a point tells a local minimum here"),
        ("idle", "pattern", "F = 0 at every critical point of this pattern"),
        ("saddle", "product", "silent"),
        ("linear", "floor", "silent"),
    ],
)
def test_a_conclusion_that_its_assumptions_do_not_bear_is_seen(case, claim, words):
    objective = CASES[case]()
    result: Any = landscape.certify(objective, objective.theta)
    assert result.conclusion[list(result.claim).index(claim)] != words
    assert num_wrong(objective, changed(result, list(result.claim).index(claim), words, False)) > 0
