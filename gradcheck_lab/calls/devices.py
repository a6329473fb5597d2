"""The accelerator of this machine, whatever its kind (cuda, xpu, mps, or one that another package registers with torch).

All that this package asks of it: its module of torch, work that it has not finished, its current stream, and its free memory.
Where there is none, each answer takes a microsecond.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from gradcheck_lab.model.watching import is_elsewhere


def accelerator() -> str | None:
    """The kind of the accelerator that can be used here, such as "cuda"; None where there is none."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return None if found is None else found.type


def started_module() -> Any:
    """Torch's module for the accelerator, once it was started: asking earlier would start it, and take its memory."""
    kind = accelerator()
    if kind is None:
        return None
    module = torch.get_device_module(kind)
    return module if getattr(module, "is_initialized", lambda: True)() else None


def finished(values: Iterable[Any]) -> None:
    """Wait until the devices that hold any of these tensors have done all that was asked of them, on whatever stream.

    The user's code may compute on a stream of its own, which nothing else waits for before the numbers are read.
    """
    held = {value.device for value in values if is_elsewhere(value)}
    for device in held:
        if device.type == accelerator():
            torch.accelerator.synchronize(device)


def current_stream() -> torch.Stream | None:
    """The stream, with its device, that new work is given to; None where the accelerator was not started."""
    return None if started_module() is None else torch.accelerator.current_stream()


def set_current_stream(stream: torch.Stream | None) -> None:
    """Give new work to this stream on its device."""
    if stream is not None:
        torch.accelerator.set_device_index(stream.device_index)
        torch.accelerator.set_stream(stream)


def free_memory(device: torch.device) -> int | None:
    """The bytes that can still be allocated on a device; None where that is not known, as on the CPU.

    What torch's allocator keeps of freed tensors counts as free.
    """
    if device.type != accelerator():
        return None
    try:
        free, _ = torch.accelerator.get_memory_info(device)
        kept = torch.accelerator.memory_reserved(device) - torch.accelerator.memory_allocated(device)
    except (RuntimeError, NotImplementedError):  # this kind of device does not tell
        return None
    return free + max(0, kept)
