"""What moves in a stochastic gradient method, saved and restored bit for bit."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from landscape.numerics.arrays import array_here, back
from landscape.numerics.steps.sampling import Sampler, restore_rng, rng_state


class Motion:
    """Everything that decides the next step: tensors, optimiser, sampler and random generators.

    ``tensors`` by name are written in place; ``optimiser`` is one of torch.optim's for one parameter;
    ``generators`` are random generators by name. The global generators of ``device``, which dropout
    draws from, are part of it.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        sampler: Sampler,
        device: torch.device,
        *,
        optimiser: torch.optim.Optimizer | None = None,
        generators: Mapping[str, torch.Generator] | None = None,
    ):
        self.tensors, self.sampler, self.device = tensors, sampler, device
        self.optimiser, self.generators = optimiser, generators or {}

    @property
    def moments(self) -> Mapping[str, Tensor | None]:
        """What the optimiser keeps; nothing without one, and before the first step."""
        return self.optimiser.state[_parameter(self.optimiser)] if self.optimiser else {}

    def state(self) -> dict[str, Any]:
        """Copies of everything, as arrays by name; of what is spread, the part in this process."""
        groups: dict[str, Mapping[str, Tensor]] = {
            "tensor": self.tensors,
            "sampler": self.sampler.state(),
            "global": rng_state(self.device),
            "generator": {name: one.get_state() for name, one in self.generators.items()},
        }
        if self.optimiser:
            own = self.optimiser.state[_parameter(self.optimiser)]
            groups["optimiser"] = {name: value for name, value in own.items() if value is not None}
        return {
            f"{group} {name}": array_here(tensor)
            for group, tensors in groups.items()
            for name, tensor in tensors.items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` gave."""

        def arrays(name: str) -> dict[str, Any]:
            start = f"{name} "
            return {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}

        def group(name: str) -> dict[str, Tensor]:
            return {k: torch.from_numpy(v.copy()) for k, v in arrays(name).items()}

        with torch.no_grad():
            for name, array in arrays("tensor").items():
                self.tensors[name].copy_(back(array, self.tensors[name]))
        self.sampler.restore(group("sampler"))
        restore_rng(group("global"), self.device)
        for name, tensor in group("generator").items():
            self.generators[name].set_state(tensor)
        if self.optimiser:
            self.optimiser.state[_parameter(self.optimiser)] = {
                # torch.optim keeps the count of steps on the CPU.
                name: tensor if name == "step" else tensor.to(self.device)
                for name, tensor in group("optimiser").items()
            }


def optimiser(
    name: str, parameter: nn.Parameter, lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> torch.optim.Optimizer:
    """One of torch.optim's, by name, for one parameter."""
    if name == "adam":
        return torch.optim.Adam([parameter], lr=lr, weight_decay=weight_decay)
    if name == "adamw":
        return torch.optim.AdamW([parameter], lr=lr, weight_decay=weight_decay)
    return torch.optim.SGD(
        [parameter], lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
    )


def step_without(optimiser: torch.optim.Optimizer, spans: Sequence[slice]) -> None:
    """A step in which the parts ``spans`` of the parameter stay, and what is kept of their gradients before.

    So does torch.optim with parameters that have no gradient. Its Adam also counts their steps one by one, which the
    correction of the bias here does not.
    """
    parameter = _parameter(optimiser)

    def held() -> dict[str, Tensor]:
        kept = {
            name: one for name, one in optimiser.state[parameter].items() if one is not None and one.dim()
        }
        return {"parameter": parameter.detach(), **kept}

    before = {name: [one[span].clone() for span in spans] for name, one in held().items()} if spans else {}
    optimiser.step()
    for name, one in held().items() if spans else ():
        # What the first step makes of a gradient of zeros and the decay is none of theirs.
        for span, part in zip(spans, before.get(name, [0] * len(spans)), strict=True):
            one[span] = part


def preconditioner(optimiser: torch.optim.Optimizer) -> Tensor | None:
    """P of Adam's last step θ ← θ − α P⁻¹ m, m its mean of gradients: (1 − β₁ᵗ)(√(v/(1 − β₂ᵗ)) + ε), (d,).

    v is its mean of squares and t the number of steps; both corrections of the bias are in P. None before the first
    step, and of an optimiser without v.
    """
    state, group = optimiser.state[_parameter(optimiser)], optimiser.param_groups[0]
    if "exp_avg_sq" not in state:
        return None
    (first, second), count = group["betas"], float(state["step"])
    root = (state["exp_avg_sq"].double() / (1 - second**count)).sqrt()
    return (1 - first**count) * (root + group["eps"])


def _parameter(optimiser: torch.optim.Optimizer) -> Tensor:
    return optimiser.param_groups[0]["params"][0]
