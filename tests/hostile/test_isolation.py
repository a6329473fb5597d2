"""A check in a process of its own survives what its subject does, names the call, and keeps what was known before."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab.specs import real
from tests.hostile.subjects import X, op, square, twice
from tests.workers.calls import Acts, own
from tests.workers.test_pool import gone

ROOT = Path(__file__).parents[2]
MIB = 2**20
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="lambdas are checked apart by fork, memory by Linux's limits")
KEPT: list[Tensor] = []


def acts(act: Callable[[], object], after: int = 0) -> gl.Op:
    """A right op that does something else in its backward, from a later call on."""
    left = [after]

    def rule(g: Tensor, x: Tensor) -> Tensor:
        left[0] -= 1
        if left[0] < 0:
            act()
        return 2 * g * x

    return op(rule)


def leak() -> None:
    KEPT.append(torch.ones(12 * MIB))  # so much that no memory which this process has free already is taken for it


ENDINGS: dict[str, tuple[Callable[[], object], dict[str, Any], str, str]] = {
    "aborts": (os.abort, {"isolate": True}, "crashed", "ended its process by signal 6 (SIGABRT)"),
    "reads-null": (lambda: ctypes.string_at(0), {"isolate": True}, "crashed", "ended its process by signal 11 (SIGSEGV)"),
    "leaves": (lambda: os._exit(0), {"isolate": True}, "crashed", "ended its process with exit code 0"),
    "is-killed": (lambda: os.kill(os.getpid(), 9), {"isolate": True}, "crashed", "ended its process by signal 9 (SIGKILL)"),
    "sleeps": (lambda: time.sleep(600), {"timeout": 1}, "timed-out", "took longer than 1 seconds"),
    "holds-the-lock": (lambda: ctypes.PyDLL(None).sleep(600), {"timeout": 1}, "timed-out", "took longer than 1 seconds"),
    "locks-twice": (lambda: [lock := threading.Lock(), lock.acquire(), lock.acquire()], {"timeout": 1}, "timed-out",
                    "took longer than 1 seconds"),
    "takes-all": (lambda: torch.empty(2**40), {"memory_limit": 64 * MIB}, "memory-exceeded", "took more than 64 MiB of memory"),
    "takes-bytes": (lambda: bytearray(2**40), {"memory_limit": 64 * MIB}, "memory-exceeded", "took more than 64 MiB of memory"),
    "takes-too-much-without-a-limit": (lambda: torch.empty(2**60), {"isolate": True}, "memory-exceeded", "ran out of memory"),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDINGS)
def test_ending_is_a_finding_that_names_the_call(name: str) -> None:
    act, arguments, cause, words = ENDINGS[name]
    report = gl.check(acts(act), X, **arguments)
    assert (report.verdict, [finding.cause for finding in report.findings]) == ("fail", [cause])
    assert report.findings[0].message == f"the backward of the call as given, on float64[4, 3], {words}"
    assert gl.Report.from_dict(report.to_dict()) == report


LATER = ["aborts", "takes-all"]


@pytest.mark.parametrize("name", LATER)
def test_what_was_known_before_a_later_call_is_kept(name: str) -> None:
    act, arguments, cause, words = ENDINGS[name]
    report = gl.check(acts(act, after=2), X, **arguments)
    assert (report.verdict, report.findings[0].cause) == ("fail", cause)
    assert report.findings[0].message.startswith("the backward of a call that the probe ")
    assert report.findings[0].message.endswith(words)
    assert [gradient.verdict for gradient in report.gradients] == ["pass"]


def test_what_grows_from_call_to_call_is_found_by_its_memory() -> None:
    report = gl.check(acts(leak), X, memory_limit=400 * MIB)
    assert (report.verdict, report.findings[0].cause) == ("fail", "memory-exceeded")
    assert KEPT == []


@pytest.mark.parametrize(
    "subject", [op(), lambda x: torch.sin(x), torch.nn.Linear(3, 2).double()], ids=["op", "lambda", "module"]
)
def test_a_check_apart_says_what_a_check_here_says(subject: Any) -> None:
    apart, here = (gl.check(subject, X, probes=("state",), isolate=isolate) for isolate in (True, False))
    assert {**apart.to_dict(), "seconds": 0} == {**here.to_dict(), "seconds": 0}


def test_refusals_and_interrupts_come_back() -> None:
    with pytest.raises(gl.InvalidArgument, match="nothing to compare"):
        gl.check(op(), X.long(), isolate=True)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gl.check(acts(interrupt), X, isolate=True)


def test_nothing_that_the_subject_sends_is_executed(tmp_path: Path) -> None:
    report = gl.check(acts(lambda: own("Line").connection.send(Acts(tmp_path / "made")), after=2), X, isolate=True)
    assert (report.verdict, report.findings[0].cause) == ("fail", "crashed")
    assert report.findings[0].message.endswith(" sent what is no result: bytes that are no message")
    assert report.findings[0].explanation == "a call may raise an exception, but not write where its process sends results"
    assert report.findings[0].suggestion == "leave alone the pipes that the process had before the call"
    assert [gradient.verdict for gradient in report.gradients] == ["pass"]
    assert os.listdir(tmp_path) == []


def test_fuzz_apart_names_the_drawn_call() -> None:
    report = gl.fuzz(acts(os.abort, after=3), real("n d"), max_examples=20, isolate=True)
    assert (report.verdict, [finding.cause for finding in report.findings]) == ("fail", ["crashed"])
    assert report.findings[0].message.startswith("the call on x: float")
    assert report.failing_case is not None
    sound = gl.fuzz(op(), real("n d"), max_examples=5, timeout=60)
    assert (sound.verdict, sound.examples) == ("pass", 5)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "isolate": ({"isolate": 1}, "isolate is 1; pass True or False"),
    "timeout-zero": ({"timeout": 0}, "timeout is 0; pass a number of seconds above 0"),
    "timeout-nan": ({"timeout": float("nan")}, "timeout is nan; pass a number of seconds above 0"),
    "timeout-text": ({"timeout": "1"}, "timeout is '1'; pass a number of seconds above 0"),
    "memory": ({"memory_limit": 1.5}, "memory_limit is 1.5; pass a whole number of bytes above 0"),
    "both": (
        {"timeout": 1, "isolate": False},
        "timeout and memory_limit are for a process of its own; leave isolate=False out",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_limits_are_refused(name: str) -> None:
    arguments, message = BAD[name]
    with pytest.raises(gl.InvalidArgument) as refused:
        gl.check(op(), X, **arguments)
    assert str(refused.value) == message


def test_checks_apart_run_in_threads_at_once() -> None:
    reports: list[gl.Report] = []
    threads = [threading.Thread(target=lambda: reports.append(gl.check(acts(os.abort), X, isolate=True))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.findings[0].cause for report in reports] == ["crashed"] * 4


def test_a_process_that_the_subject_forks_ends_with_the_call() -> None:
    """Here too: it would go on as a second check, and as a second test run."""
    own, pids = os.getpid(), []

    def fork() -> None:
        pid = os.fork()
        if pid:
            pids.append(pid)

    assert gl.check(acts(fork), X, probes=()).verdict == "pass"
    assert os.getpid() == own
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * len(pids)
    assert pids


ORPHAN = """
import os, sys, time
import torch
import gradcheck_lab as gl

def rule(g, y, x):
    child = os.fork()  # by the worker, which the process that is killed started
    open(os.path.join(sys.argv[1], str(os.getpid())), "w").close()
    time.sleep(600)

gl.check(gl.Op(lambda x: x * x, rule), torch.ones(3), isolate=True)
"""


def test_no_worker_and_no_process_of_its_subject_outlives_a_killed_parent(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ORPHAN, str(tmp_path)], cwd=ROOT)
    until = time.monotonic() + 120
    while len(os.listdir(tmp_path)) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert len(pids) == 2
    until = time.monotonic() + 60
    while not all(map(gone, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    assert all(map(gone, pids))


def test_the_rule_is_right() -> None:
    assert gl.check(op(twice, square), X, probes=()).verdict == "pass"
