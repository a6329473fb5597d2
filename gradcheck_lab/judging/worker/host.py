"""A process that answers requests, and the one that forks such processes and ends them."""

from __future__ import annotations

import array
import ctypes
import gc
import os
import select
import signal
import socket
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from gradcheck_lab.judging.worker.calls import Calls
from gradcheck_lab.judging.worker.messages import pack, read, unpack, write


def answer(state: list[Calls], request: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked, and say how it went."""
    again, later = [], []
    if state and request["again"]:
        again = state[0].read_again(request["again"])
        if request["wait"]:
            time.sleep(request["wait"])
            later = state[0].read_again(request["again"])
        state[0].forget(request["again"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if request["do"] == "load":
                state.append(Calls(request["forbidden"]))
                state[0].load(request["path"])
                done: dict[str, Any] = {"form": state[0].form, "signatures": state[0].signatures, "node": state[0].node}
            elif request["do"] == "call":
                done = state[0].call(request)
            elif request["do"] == "gradients":
                done = state[0].gradients(request)
            else:
                done = {}
        reply: dict[str, Any] = {"ok": True, **done}
    except BaseException as error:
        if isinstance(error, SystemExit):
            raise
        frames = "".join(traceback.format_exception(error))
        reply = {"ok": False, "exception": type(error).__name__, "message": str(error), "traceback": frames}
    reply["again"], reply["later"] = again, later
    reply["called"] = sorted(set(state[0].called)) if state else []
    reply["started"] = list(state[0].started) if state else []
    return reply


def work(source: int, to: int) -> None:
    """Answer requests until there are no more."""
    torch.set_num_threads(1)
    state: list[Calls] = []
    while True:
        data = read(source)
        if data is None:
            os._exit(0)
        write(to, pack(answer(state, unpack(data))))


def poison_memory() -> None:
    """Let memory that is handed out hold huge numbers, or NaN in half precision, wherever the system's allocator can."""
    try:
        ctypes.CDLL(None).mallopt(-6, 0x80)  # M_PERTURB of mallopt(3)
    except (OSError, AttributeError):
        return


def alone() -> None:
    """Serve on the standard streams, which the code that runs does not get."""
    source, to = os.dup(0), os.dup(1)
    _quiet()
    poison_memory()
    work(source, to)


def host(channel: int) -> None:
    """Leave the process that started this one, and fork a process for each pair of descriptors that arrives.

    When the other end of the channel is closed, every process that was started here is killed, and this one ends.
    """
    if os.fork():
        os._exit(0)
    os.setsid()
    _adopt_orphans()
    _quiet()
    poison_memory()
    connection = socket.socket(fileno=channel)
    running: dict[int, bool] = {}
    gc.collect()
    gc.freeze()
    write(channel, b"ready")
    while True:
        if select.select([connection], [], [], 0.02)[0]:
            data, received, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(2 * array.array("i").itemsize))
            if not data:
                _end_all()
            descriptors = array.array("i")
            descriptors.frombytes(received[0][2])
            source, to = descriptors
            pid = os.fork()
            if not pid:
                connection.close()
                os.setpgid(0, 0)
                ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with this process
                work(source, to)
            os.close(source)
            os.close(to)
            running[pid] = True
            write(channel, f"started {pid}".encode())
        for pid, code in _ended():
            if running.pop(pid, None):
                _kill([-pid])
                write(channel, f"ended {pid} {code}".encode())
        _kill([pid for pid in _children() if pid not in running])


def _end_all() -> None:
    """Kill everything that was started here, orphans too, which become children of this process, and end."""
    while True:
        _kill(_children())
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            os._exit(0)


def _ended() -> Iterator[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(each) for each in file.read().split()]
    except OSError:
        return []


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            if pid > 0:
                os.kill(pid, signal.SIGKILL)
            else:
                os.killpg(-pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def _adopt_orphans() -> None:
    """Become the parent of what the processes started here leave behind: prctl(2), PR_SET_CHILD_SUBREAPER."""
    try:
        ctypes.CDLL(None).prctl(36, 1)
    except (OSError, AttributeError):
        return


def _quiet() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
