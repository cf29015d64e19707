"""``landscape critical`` end to end: where it begins, what it writes, prints, draws and refuses."""

import pytest

RECIPE = [
    *(
        "critical",
        "--model",
        "linear",
        "--model-arg",
        "width=1",
        "--data",
        "moons",
        "--data-arg",
        "num_samples=30",
    ),
    *("--loss", "mse", "--starts", 4, "-o", "l.h5"),
]


def test_a_recipe_is_searched_stored_and_drawn(command, folder):
    done = command(*RECIPE, "--json")
    assert done.code == 0, done.err
    assert done.json["kind"] == "critical"
    assert all(check["passed"] for check in done.json["checks"])
    names = {"loss", "gradient_norm", "index", "nullity", "zero_threshold", "flatness", "status", "distinct"}
    scalars = {"num_distinct", "lowest_loss", "rank_correlation", "rank_correlation_error"}
    assert names <= done.json["values"].keys()
    assert scalars <= done.json["values"].keys() | done.json.keys()
    assert command("plot", "l.h5").code == 0
    assert (folder / "l.png").stat().st_size > 5000
    assert "distinct critical points found" in command("show", "l.h5").out
    assert "already there" in command(*RECIPE).out


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["a.h5", "--from", "points", "--perturb", 0.1, "--starts", 3], 3),
        (["a.h5", "b.h5", "--from", "points"], 2),
        (["a.h5", "b.h5", "--from", "trajectory", "--starts", 3], 3),
        (["a.h5", "--starts", 2, "--method", "hisd", "--index", 1], 2),
        (["a.h5", "--starts", 2, "--method", "gradient-norm"], 2),
    ],
)
def test_it_begins_where_it_is_told(command, folder, words, count):
    done = command("critical", *words, "--max-steps", 5, "-o", "c.h5", "--json")
    assert done.code == 0, done.err
    assert len(done.json["values"]["loss"]) == count


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--preset", "spin", "--model", "mlp"], "the preset spin, which is of spin, with --model mlp"),
        (["a.h5", "--preset", "spin"], "both a point and a preset"),
        (["a.h5", "--data", "moons"], "both a point and a --data given"),
        (["a.h5", "--model-arg", "width=3"], "leave --model-arg away"),
        (["a.h5", "--starts", 0], "starts"),
        (["a.h5", "--index", 1], "newton with an index"),
        (["a.h5", "--method", "hisd", "--index", 100000], "index 100000 of d"),
        ([], "neither a point"),
        (["a.h5", "--from", "points", "--perturb", -1], "perturb"),
        (["a.h5", "--perturb", 0.1], "noise on random starts"),
        (["a.h5", "--descend", -1], "descend"),
        (["a.h5", "b.h5", "--method", "hisd", "--index", -1], "index"),
        (["--preset", "nothing"], "nothing"),
        (["no.h5"], "no.h5"),
    ],
)
def test_what_does_not_fit_is_refused(command, folder, words, said):
    done = command("critical", *words, "-o", "c.h5")
    assert done.code == 2
    assert len([line for line in done.err.splitlines() if "rror" in line]) <= 1
    assert said in " ".join(done.err.split())
    assert "Traceback" not in done.err


def test_the_preset_of_a_path_runs_to_infinity(command, folder):
    done = command(
        "critical", "--preset", "path-to-infinity", "--starts", 5, "-o", "p.h5", "--strict", "--json"
    )
    assert (done.code, done.json["status"]) == (0, "complete")
    values = done.json["values"]
    assert values["status"] == ["running-to-infinity"] * 5
    assert values["exponent"] == pytest.approx([-2.5] * 5, abs=1e-4)
    assert values["known_far_loss"][-1] == pytest.approx(1, abs=1e-7)
    assert command("plot", "p.h5", "-o", "p.png").code == 0


MODULES = """
import torch
from torch import nn


class Root(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, slope):
        (x,) = context.saved_tensors
        return 2 * x * slope


class Once(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(2))

    def forward(self, inputs):
        return (Root.apply(self.w).sum() + self.w.sum()).expand(len(inputs), 1)


class Holed(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(2))

    def forward(self, inputs):
        return (torch.log(self.w).square().sum()).expand(len(inputs), 1)


def once(input_shape, num_outputs):
    return Once()


def holed(input_shape, num_outputs):
    return Holed()
"""


def test_starts_that_are_not_finite_are_kept_counted_and_said(command, folder):
    (folder / "mine.py").write_text(MODULES)
    words = ["critical", "--model", "mine.py:holed", "--data", "point", "--loss", "output", "--starts", 12]
    done = command(*words, "-o", "h.h5", "--json")
    assert done.code == 0, done.err
    values = done.json["values"]
    lost = values["gradient_norm"].count("NaN")
    assert 0 < lost < 12
    assert len(values["loss"]) == 12
    assert f"{lost} starts where loss, ∇F or H are not finite are kept as they are" in done.json["notes"]
    assert command("plot", "h.h5").code == 0


def test_a_module_without_a_second_derivative_is_searched_by_differences(command, folder):
    (folder / "mine.py").write_text(MODULES)
    words = ["critical", "--model", "mine.py:once", "--data", "point", "--loss", "output", "--starts", 3]
    done = command(*words, "-o", "o.h5", "--json")
    assert done.code == 0, done.err
    # Σ w² + Σ w has its minimum −½ at w = −½.
    assert all(abs(one + 0.5) < 1e-9 for one in done.json["values"]["loss"])
    assert done.json["values"]["status"] == ["critical"] * 3
    assert any("products are differences of the gradient" in note for note in done.json["notes"])


def test_points_of_several_runs_are_all_begun_from(command, folder):
    done = command(
        "critical",
        "a.h5",
        "b.h5",
        "--from",
        "points",
        "--perturb",
        0.01,
        "--starts",
        4,
        "--max-steps",
        2,
        "-o",
        "c.h5",
        "--json",
    )
    assert done.code == 0, done.err
    assert len(set(done.json["values"]["loss"])) == 4
