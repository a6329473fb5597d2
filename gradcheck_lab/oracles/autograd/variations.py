"""The true backward with one thing changed, as people get it wrong: another operand, a factor left out, the diagonal alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from gradcheck_lab.diagnosis.evidence import Variation
from gradcheck_lab.model.limits import DIAGONAL_ELEMENTS, VARIED_RUNS
from gradcheck_lab.model.precision.patterns import SMALL_ERROR
from gradcheck_lab.oracles.autograd.local_factors import changed_factors, edges_of
from gradcheck_lab.oracles.autograd.other_axes import other_axes
from gradcheck_lab.oracles.autograd.other_epsilons import other_epsilons
from gradcheck_lab.oracles.autograd.other_slopes import other_slopes
from gradcheck_lab.oracles.autograd.partial_gradients import kind
from gradcheck_lab.oracles.autograd.recorded_graph import Graph, nodes

# nodes that move elements or pass them on: what leaving one out does is no missing factor
_MOVES = frozenset(
    {"neg", "clone", "transpose", "permute", "view", "unsafeview", "reshapealias", "expand", "alias", "tocopy", "flip"}
)


def variations(graph: Graph) -> Iterator[Variation]:
    """What the gradient would be with one thing changed in its backward, the likeliest first."""
    edges = edges_of(graph)
    missing, otherwise = changed_factors(graph, edges)
    # what a function of one argument saved need not be a factor of its derivative
    saved = {number for edge in edges if edge.of_one_argument for number in edge.saved}
    values = [number for number in range(len(graph.saved)) if number not in saved]
    chains = (
        missing, _left_out(graph, values), _other_operands(graph), other_axes(graph), other_epsilons(graph), otherwise,
    )  # fmt: skip
    yield from _made(itertools.chain.from_iterable(chains))
    yield from _diagonal(graph)


def left_out(graph: Graph) -> Iterator[Variation]:
    """What the gradient would be without the derivative of one function."""
    yield from _made(_left_out(graph, ()))


def of_other_functions(graph: Graph) -> Iterator[Variation]:
    """What the gradient would be with the derivative of another function in the place of one."""
    yield from _made(other_slopes(graph, edges_of(graph)))


def narrowed(graph: Graph, dtypes: Sequence[torch.dtype]) -> Iterator[Variation]:
    """What the gradient would be with one value, or grad_output, rounded to a narrower dtype before it is used."""
    saved: dict[str, list[int]] = {}
    for number, value in enumerate(graph.saved):
        name = graph.mode.name_of(value)
        if name is not None and value.is_floating_point():
            saved.setdefault(name, []).append(number)
    for dtype in dtypes:
        short = str(dtype).removeprefix("torch.")

        def rounded(value: torch.Tensor, dtype: torch.dtype = dtype) -> torch.Tensor:
            return value.to(dtype).to(value.dtype)

        for name in ("grad_output", *saved):
            replaced = {number: rounded(graph.saved[number]) for number in saved.get(name, ())}
            upstream = [rounded(g) for g in graph.upstream] if name == "grad_output" else None
            found = graph.gradient(upstream, replaced)
            if found is not None:
                sentence = f"{name} goes through {short}: it is what the true derivative gives with {name} rounded to that"
                fix = f"keep {name} as it is, without a cast to {short}"
                yield Variation("low-precision", sentence, fix, (name, short), found)


def _made(candidates: Iterator[Callable[[], Variation | None]]) -> Iterator[Variation]:
    tried = (each() for each in itertools.islice(candidates, VARIED_RUNS.value))
    yield from (found for found in tried if found is not None)


def _left_out(graph: Graph, saved: Iterable[int]) -> Iterator[Callable[[], Variation | None]]:
    """The local derivative of one function left out: exp(b), 1/s. Of one that is called in each step of a loop, in all."""
    alike: dict[str, list[Any]] = {}
    for node in nodes(graph.outputs):
        if kind(node) not in _MOVES and len([n for n, _ in node.next_functions if n is not None]) == 1:
            alike.setdefault(kind(node), []).append(node)
    for name, found in alike.items():
        for group in (found, *([node] for node in found if len(found) > 1)):
            yield partial(_without, graph, group, name)
    for number in saved:
        value = graph.saved[number]
        name = graph.mode.name_of(value) or ""
        if name and value.is_floating_point():
            sentence = f"{name} is left out: it is right with 1 in the place of {name}"
            changed = Variation("missing-factor", sentence, f"multiply or divide by {name} as the derivative does", (name,))
            yield partial(_one_in_its_place, graph, number, value, changed)


def _one_in_its_place(graph: Graph, number: int, value: torch.Tensor, changed: Variation) -> Variation | None:
    """The gradient with a saved value left out; None for one that is no factor: x less its mean is nothing with any number."""
    found, other = (graph.gradient(replaced={number: torch.full_like(value, constant)}) for constant in (1.0, 0.0))
    return None if found is not None and other is not None and _same(found, other) else _with(changed, found)


def _without(graph: Graph, group: Sequence[Any], name: str) -> Variation | None:
    def hook(grads: Any, arriving: Any) -> Any:
        passed = [g for g in arriving if g is not None]
        if len(passed) != 1:
            return grads
        return tuple(passed[0] if g is not None and g.shape == passed[0].shape else g for g in grads)

    handles = [node.register_hook(hook) for node in group]
    try:
        found = graph.gradient()
    finally:
        for handle in handles:
            handle.remove()
    if found is None:
        return None
    sentence = f"the derivative of {name} is left out: it is right with 1 in its place"
    return Variation("missing-factor", sentence, f"multiply by the derivative of {name}", (name,), found)


def _other_operands(graph: Graph) -> Iterator[Callable[[], Variation | None]]:
    """The transpose of an operand, or another value of the forward, in the place of one."""
    for number, value in enumerate(graph.saved):
        name = graph.mode.name_of(value)
        if name is None or not value.is_floating_point():
            continue
        if value.ndim > 1 and value.shape[-1] == value.shape[-2] > 1:
            changed = Variation(
                "wrong-operand",
                f"it is right with the transpose of {name} in the place of {name}",
                f"transpose {name} in the product, or do not",
                (name, "transposed"),
            )
            yield lambda n=number, v=value, c=changed: _replaced(graph, n, v.mT, c)  # type: ignore[misc]
        if value.ndim > 2:
            changed = Variation(
                "wrong-operand",
                f"it is right with {name} flipped along its axes from 2 on: {name} belongs there as it is",
                f"flip {name} where it is convolved with grad_output, or do not",
                (name, "flipped"),
            )
            flipped = value.flip(tuple(range(2, value.ndim)))
            yield lambda n=number, v=flipped, c=changed: _replaced(graph, n, v, c)  # type: ignore[misc]
    for number, value in enumerate(graph.saved):
        name = graph.mode.name_of(value)
        for other_name, kept in [*graph.mode.values.items()] if name is not None and value.is_floating_point() else ():
            # a product keeps the transpose of a factor under the factor's name
            other = kept.mT if kept.ndim > 1 and graph.mode.values.get(name or "", kept).shape != value.shape else kept
            if other.shape == value.shape and other_name != name and other.any() and not _same(other, value):
                changed = Variation(
                    "wrong-operand",
                    f"it is right with {other_name} in the place of {name}: {name} belongs there",
                    f"put {name} where {other_name} stands",
                    (name or "", other_name),
                )
                yield lambda n=number, v=other, c=changed: _replaced(graph, n, v, c)  # type: ignore[misc]
    for k, grad in enumerate(graph.upstream):
        if grad.ndim > 1 and grad.shape[-1] == grad.shape[-2] > 1:
            turned = [g.mT if i == k else g for i, g in enumerate(graph.upstream)]
            changed = Variation(
                "wrong-operand",
                "it is right with the transpose of grad_output in the place of grad_output",
                "transpose grad_output in the product, or do not",
                ("grad_output", "transposed"),
            )
            yield lambda t=turned, c=changed: _with(c, graph.gradient(t))  # type: ignore[misc]


def _same(value: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors hold one value, but for the rounding of a narrow dtype."""
    return bool(torch.linalg.vector_norm(value - other) <= SMALL_ERROR.value * torch.linalg.vector_norm(other))


def _replaced(graph: Graph, number: int, value: torch.Tensor, changed: Variation) -> Variation | None:
    return _with(changed, graph.gradient(replaced={number: value.to(graph.saved[number])}))


def _with(changed: Variation, gradient: torch.Tensor | None) -> Variation | None:
    return None if gradient is None else replace(changed, gradient=gradient)


def _diagonal(graph: Graph) -> Iterator[Variation]:
    """grad_output times the diagonal of the Jacobian, in a few elements."""
    if len(graph.outputs) != 1 or graph.outputs[0].shape != graph.leaf.shape or not graph.leaf.numel():
        return
    output, upstream = graph.outputs[0].reshape(-1), graph.upstream[0].reshape(-1)
    count = output.numel()
    places = torch.arange(0, count, max(1, -(-count // DIAGONAL_ELEMENTS.value)))
    found = [torch.autograd.grad(output[k], [graph.leaf], retain_graph=True)[0].reshape(-1)[k] for k in places.tolist()]
    yield Variation(
        "missing-term",
        "it is grad_output times the diagonal of the Jacobian: the terms through the other elements of the output are missing",
        "add what the other elements of the output send back: those that share a sum, a mean or a norm with it",
        ("diagonal",),
        torch.stack(found).detach() * upstream[places],
        places,
    )
