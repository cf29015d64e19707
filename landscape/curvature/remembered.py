"""Products whose images are kept, so that a search that was stopped goes on without taking them again."""

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape import distributed, progress
from landscape.curvature.preconditioned import Preconditioned
from landscape.numerics.arrays import array_here, back
from landscape.numerics.spectra.krylov import Operator
from landscape.numerics.spread import Spread
from landscape.objective.differences import Differences
from landscape.objective.products import Product
from landscape.progress import Journal

# Bytes of images that wait to be kept.
ROOM = 2**26


class Later:
    """A product that is made when it is first asked, as its point takes room that others may want until then."""

    # As of a Product, of the last image and of the largest along a unit vector.
    error, largest_error = 0.0, 0.0

    def __init__(self, make: Callable[[], Product | Differences | Preconditioned]):
        self._make, self._product = make, None

    def __call__(self, v: Tensor) -> Tensor:
        if self._product is None:
            self._product = self._make()
        image = self._product(v)
        self.error = self._product.error
        self.largest_error = max(self.largest_error, self._product.largest_error)
        return image


class Remembered:
    """``product`` with its images on ``device``, which are kept in ``journal`` by blocks, under ``name 0`` and so on.

    A search follows from its seed and the images of its products. Made again it asks for the same ones, and goes on bit
    for bit from the first that was not kept. Where it asks for another, as the sum of the vector tells, what was kept
    from there on is dropped.
    """

    def __init__(
        self,
        product: Product | Differences | Preconditioned | Later,
        device: torch.device,
        journal: Journal,
        name: str,
    ):
        self._product, self._device, self._journal, self._name = product, device, journal, name
        self._fresh: list[tuple[float, np.ndarray, float]] = []
        self._known: deque[tuple[float, np.ndarray, float]] = deque()
        self._dtype = torch.float32
        self._number, self._last = 0, time.monotonic()
        self._is_in_parts = False

    def __call__(self, v: Tensor) -> Tensor:
        total = float(v.double().sum())
        if not self._known and self._key in self._journal:
            block = self._journal[self._key]
            self._known.extend(zip(block["sums"], block["images"], block["errors"], strict=True))
            self._dtype = getattr(torch, block["dtype"])
            self._number += 1
        if self._known:
            said, image, error = self._known.popleft()
            if said == total:
                self._tell(error, v)
                return back(image, v).to(self._device, self._dtype)
            self._drop()
        image = self._product(v).to(self._device)
        self._dtype = image.dtype
        self._fresh.append((total, array_here(image), self._product.error))
        seconds = time.monotonic() - self._last
        self._is_in_parts = isinstance(image, Spread)
        if self._is_in_parts:
            # Of the same images in every process, or a later call would wait for those that one has and another not.
            (seconds,) = distributed.largest(seconds)
        if seconds > progress.SAVE_SECONDS or len(self._fresh) * image.nbytes > ROOM:
            self._keep()
        return image

    @property
    def _key(self) -> str:
        return f"{self._name} {self._number}"

    def keep(self) -> None:
        """What is not kept yet."""
        if self._fresh:
            self._keep()

    def _tell(self, error: float, v: Tensor) -> None:
        """What is known of the error of an image, as after a product."""
        length = float(torch.linalg.vector_norm(v.double()))
        self._product.error = error
        self._product.largest_error = max(self._product.largest_error, error / (length or 1.0))

    def _drop(self) -> None:
        self._known.clear()
        self._number -= 1
        stale = self._number
        while (key := f"{self._name} {stale}") in self._journal:
            del self._journal[key]
            stale += 1

    def _keep(self) -> None:
        sums, images, errors = zip(*self._fresh, strict=True)
        about = {"sums": list(sums), "errors": list(errors), "dtype": str(self._dtype).removeprefix("torch.")}
        # Of several processes the first writes them for all, but for vectors of which each has a part.
        if distributed.rank() == 0 or self._is_in_parts:
            self._journal[self._key] = {**about, "images": np.stack(images)}
        self._number, self._fresh, self._last = self._number + 1, [], time.monotonic()


class Kept(NamedTuple):
    """Where products of one place are kept: in ``journal``, by names that begin with ``place``; None keeps none.

    ``made`` are those of which something is kept, where somebody gathers them.
    """

    journal: Journal | None = None
    place: str = ""
    made: list[Remembered] | None = None

    def __call__(
        self, product: Product | Differences | Preconditioned | Later, device: torch.device, name: str
    ) -> Operator:
        """``product`` with its images on ``device``."""
        if self.journal is None:
            return lambda v: product(v).to(device)
        found = Remembered(product, device, self.journal, f"{self.place} {name}")
        if self.made is not None:
            self.made.append(found)
        return found
