"""Each bad input of a command line gets one sentence: what was seen, what was wanted, what to do."""

import errno
import os
import pickle
import re
import zipfile
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from conftest import TINY

import landscape
from landscape.numerics.spectra import krylov
from landscape.runs import store
from landscape.runs.journal import Journal
from landscape.runs.run import Run


def refused(done, *parts: str, code: int = 2) -> None:
    """Exit code, nothing on standard output, one line on standard error with these parts in it."""
    assert done.code == code, done.err
    assert done.out == ""
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err
    for part in parts:
        assert part in done.err


def test_no_such_file(command, folder):
    refused(command("hessian", "nothing.h5"), "nothing.h5 does not exist")
    refused(command("show", "nothing.h5"), "nothing.h5 does not exist")
    refused(command("plot", "nothing.h5"), "nothing.h5 does not exist")
    refused(
        command("import", "w.pt", "--model", "mlp", "--data", "moons", "-o", "x.h5"), "w.pt does not exist"
    )


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_no_such_table(command, folder, ending):
    train = "train", "--model", "mlp", "--data", f"nothing.{ending}", "--target", "y", "-o", "x.h5"
    refused(command(*train), f"there is no file nothing.{ending}", f"paths begin at {folder}")


def test_what_cannot_be_several_at_once(command, folder):
    # `none` was left out of a list without a word.
    slices = command("slice1d", "a.h5", "--ignore", "none,bias")
    refused(slices, "--ignore 'none,bias'; expected none, or others; give none alone, or bias")
    for names in ("all,init", "init,all"):
        refused(command("hessian", "a.h5", "--at", names), f"points {names}", "give all alone")
    ranged = command("interpolate", "a.h5@init", "a.h5", "--range", "0,1")
    refused(ranged, "--range takes 2 numbers with a space between them, as in --range 0 1.")
    refused(command("export", "a.h5", "-o", "w.h5"), "of kind 'train' as a surface", ".safetensors")
    assert not list(folder.glob("a.*.h5"))


@pytest.mark.parametrize("name", ["slice1d", "slice2d", "certify"])
def test_pairs_of_noise_without_noise(command, folder, name):
    refused(command(name, "a.h5", "--smooth-draws", 20), "--smooth-draws 20 without --smooth")
    assert not list(folder.glob(f"*.{name}.h5*"))


def test_a_folder(command, folder):
    (folder / "runs.h5").mkdir()
    refused(command("hessian", "runs.h5"), "runs.h5 is a folder")
    refused(command("hessian", "a.h5", "-o", "runs.h5"), "runs.h5 is a folder", "-o FILE.h5")


def test_a_pipe(command, folder):
    """Opened, it is waited for until somebody writes."""
    os.mkfifo("pipe.h5")
    for more in ([], ["--overwrite"]):
        seen = command("hessian", "a.h5", "-o", "pipe.h5", *more)
        refused(seen, "pipe.h5 is a pipe or a device", "another -o")
    refused(command("show", "pipe.h5"), "pipe.h5 is a pipe or a device")


@pytest.mark.parametrize("length", [300, 252, 247])
def test_a_name_that_is_too_long_with_what_is_written_beside_it(command, folder, length):
    name = "a" * (length - 3) + ".h5"
    refused(command("slice1d", "a.h5", "--num-points", 3, "-o", name), "too long a name", "another -o")
    assert not list(folder.glob("aa*"))


def test_files_of_others_where_unfinished_work_would_be(command, folder):
    part = folder / "x.h5.part"
    part.mkdir()
    (part / "notes.txt").write_text("mine")
    for more in ([], ["--overwrite"]):
        line = "slice1d", "a.h5", "--num-points", 3, "-o", "x.h5", *more
        refused(command(*line), "x.h5.part, a folder for unfinished work, holds notes.txt", "another -o")
    assert [one.name for one in part.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("ending", "remedy"), [("png", "landscape plot"), ("PDF", "landscape plot"), ("pt", "landscape export")]
)
def test_a_result_that_is_called_as_what_is_made_of_one(command, folder, ending, remedy):
    seen = f"x.{ending} ends as another kind of file"
    refused(command("hessian", "a.h5", "-o", f"x.{ending}"), seen, "give -o x.h5", f"{remedy} x.h5")
    assert not list(folder.glob("x.*"))


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, 0.99])
def test_a_truncated_hdf5(command, folder, kept):
    whole = (folder / "a.h5").read_bytes()
    cut = whole[: int(len(whole) * kept) if isinstance(kept, float) else kept]
    (folder / "cut.h5").write_bytes(cut)
    refused(command("hessian", "cut.h5"), "cut.h5", "HDF5", "make it again")


def test_an_hdf5_that_is_not_ours(command, folder):
    with h5py.File(folder / "other.h5", "w") as file:
        file["x"] = np.arange(3)
    refused(
        command("hessian", "other.h5"), "other.h5 is an HDF5 file of something else", "written by landscape"
    )


def test_a_newer_format_version(command, folder):
    with h5py.File(folder / "a.h5", "r+") as file:
        file.attrs["format-version"] = 99
    refused(command("hessian", "a.h5"), "format version 99", "update landscape")


def test_a_result_that_holds_no_points(command, folder):
    command("slice1d", "a.h5", "--num-points", 3)
    refused(
        command("hessian", "a.slice1d.h5"), "is the result of slice1d and holds no points", "landscape train"
    )


def test_an_output_of_another_configuration(command, folder):
    command("slice1d", "a.h5", "--num-points", 3)
    again = command("slice1d", "a.h5", "--num-points", 5)
    refused(again, "a.slice1d.h5 exists", "num_points is 3 there, 5 here", "--overwrite")


def test_an_output_that_is_something_else(command, folder):
    (folder / "notes.h5").write_text("my notes")
    refused(command("hessian", "a.h5", "-o", "notes.h5"), "notes.h5 is not an HDF5 file")
    assert (folder / "notes.h5").read_text() == "my notes"


def test_an_output_that_is_an_input_is_never_replaced(command, folder):
    torch.save(torch.nn.Linear(1, 1).state_dict(), folder / "w.pt")
    (folder / "one.py").write_text("import torch\ndef net():\n    return torch.nn.Linear(1, 1)\n")
    command("slice2d", "a.h5", "--num-points", 3)
    (folder / "link.h5").symlink_to(folder / "a.h5")
    for words in (
        ("hessian", "a.h5", "-o", "a.h5"),
        ("interpolate", "b.h5", "a.h5", "-o", "./a.h5"),
        ("connect", "a.h5", "b.h5", "-o", folder / "link.h5"),
        ("train", "--init", "a.h5", "--steps", 1, "-o", "a.h5"),
        ("basins", "a.slice2d.h5", "-o", "a.slice2d.h5"),
        ("import", "w.pt", "--model", "one.py:net", "--data", "point", "--loss", "mse", "-o", "w.pt"),
        ("train", "--model", "one.py:net", "--data", "point", "--loss", "mse", "--steps", 1, "-o", "one.py"),
        ("export", "a.slice2d.h5", "-o", "a.slice2d.h5"),
    ):
        before = (folder / words[-1]).read_bytes()
        refused(command(*words, "--overwrite"), "is what", "; give another -o")
        assert (folder / words[-1]).read_bytes() == before


def test_a_part_of_another_configuration(command, folder):
    journal = Journal(folder / "a.slice2d.h5.part", {"options": {"span": 3.0}})
    journal["piece"] = {"x": 1}
    journal.close()
    line = ["slice2d", "a.h5", "--num-points", 3]
    refused(command(*line), "a.slice2d.h5.part holds unfinished work of another configuration", "--overwrite")
    assert command(*line, "--overwrite").code == 0
    assert not (folder / "a.slice2d.h5.part").exists()


def test_points_of_different_architectures(command, folder):
    done = command("interpolate", "a.h5", "wide.h5")
    refused(done, "wide.h5@final does not fit this architecture", "(7, 2) instead of (6, 2)")


def test_a_file_without_a_name_in_it(command, folder):
    (folder / "own_names.py").write_text("def data(): ...\nclass Net: ...\ndef _hidden(): ...\n")
    for what in ("--model", "--data", "--loss"):
        run = ("train", what, "own_names.py", "--steps", 1, "-o", "x.h5")
        refused(command(*run), "names a file", "give own_names.py:data or own_names.py:Net.\n")
        run = ("train", what, "absent.py", "--steps", 1, "-o", "x.h5")
        refused(command(*run), "there is no file absent.py", "path/file.py:attr")


def test_unknown_names(command, folder):
    train = ["train", "--steps", 1, "-o", "x.h5"]
    refused(
        command(*train, "--model", "mpl"), "unknown model 'mpl'", "mlp, linear, cnn", "did you mean 'mlp'?"
    )
    refused(command(*train, "--data", "digts"), "unknown data set 'digts'", "did you mean 'digits'?")
    refused(command(*train, "--loss", "hinge"), "unknown loss 'hinge'", "cross_entropy, bce, mse")
    refused(
        command("hessian", "a.h5@epoch=9"), "no point 'epoch=9'", "init, epoch=1, epoch=2, epoch=3, final"
    )
    refused(command("hessian", "a.h5", "--topk", 3), "--topk", "--top-k", "landscape hessian --help")
    refused(command("slice3d", "a.h5"), "no command 'slice3d'", "did you mean 'slice")
    refused(command(*train, "--method", "newton"), "'newton'", "'gd', 'minibatch', 'sgd'")
    refused(command(*train, "--device", "tpu"), "device 'tpu'", "auto, cpu, cuda")
    refused(command(*train, "--model-arg", "widths"), "'widths' is not an argument", "depth=20")
    refused(command(*train, "--model-arg", "depht=3"), "depht", "signature")


def test_a_device_that_is_not_there(command, folder):
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    refused(command("hessian", "a.h5", "--device", "cuda"), "'cuda' is not on this machine", "--device cpu")


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ("def net():\n    raise RuntimeError('no licence')", ["raised RuntimeError: no licence"]),
        ("def net():\n    return 3", ["returned an int", "torch.nn.Module"]),
        ("import torch\ndef net():\n    return torch.nn.ReLU()", ["no parameters that require grad"]),
        ("import torch\ndef net():\n    return torch.nn.Linear(5, 1)", ["does not take inputs of shape"]),
        ("net = 3", ["of type int", "is an int"]),
        ("import nothing_of_this_name", ["failed to import", "ModuleNotFoundError"]),
        ("def other():\n    pass", ["has no 'net'"]),
    ],
)
def test_factories_that_fail(command, folder, body, parts):
    (folder / "own.py").write_text(body)
    done = command("train", "--model", "own.py:net", "--data", "moons", "--steps", 1, "-o", "x.h5")
    assert any(part in done.err for part in parts)
    refused(done)


def test_bad_data(command, folder):
    def of(**arrays):
        np.savez(folder / "d.npz", **arrays)
        return command("train", "--data", "npz:d.npz", "--steps", 1, "-o", "x.h5")

    good = np.ones((4, 2), dtype=np.float32)
    refused(of(inputs=np.empty((0, 2)), targets=np.empty(0)), "no samples", "at least one")
    refused(of(inputs=np.where(np.eye(4, 2), np.nan, good), targets=np.zeros(4)), "NaN")
    refused(of(inputs=good, targets=np.array([0, 1, -1, 1])), "-1")
    refused(of(inputs=good, targets=np.zeros(3)), "4", "3")
    refused(of(inputs=good), "no targets")


def test_targets_out_of_range(command, folder):
    (folder / "own.py").write_text("import torch\ndef net():\n    return torch.nn.Linear(64, 5)\n")
    done = command("train", "--model", "own.py:net", "--steps", 1, "-o", "x.h5")
    refused(done, "targets run from 0 to 9", "classes 0 to 4")


def test_numbers_out_of_range(command, folder):
    refused(command("slice2d", "a.h5", "--num-points", 50), "50 points", "odd", "51")
    refused(command("slice1d", "a.h5", "--span", 0), "--span 0; expected a positive number")
    refused(command("slice1d", "a.h5", "--span", "nan"), "--span nan; expected a positive number")
    refused(command("slice2d", "a.h5", "--draws", 0), "--draws 0; expected a whole number of at least 1")
    refused(command("slice2d", "a.h5", "--seed", -1), "--seed -1; expected a whole number of at least 0")
    refused(
        command("slice2d", "a.h5", "--seed", 2**63), "--seed 9223372036854775808; expected", "end at 92233"
    )
    refused(
        command("slice1d", "a.h5", "--draws", 10**19), "--draws 10000000000000000000; expected", "end at 9007"
    )
    refused(command("slice2d", "a.h5", "b.h5"), "2 points on a plane of directions random")
    refused(command("slice2d", "a.h5", "--ignore", "biases"), "biases", "bias, norm, vector")
    refused(command("slice2d", "wide.h5", "--directions", "pca"), "spans no plane", "--checkpoint-every")
    refused(command("interpolate", "a.h5", "b.h5", "--range", 0.2, 1), "0.2 to 1", "both ends")
    refused(
        command("interpolate", "a.h5", "b.h5", "--num-points", 1),
        "--num-points 1; expected a whole number of at least 3",
    )
    refused(command("hessian", "a.h5", "--top-k", 0), "--top-k 0, --bottom-k 0; expected at least 1")
    refused(command("hessian", "a.h5", "--subsets", 3), "--subsets 3 without a --subset of so many samples")
    refused(command("hessian", "a.h5", "--tol", 0), "--tol 0; expected a positive number")
    refused(command("hessian", "a.h5", "--subset", 10**6), "subset of 1000000", "between 1 and")
    refused(command("hessian", "a.h5", "--chunk-size", 0), "0 is not in the range")
    refused(command("hessian", "a.h5", "--threads", 10**5), "--threads 100000; expected 1 to 1024")
    refused(
        command("slice2d", "a.h5", "--workers", 10**6), "--workers 1000000, each a process of this machine"
    )
    refused(
        command("connect", "a.h5", "b.h5", "--bends", 0), "--bends 0; expected a whole number of at least 1"
    )
    refused(command("connect", "a.h5", "b.h5", "--epochs", 2, "--steps", 2), "both epochs and steps")
    refused(
        command("connect", "a.h5", "b.h5", "--restarts", 0),
        "--restarts 0; expected a whole number of at least 1",
    )
    refused(command("connect", "a.h5", "b.h5", "--tolerance", 0), "--tolerance 0; expected a positive number")
    refused(command("connect", "a.h5", "b.h5", "--schedule-arg", "gamma=2"), "garipov with arguments")
    refused(command("connect", "a.h5"), "1 point for connect; expected A B [C ...]")
    refused(command("connect", "a.h5", "b.h5", "a.h5@init", "--plane"), "--plane with 3 points", "2 points")
    refused(command("connect", "a.h5", "wide.h5"), "wide.h5@final does not fit", "(7, 2) instead of (6, 2)")
    refused(command("interpolate", "a.h5", "b.h5", "--batchnorm", "repair", "--range", -1, 1), "0 to 1")
    train = ["train", "--data", "moons", "-o", "x.h5"]
    refused(command(*train, "--lr", -1), "--lr -1; expected a positive number")
    refused(command(*train, "--epochs", 0), "--epochs 0; expected a positive number")
    refused(command(*train, "--epochs", 1, "--steps", 1), "epochs and steps")
    refused(command(*train, "--epochs", 1e20), "--epochs 1e+20 of 4 steps each; expected at most 2⁵³ steps")
    refused(command(*train, "--nesterov"), "Nesterov", "momentum")
    refused(command(*train, "--method", "sgd", "--batch-size", 64), "takes one sample a step", "minibatch")
    for option in ("--lr", "--bends", "--batch-size", "--restarts", "--epochs"):
        refused(command("connect", "a.h5", "b.h5", "--method", "idle", option, 2), f"{option} 2", "leave")
    refused(command("escape", "a.h5", "--batch-size", 4), "--batch-size 4 with --noise sphere", "--noise sgd")
    refused(
        command("slice2d", "a.h5", "--directions", "eigen", "--norm", "layer"),
        "--norm layer with --directions",
    )
    refused(command("slice1d", "a.h5", "--directions", "pca", "--ignore", "none"), "leave --ignore away")
    refused(command(*train, "--lr", "1e200"), "--lr 1e+200; expected a positive number", "end at 1e+30")
    refused(command(*train, "--schedule-arg", "gamma=2"), "has no 'gamma'")
    assert not list(folder.glob("*.part"))


def test_no_output_name_for_a_run(command, folder):
    refused(command("train", "--steps", 1), "no output", "-o a.h5")


def test_unwritable_folders(command, folder):
    refused(command("hessian", "a.h5", "-o", "nowhere/x.h5"), "no folder nowhere", "make it first")
    if Path("/proc/self").exists():
        # Where even root may not write.
        refused(command("hessian", "a.h5", "-o", "/proc/x.h5"), "/proc cannot be written", "another -o")
    (folder / "locked").mkdir(mode=0o555)
    if not os.access(folder / "locked", os.W_OK):
        refused(command("hessian", "a.h5", "-o", "locked/x.h5"), "locked cannot be written", "another -o")


def test_a_full_disk_loses_nothing(command, folder, monkeypatch):
    line = ["slice2d", "a.h5", "--num-points", 5]

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("landscape.runs.store.os.replace", full)
        refused(command(*line), "the disk is full", "same command again", code=1)
    assert not (folder / "a.slice2d.h5").exists()
    assert list((folder / "a.slice2d.h5.part").iterdir())
    resumed = command(*line)
    assert resumed.code == 0
    assert "finished pieces" in resumed.err


def test_a_full_disk_in_the_journal(command, folder, monkeypatch):
    monkeypatch.setattr("landscape.runs.journal.os.write", lambda descriptor, data: len(data) - 1)
    refused(command("slice2d", "a.h5", "--num-points", 5), "the disk is full", code=1)


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")]
)
def test_out_of_memory(command, folder, monkeypatch, error):
    def exhausted(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("landscape.objective.Objective.measurements", exhausted)
    refused(command("slice2d", "a.h5", "--num-points", 5), "out of memory", "--chunk-size", code=1)


def test_a_result_that_fits_nowhere_asks_for_fewer_points(command, folder, monkeypatch):
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 7.28 TiB for an array with shape (1000001, 1000001)")

    monkeypatch.setattr("landscape.objective.Objective.measurements", exhausted)
    refused(command("slice2d", "a.h5", "--num-points", 5), "7.28 TiB", "ask for fewer points", code=1)


def test_out_of_memory_for_a_basis_says_how_many_vectors_fit(command, folder, monkeypatch):
    room = krylov.Krylov._make_room

    def little(self, count):
        if len(self._all):
            self.dimension *= 10**12
        room(self, count)

    monkeypatch.setattr(krylov, "FIRST_ROOM", 4)
    monkeypatch.setattr(krylov.Krylov, "_make_room", little)
    wanted = (
        r"the basis has \d+ vectors of .* GiB each and asked for room for \d+ more: set --memory-limit to"
    )
    done = command("hessian", "a.h5", "--top-k", 3)
    assert re.search(wanted, done.err), done.err
    refused(done, "out of memory", code=1)


class Malicious:
    """A pickle that would leave a file behind if anything of it ran."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_pickle_that_is_not_weights_is_refused_and_not_run(command, folder):
    line = ["--model", "mlp", "--data", "moons", "-o", "x.h5"]
    (folder / "evil.pt").write_bytes(pickle.dumps(Malicious(folder / "ran")))
    torch.save({"state_dict": Malicious(folder / "ran")}, folder / "evil2.pt")
    for file in ("evil.pt", "evil2.pt"):
        refused(
            command("import", file, *line), "pickle that holds more than weights", "nothing of it was run"
        )
    assert not (folder / "ran").exists()


def test_checkpoints_that_are_none(command, folder):
    line = ["--model", "mlp", "--data", "moons", "-o", "x.h5"]
    (folder / "text.pt").write_text("hello")
    (folder / "empty.pt").write_bytes(b"")
    (folder / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    torch.save({"epoch": 3, "loss": 0.5}, folder / "none.pt")
    torch.save([1, 2], folder / "list.pt")
    torch.save({"w": torch.ones(3)}, folder / "whole.pt")
    (folder / "half.pt").write_bytes((folder / "whole.pt").read_bytes()[:300])
    for file in ("text.pt", "empty.pt", "half.pt", "cut.safetensors"):
        refused(command("import", file, *line), file, "whole")
    refused(command("import", "none.pt", *line), "no tensors (epoch, loss)", "state_dict")
    refused(command("import", "list.pt", *line), "holds a list", "state_dict")
    refused(command("import", "a.h5", *line), "run file needs no import")


def test_keys_that_do_not_fit_are_all_listed(command, folder):
    state = {name: torch.from_numpy(v) for name, v in store.read_state(folder / "a.h5", "final").items()}
    first, second, *_ = state
    torch.save(
        {**{k: v for k, v in state.items() if k != first}, second: torch.ones(9), "x.y": torch.ones(1)},
        folder / "w.pt",
    )
    line = ["--model", "mlp", "--model-arg", "widths=6", "--data", "moons", "-o", "x.h5"]
    done = command("import", "w.pt", *line)
    refused(done, f"missing: {first}", "unexpected: x.y", f"misshapen: {second} (9,) instead of (6,)")


def test_export_names_that_are_wrong(command, folder):
    refused(command("export", "a.h5", "-o", "w.onnx"), "'.onnx'", ".safetensors, .pt")
    refused(command("export", "a.h5@epoch=77", "-o", "w.pt"), "no point 'epoch=77'")
    refused(command("export", "a.h5", "-o", "nowhere/w.pt"), "cannot be written")
    Path("w.pt").write_text("notes")
    refused(command("export", "a.h5", "-o", "w.pt"), "w.pt is there already", "--overwrite")
    assert Path("w.pt").read_text() == "notes"
    assert command("export", "a.h5", "-o", "w.pt", "--overwrite").code == 0
    refused(command("export", "a.h5", "-o", "."), "a folder")
    for line in (["show", "."], ["plot", "."], ["hessian", "."], ["export", ".", "-o", "v.pt"]):
        refused(command(*line), ". is a folder", "a result or run file")
    refused(command("plot", "a.h5", "-v", "--nonsense"), "No such option")
    refused(command("hessian", "a.h5", "--limit", "5"), "No such option '--limit'. Did you mean '--subset'?")
    assert "--subset" not in command("plot", "a.h5", "--limit", "5").err
    refused(
        command("sharpness", "a.h5", "--relative-flatness", "--layer", "nope"), "--layer 'nope'", "output"
    )
    assert not list(Path().glob("*.part"))


def test_plots_that_are_wrong(command, folder):
    refused(command("plot", "a.h5", "-o", "a.gif"), "gif", "png, pdf")
    refused(command("plot", "a.h5", "--levels", "many"), "'many' gives no levels")


def test_a_factory_that_leaves_the_program_or_speaks_in_lines(command, folder):
    (folder / "own.py").write_text(
        "def leaves():\n    raise SystemExit(4)\ndef speaks():\n    raise RuntimeError('one\\ntwo')\n"
    )
    train = ["train", "--data", "moons", "--steps", 1, "-o", "x.h5"]
    refused(command(*train, "--model", "own.py:leaves"), "raised SystemExit: 4")
    refused(command(*train, "--model", "own.py:speaks"), "raised RuntimeError: one two")


def test_a_loss_that_raises_names_its_line(command, folder):
    (folder / "own.py").write_text(
        "import torch\n"
        "def inner(o, t):\n"
        "    return torch.matmul(o, t.reshape(1, -1, 7))\n"
        "def loss(o, t):\n"
        "    return inner(o, t)\n"
        "def typo(o, t):\n"
        "    return (o - t).sqaure()\n"
    )
    line = ["train", "--model", "mlp", "--data", "moons", "--steps", 1, "-o", "x.h5"]
    refused(command(*line, "--loss", "own.py:loss"), "(own.py, line 3)")
    refused(command(*line, "--loss", "own.py:typo"), "sqaure", "(own.py, line 7)")


def test_code_that_cannot_be_read_or_fails_names_its_line(command, folder):
    (folder / "own.py").write_text("x = 1\ndef net(:\n    pass\n")
    line = ["train", "--model", "own.py:net", "--data", "moons", "--steps", 1, "-o", "x.h5"]
    refused(command(*line), "failed to import (SyntaxError", "(own.py, line 2)")
    (folder / "own.py").write_text("def net():\n\n    return 1 / 0\n")
    refused(command(*line), "ZeroDivisionError", "(own.py, line 3)")


def test_a_module_that_gives_its_losses_in_training_mode_is_told_of_eval_mode(command, folder):
    (folder / "own.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.linear = torch.nn.Linear(2, 1)\n"
        "    def forward(self, x):\n"
        "        out = self.linear(x)\n"
        "        return out.square().mean() if self.training else {'scores': out}\n"
    )
    done = command(
        "train", "--model", "own.py:Net", "--data", "moons", "--loss", "output", "--steps", 1, "-o", "x.h5"
    )
    refused(done, "outputs dict", "eval mode", "in training mode it is taken")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("w.pt", b"\x89PNG\r\n\x1a\n" + bytes(40), "a png picture"),
        ("w.safetensors", b"\x89PNG\r\n\x1a\n" + bytes(40), "a png picture"),
        ("w.pt", "weights of 3 layers: 0.1 … 0.2\n".encode(), "a text file"),
        ("w.safetensors", b"# weights\n", "a text file"),
        ("w.pth", None, "a zip archive of something else"),
        ("w.pt", b"", "empty"),
    ],
    ids=["png", "png-safetensors", "text", "text-safetensors", "zip", "empty"],
)
def test_what_is_given_for_a_checkpoint_is_called_what_it_is(command, folder, name, content, kind):
    if content is None:
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("readme.txt", "nothing")
    else:
        (folder / name).write_bytes(content)
    done = command("import", name, "--model", "mlp", "--data", "moons", "-o", "x.h5")
    refused(done, f"{name} is {kind}", "expected a checkpoint")


def test_a_label_far_beyond_the_classes_that_occur(command, folder):
    np.savez(folder / "d.npz", inputs=np.eye(9), targets=np.array([0, 1, 2, 0, 1, 2, 0, 1, 77]))
    line = ["train", "--model", "mlp", "--data", "npz:d.npz", "--steps", 1, "-o", "x.h5"]
    refused(
        command(*line), "a label 77 among 9 samples of 4 classes", "78 outputs", "--model-arg num_outputs=78"
    )
    assert command(*line, "--model-arg", "num_outputs=78").code == 0
    (folder / "own.py").write_text(
        "import torch\nimport numpy as np\n"
        "def net():\n    return torch.nn.Linear(9, 100)\n"
        "def sized(num_outputs):\n    return torch.nn.Linear(9, num_outputs)\n"
    )
    # A module that has its own number of outputs has been given one.
    own = ["train", "--data", "npz:d.npz", "--loss", "cross_entropy", "--steps", 1, "-o", "own.h5"]
    assert command(*own, "--model", "own.py:net").code == 0
    refused(command(*own[:-1], "y.h5", "--model", "own.py:sized"), "a label 77")


def test_a_point_saved_from_python_says_what_it_lacks_and_comes_in_by_import(command, folder):
    run = Run("a.h5")
    objective = run.objectives(dtype="float64").train
    result = landscape.import_point(objective, run.point(objective))
    landscape.save(result, folder / "p.h5")
    assert command("show", "p.h5").code == 0
    refused(
        command("hessian", "p.h5"),
        "p.h5 holds final of a module in memory",
        "import this file with its --model, --data and --loss, and the name of the run file as -o",
    )
    # In float64 without a word, as it was saved from there.
    line = [*TINY, "--output", "q.h5"]
    assert command("import", "p.h5", *line).code == 0
    wanted, found = (store.read_state(folder / name, "final") for name in ("a.h5", "q.h5"))
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    assert Run("q.h5").dtype == "float64"
    assert landscape.load("q.h5").final_loss == result.final_loss
    assert command("hessian", "q.h5", "--top-k", 1).code == 0
    refused(command("import", "a.h5", *TINY, "-o", "r.h5"), "a run file needs no import")


def test_a_full_disk(command, folder, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full_for_torch(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 4864 vs 4800")

    monkeypatch.setattr("landscape.inputs.checkpoints.writing.torch.save", full_for_torch)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    refused(command("export", "a.h5", "-o", "w.pt"), "the disk is full", code=1)
    monkeypatch.setattr("landscape.runs.store.os.replace", full)
    refused(command("slice1d", "a.h5", "--num-points", 3), "the disk is full", code=1)
    refused(command("plot", "a.h5"), "the disk is full", code=1)
    assert not [path for path in folder.iterdir() if path.suffix in (".tmp", ".pt", ".png")]


def test_a_folder_in_place_of_a_file_to_write(command, folder):
    """By every command that writes: what it is, and a name that can be typed in its place."""
    Path("there").mkdir()
    command("slice1d", "a.h5", "--num-points", 3, "-o", "s.h5")
    for line in (
        ["plot", "s.h5", "-o"],
        ["report", "s.h5", "-o"],
        ["export", "a.h5", "-o"],
        ["show", "a.h5", "s.h5", "--csv"],
        ["init", "train", "-o"],
        ["train", "-o"],
        ["hessian", "a.h5", "-o"],
    ):
        done = command(*line, "there")
        assert done.code == 2, line
        assert "there is a folder; expected " in done.err, done.err
        names = re.findall(r"there/\w+\.\w+|FILE\.h5", done.err)
        assert len(names) == 1, done.err
        if line[0] in ("plot", "report", "export", "show", "init"):
            assert command(*line, names[0]).code == 0, names
            assert Path(names[0]).is_file()


def test_a_folder_of_a_model_whose_configuration_is_damaged(command, folder):
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{")
    line = ["import", "model", "--data", "digits", "-o", "x.h5"]
    refused(command(*line), "config.json cannot be read", "expected a JSON file")
