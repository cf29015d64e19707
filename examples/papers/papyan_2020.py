"""Papyan 2020: between the outliers and the bulk of the Gauss–Newton matrix, a bump of C² eigenvalues."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from paper import Finding, real

import landscape

PAPER = "Papyan 2020"
WHERE = "abstract and text (figure numbers not read)"
CLAIM = (
    "On a logarithmic scale the spectrum of the Gauss–Newton matrix has three parts: C outliers, which are of the "
    "class means of the gradients, a mini-bulk of about C² of the cross-class means, and the main bulk of what is left "
    "within the classes."
)
SCALED = (
    "600 MNIST images of 14 × 14 pixels of C = 3 and of 4 classes, ReLU net of 2 × 32 after 60 epochs; the 3C² largest "
    "eigenvalues, and the widest gaps among them; C − 1 and C(C − 1) count as well, as softmax takes one direction away"
)
WHY = (
    "Past the outliers, whose gap is four- to seven-fold (of four classes three- to four-fold), neighbours "
    "differ by less than six tenths and no gap stands out: a net of "
    "two layers of 32 on 600 images has no mini-bulk apart from the bulk. Theirs are deep, trained to perfect fit."
)

CHANGED = "Three seeds left one of the gaps open (4.67 ± 0.7), and six were added after that was seen."

# On a GPU: resnet of depth 20 on cifar10, --density with 10 probes.
SIZES = {
    "laptop": {"seeds": 9, "widths": "32,32", "images": 600, "epochs": 60, "classes": (3, 4)},
    "tiny": {"seeds": 3, "widths": "8", "images": 100, "epochs": 4, "classes": (3,)},
}


def commands(folder: Path, size: dict) -> Iterator[str]:
    """A net and the top of its Gauss–Newton matrix, for each number of classes and seed; one density."""
    for classes in size["classes"]:
        told = ",".join(map(str, range(classes)))
        for seed in range(size["seeds"]):
            run = f"{folder}/{classes}-{seed}"
            yield (
                f"train --model mlp --model-arg widths={size['widths']} "
                f"{real('mnist', limit=size['images'], size=14, classes=told)} --epochs {size['epochs']} --lr 0.1 "
                f"--batch-size 64 --seed {seed} -q -o {run}.h5"
            )
            yield (
                f"hessian {run}.h5 --operator gauss-newton --top-k {3 * classes**2} --tol 1e-3 --no-search -q "
                f"-o {run}.hessian.h5"
            )
    first = f"{folder}/{size['classes'][0]}-0"
    yield (
        f"hessian {first}.h5 --operator gauss-newton --top-k {size['classes'][0] ** 2} --density --probes 4 --tol 1e-3 "
        f"--no-search -q -o {folder}/density.h5"
    )
    yield f"plot {folder}/density.h5 --log -q -o {folder}/picture.png"


def findings(folder: Path, size: dict) -> list[Finding]:
    """How many eigenvalues stand before the widest gap, and before the widest one after the outliers."""

    def before_gap(classes: int, seed: int, first: int, last: int) -> float:
        values = landscape.load(folder / f"{classes}-{seed}.hessian.h5").eigenvalues
        ratios = values[first - 1 : last] / values[first : last + 1]
        return float(first + np.argmax(ratios))

    seeds = range(size["seeds"])
    found = []
    for c in size["classes"]:
        outliers = tuple(before_gap(c, seed, 2, c + 1) for seed in seeds)
        bump = tuple(before_gap(c, seed, c + 1, 2 * c**2) for seed in seeds)
        # Softmax takes one direction away from either: C − 1 or C, C(C − 1) or C².
        found += [
            Finding(f"eigenvalues before the widest gap, C = {c}", outliers, c - 1.2, c + 0.2),
            Finding(f"before the widest one after them, C = {c}", bump, c * (c - 1) - 1, c**2 + 1),
        ]
    return found
