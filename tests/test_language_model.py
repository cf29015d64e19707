"""``examples/language_model``: what its model and its text are, and that its script runs at a small size."""

import os
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics

import pytest
import torch

import landscape
from landscape import Objective

PLACE = Path(__file__).parent.parent / "examples" / "language_model"
FILES = ("spectrum", "layers", "align", "connect", "filter", "random", "sharpness-final")


@pytest.fixture(scope="module")
def own():
    return runpy.run_path(str(PLACE / "decoder.py"))


def test_a_byte_is_told_from_those_before_it_alone(own):
    module = own["model"](width=16, depth=2, context=8)
    inputs = torch.randint(128, (1, 8), generator=torch.Generator().manual_seed(0))
    changed = inputs.clone()
    changed[0, 5] = (changed[0, 5] + 1) % 128
    with torch.no_grad():
        before, after = module(inputs)[0], module(changed)[0]
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert all((before[:, place] != after[:, place]).any() for place in range(5, 8))


def test_the_sizes_that_are_said(own):
    for width, depth, size in ((128, 5, 1.0e6), (320, 8, 1.0e7)):
        with torch.device("meta"):
            count = sum(one.numel() for one in own["model"](width=width, depth=depth).parameters())
        assert count == pytest.approx(size, rel=0.04)


def test_targets_are_the_next_bytes_of_the_reference_and_no_test_piece_is_trained_on(own):
    train, following, test, test_following = own["text"](samples=20_000, context=32)
    whole = "\n".join(topics[name] for name in sorted(topics)).encode("ascii", "ignore")
    pieces = [torch.cat([a, b]) for a, b in ((train, test), (following, test_following))]
    assert torch.equal(pieces[0][:, 1:], pieces[1][:, :-1])
    texts = [bytes(row.tolist()) for row in torch.cat([pieces[0], pieces[1][:, -1:]], dim=1)]
    assert sorted(texts) == sorted(whole[i : i + 33] for i in range(0, len(whole) - 32, 33))
    few = own["text"](samples=30, context=32)
    assert (len(few[0]), len(few[2])) == (30, 3)


def test_its_eigenvalues_are_those_of_the_dense_matrix(own):
    """With attention and gates, the seeded search against ``torch.func.hessian`` written out."""
    torch.manual_seed(0)
    module = own["model"](width=4, depth=1, heads=2, context=6).double()
    inputs, targets, _, _ = own["text"](samples=5, context=6)
    small = [(name, one) for name, one in module.named_parameters() if name.startswith("layers")]
    objective = Objective(module, "cross_entropy", (inputs, targets))
    found = landscape.hessian(objective, objective.theta, top_k=3, block="layers.*")
    names, shapes = [name for name, _ in small], [one.shape for _, one in small]
    sizes = [one.numel() for _, one in small]

    def loss(theta):
        parts = {n: p.view(s) for n, p, s in zip(names, theta.split(sizes), shapes, strict=True)}
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            outputs = torch.func.functional_call(module, parts, (inputs,))
        return torch.nn.functional.cross_entropy(outputs, targets)

    theta = torch.cat([one.detach().reshape(-1) for _, one in small])
    dense = torch.autograd.functional.hessian(loss, theta)
    values = torch.linalg.eigvalsh(dense).flip(0)[:3].numpy()
    assert (abs(found.eigenvalues - values) <= found.errors + 1e-12 * values[0]).all()
    assert (found.errors <= 1e-6 * values[0]).all()


@pytest.mark.slow
def test_the_script_runs_at_a_small_size(tmp_path):
    shim = tmp_path / "bin" / "landscape"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m landscape "$@"\n')
    shim.chmod(0o755)
    (tmp_path / "examples").symlink_to(PLACE.parent)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(shim.parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(PLACE.parent.parent), os.environ.get("PYTHONPATH", "")]),
        "SIZE": "width=16 depth=1",
        "TEXT": "64",
        "PIECES": "8",
    }
    line = ["sh", "examples/language_model/run.sh"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in FILES:
        found = landscape.load(tmp_path / "language_model" / f"{name}.h5")
        assert all(check.passed for check in found.checks), name
