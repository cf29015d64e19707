"""The tangent kernel of every module of the shared list, against dense Jacobians by another road."""

import pytest
import torch
from cases import CASES
from torch import nn

import landscape
from landscape.certificates.kernel import jacobian
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


class Together(nn.Module):
    """Outputs of each sample that the others have a part in: less their mean, or over their own spread."""

    def __init__(self, normalises: bool):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(3, 4, dtype=torch.float64), nn.Linear(4, 3, dtype=torch.float64)
        norm = nn.BatchNorm1d(4, track_running_stats=False, dtype=torch.float64)
        self.among = norm if normalises else lambda h: h - h.mean(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.among(self.first(x))))


@pytest.mark.parametrize("normalises", [False, True])
@pytest.mark.parametrize("how", ["dense", "lanczos"])
def test_the_kernel_of_samples_that_hang_together(normalises, how):
    torch.manual_seed(1)
    module, x = Together(normalises), torch.randn(40, 3, dtype=torch.float64)
    objective = landscape.Objective(module, "cross_entropy", (x, torch.arange(40) % 3))
    result = landscape.certify(objective, objective.theta, kernel=how)

    def outputs(theta):
        sizes = [one.numel() for one in module.parameters()]
        parts = zip(module.named_parameters(), theta.split(sizes), strict=True)
        tensors = {name: part.view_as(one) for (name, one), part in parts}
        return torch.func.functional_call(module, tensors, (x,)).flatten()

    whole = torch.autograd.functional.jacobian(outputs, objective.theta)
    assert result.status == "complete"
    assert result.ntk_largest == pytest.approx(float(torch.linalg.matrix_norm(whole, 2) ** 2), rel=1e-9)
    some = jacobian(objective, objective.present_point(), slice(5, 9))
    torch.testing.assert_close(some, whole[15:27], rtol=1e-10, atol=1e-12)
