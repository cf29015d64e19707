"""A loop of one's own that records a run file: one line, the call of landscape.record."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "own_checkpoints"))
import mine

import landscape

OWN = Path(mine.__file__).resolve()
HERE = {
    "model": f"{OWN}:net",
    "data": f"{OWN}:data",
    "loss": "cross_entropy",
}

if __name__ == "__main__":
    mine.loop(lambda epoch, module: landscape.record("run.h5", module, epoch=epoch, **HERE))
