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

    For a value of n uses: each use alone, and each left out; for the values of a loop's steps, which are used alike, uses of
    one kind left out of all. The graph has to be alive, and is kept.
    """
    runs = 0
    several = fan_outs([output.grad_fn for output in outputs])
    wholes = _wholes(several, outputs, upstream, leaf)
    for kept_word, lost_word, value, edges in _of_every_step(several):
        runs += 1
        found = _without(edges, outputs, upstream, leaf)
        if found is not None:
            yield PartialGradient(kept_word, found, lost_word, value)
    for uses in several:
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
                whole = wholes.get(id(uses.node))
                yield PartialGradient(arriving, found, lost, own, kept == [first] or len(kinds) == 1, whole)


def _of_every_step(several: Sequence[Uses]) -> Iterator[tuple[str, str, str, list[Edge]]]:
    """Where the steps of a loop make values that are used alike: the uses of one kind in all steps, and words for them."""
    alike: dict[tuple[str, tuple[str, ...]], list[Uses]] = {}
    for uses in several:
        kinds = tuple(sorted({kind(node) for node, _ in uses.edges}))
        if len(kinds) > 1 and getattr(uses.node, "variable", None) is None:
            alike.setdefault((kind(uses.node), kinds), []).append(uses)
    for (value, kinds), steps in alike.items():
        for lost in kinds if len(steps) > 1 else ():
            edges = [edge for uses in steps for edge in uses.edges if kind(edge[0]) == lost]
            kept = " and ".join(each for each in kinds if each != lost)
            yield kept, lost, f"each result of {value}", edges


def _wholes(
    several: Sequence[Uses], outputs: Sequence[torch.Tensor], upstream: Sequence[torch.Tensor], leaf: torch.Tensor
) -> dict[int, torch.Tensor]:
    """The gradient of each value itself, by the id of its node, from one backward pass."""
    sent: dict[tuple[int, int], torch.Tensor] = {}
    handles = []
    for node in {id(node): node for uses in several for node, _ in uses.edges}.values():

        def hook(grads: Any, _: Any, node: Any = node) -> None:
            sent.update({(id(node), place): g.detach() for place, g in enumerate(grads) if g is not None})

        handles.append(node.register_hook(hook))
    try:
        torch.autograd.grad(outputs, [leaf], upstream, retain_graph=True, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    shares = {id(uses.node): [sent.get((id(node), place)) for node, place in uses.edges] for uses in several}
    found: dict[int, torch.Tensor] = {}
    for place, each in shares.items():
        known = [share for share in each if share is not None]
        if known and all(share.shape == known[0].shape for share in known):
            found[place] = torch.stack(known).sum(0)
    return found


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
