"""What a shell is offered: commands, flags, points of a run file, names of models and data."""

import pytest
from click.shell_completion import ShellComplete

from landscape.cli import landscape as group


def offered(words: list[str], incomplete: str) -> list[str]:
    complete = ShellComplete(group, {}, "landscape", "_LANDSCAPE_COMPLETE")
    return [
        one.value if one.type == "plain" else one.type for one in complete.get_completions(words, incomplete)
    ]


@pytest.mark.parametrize(
    ("words", "incomplete", "wanted"),
    [
        ([], "sl", ["slice1d", "slice2d"]),
        (["hessian", "a.h5"], "--top", ["--top-k"]),
        (["hessian"], "a.h5@e", ["a.h5@epoch=1", "a.h5@epoch=2", "a.h5@epoch=3"]),
        (["interpolate", "a.h5"], "b.h5@i", ["b.h5@init"]),
        (["hessian"], "a", ["file"]),
        (["hessian"], "nothing.h5@", ["file"]),
        (["train", "--model"], "toy-s", ["toy-saddle"]),
        (["train", "--model"], "own.py", ["file"]),
        (["train", "--data"], "mo", ["moons"]),
        (["slice2d", "a.h5", "--directions"], "eig", ["eigen", "eigen-ends"]),
    ],
)
def test_what_a_shell_is_offered(folder, words, incomplete, wanted):
    assert offered(words, incomplete) == wanted


def test_a_file_of_something_else_has_no_points(folder):
    (folder / "notes.h5").write_text("my notes")
    assert offered(["hessian"], "notes.h5@") == []
