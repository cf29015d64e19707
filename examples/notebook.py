"""Makes ``notebook.ipynb``: its cells stand here, its outputs are what they give, in the order in which they are run.

From the root of the repository: ``python examples/notebook.py`` writes it beside this file, ``python
examples/notebook.py FILE`` elsewhere. The bytes are the same on the same machine; on another, the last digits of a
picture may differ.
"""

import ast
import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

# Kind of a cell and its text. What a cell ends with is shown, as a notebook does.
CELLS = (
    (
        "markdown",
        """# A loss landscape in a notebook

A small net on the digits that come with scikit-learn: trained, measured, drawn, reported. Everything here is one call
on any `torch.nn.Module`; numbers are those of all the data, and every result carries its checks.""",
    ),
    (
        "code",
        """import torch
from sklearn.datasets import load_digits

import landscape

images, labels = load_digits(return_X_y=True)
x, y = torch.tensor(images / 16.0), torch.tensor(labels)

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.Tanh(), torch.nn.Linear(16, 10)).double()
objective = landscape.Objective(net, "cross_entropy", (x[:600], y[:600]))
test = landscape.Objective(net, "cross_entropy", (x[600:900], y[600:900]))
objective""",
    ),
    (
        "markdown",
        "Train it. The module itself stays as it was: a result holds the points, the log and what proves them.",
    ),
    (
        "code",
        """run = landscape.train(objective, test=test, epochs=30, lr=0.2, momentum=0.9, checkpoint_every=5)
run""",
    ),
    (
        "markdown",
        "How curved is the loss where training ended? Each eigenvalue comes with its error, here below a millionth.",
    ),
    (
        "code",
        """def at(label):
    return objective.point({name: torch.from_numpy(one) for name, one in run.states[label].items()}, label)

theta = at("final")
spectrum = landscape.hessian(objective, theta, top_k=3)
print([round(value, 4) for value in spectrum.eigenvalues.tolist()], spectrum.status)
bool((spectrum.errors <= 1e-6 * spectrum.eigenvalues[0]).all())""",
    ),
    (
        "markdown",
        "The plane of the run's two principal components, with its checkpoints.",
    ),
    (
        "code",
        """points = [at(label) for label in run.states]
plane = landscape.slice2d(
    objective, theta, directions="pca", trajectory=points, show_trajectory=True, num_points=21
)
plane""",
    ),
    (
        "markdown",
        "Results are arrays with names. They are saved as HDF5, opened again, and put on one page to read and hand on.",
    ),
    (
        "code",
        """run.save("run.h5")
plane.save("plane.slice2d.h5")
again = landscape.load("plane.slice2d.h5")
print(again.loss.shape, bool((again.loss == plane.loss).all()))
landscape.report(["run.h5", "plane.slice2d.h5"], "report.html")  # what could not be read: nothing""",
    ),
    (
        "markdown",
        """The numbers of any result go to a logger, called with a name, a value and a step: `mlflow.log_metric` and
TensorBoard's `writer.add_scalar` as they are, wandb as
`lambda name, value, step: run.log({name: value}, step=step)`.""",
    ),
    (
        "code",
        """sent = []
landscape.send(run, lambda *one: sent.append(one))
[(name, round(value, 3), step) for name, value, step in sent if name == "train/test_accuracy"][-1]""",
    ),
    (
        "markdown",
        """And to and from the scripts of [loss-landscape](https://github.com/tomgoldstein/loss-landscape) (Li et al.
2018), whose `plot_2D.py` draws the first file.""",
    ),
    (
        "code",
        """landscape.export_surface(plane, "surface.h5")
theirs = landscape.import_surface("surface.h5")
print(bool((theirs.loss == plane.loss).all()), bool((theirs.accuracy == plane.accuracy).all()))
theirs.provenance["computed"]""",
    ),
)


def notebook() -> dict[str, Any]:
    """The notebook in its format, version 4, with the outputs of its cells, run in a folder that goes afterwards."""
    scope: dict[str, Any] = {"__name__": "__main__"}
    cells, count, before = [], 0, os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for number, (kind, text) in enumerate(CELLS):
                cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": _lines(text)}
                if kind == "code":
                    count += 1
                    cell |= {"execution_count": count, "outputs": _outputs(text, scope, count)}
                cells.append(cell)
        finally:
            os.chdir(before)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    about = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}


def _outputs(text: str, scope: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """What the cell prints, and what its last expression is: its words, and as a page where it has one."""
    *statements, last = ast.parse(text).body
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(statements, []), "<cell>", "exec"), scope)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), scope)
        else:
            exec(compile(ast.Module([last], []), "<cell>", "exec"), scope)
    found: list[dict[str, Any]] = []
    if printed.getvalue():
        found.append({"output_type": "stream", "name": "stdout", "text": _lines(printed.getvalue())})
    if value is not None:
        data = {"text/plain": _lines(repr(value))}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = _lines(value._repr_html_())
        found.append(
            {"output_type": "execute_result", "execution_count": count, "data": data, "metadata": {}}
        )
    return found


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def written(made: dict[str, Any]) -> str:
    """Its text, of the same characters for the same notebook."""
    return json.dumps(made, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".ipynb")
    place.write_text(written(notebook()), encoding="utf-8")
