"""What ends, holds up or fills its process is a finding of that candidate; nothing that it started outlives the judge."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gradcheck_lab as gl
from tests.judging.written import candidate_in, task_in

DEEDS = {
    "raises": ("raise ValueError('no')", "raises"),
    "segfault": ("import ctypes; ctypes.string_at(0)", "crashed"),
    "abort": ("import os; os.abort()", "crashed"),
    "exit": ("import sys; print('pass'); sys.exit(0)", "crashed"),
    "quick exit": ("import os; os._exit(0)", "crashed"),
    "hang": ("while True: pass", "timed-out"),
    "memory": ("import torch; hold.append(torch.ones(300_000_000))", "memory-exceeded"),
    "kills its starter": ("import os, time; os.kill(os.getppid(), 9); time.sleep(60)", "crashed"),
    "refuses": ("raise NotImplementedError", "raises"),
}


@pytest.mark.parametrize("when", ["imported", "called"])
@pytest.mark.parametrize("deed", DEEDS)
def test_a_deed_is_a_finding(tmp_path: Path, deed: str, when: str) -> None:
    code, cause = DEEDS[deed]
    indent, head = ("", "") if when == "imported" else ("    ", "def candidate(x, weight, eps):\n")
    path = candidate_in(tmp_path, f"hold = []\n{head}{indent}{code}\n{indent or 'def candidate(*a): '}return x\n")
    report = gl.judge(task_in(tmp_path), path, examples=1, timeout=3 if cause == "timed-out" else 60, memory=1)
    assert report.verdict == "fail"
    assert cause in {finding.cause for finding in report.findings}


def test_memory_that_is_only_reserved_does_not_count(tmp_path: Path) -> None:
    path = candidate_in(
        tmp_path,
        "import mmap\nreserved = mmap.mmap(-1, 8 << 30)\n"
        "def candidate(x, weight, eps):\n    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight\n",
    )
    assert gl.judge(task_in(tmp_path), path, examples=1, memory=2).verdict == "pass"


STAYS = """
import os, subprocess, time
started = subprocess.Popen(["sleep", "300"], start_new_session=True)
with open({path!r}, "w") as file:
    file.write(f"{{os.getpid()}} {{started.pid}}\\n")

def candidate(x, weight, eps):
    while True:
        pass
"""


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def all_ended(pids: list[int]) -> bool:
    deadline = time.monotonic() + 30
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(is_running, pids))


@pytest.mark.skipif(sys.platform != "linux", reason="processes are listed in /proc")
@pytest.mark.parametrize("wrap", [(), pytest.param(("--command", "nice {}"), marks=pytest.mark.thorough)])
def test_nothing_outlives_a_judge_that_is_killed(tmp_path: Path, wrap: tuple[str, ...]) -> None:
    noted = tmp_path / "pids"
    task = task_in(tmp_path, task_without_forbidden())
    answer = candidate_in(tmp_path, STAYS.format(path=str(noted)))
    judge = subprocess.Popen([sys.executable, "-m", "gradcheck_lab", "judge", str(task), str(answer), *wrap])
    while not noted.exists() or not noted.read_text().endswith("\n"):
        assert judge.poll() is None
        time.sleep(0.05)
    pids = [int(each) for each in noted.read_text().split()]
    assert all(map(is_running, pids))
    os.kill(judge.pid, signal.SIGKILL)
    judge.wait()
    assert all_ended(pids)


@pytest.mark.parametrize("command", [None, "nice {}"])
def test_nothing_outlives_a_verdict(tmp_path: Path, command: str | None) -> None:
    noted = tmp_path / "pids"
    answer = candidate_in(tmp_path, STAYS.format(path=str(noted)))
    report = gl.judge(task_in(tmp_path, task_without_forbidden()), answer, timeout=1, command=command)
    assert [finding.cause for finding in report.findings] == ["timed-out"]
    assert report.findings[0].message.startswith("a call ")  # importing torch is no part of it
    assert all_ended([int(each) for each in noted.read_text().split()])


LEAVES = """
import os
os.setpgid(0, os.getpgid(os.getppid()))
with open({path!r}, "w") as file:
    file.write(str(os.getpid()))

def candidate(x, weight, eps):
    while True:
        pass
"""


def test_a_candidate_that_leaves_its_group_ends_with_the_verdict(tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    answer = candidate_in(tmp_path, LEAVES.format(path=str(noted)))
    assert gl.judge(task_in(tmp_path, task_without_forbidden()), answer, timeout=1).verdict == "fail"
    assert all_ended([int(noted.read_text())])


CLOSES = """
import os
def candidate(x, weight, eps):
    os.closerange(3, 300)
    while True:
        pass
"""


@pytest.mark.parametrize("command", [None, pytest.param("nice {}", marks=pytest.mark.thorough)])
def test_a_candidate_that_closes_its_files_and_goes_on_is_late(tmp_path: Path, command: str | None) -> None:
    task = task_in(tmp_path, task_without_forbidden())
    report = gl.judge(task, candidate_in(tmp_path, CLOSES), timeout=1, command=command)
    assert [finding.cause for finding in report.findings] == ["timed-out"]


def task_without_forbidden() -> str:
    return "from gradcheck_lab.specs import real\nspecs = (real('n d'), real('d'))\noptions = {'eps': 1e-5}\n" + (
        "def reference(x, weight, eps):\n    return x * (x.square().mean(-1, keepdim=True) + eps).rsqrt() * weight\n"
    )
