"""The recorded graph of a notebook's tensors: who uses what, and in which order a backward comes by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from gradcheck_lab.model.limits import RETAINED_NODES
from gradcheck_lab.torch_internals import shapes_of_results

Edge = tuple[Any, int]  # a node and the number of its operand
OutputId = tuple[int, int]  # the id of a node and the number of its output


class RetainedGraph:
    """The recorded graph of a notebook's tensors, and the gradients that they hold after `backward()`."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.variables = tensors
        self.names: dict[OutputId, str] = {}
        self.tensors: dict[OutputId, torch.Tensor] = {}
        self.consumers: dict[OutputId, list[Edge]] = {}
        self.nodes: dict[int, Any] = {}  # keeps the nodes alive, so that no id is used twice
        for name, tensor in tensors.items():
            if tensor.grad_fn is not None:
                output = (id(tensor.grad_fn), tensor.output_nr)
                self.names.setdefault(output, name)
                self.tensors.setdefault(output, tensor)
        self._walk([tensor.grad_fn for tensor in tensors.values() if tensor.grad_fn is not None])
        self.order = list(self._backward_order())

    def _walk(self, queue: list[Any]) -> None:
        while queue and len(self.nodes) < RETAINED_NODES.value:
            node = queue.pop()
            if id(node) in self.nodes:
                continue
            self.nodes[id(node)] = node
            for position, (source, number) in enumerate(node.next_functions):
                if source is not None:
                    variable = getattr(source, "variable", None)
                    if variable is not None:
                        self.tensors.setdefault((id(source), number), variable)
                    self.consumers.setdefault((id(source), number), []).append((node, position))
                    queue.append(source)

    def _backward_order(self) -> Iterator[Any]:
        """Every node after all that use its results."""
        waiting = dict.fromkeys(self.nodes, 0)
        for (source, _), edges in self.consumers.items():
            if source in waiting:
                waiting[source] += len(edges)
        ready = [node for node in self.nodes.values() if not waiting[id(node)]]
        while ready:
            node = ready.pop()
            yield node
            for source, _ in node.next_functions:
                if source is not None and id(source) in waiting:
                    waiting[id(source)] -= 1
                    if not waiting[id(source)]:
                        ready.append(source)

    def output(self, tensor: torch.Tensor) -> OutputId | None:
        """Which output of which node a tensor is; None for one that no other was computed from."""
        if tensor.grad_fn is not None:
            return id(tensor.grad_fn), tensor.output_nr
        return next((output for output, known in self.tensors.items() if known is tensor), None)

    def uses(self, tensor: torch.Tensor) -> list[Edge]:
        """The edges that lead to a tensor: its uses in the forward."""
        output = self.output(tensor)
        return [] if output is None else self.consumers.get(output, [])

    def retained(self, output: OutputId) -> torch.Tensor | None:
        """The gradient that autograd left for an output; None where it left none."""
        tensor = self.tensors.get(output)
        kept = tensor is not None and (tensor.is_leaf or tensor.retains_grad)
        return tensor.grad if tensor is not None and kept else None

    def shape(self, output: OutputId) -> tuple[int, ...] | None:
        tensor = self.tensors.get(output)
        if tensor is not None:
            return tuple(tensor.shape)
        node = self.nodes.get(output[0])
        shapes = [] if node is None else shapes_of_results(node)
        return shapes[output[1]] if output[1] < len(shapes) else None

    def outputs(self, node: Any) -> int:
        """How many outputs a node has, as far as anything uses or holds them."""
        count = 1
        while (id(node), count) in self.tensors or (id(node), count) in self.consumers:
            count += 1
        return max(count, len(shapes_of_results(node)))

    def word(self, edge: Edge) -> str:
        """The name of a use: the variable that its result was assigned to, else its operation."""
        node, _ = edge
        for number in range(4):
            if (id(node), number) in self.names:
                return self.names[(id(node), number)]
        kind = str(node.name()).split("Backward")[0].lower()
        further = self.consumers.get((id(node), 0), [])
        return f"{kind} (towards {self.word(further[0])})" if len(further) == 1 else kind
