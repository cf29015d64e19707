"""What went wrong, in one sentence: the value seen, the value wanted, the remedy."""

import sys
import sysconfig
import traceback
from pathlib import Path
from typing import Any


class LandscapeError(Exception):
    """Any failure the user can understand; the command line prints it without a traceback.

    ``seen`` states what was met, ``wanted`` what would have been right, ``remedy`` what to do.
    """

    exit_code = 1

    def __init__(self, seen: str, wanted: str = "", remedy: str = ""):
        self.seen, self.wanted, self.remedy = seen, wanted, remedy
        sentence = seen
        if wanted:
            sentence += f"; expected {wanted}"
        if remedy:
            sentence += f"; {remedy}"
        sentence = " ".join(sentence.split())
        super().__init__(sentence + ("" if sentence.endswith((".", "?", "!")) else "."))


class BadInput(LandscapeError, ValueError):
    """The input or an option is wrong; nothing was computed (exit code 2)."""

    exit_code = 2


class NotDifferentiable(LandscapeError):
    """The loss has no derivative of the order that was asked for."""


class NotFinite(LandscapeError):
    """A NaN or an infinity where a finite number is needed."""


class ChangedFunction(LandscapeError):
    """What should have left the outputs of a module as they are would have changed them (exit code 3)."""

    exit_code = 3


class OtherProcess(LandscapeError):
    """Another of several processes failed, with this exit code, or is gone; the sentence is the one that it said."""

    def __init__(self, sentence: str, exit_code: int = 1):
        super().__init__(sentence)
        # It may end in a command, which a full stop would spoil.
        self.args, self.exit_code = (sentence,), exit_code


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in the middle of long work; ``kept`` finished pieces wait in ``folder`` for the same call."""

    def __init__(self, kept: int, folder: str):
        self.kept, self.folder = kept, folder
        super().__init__(f"{kept} finished pieces are kept in {folder}" if kept else "nothing to keep")


def first_line(error: BaseException) -> str:
    """Of its text; the name of its class where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def raised_at(error: BaseException) -> str:
    """`` (own.py, line 12)``: the innermost line of the user's own code that an exception came through, or ''.

    A file that cannot be parsed names the line of the fault.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({_shown(error.filename)}, line {error.lineno})"
    frames = [one for one in traceback.extract_tb(error.__traceback__) if not _is_of_a_library(one.filename)]
    return f" ({_shown(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""


def loss_failed(
    name: str, outputs: Any, described: Any, targets: Any, error: Exception, *, training: bool = False
) -> BadInput:
    """The refusal for a loss that raised on these ``outputs``, ``described`` in words, and targets."""
    remedy = "" if raised_at(error) else _of_a_part(name, outputs)
    if not remedy and getattr(outputs, "shape", None) is None and not training:
        remedy = (
            "the module is called in eval mode (self.training is false): one that gives its losses or its outputs "
            "only in training mode needs a forward that gives them in both"
        )
    is_one = hasattr(targets, "shape")
    remedy = remedy or (_of_classes(outputs, targets, str(error)) if is_one else "")
    seen = f"{tuple(targets.shape)} ({targets.dtype})" if is_one else type(targets).__name__
    return BadInput(
        f"the loss {name} does not take outputs {described} and targets {seen}: {error}{raised_at(error)}",
        "a loss that fits module and data",
        remedy,
    )


def _of_a_part(name: str, outputs: Any) -> str:
    """How a loss is made of one of several outputs; '' where there is no tensor among them."""
    named = outputs.items() if hasattr(outputs, "items") else ()
    listed = enumerate(outputs) if isinstance(outputs, tuple | list) else named
    parts = {key: tuple(one.shape) for key, one in listed if hasattr(one, "shape")}
    # The losses of a module are a number, what is classified is not.
    likely = [key for key, shape in parts.items() if (name == "output") == (not shape)] or list(parts)
    if not likely:
        return ""
    part = f"outputs[{likely[0]!r}]"
    made = part if name == "output" else f"loss({part}, targets)"
    return f"of one part of several make a loss of your own, as `lambda outputs, targets: {made}`"


def writes_targets(name: str) -> BadInput:
    """The refusal for a loss that changes its targets, which are others at the next call, and the user's own data."""
    return BadInput(
        f"the loss {name} writes into its targets",
        "a loss that leaves them as they are",
        "let it begin with targets = targets.clone(), or change them in the data",
    )


def _of_classes(outputs: Any, targets: Any, said: str) -> str:
    """What to do with classes in a shape that losses of classes do not take; '' where they are none."""
    shape, wanted = tuple(targets.shape), getattr(outputs, "shape", None)
    if wanted is None or len(wanted) < 2 or wanted[1] == 1:
        return ""
    if targets.is_floating_point():
        is_of_classes = shape == (wanted[0], *wanted[2:]) and "Long" in said
        return "let the data give classes as integers, targets.long()" if is_of_classes else ""
    if shape == (wanted[0], 1, *wanted[2:]):
        return "let the data give classes without the axis of length 1, targets.squeeze(1)"
    if shape == tuple(wanted) and "class probabilities" in said:
        return "let the data give classes, targets.argmax(1), or shares of classes, targets.float()"
    return ""


def _is_of_a_library(file: str) -> bool:
    """Whether a frame is no code of the user's: ours, torch's, Python's, or of another installed package."""
    if file.startswith("<"):
        return True
    path = Path(file)
    folders = [Path(__file__).parent, Path(sysconfig.get_paths()["stdlib"])]
    if getattr(sys.modules.get("torch"), "__file__", None):
        folders.append(Path(str(sys.modules["torch"].__file__)).parent)
    is_installed = {"site-packages", "dist-packages"} & set(path.parts)
    return bool(is_installed) or any(path.is_relative_to(one) for one in folders)


def _shown(file: str) -> str:
    """A path as one would type it here."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
