"""What the analyses say of themselves.

``python -m mutations.scenarios NAME …`` prints as JSON, by name, kind and status of each, its checks, those that
failed, every number as text, or the refusal.
"""

import hashlib
import json
import sys
from typing import Any

import numpy as np
import torch
from mutations.scenarios import SCENARIOS

from landscape.errors import LandscapeError


def said(name: str) -> dict[str, Any]:
    """Status, the checks that failed, and every number, or the refusal."""
    try:
        result = SCENARIOS[name]()
    except LandscapeError as error:
        return {"status": "refused", "failed": [], "refused": str(error), "numbers": {}}
    except Exception as error:  # a fault may break anything, and that is seen as well
        return {"status": "raised", "failed": [], "refused": repr(error), "numbers": {}}
    numbers = {one: repr(value) for one, value in result.scalars().items()}
    numbers |= {one.name: _digest(one.values) for one in result.arrays()}
    numbers |= {
        f"{label} {one}": _digest(value)
        for label, state in result.states.items()
        for one, value in state.items()
    }
    failed = {check.name: [check.value, check.bound] for check in result.checks if not check.passed}
    checks = [[check.name, check.meaning, check.bound] for check in result.checks]
    return {
        "kind": result.kind,
        "status": result.status,
        "failed": failed,
        "refused": "",
        "numbers": numbers,
        "checks": checks,
    }


def _digest(values: Any) -> str:
    values = np.asarray(values)
    text = str(values.tolist()) if values.dtype.hasobject else values.tobytes()
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:12]


if __name__ == "__main__":
    torch.set_num_threads(1)
    # On a line of its own: libraries of linear algebra print their complaints.
    print(f"\n{json.dumps({name: said(name) for name in sys.argv[1:] or SCENARIOS})}")
