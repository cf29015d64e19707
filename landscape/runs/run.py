"""A run file opened again: its module, its data and its points, rebuilt from the specs it holds."""

import json
import math
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from landscape.errors import BadInput
from landscape.inputs import checkpoints
from landscape.numerics.steps.schedules import schedule_parameters, step_size
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.result import folded
from landscape.runs import sources, store
from landscape.runs.address import Address
from landscape.runs.recipe import DTYPES, Objectives, Recipe, fingerprint
from landscape.specs import parse_arguments


class Run:
    """A run file (``landscape train``, ``landscape import``) and what can be rebuilt from it.

    Its bytes are checked once, unless ``verify`` is false. Raises BadInput for a file that is damaged or no run file,
    and, unless ``trust``, for one whose specs name code that this user has not: see :mod:`landscape.runs.sources`.
    """

    def __init__(self, path: Path | str, *, trust: bool = False, verify: bool = True):
        self.path = Path(path)
        self.header = store.header(self.path, verify=verify)
        self.labels = store.point_labels(self.path, verify=False)
        self.config: dict[str, Any] = json.loads(self.header["config"])
        if self.labels and "recipe" not in self.config:
            raise BadInput(
                f"{self.path} holds {_few(self.labels)} of a module in memory, and not what made that module",
                "a run file, which says its model, data and loss",
                "import this file with its `model`, `data` and `loss`, and the name of the run file as `output`, "
                "to make it one",
            )
        if not self.labels:
            raise BadInput(
                f"{self.path} is the result of {self.header['kind']} and holds no points of a model",
                "a run file, as landscape train and landscape import write",
            )
        self.recipe = _recipe(self.config["recipe"], self.path)
        self.sources = sources.found(self.recipe, self.path, self.header, is_trusted=trust)

    def __repr__(self) -> str:
        """At most ten lines: the file, what was trained on what, its points."""
        about = f"{self.header['kind']}, {self.recipe.model} on {self.recipe.data or self.recipe.loss}, {self.dtype}"
        return "\n".join([f"Run {self.path}: {about}", *folded("  points: ", self.labels, lines=9)])

    @property
    def dtype(self) -> str:
        """The dtype the run was made in, by name."""
        return str(self.header.get("dtype", "float32"))

    @property
    def training(self) -> bool:
        """Whether the run was made of the module in training mode."""
        return bool(self.config.get("training"))

    def objectives(
        self,
        *,
        dtype: str | None = None,
        device: str = "cpu",
        chunk_size: int | None = None,
        subset: int | None = None,
        seed: int = 0,
        data_dir: Path | None = None,
        l2: float = 0.0,
        training: bool = False,
    ) -> Objectives:
        """F of the run's module on its data; ``subset`` takes that many samples, drawn by ``seed``."""
        notes = list(self.sources.notes)
        recipe, precision = self.sources.recipe, DTYPES[dtype or self.dtype]
        with self.sources.opened():
            data = recipe.data_set(data_dir, precision)
        is_same = fingerprint(data) == self.recipe.data_sha256
        if not is_same:
            notes.append(
                f"the data {self.recipe.data} are not those {self.path.name} was made with: "
                "their fingerprints differ"
            )
        if subset is not None and data is None:
            raise BadInput(f"a subset for the loss {recipe.loss}, which takes the module alone", "all of it")
        if subset is not None and data is not None:
            data = data.subset(subset, torch.Generator().manual_seed(seed))
        with self.sources.opened():
            made = recipe.objectives(
                recipe.module(),
                data,
                dtype=precision,
                device=device,
                chunk_size=chunk_size,
                l2=l2,
                training=training or self.training,
            )
        return made._replace(notes=notes + made.notes, is_as_made=is_same and subset is None)

    def label(self, name: str) -> str:
        """The label that an address names: ``final`` for '', and for the last step or epoch by its number.

        A number alone is that of an epoch, or of a step where points are called by their steps.

        Raises BadInput, listing those there are.
        """
        label = name or "final"
        if label.isdigit() and label not in self.labels:
            units = [one.partition("=")[0] for one in self.labels if "=" in one]
            label = f"{units[0] if units else 'epoch'}={label}"
        if label not in self.labels and label in self.ends:
            label = self.ends[label]
        if label not in self.labels:
            raise BadInput(f"{self.path} has no point {label!r}", f"one of {', '.join(self.labels)}")
        return label

    def point(self, objective: Objective, name: str = "") -> Point:
        """A point of the run for an objective of the same architecture."""
        label = self.label(name)
        state = store.read_state(self.path, label, verify=False)
        tensors = {key: torch.from_numpy(values) for key, values in state.items()}
        return objective.point(tensors, f"{self.path.name}@{label}")

    def trajectory(self, objective: Objective) -> list[Point]:
        """Every stored point, in the order of training."""
        return [self.point(objective, label) for label in self.labels]

    def epoch_at(self, label: str) -> float:
        """Passes over the data that lie before a point, as logged or as its label says; NaN where nothing does."""
        unit, _, number = label.partition("=")
        if unit == "epoch":
            return float(number)
        if self.header["kind"] != "train":
            return float("nan")
        step, _, epoch, _ = self._logs
        if not number:
            return float(epoch[0 if label == "init" else -1])
        rows = np.flatnonzero(step == float(number))
        return float(epoch[rows[0]]) if len(rows) else float("nan")

    @property
    def options(self) -> dict[str, Any]:
        """The options the run was trained with; none for one that was imported."""
        return self.config.get("options", {})

    def loss_at(self, label: str) -> float | None:
        """The training loss that the run says of a point; None where it says none."""
        if label == "final":
            said = self.header.get("value:final_loss")
            return None if said is None else float(said)
        if self.header["kind"] == "import":
            return self._imported.get(label)
        if self.header["kind"] != "train":
            return None
        step, _, epoch, loss = self._logs
        unit, _, number = label.partition("=")
        rows = (
            [0] if label == "init" else np.flatnonzero((epoch if unit == "epoch" else step) == float(number))
        )
        return float(loss[rows[0]]) if len(rows) else None

    def step_size_at(self, label: str) -> float:
        """The step size of the step that led to a point, at ``init`` of the first: as logged.

        Where it was not logged, that of the schedule; of one that follows the loss, that of the logged step nearest.
        """
        step, size, _, _ = self._logs
        nearest = int(np.argmin(np.abs(step - self._steps_to(label))))
        if step[nearest] != self._steps_to(label) and (scheduled := self.scheduled_at(label)) is not None:
            return scheduled
        return float(size[nearest])

    def scheduled_at(self, label: str) -> float | None:
        """The same by the formula of the schedule alone; None where that follows the loss."""
        name, given = self.options.get("schedule", "constant"), self._schedule_arguments
        if name == "plateau":
            return None
        every = int(given.get("every", self._steps_a_pass))
        period = max(0, self._steps_to(label) - 1) // every
        return step_size(name, schedule_parameters(name, given), float(self._logs[1][0]), period)

    def _steps_to(self, label: str) -> int:
        """Steps from the start to a point, by its label."""
        unit, _, number = label.partition("=")
        if not number:
            return int(self._logs[0][0 if label == "init" else -1])
        return round(float(number) * (self._steps_a_pass if unit == "epoch" else 1))

    @property
    def _steps_a_pass(self) -> int:
        step, _, epoch, _ = self._logs
        return round(float(step[-1] / epoch[-1])) if epoch[-1] else 1

    @property
    def _schedule_arguments(self) -> dict[str, Any]:
        return parse_arguments(self.options.get("schedule_arg") or [])

    def time_at(self, label: str) -> float | None:
        """Σα of plain gradient descent from the start to a point; None where steps were others.

        By the formula of the schedule; of steps that follow the loss as logged, NaN where some were not.
        """
        options = self.options
        plain = {"method": "gd", "optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "noise": "none"}
        if options.get("l2") or any(options.get(name) != value for name, value in plain.items()):
            return None
        step, size, _, _ = self._logs
        # All samples a step: as many steps as epochs.
        number = label.partition("=")[2]
        count = int(float(number)) if number else int(step[0 if label == "init" else -1])
        name, given = options.get("schedule", "constant"), self._schedule_arguments
        if name == "plateau":
            taken = size[1 : count + 1]
            return float(taken.sum()) if np.array_equal(step[: count + 1], np.arange(count + 1)) else math.nan
        about, every = schedule_parameters(name, given), int(given.get("every", 1))
        return math.fsum(step_size(name, about, float(size[0]), k // every) for k in range(count))

    def preconditioner_at(self, label: str) -> torch.Tensor:
        """P (d,) of Adam at a point, float64: what it divided its mean gradient by in the step that led there.

        NaN at ``init``, where none did. Raises BadInput for a run without.
        """
        if label not in self._preconditioners:
            raise BadInput(
                f"{self.path} holds no preconditioner",
                "a run of adam or adamw",
                "train it with `optimizer` adam, or ask for the `operator` hessian",
            )
        return torch.from_numpy(self._preconditioners[label]).double()

    @cached_property
    def divisors(self) -> dict[str, np.ndarray]:
        """The same of every point, read anew and found by its name; none in a run of another method."""
        stored: Any = store.load(self.path, verify=False)
        rows = getattr(stored, "preconditioner", None)
        if rows is None or stored.point is None:
            return {}
        names = stored.point.tolist()
        return {name: np.array(rows[names.index(name)], float) for name in self.labels}

    @cached_property
    def ends(self) -> dict[str, str]:
        """The first and the last point by what they are besides ``init`` and ``final``: ``epoch=4``, ``step=200``.

        Of points that were brought from elsewhere the last is ``final``, and ``init`` the one before all training.
        """
        if self.header["kind"] == "import":
            begin = [("init", one) for one in ("epoch=0", "step=0") if one in self.labels]
            return dict([*begin, ("final", self.labels[-1])])
        if self.header["kind"] != "train":
            return {}
        step, _, epoch, _ = self._logs
        columns = {"step": step, "epoch": epoch}
        ends = (("init", 0), ("final", -1))
        return {
            f"{unit}={int(values[place])}": label
            for unit, values in columns.items()
            for label, place in ends
            if label in self.labels and float(values[place]).is_integer()
        }

    @cached_property
    def _preconditioners(self) -> dict[str, np.ndarray]:
        """By label; none in a run of another method."""
        stored: Any = store.load(self.path, verify=False)
        rows = getattr(stored, "preconditioner", None)
        return {} if rows is None else dict(zip(stored.point.tolist(), rows, strict=True))

    @cached_property
    def _imported(self) -> dict[str, float]:
        """The losses of points from elsewhere, by label, as far as they were measured."""
        stored: Any = store.load(self.path, verify=False)
        if stored.point is None or stored.loss is None:
            return {}
        return dict(zip(stored.point.tolist(), stored.loss.tolist(), strict=True))

    @cached_property
    def _logs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Steps, step sizes, passes over the data and losses, as logged."""
        logs = store.load(self.path, verify=False)
        step, size, epoch, loss = (
            np.asarray(getattr(logs, name)) for name in ("step", "step_size", "epoch", "loss")
        )
        return step, size, epoch, loss

    def module(self, name: str = "") -> nn.Module:
        """The module at a point, in the dtype of the run, without any data."""
        with self.sources.opened():
            module = checkpoints.in_dtype(self.sources.recipe.module(), DTYPES[self.dtype])
        state = store.read_state(self.path, self.label(name), verify=False)
        module.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, strict=False)
        return module

    def export(self, name: str, path: Path) -> None:
        """Write the weights at a point as a state_dict: .safetensors, .pt or .pth. Raises BadInput."""
        checkpoints.write(self.module(name), path, str(Address(self.path, name)))


def _few(labels: list[str]) -> str:
    return ", ".join(labels) if len(labels) <= 5 else f"{labels[0]} to {labels[-1]}"


def _recipe(stored: Any, path: Path) -> Recipe:
    try:
        return Recipe(**{**stored, "input_shape": tuple(stored["input_shape"])})
    except (LookupError, TypeError) as error:
        raise BadInput(
            f"the recipe in {path} is damaged ({error})", "a whole file", "make it again"
        ) from None
