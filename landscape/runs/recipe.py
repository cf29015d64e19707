"""The specs from which a module, its data and its loss are built, as run files keep them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from landscape import specs
from landscape.errors import BadInput
from landscape.inputs.data import DataSet, load_data
from landscape.inputs.data.batches import tensors
from landscape.inputs.models import build_model, by_name, takes_num_outputs
from landscape.inputs.models.modified import NUMBERED, PRICED, modified
from landscape.objective.objective import Objective
from landscape.objective.penalised import penalised
from landscape.objective.samples import sha256

# None: what has several dtypes keeps them.
DTYPES = {"float32": torch.float32, "float64": torch.float64, "mixed": None}


class Objectives(NamedTuple):
    """F on the training data and, where the data have any, on the test data; notes on what differs.

    ``is_as_made``: the data are all of those that the run was made with.
    """

    train: Objective
    test: Objective | None
    notes: list[str]
    is_as_made: bool = True


@dataclass(frozen=True)
class Recipe:
    """The specs from which a module, its data and its loss are built: plain values, kept in run files.

    ``loss`` may be empty: the one that suits the data. ``input_shape``, ``num_outputs`` and
    ``data_sha256`` are found when the recipe is first followed (:meth:`completed`). ``modify`` changes the module and
    puts a price on its parameters, or noise on its slopes, which is drawn for ``num_samples`` samples
    (:mod:`landscape.inputs.models.modified`).
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
    modify: str = ""
    modify_arguments: Mapping[str, Any] = field(default_factory=dict)
    num_samples: int = 0

    def __post_init__(self):
        # A folder of a published model is one from wherever the recipe is read.
        object.__setattr__(self, "model", by_name.spelled(self.model))

    def followed(
        self, data_dir: Path | None = None, dtype: str | None = None, least: str = "float32"
    ) -> "tuple[Recipe, DataSet, str]":
        """The recipe completed, its data, and the dtype of both: ``least`` where none is asked for, or its own.

        The latter is ``mixed``: a module made by the user has floating-point tensors of several dtypes, which stay.
        """
        data = self.data_set(data_dir, None)
        recipe = self.completed(data)
        if dtype is None:
            is_mixed = specs.is_factory_spec(self.model) and len(floats_in(recipe.module())) > 1
            dtype = "mixed" if is_mixed else least
        precision = DTYPES[dtype]
        return recipe, data if precision is None else data.to(precision), dtype

    def data_set(self, data_dir: Path | None = None, dtype: torch.dtype | None = torch.float32) -> DataSet:
        """The data in ``dtype``, or for None as they come, cut to the seeded subset where one is asked for."""
        whole = load_data(self.data, self.data_arguments, data_dir, dtype)
        if self.subset is None:
            return whole
        cut = whole.subset(self.subset, torch.Generator().manual_seed(self.seed))
        # A part of these samples is numbered among them.
        return replace(cut, rows=None)

    def completed(self, data: DataSet) -> "Recipe":
        """The recipe with what only the data can tell.

        Raises BadInput where the number of outputs would follow from a label far beyond the classes that occur.
        """
        loss = self.loss or by_name.default_loss(self.model, data.default_loss)
        is_given = "num_outputs" in self.model_arguments
        if data.doubt and not is_given and takes_num_outputs(self.model):
            raise BadInput(
                f"{self.data} has {data.doubt}, so {self.model} would have {data.num_classes} outputs",
                "labels 0, 1, 2 and so on",
                f"number them anew, or give `model_arg` num_outputs={data.num_classes} if they are meant so",
            )
        found: dict[str, Any] = {
            "model": by_name.pinned(self.model),
            "loss": loss,
            "input_shape": data.input_shape,
            "num_outputs": data.num_outputs(loss),
            "data_sha256": fingerprint(data),
            "num_samples": len(data) if self.modify in NUMBERED else 0,
        }
        return Recipe(**(asdict(self) | found))

    def module(self) -> nn.Module:
        """The module as the seed initialises it. Needs a completed recipe, but no data."""
        shapes: dict[str, Any] = {"input_shape": self.input_shape, "num_outputs": self.num_outputs}
        module = build_model(self.model, self.model_arguments, self.seed, **shapes)
        if self.modify:
            shapes["num_samples"] = self.num_samples
            return modified(self.modify, self.modify_arguments, self.seed, module, **shapes)
        if self.modify_arguments:
            raise BadInput("`modify_arg` without `modify`", "what they are arguments of")
        return module

    def stored(self) -> dict[str, Any]:
        """As a configuration keeps it: without what changes nothing."""
        kept = asdict(self)
        for name in ("modify", "modify_arguments", "num_samples"):
            if not kept[name]:
                del kept[name]
        return kept

    def objectives(
        self,
        module: nn.Module,
        data: DataSet,
        *,
        dtype: torch.dtype | None = torch.float32,
        device: str = "cpu",
        chunk_size: int | None = None,
        l2: float = 0.0,
        training: bool = False,
    ) -> Objectives:
        """F of ``module`` on ``data``, in training and test; none in test where samples have noise."""
        is_numbered = self.modify in NUMBERED
        inputs: Any = (data.inputs, data.numbers) if is_numbered else data.inputs
        loss, said = self.loss, ""
        if data.stream is None:
            loss, inputs, said = by_name.fitted(module, self.loss, inputs, data.targets)
        train = Objective(
            module,
            penalised(loss) if self.modify in PRICED else loss,
            data.stream or (inputs, self._given(data, data.targets)),
            dtype=dtype,
            device=device,
            chunk_size=chunk_size,
            l2=l2,
            training=training,
        )
        notes = [*data.notes, *by_name.notes_of(module), *([said] if said else [])]
        if data.test_inputs is None or data.test_targets is None:
            return Objectives(train, None, notes)
        if is_numbered:
            notes.append("no test loss: the noise was drawn for the training samples alone")
            return Objectives(train, None, notes)
        test = data.test_stream
        if test is None:
            _, test_inputs, _ = by_name.fitted(module, self.loss, data.test_inputs, data.test_targets)
            test = (test_inputs, self._given(data, data.test_targets))
        return Objectives(train, train.on(test), notes)

    def _given(self, data: DataSet, targets: Tensor) -> Tensor:
        """The targets; in the shape in which they were brought where the loss is the user's own."""
        if data.target_shape is None or not specs.is_factory_spec(self.loss):
            return targets
        return targets.reshape(len(targets), *data.target_shape)

    def described(self) -> str:
        """The model as it was asked for: ``mlp widths=(128, 128)``."""
        return " ".join([self.model, *(f"{name}={value}" for name, value in self.model_arguments.items())])

    def foreign_specs(self) -> list[str]:
        """Its specs of code that lies outside the current folder: not to be run on a file's word."""
        named = [self.model, self.data, self.loss]
        return [spec for spec in named if specs.is_factory_spec(spec) and not _is_at_home(spec)]


def with_target(arguments: Mapping[str, Any] | None, target: str | None) -> dict[str, Any]:
    """The arguments of the data with the columns that are the target, several as ``a,b``."""
    found = dict(arguments or {})
    if target is None:
        return found
    if "target" in found:
        raise BadInput("`target` twice, as an option and as an argument of the data", "it once")
    columns = tuple(one.strip() for one in target.split(","))
    return found | {"target": columns if len(columns) > 1 else target}


def floats_in(module: nn.Module) -> set[torch.dtype]:
    """The real floating-point dtypes among a module's parameters and buffers."""
    return {one.dtype for one in (*module.parameters(), *module.buffers()) if one.is_floating_point()}


def fingerprint(data: DataSet) -> str:
    """A sha256 over every number of a data set, which is the same in float32 and in float64."""
    if data.stream is not None:
        return data.stream.seen.sha256
    plain = data.to(torch.float32)
    parts = (plain.inputs, plain.targets, plain.test_inputs, plain.test_targets)
    return sha256(one for part in parts for one in tensors(part))


def _is_at_home(spec: str) -> bool:
    origin = specs.origin(spec)
    return origin is not None and origin.resolve().is_relative_to(Path.cwd())
