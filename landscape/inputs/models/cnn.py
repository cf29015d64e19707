"""A small convolutional network for images."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from landscape.errors import BadInput
from landscape.inputs.models.mlp import activation_named, positive_integers


def cnn(
    input_shape: Sequence[int],
    num_outputs: int,
    channels: int | Sequence[int] = (8, 16),
    kernel_size: int = 3,
    batchnorm: bool = False,
    activation: str = "relu",
) -> nn.Sequential:
    """A convolutional network: images (n, C, H, W) or (n, H, W) to outputs (n, num_outputs).

    Each entry of ``channels`` is one block: convolution of unchanged size, optional batch norm,
    activation, 2×2 average pooling (LeCun et al. 1998); then one linear layer on what is left.

    Raises BadInput for samples that are not images, images too small for so many poolings, an even
    kernel size and an unknown activation.
    """
    num_channels, height, width = image_shape(input_shape)
    channels = positive_integers("channels", channels)
    (kernel_size,) = positive_integers("kernel_size", kernel_size)
    if kernel_size % 2 == 0:
        raise BadInput(f"kernel_size={kernel_size}", "an odd number", f"write kernel_size={kernel_size + 1}")
    if min(height, width) < 2 ** len(channels):
        raise BadInput(
            f"{len(channels)} blocks halve an image of {height}×{width} to nothing",
            f"sides of at least {2 ** len(channels)}",
            "give fewer channels",
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if len(input_shape) == 2:
        layers["unflatten"] = nn.Unflatten(1, (1, height))
    for i, num_filters in enumerate(channels, start=1):
        layers[f"conv{i}"] = nn.Conv2d(
            num_channels, num_filters, kernel_size, padding=kernel_size // 2, bias=not batchnorm
        )
        if batchnorm:
            layers[f"batchnorm{i}"] = nn.BatchNorm2d(num_filters)
        layers[f"activation{i}"] = activation_named(activation)
        # An average keeps a smooth network smooth: with tanh, the loss has a Hessian everywhere.
        layers[f"pool{i}"] = nn.AvgPool2d(2)
        num_channels, height, width = num_filters, height // 2, width // 2
    layers["flatten"] = nn.Flatten()
    layers["output"] = nn.Linear(num_channels * height * width, num_outputs)
    return nn.Sequential(layers)


def image_shape(input_shape: Sequence[int]) -> tuple[int, int, int]:
    """The (C, H, W) of samples shaped (C, H, W) or (H, W); BadInput for any other.

    >>> image_shape((28, 28))
    (1, 28, 28)
    """
    if len(input_shape) not in (2, 3):
        raise BadInput(
            f"samples of shape {tuple(input_shape)} are not images",
            "(C, H, W) or (H, W)",
            "for digits give `data_arg` image=true, or take `model` mlp",
        )
    num_channels = input_shape[0] if len(input_shape) == 3 else 1
    return num_channels, input_shape[-2], input_shape[-1]
