"""Work that a device has not finished yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch


def finished(values: Iterable[Any]) -> None:
    """Wait until the GPUs that hold any of these tensors have done all that was asked of them, on whatever stream.

    The user's code may compute on a stream of its own, which nothing else waits for before the numbers are read.
    """
    for device in {value.device for value in values if isinstance(value, torch.Tensor) and value.is_cuda}:
        torch.cuda.synchronize(device)
