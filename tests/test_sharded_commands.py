"""Command lines in several processes whose factory shards the module: as one process, and on after one is lost."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch.distributed
from launching import SEVERAL, Ended, launched

import landscape
from landscape.cli import main

pytestmark = SEVERAL
OWN = """
    import torch
    from torch import nn

    def model(width=6):
        module = nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 3)).double()
        if torch.distributed.is_initialized():
            from torch.distributed.fsdp import fully_shard
            fully_shard(module)
        return module

    def data():
        draw = torch.Generator().manual_seed(1)
        return torch.randn(24, 5, generator=draw, dtype=torch.float64), torch.arange(24) % 3
"""
# A command line in which one process is lost at a gradient, or steps in a curve, with everything kept at once.
COMMAND = """
    import os, signal, sys

    import torch

    from landscape import progress
    from landscape.cli import main
    from landscape.objective.sharded import Sharded

    progress.SAVE_SECONDS, calls = 0.0, []
    name = os.environ.get("LOST", "")
    if name:
        method = getattr(Sharded, name)
        def lost(*given, **named):
            calls.append(1)
            if os.environ["RANK"] == "1" and len(calls) == int(os.environ["AT"]):
                if os.environ["HOW"] == "memory":
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
                os.kill(os.getpid(), signal.SIGKILL)
            return method(*given, **named)
        setattr(Sharded, name, lost)
    sys.exit(main())
"""
HESSIAN = ("hessian", "a.h5", "--top-k", 2)
CURVE = ("--epochs", 4, "--batch-size", 5, "--num-points", 5, "--bends", 2)
CONNECT, MODES = ("connect", "a.h5", "b.h5", *CURVE), ("connect", "a.h5", "b.h5", "c.h5", *CURVE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three points, and what one process finds there, the module whole."""
    folder = tmp_path_factory.mktemp("sharded")
    (folder / "own.py").write_text(textwrap.dedent(OWN))
    (folder / "work.py").write_text(textwrap.dedent(COMMAND))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in "abc":
            torch.manual_seed(ord(name))
            layers = torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)
            torch.save(torch.nn.Sequential(*layers).double().state_dict(), f"{name}.pt")
            words = ["--model", "own.py:model", "--data", "own.py:data", "--dtype", "float64"]
            assert main(["import", f"{name}.pt", *words, "-q", "-o", f"{name}.h5"]) == 0
        for words in (HESSIAN, CONNECT):
            assert main([*map(str, words), "-q", "-o", f"{words[0]}.h5"]) == 0
    return folder


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    monkeypatch.chdir(place)

    def run(*words: object, lost: str = "", at: int = 0, how: str = "") -> Ended:
        return launched(2, "work.py", *words, LOST=lost, AT=str(at), HOW=how)

    return run


@pytest.mark.parametrize(
    ("words", "lost", "at", "fields"),
    [
        (HESSIAN, "_added", 60, ("eigenvalues", "loss", "gradient_norm")),
        pytest.param(CONNECT, "batch_gradient", 12, ("epoch_loss", "loss", "length"), marks=pytest.mark.slow),
    ],
    ids=["hessian", "connect"],
)
def test_where_a_process_was_lost_the_command_goes_on_with_the_parts_of_all(
    run, place, words, lost, at, fields
):
    ended = run(*words, "-o", "lost.h5", lost=lost, at=at)
    (said,) = ended.errors
    assert said.startswith(
        "Error: process 1 of 2 is gone; go on with: torchrun --nproc-per-node 2 -m landscape"
    )
    assert {one.name for one in (place / "lost.h5.part").glob("*.jsonl")} == {"rank-0.jsonl", "rank-1.jsonl"}
    again = run(*words, "-o", "lost.h5")
    assert again.code == 0, again.err
    assert again.err.count("going on from lost.h5.part: ") == again.out.count("complete") == 1
    assert not list(place.glob("lost.h5?*"))
    found, wanted = landscape.load(place / "lost.h5"), landscape.load(place / f"{words[0]}.h5")
    for name in fields:
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-6, err_msg=name)
    (place / "lost.h5").unlink()


@pytest.mark.slow
def test_what_is_refused_can_be_typed_as_it_is_said(run, place):
    for words, said, remedy in (
        (
            ["--dtype", "float32"],
            "a module sharded in float64, in float32; expected the dtype",
            "--dtype float64",
        ),
        (
            ["--operator", "fisher"],
            "a matrix between the outputs of a sharded module",
            "leave --operator out",
        ),
    ):
        (error,) = run(*HESSIAN, *words, "-o", "refused.h5").errors
        assert said in error
        assert remedy in error
    assert run(*HESSIAN, "--dtype", "float64", "-o", "refused.h5").code == 0
    (place / "refused.h5").unlink()


@pytest.mark.slow
def test_memory_that_one_process_lacks_ends_all_in_a_sentence_and_what_is_done_is_kept(run, place):
    (said,) = run(*HESSIAN, "-o", "full.h5", lost="_added", at=60, how="memory").errors
    assert said.startswith(
        "Error: out of memory (CUDA out of memory. Tried to allocate 2 GiB); take a smaller"
    )
    again = run(*HESSIAN, "-o", "full.h5")
    assert again.code == 0, again.err
    assert "going on from full.h5.part: " in again.err
    (place / "full.h5").unlink()


@pytest.mark.slow
def test_what_was_kept_ends_bit_for_bit_as_what_was_never_disturbed(run, place):
    for words, lost, at in (
        (HESSIAN, "_added", 61),
        (CONNECT, "batch_gradient", 13),
        (MODES, "batch_gradient", 33),
    ):
        assert run(*words, "-o", "whole.h5").code == 0
        assert run(*words, "-o", "lost.h5", lost=lost, at=at).code != 0
        assert run(*words, "-o", "lost.h5").code == 0
        found, wanted = landscape.load(place / "lost.h5"), landscape.load(place / "whole.h5")
        for one in wanted.arrays():
            np.testing.assert_array_equal(getattr(found, one.name), one.values, err_msg=one.name)
        for name in ("lost.h5", "whole.h5"):
            (place / name).unlink()


@pytest.mark.slow
def test_parts_of_another_number_of_processes_are_refused(run, place):
    run(*HESSIAN, "-o", "two.h5", lost="_added", at=60)
    ended = launched(3, "work.py", *HESSIAN, "-o", "two.h5")
    (said,) = ended.errors
    assert "two.h5.part holds unfinished work made from something else" in said
    assert list(place.glob("two.h5.part/rank-1.jsonl"))
