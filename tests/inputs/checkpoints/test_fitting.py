"""Weights in the wild: every wrapping is understood, and what does not fit is said by name."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from landscape.errors import BadInput
from landscape.inputs import checkpoints


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def same(first: nn.Module, second: nn.Module) -> bool:
    theirs = second.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in first.state_dict().items())


WRAPPINGS = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "data parallel": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "compiled": lambda state: {"model": {f"_orig_mod.{name}": t for name, t in state.items()}},
    "both": lambda state: {f"module._orig_mod.{name}": tensor for name, tensor in state.items()},
    "lightning": lambda state: {
        "pytorch-lightning_version": "2.5.0",
        "epoch": 7,
        "hyper_parameters": {"lr": 0.1},
        "optimizer_states": [],
        "state_dict": {f"net.{name}": tensor for name, tensor in state.items()},
    },
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_every_wrapping_is_understood(tmp_path, wrapping):
    trained = net(seed=1)
    path = tmp_path / "w.ckpt"
    torch.save(WRAPPINGS[wrapping](trained.state_dict()), path)
    assert same(checkpoints.loaded(net(), checkpoints.read(path), "w.ckpt"), trained)


def test_safetensors(tmp_path):
    trained = net(seed=1)
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    assert same(checkpoints.loaded(net(), checkpoints.read(tmp_path / "w.safetensors"), "w"), trained)


def test_strangers_beside_the_only_prefix_that_fits_are_left_out_and_said():
    state = {f"net.{name}": tensor for name, tensor in net(1).state_dict().items()}
    said: list[str] = []
    given = {**state, "criterion.weight": torch.ones(2)}
    assert same(checkpoints.loaded(net(), given, "w", say=said.append), net(1))
    assert said == ["w: the weights under net were taken; left out: criterion.weight"]


def test_a_checkpoint_older_than_the_batch_counter_is_taken():
    state = {name: t for name, t in net(1).state_dict().items() if not name.endswith("num_batches_tracked")}
    assert torch.equal(checkpoints.loaded(net(), state, "w").state_dict()["2.weight"], state["2.weight"])


def test_all_faults_are_listed_together():
    state = dict(net().state_dict())
    del state["0.bias"], state["1.running_mean"]
    state |= {"2.weight": torch.ones(2, 5), "3.weight": torch.ones(1)}
    with pytest.raises(BadInput) as caught:
        checkpoints.loaded(net(), state, "w.pt")
    for part in (
        "missing: 0.bias, 1.running_mean",
        "unexpected: 3.weight",
        "misshapen: 2.weight (2, 5) instead of (2, 4)",
    ):
        assert part in str(caught.value)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight


@pytest.mark.parametrize("suffix", checkpoints.SUFFIXES)
def test_tied_weights_are_written_under_each_name_and_read_back(tmp_path, suffix):
    module = Tied()
    path = tmp_path / f"w{suffix}"
    checkpoints.write(module, path, "a.h5@final")
    found = checkpoints.read(path)
    assert set(found) == {"first.weight", "second.weight"}
    assert same(checkpoints.loaded(Tied(), found, "w"), module)


def test_tied_weights_that_differ_are_refused():
    with pytest.raises(BadInput, match="which the module ties"):
        checkpoints.loaded(
            Tied(), {"first.weight": torch.ones(3, 3), "second.weight": torch.zeros(3, 3)}, "w"
        )


def test_what_is_written_loads_with_plain_torch(tmp_path):
    module = net(seed=2)
    checkpoints.write(module, tmp_path / "w.pt", "a.h5@final")
    fresh = net()
    fresh.load_state_dict(torch.load(tmp_path / "w.pt", weights_only=True), strict=True)
    assert same(fresh, module)
    assert not list(tmp_path.glob("*.tmp"))


def test_a_tied_weight_stored_once_is_found_under_its_other_name():
    module = checkpoints.loaded(Tied(), {"first.weight": torch.full((3, 3), 2.0)}, "w")
    assert float(module.state_dict()["second.weight"].sum()) == 18


def test_weights_that_are_nan_are_weights():
    state = {
        name: torch.full_like(t, torch.nan) if t.is_floating_point() else t
        for name, t in net().state_dict().items()
    }
    assert checkpoints.loaded(net(), state, "w").state_dict()["0.weight"].isnan().all()
