"""A narrow module among more units of 0: its function stays, or a sentence says why; in a wide net it is found."""

import re

import pytest
import torch
from symmetric import Grouped, Packed, Recurrent, Residual, built, image
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Objective
from landscape.errors import BadInput
from landscape.inputs.models.cnn import cnn
from landscape.inputs.models.mlp import mlp
from landscape.objective import plain
from landscape.symmetry.alignment import tensors_of
from landscape.symmetry.embedding import embedded
from landscape.symmetry.permutations import permuted
from landscape.symmetry.verified import symmetry_of


class Attention(nn.Module):
    """Queries, keys and values from one layer, so that a head more stands in three places of one tensor."""

    def __init__(self, heads: int):
        super().__init__()
        self.heads = heads
        self.project, self.out, self.head = nn.Linear(8, 12 * heads), nn.Linear(4 * heads, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        parts = self.project(x).view(n, length, 3, self.heads, 4).permute(2, 0, 3, 1, 4).unbind(0)
        y = functional.scaled_dot_product_attention(*parts)
        return self.head(torch.relu(self.out(y.transpose(1, 2).reshape(n, length, 4 * self.heads))).mean(1))


class Normed(nn.Module):
    """LayerNorm over hidden units, whose mean more of them would change."""

    def __init__(self, width: int):
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(4, width), nn.LayerNorm(width), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.norm(self.a(x))))


# A wide module, a narrow one, and the shape of their inputs.
PAIRS = {
    "mlp": (lambda: mlp((4,), 3, (9, 7)), lambda: mlp((4,), 3, (6, 7)), (4,)),
    "gelu": (lambda: mlp((4,), 3, (9, 7), activation="gelu"), lambda: mlp((4,), 3, (5, 3), activation="gelu"), (4,)),
    "channels": (
        lambda: cnn((8, 8), 3, (6, 8), batchnorm=True),
        lambda: cnn((8, 8), 3, (4, 5), batchnorm=True),
        (8, 8),
    ),
    "heads": (lambda: Attention(5), lambda: Attention(2), (5, 8)),
    "residual": (lambda: Residual(4, 8, 2, 3), lambda: Residual(4, 5, 2, 3), (4,)),
}  # fmt: skip


def problem(module: nn.Module, shape: tuple[int, ...]) -> Objective:
    x = image(12, *shape)()
    return Objective(module, "cross_entropy", (x, torch.arange(12) % 3))


@pytest.mark.parametrize("name", PAIRS)
def test_the_outputs_are_those_of_the_narrow_module(name):
    wide, narrow, shape = PAIRS[name]
    objective, module = problem(built(wide, 0), shape), built(narrow, 1)
    point = embedded(objective, module)
    own = problem(module, shape)
    assert plain.measure(objective, plain.by_name(objective, point)).loss == pytest.approx(
        plain.measure(own, plain.by_name(own, own.present_point())).loss, rel=1e-9
    )
    assert (point.theta == 0).sum() >= objective.num_parameters - own.num_parameters


def test_every_number_stands_where_it_should():
    objective, module = problem(built(PAIRS["mlp"][0], 0), (4,)), built(PAIRS["mlp"][1], 1)
    there, own = tensors_of(objective, embedded(objective, module)), dict(module.named_parameters())
    assert torch.equal(there["hidden1.weight"][:6], own["hidden1.weight"])
    assert not there["hidden1.weight"][6:].any()
    assert torch.equal(there["hidden2.weight"][:, :6], own["hidden2.weight"])
    assert not there["hidden2.weight"][:, 6:].any()
    assert torch.equal(there["output.weight"], own["output.weight"])


REFUSED = {
    "a norm over units": (lambda: Normed(8), lambda: Normed(6), "would change its outputs by"),
    "wider elsewhere": (
        lambda: mlp((4,), 3, (9, 7)), lambda: mlp((4,), 3, (6, 8)), re.escape("(8, 6) instead of (7, 9)")
    ),
    "deeper": (lambda: mlp((4,), 3, (9, 7)), lambda: mlp((4,), 3, (9,)), "not arranged as those"),
    "other outputs": (
        lambda: mlp((4,), 3, (9, 7)), lambda: mlp((4,), 2, (9, 7)), re.escape("(2, 7) instead of (3, 7)")
    ),
    "another function": (
        lambda: mlp((4,), 3, (9, 7)), lambda: mlp((4,), 3, (6, 7), activation="tanh"), "would change its outputs by"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_a_point_of_the_wide_one_is_refused(name):
    wide, narrow, said = REFUSED[name]
    with pytest.raises(BadInput, match=said):
        embedded(problem(built(wide, 0), (4,)), built(narrow, 1))


@pytest.mark.parametrize("make", [lambda: Packed("chunk"), lambda: Grouped("expand"), lambda: Recurrent()])
def test_a_module_of_the_same_widths_is_itself(make):
    shape = {"Packed": (5, 8), "Grouped": (5, 7), "Recurrent": (4, 3)}[type(make()).__name__]
    x = image(6, *shape)()
    objective = Objective(built(make, 0), lambda h, y: h.square().mean(), (x, torch.zeros(6)))
    other = built(make, 1)
    point = embedded(objective, other)
    assert torch.equal(point.theta, torch.cat([p.detach().flatten() for p in other.parameters()]))


@pytest.mark.parametrize("name", ["gelu", "heads"])
def test_a_narrow_net_is_found_in_a_wide_one_that_holds_it(name):
    """Units of 0 permuted among the others, and a little of everything added: they come back to their places."""
    wide, narrow, shape = PAIRS[name]
    objective = problem(built(wide, 0), shape)
    point = embedded(objective, built(narrow, 1))
    symmetry = symmetry_of(objective.module, (image(4, *shape)(),)).symmetry
    order = symmetry.random(torch.Generator().manual_seed(2))
    moved = objective.point(permuted(tensors_of(objective, point), symmetry, order))
    merged = landscape.merge(objective, [point, moved], batchnorm="frozen")
    assert merged.distance_after.max() < 1e-6 * merged.distance_before.min()
    assert merged.loss[2] == pytest.approx(merged.loss[0], rel=1e-9)


def trained(command, widths: str, seed: int) -> str:
    path = f"{widths.replace(',', '-')}.h5"
    words = (
        f"train --model mlp --model-arg widths={widths} --data moons --epochs 5 --seed {seed} -q -o {path}"
    )
    assert command(*words.split()).code == 0
    return path


def test_run_files_of_three_widths_are_merged_in_any_order(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [trained(command, widths, seed) for seed, widths in enumerate(("5,6", "8,6", "3,4"))]
    found = []
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        done = command("merge", *(paths[i] for i in order), "-o", f"{order}.h5", "-q")
        assert done.code == 0, done.err
        found.append(landscape.load(f"{order}.h5"))
    for one in found:
        assert not [check.name for check in one.checks if not check.passed]
        assert {"points", "as logged"} <= {check.name for check in one.checks}
        assert sum("with 0 for what it lacks" in note for note in one.notes) == 2
        for name, values in one.states["final"].items():
            assert (values == found[0].states["final"][name]).all()
    assert landscape.Run("(0, 1, 2).h5").recipe.model_arguments == {"widths": [8, 6]}
    assert landscape.Run("(0, 1, 2).h5").module() is not None
    aligned = command("align", paths[0], paths[1], "-q", "-o", "aligned.h5")
    assert aligned.code == 0, aligned.err
    refused = command("merge", paths[0], trained(command, "4,7", 3))
    assert refused.code == 2
    assert "no more units in any layer" in refused.err


def test_points_of_a_narrower_model_that_are_not_its_numbers_fail_their_check(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [trained(command, widths, seed) for seed, widths in enumerate(("5,6", "8,6"))]
    from landscape.symmetry import embedding

    plainly = embedding.placed

    def off(*args):
        return {name: 1.02 * one for name, one in plainly(*args).items()}

    monkeypatch.setattr(embedding, "placed", off)
    monkeypatch.setattr(embedding, "preserved", lambda found: 1.0)
    assert command("merge", *paths, "-o", "off.h5", "-q").code == 0
    assert {"points", "as logged"} <= {one.name for one in landscape.load("off.h5").checks if not one.passed}
