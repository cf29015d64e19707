"""What stands beside weights in pickles and does no harm: known by name, and never made into what it was.

Each name is answered with a placeholder of our own, so that reading a file neither imports nor calls anything of the
package that the name belongs to.
"""

from collections.abc import Callable
from typing import Any


class Inert:
    """Stands for an object that was beside the weights; holds nothing of it."""

    def __new__(cls, *_: Any, **__: Any) -> "Inert":
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any):
        """Whatever it would have been made from is left alone."""

    def __setstate__(self, _: Any) -> None:
        """Whatever it would have been told is left alone."""


def _dictionary(*_: Any) -> dict[Any, Any]:
    """A plain dictionary for one with a default; its entries follow."""
    return {}


_PATHS = ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
_NODES = ("Any", "Integer", "Float", "String", "Boolean", "Bytes", "Path", "Enum")
_INERT = (
    *("argparse.Namespace", "types.SimpleNamespace"),
    *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in _PATHS),
    *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
    *(
        f"numpy.{core}.multiarray.{name}"
        for core in ("core", "_core")
        for name in ("scalar", "_reconstruct", "_frombuffer")
    ),
    *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
    *("numpy.dtype", "numpy.ndarray"),
    *("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"),
    *("omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata", "typing.Any"),
    *(f"omegaconf.nodes.{name}Node" for name in _NODES),
    *(f"builtins.{name}" for name in ("bool", "int", "float", "str", "list", "tuple", "dict")),
)
_DICTIONARIES = (
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
)
# As torch.serialization.safe_globals takes them: what stands for the name, and the name.
HARMLESS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    *((Inert, name) for name in _INERT),
    *((dict, name) for name in _DICTIONARIES),
    (_dictionary, "collections.defaultdict"),
]
