"""Memory and time of a gradient and of a product as laws of the decoder's shape, from six small ones.

``python examples/language_model/laws.py`` prints both laws, what they say of two larger shapes beside what is measured
there, and what they say of 1e9 and 1e11 parameters. Bytes are those of live tensors at the peak beside module and data,
seconds those of one thread's processor, the median of several. Products are exact, by a second backward pass through a
graph of their own; one by differences takes as many gradients as its step asks for, so that no shape tells it.
"""

import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import nnls

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from decoder import model, text
from peak import Peak

import landscape

PIECES, CONTEXT, NUM_TIMES = 16, 64, 5
SMALL = ((96, 2), (128, 2), (192, 2), (96, 6), (128, 6), (192, 6))
LARGER = ((256, 8), (320, 8))
ON_PAPER = ((2048, 20), (8192, 124))


def num_parameters(width: int, depth: int) -> int:
    """d of :func:`decoder.model`, counted without making it."""
    with torch.device("meta"):
        return sum(one.numel() for one in model(width, depth).parameters())


def features(width: int, depth: int) -> list[float]:
    """What grows: the parameters; the stream and the units of every layer; its table of attention; the logits."""
    tokens = PIECES * CONTEXT
    return [num_parameters(width, depth), tokens * width * depth, tokens * depth * CONTEXT, tokens * 128]


def measured(width: int, depth: int) -> dict[str, float]:
    """Bytes and seconds at one shape."""
    torch.manual_seed(0)
    # One chunk at every shape: where it is smaller, bytes are those of a part.
    problem = landscape.Objective(
        model(width, depth), "cross_entropy", text(PIECES, CONTEXT)[:2], chunk_size=PIECES
    )
    product = problem.hessian_operator(problem.theta, by="double-backward", num_products=1)
    way = torch.randn(problem.num_parameters)
    way /= torch.linalg.vector_norm(way, dtype=torch.float64)
    ways = {
        "a gradient": lambda: problem.value_and_gradient(problem.theta),
        "a product": lambda: product(way),
    }
    found = {}
    for name, call in ways.items():
        call()
        seconds = []
        for _ in range(NUM_TIMES):
            began = time.process_time()
            call()
            seconds.append(time.process_time() - began)
        with Peak() as peak:
            call()
        found |= {f"bytes of {name}": peak.bytes, f"seconds of {name}": statistics.median(seconds)}
    return found


def main() -> None:
    torch.set_num_threads(1)
    found = {shape: measured(*shape) for shape in (*SMALL, *LARGER)}
    print("| | law | shape | d | measured | law | off by |\n|---|---|---|---|---|---|---|")
    for name in found[SMALL[0]]:
        # Relative errors count alike at every shape.
        values = np.array([found[shape][name] for shape in SMALL])
        table = np.array([features(*shape) for shape in SMALL])
        law = nnls(table / values[:, None], np.ones(len(SMALL)))[0]
        told = " + ".join(
            f"{one:.3g} {of}" for one, of in zip(law, ("d", "nTWL", "nTL·T", "nTV"), strict=True) if one
        )
        for shape in (*LARGER, *ON_PAPER):
            said, seen = float(law @ features(*shape)), found.get(shape, {}).get(name)
            cells = [name, told, f"width {shape[0]}, depth {shape[1]}", f"{num_parameters(*shape):.3g}"]
            cells += [f"{seen:.4g}" if seen else "", f"{said:.4g}", f"{said / seen - 1:+.1%}" if seen else ""]
            print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
