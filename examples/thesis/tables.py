"""Prints the tables of experiments 5.1 and 5.2 from the files that the presets wrote.

From the root of the repository: ``python examples/thesis/tables.py thesis/minima.h5 thesis/efficiency.h5``.
"""

import sys

import landscape


def minima(result) -> None:
    """Quantiles of the costs by depth and width, of the descents' ends and of the polished ones."""
    print(
        "\n| depth | width | cost: min, quartile, median, quartile, max | after polishing |\n|---|---|---|---|"
    )
    for i, depth in enumerate(result.depth):
        for j, width in enumerate(result.width):
            found = (result.cost_quantiles, result.polished_cost_quantiles)
            cells = [" ".join(f"{x:.4g}" for x in one[i, j]) if one is not None else "" for one in found]
            print("|", depth, "|", width, "|", " | ".join(cells), "|")


def efficiency(result) -> None:
    """The lowest mean cost of each method with its step size, beside two baselines."""
    # Of a square loss alone.
    baselines = {"outputs zero": result.zero_predictor, "least squares": result.least_squares}
    baselines = {name: values for name, values in baselines.items() if values is not None}
    print("\n| n |", " | ".join([*result.method, *baselines]), "|")
    print("|---" * (len(result.method) + len(baselines) + 1) + "|")
    for i, size in enumerate(result.size):
        cells = zip(result.best_cost[i], result.best_cost_error[i], result.best_step[i], strict=True)
        found = [f"{cost:.3f} ± {error:.3f} ({step:g})" for cost, error, step in cells]
        found += [f"{values[i]:.6f}" for values in baselines.values()]
        print("|", size, "|", " | ".join(found), "|")


TABLES = {"minima": minima, "efficiency": efficiency}

if __name__ == "__main__":
    for file in sys.argv[1:]:
        result = landscape.load(file)
        TABLES[result.kind](result)
