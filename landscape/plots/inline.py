"""A picture within a page: its bytes, with no file and nothing outside them."""

import base64
import io
from xml.etree import ElementTree

import matplotlib

from landscape.plots.page import STYLE
from landscape.plots.plot import plot
from landscape.result import Result

# A vector picture of more bytes than this is slow to show: then one in dots, at the first of these that stays below.
MOST_BYTES = 600_000
DPI = (200, 120, 80)


def inlined(result: Result, name: str = "") -> str:
    """The picture of a result, called ``name``, as a ``data:`` address, of svg where that is small, else of png.

    The same result gives the same characters. Its letters are outlines, so that no font is asked for. Raises what
    :func:`~landscape.plots.plot.plot` raises.
    """
    figure = plot(result, names=[name] if name else None)
    with matplotlib.rc_context({**STYLE, "svg.fonttype": "path"}):
        written = io.BytesIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
        if written.tell() <= MOST_BYTES and _is_xml(written.getvalue()):
            return _address("svg+xml", written)
        for dpi in DPI:
            written = io.BytesIO()
            figure.savefig(written, format="png", dpi=dpi)
            if written.tell() <= MOST_BYTES:
                break
        return _address("png", written)


def _is_xml(data: bytes) -> bool:
    """Whether a browser can read it: a name may hold a character that XML has no word for."""
    try:
        ElementTree.fromstring(data)
    except ElementTree.ParseError:
        return False
    return True


def _address(form: str, written: io.BytesIO) -> str:
    return f"data:image/{form};base64,{base64.b64encode(written.getvalue()).decode()}"
