"""Recordings by the trainers of others: Lightning and Hugging Face call :func:`landscape.record` at every epoch.

Each function gives a callback for its trainer, which is imported when that is asked for and not before::

    lightning.Trainer(callbacks=[landscape.callbacks.lightning("run.h5")])
    transformers.Trainer(callbacks=[landscape.callbacks.transformers("run.h5")])
"""

import importlib
from collections.abc import Sequence
from os import PathLike
from typing import Any

from landscape.errors import BadInput
from landscape.runs.recording import close, record

INSTEAD = "its trainer, or landscape.record in a loop of your own"


def lightning(path: str | PathLike[str], *, attribute: str = "", **about: Any) -> Any:
    """A Lightning ``Callback`` that records the module before training, as epoch 0, and after every epoch.

    ``attribute`` names the part of the LightningModule that is the model (``"net"``); ``about`` are the arguments of
    :func:`landscape.record`: ``model``, ``data``, ``loss``, ``overwrite``. Raises BadInput where Lightning is missing.
    """
    base = _base(("lightning.pytorch", "pytorch_lightning"), "Callback", "lightning")

    class Recorded(base):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 0:
                record(path, _part(pl_module, attribute), epoch=0, **about)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            record(path, _part(pl_module, attribute), epoch=trainer.current_epoch + 1, **about)

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            close(path)

    return Recorded()


def transformers(path: str | PathLike[str], *, attribute: str = "", by: str = "epoch", **about: Any) -> Any:
    """A Hugging Face ``TrainerCallback`` that records the model before training and after every epoch.

    ``by``: ``epoch``, or ``save`` for a point whenever the trainer saves, numbered by its steps. ``attribute`` and
    ``about`` as in :func:`lightning`. Raises BadInput where transformers is missing, and for another ``by``.
    """
    if by not in ("epoch", "save"):
        raise BadInput(f"`by` = {by!r}", "epoch or save")
    base = _base(("transformers",), "TrainerCallback", "transformers")

    def keep(state: Any, model: Any) -> None:
        number = {"epoch": round(state.epoch or 0)} if by == "epoch" else {"step": state.global_step}
        if state.is_world_process_zero:
            record(path, _part(model, attribute), **number, **about)

    class Recorded(base):
        def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if state.global_step == 0:
                keep(state, model)

        def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if by == "epoch":
                keep(state, model)

        def on_save(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if by == "save":
                keep(state, model)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            close(path)

    return Recorded()


def _base(modules: Sequence[str], name: str, package: str) -> type[Any]:
    for module in modules:
        try:
            return getattr(importlib.import_module(module), name)
        except ImportError:
            continue
    raise BadInput(f"a callback of {package}, which is not installed", INSTEAD, f"pip install {package}")


def _part(module: Any, attribute: str) -> Any:
    if not attribute:
        return module
    try:
        return module.get_submodule(attribute)
    except AttributeError:
        names = ", ".join(name for name, _ in module.named_children())
        raise BadInput(f"{type(module).__name__} has no {attribute!r}", f"one of {names}") from None
