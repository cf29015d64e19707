"""Models of transformers, from the hub or a folder: their own class, in eval mode, with no code but the library's.

Imported when such a model is asked for. Weights are ``.safetensors``, or pickles read with ``weights_only=True``;
``trust_remote_code`` is never given.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.inputs.checkpoints.folders import json_of

# What of a configuration no output sees: where it was read, by which version, how weights are stored, names of classes.
UNSEEN = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "use_cache")
UNSEEN += ("id2label", "label2id")
OFFLINE = "get it where there is a network, or give a folder: hf:./folder"


def hugging_face_model(
    text: str, architecture: str, pretrained: bool, arguments: Mapping[str, Any]
) -> nn.Module:
    """The model at ``text`` (ORG/NAME[@revision], or a folder), called with a tensor or a dictionary of inputs.

    Its class is the one that its configuration names, or ``architecture``; ``arguments`` change the configuration.
    Without ``pretrained`` it is initialised anew. ``landscape_notes`` say what was taken; ``gives`` what it
    returns: ``logits``, ``classes`` (these with classes along axis 1), ``loss`` or its whole ``output``. Raises
    BadInput for what is not there, is quantised, or wants code of its own to run.
    """
    transformers = _package("transformers")
    where, revision = _place(text)
    config, kind = _configured(transformers, text, architecture, arguments)
    if getattr(config, "quantization_config", None) is not None:
        raise BadInput(
            f"{text} has quantised weights", "floating-point ones", "give the model it was made from"
        )
    stored = getattr(config, "dtype", None) or getattr(config, "torch_dtype", None)
    dtype = torch.float64 if stored in (torch.float64, "float64") else torch.float32
    config.use_cache = False
    notes = [f"{text}: {kind.__name__}, in eval mode{_revised(revision)}"]
    if not pretrained:
        with _quiet(transformers):
            module = kind(config).to(dtype)
        notes.append(f"{text}: initialised anew from the seed, and not with the published weights")
    else:
        with _told(text), _quiet(transformers):
            module, info = kind.from_pretrained(
                where,
                config=config,
                revision=revision,
                dtype=dtype,
                output_loading_info=True,
                weights_only=True,
            )
        notes += _loaded(text, kind, info, bool(architecture or arguments))
        if stored is not None and str(stored).removeprefix("torch.") != str(dtype).removeprefix("torch."):
            notes.append(f"{text}: weights are stored in {str(stored).removeprefix('torch.')}")
    return _measured(module.eval(), notes)


def settings_of(text: str, architecture: str = "", **arguments: Any) -> tuple[str, dict[str, str]]:
    """The name of the class of a model, and what its configuration says but for names and dtypes, as texts."""
    config, kind = _configured(_package("transformers"), text, architecture, arguments)
    known = {key: repr(one) for key, one in config.to_dict().items() if key not in UNSEEN}
    return kind.__name__, known


def _configured(
    transformers: Any, text: str, architecture: str, arguments: Mapping[str, Any]
) -> tuple[Any, Any]:
    """The configuration of the model at ``text``, changed by ``arguments``, and its class."""
    where, revision = _place(text)
    reader = _reader(transformers, where, architecture, text)
    with _told(text), _quiet(transformers):
        config = reader.from_pretrained(where, revision=revision, trust_remote_code=False, **arguments)
    return config, _class(transformers, config, architecture, text)


def commit_of(text: str) -> tuple[str, str]:
    """(ORG/NAME, commit) that a name with or without a revision stands for; '' where the commit is not known."""
    hub = _package("huggingface_hub")
    name, _, revision = text.partition("@")
    with _told(text):
        path = Path(hub.hf_hub_download(name, "config.json", revision=revision or None))
    return name, path.parent.name if re.fullmatch("[0-9a-f]{40}", path.parent.name) else revision


def revisions_like(name: str, pattern: str) -> list[str]:
    """The branches and tags of a model that fit a pattern, in natural order. Raises BadInput where none does."""
    known = _revisions(name)
    found = [one for one in known if fnmatchcase(one, pattern)]
    if not found:
        shown = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
        raise BadInput(f"{name} has no revision like {pattern}", f"one of {shown}")
    return sorted(found, key=_natural)


def _revisions(name: str) -> list[str]:
    """The names of all branches and tags of a model on the hub."""
    hub = _package("huggingface_hub")
    with _told(name):
        refs = hub.HfApi().list_repo_refs(name)
    return [one.name for one in (*refs.branches, *refs.tags)]


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", text)]


def _package(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BadInput(
            f"{name} cannot be imported ({error})",
            "the package that hf: models come from",
            "pip install 'torch-landscape[hf]', or transformers by itself",
        ) from None


def _place(text: str) -> tuple[str, str]:
    """(folder, '') or (ORG/NAME, revision). Raises BadInput for a folder that holds no model."""
    path = Path(text).expanduser()
    if path.is_dir() or text.startswith((".", "/", "~")):
        if not (path / "config.json").is_file():
            what = "has no config.json" if path.is_dir() else "is no folder"
            raise BadInput(f"{path} {what}", "a folder as save_pretrained writes it")
        return str(path), "main"
    name, _, revision = text.partition("@")
    return name, revision or "main"


def _reader(transformers: Any, where: str, architecture: str, text: str) -> Any:
    """The class that reads a configuration: that of the architecture asked for where a folder does not say which."""
    path = Path(where) / "config.json"
    if not path.is_file() or "model_type" in json_of(path):
        return transformers.AutoConfig
    if not architecture:
        raise _unnamed(text)
    return getattr(getattr(transformers, architecture, None), "config_class", None) or transformers.AutoConfig


def _unnamed(text: str) -> BadInput:
    return BadInput(
        f"the configuration of {text} names no architecture",
        "the class of the model",
        "give `model_arg` architecture=CLASS",
    )


def _class(transformers: Any, config: Any, architecture: str, text: str) -> Any:
    names = [architecture] if architecture else list(getattr(config, "architectures", None) or [])
    if not names:
        raise _unnamed(text)
    kind = getattr(transformers, names[0], None)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        own = " and the code in its repository is never run" if getattr(config, "auto_map", None) else ""
        raise BadInput(
            f"{text} is a {names[0]}, which transformers {transformers.__version__} does not have{own}",
            "a class of transformers",
            "build it in a factory of your own",
        )
    return kind


def _loaded(text: str, kind: type, info: Mapping[str, Any], is_asked: bool) -> list[str]:
    """What was not as published, in words. Raises BadInput where weights are missing that nobody asked to be new."""
    missing, unexpected, other = (
        sorted(map(str, info.get(name) or ()))
        for name in ("missing_keys", "unexpected_keys", "mismatched_keys")
    )
    new = missing + other
    if new and not is_asked:
        raise BadInput(
            f"{text} lacks {', '.join(new[:5])}{' and more' if len(new) > 5 else ''} of {kind.__name__}",
            "all of its weights",
            "give `model_arg` architecture=CLASS for the class they are of",
        )
    notes = [f"{text}: not published, and initialised from the seed: {', '.join(new)}"] if new else []
    return notes + (
        [f"{text}: left out, as {kind.__name__} has none: {', '.join(unexpected)}"] if unexpected else []
    )


def _measured(module: Any, notes: list[str]) -> nn.Module:
    """The module with a forward that takes a tensor or a dictionary, and gives what a loss takes."""
    kind = type(module)

    @functools.wraps(kind.forward)
    def forward(self: Any, *inputs: Any, **named: Any) -> Any:
        if len(inputs) == 1 and isinstance(inputs[0], Mapping):
            inputs, named = (), {**inputs[0], **named}
        elif len(inputs) == 1 and isinstance(inputs[0], Tensor):
            inputs, named = (), {main_input(self): inputs[0], **named}
        output = kind.forward(self, *inputs, **named)
        if self.gives == "output":
            return output
        if self.gives == "loss":
            return _loss_of(kind, output)
        found = getattr(output, "logits", None)
        if found is None:
            raise BadInput(
                f"{kind.__name__} gives no logits", "a loss of its whole output", "give `loss` file.py:f"
            )
        return found.movedim(-1, 1) if self.gives == "classes" and found.dim() == 3 else found

    # Names of parameters stay as they are, which a module round this one would change.
    module.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})
    module.gives, module.landscape_notes = "logits", tuple(notes)
    return module


def _loss_of(kind: type, output: Any) -> Tensor:
    found = getattr(output, "loss", None)
    if found is None:
        raise BadInput(
            f"{kind.__name__} makes no loss of what the data hold",
            "labels under the names that its forward takes",
            "give `loss` file.py:f of (outputs, targets), or `model_arg` architecture=CLASS of one that makes a loss",
        )
    return found


def main_input(module: Any) -> str:
    return str(getattr(module, "main_input_name", "input_ids"))


def _revised(revision: str) -> str:
    return f", revision {revision}" if revision != "main" else ""


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without the bars and remarks that transformers writes to the screen."""
    logging = transformers.utils.logging
    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()


@contextmanager
def _told(text: str) -> Iterator[None]:
    """What the hub and transformers say of a model that cannot be had becomes a sentence."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        names = {kind.__name__ for cause in _causes(error) for kind in type(cause).__mro__}
        if "RevisionNotFoundError" in names:
            said = BadInput(f"{text}: there is no such revision", "a branch, a tag or a commit of the model")
        elif "GatedRepoError" in names:
            said = BadInput(
                f"{text} is not open to all", "a model you have access to", "log in: hf auth login"
            )
        elif names & {"RepositoryNotFoundError", "HFValidationError"}:
            said = BadInput(
                f"{text}: there is no such model", "ORG/NAME as on the hub, or a folder: hf:./folder"
            )
        elif names & {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError", "ConnectionError"}:
            said = BadInput(f"{text} cannot be reached, and is not on this machine", "a network", OFFLINE)
        else:
            # What stands in backticks is an option of ours.
            line = (str(error).splitlines() or [""])[0].rstrip(".").replace("`", "'")
            said = BadInput(
                f"{text} cannot be made ({type(error).__name__}: {line})", "a model of transformers"
            )
        raise said from None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
