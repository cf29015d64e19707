"""A picture says which matrix its eigenvalues are of."""

import numpy as np
import pytest
import torch

import landscape
from landscape import Objective


@pytest.mark.parametrize(
    ("operator", "said"),
    [
        ("hessian", "Hessian eigenvalues"),
        ("gauss-newton", "Gauss–Newton eigenvalues"),
        ("empirical-fisher", "Empirical Fisher eigenvalues"),
        ("preconditioned", "Preconditioned Hessian eigenvalues"),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_the_title_names_the_matrix(operator, said, count):
    inputs = torch.from_numpy(np.random.default_rng(0).standard_normal((6, 2)))
    objective = Objective(torch.nn.Linear(2, 1).double(), "mse", (inputs, inputs[:, :1]))
    given = [torch.full((3,), 2.0)] * count if operator == "preconditioned" else None
    points = [objective.present_point("init")] * count
    found = landscape.hessian(
        objective, points if count > 1 else points[0], operator=operator, preconditioners=given, top_k=1
    )
    title = found.plot().texts[0].get_text()
    assert title.startswith(said)
