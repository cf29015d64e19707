"""Data sets and loaders of PyTorch as batches in one order, that can be read as often as they are wanted."""

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from landscape.errors import BadInput
from landscape.inputs.data.batches import are_numbers, array_like, stacked

# Samples that are put together at a time where the user has not said how many.
BATCH = 64


class Reading(NamedTuple):
    """Batches as the user's own loop meets them, from the start at each call; and what was taken for granted."""

    batches: Callable[[], Iterator[Any]]
    notes: tuple[str, ...] = ()


def reading(source: Any) -> Reading:
    """How ``source`` is read: a DataLoader in its own order, a Dataset or an IterableDataset from the first sample on.

    What a loader shuffles is taken in the order of its data set, for F does not depend on it. Raises BadInput where
    the loader draws which samples it gives, and for a data set without length.
    """
    if isinstance(source, DataLoader):
        return _of_loader(source)
    if isinstance(source, IterableDataset):
        return Reading(lambda: iter(DataLoader(source, BATCH, collate_fn=stacked)))
    if getattr(source, "format", {}).get("type", "") is None:
        # Hugging Face's, which gives lists where it is not told otherwise, and told so takes float64 to float32.
        is_wide = any(dtype_within(one) == "float64" for one in source.features.values())
        source = source if is_wide else source.with_format("torch")
    count = _length(source)
    order = [list(range(i, min(i + BATCH, count))) for i in range(0, count, BATCH)]
    return Reading(lambda: iter(DataLoader(source, batch_sampler=order, collate_fn=stacked)))


def is_source(data: Any) -> bool:
    """Whether ``data`` are read batch by batch: PyTorch's data sets and loaders, and those of Hugging Face."""
    return isinstance(data, Dataset | DataLoader) or (
        hasattr(data, "column_names") and hasattr(data, "features") and hasattr(data, "__getitem__")
    )


def is_listed(data: Any) -> bool:
    """Whether ``data`` is a list of samples, tuples or dictionaries of their parts, and cannot be one of batches.

    The parts of a batch are as long as each other; those of a sample are not, or one of them is a single number.

    >>> is_listed([(torch.zeros(3), 0), (torch.ones(3), 1)]), is_listed([(torch.zeros(5, 3), torch.zeros(5))])
    (True, False)
    """
    return isinstance(data, list) and bool(data) and all(map(_is_sample, data))


class Listed(Dataset):
    """A list of samples as a data set."""

    def __init__(self, samples: list[Any]):
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]


def _is_sample(one: Any) -> bool:
    if not isinstance(one, tuple | Mapping) or are_numbers(one):
        return False
    lengths = _lengths_of(one)
    return len(one) > 1 and None not in lengths and (len(lengths) > 1 or lengths == {0})


def _lengths_of(part: Any) -> set[int | None]:
    """Of everything that a sample holds, however nested; a list may be one of samples."""
    if isinstance(part, tuple | Mapping) and not are_numbers(part):
        parts = part.values() if isinstance(part, Mapping) else part
        return set[int | None]().union(*map(_lengths_of, parts))
    return {_length_of(part)}


def _length_of(part: Any) -> int | None:
    """Entries along axis 0, 0 for a single number or text; None for what is no array."""
    if isinstance(part, str):
        return 0
    if are_numbers(part):
        return len(part) if isinstance(part, tuple | list) else 0
    shape = getattr(array_like(part), "shape", None)
    return None if shape is None else shape[0] if len(shape) else 0


def dtype_within(feature: Any) -> str:
    """What the numbers of a column of Hugging Face's are, of lists those within."""
    while hasattr(feature, "feature"):
        feature = feature.feature
    return str(getattr(feature, "dtype", ""))


def _length(dataset: Any) -> int:
    if not isinstance(dataset, Sized):
        raise BadInput(f"{type(dataset).__name__} has no length", "a Dataset with __len__")
    return len(dataset)


def _of_loader(loader: DataLoader) -> Reading:
    if isinstance(loader.dataset, IterableDataset):
        said = ["the loader drops a last batch that is not full (drop_last)"] if loader.drop_last else []
        if loader.num_workers > 1:
            said.append(
                f"{loader.num_workers} workers read the loader's IterableDataset: each sample counts "
                f"{loader.num_workers} times where it does not divide them (get_worker_info)"
            )
        return Reading(lambda: iter(loader), tuple(said))
    sampler: Any = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    with _draws_kept(loader):
        order, again = ([_plain(one) for one in sampler] for _ in range(2))
    count, notes = _length(loader.dataset), []
    indices = _flat(order)
    if order != again:
        if sorted(indices) != sorted(_flat(again)):
            drop = " and drops the last ones" if loader.drop_last else ""
            raise BadInput(
                f"the loader draws{drop}, so that which samples it gives is another at every pass",
                "the same samples at every pass",
                "make it with shuffle=False, without a sampler that draws, or without drop_last, or give its data set "
                "(loader.dataset)",
            )
        kept = sorted(indices)
        size = loader.batch_size or BATCH
        order = (
            kept if loader.batch_sampler is None else [kept[i : i + size] for i in range(0, len(kept), size)]
        )
        notes.append("the loader shuffles: its samples are taken in the order of its data set")
    again_and_again = len(indices) - len(set(indices))
    if again_and_again:
        notes.append(
            f"of {len(indices)} samples {again_and_again} are repeated by the loader's sampler, and count again"
        )
    left_out = count - len(set(indices))
    if left_out:
        why = "drop_last" if loader.drop_last else "its sampler"
        notes.append(f"{left_out} of {count} samples are left out by the loader ({why})")
    return Reading(lambda: iter(_in_order(loader, order)), tuple(notes))


def _in_order(loader: DataLoader, order: Sequence[Any]) -> DataLoader:
    """The same loader with a fixed order; its collate_fn, workers and whatever else it does are its own."""
    how: dict[str, Any] = {
        "collate_fn": loader.collate_fn,
        "num_workers": loader.num_workers,
        "timeout": loader.timeout,
        "worker_init_fn": loader.worker_init_fn,
        "multiprocessing_context": loader.multiprocessing_context,
        "prefetch_factor": loader.prefetch_factor,
    }
    if loader.batch_sampler is None:
        return DataLoader(loader.dataset, batch_size=None, sampler=order, **how)
    return DataLoader(loader.dataset, batch_sampler=order, **how)


def _plain(batch: Any) -> Any:
    return [int(one) for one in batch] if isinstance(batch, list | tuple) else int(batch)


def _flat(order: Sequence[Any]) -> list[int]:
    return [one for batch in order for one in (batch if isinstance(batch, list) else [batch])]


@contextmanager
def _draws_kept(loader: DataLoader) -> Iterator[None]:
    """Leaves the generators that a sampler draws from as they were."""
    owners = (loader, loader.sampler, loader.batch_sampler)
    drawn = [one for one in (getattr(owner, "generator", None) for owner in owners) if one is not None]
    states = [one.get_state() for one in drawn]
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        for one, state in zip(drawn, states, strict=True):
            one.set_state(state)
