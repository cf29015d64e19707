"""Draws the pictures of one topic and keeps them in ``examples/pictures``, small enough to be committed.

From the root of the repository: ``python examples/pictures.py thesis`` or ``python examples/pictures.py gallery``;
``tour`` is three pictures of ``landscape tour`` beside one another.
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
TOUR, HIGH = ("a.slice2d", "a.trajectory", "a-b.connect"), 620  # pixels


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
        save(picture.resize((WIDTH, height), Image.Resampling.LANCZOS), f"{topic}-{file.name}")


def save(picture: Image.Image, name: str) -> None:
    # A palette by coverage: the rare colours are the ends of the colour bar.
    few = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(HERE / "pictures" / name, optimize=True)


def tour() -> None:
    """Three of its pictures in a row, as high as one another."""
    if not Path("tour").exists():
        subprocess.run(["landscape", "tour", "-o", "tour"], check=True)
    pictures = [Image.open(Path("tour", f"{name}.png")).convert("RGB") for name in TOUR]
    sizes = [(round(one.width * HIGH / one.height), HIGH) for one in pictures]
    row, place = Image.new("RGB", (sum(broad for broad, _ in sizes), HIGH), "white"), 0
    for one, size in zip(pictures, sizes, strict=True):
        row.paste(one.resize(size, Image.Resampling.LANCZOS), (place, 0))
        place += size[0]
    save(row, "tour.png")


if __name__ == "__main__":
    for topic in sys.argv[1:] or [*SCRIPTS, "tour"]:
        if topic == "tour":
            tour()
            continue
        draw(topic)
        photograph(topic)
        keep(topic)
