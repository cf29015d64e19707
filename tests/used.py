"""Modules that use a weight in every manner, and which of its entries make one output unit."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape) + sum(shape)))


class With(nn.Module):
    """``forward`` written out, with parameters of some shapes by name."""

    def __init__(self, forward: Callable[..., Any], **shapes: tuple[int, ...]):
        super().__init__()
        self.rule = forward
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(draw(*shape)))

    def forward(self, *inputs: Any) -> Any:
        return self.rule(self, *inputs)


class Conv1D(nn.Module):
    """The linear layer of GPT-2, (in, out)."""

    def __init__(self, outputs: int, inputs: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(draw(inputs, outputs)), nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        flat = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return flat.view(*x.shape[:-1], self.weight.shape[1])


class TiedTokens(nn.Module):
    """Tokens by the rows of an embedding, and their scores by the same rows."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(7, 4)

    def forward(self, ids: Tensor) -> Tensor:
        return torch.tanh(self.tokens(ids)) @ self.tokens.weight.T


class TiedCode(nn.Module):
    """A weight by its rows and, transposed, by its columns."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(torch.tanh(self.encoder(x)), self.encoder.weight.T)


@dataclass
class Used:
    """A module on some inputs; the units of its parameters of two axes or more, None where they are a guess.

    ``axis``: that of the outputs along which the output units lie, for a comparison with the Jacobian.
    """

    module: Callable[[], nn.Module]
    inputs: Any
    units: dict[str, tuple[int, ...] | None]
    axis: int | tuple[int, ...] | None = field(default=-1)


def experts(self: Any, x: Tensor) -> Tensor:
    return torch.bmm(x.transpose(0, 1), self.w).transpose(0, 1)


def routed(self: Any, x: Tensor) -> Tensor:
    chosen = (x.sum(1) > 0).long()
    return torch.bmm(x[:, None], self.w[chosen])[:, 0]


def attended(self: Any, x: Tensor) -> Tensor:
    q, k, v = (x @ part for part in self.qkv.chunk(3, dim=1))
    return F.scaled_dot_product_attention(q, k, v) @ self.out


def unrolled(self: Any, x: Tensor) -> Tensor:
    h = x.new_zeros(len(x), 3)
    for step in x.unbind(1):
        h = torch.tanh(step @ self.inwards + h @ self.across)
    return h


def cast(self: Any, x: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return (x @ self.w).float()


def derived(self: Any, x: Tensor) -> Tensor:
    """Forces from an energy: the derivative multiplies by the transposed weights."""
    with torch.enable_grad():
        x = x.detach().requires_grad_() if not x.requires_grad else x
        energy = (torch.tanh(x @ self.w) @ self.v).sum()
        return torch.autograd.grad(energy, x, create_graph=True)[0]


def in_inference_mode(self: Any, x: Tensor) -> Tensor:
    kept = x.clone()
    kept[:, 0] += 1
    return F.linear(kept, self.w.t())


def masked_linear() -> nn.Module:
    layer = nn.Linear(4, 3)
    prune.l1_unstructured(layer, "weight", 0.5)
    return layer


X = draw(5, 4)
SEQUENCE = draw(5, 6, 4)
IMAGES = draw(5, 4, 6, 6)

USED: dict[str, Used] = {
    "linear": Used(lambda: nn.Linear(4, 3), (X,), {"weight": (3, 1)}),
    "times a matrix": Used(lambda: With(lambda s, x: x @ s.w, w=(4, 3)), (X,), {"w": (1, 3)}),
    "square": Used(lambda: With(lambda s, x: x @ s.w, w=(4, 4)), (X,), {"w": (1, 4)}),
    "one output": Used(lambda: With(lambda s, x: x @ s.w, w=(4, 1)), (X,), {"w": (1, 1)}),
    "one input": Used(lambda: With(lambda s, x: x @ s.w, w=(1, 3)), (X[:, :1],), {"w": (1, 3)}),
    "matrix times": Used(lambda: With(lambda s, x: (s.w @ x.T).T, w=(3, 4)), (X,), {"w": (3, 1)}),
    "sequence": Used(lambda: With(lambda s, x: torch.matmul(x, s.w), w=(4, 3)), (SEQUENCE,), {"w": (1, 3)}),
    "gpt2": Used(lambda: Conv1D(3, 4), (SEQUENCE,), {"weight": (1, 3)}),
    "transposed linear": Used(
        lambda: With(lambda s, x: F.linear(x, s.w.t(), s.b), w=(4, 3), b=(3,)), (X,), {"w": (1, 3)}
    ),
    "copied": Used(lambda: With(lambda s, x: x @ s.w.T.contiguous().T, w=(4, 3)), (X,), {"w": (1, 3)}),
    "reshaped": Used(lambda: With(lambda s, x: x @ s.w.reshape(4, 6), w=(2, 2, 6)), (X,), {"w": (1, 1, 6)}),
    "heads": Used(
        lambda: With(lambda s, x: torch.einsum("bni,hio->bhno", x, s.w), w=(3, 4, 2)),
        (SEQUENCE,),
        {"w": (3, 1, 2)},
        (1, 3),
    ),
    "heads last": Used(
        lambda: With(lambda s, x: torch.einsum("bni,ihd->bnhd", x, s.w), w=(4, 2, 3)),
        (SEQUENCE,),
        {"w": (1, 2, 3)},
        (2, 3),
    ),
    "heads in rows": Used(
        lambda: With(lambda s, x: x[:, None, None] @ s.w.view(3, 4, 2), w=(12, 2)),
        (X,),
        {"w": (3, 2)},
        (1, 3),
    ),
    "experts": Used(lambda: With(experts, w=(3, 4, 2)), (draw(5, 3, 4),), {"w": (3, 1, 2)}, (1, 2)),
    "routed": Used(lambda: With(routed, w=(2, 4, 3)), (X,), {"w": (2, 1, 3)}, None),
    "product and sum": Used(
        lambda: With(lambda s, x: (x[:, :, None] * s.w).sum(1), w=(4, 3)), (X,), {"w": (1, 3)}
    ),
    "distances": Used(lambda: With(lambda s, x: torch.cdist(x, s.w), w=(3, 4)), (X,), {"w": (3, 1)}),
    "both ways in": Used(
        lambda: With(lambda s, x: x[:, :2] @ s.w[:2] + x[:, 2:] @ s.w[2:], w=(4, 3)), (X,), {"w": (1, 3)}
    ),
    "attention by hand": Used(
        lambda: With(attended, qkv=(4, 9), out=(3, 2)), (SEQUENCE,), {"qkv": (1, 9), "out": (1, 2)}, None
    ),
    "recurrent by hand": Used(
        lambda: With(unrolled, inwards=(4, 3), across=(3, 3)),
        (SEQUENCE,),
        {"inwards": (1, 3), "across": (1, 3)},
        None,
    ),
    "convolution": Used(lambda: nn.Conv2d(4, 6, 3, groups=2), (IMAGES,), {"weight": (6, 1, 1, 1)}, 1),
    "functional convolution": Used(
        lambda: With(lambda s, x: F.conv2d(x, s.w.permute(3, 2, 0, 1)), w=(3, 3, 4, 5)),
        (IMAGES,),
        {"w": (1, 1, 1, 5)},
        1,
    ),
    "depthwise": Used(lambda: nn.Conv2d(4, 4, 3, groups=4), (IMAGES,), {"weight": (4, 1, 1, 1)}, 1),
    "transposed": Used(lambda: nn.ConvTranspose2d(4, 3, 3), (IMAGES,), {"weight": (1, 3, 1, 1)}, 1),
    "transposed groups": Used(
        lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), (IMAGES,), {"weight": (2, 3, 1, 1)}, 1
    ),
    "functional transposed": Used(
        lambda: With(lambda s, x: F.conv_transpose2d(x, s.w, groups=2), w=(4, 3, 2, 2)),
        (IMAGES,),
        {"w": (2, 3, 1, 1)},
        1,
    ),
    "bilinear": Used(lambda: nn.Bilinear(4, 4, 3), (X, X.flip(0)), {"weight": (3, 1, 1)}),
    "functional bilinear": Used(
        lambda: With(lambda s, x: F.bilinear(x, x, s.w.permute(2, 0, 1)), w=(4, 4, 3)),
        (X,),
        {"w": (1, 1, 3)},
    ),
    "lstm": Used(
        lambda: nn.LSTM(4, 3, batch_first=True),
        (SEQUENCE,),
        {"weight_ih_l0": (12, 1), "weight_hh_l0": (12, 1)},
        None,
    ),
    "gru": Used(
        lambda: nn.GRU(4, 3, batch_first=True),
        (SEQUENCE,),
        {"weight_ih_l0": (9, 1), "weight_hh_l0": (9, 1)},
        None,
    ),
    "multi-head": Used(
        lambda: With(lambda s, x: s.a(x, x, x)[0]),
        (SEQUENCE,),
        {"a.in_proj_weight": (12, 1), "a.out_proj.weight": (4, 1)},
        None,
    ),
    "tokens": Used(lambda: nn.Embedding(7, 4), (torch.arange(12).view(4, 3) % 7,), {"weight": (7, 1)}, None),
    "tokens by index": Used(
        lambda: With(lambda s, ids: torch.tanh(s.table[ids]) @ s.w, table=(7, 4), w=(4, 3)),
        (torch.arange(12).view(4, 3) % 7,),
        {"table": (7, 1), "w": (1, 3)},
        None,
    ),
    "tied tokens": Used(TiedTokens, (torch.arange(12).view(4, 3) % 7,), {"tokens.weight": (7, 1)}, None),
    "tied code": Used(TiedCode, (X,), {"encoder.weight": None}, None),
    "weight norm": Used(
        lambda: parametrizations.weight_norm(nn.Linear(4, 3)),
        (X,),
        {"parametrizations.weight.original0": (3, 1), "parametrizations.weight.original1": (3, 1)},
    ),
    "spectral norm": Used(
        lambda: parametrizations.spectral_norm(nn.ConvTranspose1d(4, 3, 2)),
        (SEQUENCE.mT,),
        {"parametrizations.weight.original": (1, 3, 1)},
        None,
    ),
    "pruned": Used(masked_linear, (X,), {"weight_orig": (3, 1)}),
    "low rank": Used(
        lambda: With(lambda s, x: x @ s.a @ s.b, a=(4, 2), b=(2, 3)), (X,), {"a": (1, 2), "b": (1, 3)}, None
    ),
    "low rank at once": Used(
        lambda: With(lambda s, x: x @ (s.w + s.a @ s.b), w=(4, 3), a=(4, 2), b=(2, 3)),
        (X,),
        {"w": (1, 3), "a": None, "b": None},
        None,
    ),
    "position added": Used(
        lambda: With(lambda s, x: (x + s.place) @ s.w, place=(6, 4), w=(4, 3)),
        (SEQUENCE,),
        {"place": None, "w": (1, 3)},
        None,
    ),
    "scale per channel": Used(
        lambda: With(lambda s, x: x * s.scale, scale=(4, 1, 1)), (IMAGES,), {"scale": (1, 1, 1)}, None
    ),
    "class token": Used(
        lambda: With(
            lambda s, x: torch.cat([s.token.expand(len(x), -1, -1), x], 1) @ s.w, token=(1, 1, 4), w=(4, 3)
        ),
        (SEQUENCE,),
        {"token": (1, 1, 1), "w": (1, 3)},
        None,
    ),
    "learned queries": Used(
        lambda: With(
            lambda s, x: torch.tanh(s.latents @ s.w) @ (x @ s.v).mT, latents=(2, 4), w=(4, 3), v=(4, 3)
        ),
        (SEQUENCE,),
        {"latents": None, "w": None, "v": (1, 3)},
        None,
    ),
    "grouped by hand": Used(
        lambda: With(lambda s, x: F.conv1d(x.mT, s.w.flatten(0, 1), groups=2), w=(2, 3, 2, 1)),
        (SEQUENCE,),
        {"w": (2, 3, 1, 1)},
        1,
    ),
    "padded": Used(lambda: With(lambda s, x: x @ F.pad(s.w, (1, 0)), w=(4, 3)), (X,), {"w": (1, 3)}),
    "low rank adapter": Used(
        lambda: With(
            lambda s, x: F.linear(x, s.w) + F.linear(F.linear(x, s.a), s.b), w=(3, 4), a=(2, 4), b=(3, 2)
        ),
        (X,),
        {"w": (3, 1), "a": (2, 1), "b": (3, 1)},
        None,
    ),
    "symmetric": Used(lambda: With(lambda s, x: x @ (s.w + s.w.T), w=(4, 4)), (X,), {"w": None}, None),
    "complex": Used(
        lambda: With(lambda s, x: (x + 0j) @ torch.complex(s.a, s.b), a=(4, 3), b=(4, 3)),
        (X,),
        {"a": (1, 3), "b": (1, 3)},
        None,
    ),
    "autocast": Used(lambda: With(cast, w=(4, 3)), (X,), {"w": (1, 3)}, None),
    "half": Used(lambda: With(lambda s, x: x.half() @ s.w.half(), w=(4, 3)), (X,), {"w": (1, 3)}, None),
    "forces": Used(lambda: With(derived, w=(4, 3), v=(3, 2)), (X,), {"w": (1, 3), "v": (1, 2)}, None),
    "inference mode": Used(
        lambda: With(torch.inference_mode()(in_inference_mode), w=(4, 3)), (X,), {"w": (1, 3)}, None
    ),
    "compiled": Used(
        lambda: With(lambda s, x: torch.compile(lambda x, w: x @ w, backend="eager")(x, s.w), w=(4, 3)),
        (X,),
        {"w": (1, 3)},
        None,
    ),
    "dictionary": Used(
        lambda: With(lambda s, x: {"scores": x["a"] @ s.w}, w=(4, 3)), ({"a": X},), {"w": (1, 3)}, None
    ),
    "constant data": Used(
        lambda: With(lambda s, x: torch.ones(5, 4) @ s.w + 0 * x[:, :3], w=(4, 3)), (X,), {"w": (1, 3)}, None
    ),
    "written into": Used(
        lambda: With(lambda s, x: collected(x, s.scale) @ s.w, w=(4, 3), scale=(1, 4)),
        (X,),
        {"w": (1, 3), "scale": (1, 1)},
        None,
    ),
    "unused": Used(
        lambda: With(lambda s, x: x @ s.w, w=(4, 3), u=(4, 3)), (X,), {"w": (1, 3), "u": None}, None
    ),
}


def collected(x: Tensor, scale: Tensor) -> Tensor:
    kept = torch.zeros(len(x), 4, dtype=x.dtype)
    for axis in range(4):
        kept[:, axis] = x[:, axis]
    return kept * scale


def made(name: str) -> nn.Module:
    module = USED[name].module()
    if name == "multi-head":
        module.a = nn.MultiheadAttention(4, 2, batch_first=True)
    return module
