"""Which dictionary of a file are the weights: the usual place, the key that was given, the only one that fits."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from landscape.errors import BadInput
from landscape.inputs import checkpoints


def net(seed: int = 0, width: int = 4) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


def same(first: nn.Module, second: nn.Module) -> bool:
    theirs = second.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in first.state_dict().items())


@pytest.fixture
def taken(tmp_path):
    """What a saved object gives a module, and what was said."""

    def take(saved, module=None, key: str = "", ignored: tuple[str, ...] = ()):
        said: list[str] = []
        torch.save(saved, tmp_path / "w.pt")
        found = checkpoints.read(tmp_path / "w.pt", key)
        return checkpoints.loaded(module or net(), found, "w.pt", ignored=ignored, say=said.append), said

    return take


def test_one_of_two_that_fit_is_asked_for_and_given_by_its_key(taken):
    saved = {"generator": net(1).state_dict(), "discriminator": net(2).state_dict(), "epoch": 3}
    with pytest.raises(BadInput) as caught:
        taken(saved)
    for part in ("several of its dictionaries fit", "generator (9 tensors)", "`key` generator"):
        assert part in str(caught.value)
    for key, seed in (("generator", 1), ("discriminator", 2)):
        module, said = taken(saved, key=key)
        assert same(module, net(seed))
        assert any(f"{key} was taken" in one for one in said)


def test_the_only_one_that_fits_is_taken_and_said(taken):
    saved = {"generator": net(1).state_dict(), "discriminator": net(2, width=5).state_dict()}
    module, said = taken(saved)
    assert same(module, net(1))
    assert said == ["w.pt: generator was taken, which alone fits the module; beside it are discriminator"]


def test_none_that_fits_lists_them(taken):
    with pytest.raises(BadInput, match=r"none of them fits.*a \(9 tensors\), b \(9 tensors\)"):
        taken({"a": net(1, 5).state_dict(), "b": net(2, 6).state_dict()})


def test_a_key_is_dotted_and_one_that_is_not_there_lists_what_is(taken):
    saved = {"nets": {"g": net(1).state_dict(), "d": net(2).state_dict()}, "optimizer": {"state": {0: {}}}}
    assert same(taken(saved, key="nets.d")[0], net(2))
    with pytest.raises(BadInput, match=r"'nets.h'; expected one of nets.g \(9 tensors\), nets.d"):
        taken(saved, key="nets.h")
    with pytest.raises(BadInput, match="several dictionaries of weights under nets"):
        taken(saved, key="nets")


def test_a_key_may_be_the_beginning_of_names(taken):
    state = {f"student.{name}": one for name, one in net(1).state_dict().items()}
    state |= {f"teacher.{name}": one for name, one in net(2).state_dict().items()}
    saved = {"state_dict": state, "pytorch-lightning_version": "2.5.0"}
    with pytest.raises(BadInput, match=r"several parts that fit Sequential.*student \(9 tensors\), teacher"):
        taken(saved)
    module, said = taken(saved, key="teacher")
    assert same(module, net(2))
    assert said == ["w.pt: of the 18 tensors there the 9 under teacher were taken"]
    with pytest.raises(BadInput, match=r"no weights under 'tutor'.*student \(9 tensors\)"):
        taken(saved, key="tutor")


@pytest.mark.parametrize("name", ["ema_state_dict", "model_ema", "ema", "swa_state_dict", "state_dict_ema"])
def test_an_average_is_never_preferred_and_its_taking_is_said(taken, name):
    saved = {name: net(2).state_dict(), "model": net(1).state_dict(), "step": 10}
    module, said = taken(saved)
    assert same(module, net(1))
    assert said == [
        f"w.pt: model was taken, the weights themselves; averages of them are there as well ({name})"
    ]
    module, said = taken(saved, key=name)
    assert same(module, net(2))
    assert said == [f"w.pt: {name} was taken, an average of weights over training"]
    del saved["model"]
    assert taken(saved)[1] == [f"w.pt: {name} was taken, an average of weights over training"]


def test_an_averaged_model_is_the_average_of_a_plain_loop(taken):
    module = net(1)
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    for _ in range(3):
        with torch.no_grad():
            for one in module.parameters():
                one += 1
        average.update_parameters(module)
    found, said = taken({"model_ema": average.state_dict()})
    by_hand = net(1)
    with torch.no_grad():
        for one in by_hand.parameters():
            first = one + 1
            second = 0.5 * first + 0.5 * (one + 2)
            one.copy_(0.5 * second + 0.5 * (one + 3))
    for ours, theirs in zip(found.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert "w.pt: an average over training was taken (AveragedModel, n_averaged 3)" in said


def test_lightnings_average_that_stands_where_weights_do_is_said(taken):
    saved = {
        "state_dict": {f"model.{name}": one for name, one in net(1).state_dict().items()},
        "current_model_state": {f"model.{name}": one for name, one in net(2).state_dict().items()},
        "averaging_state": {"n_averaged": torch.tensor(4)},
    }
    module, said = taken(saved)
    assert same(module, net(1))
    assert "an average of weights over training" in said[0]
    assert "current_model_state has the weights themselves" in said[0]
    assert same(taken(saved, key="current_model_state")[0], net(2))


def test_what_is_unexpected_is_left_out_where_a_pattern_says_so(taken):
    state = {**net(1).state_dict(), "fc.weight": torch.ones(1), "fc.bias": torch.ones(1)}
    with pytest.raises(BadInput, match=r"unexpected: fc.weight, fc.bias.*`ignore_unexpected`"):
        taken(state)
    module, said = taken(state, ignored=("fc.*", "head.*"))
    assert same(module, net(1))
    assert said == [
        "w.pt: left out as asked: fc.weight, fc.bias",
        "w.pt: nothing unexpected is called head.*",
    ]
    with pytest.raises(BadInput, match=r"unexpected: fc\.bias"):
        taken(state, ignored=("*.weight",))


def test_a_pattern_never_makes_up_for_what_is_missing(taken):
    state = dict(net(1).state_dict())
    del state["2.bias"]
    with pytest.raises(BadInput, match=r"missing: 2\.bias"):
        taken(state, ignored=("*",))
