"""Garipov et al. 2018, Draxler et al. 2018: curves of low loss between two nets."""

import math
from collections.abc import Iterator
from pathlib import Path

from paper import Finding, real

import landscape

PAPER = "Garipov et al. 2018; Draxler et al. 2018"
WHERE = "Garipov: section 1 and Figure 1; Draxler: abstract"
CLAIM = (
    "Two nets trained apart are joined by simple curves of near-constant accuracy, already a chain of two line "
    "segments, where the straight line between them is high (Garipov); such paths are flat in training and in test "
    "error (Draxler)."
)
SCALED = (
    "Convolutional nets of 8 and 16 channels on 1000 MNIST images of 14 × 14 pixels; curves with one free point, the "
    "band of 5"
)
OVER = "pairs of nets"
CHANGED = "Three pairs, run first, left the band open (0.147 ± 0.02); two were added after that was seen."

# On a GPU: resnet of depth 20 on cifar10, curves of 180 epochs.
SIZES = {
    "laptop": {
        "pairs": 5,
        "channels": "8,16",
        "images": 1000,
        "pixels": 14,
        "epochs": 20,
        "curve": 40,
        "pivots": 5,
    },
    "tiny": {"pairs": 3, "channels": "4", "images": 100, "pixels": 7, "epochs": 10, "curve": 8, "pivots": 1},
}
METHODS = ("bezier", "chain", "neb")


def commands(folder: Path, size: dict) -> Iterator[str]:
    """Two nets of a pair, and each curve between them."""
    data = real("mnist", limit=size["images"], size=size["pixels"], image="true")
    for seed in range(2 * size["pairs"]):
        yield (
            f"train --model cnn --model-arg channels={size['channels']} {data} --epochs {size['epochs']} --lr 0.1 "
            f"--momentum 0.9 --batch-size 64 --seed {seed} -q -o {folder}/{seed}.h5"
        )
    for pair in range(size["pairs"]):
        ends = f"{folder}/{2 * pair}.h5 {folder}/{2 * pair + 1}.h5"
        for method in METHODS:
            more = f"--epochs {size['curve']}"
            if method == "neb":
                more = f"--bends {size['pivots']} --epochs {max(1, size['curve'] // 8)}"
            yield (
                f"connect {ends} --method {method} {more} --lr 0.02 --num-points 31 --tolerance inf -q "
                f"-o {folder}/{pair}-{method}.h5"
            )
    yield f"plot {folder}/0-bezier.h5 -q -o {folder}/picture.png"


def findings(folder: Path, size: dict) -> list[Finding]:
    """What the highest test error on a curve is above that of the worse end, and barriers over the straight line's."""

    def load(pair: int, method: str) -> landscape.Result:
        return landscape.load(folder / f"{pair}-{method}.h5")

    def errors(pair: int, method: str) -> float:
        accuracy = load(pair, method).test_accuracy
        return float(100 * (min(accuracy[0], accuracy[-1]) - accuracy.min()))

    def barrier(pair: int, method: str) -> float:
        found = load(pair, method)
        return found.barrier_chord / (found.barrier_chord_straight or math.nan)

    pairs = range(size["pairs"])
    return [
        *(
            Finding(
                f"barrier, {method} over straight", tuple(barrier(pair, method) for pair in pairs), high=0.2
            )
            for method in METHODS
        ),
        *(
            Finding(
                f"test error on {method} above the ends', %",
                tuple(errors(pair, method) for pair in pairs),
                high=2,
            )
            for method in METHODS
        ),
    ]
