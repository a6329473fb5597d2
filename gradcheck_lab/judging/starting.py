"""Starting the processes that run a candidate: bare interpreters that know nothing of this one.

A process that has imported torch, and nothing of the user's, forks one for each candidate in milliseconds. It leaves this
process as soon as it starts, so that none of its ancestors has a command line to read; it ends with this one through the
socket between them, and kills all that was started under it.
"""

from __future__ import annotations

import array
import ast
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
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.judging import worker
from gradcheck_lab.judging.connection import EVERY, Deadline, Ended, Malformed, Worker, WorkerLimits
from gradcheck_lab.judging.worker.messages import LENGTH

_FILES = ("descendants", "messages", "operators", "calls", "host")
_START = 120.0  # seconds that an interpreter may take to import torch
_ENDS = 5.0  # seconds that a wrapped process may take to end, once its pipes are closed
_BOOT = "import os\nn=int(os.read(0,8))\ns=b''\nwhile len(s)<n:s+=os.read(0,n-len(s))\nexec(s)"
# an ordinary run has these, and none says who started it
_VARIABLES = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "CC", "CXX", "SYSTEMROOT",
)  # fmt: skip


@dataclass
class Host:
    """The process that forks the others, and the socket to it."""

    connection: socket.socket
    codes: dict[int, int] = field(default_factory=dict)
    interpreters: set[int] = field(default_factory=set)

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

    def worker(self, limits: WorkerLimits, watched: bool) -> Worker:
        """Fork a process, which may start no other interpreter where it is watched. Raises `OSError` where this one ended."""
        (theirs_in, mine_out), (mine_in, theirs_out) = os.pipe(), os.pipe()
        try:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs_in, theirs_out]))]
            self.connection.sendmsg([b"w" if watched else b"f"], ancillary)
            pid = self._note()
            while pid is None:
                pid = self._note()
        except OSError:
            os.close(mine_in)
            os.close(mine_out)
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        return Worker(mine_out, mine_in, pid, limits, Forked(self, pid))

    def code_of(self, pid: int, deadline: Deadline) -> int | None:
        """The exit code of a process; None where this one has ended too. Raises `TimeoutError` where it goes on."""
        try:
            while pid not in self.codes:
                if not select.select([self.connection], [], [], deadline.rest_of_an_end)[0]:
                    raise TimeoutError
                self._note()
        except TimeoutError:
            raise
        except OSError:
            return None
        return self.codes[pid]

    def end(self, pid: int) -> None:
        """Have a process killed, with its group and what it leaves behind."""
        with suppress(OSError):
            self.connection.sendall(b"k" + LENGTH.pack(pid))

    def _note(self) -> int | None:
        """Keep what the next message says of a process. Returns the number of one that was started."""
        kind, pid, *code = self._message().split()
        if kind == "started":
            return int(pid)
        if kind == "ended":
            self.codes[int(pid)] = int(code[0])
        else:
            self.interpreters.add(int(pid))
        return None

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


@dataclass(frozen=True, slots=True)
class Forked:
    """The life of a process that the host forked."""

    host: Host
    pid: int

    def code(self, deadline: Deadline) -> int | None:
        """Its exit code, None where the host has ended too. Raises `TimeoutError` where it goes on."""
        return self.host.code_of(self.pid, deadline)

    def started_interpreter(self) -> bool:
        """Whether the host ended it because another interpreter was started in it."""
        return self.pid in self.host.interpreters

    def end(self) -> None:
        """End it with all that it started."""
        self.host.end(self.pid)


@dataclass(frozen=True, slots=True)
class Wrapped:
    """The life of a process that a command of the user's wraps. It ends by itself when its standard input is closed."""

    process: subprocess.Popen[bytes]

    def code(self, deadline: Deadline) -> int | None:
        """The exit code of the command. Raises `TimeoutError` where it goes on."""
        if not self._ends_within(deadline.rest_of_an_end):
            raise TimeoutError
        self._kill()
        return self.process.returncode

    def started_interpreter(self) -> bool:
        """Nothing is known of that: it ends by a signal."""
        return False

    def end(self) -> None:
        """End it, by force where it does not end by itself."""
        if self.process.returncode is None:
            self._ends_within(_ENDS)
            self._kill()

    def _ends_within(self, seconds: float) -> bool:
        """Whether it ends in that time. It stays a zombie then, so that its number is its own until its group is killed."""
        end = time.monotonic() + seconds
        while os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > end:
                return False
            time.sleep(EVERY)
        return True

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


_host: Host | None = None
_host_pid = 0


def start_worker(limits: WorkerLimits, command: str | None = None, watched: bool = False) -> Worker:
    """A fresh process. `command` wraps it: its {} stands for the interpreter with its arguments.

    One that is `watched` is ended where it starts another interpreter that loads torch.
    """
    global _host, _host_pid
    if command is not None:
        return _wrapped(command, limits, watched)
    for _ in range(2):
        if _host is None or _host_pid != os.getpid():
            _host, _host_pid = Host.start(), os.getpid()
        try:
            return _host.worker(limits, watched)
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


def _wrapped(command: str, limits: WorkerLimits, watched: bool) -> Worker:
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
    _send_program(process, "alone()", f"supervise({watched})")
    process.stdout.close()
    made = Worker(to, source, process.pid, limits, Wrapped(process))
    try:
        made.message(Deadline.within(_START))
    except (Ended, Malformed) as error:
        made.stop()
        raise InvalidArgument(f"the command {command!r} starts no interpreter with torch and numpy: it {error}") from None
    return made


def _send_program(process: subprocess.Popen[bytes], last: str, first: str = "") -> None:
    text = f"{program_text(first)}\n{last}\n".encode()
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(f"{len(text):8d}".encode() + text)
    with suppress(BrokenPipeError):  # what could not be written is tried again
        process.stdin.close()


@cache
def program_text(first: str = "") -> str:
    """The program of the processes: its files without their imports of each other, and a line after the first of them."""
    folder = Path(str(worker.__file__)).parent
    texts = [_without_own_imports((folder / f"{name}.py").read_text(encoding="utf-8")) for name in _FILES]
    return "\n".join([texts[0], first, *texts[1:]])


def _without_own_imports(text: str) -> str:
    lines = text.splitlines()
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("gradcheck_lab.", "__future__")):
            lines[node.lineno - 1 : node.end_lineno] = [""] * ((node.end_lineno or node.lineno) - node.lineno + 1)
    return "\n".join(lines)


def environment_of_workers() -> dict[str, str]:
    """The environment variables of a process that runs a candidate."""
    return {name: os.environ[name] for name in _VARIABLES if name in os.environ}
