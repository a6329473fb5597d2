"""Checks the functions of tests/distributed/written.py on 2 and 4 ranks, and prints the table of docs/distributed.md.

`python benchmarks/distributed.py [--ranks 2 4] [--without-reference] [WORDS]`: those functions alone whose name has the words.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import gradcheck_lab as gl
from tests.distributed.written import OF_FOUR_RANKS, ROWS, Row


def main() -> None:
    """Check, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--without-reference", action="store_true")
    chosen = parser.parse_args()
    rows = [row for row in ROWS if not chosen.words or any(word in row.name for word in chosen.words)]
    started, told = time.perf_counter(), 0
    print(f"| function | mistake | {' | '.join(f'{ranks} ranks' for ranks in chosen.ranks)} |")
    print(f"| --- | --- |{' --- |' * len(chosen.ranks)}")
    for row in rows:
        for mistake, function, cause in functions(row):
            outcomes = [outcome(row, function, ranks, chosen.without_reference) for ranks in chosen.ranks]
            wanted = [cause_of(row, mistake, cause, ranks) for ranks in chosen.ranks]
            told += sum(found.startswith(each) for found, each in zip(outcomes, wanted, strict=True))
            print(f"| {row.name} | {mistake} | {' | '.join(outcomes)} |", flush=True)
    checks = len(chosen.ranks) * sum(1 + len(row.mistakes) for row in rows)
    print(f"\n{told} of {checks} told right, in {time.perf_counter() - started:.0f} s")


def functions(row: Row) -> Iterator[tuple[str, object, str]]:
    """The sound function, and those with a mistake."""
    yield "", row.sound, "pass"
    for mistake, (function, cause) in row.mistakes.items():
        yield mistake, function, cause


def cause_of(row: Row, mistake: str, cause: str, ranks: int) -> str:
    """What the outcome has to start with."""
    if (row.name, mistake) in OF_FOUR_RANKS and ranks < 3:
        return "pass"
    return cause if cause == "pass" else f"fail: {cause}"


def outcome(row: Row, function: object, ranks: int, without_reference: bool) -> str:
    """What a check says."""
    reference = None if without_reference else row.reference(ranks)
    report = gl.check_distributed(
        function, *row.specs, world_size=ranks, placement=row.placement, reference=reference, timeout=60
    )
    causes = list(dict.fromkeys(finding.cause for finding in report.findings if finding.severity == "error"))
    return f"{report.verdict}: {', '.join(causes)}" if causes else report.verdict


if __name__ == "__main__":
    main()
