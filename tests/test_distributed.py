"""Two processes agree with one to rounding: values, gradients, products, statistics, training."""

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch.distributed

from landscape import distributed

pytestmark = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="torch without gloo",
)

WORK = """
    import sys
    import warnings
    import numpy as np
    import torch
    from torch import nn

    import landscape
    from landscape import Objective, distributed
    from landscape.objective.checks import independent_loss
    from landscape.objective.checks import meaning as meaning_of
    from landscape.objective.precision import in_float64

    torch.set_num_threads(1)
    if distributed.is_launched():
        distributed.start("cpu")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(31, 4, generator=generator, dtype=torch.float64)
    y = torch.arange(31) % 3

    def net(*layers):
        module = nn.Sequential(*layers).double()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        return module

    normed = net(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    plain = net(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    out = {}
    objective = Objective(normed, "cross_entropy", (x, y), chunk_size=4, l2=0.1)
    theta = objective.theta
    v = torch.randn(theta.shape, generator=generator, dtype=torch.float64)
    out["value"], slope = objective.value_and_gradient(theta)
    out["gradient"], out["product"] = slope.numpy(), objective.hvp(theta, v).numpy()
    out["values"] = objective.measurements(theta + torch.stack([0 * v, v, -v])).numpy()
    fixed = objective.recalibrated(theta)
    for name, tensor in fixed.items():
        out[f"fixed {name}"] = tensor.numpy()
    out["recalibrated"] = objective.value(theta, fixed)
    out["independent"] = independent_loss(objective, objective.present_point())
    indices = torch.tensor([0, 3, 5, 2])  # all of them in the first process's share
    objective = Objective(plain, "cross_entropy", (x, y))
    # A share stays a share, and is not shared out again.
    out["wide"] = in_float64(objective).value(objective.theta)
    out["penalised"] = objective.varied(l2=0.1).varied(module=objective.module).value(objective.theta)
    loss, slope = objective.batch_gradient(objective.theta, indices, {})
    out["batch loss"], out["batch gradient"] = loss.numpy(), slope.numpy()
    try:
        landscape.train(Objective(normed, "cross_entropy", (x, y)), batch_size=8, epochs=1)
        assert distributed.num_processes() == 1
    except landscape.BadInput as error:
        assert distributed.num_processes() == 2
        assert "BatchNorm1d, which sees a batch as a whole" in str(error)
    plan = {"widths": [2], "restarts": [2], "steps": 2, "max_steps": 2}
    try:
        landscape.minima(lambda width, depth, seed: objective, **plan)
        assert distributed.num_processes() == 1
    except landscape.BadInput as error:
        assert distributed.num_processes() == 2
        assert "replicas in 2 processes; expected one process" in str(error)
    run = landscape.train(objective, batch_size=7, epochs=3, lr=0.2, momentum=0.9, seed=1)
    assert run.status == "complete", run.checks
    out["run"] = run.loss
    out["final"] = np.concatenate([part.ravel() for part in run.states["final"].values()])
    sys.path.insert(0, sys.argv[2])
    from routed import Experts, routed
    torch.manual_seed(0)
    experts = Objective(Experts(), "cross_entropy", routed(), chunk_size=5)
    run = landscape.train(experts, batch_size=10, epochs=1, momentum=0.9, sampling="ordered")
    assert run.status == "complete", run.checks
    out["some reach"] = np.concatenate([part.ravel() for part in run.states["final"].values()])
    eigen = landscape.hessian(objective, objective.theta, top_k=3)
    assert eigen.status == "complete", eigen.checks
    out["eigenvalues"] = eigen.eigenvalues
    all_of_it = landscape.hessian(objective, objective.theta, top_k=2, trace=True, density=True, exact=True)
    for name in ("trace", "trace_error", "mass_near_zero", "spectrum", "index"):
        out[name] = np.asarray(getattr(all_of_it, name))
    divided = torch.linspace(1, 5, objective.num_parameters)
    adam = landscape.hessian(objective, objective.theta, operator="preconditioned", preconditioners=[divided], top_k=3)
    assert adam.status == "complete", adam.checks
    out["preconditioned"], out["its gradient"] = adam.eigenvalues, adam.gradient_share
    further = {"critical": True, "fisher_rao": True, "relative_flatness": True}
    sharp = landscape.sharpness(objective, objective.theta, num_draws=4, ascent_steps=3, **further)
    assert sharp.status == "complete", sharp.checks
    out["sharpness"] = sharp.values
    other = objective.theta + torch.linspace(-1, 1, objective.num_parameters).double()
    options = {"num_points": 5, "tolerance": np.inf, "batchnorm": "repair"}
    joined = landscape.connect(objective, objective.theta, other, batch_size=7, epochs=2, **options)
    assert joined.status == "complete", joined.checks
    out["curve"], out["line"], out["errors"] = joined.loss, joined.loss_straight, joined.loss_error
    out["bootstrap"] = joined.barrier_chord_straight_error
    warnings.simplefilter("ignore")
    from meanings import MEANINGS
    for name, make in MEANINGS.items():
        meaning = make()
        objective = Objective(meaning.module, meaning.loss, meaning.data, chunk_size=7)
        theta, fixed = objective.theta, dict(objective.present_point().fixed)
        v = torch.linspace(-1, 1, len(theta)).double()
        rows = torch.arange(29) if objective.is_whole else torch.arange(3, 25)
        out[f"{name}: value"], slope = objective.value_and_gradient(theta)
        product = objective.hessian_operator(theta, num_products=1)
        out[f"{name}: gradient"], out[f"{name}: product"] = slope.numpy(), product(v).numpy()
        out[f"{name}: product, error"] = product.error
        out[f"{name}: batch"] = objective.batch_gradient(theta, rows, fixed)[1].numpy()
        assert all(check.passed for check in meaning_of(objective, objective.present_point())), name
    np.savez(f"{sys.argv[1]}-{distributed.rank()}.npz", **out)
    distributed.stop()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def finish(command: list[str], *outputs: Path) -> None:
    """Run to the end. Under load torch now and then aborts at exit, its threads not joined: then only
    what was written counts."""
    environment = {**os.environ, "PYTHONFAULTHANDLER": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    aborted = "terminate called without an active exception" in done.stderr
    assert done.returncode == 0 or (aborted and all(path.exists() for path in outputs)), done.stderr[:9000]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, np.ndarray]]:
    """What one process found, then what each of two did."""
    folder = tmp_path_factory.mktemp("distributed")
    script = folder / "work.py"
    script.write_text(textwrap.dedent(WORK))
    here = str(Path(__file__).parent)
    names = ("one-0.npz", "two-0.npz", "two-1.npz")
    finish([sys.executable, str(script), str(folder / "one"), here], folder / names[0])
    finish(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *("--master-addr", "127.0.0.1", "--master-port", str(free_port())),
            *(str(script), str(folder / "two"), here),
        ],
        *(folder / name for name in names[1:]),
    )

    def read(path: Path) -> dict[str, np.ndarray]:
        with np.load(path) as stored:
            return dict(stored)

    return [read(folder / name) for name in names]


@pytest.mark.processes
def test_two_processes_agree_with_one(answers):
    one, *two = answers
    for found in two:
        assert found.keys() == one.keys()
        for name, value in one.items():
            # The ascent and Lanczos go on until a tolerance, so they turn rounding into a little more.
            tolerance = 1e-6 if name in ("sharpness", "trace", "trace_error") else 1e-10
            if name.endswith("product, error"):
                assert found[name] == pytest.approx(float(value), rel=0.5)
                continue
            off = 1e-12 + 2 * float(one.get(f"{name}, error", 0.0))
            np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=off, err_msg=name)


@pytest.mark.processes
def test_both_processes_hold_the_same_bits(answers):
    _, first, second = answers
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value, err_msg=name)


def test_without_torchrun_there_is_one_process():
    assert not distributed.is_launched()
    assert distributed.num_processes() == 1
    assert distributed.rank() == 0
    assert distributed.share(7) == slice(0, 7)


def test_shares_cover_all_samples_once(monkeypatch):
    for size in (1, 2, 3, 7):
        monkeypatch.setattr(distributed, "num_processes", lambda size=size: size)
        seen = []
        for rank in range(size):
            monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
            seen += range(*distributed.share(10).indices(10))
        assert seen == list(range(10))
