"""A forward under autograd with all that it computes and saves, by name, for backward passes with one thing changed in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch

from gradcheck_lab.model.limits import NAMED_VALUES, NESTED_NAMES, VARIED_RUNS
from gradcheck_lab.oracles.autograd.written_out import WrittenOut
from gradcheck_lab.torch_internals import DispatchMode

Place = tuple[int, tuple[int, ...], tuple[int, ...]]

_SAME_VALUE = frozenset({"expand", "clone", "detach", "alias", "lift_fresh"})
_SHORT = {"linalg_vector_norm": "norm", "mm": "matmul", "bmm": "matmul"}


@dataclass(frozen=True, slots=True)
class Made:
    """The function that made a value, with its tensors and its numbers, those in tensors of one number too."""

    name: str
    tensors: tuple[torch.Tensor, ...]
    numbers: tuple[float, ...]


class NamedValues(DispatchMode):
    """Names what a forward computes by how it is computed: `exp(b)`, `a result of exp` where that is long."""

    def __init__(self, names: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.values: dict[str, torch.Tensor] = {}
        self.made: dict[str, Made] = {}
        self._names: dict[Place, str] = {}
        self._held: list[torch.Tensor] = []
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

    def same(self, value: torch.Tensor, other: torch.Tensor) -> None:
        """Give a value the name of another tensor that holds the same."""
        name = self.name_of(other)
        if name is not None:
            self._names.setdefault(_place(value), name)
            self._held.append(value.detach())

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """Run the op and name its result."""
        result = func(*args, **(kwargs or {}))
        tensors = [value for value in args if isinstance(value, torch.Tensor) and value.is_floating_point()]
        names = [self.name_of(value) for value in tensors]
        if func.overloadpacket.__name__ in _SAME_VALUE and names and names[0] is not None:
            self.same(result, tensors[0])
            return result
        for each in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(each, torch.Tensor) and each.is_floating_point() and names and all(names):
                self._keep_result(func, each, [*map(str, names), *_numbers(args)], args)
        return result

    def _keep_result(self, func: Any, result: torch.Tensor, names: list[str], args: Sequence[Any]) -> None:
        if self.name_of(result) is None and len(self.values) < NAMED_VALUES.value:
            called = func.overloadpacket.__name__.strip("_")
            called = _SHORT.get(called, called)
            words = f"{called}({', '.join(names)})"
            name = self._fresh(words if words.count("(") <= NESTED_NAMES.value else f"a result of {called}")
            self.keep(name, result)
            self.made[name] = _made(called, args)

    def _fresh(self, words: str) -> str:
        number = 1 + sum(1 for name in self.values if name.partition(" #")[0] == words)
        return words if number == 1 else f"{words} #{number}"


def _made(called: str, args: Sequence[Any]) -> Made:
    tensors = [v.detach() for v in args if isinstance(v, torch.Tensor)]
    single = [float(v) for v in tensors if not v.ndim and v.is_floating_point()]
    plain = [float(v) for v in args if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return Made(called, tuple(v for v in tensors if v.ndim or not single), (*plain, *single))


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
    replaced: Mapping[int, torch.Tensor] = field(default_factory=dict)
    unpacked: list[int] = field(default_factory=list)

    def pack(self, value: torch.Tensor) -> int:
        self.saved.append(value.detach())
        return len(self.saved) - 1

    def unpack(self, number: int) -> torch.Tensor:
        self.unpacked.append(number)
        return self.replaced.get(number, self.saved[number])

    def gradient(
        self, upstream: Sequence[torch.Tensor] | None = None, replaced: Mapping[int, torch.Tensor] | None = None
    ) -> torch.Tensor | None:
        """The gradient of the leaf with other saved tensors by number; None where a pass does not take what was replaced."""
        self.replaced = replaced or {}
        try:
            found = torch.autograd.grad(
                self.outputs, [self.leaf], upstream or self.upstream, retain_graph=True, allow_unused=True
            )[0]  # fmt: skip
        except Exception:  # shapes that do not fit
            return None
        finally:
            self.replaced = {}
        return None if found is None or found.shape != self.leaf.shape else found.detach()


def recorded(
    trace: Callable[[], Sequence[Any]],
    inputs: Mapping[str, torch.Tensor],
    leaf: torch.Tensor,
    upstream: Sequence[torch.Tensor],
    changed: AbstractContextManager[object],
) -> Graph:
    """Run a forward under autograd and a mode that changes it, and record what it computes and saves."""
    graph = Graph(leaf, NamedValues(inputs))
    if isinstance(changed, WrittenOut):
        changed.same = graph.mode.same
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(graph.pack, graph.unpack), graph.mode, changed:
        outputs = trace()
    for k, (output, grad) in enumerate(zip(outputs, upstream, strict=True)):
        if isinstance(output, torch.Tensor) and output.requires_grad:
            graph.outputs.append(output)
            graph.upstream.append(grad.to(output))
            graph.mode.keep("output" if len(outputs) == 1 else f"output {k}", output)
    return graph


def nodes(outputs: Sequence[torch.Tensor]) -> Iterator[Any]:
    seen: set[int] = set()
    queue = [output.grad_fn for output in outputs if output.grad_fn is not None]
    while queue and len(seen) < VARIED_RUNS.value:
        node = queue.pop(0)
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        queue += [source for source, _ in node.next_functions if source is not None]
