"""The gradient contribution of each use of a tensor, from the retained graph of a backward that has run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from gradcheck_lab.diagnosis import PartialGradient
from gradcheck_lab.model.limits import RETAINED_DEPTH, RETAINED_NODES, RETAINED_USES
from gradcheck_lab.torch_internals import saved_exponent

Edge = tuple[Any, int]
OutputId = tuple[int, int]  # the id of a node and the number of its output

# nodes that saved tensors and have freed them, by the function that computes their result again
_FUNCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "MulBackward0": torch.mul,
    "DivBackward0": torch.div,
    "MmBackward0": torch.mm,
    "BmmBackward0": torch.bmm,
    "DotBackward0": torch.dot,
    "MvBackward0": torch.mv,
    "ExpBackward0": torch.exp,
    "LogBackward0": torch.log,
    "TanhBackward0": torch.tanh,
    "SigmoidBackward0": torch.sigmoid,
    "ReluBackward0": torch.relu,
    "SqrtBackward0": torch.sqrt,
    "RsqrtBackward0": torch.rsqrt,
    "SinBackward0": torch.sin,
    "CosBackward0": torch.cos,
    "AbsBackward0": torch.abs,
    "ReciprocalBackward0": torch.reciprocal,
}


class RetainedGraph:
    """The recorded graph of a notebook's tensors, and the gradients that they hold after `backward()`."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.names: dict[OutputId, str] = {}
        self.tensors: dict[OutputId, torch.Tensor] = {}
        self.consumers: dict[OutputId, list[Edge]] = {}
        self._alive: list[Any] = []  # keeps the nodes alive, so that no id is used twice
        for name, tensor in tensors.items():
            if tensor.grad_fn is not None:
                output = (id(tensor.grad_fn), tensor.output_nr)
                self.names.setdefault(output, name)
                self.tensors.setdefault(output, tensor)
                self._alive.append(tensor.grad_fn)
        self._walk([tensor.grad_fn for tensor in tensors.values() if tensor.grad_fn is not None])

    def _walk(self, queue: list[Any]) -> None:
        seen: set[int] = set()
        while queue and len(seen) < RETAINED_NODES.value:
            node = queue.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            self._alive.append(node)
            for position, (source, number) in enumerate(node.next_functions):
                if source is not None:
                    variable = getattr(source, "variable", None)
                    if variable is not None:
                        self.tensors.setdefault((id(source), number), variable)
                    self.consumers.setdefault((id(source), number), []).append((node, position))
                    queue.append(source)

    def uses(self, tensor: torch.Tensor) -> list[Edge]:
        """The edges that lead to a tensor: its uses in the forward."""
        if tensor.grad_fn is not None:
            return self.consumers.get((id(tensor.grad_fn), tensor.output_nr), [])
        return next((self.consumers.get(output, []) for output, known in self.tensors.items() if known is tensor), [])

    def contribution(self, edge: Edge, depth: int = 0) -> torch.Tensor | None:
        """The gradient that a node sends back along one of its edges; None where it cannot be computed."""
        node, position = edge
        grads = [self._grad_output((id(node), number), depth) for number in range(self._outputs(node))]
        if all(grad is None for grad in grads):
            return None
        try:
            with torch.no_grad():
                found = node(*grads)
            sent: torch.Tensor | None = found[position] if isinstance(found, tuple) else found
            return sent
        except Exception:  # its saved tensors were freed
            return self._recomputed(node, position, grads[0]) if len(grads) == 1 and grads[0] is not None else None

    def _outputs(self, node: Any) -> int:
        numbers = [number for (source, number) in (*self.tensors, *self.consumers) if source == id(node)]
        return max(numbers, default=0) + 1

    def _grad_output(self, output: OutputId, depth: int) -> torch.Tensor | None:
        tensor = self.tensors.get(output)
        if tensor is not None and (tensor.is_leaf or tensor.retains_grad):
            return tensor.grad
        edges = self.consumers.get(output, [])
        if not edges:  # the loss
            return torch.ones_like(tensor) if tensor is not None and tensor.numel() == 1 else None
        if depth > RETAINED_DEPTH.value:
            return None
        parts = [self.contribution(edge, depth + 1) for edge in edges]
        known = [part for part in parts if part is not None]
        return sum(known[1:], known[0]) if known and len(known) == len(parts) else None

    def _recomputed(self, node: Any, position: int, grad: torch.Tensor) -> torch.Tensor | None:
        operands = [self.tensors.get((id(source), number)) for source, number in node.next_functions]
        if any(operand is None for operand in operands):
            return None
        leaves = [operand.detach().requires_grad_() for operand in operands if operand is not None]
        try:
            with torch.enable_grad():
                power = node.name() == "PowBackward0"
                result = leaves[0] ** saved_exponent(node) if power else _FUNCTIONS[node.name()](*leaves)
            return torch.autograd.grad(result, leaves[position], grad)[0]
        except Exception:  # an unknown function, or a constant operand that no variable refers to
            return None

    def word(self, edge: Edge) -> str:
        """The name of a use: the variable that its result was assigned to, else its operation."""
        node, _ = edge
        for number in range(4):
            if (id(node), number) in self.names:
                return self.names[(id(node), number)]
        kind = str(node.name()).split("Backward")[0].lower()
        further = self.consumers.get((id(node), 0), [])
        return f"{kind} (towards {self.word(further[0])})" if len(further) == 1 else kind


def incomplete_gradients(graph: RetainedGraph, tensor: torch.Tensor) -> Iterator[PartialGradient]:
    """The gradients of a tensor with the contributions of only some of its uses.

    Uses whose contributions cannot be computed count as one use.
    """
    uses, total = graph.uses(tensor), tensor.grad
    if total is None or not 1 < len(uses) <= RETAINED_USES.value:
        return
    words: dict[str, list[torch.Tensor | None]] = {}
    for edge in uses:
        words.setdefault(graph.word(edge), []).append(graph.contribution(edge))
    parts = []
    for word, sent in words.items():
        computed = [gradient for gradient in sent if gradient is not None]
        parts.append((word, _total(computed) if len(computed) == len(sent) else None))
    if len(parts) < 2:
        return
    known = [(word, part) for word, part in parts if part is not None and part.shape == total.shape]
    unknown = [word for word, part in parts if part is None or part.shape != total.shape]
    if not known:
        return
    if unknown:
        known.append((" and ".join(unknown), total - _total([part for _, part in known])))
    for count in range(1, len(known)):
        for kept in itertools.combinations(range(len(known)), count):
            gradient = _total([known[i][1] for i in kept])
            lost = " and ".join(word for i, (word, _) in enumerate(known) if i not in kept)
            yield PartialGradient(" and ".join(known[i][0] for i in kept), gradient.detach(), lost)


def _total(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    return sum(parts[1:], parts[0])
