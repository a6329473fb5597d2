"""torch's own databases of operators and modules through `gl.check`: what passes, is flagged, left open, refused, or dies.

`python benchmarks/torch_databases.py --tenth 7` runs a tenth of the operators and modules, drawn by a seed; without it, all;
`--only addmm nn.Linear` some by name. Each runs in a process that is started anew when it dies. Results are appended to a
file of JSON lines, and what stands there is not run again. `--gradcheck` times slow `torch.autograd.gradcheck` on the same
samples; a sample that it fails is no false alarm.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the sibling files of this script, wherever it is run from

from benchmarks.torch_exceptions import EXCEPTIONS  # noqa: E402

Row = dict[str, Any]
CHILD = ROOT / "benchmarks" / "torch_child.py"
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
    chosen = parser.parse_args()
    rows = _read(chosen.results)
    with chosen.results.open("a") as file:
        for row in _run(_waiting(chosen, rows), chosen):
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
    print(table(rows))
    wrong = [row for row in rows if row["outcome"] not in ("pass", "inconclusive", "refused") and not reason_for(row)]
    sys.exit(1 if wrong else 0)


def drawn(name: str, seed: int) -> bool:
    """Whether an operator or module is of the tenth that a seed draws."""
    return int(hashlib.sha256(f"{seed} {name}".encode()).hexdigest(), 16) % 10 == 0


def reason_for(row: Row) -> str:
    """Why a row does not pass and should not; empty where nobody knows of a reason."""
    found = EXCEPTIONS.get(row["name"]) or EXCEPTIONS.get(f"{row['name']}:{row['dtype']}", "")
    if not found and row.get("empty") and row["outcome"] == "refused":
        return "no input or no output has an element: there is nothing to compare, and nothing never passes"
    return found or ("gradcheck fails it too" if row.get("gradcheck") == "fails" else "")


def table(rows: Iterable[Row]) -> str:
    """The counts by database and dtype, the seconds, and a line for each row that did not pass."""
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
        reason = reason_for(row)
        what = " | ".join(row["findings"]) or row.get("text", "")
        text = f"{row['outcome']:12} {row['name']} {row['dtype']} {row['sample']}: "
        (explained if reason else open_).append(text + (reason or what))
    lines += ["", f"{len(open_)} open:", *open_, "", f"{len(explained)} exceptions, with their reasons:", *explained]
    return "\n".join(lines)


def _read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _waiting(chosen: argparse.Namespace, rows: list[Row]) -> list[Row]:
    from benchmarks.torch_samples import tasks

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
        threading.Thread(target=work, args=(tasks, found, chosen.timeout), daemon=True).start()
    running = chosen.workers
    while running:
        row = found.get()
        if row is None:
            running -= 1
        else:
            yield row


def work(tasks: queue.SimpleQueue[Row], found: queue.SimpleQueue[Row | None], timeout: float) -> None:
    """Run tasks from one queue, put rows to the other and None at the end; what dies is started anew behind the sample."""
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
            worker.close()
            worker = None
    if worker is not None:
        worker.close()
    found.put(None)


class _Child:
    """A process that runs tasks; a thread reads its lines, so that a sample that hangs can be given up."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(CHILD)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def close(self) -> None:
        """End the process and close what was open to it."""
        self.process.kill()
        self.process.wait()
        self.listener.join()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # a line that the process did not read
                    stream.close()

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
                asked["done"].append(row["sample"])
                found.put(row)
            sample = row["sample"]


if __name__ == "__main__":
    main()
