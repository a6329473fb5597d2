"""The processes that run a candidate: bare interpreters that know nothing of this one, with limits on time and memory.

A process that has imported torch, and nothing of the user's, forks one for each candidate in milliseconds. It leaves this
process as soon as it starts, so that none of its ancestors has a command line to read; it ends with this one through the
socket between them, and kills all that was started under it.
"""

from __future__ import annotations

import array
import atexit
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.judging import worker
from gradcheck_lab.judging.worker.messages import LENGTH, pack, unpack
from gradcheck_lab.model.limits import MESSAGE_OF_A_WORKER
from gradcheck_lab.workers.outcome import Died, MemoryExceeded, Outcome, TimedOut

_FILES = ("messages", "operators", "calls", "host")
_EVERY = 0.02  # seconds between two looks at the memory of a process
_START = 120.0  # seconds that an interpreter may take to import torch
_BOOT = "import os\nn=int(os.read(0,8))\ns=b''\nwhile len(s)<n:s+=os.read(0,n-len(s))\nexec(s)"
# an ordinary run has these, and none says who started it
_VARIABLES = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "CC", "CXX", "SYSTEMROOT",
)  # fmt: skip


class Ended(Exception):
    """The process of a call ended, took too long or took too much memory; `outcome` says which."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


class Malformed(Exception):
    """What came back is no answer to what was asked."""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """The seconds that one call may take, and the bytes of resident memory of the process; None for any."""

    seconds: float
    memory: int | None


@dataclass
class Worker:
    """One process that runs a candidate, and the two pipes to it."""

    to: int
    source: int
    pid: int
    limits: WorkerLimits
    host: Host | None = None
    process: subprocess.Popen[bytes] | None = None
    stopped: bool = False

    def __post_init__(self) -> None:
        os.set_blocking(self.to, False)

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer. Raises `Ended` and `Malformed`."""
        deadline = time.monotonic() + self.limits.seconds
        self._write(pack(dict(request)), deadline)
        size = LENGTH.unpack(self._read(LENGTH.size, deadline))[0]
        if not 0 <= size <= MESSAGE_OF_A_WORKER.value:
            raise Malformed(f"it announces an answer of {size} bytes")
        data = self._read(size, deadline)
        try:
            reply = unpack(data)
        except Exception as error:
            raise Malformed(f"its answer cannot be read ({type(error).__name__})") from None
        if not isinstance(reply, dict):
            raise Malformed("its answer is no table")
        return reply

    def stop(self) -> None:
        """End the process with all that it started."""
        if self.stopped:
            return
        self.stopped = True
        os.close(self.to)
        os.close(self.source)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _write(self, data: bytes, deadline: float) -> None:
        rest = memoryview(LENGTH.pack(len(data)) + data)
        while rest:
            self._wait(writing=True, deadline=deadline)
            try:
                rest = rest[os.write(self.to, rest) :]
            except BlockingIOError:
                continue
            except OSError:
                raise Ended(self._death()) from None

    def _read(self, size: int, deadline: float) -> bytes:
        parts = []
        while size:
            self._wait(writing=False, deadline=deadline)
            part = os.read(self.source, min(size, 1 << 20))
            if not part:
                raise Ended(self._death())
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _wait(self, writing: bool, deadline: float) -> None:
        while True:
            ready = select.select([] if writing else [self.source], [self.to] if writing else [], [], _EVERY)
            limit = self.limits.memory
            if limit is not None and resident_memory(self.pid) > limit:
                raise Ended(MemoryExceeded(limit))
            if ready[writing]:
                return
            if time.monotonic() > deadline:
                raise Ended(TimedOut(self.limits.seconds))

    def _death(self) -> Outcome:
        if self.process is not None:
            return Died(self.process.wait())
        return Died(None if self.host is None else self.host.code_of(self.pid))


def resident_memory(pid: int) -> int:
    """The bytes of memory that a process and those that it started hold; 0 where the system does not say."""
    page, found, waiting = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096, 0, [pid]
    while waiting:
        each = waiting.pop()
        with suppress(OSError, ValueError, IndexError):
            found += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * page
            waiting += [int(child) for child in Path(f"/proc/{each}/task/{each}/children").read_text().split()]
    return found


@dataclass
class Host:
    """The process that forks the others, and the socket to it."""

    connection: socket.socket
    codes: dict[int, int] = field(default_factory=dict)

    @classmethod
    def start(cls) -> Host:
        """Start it. Raises `InvalidArgument` where the system has no fork, or the interpreter does not start."""
        if not hasattr(os, "fork"):
            raise InvalidArgument("judge needs a system with fork, as Linux; run it in a container there")
        mine, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", _BOOT], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),), cwd=tempfile.gettempdir(), env=environment_of_workers(), start_new_session=True,
            )  # fmt: skip
            _send_program(process, f"host({theirs.fileno()})")
        mine.settimeout(_START)
        host = cls(mine)
        try:
            if host._message() != "ready":
                raise OSError
        except OSError:
            raise InvalidArgument(f"{sys.executable} cannot import torch and numpy") from None
        finally:
            process.wait()
        return host

    def worker(self, limits: WorkerLimits) -> Worker:
        """Fork a process. Raises `OSError` where this one has ended."""
        (theirs_in, mine_out), (mine_in, theirs_out) = os.pipe(), os.pipe()
        try:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs_in, theirs_out]))]
            self.connection.sendmsg([b"f"], ancillary)
            kind, pid, *code = self._message().split()
            while kind != "started":
                self.codes[int(pid)] = int(code[0])
                kind, pid, *code = self._message().split()
        except OSError:
            os.close(mine_in)
            os.close(mine_out)
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        return Worker(mine_out, mine_in, int(pid), limits, self)

    def code_of(self, pid: int) -> int | None:
        """The exit code of a process that ended; None where this one has ended too."""
        try:
            while pid not in self.codes:
                _, ended, *code = self._message().split()
                self.codes[int(ended)] = int(code[0])
        except OSError:
            return None
        return self.codes[pid]

    def _message(self) -> str:
        head = self._exactly(LENGTH.size)
        return self._exactly(LENGTH.unpack(head)[0]).decode()

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.connection.recv(size - len(data))
            if not part:
                raise OSError("the process that starts others has ended")
            data += part
        return data


_host: Host | None = None
_host_pid = 0


def start_worker(limits: WorkerLimits, command: str | None = None) -> Worker:
    """A fresh process. `command` wraps it: its {} stands for the interpreter with its arguments."""
    global _host, _host_pid
    if command is not None:
        return _wrapped(command, limits)
    for _ in range(2):
        if _host is None or _host_pid != os.getpid():
            _host, _host_pid = Host.start(), os.getpid()
        try:
            return _host.worker(limits)
        except OSError:  # somebody killed it
            _host = None
    raise InvalidArgument("no process can be started to run the candidate")


def end_host() -> None:
    """End the process that starts the others; the next candidate starts it anew."""
    global _host
    if _host is not None and _host_pid == os.getpid():
        _host.connection.close()
    _host = None


atexit.register(end_host)


def _wrapped(command: str, limits: WorkerLimits) -> Worker:
    words = shlex.split(command)
    if "{}" not in words:
        raise InvalidArgument(f"the command {command!r} has no {{}}, which stands for the interpreter and its arguments")
    at = words.index("{}")
    words[at : at + 1] = [sys.executable, "-c", _BOOT]
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment_of_workers(), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise InvalidArgument(f"the command {command!r} cannot be started: {error}") from error
    assert process.stdin is not None
    assert process.stdout is not None
    to, source = os.dup(process.stdin.fileno()), os.dup(process.stdout.fileno())
    _send_program(process, "alone()")
    process.stdout.close()
    return Worker(to, source, process.pid, limits, process=process)


def _send_program(process: subprocess.Popen[bytes], last: str) -> None:
    text = f"{program_text()}\n{last}\n".encode()
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(f"{len(text):8d}".encode() + text)
        process.stdin.close()


@cache
def program_text() -> str:
    """The program of the processes: its files without their imports of each other."""
    folder = Path(str(worker.__file__)).parent
    lines = [line for name in _FILES for line in (folder / f"{name}.py").read_text(encoding="utf-8").splitlines()]
    return "\n".join(line for line in lines if not line.startswith(("from gradcheck_lab.", "from __future__")))


def environment_of_workers() -> dict[str, str]:
    """The environment variables of a process that runs a candidate."""
    return {name: os.environ[name] for name in _VARIABLES if name in os.environ}


def owned(value: Any) -> torch.Tensor:
    """A tensor that came back, as one of this process. Raises `Malformed` where it is none of the ordinary ones."""
    if type(value) is not torch.Tensor:
        raise Malformed(f"a {type(value).__name__} stands for a tensor")
    if value.numel() * value.itemsize > value.untyped_storage().nbytes():
        raise Malformed(f"a tensor of {value.numel()} elements has the memory of fewer")
    return value.clone()


def parts_of(value: Any) -> Sequence[Any]:
    """A list that came back. Raises `Malformed`."""
    if type(value) is not list:
        raise Malformed(f"a {type(value).__name__} stands for a list")
    return value
