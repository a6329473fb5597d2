"""Our own Triton kernels, their planted mistakes and what a full check says of each, as a table of Markdown.

`python -m benchmarks.triton_kernels [KERNEL ...]`, with names of kernels for these alone; it needs the extra `triton`.
"""

from __future__ import annotations

import os
import sys
import time

os.environ["TRITON_INTERPRET"] = "1"  # before anything imports triton

import gradcheck_lab as gl
from gradcheck_lab.probes import ALL
from tests.triton_kernels.row import Kernel
from tests.triton_kernels.table import KERNELS

# a second derivative is no promise of these kernels
PROBES = ALL - {"double_backward", "forward_mode", "vmap", "registration", "dtypes", "values", "sizes"}


def line(kernel: Kernel, mistake: str) -> str:
    """One row of the table."""
    started = time.perf_counter()
    report = kernel.check(mistake, probes=PROBES)
    causes = list(dict.fromkeys(f.cause for f in report.findings if f.severity == "error"))
    fits = (not causes) if not mistake else bool(set(causes) & kernel.mistakes[mistake])
    told = f"{report.verdict}: {', '.join(causes)}" if causes else report.verdict
    seconds = time.perf_counter() - started
    return f"| {kernel.name} | {mistake or 'none'} | {told} | {'yes' if fits else 'NO'} | {seconds:.0f} s |"


def main(names: list[str]) -> int:
    """Print the table, and how many outcomes fit."""
    kernels = [kernel for kernel in KERNELS if not names or kernel.name in names]
    print(f"gradcheck_lab {gl.__version__}, probes without those that derive by other dtypes, values and sizes\n")
    print("| kernel | mistake | outcome | fits | time |\n| --- | --- | --- | --- | --- |")
    lines = []
    for kernel in kernels:
        for mistake in ("", *kernel.mistakes):
            lines.append(line(kernel, mistake))
            print(lines[-1], flush=True)
    fitting = sum("| yes |" in each for each in lines)
    print(f"\n{fitting} of {len(lines)} outcomes fit")
    return fitting != len(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
