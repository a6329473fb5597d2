"""The true backward with one thing changed, as people get it wrong: another operand, a factor left out, the diagonal alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from gradcheck_lab.diagnosis.evidence import Variation
from gradcheck_lab.model.limits import DIAGONAL_ELEMENTS, NAMED_VALUES, NESTED_NAMES, VARIED_RUNS
from gradcheck_lab.model.precision.patterns import SMALL_ERROR
from gradcheck_lab.oracles.autograd.partial_gradients import kind
from gradcheck_lab.torch_internals import DispatchMode

Place = tuple[int, tuple[int, ...], tuple[int, ...]]

_SHORT = {"linalg_vector_norm": "norm", "mm": "matmul", "bmm": "matmul"}

# nodes that move elements or pass them on: what leaving one out does is no missing factor
_MOVES = frozenset(
    {"neg", "clone", "transpose", "permute", "view", "unsafeview", "reshapealias", "expand", "alias", "tocopy", "flip"}
)


class NamedValues(DispatchMode):
    """Names what a forward computes by how it is computed: `exp(b)`, `a result of exp` where that is long."""

    def __init__(self, names: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.values: dict[str, torch.Tensor] = {}
        self._names: dict[Place, str] = {}
        for name, value in names.items():
            self.keep(name, value)

    def keep(self, name: str, value: torch.Tensor) -> None:
        """Give a value a name; the values are kept, so that no other can take their place in memory."""
        self.values[name] = value.detach()
        self._names[_place(value)] = name

    def name_of(self, value: torch.Tensor) -> str | None:
        """The name of a value, or of what it is the transpose of."""
        found = self._names.get(_place(value))
        return found or (self._names.get(_place(value.mT)) if value.ndim > 1 else None)

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """Run the op and name its result."""
        result = func(*args, **(kwargs or {}))
        tensors = [value for value in args if isinstance(value, torch.Tensor) and value.is_floating_point()]
        names = [self.name_of(value) for value in tensors]
        for each in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(each, torch.Tensor) and each.is_floating_point() and names and all(names):
                self._keep_result(func, each, [*map(str, names), *_numbers(args)])
        return result

    def _keep_result(self, func: Any, result: torch.Tensor, names: list[str]) -> None:
        if self.name_of(result) is None and len(self.values) < NAMED_VALUES.value:
            called = func.overloadpacket.__name__.strip("_")
            called = _SHORT.get(called, called)
            words = f"{called}({', '.join(names)})"
            self.keep(self._fresh(words if words.count("(") <= NESTED_NAMES.value else f"a result of {called}"), result)

    def _fresh(self, words: str) -> str:
        number = 1 + sum(1 for name in self.values if name.partition(" #")[0] == words)
        return words if number == 1 else f"{words} #{number}"


def _numbers(args: Sequence[Any]) -> list[str]:
    return [f"{value:g}" for value in args if isinstance(value, (int, float)) and not isinstance(value, bool)]


def _place(value: torch.Tensor) -> Place:
    return value.data_ptr(), tuple(value.shape), tuple(value.stride())


@dataclass(slots=True)
class Graph:
    """A forward whose saved tensors can be replaced before a backward pass; `leaf` is the input that it is about."""

    leaf: torch.Tensor
    mode: NamedValues
    outputs: list[torch.Tensor] = field(default_factory=list)
    upstream: list[torch.Tensor] = field(default_factory=list)
    saved: list[torch.Tensor] = field(default_factory=list)
    replaced: dict[int, torch.Tensor] = field(default_factory=dict)

    def pack(self, value: torch.Tensor) -> int:
        self.saved.append(value.detach())
        return len(self.saved) - 1

    def unpack(self, number: int) -> torch.Tensor:
        return self.replaced.get(number, self.saved[number])

    def gradient(self, upstream: Sequence[torch.Tensor] | None = None) -> torch.Tensor | None:
        """The gradient of the leaf as things are; None where a pass does not take what was replaced."""
        try:
            found = torch.autograd.grad(
                self.outputs, [self.leaf], upstream or self.upstream, retain_graph=True, allow_unused=True
            )[0]  # fmt: skip
        except Exception:  # shapes that do not fit
            return None
        return None if found is None or found.shape != self.leaf.shape else found.detach()


def recorded(
    trace: Callable[[], Sequence[Any]], inputs: Mapping[str, torch.Tensor], leaf: torch.Tensor, upstream: Sequence[torch.Tensor]
) -> Graph:
    """Run a forward under autograd and record what it computes and saves."""
    graph = Graph(leaf, NamedValues(inputs))
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(graph.pack, graph.unpack), graph.mode:
        outputs = trace()
    for k, (output, grad) in enumerate(zip(outputs, upstream, strict=True)):
        if isinstance(output, torch.Tensor) and output.requires_grad:
            graph.outputs.append(output)
            graph.upstream.append(grad.to(output))
            graph.mode.keep("output" if len(outputs) == 1 else f"output {k}", output)
    return graph


def variations(graph: Graph) -> Iterator[Variation]:
    """What the gradient would be with one thing changed in its backward, the likeliest first."""
    for each in itertools.islice(itertools.chain(_left_out(graph), _other_operands(graph)), VARIED_RUNS.value):
        found = each()
        if found is not None:
            yield found
    yield from _diagonal(graph)


def _left_out(graph: Graph) -> Iterator[Callable[[], Variation | None]]:
    """The local derivative of one function left out: exp(b), 1/s."""
    for node in _nodes(graph.outputs):
        if kind(node) not in _MOVES and len([n for n, _ in node.next_functions if n is not None]) == 1:
            yield lambda node=node: _without(graph, node)  # type: ignore[misc]
    for number, value in enumerate(graph.saved):
        name = graph.mode.name_of(value)
        if name is not None and value.is_floating_point():
            sentence = f"{name} is left out: it is right with 1 in the place of {name}"
            changed = Variation("missing-factor", sentence, f"multiply or divide by {name} as the derivative does", (name,))
            yield lambda n=number, v=value, c=changed: _replaced(graph, n, torch.ones_like(v), c)  # type: ignore[misc]


def _without(graph: Graph, node: Any) -> Variation | None:
    def hook(grads: Any, arriving: Any) -> Any:
        passed = [g for g in arriving if g is not None]
        if len(passed) != 1:
            return grads
        return tuple(passed[0] if g is not None and g.shape == passed[0].shape else g for g in grads)

    handle = node.register_hook(hook)
    try:
        found = graph.gradient()
    finally:
        handle.remove()
    name = kind(node)
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
    for number, value in enumerate(graph.saved):
        name = graph.mode.name_of(value)
        for other_name, other in [*graph.mode.values.items()] if name is not None and value.is_floating_point() else ():
            if other.shape == value.shape and other_name != name and not _same(other, value):
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
    graph.replaced = {number: value.to(graph.saved[number])}
    try:
        return _with(changed, graph.gradient())
    finally:
        graph.replaced = {}


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


def _nodes(outputs: Sequence[torch.Tensor]) -> Iterator[Any]:
    seen: set[int] = set()
    queue = [output.grad_fn for output in outputs if output.grad_fn is not None]
    while queue and len(seen) < VARIED_RUNS.value:
        node = queue.pop(0)
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        queue += [source for source, _ in node.next_functions if source is not None]
