"""Every fault in turn: what the checks say of it, what the tests say, and what nobody has seen.

From the root of the tree, ``PYTHONPATH=tests python -m mutations.table [--tests] [--record] [--jobs N] [NAME …]``.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed

from mutations.expected import CHECKS, UNSEEN
from mutations.failed import keep
from mutations.faults.all import FAULTS
from mutations.harness import Fault, Seen, check_side, test_side, without_fault


def row(fault: Fault, with_tests: bool, is_recorded: bool) -> list[str]:
    """One line of the table: name, tests, the check that must see it, what failed, what moved."""
    tests = ""
    if with_tests:
        fails, said = test_side(fault, fault.tests)
        tests = "yes" if fails else f"NO ({said.splitlines()[-1]})"
    if not fault.scenarios:
        return [fault.name, tests, "–", "–", "–"]
    seen, check = check_side(fault, fault.scenarios), CHECKS[fault.name]
    if is_recorded:
        keep(fault.name, seen.names)
    verdict = "seen" if check and seen.sees(check) else "NO" if check else "–"
    if fault.name in UNSEEN and verdict == "seen":
        verdict = "seen, unlike UNSEEN says"
    return [fault.name, tests, f"{check or '–'}: {verdict}", _few(seen.failed), _few(_moved(seen))]


def _moved(seen: Seen) -> list[str]:
    return seen.moved() or ["nothing"]


def _few(parts: list[str]) -> str:
    return "; ".join(parts[:4]) + (f" and {len(parts) - 4} more" if len(parts) > 4 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--tests", action="store_true", help="run the tests as well")
    parser.add_argument(
        "--record", action="store_true", help="keep which checks fail for each, in failed.json"
    )
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    chosen = [FAULTS[name] for name in given.names or FAULTS]
    if without_fault().failed:
        sys.exit(f"without a fault: {without_fault().failed}")
    print("| fault | tests | check | failed | moved |\n|---|---|---|---|---|")
    with ThreadPoolExecutor(given.jobs) as pool:
        waiting = {pool.submit(row, one, given.tests, given.record): one for one in chosen}
        for done in as_completed(waiting):
            try:
                cells = done.result()
            except Exception as error:
                cells = [waiting[done].name, "", "", f"could not be tried: {error}"[-300:], ""]
            print(
                "| " + " | ".join(one.replace("\n", " ").replace("|", "∣") for one in cells) + " |",
                flush=True,
            )


if __name__ == "__main__":
    main()
