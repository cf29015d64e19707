"""The same numbers without the library: coordinates by least squares over state dicts, losses by a plain loop."""

import sys

import h5py
import numpy as np
import torch
from mine import data, net

module, (inputs, labels) = net().eval(), data()


def points(path: str) -> dict[str, np.ndarray]:
    """Every stored point of a run as one vector, in the order of the user's own parameters and of training."""
    with h5py.File(path) as run:
        stored = run["points"]
        order = sorted((one for one in stored if one.startswith("epoch=")), key=lambda one: int(one[6:]))
        return {
            label: np.concatenate([np.ravel(stored[label][name]) for name, _ in module.named_parameters()])
            for label in ["init", *order, "final"]
        }


def loss(theta: np.ndarray) -> float:
    torch.nn.utils.vector_to_parameters(torch.from_numpy(theta), module.parameters())
    with torch.no_grad():
        return float(torch.nn.functional.cross_entropy(module(inputs), labels))


first, second, third = (points(one) for one in sys.argv[2:])
ways = np.stack([*first.values(), *second.values(), third["final"]])
with h5py.File(sys.argv[1]) as plane:
    columns = ("alpha", "beta", "loss", "residual")
    stored = np.stack(
        [np.append(plane[f"trajectory_{one}"], plane[f"mark_{one}"]) for one in columns], axis=1
    )
    directions = plane["directions"][:].astype(float)

offsets = ways.astype(float) - first["final"]
found = np.linalg.lstsq(directions.T, offsets.T, rcond=None)[0].T
wanted = np.column_stack(
    [found, [loss(one) for one in ways], np.linalg.norm(offsets - found @ directions, axis=1)]
)
gap = np.abs(stored - wanted).max(0)
print(
    f"{len(ways)} points: "
    + ", ".join(f"{one} differs by {value:.1e}" for one, value in zip(columns, gap, strict=True))
)
assert (gap < 1e-4).all()
