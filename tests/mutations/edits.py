"""Every small change of a source that may make a number wrong: a sign, an order, a constant, a branch, a call."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

OPERATORS = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Lt: ("<", ">"),
    ast.Gt: (">", "<"),
    ast.LtE: ("<=", ">"),
    ast.GtE: (">=", "<"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
}
PAIRS = ("min max", "amin amax", "argmin argmax", "minimum maximum", "any all", "ceil floor", "mean sum")
OTHER = {a: b for pair in PAIRS for a, b in (pair.split(), pair.split()[::-1])}
DROPPED = {"abs", "sqrt", "square", "exp", "log", "flip", "conj", "neg", "T", "clamp_min", "clip"}
MODULES = {"torch", "np", "math"}


@dataclass(frozen=True)
class Edit:
    """In a source the characters from ``start`` to ``stop``, on ``line``, give way to ``new``."""

    line: int
    start: int
    stop: int
    new: str

    def applied(self, source: str) -> str:
        return source[: self.start] + self.new + source[self.stop :]


def edits(source: str) -> list[Edit]:
    """All of them, in the order of the source; each leaves a source that compiles."""
    found = sorted(_Reader(source).edits(), key=lambda one: (one.start, one.stop, one.new))
    return [one for one in found if _compiles(one.applied(source))]


def _compiles(source: str) -> bool:
    try:
        compile(source, "", "exec")
    except SyntaxError:
        return False
    return True


class _Reader:
    def __init__(self, source: str):
        self.source, self.tree = source, ast.parse(source)
        self.lines = source.split("\n")
        self.begins = [0]
        for line in self.lines:
            self.begins.append(self.begins[-1] + len(line) + 1)
        self.words = {id(part) for node in ast.walk(self.tree) for part in _only_words(node)}

    def edits(self) -> Iterator[Edit]:
        for node in ast.walk(self.tree):
            if id(node) not in self.words:
                yield from self._expressions(node)
                yield from self._branches(node)

    def _expressions(self, node: ast.AST) -> Iterator[Edit]:
        match node:
            case ast.BinOp(left=left, op=op, right=right):
                yield from self._between(node, left, right, op)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                yield from self._between(node, left, right, op)
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                yield self._whole(node, f"({self._text(operand)})")
            case ast.Constant(value=int(value)) if not isinstance(value, bool):
                yield self._whole(node, repr(value + 1))
            case ast.Constant(value=float(value)):
                yield self._whole(node, repr(value * 2))
            case ast.Attribute(value=value, attr=attr, ctx=ast.Load()) if attr in OTHER:
                yield self._after(node, value, f".{OTHER[attr]}")
            case ast.Name(id=name, ctx=ast.Load()) if name in OTHER:
                yield self._whole(node, OTHER[name])
            case ast.Subscript(value=value, slice=ast.Slice(lower=lower, upper=upper)) if lower or upper:
                yield self._after(node, value, "[:]")
            case ast.Call(func=ast.Attribute(value=value, attr=attr), args=args) if attr in DROPPED:
                of_module = isinstance(value, ast.Name) and value.id in MODULES
                if not of_module:
                    yield self._after(node, value, "")
                elif len(args) == 1:
                    yield self._whole(node, f"({self._text(args[0])})")

    def _branches(self, node: ast.AST) -> Iterator[Edit]:
        match node:
            case ast.AugAssign() | ast.Expr(value=ast.Call()):
                yield self._whole(node, "pass")
            case ast.IfExp(body=body, orelse=other):
                yield self._whole(node, f"({self._text(body)})")
                yield self._whole(node, f"({self._text(other)})")
            case ast.If(test=test):
                yield self._whole(test, f"not ({self._text(test)})")

    def _between(self, node: ast.AST, left: ast.expr, right: ast.expr, op: ast.AST) -> Iterator[Edit]:
        start, stop = self._span(left)[1], self._span(right)[0]
        is_text = isinstance(op, ast.Add) and isinstance(left, ast.List | ast.JoinedStr)
        old, new = OPERATORS.get(type(op), ("", ""))
        if old and not is_text and self.source[start:stop].count(old) == 1:
            between = self.source[start:stop].replace(old, new)
            yield Edit(getattr(node, "lineno", 0), start, stop, between)

    def _whole(self, node: ast.AST, new: str) -> Edit:
        return Edit(getattr(node, "lineno", 0), *self._span(node), new)

    def _after(self, node: ast.AST, value: ast.expr, new: str) -> Edit:
        return Edit(getattr(node, "lineno", 0), self._span(value)[1], self._span(node)[1], new)

    def _text(self, node: ast.AST) -> str:
        start, stop = self._span(node)
        return self.source[start:stop]

    def _span(self, node: ast.AST) -> tuple[int, int]:
        ends = (("lineno", "col_offset"), ("end_lineno", "end_col_offset"))
        first, last = (self._place(getattr(node, line), getattr(node, column)) for line, column in ends)
        return first, last

    def _place(self, line: int, column: int) -> int:
        # Columns count bytes.
        return self.begins[line - 1] + len(self.lines[line - 1].encode()[:column].decode())


def _only_words(node: ast.AST) -> Iterator[ast.AST]:
    """What stands in annotations and docstrings."""
    for name in ("annotation", "returns"):
        if (part := getattr(node, name, None)) is not None:
            yield from ast.walk(part)
