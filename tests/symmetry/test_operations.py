"""What operations along time, or of other shapes than most, leave of the units: all six of a layer."""

from collections.abc import Callable

import pytest
import torch
from symmetric import built, difference
from torch import Tensor, nn

from landscape.symmetry import symmetry_of

# Of hidden units (n, 8, 6) and a parameter (8, 6).
ALONG: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "running sum": lambda x, k: x.cumsum(1) + k.logcumsumexp(0),
    "sorted": lambda x, k: x.sort(1).values + k.topk(2, 0).values.sum(0),
    "rolled": lambda x, k: torch.lerp(x, x.roll(2, 1), torch.sigmoid(k)),
    "long convolution": lambda x, k: torch.fft.irfft(
        torch.fft.rfft(x, n=16, dim=1) * torch.fft.rfft(k, n=16, dim=0), n=16, dim=1
    )[:, :8],
    "the largest": lambda x, k: x.gather(1, x.argmax(1, keepdim=True)) * k.cummax(0).values,
    "written by number": lambda x, k: x.scatter_add(1, x.argsort(1)[:, :3], x[:, :3]) * k,
    "added by a list": lambda x, k: x.index_add(1, torch.tensor([3, 3, 0, 5]), x[:, :4]) * k,
    "added to zeros in place": lambda x, k: k * torch.zeros_like(x).index_add_(1, torch.arange(8) // 2, x),
    "written by two lists": lambda x, k: (
        x.index_put((torch.tensor([0, 2]), torch.tensor([1, 4])), x[1, :2])
        + k.index_put((torch.tensor([1]),), k[0])
    ),
    "of complex numbers": lambda x, k: torch.view_as_real(torch.complex(x, k.exp().expand_as(x)).exp()).sum(
        -1
    ),
    "empty parts": lambda x, k: torch.cat([x[:, :, :0], x, k.new_zeros(0).expand(len(x), 8, 0)], 2) * k,
}


class Along(nn.Module):
    def __init__(self, how: Callable[[Tensor, Tensor], Tensor]):
        super().__init__()
        self.how = how
        self.first, self.kernel = nn.Linear(3, 6), nn.Parameter(torch.randn(8, 6))
        self.last = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.how(torch.tanh(self.first(x)), self.kernel))


@pytest.mark.parametrize("name", ALONG)
def test_what_goes_along_time_leaves_the_units(name):
    module, x = built(lambda: Along(ALONG[name])), torch.randn(3, 8, 3, dtype=torch.float64)
    symmetry = symmetry_of(module, (x,)).symmetry
    assert [symmetry.groups[i].size for i in symmetry.free] == [6]
    assert list(symmetry.blocked) == ["last.bias"]
    assert difference(module, x, symmetry, symmetry.random(torch.Generator().manual_seed(2))) <= 1e-9


def test_distances_from_points_that_all_samples_share():
    """The points, their coordinates, and nothing else: a batch of one side alone."""
    module = built(lambda: Along(lambda x, k: torch.cdist(x, k).neg().exp() @ k))
    x = torch.randn(3, 8, 3, dtype=torch.float64)
    symmetry = symmetry_of(module, (x,)).symmetry
    assert sorted(symmetry.groups[i].size for i in symmetry.free) == [6, 8]
    assert difference(module, x, symmetry, symmetry.random(torch.Generator().manual_seed(2))) <= 1e-9
