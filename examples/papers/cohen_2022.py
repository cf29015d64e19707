"""Cohen et al. 2022: full-batch Adam at the edge of stability, by the preconditioned Hessian."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from paper import Finding, real

import landscape

PAPER = "Cohen et al. 2022"
WHERE = "abstract and section 2"
CLAIM = (
    "Full-batch Adam trains at an edge of stability too: the largest eigenvalue of the preconditioned Hessian P⁻¹H, P "
    "what Adam divides its steps by, rises to (2 + 2β₁)/((1 − β₁)α) = 38/α and then equilibrates there."
)
SCALED = "Full-batch Adam on 1000 MNIST images (theirs: CIFAR-10), tanh net of 2 × 50, square loss; 10 points a run"

# On a GPU: widths=200,200, 5000 images of cifar10, step sizes of 1e-4 to 1e-3 and ten times the steps.
SIZES = {
    "laptop": {
        "seeds": 3,
        "widths": "50,50",
        "images": 1000,
        "lrs": (0.001, 0.003),
        "steps": 1000,
        "kept": 10,
    },
    "tiny": {"seeds": 3, "widths": "8", "images": 100, "lrs": (0.003, 0.01), "steps": 40, "kept": 4},
}


def commands(folder: Path, size: dict) -> Iterator[str]:
    """A run and the largest eigenvalue at its points after the first, for each step size and seed."""
    every = size["steps"] // size["kept"]
    for lr in size["lrs"]:
        for seed in range(size["seeds"]):
            run = f"{folder}/{lr}-{seed}"
            yield (
                f"train --model mlp --model-arg widths={size['widths']} activation=tanh "
                f"{real('mnist', limit=size['images'])} --loss mse --method gd --optimizer adam --lr {lr} "
                f"--steps {size['steps']} --checkpoint-every {every} --seed {seed} -q -o {run}.h5"
            )
            yield (
                f"hessian {run}.h5 --at all --operator preconditioned --top-k 1 --tol 1e-4 --no-search -q "
                f"-o {run}.hessian.h5"
            )
    yield f"plot {folder}/{size['lrs'][0]}-0.hessian.h5 -q -o {folder}/picture.png"


def findings(folder: Path, size: dict) -> list[Finding]:
    """The largest eigenvalue times α/38, its median over the last half of each run."""

    def ratio(lr: float, seed: int) -> float:
        found = landscape.load(folder / f"{lr}-{seed}.hessian.h5")
        edge = found.eigenvalues[:, 0] / found.stability_limit
        return float(np.median(edge[-len(edge) // 2 :]))

    seeds = range(size["seeds"])
    return [
        Finding(
            f"λ_max(P⁻¹H) α/38 at α = {lr}, last half", tuple(ratio(lr, seed) for seed in seeds), 0.9, 1.2
        )
        for lr in size["lrs"]
    ]
