"""Papyan 2019, Sagun et al. 2017: outliers of the spectrum count the classes; the size of the net scales the bulk."""

from collections.abc import Iterator
from pathlib import Path

from paper import Finding, real

import landscape

PAPER = "Papyan 2019; Sagun et al. 2017"
WHERE = "Papyan: abstract and text (figure numbers not read); Sagun: abstract"
CLAIM = (
    "The Hessian has as many outliers as there are classes, which come from its Gauss–Newton part (Papyan); with the "
    "data fixed more parameters merely scale the bulk, with the size fixed other data only affect the outliers (Sagun "
    "et al.)."
)
SCALED = (
    "2000 MNIST images of 14 × 14 pixels of C = 5 and of 10 classes, ReLU nets of 2 × 32 and 2 × 64 after 60 epochs; "
    "the 20 largest eigenvalues, and the trace, to 1 %. C − 1 outliers count as well, as softmax takes one direction "
    "away; the scale of the bulk is its mean eigenvalue: the trace less C − 1 outliers over as many as are left. That "
    "what stays does so within a factor of 2 is a measure of this page"
)
WHY = (
    "The trace of the bulk is next to the same at both widths, so that more parameters scale it as claimed. But nets "
    "of ten classes end at a loss five times that of five (0.11 and 0.02 at width 64), their outliers are 1.7 times as "
    "large and their bulk follows: data move it as well."
)

# On a GPU: MNIST whole, widths=256,256 and 512,512, with --density.
SIZES = {
    "laptop": {"seeds": 3, "widths": ("32,32", "64,64"), "epochs": 60, "k": 20},
    "tiny": {"seeds": 3, "widths": ("16", "32"), "epochs": 10, "k": 15},
}
CLASSES = {5: "0,1,2,3,4", 10: None}


def commands(folder: Path, size: dict) -> Iterator[str]:
    """A net and the top of its Hessian, for each number of classes, width and seed."""
    for classes, told in CLASSES.items():
        for widths in size["widths"]:
            for seed in range(size["seeds"]):
                run = f"{folder}/{classes}-{widths}-{seed}"
                yield (
                    f"train --model mlp --model-arg widths={widths} {real('mnist', limit=2000, size=14, classes=told)} "
                    f"--epochs {size['epochs']} --lr 0.1 --batch-size 64 --seed {seed} -q -o {run}.h5"
                )
                yield (
                    f"hessian {run}.h5 --top-k {size['k']} --split --trace --tol 1e-4 -q -o {run}.hessian.h5"
                )
    yield (
        f"hessian {folder}/10-{size['widths'][0]}-0.h5 --top-k {size['k']} --bottom-k 5 --density --tol 1e-4 -q "
        f"-o {folder}/density.h5"
    )
    yield f"plot {folder}/density.h5 --log -q -o {folder}/picture.png"


def findings(folder: Path, size: dict) -> list[Finding]:
    """Eigenvalues before the widest gap, by ``hessian``; the Gauss–Newton part; scales of the bulk and the outliers."""

    def load(classes: int, widths: str, seed: int) -> landscape.Result:
        return landscape.load(folder / f"{classes}-{widths}-{seed}.hessian.h5")

    def outliers(classes: int, widths: str, seed: int) -> float:
        return float(load(classes, widths, seed).num_outliers) - classes

    def share(seed: int) -> float:
        found = load(10, size["widths"][0], seed)
        return float((found.gauss_newton_part / found.eigenvalues)[:9].mean())

    def bulk(classes: int, widths: str, seed: int) -> float:
        found, outliers = load(classes, widths, seed), classes - 1
        left = float(found.trace) - found.eigenvalues.ravel()[:outliers].sum()
        return float(left / (float(found.num_parameters) - outliers))

    def outlier(classes: int, widths: str, seed: int) -> float:
        return float(load(classes, widths, seed).eigenvalues.ravel()[: classes - 1].mean())

    seeds, (narrow, wide) = range(size["seeds"]), size["widths"]
    scales = [
        Finding(what, tuple(of(*one, seed) / of(*other, seed) for seed in seeds), low, high)
        for what, of, one, other, low, high in (
            ("scale of the bulk, wide over narrow, C = 10", bulk, (10, wide), (10, narrow), 0.0, 0.8),
            ("scale of the outliers, wide over narrow, C = 10", outlier, (10, wide), (10, narrow), 0.5, 2.0),
            ("scale of the bulk, C = 10 over C = 5, wide", bulk, (10, wide), (5, wide), 0.5, 2.0),
        )
    ]
    counts = [
        Finding(
            f"outliers − C, C = {classes}, widths {widths.replace(',', ' × ')}",
            tuple(outliers(classes, widths, seed) for seed in seeds),
            -1.2,
            0.2,
        )
        for classes in CLASSES
        for widths in size["widths"]
    ]
    return [*counts, Finding("vᵀGv/λ of the first 9, C = 10", tuple(map(share, seeds)), 0.9, 1.1), *scales]
