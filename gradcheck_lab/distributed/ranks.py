"""The ranks of one check, seen from the process that asks them: started once, asked together, ended whatever happens."""

from __future__ import annotations

import itertools
import multiprocessing
import pickle
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self

from gradcheck_lab.distributed.messages import Message, packed, receive, send
from gradcheck_lab.distributed.rank import Member, Wires, serve
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.exceptions import Passing
from gradcheck_lab.model.limits import CALLS_KEPT_BY_A_RANK
from gradcheck_lab.model.shown import one_line
from gradcheck_lab.model.user_errors import RaisedElsewhere
from gradcheck_lab.rules.op import Op
from gradcheck_lab.workers.apart import danger_of_fork, end_process, quiet_fork
from gradcheck_lab.workers.messages import NoMessage
from gradcheck_lab.workers.outcome import Died
from gradcheck_lab.workers.starting import import_slow

_EVERY = 0.05  # seconds between two looks at the ranks
_OTHERS = 2.0  # seconds that the others have to answer, once one rank has raised or ended; they may wait for it in vain
_STARTING = 60.0  # seconds in which all ranks have to have met
_TELLING = 1.0  # seconds that a rank has to say in which line it is


@dataclass(frozen=True, slots=True)
class Problem:
    """What a rank did in a call that went wrong on some: `how` is "raised", "ended", "waits" or "returned".

    `shapes` are those of a gradient that torch's engine refused, `no_tensor` says that the forward returned something else.
    """

    rank: int
    how: str
    kind: str = ""
    message: str = ""
    traceback: str = ""
    shapes: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    no_tensor: bool = False


class RankRaised(RaisedElsewhere):
    """The user's code raised on some ranks, which `problems` says; all ranks can be asked again."""

    def __init__(self, stage: str, problems: Sequence[Problem]) -> None:
        first = problems[0]
        super().__init__(f"rank {first.rank}: {first.message or first.kind}", first.traceback)
        self.stage, self.problems = stage, tuple(problems)


def rank_raised(stage: str, problems: Sequence[Problem]) -> RankRaised:
    """The exception for what ranks raised, of a class with the name of theirs."""
    kind = problems[0].kind
    named: type[RankRaised] = RankRaised
    if kind.isidentifier():
        named = type(kind, (RankRaised,), {"__module__": __name__})
    return named(stage, problems)


class RanksEnded(Passing):
    """A call did not come back: a rank ended, or took too long. No further call is made."""

    def __init__(self, stage: str, problems: Sequence[Problem], seconds: float | None) -> None:
        super().__init__(f"{stage} did not come back")
        self.stage, self.problems, self.seconds = stage, tuple(problems), seconds


@dataclass(slots=True)
class _Rank:
    """One process, and this process's ends of its pipes."""

    process: BaseProcess
    calls: Connection
    questions: Connection
    lifeline: Connection

    def where(self) -> str:
        """The lines that the rank is in; empty where it does not say."""
        with suppress(OSError, EOFError, ValueError):
            self.questions.send_bytes(b"?")
            if self.questions.poll(_TELLING):
                return self.questions.recv_bytes().decode("utf-8", "replace")
        return ""

    def end(self) -> None:
        end_process(self.process)
        for each in (self.calls, self.questions, self.lifeline):
            each.close()


class Ranks:
    """`count` ranks that compute `function`. As a block: all of them have ended after it, with all that they started.

    A call may take `seconds`. The ranks are forked from this process where that is safe; else the function is sent to them.
    """

    def __init__(self, function: Callable[..., Any] | Op, count: int, seconds: float, seed: int) -> None:
        self.function, self.count, self.seconds, self.seed = function, count, seconds, seed
        self.calls = itertools.count()
        self.kept: deque[int] = deque(maxlen=CALLS_KEPT_BY_A_RANK.value)  # the calls whose backward can still be run
        self._ranks: list[_Rank] = []
        self._folder = Path(tempfile.mkdtemp(prefix="gradcheck_lab_ranks_"))
        self._meetings = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def end(self) -> None:
        """End every rank, whatever it is doing."""
        self.kept.clear()
        while self._ranks:
            self._ranks.pop().end()

    def forward(self, inputs: Sequence[Sequence[Any]], wanted: Sequence[int] | None) -> tuple[int, list[Message]]:
        """The number of a new call, and what each rank answers to its forward on its own inputs."""
        call = next(self.calls)
        about = {"what": "forward", "call": call, "wanted": None if wanted is None else list(wanted)}
        answers = self._asked("forward", [Message(about, values) for values in inputs])
        if wanted is not None:
            self.kept.append(call)
        return call, answers

    def backward(self, call: int, upstream: Sequence[Sequence[Any]]) -> list[Message]:
        """What each rank answers to the backward of a call, given its own upstream gradients."""
        about = {"what": "backward", "call": call}
        return self._asked("backward", [Message(about, values) for values in upstream])

    def _asked(self, stage: str, messages: Sequence[Message]) -> list[Message]:
        """The answers of all ranks. Raises `RankRaised` and `RanksEnded`; after the latter all ranks have ended."""
        sent = [packed(each) for each in messages]  # all of them before any is sent
        if not self._ranks:
            self._start()
        for rank, blocks in zip(self._ranks, sent, strict=True):
            with suppress(OSError):
                send(rank.calls, blocks)
        answers = self._answers(stage, self.seconds)
        problems = [_raised(rank, answer) for rank, answer in enumerate(answers) if "raised" in answer.about]
        if problems:
            if len(problems) < self.count or len({each.kind for each in problems}) > 1:
                self.end()  # a collective that some of them have not entered would meet the next call's
            raise rank_raised(stage, problems)
        return answers

    def _answers(self, stage: str, seconds: float) -> list[Message]:
        found: dict[int, Message | Problem] = {}
        deadline, is_broken = time.monotonic() + seconds, False
        while len(found) < self.count:
            for rank, each in enumerate(self._ranks):
                if rank not in found and (answer := _look(rank, each)) is not None:
                    found[rank] = answer
            if not is_broken and any(isinstance(each, Problem) or "raised" in each.about for each in found.values()):
                deadline, is_broken = min(deadline, time.monotonic() + _OTHERS), True
            pending = [each for rank, each in enumerate(self._ranks) if rank not in found]
            if not pending or time.monotonic() > deadline:
                break
            wait([each.calls for each in pending] + [each.process.sentinel for each in pending], _EVERY)
        answered = [found[rank] for rank in range(self.count) if isinstance(found.get(rank), Message)]
        if len(answered) == self.count:
            return [each for each in answered if isinstance(each, Message)]
        known = [self._problem(rank, found.get(rank)) for rank in range(self.count)]
        self.end()
        raised = [each for each in known if each.how == "raised"]
        if raised and not any(each.how == "ended" for each in known):
            raise rank_raised(stage, [*raised, *(each for each in known if each.how == "waits")])
        raise RanksEnded(stage, known, seconds if not any(each.how == "ended" for each in known) else None)

    def _problem(self, rank: int, found: Message | Problem | None) -> Problem:
        if isinstance(found, Problem):
            return found
        if found is not None:
            return _raised(rank, found) if "raised" in found.about else Problem(rank, "returned")
        return Problem(rank, "waits", traceback=self._ranks[rank].where())

    def _start(self) -> None:
        if multiprocessing.current_process().daemon:
            raise InvalidArgument("a daemonic process may start no ranks; call check_distributed in another one")
        method = _method(self.function)
        context = multiprocessing.get_context(method)
        if method == "fork":
            import_slow()
        meeting = str(self._folder / f"meeting{next(self._meetings)}")
        for number in range(self.count):
            calls, questions, lifeline = context.Pipe(), context.Pipe(), context.Pipe(duplex=False)
            member = Member(number, self.count, meeting, self.function, self.seed)
            theirs = Wires(calls[1], questions[1], (lifeline[0], lifeline[1]))
            unused = [calls[0], questions[0], *self._mine()] if method == "fork" else []
            process: BaseProcess = context.Process(  # type: ignore[attr-defined]
                target=_run, args=(member, theirs, unused), daemon=False
            )
            try:
                with quiet_fork():
                    process.start()
            except Exception as error:
                self.end()
                raise InvalidArgument(
                    f"the function cannot be sent to the ranks ({one_line(f'{type(error).__name__}: {error}')}); define it at "
                    'the top of a module, and keep calls of a script under if __name__ == "__main__":'
                ) from error
            finally:
                for each in (calls[1], questions[1], lifeline[0]):
                    each.close()
            self._ranks.append(_Rank(process, calls[0], questions[0], lifeline[1]))
        for answer in self._answers("start", max(_STARTING, self.seconds)):
            if "joined" not in answer.about:
                self.end()
                problem = _raised(0, answer)
                raise InvalidArgument(
                    f"the ranks cannot meet here ({one_line(f'{problem.kind}: {problem.message}')}); gloo needs the loopback "
                    "interface: name it in GLOO_SOCKET_IFNAME"
                )

    def _mine(self) -> list[Connection]:
        """The ends that a forked rank has to close, so that another one ends when this process closes them."""
        return [end for each in self._ranks for end in (each.calls, each.questions, each.lifeline)]


def _run(member: Member, wires: Wires, others: Sequence[Connection]) -> None:
    for each in others:
        each.close()
    serve(member, wires)


def _method(function: Any) -> str:
    danger = danger_of_fork()
    if danger == "none":
        return "fork"
    if danger == "threads":
        try:
            pickle.dumps(function)
        except Exception:
            return "fork"
    return "spawn"


def _look(rank: int, each: _Rank) -> Message | Problem | None:
    """What a rank has answered, or how it ended; None while it computes."""
    code = each.process.exitcode  # asked first, so that what was sent before the end is still read
    try:
        if each.calls.poll(0):
            return receive(each.calls)
    except NoMessage as error:
        return Problem(rank, "ended", message=f"sent what is no answer: {error}")
    except (EOFError, OSError):
        each.process.join(_TELLING)
        code = each.process.exitcode
    return None if code is None else Problem(rank, "ended", message=str(Died(code)))


def _raised(rank: int, answer: Message) -> Problem:
    about = answer.about
    shapes = None
    if isinstance(about.get("returned"), list) and isinstance(about.get("expected"), list):
        shapes = tuple(about["returned"]), tuple(about["expected"])
    texts = [about.get(name) if isinstance(about.get(name), str) else "" for name in ("raised", "message", "traceback")]
    return Problem(rank, "raised", str(texts[0]), str(texts[1]), str(texts[2]), shapes, about.get("no tensor") is True)
