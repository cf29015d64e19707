"""A module and a loss tried on some of the samples: whether they fit, and whether there is one function to look at."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from landscape.errors import BadInput, LandscapeError, loss_failed, writes_targets
from landscape.numerics.vectors import normal
from landscape.objective import swapped, trees
from landscape.objective.calling import called
from landscape.objective.closures import seeded, states
from landscape.objective.derivatives import nodes_of
from landscape.objective.hosted import on_host_first
from landscape.objective.leaves import Leaves
from landscape.objective.losses import ELEMENTWISE, LOSSES, Loss, correct_of, name_of
from landscape.objective.of_parts import as_they_came
from landscape.objective.parametrised import Parametrised
from landscape.objective.samples import Samples

# Two evaluations of the same samples differ by rounding only; this is far above it and far below a dropout.
SAME = 1e-3
# States of the generators at which what draws is tried: one in ten is seen but for a chance of 1 %.
SEEDS = 44
# Point beside the present one, over ‖θ‖: at initialisation some layers do nothing yet.
ASIDE = 0.1


class Trial:
    """The module at its present point, and beside it, on some of the samples."""

    def __init__(self, subject: Parametrised, samples: Samples):
        self.subject, self.samples = subject, samples
        point = subject.present_point()
        self.theta, self.fixed = point.theta, point.fixed
        noise = normal(self.theta, torch.Generator().manual_seed(2))
        length = float(torch.linalg.vector_norm(self.theta, dtype=torch.float64)) or 1.0
        self.aside = noise.mul_(ASIDE * length / float(noise.norm())).to(self.theta).add_(self.theta)
        self.needs_gradients = False

    @contextmanager
    def ready(self, theta: Tensor | None = None) -> Iterator[None]:
        """Inside, the loss can be called: what it reads of the module stands at the present point, or at ``theta``."""
        fixed, point = self.copies(), self.theta if theta is None else theta
        with self.subject.standing(point, fixed), torch.set_grad_enabled(self.needs_gradients):
            yield

    @contextmanager
    def passed(self, rows: Tensor | None, theta: Tensor | None = None) -> Iterator[tuple[Any, Tensor]]:
        """:meth:`pair`, with what the call left in the module, which a loss may read, there as long as it is inside."""
        inputs, targets = self.rows(rows)
        with self.ready(theta):
            yield called(self.subject, inputs), targets

    @contextmanager
    def recorded(self, theta: Tensor | None = None) -> Iterator[None]:
        """Inside, the module stands as where gradients are taken, at the present point or at ``theta``."""
        subject, point = self.subject, self.theta if theta is None else theta
        # One in parts has its own parameters there.
        leaves = (
            Leaves(point, subject.pieces, is_cut=subject.stands_as_leaves)
            if not subject.is_sharded
            else point
        )
        with subject.standing(leaves, self.copies()), torch.enable_grad():
            yield

    def copies(self) -> dict[str, Tensor]:
        """The buffers of the present point, to write into."""
        return {name: tensor.clone() for name, tensor in self.fixed.items()}

    def rows(self, rows: Tensor | None) -> tuple[tuple[Any, ...], Tensor]:
        """(inputs, targets), inputs to write into, of some samples of this process, or of all."""
        inputs, targets = self.samples.picked(rows)
        return trees.mapped(torch.clone, inputs), targets

    def outputs(self, rows: Tensor | None, theta: Tensor | None = None) -> Any:
        return self.outputs_of(self.samples.picked(rows)[0], theta)

    def outputs_of(self, inputs: tuple[Any, ...], theta: Tensor | None = None) -> Any:
        inputs = trees.mapped(torch.clone, inputs)
        with self.ready(theta):
            return called(self.subject, inputs)

    def pair(self, rows: Tensor | None, theta: Tensor | None = None) -> tuple[Any, Tensor]:
        return self.outputs(rows, theta), self.samples.picked(rows)[1]


def tried(trial: Trial, given: Any, rows: Tensor | None) -> Any:
    """The outputs on some samples, which the loss takes; with gradients enabled where it cannot be had without."""
    try:
        return _taken(trial, given, rows)
    except BadInput as error:
        if trial.needs_gradients:
            raise
        trial.needs_gradients = isinstance(error.__cause__, RuntimeError)
        # By its inputs first, then by its parameters; what fails otherwise may ask these what they are.
        for trial.subject.stands_as_leaves in (False, True):
            with suppress(BadInput):
                return _taken(trial, given, rows)
        trial.needs_gradients = trial.subject.stands_as_leaves = False
        raise


def told_of_the_mode(trial: Trial, given: Any, rows: Tensor | None, error: BadInput) -> BadInput:
    """``error``, or one that says so where module, loss and data fit one another in training mode alone."""
    subject = trial.subject
    if subject.training:
        return error
    try:
        with subject.in_training():
            tried(trial, given, rows)
    except BadInput:
        return error
    return BadInput(
        f"{error.seen}, in eval mode (self.training is false); in training mode it is taken",
        "a module that gives its losses, or its outputs, in both modes",
        "give it a forward that does, or `training` for F of the module in training mode, its buffers frozen",
    )


def _taken(trial: Trial, given: Any, rows: Tensor | None) -> Any:
    with trial.passed(rows) as (outputs, targets):
        return _given(trial, given, outputs, targets)


def _given(trial: Trial, given: Any, outputs: Any, targets: Tensor) -> Any:
    """``outputs``, which the loss takes."""
    function = on_host_first(callable_of(given, outputs), trial.subject.device)
    check_classes(given, outputs, trial.samples.targets, trial.samples.targets)
    if isinstance(given, ELEMENTWISE):
        shapes = [tuple(one.shape) for one in (targets, outputs) if isinstance(one, Tensor)]
        if len(shapes) == 2 and shapes[0] != shapes[1]:
            raise _broadcasts(*shapes)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = function(outputs, own := targets.clone())
    except LandscapeError:
        raise
    except Exception as error:
        described, training = trees.described(outputs), trial.subject.training
        said = loss_failed(
            name_of(given), outputs, described, as_they_came(given, targets), error, training=training
        )
        remedy = said.remedy or swapped.hint(name_of(given), function, outputs, targets)
        raise BadInput(said.seen, said.wanted, remedy) from error
    if own._version:
        raise writes_targets(name_of(given))
    if any(
        "target size" in str(one.message) and "different to the input size" in str(one.message)
        for one in caught
    ):
        raise _broadcasts(tuple(targets.shape), trees.described(outputs))
    for one in found if isinstance(found, tuple) else (found,):
        if not isinstance(one, Tensor | float | int):
            has_own = getattr(outputs, "loss", 0) is None
            raise BadInput(
                f"the loss {name_of(given)} returned a {type(one).__name__}",
                "a tensor",
                "leave `loss` away for the module's own"
                if has_own
                else "let it return the number that is wanted small",
            )
    if not isinstance(given, Loss):
        swapped.require_in_order(name_of(given), given, function, outputs, targets)
    return outputs


def _broadcasts(targets: Any, outputs: Any) -> BadInput:
    return BadInput(
        f"targets of shape {targets} for outputs of shape {outputs}, which the loss would broadcast",
        "the same shape",
        "give the targets the shape of the outputs",
    )


class Seen(NamedTuple):
    """Activations per sample; whether the module writes into its buffers, into its inputs, or is checkpointed.

    ``dtypes`` are the floating-point ones that it, and the loss, compute in; ``has_sample_axis``: it returns nothing
    but tensors with the samples along axis 0, of which the rows of a sample can be taken.
    """

    activations: int
    moves_buffers: bool
    moves_inputs: bool
    recomputes: bool
    dtypes: frozenset[torch.dtype]
    has_sample_axis: bool


def watched(trial: Trial, given: Any, rows: Tensor | None) -> Seen:
    """What the module is seen to do in a pass over some samples, and in one that records gradients."""
    sizes: list[int] = []
    made: set[torch.dtype] = set()
    subject = trial.subject

    def ended(layer: nn.Module, args: Any, out: Any) -> None:
        tensors = trees.tensors(out)
        sizes.append(sum(one.numel() for one in tensors))
        made.update(one.dtype for one in tensors if one.is_floating_point())

    hooks = [layer.register_forward_hook(ended) for layer in subject.module.modules()]
    inputs, targets = trial.rows(rows)
    fixed = trial.copies()
    try:
        with subject.standing(trial.theta, fixed), torch.set_grad_enabled(trial.needs_gradients):
            outputs = called(subject, inputs)
            moves_buffers = any(not torch.equal(subject.now(name), was) for name, was in trial.fixed.items())
    finally:
        for hook in hooks:
            hook.remove()
    pairs = zip(trees.tensors(inputs), trees.tensors(trial.samples.picked(rows)[0]), strict=True)
    moves_inputs = not all(torch.equal(a, b) for a, b in pairs)
    recomputes, dtypes = _recorded(trial, given, rows)
    activations = max(1, sum(sizes) // len(targets))
    has_sample_axis = all(
        isinstance(one, Tensor) and one.dim() and len(one) == len(targets) for one in trees.leaves(outputs)
    )
    return Seen(activations, moves_buffers, moves_inputs, recomputes, dtypes | made, has_sample_axis)


def _recorded(trial: Trial, given: Any, rows: Tensor | None) -> tuple[bool, frozenset[torch.dtype]]:
    """:func:`_graph`, of stand-ins that are leaves where others are not taken, as by a copy or an optimiser."""
    subject = trial.subject
    try:
        return _graph(trial, given, rows)
    except (RuntimeError, ValueError) as error:
        if isinstance(error, LandscapeError) or subject.stands_as_leaves:
            raise
        subject.stands_as_leaves = True
        with suppress(RuntimeError, ValueError):
            return _graph(trial, given, rows)
        subject.stands_as_leaves = False
        raise


def _graph(trial: Trial, given: Any, rows: Tensor | None) -> tuple[bool, frozenset[torch.dtype]]:
    """Whether hooks are put on what is saved for a derivative, as checkpointing does; the dtypes computed in."""
    hooks = torch.autograd.graph.saved_tensors_hooks
    enter, entered = hooks.__enter__, []

    def counting(self: Any) -> None:
        entered.append(1)
        return enter(self)

    inputs, targets = trial.rows(rows)
    hooks.__enter__ = counting
    try:
        with trial.recorded():
            outputs = called(trial.subject, inputs)
            found = trees.tensors(callable_of(given, outputs)(outputs, targets))
    finally:
        hooks.__enter__ = enter
    met = (one.dtype for node in nodes_of(found) for one in getattr(node, "_input_metadata", ()))
    # The loss is added in float64 in any case.
    return bool(entered), frozenset(dtype for dtype in met if dtype.is_floating_point)


def require_one_function(trial: Trial, rows: Tensor | None, outputs: Any) -> None:
    """Raises BadInput for a module that draws, and for one that is another function where gradients are taken."""
    name = type(trial.subject.module).__name__
    if trial.subject.training and draws(lambda: trial.outputs(rows)):
        # Of a seldom draw two calls may show nothing.
        raise BadInput(
            f"{name} draws random numbers in training mode",
            "a function of its parameters",
            "set the rate of its dropout to 0, or make its randomness depend on a switch of its own",
        )
    before = states()
    others = [trial.outputs(rows)]
    if before != states():
        others += _at_seeds(trial, rows)
    if not all(trees.agree(one, outputs, SAME) for one in others):
        mode, switch = (
            ("training", "a switch of its own") if trial.subject.training else ("eval", "self.training")
        )
        raise BadInput(
            f"{name} gives different outputs for the same inputs in {mode} mode",
            "a function of its parameters",
            f"switch its randomness off where {switch} is false",
        )
    if not trial.needs_gradients:
        trial.needs_gradients = True
        try:
            with_gradients = trial.outputs(rows)
        finally:
            trial.needs_gradients = False
        if not trees.agree(trees.mapped(torch.Tensor.detach, with_gradients), outputs, SAME):
            raise BadInput(
                f"{name} gives other outputs where gradients are recorded",
                "one function of its parameters",
                "does it ask torch.is_grad_enabled?",
            )


def _at_seeds(trial: Trial, rows: Tensor | None) -> list[Any]:
    """The outputs from many states of the generators: of what is drawn and seldom used two calls show nothing."""
    found = []
    for seed in range(SEEDS):
        with seeded(seed):
            found.append(trial.outputs(rows))
    return found


def draws(call: Callable[[], Any]) -> bool:
    """Whether ``call`` takes random numbers of torch's, of NumPy's or of Python's."""
    before = states()
    call()
    return before != states()


def check_all_targets(given: Any, targets: Tensor) -> None:
    if given is LOSSES["bce"]:
        low, high = float(targets.min()), float(targets.max())
        if low < 0 or high > 1:
            raise BadInput(f"targets run from {low:g} to {high:g}", "0 to 1 for the loss bce")


def check_classes(given: Any, outputs: Any, targets: Tensor, values: Tensor) -> None:
    """Whether all ``values``, those that the targets have, number outputs. Raises BadInput."""
    of_classes = given.of_classes if isinstance(given, Loss) else correct_of(given)[1]
    if not of_classes or targets.is_floating_point() or not isinstance(outputs, Tensor):
        return
    if targets.dim() == outputs.dim() - 1 and outputs.shape[1] > 1:
        counted = (
            values if isinstance(given, Loss) else values[values != getattr(given, "ignore_index", -100)]
        )
        classes = outputs.shape[1]
        low, high = (int(counted.min()), int(counted.max())) if counted.numel() else (0, 0)
        if low < 0 or high >= classes:
            raise BadInput(
                f"targets run from {low} to {high}",
                f"classes 0 to {classes - 1}, as the module has {classes} outputs",
                f"let the data give targets - {low}" if low > 0 and high - low < classes else "",
            )


def callable_of(given: Any, outputs: Any) -> Callable[..., Any]:
    """The user's loss; the module's own where it gives one number for all samples."""
    if isinstance(given, Loss):
        return _itself if given is LOSSES["output"] and _is_number(outputs) else given.total
    return given


def _itself(outputs: Any, targets: Tensor) -> Any:
    return outputs


_itself.__name__ = "output"


def _is_number(outputs: Any) -> bool:
    return isinstance(outputs, Tensor) and outputs.numel() == 1 and outputs.dim() == 0
