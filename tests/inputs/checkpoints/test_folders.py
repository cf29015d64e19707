"""Weights in parts and in folders: all of them or none, and what is there is said where it is not one thing."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from landscape.errors import BadInput
from landscape.inputs import checkpoints


def state(seed: int = 1) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return dict(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).state_dict())


def in_parts(folder, kind: str) -> None:
    """As ``save_pretrained`` writes what is larger than one part may be."""
    folder.mkdir(exist_ok=True)
    stem = "model" if kind == "safetensors" else "pytorch_model"
    names = [f"{stem}-0000{k}-of-00002.{kind}" for k in (1, 2)]
    tensors = state()
    halves = [{name: one for name, one in tensors.items() if name[0] == k} for k in "02"]
    for name, half in zip(names, halves, strict=True):
        (save_file if kind == "safetensors" else torch.save)(half, folder / name)
    weight_map = {name: names[0 if name[0] == "0" else 1] for name in tensors}
    index = {"metadata": {"total_size": 96}, "weight_map": weight_map}
    (folder / f"{stem}.{kind}.index.json").write_text(json.dumps(index))


def agree(found, tensors) -> bool:
    return found.keys() == tensors.keys() and all(torch.equal(found[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_parts_are_read_as_one_by_index_and_by_folder(tmp_path, kind):
    folder = tmp_path / "m"
    in_parts(folder, kind)
    index = next(folder.glob("*.index.json"))
    assert agree(checkpoints.read(folder), state())
    assert agree(checkpoints.read(index), state())
    assert checkpoints.fingerprint(folder) == checkpoints.fingerprint(index)
    part = sorted(folder.glob(f"*.{kind}"))[1]
    with pytest.raises(BadInput, match=r"one of the 2 parts of .*index\.json.*or its folder"):
        checkpoints.read(part)
    before = checkpoints.fingerprint(folder)
    part.write_bytes(part.read_bytes()[:-1] + b"\7")
    assert checkpoints.fingerprint(folder) != before
    part.unlink()
    with pytest.raises(BadInput, match=f"{part.name} of the 2 parts that .* is not there"):
        checkpoints.read(folder)


def test_a_part_without_what_the_index_says_is_refused(tmp_path):
    in_parts(tmp_path, "safetensors")
    save_file({"2.weight": torch.ones(2, 4)}, tmp_path / "model-00002-of-00002.safetensors")
    with pytest.raises(BadInput, match=r"lacks 2\.bias"):
        checkpoints.read(tmp_path)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ('{"weight_map": {"a": "../secret.safetensors"}}', "outside its folder"),
        ('{"weight_map": {"a": 3}}', "no weight_map"),
        ('{"weight_map": {}}', "names no parts"),
        ("[1]", "holds a list"),
        ("{", "cannot be read"),
    ],
)
def test_an_index_that_is_none_is_refused(tmp_path, index, said):
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(BadInput, match=said):
        checkpoints.read(tmp_path)


def test_a_folder_with_two_formats_gives_the_safe_one_and_says_so(tmp_path):
    save_file(state(1), tmp_path / "model.safetensors")
    torch.save(state(2), tmp_path / "pytorch_model.bin")
    found = checkpoints.read(tmp_path)
    assert agree(found, state(1))
    assert found.notes == (f"{tmp_path.name}: model.safetensors was taken, and not pytorch_model.bin",)


def test_the_only_file_of_weights_in_a_folder_is_taken_and_said(tmp_path):
    torch.save(state(), tmp_path / "best.pt")
    torch.save({"state": {}}, tmp_path / "optimizer.pt")
    found = checkpoints.read(tmp_path)
    assert agree(found, state())
    assert found.notes == (f"{tmp_path.name}: best.pt was taken",)
    torch.save(state(), tmp_path / "last.pt")
    with pytest.raises(BadInput, match=r"holds best\.pt, last\.pt; expected one of them; give .*best\.pt"):
        checkpoints.read(tmp_path)


def test_folders_that_are_something_else_say_what_to_do(tmp_path):
    (tmp_path / "run" / "checkpoint-5").mkdir(parents=True)
    with pytest.raises(BadInput, match=r"holds checkpoint-5.*give .*checkpoint-5"):
        checkpoints.read(tmp_path / "run")
    for name, said in ((".metadata", "dcp_to_torch"), ("zero_to_fp32.py", "zero_to_fp32.py .* w.pt")):
        folder = tmp_path / name.strip(".")
        folder.mkdir()
        (folder / name).write_text("")
        with pytest.raises(BadInput, match=said):
            checkpoints.read(folder)
    with pytest.raises(BadInput, match="a folder without weights"):
        checkpoints.read(tmp_path)


def zero(folder, stage):
    """What DeepSpeed's ZeRO leaves of two processes."""
    (folder / "global_step10").mkdir(parents=True)
    (folder / "latest").write_text("global_step10")
    (folder / "zero_to_fp32.py").write_text("")
    kept = {"module": state(), "buffer_names": [], "ds_config": {"zero_optimization": {"stage": stage}}}
    if stage < 3:
        torch.save(kept, folder / "global_step10" / "mp_rank_00_model_states.pt")
    for rank in range(2):
        start = folder / "global_step10" / f"zero_pp_rank_{rank}_mp_rank_00_"
        torch.save({"optimizer_state_dict": {"zero_stage": stage}}, f"{start}optim_states.pt")
        if stage == 3:
            torch.save({**kept, "module": {"weight": torch.empty(0)}}, f"{start}model_states.pt")
    return folder


def test_deepspeed_folders(tmp_path):
    folder = zero(tmp_path / "two", 2)
    with pytest.raises(
        BadInput, match=r"zero_to_fp32.py \S+ w.pt, or give \S+mp_rank_00_model_states.pt, the"
    ) as error:
        checkpoints.read(folder)
    given = Path(str(error.value).partition("or give ")[2].partition(", the weights")[0])
    for place in (given, folder / "global_step10"):
        assert agree(checkpoints.read(place), state())
    folder = zero(tmp_path / "three", 3)
    for place in (
        folder,
        folder / "global_step10",
        folder / "global_step10" / "zero_pp_rank_0_mp_rank_00_model_states.pt",
    ):
        with pytest.raises(
            BadInput, match=r"in parts; expected one .*: python (\S+)/zero_to_fp32.py \1 w.pt\.$"
        ):
            checkpoints.read(place)
