"""A module that FSDP2 shards gives what it gives whole, with a part of every vector in each process."""

import os
import subprocess
import sys

import numpy as np
import pytest
import shards
import torch.distributed
from launching import SEVERAL, TESTS, launched
from torch import nn

pytestmark = SEVERAL
COUNTS = [2, *(pytest.param(count, marks=pytest.mark.slow) for count in (3, 4, 8))]


@pytest.fixture(scope="module", params=COUNTS)
def several(request, tmp_path_factory):
    folder, count = tmp_path_factory.mktemp("shards"), request.param
    ended = launched(count, TESTS / "shards.py", folder, timeout=600)
    assert ended.code == 0, ended.err[-5000:]
    answers = []
    for rank in range(count):
        with np.load(folder / f"{count}-{rank}.npz") as stored:
            answers.append(dict(stored))
    return answers


@pytest.fixture
def drawn_by_entry(monkeypatch):
    for owner, name, draw in shards.by_entry():
        monkeypatch.setattr(owner, name, draw)


@pytest.mark.usefixtures("drawn_by_entry")
@pytest.mark.parametrize("count", [shards.EVEN, shards.ODD, "tiny"])
def test_it_agrees_with_the_module_whole(several, count):
    """Whose products are by a double backward, so that nothing of the differences is shared."""
    everything = len(several) > 2
    if count == "tiny":
        nets = (shards.net(width=shards.TINY, activation=one) for one in (nn.Tanh, nn.ReLU))
        wanted = shards.tiny(*nets, everything=everything)
    else:
        wanted = shards.found(shards.net(), count, everything=everything)
    for name, value in wanted.items():
        told = several[0][f"{name} of {count}"]
        if name == "failed" or name.endswith("status"):
            assert told.tolist() == value
        else:
            np.testing.assert_allclose(told, value, rtol=1e-6, atol=1e-7, err_msg=name)


def test_every_process_tells_the_same(several):
    first, *others = several
    for other in others:
        for name in first.keys() - {"share"}:
            np.testing.assert_array_equal(other[name], first[name], err_msg=name)


def test_each_process_holds_its_part_and_leaves_the_module_as_it_was(several):
    for found in several:
        assert found["share"] <= 1.1 / len(several)
        assert not found["moved"]
    assert sum(float(found["share"]) for found in several) == pytest.approx(1)


def test_draws_are_the_same_for_any_number_of_processes(several):
    from landscape.numerics.vectors import normal

    whole = normal(shards.flat(0), torch.Generator().manual_seed(5))
    assert float(several[0]["drawn"]) == pytest.approx(float(whole.square().sum()), rel=1e-12)


@pytest.mark.parametrize("name", shards.TRAINED)
def test_a_gradient_is_that_of_f_whatever_a_training_does_with_it(several, name):
    wanted = shards.gradient(shards.net(width=shards.TINY + 1))
    np.testing.assert_allclose(several[0][f"trained {name}"], wanted, rtol=1e-9)
    for found in several:
        assert found[f"goes on {name}"]


def test_gradients_that_are_rounded_on_their_way_are_no_better_than_that(several):
    assert str(several[0]["coarsest"]) == "torch.bfloat16"


def test_what_cannot_take_it_says_so(several):
    refused = {name: str(text) for name, text in several[0].items() if name.startswith("refused")}
    assert len(refused) == 11
    for name, text in refused.items():
        assert "sharded" in text or f"in {len(several)} processes; expected one process" in text, name


@pytest.mark.slow
def test_the_peak_of_a_process_is_its_share_of_that_of_one(tmp_path):
    peaks = {}
    for count in (1, 2, 8):
        ended = launched(count, TESTS / "shard_peaks.py", tmp_path, timeout=900)
        assert ended.code == 0, ended.err[-5000:]
        peaks[count] = max(float((tmp_path / f"{count}-{rank}").read_text()) for rank in range(count))
        assert peaks[count] <= 1.1 * peaks[1] / count


@pytest.mark.slow
def test_the_whole_of_hessian_at_ten_million_parameters_is_that_of_one_process(tmp_path):
    """Half an hour on two busy cores: products of differences in four, by a double backward in one."""
    program, width = str(TESTS / "shards_large.py"), "3130"
    ended = launched(4, program, tmp_path, width, timeout=3000)
    assert ended.code == 0, ended.err[-5000:]
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, program, str(tmp_path), width], env=environment, check=True)
    parts, whole = (dict(np.load(tmp_path / f"{count}.npz")) for count in (4, 1))
    for found in (parts, whole):
        assert not found["failed"].size
        assert str(found["status"]) == "complete"
    assert parts["share"] <= 1.1 / 4
    apart = np.abs(parts["eigenvalues"] - whole["eigenvalues"])
    assert (apart <= parts["errors"] + whole["errors"]).all()
    for name in ("eigenvalues", "trace", "trace_error", "mass_below_zero", "moments", "gradient_norm"):
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-6, err_msg=name)
