"""``landscape sharpness`` end to end: what it writes, prints, draws and refuses."""

import h5py
import numpy as np
import pytest
import torch

from landscape.runs import store
from landscape.runs.run import Run

LINE = ["sharpness", "a.h5", "--sigmas", "0.01,0.1", "--draws", 4, "--ascent-steps", 3]


def test_it_is_written_beside_its_input_with_its_checks(command, folder):
    done = command(*LINE, "--json")
    assert done.code == 0, done.err
    summary = done.json
    assert summary["kind"] == "sharpness"
    assert summary["output"] == "a.sharpness.h5"
    assert summary["status"] == "complete"
    assert all(check["passed"] for check in summary["checks"])
    assert "function preserved" in {check["name"] for check in summary["checks"]}
    values = summary["values"]
    assert values["measure"][0] == "lambda_max"
    assert values["changes_under_rescaling"][0] is True
    assert values["sigma"] == [0.01, 0.1]
    assert not list(folder.glob("*.part"))
    with h5py.File(folder / "a.sharpness.h5") as file:
        assert file["measure"].asstr()[0] == "lambda_max"
        assert file["values"].dims[0].keys() == ["measure"]


def test_the_same_again_is_there_and_another_is_refused(command, folder):
    command(*LINE)
    assert "already there" in command(*LINE).out
    other = command(*LINE, "--rho", 0.1)
    assert other.code == 2
    assert "rho is 0.05 there, 0.1 here" in other.err


def test_curvature_is_that_of_the_dense_hessian(command, folder):
    """Column by column, d = 25."""
    options = {"dtype": "float64", "device": "cpu", "chunk_size": None, "subset": None, "seed": 0}
    run = Run(folder / "a.h5")
    objective = run.objectives(**options, data_dir=None).train
    theta = run.point(objective, "final").theta
    dense = torch.stack([objective.hvp(theta, e) for e in torch.eye(len(theta), dtype=torch.float64)])
    values = command(*LINE, "--dtype", "float64", "--json").json["values"]["values"]
    np.testing.assert_allclose(values[0], torch.linalg.eigvalsh(dense)[-1], rtol=1e-6)
    np.testing.assert_allclose(values[1], dense.trace(), rtol=0.05)


def test_what_is_printed_and_shown(command, folder):
    printed = command(*LINE)
    for name in ("lambda_max", "trace_per_parameter", "ball_rise_at_least_filter", "sam_rise_filter"):
        assert name in printed.out.split()
    assert "no property of the function" in printed.out
    shown = command("show", "a.sharpness.h5")
    assert shown.code == 0, shown.err
    assert "rescaled_values" in shown.out


@pytest.mark.parametrize("extra", [[], ["--rescaling", "none"]])
def test_it_has_a_picture(command, folder, extra):
    command(*LINE, *extra)
    drawn = command("plot", "a.sharpness.h5", "-o", "picture.png")
    assert drawn.code == 0, drawn.err
    assert (folder / "picture.png").stat().st_size > 1000


def test_ctrl_c_keeps_the_finished_pieces(command, folder, monkeypatch):
    from landscape.objective.objective import Objective

    def interrupted(self, *arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Objective, "measurements", interrupted)
        stopped = command(*LINE)
    assert stopped.code == 130
    assert "1 finished pieces" in stopped.err
    assert "going on from" in command(*LINE).err
    resumed = store.load(folder / "a.sharpness.h5")
    command(*LINE, "-o", "whole.h5")
    for one, other in zip(resumed.arrays(), store.load(folder / "whole.h5").arrays(), strict=True):
        np.testing.assert_array_equal(one.values, other.values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sigmas", "a,b"], "--sigmas 'a,b'; expected numbers with commas between"),
        (["--sigmas", "0.2,0.1"], "increasing order"),
        (["--draws", 1], "--draws 1; expected a whole number of at least 2"),
        (["--rho", -1], "--rho -1; expected a positive number"),
        (["--ascent-steps", 0], "--ascent-steps 0; expected a whole number of at least 1"),
        (["--tol", 0], "--tol 0; expected a positive number"),
        (["--rescaling", "net"], "'net' is not one of"),
    ],
)
def test_bad_options_are_one_sentence(command, folder, options, message):
    done = command("sharpness", "a.h5", *options)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert not list(folder.glob("*.sharpness.h5*"))


def test_the_further_measures_by_their_options(command, folder):
    done = command(*LINE, "--critical", "--fisher-rao", "--relative-flatness", "--json")
    assert done.code == 0, done.err
    values = done.json["values"]
    assert values["measure"][9:11] == ["critical_sharpness", "directional_sharpness"]
    assert values["measure"][-2:] == ["fisher_rao_norm", "relative_flatness"]
    assert values["layer"].endswith("weight")
    assert values["values"][9] == pytest.approx(2 / values["critical_step"])
    assert len(values["search_step"]) == len(values["search_rise"])
    refused = command(*LINE, "--layer", "0", "-o", "x.h5")
    assert refused.code == 2
    assert "--layer 0 without the relative flatness" in refused.err
    refused = command(*LINE, "--relative-flatness", "--layer", "nowhere", "-o", "x.h5")
    assert refused.code == 2
    assert "expected the name of an nn.Linear of the module" in refused.err
