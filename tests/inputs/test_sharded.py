"""A module of which a process has a part is refused by a sentence, and never taken for the whole."""

import sys
import types
from pathlib import Path

import pytest
import torch
from torch import distributed, nn

import landscape
from landscape.errors import BadInput

DATA = torch.zeros(5, 2), torch.zeros(5, 1)


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))


def refused(module: nn.Module, path: Path) -> None:
    with pytest.raises(BadInput, match=r"is sharded .*a part of its parameters; .*full_state_dict=True"):
        landscape.record(path, module)
    assert not path.exists()
    with pytest.raises(BadInput, match="is sharded"):
        landscape.Objective(module, "mse", DATA)


@pytest.fixture
def alone(tmp_path):
    """A group of this process alone."""
    distributed.init_process_group(
        "gloo", store=distributed.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1
    )
    yield
    distributed.destroy_process_group()


def test_tensors_in_parts(tmp_path, alone):
    fsdp = pytest.importorskip("torch.distributed.fsdp", reason="a torch with fully_shard")
    module = net()
    mesh = distributed.device_mesh.init_device_mesh("cpu", (1,))
    fsdp.fully_shard(module[0], mesh=mesh)
    refused(module, tmp_path / "a.h5")
    fsdp.fully_shard(module, mesh=mesh)
    with pytest.raises(BadInput, match="is sharded"):
        landscape.record(tmp_path / "a.h5", module)
    wanted = landscape.Objective(net(), "mse", DATA)
    found = landscape.Objective(module, "mse", DATA)
    assert type(found) is not type(wanted)
    theta = torch.linspace(-1, 1, wanted.num_parameters)
    assert found.value(theta) == pytest.approx(wanted.value(theta))


def test_a_wrapper_in_several_processes(tmp_path, monkeypatch):
    class Wrapper(nn.Module):
        def __init__(self, world_size: int):
            super().__init__()
            self.module, self.world_size = net(), world_size

    made = types.SimpleNamespace(FullyShardedDataParallel=Wrapper)
    monkeypatch.setitem(sys.modules, "torch.distributed.fsdp", made)
    refused(nn.Sequential(Wrapper(2)), tmp_path / "a.h5")
    landscape.record(tmp_path / "b.h5", Wrapper(1))


def test_parameters_that_lie_elsewhere(tmp_path):
    module = net()
    module[0].weight.ds_shape = (4, 2)
    refused(module, tmp_path / "a.h5")
