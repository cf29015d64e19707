"""What moves F and has no gradient is said, and nothing else is."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape.objective.objective import Objective

TOKENS = torch.tensor([[1, 2, 0, 0], [3, 0, 0, 0], [4, 5, 6, 0], [2, 1, 5, 3]])
LABELS = torch.tensor([0, 1, 2, 1])
POINTS = torch.tensor([[0.3, -1.0], [1.2, 0.4], [-0.7, 0.9], [0.1, 1.5]])
LOSS = nn.CrossEntropyLoss()


class Text(nn.Module):
    def __init__(self, padding: int | None, *, is_masked: bool = False):
        super().__init__()
        self.table, self.head = nn.Embedding(7, 4, padding_idx=padding), nn.Linear(4, 3)
        self.is_masked = is_masked

    def forward(self, tokens):
        kept = (tokens != 0)[..., None] if self.is_masked else torch.ones(*tokens.shape, 1)
        return self.head((self.table(tokens).tanh() * kept).sum(1) / kept.sum(1))


class Tied(Text):
    """The padding row has a gradient of its own, by the outputs."""

    def forward(self, tokens):
        return super().forward(tokens) @ self.table.weight[:3, :3]


class HeadFirst(nn.Module):
    """The output has the weight under its name, the table by a tie."""

    def __init__(self):
        super().__init__()
        self.head, self.table = nn.Linear(4, 7, bias=False), nn.Embedding(7, 4, padding_idx=0)
        self.table.weight = self.head.weight

    def forward(self, tokens):
        return self.head(self.table(tokens).tanh().mean(1))


class Body(nn.Module):
    """A head on what stands behind torch.no_grad, and a layer that nothing calls."""

    def __init__(self, *, is_blocked: bool):
        super().__init__()
        self.body, self.head, self.unused = nn.Linear(2, 4), nn.Linear(4, 3), nn.Linear(2, 2)
        self.is_blocked = is_blocked

    def forward(self, x):
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.is_blocked):
            hidden = self.body(x).tanh()
        return self.head(hidden)


def drawn(make):
    torch.manual_seed(0)
    return make()


def test_parameters_behind_no_grad_are_named_and_what_is_not_used_is_not():
    (note,) = Objective(drawn(lambda: Body(is_blocked=True)), LOSS, (POINTS, LABELS)).notes
    assert note.startswith("F moves with body.weight, body.bias, of which there is no gradient")
    assert not Objective(drawn(lambda: Body(is_blocked=False)), LOSS, (POINTS, LABELS)).notes


def test_the_remedy_that_the_note_names_works():
    module = drawn(lambda: Body(is_blocked=True))
    module.body.requires_grad_(False)
    assert not Objective(module, LOSS, (POINTS, LABELS)).notes


def test_a_loss_of_the_module_alone_tells_what_has_no_gradient_from_what_it_does_not_use():
    module = drawn(lambda: Body(is_blocked=True))
    moving, unused = Objective.from_closure(module, lambda module: LOSS(module(POINTS), LABELS)).notes
    assert moving.startswith("F moves with body.weight, body.bias, of which")
    assert unused.endswith("does not depend on unused.weight, unused.bias: ∇F is 0 there")


def test_a_padding_row_that_moves_f_is_named():
    (note,) = Objective(drawn(lambda: Text(0)), LOSS, (TOKENS, LABELS)).notes
    assert note.startswith(
        "F moves with row 0 of table.weight, its padding_idx, where it is looked up, of which there is no gradient"
    )


@pytest.mark.parametrize(
    "make", [lambda: Text(None), lambda: Text(0, is_masked=True), lambda: Text(6, is_masked=True)]
)
def test_a_row_that_has_a_gradient_or_does_not_enter_is_not(make):
    kept = TOKENS[TOKENS.ne(6).all(1)]
    assert not Objective(drawn(make), LOSS, (kept, LABELS[: len(kept)])).notes


def test_a_padding_row_that_enters_elsewhere_has_a_part_of_its_gradient():
    module = drawn(lambda: Tied(0))
    (note,) = Objective(module, LOSS, (TOKENS, LABELS)).notes
    assert note.startswith("F moves with row 0 of table.weight, its padding_idx, where it is looked up")
    assert module.table.padding_idx == 0
    (note,) = Objective(drawn(HeadFirst), LOSS, (TOKENS, LABELS)).notes
    assert note.startswith("F moves with row 0 of head.weight, its padding_idx, where it is looked up")
    assert not Objective(drawn(lambda: Tied(None)), LOSS, (TOKENS, LABELS)).notes
    assert not Objective(drawn(lambda: Tied(0, is_masked=True)), LOSS, (TOKENS, LABELS)).notes


class Looked(nn.Module):
    """Looks a table up as ``how(tokens, weight)`` says."""

    def __init__(self, how):
        super().__init__()
        self.table, self.head, self.how = nn.Embedding(7, 4), nn.Linear(4, 3), how
        self.size = nn.Parameter(torch.tensor(1.5))

    def forward(self, tokens):
        return self.head(self.how(tokens, self.size * self.table.weight).tanh().flatten(1, -2).mean(1))


def padding(tokens, weight):
    return functional.embedding(tokens, weight, padding_idx=-7)


def masked(tokens, weight):
    return padding(tokens, weight) * (tokens != 0)[..., None]


def bag_of_padding(tokens, weight):
    return functional.embedding_bag(tokens, weight, padding_idx=0)[:, None]


def by_norm(tokens, weight):
    return padding(tokens, weight / weight.norm())


def scaled(tokens, weight):
    return functional.embedding(tokens, weight, scale_grad_by_freq=True)


def scaled_bag(tokens, weight):
    return functional.embedding_bag(tokens, weight, scale_grad_by_freq=True, mode="sum")[:, None]


@pytest.mark.parametrize(
    ("how", "begins"),
    [
        (
            padding,
            "F moves with size, by a padding_idx, row 0 of table.weight, its padding_idx, where it is looked up",
        ),
        (
            by_norm,
            "F moves with size, by a padding_idx, table.weight, by a padding_idx, where it is looked up",
        ),
        (scaled, "the gradient of size, table.weight is divided by how often a row is looked up in a call"),
        (
            scaled_bag,
            "the gradient of size, table.weight is divided by how often a row is looked up in a call",
        ),
        (masked, ""),
        (bag_of_padding, ""),
        (lambda tokens, weight: functional.embedding(tokens, weight), ""),
    ],
)
def test_tables_that_a_function_looks_up_are_named_where_their_gradient_is_another(how, begins):
    objective = Objective(drawn(lambda: Looked(how)), LOSS, (TOKENS, LABELS), dtype=torch.float64)
    assert [note.startswith(begins) for note in objective.notes] == ([True] if begins else [])
    # By another road: differences of the loss, number by number.
    theta, step = objective.theta, 1e-6
    ways = step * torch.eye(len(theta), dtype=theta.dtype)
    differences = (objective.values(theta + ways) - objective.values(theta - ways)) / (2 * step)
    assert torch.allclose(differences, objective.gradient(theta), atol=1e-8) is (begins == "")
