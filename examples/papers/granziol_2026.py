"""Granziol and Juarev 2026, Zhang et al. 2024: what the diagonal blocks of a transformer's Hessian say of the whole."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from paper import Finding, real

import landscape

PAPER = "Granziol and Juarev 2026; Zhang et al. 2024"
WHERE = "Granziol and Juarev: abstract; Zhang et al. (Adam-mini, Why Transformers need Adam): abstracts, from memory"
CLAIM = (
    "Block-diagonal approximations of a language model's Hessian have relative errors of order one and poor "
    "directional alignment (Granziol and Juarev). The spectra of its blocks differ much more from one another in a "
    "transformer than in a convolutional net (Zhang)."
)
SCALED = (
    "A decoder of width 32 and two layers on 128 pieces of 32 bytes of text (examples/language_model), 10 epochs of "
    "Adam, curvature on 32 pieces; beside it a convolutional net of three blocks on 500 MNIST images of 14 × 14 "
    "pixels. Blocks are layers, and of the spectrum of each λ_max alone is compared"
)

# On a GPU: width=320 depth=8 on 2048 pieces of 64 bytes; resnet of depth 20 on cifar10.
SIZES = {
    "laptop": {"seeds": 3, "width": 32, "depth": 2, "pieces": 128, "epochs": 10, "channels": "8,16,32"},
    "tiny": {"seeds": 3, "width": 8, "depth": 1, "pieces": 16, "epochs": 1, "channels": "2,4"},
}
DECODER = Path(__file__).parent.parent / "language_model" / "decoder.py"


def commands(folder: Path, size: dict) -> Iterator[str]:
    """Both nets, their Hessians whole and by layers, for each seed."""
    for seed in range(size["seeds"]):
        text, image = f"{folder}/decoder-{seed}", f"{folder}/conv-{seed}"
        yield (
            f"train --model {DECODER}:model --model-arg width={size['width']} depth={size['depth']} heads=2 context=32 "
            f"--data {DECODER}:text --data-arg samples={size['pieces']} context=32 --optimizer adam --lr 0.003 "
            f"--batch-size 16 --epochs {size['epochs']} --seed {seed} -q -o {text}.h5"
        )
        yield (
            f"train --model cnn --model-arg channels={size['channels']} "
            f"{real('mnist', limit=500, size=14, image='true')} --optimizer adam --lr 0.003 "
            f"--batch-size 32 --epochs {size['epochs']} --seed {seed} -q -o {image}.h5"
        )
        yield (
            f"hessian {text}.h5 --subset {size['pieces'] // 4} --subsets 1 --top-k 1 --save-vectors --tol 1e-3 "
            f"--no-search -q -o {text}.hessian.h5"
        )
        for run in (text, image):
            part = f" --subset {size['pieces'] // 4}" if run == text else ""
            yield f"hessian {run}.h5{part} --per-layer --top-k 1 --tol 1e-3 --no-search -q -o {run}.layers.h5"
    yield f"plot {folder}/decoder-0.layers.h5 -q -o {folder}/picture.png"


def findings(folder: Path, size: dict) -> list[Finding]:
    """The error of λ_max by blocks, how much of its vector lies in one layer, and spreads over layers."""

    def load(name: str) -> landscape.Result:
        return landscape.load(folder / f"{name}.h5")

    def missed(seed: int) -> float:
        whole, layers = load(f"decoder-{seed}.hessian"), load(f"decoder-{seed}.layers")
        return float(1 - layers.eigenvalues[:, 0].max() / whole.eigenvalues[0])

    def within_one(seed: int) -> float:
        # A vector of a block-diagonal matrix lies in one layer: its cos² with this one is at most the share of that.
        found, shares = load(f"decoder-{seed}.hessian"), {}
        for piece in found.parameters:
            layer = piece.name.rpartition(".")[0]
            shares[layer] = shares.get(layer, 0.0) + float((found.eigenvectors[0, piece.span] ** 2).sum())
        return max(shares.values())

    def spread(name: str) -> float:
        return float(np.log10(load(f"{name}.layers").eigenvalues[:, 0]).std())

    seeds = range(size["seeds"])
    ratios = tuple(spread(f"decoder-{seed}") / spread(f"conv-{seed}") for seed in seeds)
    return [
        Finding("λ_max missed by the blocks, relative", tuple(map(missed, seeds)), 0.3),
        Finding("most of its vector in one layer, cos²", tuple(map(within_one, seeds)), high=0.7),
        Finding("spread of log λ_max over layers, transformer over conv net", ratios, 1.2),
    ]
