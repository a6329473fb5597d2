"""What a process starts: found while it runs, and ended with it. It comes first in the program, and needs no torch."""

from __future__ import annotations

import ctypes
import os
import select
import signal
from collections.abc import Iterable, Iterator


def supervise(watched: bool) -> None:
    """Return in a child, and stay above it: what it started ends with it, and all of it when the standard input is closed.

    This process ends as the child did. Where it is `watched`, it may not start another interpreter that has loaded torch.
    """
    adopt_orphans()
    child = os.fork()
    if not child:
        end_with_parent()
        return
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    own, closed = loaded_at("self"), select.poll()
    closed.register(0, 0)  # that nobody has the other end of the pipe open is always told
    while not closed.poll(20):
        for pid, code in ended():
            if pid == child:
                end_all(code)
        kill(pid for pid in children_of("self") if pid != child)
        if watched and interpreters_below(child, own):
            kill([child])
    end_all(0)


def end_all(code: int) -> None:
    """Kill everything that was started here, orphans too, which become children of this process, and end as `code` says."""
    while True:
        kill(children_of("self"))
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            if code < 0:
                os.kill(os.getpid(), -code)
            os._exit(code if code >= 0 else 128 - code)


def ended() -> Iterator[tuple[int, int]]:
    """The children that have ended, with their exit codes, negative for a signal."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def children_of(pid: int | str) -> list[int]:
    """The children of a process, whichever of its threads started them; none where the system does not say."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += [int(each) for each in file.read().split()]
    except OSError:
        return found
    return found


def interpreters_below(pid: int, own: tuple[str, ...]) -> list[int]:
    """The processes below one that have loaded torch, and loaded it anew: those that were only forked lie where `own` lies."""
    found, waiting = [], children_of(pid)
    while waiting:
        each = waiting.pop()
        waiting += children_of(each)
        try:
            if loaded_at(each) != own:
                with open(f"/proc/{each}/maps") as file:
                    found += [each] if "libtorch" in file.read() else []
        except (OSError, IndexError):
            continue
    return found


def loaded_at(pid: int | str) -> tuple[str, ...]:
    """Where the program and the stack of a process begin, which a fork keeps and no other program has: proc(5)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return ()
    return fields[23], fields[25]


def kill(pids: Iterable[int]) -> None:
    """Kill processes, and groups of them, which are negative."""
    for pid in pids:
        try:
            if pid > 0:
                os.kill(pid, signal.SIGKILL)
            else:
                os.killpg(-pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def adopt_orphans() -> None:
    """Become the parent of what the processes started here leave behind: prctl(2), PR_SET_CHILD_SUBREAPER."""
    _prctl(36, 1)


def end_with_parent() -> None:
    """Be killed when the process that forked this one ends: prctl(2), PR_SET_PDEATHSIG."""
    _prctl(1, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    try:
        ctypes.CDLL(None).prctl(option, value)
    except (OSError, AttributeError):
        return


def quiet() -> None:
    """Give what runs here nothing to read, and nobody to write to."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
