"""Names of tensors: what wrappers add to them, and under which prefix those of a checkpoint are those of a module."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

# What compiling, sharding and checkpointing a module put into the names of its tensors.
TRANSPARENT = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
# Components of a prefix that are tried where nothing fits.
DEEPEST = 4


class Prefixes(NamedTuple):
    """``given`` goes from the names of a checkpoint, ``wanted`` comes before them to make those of the module."""

    given: str = ""
    wanted: str = ""

    def renamed(self, name: str) -> str:
        """The module's name for one of the checkpoint that begins with ``given``."""
        return self.wanted + name.removeprefix(self.given)


def plain(name: str) -> str:
    """A name without what :data:`TRANSPARENT` wrappers add, anywhere in it."""
    return ".".join(part for part in name.split(".") if part not in TRANSPARENT)


def fitting(
    wanted: Mapping[str, Tensor], groups: Sequence[Sequence[str]], given: Mapping[str, Tensor]
) -> list[Prefixes]:
    """The prefixes with which everything wanted is given, in the same shapes where that is so of any.

    ``groups`` are the names of each wanted tensor, of which one must be given; ``wanted`` has their shapes. A prefix of
    the module's own is one that all its names share: the checkpoint is then that of one submodule.
    """
    if not groups:
        return [Prefixes()]
    anchor = max((group[0] for group in groups if len(group) == 1), key=_depth, default=groups[0][0])
    found: dict[str, Prefixes] = {}
    for own in _shared(name for group in groups for name in group):
        tail = anchor.removeprefix(own)
        for name in given:
            if name in found or not (name == tail or name.endswith(f".{tail}")):
                continue
            pair = Prefixes(name.removesuffix(tail), own)
            if all(any(_source(one, pair) in given for one in group) for group in groups):
                found[name] = pair
    shaped = [pair for pair in found.values() if shapes_fit(pair, wanted, given)]
    exact = [pair for pair in shaped or found.values() if pair == Prefixes()]
    return exact or shaped or list(found.values())


def shapes_fit(pair: Prefixes, wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> bool:
    """Whether what is both wanted and given has the same shape."""
    return all(
        given[source].shape == one.shape
        for name, one in wanted.items()
        if (source := _source(name, pair)) in given
    )


def nearest(wanted: Iterable[str], given: Iterable[str]) -> Prefixes:
    """The prefixes with which most of what is wanted is given, for a refusal that says what is not."""
    names, offered = set(wanted), list(given)
    heads, own = _beginnings(offered), _beginnings(names)
    pairs = [Prefixes(head, one) for one in _shared(names) for head in heads]
    pairs += [Prefixes("", one) for one in own]

    def hits(pair: Prefixes) -> int:
        return sum(pair.renamed(name) in names for name in offered if name.startswith(pair.given))

    return max(pairs, key=hits)


def _source(name: str, pair: Prefixes) -> str:
    return pair.given + name.removeprefix(pair.wanted)


def _depth(name: str) -> int:
    return name.count(".")


def _heads(parts: Sequence[str]) -> list[str]:
    return [".".join(parts[:count]) + "." for count in range(1, len(parts))]


def _beginnings(names: Iterable[str]) -> list[str]:
    """Every prefix of some components, the empty one first."""
    return list(
        dict.fromkeys(["", *(head for name in names for head in _heads(name.split(".")[: DEEPEST + 1]))])
    )


def _shared(names: Iterable[str]) -> list[str]:
    """The prefixes that all names share, the empty one first."""
    every = [name.split(".") for name in names]
    if not every:
        return [""]
    shared = [head for head in _heads(every[0]) if all(".".join(one).startswith(head) for one in every)]
    return ["", *shared]
