"""Training against plain torch.optim loops, closed-form schedules, and itself after a kill."""

import copy
import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from plain import killed_at
from torch import nn
from torch.nn import functional

from landscape import Objective
from landscape.analyses import Train, train
from landscape.errors import BadInput
from landscape.numerics.steps.sampling import Sampler
from landscape.runs.journal import Journal

# The package's attribute of this name is the function.
LOSSES = {"cross_entropy": functional.cross_entropy, "mse": functional.mse_loss}


def plain_loop(objective: Objective, make_optimiser, batches, seed: int = 0) -> nn.Module:
    """The training everybody writes: train mode, zero_grad, backward, step."""
    module = copy.deepcopy(objective.module).train()
    optimiser = make_optimiser(module.parameters())
    (x,), y = objective.samples
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for dropout
        for batch in batches:
            optimiser.zero_grad()
            LOSSES[objective.loss.name](module(x[batch]), y[batch]).backward()
            optimiser.step()
    return module


def plain_loss(objective: Objective, state: dict[str, np.ndarray]) -> float:
    module = copy.deepcopy(objective.module).eval()
    module.load_state_dict({name: torch.as_tensor(value) for name, value in state.items()})
    (x,), y = objective.samples
    with torch.no_grad():
        return float(LOSSES[objective.loss.name](module(x), y))


def assert_same_state(state: dict[str, np.ndarray], module: nn.Module) -> None:
    wanted = module.state_dict()
    assert set(state) == set(wanted)
    for name, tensor in wanted.items():
        torch.testing.assert_close(torch.as_tensor(state[name]), tensor, rtol=1e-12, atol=1e-13, msg=name)


def assert_bit_for_bit(one: Train, other: Train) -> None:
    mine, theirs = ({v.name: v.values for v in result.arrays()} for result in (one, other))
    assert mine.keys() == theirs.keys()
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)
    assert list(one.states) == list(other.states)
    for label, state in one.states.items():
        assert state.keys() == other.states[label].keys()
        for name, value in state.items():
            np.testing.assert_array_equal(value, other.states[label][name], err_msg=f"{label} {name}")
    assert one.scalars() == other.scalars()
    assert (one.outcome, one.status) == (other.outcome, other.status)


# Against torch.optim


@pytest.mark.parametrize("sampling", ["uniform", "cycle", "reshuffle", "ordered"])
@pytest.mark.parametrize(
    ("options", "make_optimiser"),
    [
        ({"lr": 0.1}, lambda p: torch.optim.SGD(p, 0.1)),
        (
            {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01},
            lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.01),
        ),
        (
            {"lr": 0.05, "momentum": 0.9, "nesterov": True},
            lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True),
        ),
        (
            {"lr": 0.01, "optimizer": "adam", "weight_decay": 0.01},
            lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.01),
        ),
        (
            {"lr": 0.01, "optimizer": "adamw", "weight_decay": 0.1},
            lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
        ),
    ],
    ids=["sgd", "momentum", "nesterov", "adam", "adamw"],
)
def test_minibatches_are_a_plain_loop_with_dropout_and_batch_norm(
    classifier, sampling, options, make_optimiser
):
    result = train(classifier, batch_size=8, sampling=sampling, epochs=3, seed=5, **options)
    sampler = Sampler(sampling, 30, 8, seed=5)
    module = plain_loop(classifier, make_optimiser, [sampler.next() for _ in range(12)], seed=5)
    assert result.num_steps == 12
    assert_same_state(result.states["final"], module)
    assert result.status == "complete"


def test_gd_takes_every_sample_every_step(regression):
    result = train(regression, method="gd", steps=7, lr=0.3)
    module = plain_loop(regression, lambda p: torch.optim.SGD(p, 0.3), [slice(None)] * 7)
    assert_same_state(result.states["final"], module)
    assert result.num_observations == 7 * 40


def test_sgd_takes_one_sample_a_step(regression):
    result = train(regression, method="sgd", epochs=1, lr=0.01, seed=3)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(3))
    module = plain_loop(regression, lambda p: torch.optim.SGD(p, 0.01), order.split(1))
    assert_same_state(result.states["final"], module)
    assert (result.num_steps, result.num_observations) == (40, 40)


def test_l2_of_the_objective_is_part_of_its_gradient(regression):
    objective = Objective(regression.module, "mse", (regression.samples[0][0], regression.samples[1]), l2=0.2)
    result = train(objective, method="gd", steps=5, lr=0.3)
    decayed = plain_loop(regression, lambda p: torch.optim.SGD(p, 0.3, weight_decay=0.2), [slice(None)] * 5)
    assert_same_state(result.states["final"], decayed)


def test_observations_count_the_short_last_batch_as_what_it_is(regression):
    short = train(regression, batch_size=16, steps=5, lr=0.01)  # 16 + 16 + 8, 16 + 16
    assert short.num_observations == 72
    assert train(regression, batch_size=16, steps=5, lr=0.01, sampling="uniform").num_observations == 80


# Logs and labels


@pytest.mark.parametrize(
    ("schedule", "arguments", "formula"),
    [
        ("constant", {}, lambda k: 0.1),
        ("piecewise", {"gamma": 0.3}, lambda k: 0.1 * 0.3**k),
        ("exponential", {"rate": 0.7}, lambda k: 0.1 * math.exp(-0.7 * k)),
        ("polynomial", {"beta": 2.0, "gamma": 0.5}, lambda k: 0.1 / math.sqrt(2 * k + 1)),
    ],
)
def test_the_logged_step_size_is_the_formula(regression, schedule, arguments, formula):
    result = train(
        regression,
        method="gd",
        steps=10,
        lr=0.1,
        schedule=schedule,
        schedule_arguments={"every": 3, **arguments},
        measure_every=1,
    )
    wanted = [formula(0), *(formula(step // 3) for step in range(10))]  # of the step just taken
    np.testing.assert_allclose(result.step_size, wanted, rtol=1e-14)


def test_the_schedule_is_applied_to_the_steps(regression):
    result = train(
        regression,
        method="gd",
        steps=6,
        lr=0.2,
        schedule="piecewise",
        schedule_arguments={"every": 2, "gamma": 0.5},
    )

    def make(parameters):
        optimiser = torch.optim.SGD(parameters, 0.2)
        plain_step, taken = optimiser.step, itertools.count()

        def step():
            optimiser.param_groups[0]["lr"] = 0.2 * 0.5 ** (next(taken) // 2)
            plain_step()

        optimiser.step = step
        return optimiser

    assert_same_state(result.states["final"], plain_loop(regression, make, [slice(None)] * 6))


def test_plateau_halves_when_a_period_does_not_improve(regression):
    result = train(
        regression,
        method="gd",
        steps=30,
        lr=0.5,
        schedule="plateau",
        schedule_arguments={"every": 2, "threshold": 1e-2, "patience": 1},
        measure_every=1,
    )
    lr, best, wanted = 0.5, math.inf, [0.5]
    for step in range(30):
        if step and step % 2 == 0:
            loss = result.loss[step]
            if loss < best - 1e-2:
                best = loss
            else:
                lr /= 2
        wanted.append(lr)
    np.testing.assert_array_equal(result.step_size, wanted)
    assert wanted[-1] < 0.5


def test_points_and_logs_are_labelled_in_the_unit_of_the_run(regression):
    epochs = train(regression, batch_size=16, epochs=5, lr=0.01, measure_every=2, checkpoint_every=2)
    assert list(epochs.states) == ["init", "epoch=2", "epoch=4", "final"]
    assert epochs.step.tolist() == [0, 6, 12, 15]
    assert epochs.epoch.tolist() == [0, 2, 4, 5]
    steps = train(regression, batch_size=16, steps=9, lr=0.01, measure_every=4, checkpoint_every=3)
    assert list(steps.states) == ["init", "step=3", "step=6", "final"]
    assert steps.step.tolist() == [0, 4, 8, 9]


def test_checkpoints_are_the_points_of_a_shorter_run(classifier):
    long = train(classifier, batch_size=8, epochs=4, lr=0.1, checkpoint_every=2)
    short = train(classifier, batch_size=8, epochs=2, lr=0.1)
    for name, value in short.states["final"].items():
        np.testing.assert_array_equal(long.states["epoch=2"][name], value)


def test_logs_are_what_a_plain_model_gives_at_the_stored_points(classifier):
    (x,), y = classifier.samples
    test = classifier.on((x[:10] + 0.1, y[:10]))
    result = train(classifier, test=test, batch_size=8, epochs=3, lr=0.1, measure_every=1, checkpoint_every=1)
    for row, state in enumerate(result.states.values()):
        assert result.loss[row] == pytest.approx(plain_loss(classifier, state), rel=1e-12)
        assert result.test_loss is not None
        assert result.test_loss[row] == pytest.approx(plain_loss(test, state), rel=1e-12)
    module = copy.deepcopy(classifier.module).eval()
    module.load_state_dict({name: torch.as_tensor(value) for name, value in state.items()})
    outputs = module(x)
    assert result.final_accuracy == pytest.approx(float((outputs.argmax(1) == y).double().mean()))
    slopes = torch.autograd.grad(functional.cross_entropy(outputs, y), list(module.parameters()))
    norm = math.sqrt(sum(float(slope.square().sum()) for slope in slopes))
    assert result.final_gradient_norm == pytest.approx(norm, rel=1e-12)


def test_the_module_and_the_global_generator_stay_as_they_were(classifier):
    before = {name: tensor.clone() for name, tensor in classifier.module.state_dict().items()}
    is_training, random = classifier.module.training, torch.get_rng_state()
    result = train(classifier, batch_size=8, epochs=1, lr=0.1)
    for name, tensor in classifier.module.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert classifier.module.training is is_training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(np.array_equal(result.states["init"][name], tensor) for name, tensor in before.items())
    assert not np.array_equal(result.states["final"]["0.weight"], before["0.weight"])


def test_a_parameter_may_be_called_step():
    class Walk(nn.Module):
        def __init__(self):
            super().__init__()
            self.step = nn.Parameter(torch.ones(1, dtype=torch.float64))

        def forward(self, x):
            return x * self.step

    x = torch.ones(4, 1, dtype=torch.float64)
    result = train(Objective(Walk(), "mse", (x, 0 * x)), method="gd", steps=1, lr=0.25)
    assert result.states["final"]["step"].tolist() == [0.5]  # 1 - 0.25 * 2


# Divergence


def test_a_diverging_run_stops_and_keeps_what_it_has(regression):
    result = train(regression, method="gd", steps=500, lr=1e3, measure_every=1, checkpoint_every=10)
    assert (result.outcome, result.status) == ("diverged", "diverged")
    assert result.num_steps < 500
    assert result.step[-1] == result.num_steps
    assert np.isfinite(result.loss[:-1]).all()
    assert not np.isfinite(result.loss[-1])
    assert list(result.states)[:2] == ["init", "step=10"]
    assert list(result.states)[-1] == "final"
    assert "smaller `lr`" in result.notes[0]


def nan_above(limit: float):
    """A squared error that is NaN where an output is larger than ``limit``."""

    def loss(outputs, targets):
        return torch.where(outputs.abs() > limit, torch.nan, (outputs - targets).square()).squeeze(1)

    return loss


def test_a_batch_without_a_target_that_counts_is_told_from_a_divergence():
    x, y = (
        torch.randn(6, 2, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 1, -100, -100, 1, 0]),
    )
    objective = Objective(nn.Linear(2, 2), nn.CrossEntropyLoss(), (x, y))
    run = train(objective, epochs=1, batch_size=2, sampling="ordered")
    assert (run.status, run.num_steps) == ("diverged", 1)
    assert any(
        "of the batch of step 2 of 3 was NaN" in note and "larger `batch_size`" in note for note in run.notes
    )
    assert train(objective, epochs=1, batch_size=3, sampling="ordered").status == "complete"


def test_a_refused_batch_leaves_no_trace_in_the_buffers():
    torch.manual_seed(0)
    x = torch.randn(12, 2, dtype=torch.float64)
    module = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).double()
    objective = Objective(module, nan_above(20.0), (x, torch.full((12, 1), 100.0, dtype=torch.float64)))
    result = train(objective, batch_size=4, steps=50, lr=0.02)
    assert result.outcome == "diverged"
    assert 1 <= result.num_steps < 50
    assert result.states["final"]["1.num_batches_tracked"] == result.num_steps
    checks = {check.name: check for check in result.checks}
    assert checks["final loss"].passed


def lopsided() -> tuple[Objective, int]:
    """A problem whose full loss is NaN while the next batch is still fine, and a seed that shows it."""
    x = torch.tensor([[1.0], [1.0], [1.0], [10.0]], dtype=torch.float64)
    module = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.ones_(module.weight)
    seed = next(s for s in range(100) if int(Sampler("cycle", 4, 1, s)._order[3]) == 3)
    return Objective(module, nan_above(15.0), (x, torch.full((4, 1), 100.0, dtype=torch.float64))), seed


def test_a_resumed_run_knows_that_it_had_diverged(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("landscape.progress.SAVE_SECONDS", -1.0)
    objective, seed = lopsided()
    options = {"method": "sgd", "sampling": "cycle", "steps": 20, "lr": 0.002, "measure_every": 1}
    whole = train(objective, seed=seed, **options)
    assert (whole.outcome, whole.num_steps) == ("diverged", 2)
    journal = Journal(tmp_path / "x.part", {})
    with pytest.raises(KeyboardInterrupt):
        train(objective, seed=seed, **options, journal=journal, progress=killed_at(2))
    journal.close()
    again = train(objective, seed=seed, **options, journal=Journal(tmp_path / "x.part", {}))
    np.testing.assert_array_equal(again.loss, whole.loss)
    assert (again.outcome, again.num_steps) == ("diverged", 2)


# Killed and resumed


RESUMED = [
    {"optimizer": "adam", "lr": 0.01, "sampling": "uniform"},
    {"momentum": 0.9, "sampling": "cycle", "schedule": "exponential"},
    {
        "momentum": 0.9,
        "nesterov": True,
        "schedule": "plateau",
        "schedule_arguments": {"threshold": 0.3, "every": 1, "patience": 2, "cooldown": 3},
    },
    {"lr": 0.1},
    {"lr": 0.1, "noise": "ball", "amplitude": 0.2},
]


@pytest.mark.parametrize("save_every", [1, 3, 1000])
@pytest.mark.parametrize("options", RESUMED, ids=["adam", "momentum", "plateau", "plain", "noise"])
def test_a_killed_run_ends_bit_for_bit_like_an_undisturbed_one(
    classifier, tmp_path: Path, monkeypatch, options, save_every
):
    monkeypatch.setattr("landscape.progress.SAVE_SECONDS", save_every - 0.5)
    monkeypatch.setattr("landscape.progress.time", SimpleNamespace(monotonic=itertools.count().__next__))
    options = {"batch_size": 8, "epochs": 4, "measure_every": 1, "checkpoint_every": 1, "seed": 7, **options}
    whole = train(classifier, **options)
    for kill in (1, 7, 13, 16):
        journal = Journal(tmp_path / "x.part", {"seed": 7})
        with pytest.raises(KeyboardInterrupt):
            train(classifier, **options, journal=journal, progress=killed_at(kill))
        journal.close()
    torch.rand(3)  # another process has another global generator
    journal = Journal(tmp_path / "x.part", {"seed": 7})
    assert ("state" in journal) == (save_every < 1000)
    assert_bit_for_bit(train(classifier, **options, journal=journal), whole)
    assert_bit_for_bit(train(classifier, **options, journal=journal), whole)  # and nothing left to do


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 1, "steps": 1}, "both epochs and steps"),
        ({"steps": 1, "nesterov": True}, "Nesterov"),
        ({"steps": 1, "optimizer": "adam", "momentum": 0.9}, "momentum with adam"),
        ({"steps": 1, "schedule": "piecewise", "schedule_arguments": {"rate": 1}}, "no 'rate'"),
        ({"steps": 1, "schedule": "piecewise", "schedule_arguments": {"every": 0}}, "every=0"),
    ],
)
def test_options_out_of_range_are_named(regression, options, message):
    with pytest.raises(BadInput, match=message):
        train(regression, **options)
