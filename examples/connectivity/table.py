"""Prints the table of mode connectivity from the files that ``table.sh`` wrote.

From the root of the repository: ``python examples/connectivity/table.py``.
"""

from pathlib import Path

import landscape

# Each file of a pair, what it is called, and the attribute that is shown.
ROWS = {
    "straight": ("straight", "barrier_chord"),
    "repair": ("straight, with REPAIR", "barrier_chord"),
    "bezier": ("Bézier, 1 free point, 180 epochs", "barrier_chord"),
    "chain": ("chain, 1 free point, 180 epochs", "barrier_chord"),
    "minmax": ("`minmax`, 1 free point, 180 epochs", "barrier_chord"),
    "align": ("straight after `align`", "barrier_after"),
    "align-rescale": ("the same with `--symmetry scaling`", "barrier_after"),
    "align-activations": ("the same with `--match activations`", "barrier_after"),
    "align-refine": ("the same with `--refine 1000`", "barrier_after"),
    "align-rescale-refine": ("the same with `--symmetry scaling --refine 1000`", "barrier_after"),
    "align-bezier": ("`--align`, then Bézier for 60 epochs: largest loss", "max_loss"),
}


def main() -> None:
    pairs = sorted(Path("connectivity").glob("pair-*"))
    losses = [landscape.load(path).final_loss for path in sorted(Path("connectivity").glob("net-*.h5"))]
    print(f"{len(pairs)} pairs of nets with losses {min(losses):.2g} to {max(losses):.2g}\n")
    print("| path | mean | least | largest |\n|---|---|---|---|")
    for name, (called, attribute) in ROWS.items():
        found = [getattr(landscape.load(pair / f"{name}.h5"), attribute) for pair in pairs]
        print(f"| {called} | {sum(found) / len(found):.2g} | {min(found):.2g} | {max(found):.2g} |")


if __name__ == "__main__":
    main()
