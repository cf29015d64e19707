"""What went wrong, in one sentence: the value seen, the value wanted, the remedy."""


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


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in the middle of long work; ``kept`` finished pieces wait in ``folder`` for the same call."""

    def __init__(self, kept: int, folder: str):
        self.kept, self.folder = kept, folder
        super().__init__(f"{kept} finished pieces are kept in {folder}" if kept else "nothing to keep")
