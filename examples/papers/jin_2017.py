"""Lee et al. 2016, Ge et al. 2015, Jin et al. 2017: leaving a strict saddle takes the logarithm of the distance."""

from collections.abc import Iterator
from pathlib import Path

from paper import Finding

import landscape

PAPER = "Lee et al. 2016; Jin et al. 2017"
WHERE = "abstracts, Lee also introduction; Theorem 4 and Theorem 3 (numbers from memory)"
CLAIM = (
    "Descent leaves a strict saddle from almost every start (Lee et al.), and perturbed descent leaves it almost for "
    "free, in a number of steps with logarithms of what is small (Jin et al.). (That a decade of it costs "
    "ln 10/ln(1 + α|λ|) steps is the law of the linearised descent, no number of theirs.)"
)
SCALED = (
    "F = (1 − vw)² from (1, −1), whence plain descent runs into the saddle; noise on spheres of radius 10⁻² to 10⁻⁶, "
    "20 runs each, α = 0.05"
)

# On a GPU: any point of a run, escape a.h5@step=100 --noise sphere.
SIZES = {"laptop": {"seeds": 5, "runs": 20}, "tiny": {"seeds": 3, "runs": 4}}


def commands(folder: Path, size: dict) -> Iterator[str]:
    """Escapes of noisy descent from the saddle, for each seed."""
    for seed in range(size["seeds"]):
        yield (
            f"escape --preset ge-2015 --amplitudes 1e-2,1e-3,1e-4,1e-5,1e-6 --seeds {size['runs']} --seed {seed} -q "
            f"-o {folder}/{seed}.h5"
        )
    yield f"plot {folder}/0.h5 -q -o {folder}/picture.png"


def findings(folder: Path, size: dict) -> list[Finding]:
    """Steps a decade over those of theory, and the share that left."""
    found = [landscape.load(folder / f"{seed}.h5") for seed in range(size["seeds"])]
    ratio = [one.steps_per_decade / one.steps_per_decade_theory for one in found]
    left = [one.share_left.mean() for one in found]
    return [
        Finding("steps a decade over ln 10/ln(1 + α|λ|)", tuple(map(float, ratio)), 0.9, 1.1),
        Finding("share of the runs that left", tuple(map(float, left)), 0.999),
    ]
