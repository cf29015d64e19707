"""What looks at a stored result in place of a model: its numbers alone, so that no code of a run file is needed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import landscape.runs.store as store
from landscape import distributed
from landscape.analyses.declare import Analysis, Options
from landscape.errors import BadInput
from landscape.runs import provenance
from landscape.runs.address import default_output
from landscape.runs.publish import Answer, standing_there
from landscape.runs.settings import Settings


def of_stored(
    declared: Analysis,
    options: Options,
    given: Mapping[str, Any],
    places: list[Any],
    settings: Settings,
    stored_options: dict[str, Any],
) -> Answer:
    """The analysis of one stored result, published beside it unless an output is given.

    Raises BadInput for several files, for a result of another kind, and for options that ask for a model.
    """
    distributed.require_one_process("stored results")
    kinds = " or ".join(declared.stored)
    if len(places) != 1:
        raise BadInput(f"{len(places)} files for {declared.name}", f"one result of {kinds}, or a `model`")
    path = Path(str(places[0]))
    if settings.workers is not None:
        raise BadInput(
            f"`workers` with {path}", "what computes from a model", "leave it out: it takes a moment"
        )
    for name in given:
        if name not in declared.stored_options:
            raise BadInput(f"`{name}` with {path}", "what asks for no model", "leave it out, or the file")
    found = store.load(path, verify=settings.verify)
    if found.kind not in declared.stored:
        raise BadInput(f"{path} holds the result of {found.kind}", f"one of {kinds}")
    inputs = [{"path": str(path), "sha256": provenance.sha256(path), "point": ""}]
    config = {
        "kind": declared.name,
        "inputs": [{"sha256": inputs[0]["sha256"], "point": ""}],
        "dtype": str(found.provenance.get("dtype", "")),
        "device": "cpu",
        "seed": settings.seed,
        "options": stored_options,
    }
    output = settings.output or default_output(declared, [path])
    if standing_there(output, config, settings, [path]) is not None:
        return Answer(store.load(output, verify=False), output, was_there=True)
    own = {name: options[name] for name in declared.stored_options}
    result = declared.function(found, **own)
    result.config = config
    result.provenance = provenance.record(
        command=settings.command, seed=settings.seed, dtype=config["dtype"], device="cpu", inputs=inputs
    )
    store.save(result, output)
    return Answer(result, output)
