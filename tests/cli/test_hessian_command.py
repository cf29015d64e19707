"""``landscape hessian`` and what goes with it on a net whose second derivative autograd has wrong."""

import pytest

OWN = """
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

def net():
    torch.manual_seed(3)
    return nn.Sequential(weight_norm(nn.Linear(2, 5)), nn.Tanh(), weight_norm(nn.Linear(5, 1)))
"""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_by_differences_complete_and_are_said(command, tmp_path, monkeypatch, dtype):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    line = ["--model", "own.py:net", "--data", "moons", "--data-arg", "num_samples=60", "--dtype", dtype]
    made = command("train", *line, "--epochs", 2, "-o", "a.h5", "-q")
    assert made.code == 0, made.err
    done = command("hessian", "a.h5", "--top-k", 3, "--trace", "--exact", "--strict", "--json")
    assert done.code == 0, done.err
    found = done.json
    assert found["status"] == "complete"
    assert all(check["passed"] for check in found["checks"])
    assert 0 < found["values"]["product_error"] <= 1e-6
    assert sum("Hessian products are differences of the gradient" in one for one in found["notes"]) == 1
    for words in (["slice1d", "a.h5", "--num-points", 3], ["sharpness", "a.h5", "--draws", 2]):
        done = command(*words, "--strict", "--json")
        assert done.code == 0, done.err
        said = [one for one in done.json["notes"] if "Hessian products are differences" in one]
        assert len(said) == 1
