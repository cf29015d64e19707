"""Which checks failed for each fault when it was last tried with ``python -m mutations.table --record``."""

import json
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

PATH = Path(__file__).with_suffix(".json")
_WRITING = Lock()


def failed() -> dict[str, list[str]]:
    """By fault the names of the checks, and ``refused`` where an analysis ended otherwise."""
    return json.loads(PATH.read_text())


def keep(fault: str, names: Sequence[str]) -> None:
    with _WRITING:
        kept = {**(failed() if PATH.exists() else {}), fault: list(names)}
        lines = [f"{json.dumps(one)}: {json.dumps(kept[one], ensure_ascii=False)}" for one in sorted(kept)]
        PATH.write_text("{\n" + ",\n".join(lines) + "\n}\n")
