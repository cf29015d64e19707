"""What is printed of a result: few checks whole, many by their worst."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from landscape.cli.screen import MOST_CHECKS, MOST_TOLD, Look, Screen, telling, worst_of_each
from landscape.result import Check, Result, array, scalar, with_error

CHECKS = [Check(f"loss at epoch={i}", float(i), 20.0, "meaning") for i in range(MOST_CHECKS)]
OTHER = Check("module untouched", 0.0, 0.0, "")


def test_few_checks_are_shown_as_they_are():
    assert worst_of_each(CHECKS) == CHECKS


def test_of_many_the_closest_to_its_bound_stands_for_all():
    shown = worst_of_each([OTHER, *CHECKS])
    assert shown == [OTHER, replace(CHECKS[-1], name=f"loss ({MOST_CHECKS} points)")]


def test_every_check_that_failed_is_shown():
    failed = [replace(CHECKS[i], value=30.0) for i in (3, 7)]
    assert worst_of_each([OTHER, *CHECKS[:3], *failed, *CHECKS[4:]]) == [OTHER, *failed]


def test_eigenvalues_of_several_points_are_a_table(command, folder):
    rows = command("hessian", "a.h5", "--at", "all", "--top-k", 2, "-o", "along.h5").out.splitlines()
    header = next(i for i, row in enumerate(rows) if row.split() == ["point", "1", "2"])
    label, first, second = rows[header + 1].split()
    assert label == "a.h5@init"
    assert float(first) >= float(second)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (348.5, 38.0, "350 ± 40"),
        (348.5, 2084.7, "0 ± 2000"),
        (-348.5, 2084.7, "0 ± 2000"),
        (0.002, 0.004, "0.002 ± 0.004"),
        (123.4, 0.149, "123.40 ± 0.15"),
        (0.5, 0.0996, "0.50 ± 0.10"),
        (5.0, 9.7, "5 ± 10"),
        (2.5e-9, 3e-11, "2.50e-09 ± 3e-11"),
        (-2e-9, 5e-8, "0e+00 ± 5e-08"),
        (1.5, 0.0, "1.5 ± 0"),
        (1.23456789, np.nan, "1.23457 ± nan"),
        (np.nan, 1.0, "nan ± 1"),
    ],
)
def test_a_number_has_the_digits_that_its_error_leaves(value, error, text):
    assert with_error(value, error) == text


def test_a_value_and_its_error_stand_together(capsys):
    @dataclass(kw_only=True, eq=False)
    class Found(Result):
        height: float = scalar("height")
        height_error: float | None = scalar("its error", optional=True)
        stray_error: float = scalar("an error of nothing")
        x: np.ndarray = array("x", long_name="place")
        y: np.ndarray = array("x", long_name="value")
        y_error: np.ndarray = array("x", long_name="its error")

    about = {"stray_error": 2.0, "x": np.array([1.0, 2.0]), "y": np.array([10.25, 0.5])}
    errors = np.array([0.3, 0.04])
    Screen(Look()).summary(Found(height=348.5, height_error=38.0, **about, y_error=errors), Path("x.h5"))
    out = capsys.readouterr().out
    assert [line.split()[:2] for line in out.splitlines() if "error of" in line] == [["stray_error", "2"]]
    assert "height       350 ± 40" in out
    assert "its error" not in out
    assert "10.2 ± 0.3" in out
    assert "0.50 ± 0.04" in out
    Screen(Look()).summary(Found(height=348.5, **about, y_error=errors), Path("x.h5"))
    assert "height       348.5" in capsys.readouterr().out


@dataclass(kw_only=True, eq=False)
class Many(Result):
    kind = "many"
    start: np.ndarray = array("start", long_name="start")
    ending: np.ndarray = array("start", long_name="status")
    first: np.ndarray = array("start", long_name="x")
    second: np.ndarray = array("start", long_name="x")
    third: np.ndarray = array("start", long_name="x")
    fourth: np.ndarray = array("start", long_name="x")
    fifth_one_of_them: np.ndarray = array("start", long_name="x")
    sixth: np.ndarray = array("start", long_name="x")


def test_a_table_that_is_too_wide_is_two_and_no_number_is_broken(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    numbers = np.array([1.234567e-15, -2.345678e-14])
    names = ["first", "second", "third", "fourth", "fifth_one_of_them", "sixth"]
    columns = {name: numbers * (i + 1) for i, name in enumerate(names)}
    columns |= {"start": np.arange(2), "ending": np.array(["running-to-infinity", "critical"])}
    found = Many(**columns)  # pyright: ignore[reportArgumentType]
    Screen(Look()).values(found)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    words = " ".join(lines).split()
    for i in range(6):
        assert all(f"{value:.4g}" in words for value in numbers * (i + 1))
    assert words.count("start") == 2  # in front of each part


@dataclass(kw_only=True, eq=False)
class Named(Result):
    kind = "named"
    used: np.ndarray = array("used", long_name="name")
    used_kind: np.ndarray = array("used", long_name="text")
    used_of_many_words: np.ndarray = array("used", long_name="text")
    size: np.ndarray = array("used", long_name="x")


def test_a_heading_over_texts_is_as_broad_as_it_is(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "52")
    sizes = np.array([123.4, 567.8])
    texts = np.array(["ab", "cd"])
    Screen(Look()).values(
        Named(used=np.array(["a" * 22, "b" * 22]), used_kind=texts, used_of_many_words=texts, size=sizes)
    )
    words = capsys.readouterr().out.split()
    assert {"123.4", "567.8", "ab", "cd"} <= set(words)


def test_those_that_failed_and_the_closest_are_told_and_show_has_all(command, folder):
    short, full = command("hessian", "a.h5", "--top-k", 1).out, command("show", "a.hessian.h5").out
    passed = [len(re.findall(r" passed  ", text)) for text in (short, full)]
    assert passed[0] == MOST_TOLD
    assert f"{passed[1] - MOST_TOLD} other checks passed: landscape show a.hessian.h5" in short
    far = [Check(str(i), 0.1, 1.0, "") for i in range(MOST_TOLD + 2)]
    assert telling([*far, Check("off", 2.0, 1.0, "")])[-1].name == "off"
