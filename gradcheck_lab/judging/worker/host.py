"""A process that answers requests, and the one that forks such processes and ends them."""

from __future__ import annotations

import array
import ctypes
import gc
import os
import select
import socket
import time
import traceback
import warnings
from typing import Any

import torch

from gradcheck_lab.judging.worker.calls import Calls
from gradcheck_lab.judging.worker.descendants import (
    adopt_orphans,
    children_of,
    end_all,
    end_with_parent,
    ended,
    interpreters_below,
    kill,
    loaded_at,
    quiet,
)
from gradcheck_lab.judging.worker.messages import LENGTH, pack, read, unpack, write


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
    """Serve on the standard streams, which the code that runs does not get, and say when that begins."""
    source, to = os.dup(0), os.dup(1)
    quiet()
    poison_memory()
    write(to, b"ready")
    work(source, to)


def host(channel: int) -> None:
    """Leave the process that started this one, and fork a process for each pair of descriptors that arrives.

    A process is killed on request, with its group, and so is what it leaves behind. One that is watched ends where it has
    started another interpreter that loaded torch. When the other end of the channel is closed, every process that was started
    here is killed, and this one ends.
    """
    if os.fork():
        os._exit(0)
    os.setsid()
    adopt_orphans()
    quiet()
    poison_memory()
    connection = socket.socket(fileno=channel)
    running: dict[int, bool] = {}
    own = loaded_at("self")
    gc.collect()
    gc.freeze()
    write(channel, b"ready")
    while True:
        if select.select([connection], [], [], 0.02)[0]:
            kind, received, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(2 * array.array("i").itemsize))
            if not kind:
                end_all(0)
            if kind == b"k":
                pid = LENGTH.unpack(connection.recv(LENGTH.size, socket.MSG_WAITALL))[0]
                kill([-pid, pid] if pid in running else [])
            else:
                pid = _forked(connection, received[0][2])
                running[pid] = kind == b"w"
                write(channel, f"started {pid}".encode())
        for pid, code in ended():
            if running.pop(pid, None) is not None:
                kill([-pid])
                write(channel, f"ended {pid} {code}".encode())
        for pid in [pid for pid, watched in running.items() if watched and interpreters_below(pid, own)]:
            write(channel, f"interpreter {pid} 0".encode())
            kill([-pid, pid])
        kill(pid for pid in children_of("self") if pid not in running)


def _forked(connection: socket.socket, received: bytes) -> int:
    """The number of a new process that works on a pair of descriptors."""
    descriptors = array.array("i")
    descriptors.frombytes(received)
    source, to = descriptors
    pid = os.fork()
    if not pid:
        connection.close()
        os.setpgid(0, 0)
        end_with_parent()
        work(source, to)
    os.close(source)
    os.close(to)
    return pid
