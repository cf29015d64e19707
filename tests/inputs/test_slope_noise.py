"""Slopes multiplied by noise that is drawn once: sheet values, the number of a sample goes with it, refusals."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import landscape
from landscape import Objective
from landscape.certificates.almost_every import ENOUGH, NOISE, UNITS, setting_of
from landscape.errors import BadInput
from landscape.inputs.models.mlp import mlp
from landscape.inputs.models.modified import modified
from landscape.inputs.models.slope_noise import SlopeNoise
from landscape.runs.run import Run

# Rows of X, targets, and 𝓔 by sample and unit.
X = torch.tensor([[2.0, 1], [1, 2], [1, 1]], dtype=torch.float64)
Y = torch.tensor([[1.0], [1], [0]], dtype=torch.float64)
NOISE_VALUES = (1, 2, 2, 1, -1, 1)


def net(width: int = 2, depth: int = 1, activation: str = "leaky_relu:0.1") -> nn.Module:
    torch.manual_seed(0)
    return mlp((2,), 1, activation=activation, bias=False, width=width, depth=depth)


def noisy(weights: Tensor, outgoing: Tensor, values: Any = NOISE_VALUES) -> Objective:
    base = net(len(weights)).double()
    with torch.no_grad():
        base.get_parameter("hidden1.weight").copy_(weights)
        base.get_parameter("output.weight").copy_(outgoing)
    changed = SlopeNoise(base, (2,), 3, values=values)
    return Objective(changed, "mse", ((X, torch.arange(3)), Y))


def test_the_first_bad_minimum_without_noise_is_no_critical_point_with_it():
    place = noisy(torch.full((2, 2), 3 / 22, dtype=torch.float64), torch.ones(1, 2))
    assert place.value(place.theta) == pytest.approx(0.0344352617, abs=1e-10)
    assert float(place.gradient(place.theta).norm()) == pytest.approx(1.397, abs=5e-4)
    found = landscape.certify(place, place.theta)
    assert found.pattern_rank == 3
    assert [one for one in found.checks if not one.passed] == []


def test_a_critical_point_with_outgoing_weights_zero_is_no_minimum():
    """The theorem is of minima: here ∇F = 0 and F = 2/3, though the pattern's matrix has full rank."""
    place = noisy(torch.tensor([[-4.1, 2.2], [-2.2, 1.4]], dtype=torch.float64), torch.zeros(1, 2))
    assert place.value(place.theta) == pytest.approx(2 / 3)
    assert float(place.gradient(place.theta).norm()) == pytest.approx(0, abs=1e-14)
    found = landscape.certify(place, place.theta)
    assert found.pattern_rank == 3
    states = dict(zip(found.assumption, found.state, strict=True))
    assert states["every outgoing weight ≠ 0"] == "fails"
    columns = [place.hvp(place.theta, e) for e in torch.eye(6, dtype=torch.float64)]
    assert float(torch.linalg.eigvalsh(torch.stack(columns))[0]) < -0.1


@pytest.mark.parametrize("depth", [1, 2])
def test_the_number_of_a_sample_goes_with_it(depth):
    generator = torch.Generator().manual_seed(2)
    x, y = (torch.randn(11, k, generator=generator, dtype=torch.float64) for k in (2, 1))
    base = net(3, depth).double()
    changed = SlopeNoise(base, (2,), 11, seed=4).double()
    values = [Objective(changed, "mse", ((x, torch.arange(11)), y), chunk_size=k) for k in (None, 1, 4)]
    z = x
    for number in range(depth):
        z = nn.functional.leaky_relu(z @ base.get_parameter(f"hidden{number + 1}.weight").T, 0.1)
        z = z * changed.get_buffer(f"noise{number}")
    wanted = float(nn.functional.mse_loss(z @ base.get_parameter("output.weight").T, y).detach())
    for one in values:
        assert one.value(one.theta) == pytest.approx(wanted, rel=1e-14)
        assert torch.allclose(one.gradient(one.theta), values[0].gradient(one.theta), rtol=1e-12)
    drawn = changed.get_buffer("noise0")
    assert drawn.dtype == torch.float64
    assert ((drawn - drawn.float()).abs() > 0).any()
    assert not torch.equal(drawn, SlopeNoise(base, (2,), 11, seed=5).get_buffer("noise0"))


def test_a_run_keeps_it_and_a_part_of_the_samples_has_that_of_these(tmp_path):
    asked: dict[str, Any] = {"model": "mlp", "model_arg": {"bias": False, "widths": 3}, "modify": "noise"}
    path = tmp_path / "a.h5"
    made = landscape.measure(
        None, "train", **asked, data="moons", loss="mse", epochs=1, output=path, dtype="float64", subset=20
    )
    assert [one for one in made.checks if not one.passed] == []
    assert made.final_test_loss is None
    assert any("no test loss" in note for note in made.notes)
    run = Run(path)
    whole, part = run.objectives().train, run.objectives(subset=7, seed=3).train
    (x, numbers), _ = part.samples
    assert numbers.tolist() != list(range(7))
    outputs = whole.module_at(whole.theta)(*whole.samples.inputs)
    assert torch.equal(whole.samples.inputs[0][numbers], x)
    assert torch.allclose(part.module_at(whole.theta)(x, numbers), outputs[numbers], rtol=1e-12)
    # The module alone, as it is handed out, agrees as well.
    noise = run.module().get_buffer("noise0")
    assert torch.equal(noise, whole.module_at(whole.theta).get_buffer("noise0"))
    assert noise.shape == (20, 3)


@pytest.mark.parametrize(
    ("base", "arguments", "message"),
    [
        (net(activation="tanh"), {}, "layers nn.ReLU, nn.LeakyReLU or nn.PReLU"),
        (net(), {"values": (1, 2, 3)}, "3 values of noise for 3 samples of 2 units; expected 6 numbers"),
        (net(), {"deviation": 0}, "a positive deviation"),
        (net(), {"sigma": 1}, "sigma"),
    ],
)
def test_what_does_not_fit_is_one_sentence(base, arguments, message):
    with pytest.raises(BadInput, match=message):
        modified("noise", arguments, 0, base, input_shape=(2,), num_outputs=1, num_samples=3)


def test_what_holds_of_the_theorem_is_seen_from_the_module():
    """d₀ = 2, so that n = 3 asks for two units; with numbers of one's own their law is not known."""

    def states(module: nn.Module, inputs: Any) -> dict[str, str]:
        return dict(setting_of(Objective(module, "mse", (inputs, Y)), 9).assumptions)

    drawn = states(SlopeNoise(net().double(), (2,), 3).double(), (X, torch.arange(3)))
    assert list(drawn.values()) == ["holds"] * 8 + ["cannot be known"]
    assert states(net().double(), X)[NOISE] == "fails"
    own = noisy(X[:2], torch.ones(1, 2))
    assert dict(setting_of(own, 9).assumptions)[NOISE] == "cannot be known"
    assert states(net(1).double(), X)[ENOUGH] == "fails"
    assert states(net(activation="relu").double(), X)[UNITS] == "fails"


def test_a_module_in_float32_stays_so():
    base = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    noisy = SlopeNoise(base, (2,), 5, seed=1)
    x = torch.randn(5, 2)
    found = noisy(x, torch.arange(5))
    assert found.dtype == torch.float32
    slopes = noisy.noise0.float()
    torch.testing.assert_close(found, base[2](torch.relu(base[0](x)) * slopes), rtol=1e-6, atol=1e-7)
