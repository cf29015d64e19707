"""Words and numbers for the eye: short, wrapped to an inch, named by what they came from."""

import json
import math
import re
from collections.abc import Callable
from pathlib import PurePath

import numpy as np
from matplotlib.font_manager import FontProperties, findfont, get_font

from landscape.result import Result, Variable, with_error

FONT = "DejaVu Sans"  # comes with matplotlib and has every sign used here
EQUALS = "\u00a0=\u00a0"  # with no-break spaces
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def axis_label(variable: Variable) -> str:
    """The long name, with units where there are any."""
    return f"{variable.long_name} ({variable.units})" if variable.units else variable.long_name


def short(value: float, digits: int = 3, *, powers: bool = False) -> str:
    """A number for the eye; with ``powers`` always as a power of ten.

    >>> short(0.12345), short(2e-7), short(1e8), short(0.1, powers=True)
    ('0.123', '2×10⁻⁷', '10⁸', '10⁻¹')
    """
    text = f"{value:.{digits - 1}e}" if powers else f"{value:.{digits}g}"
    mantissa, has_exponent, exponent = text.partition("e")
    if has_exponent:
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        power = "10" + str(int(exponent)).translate(_SUPERSCRIPTS)
        text = mantissa.replace("1", power) if mantissa in ("1", "-1") else f"{mantissa}×{power}"
    return text.replace("-", "−")


def uncertain(value: float, error: float) -> str:
    """A number with its error, for the eye, on one line.

    >>> uncertain(-0.0721, 0.0012)
    '−0.0721\xa0±\xa00.0012'
    """
    return with_error(value, error).replace("-", "−").replace(" ", "\u00a0")


def numbers(values: np.ndarray, log: bool, least: int = 3) -> Callable[[float], str]:
    """How to write these ascending numbers: with digits enough to tell neighbours apart, and in one style."""
    digits = least
    if len(values) > 1:
        larger = np.maximum(np.abs(values[1:]), np.abs(values[:-1]))
        digits = min(15, max(least, math.ceil(math.log10((larger / np.diff(values)).max())) + 1))
    wide = log and len(values) > 1 and bool(values[-1] > 1e4 * values[0])
    return lambda value: short(value, digits, powers=wide)


def wrapped(text: str, inches: float, size: float = 8.0) -> str:
    """Lines no longer than ``inches``, as they stand: dollar signs are no formulas, unknown signs are boxes."""
    font = get_font(findfont(FontProperties(family=FONT)))
    text = "".join(sign if font.get_char_index(ord(sign)) else "□" for sign in text)
    lines = [""]
    for word in re.split(r"[ \n\t]+", text):  # not at no-break spaces
        start = f"{lines[-1]} " if lines[-1] else ""
        if text_inches(start + word, size) <= inches:
            lines[-1] = start + word
            continue
        while text_inches(word, size) > inches:  # a long name is broken where it must be
            fits = max(1, int(len(word) * inches / text_inches(word, size)) - 1)
            lines.append(word[:fits])
            word = word[fits:]
        lines.append(word)
    return "\n".join(lines).strip("\n").replace("$", r"\$")


def text_inches(text: str, size: float) -> float:
    """The width of one line of text."""
    font = get_font(findfont(FontProperties(family=FONT)))
    font.set_size(20 * size, 72)  # large, since widths are rounded to pixels
    font.set_text(text, 0.0)
    return font.get_width_height()[0] / 64 / 20 / 72


def input_names(result: Result) -> list[str]:
    """What the result was computed from, as ``file@point`` without folders, in the order A, B, C."""
    inputs = result.provenance.get("inputs", [])
    try:
        inputs = json.loads(inputs) if isinstance(inputs, str) else inputs
        paths = [PurePath(str(one["path"])) for one in inputs]
        names = [
            f"{path.parent.name}/{path.name}"
            if {one for one in paths if one.name == path.name} != {path}
            else path.name
            for path in paths
        ]
        found = [(name, str(one.get("point") or "")) for name, one in zip(names, inputs, strict=True)]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []  # written by someone else: the picture goes without names
    return [_shortened(f"{name}@{point}" if point else name) for name, point in found]


def _shortened(name: str, length: int = 36) -> str:
    return name if len(name) <= length else f"{name[: length // 2 - 1]}…{name[-length // 2 :]}"


def brief(names: list[str], length: int = 14) -> list[str]:
    """Names of files and points as short as they are told apart: without folders, endings and what all share.

    >>> brief(["runs/a.h5@final", "runs/b.h5@final"]), brief(["a.h5@best", "a.h5@final"])
    (['a', 'b'], ['a@best', 'a@final'])
    """
    found = [PurePath(one).name.removesuffix(".h5").replace(".h5@", "@") for one in names]
    ends = {one.rpartition("@")[2] for one in found}
    if len(ends) == 1 and all("@" in one for one in found):
        found = [one.rpartition("@")[0] for one in found]
    found = [_shortened(one, length) for one in found]
    return found if len(set(found)) == len(names) else names


def titled(start: str, result: Result) -> str:
    """What is seen, of what; without a name the title ends before its last word: of, at, from, through."""
    names = input_names(result)
    return f"{start} {names[0]}" if names else re.sub(r",? (at|from|of|through)$", "", start)


def titled_points(start: str, result: Result, letters: str, joint: str) -> str:
    names = input_names(result)
    if len(names) < len(letters):
        return f"{start} {joint.join(letters)}"
    return f"{start} {joint.join(map(EQUALS.join, zip(letters, names, strict=False)))}"
