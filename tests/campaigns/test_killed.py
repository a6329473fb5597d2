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


def kill_and_continue(cases: int, moments: Sequence[float]) -> None:
    """Kill a campaign so many seconds after its first look at what is done, each time; then let it end, and look at all."""
    planned(Path("m.jsonl"), [Case(f"m:{k}") for k in range(cases)])
    kept: bytes = b""
    for moment in moments:
        process = started()
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moment)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        children_end(process)
        now = Path("m.results.jsonl").read_bytes()
        assert now.startswith(kept), "a result that was there is gone"
        kept = now
        torn = ", the last line torn" if now and not now.endswith(b"\n") else ""
        print(f"killed after {moment:.3f} s: {len(finished())}/{cases} done{torn}")
    process = started()
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert Path("m.results.jsonl").read_bytes().startswith(kept)
    lines = Path("m.results.jsonl").read_bytes().count(b'{"case"')
    assert sorted(finished()) == sorted(f"m:{k}" for k in range(cases))
    assert lines - cases <= len(moments), "only a line that a kill cut off is written again"
    begun = Counter(Path("begun.txt").read_text(encoding="utf-8").split())
    again = sum(begun.values()) - cases
    print(f"{cases}/{cases} done after {len(moments)} kills; {again} cases that a kill interrupted ran again")
    assert again <= 2 * JOBS * len(moments), "a case that was finished runs no second time"


def children_end(process: subprocess.Popen[str]) -> None:
    """Wait until no process that the killed one started holds its output open."""
    assert process.stdout is not None
    process.stdout.read()
    assert gone(process.pid)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_campaign_that_is_killed_once_is_continued() -> None:
    # the only test of this lane in which a real process is killed: it starts two
    kill_and_continue(30, [random.Random(seed_of(0)).uniform(0.0, 1.0)])


@pytest.mark.thorough
def test_campaign_that_is_killed_at_twenty_random_moments_loses_nothing() -> None:
    moments = random.Random(seed_of(1))
    kill_and_continue(600, [moments.uniform(0.0, 1.0) for _ in range(20)])


if __name__ == "__main__":
    campaign()
