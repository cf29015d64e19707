"""Curvature operators against dense matrices made another way, over one shared list of cases."""

import math
import socket
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import pytest
import torch
from cases import CASES, N, X, bce, cross_entropy, draw, mse
from torch import nn

from landscape import Objective
from landscape.curvature import operators
from landscape.errors import BadInput, NotDifferentiable, NotFinite
from landscape.objective import blocks
from landscape.objective.parameters import Point

SQUARE = [name for name, case in CASES.items() if case.sample is mse]
OF_FISHER = [n for n, case in CASES.items() if isinstance(case.given, str)]
CONVEX = [n for n, case in CASES.items() if case.sample in (cross_entropy, bce, mse)]
# The preconditioned Hessian needs more than a point: it has tests of its own.
MATRICES = [name for name in operators.OPERATORS if name != "preconditioned"]
# Jᵀu is linear in u, and rounding is all that two roads differ by.
CLOSE = 1e-10


def at(name, **options):
    case = CASES[name]
    objective = case.objective(**options)
    theta = objective.theta + 0.1 * draw(objective.num_parameters, seed=9)
    return case, objective, theta, objective.present_point().fixed


@cache
def shared(name, chunk_size):
    """For tests that leave the objective and its point as they are."""
    return at(name, chunk_size=chunk_size)


@cache
def truth(name):
    """The dense Hessian and Gauss–Newton matrix, by the other road."""
    case, objective, theta, _ = shared(name, 4)
    return case.hessian(objective, theta), case.gauss_newton(objective, theta)


def dense(product, dimension):
    """A from its columns."""
    return torch.stack([product(column) for column in torch.eye(dimension, dtype=torch.float64)], 1)


def assert_same(found, expected, tolerance=CLOSE):
    assert found.shape == expected.shape
    assert float((found - expected).norm()) <= tolerance * float(expected.norm()) + 1e-15


# --- against dense matrices -----------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_the_hessian(name):
    _, objective, theta, fixed = shared(name, 4)
    product = operators.operator("hessian", objective, theta, fixed)
    assert_same(dense(product, len(theta)), truth(name)[0])


@pytest.mark.parametrize("name", CASES)
def test_the_gauss_newton_matrix(name):
    _, objective, theta, fixed = shared(name, 4)
    product = operators.operator("gauss-newton", objective, theta, fixed)
    found = dense(product, len(theta))
    assert_same(found, truth(name)[1])
    assert_same(found, found.T, 1e-12)


@pytest.mark.parametrize("name", OF_FISHER)
def test_the_fisher_information_is_the_mean_over_what_could_have_been_observed(name):
    """E_y[g gᵀ] by a sum over every outcome y of every observation; for the normal distribution, whose
    g is linear in y, the two outcomes h ± 1 have the same second moment."""
    case, objective, theta, fixed = shared(name, None)
    product = operators.operator("fisher", objective, theta, fixed)
    jacobians = case.jacobians(objective, theta)
    with torch.no_grad():
        rows = case.rows(case.outputs(objective, theta))
    expected = torch.zeros(len(theta), len(theta), dtype=torch.float64)
    for h, jacobian in zip(rows, jacobians, strict=True):
        jacobian = jacobian.view(*h.shape, -1)
        if case.sample is cross_entropy:
            h, jacobian = h.reshape(len(h), -1), jacobian.reshape(len(h), -1, len(theta))
            outcomes = [
                (p[c], jacobian[:, t].T @ (p - torch.eye(len(p), dtype=p.dtype)[c]), h.shape[1])
                for t, p in enumerate(h.softmax(0).T)
                for c in range(len(p))
            ]
        elif case.sample is bce:
            outcomes = [
                (p if y else 1 - p, jacobian.reshape(-1, len(theta))[j] * (p - y), h.numel())
                for j, p in enumerate(h.flatten().sigmoid())
                for y in (0, 1)
            ]
        else:
            outcomes = [
                (0.5, jacobian.reshape(-1, len(theta))[j] * error, h.numel())
                for j in range(h.numel())
                for error in (1, -1)
            ]
        for probability, slope, observations in outcomes:
            expected += probability * torch.outer(slope, slope) / observations / len(rows)
    assert_same(dense(product, len(theta)), expected)


@pytest.mark.parametrize("name", CASES)
def test_the_empirical_fisher_is_made_of_gradients_of_single_samples(name):
    case, objective, theta, fixed = shared(name, 4)
    product = operators.operator("empirical-fisher", objective, theta, fixed)
    slopes = torch.stack(
        [
            objective.on((case.inputs[i : i + 1], case.targets[i : i + 1])).gradient(theta, fixed)
            for i in range(len(case.targets))
        ]
    )
    assert_same(dense(product, len(theta)), slopes.T @ slopes / case.divisor)
    by_hand = torch.autograd.functional.jacobian(lambda theta: case.losses(objective, theta), theta)
    assert_same(slopes, by_hand)


@pytest.mark.parametrize("name", CASES)
def test_the_hessian_is_gauss_newton_and_remainder(name):
    _, objective, theta, fixed = shared(name, None)
    vectors = draw(3, len(theta), seed=1)
    first, rest = operators.gauss_newton_split(objective, theta, fixed, vectors)
    whole, gauss_newton = truth(name)
    assert first.dtype == rest.dtype == torch.float64
    scale = float(whole.norm() + gauss_newton.norm()) * float(vectors.norm()) ** 2
    for found, matrix in ((first, gauss_newton), (rest, whole - gauss_newton)):
        assert (
            float((found - torch.einsum("kd,de,ke->k", vectors, matrix, vectors)).abs().max())
            <= 1e-12 * scale
        )


def test_no_vectors_have_no_parts():
    _, objective, theta, fixed = at("mlp")
    first, rest = operators.gauss_newton_split(objective, theta, fixed, torch.empty(0, len(theta)))
    assert first.shape == rest.shape == (0,)


# --- what must hold -------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONVEX)
@pytest.mark.parametrize("kind", ["gauss-newton", "empirical-fisher"])
def test_no_eigenvalue_is_negative(name, kind):
    _, objective, theta, fixed = shared(name, None)
    values = torch.linalg.eigvalsh(dense(operators.operator(kind, objective, theta, fixed), len(theta)))
    assert float(values[0]) >= -1e-13 * float(values[-1])
    assert float(values[-1]) > 0


def test_a_linear_model_has_no_remainder(regression):
    theta = draw(15)
    (x,), y = regression.samples
    n, m = y.shape
    expected = torch.kron(torch.eye(m, dtype=x.dtype), 2 / (n * m) * x.T @ x)
    for kind, scale in (("hessian", 1.0), ("gauss-newton", 1.0), ("fisher", 0.5)):
        assert_same(dense(operators.operator(kind, regression, theta), 15), scale * expected, 1e-13)
    _, rest = operators.gauss_newton_split(regression, theta, None, draw(4, 15))
    assert float(rest.abs().max()) < 1e-13


# No graph is kept, or some, or all.
SIZES_AND_LIMITS = [(1, 20_000), (4, 0), (4, 20_000), (4, 2**31), (7, 2**31), (64, 0)]


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("name", OF_FISHER)
def test_nothing_depends_on_the_chunk_size_or_on_what_is_kept(name, kind):
    """Sizes that leave a short last chunk: samples count, not chunks."""
    _, whole, theta, fixed = shared(name, N)
    v = draw(len(theta), seed=2)
    expected = operators.operator(kind, whole, theta, fixed)(v)
    for size, limit in SIZES_AND_LIMITS:
        _, part, *_ = shared(name, size)
        product = operators.operator(kind, part, theta, fixed, memory_limit=limit)
        for _ in range(2):
            assert_same(product(v), expected, 1e-12)
    for size in (1, 7):
        _, part, *_ = shared(name, size)
        assert_same(operators.operator(kind, part, theta, fixed, num_products=1)(v), expected, 1e-12)


@pytest.mark.parametrize("kind", MATRICES)
def test_two_objectives_do_not_add_up(kind):
    _, objective, theta, fixed = at("mlp")
    v = draw(len(theta), seed=2)
    first = operators.operator(kind, objective, theta, fixed)
    expected = first(v)
    _, again, *_ = at("mlp")
    second = operators.operator(kind, again, theta, fixed)
    for product in (second, first, second, operators.operator(kind, objective, theta, fixed)):
        assert torch.equal(product(v), expected)
    assert all(parameter.grad is None for parameter in objective.module.parameters())


@pytest.mark.parametrize("kind", MATRICES)
def test_the_operator_stays_at_its_point(kind):
    """θ changed in place, or the module trained on, moves nothing."""
    _, objective, theta, fixed = at("mlp")
    v = draw(len(theta), seed=2)
    made = Objective.hessian_operator if kind == "hessian" else operators.OPERATORS[kind]
    product = made(objective, theta, fixed, memory_limit=0)
    expected = product(v)
    theta += 1
    with torch.no_grad():
        objective.module[0].weight += 1
    assert torch.equal(product(v), expected)


@pytest.mark.parametrize("kind", MATRICES)
def test_the_penalty_is_added_once(kind):
    _, plain, theta, fixed = at("mlp", chunk_size=4)
    _, penalised, *_ = at("mlp", chunk_size=4, l2=0.3)
    v = draw(len(theta), seed=2)
    difference = operators.operator(kind, penalised, theta, fixed)(v) - operators.operator(
        kind, plain, theta, fixed
    )(v)
    assert_same(difference, 0.3 * v, 1e-13)


@pytest.mark.parametrize("kind", MATRICES)
def test_float32_differs_by_rounding(kind):
    case, objective, theta, fixed = at("mlp")
    v = draw(len(theta), seed=2)
    single = case.objective(dtype=torch.float32)
    found = operators.operator(kind, single, theta.float())(v.float())
    assert found.dtype == torch.float32
    assert_same(found.double(), operators.operator(kind, objective, theta, fixed)(v), 2e-6)


def test_the_module_stays_as_it_is():
    _, objective, theta, fixed = at("batch norm, dropout")
    module = objective.module
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for kind in MATRICES:
        operators.operator(kind, objective, theta, fixed)(theta)
    blocks.restricted(objective, objective.present_point(), objective.pieces[:1])
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert all(layer.training for layer in module.modules())
    assert all(p.requires_grad and p.grad is None for p in module.parameters())


# --- blocks ---------------------------------------------------------------------------------


# Every matrix of two nets; of the others the Hessian, and the rest in a long run.
CUT = ["mlp", "tied", "frozen", "embedding", "unused", "one parameter"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, kind) for name in ("batch norm, dropout", "attention") for kind in MATRICES),
        *(
            pytest.param(name, kind, marks=[] if kind == "hessian" else [pytest.mark.slow])
            for name in CUT
            for kind in MATRICES
        ),
    ],
)
def test_blocks_are_those_of_the_dense_matrix(name, kind):
    _, objective, theta, fixed = at(name, chunk_size=4, l2=0.1)
    product = operators.operator(kind, objective, theta, fixed)
    whole = dense(product, len(theta))
    for per in ("layer", "parameter"):
        covered = []
        for pieces in blocks.blocks(objective, per=per).values():
            rows = torch.cat([torch.arange(len(theta))[piece.span] for piece in pieces])
            covered.append(rows)
            expected = whole[rows][:, rows]
            part, point = blocks.restricted(objective, Point(theta, fixed), pieces)
            assert torch.equal(point.theta, theta[rows])
            assert_same(dense(operators.operator(kind, part, point.theta, point.fixed), len(rows)), expected)
        assert torch.equal(torch.cat(covered), torch.arange(len(theta)))


def test_a_restricted_objective_is_the_same_function():
    _, objective, theta, fixed = at("frozen")
    pieces = blocks.matching(objective.pieces, "[04].weight")
    assert [piece.name for piece in pieces] == ["0.weight", "4.weight"]
    part, point = blocks.restricted(objective, Point(theta, fixed, "here"), pieces[::-1])
    assert part.num_parameters == 20 + 12
    assert point.label == "here"
    assert part.value(point.theta, point.fixed) == pytest.approx(objective.value(theta, fixed), rel=1e-14)
    slope = objective.gradient(theta, fixed)
    expected = torch.cat([slope[piece.span] for piece in pieces])
    torch.testing.assert_close(part.gradient(point.theta, point.fixed), expected)
    assert objective.num_parameters == len(theta)  # the whole one is as it was


def test_a_restricted_objective_stays_in_eval_mode_while_the_whole_one_trains():
    _, objective, theta, fixed = at("batch norm, dropout")
    part, point = blocks.restricted(objective, Point(theta, fixed), objective.pieces[:1])
    before = part.value(point.theta, point.fixed)
    moved = {key: tensor.clone() for key, tensor in fixed.items()}
    objective.batch_gradient(theta, None, moved, training=True)
    assert not torch.equal(moved["1.running_mean"], fixed["1.running_mean"])
    assert part.value(point.theta, point.fixed) == before == objective.value(theta, fixed)


def test_patterns():
    _, objective, *_ = at("transformer")
    names = [piece.name for piece in blocks.matching(objective.pieces, "block")]
    assert names == [piece.name for piece in objective.pieces if piece.name.startswith("block.")]
    assert len(blocks.matching(objective.pieces, "*")) == len(objective.pieces)
    assert [piece.name for piece in blocks.matching(objective.pieces, "*norm?.bias")] == [
        "block.norm1.bias",
        "block.norm2.bias",
    ]
    with pytest.raises(BadInput, match=r"no parameter matches 'nose\*'.*head.weight, head.bias"):
        blocks.matching(objective.pieces, "nose*")
    with pytest.raises(BadInput, match="layer or parameter"):
        blocks.blocks(objective, per="neuron")


# --- parameters without effect --------------------------------------------------------------


def test_parameters_that_the_loss_does_not_use_have_rows_of_zeros():
    _, objective, theta, fixed = at("unused", chunk_size=4)
    unused = ["spare.weight", "spare.bias", "cut.weight"]
    rows = [piece.span for piece in objective.pieces if piece.name in unused]
    for kind in MATRICES:
        image = operators.operator(kind, objective, theta, fixed)(draw(len(theta)))
        assert len(rows) == 3
        assert not any(bool(image[span].any()) for span in rows)
        assert bool(image.any())


def test_nothing_used_at_all():
    class Deaf(nn.Linear):
        def forward(self, x):
            return super().forward(x).detach()

    deaf = Objective(Deaf(4, 3).double(), "cross_entropy", (X, torch.arange(N) % 3))
    assert not operators.gauss_newton_operator(deaf, deaf.theta)(deaf.theta).any()


# --- what is refused ------------------------------------------------------------------------


def test_losses_without_distribution_have_no_fisher_information():
    for name in ("mlp, own loss", "mlp, sum-reduced"):
        _, objective, theta, fixed = at(name)
        with pytest.raises(BadInput, match=r"one of cross_entropy, bce, mse, or torch's own .*; ask for"):
            operators.operator("fisher", objective, theta, fixed)
    odd = Objective(nn.Linear(4, 3).double(), "cross_entropy", (X, 2 * draw(N, 3).softmax(1)))
    with pytest.raises(
        BadInput, match="9 targets of cross_entropy do not sum to one; expected probabilities"
    ):
        operators.operator("fisher", odd, odd.theta)


OF_TORCH = {
    "cross_entropy": (nn.CrossEntropyLoss(), nn.functional.cross_entropy),
    "bce": (nn.BCEWithLogitsLoss(), nn.functional.binary_cross_entropy_with_logits),
    "mse": (nn.MSELoss(), nn.functional.mse_loss),
}


@pytest.mark.parametrize("name", OF_TORCH)
def test_the_fisher_information_of_a_loss_of_torchs_is_that_of_the_one_built_in(name):
    module = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3)).double()
    targets = {"cross_entropy": torch.arange(N) % 3, "bce": draw(N, 3).sigmoid().round(), "mse": draw(N, 3)}
    built_in, *others = (Objective(module, loss, (X, targets[name])) for loss in (name, *OF_TORCH[name]))
    wanted = dense(operators.fisher_operator(built_in, built_in.theta), built_in.num_parameters)
    for one in others:
        assert_same(dense(operators.fisher_operator(one, one.theta), one.num_parameters), wanted, 1e-12)


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)),
        nn.CrossEntropyLoss(label_smoothing=0.1),
        nn.CrossEntropyLoss(reduction="sum"),
        type("Own", (nn.CrossEntropyLoss,), {})(),
    ],
)
def test_what_weighs_smooths_or_sums_has_none(loss):
    one = Objective(nn.Linear(4, 3).double(), loss, (X, torch.arange(N) % 3))
    with pytest.raises(BadInput, match="no distribution is known"):
        operators.fisher_operator(one, one.theta)


def test_a_loss_linear_in_the_outputs_has_only_a_remainder():
    linear = Objective(nn.Sequential(nn.Linear(4, 1), nn.Tanh()).double(), "output", (X, X))
    v = draw(5)
    assert not operators.gauss_newton_operator(linear, linear.theta)(v).any()
    first, rest = operators.gauss_newton_split(linear, linear.theta, None, v[None])
    assert float(first) == 0
    assert float(rest) == pytest.approx(float(v @ linear.hvp(linear.theta, v)), rel=1e-13)


def test_the_empirical_fisher_of_a_sum_is_a_sum():
    module, targets = nn.Linear(X.shape[1], 2).double(), torch.arange(N) % 2
    objective = Objective(module, nn.CrossEntropyLoss(reduction="sum"), (X, targets), chunk_size=3)
    gradients = []
    for i in range(N):
        loss = nn.functional.cross_entropy(module(X[i : i + 1]), targets[i : i + 1])
        one = torch.autograd.grad(loss, tuple(module.parameters()))
        gradients.append(torch.cat([part.flatten() for part in one]))
    exact = torch.stack(gradients).T @ torch.stack(gradients)
    product = operators.empirical_fisher_operator(objective, objective.theta)
    found = torch.stack([product(row) for row in torch.eye(len(exact), dtype=torch.float64)])
    torch.testing.assert_close(found, exact, rtol=1e-12, atol=1e-13)


def test_outputs_without_samples_have_no_empirical_fisher():
    class Height(nn.Linear):
        def forward(self, x):
            return self.weight.square().sum()

    flat = Objective(Height(2, 1, bias=False).double(), "output", (X, X))
    with pytest.raises(BadInput, match="no axis of samples"):
        operators.empirical_fisher_operator(flat, flat.theta)(flat.theta)


def test_bad_input_is_a_sentence():
    _, objective, theta, fixed = at("mlp")
    with pytest.raises(BadInput, match="one of hessian, gauss-newton, fisher, empirical-fisher"):
        operators.operator("kfac", objective, theta, fixed)
    for kind in MATRICES:
        with pytest.raises(BadInput, match="a vector of shape"):
            operators.operator(kind, objective, theta, fixed)(theta[:-1])
        with pytest.raises(BadInput, match="a point of shape"):
            operators.operator(kind, objective, theta[:-1], fixed)


def test_what_is_not_finite_is_named():
    _, objective, theta, fixed = at("mlp, relu, mse", chunk_size=4)
    theta[-1] = math.nan
    for kind in ("gauss-newton", "fisher"):
        # The second derivative of the squared error does not see its value.
        assert bool(operators.operator(kind, objective, theta, fixed)(theta.nan_to_num()).isfinite().all())
    product = operators.empirical_fisher_operator(objective, theta, fixed)
    with pytest.raises(NotFinite, match=r"not finite in 0\.weight, first in chunk 1 of 3"):
        product(draw(len(theta)))


def test_a_module_that_hides_its_derivative_is_named():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, slope):
            return 2 * ctx.saved_tensors[0] * slope

    class OnceOnly(nn.Linear):
        def forward(self, x):
            return Once.apply(super().forward(x))

    once = Objective(OnceOnly(4, 1).double(), "mse", (X, draw(N, 1)))
    for kind in set(MATRICES) - {"hessian"}:
        with pytest.raises(NotDifferentiable, match=r"once_differentiable.*the operator hessian"):
            operators.operator(kind, once, once.theta)(once.theta)
    assert operators.operator("hessian", once, once.theta)(once.theta).norm() > 0


# --- several processes ----------------------------------------------------------------------

WORK = """
    import sys
    import torch
    from cases import CASES, draw
    from landscape import distributed
    from landscape.curvature import operators
    from landscape.objective import blocks

    torch.set_num_threads(1)
    if distributed.is_launched():
        distributed.start("cpu")
    found = {}
    for name in ("unused", "tied"):
        objective = CASES[name].objective(chunk_size=2, l2=0.1)
        theta, fixed = objective.theta, objective.present_point().fixed
        v = draw(len(theta))
        for kind in ("hessian", "gauss-newton", "fisher", "empirical-fisher"):
            found[name, kind] = operators.operator(kind, objective, theta, fixed)(v)
        found[name, "parts"] = torch.stack(operators.gauss_newton_split(objective, theta, fixed, v[None]))
        part, point = blocks.restricted(objective, objective.present_point(), objective.pieces[-2:])
        w = draw(part.num_parameters)
        found[name, "block"] = operators.gauss_newton_operator(part, point.theta, point.fixed)(w)
    torch.save(found, f"{sys.argv[1]}-{distributed.rank()}.pt")
    distributed.stop()
"""


@pytest.mark.processes
@pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()), reason="no gloo"
)
def test_two_processes_agree_with_one(tmp_path, monkeypatch):
    script = tmp_path / "work.py"
    script.write_text(textwrap.dedent(WORK))
    tests = Path(__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", f"{tests}:{tests.parent}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launch += ["--master-addr", "127.0.0.1", "--master-port", port]
    for command in ([str(script), str(tmp_path / "one")], [*launch, str(script), str(tmp_path / "two")]):
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr[:3000]
    one, *two = (torch.load(tmp_path / f"{name}.pt") for name in ("one-0", "two-0", "two-1"))
    for found in two:
        assert found.keys() == one.keys()
        for key, value in one.items():
            torch.testing.assert_close(found[key], value, rtol=1e-11, atol=1e-13, msg=str(key))
