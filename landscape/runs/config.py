"""What makes a measurement this one: its configuration's hash, and how two of them differ."""

import hashlib
import json
from typing import Any


def config_hash(config: dict[str, Any]) -> str:
    """The sha256 of a configuration, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()


def config_difference(mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    """What differs, in words, also within the options: ``num_points is 51 there, 25 here``."""
    mine, theirs = (json.loads(json.dumps(one, default=str)) for one in (mine, theirs))
    if isinstance(mine.get("options"), dict) and isinstance(theirs.get("options"), dict):
        mine, theirs = ({**one, **one["options"], "options": None} for one in (mine, theirs))
    own, before = (one.pop("sources", {}) for one in (mine, theirs))
    changed = [spec.rpartition(":")[0] for spec in own if before.get(spec, own[spec]) != own[spec]]
    names = [name for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name)]
    differ = [f"{name} is {theirs.get(name)!r} there, {mine.get(name)!r} here" for name in names]
    return ", ".join([*differ, *(f"{path} has another content now" for path in dict.fromkeys(changed))])


def is_same(mine: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether two configurations mean the same, however their numbers are spelled.

    One that was stored before the user's own source files were recorded says nothing of these.

    >>> is_same({"steps": "1,5e-4", "given": ["rate=0.10"]}, {"steps": "1.0,0.0005", "given": ["rate=0.1"]})
    True
    """
    mine, theirs = (json.loads(json.dumps(one, default=str)) for one in (mine, theirs))
    if "sources" not in theirs:
        mine.pop("sources", None)
    return _meaning(mine) == _meaning(theirs)


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
