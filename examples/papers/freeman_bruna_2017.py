"""Freeman and Bruna 2017: how high the pass between two minima is, against the width."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from paper import Finding, real

import landscape

PAPER = "Freeman and Bruna 2017"
WHERE = "abstract and Theorem 2.4 (number from memory); the heights of linear nets are no numbers of theirs"
CLAIM = (
    "Sublevel sets of deep linear nets are connected, those of a half-rectified net with one hidden layer nearly so, "
    "up to a gap in energy that vanishes as the net grows wider. (Linear nets have a gap too where no layer is wider "
    "than inputs and outputs: between a minimum and its mirror image it is known, and falls with the width.)"
)
SCALED = (
    "Linear nets of 1 to 3 hidden units on Baldi and Hornik's 3 inputs and outputs, where the pass between two minima "
    "of other orientation is F at the next set of eigenvalues (between those of one orientation: that of the minimum); "
    "ReLU nets of 4 and 64 units on 300 MNIST images of 14 × 14 pixels, joined by trained curves"
)
OVER = "pairs of nets"
WHY = "Some pairs of narrow nets have no gap either, which leaves the difference open."
CHANGED = (
    "What the narrow gap is more was a quotient of gaps until one of them was seen to be 0, and was taken over three "
    "pairs, now five."
)

# On a GPU: widths up to 4096 on MNIST whole.
SIZES = {
    "laptop": {
        "pairs": 5,
        "linear": (1, 2, 3),
        "steps": 3000,
        "passes": 400,
        "widths": (4, 64),
        "epochs": 60,
    },
    "tiny": {"pairs": 3, "linear": (2,), "steps": 1000, "passes": 60, "widths": (2, 16), "epochs": 4},
}
TABLE = "x=((1,0,0),(0,1,0),(0,0,1),(1,1,1)) y=((3,0,1),(0,2,0),(0,0,1),(1,-1,0))"
# F, a sum over the outputs and a mean over the samples, at the minimum of each width and at the lowest pass from it to
# its mirror image, an index-1 point: by the eigenvalues of the regression of Baldi and Hornik 1989.
MINIMUM = {1: 1.6298695586, 2: 1.0872266630, 3: 1.0625}
PASS = {1: 3.7073571044, 2: 1.6051428956, 3: 1.0872266630}
NUM_OUTPUTS = 3  # which the loss of the files is a mean over


def commands(folder: Path, size: dict) -> Iterator[str]:
    """Neighbouring seeds joined, for each width."""
    for width in size["linear"]:
        run = f"{folder}/linear-{width}"
        for seed in range(size["pairs"] + 1):
            yield (
                f"train --model linear --model-arg widths={width} --data point --data-arg {TABLE} --loss mse "
                f"--method gd --steps {size['steps']} --lr 0.1 --dtype float64 --seed {seed} -q -o {run}-{seed}.h5"
            )
        for pair in range(size["pairs"]):
            yield (
                f"connect {run}-{pair}.h5 {run}-{pair + 1}.h5 --method neb --bends 15 --steps {size['passes']} "
                f"--lr 0.1 -q -o {run}-{pair}.connect.h5"
            )
    for width in size["widths"]:
        run, epochs = f"{folder}/relu-{width}", f"--epochs {size['epochs']}"
        for seed in range(size["pairs"] + 1):
            yield (
                f"train --model mlp --model-arg widths={width} {real('mnist', limit=300, size=14)} {epochs} --lr 0.1 "
                f"--batch-size 32 --seed {seed} -q -o {run}-{seed}.h5"
            )
        for pair in range(size["pairs"]):
            yield (
                f"connect {run}-{pair}.h5 {run}-{pair + 1}.h5 {epochs} --lr 0.05 --num-points 31 --tolerance inf -q "
                f"-o {run}-{pair}.connect.h5"
            )
    yield f"plot {folder}/linear-{size['linear'][0]}-0.connect.h5 -q -o {folder}/picture.png"


def findings(folder: Path, size: dict) -> list[Finding]:
    """The heights found over those known, and the gap of the widest ReLU nets over that of the narrowest."""

    def load(name: str) -> landscape.Result:
        return landscape.load(folder / f"{name}.h5")

    def height(width: int, pair: int) -> float:
        one, other = (
            load(f"linear-{width}-{seed}").states["final"]["output.weight"] for seed in (pair, pair + 1)
        )
        is_mirrored = np.linalg.det(np.linalg.pinv(one) @ other) < 0
        known = PASS[width] if is_mirrored else MINIMUM[width]
        return NUM_OUTPUTS * load(f"linear-{width}-{pair}.connect").max_loss / known

    def gap(width: int, pair: int) -> float:
        return load(f"relu-{width}-{pair}.connect").barrier_chord

    pairs, (narrow, *_, wide) = range(size["pairs"]), size["widths"]
    heights = [
        Finding(
            f"height over the known one, linear, width {width}",
            tuple(height(width, pair) for pair in pairs),
            0.995,
            1.05,
        )
        for width in size["linear"]
    ]
    less = tuple(gap(narrow, pair) - gap(wide, pair) for pair in pairs)
    return [
        *heights,
        Finding(f"gap of ReLU nets, width {wide}", tuple(gap(wide, pair) for pair in pairs), high=0.01),
        Finding(f"what that of width {narrow} is more", less, low=0.0),
    ]
