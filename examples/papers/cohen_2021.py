"""Cohen et al. 2021: full-batch gradient descent at the edge of stability."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from paper import Finding, real

import landscape

PAPER = "Cohen et al. 2021"
WHERE = "Figure 1"
CLAIM = "For each step size α the sharpness λ_max rises to 2/α and then hovers right at, or just above, this value."
SCALED = (
    "Full-batch descent on 1000 MNIST images (theirs: 5000 of CIFAR-10), tanh net of 2 × 50, square loss. The rise is "
    "to be seen in the picture, of α = 0.3; at α = 1 λ_max is 2/α from the start, and can but stay there"
)

# On a GPU: widths=200,200, 5000 images of cifar10, the same step sizes and four times the steps.
SIZES = {
    "laptop": {
        "seeds": 3,
        "widths": "50,50",
        "images": 1000,
        "lrs": (0.3, 0.6, 1.0),
        "steps": 3000,
        "kept": 24,
    },
    "tiny": {"seeds": 3, "widths": "8", "images": 100, "lrs": (0.5, 1.0), "steps": 40, "kept": 8},
}


def commands(folder: Path, size: dict) -> Iterator[str]:
    """A run and λ_max at its points, for each step size and seed."""
    for lr in size["lrs"]:
        for seed in range(size["seeds"]):
            run = f"{folder}/{lr}-{seed}"
            yield (
                f"train --model mlp --model-arg widths={size['widths']} activation=tanh "
                f"{real('mnist', limit=size['images'])} --loss mse --method gd --lr {lr} --steps {size['steps']} "
                f"--checkpoint-every {size['steps'] // size['kept']} --seed {seed} -q -o {run}.h5"
            )
            yield f"hessian {run}.h5 --at all --top-k 1 --tol 1e-4 --no-search -q -o {run}.hessian.h5"
    yield f"plot {folder}/{size['lrs'][0]}-0.hessian.h5 -q -o {folder}/picture.png"


def findings(folder: Path, size: dict) -> list[Finding]:
    """λ_max α/2, its median over the last third of each run."""

    def ratio(lr: float, seed: int) -> float:
        found = landscape.load(folder / f"{lr}-{seed}.hessian.h5")
        edge = found.eigenvalues[:, 0] / found.stability_limit
        return float(np.median(edge[-len(edge) // 3 :]))

    seeds = range(size["seeds"])
    return [
        Finding(f"λ_max α/2 at α = {lr}, last third", tuple(ratio(lr, seed) for seed in seeds), 0.95, 1.25)
        for lr in size["lrs"]
    ]
