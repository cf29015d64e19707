"""The ten largest eigenvalues of a trained decoder beside peers and a plain script, by the clock of one thread.

``python examples/language_model/peers.py language_model/0.h5`` after ``run.sh``; peers are in the extra ``peers``. All
have the same point and pieces of text, and the plain kernel of attention, as none differentiates twice through the
fused one.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

sys.path.insert(0, str(Path(__file__).parent))

from decoder import model, text

import landscape

K, TOL = 10, 1e-4


def plain(module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """SciPy's ARPACK over a double backward whose graph is kept: the script of fifteen lines."""
    parameters = list(module.parameters())
    with sdpa_kernel(SDPBackend.MATH):
        loss = nn.functional.cross_entropy(module(x), y)
        gradient = nn.utils.parameters_to_vector(torch.autograd.grad(loss, parameters, create_graph=True))

        def product(v: np.ndarray) -> np.ndarray:
            parts = torch.autograd.grad(gradient, parameters, torch.from_numpy(v.ravel()), retain_graph=True)
            return nn.utils.parameters_to_vector(parts).numpy()

        size = gradient.numel()
        return eigsh(LinearOperator((size, size), product, dtype=np.float32), k=K, which="LA", tol=TOL)[0][
            ::-1
        ]


def eigenthings(module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """hessian-eigenthings: Lanczos with reorthogonalisation, to its own tolerance."""
    import hessian_eigenthings as peer

    with sdpa_kernel(SDPBackend.MATH):
        operator = peer.HessianOperator(module, [(x, y)], peer.supervised_loss(nn.CrossEntropyLoss()))
        found = peer.lanczos(operator, k=K, tol=TOL, which="LA", seed=0)
    return np.sort(np.asarray(found.eigenvalues))[::-1]


def curvlinops(module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """curvlinops' product in SciPy's ARPACK."""
    from curvlinops import HessianLinearOperator

    with sdpa_kernel(SDPBackend.MATH):
        parameters = list(module.parameters())
        operator = HessianLinearOperator(
            module, nn.CrossEntropyLoss(), parameters, [(x, y)], check_deterministic=False
        )
        return eigsh(operator.to_scipy(), k=K, which="LA", tol=TOL)[0][::-1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--pieces", type=int, default=16)
    parser.add_argument("--size", nargs="*", default=[], help="width=320 depth=8, as in training")
    options = parser.parse_args()
    torch.set_num_threads(1)
    states = landscape.load(options.run).states["final"]
    module = model(**{name: int(value) for name, value in (one.split("=") for one in options.size)}).eval()
    module.load_state_dict({name: torch.from_numpy(np.array(one)) for name, one in states.items()})
    x, y = text(options.pieces)[:2]

    def certified() -> np.ndarray:
        problem = landscape.Objective(module, "cross_entropy", (x, y))
        return landscape.hessian(problem, problem.theta, top_k=K, tol=TOL).eigenvalues.ravel()

    ways = {"landscape, certified": certified}
    ways |= {one.__name__: lambda one=one: one(module, x, y) for one in (plain, eigenthings, curvlinops)}
    first = None
    for name, way in ways.items():
        began = time.process_time()
        try:
            values = way()
        except (ImportError, NotImplementedError) as error:
            print(f"| {name} | {error} |")
            continue
        spent = time.process_time() - began
        first = first or (spent, values)
        off = np.abs(values - first[1]).max() / first[1][0]
        print(f"| {name} | {spent:.1f} s, {spent / first[0]:.2f} | off by {off:.1e} of λ₁ |", flush=True)


if __name__ == "__main__":
    main()
