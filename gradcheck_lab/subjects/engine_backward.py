"""Run a backward through torch's autograd engine, and capture what the hand-written code returns to it.

The engine decides what it passes to a backward (zeros or None for unused outputs) and what it does with the result (sums over
broadcast dimensions, casts). So one run of the engine gives both: the raw entries that the hand-written code returned, and the
gradients that arrive at the inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.subjects.subject import Manual

Gradients = tuple[torch.Tensor | None, ...]


class Alias(torch.autograd.Function):
    """Make a tensor on the same storage that is no leaf and no view, so that an in-place Function may write to it."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        return value.data

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        return grad_output


@dataclass
class EngineBackward:
    """The backward of one forward: `outputs` are its tensors, `leaves` its flat inputs.

    `capture(call, returned)` runs `call` and appends to `returned` what the hand-written backward returns in it;
    `raw` makes flat entries of one such result. Where nothing is captured, the engine's gradients are used as the raw entries.
    """

    outputs: tuple[torch.Tensor, ...]
    leaves: tuple[Any, ...]
    capture: Callable[[Callable[[], Gradients], list[Any]], Gradients]
    raw: Callable[[Any], tuple[Any, ...]]
    _last: tuple[tuple[int, ...], Gradients | Exception] | None = field(default=None, init=False)

    def backward(self, grad_outputs: tuple[torch.Tensor | None, ...]) -> Manual:
        """Run the engine and return what the hand-written backward returned; raises what that raises."""
        returned: list[Any] = []
        self._last = None
        key = tuple(id(grad) for grad in grad_outputs)
        try:
            found = self.capture(lambda: self._gradients(grad_outputs), returned)
            self._last = (key, found)
        except Exception as error:
            if not returned:
                raise
            self._last = (key, error)  # the engine refused the returned entries: compare them, to say why
            return Manual(self.raw(returned[-1]))
        return Manual(self.raw(returned[-1]) if returned else found)

    def delivered(self, grad_outputs: tuple[torch.Tensor | None, ...]) -> Gradients:
        """The gradients that the engine delivers to the inputs; of the last `backward` run, where the tensors are the same."""
        last, self._last = self._last, None
        if last is None or last[0] != tuple(id(grad) for grad in grad_outputs):
            return self._gradients(grad_outputs)
        if isinstance(last[1], Exception):
            raise last[1]
        return last[1]

    def _gradients(self, grad_outputs: tuple[torch.Tensor | None, ...]) -> Gradients:
        pairs = [
            (output, grad)
            for output, grad in zip(self.outputs, grad_outputs, strict=True)
            if output.requires_grad and grad is not None
        ]
        wanted = [v for v in self.leaves if isinstance(v, torch.Tensor) and v.requires_grad]
        if not pairs or not wanted:
            return (None,) * len(self.leaves)
        roots, upstream = zip(*pairs, strict=True)
        found = iter(torch.autograd.grad(roots, wanted, upstream, retain_graph=True, allow_unused=True))
        return tuple(next(found) if isinstance(v, torch.Tensor) and v.requires_grad else None for v in self.leaves)


def as_leaves(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs as leaves of a new graph, on the same storage.

    All differentiable inputs require grad; where some inputs already require it, only these do.
    """
    marked = any(isinstance(value, torch.Tensor) and value.requires_grad for value in inputs)
    return tuple(
        value.detach().requires_grad_(is_differentiable(value) and (value.requires_grad or not marked))
        if isinstance(value, torch.Tensor)
        else value
        for value in inputs
    )


def reaches(outputs: tuple[Any, ...], kind: type) -> bool:
    """Whether the graph behind `outputs` holds a node of `kind`."""
    nodes = [value.grad_fn for value in outputs if isinstance(value, torch.Tensor)]
    seen: set[Any] = set()
    while nodes:
        node = nodes.pop()
        if isinstance(node, kind):
            return True
        if node is not None and node not in seen:
            seen.add(node)
            nodes += [before for before, _ in node.next_functions]
    return False


def entries(returned: Any, count: int) -> tuple[Any, ...]:
    """What a backward returned, as the engine reads it: a tuple or one gradient, without surplus Nones at the end."""
    found = returned if isinstance(returned, tuple) else (returned,)
    while len(found) > count and found[-1] is None:
        found = found[:-1]
    return found
