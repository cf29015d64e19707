"""The tangent kernel of every module of the shared list, against dense Jacobians by another road."""

import pytest
import torch
from cases import CASES

import landscape
from landscape.errors import BadInput


@pytest.mark.parametrize("name", CASES)
def test_the_kernel_of_any_module(name):
    case = CASES[name]
    objective = case.objective(chunk_size=4)
    if name == "two outputs, own loss":
        with pytest.raises(BadInput, match="one tensor"):
            landscape.certify(objective, objective.theta)
        return
    result = landscape.certify(objective, objective.theta)
    failed = {one.name for one in result.checks if not one.passed}
    # What is cut off from autograd is no part of a derivative, which that check tells.
    assert failed == ({"cut, derivative"} if name == "unused" else set())
    whole = case.jacobians(objective, objective.theta).flatten(0, 1)
    values = torch.linalg.eigvalsh(whole @ whole.T).flip(0)
    found = torch.from_numpy(result.ntk_spectrum)
    torch.testing.assert_close(found, values, rtol=1e-10, atol=1e-12 * float(values[0]))
