"""Every declared analysis goes through the same: help, ranges, both doors, file, kill, JSON, picture, closed form."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from plain import bowl, quadratic
from torch import nn

import landscape
from landscape import Objective, analyses
from landscape.analyses import FUNCTIONS
from landscape.cli.derived import command as derived
from landscape.errors import BadInput
from landscape.inputs import checkpoints

MODEL = {"model": "mlp", "model_arg": {"widths": (4,)}, "data": "moons", "data_arg": {"num_samples": 40}}
SAME = {"model_arg": {"widths": (6,)}, "data_arg": {"num_samples": 60}}
# Of each kind one small call: its places and options.
CALLS = {
    "train": (None, {**MODEL, "epochs": 3, "checkpoint_every": 1, "batch_size": 8}),
    "import": ("w.safetensors", {**MODEL, **SAME}),
    "hessian": ("a.h5", {"top_k": 2, "trace": True}),
    "sharpness": ("a.h5", {"sigmas": (0.01, 0.1), "num_draws": 2, "ascent_steps": 2}),
    "compare": (["a.h5", "b.h5"], {"draws": 2, "num_points": 5, "noise_draws": 2, "ascent_steps": 2, "line_points": 5}),
    "certify": ("a.h5", {"last_layer": True}),
    "interpolate": (["a.h5", "b.h5"], {"num_points": 7}),
    "slice1d": ("a.h5", {"num_points": 9}),
    "slice2d": ("a.h5", {"num_points": 5}),
    "connect": (["a.h5", "b.h5"], {"epochs": 3, "num_points": 5}),
    "modes": (["a.h5", "b.h5", "a.h5@init"], {"epochs": 1, "num_points": 5}),
    "align": (["a.h5", "b.h5"], {"num_points": 5}),
    "merge": (["a.h5", "b.h5", "a.h5@init"], {"restarts": 1}),
    "minima": (None, {"data_arg": {"num_samples": 30}, "widths": (1, 2), "restarts": (3,), "steps": 40,
                      "max_steps": 80, "stop_after": 20}),
    "efficiency": (None, {**MODEL, "sizes": (10, 20), "step_sizes": (0.1, 0.01), "seeds": 2,
                          "observations_per_sample": 2}),
    "basins": (None, {"data_arg": {"num_samples": 30}, "widths": (2,), "restarts": 2, "steps": 40, "curve_steps": 3}),
    "noise": ("a.h5", {"step_sizes": (0.01, 0.02), "num_steps": 40, "num_seeds": 2, "num_probes": 1}),
    "escape": ("a.h5", {"amplitudes": (0.1, 0.01), "num_seeds": 2, "max_steps": 60, "drop": 0.01, "directions": 9}),
    "critical": ("a.h5", {"starts": 3, "max_steps": 20}),
}  # fmt: skip
KINDS = list(FUNCTIONS)
RESUMABLE = [kind for kind in KINDS if analyses.declared(kind).is_resumable]


def measured(kind: str, output: str, **more):
    places, options = CALLS[kind]
    weights = Path("w.safetensors")
    if kind == "import" and not weights.exists():
        # Once: the order in which safetensors writes its metadata is not the same twice.
        checkpoints.write(landscape.Run("a.h5").module(), weights, "a.h5")
    return landscape.measure(places, kind, **options, output=output, **more)


def line(kind: str) -> list[str]:
    """A command line of the kind without options of its own."""
    places = CALLS[kind][0]
    points = [] if places is None else [places] if isinstance(places, str) else places
    declared = analyses.declared(kind)
    brought = ["--model", "mlp", "--data", "moons"] if declared.source == "checkpoint" else []
    return [declared.command, *points, *brought, "-o", "x.h5"]


def wrong(one) -> list:
    """Values of an option that are just out of its range, by what it says of itself."""
    about = one.about
    found = ["nonsense"] if one.choices else []
    if about.least is not None:
        found.append(about.least - 1)
    if about.above is not None:
        found.append(about.above)
    if about.below is not None:
        found.append(about.below)
    if one.scalar is float and about.is_finite and not one.choices:
        found.append(float("nan"))
    return [(value,) * (one.length or 1) if one.element else value for value in found]


def values_of(result) -> dict:
    return {one.name: one.values for one in result.arrays()} | result.scalars()


def assert_same(one, other) -> None:
    mine, theirs = values_of(one), values_of(other)
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


def test_every_kind_is_in_the_family():
    assert set(CALLS) == set(CLOSED_FORMS) == set(FUNCTIONS)


@pytest.mark.parametrize("kind", KINDS)
def test_help_names_every_option_with_its_default(kind, command):
    declared = analyses.declared(kind)
    shown = "".join(command(declared.command, "--help").out.split())
    for one in declared.parameters.values():
        assert one.flag in shown
        if one.default not in (None, False, "") and one.scalar is not bool and not one.is_pairs:
            words = one.stored(one.default)
            texts = [str(part) for part in words] if isinstance(words, list | tuple) else [str(words)]
            assert all(text.replace(" ", "") in shown for text in texts), one.name
    commanded = analyses.declared(declared.command)
    assert "".join(commanded.question.split()) in shown


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_what_they_declare_and_lines_without_options_give_them(kind):
    declared = analyses.declared(kind)
    for one in declared.parameters.values():
        assert one.checked(one.default) == one.default
    made = derived(analyses.declared(declared.command))
    with made.make_context(declared.command, line(kind)[1:]) as context:
        for one in declared.parameters.values():
            value = context.params[one.called]
            default = one.default / one.about.unit if one.about.unit != 1 else one.default
            assert value == (() if one.is_pairs else default)


@pytest.mark.parametrize("kind", KINDS)
def test_values_out_of_range_are_refused_in_a_sentence_from_both_doors(kind, command, folder):
    declared = analyses.declared(kind)
    tried = [(one, value) for one in declared.parameters.values() for value in wrong(one)]
    for one, value in tried:
        spelled = [str(part) for part in value] if one.element else [str(value)]
        words = [*line(kind), one.flag, *(spelled if one.length or not one.element else [",".join(spelled)])]
        done = command(*words)
        assert (done.code, done.out) == (2, ""), words
        assert done.err.count("\n") == 1
        assert one.flag in done.err, done.err
        with pytest.raises(BadInput, match=f"`{one.name}`.*expected"):
            landscape.measure(CALLS[kind][0], kind, **{**CALLS[kind][1], one.name: value}, output="x.h5")
    assert not list(folder.glob("x.h5*"))
    assert tried or kind == "import"


@pytest.mark.parametrize("kind", KINDS)
def test_the_module_stays_and_the_file_holds_all_of_the_result(kind, command, folder):
    result = measured(kind, "x.h5")
    checks = {check.name: check for check in result.checks}
    assert checks["module untouched"].passed
    assert result.status in ("complete", "failed-checks") or kind == "sharpness"
    stored = landscape.load("x.h5")
    assert type(stored) is analyses.result_of(kind)
    assert_same(result, stored)
    assert (stored.checks, stored.notes) == (result.checks, result.notes)
    shown = command("show", "x.h5", "--json").json
    assert shown == json.loads(json.dumps(result.as_json("x.h5")))
    assert landscape.plot(stored, "x.png").axes
    assert (folder / "x.png").stat().st_size > 1000
    # Whoever asks again is given the file.
    again = measured(kind, "x.h5", progress=lambda *_: pytest.fail("computed again"))
    assert_same(again, stored)


@pytest.mark.parametrize("kind", RESUMABLE)
def test_killed_and_resumed_is_undisturbed(kind, folder, monkeypatch):
    monkeypatch.setattr("landscape.progress.SAVE_SECONDS", -1.0)
    monkeypatch.setattr("landscape.objective.sweep.BLOCK_POINTS", 4)
    whole = measured(kind, "whole.h5")
    steps = []
    for number in (2, 5):
        seen = []

        def stop(*_: object, seen=seen, number=number) -> None:
            seen.append(1)
            if len(seen) == number:
                raise KeyboardInterrupt

        try:
            # A search gives what it has so far, and goes on all the same.
            if measured(kind, "x.h5", progress=stop).outcome == "interrupted":
                steps.append(len(seen))
        except KeyboardInterrupt:
            steps.append(len(seen))
    assert steps, "nothing was interrupted"
    assert_same(measured(kind, "x.h5"), whole)
    assert not (folder / "x.h5.part").exists()


# --- closed forms -----------------------------------------------------------------------------


def regression() -> tuple[Objective, np.ndarray, np.ndarray]:
    """Linear least squares in float64 with its matrix H and its minimum, for outputs of one number."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(12, 1, generator=generator, dtype=torch.float64)
    module = nn.Linear(3, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, -2.0, 0.5]]))
    objective = Objective(module, "mse", (x, y))
    hessian = (2 / 12 * x.T @ x).numpy()
    return objective, hessian, torch.linalg.lstsq(x, y).solution.flatten().numpy()


def train():
    objective, hessian, best = regression()
    run = landscape.train(objective, method="gd", steps=5, lr=0.1)
    start = objective.theta.numpy()
    end = best + np.linalg.matrix_power(np.eye(3) - 0.1 * hessian, 5) @ (start - best)
    floor = objective.value(torch.from_numpy(best))
    found = run.final_loss, np.concatenate([v.ravel() for v in run.states["final"].values()])
    return found, (floor + (end - best) @ hessian @ (end - best) / 2, end)


def import_point():
    objective, _, _ = regression()
    (x,), y = objective.samples
    point = objective.present_point()
    residual = x.numpy() @ point.theta.numpy() - y.flatten().numpy()
    return landscape.import_point(objective, point).final_loss, np.square(residual).mean()


def hessian():
    objective, matrix, _ = regression()
    found = landscape.hessian(objective, objective.theta, top_k=3)
    return found.eigenvalues, np.linalg.eigvalsh(matrix)[::-1]


def sharpness():
    objective, spectrum, _, _ = quadratic(torch.float64)
    found = landscape.sharpness(objective, objective.theta, sigmas=(0.1, 0.2), num_draws=2, ascent_steps=2)
    named = dict(zip(found.measure, found.values, strict=True))
    return named["lambda_max"], spectrum.max()


def compare():
    objective, hessian, best = regression()
    ends = [objective.theta, torch.from_numpy(best)]
    found = landscape.compare(objective, ends, draws=2, num_points=5, noise_draws=2, ascent_steps=50)
    named = dict(zip(found.measure, found.values, strict=True))
    # A quadratic has one Hessian, is convex everywhere and lies below its chords; at its minimum the ball rises most
    # along the top eigenvector.
    spectrum = np.linalg.eigvalsh(hessian)
    rise = named["ball_rise_at_least"][1]
    return (named["lambda_max"], named["trace"], named["convexity"], named["barrier"], rise), (
        np.full(2, spectrum.max()),
        np.full(2, spectrum.sum()),
        np.ones(2),
        np.zeros(2),
        0.05**2 * spectrum.max() / 2,
    )


def certify():
    objective, _, _ = regression()
    (x,), _ = objective.samples
    found = landscape.certify(objective, objective.theta)
    return found.ntk_spectrum, np.linalg.eigvalsh(x.numpy() @ x.numpy().T)[::-1]


def slice1d():
    objective = bowl()
    found = landscape.slice1d(objective, objective.theta, num_points=5, norm="layer", ignore=())
    u, v = (objective.theta.numpy() + found.alpha[:, None] * found.directions[0]).T
    return found.loss, objective.module.height(u, v)  # pyright: ignore


def slice2d():
    objective = bowl()
    found = landscape.slice2d(objective, objective.theta, num_points=3, directions="axes")
    u, v = (start + np.array([-1, 0, 1]) for start in objective.theta.numpy())
    return found.loss, objective.module.height(u[None], v[:, None])  # pyright: ignore


def interpolate():
    objective, hessian, best = regression()
    found = landscape.interpolate(objective, objective.theta, torch.from_numpy(best), num_points=5)
    away = (1 - found.alpha)[:, None] * (objective.theta.numpy() - best)
    floor = objective.value(torch.from_numpy(best))
    return found.loss, floor + np.einsum("ti,ij,tj->t", away, hessian, away) / 2


def connect():
    objective, _, best = regression()
    found = landscape.connect(objective, objective.theta, torch.from_numpy(best), epochs=2, num_points=5)
    ends = [objective.value(objective.theta), objective.value(torch.from_numpy(best))]
    # A convex loss lies below its chords.
    return (found.barrier_chord_straight, found.loss[[0, -1]]), (0.0, np.array(ends))


def modes():
    objective, _, best = regression()
    points = [objective.theta, torch.from_numpy(best), torch.zeros(3, dtype=torch.float64)]
    found = landscape.modes(objective, points, epochs=1, num_points=5)
    gaps = np.array([[float((a - b).norm()) for b in points] for a in points])
    return (found.barrier_straight, found.distance), (np.zeros((3, 3)), gaps)


def permuted_pair():
    """An objective, and its module with units in another order."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    x = torch.randn(9, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    objective = Objective(module, "mse", (x, x.sum(1, keepdim=True)))
    other, order = copy.deepcopy(module), [3, 1, 4, 0, 2]
    with torch.no_grad():
        other[0].weight.copy_(module[0].weight[order])
        other[0].bias.copy_(module[0].bias[order])
        other[2].weight.copy_(module[2].weight[:, order])
    return objective, objective.point(other.state_dict())


def merge():
    objective, other = permuted_pair()
    found = landscape.merge(objective, [objective.theta, other, objective.theta])
    loss = objective.value(objective.theta)
    return (found.loss[:4], found.distance_after, found.barrier), (np.full(4, loss), np.zeros(3), 0.0)


def align():
    objective, other = permuted_pair()
    found = landscape.align(objective, objective.theta, other, num_points=3)
    return (found.distance_after, found.barrier_after), (0.0, 0.0)


def minima():
    objective, hessian, best = regression()
    found = landscape.minima(
        lambda width, depth, seed: objective,
        widths=(1,),
        restarts=(2,),
        lr=(0.2,),
        steps=400,
        max_steps=400,
        polish=True,
    )
    assert set(found.end_status.ravel()) == {"minimum"}
    lowest = objective.value(torch.from_numpy(best))
    return (found.polished_cost.ravel(), found.smallest_eigenvalue.ravel()), (
        np.full(2, lowest),
        np.full(2, np.linalg.eigvalsh(hessian)[0]),
    )


def basins():
    objective, hessian, best = regression()
    found = landscape.basins(lambda *_: objective, widths=(1,), restarts=2, lr=0.2, steps=400)
    assert found.is_strict.all()
    lowest = np.full(2, objective.value(torch.from_numpy(best)))
    values = found.path_height.ravel(), found.loss.ravel(), found.smallest_eigenvalue.ravel()
    return values, (lowest, lowest, np.full(2, np.linalg.eigvalsh(hessian)[0]))


def efficiency():
    objective, hessian, best = regression()
    found = landscape.efficiency(
        objective,
        [objective.theta],
        methods=("gd",),
        step_sizes=(0.1,),
        observations_per_sample=3,
        num_records=3,
    )
    floor, away, costs = objective.value(torch.from_numpy(best)), objective.theta.numpy() - best, []
    for _ in range(4):
        costs.append(floor + away @ hessian @ away / 2)
        away = away - 0.1 * hessian @ away
    zero = float(objective.samples[1].square().mean())
    return (found.cost_curve.ravel(), found.zero_predictor), (np.array(costs), np.array([zero]))


def noise():
    x, y = torch.ones(4, 1, dtype=torch.float64), torch.full((4, 1), 3.0, dtype=torch.float64)
    module = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        module.weight.zero_()
    found = landscape.noise(
        Objective(module, "mse", (x, y)), torch.zeros(1, dtype=torch.float64),
        step_sizes=(0.1,), batch_sizes=(1,), num_steps=5, num_seeds=2, measure_every=1, num_probes=0,
    )  # fmt: skip
    # All samples are one: θ_k = 3(1 − 0.8ᵏ), and ∇F = 2(θ − 3).
    squares = (6 * 0.8 ** np.arange(5)) ** 2
    return (found.mean, found.variance), (np.array([squares.mean()]), 0.0)


def escape():
    # ½(x² − y²) from (0, y₀), α = 0.1: y_k = 1.1ᵏ y₀ until y² > 1.
    class Saddle(nn.Module):
        def __init__(self):
            super().__init__()
            self.x, self.y = (nn.Parameter(torch.zeros((), dtype=torch.float64)) for _ in range(2))

        def forward(self, inputs):
            return (self.x**2 - self.y**2) / 2 * inputs

    one = torch.ones(1, 1, dtype=torch.float64)
    found = landscape.escape(
        Objective(Saddle(), "output", (one, one)), torch.zeros(2, dtype=torch.float64),
        noise="none", amplitudes=(1e-2, 1e-4), direction=(0.0, 1.0), lr=0.1, drop=0.5, further=0,
    )  # fmt: skip
    wanted = np.ceil(np.log(1 / found.amplitude) / np.log(1.1))
    end = -0.5 * (found.amplitude * 1.1**wanted) ** 2
    theory = np.log(10) / np.log(1.1)
    pairs = (found.steps, found.final_loss, found.steps_per_decade_theory, found.exit_cosine)
    return pairs, (wanted, end, theory, np.ones(2))


def critical():
    objective, _, best = regression()
    found = landscape.critical(objective, starts=3)
    lowest = objective.value(torch.from_numpy(best))
    assert set(found.end_status) == {"critical"}
    assert (found.num_distinct, list(found.verdict)) == (1, ["local minimum"])
    return (found.loss, found.index, found.nullity), (np.full(3, lowest), np.zeros(3), np.zeros(3))


CLOSED_FORMS = {
    "train": train,
    "import": import_point,
    "hessian": hessian,
    "sharpness": sharpness,
    "compare": compare,
    "certify": certify,
    "interpolate": interpolate,
    "slice1d": slice1d,
    "slice2d": slice2d,
    "connect": connect,
    "modes": modes,
    "align": align,
    "merge": merge,
    "minima": minima,
    "efficiency": efficiency,
    "noise": noise,
    "escape": escape,
    "basins": basins,
    "critical": critical,
}


@pytest.mark.parametrize("kind", KINDS)
def test_its_closed_form(kind):
    found, wanted = CLOSED_FORMS[kind]()
    pairs = zip(found, wanted, strict=True) if isinstance(found, tuple) else [(found, wanted)]
    for one, other in pairs:
        np.testing.assert_allclose(np.ravel(one), np.ravel(other), rtol=1e-9, atol=1e-10)
