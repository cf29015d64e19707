"""Ding, Li and Sun 2022: a bad local minimum at every width."""

from collections.abc import Iterator
from pathlib import Path

from paper import Finding

import landscape

PAPER = "Ding, Li and Sun 2022"
WHERE = "abstract"
CLAIM = (
    "A sub-optimal local minimum exists for nets of any width, for many smooth activations and generic data."
)
SCALED = (
    "Their construction with sigmoid units and 3 samples (preset ding), all weights 1: all eigenvalues there in "
    "float64, with the loss followed along the null space; 40 descents from points 0.01 and 0.001 away"
)
OVER = "widths in the place of seeds: the construction draws nothing"
CHANGED = (
    "The descents began at the point itself until that was seen to be no test: ∇F is 0 there, which holds descent at a "
    "gentle saddle as well."
)

# On a GPU nothing changes: the construction is of three samples.
SIZES = {"laptop": {"widths": (1, 2, 3, 5, 10, 20)}, "tiny": {"widths": (1, 2, 3)}}
X, Y = "1.0,2.0,3.0", "-0.3329267129401159,0.36410492532956945,-0.0811628434792566"


def commands(folder: Path, size: dict) -> Iterator[str]:
    """The spectrum at the point, for each width, and where descents from beside it end."""
    for width in size["widths"]:
        run = f"{folder}/{width}"
        yield (
            f"train --model ding --model-arg width={width} --data point --data-arg x={X} y={Y} --loss mse --method gd "
            f"--steps 1 --lr 0.1 --dtype float64 -q -o {run}.h5"
        )
        yield f"hessian {run}.h5@init --exact --top-k 1 -q -o {run}.hessian.h5"
        yield (
            f"escape {run}.h5@init --noise none --amplitudes 1e-2,1e-3 --lr 0.02 --drop 1e-9 --max-steps 2000 "
            f"--further 0 -q -o {run}.escape.h5"
        )
    yield f"slice2d {folder}/{size['widths'][1]}.h5@init --directions eigen-ends --span 1 -q -o {folder}/slice2d.h5"
    yield f"plot {folder}/slice2d.h5 --log -q -o {folder}/picture.png"


def findings(folder: Path, size: dict) -> list[Finding]:
    """The loss and the slope at the point, whether it is called a local minimum, and how many descents leave it."""
    widths = size["widths"]
    found = [landscape.load(folder / f"{width}.hessian.h5") for width in widths]
    beside = [landscape.load(folder / f"{width}.escape.h5") for width in widths]
    return [
        Finding("loss at the point; the least is 0", tuple(float(one.loss) for one in found), 0.01),
        Finding("‖∇F‖ there", tuple(float(one.gradient_norm) for one in found), high=1e-12),
        Finding(
            "called a local minimum", tuple(float("local minimum" in str(one.verdict)) for one in found), 0.99
        ),
        Finding(
            "share of descents from beside it that fall 1e-9 below it",
            tuple(float(one.share_left.mean()) for one in beside),
            high=0.01,
        ),
    ]
