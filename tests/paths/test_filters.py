"""A direction has the length of every output unit's weights, whatever the layout; the axis is stored and checked."""

import h5py
import numpy as np
import pytest
import torch
from plain import named
from torch import Tensor, nn
from used import With, draw

import landscape
from landscape import Objective
from landscape.analyses.sharpness import sharpness
from landscape.analyses.slice1d import slice1d
from landscape.analyses.slice2d import slice2d
from landscape.numerics import vectors
from landscape.numerics.pieces import Piece
from landscape.numerics.steps.ascent import filter_lengths


def backwards() -> Objective:
    """Two layers x @ W, whose units have weights of very different lengths."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.first) @ self.second

    module = With(forward, first=(4, 6), second=(6, 3)).double()
    with torch.no_grad():
        module.first *= 10.0 ** torch.arange(6) / 1000
        module.second *= torch.tensor([0.01, 1, 100])
    return Objective(module, "mse", (draw(20, 4).double(), draw(20, 3).double()))


def heads() -> Objective:
    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bi,hio->bho", x, self.w).flatten(1)

    return Objective(
        With(forward, w=(3, 4, 2)).double(), "mse", (draw(9, 4).double(), torch.zeros(9, 6).double())
    )


def placed() -> Objective:
    """Of its two parameters one is added, and has no outputs."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.place).flatten(1) @ self.w

    module = With(forward, place=(3, 4), w=(12, 2)).double()
    return Objective(module, "mse", (draw(9, 3, 4).double(), torch.zeros(9, 2).double()))


def by_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Directions that are normalised along axis 0 whatever the use."""
    monkeypatch.setattr(vectors, "filters", lambda piece, values: values.reshape(piece.shape[0], -1))
    monkeypatch.setattr(vectors, "from_filters", lambda piece, rows: rows.reshape(-1))


@pytest.mark.parametrize("analysis", [slice1d, slice2d])
def test_every_output_unit_moves_by_its_own_length(analysis):
    objective = backwards()
    result = analysis(objective, objective.theta, num_points=3)
    assert result.status == "complete"
    assert not result.notes
    for direction in np.atleast_2d(result.directions):
        for span, shape in ((slice(0, 24), (4, 6)), (slice(24, 42), (6, 3))):
            weights, moved = (np.reshape(one[span], shape) for one in (objective.theta.numpy(), direction))
            ratio = np.linalg.norm(moved, axis=0) / np.linalg.norm(weights, axis=0)
            np.testing.assert_allclose(ratio, 1, rtol=1e-14)


@pytest.mark.parametrize("make", [backwards, heads])
def test_a_direction_along_the_wrong_axis_fails_its_check(make, monkeypatch):
    by_rows(monkeypatch)
    objective = make()
    result = slice2d(objective, objective.theta, num_points=3)
    assert named(result)["direction norms"].value > 0.1
    assert result.status == "failed-checks"


@pytest.mark.parametrize("seed", range(3))
def test_a_direction_is_not_the_weights_that_the_same_seed_drew(seed):
    """An embedding of float64 is drawn by the numbers that its seed gives."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(
            nn.Embedding(500, 1, dtype=torch.float64), nn.Flatten(), nn.Linear(2, 1).double()
        )
    data = torch.arange(500).view(250, 2), draw(250, 1).double()
    objective = Objective(module, "mse", data)
    result = slice1d(objective, objective.theta, num_points=3, norm="layer", ignore=(), seed=seed)
    cosine = np.corrcoef(result.directions.ravel()[:500], objective.theta[:500])[0, 1]
    assert abs(cosine) < 5 / 500**0.5
    assert result.status == "complete", result.checks


def test_noise_along_the_wrong_axis_fails_the_check_of_sharpness(monkeypatch):
    options = {"num_draws": 2, "ascent_steps": 1, "rescaling": "none"}
    objective = backwards()
    assert named(sharpness(objective, objective.theta, **options))["direction norms"].passed
    by_rows(monkeypatch)
    assert not named(sharpness(objective, objective.theta, **options))["direction norms"].passed


def test_the_scales_of_sharpness_are_the_lengths_of_output_units():
    objective = backwards()
    lengths = filter_lengths(objective.theta, objective.pieces, ())[:24].view(4, 6)
    wanted = objective.theta[:24].view(4, 6).norm(dim=0)
    torch.testing.assert_close(lengths, wanted.expand(4, 6), rtol=1e-14, atol=0)


def test_a_layer_is_a_whole_parameter_whatever_its_units():
    objective = heads()
    result = slice2d(objective, objective.theta, num_points=3, norm="layer")
    lengths = np.linalg.norm(result.directions, axis=1) / float(objective.theta.norm())
    np.testing.assert_allclose(lengths, 1, rtol=1e-14)
    assert named(result)["direction norms"].passed


@pytest.mark.parametrize("make", [backwards, heads, placed])
def test_the_axes_are_read_back(make, tmp_path):
    objective = make()
    result = slice1d(objective, objective.theta, num_points=3)
    result.save(tmp_path / "a.h5")
    assert landscape.load(tmp_path / "a.h5").parameters == objective.pieces


def test_what_version_1_could_say_is_said_in_its_words(tmp_path):
    """So that a file of layers along one axis is the file it was."""
    module = nn.Sequential(nn.ConvTranspose1d(4, 6, 3, groups=2), nn.Flatten(), nn.Linear(48, 2))
    objective = Objective(module, "mse", (draw(9, 4, 6), torch.zeros(9, 2)))
    slice1d(objective, objective.theta, num_points=3).save(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert not {"units", "is_guess"} & set(file["parameters"])
        assert file["parameters/output_axis"][()].tolist() == [1, 0, 0, 0]
        assert file["parameters/groups"][()].tolist() == [2, 1, 1, 1]
    assert [one.units for one in landscape.load(tmp_path / "a.h5").parameters] == [
        (2, 3, 1),
        (1,),
        (2, 1),
        (1,),
    ]
    several = heads()
    slice1d(several, several.theta, num_points=3).save(tmp_path / "b.h5")
    with h5py.File(tmp_path / "b.h5") as file:
        assert file["parameters/units"].asstr()[()].tolist() == ["3x1x2"]


def test_a_guess_is_noted_where_it_counts():
    objective = placed()
    assert [piece.is_guess for piece in objective.pieces] == [True, False]
    for analysis, options in ((slice1d, {}), (slice2d, {}), (sharpness, {"num_draws": 2, "ascent_steps": 1})):
        size = {} if analysis is sharpness else {"num_points": 3}
        noted = analysis(objective, objective.theta, **options, **size).notes
        assert [note for note in noted if "shows no single output axis" in note and "place" in note], analysis
    for options in ({"norm": "layer"}, {"norm": "none"}, {"directions": "eigen"}):
        assert not slice1d(objective, objective.theta, num_points=3, **options).notes


def test_units_are_those_of_axis_0_where_nothing_else_is_said():
    assert Piece("w", (3, 4), 0, "weight").units == (3, 1)
    assert Piece("b", (3,), 0, "bias").units == (1,)
    assert Piece("s", (), 0, "vector").units == ()
