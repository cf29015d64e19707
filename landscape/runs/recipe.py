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
from landscape.inputs.data.streams import Stream
from landscape.inputs.models import build_model, by_name, takes_num_outputs
from landscape.inputs.models.modified import NUMBERED, PRICED, modified
from landscape.objective.arguments import call
from landscape.objective.closures import made, seeded, signature_of, taken_by
from landscape.objective.losses import LOSSES
from landscape.objective.modes import in_mode
from landscape.objective.objective import Objective
from landscape.objective.penalised import penalised
from landscape.objective.samples import sha256
from landscape.objective.streamed import Streamed
from landscape.objective.suited import suited, whole_of
from landscape.objective.suiting import suiting_loss

# Samples that a module is tried with.
FEW = 4
# None: what has several dtypes keeps them.
DTYPES = {"float32": torch.float32, "float64": torch.float64, "mixed": None}


class Followed(NamedTuple):
    """A completed recipe, its data, the dtype of both, and why its loss was chosen ('' where it was given)."""

    recipe: "Recipe"
    data: DataSet | None
    dtype: str
    why: str


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

    ``loss`` may be empty: the one that suits module and data. ``data`` are empty where the loss takes the module alone.
    ``input_shape``, ``num_outputs`` and
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
        self,
        data_dir: Path | None = None,
        dtype: str | None = None,
        least: str = "float32",
        default_data: str | None = None,
    ) -> "Followed":
        """The recipe completed, its data, and the dtype of both: ``least`` where none is asked for, or its own.

        The latter is ``mixed``: a module made by the user has floating-point tensors of several dtypes, which stay.
        ``default_data``: those of a loss that takes some, where none are named.
        """
        given = replace(self, data=needed_data(self.loss, self.data, default_data))
        if not given.data and given.modify:
            raise BadInput(
                f"`modify` with the loss {given.loss}, which takes the module alone", "a loss of outputs"
            )
        data = given.data_set(data_dir, None)
        recipe, why = given.completed(data), ""
        is_open = not (given.loss or given.modify or by_name.is_by_name(recipe.model))
        if is_open and data is not None:
            loss, why = recipe.suiting(data)
            recipe = replace(recipe, loss=loss)
        if dtype is None:
            is_mixed = specs.is_factory_spec(self.model) and len(floats_in(recipe.module())) > 1
            dtype = "mixed" if is_mixed else least
        precision = DTYPES[dtype]
        data = data if precision is None or data is None else data.to(precision)
        return Followed(recipe, data, dtype, why)

    def suiting(self, data: DataSet) -> tuple[str, str]:
        """The loss for what the module gives for some of the data, and why. Needs a completed recipe. BadInput."""
        if specs.is_factory_spec(self.model) or "num_outputs" in self.model_arguments:
            module = in_mode(self.module(), False)
            real = next((one.dtype for one in module.parameters() if one.is_floating_point()), torch.float32)
            try:
                few = whole_of((data.inputs, data.targets)).few(FEW)
                inputs = suited(module, LOSSES["output"], few.to(torch.device("cpu"), real))[1].inputs
                with torch.no_grad(), torch.random.fork_rng(devices=[]):
                    outputs = call(module, inputs)
            except Exception:
                # What does not take the data is told of with the loss that the data suggest.
                return self.loss, f"of {data.task} by default"
        else:
            places = data.targets.shape[1:] if data.num_classes is not None else ()
            outputs = torch.empty(1, self.num_outputs, *places)
        return suiting_loss(outputs, data.known_targets, data.num_classes)

    def data_set(
        self, data_dir: Path | None = None, dtype: torch.dtype | None = torch.float32
    ) -> DataSet | None:
        """The data in ``dtype``, or for None as they come, cut to the seeded subset where one is asked for.

        None for a loss that takes the module alone.
        """
        if not self.data:
            if self.subset is not None:
                raise BadInput(
                    f"a subset for the loss {self.loss}, which takes the module alone", "all of it"
                )
            return None
        whole = load_data(self.data, self.data_arguments, data_dir, dtype)
        if self.subset is None:
            return whole
        cut = whole.subset(self.subset, torch.Generator().manual_seed(self.seed))
        # A part of these samples is numbered among them.
        return replace(cut, rows=None)

    def completed(self, data: DataSet | None) -> "Recipe":
        """The recipe with what only the data can tell.

        Raises BadInput where the number of outputs would follow from a label far beyond the classes that occur.
        """
        if data is None:
            return self
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
        shape = self.input_shape if self.data else None
        shapes: dict[str, Any] = {"input_shape": shape, "num_outputs": self.num_outputs}
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
        data: DataSet | None,
        *,
        dtype: torch.dtype | None = torch.float32,
        device: str = "cpu",
        chunk_size: int | None = None,
        l2: float = 0.0,
        training: bool = False,
    ) -> Objectives:
        """F of ``module`` on ``data``, in training and test; none in test where samples have noise."""
        if data is None:
            of_module = loss_of_module(self.loss)
            return Objectives(
                Objective.from_closure(
                    module, of_module, dtype=dtype, device=device, l2=l2, training=training
                ),
                None,
                [],
            )
        is_numbered = self.modify in NUMBERED
        inputs: Any = (data.inputs, data.numbers) if is_numbered else data.inputs
        loss, inputs, said = by_name.fitted(module, self.loss, inputs, data.targets)
        train = Objective(
            module,
            penalised(loss) if self.modify in PRICED else loss,
            _read(data.stream, module) or (inputs, self._given(data, data.targets)),
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
        test: Any = _read(data.test_stream, module)
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


def recipe_of(whole: Mapping[str, Any], *, is_of_weights: bool, names_data: bool) -> Recipe:
    """The recipe of a call's options. Whether a loss of the user's own takes data, where none are named, it tells.

    Raises BadInput for weights without what they belong to.
    """
    may_stand_alone = specs.is_factory_spec(whole["loss"] or "") and not names_data
    wanted = ("model",) if may_stand_alone else ("model", "data")
    missing = [key for key in wanted if is_of_weights and not whole[key]]
    if missing:
        raise BadInput(f"no `{missing[0]}`", "the one the weights belong to")
    return Recipe(
        model=whole["model"] or "",
        model_arguments=dict(whole["model_arg"] or {}),
        data="" if may_stand_alone else whole["data"] or "",
        data_arguments=with_target(whole["data_arg"], whole["target"]),
        loss=whole["loss"] or "",
        modify=whole.get("modify") or "",
        modify_arguments=dict(whole.get("modify_arg") or {}),
    )


def needed_data(loss: str, data: str, default: str | None) -> str:
    """The data that go with a loss: those named, the default ones, or '' for a loss that takes the module alone.

    That is one that can be called with one argument and not with two, or with one or two where no data are named.
    Raises BadInput for data beside such a loss, and for none beside another.
    """
    taken = taken_by(loss_of_module(loss)) if specs.is_factory_spec(loss) else "outputs and targets"
    if taken == "neither":
        of = signature_of(loss_of_module(loss))
        raise BadInput(
            f"{loss} takes neither one argument nor two ({of})",
            "the module, or outputs and targets",
            "name the loss itself, its class, or a function without arguments that makes it",
        )
    if taken == "module" and data:
        raise BadInput(
            f"`data` {data} beside the loss {loss}, which takes the module alone",
            "a loss of (outputs, targets) for data",
            "leave `data` away",
        )
    if data or taken in ("module", "either"):
        return data
    if not default:
        raise BadInput("no `data`", "the one the weights belong to")
    return default


def loss_of_module(spec: str) -> Any:
    """The function that a spec names, or makes (:func:`made`); what its file draws is the same each time."""
    with seeded(0):
        return made(specs.resolve(spec))


def fingerprint(data: DataSet | None) -> str:
    """A sha256 over every number of a data set, which is the same in float32 and in float64; '' where there is none."""
    if data is None:
        return ""
    if data.stream is not None:
        return data.stream.seen.sha256
    plain = data.to(torch.float32)
    parts = (plain.inputs, plain.targets, plain.test_inputs, plain.test_targets)
    return sha256(one for part in parts for one in tensors(part))


def _read(stream: Stream | None, module: nn.Module) -> Stream | Streamed | None:
    """The samples of a stream, labels beside the inputs where the module itself makes a loss of these."""
    if stream is None or stream.is_held:
        return stream
    return Streamed(stream).changed(lambda chunk: by_name.labelled(module, *chunk))


def _is_at_home(spec: str) -> bool:
    origin = specs.origin(spec)
    return origin is not None and origin.resolve().is_relative_to(Path.cwd())
