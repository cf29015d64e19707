"""Other trainers record by a callback: with the trainers where they are installed, and by their protocol where not."""

import sys
import types
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_architecture import imported_at_once
from torch import nn

import landscape
from landscape import BadInput, callbacks
from landscape.runs import store


@pytest.fixture(autouse=True)
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_nothing_of_the_trainers_is_imported_before_they_are_asked_for():
    tops = {name.partition(".")[0] for name in imported_at_once(Path(callbacks.__file__))}
    assert tops <= {"landscape", *sys.stdlib_module_names}
    assert landscape.callbacks is callbacks


@pytest.mark.parametrize("name", ["lightning", "transformers"])
def test_a_trainer_that_is_missing_is_a_sentence(name, monkeypatch):
    for module in ("lightning.pytorch", "pytorch_lightning", "transformers"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BadInput, match=f"{name}, which is not installed.*pip install {name}"):
        getattr(callbacks, name)("run.h5")


def stub(monkeypatch, module: str, name: str) -> None:
    made = types.ModuleType(module)
    setattr(made, name, type(name, (), {}))
    monkeypatch.setitem(sys.modules, module, made)


def moved(module: nn.Linear, value: float) -> nn.Linear:
    with torch.no_grad():
        module.weight.fill_(value)
    return module


def weights(path: str) -> dict[str, float]:
    return {one: float(store.read_state(path, one)["weight"][0, 0]) for one in store.point_labels(path)}


def test_the_protocol_of_lightning(monkeypatch):
    stub(monkeypatch, "lightning.pytorch", "Callback")
    whole = nn.ModuleDict({"net": nn.Linear(1, 1), "metric": nn.Linear(1, 1)})
    one, trainer = callbacks.lightning("run.h5", attribute="net"), SimpleNamespace(current_epoch=0)
    moved(whole["net"], 0)
    one.on_train_start(trainer, whole)
    for epoch in range(3):
        trainer.current_epoch = epoch
        moved(whole["net"], epoch + 1)
        one.on_train_epoch_end(trainer, whole)
    one.on_train_end(trainer, whole)
    assert weights("run.h5") == {f"epoch={k}": k for k in range(4)}
    with pytest.raises(BadInput, match="has no 'nett'; expected one of net, metric"):
        callbacks.lightning("x.h5", attribute="nett").on_train_start(SimpleNamespace(current_epoch=0), whole)


@pytest.mark.parametrize("by", ["epoch", "save"])
def test_the_protocol_of_hugging_face(by, monkeypatch):
    stub(monkeypatch, "transformers", "TrainerCallback")
    module = moved(nn.Linear(1, 1), 0)
    one = callbacks.transformers("run.h5", by=by)
    state = SimpleNamespace(epoch=0.0, global_step=0, is_world_process_zero=True)
    one.on_train_begin(None, state, None, model=module)
    for epoch in (1, 2):
        state.epoch, state.global_step = float(epoch), 10 * epoch
        moved(module, epoch)
        one.on_epoch_end(None, state, None, model=module)
        one.on_save(None, state, None, model=module)
    one.on_train_end(None, state, None)
    unit, times = ("epoch", 1) if by == "epoch" else ("step", 10)
    assert weights("run.h5") == {f"{unit}={times * k}": k for k in range(3)}
    with pytest.raises(BadInput, match="epoch or save"):
        callbacks.transformers("x.h5", by="step")


def data() -> torch.utils.data.TensorDataset:
    x = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    return torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))


@pytest.mark.filterwarnings("ignore")
def test_lightning_itself():
    pl = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")
    seen: list[np.ndarray] = []

    class Own(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 1)

        def training_step(self, batch, _):
            return nn.functional.mse_loss(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

        def on_train_start(self):
            seen.append(self.net.weight.detach().numpy().copy())

        def on_train_epoch_end(self):
            seen.append(self.net.weight.detach().numpy().copy())

    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callbacks.lightning("run.h5", attribute="net")],
    )
    trainer.fit(Own(), torch.utils.data.DataLoader(data(), batch_size=4))
    assert store.point_labels("run.h5") == [f"epoch={k}" for k in range(4)]
    for k, weight in enumerate(seen):
        np.testing.assert_array_equal(store.read_state("run.h5", f"epoch={k}")["weight"], weight)
    assert landscape.load("run.h5").status == "complete"


@pytest.mark.filterwarnings("ignore")
def test_hugging_face_itself(tmp_path):
    hf = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 1)

        def forward(self, x, y):
            outputs = self.net(x)
            return {"loss": nn.functional.mse_loss(outputs, y), "outputs": outputs}

    module, rows = Own(), [{"x": x, "y": y} for x, y in data()]
    arguments = hf.TrainingArguments(
        output_dir=str(tmp_path / "out"),
        num_train_epochs=3,
        per_device_train_batch_size=4,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        learning_rate=0.1,
    )
    hf.Trainer(
        module,
        arguments,
        train_dataset=rows,
        callbacks=[callbacks.transformers("run.h5", attribute="net")],
    ).train()
    assert store.point_labels("run.h5") == [f"epoch={k}" for k in range(4)]
    last = store.read_state("run.h5", "epoch=3")
    np.testing.assert_array_equal(last["weight"], module.net.weight.detach().numpy())
