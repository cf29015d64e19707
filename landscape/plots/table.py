"""Scalars as a table."""

from typing import Any

import numpy as np

from landscape.plots.page import Page
from landscape.plots.words import short, wrapped
from landscape.result import Result, field_metadata


def table(page: Page, result: Result) -> None:
    """Every scalar of a result with what it means."""
    about = field_metadata(type(result))
    rows = [
        (wrapped(str(about[name]["long_name"]), 2.4), _cell(value), about[name]["units"])
        for name, value in result.scalars().items()
    ]
    (axes,) = page.panels(0.2 + sum(0.06 + 0.14 * (text.count("\n") + 1) for text, _, _ in rows))
    axes.axis("off")
    rule = {"color": "black", "linewidth": 0.8, "linestyle": "-"}
    total = sum(text.count("\n") + 1.4 for text, _, _ in rows) or 1
    axes.set(xlim=(0, 1), ylim=(total + 0.2, -0.2))
    axes.plot([0, 1], [-0.1, -0.1], **rule)
    axes.plot([0, 1], [total + 0.1, total + 0.1], **rule)
    line_at = 0.2
    for text, value, units in rows:
        axes.text(0.01, line_at, text, va="top")
        axes.text(0.99, line_at, f"{value} {units}".strip(), va="top", ha="right")
        line_at += text.count("\n") + 1.4
    if not rows:
        page.note("this result has nothing to draw")


def _cell(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return short(float(value), 6) if isinstance(value, int | float | np.number) else str(value)
