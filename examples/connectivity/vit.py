"""A small vision transformer for the digits: patches, learned positions, blocks normed first, mean of what is left."""

from torch import Tensor, nn


class VisionTransformer(nn.Module):
    """Logits (samples, classes) of images (samples, 64), row by row."""

    def __init__(self, width: int, depth: int, heads: int, patch: int, classes: int):
        super().__init__()
        self.patches = nn.Conv2d(1, width, patch, patch)
        self.places = nn.Embedding((8 // patch) ** 2, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, batch_first=True, norm_first=True, activation="gelu", dropout=0
        )
        self.layers = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.last, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        stream = self.patches(images.view(-1, 1, 8, 8)).flatten(2).mT + self.places.weight
        return self.head(self.last(self.layers(stream)).mean(1))


def model(width: int = 32, depth: int = 2, heads: int = 4, patch: int = 2, classes: int = 10) -> nn.Module:
    """About 8 · width² · depth parameters."""
    return VisionTransformer(width, depth, heads, patch, classes)
