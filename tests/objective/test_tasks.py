"""Tasks computed ahead: by an executor, into the journal; each once, and whoever computes them the same bits."""

import pickle
from concurrent.futures import CancelledError, Executor, Future
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import Objective
from landscape.analyses.basins import basins
from landscape.analyses.certify import certify
from landscape.analyses.compare import compare
from landscape.analyses.connect import connect
from landscape.analyses.critical import critical
from landscape.analyses.efficiency import efficiency
from landscape.analyses.escape import escape
from landscape.analyses.hessian import hessian
from landscape.analyses.interpolate import interpolate
from landscape.analyses.minima import minima
from landscape.analyses.modes import modes
from landscape.analyses.sharpness import sharpness
from landscape.analyses.slice2d import slice2d
from landscape.certificates import survey
from landscape.curvature.remembered import Remembered
from landscape.errors import BadInput, LandscapeError
from landscape.inputs.models.ntk import ntk_net
from landscape.numerics.steps.sampling import isolated_rng
from landscape.objective import tasks
from landscape.objective.losses import LOSSES
from landscape.objective.sweep import Sweep
from landscape.objective.tasks import Making, Task, ahead, computed_by

pytest.importorskip("cloudpickle")


class Sent(Executor):
    """Computes at once, from what goes through a pickle both ways, as another process would."""

    def __init__(self, limit: int = 10**9):
        self.count, self.limit = 0, limit

    def submit(self, function, /, *args, **kwargs):
        self.count += 1
        future = Future()
        if self.count > self.limit:
            future.set_exception(CancelledError())
        else:
            function, args = pickle.loads(pickle.dumps((function, args)))
            future.set_result(pickle.loads(pickle.dumps(function(*args))))
        return future


@pytest.fixture
def objective():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    return Objective(module, "cross_entropy", (torch.randn(20, 6), torch.randint(0, 3, (20,))))


def bent():
    """One whose units can be rescaled, so that two points are measured."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    return Objective(module, "cross_entropy", (torch.randn(20, 6), torch.randint(0, 3, (20,))))


def family(width, depth, seed):
    """Linear nets, whose ends are polished in a few steps."""
    torch.manual_seed(seed)
    draws = torch.Generator().manual_seed(1)
    x = torch.randn(12, 2, generator=draws)
    module = nn.Sequential(nn.Linear(2, width), nn.Linear(width, 1))
    return Objective(module, "bce", (x, (x.norm(dim=1) > 1).float()[:, None]))


def few(width, depth, seed):
    """Ends of three samples, for a path from each takes its time."""
    torch.manual_seed(seed)
    x, y = torch.tensor([[-1.0], [0.5], [2.0]]), torch.tensor([[1.0], [0.0], [0.5]])
    layers = nn.Linear(1, width, bias=False), nn.Tanh(), nn.Linear(width, 1, bias=False)
    return Objective(nn.Sequential(*layers), "mse", (x, y))


def same(first, second):
    found, expected = ({one.name: one.values for one in result.arrays()} for result in (first, second))
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, name)
    assert repr(first.scalars()) == repr(second.scalars())
    assert [(one.name, one.value) for one in first.checks] == [(one.name, one.value) for one in second.checks]
    assert first.notes == second.notes
    assert first.outcome == second.outcome


def other(objective, shift=0.1):
    return objective.theta + shift * torch.ones_like(objective.theta)


def curves(**more):
    return {"steps": 3, "num_points": 9, "batch_size": 8, **more}


def narrow(seed, arguments):
    """What a session hands to those that look at nets of several widths."""
    with isolated_rng(seed, torch.device("cpu")):
        module = ntk_net((2,), **arguments)
    x = torch.linspace(0, 6, 7)[:, None]
    return Objective(module, "mse", (torch.cat([x.cos(), x.sin()], 1), x.sin()))


def noisy():
    """One whose steps draw random numbers."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 1))
    return Objective(module, "mse", (torch.randn(20, 6), torch.randn(20, 1)))


def budgets(**more):
    return {"step_sizes": (0.5, 0.1), "batch_size": 4, "observations_per_sample": 3, "num_records": 2, **more}


NOISY = noisy()
BENT, NARROW = bent(), narrow(0, {"width": 4})
ANALYSES = {
    "slice2d": (
        "blocks of points",
        lambda one, **how: slice2d(one, one.theta, num_points=7, draws=2, test=one, **how),
    ),
    "interpolate": (
        "blocks of points",
        lambda one, **how: interpolate(one, one.theta, other(one), num_points=21, **how),
    ),
    "connect": (
        "restarts of the curve",
        lambda one, **how: connect(one, one.theta, other(one), **curves(restarts=2), **how),
    ),
    "modes": (
        "pairs",
        lambda one, **how: modes(one, [one.theta, other(one), other(one, -0.2)], **curves(align=True), **how),
    ),
    "critical": (
        "blocks of starts",
        lambda one, **how: critical(
            one, one.theta, begin="points", perturb=0.1, starts=4, max_steps=3, **how
        ),
    ),
    "escape": (
        "stacks of runs",
        lambda one, **how: escape(one, one.theta, num_seeds=3, max_steps=20, further=5, **how),
    ),
    "sharpness": (
        "points measured",
        lambda _, **how: sharpness(
            BENT, BENT.theta, sigmas=(0.1, 0.2), num_draws=2, ascent_steps=2, critical=True, **how
        ),
    ),
    "along": (
        "points measured",
        lambda _, **how: sharpness(
            BENT, [0.9 * BENT.theta, BENT.theta], sigmas=(0.1, 0.2), num_draws=2, ascent_steps=2, **how
        ),
    ),
    "compare": (
        "points measured",
        lambda one, **how: compare(
            one,
            [one.theta, other(one), other(one, -0.2)],
            noise_draws=2,
            ascent_steps=2,
            line_points=5,
            **how,
        ),
    ),
    "hessian": (
        "places",
        lambda one, **how: hessian(
            one, [one.theta, other(one), other(one, -0.2)], top_k=2, trace=True, tol=1e-3, **how
        ),
    ),
    "layers": (
        "places",
        lambda one, **how: hessian(
            one, one.theta, per_layer=True, top_k=1, density=True, num_probes=2, **how
        ),
    ),
    "preconditioned": (
        "places",
        lambda one, **how: hessian(
            one,
            [one.theta, other(one)],
            operator="preconditioned",
            preconditioners=[torch.linspace(1, 5, one.num_parameters), torch.ones(one.num_parameters)],
            top_k=2,
            **how,
        ),
    ),
    "minima": (
        "stacks and their ends",
        lambda one, **how: minima(
            family, widths=(1, 2), restarts=(5,), steps=20, max_steps=30, polish=True, **how
        ),
    ),
    "efficiency": (
        "stacks of runs",
        lambda one, **how: efficiency(one, [one.theta, other(one)], sizes=(7, 13, 20), **budgets(), **how),
    ),
    "efficiency, stacks": (
        "stacks of runs",
        lambda _, **how: efficiency(
            NOISY, [NOISY.theta, other(NOISY)], sizes=(20,), memory_limit=5000, **budgets(seed=4), **how
        ),
    ),
    "certify": (
        "certificates",
        lambda one, **how: certify(
            one, [one.theta, other(one), other(one, -0.2)], last_layer=True, smooth=0.1, smooth_draws=2, **how
        ),
    ),
    "certify widths": (
        "nets measured",
        lambda _, **how: certify(NARROW, NARROW.theta, variant=narrow, widths=(4, 8), draws=2, seed=3, **how),
    ),
    "basins": (
        "paths",
        lambda one, **how: basins(few, widths=(1, 2), restarts=2, steps=20, curve_steps=3, **how),
    ),
}


# Those of two tasks.
TWO = ("sharpness", "along", "layers", "preconditioned")
# What says that a task is done, of one of them.
LAST = {
    "slice2d": "draw 1 5",
    "interpolate": "line 5",
    "connect": "tried 1",
    "modes": "0 2 joined",
    "critical": "starts 1–1",
    "escape": "runs 1 to 1",
    "sharpness": "rescaled done",
    "along": "point 1 rescaled done",
    "compare": "at C done",
    "hessian": "place 2 done",
    "layers": "place 1 done",
    "preconditioned": "place 1 done",
    "minima": "ends of depth 1, width 2, stack 0",
    "efficiency": "n = 20, stack 0",
    "efficiency, stacks": "n = 20, stack 2",
    "certify": "certificate 2",
    "certify widths": "net of width 8, draw 1",
    "basins": "path of width 2, restart 1",
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Pieces as small as those of large modules."""
    monkeypatch.setattr("landscape.objective.sweep.BLOCK_POINTS", 5)
    monkeypatch.setattr("landscape.objective.sweep.BLOCK_WORK", 5 * 53 * 20)
    monkeypatch.setattr("landscape.descent.seeking.MEMORY", 1)
    monkeypatch.setattr("landscape.descent.escape.STACK_BYTES", 1)


@pytest.fixture(scope="module")
def alone():
    """Of each analysis what the caller computes for itself; within a test, where the pieces are small."""
    found = {}

    def result(name, objective):
        if name not in found:
            found[name] = ANALYSES[name][1](objective)
        return found[name]

    return result


@pytest.mark.parametrize("name", ANALYSES)
def test_an_executor_gives_the_same_bits_and_leaves_nothing_to_compute(name, objective, alone):
    """A journal in which all tasks stand makes the analysis, and an executor has nothing more to do."""
    what, analyse = ANALYSES[name]
    executor, told, journal = Sent(), [], {}
    found = analyse(objective, executor=executor, journal=journal, progress=lambda *one: told.append(one))
    same(found, alone(name, objective))
    assert executor.count >= (2 if name in TWO else 3)
    # The caller is told of every task that came back.
    done = [one[0] for one in told if one[2] == what]
    assert max(done) == max(one[1] for one in told if one[2] == what)
    count = executor.count
    analyse(objective, executor=executor, journal=dict(journal))
    assert executor.count == count
    # Without one of its pieces, a task is computed again, and no other.
    del journal[LAST[name]]
    analyse(objective, executor=executor, journal=journal)
    assert executor.count == count + 1


@pytest.mark.parametrize("name", ANALYSES)
def test_what_is_lost_goes_on_from_what_was_finished(name, objective, alone):
    analyse, journal = ANALYSES[name][1], {}
    with pytest.raises(
        LandscapeError, match=r"the workers are lost \(CancelledError\); the same call goes on"
    ):
        analyse(objective, executor=Sent(limit=1 if name in TWO else 2), journal=journal)
    assert len(journal) >= 2
    same(analyse(objective, journal=journal), alone(name, objective))


def test_the_caller_takes_no_product_of_a_search_that_was_made(objective, monkeypatch):
    journal, made = {}, Remembered.__init__
    ANALYSES["hessian"][1](objective, executor=Sent(), journal=journal)

    class Unasked(SimpleNamespace):
        def __call__(self, v):
            raise AssertionError("taken again")

    def known(self, product, *about):
        unasked: Any = Unasked(error=0.0, largest_error=0.0)
        made(self, unasked, *about)

    monkeypatch.setattr(Remembered, "__init__", known)
    ANALYSES["hessian"][1](objective, journal=dict(journal))
    del journal["place 2 search 0"]
    with pytest.raises(AssertionError, match="taken again"):
        ANALYSES["hessian"][1](objective, journal=journal)


@pytest.mark.parametrize(("how", "what"), [({}, "one place"), ({"exact": True}, "a dense matrix")])
def test_what_has_no_tasks_says_so(objective, how, what):
    with pytest.raises(BadInput, match=f"workers for {what}"):
        hessian(objective, [objective.theta] * (1 + len(how)), top_k=1, executor=Sent(), **how)


def test_a_plane_is_looked_at_by_one_process(objective):
    with pytest.raises(BadInput, match="several processes for the basins of a plane"):
        basins(objective, plane=(-1, 1, -1, 1), executor=Sent())


def test_one_point_is_certified_by_one_process(objective):
    with pytest.raises(BadInput, match=r"several processes for the certificate of one point; .*`at` all"):
        certify(objective, objective.theta, executor=Sent())


def test_one_stack_of_runs_is_trained_by_one_process(objective):
    with pytest.raises(BadInput, match="several processes for one stack of runs, which are those of a size"):
        efficiency(objective, [objective.theta], executor=Sent(), **budgets())


def test_a_process_measures_the_first_point_once_and_that_of_this_survey(objective, monkeypatch):
    """Of it every row takes the kernel, which is most of the work."""
    seen, measured = [], survey.measured
    monkeypatch.setattr(survey, "measured", lambda *one, **how: seen.append(1) or measured(*one, **how))
    making = Making(Sent(), {"objective": objective}, lambda: {"objective": objective})
    for shift in (0.0, 0.3):
        points = [other(objective, shift), other(objective, 0.1), other(objective, 0.2)]
        alone = certify(objective, points)
        seen.clear()
        same(certify(objective, points, executor=making), alone)
        assert len(seen) == 3


def put(key, value, journal):
    journal[key] = {"value": value}


def refuse(journal):
    raise BadInput("a task", "another")


def fail(journal):
    raise ZeroDivisionError("by nothing")


def test_tasks_that_follow_see_the_numbers_of_those_before():
    journal = {}

    def following():
        return [Task(("second",), partial(put, "second", 2 * journal["first"]["value"]))]

    with computed_by(Sent()):
        ahead(journal, lambda: [Task(("first",), partial(put, "first", 21), then=following)])
    assert journal == {"first": {"value": 21}, "second": {"value": 42}}


def test_a_task_sees_and_sets_only_what_is_its_own():
    journal = {"mine a": {"value": 1}, "theirs": {"value": 2}}

    def work(journal):
        journal["seen"] = {"keys": sorted(journal)}
        journal["mine b"] = {"value": 3}
        journal["elsewhere"] = {}

    with computed_by(Sent()):
        ahead(journal, lambda: [Task(("seen",), work, ("mine ",))])
    assert journal["seen"] == {"keys": ["mine a"]}
    assert list(journal) == ["mine a", "theirs", "mine b", "seen"]


@pytest.mark.parametrize(
    ("work", "error", "said"),
    [
        (refuse, BadInput, "a task; expected another."),
        (fail, LandscapeError, "a worker failed: ZeroDivisionError: by nothing."),
    ],
)
def test_what_a_task_raises_is_raised_once_those_in_hand_are_kept(work, error, said):
    journal, after = {}, Task(("after",), partial(put, "after", 1))
    before = Task(("before",), partial(put, "before", 1), then=lambda: [after])
    with computed_by(Sent()), pytest.raises(error) as raised:
        ahead(journal, lambda: [Task(("none",), work), before])
    assert str(raised.value) == said
    assert list(journal) == ["before"]


def test_without_an_executor_no_task_is_even_made():
    ahead({}, lambda: pytest.fail("made"))
    with computed_by(Sent()), computed_by(None):
        ahead({}, lambda: pytest.fail("made"))


def test_so_many_are_in_hand_as_memory_allows(monkeypatch):
    """What is sent waits in the memory of the executor."""
    monkeypatch.setattr(tasks, "BYTES_IN_HAND", 3_000_000)
    hands = []

    class Slow(Sent):
        def submit(self, function, /, *args, **kwargs):
            hands.append(sum(len(one) for one in args))
            return super().submit(function, *args, **kwargs)

    seen, journal = [], {}

    def progress(done, total, what):
        seen.append(len(hands) - done)

    with computed_by(Slow()):
        todo = [Task((str(i),), partial(put, str(i), np.zeros(125_000))) for i in range(9)]
        ahead(journal, lambda: todo, progress)
    assert len(journal) == 9
    assert max(seen) == 3


def test_a_built_in_loss_stays_the_one_it_is(objective):
    """By which one it is the ways of computing are chosen."""
    import cloudpickle

    there = pickle.loads(cloudpickle.dumps(objective))
    assert there.loss is objective.loss is LOSSES["cross_entropy"]
    own = Objective(objective.module, nn.CrossEntropyLoss(label_smoothing=0.1), tuple(objective.samples))
    there = pickle.loads(cloudpickle.dumps(own))
    assert there.value(own.theta) == own.value(own.theta)


def test_named_objects_are_not_sent(objective):
    sizes, journal = [], {}

    class Weighed(Sent):
        def submit(self, function, /, *args, **kwargs):
            sizes.append(len(args[1]))
            return super().submit(function, *args, **kwargs)

    big = torch.zeros(10**6)

    def total(journal):
        journal["sum"] = {"value": float(big.sum())}

    # What the other process makes by that name is what its tasks see.
    making = Making(Weighed(), {"big": big}, lambda: {"big": torch.ones(10)})
    with computed_by(making):
        ahead(journal, lambda: [Task(("sum",), total)])
    assert journal["sum"] == {"value": 10.0}
    assert sizes[0] < 10**5


def test_as_many_threads_as_the_caller_has():
    journal = {}

    def count(journal):
        journal["threads"] = {"number": torch.get_num_threads()}

    class Elsewhere(Sent):
        def submit(self, function, /, *args, **kwargs):
            before = torch.get_num_threads()
            torch.set_num_threads(before + 2)
            try:
                return super().submit(function, *args, **kwargs)
            finally:
                torch.set_num_threads(before)

    with computed_by(Elsewhere()):
        ahead(journal, lambda: [Task(("threads",), count)])
    assert journal["threads"]["number"] == torch.get_num_threads()


def test_a_block_is_cut_where_it_would_take_long(objective, monkeypatch):
    monkeypatch.setattr(
        "landscape.objective.sweep.BLOCK_WORK", 3 * objective.num_parameters * objective.num_samples
    )
    assert Sweep(objective).block_size == 3


def test_short_blocks_are_sent_together_and_few_points_not_at_all(objective, monkeypatch):
    """What is sent with a task is not computed with in no time."""
    monkeypatch.setattr("landscape.objective.sweep.BLOCK_WORK", 10 * 53 * 20)
    executor = Sent()
    found = interpolate(objective, objective.theta, other(objective), num_points=21, executor=executor)
    assert executor.count == 3
    same(found, interpolate(objective, objective.theta, other(objective), num_points=21))
    interpolate(objective, objective.theta, other(objective), num_points=9, executor=executor)
    assert executor.count == 3


def test_without_cloudpickle_an_executor_is_refused_in_a_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cloudpickle", None)
    with computed_by(Sent()), pytest.raises(BadInput, match=r"pip install 'torch-landscape\[cluster\]'"):
        ahead({}, lambda: [Task(("none",), refuse)])


def test_workers_of_what_has_no_tasks_are_refused(tmp_path):
    with pytest.raises(BadInput, match="`workers` for train"):
        landscape.measure(None, "train", model="mlp", data="digits", workers=2, output=tmp_path / "a.h5")
