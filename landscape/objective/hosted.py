"""A loss tried on the CPU before it is on a GPU, where an index out of range ends the use of the device."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from landscape.objective import trees


def on_host_first(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """``function`` of (outputs, targets) for ``device``: on a GPU after a call with copies on the CPU.

    What it raises there it raises here, as a loss that takes the samples together does for some of them: on a GPU an
    assertion of a kernel would follow, after which nothing runs in the process. A function that holds tensors of the
    GPU is called there alone.
    """
    if device.type != "cuda":
        return function

    def called(outputs: Any, targets: Any) -> Any:
        copies = (trees.mapped(Tensor.cpu, one) for one in (outputs, targets))
        try:
            function(*copies)
        except RuntimeError as error:
            if "device" not in str(error):
                raise
        return function(outputs, targets)

    return called
