"""Li et al. 2018: shortcuts keep the loss convex about a minimum; sharpness of small and large batches, normalised."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from paper import Finding, real

import landscape

PAPER = "Li et al. 2018"
WHERE = "Figures 1, 5 and 7 (shortcuts, share of negative curvature), Figures 2 and 4 (batches); numbers from memory"
CLAIM = (
    "Without shortcuts the surface of a deep residual net turns from nearly convex to chaotic, with regions of "
    "negative curvature. Sharpness by plain directions does not tell small from large batches, as weight decay turns "
    "it round; by filter-normalised directions large batches are sharper."
)
SCALED = (
    "Residual nets of depth 14 (theirs: 56) with batch norm on 24 MNIST images of 14 × 14 pixels (theirs: CIFAR-10), "
    "planes of 3 × 3 points of half width 1 with λ_min and λ_max at each; convolutional nets of batches of 16 and of "
    "all of 300 images, rise of F by noise of σ = 0.05 of each filter"
)

WHY = (
    "Depth 14 with batch norm, 24 images and nine points a plane are far from their nets: both kinds are convex near "
    "the minimum and not at the edge, and no difference shows. Plain directions were not measured beside the filters."
)
CHANGED = "The range of the difference began at 0, which a difference of 0 met; it was put to 0.05 after that was seen."

# On a GPU: depth=56 on cifar10, planes of 51 × 51, batches of 128 and 8192.
SIZES = {
    "laptop": {"seeds": 3, "depth": 14, "images": 24, "epochs": 30, "points": 3, "many": 300, "passes": 20},
    "tiny": {"seeds": 3, "depth": 8, "images": 8, "epochs": 1, "points": 3, "many": 100, "passes": 2},
}
DECAYS = (0.0, 0.0005)


def commands(folder: Path, size: dict) -> Iterator[str]:
    """Residual nets and their planes on one scale; small and large batches with their sharpness."""
    few = real("mnist", limit=size["images"], size=14, image="true")
    many = real("mnist", limit=size["many"], size=14, image="true")
    for seed in range(size["seeds"]):
        for shortcuts in ("true", "false"):
            run = f"{folder}/{shortcuts}-{seed}"
            yield (
                f"train --model resnet --model-arg depth={size['depth']} shortcuts={shortcuts} {few} --lr 0.05 "
                f"--momentum 0.9 --batch-size 32 --epochs {size['epochs']} --seed {seed} -q -o {run}.h5"
            )
            yield (
                f"slice2d {run}.h5 --num-points {size['points']} --span 1 --curvature --seed {seed} -q "
                f"-o {run}.plane.h5"
            )
        for batch in (16, size["many"]):
            for decay in DECAYS:
                run = f"{folder}/{batch}-{decay}-{seed}"
                yield (
                    f"train --model cnn --model-arg channels=8,16 {many} --lr 0.1 --momentum 0.9 --batch-size {batch} "
                    f"--weight-decay {decay} --epochs {size['passes'] * (1 if batch == 16 else 4)} --seed {seed} -q "
                    f"-o {run}.h5"
                )
                yield (
                    f"sharpness {run}.h5 --rescaling none --sigmas 0.05 --draws 16 --ascent-steps 1 --tol 1e-2 -q "
                    f"-o {run}.sharpness.h5"
                )
    yield f"plot {folder}/false-0.plane.h5 --log -q -o {folder}/picture.png"


def findings(folder: Path, size: dict) -> list[Finding]:
    """The share of cells of negative curvature without shortcuts less that with them, and rises of large over small."""

    def non_convex(shortcuts: str, seed: int) -> float:
        found = landscape.load(folder / f"{shortcuts}-{seed}.plane.h5")
        return float((found.curvature_ratio > 0.1).mean())

    def rise(batch: int, decay: float, seed: int, how: str) -> float:
        return float(getattr(landscape.load(folder / f"{batch}-{decay}-{seed}.sharpness.h5"), how)[0])

    seeds = range(size["seeds"])
    more = tuple(non_convex("false", seed) - non_convex("true", seed) for seed in seeds)
    found = [Finding("share of cells with |λ_min/λ_max| > 0.1, without less with shortcuts", more, 0.05)]
    for decay in DECAYS:
        quotients = tuple(
            float(
                np.log10(
                    rise(size["many"], decay, seed, "noise_rise_filter")
                    / rise(16, decay, seed, "noise_rise_filter")
                )
            )
            for seed in seeds
        )
        found.append(
            Finding(f"decades that large batches are sharper by, filters, decay {decay}", quotients, 0.0)
        )
    return found
