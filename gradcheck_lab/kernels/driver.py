"""Answers what kernels and the functions around them ask of the driver of a device, where there is no device."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch

# as of a device of compute capability 8.0 with few processors, so that a program of a persistent kernel has several tiles
_PROPERTIES = {
    "max_shared_mem": 166912, "max_num_regs": 65536, "multiprocessor_count": 4, "warpSize": 32, "sm_clock_rate": 1410000,
    "mem_clock_rate": 1215000, "mem_bus_width": 5120,
}  # fmt: skip


class Utilities:
    """What `triton.runtime.driver.active.utils` answers."""

    def get_device_properties(self, device: Any = 0) -> dict[str, int]:
        """The properties by the names that Triton gives them."""
        return dict(_PROPERTIES)

    def set_printf_fifo_size(self, size: int) -> None:
        """Nothing to set: the interpreter prints at once."""


class InterpreterDriver:
    """A driver of one device, the CPU, on which no kernel is timed: of several configurations the first is taken."""

    def __init__(self) -> None:
        self.utils = Utilities()

    @classmethod
    def is_active(cls) -> bool:
        """It is."""
        return True

    def get_current_target(self) -> Any:
        """The target of which `backend`, `arch` and `warp_size` are asked."""
        return sys.modules["triton.backends.compiler"].GPUTarget("cuda", 80, 32)

    def get_current_device(self) -> int:
        """The only one."""
        return 0

    def set_current_device(self, device: int) -> None:
        """Nothing to set."""

    def get_current_stream(self, device: Any = None) -> int:
        """The default stream."""
        return 0

    def get_device_capability(self, device: Any = None) -> tuple[int, int]:
        """The compute capability."""
        return 8, 0

    def get_active_torch_device(self) -> torch.device:
        """Where tensors are."""
        return torch.device("cpu")

    def get_device_interface(self) -> Any:
        """What torch has for the device: `torch.cpu`."""
        return torch.cpu

    def get_empty_cache_for_benchmark(self) -> torch.Tensor:
        """A buffer that is written to between two timings; nothing is timed."""
        return torch.empty(1)

    def clear_cache(self, cache: torch.Tensor) -> None:
        """Nothing to clear."""

    def get_benchmarker(self) -> Callable[..., list[float]]:
        """Times nothing and finds all as fast, so that an autotuner takes its first configuration."""
        return lambda kernel_call, *arguments, quantiles=(), **keywords: [0.0] * max(1, len(tuple(quantiles)))
