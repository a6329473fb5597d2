"""What a gradient would be if one use of a value that is used several times sent nothing back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from gradcheck_lab.diagnosis.evidence import PartialGradient
from gradcheck_lab.model.limits import GRAPH_NODES, PARTIAL_RUNS
from gradcheck_lab.torch_internals import sequence_number

Edge = tuple[Any, int]


@dataclass(slots=True)
class Uses:
    """The uses of one value: the edges of the graph that lead to it, the last use in the forward first."""

    node: Any
    edges: list[Edge] = field(default_factory=list)

    @property
    def words(self) -> list[str]:
        """What each use is: `mul`, `mm`; numbered where two are the same."""
        kinds = [kind(node) for node, _ in self.edges]
        return [f"{k} (use {len(kinds) - i})" if kinds.count(k) > 1 else k for i, k in enumerate(kinds)]


def incomplete_gradients(
    outputs: Sequence[torch.Tensor], upstream: Sequence[torch.Tensor], leaf: torch.Tensor
) -> Iterator[PartialGradient]:
    """The gradients of `leaf` with some uses of one value left out, value by value; runs backward once each.

    For a value of n uses: each use alone, and each left out. The graph has to be alive, and is kept.
    """
    runs = 0
    for uses in fan_outs([output.grad_fn for output in outputs]):
        count, words = len(uses.edges), uses.words
        kinds = {kind(node) for node, _ in uses.edges}
        own = "it" if getattr(uses.node, "variable", None) is leaf else f"the result of {kind(uses.node)}"
        # backward reaches the first use last
        first = min(range(count), key=lambda i: sequence_number(uses.edges[i][0]))
        alone = [[i] for i in range(count)]
        for kept in alone + [[j for j in range(count) if j != i] for i in range(count) if count > 2]:
            runs += 1
            if runs > PARTIAL_RUNS.value:
                return
            found = _without([edge for i, edge in enumerate(uses.edges) if i not in kept], outputs, upstream, leaf)
            if found is not None:
                lost = " and ".join(words[i] for i in range(count) if i not in kept)
                arriving = " and ".join(words[i] for i in kept)
                yield PartialGradient(arriving, found, lost, own, kept == [first] or len(kinds) == 1)


def fan_outs(roots: Sequence[Any]) -> list[Uses]:
    """The values of a graph that are used more than once; empty for a graph that is too large to look through."""
    reached: dict[tuple[int, int], Uses] = {}
    seen: set[int] = set()
    queue = [root for root in roots if root is not None]
    while queue:
        node = queue.pop(0)
        if id(node) in seen:
            continue
        seen.add(id(node))
        if len(seen) > GRAPH_NODES.value:
            return []
        for position, (source, number) in enumerate(node.next_functions):
            if source is not None:
                reached.setdefault((id(source), number), Uses(source)).edges.append((node, position))
                queue.append(source)
    return [uses for uses in reached.values() if len(uses.edges) > 1]


def kind(node: Any) -> str:
    """`mul` for MulBackward0, `Relu` for a custom Function's node."""
    name = re.sub(r"Backward\d*$", "", str(node.name()))
    return {"Mm": "matmul", "T": "transpose"}.get(name, name.lower())


def _without(
    edges: Sequence[Edge], outputs: Sequence[torch.Tensor], upstream: Sequence[torch.Tensor], leaf: torch.Tensor
) -> torch.Tensor | None:
    handles = []
    for node in {id(node): node for node, _ in edges}.values():
        dropped = {position for other, position in edges if other is node}

        def hook(grads: Any, _: Any, dropped: set[int] = dropped) -> Any:
            return tuple(torch.zeros_like(g) if i in dropped and g is not None else g for i, g in enumerate(grads))

        handles.append(node.register_hook(hook))
    try:
        found = torch.autograd.grad(outputs, [leaf], upstream, retain_graph=True, allow_unused=True)[0]
        return None if found is None else found.detach()
    finally:
        for handle in handles:
            handle.remove()
