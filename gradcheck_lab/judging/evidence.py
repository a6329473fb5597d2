"""What the answers of a candidate show by themselves, whatever their numbers are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from gradcheck_lab.comparison.findings import short_dtype
from gradcheck_lab.judging.connection import owned, parts_of
from gradcheck_lab.model.precision import unit_roundoff

Restored = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Something that no ordinary answer is: the cause of the finding, a sentence, and why it is one."""

    cause: str
    message: str
    explanation: str


@dataclass
class Answers:
    """What is known of the answers of the candidate `name`, and of the calls that returned them.

    `found` is evidence by its cause and sentence. `returned` holds the tensors of each call's result and of its gradients, as
    they came, by the number of the call, of which `calls` is the latest.
    """

    name: str
    forbidden: tuple[str, ...]
    found: dict[tuple[str, str], Evidence] = field(default_factory=dict)
    returned: dict[int, list[list[torch.Tensor]]] = field(default_factory=dict)
    calls: int = 0

    def look_at_dtypes(self, result: Any, what: str, sent: torch.dtype | None) -> None:
        """Find results that are narrower than their inputs: once they are rounded, nobody sees that any more."""
        if sent is None:
            return
        for value in tensors_of(result):
            if value.is_floating_point() and unit_roundoff(value.dtype) > unit_roundoff(sent):
                explanation = f"its inputs are {short_dtype(sent)}, and digits are lost"
                self.find("wrong-dtype", f"{what} of {self.name} is {short_dtype(value.dtype)}", explanation)

    def look_at_writes(self, written: Any, cause: str, what: str) -> None:
        """Find what was written to; nothing here is changed by it, so that the truth stays that of the call."""
        for each in parts_of(written):
            index, value = parts_of(each)
            owned(value)
            self.find(cause, f"{self.name} writes to {what} {int(index)}", "a call has to leave what it is given as it is")

    def compare_again(self, again: Any, writer: str, restored: Restored) -> None:
        """Find what is not as it was when a call returned it; only what nothing was called after is not the work of a call."""
        for number, result, gradients in (parts_of(each) for each in parts_of(again)):
            before = self.returned.get(number)
            if before is None:
                continue
            for first, second, what in ((before[0], result, "an output"), (before[1], gradients, "a gradient")):
                later = list(tensors_of(restored(second)))
                if len(first) == len(later) and not all(_same_bits(a, b) for a, b in zip(first, later, strict=True)):
                    by_call = writer == "another call" and number < self.calls
                    cause = "reused-buffer" if by_call else "tampered"
                    writes = f"{writer if by_call else 'something that still runs'} writes to it"
                    self.find(cause, f"{what} of {self.name} changes after it was returned", writes)

    def look_at_calls(self, reply: Mapping[str, Any]) -> None:
        """Find what the task forbids: operators that were called, and interpreters that were started."""
        for name in parts_of(reply.get("called")):
            self.find("forbidden-op", f"{self.name} calls {name}", "the task forbids it, and it was not to be had")
        if parts_of(reply.get("started")):
            self.find("forbidden-op", f"{self.name} starts another interpreter", "what it calls there cannot be seen")

    def look_at_graph(self, reply: Mapping[str, Any], form: str, own: str) -> None:
        """Find an `autograd.Function` whose own node is not in its graph, and nodes of what the task forbids."""
        nodes = [str(each) for each in parts_of(reply.get("graph"))]
        if form == "function" and nodes and own not in nodes:
            named = next((node for node in nodes if "AccumulateGrad" not in node), nodes[0])
            explanation = f"the graph of its outputs has {named} and not {own}, so its own backward is never run"
            self.find("disconnected", f"backward of {self.name} was never run", explanation)
        forbidden = {_node_of(each): each for each in self.forbidden}
        for node in nodes:
            packet = forbidden.get(node.rstrip("0123456789"))
            if packet is not None and node[-1:].isdigit():  # the nodes of an autograd.Function have no number
                self.find("forbidden-op", f"the graph of {self.name} has {node}", f"the task forbids {packet}")

    def find(self, cause: str, message: str, explanation: str) -> None:
        """Add evidence; a sentence that is known is not said again."""
        self.found.setdefault((cause, message), Evidence(cause, message, explanation))


def tensors_of(value: Any) -> Iterator[torch.Tensor]:
    """The tensors and arrays of a result, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, np.ndarray):
        yield torch.from_numpy(value)
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from tensors_of(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from tensors_of(each)


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())


def _node_of(packet: str) -> str:
    """The name of the node that autograd makes of an operator, or of the operator whose backward it is."""
    words = packet.partition(".")[2].removesuffix("_backward").split("_")
    return "".join(word[:1].upper() + word[1:] for word in words) + "Backward"
