"""Goodfellow, Vinyals and Saxe 2015: the straight line from where training began to where it ended."""

from collections.abc import Iterator
from pathlib import Path

from paper import Finding, real

import landscape

PAPER = "Goodfellow, Vinyals and Saxe 2015"
WHERE = "abstract; Figure 1 (number from memory)"
CLAIM = (
    "On a straight path from initialization to solution various nets never encounter any significant obstacle. "
    "(Looked for here is more: that the loss falls monotonically on it.)"
)
SCALED = "SGD on 2000 MNIST images, ReLU net of 2 × 100 (theirs: maxout nets on all of MNIST), 51 points of the line"

# On a GPU: all 60000 images, widths=1024,1024.
SIZES = {
    "laptop": {"seeds": 5, "widths": "100,100", "images": 2000, "epochs": 20, "points": 51},
    "tiny": {"seeds": 3, "widths": "16", "images": 200, "epochs": 5, "points": 11},
}


def commands(folder: Path, size: dict) -> Iterator[str]:
    """A run and the line through its ends, for each seed."""
    for seed in range(size["seeds"]):
        run = f"{folder}/{seed}"
        yield (
            f"train --model mlp --model-arg widths={size['widths']} {real('mnist', limit=size['images'])} "
            f"--epochs {size['epochs']} --batch-size 100 --lr 0.05 --momentum 0.9 --seed {seed} -q -o {run}.h5"
        )
        yield (
            f"interpolate {run}.h5@init {run}.h5@final --num-points {size['points']} -q -o {run}.interpolate.h5"
        )
    yield f"plot {folder}/0.interpolate.h5 -q -o {folder}/picture.png"


def findings(folder: Path, size: dict) -> list[Finding]:
    """The share of monotone lines, and the largest bump over the fall of the loss."""

    def load(seed: int) -> landscape.Result:
        return landscape.load(folder / f"{seed}.interpolate.h5")

    def bump(seed: int) -> float:
        line = load(seed)
        return float(max(line.bump_height, default=0) / (line.loss[0] - line.loss[-1]))

    seeds = range(size["seeds"])
    return [
        Finding(
            "share of lines without a bump", tuple(float(load(seed).is_monotone) for seed in seeds), 0.99
        ),
        Finding("largest bump over the fall of F", tuple(map(bump, seeds)), high=0.01),
    ]
