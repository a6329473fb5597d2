"""A backward pass over a retained graph, run again in float64: as it was, from other gradients, or with every value moved."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gradcheck_lab.diagnosis.retained_graph import OutputId
from gradcheck_lab.diagnosis.retained_rounding import Rounding
from gradcheck_lab.diagnosis.retained_rules import UNMIXED, Unknown
from gradcheck_lab.diagnosis.retained_sends import Rules
from gradcheck_lab.model.precision import widened

At = tuple[int, int]  # an edge: the id of the node and the number of its operand


class Backward:
    """The gradients of all outputs in one pass back from `root`, the loss; from all losses where it is None.

    `given` are gradients that stand in the place of those computed, `base` the pass whose computed gradients these belong to:
    what this one computes otherwise is added to them. `noisy` rounds a gradient or a value at random.
    """

    def __init__(
        self,
        rules: Rules,
        given: Mapping[OutputId, Tensor],
        root: OutputId | None = None,
        base: Backward | None = None,
        noisy: Rounding | None = None,
    ) -> None:
        self.rules, self.graph, self.given, self.root, self.base, self._noisy = rules, rules.graph, given, root, base, noisy
        self.computed: dict[OutputId, Tensor] = {}  # from the gradients of the consumers
        self.grads: dict[OutputId, Tensor] = {}
        self.sent: dict[At, Tensor] = {}
        self.unknown: set[OutputId] = set()  # outputs whose gradients do not follow from those of their consumers
        self._plain: set[OutputId] = set()  # outputs in whose gradients no two terms were added
        self._unused: set[int] = set()  # nodes that no gradient came by
        for node in self.graph.order:
            self._pass(node)

    def _pass(self, node: Any) -> None:
        outputs = [(id(node), k) for k in range(self.graph.outputs(node))]
        for output in outputs:
            self._settle(output)
        grads = [self.grads.get(output) for output in outputs]
        if all(g is None for g in grads):
            if not any(output in self.unknown for output in outputs):
                self._unused.add(id(node))
            return
        if all(source is None for source, _ in node.next_functions):
            return  # a leaf: torch's own node would add to its gradient
        try:
            sent = self.rules.send(node, grads, self._noisy)
        except Unknown:
            return
        for position, (source, _) in enumerate(node.next_functions):
            value = sent[position] if position < len(sent) else None
            if source is not None and value is not None:
                self.sent[id(node), position] = value if self._noisy is None else self._noisy(value)

    def uses(self, output: OutputId) -> list[At]:
        """The edges to an output that a gradient came by."""
        consumers = self.graph.consumers.get(output, ())
        return [(id(node), position) for node, position in consumers if id(node) not in self._unused]

    def _settle(self, output: OutputId) -> None:
        if not self.graph.consumers.get(output):
            seed = self._seed(output)
            if seed is not None:
                self.grads[output] = seed
                self._plain.add(output)
            return
        edges, given = self.uses(output), self.given.get(output)
        if not edges:
            return
        node = self.graph.nodes[edges[0][0]]
        if len(edges) == 1 and (id(node), 0) in self._plain and node.name() in UNMIXED:
            self._plain.add(output)
        parts = {at: self.sent[at] for at in edges if at in self.sent}
        if len(parts) == len(edges):
            self._follow(output, parts)
            return
        if output not in self._plain or given is None:
            self.unknown.add(output)
        if given is not None:
            self.grads[output] = given if self._noisy is None else self._noisy(given)

    def _follow(self, output: OutputId, parts: Mapping[At, Tensor]) -> None:
        given, before = self.given.get(output), None if self.base is None else self.base.computed.get(output)
        if self.base is None or before is None or self._noisy is None:
            self.computed[output] = total(list(parts.values()))
            self.grads[output] = self.computed[output] if given is None else given
            return
        # rounding that two uses share cancels in their sum; who derives one of them by another route does without that
        moved = total([self._noisy.sign() * (part - self.base.sent[at]) for at, part in parts.items()])
        self.computed[output] = before + moved
        self.grads[output] = (before if given is None else given) + moved

    def _seed(self, output: OutputId) -> Tensor | None:
        """The gradient that a backward began with: of a loss one, of what is no loss and retained none nothing."""
        tensor = self.graph.tensors.get(output)
        if tensor is None or self.root not in (None, output):
            return None
        if tensor.retains_grad or tensor.is_leaf:
            return None if tensor.grad is None else widened(tensor.grad)
        return torch.ones_like(widened(tensor.detach())) if tensor.numel() == 1 else None

    def before(self, output: OutputId, known: Collection[OutputId] = ()) -> set[OutputId]:
        """All outputs whose gradients an output's follows from, as far as from those that are `known`."""
        found: set[OutputId] = set()
        waiting: list[OutputId] = [output]
        while waiting:
            for at in self.uses(waiting.pop()):
                for number in range(self.graph.outputs(self.graph.nodes[at[0]])):
                    result = (at[0], number)
                    if result not in found and result not in known:
                        found.add(result)
                        waiting.append(result)
        return found


def roots(graph: Any) -> list[OutputId | None]:
    """What a backward may have begun at: all losses, and each by itself where there are several."""
    outputs = [(id(node), 0) for node in graph.order if not graph.consumers.get((id(node), 0))]
    losses = [o for o in outputs if (t := graph.tensors.get(o)) is not None and t.numel() == 1]
    return [None, *losses] if len(losses) > 1 else [None]


def total(parts: Sequence[Tensor]) -> Tensor:
    return sum(parts[1:], parts[0])
