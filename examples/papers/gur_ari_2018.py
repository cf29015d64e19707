"""Gur-Ari, Roberts and Dyer 2018: the gradient in the space of the top Hessian eigenvectors."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from paper import Finding, real

import landscape

PAPER = "Gur-Ari, Roberts and Dyer 2018"
WHERE = "abstract (its figures could not be read)"
CLAIM = (
    "After a short period of training the gradient lies in a small space, spanned by as many top Hessian eigenvectors "
    "as there are classes, which is mostly preserved over long periods."
)
SCALED = "SGD on 1000 MNIST images, ReLU net of 2 × 50, k = 10 classes beside k ± 3; points from a fifth of the run on"

# On a GPU: widths=100,100, all 60000 images, 20 epochs at batch size 64.
SIZES = {
    "laptop": {"seeds": 3, "widths": "50,50", "images": 1000, "epochs": 40, "kept": 10},
    "tiny": {"seeds": 3, "widths": "8", "images": 100, "epochs": 4, "kept": 4},
}


def commands(folder: Path, size: dict) -> Iterator[str]:
    """A run and the top of the Hessian at its points, for each seed and k."""
    for seed in range(size["seeds"]):
        run = f"{folder}/{seed}"
        yield (
            f"train --model mlp --model-arg widths={size['widths']} {real('mnist', limit=size['images'])} "
            f"--epochs {size['epochs']} --batch-size 64 --lr 0.1 --checkpoint-every {size['epochs'] // size['kept']} "
            f"--seed {seed} -q -o {run}.h5"
        )
        # Shares of all ranks from one search; the overlap is that of the whole space, of as many as there are classes.
        for k in (10, 13):
            yield f"hessian {run}.h5 --at all --top-k {k} --tol 1e-3 --no-search -q -o {run}-{k}.h5"
    yield f"plot {folder}/0-10.h5 -q -o {folder}/picture.png"


def findings(folder: Path, size: dict) -> list[Finding]:
    """The share of ‖∇F‖² in the top k, what three more add, and how much of the space stays; means over the run."""

    def share(seed: int, k: int) -> float:
        return float(np.mean(landscape.load(folder / f"{seed}-13.h5").gradient_share[2:, :k].sum(axis=1)))

    def overlap(seed: int) -> float:
        return float(np.nanmean(landscape.load(folder / f"{seed}-10.h5").overlap[2:]))

    seeds = range(size["seeds"])
    at = {k: tuple(share(seed, k) for seed in seeds) for k in (7, 10, 13)}
    gain = tuple((a - b) / (b - c) for a, b, c in zip(at[13], at[10], at[7], strict=True))
    return [
        Finding("share of ‖∇F‖² in the top 10", at[10], 0.5),
        Finding("what eigenvectors 11 to 13 add, over what 8 to 10 did", gain, high=0.5),
        Finding("overlap of the space with that a tenth of the run before", tuple(map(overlap, seeds)), 0.5),
    ]
