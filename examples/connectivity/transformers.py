"""Prints the barriers between transformers from the files that ``transformers.sh`` wrote: means ± standard errors.

From the root of the repository: ``python examples/connectivity/transformers.py``.
"""

from pathlib import Path

import numpy as np

import landscape

# What a path is called, the file of a pair, and the attribute that is shown.
ROWS = (
    ("straight", "permuted", "barrier_before"),
    ("permutations", "permuted", "barrier_after"),
    ("all symmetries", "all", "barrier_after"),
    ("all symmetries, refined", "refined", "barrier_after"),
    ("and a Bézier curve from there", "curve", "barrier_chord"),
)


def main() -> None:
    for kind in ("language", "vit"):
        pairs = sorted(Path("connectivity/transformers").glob(f"{kind}-pair-?"))
        print(f"\n| {kind}, {len(pairs)} pairs | barrier |\n|---|---|")
        for called, name, attribute in ROWS:
            paths = [pair / f"{name}.h5" for pair in pairs if (pair / f"{name}.h5").exists()]
            found = np.array([getattr(landscape.load(path), attribute) for path in paths])
            error = f" ± {found.std(ddof=1) / len(found) ** 0.5:.2g}" if len(found) > 1 else ""
            print(
                f"| {called} | {found.mean():.3g}{error} ({len(found)}) |"
                if len(found)
                else f"| {called} | |"
            )


if __name__ == "__main__":
    main()
