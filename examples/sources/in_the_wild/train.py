"""Stands for scripts that you did not write: what they leave behind, in six of the shapes that are about."""

import argparse
import json
from pathlib import Path

import torch
from net import build, data
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

x, y = data()


def trained(seed: int) -> tuple[nn.Module, AveragedModel]:
    torch.manual_seed(seed)
    module = build()
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
        average.update_parameters(module)
    return module, average


student, average = trained(0)
teacher, _ = trained(1)
state = student.state_dict()
args = argparse.Namespace(lr=0.1, out=Path("runs"))
torch.save({"student": state, "teacher": teacher.state_dict(), "args": args}, "two.pt")
torch.save({"model": state, "model_ema": average.state_dict(), "epoch": 40}, "averaged.pt")
lightning = {f"model.{name}": one for name, one in state.items()} | {"loss.weight": torch.ones(10)}
torch.save({"state_dict": lightning, "pytorch-lightning_version": "2.6.6"}, "last.ckpt")
torch.save({f"module.{name.replace('.', '._orig_mod.', 1)}": one for name, one in state.items()}, "ddp.pt")

Path("parts").mkdir(exist_ok=True)
names = {name: f"model-0000{1 + int(name[0] == '2')}-of-00002.safetensors" for name in state}
for file in set(names.values()):
    save_file({name: one for name, one in state.items() if names[name] == file}, f"parts/{file}")
Path("parts/model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))

Path("adapter").mkdir(exist_ok=True)
halves = {"lora_A": torch.randn(2, 64) / 20, "lora_B": torch.randn(32, 2) / 20}
save_file(
    {f"base_model.model.0.{k}.weight": v for k, v in halves.items()}, "adapter/adapter_model.safetensors"
)
Path("adapter/adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4}))

# The loss of each, in a plain loop of PyTorch's: what the commands are to print.
print("student", float(nn.functional.cross_entropy(student.eval()(x), y)))
print("average", float(nn.functional.cross_entropy(average.eval()(x), y)))
