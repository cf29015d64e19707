"""A point from elsewhere: its loss and accuracy in numbers."""

from typing import Any

from landscape.plots.page import Page
from landscape.plots.table import table
from landscape.plots.words import titled


def import_(page: Page, result: Any) -> str:
    """The numbers, as a table."""
    table(page, result)
    return titled("Imported", result)
