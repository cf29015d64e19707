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
    names = [name for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name)]
    return ", ".join(f"{name} is {theirs.get(name)!r} there, {mine.get(name)!r} here" for name in names)
