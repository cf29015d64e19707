"""One option of an analysis: its kind, default, help and range; checked, and spelled as configurations keep it."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from landscape.errors import BadInput

# Of a number that may not be infinite: beyond it float32 has none to compute with.
LARGEST = 1e30
# Of a whole number: beyond it none has all its digits as a float.
LARGEST_WHOLE = 2**53


@dataclass(frozen=True)
class Option:
    """The help of an option and the values it may have.

    ``least``: at least this; ``above``: more than this; ``below``: less than this; ``is_finite``: no infinity;
    ``most``: where whole numbers end.
    ``called`` is its name on command lines and in configurations where that is not the parameter's; ``flag`` its
    name on command lines alone. ``unit``: how much of the parameter one of the command line is (2³⁰ for GiB).
    ``is_how``: it says how to compute, not what. ``is_repeated``: one flag for each part of a tuple, since parts hold
    commas.
    """

    help: str = ""
    _: KW_ONLY
    least: float | None = None
    above: float | None = None
    below: float | None = None
    is_finite: bool = True
    most: int = LARGEST_WHOLE
    called: str = ""
    flag: str = ""
    metavar: str = ""
    unit: float = 1
    is_how: bool = False
    is_repeated: bool = False


@dataclass(frozen=True)
class Parameter:
    """A parameter that is an option: ``kind`` as annotated, and what :class:`Option` says of it.

    Kinds: bool, int, float, str, a Literal, a tuple of one of these (``tuple[int, ...]``, or of a fixed length), a
    Mapping; each may be ``| None``.
    """

    name: str
    kind: Any
    default: Any
    about: Option = Option()

    @property
    def called(self) -> str:
        """Its name in configurations."""
        return self.about.called or self.name

    @property
    def flag(self) -> str:
        """Its name on command lines."""
        return self.about.flag or "--" + self.called.replace("_", "-")

    @cached_property
    def _parts(self) -> tuple[Any, ...]:
        is_union = get_origin(self.kind) in (Union, UnionType)
        return get_args(self.kind) if is_union else (self.kind,)

    @cached_property
    def may_be_none(self) -> bool:
        return NoneType in self._parts or self.default is None

    @cached_property
    def base(self) -> Any:
        """The kind but for None."""
        return next(part for part in self._parts if part is not NoneType)

    @cached_property
    def is_pairs(self) -> bool:
        """Whether it is ``name=value`` any number of times."""
        origin = get_origin(self.base) or self.base
        return isinstance(origin, type) and issubclass(origin, Mapping)

    @cached_property
    def element(self) -> Any:
        """The kind of each part of a tuple; None where it is no tuple."""
        return get_args(self.base)[0] if get_origin(self.base) is tuple else None

    @cached_property
    def length(self) -> int | None:
        """The number of parts of a tuple of fixed length."""
        parts = get_args(self.base) if self.element else ()
        return len(parts) if parts and parts[-1] is not Ellipsis else None

    @cached_property
    def choices(self) -> tuple[str, ...]:
        """The values of a Literal, of the option or of its parts."""
        kind = self.element or self.base
        return get_args(kind) if get_origin(kind) is Literal else ()

    @cached_property
    def scalar(self) -> Any:
        """``bool``, ``int``, ``float`` or ``str``: of the option or of its parts; Mapping where it is pairs."""
        if self.is_pairs:
            return Mapping
        return str if self.choices else (self.element or self.base)

    @property
    def _is_number(self) -> bool:
        return self.scalar in (int, float)

    @property
    def range(self) -> str:
        """What numbers may be, in words: ``a number of at least 3``, ``numbers of at least 3``."""
        least, above, below = (self.about.least, self.about.above, self.about.below)
        number = "whole number" if self.scalar is int else "number"
        one = f"{number}s" if self.element else f"a {number}"
        if least is not None and below is not None:
            return f"{one} in [{least:g}, {below:g})"
        if above == 0:
            return f"positive {number}s" if self.element else f"a positive {number}"
        if above is not None:
            return f"{one} above {above:g}"
        if least is not None:
            return f"{one} of at least {least:g}"
        return one

    def checked(self, value: Any) -> Any:
        """``value``, a list as a tuple. Raises BadInput, naming the parameter in backquotes, for what it may not be."""
        if value is None:
            if not self.may_be_none:
                raise BadInput(f"`{self.name}` is None", self._wanted)
            return None
        if self.element is not None:
            return self._checked_parts(value)
        if not self._is_right(value):
            raise BadInput(f"`{self.name}` = {_said(value)}", self._wanted, self._hint(value))
        return self._plain(value)

    def stored(self, value: Any) -> Any:
        """The value as a configuration keeps it: in the words of a command line."""
        if self.is_pairs:
            return tuple(f"{name}={_text(part)}" for name, part in (value or {}).items())
        if self.element is not None and self.length is None and not self.about.is_repeated:
            none = "" if self.default is None else "none"
            return none if not value else ",".join(_text(part) for part in value)
        if self.element is not None:
            return value if value is None else list(value)
        if self.about.unit != 1 and value is not None:
            return value / self.about.unit
        return value

    def _checked_parts(self, value: Any) -> tuple[Any, ...]:
        is_list = isinstance(value, Sequence) or (hasattr(value, "__iter__") and not isinstance(value, str))
        parts = tuple(value) if is_list and not isinstance(value, str) else None
        wrong = [] if parts is None else [part for part in parts if not self._is_right(part)]
        has_length = parts is not None and (self.length is None or len(parts) == self.length)
        if parts is None or wrong or not has_length or (self._is_number and not parts):
            shown = _said(value) if parts is None else ", ".join(map(_said, parts)) or "(none)"
            raise BadInput(f"`{self.name}` = {shown}", self._wanted, self._hint(wrong[0]) if wrong else "")
        return tuple(self._plain(part) for part in parts)

    def _plain(self, value: Any) -> Any:
        """A number as Python's own of its kind, so that a configuration is the same however it was given."""
        return self.scalar(value) if self._is_number else value

    def _is_right(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        if self.scalar is Mapping:
            return isinstance(value, Mapping)
        if self.scalar is bool:
            return isinstance(value, bool)
        if self.scalar is str:
            return isinstance(value, str)
        wanted = Integral if self.scalar is int else Real
        if isinstance(value, bool) or not isinstance(value, wanted):
            return False
        about = self.about
        if wanted is Integral and _size(value) > about.most:
            return False
        number = float(value)
        return (
            (about.least is None or number >= about.least)
            and (about.above is None or number > about.above)
            and (about.below is None or number < about.below)
            and (not about.is_finite or wanted is Integral or abs(number) <= LARGEST)
        )

    @property
    def _wanted(self) -> str:
        if self.choices:
            return f"{'some' if self.element else 'one'} of {', '.join(self.choices)}"
        simple = {
            bool: "True or False",
            str: "texts" if self.element else "a text",
            Mapping: "values by name",
        }
        one = simple.get(self.scalar, self.range)
        return f"{self.length} {one}" if self.length else one

    def _hint(self, value: Any) -> str:
        if isinstance(value, float) and value > LARGEST:
            return f"numbers here end at {LARGEST:g}"
        if isinstance(value, Integral) and _size(value) > self.about.most:
            return f"whole numbers here end at {self.about.most}"
        near = difflib.get_close_matches(str(value), self.choices, n=1)
        return f"did you mean {near[0]!r}?" if near else ""


# A seed is stored as it is, in 64 bits; NumPy takes none below zero.
SEED = Parameter("seed", int, 0, Option(least=0, most=2**63 - 1))


def _size(number: Any) -> int:
    """|n| of a whole number of any kind."""
    return abs(int(number))


def _said(value: Any) -> str:
    """A value in a sentence."""
    return f"{value:g}" if isinstance(value, float) else repr(value) if isinstance(value, str) else str(value)


def _text(value: Any) -> str:
    """A part of a list as it would be typed; floats with every digit they have.

    >>> [_text(part) for part in (1.0, 5e-4, 3, "gd", (100, 100))]
    ['1', '0.0005', '3', 'gd', '100,100']
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(_text, value))
    if isinstance(value, Integral):
        return str(int(value))
    return repr(float(value)).removesuffix(".0") if isinstance(value, Real) else str(value)
