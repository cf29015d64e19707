"""Modules for tests: every layer with filters of its own, and module trees made by hypothesis."""

import torch
from hypothesis import strategies as st
from torch import nn

LAYERS = {
    "linear": lambda: nn.Linear(4, 3),
    "linear without bias": lambda: nn.Linear(4, 3, bias=False),
    "conv1d": lambda: nn.Conv1d(2, 3, 3),
    "conv2d": lambda: nn.Conv2d(3, 4, (3, 2)),
    "conv3d": lambda: nn.Conv3d(2, 3, 2),
    "grouped": lambda: nn.Conv2d(4, 6, 3, groups=2),
    "depthwise": lambda: nn.Conv2d(4, 8, 3, groups=4),
    "transposed1d": lambda: nn.ConvTranspose1d(3, 5, 2),
    "transposed2d": lambda: nn.ConvTranspose2d(3, 2, 3),
    "transposed grouped": lambda: nn.ConvTranspose2d(6, 4, 3, groups=2),
    "transposed depthwise": lambda: nn.ConvTranspose1d(4, 4, 3, groups=4),
    "embedding": lambda: nn.Embedding(5, 3),
    "bilinear": lambda: nn.Bilinear(3, 4, 2),
    "batch norm": lambda: nn.BatchNorm2d(3),
    "layer norm": lambda: nn.LayerNorm(4),
    "group norm": lambda: nn.GroupNorm(2, 4),
    "prelu": lambda: nn.PReLU(3),
    "lstm": lambda: nn.LSTM(3, 2),
    "attention": lambda: nn.MultiheadAttention(4, 2),
}


def filters_by_hand(layer: nn.Module, weight: torch.Tensor) -> list[torch.Tensor]:
    """The filters of a weight, one loop per output channel, from the definition of the layer alone."""
    if weight.dim() < 2:
        return [weight]
    if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d):
        inputs = layer.in_channels // layer.groups
        outputs = layer.out_channels // layer.groups
        found = []
        for channel in range(layer.out_channels):
            group, inside = divmod(channel, outputs)
            found.append(weight[group * inputs : (group + 1) * inputs, inside])
        return found
    return [weight[i] for i in range(weight.shape[0])]


@st.composite
def module_trees(draw: st.DrawFn, depth: int = 3) -> nn.Module:
    """Nested containers of random layers, some frozen, some tied; at least one trainable parameter."""

    def tree(level: int) -> nn.Module:
        if level == 0 or draw(st.booleans()):
            return LAYERS[draw(st.sampled_from(sorted(LAYERS)))]()
        children = [tree(level - 1) for _ in range(draw(st.integers(1, 3)))]
        if draw(st.booleans()):
            return nn.Sequential(*children)
        return nn.ModuleDict({f"part{i}": child for i, child in enumerate(children)})

    root = nn.ModuleList([nn.Linear(2, 2), tree(depth)])
    if draw(st.booleans()):
        root.append(root[0])  # tied: the same module twice
    for parameter in root[1].parameters():
        if draw(st.integers(0, 4)) == 0:
            parameter.requires_grad_(False)
    return root.double()
