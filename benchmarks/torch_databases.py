"""torch's own databases of operators and modules through `gl.check`: what passes, is flagged, left open, refused, or dies.

`python benchmarks/torch_databases.py --tenth 7` runs a tenth of the operators and modules, drawn by a seed; without it, all;
`--only addmm nn.Linear` some by name. Each runs in a process that is started anew when it dies. Results are appended to a
file of JSON lines, and what stands there is not run again. `--gradcheck` times slow `torch.autograd.gradcheck` on the same
samples; a sample that it fails is no false alarm.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

Row = dict[str, Any]
HERE = Path(__file__).resolve()
OUTCOMES = ("pass", "fail", "inconclusive", "refused", "crashed", "died", "timed-out")


def main() -> None:
    """Run the tasks that are asked for, and print the table of the whole file of results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tenth", type=int, metavar="SEED", help="a tenth of the operators and modules, drawn by this seed")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these operators and modules alone")
    parser.add_argument("--dtypes", nargs="+", default=["float64", "float32", "bfloat16", "complex128"])
    parser.add_argument("--database", nargs="+", default=["op_db", "module_db"])
    parser.add_argument("--samples", type=int, default=3, help="samples of each at most; 0 for all")
    parser.add_argument("--gradcheck", action="store_true", help="run slow gradcheck on the same samples")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds that one sample may take")
    parser.add_argument("--results", type=Path, default=Path("torch_databases.jsonl"))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        child()
        return
    rows = _read(chosen.results)
    with chosen.results.open("a") as file:
        for row in _run(_waiting(chosen, rows), chosen):
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
    print(table(rows))


def drawn(name: str, seed: int) -> bool:
    """Whether an operator or module is of the tenth that a seed draws."""
    return int(hashlib.sha256(f"{seed} {name}".encode()).hexdigest(), 16) % 10 == 0


def table(rows: Iterable[Row]) -> str:
    """The counts by database and dtype, the seconds, and a line for each row that did not pass."""
    from torch_exceptions import EXCEPTIONS

    rows, names = list(rows), " ".join(f"{outcome:>12}" for outcome in OUTCOMES)
    lines = [f"{'database':10} {'dtype':11} {'samples':>7} {names}   seconds  gradcheck"]
    for database, dtype in sorted({(r["database"], r["dtype"]) for r in rows}, reverse=True):
        mine = [r for r in rows if (r["database"], r["dtype"]) == (database, dtype)]
        counts = " ".join(f"{sum(r['outcome'] == o for r in mine):12}" for o in OUTCOMES)
        spent, theirs = (sum(r.get(key, 0.0) for r in mine) for key in ("seconds", "gradcheck_seconds"))
        lines.append(f"{database:10} {dtype:11} {len(mine):7} {counts} {spent:9.0f} {theirs:10.0f}")
    open_: list[str] = []
    explained: list[str] = []
    for row in sorted(rows, key=lambda r: (OUTCOMES.index(r["outcome"]), r["name"], r["dtype"])):
        if row["outcome"] == "pass":
            continue
        reason = EXCEPTIONS.get(row["name"], "") or ("gradcheck fails it too" if row.get("gradcheck") == "fails" else "")
        what = " | ".join(row["findings"]) or row.get("text", "")
        text = f"{row['outcome']:12} {row['name']} {row['dtype']} {row['sample']}: "
        (explained if reason else open_).append(text + (reason or what))
    lines += ["", f"{len(open_)} open:", *open_, "", f"{len(explained)} exceptions, with their reasons:", *explained]
    return "\n".join(lines)


def child() -> None:
    """Take tasks from the standard input, a line each, and write a line before and after each sample."""
    import torch
    from torch_samples import Task, calls

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


def _checked(call: Any, asked: Row) -> Row:
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
        row |= {"outcome": "refused", "text": str(error)[:300]}
    except Exception as error:
        row |= {"outcome": "crashed", "text": f"{type(error).__name__}: {error}"[:300]}
    row["seconds"] = time.process_time() - started
    if asked["gradcheck"] and asked["task"]["dtype"] in ("float64", "complex128"):
        row |= _gradchecked(call)
    return row


def _gradchecked(call: Any) -> Row:
    import torch

    started = time.process_time()
    try:
        passed = "passes" if torch.autograd.gradcheck(call.function, call.tensors, check_undefined_grad=False) else "fails"
    except Exception as error:
        passed = "fails" if isinstance(error, torch.autograd.gradcheck.GradcheckError) else f"raises {type(error).__name__}"
    return {"gradcheck": passed, "gradcheck_seconds": time.process_time() - started}


def _read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _waiting(chosen: argparse.Namespace, rows: list[Row]) -> list[Row]:
    from torch_samples import tasks

    done: dict[str, list[int]] = {}
    for row in rows:
        done.setdefault(f"{row['database']}:{row['name']}:{row['dtype']}", []).append(row["sample"])
    waiting = []
    for task in tasks(tuple(chosen.dtypes), tuple(chosen.database)):
        named = chosen.only is None or task.name in chosen.only or task.name.partition(".")[0] in chosen.only
        if named and (chosen.tenth is None or drawn(task.name, chosen.tenth)):
            asked = {"task": asdict(task), "done": done.get(task.key, []), "samples": chosen.samples}
            waiting.append({**asked, "gradcheck": chosen.gradcheck})
    return waiting


def _run(waiting: list[Row], chosen: argparse.Namespace) -> Iterator[Row]:
    tasks: queue.SimpleQueue[Row] = queue.SimpleQueue()
    found: queue.SimpleQueue[Row | None] = queue.SimpleQueue()
    for asked in waiting:
        tasks.put(asked)
    for _ in range(chosen.workers):
        threading.Thread(target=_work, args=(tasks, found, chosen.timeout), daemon=True).start()
    running = chosen.workers
    while running:
        row = found.get()
        if row is None:
            running -= 1
        else:
            yield row


def _work(tasks: queue.SimpleQueue[Row], found: queue.SimpleQueue[Row | None], timeout: float) -> None:
    worker: _Child | None = None
    while True:
        try:
            asked = tasks.get_nowait()
        except queue.Empty:
            break
        while True:
            worker = worker or _Child()
            lost = worker.run(asked, found, timeout)
            if lost is None:
                break
            asked["done"].append(lost["sample"])
            found.put({**asked["task"], "findings": [], **lost})
            worker = None
    if worker is not None:
        worker.process.kill()
    found.put(None)


class _Child:
    """A process that runs tasks; a thread reads its lines, so that a sample that hangs can be given up."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(HERE), "--child"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def run(self, asked: Row, found: queue.SimpleQueue[Row | None], timeout: float) -> Row | None:
        """Run one task; what is left of it is returned where the process died or was given up, as the row of that sample."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        sample = -1
        while True:
            try:
                line = self.lines.get(timeout=timeout)
            except queue.Empty:
                self.process.kill()
                return {"sample": sample, "outcome": "timed-out", "text": f"over {timeout:g} s"}
            if not line:
                return {"sample": sample, "outcome": "died", "text": f"signal {-self.process.wait()}"}
            row = json.loads(line)
            if not row:
                return None
            if "outcome" in row:
                found.put(row)
            sample = row["sample"]


if __name__ == "__main__":
    main()
