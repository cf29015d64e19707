"""What a module carries from one call to the next beside parameters and buffers, as in an attribute of its own."""

import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.objective import trees
from landscape.objective.calling import called
from landscape.objective.closures import seeded
from landscape.objective.standing import OF_EVERY_MODULE, are_alike, contents
from landscape.objective.trial import SAME, Trial
from landscape.objective.uses import listed

ABSENT = object()
# Two calls from one seed differ by rounding alone where nothing is carried on; an average moves little at a time.
ROUNDED = 1e-5


def carried(trial: Trial, rows: Tensor | None, *, training: bool = False) -> list[str]:
    """A note on attributes that one call leaves behind and the next one reads, if there are any.

    F is one function because every call begins with them as they stand in the module; a loop of one's own, which puts
    nothing back, takes other values and, in training, other steps. What is left and never read is of no account.
    """
    subject = trial.subject
    if subject.leaves_nothing(training=training):
        return []
    fixed, layers, outputs, left = trial.copies(), subject.layers, [], set[str]()
    try:
        with subject.standing(trial.theta, fixed, training=training), torch.no_grad():
            for _ in range(2):
                for name, tensor in trial.copies().items():
                    # Statistics of batches move too, and are part of the point.
                    subject.now(name).copy_(tensor)
                before = {name: dict(layer.__dict__) for name, layer in layers.items()}
                within = {name: contents(layer) for name, layer in layers.items()}
                with seeded(0):
                    outputs.append(trees.mapped(torch.clone, called(subject, trial.rows(rows)[0])))
                left |= {
                    f"{name}.{key}".removeprefix(".")
                    for name, layer in layers.items()
                    for key, value in layer.__dict__.items()
                    if key not in OF_EVERY_MODULE
                    and (
                        before[name].get(key, ABSENT) is not value
                        or not are_alike(within[name].get(key, []), contents(layer).get(key, []))
                    )
                }
    except (LandscapeError, RuntimeError):
        # It cannot be called so, which is said where it has to be.
        return []
    if not left or trees.agree(outputs[0], outputs[1], SAME):
        return []
    return [
        f"a call leaves {listed(sorted(left))} behind, which the next one reads: here every call begins with that as "
        "it stands in the module, and so does every step; a loop of your own carries it on"
    ]


def written(trial: Trial, rows: Tensor | None) -> list[str]:
    """A note on buffers that a call of F writes into and the next one reads, as averages that move in eval mode."""
    subject, outputs = trial.subject, []
    with subject.standing(trial.theta, trial.copies()), torch.set_grad_enabled(trial.needs_gradients):
        for _ in range(2):
            with seeded(0):
                outputs.append(trees.mapped(torch.clone, called(subject, trial.rows(rows)[0])))
        moved = [name for name, was in trial.fixed.items() if not torch.equal(subject.now(name), was)]
    if trees.agree(outputs[0], outputs[1], ROUNDED):
        return []
    return [
        f"a call in the mode of F writes {listed(moved)}, which the next one reads: F is that of the buffers as they "
        "stand at its point; in a loop of your own they go on"
    ]
