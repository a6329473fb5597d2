"""What the ranks compute together, as a subject of whole tensors, which is examined like any other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.diagnosis.allowance import Allowance
from gradcheck_lab.distributed.messages import Message
from gradcheck_lab.distributed.placements import (
    Partial,
    Placement,
    Replicate,
    Shard,
    placed_on,
    refuse_uneven,
    sum_of,
    upstream_on,
    whole_of,
)
from gradcheck_lab.distributed.ranks import Ranks
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.exceptions import Contained
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import FORWARDS_KEPT
from gradcheck_lab.model.watching import calling
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.subject import Manual, Recording, Subject, Trace

EVERY_RANK = -1  # the view of all ranks: what is replicated is their mean


@dataclass(frozen=True, slots=True)
class Layout:
    """How inputs and outputs lie on the ranks; one placement of outputs stands for all of them."""

    names: tuple[str, ...]
    labels: tuple[str, ...]
    inputs: tuple[Placement, ...]
    outputs: tuple[Placement, ...]
    ranks: int
    seed: int

    def output(self, index: int) -> Placement:
        """The placement of an output."""
        return self.outputs[index if len(self.outputs) > 1 else 0]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the ranks last did: outputs and gradients of each rank, and on which ranks the backward ran at all."""

    outputs: tuple[tuple[torch.Tensor, ...], ...]
    gradients: tuple[tuple[torch.Tensor | None, ...], ...] = ()


@dataclass(slots=True)
class Together:
    """Calls of the ranks on whole tensors. `reference` is the same function of whole tensors, None for none.

    `shapes` are those of the whole inputs of the call as given; `seen` is what the ranks last did.
    """

    ranks: Ranks
    layout: Layout
    reference: Callable[..., Any] | None
    options: Mapping[str, Any]
    constants: frozenset[int]
    shapes: tuple[tuple[int, ...], ...]
    seen: Seen | None = None
    complex_inputs: frozenset[int] = frozenset()
    known: OrderedDict[Any, tuple[torch.Tensor, ...]] = field(default_factory=OrderedDict)

    def placed(self, inputs: Sequence[Any]) -> list[list[Any]]:
        """What each rank is given of whole inputs. Raises `ValueError` for sizes that they cannot share."""
        columns = []
        for index, (value, placement) in enumerate(zip(inputs, self.layout.inputs, strict=True)):
            if not isinstance(value, torch.Tensor):
                columns.append([value] * self.layout.ranks)
                continue
            self._refuse_sizes(index, value, placement)
            if value.is_complex() and index not in self.complex_inputs:
                raise TypeError("the ranks are given real numbers")
            columns.append(placed_on(value.detach(), placement, self.layout.ranks, self.layout.seed + index))
        return [list(row) for row in zip(*columns, strict=True)]

    def _refuse_sizes(self, index: int, value: torch.Tensor, placement: Placement) -> None:
        """Raise `ValueError` for an input that the ranks cannot share as they share that of the call as given.

        Of a derived call they might cut another size unevenly, along an axis of an output too, and wait for one another.
        """
        label, ranks, given = self.layout.labels[index], self.layout.ranks, self.shapes[index]
        try:
            refuse_uneven(value, placement, label, ranks)
        except InvalidArgument as error:
            raise ValueError(str(error)) from error
        before = given if len(given) == value.ndim else (ranks,) * value.ndim
        for size, known in zip(value.shape, before, strict=True):
            if known and known % ranks == 0 and (size % ranks or not size):
                raise ValueError(f"{label} has the sizes {tuple(value.shape)}, which {ranks} ranks cannot share evenly")

    def forward(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        """The whole outputs, without a backward; the last few thousand are kept, since central differences come back there."""
        key = tuple(_content(value) for value in inputs)
        if key not in self.known:
            _, answers = self.run_forward(self.placed(inputs), None)
            while len(self.known) >= FORWARDS_KEPT.value:
                self.known.popitem(last=False)
            self.known[key] = self.whole([each.values for each in answers], EVERY_RANK)
        return self.known[key]

    def record(self, rank: int, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
        """Run the forward on all ranks; the outputs and gradients are those that this rank sees."""
        wanted = [i for i, value in enumerate(inputs) if is_differentiable(value) and i not in self.constants]
        given = self.placed(inputs)
        call, answers = self.run_forward(given, wanted)
        _leave_written(inputs, answers, "written")
        outputs = [tuple(each.values) for each in answers]
        self.seen = Seen(tuple(outputs))
        whole = self.whole(outputs, rank)

        def backward(grad_outputs: tuple[torch.Tensor, ...]) -> Manual:
            nonlocal call
            if call not in self.ranks.kept:  # the ranks have started anew since, or have made many calls
                call, _ = self.run_forward(given, wanted)
            back = self.run_backward(call, grad_outputs)
            _leave_written(inputs, back, "written")
            _leave_written(grad_outputs, back, "upstream written")
            gradients = [tuple(each.values) for each in back]
            self.seen = Seen(tuple(outputs), tuple(gradients))
            return Manual(tuple(self.gradient(i, [each[i] for each in gradients], given, rank) for i in range(len(inputs))))

        several = bool(answers[0].about.get("several"))
        unconnected = () if any(each.about.get("connected") for each in answers) else (_disconnected(),)
        return Recording(whole, several, backward, findings=unconnected)

    def run_forward(self, given: Sequence[Sequence[Any]], wanted: Sequence[int] | None) -> tuple[int, list[Message]]:
        """Run the forward on what each rank is given."""
        calling("forward", given[0])
        return self.ranks.forward(given, wanted)

    def run_backward(self, call: int, grad_outputs: Sequence[torch.Tensor]) -> list[Message]:
        """Run the backward of a call with whole upstream gradients."""
        upstream = self.upstream(grad_outputs)
        calling("backward", upstream[0])
        return self.ranks.backward(call, upstream)

    def upstream(self, grad_outputs: Sequence[torch.Tensor]) -> list[list[Any]]:
        """The upstream gradients of each rank."""
        columns = [
            upstream_on(value, self.layout.output(k), self.layout.ranks, self.layout.seed - 1 - k)
            for k, value in enumerate(grad_outputs)
        ]
        return [list(row) for row in zip(*columns, strict=True)]

    def whole(self, outputs: Sequence[Sequence[Any]], rank: int) -> tuple[torch.Tensor, ...]:
        """The whole outputs that this rank sees. Raises `ValueError` where those of the ranks do not fit together."""
        problem = unlike(outputs, self.layout)
        if problem:
            raise ValueError(problem)
        columns = list(zip(*outputs, strict=True))
        return tuple(_seen_by(parts, self.layout.output(k), rank) for k, parts in enumerate(columns))

    def gradient(
        self, index: int, parts: Sequence[torch.Tensor | None], given: Sequence[Sequence[Any]], rank: int
    ) -> torch.Tensor | None:
        """The gradient of a whole input that this rank sees; None where none arrives."""
        placement = self.layout.inputs[index]
        if all(part is None for part in parts):
            return None
        is_own = not isinstance(placement, Shard) and placement != Replicate("partial")
        if is_own and rank != EVERY_RANK and parts[rank] is None:
            return None
        shapes = [tuple(each[index].shape) for each in given]
        known = [torch.zeros_like(each[index]) if part is None else part for part, each in zip(parts, given, strict=True)]
        if any(tuple(part.shape) != shape for part, shape in zip(known, shapes, strict=True)):
            raise ValueError(f"the gradient of {self.layout.labels[index]} has another shape than it on a rank")
        if placement == Replicate("partial"):
            return sum_of(known)
        return _seen_by(known, Replicate() if isinstance(placement, Partial) else placement, rank)


def unlike(outputs: Sequence[Sequence[Any]], layout: Layout) -> str:
    """Why the outputs of the ranks are no parts of one tensor each; empty where they are."""
    counts = [len(each) for each in outputs]
    if len(set(counts)) > 1:
        return f"the ranks return {', '.join(map(str, counts))} outputs"
    if len(layout.outputs) not in (1, counts[0]):
        return f"{len(layout.outputs)} placements of outputs are given, and the function has {counts[0]}"
    for k, parts in enumerate(zip(*outputs, strict=True)):
        placement, shapes = layout.output(k), [list(part.shape) for part in parts]
        what = "the output" if counts[0] == 1 else f"output {k}"
        if len({part.dtype for part in parts}) > 1:
            return f"{what} has the dtypes {', '.join(str(part.dtype).removeprefix('torch.') for part in parts)} on the ranks"
        if isinstance(placement, Shard):
            dim = placement.dim
            if not all(-len(shape) <= dim < len(shape) for shape in shapes):
                return f"{what} has {len(shapes[0])} dimensions and is sharded along dimension {dim}"
            for shape in shapes:
                shape[dim] = 0
        if any(shape != shapes[0] for shape in shapes):
            return f"{what} has the shapes {', '.join(str(tuple(part.shape)) for part in parts)} on the ranks"
    return ""


def subject_of(together: Together, name: str, inputs: tuple[Any, ...], rank: int, allow: frozenset[str]) -> Subject:
    """The subject of what one rank sees of the whole, or all of them."""
    layout, reference = together.layout, together.reference

    def trace(given: tuple[Any, ...], options: Mapping[str, Any], substitute: frozenset[int]) -> Trace:
        assert reference is not None
        with Contained():
            return Trace(as_tuple(reference(*given, **together.options)))

    floating = frozenset(i for i, value in enumerate(inputs) if is_differentiable(value))
    return Subject(
        name=name,
        kind="op",
        inputs=inputs,
        names=layout.names,
        labels=layout.labels,
        record=lambda given, options: together.record(rank, given, options),
        trace=None if reference is None else trace,
        forward=together.forward,
        oracle="autograd of the reference in one process",
        constants=together.constants,
        declared=floating - together.constants,
        allowed=Allowance(allow),
        reference=reference,
    )


def _seen_by(parts: Sequence[torch.Tensor], placement: Placement, rank: int) -> torch.Tensor:
    if not isinstance(placement, Replicate) or rank != EVERY_RANK:
        return whole_of(parts, placement, rank)
    first = parts[0]
    if all(torch.equal(first, part) for part in parts) or not is_differentiable(first):
        return first
    return torch.stack(list(parts)).mean(0)


def _content(value: Any) -> Any:
    """What tells an input from others. Raises what torch raises for a tensor that has no memory of its own."""
    if not isinstance(value, torch.Tensor):
        return value
    flat = value.detach().reshape(-1).contiguous()
    return str(value.dtype), tuple(value.shape), flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def _disconnected() -> Finding:
    return Finding(
        "disconnected",
        "error",
        "no output of any rank depends on an input through torch's engine",
        explanation="a collective of torch.distributed has no derivative of its own: it cuts the graph",
        suggestion="put it into a torch.autograd.Function whose backward sends the gradient back",
    )


def _leave_written(values: Sequence[Any], answers: Sequence[Message], name: str) -> None:
    """Write to the values, by index, that a rank has written to: who compares them sees it then."""
    written = {index for each in answers for index in each.about.get(name, ())}
    for index in written:
        value = values[index]
        with torch.no_grad():
            changed = ~value if value.dtype == torch.bool else value + 1
            value.copy_(changed)
