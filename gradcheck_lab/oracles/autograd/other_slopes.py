"""The derivative of one function in the place of another's, or taken at its result; and the gradients of intermediates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from gradcheck_lab.diagnosis.evidence import Variation
from gradcheck_lab.oracles.autograd.local_factors import Edge
from gradcheck_lab.oracles.autograd.partial_gradients import kind
from gradcheck_lab.oracles.autograd.recorded_graph import Graph, nodes

Candidate = Callable[[], Variation | None]
Function = Callable[[torch.Tensor], torch.Tensor]

_ACTIVATIONS: dict[str, Function] = {
    "tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu, "erf": torch.erf, "silu": F.silu, "gelu": F.gelu,
    "softplus": F.softplus, "elu": F.elu, "leakyrelu": F.leaky_relu, "hardtanh": F.hardtanh, "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish, "mish": F.mish, "logsigmoid": F.logsigmoid, "atan": torch.atan, "selu": F.selu,
}  # fmt: skip
_ANGLES: dict[str, Function] = {
    "sin": torch.sin, "cos": torch.cos, "tan": torch.tan, "asin": torch.asin, "acos": torch.acos, "atan": torch.atan,
    "sinh": torch.sinh, "cosh": torch.cosh, "tanh": torch.tanh, "asinh": torch.asinh, "atanh": torch.atanh,
}  # fmt: skip
_EXPONENTS: dict[str, Function] = {
    "exp": torch.exp, "expm1": torch.expm1, "exp2": torch.exp2, "log": torch.log, "log1p": torch.log1p, "log2": torch.log2,
    "log10": torch.log10,
}  # fmt: skip
_FAMILIES = (_ACTIVATIONS, _ANGLES, _EXPONENTS)


def other_slopes(graph: Graph, edges: list[Edge]) -> Iterator[Candidate]:
    """The gradients with the derivative of a related function in the place of one, or with that taken at the result.

    A function that the forward calls several times, as in the steps of a loop, has the other derivative each time.
    """
    found: dict[str, list[tuple[Edge, torch.Tensor]]] = {}
    for edge in edges:
        x = _argument(graph, edge) if edge.of_one_argument else None
        if x is not None:
            found.setdefault(edge.name, []).append((edge, x))
    for name, calls in found.items():
        related = {other: f for family in _FAMILIES if name in family for other, f in family.items()}
        if name not in related:
            continue
        own = related.pop(name)
        there = f"the derivative of {name} taken at its result"
        yield partial(_varied, graph, calls, partial(_slope_at_result, own), there)
        for other, function in related.items():
            yield partial(_varied, graph, calls, partial(_slope, function), f"the derivative of {other}")


def _argument(graph: Graph, edge: Edge) -> torch.Tensor | None:
    """What a function of one argument was called with, from what it saved: that itself, or its result."""
    for number in edge.saved:
        value = graph.saved[number]
        made = graph.mode.made.get(graph.mode.name_of(value) or "")
        if value.shape != edge.sent.shape:
            continue
        if made is not None and made.name.replace("_", "") == edge.name and made.tensors:
            return made.tensors[0]
        return value
    return None


def _slope(function: Function, x: torch.Tensor) -> torch.Tensor:
    leaf = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(function(leaf).sum(), leaf)[0]


def _slope_at_result(function: Function, x: torch.Tensor) -> torch.Tensor:
    return _slope(function, function(x))


def _varied(
    graph: Graph, calls: list[tuple[Edge, torch.Tensor]], slope: Callable[[torch.Tensor], torch.Tensor], there: str
) -> Variation | None:
    name = calls[0][0].name
    handles = []
    for edge, x in calls:
        change = slope(x)
        if not bool(torch.isfinite(change).all()):
            continue

        def hook(grads: Any, arriving: Any, at: int = edge.position, change: torch.Tensor = change) -> Any:
            return tuple(arriving[0] * change if i == at else g for i, g in enumerate(grads))

        handles.append(edge.node.register_hook(hook))
    try:
        found = graph.gradient() if len(handles) == len(calls) else None
    finally:
        for handle in handles:
            handle.remove()
    if found is None:
        return None
    sentence = f"it is right with {there} in the place of the derivative of {name}"
    return Variation("wrong-operand", sentence, f"multiply by the derivative of {name}", (name, there), found)


def intermediate_gradients(graph: Graph) -> Iterator[Variation]:
    """The gradients of the forward's own values of the input's shape, as where a backward ends a step early; from one pass."""
    roots = {id(output.grad_fn) for output in graph.outputs}
    kinds: Counter[str] = Counter()
    seen: list[tuple[str, torch.Tensor]] = []
    handles = []
    for node in nodes(graph.outputs):
        name = kind(node)
        kinds[name] += 1
        words = name + (f" ({kinds[name]} from the end)" if kinds[name] > 1 else "")

        def hook(sent: Any, arriving: Any, words: str = words, is_root: bool = id(node) in roots, node: Any = node) -> None:
            if len(arriving) == 1 and arriving[0] is not None and not is_root:
                seen.append((f"the gradient of the result of {words}", arriving[0].detach()))
            for share, (source, _) in zip(sent, node.next_functions, strict=False):
                if share is not None and source is not None:
                    seen.append((f"what {words} sends back to the result of {kind(source)}", share.detach()))

        handles.append(node.register_hook(hook))
    try:
        graph.gradient()
    finally:
        for handle in handles:
            handle.remove()
    for words, value in seen:
        if value.shape == graph.leaf.shape:
            fix = "go on to the input: the last steps of the chain rule are left out"
            yield Variation("wrong-operand", f"it is {words}, an intermediate value of the forward", fix, (words,), value)
