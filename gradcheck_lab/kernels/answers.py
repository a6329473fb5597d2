"""Answers what the code around interpreted kernels asks torch of a device, once it has raised for want of one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import torch

from gradcheck_lab.kernels.driver import InterpreterDriver


class _NoDevice(nullcontext[None]):
    """Stands for `torch.cuda.device`: there is one device, which is not chosen."""

    def __init__(self, device: Any = None) -> None:
        super().__init__()


def _properties(device: Any = None) -> SimpleNamespace:
    driver = InterpreterDriver()
    known, (major, minor) = driver.utils.get_device_properties(), driver.get_device_capability()
    return SimpleNamespace(
        name="interpreter", major=major, minor=minor, total_memory=1 << 30, warp_size=known["warpSize"],
        multi_processor_count=known["multiprocessor_count"], shared_memory_per_block_optin=known["max_shared_mem"],
        shared_memory_per_block=known["max_shared_mem"], regs_per_multiprocessor=known["max_num_regs"],
    )  # fmt: skip


_ANSWERS: dict[str, Any] = {
    "is_available": lambda: True,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "get_device_properties": _properties,
    "get_device_capability": InterpreterDriver().get_device_capability,
    "get_device_name": lambda device=None: "interpreter",
    "synchronize": lambda device=None: None,
    "device": _NoDevice,
}


class Answers:
    """Whether torch answers as on a device while the user's code runs: `asked` is set once it has raised without."""

    def __init__(self) -> None:
        self.asked = False

    def begin(self) -> Callable[[], None] | None:
        """Let torch answer, if asked; returns what ends that."""
        if not self.asked:
            return None
        before = {name: getattr(torch.cuda, name) for name in _ANSWERS}
        for name, answer in _ANSWERS.items():
            setattr(torch.cuda, name, answer)

        def end() -> None:
            for name, own in before.items():
                setattr(torch.cuda, name, own)

        return end


ANSWERS = Answers()
