"""What makes a measurement this one: its configuration's hash, and how two of them differ."""

import hashlib
import json
import re
from typing import Any

# What a hash stands for, as nobody wants to read one.
HASHED = {"data": "the data", "data_sha256": "the data", "points": "the points", "test": "the test data"}


def config_hash(config: dict[str, Any]) -> str:
    """The sha256 of a configuration, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()


def config_difference(mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    """What differs, in words, also within the options and the recipe: ``num_points is 51 there, 25 here``."""
    mine, theirs = (json.loads(json.dumps(one, default=str)) for one in (mine, theirs))
    own, before = (one.pop("sources", {}) for one in (mine, theirs))
    found: list[str] = []
    for part in ("options", "recipe"):
        if isinstance(mine.get(part), dict) and isinstance(theirs.get(part), dict):
            found += _differing(mine.pop(part), theirs.pop(part))
    found += _differing(mine, theirs)
    found += [
        f"{_file(spec)} has another content now" for spec in own if before.get(spec, own[spec]) != own[spec]
    ]
    return ", ".join(dict.fromkeys(found))


def _differing(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    names = [name for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name)]
    return [
        f"{HASHED[name]} are not the same numbers"
        if name in HASHED and _is_hash(mine.get(name))
        else f"{name} is {theirs.get(name)!r} there, {mine.get(name)!r} here"
        for name in names
    ]


def _is_hash(value: Any) -> bool:
    found = value if isinstance(value, list) else [value]
    return all(isinstance(one, str) and re.fullmatch("[0-9a-f]{64}", one) for one in found)


def is_same(mine: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether two configurations mean the same, however their numbers are spelled.

    One that was stored before a file of the user's own was recorded says nothing of it.

    >>> is_same({"steps": "1,5e-4", "given": ["rate=0.10"]}, {"steps": "1.0,0.0005", "given": ["rate=0.1"]})
    True
    """
    mine, theirs = (json.loads(json.dumps(one, default=str)) for one in (mine, theirs))
    own, before = (one.pop("sources", {}) for one in (mine, theirs))
    is_changed = any(own[spec] != before[spec] for spec in own.keys() & before.keys())
    return not is_changed and _meaning(mine) == _meaning(theirs)


def _file(spec: str) -> str:
    """``net.py:make`` and ``npz:data.npz`` without what is not the file."""
    return spec.removeprefix("npz:") if spec.startswith("npz:") else spec.rpartition(":")[0]


def _meaning(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _meaning(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_meaning(part) for part in value]
    if isinstance(value, str):
        return [_number(part) for part in value.replace("=", ",=,").split(",")]
    return value


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.strip()
