"""The process that `torch_databases.py` starts anew when it dies: it checks the samples that it is asked for."""

from __future__ import annotations

import json
import sys
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the sibling files of this script

import torch

from benchmarks.torch_samples import Call, Task, calls

Row = dict[str, Any]


def child() -> None:
    """Take tasks from the standard input, a line each, and write a line before and after each sample."""
    out, sys.stdout = sys.stdout, sys.stderr
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for line in sys.stdin:
        asked = json.loads(line)
        task, done = Task(**asked["task"]), set(asked["done"])
        try:
            for number, call in calls(task, asked["samples"] or None):
                if number not in done:
                    print(json.dumps({"sample": number}), file=out, flush=True)
                    print(json.dumps({**asdict(task), "sample": number, **_checked(call, asked)}), file=out, flush=True)
        except Exception as error:  # torch's own sample function raised
            row = {"sample": -1, "outcome": "refused", "findings": [], "text": f"no samples: {error}"[:200]}
            print(json.dumps({**asdict(task), **row}), file=out, flush=True)
        print("{}", file=out, flush=True)


def _checked(call: Call, asked: Row) -> Row:
    import gradcheck_lab as gl

    row: Row = {"findings": [], "text": ""}
    started = time.process_time()
    try:
        report = gl.check(call.subject, *call.inputs, options=call.options)
        row["outcome"] = report.verdict
        row["findings"] = [f"{f.cause} ({f.probe or 'compared'}; {f.case}): {f.message}; {f.explanation}"[:400]
                           for f in report.findings if f.severity == "error"]  # fmt: skip
        row["text"] = " | ".join(report.reasons)[:400]
    except gl.InvalidArgument as error:
        row |= {"outcome": "refused", "text": str(error)[:300], "empty": call.is_empty or call.gives_nothing()}
    except Exception as error:
        row |= {"outcome": "crashed", "text": f"{type(error).__name__}: {error}"[:300]}
    row["seconds"] = time.process_time() - started
    if asked["gradcheck"] and asked["task"]["dtype"] in ("float64", "complex128"):
        row |= _gradchecked(call)
    return row


def _gradchecked(call: Call) -> Row:
    started = time.process_time()
    try:
        passed = "passes" if torch.autograd.gradcheck(call.function, call.tensors, check_undefined_grad=False) else "fails"
    except Exception as error:
        passed = "fails" if isinstance(error, torch.autograd.gradcheck.GradcheckError) else f"raises {type(error).__name__}"
    return {"gradcheck": passed, "gradcheck_seconds": time.process_time() - started}


if __name__ == "__main__":
    child()
