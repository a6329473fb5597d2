"""What rounding may do to each gradient of a notebook, by what it was computed from.

A backward is linear in the gradients that come back. So the rounding of one gradient shows in all that are computed from it as
the same backward sends it on: it is run again in float64 a few times, with every gradient and every value that a rule reads
rounded at random, and what that does to a gradient is what a sound implementation may be off by. Nothing else counts: a large
gradient elsewhere loosens no other's bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gradcheck_lab.comparison.budget import judge
from gradcheck_lab.diagnosis.retained_backward import Backward, roots
from gradcheck_lab.diagnosis.retained_graph import OutputId, RetainedGraph
from gradcheck_lab.diagnosis.retained_rounding import Rounding
from gradcheck_lab.diagnosis.retained_sends import Rules
from gradcheck_lab.model.amounts import NOTEBOOK_MOVE, NOTEBOOK_SAMPLES
from gradcheck_lab.model.limits import NOTEBOOK_ELEMENTS
from gradcheck_lab.model.precision import widened
from gradcheck_lab.model.precision.budget import AGREE, ROUNDINGS_OF_A_STEP


@dataclass(frozen=True, slots=True)
class Bounds:
    """What rounding did to a gradient in each sample; `known` is whether the samples say all."""

    samples: tuple[Tensor, ...] = ()
    known: bool = False

    def references(self, expected: Tensor, times: float) -> list[Tensor]:
        """Gradients that rounding, that many times as large as in the samples, may leave."""
        return [expected + times * sample.expand_as(expected) for sample in self.samples]


class NotebookNoise:
    """The rounding of the retained gradients of a notebook's tensors; `made` are those made by hand, each with its tensor."""

    def __init__(self, tensors: Mapping[str, Tensor], made: Iterable[tuple[Tensor, Tensor]] = ()) -> None:
        self.graph = RetainedGraph(tensors)
        self._made = {output: value for tensor, value in made if (output := self.graph.output(tensor)) is not None}
        self.rules = Rules(self.graph)
        shapes = [self.graph.shape((node, 0)) for node in self.graph.nodes]
        self.small = sum(torch.Size(s).numel() for s in shapes if s is not None) <= NOTEBOOK_ELEMENTS.value

    @cached_property
    def retained(self) -> dict[OutputId, Tensor]:
        found = {output: self.graph.retained(output) for output in self.graph.tensors}
        return {output: widened(grad) for output, grad in found.items() if grad is not None}

    @cached_property
    def backward(self) -> Backward:
        """The backward as it was: of all losses, or of that one whose gradients are the retained ones."""
        passes = [Backward(self.rules, self.retained, root) for root in roots(self.graph)]
        return max(passes, key=lambda each: sum(self._alike(each, output) for output in self.retained))

    def _alike(self, backward: Backward, output: OutputId) -> bool:
        computed = backward.computed.get(output)
        return computed is not None and self.rules.values.alike(computed, self.retained[output])

    @cached_property
    def samples(self) -> list[Backward]:
        return self.sampled(self.backward)

    def sampled(self, base: Backward) -> list[Backward]:
        """A pass again, with everything rounded at random."""
        dtypes = {t.dtype for t in self.graph.tensors.values() if t.is_floating_point() or t.is_complex()} or {torch.float64}
        limits = max(map(torch.finfo, dtypes), key=lambda each: float(each.eps))
        tiny = float(limits.smallest_normal) * float(limits.eps)
        drawn = [Rounding(self._width, tiny, seed) for seed in range(NOTEBOOK_SAMPLES.value)]
        return [Backward(self.rules, base.given, base.root, base, rounding) for rounding in drawn]

    @property
    def _width(self) -> float:
        """How far values are moved: the roundoff, and in float64 more, for what is done with them is rounded itself."""
        return max(self.rules.values.roundoff, NOTEBOOK_MOVE.value)

    def allowed(self, tensor: Tensor | None) -> tuple[Bounds, float]:
        """What rounding may have done to the gradient of a tensor, and the size of the gradients that it is computed from."""
        output = None if tensor is None else self.graph.output(tensor)
        if tensor is None or output is None or not self.small:
            return Bounds(), 0.0
        sources = [self.retained.get(each, self.backward.grads.get(each)) for each in self.backward.before(output)]
        sizes = [float(grad.abs().square().mean().sqrt()) for grad in sources if grad is not None]
        return self.bounds(tensor), max(sizes, default=0.0)

    def bounds(self, tensor: Tensor) -> Bounds:
        """What rounding may have done to the gradient that autograd retained for a tensor."""
        output = self.graph.output(tensor) if self.small else None
        if output is None or (output not in self.backward.computed and output not in self.retained):
            return Bounds()
        samples = self.moved(self.backward, self.samples, output)
        known = bool(samples) and self._confirmed(output)
        return Bounds(samples, known and all(self._confirmed(each) for each in self.backward.before(output, self._agreed)))

    @cached_property
    def _agreed(self) -> set[OutputId]:
        """Outputs whose gradients nobody can compute again, as of a loss in one step, and that both sides have alike.

        What is computed from them differs by what is rounded from there on.
        """
        return {output for output, value in self._made.items() if not self._confirmed(output) and self._is_alike(output, value)}

    def _is_alike(self, output: OutputId, made: Tensor) -> bool:
        retained, dtype = self.retained.get(output), self.graph.tensors[output].dtype
        return retained is not None and judge(made, retained, dtype, roundings=AGREE.value).passed

    def moved(self, base: Backward, samples: list[Backward], output: OutputId) -> tuple[Tensor, ...]:
        """By how much the roundings of each sample moved a gradient of a pass."""
        times = self.rules.values.roundoff / self._width
        before = base.computed.get(output)
        found = [(each.computed.get(output), before) for each in samples]
        if before is None and output not in base.unknown and output in base.grads:
            found = [(each.grads.get(output), base.grads[output]) for each in samples]
        return tuple(torch.nan_to_num(a - b, 0.0, 0.0, 0.0) * times for a, b in found if a is not None and b is not None)

    def _confirmed(self, output: OutputId) -> bool:
        """Whether the gradient that was computed again is the retained one, as far as rounding lets it."""
        if output in self._seen:
            return self._seen[output]
        retained, computed = self.retained.get(output), self.backward.computed.get(output)
        if computed is None or retained is None:
            sound = output not in self.backward.unknown
        else:
            dtype = self.graph.tensors[output].dtype
            moved = Bounds(self.moved(self.backward, self.samples, output))
            references = moved.references(computed, ROUNDINGS_OF_A_STEP.value)
            sound = retained.shape == computed.shape
            sound = sound and judge(retained, computed, dtype, references, roundings=AGREE.value).passed
        self._seen[output] = sound
        return sound

    @cached_property
    def _seen(self) -> dict[OutputId, bool]:
        return {}
