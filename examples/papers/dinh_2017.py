"""Dinh et al. 2017, Petzka et al. 2021, Andriushchenko et al. 2023: which sharpness survives, which foretells."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from paper import Finding, real

import landscape

PAPER = "Dinh et al. 2017; Petzka et al. 2021; Andriushchenko et al. 2023"
WHERE = "abstracts (Dinh: Theorem 4, number from memory)"
CLAIM = (
    "A rescaling that keeps the function makes a minimum of a ReLU net as sharp as one likes (Dinh); relative flatness "
    "is invariant to rescalings of layers (Petzka); sharpness does not correlate well with generalisation "
    "(Andriushchenko)."
)
SCALED = (
    "Ten ReLU nets of 64 units a seed (batch sizes 8 to 256, step sizes 0.02 to 0.2) on 500 MNIST images of 14 × 14 "
    "pixels; factors of ¼ to 4, powers of two, which multiply without rounding; Kendall's τ of λ_max with test − "
    "training loss. How far λ_max can be moved was not tried; relative flatness, claimed to stay for layers alone, "
    "moves more than it when units are rescaled (picture)"
)

# On a GPU: resnet of depth 20 on cifar10.
SIZES = {
    "laptop": {"seeds": 3, "batches": (8, 16, 32, 64, 256), "lrs": (0.02, 0.2), "images": 500, "epochs": 30},
    "tiny": {"seeds": 3, "batches": (16, 64), "lrs": (0.05, 0.2), "images": 200, "epochs": 3},
}
RUN = "--rescaling {} --fisher-rao --relative-flatness --sigmas 0.01,0.02 --draws 8 --ascent-steps 5 -q"


def commands(folder: Path, size: dict) -> Iterator[str]:
    """Runs of every batch and step size, side by side; and the measures of one rescaled."""
    data = real("mnist", limit=size["images"], size=14)
    for seed in range(size["seeds"]):
        runs = [f"{folder}/{batch}-{lr}-{seed}" for batch in size["batches"] for lr in size["lrs"]]
        for run in runs:
            batch, lr, _ = Path(run).name.split("-")
            yield (
                f"train --model mlp --model-arg widths=64 {data} --epochs {size['epochs']} --lr {lr} "
                f"--batch-size {batch} --seed {seed} -q -o {run}.h5"
            )
        ends = " ".join(f"{run}.h5" for run in runs)
        yield (
            f"compare {ends} --draws 2 --num-points 9 --line-points 5 --tolerance inf --noise-draws 4 --ascent-steps 5 "
            f"-q -o {folder}/{seed}.compare.h5"
        )
        for rescaling in ("unit", "layer"):
            yield f"sharpness {runs[0]}.h5 {RUN.format(rescaling)} -o {runs[0]}.{rescaling}.h5"
    yield f"plot {folder}/{size['batches'][0]}-{size['lrs'][0]}-0.unit.h5 -q -o {folder}/picture.png"


def findings(folder: Path, size: dict) -> list[Finding]:
    """How much rescaling changes each measure, in decades, and τ of λ_max with the gap over the runs of a seed."""

    def change(seed: int, rescaling: str, measure: str) -> float:
        name = f"{size['batches'][0]}-{size['lrs'][0]}-{seed}.{rescaling}"
        found = landscape.load(folder / f"{name}.h5")
        at = list(found.measure).index(measure)
        return float(abs(np.log10(found.rescaled_values[at] / found.values[at])))

    def tau(seed: int) -> float:
        found = landscape.load(folder / f"{seed}.compare.h5")
        names = list(found.measure)
        return float(found.tau[names.index("lambda_max"), names.index("generalisation_gap")])

    seeds = range(size["seeds"])
    changed = {
        (rescaling, measure): tuple(change(seed, rescaling, measure) for seed in seeds)
        for rescaling, measure in (
            ("unit", "lambda_max"),
            ("layer", "relative_flatness"),
            ("unit", "fisher_rao_norm"),
        )
    }
    return [
        Finding("decades by which λ_max moves, units rescaled", changed["unit", "lambda_max"], 0.05),
        Finding(
            "the same of relative flatness, layers rescaled", changed["layer", "relative_flatness"], high=0.02
        ),
        Finding(
            "the same of the Fisher–Rao norm, units rescaled", changed["unit", "fisher_rao_norm"], high=0.001
        ),
        Finding("Kendall's τ of λ_max and the gap", tuple(map(tau, seeds)), high=0.3),
    ]
