"""Every failure as one sentence and an exit code."""

import errno
import re

import click

from landscape.errors import LandscapeError, first_line

FAILED, BAD_INPUT, STRICT, INTERRUPTED = 1, 2, 3, 130
# What options of other programs are called here.
ELSEWHERE = {
    "--limit": "--subset",
    "--max-samples": "--subset",
    "--num-samples": "--subset",
    "--learning-rate": "--lr",
}
# What takes more points than a command of two does.
OF_MORE = {"align": "landscape merge"}
SEVERAL = re.compile(r"Option '(-\S+)' requires (\d+) arguments\.")
SMALLER = "take a smaller --chunk-size or --batch-size, fewer samples (--subset N), or --dtype float32"


def described(error: BaseException) -> tuple[str, int]:
    """The sentence for an exception, and the exit code that goes with it."""
    if isinstance(error, LandscapeError):
        return str(error), error.exit_code
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        here = ELSEWHERE.get(error.option_name)
        if any(here in one.opts for one in error.ctx.command.params):
            error = click.UsageError(
                f"No such option {error.option_name!r}. Did you mean {here!r}?", error.ctx
            )
    if isinstance(error, click.BadOptionUsage) and (found := SEVERAL.fullmatch(error.message)):
        name, count = found[1], int(found[2])
        example = " ".join([name, *map(str, range(count))])
        said = f"{name} takes {count} numbers with a space between them, as in {example}."
        error = click.UsageError(said, error.ctx)
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "landscape"
        said = _sentence(error.format_message())
        more = OF_MORE.get((error.ctx and error.ctx.info_name) or "") if "extra argument" in said else None
        said += f" Three or more are brought together by '{more}'." if more else ""
        return f"{said} See '{command} --help'.", BAD_INPUT
    if isinstance(error, click.ClickException):
        return _sentence(error.format_message()), error.exit_code
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return "interrupted.", INTERRUPTED
    if is_out_of_memory(error):
        said = "; ".join([f"out of memory ({first_line(error)})", *getattr(error, "__notes__", ())])
        # NumPy's arrays are of what a result counts, PyTorch's of what is computed with.
        fewer = (
            "ask for fewer points, draws or runs (as --num-points 31), or "
            if "for an array with" in said
            else ""
        )
        return f"{said}; {fewer}{SMALLER}.", FAILED
    if isinstance(error, BrokenPipeError | SystemExit):
        # rich leaves by SystemExit where the reader of a pipe has gone.
        return "", FAILED
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            "the disk is full; make room and run the same command again, which goes on where it can, "
            "or give another -o.",
            FAILED,
        )
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.filename or 'the folder'} may not be written or read ({error.strerror}).", BAD_INPUT
    return f"{type(error).__name__}: {first_line(error)}; run again with -v to see where.", FAILED


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the machine or of its accelerator."""
    if isinstance(error, MemoryError):
        return True
    # torch.OutOfMemoryError by name: nothing here may import torch.
    text = str(error)
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)
    )


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
