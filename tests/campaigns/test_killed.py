"""A campaign that is killed with -9 at any moment is continued by the same command, and loses nothing that was finished."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pytest

from gradcheck_lab.campaigns.cases import Case
from gradcheck_lab.campaigns.manifest import read_manifest
from gradcheck_lab.campaigns.results import results_in
from gradcheck_lab.campaigns.running import Asked, local_engine, run_campaign
from gradcheck_lab.workers import starting
from tests.campaigns.checks import brief, planned
from tests.lanes import seed_of
from tests.workers.test_pool import gone

ROOT = Path(__file__).parents[2]
JOBS = 2
WAIT = 2  # campaigns that are ready to begin while one runs
END = "ended"


def campaign(name: str, launcher: int) -> None:
    """Run the campaign in m.jsonl once there is a file `name.go`; until then the server of its workers imports what they need.

    The first line of `name.out` says which process it is, each other how many cases are done.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, end in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{name}.{end}", os.O_WRONLY), descriptor)
    starting._PRELOADED = ("gradcheck_lab.campaigns.lanes",)  # the checks of this campaign need no more
    starting.start_server()
    print(os.getpid(), flush=True)
    while not Path(f"{name}.go").exists():
        if os.getppid() != launcher:
            os._exit(1)
        time.sleep(0.002)
    asked = Asked(read_manifest(Path("m.jsonl")))
    run_campaign(asked, local_engine(asked, brief, JOBS), lambda now: print(now.done, flush=True))
    print(END)


def launch() -> None:
    """Fork a process that runs the campaign for each name on standard input, so that none has to import this package first."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    launcher = os.getpid()
    print("ready", flush=True)
    for line in sys.stdin:
        if not os.fork():
            campaign(line.strip(), launcher)
            return


@dataclass(frozen=True)
class Campaign:
    """A process that runs the campaign, once it is told to."""

    name: str
    pid: int
    output: TextIO

    def begin(self) -> None:
        Path(f"{self.name}.go").touch()
        assert self.output.readline(), self.errors

    def kill(self) -> None:
        """Kill it with -9, and wait until no process that it started holds its output open."""
        os.kill(self.pid, signal.SIGKILL)
        self.rest()
        assert gone(self.pid)

    def rest(self) -> str:
        """What else it says until it and all that it started have ended."""
        with self.output:
            return self.output.read()

    @property
    def errors(self) -> str:
        return Path(f"{self.name}.err").read_text(encoding="utf-8")


@contextmanager
def launched(count: int) -> Iterator[Iterator[Campaign]]:
    """So many processes for the campaign, of which a few wait while one runs."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.campaigns.test_killed"]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdin is not None
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == "ready\n"

        def started(name: str) -> Campaign:
            os.mkfifo(f"{name}.out")
            Path(f"{name}.err").touch()
            print(name, file=launcher.stdin, flush=True)
            output = Path(f"{name}.out").open(encoding="utf-8")  # noqa: SIM115 - it stays open until the process has ended
            return Campaign(name, int(output.readline()), output)

        def each() -> Iterator[Campaign]:
            standing = deque[Campaign]()
            for k in range(count):
                standing.append(started(str(k)))
                if len(standing) > WAIT:
                    yield standing.popleft()
            yield from standing

        yield each()
        launcher.stdin.close()


def finished() -> list[str]:
    return [result.name for result, _ in results_in([Path("m.results.jsonl")])] if Path("m.results.jsonl").exists() else []


def kill_and_continue(cases: int, moments: Sequence[tuple[bool, float]]) -> None:
    """Kill a campaign each time so many seconds after it began, or after its first result; let it end, and look at all."""
    planned(Path("m.jsonl"), [Case(f"m:{k}") for k in range(cases)])
    kept: bytes = b""
    with launched(len(moments) + 1) as campaigns:
        for (begun, moment), running in zip(moments, campaigns):  # noqa: B905 - one more campaign is let to its end
            running.begin()
            if not begun:
                running.output.readline()
            time.sleep(moment)
            running.kill()
            now = Path("m.results.jsonl").read_bytes()
            assert now.startswith(kept), "a result that was there is gone"
            kept = now
            torn = ", the last line torn" if now and not now.endswith(b"\n") else ""
            since = "beginning" if begun else "first result"
            print(f"killed {moment:.3f} s after its {since}: {len(finished())}/{cases} done{torn}", flush=True)
        last = next(campaigns)
        last.begin()
        assert last.rest().endswith(f"{END}\n"), last.errors
    assert Path("m.results.jsonl").read_bytes().startswith(kept)
    lines = Path("m.results.jsonl").read_bytes().count(b'{"case"')
    assert sorted(finished()) == sorted(f"m:{k}" for k in range(cases))
    assert lines - cases <= len(moments), "only a line that a kill cut off is written again"
    begins = Counter(Path("begun.txt").read_text(encoding="utf-8").split())
    again = sum(begins.values()) - cases
    print(f"{cases}/{cases} done after {len(moments)} kills; {again} cases that a kill interrupted ran again")
    assert again <= 2 * JOBS * len(moments), "a case that was finished runs no second time"


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
    launch()
