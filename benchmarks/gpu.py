"""What holds on an accelerator and what it costs there, as the tables of docs/gpu.md; it says so where there is none.

`python -m benchmarks.gpu` runs on whichever accelerator torch finds, `--device cpu` runs all of it on the CPU, and `--quick`
takes small calls. Verdicts are of every op, and of the kernels of tests/triton_kernels where Triton compiles for the device.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import gradcheck_lab as gl
from benchmarks.memory import status
from benchmarks.ops import call_of
from gradcheck_lab import ops
from gradcheck_lab.calls.placement import available, placed
from gradcheck_lab.calls.precision_settings import set_settings, settings
from gradcheck_lab.comparison.budget import judge
from gradcheck_lab.torch_internals import DispatchMode

SIZES, QUICK = (1_000_000, 10_000_000, 100_000_000), (10_000,)
COLUMNS = 1000
REPEATS = 16  # of a backward that adds in no fixed order
RUNS = 5  # of each side, of which the median is taken
READS = ("aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::is_nonzero")  # operators that wait for the device
COPIES = ("aten::_to_copy", "aten::copy_")
NONE = "torch finds no accelerator here, so nothing was run; --device cpu runs all of it on the CPU"
EVERY = tuple(op for family in ops.FAMILIES.values() for op in family)
Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """A table: its title, its columns, and its rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def __str__(self) -> str:
        lines = [f"## {self.title}", "", _line(self.columns), _line(["---"] * len(self.columns))]
        return "\n".join([*lines, *map(_line, self.rows), ""])


def _line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def calls(elements: int, device: torch.device) -> dict[str, tuple[gl.Op, tuple[torch.Tensor, ...]]]:
    """Ops with float32 inputs, of which the largest has so many elements."""
    rows, columns = max(1, elements // COLUMNS), min(COLUMNS, elements)
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(device)

    x = normal(rows, columns)
    return {
        "tanh": (ops.tanh, (x,)),
        "layer_norm": (ops.layer_norm, (x, normal(columns), normal(columns))),
        "matmul": (ops.matmul, (x, normal(columns, columns) / columns**0.5)),
    }


def finished(device: torch.device) -> None:
    """Wait for the device."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def verdicts(device: torch.device, elements: int, probes: Any, every: Sequence[gl.Op] = EVERY) -> Measured:
    """Every op on the CPU and on the device: those with another verdict, and how many have the same."""
    rows: list[Row] = []
    for op in every:
        case = call_of(op, elements)
        assert case is not None
        here, there = (
            gl.check(op, *placed(case.inputs, where, None), options=case.options, probes=probes)
            for where in ("cpu", str(device))
        )
        if here.verdict != there.verdict or there.verdict != "pass":
            rows.append((op.name, here.verdict, there.verdict, "; ".join(f.message for f in there.findings)))
    rows.append((f"{len(every)} ops", "", f"{len(every) - len(rows)} pass on both", ""))
    return Measured("Verdicts of the ops", ("op", "on the CPU", f"on {device.type}", "findings there"), tuple(rows))


def kernel_verdicts(device: torch.device, most: int) -> Measured | None:
    """The kernels and those of their mistakes that stay within their memory; None where Triton does not run for the device."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if importlib.util.find_spec("triton") is None or (device.type == "cpu") != interpreted:
        return None
    from tests.triton_kernels.table import KERNELS

    rows: list[Row] = []
    for kernel in KERNELS[:most]:
        sound = {"": frozenset[str]()}
        for mistake, fitting in {**sound, **kernel.mistakes}.items():
            if "out-of-bounds" in fitting and not interpreted:
                continue  # it may end the context of the device
            inputs = placed(kernel.inputs, str(device), None)
            given = {"reference": kernel.reference, "probes": (), **kernel.arguments}
            report = gl.check(kernel.function(mistake), *inputs, **given)
            causes = list(dict.fromkeys(f.cause for f in report.findings if f.severity == "error"))
            rows.append((kernel.name, mistake or "none", report.verdict, ", ".join(causes)))
    return Measured("Triton's kernels, compared only", ("kernel", "mistake", "verdict", "causes"), tuple(rows))


class _Reads(DispatchMode):
    """Counts the operators that wait for the device, and the copies from there; on the CPU each number that is read."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        copied = func._schema.name in COPIES and isinstance(result, torch.Tensor) and result.is_cpu
        brought = copied and any(isinstance(value, torch.Tensor) and not value.is_cpu for value in args)
        self.count += func._schema.name in READS or brought
        return result


@contextmanager
def _waits() -> Iterator[list[Any]]:
    """Collect CUDA's warnings of operations that wait for the device."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield seen
        finally:
            torch.cuda.set_sync_debug_mode(before)


def reads(device: torch.device, elements: int) -> Measured:
    """How often one comparison waits for a number, and on CUDA how often a whole check does that compares only."""
    rows: list[Row] = []
    truth = torch.randn(elements, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(device)
    for name, actual in {"right": truth.float(), "nearly": truth.float() * (1 + 1e-6), "twice": truth.float() * 2}.items():
        with _Reads() as counted:
            judge(actual, truth, torch.float32, [])
        rows.append((f"one gradient, {name}", counted.count))
    if device.type == "cuda":
        for name, (op, inputs) in calls(elements, device).items():
            gl.check(op, *inputs, probes=())
            with _waits() as seen:
                gl.check(op, *inputs, probes=())
            told = [each for each in seen if "synchroniz" in str(each.message)]
            rows.append((f"check(probes=()) of {name}, {len(inputs)} gradients", len(told)))
    return Measured(f"Waits for the device, {elements:.0e} elements", ("what", "waits"), tuple(rows))


def both(op: gl.Op, inputs: tuple[torch.Tensor, ...]) -> None:
    """The subject's own forward and backward."""
    with torch.no_grad():
        output = op.forward(*inputs)
        op.backward(torch.ones_like(output), output, *inputs)


def peak(device: torch.device, call: Callable[[], object]) -> int:
    """Bytes that a call takes at most beside what there was: of the accelerator, or resident ones of this process."""
    finished(device)
    if device.type != "cpu":
        torch.accelerator.empty_cache()
        torch.accelerator.reset_peak_memory_stats(device)
        before = torch.accelerator.memory_allocated(device)
        call()
        finished(device)
        return torch.accelerator.max_memory_allocated(device) - before
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # sets the peak back
    call()
    return status("VmHWM") - before


def memory(device: torch.device, sizes: Iterable[int]) -> Measured:
    """Peak memory of `check(probes=())` over that of the subject's own forward and backward, without the inputs of either."""
    rows: list[Row] = []
    for elements in sizes:
        for name, (op, inputs) in calls(elements, device).items():
            own = peak(device, lambda op=op, inputs=inputs: both(op, inputs))  # type: ignore[misc]
            ours = peak(device, lambda op=op, inputs=inputs: gl.check(op, *inputs, probes=()))  # type: ignore[misc]
            given = sum(value.nbytes for value in inputs)
            ratio = f"{(ours + given) / (own + given):.2f}"
            rows.append((name, f"{elements:.0e}", f"{own / 2**20:.1f} MiB", f"{ours / 2**20:.1f} MiB", ratio))
    columns = ("op", "elements", "its own", "check", "ratio with the inputs")
    return Measured("Peak memory of check(probes=())", columns, tuple(rows))


def times(device: torch.device, sizes: Iterable[int]) -> Measured:
    """Seconds of `check(probes=())` over those of the subject's own forward and backward, in turns: medians."""

    def seconds(call: Callable[[], object]) -> float:
        finished(device)
        started = time.perf_counter()
        call()
        finished(device)
        return time.perf_counter() - started

    rows: list[Row] = []
    for elements in sizes:
        for name, (op, inputs) in calls(elements, device).items():
            own, ours = (lambda op=op, i=inputs: both(op, i)), (lambda op=op, i=inputs: gl.check(op, *i, probes=()))  # type: ignore[misc]
            own(), ours()
            pairs = [(seconds(own), seconds(ours)) for _ in range(RUNS)]
            ratio = statistics.median(b / a for a, b in pairs)
            medians = [f"{1e3 * statistics.median(side):.2f} ms" for side in zip(*pairs, strict=True)]
            rows.append((name, f"{elements:.0e}", *medians, f"{ratio:.1f}"))
    return Measured("Time of check(probes=())", ("op", "elements", "its own", "check", "ratio"), tuple(rows))


def gathering(ids: torch.Tensor) -> gl.Op:
    """Rows by their indices, whose backward adds what equal indices send: on a GPU in no fixed order."""

    def backward(grad_output: torch.Tensor, output: torch.Tensor, table: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.zeros_like(table).index_add_(0, ids, grad_output),)

    return gl.Op(lambda table: table[ids], backward, name="gather")


def atomics(device: torch.device, elements: int) -> Measured:
    """How far the same backward differs from itself when it is repeated, and what a full check says of it."""
    rows: list[Row] = []
    for dtype in (torch.float32, torch.float16):
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(0, 16, (max(16, elements // 16),), generator=generator).to(device)
        op, table = gathering(ids), torch.randn((16, 16), generator=generator).to(device, dtype)
        upstream = torch.randn((len(ids), 16), generator=generator).to(device, dtype)
        found = [op.backward(upstream, None, table)[0].double() for _ in range(REPEATS)]
        spread = max(float((each - found[0]).abs().max()) for each in found) / float(found[0].abs().max())
        report = gl.check(op, table, probes=("state", "second_backward"))
        told = ", ".join(f"{f.severity} {f.cause}" for f in report.findings)
        rows.append((str(dtype).removeprefix("torch."), f"{spread:.1e}", report.verdict, told))
    columns = ("dtype", f"largest difference of {REPEATS} runs", "verdict", "findings")
    return Measured("An index_add whose order is not fixed", columns, tuple(rows))


def products(device: torch.device, side: int) -> Measured:
    """A product whose float32 is computed in full and in TF32: the verdict, and what is said."""
    owner = torch.backends.cuda.matmul if device.type == "cuda" else torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    generator = torch.Generator().manual_seed(0)
    inputs = tuple(torch.randn((side, side), generator=generator).to(device) for _ in range(2))
    op = gl.Op(lambda x, w: x @ w, lambda g, y, x, w: (g @ w.mT, x.mT @ g), name="product")
    before, rows = settings(), list[Row]()
    try:
        for value in ("ieee", "tf32"):
            owner.fp32_precision = value
            report = gl.check(op, *inputs, probes=())
            said = "; ".join(dict.fromkeys(f.explanation for f in report.findings))
            rows.append((value, report.verdict, said))
    finally:
        set_settings(before)
    return Measured(f"Products of {side} x {side}", ("fp32_precision", "verdict", "explanation"), tuple(rows))


def tables(device: torch.device, quick: bool) -> Iterator[Measured]:
    """All tables, each as soon as it is there."""
    sizes = QUICK if quick else SIZES
    yield verdicts(device, 400 if quick else 10_000, () if quick else gl.ALL)
    if (found := kernel_verdicts(device, 1 if quick else sys.maxsize)) is not None:
        yield found
    yield reads(device, sizes[0])
    yield memory(device, sizes)
    yield times(device, sizes)
    yield atomics(device, sizes[0])
    yield products(device, 64 if quick else 1024)


def main(arguments: list[str]) -> int:
    """Print the tables, or that there is no accelerator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", help="a device of torch; by default the accelerator that there is")
    parser.add_argument("--quick", action="store_true", help="small calls, to see that all of it runs")
    asked = parser.parse_args(arguments)
    found = torch.accelerator.current_accelerator(check_available=True) if asked.device is None else torch.device(asked.device)
    if found is None:
        print(NONE)
        return 0
    if not available(str(found)):
        parser.error(f"there is no {found} here")
    name = torch.cuda.get_device_name(found) if found.type == "cuda" else str(found)
    print(f"gradcheck_lab {gl.__version__}, torch {torch.__version__}, {name}\n")
    for table in tables(found, asked.quick):
        print(table, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
