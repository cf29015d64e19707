"""``landscape show`` of several files: a row for each, whatever is wrong with another."""

import csv
import io
import json

import pytest

from landscape import load
from landscape.cli.overview import COLUMNS


@pytest.fixture
def files(folder):
    """Two runs, one of them damaged, a file that failed a check, and none."""
    data = bytearray((folder / "b.h5").read_bytes())
    data[len(data) // 2] ^= 16
    (folder / "b.h5").write_bytes(data)
    result = load(folder / "wide.h5")
    first = result.checks[0]
    result.checks[0] = type(first)(first.name, first.bound + 1, first.bound, first.meaning)
    result.save(folder / "failed.h5")
    return ["a.h5", "failed.h5", "b.h5", "none.h5"]


def rows(text):
    return {row["name"]: row for row in csv.DictReader(io.StringIO(text))}


def test_a_row_a_file_and_the_others_in_spite_of_one_that_is_damaged(command, files):
    done = command("show", *files, "--csv", "-")
    assert done.code == 2
    assert done.out.splitlines()[0] == "kind,name,headline,checks,status,time"
    found = rows(done.out)
    assert list(found) == files
    good, failed, damaged, absent = found.values()
    result = load("a.h5")
    assert (good["kind"], good["status"], good["headline"]) == ("train", "complete", result.headline)
    assert good["checks"] == f"{len(result.checks)} of {len(result.checks)}"
    assert good["time"] == result.provenance["created"]
    assert failed["status"] == "failed-checks"
    assert failed["checks"] == f"{len(result.checks) - 1} of {len(result.checks)}"
    assert damaged["status"] == absent["status"] == "unreadable"
    assert "is damaged: its bytes are not those" in damaged["headline"]
    assert "--no-verify" in damaged["headline"]
    assert absent["headline"].startswith("none.h5 does not exist")


def test_the_table_says_the_same_and_all_is_well_where_it_is(command, files):
    done = command("show", *files)
    assert done.code == 2
    text = " ".join(done.out.split())
    assert all(name in text for name in (*COLUMNS, *files, "failed-checks", "unreadable"))
    assert command("show", "a.h5", "failed.h5").code == 0


@pytest.mark.parametrize(
    ("column", "order"),
    [
        ("name", ["a.h5", "b.h5", "failed.h5", "none.h5"]),
        ("status", ["a.h5", "failed.h5", "b.h5", "none.h5"]),
        # Those that failed one come last.
        ("checks", ["b.h5", "none.h5", "a.h5", "failed.h5"]),
    ],
)
def test_the_rows_in_the_order_of_a_column(command, files, column, order):
    assert list(rows(command("show", *files, "--csv", "-", "--sort", column).out)) == order
    assert [one["output"] for one in command("show", *files, "--json", "--sort", column).json] == order


def test_a_list_in_json_and_one_object_for_one_file(command, files):
    done = command("show", *files, "--json")
    assert done.code == 2
    good, failed, damaged, absent = json.loads(done.out)
    one = command("show", "a.h5", "--json").json
    assert {key: good[key] for key in one} == one
    assert good["headline"] == load("a.h5").headline
    assert failed["status"] == "failed-checks"
    assert damaged["status"] == absent["status"] == "unreadable"
    assert "damaged" in damaged["error"]


def test_csv_as_a_file_never_in_the_place_of_a_result(command, files, folder):
    assert command("show", "a.h5", "--csv", "t.csv").code == 0
    assert list(rows((folder / "t.csv").read_text())) == ["a.h5"]
    before = (folder / "a.h5").read_bytes()
    for place, said in (
        ("a.h5", "a.h5 is a result"),
        ("b.h5", "b.h5 is a result"),
        ("no/t.csv", "no folder no"),
    ):
        refused = command("show", "a.h5", "--csv", place)
        assert (refused.code, refused.out) == (2, "")
        assert said in refused.err
    assert (folder / "a.h5").read_bytes() == before
    assert command("show", "a.h5", "--csv", "-", "--json").code == 2


def test_a_file_named_twice_has_one_row(command, files):
    assert len(command("show", "a.h5", "a.h5", "failed.h5", "--json").json) == 2
