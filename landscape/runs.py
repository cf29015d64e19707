"""A run file opened again: its module, its data and its points, rebuilt from the specs it holds."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from landscape import sources, store
from landscape.data import DataSet, load_data
from landscape.errors import BadInput
from landscape.models import build_model
from landscape.objective import Objective
from landscape.parameters import Point

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Objectives(NamedTuple):
    """F on the training data and, where the data have any, on the test data; notes on what differs."""

    train: Objective
    test: Objective | None
    notes: list[str]


@dataclass(frozen=True)
class Recipe:
    """The specs from which a module, its data and its loss are built: plain values, kept in run files.

    ``loss`` may be empty: the one that suits the data. ``input_shape``, ``num_outputs`` and
    ``data_sha256`` are found when the recipe is first followed (:meth:`completed`).
    """

    model: str = "mlp"
    model_arguments: Mapping[str, Any] = field(default_factory=dict)
    data: str = "digits"
    data_arguments: Mapping[str, Any] = field(default_factory=dict)
    loss: str = ""
    seed: int = 0
    subset: int | None = None
    input_shape: tuple[int, ...] = ()
    num_outputs: int = 0
    data_sha256: str = ""

    def data_set(self, data_dir: Path | None = None) -> DataSet:
        """The data, cut to the seeded subset where one is asked for."""
        whole = load_data(self.data, self.data_arguments, data_dir)
        if self.subset is None:
            return whole
        return whole.subset(self.subset, torch.Generator().manual_seed(self.seed))

    def completed(self, data: DataSet) -> "Recipe":
        """The recipe with what only the data can tell."""
        loss = self.loss or data.default_loss
        found: dict[str, Any] = {
            "loss": loss,
            "input_shape": data.input_shape,
            "num_outputs": data.num_outputs(loss),
            "data_sha256": fingerprint(data),
        }
        return Recipe(**(asdict(self) | found))

    def module(self) -> nn.Module:
        """The module as the seed initialises it. Needs a completed recipe, but no data."""
        return build_model(
            self.model,
            self.model_arguments,
            self.seed,
            input_shape=self.input_shape,
            num_outputs=self.num_outputs,
        )

    def objectives(
        self,
        module: nn.Module,
        data: DataSet,
        *,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        chunk_size: int | None = None,
        l2: float = 0.0,
    ) -> Objectives:
        """F of ``module`` on ``data``, in training and test."""
        train = Objective(
            module,
            self.loss,
            (data.inputs, data.targets),
            dtype=dtype,
            device=device,
            chunk_size=chunk_size,
            l2=l2,
        )
        if data.test_inputs is None or data.test_targets is None:
            return Objectives(train, None, [])
        return Objectives(train, train.on((data.test_inputs, data.test_targets)), [])

    def described(self) -> str:
        """The model as it was asked for: ``mlp widths=(128, 128)``."""
        return " ".join([self.model, *(f"{name}={value}" for name, value in self.model_arguments.items())])

    def foreign_specs(self) -> list[str]:
        """Its specs of code that lies outside the current folder: not to be run on a file's word."""
        specs = [self.model, self.data, self.loss]
        return [spec for spec in specs if sources.is_factory_spec(spec) and not _is_at_home(spec)]


class Run:
    """A run file (``landscape train``, ``landscape import``) and what can be rebuilt from it.

    Raises BadInput for a file that is none, and, unless ``trust``, for one whose specs name code
    outside the current folder.
    """

    def __init__(self, path: Path | str, *, trust: bool = False):
        self.path = Path(path)
        self.header = store.header(self.path)
        self.labels = store.point_labels(self.path)
        self.config: dict[str, Any] = json.loads(self.header["config"])
        if not self.labels or "recipe" not in self.config:
            raise BadInput(
                f"{self.path} is the result of {self.header['kind']} and holds no points of a model",
                "a run file, as landscape train and landscape import write",
            )
        recipe: dict[str, Any] = dict(self.config["recipe"])
        recipe["input_shape"] = tuple(recipe["input_shape"])
        self.recipe = Recipe(**recipe)
        foreign = [] if trust else self.recipe.foreign_specs()
        if foreign:
            raise BadInput(
                f"{self.path} asks to run {', '.join(foreign)}, which lies outside this folder",
                "code of your own",
                "add --trust if you know this file",
            )

    @property
    def dtype(self) -> str:
        """The dtype the run was made in, by name."""
        return str(self.header["dtype"])

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
    ) -> Objectives:
        """F of the run's module on its data; ``subset`` takes that many samples, drawn by ``seed``."""
        data = self.recipe.data_set(data_dir)
        notes = []
        if fingerprint(data) != self.recipe.data_sha256:
            notes.append(
                f"the data {self.recipe.data} are not those {self.path.name} was made with: "
                "their fingerprints differ"
            )
        if subset is not None:
            data = data.subset(subset, torch.Generator().manual_seed(seed))
        made = self.recipe.objectives(
            self.recipe.module(),
            data,
            dtype=DTYPES[dtype or self.dtype],
            device=device,
            chunk_size=chunk_size,
            l2=l2,
        )
        return made._replace(notes=notes)

    def label(self, name: str) -> str:
        """The label that an address names: ``final`` for ''. Raises BadInput, listing those there are."""
        label = name or "final"
        if label not in self.labels:
            raise BadInput(f"{self.path} has no point {label!r}", f"one of {', '.join(self.labels)}")
        return label

    def point(self, objective: Objective, name: str = "") -> Point:
        """A point of the run for an objective of the same architecture."""
        label = self.label(name)
        state = store.read_state(self.path, label)
        tensors = {key: torch.from_numpy(values) for key, values in state.items()}
        return objective.point(tensors, f"{self.path.name}@{label}")

    def trajectory(self, objective: Objective) -> list[Point]:
        """Every stored point, in the order of training."""
        return [self.point(objective, label) for label in self.labels]

    def stability_limits(self, labels: list[str]) -> list[float] | None:
        """The largest λ at which gradient descent is stable at each point, for the step size α there.

        2/α, with momentum β 2(1 + β)/α, with Nesterov's 2(1 + β)/((1 + 2β) α) (Cohen et al. 2021, section 2
        and appendix B); None for other optimisers and for runs that were imported.
        """
        options = self.config.get("options", {})
        if options.get("optimizer") != "sgd":
            return None
        beta = float(options["momentum"])
        factor = 2 * (1 + beta) / (1 + 2 * beta if options["nesterov"] else 1)
        logs = store.load(self.path)
        step, size, epoch = (np.asarray(getattr(logs, name)) for name in ("step", "step_size", "epoch"))
        last = len(step) - 1
        found = []
        for label in labels:
            unit, _, number = label.partition("=")
            column = epoch if unit == "epoch" else step
            nearest = int(np.argmin(np.abs(column - float(number)))) if number else last
            found.append(factor / float(size[0 if label == "init" else nearest]))
        return found

    def module(self, name: str = "") -> nn.Module:
        """The module at a point, in the dtype of the run, without any data."""
        module = self.recipe.module().to(DTYPES[self.dtype])
        state = store.read_state(self.path, self.label(name))
        module.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, strict=False)
        return module


def fingerprint(data: DataSet) -> str:
    """A sha256 over every number of a data set."""
    digest = hashlib.sha256()
    for part in (data.inputs, data.targets, data.test_inputs, data.test_targets):
        if part is not None:
            digest.update(f"{part.dtype} {tuple(part.shape)}".encode())
            digest.update(part.contiguous().numpy().data)
    return digest.hexdigest()


def _is_at_home(spec: str) -> bool:
    origin = sources.origin(spec)
    return origin is not None and origin.resolve().is_relative_to(Path.cwd())
