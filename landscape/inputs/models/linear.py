"""Deep linear networks, whose critical points are known."""

from collections.abc import Sequence

import torch
from torch import nn

from landscape.errors import BadInput
from landscape.inputs.models.mlp import hidden_widths, mlp

INITS = ("torch", "glorot", "spread")
# The largest factor of a spread initialisation.
FARTHEST = 2.0


def linear(
    input_shape: Sequence[int],
    num_outputs: int,
    widths: int | Sequence[int] = (64,),
    bias: bool = False,
    width: int | None = None,
    depth: int | None = None,
    init: str = "torch",
) -> nn.Sequential:
    """A deep linear network (Baldi and Hornik 1989; Saxe et al. 2014): an ``mlp`` whose activation is the identity.

    ``widths``, or ``depth`` (1 where not given) hidden layers of ``width``. ``init`` is PyTorch's own, ``glorot``, or
    ``spread``: standard normal numbers, all of them times one that is uniform in [0, 2], so that some begin near the
    origin. Raises BadInput for an unknown init, a width below 1 and a depth without a width.
    """
    if init not in INITS:
        raise BadInput(f"init={init!r}", f"one of {', '.join(INITS)}")
    widths = hidden_widths(widths, width, depth)
    own = "torch" if init == "spread" else init
    made = mlp(input_shape, num_outputs, widths, activation="identity", bias=bias, init=own)
    if init == "spread":
        factor = FARTHEST * float(torch.rand(()))
        for one in made.parameters():
            nn.init.normal_(one, std=factor)
    return made
