"""The vector-Jacobian products of a retained graph's nodes, computed again from the values that are at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gradcheck_lab.diagnosis.retained_forwards import FORWARDS, PICKS
from gradcheck_lab.diagnosis.retained_graph import RetainedGraph
from gradcheck_lab.diagnosis.retained_rules import FROM_RESULT, LINEAR, SELECTING, Unknown
from gradcheck_lab.diagnosis.retained_values import Move, NodeCall, Values
from gradcheck_lab.model.precision import widened

Sent = Sequence[Tensor | None]


class Rules:
    """The vector-Jacobian products of a retained graph's nodes."""

    def __init__(self, graph: RetainedGraph) -> None:
        self.graph, self.values = graph, Values(graph)
        self._picked: dict[int, Callable[[Tensor], Tensor]] = {}
        self._refused: set[int] = set()  # nodes whose rule is unknown, for good

    def send(self, node: Any, grads: Sequence[Tensor | None], move: Move | None = None) -> Sent:
        """The gradient that a node sends back along each of its edges. Raises `Unknown`."""
        if id(node) in self._refused:
            raise Unknown
        try:
            return self._send(node, grads, move)
        except Exception:  # an operand that no variable refers to, or sizes that do not fit
            if move is None and self._solved(node, grads):
                return self._send(node, grads, move)
        try:
            return self._live(node, grads)
        except Exception as problem:  # its saved tensors were freed
            self._refused.add(id(node))
            raise Unknown from problem

    def _send(self, node: Any, grads: Sequence[Tensor | None], move: Move | None) -> Sent:
        name, grad = node.name(), grads[0]
        if grad is None or any(g is not None for g in grads[1:]):
            raise Unknown
        if name in LINEAR:
            return LINEAR[name](NodeCall(node, self.values), grad)
        call = NodeCall(node, self.values, None if name in SELECTING else move)
        if name in FROM_RESULT:
            return [FROM_RESULT[name](call, grad, call.result())]
        if name in PICKS:
            pick = self._picked[id(node)]
            return self._differentiated(node, pick, [grad.new_zeros(call.shape(0))], grad)
        return self._differentiated(node, partial(FORWARDS[name], call), call.operands(), grad)

    def _differentiated(
        self, node: Any, function: Callable[..., Tensor], operands: Sequence[Tensor | None], grad: Tensor
    ) -> Sent:
        wanted = [k for k, (source, _) in enumerate(node.next_functions) if source is not None]
        leaves = [None if x is None else x.detach().requires_grad_(k in wanted) for k, x in enumerate(operands)]
        with torch.enable_grad():
            result = function(*leaves)
        unsummed = grad.shape != result.shape  # somebody forgot to sum it, and multiplies on by broadcasting
        seed = torch.ones_like(result) if unsummed else grad.to(result)
        found = torch.autograd.grad(result, [x for x in leaves if x is not None and x.requires_grad], seed)
        sent: list[Tensor | None] = [None] * len(leaves)
        for k, each in zip(wanted, found, strict=True):
            sent[k] = each * grad.expand(torch.broadcast_shapes(grad.shape, each.shape)) if unsummed else each
        return sent

    def _live(self, node: Any, grads: Sequence[Tensor | None]) -> Sent:
        """By the node itself, in its own dtype, where its graph was retained."""
        kinds = [self.graph.tensors.get((id(node), k)) for k in range(len(grads))]
        dtypes = {t.dtype for t in kinds if t is not None} or {self._dtype()}
        with torch.no_grad():
            found = node(*(None if g is None else g.to(dtypes.copy().pop()) for g in grads))
        return [None if g is None else widened(g) for g in (found if isinstance(found, tuple) else (found,))]

    def _dtype(self) -> torch.dtype:
        return next((t.dtype for t in self.graph.tensors.values() if t.is_floating_point()), torch.float32)

    def _solved(self, node: Any, grads: Sequence[Tensor | None]) -> bool:
        """Whether one of the user's variables, in the place of what is unknown, makes the node send what autograd retained."""
        check = self._checkable(node)
        if check is None:
            return False
        position, retained = check
        for setting in self._settings(node):
            setting()
            try:
                sent = self._send(node, grads, None)[position]
            except Exception:  # sizes that do not fit
                continue
            if sent is not None and self.values.alike(sent.expand_as(retained), widened(retained)):
                return True
        self._picked.pop(id(node), None)
        for position in range(len(node.next_functions)):
            self.values.hidden.pop((id(node), position), None)
        return False

    def _checkable(self, node: Any) -> tuple[int, Tensor] | None:
        """An operand of a node whose gradient came from this node alone, and was retained."""
        for position, (source, number) in enumerate(node.next_functions):
            if source is not None and len(self.graph.consumers.get((id(source), number), ())) == 1:
                retained = self.graph.retained((id(source), number))
                if retained is not None and bool(retained.any()):
                    return position, retained
        return None

    def _settings(self, node: Any) -> Iterator[Callable[[], None]]:
        if node.name() in PICKS:
            for pick in self.values.picks(node):
                yield partial(self._picked.__setitem__, id(node), pick)
            return
        hidden = [k for k, (source, _) in enumerate(node.next_functions) if source is None]
        if len(hidden) == 1 and node.name() in FORWARDS:
            for candidate in self.values.variables():
                yield partial(self.values.hidden.__setitem__, (id(node), hidden[0]), candidate)
