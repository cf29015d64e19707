"""Analyses of a module that FSDP2 shards, on few samples: by torchrun in several processes, or in one, unsharded."""

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import landscape
import landscape.numerics.vectors
from landscape import BadInput, Objective, distributed
from landscape.inputs.sharded import here
from landscape.numerics.spread import Layout, Spread, local

# So few that some of eight processes hold nothing of a parameter, and the trace is a sum.
TINY = 4
# A number of samples that 2, 3, 4 and 8 processes share evenly, and one that none of them does.
EVEN, ODD = 24, 23
WIDTH = 48


def net(seed: int = 0, width: int = WIDTH, activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    module = nn.Sequential(
        nn.Linear(5, width), activation(), nn.Linear(width, width), activation(), nn.Linear(width, 3)
    )
    with torch.no_grad():
        for one in module.parameters():
            one.copy_(torch.randn(one.shape, generator=generator) / one.shape[-1] ** 0.5)
    return module.double()


def sharded(seed: int = 0, width: int = WIDTH, activation: type[nn.Module] = nn.Tanh) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    module = net(seed, width, activation)
    # Of a tiny one all at once, as a sum over processes costs more than what is summed.
    if width > TINY:
        fully_shard(module[2])
    fully_shard(module)
    return module


def data(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 5, generator=generator, dtype=torch.float64), torch.arange(count) % 3


def flat(seed: int, width: int = WIDTH) -> torch.Tensor:
    return torch.cat([one.detach().flatten() for one in net(seed, width).parameters()])


def found(module: nn.Module, count: int, *, everything: bool) -> dict[str, Any]:
    """What is compared, ``everything`` where there is time; every check of an analysis has to be passed."""
    objective = Objective(module, "cross_entropy", data(count), l2=1e-3)
    theta = flat(2)
    value, slope = objective.value_and_gradient(theta)
    answers: dict[str, Any] = {"value": value, "accuracy": objective.measure(theta).accuracy}
    answers["slope"] = float(torch.linalg.vector_norm(slope))
    answers["along"] = float(slope @ objective.as_point(flat(3)).theta)
    batch = torch.tensor([0, 5, 7])
    loss, step = objective.batch_gradient(theta, batch, objective.present_point().fixed, training=True)
    answers |= {"batch loss": float(loss), "batch slope": float(step.norm())}
    if count == ODD:
        # Every process computes every sample, each of which counts once.
        test = Objective(module, "cross_entropy", data(count + 2))
        line = landscape.interpolate(objective, theta, flat(3), test=test, num_points=5)
        answers |= {"line": line.loss, "test loss": line.test_loss, "test accuracy": line.test_accuracy}
        answers |= {"test loss error": line.test_loss_error, "test accuracy error": line.test_accuracy_error}
        checks = line.checks
        if everything:
            how = {"num_draws": 2, "ascent_steps": 1, "rescaling": "none", "fisher_rao": True}
            sharp = landscape.sharpness(objective, theta, sigmas=(0.01,), **how)
            answers["sharp"], checks = sharp.values, checks + sharp.checks
        answers["failed"] = [f"{one.name} {one.value} {one.bound}" for one in checks if not one.passed]
        return answers
    result = landscape.hessian(objective, theta, top_k=2, bottom_k=1, search=False)
    answers |= {"eigenvalues": result.eigenvalues, "gradient_norm": result.gradient_norm}
    answers["bend"] = result.gradient_curvature
    line = landscape.interpolate(objective, theta, flat(3), num_points=5)
    answers |= {"line": line.loss, "distance": line.distance, "line status": line.status}
    cuts = slices(objective, theta, everything=everything)
    for name, one in cuts.items():
        answers |= {f"{name} loss": one.loss, f"{name} gram": one.gram, f"{name} status": one.status}
    answers["drawn losses"] = cuts["line"].draw_loss
    answers["seen"] = np.abs([cuts["plane"].trajectory_alpha, cuts["plane"].trajectory_residual])
    answers["explained"] = cuts["plane"].explained_variance
    results = {"spectrum": result, "path": line, **cuts}
    answers["failed"] = [
        f"{what}: {one.name} {one.value} {one.bound}"
        for what, which in results.items()
        for one in which.checks
        if not one.passed
    ]
    answers["status"] = result.status
    return answers


def tiny(module: nn.Module, kinked: nn.Module, *, everything: bool) -> dict[str, Any]:
    """Measures of sharpness, ``kinked`` by ReLU rescaled, and curves whose batches leave nothing to some processes."""
    objective = Objective(module, "cross_entropy", data(ODD), l2=1e-3)
    theta, other = flat(2, TINY), flat(3, TINY)
    sharp = landscape.sharpness(
        objective,
        theta,
        tol=1e-4,
        sigmas=(0.01, 0.1),
        num_draws=2,
        ascent_steps=3,
        rescaling="none",
        critical=True,
        fisher_rao=True,
        relative_flatness=True,
    )
    answers: dict[str, Any] = {"sharp": sharp.values, "noise": sharp.noise_rise, "status": sharp.status}
    failed = [f"{one.name} {one.value} {one.bound}" for one in sharp.checks if not one.passed]
    units = landscape.sharpness(
        Objective(kinked, "cross_entropy", data(EVEN)), theta, sigmas=(0.01,), num_draws=2, ascent_steps=1
    )
    answers |= {
        "rescaled": units.rescaled_values,
        "units": units.num_rescaled_units,
        "units status": units.status,
    }
    failed += [f"units: {one.name} {one.value} {one.bound}" for one in units.checks if not one.passed]
    if everything:
        spectrum = landscape.hessian(objective, theta, top_k=3, trace=True, density=True, num_probes=2)
        answers |= {"top": spectrum.eigenvalues, "trace": spectrum.trace, "below": spectrum.mass_below_zero}
        failed += [
            f"hessian: {one.name} {one.value} {one.bound}" for one in spectrum.checks if not one.passed
        ]
    together = [theta, other, flat(4, TINY)]
    modes = landscape.modes(objective, together, steps=3, batch_size=8, num_points=5, tolerance=0.1)
    answers |= {"apart": modes.distance, "joined": modes.barrier_curved, "modes status": modes.status}
    how = {"noise_draws": 2, "ascent_steps": 2, "line_points": 3, "tolerance": 0.1}
    beside = landscape.compare(objective, together if everything else together[:2], **how)
    answers |= {"measures": beside.values, "compare status": beside.status}
    for which in (modes, beside):
        failed += [f"{which.kind}: {one.name} {one.value}" for one in which.checks if not one.passed]
    for method in ("bezier", *(("neb", "minmax") if everything else ())):
        curve = landscape.connect(
            objective,
            theta,
            other,
            method=method,
            epochs=2,
            batch_size=2,
            num_points=5,
            tolerance=0.1,
            **({"plane": True, "plane_points": 3} if method == "bezier" else {}),
        )
        answers |= {f"{method} loss": curve.loss, f"{method} length": curve.length}
        answers |= {f"{method} status": curve.status, f"{method} trained": curve.epoch_loss}
        failed += [f"{method}: {one.name} {one.value} {one.bound}" for one in curve.checks if not one.passed]
    return {**answers, "failed": failed}


def slices(objective: Objective, theta: torch.Tensor, *, everything: bool) -> dict[str, Any]:
    """Along what is drawn, filter by filter and layer by layer, and along components and eigenvectors."""
    run = [objective.as_point(flat(seed)) for seed in (3, 4, 2)]
    cuts: dict[str, Any] = {
        "line": landscape.slice1d(objective, theta, num_points=5, draws=2, norm="layer", ignore=()),
        "drawn": landscape.slice2d(objective, theta, num_points=3),
        "plane": landscape.slice2d(
            objective, theta, num_points=3, directions="pca", trajectory=run, show_trajectory=True
        ),
    }
    if everything:
        cuts["eigen"] = landscape.slice1d(objective, theta, num_points=3, directions="eigen", smooth=0.1)
    return cuts


def by_entry() -> Iterator[tuple[Any, str, Any]]:
    """What a module in parts draws, for one that is whole: (owner, name, function) to be put in place."""
    # What is imported later would keep what it finds.
    for one in pkgutil.walk_packages(landscape.__path__, "landscape."):
        if one.name.split(".")[1] in ("numerics", "objective", "curvature", "paths", "symmetry"):
            importlib.import_module(one.name)
    for name in ("normal", "signs"):
        draw = getattr(landscape.numerics.vectors, name)

        def whole(like: torch.Tensor, generator: torch.Generator, draw: Any = draw) -> torch.Tensor:
            size = like.shape[-1]
            alike = Spread(torch.zeros(size), Layout(size, ((0, size),)))
            return draw(like if isinstance(like, Spread) else alike, generator).part

        owners = [one for one in list(sys.modules.values()) if getattr(one, name, None) is draw]
        yield from ((owner, name, whole) for owner in owners)


def stepping(module: Any) -> None:
    """As an optimizer that takes its step as soon as a gradient is there, and frees that."""

    def step(parameter: torch.Tensor) -> None:
        with torch.no_grad():
            here(parameter).add_(1.0)
        parameter.grad = None

    for one in module.parameters():
        one.register_post_accumulate_grad_hook(step)


def gathering(module: Any) -> None:
    """Amid a step of several batches, of which the first is summed with the last."""
    module.set_requires_gradient_sync(False)
    module(data(TINY)[0]).sum().backward()


# What a training may have told a module to do with its gradients.
TRAINED = {
    "as it is": lambda module: None,
    "sums": lambda module: module.set_gradient_divide_factor(1.0),
    "waits": lambda module: module.set_requires_gradient_sync(False),
    "waits for the last": lambda module: module.set_is_last_backward(False),
    "steps": stepping,
    "gathers": gathering,
}


def gradient(module: nn.Module) -> list[float]:
    """‖∇F‖ and the slope along a vector."""
    objective = Objective(module, "cross_entropy", data(EVEN))
    slope = objective.gradient(flat(2, TINY + 1))
    return [float(slope.norm()), float(slope @ objective.as_point(flat(3, TINY + 1)).theta)]


def in_training() -> dict[str, Any]:
    """∇F of modules in the midst of training, and the gradients that it then goes on with."""
    answers: dict[str, Any] = {}
    for name, tell in TRAINED.items():
        module, twin = (sharded(width=TINY + 1) for _ in range(2))
        tell(module)
        tell(twin)
        answers[f"trained {name}"] = gradient(module)
        for one in (module, twin):
            one.set_requires_gradient_sync(True)
            one(data(TINY)[0]).sum().backward()
        pairs = zip(module.parameters(), twin.parameters(), strict=True)
        answers[f"goes on {name}"] = all(
            torch.equal(here(a), here(b)) and str(a.grad) == str(b.grad) for a, b in pairs
        )
    return answers


def coarsest() -> str:
    """That of a module whose gradients are summed in fewer digits than it computes in."""
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    module = fully_shard(net(width=TINY), mp_policy=MixedPrecisionPolicy(reduce_dtype=torch.bfloat16))
    return str(Objective(module, "cross_entropy", data(EVEN)).coarsest)


def refusals(objective: Objective) -> dict[str, str]:
    """What a sharded module cannot be asked."""
    calls = {
        "gauss-newton": lambda: landscape.hessian(objective, objective.theta, operator="gauss-newton"),
        "exact": lambda: landscape.hessian(objective, objective.theta, top_k=1, exact=True),
        "vectors": lambda: landscape.hessian(objective, objective.theta, top_k=1, save_vectors=True),
        "train": lambda: landscape.train(objective, epochs=1),
        "align": lambda: landscape.align(objective, flat(2), flat(3)),
        "merge": lambda: landscape.merge(objective, [flat(2), flat(3)]),
        "certify": lambda: landscape.certify(objective, flat(2)),
        "critical": lambda: landscape.critical(objective, flat(2), begin="points"),
        "escape": lambda: landscape.escape(objective, flat(2)),
        "noise": lambda: landscape.noise(objective, flat(2)),
        "double-backward": lambda: landscape.hessian(objective, objective.theta, product="double-backward"),
    }
    answers = {}
    for name, call in calls.items():
        try:
            call()
            answers[f"refused {name}"] = "taken"
        except BadInput as error:
            answers[f"refused {name}"] = str(error)
    return answers


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.start("cpu")
    module = sharded()
    before = [here(one).clone() for one in module.parameters()]
    everything = distributed.num_processes() > 2
    answers = {
        f"{key} of {count}": value
        for count in (EVEN, ODD)
        for key, value in found(module, count, everything=everything).items()
    }
    small = tiny(sharded(width=TINY), sharded(width=TINY, activation=nn.ReLU), everything=everything)
    answers |= {f"{key} of tiny": value for key, value in small.items()}
    objective = Objective(module, "cross_entropy", data(EVEN))
    answers |= refusals(objective) | in_training() | {"coarsest": coarsest()}
    answers["moved"] = any(
        not torch.equal(a, here(b)) for a, b in zip(before, module.parameters(), strict=True)
    )
    answers["share"] = local(objective.theta).numel() / objective.num_parameters
    drawn = landscape.numerics.vectors.normal(objective.theta, torch.Generator().manual_seed(5))
    answers["drawn"] = float(drawn.square().sum())
    np.savez(folder / f"{distributed.num_processes()}-{distributed.rank()}.npz", **answers)
    distributed.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
