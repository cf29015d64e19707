"""Models of timm by name. Imported when one is asked for."""

import difflib
import importlib
from collections.abc import Mapping
from typing import Any

from torch import nn

from landscape.errors import BadInput


def timm_model(name: str, pretrained: bool, arguments: Mapping[str, Any]) -> nn.Module:
    """``timm.create_model``, in eval mode; new from the seed, as timm's own default is, unless ``pretrained``.

    Raises BadInput for an unknown name, and where the weights cannot be had.
    """
    try:
        timm = importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:
        # torchvision, which timm imports, raises the latter where its build is not that of torch.
        raise BadInput(
            f"timm cannot be imported ({(str(error).splitlines() or [''])[0]})",
            "the package that timm: models come from, and a torchvision that fits torch",
            "pip install 'torch-landscape[timm]', or timm by itself",
        ) from None
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        raise BadInput(
            f"timm has no model {name!r}",
            "a name that timm.list_models() has",
            f"did you mean {', '.join(near)}?" if near else "",
        )
    try:
        module: Any = timm.create_model(name, pretrained=pretrained, **arguments)
    except Exception as error:
        line = (str(error).splitlines() or [""])[0].rstrip(".")
        raise BadInput(
            f"timm:{name} cannot be made ({type(error).__name__}: {line})",
            "a model of timm with these arguments",
            "give a file of its weights instead" if pretrained else "check `model_arg`",
        ) from None
    weights = (
        "the published weights"
        if pretrained
        else "weights drawn from the seed (pretrained=true for the published)"
    )
    module.landscape_notes = (f"timm:{name}: {type(module).__name__}, in eval mode, {weights}",)
    return module.eval()
