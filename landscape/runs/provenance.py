"""Who made this: versions, command, machine and hashes, as plain values for a result file."""

import hashlib
import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import landscape
from landscape.objective.plain import Cost


def sha256(path: Path) -> str:
    """The hash of a file's bytes; of a folder's names and sizes, as the samples in it have a hash of their own."""
    if path.is_dir():
        below = sorted(one for one in path.rglob("*") if one.is_file())
        listed = "".join(f"{one.relative_to(path).as_posix()} {one.stat().st_size}\n" for one in below)
        return hashlib.sha256(listed.encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """What the bits of a result depend on besides its configuration."""
    return {
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def makers() -> dict[str, str]:
    """The two versions that decide what a number comes out as, to the last bit."""
    return {"landscape": landscape.__version__, "torch": str(torch.__version__)}


def other_makers(attributes: Mapping[str, Any]) -> str:
    """``torch 2.7.0, here is 2.8.0``: where others made a result, by the attributes of its file; '' where these did."""
    there = {
        "landscape": str(attributes.get("generated-by", "")).removeprefix("landscape "),
        "torch": str(attributes.get("torch", "")),
    }
    here = makers()
    differ = [
        f"{name} {there[name]}, here is {here[name]}" for name in here if there[name] not in ("", here[name])
    ]
    return " and ".join(differ)


def record(
    *,
    command: str,
    seed: int | None,
    dtype: str,
    device: str,
    inputs: list[dict[str, str]],
    sources: list[dict[str, str]] | None = None,
    num_processes: int = 1,
    proofs: Cost | None = None,
    assumed: str = "",
    config_file: str = "",
) -> dict[str, Any]:
    """The attributes of section 4 of the file format, beside kind, status and config."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "generated-by": f"landscape {landscape.__version__}",
        "command": command,
        "seed": -1 if seed is None else seed,
        "dtype": dtype,
        "device": device,
        "threads": torch.get_num_threads(),
        "processes": num_processes,
        "inputs": json.dumps(inputs),
        **({"assumed": assumed} if assumed else {}),
        **({"config-file": config_file} if config_file else {}),
        **(_cost_of(proofs) if proofs else {}),
        **({"sources": json.dumps(sources)} if sources else {}),
        **versions(),
    }


def _cost_of(proofs: Cost) -> dict[str, float]:
    """What the checks took, in evaluations of F and gradients over all of the data, and in seconds."""
    return {
        "checks-evaluations": round(proofs.evaluations, 2),
        "checks-gradients": round(proofs.gradients, 2),
        "checks-seconds": round(proofs.seconds, 3),
    }
