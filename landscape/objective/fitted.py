"""A module, a loss and samples that fit one another: how the data are cut, and one pass of a chunk."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape import distributed
from landscape.errors import BadInput, LandscapeError
from landscape.inputs.sharded import is_fully_sharded
from landscape.numerics.pieces import Piece
from landscape.objective import chunking, doubts, trees
from landscape.objective.closed import closed
from landscape.objective.closures import Closure
from landscape.objective.fit import Fit, fit
from landscape.objective.identity import parts_of
from landscape.objective.kernels import without_cudnn
from landscape.objective.leaves import Leaves
from landscape.objective.losses import Loss, known_loss
from landscape.objective.parametrised import Fixed, Parametrised
from landscape.objective.samples import Chunk, Samples, coarsest, in_dtype
from landscape.objective.suited import suited, whole_of

MOST_TOLD = 1


class Fitted(Parametrised):
    """What :class:`~landscape.objective.objective.Objective` is made of, and what was found out about it."""

    def __new__(cls, module: Any = None, *_: Any, **__: Any) -> Any:
        """Of a module that ``fully_shard`` was called on, a :class:`~landscape.objective.sharded.Sharded`."""
        if is_fully_sharded(module) and not cls.is_sharded:
            from landscape.objective.sharded import Sharded

            return object.__new__(Sharded)
        return object.__new__(cls)

    # What it finds out of derivatives is to hold where a notebook has switched them off.
    @torch.enable_grad()
    def __init__(
        self,
        module: nn.Module,
        loss: str | nn.Module | Callable[..., Any] | Loss,
        data: Any,
        *,
        dtype: torch.dtype | None,
        device: str | torch.device | None,
        chunk_size: int | None,
        pieces: Sequence[Piece] | None,
        training: bool,
        known: Fit | None,
    ):
        if chunk_size is not None and chunk_size < 1:
            raise BadInput(f"chunk size {chunk_size}", "at least one sample")
        super().__init__(module, dtype=dtype, device=device, pieces=pieces, training=training)
        self._chunk_size = chunk_size
        self._recurs = any(isinstance(layer, nn.RNNBase) for layer in self.module.modules())
        whole = None if isinstance(data, Samples) else whole_of(data)
        self._given, samples = suited(self.module, known_loss(loss), data if whole is None else whole)
        if whole is not None:
            whole, samples = samples, self._shared(samples)
        if samples.count < distributed.num_processes() and not self.is_closure:
            raise BadInput(
                f"{samples.count} samples for {distributed.num_processes()} processes",
                "a sample each or more",
            )
        self.num_processes, self.num_samples = distributed.num_processes(), samples.count
        try:
            everything = self._fitted(samples, whole, self._asked, pieces is None, known)
        except BadInput:
            if self._asked is not None or not self._would_convert(samples):
                raise
            # A module does not take numbers of another dtype than its own, as a rule.
            said = f"numbers of the data are taken as {self.dtype}, the module's own".replace("torch.", "")
            samples, whole = samples.noted([said]), whole and whole.noted([said])
            everything = self._fitted(samples, whole, self.dtype, pieces is None, known)
        if pieces is None:
            self.pieces = self._fit.pieces
        if self._fit.is_whole:
            self._keep_whole(everything)
        elif self.is_repeated:
            self._fit.divisor *= self.num_processes
        self.loss = self._fit.loss

    def __repr__(self) -> str:
        """A line: what of, how large, in which numbers and where."""
        sizes = f"{self.num_parameters} parameters, {self.num_samples} samples"
        return f"Objective of {type(self.module).__name__}: {sizes}, {self.dtype} on {self.device}".replace(
            "torch.", ""
        )

    def _fitted(
        self,
        samples: Samples,
        whole: Samples | None,
        dtype: torch.dtype | None,
        watches: bool,
        known: Fit | None,
    ) -> Samples:
        """All the samples, after module and loss were tried with them in ``dtype``; as they come for None."""
        if self._criterion is not None:
            self._standing.follow(self._criterion, self.device, dtype)
        self.samples = samples.to(self.device, dtype)
        everything = self.samples
        if self.num_processes > 1:
            if whole is not None:
                # Where every process has everything, all of them find the same.
                everything = whole.to(self.device, dtype)
                self.samples = replace(self.samples, sha256_of_all=everything.sha256)
            distributed.require_same(parts_of(self.module, self._given, self.samples))
        if isinstance(self._given, Closure):
            self._fit = closed(self, self._given, everything, watches=watches)
        else:
            self._fit = fit(self, self._given, everything, watches=watches, known=known)
        return everything

    def _shared(self, samples: Samples) -> Samples:
        """The share of this process."""
        return samples.here()

    @property
    def _criterion(self) -> nn.Module | None:
        """The loss where it is a module, which may hold tensors."""
        given = self._given.criterion if isinstance(self._given, Closure) else self._given
        return given if isinstance(given, nn.Module) else None

    def _would_convert(self, samples: Samples) -> bool:
        """Whether data, or what the loss holds, have real or complex numbers in another dtype than θ's."""
        head = samples.head
        held = [*trees.tensors(head.inputs), head.targets]
        if self._criterion is not None:
            held += [*self._criterion.parameters(), *self._criterion.buffers()]
        return any(one.dtype != in_dtype(one, self.dtype) for one in held)

    def _keep_whole(self, everything: Samples) -> None:
        """All samples in every process, as one chunk, and what was asked for otherwise said in a note."""
        if self._chunk_size is not None and self._chunk_size < everything.count:
            self._fit.notes.append(f"chunk size {self._chunk_size} is ignored")
        if distributed.num_processes() > 1:
            if everything.count_here < everything.count:
                raise BadInput(
                    f"samples that are taken together, in {distributed.num_processes()} processes",
                    "all of them in one process",
                    "leave torchrun away",
                )
            # Every process computes the same, and sums are over all of them.
            self.samples = replace(everything, sha256_of_all=self.samples.sha256_of_all)
            self._fit.divisor *= distributed.num_processes()
            self._fit.notes.append("every process computes the whole")

    def called(self, inputs: Sequence[Any]) -> Any:
        """What the module, as it stands, makes of a chunk's inputs; F itself where the loss takes the module alone."""
        if isinstance(self._given, Closure):
            return self._given.of(self.module)
        return super().called(inputs)

    @property
    def is_closure(self) -> bool:
        """Whether the loss takes the module alone, so that there are no samples."""
        return isinstance(self._given, Closure)

    @property
    def chunk_size(self) -> int:
        """Samples at a time."""
        if self._fit.is_whole:
            return self.num_samples
        if self._chunk_size is not None:
            return min(self._chunk_size, self.num_samples)
        size = chunking.for_values(self._fit.seen.activations, self.device.type)
        return chunking.even(size, self.num_samples)

    def derivative_chunk(self, memory_limit: float = math.inf) -> int:
        """Samples at a time in a derivative, unless a chunk size was asked for."""
        if self._fit.is_whole or self._chunk_size is not None:
            return self.chunk_size
        per_sample, number_bytes = self._fit.seen.activations, torch.finfo(self.dtype).bits // 8
        size = chunking.for_derivatives(per_sample, self.device.type, memory_limit, number_bytes)
        return chunking.even(size, self.num_samples)

    @property
    def divisor(self) -> float:
        """F is the sum of the loss's totals over this: n, a sum of weights, or one."""
        return self._fit.divisor

    @property
    def num_counted(self) -> int:
        """How many samples all processes together count right or wrong: n, or n in each of them."""
        if not self.is_repeated:
            return self.num_samples
        return self.samples.count_here * distributed.num_processes()

    @property
    def is_whole(self) -> bool:
        """Whether the samples hang together, so that F is had of all of them at once alone."""
        return self._fit.is_whole

    @property
    def is_repeated(self) -> bool:
        """Whether every process computes all of the samples."""
        return self.is_whole

    @property
    def num_copies(self) -> int:
        """In how many processes each sample is computed."""
        return distributed.num_processes() if self.is_repeated else 1

    def over_samples(self, here: Tensor) -> Tensor:
        """The sum over all samples of what was summed over those of this process, each once."""
        return distributed.total(here) / self.num_copies

    @property
    def needs_gradients(self) -> bool:
        """Whether the module, or the loss, takes derivatives of its own."""
        return self._fit.needs_gradients

    @property
    def moves_inputs(self) -> bool:
        """Whether a call writes into what it is given."""
        return self._fit.seen.moves_inputs

    @property
    def dtypes(self) -> frozenset[torch.dtype]:
        """The floating-point dtypes that a forward pass and the loss compute in."""
        return self._fit.seen.dtypes

    @property
    def coarsest(self) -> torch.dtype:
        """The dtype of least precision among the objective's and those that the module computes in."""
        return coarsest((self.dtype, *self.dtypes))

    @property
    def undefined(self) -> list[str]:
        """What the module, or the loss, was seen to raise at points where F is not defined."""
        return self._fit.undefined

    @property
    def given(self) -> Any:
        """The loss as it was given: one of the built-in ones, or the user's own callable."""
        return self._given

    @property
    def notes(self) -> list[str]:
        """What a reader of any number of this objective should know."""
        mode = ["the module stands in training mode, its buffers frozen"] if self.training else []
        if not self._standing.has_modes:
            mode = [
                "the module has one mode, which train() and eval() do not change: it is taken as it stands"
            ]
        nowhere = dict.fromkeys(self.undefined)
        raised = [f"F is NaN where the module, or the loss, raises {one}" for one in nowhere]
        return [*mode, *self.samples.notes, *self._fit.notes, *raised[:MOST_TOLD]]

    @property
    def has_sample_losses(self) -> bool:
        """Whether F is the mean, or the sum, of a loss per sample."""
        return not self.is_whole and self.loss.over != "weight"

    @property
    def tells_samples_apart(self) -> bool:
        """Whether the loss of every sample can be had from the outputs of a chunk."""
        return self.has_sample_losses and self._fit.seen.has_sample_axis and self.loss.is_of_outputs

    @property
    def is_mean(self) -> bool:
        """Whether F is the mean of a loss per sample."""
        return not self.is_whole and self.loss.over == "samples"

    @property
    def activations(self) -> int:
        """Numbers that one evaluation over all of the data passes from layer to layer, the same in every process."""
        return self._fit.seen.activations * self.num_samples

    @property
    def num_smooth(self) -> int:
        """Samples of this process for differences of ∇F: of all together, so few that no kink lies within a step."""
        few = max(1, doubts.ACTIVATIONS * self.num_samples // max(1, self.activations))
        return -(-few // self.num_processes)

    def outputs(self, theta: Tensor, fixed: Fixed, inputs: Any, training: bool = False) -> Any:
        """h(x; θ) of a chunk's inputs, differentiable in θ, and in whatever of ``fixed`` requires a gradient."""
        wants_graph = torch.is_grad_enabled()
        with self.passed(theta, fixed, inputs, training) as outputs:
            if self._fit.needs_gradients and not wants_graph:
                return trees.mapped(torch.Tensor.detach, outputs)
            return outputs

    @contextmanager
    def passed(
        self,
        theta: Tensor | Leaves | Mapping[str, Tensor],
        fixed: Fixed,
        inputs: Any,
        training: bool = False,
    ) -> Iterator[Any]:
        """:meth:`outputs`, with the module standing at θ as long as it is inside: there the loss is to be called.

        Gradients are enabled inside where the module or the loss takes derivatives of its own. Recurrent layers are
        run without cuDNN where one is recorded: it has no second derivative, and in eval mode not even a first one.
        """
        if self._fit.seen.moves_buffers and not training:
            fixed = {name: tensor.clone() for name, tensor in fixed.items()}
        if self._fit.seen.moves_inputs:
            inputs = trees.mapped(torch.clone, inputs)
        grads = torch.is_grad_enabled()
        is_native = grads and not training and self._recurs
        kernels = without_cudnn() if is_native else nullcontext()
        with kernels, self.standing(theta, fixed, training=training):
            if self._fit.needs_gradients and not grads:
                with torch.enable_grad():
                    yield self.called(inputs)
                return
            outputs = self.called(inputs)
            if training:
                for name, tensor in fixed.items():
                    now = self.now(name)
                    if now is not tensor:  # a buffer that was replaced, not written into
                        tensor.copy_(now.detach())
            yield outputs

    def chunks(self, size: int | None = None) -> Iterator[Chunk]:
        """(inputs, targets) of this process's samples, ``size`` (default ``chunk_size``) at a time."""
        return self.samples.chunks(size or self.chunk_size)

    def few(self, size: int) -> Samples:
        """The first ``size`` samples of this process, or all where module or loss takes them together."""
        return self.samples if self.is_whole else self.samples.few(size)

    @contextmanager
    def _parts_explained(self, count: int) -> Iterator[None]:
        """What cannot be had of a part of the samples, where all are taken together, becomes a sentence."""
        try:
            yield
        except Exception as error:
            is_ours = isinstance(error, LandscapeError | torch.OutOfMemoryError)
            if not self.is_whole or count == self.num_samples or is_ours:
                raise
            said = next(iter(str(error).splitlines()), type(error).__name__)
            raise BadInput(
                f"a batch of {count} samples, where the module or the loss takes all of them together ({said})",
                f"all {self.num_samples} samples in every step",
                "train by gradient descent",
            ) from error

    def computing_again(self, theta: Tensor | Leaves, fixed: Fixed) -> AbstractContextManager[None]:
        """Inside, what was checkpointed can be computed again for a derivative of :meth:`passed`."""
        return self._stood_again(theta, fixed) if self._fit.seen.recomputes else nullcontext()

    @contextmanager
    def _stood_again(self, theta: Tensor | Leaves, fixed: Fixed) -> Iterator[None]:
        with sdpa_kernel(SDPBackend.MATH), self.standing(theta, fixed):
            yield
