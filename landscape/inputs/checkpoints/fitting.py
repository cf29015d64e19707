"""A checkpoint fitted to a module: names brought together, what is left over said, what does not fit refused."""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.inputs.checkpoints import adapters, nested
from landscape.inputs.checkpoints.names import Prefixes, fitting, nearest, plain, shapes_fit
from landscape.inputs.checkpoints.weights import Weights
from landscape.inputs.models.modified import Exponential
from landscape.inputs.models.slope_noise import SlopeNoise

Say = Callable[[str], None]
# Older checkpoints lack this counter, and eval mode never reads it.
COUNTER = "num_batches_tracked"
# What torch.optim.swa_utils.AveragedModel keeps beside the average.
AVERAGED = "n_averaged"


def loaded(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    source: str,
    *,
    ignored: Sequence[str] = (),
    say: Say = lambda _: None,
) -> nn.Module:
    """``module`` with the tensors loaded, whatever prefix they all carry (``module.``, ``model.`` …).

    They may be those of one submodule that is all there is, or stand beside others of another module. Names that match
    one of the patterns ``ignored`` may be unexpected. Of a module that ``modify`` changes they may be those of the
    module before, and what was added then stays as drawn. What was taken, and what was left, is told to ``say``. Raises
    BadInput that lists every missing, unexpected and misshapen name, and where several parts of a checkpoint fit.
    """
    weights = tensors if isinstance(tensors, Weights) else Weights(tensors)
    wanted = {name: one for name, one in module.state_dict().items() if isinstance(one, Tensor)}
    base = module.base if isinstance(module, Exponential | SlopeNoise) else None
    if base is not None and not _fits(wanted, weights) and _fits(base.state_dict(), weights):
        loaded(base, weights, source, ignored=ignored, say=say)
        added = ", ".join(name for name in wanted if not name.startswith("base."))
        say(f"{source} has the module that `modify` changes; what is added stays as drawn: {added}")
        return module
    for note in weights.notes:
        say(note)
    if weights.adapter is not None:
        given = adapters.applied(module, wanted, weights, source, say)
    else:
        given = _fitted(module, wanted, _taken(wanted, weights, source, say), source, ignored, say)
    for first, *others in tied_names(wanted):
        for other in others:
            if not torch.equal(given[first].nan_to_num(), given[other].nan_to_num()):
                raise BadInput(
                    f"{source} has different values for {first} and {other}, which the module ties",
                    "the same values, or the name of one of them alone",
                )
    # Every name has been looked at; some layers keep what is no tensor.
    module.load_state_dict(given, strict=False)
    return module


def tied_names(tensors: Mapping[str, Tensor]) -> list[list[str]]:
    """The names under which one tensor is found more than once; some exporters write only the first."""
    names: dict[tuple[int, torch.Size], list[str]] = {}
    for name, tensor in tensors.items():
        if tensor.numel():
            names.setdefault((tensor.data_ptr(), tensor.shape), []).append(name)
    return [group for group in names.values() if len(group) > 1]


def _taken(wanted: Mapping[str, Tensor], weights: Weights, source: str, say: Say) -> Mapping[str, Tensor]:
    """The weights, or the one choice of several that fits. Raises BadInput that lists them where none is alone."""
    if weights or not weights.choices:
        return weights
    fits = [key for key, state in weights.choices.items() if _fits(wanted, state)]
    if len(fits) != 1:
        several = "several of its dictionaries fit the module" if fits else "none of them fits the module"
        offered = {key: weights.choices[key] for key in fits} or weights.choices
        raise BadInput(
            f"{source} holds several dictionaries of weights, and {several}",
            f"one of {nested.listed(offered)}",
            f"give `key` {next(iter(offered))}",
        )
    beside = ", ".join(key for key in weights.choices if key != fits[0])
    average = ", an average of weights over training," if nested.is_average(fits[0]) else ""
    say(f"{source}: {fits[0]}{average} was taken, which alone fits the module; beside it are {beside}")
    return weights.choices[fits[0]]


def _fits(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> bool:
    own, given = ({plain(str(name)): one for name, one in each.items()} for each in (wanted, state))
    return any(shapes_fit(pair, own, given) for pair in _prefixes(wanted, state))


def _prefixes(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[Prefixes]:
    own = {plain(name): one for name, one in wanted.items()}
    tied = [[plain(name) for name in group] for group in tied_names(wanted)]
    several = {name for group in tied for name in group}
    alone = [[name] for name in own if name not in several and not name.endswith(COUNTER)]
    return fitting(own, [*alone, *tied], {plain(str(name)): one for name, one in given.items()})


def _fitted(
    module: nn.Module,
    wanted: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    source: str,
    ignored: Sequence[str],
    say: Say,
) -> dict[str, Tensor]:
    """A tensor for every name of the module's. Raises BadInput, naming all faults at once."""
    plains = {plain(str(name)): one for name, one in state.items()}
    own = {plain(name): name for name in wanted}
    found = _prefixes(wanted, state)
    if len(found) > 1:
        offered = {pair.given.removesuffix("."): nested.below(plains, pair.given[:-1]) for pair in found}
        raise BadInput(
            f"{source} has several parts that fit {type(module).__name__}",
            f"one of {nested.listed(offered)}",
            f"give `key` {next(iter(offered))}",
        )
    pair = found[0] if found else nearest(own, plains)
    given: dict[str, Tensor] = {}
    strangers: dict[str, str] = {}
    for name, tensor in plains.items():
        renamed = pair.renamed(name) if name.startswith(pair.given) else None
        if renamed in own:
            given[own[renamed]] = tensor
        else:
            strangers[name] = renamed or name
    beside = [name for name in strangers if found and not name.startswith(pair.given)]
    left = _unsaved(module, wanted) | {name for name in strangers if _matches(name, strangers[name], ignored)}
    unexpected = [one for name, one in strangers.items() if name not in beside and not {name, one} & left]
    _complete(given, wanted)
    _require_all(module, wanted, given, unexpected, source, ignored)
    for text in _remarks(pair, plains, beside, [one for one in strangers if one in left], source, ignored):
        say(text)
    return given


def _complete(given: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Counters that are not there stay as they are, and a tied tensor is found under any of its names."""
    for name in wanted:
        if name.endswith(COUNTER) and name not in given:
            given[name] = wanted[name]
    for names in tied_names(wanted):
        present = [name for name in names if name in given]
        given |= {name: given[present[0]] for name in names if present and name not in given}


def _require_all(
    module: nn.Module,
    wanted: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    unexpected: Sequence[str],
    source: str,
    ignored: Sequence[str],
) -> None:
    missing = [name for name in wanted if name not in given]
    misshapen = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    faults = [
        f"{title}: {', '.join(names)}"
        for title, names in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
        if names
    ]
    if not faults:
        return
    remedy = "check `model` and `model_arg`"
    if not missing and not misshapen:
        remedy += f", or give `ignore_unexpected` {unexpected[0]} (and a pattern for each of the others)"
    raise BadInput(
        f"{source} does not fit {type(module).__name__}; {'; '.join(faults)}",
        "the names and shapes of the module",
        remedy,
    )


def _remarks(
    pair: Prefixes,
    plains: Mapping[str, Tensor],
    beside: Sequence[str],
    left: Sequence[str],
    source: str,
    ignored: Sequence[str],
) -> list[str]:
    """What a reader should know of how the names were brought together."""
    found = []
    counted = next((name for name in beside if name.split(".")[-1] == AVERAGED), None)
    head = pair.given.removesuffix(".")
    if counted is not None:
        count = int(plains[counted])
        found.append(f"{source}: an average over training was taken (AveragedModel, n_averaged {count})")
    elif nested.is_average(head):
        found.append(f"{source}: {head} was taken, an average of weights over training")
    others = [name for name in beside if name != counted and name not in left]
    if others:
        found.append(f"{source}: the weights under {head or 'no name'} were taken; left out: {_some(others)}")
    if pair.wanted:
        found.append(
            f"{source}: its names are those of {pair.wanted.removesuffix('.')}, all that the module has"
        )
    matched = [name for name in left if _matches(name, pair.renamed(name), ignored)]
    if matched:
        found.append(f"{source}: left out as asked: {_some(matched)}")
    idle = [one for one in ignored if not any(_matches(name, pair.renamed(name), [one]) for name in left)]
    if idle:
        found.append(f"{source}: nothing unexpected is called {', '.join(idle)}")
    return found


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more


def _matches(name: str, renamed: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(one, pattern) for one in (name, renamed) for pattern in patterns)


def _unsaved(module: nn.Module, wanted: Mapping[str, Tensor]) -> set[str]:
    """Buffers that the module does not save, and so are its own to fill."""
    return {plain(name) for name, _ in module.named_buffers()} - {plain(name) for name in wanted}
