"""``landscape report``: what stands on the page, and that a browser has nothing to fetch for it."""

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from matplotlib import image
from test_light import REFUSE

from landscape import BadInput, analyses, load, report
from landscape.cli import html, main, matrices
from landscape.cli.matrices import texts_of
from landscape.cli.screen import worst_of_each
from landscape.plots import inline
from landscape.result import Check, with_error

FILES = Path(__file__).parents[1] / "files"
# What a name within a file may try.
EVIL = """<script src="http://evil.example/x.js">alert('1')</script>&amp;"'\x00"""
# Elements that bring in something, whatever they say; none has a place here.
FETCHING = {"script", "link", "iframe", "object", "embed", "video", "audio", "base", "form", "source"}
VOID = {"meta", "img", "br", "wbr"}


class Page(HTMLParser):
    """A page as it is parsed: its elements, the text of its sections by id, and what each attribute says."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.sections: dict[str, str] = {}
        self.text, self.id = "", ""
        self.feed(text)
        self.close()
        assert self.open == [], "an element is not closed"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.id = dict(attrs).get("id") or self.id
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            assert "url(" not in data
            assert "@import" not in data
            return
        self.text += data
        self.sections[self.id] = self.sections.get(self.id, "") + data

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.elements if attribute in attributes]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A run, a spectrum and a plane of the files of old, one of them failing a check, and one that is cut."""
    folder = tmp_path_factory.mktemp("results")
    for kind in ("slice2d", "hessian", "train"):
        shutil.copy(FILES / f"v1-{kind}.h5", folder / f"{kind}.h5")
    result = load(folder / "slice2d.h5")
    result.checks.append(Check("broken", 2.5, 0.125, "what never holds"))
    result.notes.append("allow more `seed`")
    result.provenance["inputs"] = json.dumps([{"path": "a.h5", "sha256": "beef" * 16, "point": "final"}])
    result.save(folder / "failed.h5")
    (folder / "cut.h5").write_bytes((FILES / "v1-noise.h5").read_bytes()[:3000])
    return folder


@pytest.fixture(scope="module")
def names(files):
    return ["slice2d.h5", "cut.h5", "hessian.h5", "failed.h5", "train.h5", "none.h5"]


@pytest.fixture(scope="module")
def written(files, names):
    """The page of them all, the exit code, and what was said."""
    before = os.getcwd()
    os.chdir(files)
    try:
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            code = main(["report", *names, "-o", "r.html"])
    finally:
        os.chdir(before)
    text = (files / "r.html").read_text(encoding="utf-8")
    return text, code, errors.getvalue()


@pytest.fixture(scope="module")
def page(written):
    return Page(written[0])


def test_runs_first_then_by_kind_and_what_cannot_be_read_last(page):
    headings = [page.sections[f"result-{i}"].split()[:3] for i in range(1, 7)]
    assert [" ".join(words[1:]) for words in headings] == [
        "train: train.h5",
        "hessian: hessian.h5",
        "slice2d: failed.h5",
        "slice2d: slice2d.h5",
        "cut.h5 ✗",
        "none.h5 ✗",
    ]
    # The contents and the summary lead to each of them.
    links = [one for one in page.values("href") if one.startswith("#")]
    assert links == 2 * [f"#result-{i}" for i in range(1, 7)]
    assert set(links) == {f"#{one}" for one in page.values("id")}


def test_a_file_that_is_damaged_is_said_on_the_page_and_by_the_exit_code(page, written):
    _, code, errors = written
    assert code == 2
    assert "is a truncated or damaged HDF5 file" in page.sections["result-5"]
    assert "none.h5 does not exist" in page.sections["result-6"]
    assert errors.count("not in the report: ") == 2
    # What could not be read is no result, and is counted apart.
    assert "4 results, 3 complete. 2 files could not be read: named at the end." in page.text
    assert errors.splitlines()[-1].endswith("is written with 4 of 6 files.")


@pytest.mark.parametrize(("number", "name"), [(1, "train"), (2, "hessian"), (3, "failed"), (4, "slice2d")])
def test_all_that_is_to_be_known_of_a_result(page, files, number, name):
    result, said = load(files / f"{name}.h5"), page.sections[f"result-{number}"]
    declared = analyses.declared(result.kind)
    data = (files / f"{name}.h5").read_bytes()
    wanted = [declared.question, declared.paper, result.headline, result.status]
    wanted += [result.provenance["command"], result.provenance["created"], result.provenance["torch"]]
    wanted += [hashlib.sha256(data).hexdigest()]
    passed = sum(one.passed for one in result.checks)
    wanted += [f"Checks: {passed} of {len(result.checks)} passed"]
    for one in worst_of_each(result.checks):
        verdict = "✓ passed" if one.passed else "✗ failed"
        wanted += [one.name, f"{verdict}{one.value:.2g}{one.bound:.2g}", one.meaning]
    for key, value in result.scalars().items():
        wanted += [key, str(value) if isinstance(value, str | bool | int) else f"{value:.6g}"]
    assert [one for one in wanted if one not in said] == []


def test_failed_checks_notes_and_the_files_it_was_made_from(page):
    said = page.sections["result-3"]
    assert "✗ failed2.50.12" in said
    assert "allow more --seed" in said
    assert "path a.h5" in said
    assert "beef" * 16 in said
    assert "✗ failed-checks" in said
    assert "✗ failed2.50.12" not in page.sections["result-4"]


def test_short_arrays_stand_side_by_side_and_long_ones_do_not(page, files, monkeypatch):
    result: Any = load(files / "hessian.h5")
    said = page.sections["result-2"]
    rows = [f"\n{rank}{value:.4g}" for rank, value in zip(result.rank, result.eigenvalues, strict=True)]
    assert [row for row in rows if row not in said] == []
    assert "By rank" in said
    monkeypatch.setattr(matrices, "MOST_ROWS", len(result.rank) - 1)
    assert not any("eigenvalues" in one for one in html._columns(result))


def test_a_number_stands_with_its_error(files):
    result = load(files / "slice2d.h5")
    result.scalars = lambda: {"centre_loss": 1.0, "centre_loss_error": 0.21}
    assert "<span>1.0 ± 0.2</span>" in html._numbers(result)


def test_a_matrix_has_its_names_at_both_sides():
    result: Any = load(FILES / "v1-modes.h5")
    matrix = next(html._matrices(result))
    found = Page(matrix)
    values = next(one for one in result.arrays() if one.printed and len(one.dims) == 2)
    assert matrix.startswith(f"<h3>{values.long_name}")
    for name, row in zip(result.mode.tolist(), texts_of(result, values).tolist(), strict=True):
        assert str(name) + "".join(row) in found.text


def test_nothing_is_fetched(page, written):
    assert {tag for tag, _ in page.elements} & FETCHING == set()
    assert all(one.startswith("data:image/") for one in page.values("src"))
    assert all(one.startswith("#") for one in page.values("href"))
    attributes = {name for _, given in page.elements for name in given}
    assert attributes <= {
        *("lang", "charset", "http-equiv", "content", "name", "class", "id", "href", "src", "alt", "scope"),
        "open",
    }
    assert page.values("content")[0].startswith("default-src 'none'; img-src data:")


def test_pictures_are_whole_and_fetch_nothing_either(page):
    pictures = page.values("src")
    assert len(pictures) == 4
    for one in pictures:
        head, _, data = one.partition(",")
        assert head == "data:image/svg+xml;base64"
        root = ElementTree.fromstring(base64.b64decode(unquote(data)))
        for element in root.iter():
            for name, value in element.attrib.items():
                if name.rpartition("}")[2] in ("href", "src"):
                    assert value.startswith(("#", "data:")), value
            # Letters are outlines: no font is asked for.
            assert not element.tag.endswith("}text")


def test_the_caption_says_what_the_file_says(page, files):
    captions = [given["alt"] for tag, given in page.elements if tag == "img"]
    assert captions[1] == f"hessian: hessian.h5: {load(files / 'hessian.h5').headline}"


def test_the_same_files_give_the_same_bytes_in_any_order(command, files, names, monkeypatch, written):
    monkeypatch.chdir(files)
    assert command("report", *reversed(names), "-o", "again.html", "-q").code == 2
    assert (files / "again.html").read_text(encoding="utf-8") == written[0]


def test_python_writes_the_bytes_of_the_command_and_says_what_cannot_be_read(
    files, names, monkeypatch, written
):
    monkeypatch.chdir(files)
    said = report(names, "python.html")
    assert (files / "python.html").read_text(encoding="utf-8") == written[0]
    assert [one.partition(" ")[0] for one in said] == ["cut.h5", "none.h5"]
    assert report(files / "train.h5", files / "one.html", title="A & B") == []
    assert "<h1>A &amp; B</h1>" in (files / "one.html").read_text(encoding="utf-8")


def test_damage_is_told_in_words_of_python_and_of_the_command_line(command, files, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    data = bytearray((files / "failed.h5").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bent.h5").write_bytes(data)
    both = [str(files / "slice2d.h5"), "bent.h5"]
    assert "give `verify=False`" in report(both, "p.html")[0]
    assert "give --no-verify" in command("report", *both, "-o", "c.html").err
    assert (tmp_path / "p.html").read_bytes() == (tmp_path / "c.html").read_bytes()
    assert report(["bent.h5"], "p.html", verify=False) == []


def test_there_is_no_page_of_nothing(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.h5", "b.h5"):
        Path(name).write_text("no result")
    for words, sentence in (
        (["a.h5"], "Error: a.h5 is not an HDF5 file; expected"),
        (["a.h5", "b.h5"], "Error: none of 2 files for a report can be read: a.h5 is not an HDF5 file"),
    ):
        done = command("report", *words, "-o", "r.html")
        assert done.code == 2
        assert done.err.startswith(sentence)
        assert done.err.count("\n") == 1
    assert not Path("r.html").exists()


def test_python_is_told_what_no_report_can_be_made_of(files, tmp_path):
    with pytest.raises(BadInput, match=r"^no files for a report"):
        report([], tmp_path / "r.html")
    with pytest.raises(BadInput, match=r"^a Slice2D for a report.*save it first"):
        report(load(files / "slice2d.h5"), tmp_path / "r.html")
    with pytest.raises(BadInput, match=r"r.txt ends in .txt"):
        report([files / "slice2d.h5"], tmp_path / "r.txt")
    with pytest.raises(BadInput, match=r"^there is no folder"):
        report([files / "slice2d.h5"], tmp_path / "none" / "r.html")
    assert not list(tmp_path.iterdir())


def test_what_a_file_says_is_text_on_the_page(command, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = load(files / "slice2d.h5")
    result.notes.append(EVIL)
    result.outcome = EVIL.replace("\x00", "")
    result.checks.append(Check(EVIL.replace("\x00", ""), 0.0, 1.0, EVIL.replace("\x00", "")))
    # A file holds no zero in an attribute.
    clean = EVIL.replace("\x00", "\x08")
    result.provenance["command"] = clean
    result.provenance["inputs"] = json.dumps([{"path": clean, clean: clean}])
    result.config = {clean: clean}
    # In the text of the picture it stands between quotes.
    name = 'x" onload="alert(1)"><img src=x onerror=alert(1)>.h5'
    result.save(Path(name))
    assert command("report", name, "-o", "r.html", "--title", EVIL[:-1]).code == 0
    page = Page(Path("r.html").read_text(encoding="utf-8"))
    assert {tag for tag, _ in page.elements} & FETCHING == set()
    assert len(page.values("src")) == 1
    assert not any(name.startswith("on") for _, given in page.elements for name in given)
    assert page.text.count("<script src=") >= 6
    assert "\x00" not in page.text
    assert "\x08" not in page.text
    assert name in page.text


def test_a_picture_of_many_bytes_is_in_dots(files, monkeypatch):
    monkeypatch.setattr(inline, "MOST_BYTES", 10_000)
    data = base64.b64decode(inline.inlined(load(files / "hessian.h5")).partition(",")[2])
    assert data[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_name_no_svg_can_hold_is_drawn_in_dots():
    assert inline._is_xml(b"<svg/>")
    assert not inline._is_xml(b"<svg>\x08</svg>")


def test_a_result_that_cannot_be_drawn_is_still_reported(command, files, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def fails(result, name):
        raise ValueError("no <ink>")

    monkeypatch.setattr(inline, "inlined", fails)
    assert command("report", files / "hessian.h5", "-o", "r.html").code == 0
    text = Page(Path("r.html").read_text(encoding="utf-8")).text
    assert "No picture: no <ink>" in text
    assert "gradient_norm" in text


@pytest.mark.parametrize(
    ("place", "said"),
    [("r.pdf", "ends in .pdf"), ("r", "ends in nothing"), ("no/r.html", "there is no folder no")],
)
def test_where_it_cannot_be_written(command, files, monkeypatch, tmp_path, place, said):
    monkeypatch.chdir(tmp_path)
    refused = command("report", files / "hessian.h5", "-o", place)
    assert refused.code == 2
    assert said in refused.err
    assert list(tmp_path.iterdir()) == []


def test_a_result_of_that_name_is_not_overwritten(command, files, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    data = (files / "hessian.h5").read_bytes()
    Path("a.html").write_bytes(data)
    refused = command("report", "a.html", "-o", "a.html")
    assert refused.code == 2
    assert "a.html is a result" in refused.err
    assert Path("a.html").read_bytes() == data


def test_every_kind_has_a_section_without_torch(tmp_path):
    code = REFUSE + "from landscape.cli import main\nsys.exit(main(sys.argv[1:]))"
    kinds = ("modes", "certify")
    line = ["report", *(str(FILES / f"v1-{kind}.h5") for kind in kinds), "-o", str(tmp_path / "r.html")]
    run = subprocess.run([sys.executable, "-c", code, *line], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "No picture" not in page.text
    assert len(page.values("src")) == len(kinds)


def test_a_surface_that_turns_only_where_it_is_asked_for(command, files, monkeypatch, tmp_path):
    pytest.importorskip("plotly", reason="needs the extra html")
    monkeypatch.chdir(tmp_path)
    line = ["report", files / "slice2d.h5", files / "hessian.h5", "-o"]
    assert command(*line, "r.html", "--turning").code == 0
    page = Page(Path("r.html").read_text(encoding="utf-8"))
    # One for the plane; its script stands in it, and reaches nothing of the page around it.
    (frame,) = [given for tag, given in page.elements if tag == "iframe"]
    assert set(frame) == {"title", "sandbox", "srcdoc"}
    assert frame["sandbox"] == "allow-scripts"
    assert {tag for tag, _ in page.elements} & FETCHING == {"iframe"}
    assert "Plotly.newPlot" in frame["srcdoc"]
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", frame["srcdoc"])
    assert page.values("content")[0] == f"{html.POLICY}; script-src 'unsafe-inline'"
    assert command(*line, "again.html", "--turning").code == 0
    assert Path("again.html").read_bytes() == Path("r.html").read_bytes()


def test_what_is_missing_for_a_surface_is_said(command, files, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("plotly", "plotly.graph_objects"):
        monkeypatch.setitem(sys.modules, name, None)
    refused = command("report", files / "slice2d.h5", "--turning", "-o", "r.html")
    assert refused.code == 2
    assert "torch-landscape[html]" in refused.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
def test_the_surface_is_drawn_in_a_browser_and_asks_for_nothing(command, files, monkeypatch, tmp_path):
    pytest.importorskip("plotly", reason="needs the extra html")
    monkeypatch.chdir(tmp_path)
    assert command("report", files / "slice2d.h5", "--turning", "-o", "r.html").code == 0
    browser = Browser(tmp_path / "profile")
    try:
        browser("Page.navigate", url=(tmp_path / "r.html").as_uri())
        browser.until("document.readyState === 'complete' && document.querySelector('iframe') !== null")
        browser.evaluate("document.querySelector('iframe').scrollIntoView()")
        browser.evaluate("new Promise(done => setTimeout(done, 4000))")
        shot = base64.b64decode(browser("Page.captureScreenshot")["data"])
    finally:
        browser.close()
    assert browser.errors == []
    assert [one for one in browser.requests if one.startswith("http")] == []
    seen = image.imread(io.BytesIO(shot))[:, :, :3]
    # Viridis from its dark end to its light one, left of the bar of colours.
    seen = seen[:, : seen.shape[1] * 6 // 10]
    for colour in ((0.27, 0.0, 0.33), (0.13, 0.57, 0.55), (0.99, 0.91, 0.14)):
        assert (np.abs(seen - colour).max(-1) < 0.12).sum() > 100


# A browser that looks at one page, and asks nobody where another machine is.
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ),
)


def looked_at(path: Path) -> tuple[set[str], np.ndarray]:
    """What a browser asks for when it shows a page, but for what it asks on its own account, and what is seen."""
    log, shot = path.with_suffix(".json"), path.with_suffix(".png")
    line = [str(BROWSER), *QUIET, f"--user-data-dir={path.with_suffix('')}", f"--log-net-log={log}"]
    line += ["--window-size=1100,1600", f"--screenshot={shot}", path.as_uri()]
    subprocess.run(line, capture_output=True, timeout=120, check=True)
    # By its lines: a log is cut where the browser has gone.
    asked = set(re.findall(r'"url":"([^"]+)"', log.read_text(encoding="utf-8")))
    return {url for url in asked if ".google" not in url}, image.imread(shot)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs a browser: apt-get install chromium")
def test_a_browser_shows_it_and_asks_for_nothing(written, tmp_path):
    whole, bare, asking = (tmp_path / f"{name}.html" for name in ("whole", "bare", "asking"))
    whole.write_text(written[0], encoding="utf-8")
    bare.write_text(written[0].replace("data:image/svg+xml", "data:image/none"), encoding="utf-8")
    asked, seen = looked_at(whole)
    assert asked == set()
    # The curves are there, in their colour, and are not where the picture cannot be read.
    blue = np.array([0x00, 0x72, 0xB2]) / 255
    first, without = ((np.abs(one[:, :550, :3] - blue).max(-1) < 0.1) for one in (seen, looked_at(bare)[1]))
    assert first[600:].sum() > without[600:].sum() + 300
    # The page's own rule holds back what would ask, and without the rule it would be seen here.
    image_of_others = '<img src="http://else.invalid/x.png"><h1>'
    asking.write_text(written[0].replace("<h1>", image_of_others), encoding="utf-8")
    assert looked_at(asking)[0] == set()
    without_rule = written[0].replace("<h1>", image_of_others).replace("http-equiv", "name")
    (tmp_path / "free.html").write_text(without_rule, encoding="utf-8")
    assert looked_at(tmp_path / "free.html")[0] == {"http://else.invalid/x.png"}


def test_columns_stand_with_their_errors():
    result: Any = load(FILES / "v1-merge.h5")
    text = "".join(html._columns(result))
    for value, error in zip(result.loss.tolist(), result.loss_error.tolist(), strict=True):
        assert with_error(value, error) in text
