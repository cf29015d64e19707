"""One drawing per kind: what the kind's question wants to see first.

A drawing is a function of a page and a result that returns the title. It is found by its name alone, that of
the kind, in the file of that name, so a new one is listed nowhere.
"""

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from landscape.plots.page import Page
from landscape.result import file_name


def drawing(kind: str) -> Callable[[Page, Any], str] | None:
    """The drawing of a kind, imported when asked for; None where no file has the kind's name."""
    name = file_name(kind)
    if not name.isidentifier() or find_spec(f"{__name__}.{name}") is None:
        return None
    return getattr(importlib.import_module(f"{__name__}.{name}"), name)
