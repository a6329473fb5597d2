"""What a check costs: evaluations, time and memory against the limit, and time against torch.autograd.gradcheck.

Prints ratios measured within one process, interleaved, the median of several runs. Run it as `python benchmarks/check_cost.py`.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch

import gradcheck_lab as gl
from gradcheck_lab import ops

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)


def linear_call(elements: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """x (elements / 64, 64), weight (64, 64), bias (64,)."""
    generator = torch.Generator().manual_seed(0)
    rows = max(1, elements // 64)
    return tuple(torch.randn(shape, generator=generator).to(dtype) for shape in ((rows, 64), (64, 64), (64,)))


def mul_call(elements: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Two tensors of (elements / 100, 100)."""
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn((elements // 100, 100), generator=generator).to(dtype) for _ in range(2))


CALLS = {"linear": (ops.linear, linear_call), "mul": (ops.mul, mul_call)}


def both_sides(op: gl.Op, inputs: tuple[torch.Tensor, ...]) -> None:
    """The limit's unit: one manual forward and backward, one float64 autograd forward and backward."""
    with torch.no_grad():
        output = op.forward(*inputs)
        grad_output = torch.ones_like(output)
        grads = op.backward(grad_output, output, *inputs)
    leaves = [value.double().detach().requires_grad_() for value in inputs]
    result = op.forward(*leaves)
    found = torch.autograd.grad(result, leaves, grad_output.double())
    del grads, found


def seconds(call: Callable[[], object]) -> float:
    """Wall seconds of one run."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ratio(ours: Callable[[], object], theirs: Callable[[], object], runs: int) -> tuple[float, float, float]:
    """The median of ours / theirs over interleaved runs, and the median seconds of each."""
    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(runs)]
    return (
        statistics.median(a / b for a, b in pairs),
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
    )


def peak_growth(call: Callable[[], object]) -> int:
    """Bytes by which the resident set grows at most while `call` runs, sampled every millisecond."""
    page = 4096
    statm = Path("/proc/self/statm")

    def resident() -> int:
        return int(statm.read_text().split()[1]) * page

    start, peak, done = resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    call()
    done.set()
    watcher.join()
    return max(0, peak - start)


def memory_child(name: str, elements: int, dtype: str, side: str) -> None:
    """Run in a process of its own: print the peak growth of one side."""
    op, make = CALLS[name]
    small, inputs = make(1000, torch.float64), make(elements, getattr(torch, dtype))
    gl.check(op, *small, probes=())
    both_sides(op, small)
    if side == "check":
        print(peak_growth(lambda: gl.check(op, *inputs, probes=())))
    else:
        print(peak_growth(lambda: both_sides(op, inputs)))


def memory_ratio(name: str, elements: int, dtype: str) -> float:
    """Peak memory of check(probes=()) over that of the limit's unit, each in a fresh process."""
    found = []
    for side in ("check", "both"):
        command = [sys.executable, __file__, "--memory", name, str(elements), dtype, side]
        found.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return found[0] / found[1]


def against_the_limit(largest: int) -> None:
    """Time and memory of check(probes=()) from 1e3 elements up."""
    print("check(probes=()) against one manual + one float64 autograd forward and backward")
    print(f"{'op':8}{'dtype':10}{'elements':>10}{'f':>4}{'b':>4}{'time ratio':>12}{'peak memory ratio':>20}")
    for name, (op, make) in CALLS.items():
        for dtype in (torch.float64, torch.float32, torch.bfloat16):
            for elements in (n for n in SIZES if n <= largest):
                inputs = make(elements, dtype)
                report = gl.check(op, *inputs, probes=())
                assert report.verdict == "pass", str(report)
                runs = 31 if elements <= 100_000 else 7
                time_ratio, _, _ = ratio(
                    lambda: gl.check(op, *inputs, probes=()), lambda: both_sides(op, inputs), runs  # noqa: B023
                )
                memory = f"{memory_ratio(name, elements, str(dtype)[6:]):.2f}" if elements >= 1_000_000 else "-"
                counts = f"{report.evaluations['forward']:>4}{report.evaluations['backward']:>4}"
                print(f"{name:8}{str(dtype)[6:]:10}{elements:>10}{counts}{time_ratio:>12.2f}{memory:>20}", flush=True)


def against_gradcheck() -> None:
    """Time of check on linear (32, 64) x (64, 64) float64 against torch.autograd.gradcheck, slow and fast."""
    inputs = tuple(torch.randn(shape, dtype=torch.float64) for shape in ((32, 64), (64, 64), (64,)))
    leaves = tuple(value.clone().requires_grad_() for value in inputs)
    function = ops.linear.as_function()
    print("\nlinear (32, 64) x (64, 64) float64 against torch.autograd.gradcheck on the same op")
    for label, probes in (("check", gl.ALL), ("check(probes=())", ())):
        for mode, fast in (("slow", False), ("fast", True)):
            runs = 21 if fast else 3
            found, ours, theirs = ratio(
                lambda: gl.check(ops.linear, *inputs, probes=probes),  # noqa: B023
                lambda: torch.autograd.gradcheck(function, leaves, fast_mode=fast),  # noqa: B023
                runs,
            )
            report = gl.check(ops.linear, *inputs, probes=probes)
            print(
                f"{label:18} / gradcheck {mode}: {found:.4f}  ({ours * 1e3:.1f} ms / {theirs * 1e3:.1f} ms, "
                f"{report.evaluations['forward']} forwards, {report.evaluations['backward']} backwards)",
                flush=True,
            )


def main() -> None:
    """Print every ratio, and on what it was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=float, default=1e7, help="largest number of elements (default 1e7)")
    parser.add_argument("--memory", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        name, elements, dtype, side = arguments.memory
        memory_child(name, int(elements), dtype, side)
        return
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {torch.get_num_threads()} threads, CPU\n")
    against_the_limit(int(arguments.largest))
    against_gradcheck()


if __name__ == "__main__":
    main()
