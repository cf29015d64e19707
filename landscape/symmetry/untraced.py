"""Of a module that cannot be traced, the line of its own code that is in the way."""

import linecache
import re
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from landscape.errors import BadInput

# Whose code is not a module's own; site packages, whose models are, stand inside the standard library.
TRACERS = (Path(torch.__file__).parent, Path(__file__).parents[1])
STANDARD, SITE = Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("purelib"))
WANTED = "a module whose operations do not depend on the values of its data"


def untraced(module: nn.Module, error: Exception) -> BadInput:
    """What is said of an error of ``torch.export``: its first line, and where it arose."""
    why = (str(error).strip().splitlines() or [type(error).__name__])[0]
    places = [(frame.filename, frame.lineno) for frame in _frames(error) if _is_own(frame.filename)]
    where = f"; {_line(*places[-1])}" if places else ""
    what = f"{type(module).__name__} cannot be traced by torch.export ({why}{where})"
    return BadInput(what, WANTED, kernel(str(error)))


def kernel(said: str) -> str:
    """The kernels of attention that any module can be traced with, where an error is of another one."""
    if not re.search("attention|attn", said, re.IGNORECASE):
        return ""
    return (
        'choose another kernel of attention: `scaled_dot_product_attention`, which is `attn_implementation="sdpa"` '
        'in models of transformers, or plain products and a softmax, which is `"eager"`'
    )


def require_sizes(module: nn.Module, graph: fx.Graph) -> None:
    """Raises BadInput for an operation that makes a tensor of as many positions as the data say."""
    for node in graph.nodes:
        made: Any = tree_leaves(node.meta.get("val"))
        if all(isinstance(size, int) for one in made if isinstance(one, Tensor) for size in one.shape):
            continue
        name = getattr(getattr(node.target, "_schema", None), "name", node.name).partition("::")[2]
        lines = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
        own = [(file, int(number)) for file, number in lines if _is_own(file)]
        where = f"; {_line(*own[-1])}" if own else ""
        raise BadInput(
            f"{type(module).__name__} cannot be traced: how many positions {name} makes depends on the "
            f"values of its data{where}",
            WANTED,
            "write it with `torch.where`, or times a mask, over all positions",
        )


def _frames(error: BaseException | None) -> Iterator[traceback.FrameSummary]:
    while error is not None:
        yield from traceback.extract_tb(error.__traceback__)
        error = error.__cause__


def _is_own(file: str) -> bool:
    path = Path(file)
    if file.startswith("<") or any(map(path.is_relative_to, TRACERS)):
        return False
    return path.is_relative_to(SITE) or not path.is_relative_to(STANDARD)


def _line(file: str, number: int | None) -> str:
    said = linecache.getline(file, number or 0).strip()
    return f"line {number} of {Path(file).name}" + (f": `{said}`" if said else "")
