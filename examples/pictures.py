"""Draws the pictures of one topic and keeps them in ``examples/pictures``, small enough to be committed.

From the root of the repository: ``python examples/pictures.py thesis`` or ``python examples/pictures.py gallery``.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
SCRIPTS = {
    "thesis": "thesis/figure-*.sh",
    "survey": "survey/figure-*.sh",
    "smoothing": "smoothing/smoothing.sh",
    "gallery": "gallery.sh",
}
WIDTH = 700  # pixels
PAGE = "1040,1480"  # pixels of a page that are seen


def draw(topic: str) -> None:
    """Runs the scripts of a topic, whose pictures stand in the folder of its name."""
    for script in sorted(HERE.glob(SCRIPTS[topic])):
        subprocess.run(["sh", str(script)], check=True)


def photograph(topic: str) -> None:
    """The top of each of its pages as a picture, where there is a browser."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    for page in sorted(Path(topic).glob("*.html")) if browser else []:
        shot, place = page.with_suffix(".png").resolve(), page.resolve().as_uri()
        line = [str(browser), "--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={PAGE}"]
        subprocess.run([*line, f"--screenshot={shot}", place], capture_output=True, check=True)


def keep(topic: str) -> None:
    """A small copy of each of its pictures."""
    for file in sorted(Path(topic).glob("*.png")):
        picture = Image.open(file).convert("RGB")
        height = round(picture.height * WIDTH / picture.width)
        # A palette by coverage: the rare colours are the ends of the colour bar.
        small = picture.resize((WIDTH, height), Image.Resampling.LANCZOS).quantize(
            256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
        small.save(HERE / "pictures" / f"{topic}-{file.name}", optimize=True)


if __name__ == "__main__":
    for topic in sys.argv[1:] or SCRIPTS:
        draw(topic)
        photograph(topic)
        keep(topic)
