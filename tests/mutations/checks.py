"""The table of all checks in CONTRIBUTING.md: what each compares, its bound, its cost, and what makes it fail.

From the root of the tree, ``PYTHONPATH=tests python -m mutations.checks`` writes it anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mutations.expected import TESTS
from mutations.failed import failed
from mutations.generic import meaning_of, name_of
from mutations.harness import ROOT, Seen, without_fault
from mutations.words import BOUNDS, COSTS, by_check

PAGE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- checks: made by mutations.checks -->", "<!-- end of checks -->"
# Of what every command does that begins with a file.
FROM_FILES = {"as logged", "points"}
COLUMNS = ("check", "kinds", "what is compared with what", "bound", "cost", "fails for")


@dataclass
class Row:
    """A check wherever it is taken: the kinds of results with it, and what they say it means."""

    kinds: set[str] = field(default_factory=set)
    meanings: set[str] = field(default_factory=set)
    bounds: set[float] = field(default_factory=set)


def collected(seen: Seen) -> dict[str, Row]:
    """Every check that the scenarios show, by name."""
    rows: dict[str, Row] = {}
    for one in seen.values():
        for name, meaning, bound in one["checks"]:
            row = rows.setdefault(name_of(name), Row())
            row.kinds.add(one["kind"])
            row.meanings.add(meaning_of(meaning))
            row.bounds.add(bound)
    return {name: rows[name] for name in sorted(rows, key=str.lower)}


def table(rows: Mapping[str, Row]) -> list[list[str]]:
    """The cells of every line, without the head."""
    bounds, costs, seen, found = by_check(BOUNDS), by_check(COSTS), failed(), []
    every = {kind for row in rows.values() for kind in row.kinds}
    for name, row in rows.items():
        blamed = [fault for fault, names in seen.items() if name in names]
        blamed = blamed or ([TESTS[name]] if name in TESTS else [])
        kinds = "all" if row.kinds == every else ", ".join(sorted(row.kinds))
        kinds = "from files" if name in FROM_FILES else kinds
        cells = [name, kinds, "; ".join(_short(row.meanings)), bounds[name], costs[name], _few(blamed)]
        found.append([_escaped(cell) for cell in cells])
    return found


def _short(meanings: set[str]) -> list[str]:
    """Without those that only add to another."""
    return sorted(
        one for one in meanings if not any(one != other and one.startswith(other) for other in meanings)
    )


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def written(page: str) -> list[list[str]]:
    """The cells of every line that stands in a page."""
    lines = page.partition(BEGIN)[2].partition(END)[0].strip().splitlines()[2:]
    return [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in lines]


def replaced(page: str, cells: list[list[str]]) -> str:
    """The page with these lines for its table."""
    before, _, rest = page.partition(BEGIN)
    lines = [COLUMNS, ["---"] * len(COLUMNS), *cells]
    text = (
        "\n".join(f"| {' | '.join(line)} |" for line in lines)
        .replace("| --- ", "|---")
        .replace("---|\n", "---|\n")
    )
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}"


def main(page: Path = PAGE) -> None:
    page.write_text(replaced(page.read_text(), table(collected(without_fault()))))


if __name__ == "__main__":
    main()
