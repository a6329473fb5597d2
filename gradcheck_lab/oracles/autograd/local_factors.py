"""One factor of one local derivative changed: left out, there once too often, or upside down, in one term of a sum alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.diagnosis.evidence import Variation
from gradcheck_lab.model.amounts import SMALLEST_DIVISOR
from gradcheck_lab.model.precision.fits import ENOUGH_ELEMENTS
from gradcheck_lab.model.precision.patterns import EXACT_POWER
from gradcheck_lab.oracles.autograd.partial_gradients import fan_outs, kind
from gradcheck_lab.oracles.autograd.recorded_graph import Graph, nodes


@dataclass(frozen=True, slots=True)
class Factor:
    """A value of the forward, or 1 minus or plus one, and the power with which a local derivative has it."""

    name: str
    value: torch.Tensor
    power: float

    def shown(self, power: float) -> str:
        """`b^2`, `1/b`."""
        size = "" if abs(power) == 1 else f"^{abs(power):g}"
        return f"{'1/' if power < 0 else ''}{self.name}{size}"


@dataclass(slots=True)
class Edge:
    """What one function sends back to one of its arguments: `sent` for what arrives, element by element."""

    node: Any
    position: int
    arriving: torch.Tensor
    sent: torch.Tensor
    saved: list[int]

    @property
    def name(self) -> str:
        return kind(self.node)

    @property
    def of_one_argument(self) -> bool:
        return len([source for source, _ in self.node.next_functions if source is not None]) == 1


Candidate = Callable[[], Variation | None]


def changed_factors(graph: Graph, edges: list[Edge]) -> tuple[list[Candidate], list[Candidate]]:
    """The gradients with a factor left out; and those with one there once too often, upside down, or left out of one term."""
    left_out, otherwise = [], []
    known = [(edge, factor) for edge in edges for factor in _factors(graph, edge)]
    for edge, factor in known:
        one = 1.0 if factor.power > 0 else -1.0
        once = [one] if abs(factor.power) >= 2 else []
        at = edge.node, edge.position
        for power in (factor.power, *once):
            left_out.append(_change(graph, at, factor, -power, _missing(edge, factor.shown(power))))
        for power, there in ((one, factor.shown(factor.power + one)), (-2 * factor.power, factor.shown(-factor.power))):
            otherwise.append(_change(graph, at, factor, power, _other(edge, factor.shown(factor.power), there)))
    places = {(id(edge.node), edge.position): (edge.node, edge.position) for edge in edges}
    for uses in fan_outs([output.grad_fn for output in graph.outputs]):
        places |= {(id(node), position): (node, position) for node, position in uses.edges}
    for at, (edge, factor) in itertools.product(places.values(), known):
        if edge.node is not at[0] and _leads_to(edge, at[0]):
            changed = _missing(edge, factor.shown(factor.power), f" in the term through {kind(at[0])}")
            otherwise.append(_change(graph, at, factor, -factor.power, changed))
    return left_out, otherwise


def _missing(edge: Edge, shown: str, where: str = "") -> Variation:
    sentence = f"the factor {shown} in the derivative of {edge.name} is left out{where}: it is right with 1 in its place"
    return Variation("missing-factor", sentence, f"multiply what {edge.name} sends back by {shown}", (edge.name, shown, where))


def _other(edge: Edge, shown: str, there: str) -> Variation:
    sentence = f"it is right with {there} in the place of {shown} in the derivative of {edge.name}: {shown} belongs there"
    return Variation("wrong-operand", sentence, f"put {shown} where {there} stands", (edge.name, shown, there))


def _change(graph: Graph, at: tuple[Any, int], factor: Factor, power: float, changed: Variation) -> Candidate:
    """What the gradient is when what is sent back at one place is multiplied by a power of a factor."""
    node, position = at

    def made() -> Variation | None:
        change = factor.value.abs() ** power if power % 2 == 0 or power % 1 else factor.value**power
        if not bool(torch.isfinite(change).all()):
            return None

        def hook(grads: Any, _: Any) -> Any:
            fits = grads[position] is not None and grads[position].shape == change.shape
            return tuple(g * change if fits and i == position else g for i, g in enumerate(grads))

        handle = node.register_hook(hook)
        try:
            found = graph.gradient()
        finally:
            handle.remove()
        return None if found is None else replace(changed, gradient=found)

    return made


def _leads_to(edge: Edge, node: Any) -> bool:
    """Whether what an edge sends back arrives at a node."""
    seen: set[int] = set()
    queue = [edge.node.next_functions[edge.position][0]]
    while queue:
        each = queue.pop()
        if each is node:
            return True
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            queue += [source for source, _ in each.next_functions]
    return False


def edges_of(graph: Graph) -> list[Edge]:
    """What each function sends back element by element, with the numbers of what it saved, from one backward pass."""
    found: list[Edge] = []
    handles = []
    for node in nodes(graph.outputs):

        def before(arriving: Any) -> None:
            graph.unpacked.clear()

        def after(sent: Any, arriving: Any, node: Any = node) -> None:
            came = [g for g in arriving if g is not None]
            for position, each in enumerate(sent):
                if each is not None and len(came) == 1 and each.shape == came[0].shape and graph.unpacked:
                    found.append(Edge(node, position, came[0].detach(), each.detach(), list(graph.unpacked)))

        if hasattr(node, "register_prehook"):
            handles += [node.register_prehook(before), node.register_hook(after)]
    try:
        graph.gradient()
    finally:
        for handle in handles:
            handle.remove()
    return found


def _factors(graph: Graph, edge: Edge) -> list[Factor]:
    """The values, with their powers, whose product the local derivative is up to a constant; none where it is no product."""
    usable = (edge.arriving != 0) & (edge.sent != 0)
    if edge.sent.is_complex() or int(usable.sum()) < ENOUGH_ELEMENTS.value:
        return []
    slope = torch.log(edge.sent[usable].abs()) - torch.log(edge.arriving[usable].abs())
    candidates = [
        (name, value, torch.log(value[usable].abs()))
        for name, value in _values(graph, edge)
        if bool((value[usable] != 0).all())
    ]
    varying = [c for c in candidates if float(c[2].max() - c[2].min()) > EXACT_POWER.value]
    for count in (1, 2):
        for chosen in itertools.combinations(varying, count):
            powers = _powers(slope, [logarithm for _, _, logarithm in chosen])
            if powers is not None and all(powers):
                return [Factor(name, value, power) for (name, value, _), power in zip(chosen, powers, strict=True)]
    return []


def _values(graph: Graph, edge: Edge) -> Iterator[tuple[str, torch.Tensor]]:
    saved = [graph.saved[number] for number in dict.fromkeys(edge.saved)]
    named = []
    for value in saved:
        name = graph.mode.name_of(value)
        if name is not None and value.is_floating_point():
            try:
                named.append((name, value.expand(edge.sent.shape)))
            except RuntimeError:  # not element by element
                continue
    yield from named
    for name, value in named:
        yield f"(1 - {name})", 1 - value
        yield f"(1 + {name})", 1 + value


def _powers(slope: torch.Tensor, logarithms: list[torch.Tensor]) -> list[float] | None:
    """The halves by which `slope` is a sum of the logarithms up to a constant; None where it is not."""
    columns = torch.stack([each - each.mean() for each in logarithms], 1)
    target = slope - slope.mean()
    solution = torch.linalg.lstsq(columns, target.unsqueeze(1)).solution.reshape(-1)
    powers = torch.round(2 * solution) / 2
    left = torch.linalg.vector_norm(target - columns @ powers)
    scale = torch.linalg.vector_norm(target).clamp(min=SMALLEST_DIVISOR.value)
    return powers.tolist() if bool(left <= EXACT_POWER.value * scale) else None
