"""``landscape minima`` end to end: what it writes, prints, draws, resumes and refuses."""

import h5py
import pytest

LINE = [
    *("minima", "-o", "m.h5", "--data", "moons", "--data-arg", "num_samples=40", "--widths", "2,3"),
    *("--restarts", 3, "--steps", 20, "--max-steps", 40, "--init", "uniform:-1,1"),
]


def test_it_is_written_with_its_checks_and_drawn(command, folder):
    done = command(*LINE, "--json")
    assert done.code == 0, done.err
    summary = done.json
    assert summary["kind"] == "minima"
    assert summary["status"] == "complete"
    assert all(check["passed"] for check in summary["checks"])
    assert {"stack", "index of an end", "module untouched"} <= {check["name"] for check in summary["checks"]}
    values = summary["values"]
    assert len(values["status"][0][1]) == 3
    assert not list(folder.glob("*.part"))
    with h5py.File(folder / "m.h5") as file:
        assert file["cost"].shape == (1, 2, 3)
        assert [scale[0].name for scale in file["cost"].dims] == ["/depth", "/width", "/restart"]
    assert command("plot", "m.h5").code == 0
    assert (folder / "m.png").stat().st_size > 0
    assert command("show", "m.h5").code == 0
    assert "already there" in command(*LINE).out


def test_a_factory_of_ones_own(command, folder):
    (folder / "mine.py").write_text(
        "from torch import nn\n"
        "def build(input_shape, num_outputs, width, depth):\n"
        "    layers = [nn.Linear(input_shape[0], width), nn.LayerNorm(width), nn.Tanh()]\n"
        "    layers += [nn.Linear(width, width), nn.Tanh()] * (depth - 1)\n"
        "    return nn.Sequential(*layers, nn.Linear(width, num_outputs))\n"
        "def fixed(input_shape, num_outputs):\n"
        "    return nn.Linear(input_shape[0], num_outputs)\n"
    )
    done = command(*LINE, "--model", "mine.py:build", "--json")
    assert done.code == 0, done.err
    refused = command(*LINE[:1], "-o", "n.h5", *LINE[3:], "--model", "mine.py:fixed")
    assert refused.code == 2
    assert "width" in refused.err
    assert refused.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--restarts", 0], "--restarts 0; expected whole numbers of at least 1"),
        (
            ["--widths", "two"],
            "--widths 'two'; expected whole numbers with commas between; as in --widths 1,2,5",
        ),
        (
            ["--widths", "1,0"],
            "--widths 1, 0; expected whole numbers of at least 1",
        ),
        (["--depths", "0.5"], "--depths '0.5'; expected whole numbers"),
        (["--lr", "-1"], "--lr -1; expected positive numbers"),
        (
            ["--model-arg", "width=3"],
            "argument width, which --widths sets; expected each argument once; leave width out of --model-arg",
        ),
        (["--plateau", "speed=2"], "has no 'speed'"),
        (["--init", "own"], "2 values of init for 1 depths"),
    ],
)
def test_bad_input_is_one_sentence(command, folder, words, message):
    done = command(*LINE, *words)
    assert done.code == 2
    assert message in done.err
    assert not (folder / "m.h5").exists()


def test_the_preset_fills_in_what_is_not_given(command, folder):
    line = [
        "minima",
        "--preset",
        "thesis-5.1",
        "--widths",
        1,
        "--restarts",
        2,
        "--steps",
        3,
        "--max-steps",
        3,
    ]
    done = command(*line, "--depths", "2,3", "-o", "p.h5", "--json")
    assert done.code == 0, done.err
    assert done.json["values"]["num_samples"] == 100
    with h5py.File(folder / "p.h5") as file:
        config = file.attrs["config"]
    assert '"lr": "0.5,0.1"' in config
    assert '"init": ["uniform:-1,1", "uniform:-1,1"]' in config
    assert '"restarts": "2"' in config
