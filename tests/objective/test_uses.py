"""Filters are output units whatever the layout: by hand, and by which entries of a weight move which outputs."""

import pytest
import torch
from torch import Tensor, nn
from used import USED, made

from landscape import distributed
from landscape.numerics.pieces import Piece, filters
from landscape.objective.objective import Objective
from landscape.objective.parametrised import Parametrised
from landscape.objective.samples import Samples
from landscape.objective.tracing import uses_in
from landscape.objective.trial import Trial
from landscape.objective.uses import Uses, guesses, told


def pieces_of(module: nn.Module, inputs: tuple) -> dict[str, Piece]:
    """The pieces of θ with what is seen of their use on ``inputs``."""
    subject = Parametrised(module, dtype=None, device=None, pieces=None)
    count = len(torch.utils._pytree.tree_leaves(inputs)[0])
    samples = Samples(inputs, torch.zeros(count), count, slice(0, count)).to(subject.device, None)
    trial = Trial(subject, samples)
    return {piece.name: piece for piece in told(subject.pieces, uses_in(trial, None))}


@pytest.mark.parametrize("name", USED)
def test_units_are_those_of_the_use(name):
    used = USED[name]
    pieces = pieces_of(made(name), used.inputs)
    found = {
        name: None if piece.is_guess else piece.units
        for name, piece in pieces.items()
        if len(piece.shape) > 1
    }
    assert found == used.units


def numbers_of_filters(piece: Piece) -> Tensor:
    """For every entry of the parameter, which filter it is in."""
    rows = filters(piece, torch.arange(piece.size))
    numbers = torch.empty(piece.size, dtype=torch.int64)
    for number, row in enumerate(rows):
        numbers[row] = number
    return numbers


@pytest.mark.parametrize("name", [name for name, used in USED.items() if used.axis is not None])
def test_a_filter_is_what_moves_one_output_unit(name):
    """Entries i and j are in one filter where the output units with ∂h/∂wᵢ ≠ 0 are those with ∂h/∂wⱼ ≠ 0."""
    used, module = USED[name], made(name).double()
    inputs = torch.utils._pytree.tree_map(lambda one: one.double(), used.inputs)
    for weight, piece in pieces_of(module, inputs).items():
        if len(piece.shape) < 2:
            continue

        def outputs(value: Tensor, weight: str = weight) -> Tensor:
            return torch.func.functional_call(module, {weight: value}, inputs)

        slopes = torch.autograd.functional.jacobian(outputs, module.get_parameter(weight).detach())
        axes = [used.axis] if isinstance(used.axis, int) else list(used.axis or ())
        dims = slopes.dim() - len(piece.shape)
        others = [axis for axis in range(dims) if axis not in [one % dims for one in axes]]
        moves = (slopes.abs().amax(others) > 0).reshape(-1, piece.size).T
        alive = moves.any(1)
        assert alive.sum() > 1
        moves, number = moves[alive], numbers_of_filters(piece)[alive]
        together = (moves[:, None] == moves[None]).all(2)
        assert torch.equal(together, number[:, None] == number[None])


class Scaled(nn.Module):
    """A linear layer of unit rows, with a scale: it is no normalisation layer, whatever its name."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, nn.functional.normalize(self.weight, dim=1), self.bias)


class NormedLinear(Scaled):
    pass


class Normal(nn.Module):
    """A log density, whose scale scales no activations."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.scale = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return -((x - self.mean) ** 2).sum(1) / (2 * self.scale**2) - self.scale.log()


class RootMeanSquare(nn.Module):
    """As in Llama; ``root`` says in which words the same is computed."""

    def __init__(self, root: str = "rsqrt") -> None:
        super().__init__()
        self.gain, self.root = nn.Parameter(torch.ones(4)), root

    def forward(self, x: Tensor) -> Tensor:
        square = x.pow(2).mean(-1, keepdim=True) + 1e-6
        scaled = {
            "rsqrt": lambda: x * torch.rsqrt(square),
            "sqrt": lambda: x / square.sqrt(),
            "pow": lambda: x * square**-0.5,
            "normalize": lambda: nn.functional.normalize(x, dim=-1),
        }
        return self.gain * scaled[self.root]()


class ChannelsFirst(nn.Module):
    """A layer norm over the channels of images, its parameters in their shape."""

    def __init__(self) -> None:
        super().__init__()
        self.gain, self.shift = nn.Parameter(torch.ones(1, 4, 1, 1)), nn.Parameter(torch.zeros(1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        spread = (x.var(1, keepdim=True, unbiased=False) + 1e-6).sqrt()
        return self.gain * (x - x.mean(1, keepdim=True)) / spread + self.shift


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain, self.shift = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, (4,), self.gain, self.shift)


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain, self.shift = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sqrt(1 + (self.gain * x + self.shift) ** 2) ** torch.full((4,), 2.0)


X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(5, 4, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("module", "inputs", "roles"),
    [
        (NormedLinear, X, ["weight", "bias"]),
        (Normal, X, ["vector", "vector"]),
        (Gate, X, ["vector", "vector"]),
        (lambda: nn.PReLU(4), X, ["vector"]),
        (RootMeanSquare, X, ["norm"]),
        (lambda: RootMeanSquare("sqrt"), X, ["norm"]),
        (lambda: RootMeanSquare("pow"), X, ["norm"]),
        (lambda: RootMeanSquare("normalize"), X, ["norm"]),
        (ChannelsFirst, IMAGES, ["norm", "norm"]),
        (Functional, X, ["norm", "norm"]),
        (lambda: nn.RMSNorm(4), X, ["norm"]),
        (lambda: nn.LayerNorm(4), X, ["norm", "norm"]),
        (lambda: nn.BatchNorm2d(4), IMAGES, ["norm", "norm"]),
        (lambda: nn.InstanceNorm2d(4, affine=True), IMAGES, ["norm", "norm"]),
        (lambda: nn.GroupNorm(2, 4), IMAGES, ["norm", "norm"]),
        (lambda: nn.Sequential(nn.Linear(4, 4), RootMeanSquare()), X, ["weight", "bias", "norm"]),
    ],
)
def test_a_layer_is_a_norm_by_what_it_does(module, inputs, roles):
    assert [piece.role for piece in pieces_of(module(), (inputs,)).values()] == roles


def test_layers_of_torch_are_known_where_the_pass_does_not_reach_them():
    module = nn.ModuleDict({"used": nn.Linear(4, 3), "idle": nn.ConvTranspose1d(4, 6, 3, groups=2)})
    module.forward = lambda x: module["used"](x)
    pieces = pieces_of(module, (X,))
    assert pieces["idle.weight"].units == (2, 3, 1)
    assert not any(piece.is_guess for piece in pieces.values())


def test_a_layer_of_torch_that_is_used_otherwise_has_the_filters_of_its_use():
    class Backwards(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return input @ self.weight

    assert pieces_of(Backwards(3, 4), (X,))["weight"].units == (1, 3)


def test_what_does_not_run_while_it_is_watched_is_taken_by_convention():
    class Shy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(4, 3))

        def forward(self, x: Tensor) -> Tensor:
            if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
                raise RuntimeError("watched")
            return x @ self.w

    (piece,) = pieces_of(Shy(), (X,)).values()
    assert (piece.units, piece.is_guess) == ((4, 1), True)
    (objective, *_) = [Objective(Shy(), "mse", (X, torch.zeros(5, 3)))]
    assert objective.pieces == (piece,)


def test_watching_leaves_the_module_as_it_was():
    module = nn.Sequential(RootMeanSquare(), nn.Linear(4, 3))
    before = [dict(layer.__dict__) for layer in module.modules()]
    weights = [one.clone() for one in module.parameters()]
    pieces_of(module, (X,))
    assert [dict(layer.__dict__) for layer in module.modules()] == before
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in module.modules())
    assert all(torch.equal(one, was) for one, was in zip(module.parameters(), weights, strict=True))


def test_a_note_names_what_is_guessed_and_moves():
    names = ["a", "b", "c", "d", "e"]
    pieces = [Piece(name, (2, 3), 0, "norm" if name == "e" else "weight", is_guess=True) for name in names]
    (note,) = guesses(pieces, ("norm",))
    assert note.startswith("the module's use of a, b, c and 1 more shows no single output axis")
    assert not guesses(pieces, ("norm", "weight"))
    assert not guesses([Piece("w", (2, 3), 0, "weight")])


def test_a_part_of_an_objective_and_a_twin_on_other_data_keep_what_was_seen(monkeypatch):
    module = USED["times a matrix"].module()
    objective = Objective(module, "mse", (X, torch.zeros(5, 3)))
    assert [piece.units for piece in objective.pieces] == [(1, 3)]
    monkeypatch.setattr("landscape.objective.fit.uses_in", lambda *args: pytest.fail("watched again"))
    twin = objective.on((X[:2], torch.zeros(2, 3)))
    assert twin.pieces == objective.pieces
    assert objective.varied(pieces=objective.pieces[:1]).pieces == objective.pieces


def test_processes_that_saw_different_things_go_by_the_first(monkeypatch):
    piece = Piece("w", (2, 3, 4), 0, "weight")
    first, second = Uses(summed={"w": {(2, 1, 4)}}, norms={"v"}), Uses()
    pieces = [piece, Piece("v", (3,), 24, "vector")]
    alone = told(pieces, first)
    sent: list[object] = []

    def from_first(work):
        sent.append(work() if not sent else sent[0])
        return sent[-1]

    monkeypatch.setattr(distributed, "from_first", from_first)
    assert [told(pieces, uses) for uses in (first, second)] == [alone, alone]
    assert [one.units for one in alone] == [(2, 1, 4), (1,)]
    assert alone[1].role == "norm"
