"""Residual networks for small images, with and without their shortcuts."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.errors import BadInput
from landscape.inputs.models.cnn import image_shape
from landscape.inputs.models.mlp import positive_integers


def resnet(
    input_shape: Sequence[int],
    num_outputs: int,
    depth: int = 20,
    width_factor: int = 1,
    shortcuts: bool = True,
    batchnorm: bool = True,
) -> nn.Module:
    """A CIFAR-style residual network: images (n, C, H, W) or (n, H, W) to outputs (n, num_outputs).

    He et al. 2016, section 4.2: a 3×3 convolution, three stages of (depth − 2)/6 blocks with 16, 32
    and 64 channels, global average pooling, one linear layer; parameter-free shortcuts (option A),
    weights drawn as in He et al. 2015. ``width_factor`` multiplies the channels of the stages
    (Zagoruyko and Komodakis 2016). Without ``shortcuts`` it is the plain network whose landscape
    Li et al. 2018 compare with.

    Raises BadInput for a depth that is not 6n + 2, and for samples that are not images.
    """
    num_channels, height, _ = image_shape(input_shape)
    blocks_per_stage = _blocks_per_stage(depth)
    (width_factor,) = positive_integers("width_factor", width_factor)
    network = ResNet(num_channels, num_outputs, blocks_per_stage, width_factor, shortcuts, batchnorm)
    if len(input_shape) == 2:
        return nn.Sequential(nn.Unflatten(1, (1, height)), network)
    return network


class ResNet(nn.Module):
    """The network of :func:`resnet`: images (n, C, H, W) to outputs (n, num_outputs)."""

    def __init__(
        self,
        num_channels: int,
        num_outputs: int,
        blocks_per_stage: int,
        width_factor: int,
        shortcuts: bool,
        batchnorm: bool,
    ):
        super().__init__()
        self.conv = _conv3x3(num_channels, 16, stride=1, batchnorm=batchnorm)
        self.norm = _norm(16, batchnorm)
        width = 16
        stages = []
        for stage in range(3):
            blocks = []
            for block in range(blocks_per_stage):
                new_width = 16 * width_factor * 2**stage
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(Block(width, new_width, stride, shortcuts, batchnorm))
                width = new_width
            stages.append(nn.Sequential(*blocks))
        self.stage1, self.stage2, self.stage3 = stages
        self.output = nn.Linear(width, num_outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        features = torch.relu(self.norm(self.conv(images)))
        features = self.stage3(self.stage2(self.stage1(features)))
        return self.output(features.mean(dim=(2, 3)))


class Block(nn.Module):
    """Two 3×3 convolutions and the shortcut around them: (n, width, H, W) to (n, new_width, H', W')."""

    def __init__(self, width: int, new_width: int, stride: int, shortcut: bool, batchnorm: bool):
        super().__init__()
        self.stride, self.num_new_channels, self.shortcut = stride, new_width - width, shortcut
        self.conv1 = _conv3x3(width, new_width, stride, batchnorm)
        self.norm1 = _norm(new_width, batchnorm)
        self.conv2 = _conv3x3(new_width, new_width, 1, batchnorm)
        self.norm2 = _norm(new_width, batchnorm)

    def forward(self, features: Tensor) -> Tensor:
        residual = torch.relu(self.norm1(self.conv1(features)))
        residual = self.norm2(self.conv2(residual))
        if self.shortcut:
            residual = residual + self._identity(features)
        return torch.relu(residual)

    def _identity(self, features: Tensor) -> Tensor:
        # Option A of the paper: a subsampled identity with zeros for the channels that are new.
        subsampled = features[:, :, :: self.stride, :: self.stride]
        return F.pad(subsampled, (0, 0, 0, 0, 0, self.num_new_channels))


def _conv3x3(num_inputs: int, num_filters: int, stride: int, batchnorm: bool) -> nn.Conv2d:
    return nn.Conv2d(num_inputs, num_filters, 3, stride=stride, padding=1, bias=not batchnorm)


def _norm(width: int, batchnorm: bool) -> nn.Module:
    return nn.BatchNorm2d(width) if batchnorm else nn.Identity()


def _blocks_per_stage(depth: int) -> int:
    (depth,) = positive_integers("depth", depth)
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        nearest = 6 * max(1, round((depth - 2) / 6)) + 2
        raise BadInput(f"depth={depth}", "6n + 2 (8, 14, 20, 32, 44, 56, 110)", f"the nearest is {nearest}")
    return blocks
