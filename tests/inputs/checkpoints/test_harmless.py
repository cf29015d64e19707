"""What stands beside weights in pickles: known by name and inert; everything else refused by name, and never run."""

import argparse
import collections
import datetime
import pathlib
import pickle
import sys
import types

import numpy as np
import pytest
import torch

from landscape.errors import BadInput
from landscape.inputs import checkpoints
from landscape.inputs.checkpoints.harmless import HARMLESS

WEIGHTS = {"weight": torch.arange(3.0)}
BESIDE = {
    "namespace": argparse.Namespace(lr=0.1, root=pathlib.Path("/data")),
    "paths": [pathlib.Path("a/b"), pathlib.PurePosixPath("/c"), pathlib.PureWindowsPath("c:\\d")],
    "numpy scalars": (np.float64(0.5), np.float32(1), np.int64(3), np.bool_(True), np.dtype("float32")),
    "numpy arrays": {"history": np.arange(4.0), "names": np.array(["a", "b"])},
    "generator": np.random.RandomState(0).get_state(),
    "ordered": collections.OrderedDict(a=collections.defaultdict(list, b=[1])),
    "counter": collections.Counter("abca"),
    "dates": (datetime.datetime(2026, 1, 2), datetime.timedelta(3)),
    "simple": types.SimpleNamespace(a=1),
    "nested": {"args": argparse.Namespace(inner=argparse.Namespace(x=np.float64(1)))},
}


@pytest.mark.parametrize("beside", BESIDE)
def test_known_types_beside_the_weights_are_read_over(tmp_path, beside):
    saved = {"state_dict": WEIGHTS, "epoch": 3, "beside": BESIDE[beside]}
    torch.save(saved, tmp_path / "w.pt")
    assert torch.equal(checkpoints.read(tmp_path / "w.pt")["weight"], WEIGHTS["weight"])


def test_a_protocol_that_torch_does_not_read_so_is_named(tmp_path):
    torch.save({"state_dict": WEIGHTS, "beside": argparse.Namespace()}, tmp_path / "w.pt", pickle_protocol=4)
    with pytest.raises(BadInput, match=r"of a protocol that torch\.save does not write"):
        checkpoints.read(tmp_path / "w.pt")


def test_paths_of_another_system_are_read(tmp_path, monkeypatch):
    class WindowsPath:
        def __reduce__(self):
            return (type(self), ())

    WindowsPath.__module__, WindowsPath.__qualname__ = "pathlib", "WindowsPath"
    monkeypatch.setattr(pathlib, "WindowsPath", WindowsPath)
    torch.save({"state_dict": WEIGHTS, "beside": WindowsPath()}, tmp_path / "w.pt")
    monkeypatch.undo()
    assert checkpoints.read(tmp_path / "w.pt").keys() == {"weight"}


def test_a_configuration_of_a_package_that_is_not_there_is_read(tmp_path, monkeypatch):
    """As Hydra's users have it in ``hyper_parameters``; made by a stand-in of the same name."""
    fake, config = types.ModuleType("omegaconf"), types.ModuleType("omegaconf.dictconfig")
    config.DictConfig = type("DictConfig", (), {"__module__": "omegaconf.dictconfig"})
    for name, module in (("omegaconf", fake), ("omegaconf.dictconfig", config)):
        monkeypatch.setitem(sys.modules, name, module)
    one = config.DictConfig()
    one.__dict__ = {"_content": {"lr": 0.1}, "_parent": None}
    torch.save({"state_dict": WEIGHTS, "hyper_parameters": {"cfg": one}}, tmp_path / "w.pt")
    monkeypatch.undo()
    assert checkpoints.read(tmp_path / "w.pt").keys() == {"weight"}
    assert "omegaconf" not in sys.modules


class Own:
    """A class of the user's own."""


def test_anything_else_is_refused_by_name(tmp_path):
    torch.save({"state_dict": WEIGHTS, "args": Own()}, tmp_path / "w.pt")
    with pytest.raises(BadInput, match=r"asks for .*Own.*nothing of it was run"):
        checkpoints.read(tmp_path / "w.pt")


def test_nothing_runs_under_the_name_of_what_is_harmless(tmp_path):
    class Writes:
        def __reduce__(self):
            return (pathlib.Path.touch, (tmp_path / "ran",))

    (tmp_path / "w.pt").write_bytes(pickle.dumps(Writes(), protocol=2))
    with pytest.raises(BadInput):
        checkpoints.read(tmp_path / "w.pt")
    assert not (tmp_path / "ran").exists()


def test_the_list_of_what_is_harmless_ends_with_the_reading(tmp_path):
    before = set(torch.serialization.get_safe_globals())
    torch.save({"state_dict": WEIGHTS, "beside": argparse.Namespace()}, tmp_path / "w.pt")
    checkpoints.read(tmp_path / "w.pt")
    assert set(torch.serialization.get_safe_globals()) == before
    assert all(isinstance(one, tuple) for one in HARMLESS)
