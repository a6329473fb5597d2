"""Whether an accelerator still works: some errors end its context, and all that a process asks of it then raises them again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.exceptions import DeviceLost
from gradcheck_lab.model.torch_messages import out_of_memory
from gradcheck_lab.model.user_errors import class_and_line
from gradcheck_lab.model.watching import is_elsewhere, last_call
from gradcheck_lab.torch_internals import without_modes

# torch's class for what the runtime of an accelerator says, from torch 2.9 on
_ERRORS: tuple[type[Exception], ...] = (torch.AcceleratorError,) if hasattr(torch, "AcceleratorError") else ()
_lost: dict[torch.device, str] = {}  # the accelerators of this process that no longer work, and what was said of each


def of_accelerator(error: BaseException) -> bool:
    """Whether the runtime of an accelerator raised an error, by its class.

    >>> of_accelerator(ValueError()), of_accelerator(torch.OutOfMemoryError())
    (False, False)
    """
    return isinstance(error, _ERRORS)


def works(device: torch.device | None) -> bool:
    """Whether a device computes a sum; it waits for all that the device was asked before. None, for no device, does not."""
    if device is None:
        return False
    try:
        with without_modes():  # in some of them tensors have no values
            return float(torch.ones(2, device=device).sum()) == 2
    except Exception as error:
        return out_of_memory(error)


def refuse_lost_device(error: BaseException | None, values: Iterable[Any] = ()) -> None:
    """Raise `DeviceLost` for an exception after which an accelerator no longer works: of those that hold `values`.

    Libraries that launch kernels raise errors of classes of their own, so that the device is asked whatever the class is. One
    of torch's class stands for the current accelerator, and for a lost one where torch knows of none that it could ask.
    """
    if not isinstance(error, Exception) or out_of_memory(error):
        return
    asked: set[torch.device | None] = {*accelerators_of(values)}
    if not asked and of_accelerator(error):
        asked = {_current()}
    dead = [device for device in asked if not works(device)]
    if dead:
        last, said = last_call(), class_and_line(error)
        _lost.update((device, said) for device in dead if device is not None)
        raise DeviceLost(last.words, last.stage) from error


def refuse_dead_device(name: str, values: Iterable[Any]) -> None:
    """Raise `InvalidArgument` where an accelerator that holds one of the values no longer works before `name` is called."""
    for device in sorted(accelerators_of(values), key=str):
        if device in _lost or not works(device):
            said = f" ({_lost[device]})" if device in _lost else ""
            raise InvalidArgument(
                f"{device}, which holds the inputs of {name}, no longer works in this process{said}: an earlier call ended its "
                "context; start a new process, and pass isolate=True there"
            )


def any_lost() -> bool:
    """Whether an accelerator of this process no longer works."""
    return bool(_lost)


def accelerators_of(values: Iterable[Any]) -> set[torch.device]:
    """The accelerators that hold tensors, of the kind that there is here."""
    devices = {value.device for value in values if is_elsewhere(value)}
    current = _current() if devices else None
    return {device for device in devices if current is not None and device.type == current.type}


def _current() -> torch.device | None:
    return torch.accelerator.current_accelerator(check_available=True)
