"""Models as transformers builds them, small and random: what moves, and that their function does not."""

import pytest
import torch
from torch import nn

from landscape.symmetry import symmetry_of
from landscape.symmetry.continuous import families_of
from landscape.symmetry.permutations import permuted
from landscape.symmetry.verified import batch_experts, function_difference, preserved

SIZES = {
    "vocab_size": 31,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
}
GPT2 = {
    "vocab_size": 31,
    "n_embd": 16,
    "n_layer": 1,
    "n_head": 4,
    "n_positions": 32,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
FALCON = {
    "vocab_size": 31,
    "hidden_size": 16,
    "ffn_hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_kv_heads": 2,
    "new_decoder_architecture": True,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
VIT = {**SIZES, "image_size": 8, "patch_size": 4}
# Kind, its sizes, groups as (units, units of the outer group): a residual stream of 16, 24 or 64 units of an MLP, then
# heads; within a head queries with keys, which rotary positions hold fast, and values.
CASES = {
    "Llama": (
        "ForCausalLM",
        {**SIZES, "num_key_value_heads": 2},
        [(16, None), (24, None), (2, None), (2, 2), (4, 2)],
    ),
    # Queries and keys with biases, which begin at 0.
    "Qwen2": (
        "ForCausalLM",
        {**SIZES, "num_key_value_heads": 2, "num_hidden_layers": 2},
        [(16, None), *2 * [(24, None), (2, None), (2, 2), (4, 2)]],
    ),
    "Mixtral": (
        "ForCausalLM",
        {**SIZES, "num_key_value_heads": 2, "num_local_experts": 3},
        [(16, None), (24, None), (2, None), (2, 2), (4, 2)],
    ),
    "Gemma": (
        "ForCausalLM",
        {**SIZES, "num_key_value_heads": 2, "head_dim": 4, "tie_word_embeddings": False},
        [(16, None), (24, None), (2, None), (2, 2), (4, 2)],
    ),
    # Two queries, a key and a value in a row, for two groups of heads.
    "Falcon": ("ForCausalLM", FALCON, [(16, None), (24, None), (2, None)]),
    "GPTNeoX": ("ForCausalLM", SIZES, [(16, None), (24, None), (4, None)]),
    "GPT2": ("LMHeadModel", GPT2, [(16, None), (64, None), (4, None), (4, 4), (4, 4)]),
    "Bert": (
        "ForSequenceClassification",
        SIZES,
        [(16, None), (16, None), (24, None), (4, None), (4, 4), (4, 4)],
    ),
    "ViT": ("ForImageClassification", VIT, [(16, None), (24, None), (4, None), (4, 4), (4, 4)]),
}
# Families of each but translations: those of values and of queries with keys, gains, gated units, turns of the stream.
LETTERS = {
    "Llama": ["C*^4", "GL(4)^2", "O(16)", "R*^16", "R*^16", "R*^16", "R*^24"],
    "Qwen2": ["C*^4", "C*^4", "GL(4)^2", "GL(4)^2", "O(16)", *["R*^16"] * 5, "R*^24", "R*^24"],
    # Units of each expert are scaled for themselves.
    "Mixtral": ["C*^4", "GL(4)^2", "O(16)", "R*^16", "R*^16", "R*^16", "R*^72"],
    # Its gains are 1 + w.
    "Gemma": ["C*^4", "GL(4)^2", "O(16)", "R*^16", "R*^16", "R*^16", "R*^24"],
    "Falcon": ["C*^4", "GL(4)^2", "R*^16", "R*^16", "R^15⋊R*", "R^15⋊R*"],
    # Of four channels of a head, rotary positions turn two.
    "GPTNeoX": ["C*^4", "GL(2)^4", "GL(4)^4", "O(15)", "R*^16", "R*^16", "R*^16", "R^15⋊R*"],
    "GPT2": ["GL(4)^4", "GL(4)^4", "R*^16", "R*^16"],
    "Bert": ["GL(4)^4", "GL(4)^4", "R*^16", "{±1}^16"],
    "ViT": ["GL(4)^4", "GL(4)^4", "O(15)", "R*^16", "R*^16", "R*^16"],
}
# What may be added to each: biases of keys, or scores of a router; along ones, what is written to a stream that norms
# centre; biases of norms, that of values and sums that readers give back; 1 over the gain of a norm, in its readers.
TRANSLATIONS = {
    "Llama": [],
    "Qwen2": [],
    "Mixtral": [16],
    "Gemma": [],
    "Falcon": [16, 24],
    "GPTNeoX": [8, *(31, 16, 1, 24), *(16, 16, 16, 16), *(48, 24)],
    "GPT2": [16, *(32, 16, 1, 64, 1), *(16, 16, 16), *(16, 16, 16, 64)],
    "Bert": [16, *(31, 32, 2, 16, 1, 24, 1), *(16, 16, 16, 16, 16, 16), *(16, 16, 16, 24, 16)],
    "ViT": [16, *(5, 48, 16, 1, 24, 1), *(16, 16, 16, 16, 16, 16), *(16, 16, 16, 24, 2)],
}
# The gain that stops the turn of a stream: embeddings tied to the output, norms after the sum.
STOPPED = {"GPT2": "ln_f.weight", "Falcon": "ln_f.weight", "Bert": "embeddings.LayerNorm.weight"}


class Logits(nn.Module):
    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(**{"pixel_values" if x.is_floating_point() else "input_ids": x}).logits


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_all_that_is_no_output_moves_and_the_function_stays(name):
    transformers = pytest.importorskip("transformers", reason="models by name need the extra [hf]")
    kind, sizes, groups = CASES[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**sizes)
    module = Logits(getattr(transformers, name + kind)(config).eval())
    x = torch.randn(3, 3, 8, 8) if name == "ViT" else torch.randint(31, (3, 8))
    traced = symmetry_of(module, (x,))
    symmetry = traced.symmetry
    found = [
        (group.size, None if group.outer is None else symmetry.groups[group.outer].size)
        for group in (symmetry.groups[i] for i in symmetry.free)
    ]
    assert sorted(found, key=str) == sorted(groups, key=str)
    assert all(reason.endswith("an output of the module") for reason in symmetry.blocked.values())
    wide = batch_experts(module.double())
    y = x.double() if x.is_floating_point() else x
    families = families_of(wide, (y,), traced)
    moving = [one for one in families.families if one.kind == "translation"]
    assert sorted(one.text for one in families.families if one not in moving) == LETTERS[name]
    assert sorted(one.dimension for one in moving) == sorted(TRANSLATIONS[name])
    # What the trial turns down is said too: at weights of 0.02, little tells of a key.
    stopped = [said for said in families.refused if "would move the outputs" not in said]
    assert len(stopped) == (name in STOPPED)
    assert all(f"{STOPPED[name]} cannot be taken" in said for said in stopped)
    tensors = {key: t.detach() for key, t in (*wide.named_parameters(), *wide.named_buffers())}
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        other = permuted(tensors, symmetry, symmetry.random(generator))
        assert max(float((tensors[key] - other[key]).abs().max()) for key in tensors) > 0
        assert function_difference(wide, tensors, other, [(y,)]) <= preserved(traced)
