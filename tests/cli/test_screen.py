"""What is printed of a result: few checks whole, many by their worst."""

from dataclasses import replace

from landscape.cli.screen import MOST_CHECKS, worst_of_each
from landscape.result import Check

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
