"""The true backward with other axes at one place: another sum where a value was broadcast, a reshape for a transposition."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.diagnosis.evidence import Variation, axes_text
from gradcheck_lab.oracles.autograd.partial_gradients import kind
from gradcheck_lab.oracles.autograd.recorded_graph import Graph, nodes

Candidate = Callable[[], Variation | None]
Change = Callable[[torch.Tensor], torch.Tensor]

_TURNS = frozenset({"t", "transpose", "permute"})


def other_axes(graph: Graph) -> Iterator[Candidate]:
    """The gradients with what one function sends back summed, selected or arranged along other axes."""
    for node, sent, arriving in _shapes(graph):
        if kind(node) == "expand":
            for changed, change in (*_other_sums(sent, arriving), *_one_slice(sent, arriving)):
                yield lambda n=node, c=changed, f=change: _changed(graph, n, c, f)  # type: ignore[misc]
        elif kind(node) in _TURNS and sent != arriving:
            changed = Variation(
                "permuted",
                f"it is right with a reshape to {sent} in the place of a transposition of what arrives in {arriving}",
                "transpose grad_output as the forward transposes its input, before it is reshaped",
                ("reshaped", str(sent)),
            )
            yield lambda n=node, c=changed, s=sent: _changed(graph, n, c, lambda g: g.reshape(s))  # type: ignore[misc]


def _shapes(graph: Graph) -> list[tuple[Any, tuple[int, ...], tuple[int, ...]]]:
    """The functions of one argument that change a shape, with the shapes of what they send back and of what arrives."""
    found: list[tuple[Any, tuple[int, ...], tuple[int, ...]]] = []
    handles = []
    for node in nodes(graph.outputs):
        if kind(node) == "expand" or kind(node) in _TURNS:

            def hook(sent: Any, arriving: Any, node: Any = node) -> None:
                if sent[0] is not None and arriving[0] is not None:
                    found.append((node, tuple(sent[0].shape), tuple(arriving[0].shape)))

            handles.append(node.register_hook(hook))
    try:
        graph.gradient()
    finally:
        for handle in handles:
            handle.remove()
    return found


def _summed(sent: tuple[int, ...], arriving: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of what arrives along which the value was broadcast."""
    lead = len(arriving) - len(sent)
    return tuple(k for k, n in enumerate(arriving) if k < lead or (sent[k - lead] == 1 and n > 1))


def _other_sums(sent: tuple[int, ...], arriving: tuple[int, ...]) -> Iterator[tuple[Variation, Change]]:
    axes = _summed(sent, arriving)
    kept = tuple(n for k, n in enumerate(arriving) if k not in axes and n > 1)
    for other in itertools.combinations(range(len(arriving)), len(axes)):
        if other != axes and tuple(n for k, n in enumerate(arriving) if k not in other and n > 1) == kept != ():
            changed = Variation(
                "wrong-axis",
                f"it is right with a sum over {axes_text(other)} in the place of one over {axes_text(axes)}, along which "
                f"{sent} is broadcast to {arriving}",
                f"sum over {axes_text(axes)}",
                ("sum", str(other), str(axes)),
            )
            yield changed, lambda g, other=other: g.sum(other).reshape(sent)  # type: ignore[misc]


def _one_slice(sent: tuple[int, ...], arriving: tuple[int, ...]) -> Iterator[tuple[Variation, Change]]:
    axes = _summed(sent, arriving)
    for axis in axes:
        for place, word in ((-1, "last"), (0, "first")):
            changed = Variation(
                "missing-broadcast-sum",
                f"the {word} of {arriving[axis]} along axis {axis} arrives alone, where {sent} is broadcast to {arriving}",
                f"sum over {axes_text(axes)}: add each share to the gradient, where one is written over the others",
                ("slice", str(axis), word),
            )
            others = tuple(k for k in axes if k != axis)

            def change(g: torch.Tensor, axis: int = axis, place: int = place, rest: tuple[int, ...] = others) -> torch.Tensor:
                alone = g.narrow(axis, place % g.shape[axis], 1)
                return (alone.sum(rest) if rest else alone).reshape(sent)

            yield changed, change


def _changed(graph: Graph, node: Any, changed: Variation, change: Change) -> Variation | None:
    def hook(sent: Any, arriving: Any) -> Any:
        return (change(arriving[0]), *sent[1:])

    handle = node.register_hook(hook)
    try:
        found = graph.gradient()
    finally:
        handle.remove()
    return None if found is None else replace(changed, gradient=found)
