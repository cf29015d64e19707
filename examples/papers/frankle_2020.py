"""Frankle et al. 2020: from which step on two runs with other batches end in one linearly connected region."""

from collections.abc import Iterator
from pathlib import Path

from paper import Finding, real

import landscape

PAPER = "Frankle et al. 2020"
WHERE = "abstract, which says of MNIST what it says for pruned nets; that of whole ones: Figure 2 (number from memory)"
CLAIM = (
    "Two copies of a net that train on by other batches end in one linearly connected region once they part past a "
    "point early in training; at small scale (MNIST) already at the initial point."
)
SCALED = (
    "SGD on 2000 MNIST images, ReLU net of 2 × 100, 30 epochs from k on; barrier of the training loss over the chord, "
    "51 points; beside two nets of different initial points. Of the claim that is the part of small scale: where "
    "nothing is in the way at k = 0, no point early in training can be told"
)

# On a GPU: resnet of depth 20 on cifar10, k up to 2000 steps.
SIZES = {
    "laptop": {"seeds": 3, "widths": "100,100", "images": 2000, "epochs": 30, "ks": (0, 20, 100, 400)},
    "tiny": {"seeds": 3, "widths": "16", "images": 200, "epochs": 4, "ks": (0, 4)},
}


def commands(folder: Path, size: dict) -> Iterator[str]:
    """A run, its point after k steps, two runs from there, and the line between their ends, for each k and seed."""
    data, steps = real("mnist", limit=size["images"]), "--batch-size 50 --lr 0.1 -q"
    for seed in range(size["seeds"]):
        trunk = f"{folder}/{seed}"
        every = min(k for k in size["ks"] if k)
        yield (
            f"train --model mlp --model-arg widths={size['widths']} {data} {steps} --steps {max(size['ks'])} "
            f"--checkpoint-every {every} --seed {seed} -o {trunk}.h5"
        )
        for k in size["ks"]:
            fork, point = (
                f"{trunk}-{k}",
                "init" if k == 0 else "final" if k == max(size["ks"]) else f"step={k}",
            )
            for side in (1, 2):
                yield (
                    f"train --init {trunk}.h5@{point} {steps} --epochs {size['epochs']} --seed {100 * side + seed} "
                    f"-o {fork}-{side}.h5"
                )
            yield f"interpolate {fork}-1.h5 {fork}-2.h5 -q -o {fork}.interpolate.h5"
    for seed in range(size["seeds"]):
        other = f"{folder}/{(seed + 1) % size['seeds']}-0-2.h5"
        yield f"interpolate {folder}/{seed}-0-1.h5 {other} -q -o {folder}/{seed}-apart.h5"
    yield f"plot {folder}/0-apart.h5 {folder}/0-0.interpolate.h5 -q -o {folder}/picture.png"


def findings(folder: Path, size: dict) -> list[Finding]:
    """The barrier between two that part at k, over that between nets of different initial points."""

    def ratio(seed: int, k: int) -> float:
        apart = landscape.load(folder / f"{seed}-apart.h5").barrier_chord
        return landscape.load(folder / f"{seed}-{k}.interpolate.h5").barrier_chord / apart

    # A ratio says something where what it is over is a barrier at all.
    apart = tuple(landscape.load(folder / f"{seed}-apart.h5").barrier_chord for seed in range(size["seeds"]))
    return [
        Finding("barrier of two nets of different initial points", apart, 0.05),
        *(
            Finding(
                f"barrier, parted at k = {k}, over that of two nets",
                tuple(ratio(seed, k) for seed in range(size["seeds"])),
                high=0.1,
            )
            for k in size["ks"]
        ),
    ]
