"""Models by name: their own class, their own loss, against ``model(**batch).loss`` of a plain loop."""

import json
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import landscape
from landscape import specs
from landscape.errors import BadInput
from landscape.inputs import checkpoints
from landscape.inputs.models import build_model, by_name, huggingface

SHAPES = {"input_shape": (5,), "num_outputs": 2}


@pytest.fixture
def transformers(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return pytest.importorskip("transformers", reason="models by name need the extra [hf]")


@pytest.fixture
def saved(transformers, tmp_path):
    """A tiny random model of a class, saved as ``save_pretrained`` does; and that model."""

    def save(name: str, **changed) -> tuple[str, nn.Module]:
        kind = getattr(transformers, name)
        torch.manual_seed(1)
        module = kind(kind.config_class(**{**TINY[name], **changed})).eval()
        with torch.no_grad():
            for one in module.parameters():
                one += torch.randn_like(one) / 5
        with huggingface._quiet(transformers):
            module.save_pretrained(tmp_path / "m")
        return f"hf:{tmp_path}/m", module

    return save


ENCODER = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "vocab_size": 20,
    "max_position_embeddings": 16,
}
GPT = {
    "n_layer": 1,
    "n_head": 2,
    "n_embd": 8,
    "n_positions": 16,
    "vocab_size": 20,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
IMAGES = {**ENCODER, "image_size": 8, "patch_size": 4, "num_labels": 3}
TINY = {
    "GPT2LMHeadModel": GPT,
    "LlamaForCausalLM": {**ENCODER, "num_key_value_heads": 1},
    "BertForMaskedLM": ENCODER,
    "BertForTokenClassification": {**ENCODER, "num_labels": 4},
    "BertForSequenceClassification": {**ENCODER, "num_labels": 3},
    "ViTForImageClassification": {name: one for name, one in IMAGES.items() if name != "vocab_size"},
    "T5ForConditionalGeneration": {
        "d_model": 8,
        "d_kv": 4,
        "d_ff": 12,
        "num_layers": 1,
        "num_heads": 2,
        "vocab_size": 20,
        "decoder_start_token_id": 0,
    },
}


def batch(name: str) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """(inputs, labels) with padding of different lengths, and labels that are not to count."""
    generator = torch.Generator().manual_seed(2)
    if name.startswith("ViT"):
        return {"pixel_values": torch.randn(7, 3, 8, 8, generator=generator)}, torch.arange(7) % 3
    tokens = torch.randint(1, 20, (7, 6), generator=generator)
    mask = (torch.arange(6) < torch.tensor([6, 5, 4, 3, 6, 2, 6])[:, None]).long()
    if name.endswith("SequenceClassification"):
        return {"input_ids": tokens, "attention_mask": mask}, torch.arange(7) % 3
    labels = torch.where(mask.bool(), tokens % (4 if "Token" in name else 20), -100)
    return {"input_ids": tokens, "attention_mask": mask}, labels


@pytest.mark.parametrize("name", TINY)
def test_the_loss_is_the_models_own_on_labels_and_masks(saved, name):
    spec, module = saved(name)
    inputs, labels = batch(name)
    with torch.no_grad():
        by_hand = float(module(**inputs, labels=labels).loss)
    found = build_model(spec, {}, 0, **SHAPES)
    assert type(found).__name__ == name
    assert not found.training
    assert list(found.state_dict()) == list(module.state_dict())
    loss, given, said = by_name.fitted(found, by_name.default_loss(spec, "mse"), inputs, labels)
    objective = landscape.Objective(found, loss, (given, labels), chunk_size=2)
    assert objective.value(objective.theta) == pytest.approx(by_hand, rel=1e-6)
    assert f"the loss is {'what ' if name.startswith('T5') else ''}{name}" in said
    if not name.startswith("T5"):
        assert not objective.is_whole
    slope = objective.gradient(objective.theta)
    module(**inputs, labels=labels).loss.backward()
    parameters = [one for one in module.parameters() if one.requires_grad]
    wanted = torch.cat(
        [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters]
    )
    torch.testing.assert_close(slope, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("labels", "loss"), [(torch.rand(7), "mse"), (torch.eye(3)[torch.arange(7) % 3], "bce")]
)
def test_labels_of_other_kinds_have_the_loss_that_transformers_has_for_them(saved, labels, loss):
    spec, module = saved("BertForSequenceClassification", num_labels=1 if loss == "mse" else 3)
    inputs, _ = batch("BertForSequenceClassification")
    found = build_model(spec, {}, 0, **SHAPES)
    chosen, given, _ = by_name.fitted(found, by_name.OWN, inputs, labels)
    assert chosen == loss
    objective = landscape.Objective(found, chosen, (given, labels[:, None] if loss == "mse" else labels))
    with torch.no_grad():
        assert objective.value(objective.theta) == pytest.approx(
            float(module(**inputs, labels=labels).loss), rel=1e-6
        )


def test_a_loss_of_the_users_own_is_given_the_whole_output(saved):
    spec, _ = saved("BertForTokenClassification")
    inputs, labels = batch("BertForTokenClassification")
    found = build_model(spec, {}, 0, **SHAPES)
    by_name.fitted(found, "mine.py:loss", inputs, labels)
    assert found(inputs).logits.shape == (7, 6, 4)
    by_name.fitted(found, "cross_entropy", inputs, labels)
    assert found(inputs).shape == (7, 4, 6)


def test_a_folder_is_measured_reopened_and_exported_with_no_line_of_code(saved, tmp_path, monkeypatch):
    _, module = saved("GPT2LMHeadModel")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANDSCAPE_STATE", str(tmp_path / "state"))
    (tmp_path / "d.py").write_text(
        "import torch\ndef data():\n    x = torch.arange(84).reshape(14, 6) * 7 % 19\n    return x, x\n"
    )
    result = landscape.measure("m", "import", data="d.py:data", output=tmp_path / "a.h5")
    x = torch.arange(84).reshape(14, 6) * 7 % 19
    with torch.no_grad():
        assert result.final_loss == pytest.approx(float(module(x, labels=x).loss), rel=1e-6)
    assert any("GPT2LMHeadModel, in eval mode" in one for one in result.notes)
    assert any("cross entropy of the next token" in one for one in result.notes)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    run = landscape.Run("../a.h5")
    assert torch.equal(run.module().state_dict()["lm_head.weight"], module.state_dict()["lm_head.weight"])
    run.export("final", tmp_path / "w.safetensors")
    assert checkpoints.read(tmp_path / "w.safetensors").keys() == module.state_dict().keys()
    steep = landscape.measure("../a.h5", "hessian", top_k=1)
    assert steep.status == "complete"


STREAM = """
import landscape, torch
tokens = torch.arange(1, 43).reshape(7, 6) % 19 + 1
labels = torch.where(torch.arange(6) < torch.tensor([6, 5, 4, 3, 6, 2, 6])[:, None], tokens, -100)
def read(rows): return [{"input_ids": tokens[i], "labels": labels[i]} for i in (rows[:3], rows[3:])]
def stream(): return landscape.Stream(read(torch.arange(7))), landscape.Stream(read(torch.arange(4)))
def whole(outputs, targets): return outputs.logits.square().mean()
def none(outputs, targets): return outputs.loss
"""


@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "T5ForConditionalGeneration"])
def test_of_a_stream_the_loss_is_the_models_own_too(saved, tmp_path, monkeypatch, name):
    _, module = saved(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "d.py").write_text(STREAM)
    exec(STREAM, names := {})
    tokens, labels = names["tokens"], names["labels"]
    result = landscape.measure("m", "import", data="d.py:stream", output="a.h5")
    with torch.no_grad():
        assert result.final_loss == pytest.approx(
            float(module(input_ids=tokens, labels=labels).loss), rel=1e-6
        )
        assert result.final_test_loss == pytest.approx(
            float(module(input_ids=tokens[:4], labels=labels[:4]).loss), rel=1e-6
        )
        logits = module(input_ids=tokens, labels=labels).logits
    # T5 takes labels apart by views of them, in other cuts too.
    assert landscape.measure("a.h5", "hessian", top_k=1, output="h.h5").status == "complete"
    if name.startswith("GPT"):
        given = landscape.measure("m", "import", data="d.py:stream", loss="d.py:whole", output="b.h5")
        assert given.final_loss == pytest.approx(float(logits.square().mean()), rel=1e-5)
        with pytest.raises(BadInput, match=r"returned a NoneType; .*leave `loss` away"):
            landscape.measure("m", "import", data="d.py:stream", loss="d.py:none", output="c.h5")


def test_an_architecture_that_is_asked_for_says_what_is_new_in_it(saved):
    spec, module = saved("BertForMaskedLM")
    found = build_model(spec, {"architecture": "BertForSequenceClassification", "num_labels": 2}, 3, **SHAPES)
    name = "bert.encoder.layer.0.attention.self.query.weight"
    assert torch.equal(found.state_dict()[name], module.state_dict()[name])
    said = " ".join(by_name.notes_of(found))
    assert "initialised from the seed: " in said
    assert "classifier.weight" in said
    again = build_model(spec, {"architecture": "BertForSequenceClassification", "num_labels": 2}, 3, **SHAPES)
    assert torch.equal(found.classifier.weight, again.classifier.weight)


def test_a_model_that_is_not_pretrained_follows_the_seed(saved):
    spec, _ = saved("GPT2LMHeadModel")
    one, same, other = (build_model(spec, {"pretrained": False}, seed, **SHAPES) for seed in (1, 1, 2))
    assert torch.equal(one.lm_head.weight, same.lm_head.weight)
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)
    assert "initialised anew from the seed" in " ".join(by_name.notes_of(one))


@pytest.mark.parametrize("lacking", [("architectures",), ("architectures", "model_type")])
def test_a_folder_that_names_no_class_asks_for_it_and_takes_it(saved, tmp_path, monkeypatch, lacking):
    _, module = saved("BertForMaskedLM")
    config = tmp_path / "m" / "config.json"
    config.write_text(
        json.dumps({k: v for k, v in json.loads(config.read_text()).items() if k not in lacking})
    )
    monkeypatch.chdir(tmp_path)
    Path("d.py").write_text(
        "import torch\ndef data():\n    x = torch.arange(12).reshape(4, 3) % 7\n    return x, x\n"
    )
    with pytest.raises(BadInput, match=r"names no architecture; .* give `model_arg` architecture=CLASS"):
        build_model("hf:./m", {}, 0, **SHAPES)
    given = {"data": "d.py:data", "model_arg": {"architecture": "BertForMaskedLM"}}
    found = landscape.measure("m", "import", output="a.h5", **given)
    x = torch.arange(12).reshape(4, 3) % 7
    with torch.no_grad():
        assert found.final_loss == pytest.approx(float(module(input_ids=x, labels=x).loss), rel=1e-5)
    if lacking == ("architectures",):
        with pytest.raises(BadInput, match="names no architecture"):
            landscape.measure("m", "import", output="b.h5", data="d.py:data")


def test_folders_that_cannot_be_are_sentences(saved, tmp_path):
    spec, _ = saved("GPT2LMHeadModel")
    config = tmp_path / "m" / "config.json"
    whole = config.read_text()
    for changed, said in (
        (whole.replace('"GPT2LMHeadModel"', '"OwnLM"'), "a OwnLM, which transformers .* does not have"),
        (whole.replace('"architectures"', '"buildings"'), "names no architecture"),
        (
            whole.replace('"use_cache"', '"quantization_config": {"quant_method": "x"}, "use_cache"'),
            "quantised",
        ),
        (whole.replace('"GPT2LMHeadModel"', '"GPT2ForSequenceClassification"'), r"lacks score\.weight"),
    ):
        config.write_text(changed)
        with pytest.raises(BadInput, match=said):
            build_model(spec, {}, 0, **SHAPES)
    for spec, said in (
        ("hf:./nowhere", "is no folder"),
        (f"hf:{tmp_path}", "has no config.json"),
        ("hf:no/such-model-here", "cannot be reached"),
    ):
        with pytest.raises(BadInput, match=said):
            build_model(spec, {}, 0, **SHAPES)


# --- what needs no package --------------------------------------------------------------------------


def test_names_are_no_factories():
    assert not specs.is_factory_spec("hf:gpt2")
    assert not specs.is_factory_spec("timm:resnet18")
    assert specs.is_factory_spec("hf.py:gpt2")


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch):
    for package, spec in (("transformers", "hf:gpt2"), ("timm", "timm:resnet18")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(
            BadInput, match=rf"{package} cannot be imported.*torch-landscape\[{spec[: spec.index(':')]}\]"
        ):
            build_model(spec, {}, 0, **SHAPES)


def test_steps_of_a_history_are_its_revisions_in_natural_order(monkeypatch):
    known = ["main", "step1000", "step0", "step16", "other"]
    monkeypatch.setattr(huggingface, "_revisions", lambda name: known)
    assert by_name.expanded("hf:a/b@step*") == ["hf:a/b@step0", "hf:a/b@step16", "hf:a/b@step1000"]
    assert by_name.expanded("hf:a/b@step16") == ["hf:a/b@step16"]
    with pytest.raises(BadInput, match=r"no revision like epoch.*one of main, step1000"):
        by_name.expanded("hf:a/b@epoch*")
    with pytest.raises(BadInput, match=r"stands for 3 revisions.*give hf:a/b@step1000"):
        checkpoints.read(Path("hf:a/b@step*"))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("RepositoryNotFoundError", "there is no such model"),
        ("RevisionNotFoundError", "there is no such revision"),
        ("GatedRepoError", "not open to all"),
        ("LocalEntryNotFoundError", "cannot be reached"),
        ("SomethingElse", r"cannot be made \(OSError: wrapped\)"),
    ],
)
def test_what_the_hub_says_becomes_a_sentence(monkeypatch, kind, said):
    def refuse(*_, **__):
        try:
            raise type(kind, (OSError,), {})("what it says")
        except OSError as error:
            raise OSError("wrapped") from error

    hub = types.ModuleType("huggingface_hub")
    hub.hf_hub_download = refuse
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    with pytest.raises(BadInput, match=said):
        by_name.pinned("hf:a/b@c")


def test_a_name_is_pinned_to_its_commit(monkeypatch):
    commit = "0123456789abcdef" * 2 + "01234567"
    hub = types.ModuleType("huggingface_hub")
    hub.hf_hub_download = lambda name, file, revision: f"/cache/models--a--b/snapshots/{commit}/{file}"
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert by_name.pinned("hf:a/b") == f"hf:a/b@{commit}"
    assert by_name.pinned("hf:a/b@main") == f"hf:a/b@{commit}"
    assert by_name.pinned("mlp") == "mlp"


def test_a_folder_is_spelled_as_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out" / "best").mkdir(parents=True)
    assert by_name.spelled("hf:out/best") == "hf:./out/best"
    assert by_name.spelled("hf:../x") == "hf:../x"
    assert by_name.spelled("hf:org/name") == "hf:org/name"
    assert by_name.spelled("mine.py:net") == "mine.py:net"


def test_timm_by_name(monkeypatch):
    """timm imports torchvision, of which there is no build for every torch: a stand-in with the names that are used."""

    def create_model(name: str, pretrained: bool = False, num_classes: int = 1000) -> nn.Module:
        return nn.Linear(3, num_classes)

    timm = SimpleNamespace(
        is_model=lambda name: name == "tiny", list_models=lambda: ["tiny"], create_model=create_model
    )
    monkeypatch.setitem(sys.modules, "timm", timm)
    module = build_model("timm:tiny", {"num_classes": 4}, 1, **SHAPES)
    assert module.weight.shape == (4, 3)
    assert not module.training
    assert "weights drawn from the seed" in by_name.notes_of(module)[0]
    assert torch.equal(
        module.weight, build_model("timm:tiny.a1_in1k", {"num_classes": 4}, 1, **SHAPES).weight
    )
    with pytest.raises(BadInput, match=r"no model 'tinny'.*did you mean tiny\?"):
        build_model("timm:tinny", {}, 1, **SHAPES)
    with pytest.raises(BadInput, match=r"cannot be made.*check `model_arg`"):
        build_model("timm:tiny", {"depth": 4}, 1, **SHAPES)
    assert by_name.default_loss("timm:tiny", "bce") == "cross_entropy"


def test_a_loss_by_name_beside_a_language_models_own_is_said_to_be_another(saved):
    module = build_model(saved("GPT2LMHeadModel")[0], {}, 0, **SHAPES)
    inputs, targets = batch("GPT2LMHeadModel")
    assert "takes the next one" in by_name.fitted(module, "cross_entropy", inputs, targets)[2]
    assert by_name.fitted(module, "mse", inputs, targets)[2] == ""
    with pytest.raises(BadInput, match="gives logits and no loss"):
        by_name.fitted(module, "output", inputs, targets)


@pytest.mark.parametrize(("given", "meant"), [("m", "hf:./m"), ("./m", "hf:./m")])
def test_a_folder_of_a_model_is_told_how_to_be_named(tmp_path, monkeypatch, given, meant):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    with pytest.raises(BadInput, match=f"did you mean '{meant}'"):
        build_model(given, {}, 0, **SHAPES)
