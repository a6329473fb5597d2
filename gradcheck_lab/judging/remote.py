"""A candidate in another process, as an object of this one that `check` takes: each call of it is a call there.

What comes back counts as tensors alone, and changes nothing here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from gradcheck_lab.judging.connection import Ended, Malformed, Worker, owned, parts_of
from gradcheck_lab.judging.evidence import Answers, Evidence, tensors_of
from gradcheck_lab.judging.stand_ins import signature_of, without_source
from gradcheck_lab.judging.worker.messages import PLAIN
from gradcheck_lab.model.torch_messages import out_of_memory
from gradcheck_lab.subjects.pair import returns_cache
from gradcheck_lab.workers.outcome import MemoryExceeded, Outcome

# the forms of a candidate, and of how many functions each is made
_FUNCTIONS = {"function": 1, "callable": 1, "pair": 2, "layer": 2}


class CandidateRaised(Exception):
    """The candidate raised; the message is its class and text."""


class _Answer:
    """A call, of which somebody may ask for the backward."""

    __slots__ = ("needing", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.needing: list[bool] = []


class _Kept:
    """A value that stayed in the other process."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __deepcopy__(self, memo: Any) -> _Kept:
        return self


@dataclass
class Remote:
    """One candidate in one process.

    `evidence` grows with what its answers show by themselves, `raised` with what it raised, and `broken` is how its process
    ended, or what came from it that was no answer. `same_place` lets inputs lie where those of former calls were. Where they
    are set, floating inputs are sent in the dtype `sent`, and results of that dtype are rounded to `read_as`.
    """

    worker: Worker
    path: Path
    name: str
    forbidden: tuple[str, ...]
    random: Random
    arrays: bool = False
    same_place: bool = True
    sent: torch.dtype | None = None
    read_as: torch.dtype | None = None
    form: str = ""
    node: str = ""
    broken: Outcome | Malformed | None = None
    signatures: list[inspect.Signature] = field(default_factory=list)
    raised: list[str] = field(default_factory=list)
    holds_next: bool = False
    _held: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.answers = Answers(self.name, self.forbidden)

    @property
    def evidence(self) -> dict[tuple[str, str], Evidence]:
        """What its answers show by themselves, by cause and sentence."""
        return self.answers.found

    def load(self) -> None:
        """Let the other process import the candidate. Raises `CandidateRaised`."""
        reply = self._ask({"do": "load", "path": str(self.path), "forbidden": list(self.forbidden)})
        with self._read():
            form, found = reply.get("form"), parts_of(reply.get("signatures"))
            if form not in _FUNCTIONS or len(found) != _FUNCTIONS[form]:
                raise Malformed(f"a candidate of the form {form!r} with {len(found)} functions is none")
            self.signatures = [signature_of(each) for each in found]
            self.form, self.node = form, str(reply.get("node"))

    def call(
        self, arguments: Sequence[Any], options: Mapping[str, Any], needs: Sequence[bool] = (), function: int = 0
    ) -> tuple[Any, _Answer]:
        """What a function of the candidate returns. Raises `CandidateRaised`."""
        self.answers.calls += 1
        number = self.answers.calls
        if self.holds_next:
            self.holds_next = False
            self._held.add(number)
        reply = self._ask(
            {
                "do": "call",
                "number": number,
                "function": function,
                "arguments": [self._described(each) for each in arguments],
                "options": [[name, self._described(each)] for name, each in options.items()],
                "needs": list(needs),
                "same place": self.same_place,
                "seed": self.random.getrandbits(32),
            }
        )
        answer = _Answer(number)
        with self._read():
            restored = self._restored(reply.get("result"))
            result = self._rounded(restored)
            self.answers.returned[number] = [list(tensors_of(restored)), []]
            if function == 0:
                self.answers.look_at_dtypes(self._without_cache(restored), "an output", self.sent)
                self.answers.look_at_writes(reply.get("written"), "mutates-input", "input")
            else:
                self.answers.look_at_dtypes(restored, "a gradient", self.sent)
                # the rest of what a backward is given is its own cache
                first = [each for each in parts_of(reply.get("written")) if parts_of(each)[0] == 0]
                self.answers.look_at_writes(first, "mutates-grad-output", "grad_output")
            self.answers.look_at_graph(reply, self.form, self.node)
            answer.needing = [each is True for each in parts_of(reply.get("needing"))]
        return result, answer

    @contextmanager
    def _read(self) -> Iterator[None]:
        """A block that reads an answer, which may be of any form."""
        try:
            yield
        except (Malformed, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
            self.broken = error if isinstance(error, Malformed) else Malformed(f"its answer has another form ({error})")
            raise CandidateRaised(str(self.broken)) from None

    def gradients(self, answer: _Answer, upstream: Sequence[torch.Tensor | None], needs: Sequence[bool]) -> list[Any]:
        """The gradients of a call for each of its tensors, None for those that need none."""
        reply = self._ask(
            {
                "do": "gradients",
                "number": answer.number,
                "upstream": [self._described(each) for each in upstream],
                "engine": self.random.choice(("grad", "backward")),
                "seed": self.random.getrandbits(32),
            }
        )
        with self._read():
            restored = self._restored(reply.get("result"))
            if type(restored) is not list or len(restored) != sum(needs):
                raise Malformed("another number of gradients came back than the engine returns")
            self.answers.returned[answer.number][1] = list(tensors_of(restored))
            self.answers.look_at_dtypes(restored, "a gradient", self.sent)
            self.answers.look_at_writes(reply.get("written"), "mutates-grad-output", "grad_output")
        rest: Iterator[Any] = iter(self._rounded(restored))
        return [next(rest) if needed else None for needed in needs]

    def hold(self) -> None:
        """Keep what the next call returns until `read_again` is told to wait: much may happen to it until then."""
        self.holds_next = True

    def read_again(self, wait: float = 0.0) -> None:
        """Read what all calls returned once more, after `wait` seconds; they are over then, and their memory is free."""
        over = [number for number in self.answers.returned if wait or number not in self._held]
        if over:
            self._ask({"do": "nothing"}, wait, over)

    def function(self, index: int) -> Callable[..., Any]:
        """A function of the candidate that takes and returns what it does, called there."""
        name = f"{self.name}_{('forward', 'backward')[index]}"

        def called(*arguments: Any, **keywords: Any) -> Any:
            return self.call(arguments, keywords, function=index)[0]

        made: Callable[..., Any] = without_source(name, called)
        made.__signature__ = self.signatures[index]  # type: ignore[attr-defined]
        return made

    def _ask(self, request: dict[str, Any], wait: float = 0.0, again: Sequence[int] = ()) -> dict[str, Any]:
        if self.broken is not None:
            raise CandidateRaised(f"its process has ended: {self.broken}")
        try:
            reply = self.worker.ask({**request, "again": list(again), "wait": wait})
            with self._read():
                self._look_at(reply)
            return self._answered(reply)
        except Ended as error:
            self.broken = Malformed("it was ended") if error.interpreter else error.outcome
            self.answers.look_at_calls({"called": [], "started": ["torch"] if error.interpreter else []})
            raise CandidateRaised(str(error)) from None
        except Malformed as error:
            self.broken = error
            raise CandidateRaised(str(error)) from None

    def _look_at(self, reply: dict[str, Any]) -> None:
        """Find what an answer shows beside its result."""
        self.answers.compare_again(reply.get("again"), "another call", self._quietly)
        self.answers.compare_again(reply.get("later"), "something that still runs", self._quietly)
        for number, *_ in parts_of(reply.get("again")):
            self.answers.returned.pop(number, None)
        self.answers.look_at_calls(reply)

    def _answered(self, reply: dict[str, Any]) -> dict[str, Any]:
        """The answer. Raises `CandidateRaised` where it says that the candidate raised, `Ended` where memory ran out."""
        if reply.get("ok") is not True:
            if reply.get("exception") == MemoryError.__name__ or out_of_memory(RuntimeError(str(reply.get("message")))):
                raise Ended(MemoryExceeded(self.worker.limits.memory))
            trace = _own_frames(str(reply.get("traceback")), self.path)
            self.raised.append(trace)
            raise CandidateRaised(f"{reply.get('exception')}: {reply.get('message')}\n{trace}")
        return reply

    def _restored(self, value: Any) -> Any:
        """What `described` of the other side says, as values of this process."""
        kind, *rest = parts_of(value)
        if kind == "tensor":
            return owned(rest[0])
        if kind == "array":
            value = owned(rest[0])
            return value if self.arrays else value.numpy()  # what gets arrays for its tensors returns them for tensors
        if kind in ("tuple", "list"):
            items = [self._restored(each) for each in parts_of(rest[0])]
            return tuple(items) if kind == "tuple" else items
        if kind == "dict":
            return {key: self._restored(each) for key, each in (parts_of(pair) for pair in parts_of(rest[0]))}
        if kind == "plain" and type(rest[0]) in PLAIN:
            return rest[0]
        if kind == "kept":
            return _Kept(int(rest[0]))
        if kind == "odd":
            self.answers.find("tampered", f"{self.name} answers with {rest[0]}", "its numbers need not be those of the call")
            raise Malformed(f"{rest[0]} is no answer")
        raise Malformed(f"{kind!r} is no kind of value")

    def _quietly(self, value: Any) -> Any:
        try:
            return self._restored(value)
        except Malformed:
            return None

    def _rounded(self, value: Any) -> Any:
        """The same values, with tensors and arrays of the dtype `sent` rounded to `read_as`."""
        if self.read_as is None:
            return value
        if isinstance(value, torch.Tensor):
            return value.to(self.read_as) if value.dtype == self.sent else value
        if isinstance(value, np.ndarray):
            return self._rounded(torch.from_numpy(value))  # NumPy has no bfloat16
        if isinstance(value, (tuple, list)):
            return type(value)(self._rounded(each) for each in value)
        return {key: self._rounded(each) for key, each in value.items()} if isinstance(value, dict) else value

    def _without_cache(self, result: Any) -> Any:
        """The outputs of a forward: of a pair's, all but a cache."""
        return result[:-1] if self.form == "pair" and returns_cache(result, self.function(1)) else result

    def _described(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            widened = self.sent is not None and value.is_floating_point()
            return ["array" if self.arrays else "tensor", value.detach().to(self.sent) if widened else value.detach()]
        if isinstance(value, (np.ndarray, np.generic)):
            return ["array", torch.from_numpy(np.array(value, copy=True))]
        if isinstance(value, (tuple, list)):
            kind = "tuple" if isinstance(value, tuple) else "list"
            return [kind, [self._described(each) for each in value]]
        if isinstance(value, dict):
            return ["dict", [[key, self._described(each)] for key, each in value.items()]]
        return ["kept", value.number] if isinstance(value, _Kept) else ["plain", value]


def _own_frames(trace: str, path: Path) -> str:
    """The frames of the candidate's file, and what was raised."""
    lines = trace.splitlines()
    kept = [k for k, line in enumerate(lines) if str(path) in line]
    frames = [line.replace(str(path), path.name) for k in kept for line in lines[k : k + 2] if line.startswith("  ")]
    return "\n".join([*frames, *lines[-1:]])
