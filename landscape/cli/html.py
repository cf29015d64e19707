"""A page of results: everything in it, nothing fetched; whatever comes from a file is escaped.

Two calls on the same files give the same bytes: no date of today, files in an order of their own.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from landscape import __version__, analyses
from landscape.cli.matrices import heading_of, is_short, texts_of
from landscape.cli.overview import COLUMNS, Row, is_unreadable
from landscape.cli.screen import with_errors, worst_of_each
from landscape.cli.words import told
from landscape.errors import LandscapeError, first_line
from landscape.result import Result, field_metadata, with_error

# A browser that reads this asks for nothing, whatever else the page says.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
# What a surface that turns needs besides: its script, which stands in the page.
TURNING = f"{POLICY}; script-src 'unsafe-inline'"
# A page within the page is as high as its place.
WHOLE = "html, body, body > div { height: 100%; margin: 0; overflow: hidden; }"
# Letters that a cell of numbers keeps together.
ONE_LINE = 24
SIGNS = {True: "✓ passed", False: "✗ failed"}


def page(title: str, sections: Sequence[tuple[Row, str]], *, turning: bool = False) -> str:
    """The whole page of ``(row, section)``: contents, a table of all, then each; runs first, then by kind and name."""
    kinds = [*analyses.FUNCTIONS]

    def place(one: tuple[Row, str]) -> tuple[bool, int, str, str]:
        kind = one[0].kind
        return is_unreadable(one[0]), kinds.index(kind) if kind in kinds else len(kinds), kind, one[0].name

    ordered = sorted(sections, key=place)
    rows = [row for row, _ in ordered]
    complete = sum(row.status == "complete" for row in rows)
    unread = sum(map(is_unreadable, rows))
    count = len(rows) - unread
    said = f"{count} {'result' if count == 1 else 'results'}, {complete} complete."
    if unread:
        files_of = "file" if unread == 1 else "files"
        said += f' <span class="failed">{unread} {files_of} could not be read: named at the end.</span>'
    style = files("landscape.cli").joinpath("report.css").read_text(encoding="utf-8")
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(TURNING if turning else POLICY)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title>",
        f"<style>\n{style}</style></head><body>",
        f"<header><h1>{_text(title)}</h1>",
        f"<p>{said} ",
        f"Written by landscape {_text(__version__)}.</p></header>",
        "<nav><h2>Contents</h2><ol>",
        *(f'<li><a href="#{_id(i)}">{_text(_heading(row))}</a></li>' for i, row in enumerate(rows)),
        "</ol></nav>",
        '<section class="summary"><h2>Summary</h2>',
        table(COLUMNS, [_summary_row(i, row) for i, row in enumerate(rows)], "files"),
        "</section>",
    ]
    for number, (row, body) in enumerate(ordered):
        heading = f"<h2>{number + 1}. {_text(_heading(row))} {_status(row)}</h2>"
        parts.append(f'<section class="result" id="{_id(number)}">{heading}\n{body}</section>')
    return "\n".join([*parts, "</body></html>", ""])


def section(path: Path, row: Row, found: Result | LandscapeError, *, turning: bool = False) -> str:
    """What stands of one file under its heading; ``turning`` adds the surface of a plane.

    Raises BadInput where that surface is asked for and plotly is missing.
    """
    if isinstance(found, LandscapeError):
        return f'<p class="failed">{_text(row.headline)}</p>'
    command = str(found.provenance.get("command", ""))
    return "\n".join(
        filter(
            None,
            [
                *_question(found),
                f'<p class="headline">{_text(row.headline)}</p>',
                f'<div class="found">{_picture(found, row)}<div>{_numbers(found)}</div></div>',
                _surface(found) if turning and found.kind == "slice2d" else "",
                *_columns(found),
                *_matrices(found),
                _checks(found),
                _notes(found),
                f"<h3>To repeat it</h3><pre>{_text(command)}</pre>" if command else "",
                _provenance(path, found),
            ],
        )
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], kind: str) -> str:
    """A table of cells that are HTML already; ``kind`` is its class in the style."""
    head = "".join(f'<th scope="col">{one}</th>' for one in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    above = f"<thead><tr>{head}</tr></thead>" if heads else ""
    return f'<div class="wide"><table class="{kind}">{above}<tbody>\n{body}\n</tbody></table></div>'


def _question(result: Result) -> Iterator[str]:
    """What was asked, as it is declared, and by whom it was asked first; a kind of one's own says it in its class."""
    declared = analyses.find(result.kind)
    question = declared.question if declared else (type(result).__doc__ or "").partition("\n")[0]
    paper = f' <span class="paper">({_text(declared.paper)})</span>' if declared and declared.paper else ""
    if question:
        yield f'<p class="question">{_text(question)}{paper}</p>'


def _picture(result: Result, row: Row) -> str:
    from landscape.plots.inline import inlined

    try:
        address = inlined(result, Path(row.name).stem)
    except Exception as error:
        # Whatever is wrong with the picture, the numbers must still be shown.
        return f'<p class="failed">No picture: {_text(first_line(error))}</p>'
    caption = _text(f"{_heading(row)}: {row.headline}")
    return f'<figure><img alt="{caption}" src="{address}"><figcaption>{caption}</figcaption></figure>'


def _surface(result: Result) -> str:
    """The surface that turns, a page of its own within this one, whose script reaches nothing outside it."""
    from landscape.plots.interactive import page_of

    fitted = page_of(result).replace("<head>", f"<head><style>{WHOLE}</style>", 1)
    return f'<iframe title="surface" sandbox="allow-scripts" srcdoc="{escape(fitted)}"></iframe>'


def _numbers(result: Result) -> str:
    about = field_metadata(type(result))
    rows = []
    for name, (value, error) in with_errors(result.scalars()).items():
        text = _value(value, 6) if error is None else with_error(value, error)
        unit = about[name]["units"]
        rows.append([_cell(f"{text} {unit}".strip()), _text(about[name]["long_name"]), _name(name)])
    return table(("value", "of", "name"), rows, "numbers") if rows else ""


def _columns(result: Result) -> Iterator[str]:
    """Short arrays over one dimension side by side, each with its error, as on the screen."""
    by_dims: dict[str, dict[str, np.ndarray]] = {}
    for one in result.arrays():
        if len(one.dims) == 1 and is_short(result, one.dims, one.values.shape):
            by_dims.setdefault(one.dims[0], {})[one.name] = one.values
    for dimension, columns in by_dims.items():
        if len(columns) < 2:
            continue
        texts = [
            [_value(value, 4) for value in values.tolist()]
            if errors is None
            else list(map(with_error, values.tolist(), errors.tolist()))
            for values, errors in with_errors(columns).values()
        ]
        rows = [[_cell(text) for text in row] for row in zip(*texts, strict=True)]
        heads = [_text(name.replace("_", " ")) for name in with_errors(columns)]
        yield f"<h3>By {_text(dimension)}</h3>{table(heads, rows, 'columns')}"


def _matrices(result: Result) -> Iterator[str]:
    """The tables that a result asks to be printed, rows and columns named by its coordinates."""
    coordinates = {one.name: one.values.tolist() for one in result.arrays() if one.dims == (one.name,)}
    for one in result.arrays():
        if not one.printed or len(one.dims) < 2 or not is_short(result, one.dims, one.values.shape):
            continue
        *names, heads = (
            coordinates.get(dim, range(size)) for dim, size in zip(one.dims, one.values.shape, strict=True)
        )
        rows, texts = [], texts_of(result, one)
        for place in np.ndindex(*one.values.shape[:-1]):
            labels = [_value(name[i], 6) for name, i in zip(names, place, strict=True)]
            rows.append([_cell(text) for text in (*labels, *texts[place])])
        titles = [_text(text) for text in (*one.dims[:-1], *(_value(head, 6) for head in heads))]
        yield f"<h3>{_text(heading_of(one, one.long_name))}</h3>{table(titles, rows, 'columns')}"


def _checks(result: Result) -> str:
    if not result.checks:
        return ""
    passed = sum(one.passed for one in result.checks)
    rows = [
        [
            _text(one.name),
            f'<span class="{"passed" if one.passed else "failed"}">{SIGNS[one.passed]}</span>',
            f"{one.value:.2g}",
            f"{one.bound:.2g}",
            _text(one.meaning),
        ]
        for one in worst_of_each(result.checks)
    ]
    heads = ("check", "", "value", "bound", "what is compared")
    return f"<h3>Checks: {passed} of {len(result.checks)} passed</h3>{table(heads, rows, 'checks')}"


def _notes(result: Result) -> str:
    notes = [told(note, result.kind) for note in result.notes]
    if assumed := result.provenance.get("assumed"):
        notes.append(f"assumed: {assumed}")
    items = "".join(f"<li>{_text(note)}</li>" for note in notes)
    return f"<h3>Notes</h3><ul>{items}</ul>" if items else ""


def _provenance(path: Path, result: Result) -> str:
    """The file itself, what it was made from, with what, and what was asked."""
    with open(path, "rb") as file:
        own = hashlib.file_digest(file, "sha256").hexdigest()
    rows = [["this file", f"{_text(str(path))}<br><code>{own}</code>"]]
    rest = []
    for name, value in sorted(result.provenance.items()):
        listed = _listed(value) if name in ("inputs", "sources") else None
        if listed:
            rows.append([_text(name), "<br>".join(listed)])
        elif listed is None and name not in ("command", "assumed"):
            rest.append(f"<i>{_text(name)}</i>&nbsp;{_text(str(value))}")
    rows.append(["made", "; ".join(rest)])
    config = json.dumps(result.config, default=str, sort_keys=True, ensure_ascii=False)
    rows.append(["config", f"<code>{_text(config)}</code>"])
    return f"<details open><summary>Where it comes from</summary>{table((), rows, 'provenance')}</details>"


def _listed(value: Any) -> list[str] | None:
    """A line for each file that stands in JSON with its sha256; None where it is none of that."""
    try:
        found = json.loads(str(value))
        return [
            "; ".join(f"{_text(str(k))} <code>{_text(str(v))}</code>" for k, v in one.items())
            for one in found
        ]
    except (ValueError, AttributeError, TypeError):
        return None


def _summary_row(number: int, row: Row) -> list[str]:
    cells = {name: _text(getattr(row, name)) for name in COLUMNS}
    cells["name"] = f'<a href="#{_id(number)}">{cells["name"]}</a>'
    cells["time"] = _text(row.time[:16].replace("T", " "))
    cells["status"] = _status(row)
    return list(cells.values())


def _status(row: Row) -> str:
    kind, sign = ("passed", "✓") if row.status == "complete" else ("failed", "✗")
    return f'<span class="status {kind}">{sign} {_text(row.status)}</span>'


def _heading(row: Row) -> str:
    return f"{row.kind}: {row.name}" if row.kind else row.name


def _id(number: int) -> str:
    return f"result-{number + 1}"


def _name(name: str) -> str:
    """A name that breaks between its words alone."""
    return f"<code>{_text(name).replace('_', '_<wbr>')}</code>"


def _cell(text: str) -> str:
    """A number or a word on one line, longer texts on as many as they take."""
    return f"<span>{_text(text)}</span>" if len(text) <= ONE_LINE else _text(text)


def _value(value: Any, digits: int) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def _text(text: str) -> str:
    """Safe within HTML, in an attribute too; characters that no page may hold are shown as boxes."""
    whole = "".join(c if c in "\n\t" or c.isprintable() or c == "\xa0" else "\ufffd" for c in text)
    return escape(whole)
