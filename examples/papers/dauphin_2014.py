"""Dauphin et al. 2014 and Frye et al. 2021: index against loss, and searches that end where nothing is critical."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from paper import Finding

import landscape

PAPER = "Dauphin et al. 2014; Frye et al. 2021"
WHERE = "Dauphin: Figure 1 (number from memory); Frye: abstract"
CLAIM = (
    "The error and the index of critical points are strongly correlated: those of high loss have many negative "
    "eigenvalues (Dauphin). Searches by Newton's method and by the norm of the gradient often end at gradient-flat "
    "points instead (Frye)."
)
SCALED = (
    "Preset dauphin-2014: 50 digits of 10 × 10 pixels, one tanh unit, weight decay 0.01, 20 starts; critical points in "
    "float64"
)

# On a GPU: the same net, 1000 starts.
SIZES = {"laptop": {"seeds": 3, "starts": 20, "steps": 1000}, "tiny": {"seeds": 3, "starts": 4, "steps": 60}}
METHODS = ("hisd", "newton", "gradient-norm")


def commands(folder: Path, size: dict) -> Iterator[str]:
    """Critical points by each method, for each seed."""
    for seed in range(size["seeds"]):
        for method in METHODS:
            yield (
                f"critical --preset dauphin-2014 --method {method} --starts {size['starts']} --seed {seed} "
                f"--max-steps {size['steps']} -q -o {folder}/{method}-{seed}.h5"
            )
    yield f"plot {folder}/hisd-0.h5 -q -o {folder}/picture.png"


def findings(folder: Path, size: dict) -> list[Finding]:
    """Spearman's correlation at the critical points, and the share of gradient-flat ends of each method."""

    def load(method: str, seed: int) -> landscape.Result:
        return landscape.load(folder / f"{method}-{seed}.h5")

    def flat(method: str, seed: int) -> float:
        return float(np.mean([str(one).startswith("gradient-flat") for one in load(method, seed).end_status]))

    seeds = range(size["seeds"])
    correlations = tuple(float(load("hisd", seed).rank_correlation) for seed in seeds)
    shares = [
        Finding(f"share of gradient-flat ends, {method}", tuple(flat(method, seed) for seed in seeds), low)
        for method, low in (("newton", 0.1), ("gradient-norm", 0.1))
    ]
    return [Finding("rank correlation of index and loss", correlations, 0.5), *shares]
