"""Soudry and Carmon 2016: no bad differentiable local minima of a mildly wide net under dropout-like noise."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from paper import Finding

import landscape

PAPER = "Soudry and Carmon 2016"
WHERE = "abstract; the condition n ≤ d₀d₁ is of its Theorem 1 (number from memory)"
CLAIM = (
    "With one hidden layer of piecewise linear units, square loss, one output and n ≤ d₀d₁, every differentiable local "
    "minimum has training error 0, for almost every data set and dropout-like noise."
)
SCALED = (
    "12 samples of two circles, 8 leaky ReLU units (d₀d₁ = 16), 12 descents a seed of at most 4000 steps, polished to "
    "‖∇F‖ ≤ 10⁻⁹; data, noise and starts go by the seed; beside the same nets without noise, and with 2 units"
)

WHY = (
    "Of 12 descents with noise on 8 units 6 to 9 end at kinks of the leaky units, where F falls no further: of these, "
    "at losses up to 0.066, the theorem does not speak. The worst differentiable local minima are at 2 · 10⁻⁷, "
    "3 · 10⁻²⁰ and 4 · 10⁻²⁰; without the noise, of which it does not speak either, there are some up to 0.16."
)
CHANGED = (
    "Three descents of 2000 steps, which were run first, left all three numbers open, and polishing that was stopped "
    "where ∇F jumps the first two."
)

# On a GPU: 100 samples, widths 10 to 100.
SIZES = {
    "laptop": {"seeds": 3, "width": 8, "restarts": 12, "steps": 2000},
    "tiny": {"seeds": 3, "width": 8, "restarts": 2, "steps": 300},
}


def commands(folder: Path, size: dict) -> Iterator[str]:
    """Descents with and without the noise, for each seed."""
    for seed in range(size["seeds"]):
        for name, more in (("noise", " --modify noise"), ("plain", "")):
            yield (
                "minima --model mlp --model-arg activation=leaky_relu:0.1 bias=false --data circles "
                f"--data-arg num_samples=12 noise=0.2 test_size=0 seed={seed} --loss mse{more} "
                f"--widths 2,{size['width']} --restarts {size['restarts']} --steps {size['steps']} "
                f"--max-steps {2 * size['steps']} --lr 0.1 --polish --seed {seed} -q -o {folder}/{name}-{seed}.h5"
            )
    yield f"plot {folder}/noise-0.h5 -q -o {folder}/picture.png"


def findings(folder: Path, size: dict) -> list[Finding]:
    """The largest loss of an end that is a differentiable local minimum, to the tolerance of polishing."""

    def worst(name: str, seed: int, at: int) -> float:
        found = landscape.load(folder / f"{name}-{seed}.h5")
        is_one = (found.polished_gradient_norm[0, at] <= 1e-9) & (found.index[0, at] == 0)
        is_one &= np.isin(found.end_status[0, at], ("minimum", "degenerate"))
        return float(max(found.polished_cost[0, at][is_one], default=math.nan))

    seeds = range(size["seeds"])
    wide = [
        Finding(
            f"worst local minimum, wide, {told}", tuple(worst(name, seed, 1) for seed in seeds), high=1e-6
        )
        for name, told in (("noise", "with noise"), ("plain", "without noise"))
    ]
    # What the condition is good for: beyond it there are bad ones.
    return [
        *wide,
        Finding("the same of 2 units, with noise", tuple(worst("noise", s, 0) for s in seeds), 1e-3),
    ]
