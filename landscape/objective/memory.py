"""Parameters that lie in one memory: a step on one moves the other in place, which numbers of θ of their own do not."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from landscape.errors import BadInput

COPY = "torch.nn.Parameter(x.detach().clone())"


def require_dense(module: nn.Module) -> None:
    """Raises BadInput for a parameter or buffer that is sparse: a point, its hash and its file are of dense ones."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.layout != torch.strided:
            remedy = "give its to_dense()"
            if not isinstance(tensor, nn.Parameter):
                key = name.rpartition(".")[2]
                remedy = f"hold it as an attribute, self.{key} = …, and not by register_buffer; or {remedy}"
            raise BadInput(
                f"{name} of {type(module).__name__} is a sparse tensor",
                "dense parameters and buffers",
                remedy,
            )


def require_numbers(module: nn.Module) -> None:
    """Raises BadInput for a parameter or buffer without numbers, or with such as autograd does not take."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        # What is of a kind of its own may say so and hold its numbers elsewhere.
        if tensor.is_meta and type(tensor) in (torch.Tensor, nn.Parameter):
            raise BadInput(
                f"{name} of {type(module).__name__} is on the device meta, where there are no numbers",
                "a module with its weights",
                "module.to_empty(device='cpu') gives it memory; then load_state_dict, or draw its weights",
            )
        if tensor.is_inference():
            raise BadInput(
                f"{name} of {type(module).__name__} was made under torch.inference_mode and has no derivatives",
                "a module that was made, or whose weights were loaded, outside of it",
                "copy.deepcopy(module), called outside of it, makes one with the same numbers",
            )


def require_own_listing(module: nn.Module) -> None:
    """Raises BadInput where ``parameters()`` or ``named_parameters()`` lists others than the module holds."""
    held = dict(nn.Module.named_parameters(module))
    for method, found, wanted in (
        ("named_parameters", list(dict(module.named_parameters())), list(held)),
        ("parameters", list(map(id, module.parameters())), list(map(id, held.values()))),
    ):
        if found != wanted:
            raise BadInput(
                f"{method}() of {type(module).__name__} lists others than it holds, {len(found)} of {len(held)}",
                "the parameters that it holds, by the names of their places",
                f"leave {method}() as torch.nn.Module has it; what is not trained is told by requires_grad_(False)",
            )


def require_own_memory(module: nn.Module) -> None:
    """Raises BadInput for trainable parameters of which a number lies where another one does.

    Tied by being one object they are one parameter, and no two; parts of one tensor that do not meet are no fault.

    >>> one, two = nn.Linear(2, 2), nn.Linear(2, 2)
    >>> two.weight = one.weight
    >>> require_own_memory(nn.Sequential(one, two))
    """
    by_storage: dict[int, list[tuple[str, Tensor]]] = {}
    seen: set[int] = set()
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if id(tensor) not in seen and type(tensor.data) is Tensor and lies_somewhere(tensor):
            seen.add(id(tensor))
            by_storage.setdefault(tensor.untyped_storage().data_ptr(), []).append((name, tensor))
    for held in by_storage.values():
        for name, tensor in held:
            count = tensor.numel() if _is_dense(tensor) or not tensor.requires_grad else len(_places(tensor))
            if count < tensor.numel():
                raise BadInput(
                    f"the {tensor.numel()} numbers of {name} lie in the memory of {count}, as expand() leaves it",
                    "a number in memory for each",
                    f"give it memory of its own, {COPY}",
                )
        for (name, one), (beside, other) in _neighbours(held):
            if (one.requires_grad or other.requires_grad) and bool(
                torch.isin(_places(one), _places(other)).any()
            ):
                raise BadInput(
                    f"{name} and {beside} are two and lie in one memory, where a step on one moves the other",
                    "parameters and buffers that lie apart, or one",
                    f"tie them as one object, as in `b.weight = a.weight`, or give one of them its own, {COPY}",
                )


def lies_somewhere(tensor: Tensor) -> bool:
    """Whether a tensor has numbers in a memory of which places can be told."""
    return tensor.layout == torch.strided and tensor.device.type != "meta" and tensor.numel() > 0


def _span(tensor: Tensor) -> tuple[int, int]:
    """Where a tensor begins and ends, in numbers from the beginning of its storage."""
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    start = int(tensor.storage_offset())
    return start, start + reach + 1


def _neighbours(held: list[tuple[str, Tensor]]) -> Iterator[tuple[tuple[str, Tensor], tuple[str, Tensor]]]:
    """Every two in a storage whose spans meet."""
    ordered = sorted(held, key=lambda one: _span(one[1]))
    active: list[tuple[str, Tensor]] = []
    for one in ordered:
        active = [other for other in active if _span(other[1])[1] > _span(one[1])[0]]
        yield from ((other, one) for other in active)
        active.append(one)


def _is_dense(tensor: Tensor) -> bool:
    """Whether a tensor's numbers fill its span, as is certain of a contiguous one and of one that is turned."""
    start, stop = _span(tensor)
    return stop - start == tensor.numel() and 0 not in tensor.stride()


def _places(tensor: Tensor) -> Tensor:
    """The distinct places of a tensor's numbers in its storage."""
    start, stop = _span(tensor)
    if _is_dense(tensor):
        return torch.arange(start, stop)
    own = torch.arange(stop - start).as_strided(tensor.shape, tensor.stride())
    return own.unique() + start
