"""Modules, losses and data as people bring them, each with what F is by a plain call of all samples.

F(θ) is ``loss(module(*inputs), targets)`` in one call, float64, eval mode. ``is_whole`` marks what cannot be cut.
"""

import dataclasses
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parameters_to_vector, prune, vector_to_parameters
from torch.utils.checkpoint import checkpoint

N = 29


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def whole_numbers(*shape: int, below: int, seed: int = 1) -> Tensor:
    return torch.randint(below, shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Meaning:
    """What an Objective is given, and its plain value; ``truth`` where the loss is a name.

    ``by_hand``: the same function of the same parameters in operations whose second derivative autograd has right.
    """

    module: nn.Module
    loss: Any
    data: tuple[Any, Tensor]
    truth: Callable[[Any, Tensor], Tensor] | None = None
    is_whole: bool = False
    by_hand: "Meaning | None" = None

    def value(self) -> Tensor:
        """F at the module's present parameters, differentiable in them."""
        inputs, targets = self.data
        inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        said = (self.truth or self.loss)(self.module(*inputs), targets)
        return said[0] / said[1] if isinstance(said, tuple) else said

    @contextmanager
    def at(self, theta: Tensor):
        """The module's parameters written over."""
        weights = [p for p in self.module.parameters() if p.requires_grad]
        kept = parameters_to_vector(weights).detach().clone()
        was, fast = self.module.training, torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        self.module.eval()
        with torch.no_grad():
            vector_to_parameters(theta.clone(), weights)
        try:
            with sdpa_kernel(SDPBackend.MATH):
                yield weights
        finally:
            with torch.no_grad():
                vector_to_parameters(kept, weights)
            self.module.train(was)
            torch.backends.mha.set_fastpath_enabled(fast)

    def derivatives(self, theta: Tensor, v: Tensor) -> tuple[float, Tensor, Tensor]:
        """F, ∇F and Hv at θ."""
        if self.by_hand is not None:
            return self.by_hand.derivatives(theta, v)
        with self.at(theta) as weights:
            value = self.value()
            slopes = torch.autograd.grad(value, weights, create_graph=True, allow_unused=True)
            slope = torch.cat(
                [
                    (torch.zeros_like(w) if s is None else s).flatten()
                    for s, w in zip(slopes, weights, strict=True)
                ]
            )
            images = torch.autograd.grad(slope @ v, weights, allow_unused=True)
            image = torch.cat(
                [
                    (torch.zeros_like(w) if s is None else s).flatten()
                    for s, w in zip(images, weights, strict=True)
                ]
            )
        return float(value.detach()), slope.detach(), image.detach()


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return make().double()


def net(inputs: int = 3, outputs: int = 4) -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(inputs, 5), nn.Tanh(), nn.Linear(5, outputs)))


X, Y = draw(N, 3), whole_numbers(N, below=4)
SORTED = Y.sort().values
WEIGHT = torch.tensor([0.3, 1.0, 2.0, 0.7], dtype=torch.float64)
CE = functional.cross_entropy


class Around(nn.Module):
    """A net, and what is done with its outputs or its inputs."""

    def __init__(self, before=None, after=None, inputs: int = 3, outputs: int = 4):
        super().__init__()
        self.net, self.before, self.after = net(inputs, outputs), before, after

    def forward(self, x):
        h = self.net(self.before(x) if self.before else x)
        return self.after(h) if self.after else h


# --- what F reads ---------------------------------------------------------------------------


def penalty() -> Meaning:
    module = net()
    return Meaning(
        module, lambda o, t: CE(o, t) + 0.2 * sum(p.square().sum() for p in module.parameters()), (X, Y)
    )


def criterion_with_the_module() -> Meaning:
    module = net()

    class Criterion(nn.Module):
        def __init__(self):
            super().__init__()
            self.held, self.weight = module, nn.Parameter(WEIGHT.clone())

        def forward(self, o, t):
            return (o * self.weight).square().mean() + 0.1 * self.held[0].weight.abs().sum()

    return Meaning(module, Criterion(), (X, Y))


def criterion_with_one_parameter() -> Meaning:
    module = net()

    class Criterion(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = module[0].weight

        def forward(self, o, t):
            return CE(o, t) + self.first.square().sum()

    return Meaning(module, Criterion(), (X, Y))


def wrapped_forward() -> Meaning:
    module = net()
    module.forward = lambda x: module[2](torch.sin(module[0](x)))
    return Meaning(module, "cross_entropy", (X, Y), CE)


def hook_that_adds() -> Meaning:
    module = net()
    module.extra = seeded(lambda: nn.Linear(4, 4))
    module[2].register_forward_hook(lambda layer, inputs, out: out + module.extra(out))
    module.forward = lambda x: module[2](module[1](module[0](x)))
    return Meaning(module, "cross_entropy", (X, Y), CE)


def old_weight_norm() -> Meaning:
    module = net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(module[2])
    return Meaning(module, "cross_entropy", (X, Y), CE, by_hand=normed_by_hand(module, [False, True]))


def normed_by_hand(module: nn.Sequential, is_normed: list[bool]) -> Meaning:
    """Layers around a tanh whose weights, where they are normed, are g v/‖v‖ of the rows of v."""

    class Layer(nn.Module):
        """Parameters in the order that weight_norm leaves: b, g, v; or w, b."""

        def __init__(self, given: list[Tensor]):
            super().__init__()
            self.numbers = nn.ParameterList([nn.Parameter(one.detach().clone()) for one in given])

        def forward(self, x):
            if len(self.numbers) == 2:
                return functional.linear(x, *self.numbers)
            b, g, v = self.numbers
            w = g * v / v.flatten(1).square().sum(1).sqrt().view(g.shape)
            return functional.linear(x, w, b) if v.dim() == 2 else functional.conv2d(x, w, b)

    first, last = (Layer(list(module[i].parameters())) for i in (0, -1))
    assert [len(layer.numbers) == 3 for layer in (first, last)] == is_normed
    return Meaning(nn.Sequential(first, *module[1:-1], last), CE, (X, Y))


def parametrised_weight_norm(convolves: bool) -> Meaning:
    norm = nn.utils.parametrizations.weight_norm

    def make():
        first, size = (nn.Conv2d(1, 2, 2), 8) if convolves else (nn.Linear(3, 5), 5)
        return nn.Sequential(norm(first), nn.Tanh(), nn.Flatten(), norm(nn.Linear(size, 4)))

    module, data = seeded(make), (draw(N, 1, 3, 3) if convolves else X, Y)
    hand = dataclasses.replace(normed_by_hand(module, [True, True]), data=data)
    return Meaning(module, "cross_entropy", data, CE, by_hand=hand)


class Cube(torch.autograd.Function):
    """x³ with a derivative that may be taken once."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):
        return 3 * ctx.saved_tensors[0] ** 2 * slope


class ForgetfulCube(torch.autograd.Function):
    """x³ whose backward is a function of the slope alone: a second derivative is symmetric, and lacks a term."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, slope):
        return 3 * ctx.saved_tensors[0].detach() ** 2 * slope


def cubed(function: type[torch.autograd.Function]) -> Meaning:
    plain = Meaning(Around(after=lambda h: (0.7 * h) ** 3), CE, (X, Y))
    return Meaning(
        Around(after=lambda h: function.apply(0.7 * h)), "cross_entropy", (X, Y), CE, by_hand=plain
    )


def connectionist() -> Meaning:
    """CTC of two labels in five frames, by torch, and by the recursion over - a - b - (Graves et al. 2006)."""
    labels = 1 + whole_numbers(N, 2, below=3)

    def by_torch(h, t):
        frames, lengths = h.log_softmax(-1).transpose(0, 1), torch.full((len(t),), 5)
        return functional.ctc_loss(frames, t, lengths, torch.full_like(lengths, 2))

    def by_hand(h, t):
        log_p, blank = h.log_softmax(-1), torch.zeros_like(t[:, 0])
        states = torch.stack([blank, t[:, 0], blank, t[:, 1], blank], 1)
        never = torch.full((len(t),), -1e4, dtype=h.dtype)
        may_skip = {3: t[:, 0] != t[:, 1]}
        way = None
        for frame in log_p.unbind(1):
            here = frame.gather(1, states).unbind(1)
            if way is None:
                way = [here[0], here[1], never, never, never]
                continue
            before = way
            way = []
            for s in range(5):
                reached = [before[s], *before[max(s - 1, 0) : s]]
                if s in may_skip:
                    reached.append(torch.where(may_skip[s], before[s - 2], never))
                way.append(torch.stack(reached).logsumexp(0) + here[s])
        assert way is not None
        return -(torch.logaddexp(way[3], way[4]) / 2).mean()

    module, data = seeded(lambda: nn.Linear(3, 4)), (draw(N, 5, 3, seed=8), labels)
    return Meaning(module, by_torch, data, by_hand=Meaning(module, by_hand, data))


def old_spectral_norm() -> Meaning:
    def make():
        module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4))
        nn.utils.spectral_norm(module[0])
        return module

    return Meaning(seeded(make).eval(), "cross_entropy", (X, Y), CE)


def pruned() -> Meaning:
    module = net()
    prune.l1_unstructured(module[2], "weight", 0.3)
    return Meaning(module, "cross_entropy", (X, Y), CE)


def data_parallel() -> Meaning:
    module = net()
    inner = Meaning(module, "cross_entropy", (X, Y), CE)
    return dataclasses.replace(inner, module=nn.DataParallel(module))


# --- how samples hang together --------------------------------------------------------------


def recurrent_time_first() -> Meaning:
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.cell, self.out = nn.Embedding(5, 2), nn.GRU(2, 3), nn.Linear(3, 5)

        def forward(self, tokens):
            return self.out(self.cell(self.embed(tokens))[0])

    tokens = whole_numbers(N, 3, below=5)
    loss = lambda o, t: CE(o.flatten(0, 1), t.flatten())  # noqa: E731
    return Meaning(seeded(Reader), loss, (tokens, tokens.roll(-1, 0)), is_whole=True)


def centred_over_the_batch() -> Meaning:
    x = X.clone()
    x[:5] = x[0]
    return Meaning(Around(after=lambda h: h - h.mean(0)), "cross_entropy", (x, Y), CE, is_whole=True)


def mixing_that_is_zero_at_first() -> Meaning:
    class Mixing(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.gate = net(), nn.Parameter(torch.zeros(1, dtype=torch.float64))

        def forward(self, x):
            h = self.net(x)
            return h + self.gate * h.mean(0)

    return Meaning(Mixing(), "cross_entropy", (X, Y), CE, is_whole=True)


def graph_in_one_piece() -> Meaning:
    links = (draw(N, N, seed=7) > 1).double()
    return Meaning(Around(before=lambda x: links @ x), "cross_entropy", (X, Y), CE, is_whole=True)


class Messages(nn.Module):
    """Every node adds up what its neighbours send along the edges (2, E); graphs, where there are some, their nodes."""

    def __init__(self):
        super().__init__()
        self.send, self.read = nn.Linear(3, 4), nn.Linear(4, 4)

    def forward(self, nodes: Tensor, edges: Tensor, graph: Tensor | None = None) -> Tensor:
        sent = self.send(nodes).tanh()
        met = torch.zeros_like(sent).index_add(0, edges[1], sent[edges[0]])
        out = self.read(met)
        return (
            out if graph is None else torch.zeros_like(out[: int(graph.max()) + 1]).index_add(0, graph, out)
        )


def graph_by_its_edges() -> Meaning:
    edges = whole_numbers(2, 3 * N, below=N)
    return Meaning(seeded(Messages), "cross_entropy", ((X, edges), Y), CE, is_whole=True)


# --- what the loss means --------------------------------------------------------------------


def loss_module_of_its_own(reduction: str) -> Meaning:
    labels = whole_numbers(N, 4, below=4)
    labels[torch.arange(N)[:, None] * torch.arange(4) > 2 * N // 3] = -100

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, x, y):
            return CE(self.net(x).flatten(0, 1), y.flatten(), reduction=reduction)

    data = ((draw(N, 4, 3), labels), torch.zeros(N))
    return Meaning(Own(), "output", data, lambda o, t: o, is_whole=reduction == "mean")


def pixels(loss: Any, is_whole: bool = False) -> Meaning:
    module = seeded(lambda: nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 4, 1)))
    labels = whole_numbers(N, 3, 3, below=4)
    labels[N // 2 :, 1:] = 9
    labels[-1] = 9
    return Meaning(module, loss, (draw(N, 1, 3, 3), labels), is_whole=is_whole)


def pair(o: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    weight = WEIGHT[t]
    return (weight * CE(o, t, reduction="none")).sum(), weight.sum()


def pair_of_outputs(o: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    return CE(o, t, reduction="sum"), 1 + o.square().sum()


def dice(o: Tensor, t: Tensor) -> Tensor:
    p, y = o.softmax(1), functional.one_hot(t, 4)
    return 1 - (2 * (p * y).sum(0) / (p + y).sum(0)).mean()


def contrastive(o: Tensor, t: Tensor) -> Tensor:
    z = functional.normalize(o, dim=1)
    return CE(z @ z.T, t)


def ranking(o: Tensor, t: Tensor) -> Tensor:
    return functional.softplus(-(o[:, :1] - o[:, 0]) * (t[:, None] - t).sign()).mean()


def triplets(o: Tensor, t: Tensor) -> Tensor:
    """Of every three samples in turn; such numbers as do not come in threes it does not take."""
    assert N % 3 == 2
    return functional.triplet_margin_loss(o[2::3], o[3::3], o[4::3])


def unexplained(o: Tensor, t: Tensor) -> Tensor:
    return (o[:, 0] - t).square().sum() / (t - t.mean()).square().sum()


# --- trees, derivatives inside, dtypes ------------------------------------------------------


class Two(NamedTuple):
    logits: Tensor
    extra: Tensor


@dataclass
class Record:
    logits: Tensor
    extra: Tensor | None = None
    name: str = "out"


def slope_inside() -> Meaning:
    def slope(module: nn.Module, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        (found,) = torch.autograd.grad(module(x).sum(), x, create_graph=True)
        return found

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net(2, 1)

        def forward(self, x):
            return slope(self.net, x)[:, :1] + self.net(x)

    return Meaning(Residual(), "mse", (draw(N, 2), draw(N, 1, seed=3)), functional.mse_loss)


def gradient_penalty_in_the_loss() -> Meaning:
    module = net()

    def loss(o, t):
        x = X[:4].clone().requires_grad_()
        (slope,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
        return CE(o, t) + slope.square().mean()

    return Meaning(module, loss, (X, Y))


def rotated() -> Meaning:
    class Rotated(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net(2)
            self.register_buffer("turn", torch.polar(torch.ones(1), torch.ones(1)).to(torch.complex128))

        def forward(self, x):
            return self.net(torch.view_as_real(torch.view_as_complex(x)[:, None] * self.turn).flatten(1))

    return Meaning(Rotated(), "cross_entropy", (draw(N, 2), Y), CE)


def padded() -> Meaning:
    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            layer = nn.TransformerEncoderLayer(4, 2, 3, dropout=0.0, batch_first=True)
            self.body, self.out = nn.TransformerEncoder(layer, 1), nn.Linear(4, 4)

        def forward(self, x, mask):
            return self.out(self.body(x, src_key_padding_mask=mask).mean(1))

    mask = torch.arange(5)[None] >= whole_numbers(N, 1, below=4) + 1
    return Meaning(seeded(Padded), "cross_entropy", ((draw(N, 5, 4), mask), Y), CE)


def checkpointed() -> Meaning:
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.project, self.out = nn.Linear(4, 12), nn.Linear(4, 4)

        def attend(self, x):
            q, k, v = self.project(x)[:, None].chunk(3, -1)
            return functional.scaled_dot_product_attention(q, k, v)[:, 0]

        def forward(self, x):
            return self.out(checkpoint(self.attend, x, use_reentrant=False).mean(1))

    return Meaning(seeded(Block), "cross_entropy", (draw(N, 3, 4), Y), CE)


def of_both(h: Any, t: Tensor) -> Tensor:
    first, second = (
        (h["logits"], h["extra"])
        if isinstance(h, dict)
        else h
        if isinstance(h, list)
        else (h.logits, h.extra)
    )
    return CE(first, t) + second.abs().mean()


def wrapped_outputs(wrap: Callable[[Tensor, Tensor], Any]) -> Meaning:
    return Meaning(Around(after=lambda h: wrap(h, h.square())), of_both, (X, Y))


class Keeping(nn.Module):
    """Leaves what a call saw of its hidden units in an attribute."""

    def __init__(self, seen):
        super().__init__()
        self.first, self.last, self.seen = nn.Linear(3, 5), nn.Linear(5, 4), seen

    def forward(self, x):
        h = self.first(x).tanh()
        self.kept = self.seen(h)
        return self.last(h)


def kept_by_the_module(seen, is_whole: bool = False) -> Meaning:
    """A loss that reads what the call before left in the module, where there was none yet."""
    module = seeded(lambda: Keeping(seen))
    return Meaning(module, lambda o, t: CE(o, t) + 3 * module.kept, (X, Y), is_whole=is_whole)


MEANINGS: dict[str, Callable[[], Meaning]] = {
    "plain": lambda: Meaning(net(), "cross_entropy", (X, Y), CE),
    "penalty in the loss": penalty,
    "criterion with the module": criterion_with_the_module,
    "criterion with one parameter": criterion_with_one_parameter,
    "forward that closes over the module": wrapped_forward,
    "hook that adds a layer": hook_that_adds,
    "old weight norm": old_weight_norm,
    "weight norm": lambda: parametrised_weight_norm(False),
    "weight norm of a convolution": lambda: parametrised_weight_norm(True),
    "once differentiable": lambda: cubed(Cube),
    "second derivative that lacks a term": lambda: cubed(ForgetfulCube),
    "ctc": connectionist,
    "old spectral norm": old_spectral_norm,
    "pruned": pruned,
    "data parallel": data_parallel,
    "recurrent, time first": recurrent_time_first,
    "centred over the batch": centred_over_the_batch,
    "mixing that is zero at first": mixing_that_is_zero_at_first,
    "graph in one piece": graph_in_one_piece,
    "graph by its edges": graph_by_its_edges,
    "module with its own mean": lambda: loss_module_of_its_own("mean"),
    "module with its own sum": lambda: loss_module_of_its_own("sum"),
    "ignored pixels": lambda: pixels(nn.CrossEntropyLoss(ignore_index=9)),
    "ignored pixels, by a function": lambda: pixels(lambda o, t: CE(o, t, ignore_index=9), is_whole=True),
    "weighted, ignored, smoothed": lambda: Meaning(
        net(), nn.CrossEntropyLoss(WEIGHT, ignore_index=1, label_smoothing=0.1), (X, SORTED)
    ),
    "weighted, by a function": lambda: Meaning(
        net(), lambda o, t: CE(o, t, WEIGHT), (X, SORTED), is_whole=True
    ),
    "weighted likelihood": lambda: Meaning(
        Around(after=lambda h: h.log_softmax(1)), nn.NLLLoss(WEIGHT), (X, SORTED)
    ),
    "weighted bce": lambda: Meaning(
        net(),
        nn.BCEWithLogitsLoss(weight=WEIGHT, pos_weight=2 * WEIGHT),
        (X, (draw(N, 4, seed=9) > 0).double()),
    ),
    "bce with a weight per sample": lambda: Meaning(
        net(),
        nn.BCEWithLogitsLoss(weight=draw(N, 1, seed=2).abs()),
        (X, (draw(N, 4) > 0).double()),
        is_whole=True,
    ),
    "total and weight": lambda: Meaning(net(), pair, (X, SORTED)),
    "a weight of the outputs": lambda: Meaning(net(), pair_of_outputs, (X, Y), is_whole=True),
    "sum": lambda: Meaning(net(), nn.CrossEntropyLoss(reduction="sum"), (X, Y)),
    "sum, by a function": lambda: Meaning(net(), lambda o, t: CE(o, t, reduction="sum"), (X, Y)),
    "dice": lambda: Meaning(net(), dice, (X, Y), is_whole=True),
    "contrastive": lambda: Meaning(
        net(), contrastive, (X, torch.randperm(N, generator=torch.Generator().manual_seed(2))), is_whole=True
    ),
    "triplets": lambda: Meaning(net(), triplets, (X, Y), is_whole=True),
    "ranking": lambda: Meaning(net(), ranking, (X, draw(N, seed=4)), is_whole=True),
    "1 - R²": lambda: Meaning(net(), unexplained, (X, draw(N, seed=4)), is_whole=True),
    "list out": lambda: wrapped_outputs(lambda a, b: [a, b]),
    "named tuple out": lambda: wrapped_outputs(Two),
    "dictionary out": lambda: wrapped_outputs(lambda a, b: {"logits": a, "extra": b}),
    "dataclass out": lambda: wrapped_outputs(Record),
    "dictionary in": lambda: Meaning(
        Around(before=lambda batch: batch["x"] + batch["more"][0]),
        "cross_entropy",
        ({"x": X, "more": [draw(N, 3, seed=6)]}, Y),
        CE,
    ),
    "dataclass in": lambda: Meaning(
        Around(before=lambda batch: batch.logits), "cross_entropy", (Record(X), Y), CE
    ),
    "activity that the module keeps": lambda: kept_by_the_module(lambda h: h.square().mean()),
    "balance that the module keeps": lambda: kept_by_the_module(
        lambda h: h.softmax(1).mean(0).square().sum(), is_whole=True
    ),
    "slope inside": slope_inside,
    "gradient penalty in the loss": gradient_penalty_in_the_loss,
    "complex buffer": rotated,
    "padded encoder": padded,
    "checkpointed attention": checkpointed,
}
