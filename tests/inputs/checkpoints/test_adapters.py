"""Adapters as peft saves them, against peft itself: the same loss, whether the base is plain or built with peft."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from landscape.errors import BadInput
from landscape.inputs import checkpoints


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.emb, self.lin = nn.Embedding(7, 4), nn.Linear(4, 6)
        self.conv, self.head = nn.Conv1d(1, 2, 3), nn.Linear(8, 2)

    def forward(self, tokens):
        x = self.lin(self.emb(tokens)).tanh().mean(1)
        return self.head(self.conv(x[:, None]).flatten(1))


TOKENS = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 0, 1]])


def by_hand(folder, base: nn.Module) -> nn.Module:
    """W + (α/r) BA, written out for the two kinds of layers in :func:`saved`."""
    tensors = load_file(folder / "adapter_model.safetensors")
    with torch.no_grad():
        a, b = (tensors[f"base_model.model.lin.lora_{half}.weight"] for half in "AB")
        base.lin.weight += (8 / 2) * b @ a
        a, b = (tensors[f"base_model.model.emb.lora_embedding_{half}"] for half in "AB")
        base.emb.weight += (8 / 2) * (b @ a).T
    return base


@pytest.fixture
def saved(tmp_path):
    """A folder as peft 0.21 writes it, made without peft."""
    generator = torch.Generator().manual_seed(1)
    shapes = {"lin.lora_A.weight": (2, 4), "lin.lora_B.weight": (6, 2)}
    shapes |= {"emb.lora_embedding_A": (2, 7), "emb.lora_embedding_B": (4, 2)}
    tensors = {f"base_model.model.{k}": torch.randn(s, generator=generator) for k, s in shapes.items()}
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 8, "bias": "none", "use_rslora": False}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    return tmp_path


def test_a_plain_base_takes_the_sum_and_says_of_what_F_is_a_function(saved):
    said: list[str] = []
    module = checkpoints.loaded(Base(), checkpoints.read(saved), "ad", say=said.append)
    torch.testing.assert_close(module(TOKENS), by_hand(saved, Base())(TOKENS))
    assert said == [
        "ad: LORA was merged into 2 tensors, W + s·BA, of a base that is as the factory makes it: F is a function of "
        "W, and not of A and B as where the factory builds the module with peft"
    ]


def test_a_base_within_a_wrapper_is_found(saved):
    module = checkpoints.loaded(nn.Sequential(Base()), checkpoints.read(saved), "ad")
    torch.testing.assert_close(module(TOKENS), by_hand(saved, Base())(TOKENS))
    with pytest.raises(BadInput, match="fits 2 parts"):
        checkpoints.loaded(nn.ModuleList([Base(), Base()]), checkpoints.read(saved), "ad")


def test_what_is_no_sum_and_what_is_of_another_base_is_refused(saved):
    with pytest.raises(BadInput, match="fits no parts of Linear, which has nothing called"):
        checkpoints.loaded(nn.Linear(3, 2), checkpoints.read(saved), "ad")
    other = Base()
    other.lin = nn.Linear(5, 6)
    with pytest.raises(BadInput, match=r"lin\.weight by shape \(6, 4\); expected its shape \(6, 5\)"):
        checkpoints.loaded(other, checkpoints.read(saved), "ad")
    config = json.loads((saved / "adapter_config.json").read_text())
    (saved / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    with pytest.raises(BadInput, match=r"LORA with use_dora.*PeftModel\.from_pretrained"):
        checkpoints.loaded(Base(), checkpoints.read(saved), "ad")


KINDS = {
    "plain": {},
    "rank-stabilised": {"use_rslora": True},
    "ranks and alphas by layer": {"rank_pattern": {"lin": 3}, "alpha_pattern": {"emb": 5}},
    "biases": {"bias": "lora_only"},
    "a head of its own": {"modules_to_save": ["head"]},
    "dora": {"use_dora": True, "target_modules": ["lin"]},
}


@pytest.fixture
def trained(tmp_path):
    """An adapter of a kind with random numbers in it, saved by peft; the outputs of peft's own module."""
    peft = pytest.importorskip("peft", reason="adapters against peft itself need peft")

    def make(kind: str):
        config = peft.LoraConfig(
            **{"r": 2, "lora_alpha": 6, "target_modules": ["lin", "emb", "conv"], **KINDS[kind]}
        )
        module = peft.get_peft_model(Base(), config)
        torch.manual_seed(3)
        with torch.no_grad():
            for one in module.parameters():
                if one.requires_grad:
                    one += torch.randn_like(one) / 4
        module.save_pretrained(tmp_path)
        fresh = peft.get_peft_model(Base(), peft.LoraConfig.from_pretrained(tmp_path, inference_mode=False))
        return module.eval()(TOKENS), fresh.eval()

    return make


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_a_module_built_with_peft_takes_the_tensors_as_they_are(tmp_path, trained, kind):
    outputs, fresh = trained(kind)
    before = {name: one.clone() for name, one in fresh.state_dict().items()}
    said: list[str] = []
    module = checkpoints.loaded(nn.Sequential(fresh), checkpoints.read(tmp_path), "ad", say=said.append)
    torch.testing.assert_close(module(TOKENS), outputs, rtol=0, atol=0)
    moved = [name for name, one in fresh.state_dict().items() if not torch.equal(one, before[name])]
    assert all("lora" in name or "modules_to_save" in name or name.endswith("bias") for name in moved)
    assert (
        f"the other {len(before) - len(checkpoints.read(tmp_path))} are as the factory makes them" in said[0]
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "dora"])
def test_a_plain_base_takes_what_peft_would_merge(tmp_path, trained, kind):
    outputs, _ = trained(kind)
    module = checkpoints.loaded(Base(), checkpoints.read(tmp_path), "ad")
    torch.testing.assert_close(module(TOKENS), outputs)


@pytest.mark.filterwarnings("ignore")
def test_a_module_of_another_configuration_is_refused(tmp_path, trained):
    trained("plain")
    peft = pytest.importorskip("peft", reason="adapters against peft itself need peft")
    for changed, said in (
        ({"lora_alpha": 7}, "lora_alpha is 6 in the adapter of ad and 7 in the module"),
        ({"r": 3}, "misshapen"),
        ({"target_modules": ["lin", "emb", "conv", "head"]}, r"missing: .*head\.lora_A\.default\.weight"),
        ({"target_modules": ["lin"]}, "which has nothing called"),
    ):
        config = peft.LoraConfig(
            **{"r": 2, "lora_alpha": 6, "target_modules": ["lin", "emb", "conv"], **changed}
        )
        with pytest.raises(BadInput, match=said):
            checkpoints.loaded(peft.get_peft_model(Base(), config), checkpoints.read(tmp_path), "ad")
