"""Output for every console: what its encoding lacks is told in plain characters, θ as theta and → as ->."""

import codecs
import contextlib
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any, TextIO

GREEK = "alpha beta gamma delta epsilon eta theta kappa lambda mu nu xi rho sigma tau phi chi psi omega"
PLAIN = {
    **dict(zip("αβγδεηθκλμνξρστφχψω", GREEK.split(), strict=True)),
    "Δ": "Delta", "Λ": "Lambda", "Σ": "sum ", "Φ": "Phi", "Ω": "Omega", "∇": "grad ", "∂": "d", "∫": "integral ",
    "→": "->", "←": "<-", "↔": "<->", "↦": "|->", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "±": "+-", "∝": "~",
    "−": "-", "–": "-", "—": "-", "×": "x", "·": "*", "⋅": "*", "∘": " o ", "⊙": "*", "√": "sqrt ", "′": "'",
    "‖": "||", "⟨": "<", "⟩": ">", "∈": " in ", "∪": " u ", "∞": "inf", "ᵀ": "^T", "²": "^2", "³": "^3", "⁻": "^-",
    "…": "...", "‘": "'", "’": "'", "“": '"', "”": '"', "•": "*", "°": " deg", "⌊": "[", "⌋": "]",
    **dict.fromkeys("━─╸╺", "-"),
}  # fmt: skip
HANDLER = "landscape.plain"


@contextlib.contextmanager
def readable() -> Iterator[None]:
    """Standard output and error take any text meanwhile, and write what their encoding has."""
    codecs.register_error(HANDLER, _plain)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (stream and _Readable(stream) for stream in before)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Readable:
    """A text stream that says it encodes all there is; everything else is the stream's own."""

    encoding = "utf-8"

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        encodable = text.encode(self._encoding, HANDLER).decode(self._encoding)
        self._stream.write(encodable)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that cannot be encoded: words, the letter without its accent, or a question mark."""
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(_in_ascii, error.object[error.start : error.end])), error.end


def _in_ascii(character: str) -> str:
    if character in PLAIN:
        return PLAIN[character]
    bare = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return bare or ("" if unicodedata.combining(character) else "?")
