"""torch.distributed: rank, size, my share of the data, one sum. Nothing else knows it exists.

Every process takes the same steps and asks for the same sums. What each does alone between two of them may fail in one
process only: then all of them raise the same error, and none waits for ever.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from landscape.distributed.watch import ALONE, Watch
from landscape.errors import BadInput, LandscapeError, OtherProcess, first_line

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
# Until all processes have come; a first import of torch from a slow disk takes minutes.
START = timedelta(minutes=10)
# What a factory may have drawn.
DRAWN = ("point", "weights")
_watch: Watch | None = None
# How often the processes have joined: what they said to one another before is over.
_round = 0
_is_alone = False


def is_launched() -> bool:
    """Whether torchrun started this process."""
    # Asked several times a training step, where every look into the environment counts.
    return "RANK" in os.environ and (
        "TORCHELASTIC_RUN_ID" in os.environ or {"WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys()
    )


def is_first() -> bool:
    """Whether this process is the one that speaks, before they have joined as well."""
    return not is_launched() or os.environ["RANK"] == "0"


def is_active() -> bool:
    """Whether this process has joined the others."""
    # Without torchrun the module is not even imported.
    if not is_launched():
        return False
    import torch.distributed

    return torch.distributed.is_available() and torch.distributed.is_initialized()


def start(device_type: str, again: str = "") -> None:
    """Join the process group that torchrun prepared: gloo for tensors on the CPU, nccl for those on CUDA.

    ``again`` is the command, or call, that goes on where this one is ended by the loss of a process.
    """
    global _watch, _round
    import torch.distributed
    from torch.distributed import PrefixStore  # pyright: ignore[reportPrivateImportUsage]
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(rendezvous("env://", timeout=START))
    _round += 1
    store = PrefixStore(f"round {_round}", store)
    _watch = Watch.joined(_round, rank, size, again)
    backend = "cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo"
    with _explained("the others"):
        torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=size)


def stop(error: BaseException | None = None) -> None:
    """Leave the process group; the others are told of the ``error`` this one ends with."""
    global _watch
    if _watch is not None and error is not None:
        _watch.tell(str(_as_told(error)), _exit_code(error))
    if is_active():
        import torch.distributed

        torch.distributed.destroy_process_group()
    if _watch is not None:
        _watch.leave()
        _watch = None


def is_first_to_say(sentence: str, exit_code: int) -> bool:
    """Whether this process is to say why it ends: one of several does. The others are told to end as well."""
    if not is_launched():
        return True
    # It ends by itself, with its own code, when torchrun asks it to since another one was faster.
    with suppress(ValueError):  # in a thread, which hears no signals
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    watch = _watch or Watch.reached(_round, int(os.environ["RANK"]), int(os.environ.get("WORLD_SIZE", "1")))
    return watch is None or watch.is_first_to_say(sentence, exit_code)


def rank() -> int:
    if _is_alone or not is_active():
        return 0
    import torch.distributed

    return torch.distributed.get_rank()


def num_processes() -> int:
    return 1 if _is_alone else num_launched()


def num_launched() -> int:
    """How many processes have joined, whether they share the work now or not."""
    if not is_active():
        return 1
    import torch.distributed

    return torch.distributed.get_world_size()


@contextmanager
def alone() -> Iterator[None]:
    """Inside, this process has all samples and sums nothing with others, as if it were the only one."""
    global _is_alone
    before, _is_alone = _is_alone, True
    try:
        yield
    finally:
        _is_alone = before


def share(num_samples: int) -> slice:
    """The contiguous samples of this process."""
    size, mine = num_processes(), rank()
    return slice(num_samples * mine // size, num_samples * (mine + 1) // size)


def require_one_process(what: str) -> None:
    """Raises BadInput where there are several: ``what`` needs all samples in one place."""
    if num_processes() > 1:
        raise BadInput(f"{what} in {num_processes()} processes", "one process", "leave torchrun away")


def total(tensor: Tensor) -> Tensor:
    """The sum of ``tensor`` over all processes; the tensor itself where there is one."""
    if num_processes() == 1:
        return tensor
    import torch.distributed

    tensor = tensor.contiguous().clone()
    with _explained(f"a sum of {tensor.numel()} numbers"):
        torch.distributed.all_reduce(tensor)
    return tensor


def summed(part: Callable[[], Tensor], size: int, device: Any) -> Tensor:
    """The sum of ``part()``, float64 (size,), over all processes; what it raises in one of them is raised in all."""
    if num_processes() == 1:
        return part()
    import torch

    sums, error = torch.zeros(size + 1, dtype=torch.float64, device=device), None
    try:
        sums[:-1] = part()
    except Exception as failed:
        error = failed
        sums[-1] = 1
    sums = total(sums)
    if bool(sums[-1]):
        raise _of_all(error)
    return sums[:-1]


def together(work: Callable[[], T]) -> T:
    """``work()``, in which there is no sum; what it raises in one process is raised in all."""
    if num_processes() == 1:
        return work()
    import torch

    found, error = None, None
    try:
        found = work()
    except Exception as failed:
        error = failed
    if bool(total(torch.tensor(float(error is not None)))):
        raise _of_all(error)
    return found  # pyright: ignore[reportReturnType]


def largest(*numbers: float) -> list[float]:
    """Each number in that process where it is largest."""
    if num_processes() == 1:
        return list(numbers)
    import torch.distributed

    found = torch.tensor(numbers, dtype=torch.float64)
    with _explained(f"the largest of {len(numbers)}"):
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
    return found.tolist()


def from_first(work: Callable[[], T]) -> T:
    """What ``work()`` gives in the first process, the only one that does it; what it raises is raised in all."""
    if num_processes() == 1:
        return work()
    import torch.distributed

    found: list[Any] = [None, None]
    if rank() == 0:
        try:
            found[0] = work()
        except Exception as error:
            found[1] = error
    sent = [found[0], found[1] and _as_told(found[1])]
    with _explained("the first one's word"):
        torch.distributed.broadcast_object_list(sent)
    if sent[1] is not None:
        raise found[1] or sent[1]
    return sent[0]


def require_same(parts: Mapping[str, str]) -> None:
    """Raises BadInput, in all processes alike, naming the first of ``parts`` that differs and who has another."""
    if num_processes() == 1:
        return
    said = everyones(dict(parts))
    for name in parts:
        found = [one.get(name, "") for one in said]
        # Of a draw the first process is right.
        usual = Counter(found).most_common(1)[0][0]
        odd = [number for number, one in enumerate(found) if one != usual]
        if odd:
            verb, whose = ("differs", "its") if len(odd) == 1 else ("differ", "their")
            seed = "draw weights from one seed, and " if name in DRAWN else ""
            raise BadInput(
                f"{_named(odd)} {verb} from the others in {whose} {name} ({found[odd[0]][:12]}, not {usual[:12]})",
                "the same data, point, seed and code in every process",
                f"{seed}run every process in the same place, or with copies of the same files",
            )


def require_same_steps() -> None:
    """Raises BadInput where one process has joined in more sums than another, so that some were of unlike numbers."""
    if _watch is not None:
        require_same({"number of sums": str(_watch.count)})


@contextmanager
def needing_all() -> Iterator[None]:
    """Inside, a module in parts waits for the others: where it fails as one of them is gone, the error says so."""
    try:
        yield
    except RuntimeError as error:
        if _watch is not None and not isinstance(error, LandscapeError) and (ending := _watch.cause()):
            raise ending from error
        raise


def _named(ranks: list[int]) -> str:
    count, text = num_processes(), ", ".join(map(str, ranks))
    return f"process {text} of {count}" if len(ranks) == 1 else f"processes {text} of {count}"


def everyones(mine: Any) -> list[Any]:
    """What each process says here, by rank."""
    if num_processes() == 1:
        return [mine]
    import torch.distributed

    found: list[Any] = [None] * num_processes()
    with _explained("everyone's word"):
        torch.distributed.all_gather_object(found, mine)
    return found


def _of_all(error: Exception | None) -> Exception:
    """The error to raise where some processes have one and ask for this: its own, or that of the first that has."""
    found = everyones(None if error is None else _as_told(error))
    return error or next(one for one in found if one is not None)


def _as_told(error: BaseException) -> BaseException:
    """An error that another process can raise, or say."""
    if isinstance(error, LandscapeError):
        return error
    text = f"process {rank()} of {num_processes()} failed: {type(error).__name__}: {first_line(error)}"
    return OtherProcess("interrupted" if isinstance(error, KeyboardInterrupt) else text, _exit_code(error))


def _exit_code(error: BaseException) -> int:
    return 130 if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 1)


@contextmanager
def _explained(operation: str) -> Iterator[None]:
    """What a collective operation raises becomes a sentence that says which process is gone, or what it failed of."""
    if _watch is not None and _watch.ending is not None:
        raise _watch.ending
    try:
        with _watch.during(operation) if _watch else nullcontext():
            yield
    except RuntimeError as error:
        import torch

        if _watch is None or isinstance(error, torch.OutOfMemoryError):
            raise
        raise (_watch.cause() or _out_of_step(error)) from error


def _out_of_step(error: Exception) -> LandscapeError:
    return LandscapeError(
        f"the {num_processes()} processes are out of step ({first_line(error)})",
        "the same steps in all of them",
        ALONE,
    )
