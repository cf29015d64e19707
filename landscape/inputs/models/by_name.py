"""Models by the name they were published under: ``hf:ORG/NAME[@revision]``, ``hf:./folder``, ``timm:NAME``."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.specs import HUGGING_FACE, TIMM

# The model's own loss, in whatever terms it has.
OWN = "own"


def is_by_name(spec: str) -> bool:
    """Whether a spec names a published model, or a folder of one."""
    return spec.startswith((HUGGING_FACE, TIMM))


def factory(spec: str) -> Callable[..., nn.Module]:
    """What makes the model that ``spec`` names. Raises BadInput where its package is missing."""
    if spec.startswith(TIMM):
        from landscape.inputs.models.timm import timm_model

        def make(pretrained: bool = False, **arguments: Any) -> nn.Module:
            return timm_model(spec.removeprefix(TIMM), pretrained, arguments)

        return make
    from landscape.inputs.models.huggingface import hugging_face_model

    def build(architecture: str = "", pretrained: bool = True, **arguments: Any) -> nn.Module:
        return hugging_face_model(spec.removeprefix(HUGGING_FACE), architecture, pretrained, arguments)

    return build


def settings(spec: str, arguments: Mapping[str, Any]) -> tuple[str, dict[str, str]] | tuple[()]:
    """The class of a model of transformers and what its configuration says of its function; () of any other model."""
    if not spec.startswith(HUGGING_FACE):
        return ()
    from landscape.inputs.models.huggingface import settings_of

    return settings_of(
        spec.removeprefix(HUGGING_FACE), **{k: v for k, v in arguments.items() if k != "pretrained"}
    )


def pinned(spec: str) -> str:
    """The spec with the commit that it stands for at present, so that it stands for the same ever after."""
    if not spec.startswith(HUGGING_FACE) or folder_of(spec) is not None:
        return spec
    from landscape.inputs.models.huggingface import commit_of

    name, commit = commit_of(spec.removeprefix(HUGGING_FACE))
    return f"{HUGGING_FACE}{name}@{commit}" if commit else spec


def spelled(spec: str) -> str:
    """``hf:./folder`` for a folder that is there, however it was written, so that it is one from elsewhere too."""
    folder = folder_of(spec)
    text = spec.removeprefix(HUGGING_FACE)
    return spec if folder is None or text.startswith((".", "/", "~")) else f"{HUGGING_FACE}./{text}"


def folder_of(spec: str) -> Path | None:
    """The folder that ``hf:./folder`` names, whether it is there or not; None for the name of a model elsewhere."""
    if not spec.startswith(HUGGING_FACE):
        return None
    text = spec.removeprefix(HUGGING_FACE)
    path = Path(text).expanduser()
    return path if text.startswith((".", "/", "~")) or path.is_dir() else None


def expanded(text: str) -> list[str]:
    """``hf:ORG/NAME@step*`` as one spec for every revision that fits the pattern, in natural order; else the text.

    Raises BadInput where there is none.
    """
    name, at, pattern = text.rpartition("@")
    if not text.startswith(HUGGING_FACE) or not at or not set(pattern) & set("*?[") or folder_of(text):
        return [text]
    from landscape.inputs.models.huggingface import revisions_like

    return [f"{name}@{one}" for one in revisions_like(name.removeprefix(HUGGING_FACE), pattern)]


def published(spec: str) -> tuple[dict[str, Tensor], list[str]]:
    """The published weights of a model by name, and what is to be said of them. Raises BadInput."""
    if len(several := expanded(spec)) > 1:
        raise BadInput(f"{spec} stands for {len(several)} revisions", "one", f"give {several[-1]}")
    module = factory(pinned(several[0]))(**({"pretrained": True} if spec.startswith(TIMM) else {}))
    return dict(module.state_dict()), notes_of(module)


def notes_of(module: nn.Module) -> list[str]:
    """What was taken for granted where a model by name was made."""
    return list(getattr(module, "landscape_notes", ()))


def default_loss(spec: str, of_data: str) -> str:
    """The loss of a model by name where none is given: its own, or with classes cross entropy."""
    if spec.startswith(HUGGING_FACE):
        return OWN
    return "cross_entropy" if spec.startswith(TIMM) and of_data == "bce" else of_data


def fitted(module: Any, loss: str, inputs: Any, targets: Tensor) -> tuple[Any, Any, str]:
    """(loss, inputs, a line that says which) with which an objective takes what the module gives."""
    if not hasattr(module, "gives"):
        return loss, inputs, ""
    if loss == "output":
        raise BadInput(
            f"the loss output for {type(module).__name__}, which gives logits and no loss",
            "labels as targets, of which it makes its own",
            "give data with labels and leave `loss` away, or give a function of (outputs, targets)",
        )
    if loss != OWN:
        # Classes along axis 1 for a loss by name, the whole output for one of the user's own.
        module.gives = "output" if ":" in loss else "classes"
        return loss, inputs, _unshifted(module, loss)
    from landscape.inputs.models.own_losses import own_loss, with_labels

    found, said = own_loss(module, inputs, targets)
    return found, with_labels(module, inputs, targets), said


def _unshifted(module: Any, loss: str) -> str:
    """That a loss by name compares each place with its own target, where the model's own takes the next; else ''."""
    from landscape.inputs.models.own_losses import NEXT

    name = type(module).__name__
    if loss != "cross_entropy" or not name.endswith(NEXT):
        return ""
    own = f"{name}'s own loss takes the next one: leave `loss` away for that"
    return f"cross_entropy compares each place with the target of that place, where {own}"


def labelled(module: Any, inputs: tuple[Any, ...], targets: Tensor) -> tuple[tuple[Any, ...], Tensor]:
    """Some samples as :func:`fitted` gives all of them: with labels where the module makes a loss of these."""
    if getattr(module, "gives", "") != "loss":
        return inputs, targets
    from landscape.inputs.models.own_losses import with_labels

    return (with_labels(module, inputs[0] if len(inputs) == 1 else inputs, targets),), targets
