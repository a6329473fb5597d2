"""Judges the candidates of tests/judging/tasks, all of them or those of some tasks, and prints a table by task.

`python benchmarks/judge.py [--examples N] [--all] [--part I/N] [TASK]...`: `--all` prints a line for each candidate, and
`--part 1/2` judges every second one. A candidate is told right where its verdict is that of its row in
tests/judging/outcomes.py, and its first cause one of those.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import gradcheck_lab as gl
from tests.judging.outcomes import CHEATING, MISTAKEN, SOUND, Row
from tests.judging.running import TASKS

KINDS = {"sound": SOUND, "mistaken": MISTAKEN, "cheating": CHEATING}


def outcome(row: Row, examples: int) -> tuple[bool, str]:
    """Whether the judge says what the row says, and what it says."""
    folder = TASKS / row.task
    report = gl.judge(
        folder / "task.py", folder / f"{row.candidate}.py", examples=examples,
        timeout=row.timeout or 60.0, memory=row.memory,
    )  # fmt: skip
    causes = [finding.cause for finding in report.findings if finding.severity == "error"]
    told = report.verdict == row.verdict and (not row.causes or causes[0] in row.causes)
    return told, f"{report.verdict} {causes[0] if causes else ''}".strip()


def main() -> None:
    """Judge, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*")
    parser.add_argument("--examples", type=int, default=20)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--part", default="1/1")
    chosen = parser.parse_args()
    part, parts = map(int, chosen.part.split("/"))
    rows = [(kind, row) for kind, several in KINDS.items() for row in several]
    rows = [(kind, row) for kind, row in rows if not chosen.tasks or row.task in chosen.tasks]
    counts: Counter[tuple[str, str, bool]] = Counter()
    started = time.perf_counter()
    for kind, row in rows[part - 1 :: parts]:
        told, said = outcome(row, chosen.examples)
        counts[row.task, kind, told] += 1
        if chosen.all or not told:
            print(f"{'ok ' if told else 'BAD'} {row.task}/{row.candidate}: {said} ({row.why})", flush=True)
    print("| task |", " | ".join(KINDS), "|\n| --- | --- | --- | --- |")
    for task in dict.fromkeys(task for task, _, _ in counts):
        cells = [f"{counts[task, kind, True]} of {counts[task, kind, True] + counts[task, kind, False]}" for kind in KINDS]
        print(f"| {task} |", " | ".join(cells), "|")
    told = sum(count for (_, _, right), count in counts.items() if right)
    print(f"{told} of {sum(counts.values())} as their rows say, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
