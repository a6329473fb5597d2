"""A candidate in another process, as an object of this one that `check` takes: each call of it is a call there.

What comes back counts as tensors alone, and changes nothing here.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from gradcheck_lab.comparison.findings import short_dtype
from gradcheck_lab.judging.connection import Ended, Malformed, Worker, owned, parts_of
from gradcheck_lab.judging.worker.messages import PLAIN
from gradcheck_lab.model.precision import unit_roundoff
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


@dataclass(frozen=True, slots=True)
class Evidence:
    """Something that no ordinary answer is: the cause of the finding, a sentence, and why it is one."""

    cause: str
    message: str
    explanation: str


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
    evidence: dict[tuple[str, str], Evidence] = field(default_factory=dict)
    raised: list[str] = field(default_factory=list)
    calls: int = 0
    _returned: dict[int, list[Any]] = field(default_factory=dict)
    _held: set[int] = field(default_factory=set)

    def load(self) -> None:
        """Let the other process import the candidate. Raises `CandidateRaised`."""
        reply = self._ask({"do": "load", "path": str(self.path), "forbidden": list(self.forbidden)})
        with self._read():
            form, found = reply.get("form"), parts_of(reply.get("signatures"))
            if form not in _FUNCTIONS or len(found) != _FUNCTIONS[form]:
                raise Malformed(f"a candidate of the form {form!r} with {len(found)} functions is none")
            self.signatures = [_signature(each) for each in found]
            self.form, self.node = form, str(reply.get("node"))

    def call(
        self, arguments: Sequence[Any], options: Mapping[str, Any], needs: Sequence[bool] = (), function: int = 0
    ) -> tuple[Any, _Answer]:
        """What a function of the candidate returns. Raises `CandidateRaised`."""
        self.calls += 1
        number = self.calls
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
            self._returned[number] = [list(_tensors(restored)), []]
            if function == 0:
                self._look_at_dtypes(self._without_cache(restored), "an output")
                self._look_at_writes(reply.get("written"), "mutates-input", "input")
            else:
                self._look_at_dtypes(restored, "a gradient")
                # the rest of what a backward is given is its own cache
                first = [each for each in parts_of(reply.get("written")) if parts_of(each)[0] == 0]
                self._look_at_writes(first, "mutates-grad-output", "grad_output")
            self._look_at_graph(reply)
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
            self._returned[answer.number][1] = list(_tensors(restored))
            self._look_at_dtypes(restored, "a gradient")
            self._look_at_writes(reply.get("written"), "mutates-grad-output", "grad_output")
        rest: Iterator[Any] = iter(self._rounded(restored))
        return [next(rest) if needed else None for needed in needs]

    def hold(self) -> None:
        """Keep what the first calls returned until `read_again` is told to wait: much may happen to it until then."""
        self._held = self._held or set(self._returned)

    def read_again(self, wait: float = 0.0) -> None:
        """Read what all calls returned once more, after `wait` seconds; they are over then, and their memory is free."""
        over = [number for number in self._returned if wait or number not in self._held]
        if over:
            self._ask({"do": "nothing"}, wait, over)

    def function(self, index: int) -> Callable[..., Any]:
        """A function of the candidate that takes and returns what it does, called there."""
        name = f"{self.name}_{('forward', 'backward')[index]}"

        def called(*arguments: Any, **keywords: Any) -> Any:
            return self.call(arguments, keywords, function=index)[0]

        made: Callable[..., Any] = _without_source(name, called)
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
            self._look_at_calls({"called": [], "started": ["torch"] if error.interpreter else []})
            raise CandidateRaised(str(error)) from None
        except Malformed as error:
            self.broken = error
            raise CandidateRaised(str(error)) from None

    def _look_at(self, reply: dict[str, Any]) -> None:
        """Find what an answer shows beside its result."""
        self._compare_again(reply.get("again"), "another call")
        self._compare_again(reply.get("later"), "something that still runs")
        for number, *_ in parts_of(reply.get("again")):
            self._returned.pop(number, None)
        self._look_at_calls(reply)

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
            self._found("tampered", f"{self.name} answers with {rest[0]}", "its numbers need not be those of the call")
            raise Malformed(f"{rest[0]} is no answer")
        raise Malformed(f"{kind!r} is no kind of value")

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

    def _look_at_dtypes(self, result: Any, what: str) -> None:
        """Find results that are narrower than their inputs: once they are rounded, nobody sees that any more."""
        if self.sent is None:
            return
        for value in _tensors(result):
            if value.is_floating_point() and unit_roundoff(value.dtype) > unit_roundoff(self.sent):
                explanation = f"its inputs are {short_dtype(self.sent)}, and digits are lost"
                self._found("wrong-dtype", f"{what} of {self.name} is {short_dtype(value.dtype)}", explanation)

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

    def _look_at_writes(self, written: Any, cause: str, what: str) -> None:
        """Find what was written to; nothing here is changed by it, so that the truth stays that of the call."""
        for each in parts_of(written):
            index, value = parts_of(each)
            owned(value)
            self._found(cause, f"{self.name} writes to {what} {int(index)}", "a call has to leave what it is given as it is")

    def _compare_again(self, again: Any, writer: str) -> None:
        """Find what is not as it was when a call returned it; only what nothing was called after is not the work of a call."""
        for number, result, gradients in (parts_of(each) for each in parts_of(again)):
            before = self._returned.get(number)
            if before is None:
                continue
            for first, second, what in ((before[0], result, "an output"), (before[1], gradients, "a gradient")):
                later = list(_tensors(self._quietly(second)))
                if len(first) == len(later) and not all(_same_bits(a, b) for a, b in zip(first, later, strict=True)):
                    by_call = writer == "another call" and number < self.calls
                    cause = "reused-buffer" if by_call else "tampered"
                    writes = f"{writer if by_call else 'something that still runs'} writes to it"
                    self._found(cause, f"{what} of {self.name} changes after it was returned", writes)

    def _quietly(self, value: Any) -> Any:
        try:
            return self._restored(value)
        except Malformed:
            return None

    def _look_at_calls(self, reply: Mapping[str, Any]) -> None:
        for name in parts_of(reply.get("called")):
            self._found("forbidden-op", f"{self.name} calls {name}", "the task forbids it, and it was not to be had")
        if parts_of(reply.get("started")):
            self._found("forbidden-op", f"{self.name} starts another interpreter", "what it calls there cannot be seen")

    def _look_at_graph(self, reply: Mapping[str, Any]) -> None:
        nodes = [str(each) for each in parts_of(reply.get("graph"))]
        if self.form == "function" and nodes and self.node not in nodes:
            named = next((node for node in nodes if "AccumulateGrad" not in node), nodes[0])
            explanation = f"the graph of its outputs has {named} and not {self.node}, so its own backward is never run"
            self._found("disconnected", f"backward of {self.name} was never run", explanation)
        forbidden = {_node_of(each): each for each in self.forbidden}
        for node in nodes:
            packet = forbidden.get(node.rstrip("0123456789"))
            if packet is not None and node[-1:].isdigit():  # the nodes of an autograd.Function have no number
                self._found("forbidden-op", f"the graph of {self.name} has {node}", f"the task forbids {packet}")

    def _found(self, cause: str, message: str, explanation: str) -> None:
        self.evidence.setdefault((cause, message), Evidence(cause, message, explanation))


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """The tensors and arrays of a result, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, np.ndarray):
        yield torch.from_numpy(value)
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _tensors(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _tensors(each)


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())


def _node_of(packet: str) -> str:
    """The name of the node that autograd makes of an operator, or of the operator whose backward it is."""
    words = packet.partition(".")[2].removesuffix("_backward").split("_")
    return "".join(word[:1].upper() + word[1:] for word in words) + "Backward"


def _own_frames(trace: str, path: Path) -> str:
    """The frames of the candidate's file, and what was raised."""
    lines = trace.splitlines()
    kept = [k for k, line in enumerate(lines) if str(path) in line]
    frames = [line.replace(str(path), path.name) for k in kept for line in lines[k : k + 2] if line.startswith("  ")]
    return "\n".join([*frames, *lines[-1:]])


def _without_source(name: str, called: Callable[..., Any]) -> Callable[..., Any]:
    """A function of this name with no source to read: what it does is done elsewhere."""
    space: dict[str, Any] = {"called": called}
    exec(f"def {name}(*arguments, **keywords): return called(*arguments, **keywords)", space)
    made: Callable[..., Any] = space[name]
    return made


def _signature(parameters: Any) -> inspect.Signature:
    if parameters is None:
        return inspect.Signature([inspect.Parameter("arguments", inspect.Parameter.VAR_POSITIONAL)])
    found = []
    for name, needed, kind in parameters:
        default = inspect.Parameter.empty if needed else None  # what it is is known there
        found.append(inspect.Parameter(str(name), getattr(inspect.Parameter, str(kind)), default=default))
    return inspect.Signature(found)


def computes_in_arrays(text: str) -> bool:
    """Whether a file imports NumPy and not torch, as its text says."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return False
    names = {alias.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {(node.module or "").partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return "numpy" in names and "torch" not in names
