"""The pipes to a candidate's process: what comes late, byte by byte, or not at all. No process is started here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gradcheck_lab.judging.connection import Deadline, Ended, Malformed, Worker, WorkerLimits
from gradcheck_lab.judging.worker.descendants import children_of, interpreters_below, loaded_at
from gradcheck_lab.judging.worker.messages import LENGTH, pack
from gradcheck_lab.judging.worker.operators import _is_interpreter, _words
from gradcheck_lab.model.limits import MESSAGE_OF_A_WORKER
from gradcheck_lab.workers.outcome import Died, TimedOut


class Goes:
    """The life of a process that goes on, or that ended with a code."""

    def __init__(self, code: int | None = None, interpreter: bool = False) -> None:
        self.known, self.interpreter, self.is_ended = code, interpreter, False

    def code(self, deadline: Deadline) -> int | None:
        if self.known is None:
            raise TimeoutError
        return self.known

    def started_interpreter(self) -> bool:
        return self.interpreter

    def end(self) -> None:
        self.is_ended = True


class Line:
    """A worker of this process, and the other ends of its pipes."""

    def __init__(self, life: Goes, seconds: float = 60.0) -> None:
        (self.asked, to), (source, self.answer) = os.pipe(), os.pipe()
        self.worker = Worker(to, source, os.getpid(), WorkerLimits(seconds, None), life)

    def say(self, data: bytes) -> None:
        os.write(self.answer, data)

    def close(self) -> None:
        with suppress(OSError):
            os.close(self.answer)
        os.close(self.asked)
        self.worker.stop()


@pytest.fixture
def lines() -> Iterator[list[Line]]:
    made: list[Line] = []
    yield made
    for line in made:
        line.close()


def test_an_answer_comes_back(lines: list[Line]) -> None:
    lines.append(Line(Goes()))
    data = pack({"ok": True})
    lines[0].say(LENGTH.pack(len(data)) + data)
    assert lines[0].worker.ask({"do": "nothing"}) == {"ok": True}


def test_an_answer_that_keeps_coming_after_its_time_is_late(lines: list[Line]) -> None:
    """There is always another byte to read, and still it is over."""
    lines.append(Line(Goes(), seconds=-1.0))
    data = pack({"ok": True})
    lines[0].say(LENGTH.pack(len(data)) + data)
    with pytest.raises(Ended) as caught:
        lines[0].worker.ask({"do": "nothing"})
    assert caught.value.outcome == TimedOut(-1.0)


@pytest.mark.parametrize(("code", "outcome"), [(None, TimedOut(60.0)), (3, Died(3)), (-11, Died(-11))])
def test_a_process_that_closes_its_pipe_has_ended_or_is_late(
    lines: list[Line], code: int | None, outcome: Died | TimedOut
) -> None:
    lines.append(Line(Goes(code)))
    os.close(lines[0].answer)
    with pytest.raises(Ended) as caught:
        lines[0].worker.ask({"do": "nothing"})
    assert (caught.value.outcome, caught.value.interpreter) == (outcome, False)


def test_the_end_for_another_interpreter_is_told(lines: list[Line]) -> None:
    lines.append(Line(Goes(-9, interpreter=True)))
    os.close(lines[0].answer)
    with pytest.raises(Ended) as caught:
        lines[0].worker.ask({"do": "nothing"})
    assert caught.value.interpreter


@pytest.mark.parametrize("size", [-1, MESSAGE_OF_A_WORKER.value + 1])
def test_an_answer_of_no_possible_size_is_malformed(lines: list[Line], size: int) -> None:
    lines.append(Line(Goes()))
    lines[0].say(LENGTH.pack(size))
    with pytest.raises(Malformed, match=f"it announces an answer of {size} bytes"):
        lines[0].worker.ask({"do": "nothing"})


def test_a_stopped_worker_is_ended_once() -> None:
    life = Goes()
    line = Line(life)
    line.close()
    assert life.is_ended
    life.is_ended = False
    line.worker.stop()
    assert not life.is_ended


COMMANDS = {
    "python": (["python3.12", "-c", "1"], True),
    "by its path": (["/usr/bin/python3"], True),
    "by a shell": (["sh", "-c", "cd /tmp; exec /usr/bin/python3 -c '1'"], True),
    "in a substitution": ("echo $(python)", True),
    "by env": (["/usr/bin/env", "python"], True),
    "as bytes": (b"/opt/python3.11t -m x", True),
    "a compiler": (["gcc", "-I/usr/include/python3.11", "-ltorch_python", "python_bindings.cpp"], False),
    "a tool": (["uname", "-p"], False),
}


@pytest.mark.parametrize("what", COMMANDS)
def test_every_word_of_a_command_is_looked_at(what: str) -> None:
    command, expected = COMMANDS[what]
    assert any(_is_interpreter(word) for word in _words([command])) == expected


FORKS = """
import mmap, os, sys
with open(sys.argv[1]) as file:
    loaded = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
if os.fork():
    print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="processes are listed in /proc")
def test_a_fork_is_told_from_another_interpreter(tmp_path: Path) -> None:
    """A file stands for the library of torch: what counts is its name among what a process has loaded."""
    library = tmp_path / "libtorch.so"
    library.write_text("loaded")
    command = [sys.executable, "-c", FORKS, str(library)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == b"ready\n"
        (forked,) = children_of(started.pid)
        assert interpreters_below(started.pid, loaded_at(started.pid)) == []
        assert {started.pid, forked} <= set(interpreters_below(os.getpid(), loaded_at("self")))
        started.communicate()
