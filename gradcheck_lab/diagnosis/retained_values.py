"""The values that a notebook's forward computed, in float64: its variables, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gradcheck_lab.diagnosis.retained_forwards import FORWARDS, INVERSES, PICKS
from gradcheck_lab.diagnosis.retained_graph import OutputId, RetainedGraph
from gradcheck_lab.diagnosis.retained_rules import OPERANDS, OPTIONAL, SIZED, Unknown
from gradcheck_lab.model.precision import unit_roundoff, widened
from gradcheck_lab.model.precision.budget import AGREE
from gradcheck_lab.torch_internals import saved

Move = Callable[[Tensor], Tensor]


class Values:
    """What every node of a retained graph was called with and gave, as far as the user's variables tell."""

    def __init__(self, graph: RetainedGraph) -> None:
        self.graph = graph
        self.hidden: dict[tuple[int, int], Tensor] = {}  # operands that no gradient flows to, once they are found
        self._known: dict[OutputId, Tensor | None] = {}
        dtypes = [t.dtype for t in graph.tensors.values() if t.is_floating_point()]
        self.roundoff = max(map(unit_roundoff, dtypes), default=unit_roundoff(torch.float64))

    def of(self, output: OutputId) -> Tensor:
        """The value of an output. Raises `Unknown`."""
        if output not in self._known:
            self._known[output] = None  # while it is looked for
            self._known[output] = self._found(output)
        value = self._known[output]
        if value is None:
            raise Unknown
        return value

    def _found(self, output: OutputId) -> Tensor | None:
        tensor, node = self.graph.tensors.get(output), self.graph.nodes.get(output[0])
        if tensor is not None:
            return widened(tensor.detach())
        for way in (self._forwards, self._backwards):
            try:
                return way(output, node)
            except Exception:  # an unknown operand, or sizes that do not fit
                continue
        return None

    def _forwards(self, output: OutputId, node: Any) -> Tensor:
        if output[1] or node is None:
            raise Unknown
        call = NodeCall(node, self)
        return FORWARDS[node.name()](call, *call.operands())

    def _backwards(self, output: OutputId, node: Any) -> Tensor:
        """From the result of a function of it alone, whose inverse is known."""
        for consumer, position in self.graph.consumers.get(output, ()):
            result = (id(consumer), 0)
            if position == 0 and consumer.name() in INVERSES and self.graph.tensors.get(result) is not None:
                return INVERSES[consumer.name()](NodeCall(consumer, self), self.of(result))
        raise Unknown

    def operand(self, node: Any, position: int) -> Tensor:
        """The operand of a node. Raises `Unknown`."""
        source, number = node.next_functions[position]
        if source is not None:
            return self.of((id(source), number))
        at = id(node), position
        if at not in self.hidden:
            self.hidden[at] = self._hidden(node, position)
        return self.hidden[at]

    def _hidden(self, node: Any, position: int) -> Tensor:
        names = OPERANDS.get(node.name(), ())
        live = saved(node, names[position]) if position < len(names) and names[position] else None
        if isinstance(live, Tensor):
            return widened(live.detach())
        try:
            result = self.of((id(node), 0))
        except Unknown:
            return self._sized(node, position)
        others = [k for k, (s, _) in enumerate(node.next_functions) if s is not None]
        if node.name() == "MulBackward0" or (node.name() == "DivBackward0" and position == 1):
            number = self._number(node, self.operand(node, others[0]), result)
            if number is not None:
                return number
        for candidate in self.variables():
            if self._gives(node, position, candidate, result):
                return candidate
        raise Unknown

    def _number(self, node: Any, operand: Tensor, result: Tensor) -> Tensor | None:
        """The number that a product or quotient was with, where one number explains all of it."""
        finite = torch.isfinite(operand) & torch.isfinite(result)
        x, y = torch.where(finite, operand, 0.0), torch.where(finite, result, 0.0)
        factor = (x.conj() * y).sum() / (x.conj() * x).sum()
        if x.shape != y.shape or not bool(factor != 0) or not self.alike(factor * x, y):
            return None
        return factor if node.name() == "MulBackward0" else factor.reciprocal()

    def _given(self, node: Any, position: int, candidate: Tensor) -> Tensor:
        """What a node gives where a variable stands for an operand; empty where the sizes do not fit."""
        call = NodeCall(node, self)
        try:
            return FORWARDS[node.name()](call, *call.operands({position: candidate}))
        except Exception:
            return candidate.new_zeros(0)

    def _gives(self, node: Any, position: int, candidate: Tensor, result: Tensor) -> bool:
        return self.alike(self._given(node, position, candidate), result)

    def _sized(self, node: Any, position: int) -> Tensor:
        """The first variable whose sizes fit; whether it is the one shows in the retained gradients."""
        for candidate in self.variables() if node.name() in SIZED else ():
            if tuple(self._given(node, position, candidate).shape) == self.graph.shape((id(node), 0)):
                return candidate
        raise Unknown

    def alike(self, a: Tensor, b: Tensor) -> bool:
        """Whether two tensors are the same but for rounding of their largest elements."""
        if a.shape != b.shape:
            return False
        size = torch.linalg.vector_norm(torch.nan_to_num(b)) + torch.finfo(b.dtype).tiny
        allowed = AGREE.value * self.roundoff * max(b.numel(), 1) ** 0.5
        return bool(torch.linalg.vector_norm(torch.nan_to_num(a - b)) <= allowed * size)

    def variables(self) -> Iterator[Tensor]:
        """The user's variables that no gradient flows to, widened."""
        for tensor in self.graph.variables.values():
            if tensor.is_floating_point() and not tensor.requires_grad:
                yield widened(tensor)

    def picks(self, node: Any) -> Iterator[Callable[[Tensor], Tensor]]:
        """The functions that a node which picks by whole numbers may be: by those that it saved, else by the user's."""
        call, shape, ways = NodeCall(node, self), self.graph.shape((id(node), 0)), PICKS[node.name()]
        for name in ("index", "indices", "target"):
            live = saved(node, name)
            if isinstance(live, tuple):
                yield partial(_at, tuple(slice(None) if i is None else i for i in live))
            elif isinstance(live, Tensor):
                yield partial(_picked, ways[0], call, live)
        for at in self.graph.variables.values():
            if not at.is_floating_point() and not at.is_complex():
                for way in ways:
                    if node.name() != "IndexBackward0" or shape is None or tuple(at.shape) == shape[: at.ndim]:
                        yield partial(_picked, way, call, at)


def _picked(way: Callable[[NodeCall, Tensor, Tensor], Tensor], call: NodeCall, at: Tensor, x: Tensor) -> Tensor:
    return way(call, x, at)


def _at(place: Any, x: Tensor) -> Tensor:
    return x[place]


class NodeCall:
    """One node with what it was called with, each value moved by `move`."""

    def __init__(self, node: Any, values: Values, move: Move | None = None) -> None:
        self.node, self.values, self._move = node, values, move

    def operand(self, position: int) -> Tensor:
        value = self.values.operand(self.node, position)
        return value if self._move is None else self._move(value)

    def operands(self, given: Mapping[int, Tensor] | None = None) -> list[Tensor | None]:
        """All operands, None for those that the call did without; `given` stand for some."""
        found: list[Tensor | None] = []
        for position, (source, _) in enumerate(self.node.next_functions):
            if given and position in given:
                found.append(given[position])
            elif source is None and position in OPTIONAL.get(self.node.name(), ()):
                found.append(None)
            else:
                found.append(self.operand(position))
        return found

    def result(self) -> Tensor:
        value = self.values.of((id(self.node), 0))
        return value if self._move is None else self._move(value)

    def shape(self, position: int) -> tuple[int, ...]:
        source, number = self.node.next_functions[position]
        shape = None if source is None else self.values.graph.shape((id(source), number))
        if shape is None:
            return tuple(self.values.operand(self.node, position).shape)
        return shape

    def result_shape(self) -> tuple[int, ...]:
        shape = self.values.graph.shape((id(self.node), 0))
        if shape is None:
            raise Unknown
        return shape
