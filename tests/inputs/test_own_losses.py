"""Losses that models of transformers make in ways of their own: against ``model(**batch).loss`` of a plain loop."""

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape.errors import BadInput
from landscape.inputs.models import build_model, by_name, huggingface

SHAPES = {"input_shape": (5,), "num_outputs": 2}
N = 9
GENERATOR = torch.Generator().manual_seed(2)
TOKENS = torch.randint(3, 20, (N, 6), generator=GENERATOR)
MASK = (torch.arange(6) < torch.tensor([6, 5, 4, 3, 6, 2, 6, 6, 4])[:, None]).long()
LABELS = torch.where(MASK.bool(), TOKENS.roll(1, 1), -100)
NUMBERS = torch.randn(N, 3, generator=GENERATOR)
SIDES = (NUMBERS > 0).float()
PLACES = torch.stack([torch.arange(N) % 3, 2 + torch.arange(N) % 3], 1)

BERT = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "vocab_size": 20,
    "max_position_embeddings": 16,
}
EXPERTS = {**BERT, "num_key_value_heads": 1, "num_local_experts": 2, "output_router_logits": True}
XLNET = {"vocab_size": 20, "d_model": 8, "n_layer": 1, "n_head": 2, "d_inner": 8}
BART = {
    "vocab_size": 20,
    "d_model": 8,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 8,
    "max_position_embeddings": 16,
}
# No shift, a term beside the cross entropy, and losses that the configuration chooses.
CASES = {
    "bart": ("BartForCausalLM", BART, LABELS),
    "xlnet": ("XLNetLMHeadModel", XLNET, LABELS),
    "experts": ("MixtralForCausalLM", EXPERTS, LABELS),
    "numbers": (
        "BertForSequenceClassification",
        {**BERT, "num_labels": 3, "problem_type": "regression"},
        NUMBERS,
    ),
    "0 and 1": (
        "BertForSequenceClassification",
        {**BERT, "num_labels": 3, "problem_type": "regression"},
        SIDES,
    ),
    "one side": (
        "BertForSequenceClassification",
        {**BERT, "num_labels": 1, "problem_type": "multi_label_classification"},
        SIDES[:, :1],
    ),
}


@pytest.fixture
def saved(monkeypatch, tmp_path):
    """A tiny random model of a class as ``save_pretrained`` leaves it, and that model."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transformers = pytest.importorskip("transformers", reason="models by name need the extra [hf]")

    def save(name: str, about) -> tuple[str, nn.Module]:
        kind = getattr(transformers, name)
        torch.manual_seed(1)
        module = kind(kind.config_class(**about)).eval()
        with torch.no_grad():
            for one in module.parameters():
                one += torch.randn_like(one) / 5
        with huggingface._quiet(transformers):
            module.save_pretrained(tmp_path / "m")
        return f"hf:{tmp_path}/m", module

    return save


def value(spec: str, inputs, targets) -> float:
    found = build_model(spec, {}, 0, **SHAPES)
    loss, given, _ = by_name.fitted(found, by_name.OWN, inputs, targets)
    objective = landscape.Objective(found, loss, (given, targets), chunk_size=2)
    return objective.value(objective.theta)


@pytest.mark.parametrize("case", CASES)
def test_what_a_name_does_not_tell_is_asked_of_the_model(saved, case):
    name, about, labels = CASES[case]
    spec, module = saved(name, about)
    inputs = {"input_ids": TOKENS, "attention_mask": MASK}
    with torch.no_grad():
        own = float(module(**inputs, labels=labels).loss)
    assert value(spec, inputs, labels) == pytest.approx(own, rel=1e-6)


def test_the_answer_to_a_question_has_two_places(saved):
    spec, module = saved("BertForQuestionAnswering", BERT)
    inputs = {"input_ids": TOKENS, "attention_mask": MASK}
    named = {"start_positions": PLACES[:, 0], "end_positions": PLACES[:, 1]}
    with torch.no_grad():
        own = float(module(**inputs, **named).loss)
    assert value(spec, inputs, PLACES) == pytest.approx(own, rel=1e-6)
    # As a batch of such a data set has them, with no field that is called labels.
    assert value(spec, {**inputs, **named}, TOKENS) == pytest.approx(own, rel=1e-6)
    with pytest.raises(BadInput, match="expected two columns, start_positions and end_positions"):
        value(spec, inputs, PLACES[:, 0])


def test_a_model_without_a_loss_says_so(saved):
    spec, _ = saved("BertModel", BERT)
    with pytest.raises(BadInput, match=r"BertModel makes no loss of what the data hold.*architecture=CLASS"):
        value(spec, {"input_ids": TOKENS, "attention_mask": MASK}, LABELS)


def test_experts_in_float64_are_told_which_kernel_takes_it(saved):
    spec, module = saved("MixtralForCausalLM", EXPERTS)
    switch = {"experts_implementation": "eager"}
    module.set_experts_implementation("eager")
    with torch.no_grad():
        own = float(module.double()(TOKENS, labels=LABELS).loss)
    plain = build_model(spec, {}, 0, **SHAPES).double()
    with pytest.raises(
        BadInput, match=r"float64: .* give `model_arg` experts_implementation=eager, in Python call"
    ):
        landscape.Objective(plain, *by_name.fitted(plain, by_name.OWN, TOKENS, LABELS)[:1], (TOKENS, LABELS))
    plain.set_experts_implementation("eager")
    for found in (plain, build_model(spec, switch, 0, **SHAPES).double()):
        loss, given, _ = by_name.fitted(found, by_name.OWN, TOKENS, LABELS)
        objective = landscape.Objective(found, loss, (given, LABELS))
        assert objective.value(objective.theta) == pytest.approx(own, rel=1e-7)


def test_weights_that_were_renamed_as_they_were_saved_are_told_how_to_read(saved, tmp_path):
    spec, _ = saved("MixtralForCausalLM", EXPERTS)
    data = tmp_path / "tokens.npz"
    np.savez(data, inputs=TOKENS, targets=LABELS)
    with pytest.raises(BadInput, match=f"missing: .*; give {spec}, which is read as transformers reads it"):
        landscape.measure(str(tmp_path / "m"), "import", data=str(data), output=str(tmp_path / "one.h5"))
    found = landscape.measure(spec, "import", data=str(data), output=str(tmp_path / "two.h5"))
    assert found.status == "complete"
