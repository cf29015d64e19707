"""Do module, data and loss fit one another, and what do they mean? Found out once, before anything is measured."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from landscape import distributed
from landscape.errors import BadInput
from landscape.numerics.pieces import Piece
from landscape.objective import chunking, meaning, trees
from landscape.objective.aside import come_nearer, loss_at
from landscape.objective.calling import called
from landscape.objective.carried import carried, written
from landscape.objective.constants import constants
from landscape.objective.entire import is_sum_of_parts
from landscape.objective.hosted import on_host_first
from landscape.objective.losses import Loss, correct_of, is_built_in, name_of, weighted_mean
from landscape.objective.mode_trial import require_mode
from landscape.objective.outside import outside, told_of_the_module
from landscape.objective.pairs import tell_pairs
from landscape.objective.parametrised import Parametrised
from landscape.objective.reached import require_reached
from landscape.objective.samples import Samples, coarsest
from landscape.objective.steady import reads_the_call, require_one_loss
from landscape.objective.suiting import squashed
from landscape.objective.tracing import uses_in
from landscape.objective.trial import (
    Seen,
    Trial,
    callable_of,
    check_all_targets,
    check_classes,
    require_one_function,
    told_of_the_mode,
    tried,
    watched,
)
from landscape.objective.uses import told

FEW = 4
# Numbers that the samples tried may pass from layer to layer.
PROBED_ACTIVATIONS = 2**24
ALL_INPUTS = (
    "the last part of a sample is taken for the target: where it is an input as well, give ((first, second), None) or "
    "a dictionary by the names of the arguments"
)
# Up to where a row that was computed in another company counts as the same.
ALONE = {torch.float64: 1e-5, torch.float32: 1e-3}


@dataclass
class Fit:
    """What a module and a loss were seen to do with some samples in eval mode.

    ``is_whole``: the data cannot be cut, as samples hang together. ``needs_gradients``: the module, or the loss,
    takes derivatives itself. ``divisor``: what the sum of the totals over all processes is divided by. ``pieces``:
    those of θ, with what is seen of their use. ``stands_as_leaves`` is that of what was tried.
    """

    loss: Loss
    seen: Seen
    is_whole: bool = False
    needs_gradients: bool = False
    divisor: float = 1.0
    notes: list[str] = field(default_factory=list)
    undefined: list[str] = field(default_factory=list)
    pieces: tuple[Piece, ...] = ()
    stands_as_leaves: bool = False


def fit(
    subject: Parametrised, given: Any, samples: Samples, *, watches: bool, known: Fit | None = None
) -> Fit:
    """Run the module of ``subject``, in eval mode, and the loss on some of the ``samples``; check all targets.

    With ``watches`` the use of the parameters is looked at as well. ``known`` is what was found in another dtype of
    the same, whose meaning is not looked for again.

    Everything in the module, and the generators of random numbers, are left as they were. Raises BadInput where
    module, data and loss do not fit, where the same inputs give different outputs (then there is no function to look
    at), and where a parameter does not move F.
    """
    devices = [subject.device] if subject.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), warnings.catch_warnings():
        # They come again where the numbers are computed.
        warnings.simplefilter("ignore")
        trial = Trial(subject, samples.head)
        if known is not None:
            subject.stands_as_leaves = known.stands_as_leaves
        tell_pairs(trial, lambda theta: trial.outputs(few_of(trial.samples), theta))
        found, few = _fitted(given, samples, trial, known)
        if watches:
            found.notes += (
                constants(trial, given, few)[0] + carried(trial, few) + told_of_the_module(trial, few)
            )
            found.notes += outside(trial, given, few) + (
                written(trial, few) if found.seen.moves_buffers else []
            )
            found.pieces = told(subject.pieces, uses_in(trial, few))
        found.stands_as_leaves = subject.stands_as_leaves
        return found


def few_of(samples: Samples) -> Tensor | None:
    """Some of the samples to try a call with; None for all of them, where they are one piece."""
    return None if samples.is_one_piece else meaning.probe(samples.inputs, samples.targets, FEW)


def _fitted(given: Any, samples: Samples, trial: Trial, known: Fit | None) -> tuple[Fit, Tensor | None]:
    """What was found, and the samples that can be tried."""
    # In every process at the same time, as it counts over all of them; what each looks at alone follows.
    exact = weighted_mean(given, samples)
    outputs, few, seen, loss, is_whole = distributed.together(
        lambda: _seen(given, samples, trial, exact, known)
    )
    seen = seen._replace(activations=int(distributed.largest(seen.activations)[0]))
    loss, is_whole = _agreed(loss, is_whole)
    if is_whole and samples.head.count < samples.count:
        raise _not_at_once(given, samples)
    if is_whole and few is not None:
        tried(trial, given, None)
    if loss is None:
        loss = given if isinstance(given, Loss) else meaning.whole(callable_of(given, outputs), samples.count)
        if exact is not None:
            # Targets that are ignored are none that could be told right.
            loss = replace(loss, correct=exact.correct)
    divisor = _divisor(trial, loss, samples, seen.activations)
    if not (is_whole or known) and not is_sum_of_parts(
        trial, given, samples, loss, divisor, seen.activations
    ):
        is_whole = True
        if loss is not given:
            loss, divisor = meaning.whole(callable_of(given, outputs), samples.count), 1.0
    found = Fit(loss, seen, is_whole, trial.needs_gradients, divisor)
    if said := squashed(trial, given, few, outputs):
        found.notes.append(said)
    if is_whole:
        with trial.passed(few) as (outputs, targets):
            found.notes += meaning.told_of_pair(callable_of(given, outputs), outputs, targets)
        found.notes.append(
            f"the module, or the loss {name_of(given)}, takes the samples together: all of them are one chunk"
        )
    return found, few


def _not_at_once(given: Any, samples: Samples) -> BadInput:
    """The refusal for a loss that is had of all samples alone, where these cannot be one call."""
    why, other = "there are too many to hold", f"take a part of them (`subset` = {samples.head.count})"
    if not samples.is_even:
        why = "batches differ in shape, so that no call has all of them"
        other = "let collate_fn pad all of them to one length"
    return BadInput(
        f"the module, or the loss {name_of(given)}, takes the samples together, and {why}",
        "a loss that is a mean or a sum over samples",
        "let the loss return a pair (total, weight), as reduction='sum' and the number of targets that count; or "
        + other,
    )


def _seen(
    given: Any, samples: Samples, trial: Trial, exact: Loss | None, known: Fit | None
) -> tuple[Any, Tensor | None, Seen, Loss | None, bool]:
    """Outputs on which samples, what was seen of the module, the loss by its meaning, whether the data are a whole."""
    head = trial.samples
    few = few_of(head)
    check_all_targets(given, samples.target_values)
    try:
        outputs = tried(trial, given, few)
    except BadInput as error:
        # A graph in one piece, or a contrastive loss, takes all samples and nothing less.
        try:
            outputs = tried(trial, given, None)
        except BadInput:
            outputs = None
        if outputs is None:
            error = told_of_the_mode(trial, given, few, error)
            raise _told_of_the_data(samples, error) from error.__cause__
        few = None
    check_classes(given, outputs, samples.head.targets, samples.target_values)
    seen = watched(trial, given, few)
    if known is not None and few is not None and not known.is_whole:
        return outputs, few, seen, known.loss, False
    come_nearer(trial, loss_at(trial, given, few))
    require_one_function(trial, few, outputs)
    require_mode(trial, few)
    require_one_loss(trial, given, few, outputs)
    require_reached(trial, given, few)
    if trial.subject.stands_as_leaves:
        require_one_function(trial, few, trial.outputs(few))
    loss, is_whole = (None, True) if few is None else _meaning(trial, given, exact, outputs, seen)
    return outputs, few, seen, loss, is_whole


def _told_of_the_data(samples: Samples, error: BadInput) -> BadInput:
    """``error``, or where nothing else is known to help, one that says what was taken for inputs and for targets."""
    if error.remedy:
        return error
    if not samples.notes:
        wants_more = "required positional argument" in error.seen
        return BadInput(error.seen, error.wanted, ALL_INPUTS) if wants_more else error
    remedy = (
        f"the data were taken so: {'; '.join(samples.notes)}. Where something else is meant, let the data be "
        "(inputs, targets), sample by sample or from the collate_fn"
    )
    return BadInput(error.seen, error.wanted, remedy)


def _meaning(
    trial: Trial, given: Any, exact: Loss | None, outputs: Any, seen: Seen
) -> tuple[Loss | None, bool]:
    """The loss by its meaning, None for that of a whole; whether the data cannot be cut."""
    samples = trial.samples
    size = min(meaning.PROBED, max(FEW, PROBED_ACTIVATIONS // seen.activations))
    rows = meaning.probe(samples.inputs, samples.targets, size)
    try:
        outputs = trees.mapped(torch.Tensor.detach, trial.outputs(rows))
    except BadInput:
        return None, True
    count = len(rows)
    dtype = next(
        (one.dtype for one in trees.tensors(outputs) if one.is_floating_point()), trial.subject.dtype
    )
    dtype = torch.float32 if torch.float32 in (dtype, trial.subject.dtype) else dtype
    targets = samples.picked(rows)[1]
    function = on_host_first(callable_of(given, outputs), trial.subject.device)
    has_rows = trees.count(outputs) == count and len(trees.tensors(outputs)) == len(trees.leaves(outputs))
    tolerance = ALONE.get(coarsest((dtype, *seen.dtypes)), 5e-2)
    runs = [
        (lambda part, at=at: trees.mapped(torch.Tensor.detach, trial.outputs(rows[part], at)))
        for at in (trial.theta, trial.aside)
    ]
    if has_rows:
        # Where a half still has the length of the whole, axis 0 is not that of samples.
        for run, of_all, parts in zip(runs, (outputs, None), meaning.companies(count), strict=True):
            of_all = run(torch.arange(count)) if of_all is None else of_all
            if not meaning.takes_samples_alone(run, of_all, parts, tolerance):
                known = is_built_in(given) or isinstance(given, Loss)
                return (given if known else None), True
        if isinstance(given, Loss):
            return given, False
        if exact is not None:
            return exact, False
        if reads_the_call(trial, given, rows):
            return _meaning_of_calls(trial, given, function, rows, dtype)
        drawn = [
            meaning.spread(outputs, low, high, seed)
            for seed, (low, high) in enumerate([(0, 1), (-1, 0), (-3, 3)])
        ]

        def cut(of: Any) -> meaning.Trial:
            return lambda part: (trees.rows(of, part.to(targets.device)), targets[part.to(targets.device)])

        trials = [cut(one) for one in (outputs, *drawn)]
    elif reads_the_call(trial, given, rows):
        return _meaning_of_calls(trial, given, function, rows, dtype)
    else:
        if isinstance(given, Loss) and function is given.total:
            # Nothing but the sum itself can be looked at.
            trials = [lambda part, at=at: trial.pair(rows[part], at) for at in (trial.theta, trial.aside)]
            with trial.ready():
                return given, not meaning.adds(given.total, trials, count, dtype)
        trials = [lambda part, at=at: trial.pair(rows[part], at) for at in (trial.theta, trial.aside)]
    with trial.ready():
        loss = meaning.settled(function, trials, count, dtype)
    return loss, loss is None


class _Part(NamedTuple):
    """Samples at a point θ, in the place of the outputs of a call on them."""

    rows: Tensor
    theta: Tensor


def _meaning_of_calls(
    trial: Trial, given: Any, function: Callable[..., Any], rows: Tensor, dtype: torch.dtype
) -> tuple[Loss | None, bool]:
    """:func:`_meaning` of a loss that reads what a call leaves in the module, by a call of the module on every part."""

    def after_a_call(outputs: Any, targets: Tensor) -> Any:
        if not isinstance(outputs, _Part):
            return function(outputs, targets)
        with trial.passed(*outputs) as pair:
            return function(*pair)

    after_a_call.__name__ = name_of(given)
    trials = [
        lambda part, at=at: (_Part(rows[part], at), trial.samples.picked(rows[part])[1])
        for at in (trial.theta, trial.aside)
    ]
    loss = meaning.settled(after_a_call, trials, len(rows), dtype)
    if loss is not None:
        correct, of_classes = correct_of(given)
        loss = replace(loss, correct=correct, of_classes=of_classes, is_of_outputs=False)
    return loss, loss is None


def _agreed(loss: Loss | None, is_whole: bool) -> tuple[Loss | None, bool]:
    """What all processes make of it: a whole where they do not agree."""
    if distributed.num_processes() == 1:
        return loss, is_whole
    kinds = ["samples", "weight", "one"]
    votes = torch.zeros(5, dtype=torch.float64)
    votes[3 if loss is None else kinds.index(loss.over)] += 1
    votes[4] += is_whole
    votes = distributed.total(votes)
    if int((votes[:4] > 0).sum()) > 1:
        return None, True
    return loss, bool(votes[4] > 0)


def _divisor(trial: Trial, loss: Loss, samples: Samples, activations: int) -> float:
    if loss.over == "samples":
        return float(samples.count)
    if loss.over == "one" or loss.weight is None:
        return 1.0
    total = torch.zeros((), dtype=torch.float64, device=trial.subject.device)
    for inputs, targets in samples.chunks(chunking.for_values(activations, trial.subject.device.type)):
        with trial.ready():
            outputs = (
                called(trial.subject, trees.mapped(torch.clone, inputs)) if weighs_outputs(loss) else None
            )
            total += loss.weight(outputs, targets)
    is_everything = samples.count_here == samples.count
    weight = float(total if is_everything else distributed.total(total))
    if weight == 0:
        raise BadInput(f"every target has the weight 0 in {loss.name}", "some that count")
    return weight


def weighs_outputs(loss: Loss) -> bool:
    """Whether the weight of a batch is only had by a call of the loss, which wants outputs."""
    return not isinstance(loss.total, nn.Module)
