"""Alignment: the function of B stays, planted permutations come back, and what is said is so."""

from functools import cache

import numpy as np
import pytest
import torch
from plain import named, plain_loss
from symmetric import SPOILT, Decoder, Encoder, Grouped, Spoilt, built, numbers
from torch import nn

from landscape import Objective
from landscape.analyses import align, interpolate, merge, train
from landscape.errors import BadInput, ChangedFunction, NotFinite
from landscape.inputs.models.mlp import mlp
from landscape.inputs.models.resnet import resnet
from landscape.runs import store
from landscape.symmetry import alignment as alignments
from landscape.symmetry import symmetry_of
from landscape.symmetry.permutations import permuted
from landscape.symmetry.rescaling import factors, junctions


def problem(module: nn.Module, *shape: int, classes: int = 3, samples: int = 40) -> Objective:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(samples, *shape, generator=generator, dtype=torch.float64)
    return Objective(module, "cross_entropy", (x, torch.arange(samples) % classes))


@cache
def trained_ends():
    """An MLP's objective and two solutions from two initialisations, to be left as they are."""
    ends = []
    for seed in (1, 2):
        objective = problem(built(lambda: mlp((4,), 3, (16, 16)), seed), 4)
        result = train(objective, epochs=30, lr=0.1, batch_size=20, seed=seed)
        ends.append(objective.point({n: torch.from_numpy(v) for n, v in result.states["final"].items()}))
    return objective, *ends


@cache
def aligned_ends():
    return align(*trained_ends())


def planted(objective: Objective, seed: int = 0):
    """The present point with its units permuted at random."""
    module = objective.module
    symmetry = symmetry_of(module, tuple(part[:2] for part in objective.samples[0])).symmetry
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    detached = {name: tensor.detach() for name, tensor in tensors.items()}
    order = symmetry.random(torch.Generator().manual_seed(seed))
    return objective.point(permuted(detached, symmetry, order))


MODULES = {
    "mlp": (lambda: mlp((4,), 3, (12, 8), activation="gelu"), (4,)),
    "batch norm": (lambda: mlp((4,), 3, (12,), batchnorm=True, activation="gelu"), (4,)),
    "resnet": (lambda: resnet((2, 8, 8), 3, depth=8), (2, 8, 8)),
    "encoder": (lambda: Encoder(), (5, 8)),
    "grouped queries": (lambda: Grouped("expand"), (5, 7)),
}


@cache
def copies(name: str):
    """An objective, its point, and the same function with its units permuted."""
    factory, shape = MODULES[name]
    objective = problem(built(factory), *shape)
    return objective, objective.present_point(), planted(objective)


@pytest.mark.parametrize("match", ["weights", "activations"])
@pytest.mark.parametrize("name", MODULES)
def test_a_permuted_copy_comes_back_to_where_it_was(name, match):
    objective, a, b = copies(name)
    result = align(objective, a, b, match=match, num_points=5)
    final = objective.point({n: torch.from_numpy(v) for n, v in result.states["final"].items()})
    if match == "weights" or name in ("mlp", "batch norm", "grouped queries"):
        assert torch.equal(final.theta, a.theta)
        assert all(torch.equal(final.fixed[name], a.fixed[name]) for name in a.fixed)
        assert result.planted_recovered
        assert (result.distance_after, result.barrier_after) == (0, pytest.approx(0, abs=1e-12))
    assert result.distance_before > 0
    assert result.function_difference <= 1e-9
    assert objective.value(final.theta, final.fixed) == pytest.approx(
        objective.value(b.theta, b.fixed), rel=1e-12
    )


def test_two_solutions_come_closer_and_the_result_says_what_was_done():
    (objective, a, b), result = trained_ends(), aligned_ends()
    assert result.status == "complete"
    assert set(named(result)) >= {"aligned end", "function preserved", "no farther", "module untouched"}
    final = objective.point({n: torch.from_numpy(v) for n, v in result.states["final"].items()})
    assert result.distance_after == pytest.approx(float((final.theta - a.theta).norm()), rel=1e-12)
    assert result.distance_before == pytest.approx(float((b.theta - a.theta).norm()), rel=1e-12)
    assert result.distance_after < result.distance_before
    for i, t in enumerate(result.alpha):
        for loss, end in ((result.loss_before, b), (result.loss_after, final)):
            assert loss[i] == pytest.approx(
                plain_loss(objective, (1 - t) * a.theta + t * end.theta), rel=1e-12
            )
    assert (result.num_movable, result.num_parameters) == (5, 6)
    assert result.blocked.tolist() == ["output.bias"]
    assert "output" in result.blocked_reason[0]
    # The permutations as stored make B into the stored point.
    first, second = (result.permutation[result.unit_group == number] for number in (0, 1))
    tensors = dict(
        zip(
            (p.name for p in objective.pieces), b.theta.split([p.size for p in objective.pieces]), strict=True
        )
    )
    for name, order in (("hidden1.bias", first), ("hidden2.bias", second)):
        np.testing.assert_array_equal(tensors[name].numpy()[order], result.states["final"][name])
    assert result.group.tolist() == ["hidden1.weight[0]", "hidden2.weight[0]"]
    assert result.group_size.tolist() == [16, 16]


def test_the_function_stays_for_every_way_of_matching():
    objective, a, b = trained_ends()
    found = {}
    for options in (
        {},
        {"match": "activations"},
        {"match": "activations", "symmetry": "scaling"},
        {"symmetry": "scaling"},
        {"refine": 20},
        {"refine": 20, "symmetry": "scaling"},
    ):
        result = align(objective, a, b, **options) if options else aligned_ends()
        found[str(options)] = result
        assert result.function_difference <= 1e-9
        assert result.status == "complete", options
        if options.get("match") != "activations":
            assert result.distance_after < result.distance_before
        is_mixed = "permutations are matched by activations, the other maps by weights" in result.notes
        assert is_mixed == (options.get("match") == "activations" and "symmetry" in options)
    assert found["{'symmetry': 'scaling'}"].distance_after < found["{}"].distance_after
    middle = result.alpha == 0.5
    assert found["{'refine': 20}"].loss_after[middle] <= found["{}"].loss_after[middle]


def test_a_line_that_maps_have_lowered_below_its_ends_is_said():
    """F = (v·w − 2)² of two ReLU units from vw near 1: half way to an end of other scales vw is larger."""
    net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False)).double()
    objective = Objective(net, "mse", (torch.ones(1, 1).double(), torch.full((1, 1), 2.0).double()))
    a, b = (
        objective.as_point(torch.tensor(one, dtype=torch.float64))
        for one in ([1.0, 0.5, 0.5, 1.0], [1.1, 0.5, 0.5, 1.0])
    )
    found = align(objective, a, b, symmetry="scaling", refine=100)
    (said,) = [note for note in found.notes if note.startswith("B was moved")]
    times = found.distance_after / found.distance_before
    assert f"{times:.2g} times its distance" in said
    assert found.loss_after.min() < found.loss_after[[0, -1]].min()
    assert not any("B was moved" in note for note in align(objective, a, b, symmetry="scaling").notes)


def test_rescaled_and_permuted_copies_come_back_too():
    objective = problem(built(lambda: mlp((4,), 3, (12, 8))), 4)
    a, b = objective.present_point(), planted(objective)
    found = junctions(objective.module, objective.pieces)
    generator = torch.Generator().manual_seed(4)
    by = torch.ones_like(b.theta)
    for piece, each in factors(found, per="unit", generator=generator):
        by[piece.span] *= each
    result = align(objective, a, objective.as_point(b.theta * by), symmetry="scaling", num_points=5)
    assert result.distance_after < 1e-6 * result.distance_before
    assert result.function_difference <= 1e-9
    assert result.num_rescaled == 20
    assert align(objective, a, objective.as_point(b.theta * by), num_points=5).distance_after > 1


@pytest.mark.parametrize("match", ["weights", "activations"])
def test_units_of_odd_activations_turn_their_signs(match):
    objective = problem(built(lambda: mlp((4,), 3, (12, 8), activation="tanh")), 4)
    a, b = objective.present_point(), planted(objective)
    turned = dict(
        zip(
            (p.name for p in objective.pieces), b.theta.split([p.size for p in objective.pieces]), strict=True
        )
    )
    signs = torch.where(torch.arange(8) % 3 == 0, -1.0, 1.0).double()
    turned = {p.name: turned[p.name].view(p.shape).clone() for p in objective.pieces}
    turned["hidden2.weight"] *= signs[:, None]
    turned["hidden2.bias"] *= signs
    turned["output.weight"] *= signs
    result = align(objective, a, objective.point(turned), match=match, num_points=5)
    assert result.distance_after == 0
    assert result.sign is not None
    np.testing.assert_array_equal(result.sign[result.unit_group == 1], signs)
    assert "3 units" in " ".join(result.notes)


class Steps(nn.Module):
    """A width whose maps move the biases that translations move: Euler's steps along a small net."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 3)
        self.slope = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        for _ in range(4):
            y = y + self.slope(y) / 4
        return self.last(y)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_maps_are_the_nearest_beside_translations_too(seed):
    first, second = (problem(built(lambda: Steps(), one), 4) for one in (0, seed))
    result = align(first, first.present_point(), second.present_point(), symmetry="all", num_points=3)
    assert {"invertible", "translation"} <= set(result.used_kind.tolist())
    assert {one.name: one for one in result.checks}["nearest maps"].passed


class Capsules(nn.Module):
    """Votes of pairs of units are added, and only the length of each sum is seen: two maps meet in one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.votes = nn.Linear(4, 8), nn.Parameter(torch.randn(4, 3, 2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pairs = self.first(x).reshape(len(x), 4, 2)
        return torch.einsum("bic,iocd->bod", pairs, self.votes).norm(dim=-1)


def test_maps_go_on_from_permutations_alone_where_these_are_closer(monkeypatch):
    first, second = (problem(built(lambda: Capsules(), seed), 4) for seed in (0, 1))
    ends = first, first.present_point(), second.present_point()
    alone = align(*ends, num_points=3)
    nearest = alignments.nearest_of_orbit
    monkeypatch.setattr(
        alignments, "nearest_of_orbit", lambda *a, **b: nearest(*a, **b)._replace(distance=torch.inf)
    )
    result = align(*ends, symmetry="all", num_points=3)
    assert result.distance_after < alone.distance_after
    assert "nearest maps" in {check.name for check in result.checks}
    assert all(check.passed for check in result.checks)


def test_rescaling_needs_layers_that_allow_it():
    objective = problem(built(lambda: mlp((4,), 3, (12,), activation="gelu")), 4)
    result = align(objective, objective.present_point(), planted(objective), symmetry="scaling", num_points=3)
    assert any("nothing but permutations" in note for note in result.notes)
    assert result.num_rescaled == 0


def test_in_float32_the_function_is_still_kept_to_the_last_bit_but_summation():
    module = built(lambda: mlp((4,), 3, (12, 8))).float()
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    objective = Objective(module, "cross_entropy", (x, torch.arange(20) % 3))
    a, b = objective.present_point(), planted(objective)
    result = align(objective, a, b, num_points=5)
    assert result.status == "complete"
    assert result.distance_after == 0
    # Rescaled weights are rounded when stored, which is measured beside the exact change.
    rescaled = align(objective, a, b, symmetry="scaling", num_points=5)
    assert rescaled.status == "complete"
    assert rescaled.function_difference <= 1e-9
    assert named(rescaled)["as stored"].value <= named(rescaled)["as stored"].bound == 2e-5


def test_interpolate_can_align_first():
    objective, a, b = trained_ends()
    result, aligned = interpolate(objective, a, b, align=True, num_points=61), aligned_ends()
    np.testing.assert_array_equal(result.loss, aligned.loss_after)
    assert result.distance == aligned.distance_after
    assert named(result)["function preserved"].passed
    assert result.notes[0].startswith("B was aligned first: 5 of 6 parameters movable")


def test_the_same_seed_gives_the_same_alignment():
    objective, a, b = trained_ends()
    one, other = (align(objective, a, b, seed=3, refine=5) for _ in range(2))
    np.testing.assert_array_equal(one.permutation, other.permutation)
    np.testing.assert_array_equal(one.loss_after, other.loss_after)


def test_it_is_saved_and_read_back(tmp_path):
    result = align(*copies("encoder"), num_points=3)
    store.save(result, tmp_path / "x.h5")
    again = store.load(tmp_path / "x.h5")
    assert again.group.tolist() == result.group.tolist()  # pyright: ignore[reportAttributeAccessIssue]
    assert again.blocked_reason.tolist() == result.blocked_reason.tolist()  # pyright: ignore
    assert "" in result.group_outer.tolist()
    assert set(result.group_outer.tolist()) - {""} < set(result.group.tolist())


def test_what_is_blocked_is_said():
    objective = problem(built(lambda: Spoilt(SPOILT["sorted"])), 4)
    result = align(objective, objective.present_point(), planted(objective), num_points=3)
    assert result.distance_after == 0
    reasons = dict(zip(result.blocked.tolist(), result.blocked_reason.tolist(), strict=True))
    assert "sort" in reasons["b.bias"]
    assert result.notes[0].startswith(
        "3 of 6 parameters movable; these blocked: b.bias [0] sort does not commute"
    )


def test_a_module_without_hidden_units_has_nothing_to_align():
    objective = problem(nn.Linear(4, 3).double(), 4)
    with pytest.raises(
        BadInput, match=r"no unit of Linear can be permuted \(weight: \[0\] an output of the module"
    ):
        align(objective, objective.theta, objective.theta)


def test_a_module_that_branches_on_its_data_gets_a_sentence():
    objective = problem(built(lambda: Spoilt(lambda x: x if x.sum() > 0 else -x)), 4)
    with pytest.raises(BadInput, match="Spoilt cannot be traced"):
        align(objective, objective.theta, objective.theta)


def test_an_alignment_that_would_change_the_function_is_refused_with_the_layer(monkeypatch):
    objective = problem(built(lambda: mlp((4,), 3, (12, 8), activation="gelu")), 4)

    def wrong(*arguments, **options):
        traced = symmetry_of(*arguments, **options)
        symmetry = traced.symmetry
        blocks = tuple(block for block in symmetry.blocks if block.tensor != "output.weight")
        kept = type(symmetry)(symmetry.groups, blocks, symmetry.names, symmetry.reasons)
        return traced._replace(symmetry=kept)

    monkeypatch.setattr(alignments, "symmetry_of", wrong)
    with pytest.raises(ChangedFunction, match=r"most at hidden2\.weight\[0\]") as caught:
        align(objective, objective.present_point(), planted(objective))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("symmetry", ["permutation", "all"])
def test_points_that_diverged_are_named(symmetry):
    objective = problem(built(lambda: mlp((4,), 3, (5,))), 4)
    good, lost = objective.theta, objective.theta.clone()
    lost[3] = torch.nan
    said = rf"1 of {len(lost)} numbers of point \d are NaN or infinite"
    for pair in ((good, lost), (lost, good)):
        with pytest.raises(NotFinite, match=said):
            align(objective, *pair, symmetry=symmetry)
        with pytest.raises(NotFinite, match=said):
            merge(objective, pair, symmetry=symmetry)


@pytest.mark.parametrize(
    ("options", "message"),
    [],
)
def test_bad_options_are_named(options, message):
    objective = problem(built(lambda: mlp((4,), 3, (5,))), 4)
    with pytest.raises(BadInput, match=message):
        align(objective, objective.theta, objective.theta, **options)


@pytest.mark.parametrize("between", [torch.square, torch.tanh], ids=["even", "odd"])
def test_signs_are_turned_only_where_the_module_itself_is_odd_between_the_layers(between):
    """Its layers stand in an ``nn.Sequential`` whose order is not all that is done."""

    class Between(nn.Module):
        def __init__(self, seed):
            super().__init__()
            torch.manual_seed(seed)
            self.net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()

        def forward(self, x):
            return self.net[2](between(self.net[1](self.net[0](x))))

    x = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    objective = Objective(Between(0), "cross_entropy", (x, torch.arange(9) % 2))
    points = [objective.present_point(), objective.point(Between(1).state_dict())]
    result = align(objective, *points, num_points=3)
    assert (result.status, result.sign is None) == ("complete", between is torch.square)
    merged = merge(objective, points, restarts=1)
    assert merged.status == "complete"


def test_what_other_maps_move_is_not_said_to_be_blocked():
    """What is added to the biases of a norm is taken back from that of the outputs, which no permutation moves."""
    a, b = (
        built(lambda: nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3)), seed)
        for seed in (0, 1)
    )
    objective = problem(a, 4)
    ends = objective.present_point(), objective.point(b.state_dict())
    for symmetry, blocked in (("permutation", ["2.bias"]), ("all", [])):
        result = align(objective, *ends, symmetry=symmetry, num_points=3)
        assert result.blocked.tolist() == blocked
        assert f"{6 - len(blocked)} of 6 parameters movable" in result.notes[0]
        both = merge(objective, ends, symmetry=symmetry, restarts=1)
        assert both.num_movable == result.num_movable == 6 - len(blocked)
        assert {result.status, both.status} == {"complete"}


def test_a_penalty_that_a_rescaling_moves_is_said():
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double() for _ in range(2)]
    x = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    objective = Objective(nets[0], "cross_entropy", (x, torch.arange(9) % 2), l2=0.1)
    points = [objective.present_point(), objective.point(nets[1].state_dict())]
    for symmetry, is_said in (("permutation", False), ("scaling", True)):
        result = align(objective, *points, symmetry=symmetry, num_points=3)
        assert any(note.startswith("F of B was") for note in result.notes) == is_said


@pytest.mark.parametrize("match", ["weights", "activations"])
@pytest.mark.parametrize("symmetry", ["permutation", "all"])
def test_signs_are_those_that_the_stored_units_have(match, symmetry):
    first, second = (
        problem(built(lambda: mlp((4,), 3, (5, 6), activation="tanh"), one), 4) for one in (0, 1)
    )
    ends = first.present_point(), second.present_point()
    result = align(first, *ends, match=match, symmetry=symmetry, num_points=3)
    assert all(check.passed for check in result.checks)
    assert "moved by hand" in {check.name for check in result.checks}
    own = result.unit_group == 0
    order, sign = result.permutation[own], result.sign[own]
    given = {piece.name: ends[1].theta[piece.span].reshape(piece.shape) for piece in first.pieces}
    (name,) = [one for one in given if given[one].shape == (5, 4)]
    np.testing.assert_array_equal(result.states["final"][name], (sign[:, None] * given[name].numpy())[order])


def test_signs_are_not_read_from_the_zeros_of_a_norm():
    """A fresh batch norm has a bias of zeros, which has either sign, and a gain that the layer before scales."""

    torch.manual_seed(0)
    nets = [
        nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)).double()
        for _ in range(2)
    ]
    first = problem(nets[0], 4)
    second = first.point(nets[1].state_dict())
    result = align(first, first.present_point(), second, symmetry="scaling", num_points=3)
    assert all(check.passed for check in result.checks)
    rows = {piece.name: second.theta[piece.span].reshape(piece.shape) for piece in first.pieces}
    given, stored = rows["3.weight"].numpy(), result.states["final"]["3.weight"]
    np.testing.assert_array_equal(stored, (result.sign * given)[:, result.permutation])
    assert (result.sign < 0).any()


@pytest.mark.parametrize("symmetry", ["scaling", "all"])
def test_a_stream_that_is_tied_to_the_output_turns_its_signs_beside_the_last_gain(symmetry):
    """Embeddings that are the output too hold the scale of the stream, not its signs, which a gain does not see."""

    def tied():
        module = Decoder(width=4)
        module.head.weight = module.embedding.weight
        return module

    a, b = (built(tied, seed).double() for seed in (0, 1))
    x = numbers(11, 12, 5)()
    objective = Objective(a, lambda outputs, targets: outputs.square().mean((1, 2)), (x, torch.zeros(12)))
    with torch.no_grad():
        b.embedding.weight.copy_(b.embedding.weight * torch.tensor([1.0, -1, 1, -1]))
    result = align(
        objective, objective.present_point(), objective.point(b.state_dict()), symmetry=symmetry, num_points=3
    )
    found = named(result)
    assert (result.sign < 0).any()
    assert found["moved by hand"].passed, found["moved by hand"]
    assert result.status == "complete"


def test_a_stored_point_in_float64_is_held_to_no_more_than_the_maps_that_made_it():
    """Products of invertible maps cancel: 2e-12 of the function failed where these are held to 1e-9."""
    generator = torch.Generator().manual_seed(0)
    a, b, data = (torch.randn(n, generator=generator, dtype=torch.float64) for n in (48, 48, 72))
    module = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Linear(6, 2, bias=False)).double()
    objective = Objective(module, "mse", (data[:54].view(9, 6), data[54:].view(9, 2)))
    points = (objective.as_point(one) for one in (a, b))
    found = named(align(objective, *points, symmetry="all", num_points=3))
    assert found["as stored"].passed
    assert found["as stored"].bound == found["function preserved"].bound
