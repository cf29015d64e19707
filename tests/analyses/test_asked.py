"""What a result repeats of its question is compared with the question."""

import numpy as np
import pytest
import torch

import landscape
from landscape.analyses import DECLARED, find
from landscape.analyses.asked import REPEATED, asked_check
from landscape.result import KINDS


@pytest.mark.parametrize("kind", REPEATED)
def test_fields_and_options_are_there(kind):
    declared = find(kind)
    assert declared is DECLARED[kind]
    fields, options = KINDS[kind].__dataclass_fields__, {*declared.parameters}
    assert REPEATED[kind].keys() <= fields.keys()
    assert {*REPEATED[kind].values()} <= options


def test_another_answer_than_the_question_is_seen():
    objective = landscape.Objective(
        torch.nn.Linear(2, 1).double(), "mse", (torch.eye(2).double(), torch.ones(2, 1).double())
    )
    result = landscape.hessian(objective, objective.theta, top_k=1, tol=1e-3)
    assert [one.value for one in result.checks if one.name == "as asked"] == [0.0]
    asked = {"tol": 1e-3, "operator": "hessian", "block": None}
    assert asked_check(result, asked)[0].passed
    assert not asked_check(result, {**asked, "tol": 1e-6})[0].passed


def test_rows_of_labels_are_compared_in_their_order():
    class Widths:
        kind = "basins"
        width = np.array([1, 4])

    assert asked_check(Widths(), {"widths": (1, 4)})[0].passed  # pyright: ignore[reportArgumentType]
    assert not asked_check(Widths(), {"widths": (4, 1)})[0].passed  # pyright: ignore[reportArgumentType]
    assert asked_check(Widths(), {}) == []  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("asked", "said"), [(None, 0), (3, 3)])
def test_what_was_not_given_is_said_by_its_own_number(asked, said):
    class Measured:
        kind, measure_every = "noise", said

    assert asked_check(Measured(), {"measure_every": asked})[0].passed  # pyright: ignore[reportArgumentType]
    Measured.measure_every = 1
    assert not asked_check(Measured(), {"measure_every": asked})[0].passed  # pyright: ignore[reportArgumentType]
