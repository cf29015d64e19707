"""Problems at the edge of what numbers can say: right ones pass every check, and none ends in a traceback."""

import json

import pytest
import torch
from torch import nn

import landscape
from landscape import Objective
from landscape.errors import BadInput

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(20, 4, generator=GENERATOR)
LABELS = torch.randint(3, (20,), generator=GENERATOR)


def net(outputs: int = 3) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, outputs))


def coarse() -> Objective:
    return Objective(net().bfloat16(), "cross_entropy", (X.bfloat16(), LABELS))


def exact() -> Objective:
    """Targets are the outputs: F and its gradients vanish but for rounding."""
    layer = nn.Linear(4, 1)
    return Objective(layer, "mse", (X, layer(X).detach()))


def huge() -> Objective:
    """Steps diverge at once."""
    return Objective(net(1), "mse", (X, 1e4 * X[:, :1]))


def alike() -> Objective:
    """Every sample is the same, so that no error is left to chance."""
    return Objective(net(), "cross_entropy", (X[:1].expand(10, 4).clone(), torch.zeros(10, dtype=torch.long)))


def weighted() -> Objective:
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]), ignore_index=0)
    return Objective(net(), loss, (X, LABELS))


def pair(objective: Objective) -> tuple:
    return objective, objective.theta, objective.theta.flip(0)


KINDS = {
    "slice1d": lambda o: landscape.slice1d(o, o.theta, num_points=5, draws=2),
    "slice2d": lambda o: landscape.slice2d(o, o.theta, num_points=5),
    "sharpness": lambda o: landscape.sharpness(o, o.theta, sigmas=(0.01,), num_draws=4, ascent_steps=2),
    "compare": lambda o: landscape.compare(
        o,
        [o.theta, o.theta.flip(0)],
        draws=2,
        rise=0.01,
        num_points=3,
        noise_draws=2,
        ascent_steps=1,
        line_points=3,
    ),
    "certify": lambda o: landscape.certify(o, o.theta),
    "connect": lambda o: landscape.connect(*pair(o), epochs=2, batch_size=8, num_points=5, lr=0.01),
    "noise": lambda o: landscape.noise(
        o, o.theta, step_sizes=(0.01, 0.02), batch_sizes=(1, 2), num_steps=6, num_seeds=2
    ),
    "escape": lambda o: landscape.escape(o, o.theta, num_seeds=2, max_steps=20, directions=9, drop=1e-4),
    "critical": lambda o: landscape.critical(o, o.theta, begin="points", max_steps=5),
    "gauss-newton": lambda o: landscape.hessian(o, o.theta, top_k=1, operator="gauss-newton", exact=True),
    "empirical Fisher": lambda o: landscape.hessian(o, o.theta, top_k=1, operator="empirical-fisher"),
}


@pytest.mark.parametrize(
    ("problem", "kinds"),
    [
        (coarse, {*KINDS}),
        (exact, {*KINDS}),
        (huge, {*KINDS}),
        (alike, {*KINDS}),
        (weighted, {*KINDS} - {"noise", "empirical Fisher"}),
    ],
)
def test_right_numbers_pass(problem, kinds):
    for kind in kinds:
        result = KINDS[kind](problem())
        assert [one for one in result.checks if not one.passed] == [], kind
        assert json.loads(json.dumps(result.as_json()))["kind"] == result.kind


def test_an_exported_graph_has_the_numbers_of_its_module_and_one_mode():
    exported = torch.export.export(net(), (X,), dynamic_shapes=({0: torch.export.Dim("n")},)).module()
    here, there = (Objective(one, "cross_entropy", (X, LABELS)) for one in (exported, net()))
    found, expected = (landscape.hessian(one, one.theta, top_k=2) for one in (here, there))
    assert found.status == "complete"
    assert found.eigenvalues == pytest.approx(expected.eigenvalues, rel=1e-5)
    assert landscape.train(here, epochs=2, batch_size=5).status == "complete"
    said = Objective(exported, "cross_entropy", (X, LABELS), training=True).notes
    assert [note for note in said if "mode" in note] == here.notes != there.notes
    assert "has one mode" in here.notes[0]


class OfAll(nn.Module):
    """Takes no other number of samples than all."""

    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        if len(x) != len(X):
            raise AssertionError
        return self.net(x)


def test_a_module_that_wants_all_samples_says_so_where_it_gets_a_part():
    objective = Objective(OfAll(), "cross_entropy", (X, LABELS))
    with pytest.raises(BadInput, match=r"takes all of them together \(AssertionError\).*gradient descent"):
        landscape.train(objective, epochs=1, batch_size=5)
    assert landscape.train(objective, epochs=1, method="gd").status == "complete"
    assert landscape.align(objective, objective.theta, objective.theta.flip(0)).status == "complete"


class Pixels(nn.Module):
    """Makes float32 of bytes itself, so that it takes no weights of another dtype."""

    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        return self.net(x.float() / 255)


def test_what_takes_no_float64_is_measured_as_it_is_and_says_so():
    pixels = torch.randint(256, (20, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    objective = Objective(Pixels(), "cross_entropy", (pixels, LABELS))
    plain = Objective(net(), "cross_entropy", (pixels / 255, LABELS))
    found, expected = (landscape.hessian(one, one.theta, top_k=3) for one in (objective, plain))
    assert found.status == "complete"
    assert found.eigenvalues == pytest.approx(expected.eigenvalues, rel=1e-4)
    assert any("not in float64, which Pixels does not take" in note for note in found.notes)
    with pytest.raises(
        BadInput, match="a certificate in float32, not in float64, which Pixels does not take"
    ):
        landscape.hessian(objective, objective.theta, certify=True)
    with pytest.raises(BadInput, match=r"`x.to\(weight.dtype\)` in the place of"):
        landscape.align(objective, objective.theta, objective.theta.flip(0))
    with pytest.raises(BadInput, match="local minima of Pixels, which does not take float64"):
        landscape.minima(
            lambda width, depth, seed: objective, widths=(2,), depths=(1,), restarts=(2,), steps=2
        )
    plane = landscape.slice2d(objective, objective.theta, num_points=3, directions="eigen")
    assert "curvature along α" in {check.name for check in plane.checks}
    for result in (
        plane,
        landscape.sharpness(objective, objective.theta, num_draws=2, ascent_steps=1),
        landscape.certify(objective, objective.theta),
        landscape.noise(objective, objective.theta, num_seeds=2, num_steps=200, descent_steps=100),
    ):
        assert result.status == "complete", result


def test_a_parameter_without_numbers_has_no_filters():
    class Empty(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.none = net(), nn.Parameter(torch.zeros(0, 4))

        def forward(self, x):
            return self.net(x) + (x @ self.none.T).sum()

    objective = Objective(Empty(), "cross_entropy", (X, LABELS))
    assert landscape.slice2d(objective, objective.theta, num_points=3).status == "complete"
    assert landscape.hessian(objective, objective.theta, top_k=1, per_layer=True).status == "complete"


@pytest.mark.parametrize("operator", ["hessian", "gauss-newton"])
def test_a_matrix_of_zeros_has_all_its_eigenvalues_near_zero(operator):
    objective = Objective(net(1)[0], lambda o, t: (o * t).mean(), (X, torch.ones(20, 5)))
    found = landscape.hessian(
        objective, objective.theta, top_k=2, operator=operator, trace=True, density=True
    )
    assert (found.status, float(found.mass_near_zero), float(found.mass_below_zero)) == ("complete", 1, 0)
