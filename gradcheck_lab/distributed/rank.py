"""What runs on one rank: a process that has joined the group, and answers for the user's function until it is ended."""

from __future__ import annotations

import os
import sys
import threading
import traceback
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import distributed

from gradcheck_lab.calls.case import copy_inputs, is_differentiable
from gradcheck_lab.calls.randomness import seed_all
from gradcheck_lab.distributed.messages import PLAIN, Message, packed, receive, send
from gradcheck_lab.model.limits import CALLS_KEPT_BY_A_RANK
from gradcheck_lab.model.torch_messages import refused_shape, writes_to_leaf
from gradcheck_lab.model.user_errors import text_of, user_traceback
from gradcheck_lab.rules.op import Op, as_tuple
from gradcheck_lab.workers.lifetime import end_group_with, end_with_parent

_LOOPBACK = "127.0.0.1"
_NO_LIMIT = timedelta(days=1)  # the process that waits for the ranks has the limit


class NoTensor(TypeError):
    """The user's forward returned something else than tensors; the message says what."""


@dataclass(frozen=True, slots=True)
class Wires:
    """The ends of a rank's pipes: for calls, for questions while one runs, and one that ends the rank when it is closed."""

    calls: Connection
    questions: Connection
    lifeline: tuple[Connection, Connection]


@dataclass(frozen=True, slots=True)
class Member:
    """What a rank is told when it starts: its number, how many there are, where they meet, and the function of all of them."""

    rank: int
    ranks: int
    meeting: str
    function: Callable[..., Any] | Op
    seed: int


@dataclass(slots=True)
class _Kept:
    """A call whose backward may still be asked for."""

    inputs: tuple[Any, ...]
    before: tuple[Any, ...]
    outputs: tuple[Any, ...]
    wanted: tuple[int, ...]
    several: bool


@dataclass(slots=True)
class _Calls:
    """The last few calls, by number."""

    member: Member
    kept: OrderedDict[int, _Kept] = field(default_factory=OrderedDict)
    in_place: bool = False  # a call has shown that the function writes to its inputs, which are leaves then

    def answer(self, asked: Message) -> Message:
        if asked.about["what"] == "forward":
            return self.forward(asked)
        return self.backward(asked)

    def forward(self, asked: Message) -> Message:
        """Run the forward on these values; `wanted` are the inputs that require grad, None where no backward will be asked."""
        wanted, function = asked.about["wanted"], self.member.function
        inputs = tuple(asked.values)
        before = copy_inputs(inputs)
        seed_all(self.member.seed)
        if wanted is None or isinstance(function, Op):
            with torch.no_grad():
                output = function.forward(*inputs) if isinstance(function, Op) else function(*inputs)
        else:
            inputs, output = self._on_leaves(inputs, before, wanted)
        outputs = as_tuple(output)
        _refuse_outputs(outputs)
        if wanted is not None:
            call = _Kept(inputs, before, outputs, tuple(wanted), isinstance(output, tuple | list))
            self.kept[asked.about["call"]] = call
            while len(self.kept) > CALLS_KEPT_BY_A_RANK.value:
                self.kept.popitem(last=False)
        connected = isinstance(function, Op) or any(output.requires_grad for output in outputs)
        about = {"written": _written(inputs, before), "connected": connected, "several": isinstance(output, tuple | list)}
        return Message(about, [output.detach() for output in outputs])

    def _on_leaves(
        self, inputs: tuple[Any, ...], before: tuple[Any, ...], wanted: Sequence[int]
    ) -> tuple[tuple[Any, ...], Any]:
        """The leaves, and what the function returns of them, or of clones where torch does not let it write to leaves."""
        function = self.member.function
        with torch.enable_grad():
            if not self.in_place:
                try:
                    leaves = _as_leaves(inputs, wanted)
                    return leaves, function(*leaves)
                except RuntimeError as error:
                    if not writes_to_leaf(error):
                        raise
                self.in_place = True
                inputs = copy_inputs(before)
                seed_all(self.member.seed)
            leaves = _as_leaves(inputs, wanted)
            return leaves, function(*(v.clone() if i in wanted else v for i, v in enumerate(leaves)))

    def backward(self, asked: Message) -> Message:
        """Run the backward of a call with these upstream gradients; one gradient per input, None where none arrives."""
        call, function = self.kept[asked.about["call"]], self.member.function
        upstream = tuple(asked.values)
        given = copy_inputs(upstream)
        seed_all(self.member.seed)
        gradients: list[Any]
        if isinstance(function, Op):
            with torch.no_grad():
                pair = (upstream, call.outputs) if call.several else (upstream[0], call.outputs[0])
                gradients = list(as_tuple(function.backward(*pair, *call.inputs)))
        else:
            gradients = _by_engine(call, upstream)
        about = {"written": _written(call.inputs, call.before), "upstream written": _written(upstream, given)}
        return Message(about, [g.detach() if isinstance(g, torch.Tensor) else None for g in gradients])


def _as_leaves(inputs: tuple[Any, ...], wanted: Sequence[int]) -> tuple[Any, ...]:
    for index in wanted:
        inputs[index].requires_grad_()
    return inputs


def serve(member: Member, wires: Wires) -> None:
    """Join the group, and answer calls until this process is ended."""
    wires.lifeline[1].close()
    end_group_with(wires.lifeline[0], wires.calls, wires.questions)
    end_with_parent()
    warnings.simplefilter("ignore")  # each rank would show them; a name that is to be renamed is no mistake
    torch.set_num_threads(1)
    threading.Thread(target=_tell_where, args=(wires.questions, threading.main_thread().ident), daemon=True).start()
    try:
        _join(member)
    except Exception as error:
        send(wires.calls, packed(_raised(error)))
        return
    send(wires.calls, packed(Message({"joined": True})))
    calls = _Calls(member)
    with suppress(EOFError, OSError):
        while True:
            asked = receive(wires.calls)
            try:
                answer = calls.answer(asked)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                answer = _raised(error)
            send(wires.calls, packed(answer))


def _join(member: Member) -> None:
    given = {"RANK": member.rank, "LOCAL_RANK": member.rank, "WORLD_SIZE": member.ranks, "LOCAL_WORLD_SIZE": member.ranks}
    os.environ.update({name: str(value) for name, value in given.items()})
    os.environ["MASTER_ADDR"] = _LOOPBACK
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
    meeting = f"file://{member.meeting}"  # a file, so that no port is taken for it
    distributed.init_process_group("gloo", init_method=meeting, rank=member.rank, world_size=member.ranks, timeout=_NO_LIMIT)


def _by_engine(call: _Kept, upstream: Sequence[torch.Tensor]) -> list[torch.Tensor | None]:
    pairs = [(o, g) for o, g in zip(call.outputs, upstream, strict=True) if o.requires_grad]
    found: list[torch.Tensor | None] = [None] * len(call.inputs)
    if not pairs or not call.wanted:
        return found
    leaves = [call.inputs[index] for index in call.wanted]
    outputs, grads = zip(*pairs, strict=True)
    returned = torch.autograd.grad(outputs, leaves, grads, allow_unused=True, retain_graph=True)
    for index, gradient in zip(call.wanted, returned, strict=True):
        found[index] = gradient
    return found


def _refuse_outputs(outputs: Sequence[Any]) -> None:
    for index, output in enumerate(outputs):
        if not isinstance(output, torch.Tensor):
            raise NoTensor(f"a {type(output).__name__} as output {index}")


def _written(values: Sequence[Any], before: Sequence[Any]) -> list[int]:
    """The values, by index, that are no longer what they were."""
    return [i for i, (mine, given) in enumerate(zip(values, before, strict=True)) if not _same(mine, given)]


def _same(mine: Any, given: Any) -> bool:
    if not isinstance(mine, torch.Tensor) or torch.equal(mine, given):
        return True
    return is_differentiable(mine) and bool(((mine == given) | (mine.isnan() & given.isnan())).all())


def _raised(error: BaseException) -> Message:
    refused = refused_shape(error)
    about = {
        "raised": type(error).__name__, "message": text_of(error), "traceback": user_traceback(error),
        "no tensor": isinstance(error, NoTensor),
        "returned": refused and list(refused[0]), "expected": refused and list(refused[1]),
    }  # fmt: skip
    return Message(about)


def _tell_where(questions: Connection, thread: int | None) -> None:
    """Answer each question with the lines that the main thread is in, as a traceback."""
    with suppress(EOFError, OSError):
        while True:
            questions.recv_bytes()
            frame = sys._current_frames().get(thread or 0)
            text = "" if frame is None else _within(traceback.extract_stack(frame))
            questions.send_bytes(text.encode("utf-8", "replace"))


def _within(stack: traceback.StackSummary) -> str:
    """The frames of the user's function, which this file calls."""
    own = [k for k, frame in enumerate(stack) if frame.filename == __file__]
    return "".join(traceback.format_list(stack[own[-1] + 1 :] if own else stack))


def is_plain(value: Any) -> bool:
    """Whether an input that is no tensor can be sent to the ranks."""
    return type(value) in PLAIN
