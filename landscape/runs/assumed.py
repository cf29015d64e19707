"""What a run took for granted because nobody said otherwise, in one line."""

from collections.abc import Collection

from landscape.objective import Objective
from landscape.runs.recipe import Followed
from landscape.runs.settings import Settings


def assumed(
    objective: Objective, followed: Followed, settings: Settings, *, brought: Collection[str] = ()
) -> str:
    """The loss and why, over what it is a mean, the dtype and the mode: what was not given, but for the samples.

    ``brought``: the dtypes of the weights that were, if any.
    """
    parts = [_loss(objective, followed), _samples(objective)]
    if settings.dtype is None:
        whose = "as in the checkpoint" if set(brought) == {followed.dtype} else "the default"
        if brought and whose == "the default":
            whose += f", where the checkpoint is in {' and '.join(sorted(brought))}"
        parts.append(
            "the dtypes of the module" if followed.dtype == "mixed" else f"{followed.dtype}, {whose}"
        )
    if not objective.training:
        parts.append("F in eval mode")
    return "; ".join(part for part in parts if part)


def _loss(objective: Objective, followed: Followed) -> str:
    if followed.why:
        return f"loss {followed.recipe.loss}, for {followed.why}"
    if objective.is_closure:
        return f"loss {objective.loss.name} of the module alone: it can be called with one argument"
    return ""


def _samples(objective: Objective) -> str:
    if objective.is_closure:
        return ""
    count = objective.num_samples
    if objective.is_whole:
        return f"all {count} samples along axis 0 taken together"
    what = {"samples": "the mean over", "weight": "a weighted mean over", "one": "the sum over"}
    return f"{what[objective.loss.over]} {count} samples along axis 0"
