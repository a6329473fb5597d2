"""A campaign that is killed with -9 at any moment is continued by the same command, and loses nothing that was finished."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from gradcheck_lab.campaigns.cases import Case
from gradcheck_lab.campaigns.manifest import read_manifest
from gradcheck_lab.campaigns.results import results_in
from gradcheck_lab.campaigns.running import Asked, local_engine, run_campaign
from tests.campaigns.checks import brief, planned
from tests.lanes import seed_of
from tests.workers.test_pool import gone

ROOT = Path(__file__).parents[2]
JOBS = 2


def campaign() -> None:
    """Run the campaign in m.jsonl; a line on standard output says that it begins."""
    asked = Asked(read_manifest(Path("m.jsonl")))
    run_campaign(asked, local_engine(asked, brief, JOBS), lambda now: print(now.done, flush=True))


def started() -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.campaigns.test_killed"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished() -> list[str]:
    return [result.name for result, _ in results_in([Path("m.results.jsonl")])] if Path("m.results.jsonl").exists() else []


def kill_and_continue(cases: int, moments: Sequence[tuple[bool, float]]) -> None:
    """Kill a campaign each time so many seconds after it began, or after its first result; let it end, and look at all."""
    planned(Path("m.jsonl"), [Case(f"m:{k}") for k in range(cases)])
    kept: bytes = b""
    for begun, moment in moments:
        process = started()
        assert process.stdout is not None
        process.stdout.readline()
        if not begun:
            process.stdout.readline()
        time.sleep(moment)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        children_end(process)
        now = Path("m.results.jsonl").read_bytes()
        assert now.startswith(kept), "a result that was there is gone"
        kept = now
        torn = ", the last line torn" if now and not now.endswith(b"\n") else ""
        since = "beginning" if begun else "first result"
        print(f"killed {moment:.3f} s after its {since}: {len(finished())}/{cases} done{torn}")
    process = started()
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert Path("m.results.jsonl").read_bytes().startswith(kept)
    lines = Path("m.results.jsonl").read_bytes().count(b'{"case"')
    assert sorted(finished()) == sorted(f"m:{k}" for k in range(cases))
    assert lines - cases <= len(moments), "only a line that a kill cut off is written again"
    begins = Counter(Path("begun.txt").read_text(encoding="utf-8").split())
    again = sum(begins.values()) - cases
    print(f"{cases}/{cases} done after {len(moments)} kills; {again} cases that a kill interrupted ran again")
    assert again <= 2 * JOBS * len(moments), "a case that was finished runs no second time"


def children_end(process: subprocess.Popen[str]) -> None:
    """Wait until no process that the killed one started holds its output open."""
    assert process.stdout is not None
    process.communicate()
    assert gone(process.pid)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


WRITER = """
import sys
from pathlib import Path
from gradcheck_lab.campaigns.cases import Case, Finished
from gradcheck_lab.campaigns.results import ResultsFile, line_of
with ResultsFile(Path("m.results.jsonl")) as file:
    for k in range(int(sys.argv[1]), 10**6):
        file.add(line_of(Finished(Case(f"m:{k}"), None, "x" * 20_000, 0.0)))
        print(k, flush=True)
"""


def test_process_that_writes_results_is_killed_and_what_it_said_is_there() -> None:
    # three kills of what writes alone, which starts in a moment; whole campaigns are killed in the thorough lane
    drawn, said, kept = random.Random(seed_of(0)), list[str](), b""
    for _ in range(3):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", WRITER, str(len(said))]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said.append(process.stdout.readline().strip())
            time.sleep(drawn.uniform(0.0, 0.05))
            process.kill()
            said += process.stdout.read().split()
        now = Path("m.results.jsonl").read_bytes()
        assert now.startswith(kept), "a result that was there is gone"
        kept = now
        written = finished()
        assert written[: len(said)] == [f"m:{k}" for k in said]
        assert len(written) - len(said) in (0, 1), "at most one is there of which it could not say so"
        said = [name.removeprefix("m:") for name in written]


@pytest.mark.thorough
def test_campaign_that_is_killed_at_twenty_random_moments_loses_nothing() -> None:
    drawn = random.Random(seed_of(1))
    kill_and_continue(1500, [(k % 5 == 0, drawn.uniform(0.0, 1.0)) for k in range(20)])


if __name__ == "__main__":
    campaign()
