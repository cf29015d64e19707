"""Several processes: every analysis agrees with one, faults of one are found, and the end of one ends all."""

import json
import textwrap
from collections.abc import Callable
from pathlib import Path

import everything
import numpy as np
import pytest
from launching import SEVERAL, TESTS, Ended, launched

import landscape
from landscape.cli import main

pytestmark = SEVERAL
Answers = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def one() -> Answers:
    return everything.everything()


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def several(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Answers]:
    """What each of 2, and of 3, processes found; started once for all analyses."""
    folder, count = tmp_path_factory.mktemp("processes"), request.param
    ended = launched(count, TESTS / "everything.py", folder)
    assert ended.code == 0, ended.err[:5000]
    found = []
    for rank in range(count):
        with np.load(folder / f"{count}-{rank}.npz") as stored:
            found.append(dict(stored))
    return found


def test_several_processes_agree_with_one_to_rounding(one, several):
    first = several[0]
    assert {name for name in first if not name.startswith("refused")} == one.keys()
    for name, value in one.items():
        if value.dtype.kind == "U":
            assert str(first[name]) == str(value) == "complete []", name
        elif name.startswith("slice2d curvature: ") and "loss" not in name:
            # Lanczos stops at residuals of 1e-3 |λ|; λ itself is known to their squares over the gaps.
            if "residual" not in name and not name.endswith("ratio"):
                np.testing.assert_allclose(first[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
        else:
            # A few thousand roundings of float64, over the largest number where they cancel.
            scale = np.nanmax(np.abs(value), initial=1.0) if value.dtype.kind == "f" else 0.0
            np.testing.assert_allclose(first[name], value, rtol=1e-12, atol=1e-12 * scale, err_msg=name)


def test_all_processes_hold_the_same_bits(several):
    first, *others = several
    for other in others:
        assert other.keys() == first.keys()
        for name, value in first.items():
            np.testing.assert_array_equal(other[name], value, err_msg=name)


def test_what_needs_one_process_says_so_in_each(several):
    for found in several:
        refused = {key: str(text) for key, text in found.items() if key.startswith("refused")}
        assert len(refused) == 12
        for name, text in refused.items():
            assert "one process" in text, name


FAULTS = """
    import json, sys
    from pathlib import Path

    import torch
    from everything import X, Y, net, plain
    from torch import nn

    import landscape
    from landscape import Objective, distributed, specs

    distributed.start("cpu")
    is_odd = distributed.rank() == 1
    folder = Path(sys.argv[1])
    code = folder / f"code-{int(is_odd)}" / "own.py"

    def layers():
        return net(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))

    def other_data():
        x = X.clone()
        x[7, 2] += 1e-15 * is_odd
        return Objective(layers(), "cross_entropy", (x, Y))

    def other_size():
        size = 20 + is_odd
        return Objective(layers(), "cross_entropy", (X[:size], Y[:size]))

    def other_weights():
        module = layers()
        with torch.no_grad():
            module[0].weight[1, 1] += 1e-15 * is_odd
        return Objective(module, "cross_entropy", (X, Y))

    def other_code():
        return Objective(specs.resolve(f"{code}:Own")().double(), "cross_entropy", (X, Y))

    def other_layer():
        return Objective(net(nn.Linear(4, 3), nn.Tanh() if is_odd else nn.ReLU()), "cross_entropy", (X, Y))

    def other_point():
        objective = plain()
        return landscape.hessian(objective, objective.theta + 1e-15 * is_odd)

    def other_seed():
        return landscape.slice1d(plain(), plain().theta, seed=int(is_odd))

    def other_option():
        return landscape.slice1d(plain(), plain().theta, span=1.0 + is_odd)

    def other_run():
        words = {"model": "mlp", "data": "moons", "data_arg": {"num_samples": 60}, "epochs": 1}
        return landscape.measure(None, "train", output=folder / "a.h5", seed=int(is_odd), **words)

    class Broken(nn.Module):
        def forward(self, outputs, targets):
            value = nn.functional.cross_entropy(outputs, targets)
            return value.detach() if is_odd and torch.is_grad_enabled() else value

    def no_slope():
        return Objective(layers(), Broken(), (X, Y)).gradient(plain().theta)

    said = {}
    for fault in (other_data, other_size, other_weights, other_code, other_layer, other_point, other_seed,
                  other_option, other_run, no_slope):
        try:
            fault()
            said[fault.__name__] = ""
        except landscape.LandscapeError as error:
            said[fault.__name__] = f"{type(error).__name__}: {error}"
    Path(folder / f"said-{distributed.rank()}.json").write_text(json.dumps(said))
    distributed.stop()
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """What each of three processes said of the faults of the one in the middle."""
    folder = tmp_path_factory.mktemp("faults")
    for number, factor in enumerate(("1.0", "1.5")):
        (folder / f"code-{number}").mkdir()
        (folder / f"code-{number}" / "own.py").write_text(
            "import torch\n\n\nclass Own(torch.nn.Linear):\n"
            "    def __init__(self):\n        super().__init__(4, 3)\n"
            "        torch.nn.init.ones_(self.weight), torch.nn.init.ones_(self.bias)\n\n"
            f"    def forward(self, x):\n        return {factor} * super().forward(x)\n"
        )
    (folder / "work.py").write_text(textwrap.dedent(FAULTS))
    ended = launched(3, folder / "work.py", folder)
    assert ended.code == 0, ended.err[:5000]
    assert not (folder / "a.h5").exists()
    return [json.loads((folder / f"said-{rank}.json").read_text()) for rank in range(3)]


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        ("other_data", "data"),
        ("other_size", "data"),
        ("other_weights", "point"),
        ("other_code", "code"),
        ("other_layer", "code"),
        ("other_point", "point"),
        ("other_seed", "seed"),
        ("other_option", "options"),
        ("other_run", "seed"),
    ],
)
def test_what_one_process_has_of_its_own_is_refused_in_all(said, fault, what):
    first, *others = [one[fault] for one in said]
    assert first.startswith(f"BadInput: process 1 of 3 differs from the others in its {what} ("), first
    assert all(other == first for other in others)


def test_an_error_between_two_sums_is_that_of_all(said):
    assert said[0]["no_slope"].startswith("NotDifferentiable: the loss does not depend differentiably")
    assert {one["no_slope"] for one in said} == {said[0]["no_slope"]}


# A command line in which one process meets something that the others do not.
COMMAND = """
    import os, signal, sys

    import landscape
    from landscape import BadInput, Objective
    from landscape.distributed import watch
    from landscape.cli import main
    from landscape.objective import sweep
    from landscape.runs import store

    is_odd = os.environ["RANK"] == os.environ.get("ODD")
    what, calls = os.environ.get("WHAT", ""), []
    sweep.BLOCK_POINTS = 7
    watch.STUCK = 4

    def found_odd(method):
        def changed(*given, **named):
            calls.append(1)
            if is_odd and len(calls) == 6:
                if what == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                if what == "fails":
                    raise ValueError("a fault of its own")
                method(*given, **named)
            return method(*given, **named)
        return changed

    Objective.measurements = found_odd(Objective.measurements)
    if is_odd and what == "refuses":
        def refused(*_, **__):
            raise BadInput("a file that is not here", "one that is")
        store.header = refused
    sys.exit(main())
"""
RESUMED = "torchrun --nproc-per-node 2 -m landscape slice2d a.h5 --num-points 11 --dtype float64"
SLICE = ("slice2d", "a.h5", "--num-points", 11, "--dtype", "float64")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, and the result that one process makes of it."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "work.py").write_text(textwrap.dedent(COMMAND))
    words = ["--model", "mlp", "--model-arg", "widths=6", "--data", "moons", "--data-arg", "num_samples=61"]
    assert main(["train", *words, "--epochs", "2", "-q", "-o", str(folder / "a.h5")]) == 0
    one = [str(folder / word) if word == "a.h5" else str(word) for word in SLICE]
    assert main([*one, "-q", "-o", str(folder / "one.h5")]) == 0
    return folder


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """A command line in the folder, in two processes of which ``odd`` does ``what``."""
    monkeypatch.chdir(place)

    def run(*words: object, odd: int | None = None, what: str = "") -> Ended:
        return launched(2, "work.py", *words, ODD=str(odd), WHAT=what)

    return run


def exit_codes(ended: Ended) -> list[str]:
    """Those of the processes, as torchrun reports them."""
    return sorted(line.split()[2] for line in ended.err.splitlines() if line.startswith("  exitcode"))


@pytest.mark.slow
def test_a_first_process_that_is_killed_is_named_by_the_other(run):
    ended = run(*SLICE, "-o", "lost.h5", odd=0, what="killed")
    assert ended.errors == [f"Error: process 0 of 2 is gone; go on with: {RESUMED} -o lost.h5"]


def test_after_a_process_was_killed_the_command_that_is_said_goes_on(run, place):
    ended = run(*SLICE, "-o", "killed.h5", odd=1, what="killed")
    assert ended.errors == [f"Error: process 1 of 2 is gone; go on with: {RESUMED} -o killed.h5"]
    assert exit_codes(ended) == ["-9", "1"]
    again = run(*SLICE, "-o", "killed.h5")
    assert again.code == 0, again.err
    assert "going on from killed.h5.part: " in again.err
    # One of the two speaks, and one writes.
    assert again.out.count("complete") == again.err.count("going on") == 1
    assert not list(place.glob("killed.h5?*"))
    found, wanted = (landscape.load(place / name) for name in ("killed.h5", "one.h5"))
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-12)


def test_a_process_that_fails_alone_ends_the_other_with_its_sentence_and_code(run, place):
    for what, sentence, code in (
        ("refuses", "a file that is not here; expected one that is.", "2"),
        ("fails", "ValueError: a fault of its own", "1"),
    ):
        ended = run(*SLICE, "-o", "new.h5", odd=1, what=what)
        (said,) = ended.errors
        assert sentence in said
        assert exit_codes(ended) == [code, code]
        assert not (place / "new.h5").exists()


def test_processes_that_take_different_steps_neither_wait_for_ever_nor_publish(run, place):
    # Which of them gloo, or we, notice first, and at which step, is a matter of luck.
    ended = run(*SLICE, "-o", "new.h5", odd=1, what="repeats")
    assert ended.code == len(ended.errors) == 1, ended.err
    assert not (place / "new.h5").exists()


def test_what_all_refuse_is_said_once_with_code_2_in_each(run):
    ended = run("noise", "a.h5", "-o", "n.h5")
    assert ended.errors == ["Error: replicas in 2 processes; expected one process; leave torchrun away."]
    assert exit_codes(ended) == ["2", "2"]
