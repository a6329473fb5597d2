"""What worker processes send is data: what is none is refused with what it is, and nothing of it is executed."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pebble.common.types import Result, ResultStatus
from pebble.pool.process import TaskResult

from gradcheck_lab import Report
from gradcheck_lab.isolation import read_known, write_known
from gradcheck_lab.workers.apart import Limits, Line, run_apart
from gradcheck_lab.workers.envelope import NotOurs, Receiver
from gradcheck_lab.workers.messages import pack, pack_outcome, read_as, unpack_outcome
from gradcheck_lab.workers.outcome import Exited, MemoryExceeded, Outcome, Raised, Returned, TimedOut, Unreadable
from tests.workers.calls import Acts, return_what_acts


@dataclass(frozen=True)
class Pair:
    first: int
    second: tuple[str, ...]


@pytest.mark.parametrize(
    "outcome", [Returned([1, "\ud800", None, {"a": 2.5}]), Raised("E", "m", "t"), Exited("3"), MemoryExceeded(7)], ids=repr
)
def test_outcome_comes_back_as_it_was(outcome: Outcome) -> None:
    assert unpack_outcome(pack_outcome(outcome)) == outcome


SPOILED: dict[str, tuple[Any, str]] = {
    "pickle": (pickle.dumps(Returned(1)), "bytes that are no JSON"),
    "nothing": (b"", "bytes that are no JSON"),
    "deep": (b"[" * 100_000, "bytes that are no JSON"),
    "number": (7, "no bytes"),
    "list": (b"[7]", "JSON that is no outcome of a call"),
    "of the parent": (pack(["TimedOut", TimedOut(1)]), "JSON that is no outcome of a call"),
    "unnamed": (pack([["Raised"], {}]), "JSON that is no outcome of a call"),
    "other fields": (
        pack(["Exited", {"code": 3}]),
        "the outcome cannot be read: invalid value for type, expected str @ the outcome.code",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_what_is_no_outcome_is_said(name: str) -> None:
    data, sent = SPOILED[name]
    assert unpack_outcome(data) == Unreadable(sent)


def test_what_was_returned_is_read_as_what_it_has_to_be() -> None:
    outcome = unpack_outcome(pack_outcome(Returned(Pair(1, ("a",)))))
    assert read_as(outcome, Pair) == Returned(Pair(1, ("a",)))
    assert read_as(Returned(7), Pair) == Unreadable("the result cannot be read: the result is 7 and has to be a table")
    assert read_as(TimedOut(1), Pair) == TimedOut(1)


def test_call_apart_executes_nothing_of_what_its_process_sends(tmp_path: Path) -> None:
    acts = Acts(tmp_path / "made")

    def known(line: Line) -> None:
        line.known([1])
        line.known(acts)  # is no data, and not sent

    def spoils_what_is_known(line: Line) -> None:
        line.connection.send_bytes(b"k" + pickle.dumps(acts))

    def sends(line: Line) -> None:
        line.connection.send(acts)

    def forges(line: Line) -> None:
        line.connection.send_bytes(b"d" + pickle.dumps(acts))

    expected: list[tuple[Callable[[Line], Any], str, Any]] = [
        (lambda line: return_what_acts(acts.folder), "raised TypeError: Object of type Acts is not JSON serializable", None),
        (known, "Returned(value=None)", [1]),
        (spoils_what_is_known, "Returned(value=None)", None),
        (sends, "sent what is no result: bytes that are no message", None),
        (forges, "sent what is no result: bytes that are no JSON", None),
    ]
    for function, words, told in expected:
        ended = run_apart(function, Limits())
        assert (str(ended.outcome), ended.known) == (words, told)
    assert os.listdir(tmp_path) == []


def test_known_report_is_read_and_nothing_else(tmp_path: Path) -> None:
    begun = Report("pass", "f", "op", (), (), "autograd", reasons=("nothing was compared yet",))  # contradicts itself
    write_known(tmp_path / "begun", begun)
    assert read_known(tmp_path / "begun") == begun
    (tmp_path / "acts").write_bytes(pickle.dumps(Acts(tmp_path / "made")))
    (tmp_path / "other").write_bytes(b'{"verdict": 7}')
    os.mkfifo(tmp_path / "pipe")
    assert [read_known(tmp_path / name) for name in ("acts", "other", "pipe", "absent")] == [None] * 4
    assert not (tmp_path / "made").exists()


def received(data: bytes) -> Any:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    with receiver, sender:
        sender.send_bytes(data)
        return Receiver(receiver).recv()


def test_messages_of_pebble_around_plain_data_are_taken() -> None:
    message = received(pickle.dumps(TaskResult(3, Result(ResultStatus.SUCCESS, b"data"))))
    assert isinstance(message, TaskResult)
    assert (message.task, message.result.status, message.result.value) == (3, ResultStatus.SUCCESS, b"data")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("pebble.pool.process", "os"),
        ("pebble.pool.process", "os.system"),
        ("pebble.pool.process", "worker_process"),
        ("pebble.pool.process", "ProcessPool"),
        ("pebble.common.types", "RemoteException"),
        ("pebble.absent", "TaskResult"),
        ("pebble_of_others", "TaskResult"),
        ("gradcheck_lab.workers.outcome", "Returned"),
    ],
)
def test_message_that_names_anything_else_is_refused(module: str, name: str) -> None:
    data = pickle.PROTO + b"\x04" + b"".join(b"\x8c" + bytes([len(each)]) + each.encode() for each in (module, name))
    with pytest.raises(NotOurs) as refused:
        received(data + pickle.STACK_GLOBAL + pickle.STOP)
    assert str(refused.value) == f"a pickle that names {module}.{name}"


def test_bytes_that_are_no_pickle_are_refused() -> None:
    with pytest.raises(NotOurs) as refused:
        received(b"{}")
    assert str(refused.value) == "bytes that are no pickle"


def test_message_changes_no_class() -> None:
    """A pickle may set attributes of a class that it names."""
    written = io.BytesIO()
    pickler = pickle._Pickler(written, 4)  # type: ignore[attr-defined]
    pickler.save(TaskResult)
    pickler.save((None, {"planted": 1}))
    data = pickle.PROTO + b"\x04" + written.getvalue() + pickle.BUILD + pickle.STOP
    assert received(data).planted == 1
    assert not hasattr(TaskResult, "planted")
