"""Trust follows content: what a run is made from is found again from anywhere, and nothing untrusted is imported."""

import importlib.util
import json
import marshal
import py_compile
import struct
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape.runs.config import config_hash
from landscape.runs.store import SEAL


def net_that_leaves_a_trace(folder: Path, name: str = "net.py", more: str = "") -> str:
    """A spec of a net whose file, once run, leaves ``ran`` beside it."""
    (folder / name).write_text(
        "import pathlib, torch\n"
        "pathlib.Path(__file__).with_name('ran').touch()\n"
        f"{more}  # in {folder}\n"
        "def net():\n    return torch.nn.Linear(2, 1)\n"
    )
    return f"{folder / name}:net"


def another_user(monkeypatch, tmp_path_factory) -> None:
    """From here on nothing has been trusted."""
    monkeypatch.setenv("LANDSCAPE_STATE", str(tmp_path_factory.mktemp("state")))


def test_a_run_file_cannot_make_foreign_code_run(command, folder, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    spec = net_that_leaves_a_trace(elsewhere)
    assert command("train", "--model", spec, "--data", "moons", "--steps", 1, "-o", "evil.h5").code == 0
    (elsewhere / "ran").unlink()
    another_user(monkeypatch, tmp_path_factory)
    for line in (["hessian", "evil.h5"], ["export", "evil.h5", "-o", "w.pt"], ["align", "a.h5", "evil.h5"]):
        refused = command(*line)
        assert refused.code == 2
        assert (
            f"asks to run {elsewhere / 'net.py'}, whose present content no command of yours has named"
            in refused.err
        )
        assert "give --trust" in refused.err
    assert not (elsewhere / "ran").exists()
    assert command("hessian", "evil.h5", "--trust", "--top-k", 1).code == 0
    # What was looked into once is trusted from then on.
    assert command("slice1d", "evil.h5", "--num-points", 3).code == 0


def test_code_in_the_current_folder_is_not_trusted_for_that(command, folder, tmp_path_factory, monkeypatch):
    net_that_leaves_a_trace(folder)
    assert command("train", "--model", "net.py:net", "--data", "moons", "--steps", 1, "-o", "n.h5").code == 0
    (folder / "ran").unlink()
    another_user(monkeypatch, tmp_path_factory)
    refused = command("hessian", "n.h5")
    assert refused.code == 2
    assert "n.h5 asks to run" in refused.err
    assert "net.py" in refused.err
    assert not (folder / "ran").exists()


def test_imported_in_one_folder_and_measured_in_another(command, folder, tmp_path_factory, monkeypatch):
    project, elsewhere = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(project)
    (project / "shapes.py").write_text("width = 3\n")
    (project / "mine.py").write_text(
        "import torch\nfrom shapes import width\n"
        "def net():\n    return torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.Linear(width, 1))\n"
        "def loss(o, t):\n    return (o - t).square().mean()\n"
    )
    inputs = np.arange(20.0).reshape(10, 2) / 20
    np.savez(project / "d.npz", inputs=inputs, targets=inputs.sum(1))
    line = ["--model", "mine.py:net", "--data", "npz:d.npz", "--loss", "mine.py:loss"]
    assert command("train", *line, "--steps", 2, "--lr", 0.01, "-o", "t.h5").code == 0
    assert command("export", "t.h5", "-o", "w.pt").code == 0
    assert command("import", "w.pt", *line, "-o", "a.h5").code == 0
    wanted = command("hessian", "a.h5", "--top-k", 1, "-o", "here.h5", "--json").json["values"]
    monkeypatch.chdir(elsewhere)
    done = command("hessian", project / "a.h5", "--top-k", 1, "-o", "there.h5", "--json")
    assert done.code == 0, done.err
    assert done.json["values"]["eigenvalues"] == wanted["eigenvalues"]
    # The same command is answered by the file that is there.
    monkeypatch.chdir(project)
    assert "already there" in command("import", "w.pt", *line, "-o", "a.h5").out


def test_a_run_file_moved_away_from_its_code_finds_it_where_it_was_named(command, folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    net_that_leaves_a_trace(folder)
    line = ["--model", "net.py:net", "--data", "moons", "--steps", 1]
    assert command("train", *line, "-o", "n.h5").code == 0
    moved = (folder / "n.h5").rename(elsewhere / "n.h5")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(elsewhere)
        assert command("hessian", moved, "--top-k", 1).code == 0
        net_that_leaves_a_trace(folder, more="# another version")
        assert "its file is no longer at" in command("hessian", moved, "--top-k", 1).err


def test_a_module_by_name_is_found_from_another_folder(command, folder, tmp_path_factory, monkeypatch):
    project, elsewhere = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("elsewhere")
    net_that_leaves_a_trace(project, "net_of_this_test.py")
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(project)
    line = ["--model", "net_of_this_test:net", "--data", "moons", "--steps", 1, "-o", "n.h5"]
    assert command("train", *line).code == 0
    monkeypatch.delitem(sys.modules, "net_of_this_test")
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one != str(project)])
    monkeypatch.chdir(elsewhere)
    assert command("hessian", project / "n.h5", "--top-k", 1).code == 0
    another_user(monkeypatch, tmp_path_factory)
    assert "no command of yours has named" in command("hessian", project / "n.h5", "--top-k", 1).err


def test_a_package_is_taken_from_where_it_is_importable(command, folder, tmp_path_factory, monkeypatch):
    """Two copies with the same content, as two environments have them."""
    one, two, nowhere = (tmp_path_factory.mktemp(name) for name in ("one", "two", "nowhere"))
    for place in (one, two):
        (place / "nets_of_this_test").mkdir()
        (place / "nets_of_this_test" / "__init__.py").touch()
        net_that_leaves_a_trace(folder, "net.py")
        (place / "nets_of_this_test" / "wide.py").write_bytes((folder / "net.py").read_bytes())
    line = ["--model", "nets_of_this_test.wide:net", "--data", "moons", "--steps", 1, "-o", folder / "n.h5"]
    for place in (one, two, nowhere):
        monkeypatch.chdir(place)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(place)
            if place == one:
                assert command("train", *line).code == 0
            if place == nowhere:
                refused = command("hessian", folder / "n.h5", "--top-k", 1, "--overwrite")
                assert refused.code == 2
                assert f"not importable from here; expected the package in {one}" in refused.err
            else:
                done = command("hessian", folder / "n.h5", "--top-k", 1, "--overwrite")
                assert done.code == 0, done.err
                assert (place / "nets_of_this_test" / "ran").exists()
        for name in [name for name in sys.modules if name.startswith("nets_of_this_test")]:
            del sys.modules[name]


def test_what_trusted_code_imports_must_be_trusted_too(command, folder, tmp_path_factory, monkeypatch):
    project, copy = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("copy")
    monkeypatch.chdir(project)
    (project / "helper_of_this_test.py").write_text("x = 1\n")
    net_that_leaves_a_trace(project, more="import helper_of_this_test")
    assert command("train", "--model", "net.py:net", "--data", "moons", "--steps", 1, "-o", "n.h5").code == 0
    for name in ("net.py", "n.h5"):
        (copy / name).write_bytes((project / name).read_bytes())
    evil = copy / "helper_of_this_test.py"
    evil.write_text(f"import pathlib\npathlib.Path({str(copy)!r}, 'evil').touch()\n")
    monkeypatch.delitem(sys.modules, "helper_of_this_test")
    monkeypatch.chdir(copy)
    refused = command("hessian", "n.h5", "--top-k", 1)
    assert refused.code == 2
    assert f"{evil} would be imported" in refused.err
    assert not (copy / "evil").exists()
    evil.write_text("x = 1\n")
    assert command("hessian", "n.h5", "--top-k", 1).code == 0


def test_a_compiled_copy_is_not_run_in_place_of_the_trusted_source(command, folder):
    """Python takes the copy in __pycache__ where its stamp, time and size, fits the source."""
    net_that_leaves_a_trace(folder)
    assert command("train", "--model", "net.py:net", "--data", "moons", "--steps", 1, "-o", "n.h5").code == 0
    evil, copy = folder / "evil", importlib.util.cache_from_source(str(folder / "net.py"))
    stamp = (folder / "net.py").stat()
    py_compile.compile(str(folder / "net.py"), copy)
    header = Path(copy).read_bytes()[:16]
    assert header[8:] == struct.pack("<II", int(stamp.st_mtime), stamp.st_size)
    code = compile(f"import pathlib; pathlib.Path({str(evil)!r}).touch()", "net.py", "exec")
    Path(copy).write_bytes(header + marshal.dumps(code))
    assert command("hessian", "n.h5", "--top-k", 1).code == 0
    assert not evil.exists()


def test_code_that_has_changed_since_is_said_to_have(command, folder, tmp_path_factory):
    net_that_leaves_a_trace(folder)
    line = ["train", "--model", "net.py:net", "--data", "moons", "--steps", 1, "-o", "n.h5"]
    assert command(*line).code == 0
    assert command("hessian", "n.h5", "--top-k", 1).code == 0
    assert "already there" in command(*line).out
    net_that_leaves_a_trace(folder, more="# another version")
    assert "no command of yours has named" in command("hessian", "n.h5", "--top-k", 1, "--overwrite").err
    done = command("hessian", "n.h5", "--top-k", 1, "--overwrite", "--trust")
    assert "its content has changed since" in " ".join(done.out.split())
    again = command(*line)
    assert again.code == 2
    assert "net.py has another content now" in again.err


def test_code_that_is_gone_is_asked_for(command, folder):
    net_that_leaves_a_trace(folder)
    assert command("train", "--model", "net.py:net", "--data", "moons", "--steps", 1, "-o", "n.h5").code == 0
    (folder / "net.py").unlink()
    gone = command("hessian", "n.h5")
    assert gone.code == 2
    assert f"its file is no longer at {folder / 'net.py'}" in gone.err


def test_a_run_file_of_old_may_run_code_of_the_current_folder(command, folder, tmp_path_factory, monkeypatch):
    net_that_leaves_a_trace(folder)
    line = ["train", "--model", "net.py:net", "--data", "moons", "--steps", 1, "-o", "n.h5"]
    assert command(*line).code == 0
    with h5py.File(folder / "n.h5", "r+") as file:
        del file.attrs["sources"], file.attrs[SEAL]
        config = json.loads(str(file.attrs["config"]))
        del config["sources"]
        file.attrs["config"] = json.dumps(config)
        file.attrs["config-sha256"] = config_hash(config)
    assert "already there" in command(*line).out
    another_user(monkeypatch, tmp_path_factory)
    assert command("hessian", "n.h5", "--top-k", 1).code == 0
