"""Prints the table of merged siblings from the files that ``siblings.sh`` wrote: means and errors over families.

From the root of the repository: ``python examples/connectivity/siblings.py``.
"""

from pathlib import Path

import numpy as np

import landscape

KINDS = {
    "sibling": "fine-tuned from one ancestor",
    "twin": "from the initial point of one ancestor",
    "stranger": "from initial points of their own",
}


def rows(merges: list) -> dict[str, np.ndarray]:
    """Loss, test loss and test accuracy, (family, 3), of the mean over the ends, of their soup and of the merge."""
    table = np.array([[one.loss, one.test_loss, one.test_accuracy] for one in merges])
    return {
        "ends": table[:, :, :-2].mean(2),
        "soup": table[:, :, -1],
        "merged": table[:, :, -2],
    }


def in_words(values: np.ndarray) -> str:
    """Mean and standard error over families."""
    return f"{values.mean():.4f} ± {values.std(ddof=1) / len(values) ** 0.5:.4f}"


def main() -> None:
    print(
        "| three nets | | loss | test loss | test accuracy | distance to the mean |\n|---|---|---|---|---|---|"
    )
    for kind, called in KINDS.items():
        merges = [
            landscape.load(path) for path in sorted(Path("connectivity/siblings").glob(f"merged-{kind}-*.h5"))
        ]
        away = {
            "soup": np.array([one.distance_before.mean() for one in merges]),
            "merged": np.array([one.distance_after.mean() for one in merges]),
        }
        for what, values in rows(merges).items():
            distance = in_words(away[what]) if what in away else ""
            numbers = " | ".join(in_words(column) for column in values.T)
            print(f"| {called} | {what} | {numbers} | {distance} |")


if __name__ == "__main__":
    main()
