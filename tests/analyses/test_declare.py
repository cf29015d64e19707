"""An analysis declared in ten lines gets its command, help, checks, file, resume, JSON, picture and `show`."""

import json
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import Objective, analyses
from landscape.analyses.declare import analysis
from landscape.analyses.options import Option, Parameter
from landscape.errors import BadInput
from landscape.result import KINDS, Result, array


@pytest.fixture
def toy(monkeypatch):
    """How long is θ, times k?"""
    monkeypatch.setattr(analyses, "DECLARED", dict(analyses.DECLARED))
    monkeypatch.setattr("landscape.analyses.declare.DECLARED", analyses.DECLARED)
    # What follows up to the return is all that a new analysis writes.

    @dataclass(kw_only=True, eq=False)
    class Lengths(Result):
        kind: ClassVar[str] = "lengths"
        times: np.ndarray = array("times", long_name="factor k")
        length: np.ndarray = array("times", long_name="k‖θ‖")

    @analysis(points=1, paper="Euclid, book I", examples=("a.h5 --most 5",))
    def lengths(
        objective,
        theta,
        *,
        most: Annotated[int, Option("Factors k.", least=2)] = 3,
        journal=None,
        progress=None,
    ) -> Lengths:
        """k‖θ‖ for k = 1, …, most."""
        journal = {} if journal is None else journal
        for k in range(1, most + 1):
            if f"{k}" not in journal:
                journal[f"{k}"] = {"length": k * float(theta.theta.double().norm())}
            progress(k, most, "factors")
        found = np.array([journal[f"{k}"]["length"] for k in range(1, most + 1)])
        return Lengths(times=np.arange(1, most + 1), length=found)

    yield lengths
    del KINDS["lengths"]


def test_a_toy_analysis_needs_nothing_else(toy, command, folder):
    helped = command("lengths", "--help").out
    assert "k‖θ‖ for k = 1" in helped
    assert "--most" in helped
    assert "default: 3; x>=2" in helped
    assert "Euclid, book I." in helped
    assert "landscape lengths a.h5 --most 5" in helped
    assert "--seed" in helped
    done = command("lengths", "a.h5", "--most", 4, "--json")
    assert done.code == 0, done.err
    assert done.json["output"] == "a.lengths.h5"
    run = landscape.Run("a.h5")
    theta = run.point(run.objectives().train).theta
    np.testing.assert_allclose(done.json["values"]["length"], np.arange(1, 5) * float(theta.double().norm()))
    assert "already there" in command("lengths", "a.h5", "--most", 4).out
    assert command("plot", "a.lengths.h5").code == 0
    assert (folder / "a.lengths.png").stat().st_size > 1000
    assert "k‖θ‖" in command("show", "a.lengths.h5").out
    assert isinstance(landscape.load("a.lengths.h5"), KINDS["lengths"])
    assert "\n  lengths " in command("--help").out


def test_a_toy_analysis_resumes(toy, folder):
    def stop(done: int, total: int, what: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"2 finished pieces are kept in a\.lengths\.h5\.part"):
        landscape.measure("a.h5", "lengths", most=5, progress=stop)
    seen = []
    result = landscape.measure("a.h5", "lengths", most=5, progress=lambda k, *_: seen.append(k))
    assert len(result.length) == 5  # pyright: ignore
    assert not (folder / "a.lengths.h5.part").exists()


def test_both_doors_refuse_by_the_same_range(toy, command, folder):
    refused = command("lengths", "a.h5", "--most", 1)
    assert (refused.code, refused.err) == (2, "Error: --most 1; expected a whole number of at least 2.\n")
    with pytest.raises(BadInput, match="`most` = 1; expected a whole number of at least 2"):
        landscape.measure("a.h5", "lengths", most=1)
    with pytest.raises(BadInput, match="`most` = 1; expected a whole number of at least 2"):
        toy(None, None, most=1)
    with pytest.raises(BadInput, match="no option 'mots'"):
        landscape.measure("a.h5", "lengths", mots=3)


@pytest.mark.parametrize(
    ("kind", "about", "good", "bad"),
    [
        (int, Option(least=3), [3, np.int64(4)], [2, 2.5, "3", True, None]),
        (float, Option(above=0), [0.1, 1, np.float32(2)], [0, -1, float("nan"), float("inf"), "1"]),
        (float, Option(above=0, is_finite=False), [float("inf")], [float("nan")]),
        (float, Option(least=0, below=1), [0.0, 0.9], [1.0, -0.1]),
        (float | None, Option(above=0), [None, 1.0], [0.0]),
        (bool, Option(), [True, False], [1, "yes"]),
        (str, Option(), ["a", ""], [1]),
        (tuple[int, ...], Option(least=1), [(1,), [1, 2], np.array([3])], [(), (0,), "1,2", 1, (1.5,)]),
        (tuple[float, float], Option(), [(0.0, 1.0)], [(0.0,), (0.0, 1.0, 2.0)]),
    ],
)
def test_what_an_option_may_be(kind, about, good, bad):
    one = Parameter("given", kind, 1, about)
    for value in good:
        assert np.array_equal(one.checked(value), value) or one.checked(value) is value
    for value in bad:
        with pytest.raises(BadInput, match="`given`"):
            one.checked(value)


def test_choices_are_named_and_the_nearest_is_suggested():
    from landscape.choices import Directions

    one = Parameter("directions", Directions, "random")
    assert one.checked("pca") == "pca"
    with pytest.raises(BadInput, match="did you mean 'random'"):
        one.checked("randon")


def test_configurations_keep_the_words_of_a_command_line():
    assert Parameter("steps", tuple[float, ...], ()).stored((1.0, 5e-4)) == "1,0.0005"
    assert Parameter("ignore", tuple[str, ...], ("bias",)).stored(()) == "none"
    assert Parameter("sizes", tuple[int, ...] | None, None).stored(None) == ""
    assert Parameter("memory", float, 2.0**30, Option(unit=2**30)).stored(2.0**31) == 2.0
    assert json.dumps(Parameter("span", tuple[float, float], (0.0, 1.0)).stored((0.0, 2.0))) == "[0.0, 2.0]"
    pairs = Parameter("arguments", dict[str, object], None)
    assert pairs.stored({"rate": 0.1, "widths": (3, 4)}) == ("rate=0.1", "widths=3,4")


def padded():
    """A table whose row of padding is looked up: a note of every number of it."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Embedding(5, 2, padding_idx=0), nn.Flatten(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        module[0].weight[0] = 0.5
    return Objective(
        module, "cross_entropy", (torch.tensor([[0, 1], [2, 3], [4, 0]]), torch.tensor([0, 1, 1]))
    )


@pytest.mark.parametrize(
    "compute",
    [
        lambda of: landscape.hessian(of, of.theta, top_k=1),
        lambda of: landscape.hessian(objective=of, theta=of.theta, top_k=1),
        lambda of: landscape.slice1d(of, of.theta, num_points=3),
        lambda of: landscape.train(of, epochs=1),
        lambda of: landscape.minima(lambda *_: of, widths=[2], restarts=[2], steps=2, max_steps=2),
        lambda of: landscape.basins(lambda *_: of, widths=[2], restarts=1, steps=2, curve_steps=1),
    ],
)
def test_notes_of_the_objective_are_among_those_of_a_result(compute):
    objective = padded()
    (said,) = [note for note in objective.notes if "padding_idx" in note]
    result = compute(objective)
    assert result.notes.count(said) == 1
    assert len(set(result.notes)) == len(result.notes)


def test_notes_are_the_same_in_memory_and_in_a_file(folder):
    objective = padded()
    landscape.measure(objective, "hessian", top_k=1, output="p.h5")
    notes = landscape.load("p.h5").notes
    assert notes == landscape.hessian(padded(), objective.theta, top_k=1).notes
    assert sum("padding_idx" in note for note in notes) == 1


def test_doubts_of_an_earlier_call_are_of_its_products_alone():
    class Cut(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, *slopes):
            return 2 * ctx.saved_tensors[0] * slopes[0]

    class Squares(nn.Linear):
        def forward(self, input):
            return Cut.apply(super().forward(input))

    torch.manual_seed(0)
    x = torch.randn(6, 2).double()
    objective = Objective(Squares(2, 1).double(), "mse", (x, x[:, :1]))

    def doubted(result):
        return [note for note in result.notes if note.startswith("Hessian products are differences")]

    theta = objective.theta
    assert doubted(landscape.train(objective, epochs=1)) == []
    assert len(doubted(landscape.hessian(objective, theta, top_k=1))) == 1
    assert doubted(landscape.train(objective, epochs=1)) == []
    for _ in range(2):
        assert len(doubted(landscape.hessian(objective, theta, top_k=1))) == 1
        found = landscape.compare(objective, [theta, 2 * theta], draws=2, num_points=5, line_points=5)
        assert len(doubted(found)) == 1


def test_derivatives_are_taken_where_they_are_switched_off_around():
    x = torch.randn(9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        objective = Objective(nn.Linear(2, 1).double(), "mse", (x, x[:, :1]))
        theta = objective.theta
        found = landscape.hessian(objective, theta, top_k=3)
        assert not torch.is_grad_enabled()
    wide = torch.cat([x, x.new_ones(9, 1)], 1)
    assert found.status == "complete"
    np.testing.assert_allclose(
        found.eigenvalues[::-1], torch.linalg.eigvalsh(2 * wide.T @ wide / 9), rtol=1e-10
    )


@pytest.mark.parametrize(
    ("mode", "seen"),
    [
        (lambda: torch.autocast("cpu", dtype=torch.bfloat16), "under torch.autocast in bfloat16"),
        (torch.inference_mode, "under torch.inference_mode"),
    ],
)
def test_a_measurement_in_a_mode_that_changes_numbers_is_refused(mode, seen):
    # Under autocast checks failed, of F in bfloat16 against a plain loop in float32; both ended in tracebacks of torch.
    x = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    objective = Objective(nn.Linear(2, 1), "mse", (x, x[:, :1]))
    theta = objective.theta
    with (
        mode(),
        pytest.raises(BadInput, match=f"{seen}; expected one outside of it; call it behind that block"),
    ):
        landscape.slice1d(objective, theta)
