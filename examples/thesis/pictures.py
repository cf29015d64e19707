"""Draws every figure anew and keeps its pictures in ``examples/pictures``, small enough to be committed.

From the root of the repository: ``python examples/thesis/pictures.py``.
"""

import subprocess
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
WIDTH = 700  # pixels

for script in sorted(HERE.glob("figure-*.sh")):
    subprocess.run(["sh", str(script)], check=True)
for file in sorted(Path("thesis").glob("*.png")):
    picture = Image.open(file).convert("RGB")
    height = round(picture.height * WIDTH / picture.width)
    # A palette by coverage: the rare colours are the ends of the colour bar.
    small = picture.resize((WIDTH, height), Image.Resampling.LANCZOS).quantize(
        256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
    )
    small.save(HERE.parent / "pictures" / f"thesis-{file.name}", optimize=True)
