"""Runs the commands of a paper and makes its row: the claim, how it was scaled down, what was found, the verdict.

From the root of the repository: ``python examples/papers/paper.py [NAME...] [--size tiny]``; ``run.sh`` is the same.
What is finished is not done again, and what was stopped goes on. A paper is a file beside this one, which holds

- ``PAPER``, ``CLAIM`` and ``WHERE`` (the figure or table it was read in), ``SCALED`` (how it was scaled down, with
  the size ``laptop`` filled in where it has ``{name}``);
- ``WHY`` a claim is not met, where a reason is known, what was ``CHANGED`` after a run was seen, and what the numbers
  are ``OVER`` where it is not seeds;
- ``SIZES``: by name the numbers that its commands are filled with, ``laptop`` those of the table;
- ``commands(folder, size)``: lines for ``landscape``, the last of which draws ``FOLDER/picture.png``;
- ``findings(folder, size)``: what the files say, each with the range that the claim leaves, fixed before the run.
"""

import argparse
import importlib
import json
import math
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image
from scipy.stats import t as student

from landscape.cli import main as landscape

HERE = Path(__file__).parent
ROWS, README = HERE / "rows.json", HERE / "README.md"
BEGIN, END = "<!-- rows -->\n", "<!-- /rows -->"
ORDER = ("agrees", "too small to tell", "does not")  # the last found is that of the paper
WIDTH, COLOURS = 600, 64  # pixels a row


@dataclass(frozen=True)
class Finding:
    """One number of a claim over seeds, and the range [low, high] in which the claim has it.

    >>> Finding("share", (0.8, 0.9, 0.85), 0.5, 1).verdict
    'agrees'
    """

    what: str
    values: tuple[float, ...]
    low: float = -math.inf
    high: float = math.inf

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return float(np.mean(self.values))

    @property
    def error(self) -> float:
        """The standard error of that mean."""
        return float(np.std(self.values, ddof=1) / len(self.values) ** 0.5)

    @property
    def verdict(self) -> str:
        """By the 95 % interval of the mean (Student's t): within the range, outside it, or across an end of it."""
        half = float(student.ppf(0.975, len(self.values) - 1)) * self.error
        if not math.isfinite(self.mean + half):
            return ORDER[1]
        if self.low <= self.mean - half and self.mean + half <= self.high:
            return ORDER[0]
        if self.mean + half < self.low or self.high < self.mean - half:
            return ORDER[2]
        return ORDER[1]

    def __str__(self) -> str:
        ends = (("≥", self.low), ("≤", self.high))
        wanted = " and ".join(f"{sign} {end:.3g}" for sign, end in ends if math.isfinite(end))
        found = (
            f"{self.mean:.3g} ± {self.error:.1g}" if math.isfinite(self.mean) else "undefined at some seed"
        )
        return f"{self.what}: {found} (claim {wanted}): {self.verdict}"


def real(name: str, **arguments: object) -> str:
    """The options for the data set ``name`` where ``LANDSCAPE_DATA`` has it, else for scikit-learn's digits.

    Of ``arguments`` both know ``limit``, ``classes`` and, where ``image``, images: ``size`` is of ``name`` alone.
    """
    place, image = os.environ.get("LANDSCAPE_DATA"), arguments.pop("image", None)
    if place and any(Path(place).glob(f"*{name}*")):
        return f"--data {name}" + _given(arguments)
    return "--data digits" + _given({**arguments, "size": None, "image": image})


def _given(arguments: dict) -> str:
    told = " ".join(f"{name}={value}" for name, value in arguments.items() if value is not None)
    return f" --data-arg {told}" if told else ""


def run(name: str, size: str, root: Path = Path("papers")) -> list[Finding]:
    """Runs what is left of a paper's commands, in ``root/NAME-SIZE``; what its files say.

    Raises RuntimeError, with the line to type, where a command fails.
    """
    paper, folder = _paper(name), root / f"{name}-{size}"
    folder.mkdir(parents=True, exist_ok=True)
    for line in paper.commands(folder, paper.SIZES[size]):
        if landscape(shlex.split(line)) != 0:
            raise RuntimeError(f"landscape {line}")
    return paper.findings(folder, paper.SIZES[size])


def keep(name: str, folder: Path) -> None:
    """A small copy of the picture of a paper."""
    picture = Image.open(folder / "picture.png").convert("RGB")
    small = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    small = small.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(HERE / "pictures" / f"{name}.png", optimize=True)


def row(name: str, findings: Sequence[Finding]) -> str:
    """The line of the table: everything of it that is a result comes from ``findings``."""
    paper = _paper(name)
    verdict = max((one.verdict for one in findings), key=ORDER.index)
    seeds = len(findings[0].values)
    found = "<br>".join([*map(str, findings), f"({seeds} {getattr(paper, 'OVER', 'seeds')})"])
    if hasattr(paper, "WHY") and verdict != ORDER[0]:
        found += f"<br>{paper.WHY}"
    # Whatever the verdict: one that agrees after a change is the one to be told of.
    found += f"<br>{paper.CHANGED}" if hasattr(paper, "CHANGED") else ""
    about = f"[{paper.PAPER}]({name}.py)<br>{paper.WHERE}<br>[picture](pictures/{name}.png)"
    scaled = paper.SCALED.format(**paper.SIZES["laptop"])
    cells = (about, paper.CLAIM, scaled, found, f"**{verdict}**")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(rows: dict[str, list[dict]]) -> str:
    """The table of the page, from the numbers of ``rows.json``."""
    lines = ["| paper | claim | here | found | verdict |", "|---|---|---|---|---|"]
    lines += [row(name, [_read(one) for one in found]) for name, found in sorted(rows.items())]
    return "\n".join(lines) + "\n"


def _written(one: Finding) -> dict:
    # JSON has neither infinity nor NaN: they are words there.
    told = {name: _word(value) for name, value in asdict(one).items() if name != "values"}
    return told | {"values": [_word(value) for value in one.values]}


def _word(value: float | str) -> float | str:
    return value if isinstance(value, str) or math.isfinite(value) else str(value)


def _read(one: dict) -> Finding:
    return Finding(one["what"], tuple(map(float, one["values"])), float(one["low"]), float(one["high"]))


def kept_rows() -> dict[str, list[dict]]:
    """What ``rows.json`` holds."""
    return json.loads(ROWS.read_text(encoding="utf-8")) if ROWS.exists() else {}


def write(name: str, findings: Sequence[Finding]) -> None:
    """Puts the numbers into ``rows.json`` and the table into the page."""
    rows = kept_rows() | {name: [_written(one) for one in findings]}
    ROWS.write_text(
        json.dumps(rows, indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n",
        encoding="utf-8",
    )
    text = README.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    README.write_text(before + BEGIN + table(rows) + END + after, encoding="utf-8")


def names() -> list[str]:
    """Every paper there is."""
    return sorted(one.stem for one in HERE.glob("*_[12][0-9][0-9][0-9].py"))


def _paper(name: str) -> ModuleType:
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    return importlib.import_module(name)


def main() -> None:
    """Runs the papers named, or all, and prints their rows; at the size ``laptop`` the page is written anew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="*", choices=[[], *names()], help="papers [default: all]")
    parser.add_argument("--size", default="laptop", choices=("laptop", "tiny"))
    given = parser.parse_args()
    for name in given.name or names():
        findings = run(name, given.size)
        print(row(name, findings), flush=True)
        if given.size == "laptop":
            keep(name, Path("papers") / f"{name}-laptop")
            write(name, findings)


if __name__ == "__main__":
    main()
