"""Each check of a training run fails where just what it proves is broken, and only such as should."""

import copy

import numpy as np
import pytest
import torch
from plain import killed_at, named
from torch import nn

from landscape import Objective
from landscape.analyses import Train, train
from landscape.descent import training
from landscape.descent.regime import Regime
from landscape.descent.step_proofs import batches, proven_steps
from landscape.descent.training import Trainer
from landscape.numerics.steps.motion import Motion
from landscape.numerics.steps.sampling import Sampler
from landscape.objective import parametrised
from landscape.objective.batch_gradients import BatchGradients

LOGGED = {
    "logged length",
    "logged loss",
    "logged accuracy",
    "logged gradient norm",
    "logged test loss",
    "logged test accuracy",
}
FINAL = {"final loss", "final accuracy", "final test loss", "final test accuracy"}
MEANING = {"cut", "moved", "cut, derivative"}
OPTIONS = {"batch_size": 8, "epochs": 4, "lr": 0.2, "checkpoint_every": 1, "seed": 3}


def problem(dtype: torch.dtype = torch.float64, l2: float = 0.0) -> tuple[Objective, Objective]:
    """A net with batch norm and dropout, its names not in alphabetical order, on 30 samples and 13 of a test."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        layers = {
            "first": nn.Linear(4, 6),
            "norm": nn.BatchNorm1d(6),
            "act": nn.Tanh(),
            "drop": nn.Dropout(0.3),
            "end": nn.Linear(6, 3),
        }
        module = nn.Sequential()
        for name, layer in layers.items():
            module.add_module(name, layer)
        x, y = torch.randn(43, 4).to(dtype), torch.randint(3, (43,))
    objective = Objective(module.to(dtype), "cross_entropy", (x[:30], y[:30]), l2=l2)
    return objective, objective.on((x[30:], y[30:]))


def run(dtype: torch.dtype = torch.float64, l2: float = 0.0, **options) -> Train:
    objective, test = problem(dtype, l2)
    return train(objective, test=test, **{**OPTIONS, **options})


def failed(result: Train) -> set[str]:
    return {check.name for check in result.checks if not check.passed}


def replaced(monkeypatch, owner, name, make):
    """``owner.name`` with ``make`` of what it was in its place."""
    monkeypatch.setattr(owner, name, make(getattr(owner, name)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 0.9, "schedule": "polynomial", "schedule_arguments": {"every": 3}},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "sampling": "cycle", "l2": 0.05},
        {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.01, "sampling": "uniform", "l2": 0.05},
        {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1, "schedule": "exponential", "l2": 0.05},
        {"method": "gd", "schedule": "plateau", "schedule_arguments": {"threshold": 0.05}, "epochs": 30},
    ],
    ids=["momentum", "nesterov", "adam", "adamw", "gd"],
)
def test_without_a_fault_every_check_passes(dtype, options):
    result = run(dtype, **options)
    assert result.status == "complete"
    wanted = (
        FINAL
        | LOGGED
        | MEANING
        | {"module untouched", "init", "steps", "step size", "step sums", "taken up", "logged passes"}
    )
    adam = {"preconditioner"} if "adam" in options.get("optimizer", "") else set()
    assert set(named(result)) == wanted | adam


# The steps


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_a_dampened_momentum_fails_the_steps(monkeypatch, dtype):
    def dampened(_):
        return lambda name, one, lr, momentum, nesterov, decay: torch.optim.SGD(
            [one], lr=lr, momentum=momentum, dampening=momentum
        )

    replaced(monkeypatch, training, "optimiser", dampened)
    assert failed(run(dtype, momentum=0.9)) == {"steps"}


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_other_moments_fail_the_steps(monkeypatch, optimizer):
    def other(_):
        kind = torch.optim.Adam if optimizer == "adam" else torch.optim.AdamW
        return lambda name, one, lr, *rest: kind([one], lr=lr, betas=(0.8, 0.999), weight_decay=rest[-1])

    replaced(monkeypatch, training, "optimiser", other)
    assert failed(run(optimizer=optimizer, lr=0.01)) == {"steps", "preconditioner"}


def overflowed() -> Train:
    """Steps so long that squares of gradients are infinite in float32, and so is P where they were."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    x, y = torch.randn(40, 4), torch.randint(3, (40,))
    return train(
        Objective(module, "cross_entropy", (x, y)), optimizer="adam", lr=1e11, epochs=9, batch_size=8
    )


def test_an_infinite_divisor_is_proven(monkeypatch):
    result = overflowed()
    assert np.isinf(result.preconditioner[-1]).any()
    assert not failed(result)

    def finite(of):
        return lambda stepper: None if (found := of(stepper)) is None else found.nan_to_num()

    replaced(monkeypatch, training, "preconditioner", finite)
    assert failed(overflowed()) == {"preconditioner"}


def test_a_schedule_one_step_early_fails_the_steps_and_the_step_sizes(monkeypatch):
    def early(reschedule):
        def moved(self):
            self.step += 1
            reschedule(self)
            self.step -= 1

        return moved

    replaced(monkeypatch, Trainer, "_reschedule", early)
    assert failed(run(schedule="exponential")) == {"steps", "step size"}


def test_a_schedule_that_counts_from_one_fails_the_steps_and_the_step_sizes(monkeypatch):
    replaced(
        monkeypatch, training, "step_size", lambda f: lambda name, about, lr, k: f(name, about, lr, k + 1)
    )
    assert failed(run(schedule="polynomial")) == {"steps", "step size"}


def test_step_sizes_that_no_plateau_comes_to_fail_the_step_sizes(monkeypatch):
    def other(observe):
        return lambda self, loss: 0.9 * observe(self, loss)

    replaced(monkeypatch, training.Plateau, "observe", other)
    assert failed(run(schedule="plateau")) == {"step size"}


def test_samples_drawn_with_replacement_fail_the_steps(monkeypatch):
    def drawn(next_batch):
        def again(self):
            return torch.randint(self.num_samples, (len(next_batch(self)),), generator=self._generator)

        return again

    replaced(monkeypatch, Sampler, "next", drawn)
    assert failed(run()) == {"steps"}


def test_an_order_kept_for_the_next_pass_fails_the_steps(monkeypatch):
    class Kept(Sampler):
        def next(self):
            self.rule = "cycle"
            return super().next()

    monkeypatch.setattr("landscape.descent.regime.Sampler", Kept)
    assert failed(run()) == {"steps"}


def scaled_slopes(factor: float):
    def make(slope_of):
        def slopes(self, indices):
            loss, slope = slope_of(self, indices)
            return loss, factor * slope

        return slopes

    return make


@pytest.mark.parametrize(
    ("dtype", "factor"), [(torch.float64, 1 + 1e-9), (torch.float32, 8 / 9)], ids=["float64", "float32"]
)
def test_a_batch_divided_by_another_number_fails_the_steps(monkeypatch, dtype, factor):
    replaced(monkeypatch, BatchGradients, "__call__", scaled_slopes(factor))
    assert failed(run(dtype)) == {"steps"}
    assert failed(run(dtype, method="gd", epochs=None, steps=1)) == {"steps"}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_penalty_left_out_of_the_steps_fails_them(monkeypatch, optimizer):
    def without(init):
        return lambda self, objective, *args: init(self, objective.varied(l2=0.0), *args)

    replaced(monkeypatch, BatchGradients, "__init__", without)
    assert failed(run(l2=0.1, optimizer=optimizer, lr=0.01)) == {"steps"}


def test_steps_in_eval_mode_fail_the_steps(monkeypatch):
    def in_eval(standing):
        return lambda self, theta, fixed, training=False: standing(self, theta, fixed)

    replaced(monkeypatch, Objective, "standing", in_eval)
    assert failed(run()) == {"steps"}


def test_buffers_that_a_measurement_moves_fail_the_steps(monkeypatch):
    def moving(measure_with_gradient):
        def moved(self, theta, fixed=None):
            found = measure_with_gradient(self, theta, fixed)
            fixed["norm.running_mean"] += 1e-6
            return found

        return moved

    replaced(monkeypatch, Objective, "measure_with_gradient", moving)
    assert "steps" in failed(run(measure_every=1, epochs=None, steps=4))


class Own(nn.Module):
    """Draws noise that no seed of torch's decides."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3, dtype=torch.float64)
        self.random = np.random.default_rng(0)

    def forward(self, x):
        noise = torch.from_numpy(self.random.standard_normal(x.shape)) if self.training else 0.0
        return self.layer(x + noise)


def test_steps_of_a_module_with_draws_of_its_own_are_not_compared():
    (x,), y = problem()[0].samples
    result = train(Objective(Own(), "cross_entropy", (x, y)), **OPTIONS)
    assert result.status == "complete"
    assert "steps" not in named(result)


def test_the_batches_of_a_pass_are_every_sample_once_and_those_of_the_sampler():
    regime = Regime(
        method="minibatch",
        batch_size=8,
        sampling="reshuffle",
        epochs=3,
        steps=None,
        lr=0.1,
        optimizer="sgd",
        momentum=0.0,
        nesterov=False,
        weight_decay=0.0,
        schedule="constant",
        measure_every=None,
        checkpoint_every=None,
        seed=5,
    )
    found = batches(regime.sampling, 30, 8, regime.seed, range(12))
    passes = [torch.cat([found[step] for step in range(start, start + 4)]) for start in (0, 4, 8)]
    assert [len(found[step]) for step in range(4)] == [8, 8, 8, 6]
    for one in passes:
        assert one.sort().values.tolist() == list(range(30))
    assert not torch.equal(passes[0], passes[1])
    for seed in range(20):
        first, second, *rest = proven_steps(50, (7, 10), seed)
        assert (first, second) == (1, 0)
        ends = [step for step in rest if step + 1 in rest]
        assert any((step + 1) % 7 == 0 for step in ends)
        assert any((step + 1) % 10 == 0 for step in ends)


# The points, as they are stored


def kept_otherwise(change):
    def make(keep):
        def other(self, label):
            keep(self, label)
            if label == "final":
                change(self, self.journal[f"point {label}"])

        return other

    return make


def test_a_stored_end_that_is_the_start_fails_the_final_loss(monkeypatch):
    def start(trainer, piece):
        piece.update({k: v for k, v in trainer.journal["point init"].items() if k != "step"})

    replaced(monkeypatch, Trainer, "_keep", kept_otherwise(start))
    found = failed(run())
    assert "final loss" in found
    assert found <= FINAL


def test_buffers_of_the_start_in_the_stored_end_fail_the_final_loss(monkeypatch):
    def stale(trainer, piece):
        piece.update({k: v for k, v in trainer.journal["point init"].items() if "running" in k})

    replaced(monkeypatch, Trainer, "_keep", kept_otherwise(stale))
    found = failed(run())
    assert {"final loss", "final test loss"} <= found <= FINAL


def test_an_end_stored_in_less_precision_fails_the_final_loss(monkeypatch):
    def rounded(trainer, piece):
        piece.update(
            {k: v.astype(np.float32) for k, v in piece.items() if k != "step" and v.dtype.kind == "f"}
        )

    replaced(monkeypatch, Trainer, "_keep", kept_otherwise(rounded))
    assert failed(run()) == {"final loss", "final test loss"}


def test_a_point_under_the_label_of_another_fails_the_logged_loss(monkeypatch):
    replaced(monkeypatch, Trainer, "_label", lambda _: lambda self: f"epoch={self.step // self.per_pass + 1}")
    found = failed(run(epochs=5))
    assert "logged loss" in found
    assert found <= LOGGED


def test_a_start_in_another_order_than_the_module_fails_init(monkeypatch):
    def in_alphabetical_order(_):
        return lambda tensors, pieces: torch.cat(
            [tensors[one.name].detach().reshape(-1) for one in sorted(pieces, key=lambda one: one.name)]
        )

    replaced(monkeypatch, parametrised, "flatten", in_alphabetical_order)
    assert failed(run()) == {"init", "steps"}


# The logs


def test_a_gradient_divided_by_another_number_fails_the_gradient_norm(monkeypatch):
    def wrong(measure_with_gradient):
        def scaled(self, *args):
            seen, slope = measure_with_gradient(self, *args)
            return seen, 30 / 29 * slope

        return scaled

    replaced(monkeypatch, Objective, "measure_with_gradient", wrong)
    assert failed(run()) == {"logged gradient norm", "cut, derivative"}


def test_a_length_of_other_numbers_is_seen(monkeypatch):
    def wrong(measure):
        def scaled(self):
            measure(self)
            log = self.journal[f"log {self.step}"]
            self.journal[f"log {self.step}"] = log | {"parameter_norm": 1.001 * log["parameter_norm"]}

        return scaled

    replaced(monkeypatch, Trainer, "_measure", wrong)
    assert failed(run()) == {"logged length"}


def test_a_count_over_another_number_fails_the_accuracies(monkeypatch):
    replaced(monkeypatch, Objective, "num_counted", lambda count: property(lambda self: count.fget(self) + 1))
    accuracies = {one for one in FINAL | LOGGED if "accuracy" in one}
    for dtype in (torch.float64, torch.float32):
        assert failed(run(dtype)) == accuracies


def test_a_test_loss_of_the_training_data_fails_the_test_losses(monkeypatch):
    def wrong(measure):
        def trained(self):
            test, self.test = self.test, self.objective
            measure(self)
            self.test = test

        return trained

    replaced(monkeypatch, Trainer, "_measure", wrong)
    found = failed(run())
    assert {"final test loss", "logged test loss"} <= found
    assert found <= {one for one in FINAL | LOGGED if "test" in one}


# Stopped and resumed


@pytest.mark.parametrize("lost", ["optimiser", "sampler", "global", "tensor"])
def test_a_state_taken_up_in_part_fails_taken_up(monkeypatch, lost):
    objective, test = problem()
    options = {**OPTIONS, "momentum": 0.9, "test": test}
    monkeypatch.setattr("landscape.progress.SAVE_SECONDS", -1.0)
    journal: dict = {}
    with pytest.raises(KeyboardInterrupt):
        train(objective, **options, journal=journal, progress=killed_at(9))
    whole = train(objective, **options, journal=copy.deepcopy(journal))
    assert whole.status == "complete"
    assert [(one.name, one.value) for one in whole.checks] == [
        (one.name, one.value) for one in train(objective, **options).checks
    ]

    def forgetful(restore):
        def forgets(self, state):
            before = {k: v for k, v in self.state().items() if k.startswith(lost)}
            kept = (
                {k: v for k, v in state.items() if not k.startswith("optimiser")}
                if lost == "optimiser"
                else state
            )
            restore(self, {**kept, **before})

        return forgets

    replaced(monkeypatch, Motion, "restore", forgetful)
    assert "taken up" in failed(train(objective, **options, journal=journal))
