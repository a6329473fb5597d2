"""Calls in worker processes: each has the outcome that is its own, and no worker outlives its parent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradcheck_lab.workers.outcome import Died, Exited, Outcome, Raised, Returned, TimedOut
from gradcheck_lab.workers.pool import Call, Workers
from gradcheck_lab.workers.progress import SharedProgress
from tests.workers import calls

ROOT = Path(__file__).parents[2]


def outcomes(workers: Workers) -> dict[int, Outcome]:
    found: dict[int, Outcome] = {}
    while workers.pending:
        found |= workers.finished(within=0.1)
    return found


def gone(pid: int) -> bool:
    """Whether a process has ended, or is a zombie that nobody has asked after."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return True


ENDINGS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], Outcome, str]] = {
    "abort": (os.abort, (), Died(-6), "ended its process by signal 6 (SIGABRT)"),
    "exit 3": (os._exit, (3,), Died(3), "ended its process with exit code 3"),
    "exit 0": (os._exit, (0,), Died(0), "ended its process with exit code 0"),
    "segmentation fault": (calls.segfault, (), Died(-11), "ended its process by signal 11 (SIGSEGV)"),
    "SystemExit": (sys.exit, ("bye",), Exited("'bye'"), "raised SystemExit('bye'), which ends a process"),
}


def test_each_call_has_its_own_ending_and_the_others_their_results() -> None:
    with Workers(2, calls.nothing) as workers:
        for key, (function, arguments, _, _) in enumerate(ENDINGS.values()):
            workers.submit(Call(2 * key, abs, (-key,)))
            workers.submit(Call(2 * key + 1, function, arguments))
        found = outcomes(workers)
    for key, (_, _, expected, words) in enumerate(ENDINGS.values()):
        assert found[2 * key] == Returned(key)
        assert found[2 * key + 1] == expected
        assert str(found[2 * key + 1]) == words


def test_call_that_takes_too_long_times_out_alone() -> None:
    with Workers(1, calls.nothing) as workers:
        workers.submit(Call(0, time.sleep, (60,), timeout=0.2))
        workers.submit(Call(1, abs, (-1,), timeout=60))
        assert outcomes(workers) == {0: TimedOut(0.2), 1: Returned(1)}


def test_what_cannot_be_sent_is_told_in_words() -> None:
    with Workers(1, calls.nothing) as workers:
        workers.submit(Call(0, calls.raise_unpicklable))
        workers.submit(Call(1, calls.unpicklable_result))
        workers.submit(Call(2, abs, (-2,)))
        found = outcomes(workers)
    assert isinstance(found[0], Raised)
    assert (found[0].kind, found[0].message) == ("Unpicklable", "no")
    assert isinstance(found[1], Raised)
    assert found[2] == Returned(2)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (calls.return_what_acts, "raised TypeError: Object of type Acts is not JSON serializable"),
        (calls.raise_what_acts, "raised ActsAsError: {folder}"),
        (calls.send_what_acts, "sent what is no result: a pickle that names posix.mkdir"),
    ],
    ids=["returned", "raised", "sent"],
)
def test_nothing_of_what_a_worker_sends_is_executed(function: Callable[..., Any], expected: str, tmp_path: Path) -> None:
    with Workers(1, calls.nothing) as workers:
        workers.submit(Call(0, function, (tmp_path / "made",)))
        workers.submit(Call(1, abs, (-1,)))
        found = outcomes(workers)
    assert str(found[0]) == expected.format(folder=tmp_path / "made")
    assert found[1] == Returned(1)
    assert os.listdir(tmp_path) == []


def test_what_a_worker_sends_between_two_calls_ends_it_and_the_next_call_is_made(tmp_path: Path) -> None:
    with Workers(1, calls.nothing) as workers:
        workers.submit(Call(0, calls.send_what_acts_once, (tmp_path / "now", tmp_path / "made")))
        assert outcomes(workers) == {0: Returned(None)}
        (tmp_path / "now").touch()
        pool, until = workers._slots[0].pool, time.monotonic() + 60
        while pool is not None and pool.active and time.monotonic() < until:
            time.sleep(0.05)
        workers.submit(Call(1, abs, (-1,)))
        assert outcomes(workers) == {1: Returned(1)}
    assert os.listdir(tmp_path) == ["now"]


def test_recycled_workers_are_new_processes() -> None:
    with Workers(1, calls.nothing, calls_per_process=1) as workers:
        for key in range(2):
            workers.submit(Call(key, os.getpid))
        first, second = outcomes(workers).values()
    assert isinstance(first, Returned)
    assert isinstance(second, Returned)
    assert len({first.value, second.value, os.getpid()}) == 3


def test_calls_of_two_groups_are_never_made_by_one_process() -> None:
    groups = ["a", "a", "b", "b", "a", "b"]
    with Workers(2, calls.nothing) as workers:
        for key, group in enumerate(groups):
            workers.submit(Call(key, os.getpid, group=group))
        found = outcomes(workers)
    made: dict[int, set[str]] = {}
    for key, group in enumerate(groups):
        outcome = found[key]
        assert isinstance(outcome, Returned)
        made.setdefault(outcome.value, set()).add(group)
    assert all(len(groups) == 1 for groups in made.values())
    assert len(made) < len(groups), "a process makes several calls of its group"
    assert all(map(gone, made))


def test_withdrawn_calls_are_not_made() -> None:
    with Workers(1, calls.nothing) as workers:
        for key in range(3):
            workers.submit(Call(key, abs, (key,)))
        workers.withdraw()
        assert outcomes(workers) == {}
        workers.submit(Call(3, abs, (3,)))
        assert outcomes(workers) == {3: Returned(3)}


def test_board_is_readable_after_its_writer_died() -> None:
    board = SharedProgress(2, numbers=2)
    with Workers(1, calls.keep, (board,)) as workers:
        workers.submit(Call(0, calls.write_then_abort, (1,)))
        assert outcomes(workers) == {0: Died(-6)}
    assert (board.counts(0), board.text(0)) == ((0, 0), "")
    assert (board.counts(1), board.text(1)) == ((7, 8), "here")


def test_text_that_is_too_long_for_the_board_leaves_none() -> None:
    board = SharedProgress(1, numbers=1)
    assert board.write(0, "short")
    assert not board.write(0, "é" * 10_000)
    assert board.text(0) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    ("prepare", "sleep"),
    [("nothing", "say_pid_and_hold"), ("without_signal", "say_pid_and_sleep")],
    ids=["by the kernel, with the interpreter's lock held", "by a thread"],
)
def test_workers_end_when_their_parent_is_killed(prepare: str, sleep: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.workers.calls", prepare, sleep, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == -9, done.stderr
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert len(pids) == 2
    until = time.monotonic() + 10
    while not all(map(gone, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    assert all(map(gone, pids))
