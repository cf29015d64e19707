"""Tables of numbers with their errors, and columns that say the same in every row."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from landscape.cli.matrices import MOST_NAMED, MOST_ROWS, heading_of, is_short, texts_of
from landscape.cli.screen import Look, Screen, is_constant, text_of
from landscape.result import Result, array


@dataclass(kw_only=True, eq=False)
class Measured(Result):
    """A table with errors, one of its own name and one by convention."""

    kind: ClassVar[str] = "measured"
    row: np.ndarray = array("row", long_name="row")
    column: np.ndarray = array("column", long_name="column")
    values: np.ndarray = array(
        "row", "column", long_name="value", printed=True, errors="doubt", apart="distinct"
    )
    doubt: np.ndarray = array("row", "column", long_name="doubt")
    distinct: np.ndarray = array("row", "column", long_name="told apart")
    height: np.ndarray = array("row", "column", long_name="height", printed=True)
    height_error: np.ndarray = array("row", "column", long_name="its error")
    count: np.ndarray = array("row", long_name="count")
    size: np.ndarray = array("row", long_name="size")


def made(columns=2):
    values = np.tile([[1.2345, 10.0], [0.5, np.nan], [0.0, 3.0]], (1, columns // 2))
    doubt = np.tile([[0.02, 1e-9], [0.3, 0.1], [0.1, np.inf]], (1, columns // 2))
    return Measured(
        row=np.array(["a", "b", "c"]),
        column=np.arange(columns) + 1,
        values=values,
        doubt=doubt,
        distinct=values > 1,
        height=values,
        height_error=doubt,
        count=np.array([7, 7, 7]),
        size=np.array([1, 2, 3]),
    )


def variable(result, name):
    return next(one for one in result.arrays() if one.name == name)


def test_an_error_is_told_where_the_digits_show_it_and_a_mark_what_is_not_apart():
    result = made()
    assert texts_of(result, variable(result, "values")).tolist() == [
        ["1.23 ± 0.02", "10"],
        ["≈0.5 ± 0.3", "≈nan"],
        ["≈0.00 ± 0.10", "3"],
    ]
    assert texts_of(result, variable(result, "height"))[1, 0] == "0.5 ± 0.3"
    assert heading_of(variable(result, "values"), "values") == "values (≈: not told apart from another)"
    assert heading_of(variable(result, "height"), "height") == "height"


def test_a_broad_table_is_several_and_no_number_is_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    Screen(Look()).values(made(20))
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert shown.count("1.23 ± 0.02") == 20
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert len([line for line in shown.splitlines() if line.split()[:1] == ["a"]]) > 3


def test_what_every_row_says_is_said_once(capsys):
    Screen(Look()).summary(made(), Path("m.h5"))
    shown = capsys.readouterr().out
    assert "every row: count 7" in shown
    (head,) = [line for line in shown.splitlines() if line.split()[:2] == ["row", "size"]]
    assert "count" not in head


@pytest.mark.parametrize(
    ("values", "constant"),
    [([1, 1, 1], True), ([1, 1], False), ([1, 1, 2], False), ([np.nan] * 3, False), (["x"] * 3, True)],
)
def test_constant(values, constant):
    assert is_constant(np.array(values)) is constant


def test_rows_with_names_are_printed_where_as_many_with_numbers_are_not(capsys):
    """Every layer of a deep net, whose eigenvalues stand nowhere else; not every point of a fine grid."""
    count = MOST_ROWS + 5
    layers = np.array([f"layers.{number}" for number in range(count)])
    values = np.arange(1.0, count + 1)
    numbers = {"count": values, "size": values**2}
    both = {
        name: values[:, None] * [1.0, 0.25]
        for name in ("values", "doubt", "distinct", "height", "height_error")
    }
    found = Measured(row=layers, column=np.arange(2), **numbers, **both)
    Screen(Look()).values(found)
    lines = capsys.readouterr().out.splitlines()
    for layer, value in zip(layers, values, strict=True):
        rows = [line.split() for line in lines if line.split()[:1] == [layer]]
        assert [layer, text_of(value, 4), text_of(value**2, 4)] in rows
        assert len(rows) == 3
    Screen(Look()).values(replace(found, row=np.arange(count)))
    assert not capsys.readouterr().out.strip()
    assert is_short(found, ("row",), (MOST_NAMED,))
    assert not is_short(found, ("row",), (MOST_NAMED + 1,))
    assert not is_short(found, ("row", "column"), (2, MOST_ROWS + 1))
