"""A module that begins where another one stood: training goes on from a point of a run by other batches."""

from collections.abc import Sequence

import torch
from torch import nn

from landscape.inputs.models.mlp import mlp as fresh


def mlp(input_shape: Sequence[int], num_outputs: int, weights: str, widths: int | Sequence[int]) -> nn.Module:
    """The ``mlp`` of the toolkit with the ``weights`` that ``landscape export`` wrote."""
    module = fresh(input_shape, num_outputs, widths)
    module.load_state_dict(torch.load(weights, weights_only=True))
    return module
