"""Calls of forwards that tests made, written by the process that ran them and read as tensors and plain values alone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

Made = tuple[tuple[Any, ...], dict[str, Any]]  # the positional and the keyword arguments of a call

_ARRAY = "gradcheck_lab: an array"
_NOTHING = b"no call"


def write_calls(path: Path, calls: Sequence[Made | None]) -> None:
    """Write calls to a file; one with something else than tensors, arrays and plain values is left out."""
    torch.save([torch.frombuffer(bytearray(_bytes_of(made)), dtype=torch.uint8) for made in calls], path)


def read_calls(path: Path) -> list[Made | None]:
    """The calls that `write_calls` wrote, None for those that it left out or that cannot be read."""
    found: list[Made | None] = []
    for data in torch.load(path, weights_only=True):
        made: Made | None = None
        with suppress(Exception):  # the user's code ran where it was written
            arguments, options = torch.load(io.BytesIO(data.numpy().tobytes()), weights_only=True)
            made = tuple(map(_read, arguments)), {name: _read(value) for name, value in options.items()}
        found.append(made)
    return found


def _bytes_of(made: Made | None) -> bytes:
    if made is None:
        return _NOTHING
    arguments, options = made
    written = io.BytesIO()
    try:
        torch.save((tuple(map(_written, arguments)), {name: _written(value) for name, value in options.items()}), written)
    except Exception:  # an object that cannot be pickled
        return _NOTHING
    return written.getvalue()


def _written(value: Any) -> Any:
    return (_ARRAY, torch.from_numpy(np.array(value))) if isinstance(value, np.ndarray) else value


def _read(value: Any) -> Any:
    is_array = isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and value[0] == _ARRAY
    return value[1].numpy() if is_array else value
