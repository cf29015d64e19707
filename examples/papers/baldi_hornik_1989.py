"""Baldi and Hornik 1989: all critical points of a linear net."""

from collections.abc import Iterator
from pathlib import Path

from paper import Finding

import landscape

PAPER = "Baldi and Hornik 1989"
WHERE = "Facts 2 to 4 (numbers from memory)"
CLAIM = (
    "The square loss of a linear net with one hidden layer has no local minimum that is not global: every other "
    "critical point is a saddle, one for each choice of eigenvalues of the regression."
)
SCALED = "3 inputs, 2 hidden units, 3 outputs, 4 samples, where all 7 kinds are known in closed form"

# On a GPU nothing changes: the closed form is of small nets.
SIZES = {"laptop": {"seeds": 3, "starts": 120}, "tiny": {"seeds": 3, "starts": 12}}


def commands(folder: Path, size: dict) -> Iterator[str]:
    """Critical points from many starts, for each seed."""
    for seed in range(size["seeds"]):
        yield f"critical --preset baldi-hornik --starts {size['starts']} --seed {seed} -q -o {folder}/{seed}.h5"
    yield f"plot {folder}/0.h5 -q -o {folder}/picture.png"


def findings(folder: Path, size: dict) -> list[Finding]:
    """Kinds met of those known, kinds that are not known, and bad minima among those found."""
    found = [landscape.load(folder / f"{seed}.h5") for seed in range(size["seeds"])]

    def bad(one: landscape.Result) -> float:
        is_above = one.kind_loss > one.known_loss.min() * (1 + 1e-6)
        return float(((one.kind_index == 0) & is_above).sum())

    met = [(one.known_count > 0).mean() for one in found]
    unknown = [one.num_distinct - (one.known_count > 0).sum() for one in found]
    return [
        Finding("share of the known kinds that were met", tuple(map(float, met)), 0.99),
        Finding("kinds met that are not known", tuple(map(float, unknown)), high=0.01),
        Finding("bad local minima met", tuple(map(bad, found)), high=0.01),
    ]
