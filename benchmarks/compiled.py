"""What torch.compile makes of the ops of `gradcheck_lab.ops` and of a dozen custom ops, by backend.

`python -m benchmarks.compiled` prints a row for each: what the probe `compiled` says under each backend, the graph breaks, and
the seconds that it took. `--every N` takes each Nth op, and `--backends eager aot_eager` some backends alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch

import gradcheck_lab as gl
from benchmarks.compiled_ops import rows
from gradcheck_lab.calls.drawing import ordinary_call
from gradcheck_lab.ops import FAMILIES
from gradcheck_lab.probes.compiled import compiled_with
from gradcheck_lab.probes.support.compiling import NAMES
from gradcheck_lab.report import Report

Subjected = tuple[str, str, Any, tuple[Any, ...], dict[str, Any]]


def subjects(every: int) -> Iterator[Subjected]:
    """Name, what is known of it, the subject, its inputs and options."""
    ops = [op for family in FAMILIES.values() for op in family]
    for op in ops[::every]:
        case = ordinary_call(op, op.signatures[0], 0)
        yield op.name, "sound", op, case.inputs, dict(case.options)
    for row in rows():
        yield row.name, "sound" if row.sound else "wrong", row.subject, row.inputs, {}


def outcome(report: Report) -> str:
    """The worst that the probe said, and its cause; "pass" where it said nothing but notes."""
    for severity in ("error", "warning"):
        for finding in report.findings:
            if finding.severity == severity:
                return f"{severity}: {finding.cause}"
    return report.verdict


def breaks(report: Report) -> int:
    """The graph breaks that it told of."""
    return sum(f.cause == "compiled" and f.message.startswith("torch.compile leaves the graph") for f in report.findings)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--backends", nargs="+", default=list(NAMES))
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(f"{'subject':26} {'known':6}" + "".join(f"{name:34}" for name in asked.backends) + "breaks  seconds")
    wrong = 0
    for name, known, subject, inputs, options in subjects(asked.every):
        started, said, count = time.perf_counter(), [], 0
        for backend in asked.backends:
            report = gl.check(subject, *inputs, options=options, probes=[compiled_with(backend)])
            said.append(outcome(report))
            count = max(count, breaks(report))
        wrong += (known == "sound") == any(each.startswith("error") for each in said)
        seconds = time.perf_counter() - started
        print(f"{name:26} {known:6}" + "".join(f"{each:34}" for each in said) + f"{count:6}  {seconds:7.1f}", flush=True)
    print(f"{wrong} subjects have another outcome than is known of them")


if __name__ == "__main__":
    main()
