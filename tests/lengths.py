"""The cases that take long by themselves, which the default run leaves out: listed in ``long.txt``, as they were timed.

``pytest -n auto -m 'not slow and not processes' --durations=0 > report``, and then ``PYTHONPATH=tests python -m lengths
report`` lists them anew. The quickest case of every test is left in the default run, unless it takes very long.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

LISTED = Path(__file__).with_name("long.txt")
# Seconds from which on a case is left out, beside a quicker one of the same test, and alone.
LONG, VERY_LONG = 0.4, 5.0


def listed() -> set[str]:
    return set(LISTED.read_text(encoding="utf-8").splitlines())


def timed(report: str) -> dict[str, float]:
    """The seconds of every call in a report of durations."""
    found = re.findall(r"^\s*([\d.]+)s call\s+(\S.*)$", report, flags=re.MULTILINE)
    return {case: float(seconds) for seconds, case in found}


def long_of(seconds: Mapping[str, float]) -> list[str]:
    """The long ones of these cases.

    >>> long_of({"a.py::test[1]": 0.9, "a.py::test[2]": 1.1, "a.py::alone": 4.9, "b.py::alone": 5.1})
    ['a.py::test[2]', 'b.py::alone']
    """
    tests = defaultdict(list)
    for case in sorted(seconds, key=lambda case: (seconds[case], case)):
        tests[case.partition("[")[0]].append(case)
    return sorted(
        case
        for cases in tests.values()
        for i, case in enumerate(cases)
        if seconds[case] > (LONG if i else VERY_LONG)
    )


if __name__ == "__main__":
    LISTED.write_text(
        "\n".join(long_of(timed(Path(sys.argv[1]).read_text(encoding="utf-8")))) + "\n", encoding="utf-8"
    )
