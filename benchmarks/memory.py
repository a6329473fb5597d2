"""How much memory `check` takes, in multiples of what its inputs take, for calls of ten million float32 elements.

Each call runs in a fresh process, whose peak of resident memory is read from the system (Linux).

    python benchmarks/memory.py [ELEMENTS]
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import gradcheck_lab as gl
from gradcheck_lab import ops

COLUMNS = 1000


def calls(elements: int) -> dict[str, Callable[[], tuple[Any, tuple[torch.Tensor, ...]]]]:
    """The op and the inputs of each row of the table, made when they are asked for."""
    rows = elements // COLUMNS

    def x() -> torch.Tensor:
        return torch.randn(rows, COLUMNS)

    def tanh_in_numpy() -> gl.Op:
        import numpy as np

        forward = lambda x: torch.from_numpy(np.tanh(x.numpy()))  # noqa: E731
        return gl.Op(forward, lambda g, y, x: (torch.from_numpy(g.numpy() * (1 - y.numpy() ** 2)),), name="tanh in NumPy")

    return {
        "tanh": lambda: (ops.tanh, (x(),)),
        "relu": lambda: (ops.relu, (x(),)),
        "layer_norm": lambda: (ops.layer_norm, (x(), torch.randn(COLUMNS), torch.randn(COLUMNS))),
        "softmax_cross_entropy": lambda: (ops.softmax_cross_entropy, (x(), torch.randint(0, COLUMNS, (rows,)))),
        "matmul": lambda: (ops.matmul, (x(), torch.randn(COLUMNS, COLUMNS) / COLUMNS**0.5)),
        "logsumexp": lambda: (ops.logsumexp, (x(),)),
        "tanh in NumPy": lambda: (tanh_in_numpy(), (x(),)),
    }


def status(name: str) -> int:
    """A figure of this process in bytes, such as `VmHWM`, its peak of resident memory."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def measure(name: str, probes: str, elements: int) -> None:
    """Print the verdict and the memory of one call beyond what was there before."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    gl.check(ops.tanh, torch.randn(3, 4))
    op, inputs = calls(elements)[name]()
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # sets the peak back
    arguments: dict[str, Any] = {} if probes == "all" else {"probes": ()}
    report = gl.check(op, *inputs, **arguments)
    print(report.verdict, (status("VmHWM") - before) / sum(v.nbytes for v in inputs))


def main(elements: int) -> None:
    """Print the table."""
    print(f"{'':24}{'compare':>14}{'all probes':>14}")
    for name in calls(elements):
        cells = []
        for probes in ("none", "all"):
            command = [sys.executable, __file__, str(elements), name, probes]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            verdict, times = done.stdout.split()
            cells.append(f"{float(times):.1f}{'' if verdict == 'pass' else ' ' + verdict}")
        print(f"{name:24}{cells[0]:>14}{cells[1]:>14}", flush=True)


if __name__ == "__main__":
    count = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10_000_000
    if len(sys.argv) > 2:
        measure(sys.argv[2], sys.argv[3], count)
    else:
        main(count)
