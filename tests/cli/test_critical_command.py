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
        (["a.h5", "--starts", 0], "starts"),
        (["a.h5", "--index", 1], "newton with an index"),
        (["a.h5", "--method", "hisd", "--index", 100000], "index 100000 of d"),
        ([], "neither a point"),
    ],
)
def test_what_does_not_fit_is_refused(command, folder, words, said):
    done = command("critical", *words, "-o", "c.h5")
    assert done.code != 0
    assert said in " ".join(done.err.split())
    assert "Traceback" not in done.err
