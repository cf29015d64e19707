"""What a checkpoint holds: tensors by name, what else there was to choose, and what was taken for granted."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


class Weights(dict[str, Tensor]):
    """The tensors of a checkpoint by name.

    ``key``: the dotted name under which they stood, '' at the top; ``choices``: everything in the file that could have
    been meant, these among them, by its key; ``is_chosen``: the user has said which. ``adapter``: how peft
    describes what changes a base, None for whole weights. ``notes``: what a reader of any number of them should know.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        *,
        key: str = "",
        choices: Mapping[str, Mapping[str, Tensor]] | None = None,
        is_chosen: bool = False,
        adapter: Mapping[str, Any] | None = None,
        notes: tuple[str, ...] = (),
    ):
        super().__init__(tensors)
        self.key, self.choices, self.is_chosen = key, dict(choices or {}), is_chosen
        self.adapter, self.notes = adapter, notes

    def replaced(self, **changed: Any) -> "Weights":
        """The same tensors, with some of what is said of them changed."""
        kept = {name: getattr(self, name) for name in ("key", "choices", "is_chosen", "adapter", "notes")}
        return Weights(self, **{**kept, **changed})
