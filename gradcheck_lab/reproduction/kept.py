"""Inputs too large to write out, in a file that torch loads: for test runs that save what fails, and for nobody else."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gradcheck_lab.model.observers import failure_folders
from gradcheck_lab.model.shown import file_stem

# the inputs of the last failures by the paths of their files, of which those that fail a test are written
_waiting: deque[tuple[str, dict[str, torch.Tensor]]] = deque(maxlen=8)


def loading(subject: str, values: Mapping[str, Any]) -> list[str]:
    """Statements that load the values by their names from the file that `save` writes; none where nobody saves failures."""
    folder = failure_folders[-1] if failure_folders else None
    if folder is None:
        return []
    try:
        tensors = {name: torch.as_tensor(value).detach().clone() for name, value in values.items()}
    except TypeError:  # an array of a dtype that torch has none for
        return []
    digest = 0
    for tensor in tensors.values():
        digest = zlib.crc32(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes(), digest)
    path = str(folder / f"{file_stem(subject)}-{digest:08x}.pt")
    _waiting.append((path, tensors))
    return [
        f"saved = torch.load({path!r}, weights_only=True)",
        *(f"{name} = saved[{name!r}]{_after(value)}" for name, value in values.items()),
    ]


def save(line: str) -> str:
    """Write the file that a line loads, if it loads one; returns why that failed."""
    for path, tensors in _waiting:
        if repr(path) in line:
            try:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                torch.save(tensors, path)
            except (OSError, RuntimeError) as error:  # torch raises the latter for a folder that is none
                return f"{path} could not be written: {error}"
    return ""


def _after(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return ".numpy()"
    return ".requires_grad_()" if value.requires_grad else ""
