"""Names that wrappers changed, of submodules and of more than the module: brought together, or refused by name."""

import pytest
import torch
from torch import nn

from landscape.errors import BadInput
from landscape.inputs import checkpoints


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).tanh()
        return x


class Wrapped(nn.Module):
    """Three lines round a module from elsewhere."""

    def __init__(self, inner: nn.Module, head: bool = False):
        super().__init__()
        self.net = inner
        if head:
            self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.net(x)


def block(seed: int) -> Block:
    torch.manual_seed(seed)
    return Block()


def agree(module: nn.Module, other: nn.Module) -> bool:
    ours, theirs = module.state_dict().values(), other.state_dict().values()
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def renamed(change, seed: int = 1) -> dict[str, torch.Tensor]:
    return {change(name): one for name, one in block(seed).state_dict().items()}


@pytest.mark.parametrize(
    "change",
    [
        lambda name: name.replace("layers.0", "layers.0._orig_mod"),
        lambda name: f"_orig_mod.module.{name}",
        lambda name: f"model._fsdp_wrapped_module.{name}".replace("layers.1", "layers.1._orig_mod"),
        lambda name: f"model.module.{name}".replace("layers.1.", "layers.1._checkpoint_wrapped_module."),
    ],
)
def test_what_compiling_and_sharding_add_anywhere_in_a_name_is_nothing(change):
    assert agree(checkpoints.loaded(block(0), renamed(change), "w"), block(1))


def test_a_module_that_is_compiled_itself_takes_plain_names():
    module = nn.Module()
    module._orig_mod = block(0)  # as torch.compile holds what it compiles
    assert agree(checkpoints.loaded(module, renamed(str), "w"), block(1))


def test_names_of_the_only_submodule_are_matched_by_suffix_and_it_is_said():
    said: list[str] = []
    module = checkpoints.loaded(Wrapped(block(0)), renamed(str), "w", say=said.append)
    assert agree(module, block(1))
    assert said == ["w: its names are those of net, all that the module has"]
    deep = checkpoints.loaded(Wrapped(Wrapped(block(0))), renamed(lambda name: f"encoder.{name}"), "w")
    assert agree(deep, block(1))


def test_a_submodule_beside_others_is_not_all_of_the_module():
    with pytest.raises(BadInput, match=r"missing: head\.weight, head\.bias"):
        checkpoints.loaded(Wrapped(block(0), head=True), renamed(str), "w")


def test_other_weights_beside_the_only_prefix_are_said_and_those_within_are_refused():
    said: list[str] = []
    state = renamed(lambda name: f"model.{name}") | {f"loss.{k}": torch.ones(1) for k in range(12)}
    assert agree(checkpoints.loaded(block(0), state, "w", say=said.append), block(1))
    assert said[0].startswith("w: the weights under model were taken; left out: loss.0, loss.1")
    assert said[0].endswith("and 2 more")
    with pytest.raises(BadInput, match=r"unexpected: layers\.2\.bias"):
        checkpoints.loaded(block(0), state | {"model.layers.2.bias": torch.ones(3)}, "w")


def test_of_two_prefixes_the_one_whose_shapes_fit_is_taken():
    state = renamed(lambda name: f"a.{name}") | {
        f"b.{name}": one[:2] for name, one in renamed(str, 2).items()
    }
    assert agree(checkpoints.loaded(block(0), state, "w"), block(1))


def test_exact_names_win_over_copies_of_them_elsewhere():
    state = renamed(str) | renamed(lambda name: f"ema.{name}", 2)
    with pytest.raises(BadInput, match=r"unexpected: ema\.layers\.0\.weight"):
        checkpoints.loaded(block(0), state, "w")
    assert agree(checkpoints.loaded(block(0), state, "w", ignored=("ema.*",)), block(1))


def test_extra_state_that_is_no_tensor_stays_the_modules_own():
    class Keeps(Block):
        def get_extra_state(self):
            return {"count": 3}

        def set_extra_state(self, state):
            raise AssertionError("not to be set")

    assert agree(checkpoints.loaded(block(0), renamed(str), "w"), block(1))
    module = checkpoints.loaded(Keeps(), renamed(str), "w")
    assert torch.equal(module.layers[0].weight, block(1).layers[0].weight)
