"""Li et al. 2018: shortcuts keep the loss convex about a minimum; sharpness of small and large batches, normalised."""

import math
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
    "Residual nets of depth {depth} (theirs: 56) with batch norm, trained on {images} CIFAR-10 images for {epochs} "
    "epochs; planes of {points} × {points} points of half width 1 with λ_min and λ_max of {few} images at each; "
    "convolutional nets of batches of 16 and of all of {many} MNIST images of 14 × 14 pixels, rise of F by noise of "
    "σ = 0.05, in every parameter (plain) and of each filter"
)
WHY = (
    "Every seed has more cells of negative curvature without shortcuts; three seeds put the mean above 0.05 with less "
    "than 95 %. But 0.88 of the cells have it with shortcuts too, and no net is at a minimum after 160 steps: losses "
    "are 0.02 to 0.5 with shortcuts and 1.1 to 1.2 without, gradients of length 1 to 17. Small and large batches "
    "differ from seed to seed by more than from one another."
)
CHANGED = (
    "The range of the difference began at 0, which a difference of 0 met; it was put to 0.05 after that was seen. Nets "
    "of depth 14 on 24 MNIST images with planes of nine points, which were run first, showed no difference. Nets of "
    "depth 56 after 80 steps, whose numbers stood here for a day as those of depth 32, gave 0.107 ± 0.04, and were as "
    "far from any minimum."
)

# On a GPU: depth=56, all images, planes of 51 × 51, batches of 128 and 8192.
SIZES = {
    "laptop": {
        "seeds": 3,
        "depth": 32,
        "images": 64,
        "epochs": 40,
        "points": 5,
        "few": 8,
        "many": 300,
        "passes": 20,
    },
    "tiny": {
        "seeds": 3,
        "depth": 8,
        "images": 8,
        "epochs": 1,
        "points": 3,
        "few": 8,
        "many": 100,
        "passes": 2,
    },
}
DECAYS = (0.0, 0.0005)


def commands(folder: Path, size: dict) -> Iterator[str]:
    """Residual nets and their planes on one scale; small and large batches with their sharpness."""
    few = real("cifar10", limit=size["images"], image="true")
    many = real("mnist", limit=size["many"], size=14, image="true")
    for seed in range(size["seeds"]):
        for shortcuts in ("true", "false"):
            run = f"{folder}/{shortcuts}-{seed}"
            yield (
                f"train --model resnet --model-arg depth={size['depth']} shortcuts={shortcuts} {few} --lr 0.02 "
                f"--momentum 0.9 --batch-size 16 --epochs {size['epochs']} --seed {seed} -q -o {run}.h5"
            )
            yield (
                f"slice2d {run}.h5 --num-points {size['points']} --span 1 --curvature --subset {size['few']} "
                f"--seed {seed} -q -o {run}.plane.h5"
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
    yield f"plot {folder}/true-0.plane.h5 {folder}/false-0.plane.h5 --log -q -o {folder}/picture.png"


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
    for what, how in (("plain", "noise_rise"), ("filters", "noise_rise_filter")):
        for decay in DECAYS:
            decades = tuple(
                float(np.log10(rise(size["many"], decay, seed, how) / rise(16, decay, seed, how)))
                for seed in seeds
            )
            # Plain directions call small batches the sharper ones once weight decay has made their weights small.
            low, high = (-math.inf, 0.0) if what == "plain" and decay else (0.0, math.inf)
            named = f"decades that large batches are sharper by, {what}, decay {decay}"
            found.append(Finding(named, decades, low, high))
    return found
