"""Which wrong gradients of a notebook are wrong by themselves, and which only because of others that they were computed from.

Each is computed once more from the hand-made gradients of the tensors that use it: one that agrees with this is right but for
them. So every line of the user's backward is seen alone, as the ops of a program are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gradcheck_lab.comparison.budget import judge
from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.comparison.findings import wrong_finding
from gradcheck_lab.comparison.finished import Finished, Wrong, as_tensor
from gradcheck_lab.comparison.notebook_noise import Bounds, NotebookNoise
from gradcheck_lab.diagnosis import Explanation
from gradcheck_lab.diagnosis.retained_backward import Backward
from gradcheck_lab.diagnosis.retained_graph import OutputId
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision import widened
from gradcheck_lab.model.precision.budget import AGREE, ROUNDINGS_OF_NO_STEP

Explain = Callable[[Wrong, Tensor], Explanation]


def attributed(finished: Sequence[Finished], noise: NotebookNoise, explain: Explain) -> tuple[list[Comparison], list[Finding]]:
    """The comparisons, those of contaminated gradients marked, and the findings in the order of the backward."""
    lines = _Lines(finished, noise)
    comparisons, findings = [each.comparison for each in finished], list[Finding]()
    for k in lines.in_backward_order():
        each = finished[k]
        if each.comparison.result.verdict != "fail":
            findings += each.comparison.findings
            continue
        culprit = lines.culprit(k)
        if culprit is not None and culprit != k:
            name = repr(finished[culprit].pair.name)
            comparisons[k] = replace(each.comparison, result=replace(each.comparison.result, contaminated_by=name))
        elif each.wrong is None:
            findings += each.comparison.findings
        else:
            findings += lines.own(k, each.wrong, explain)
    return comparisons, findings


class _Lines:
    """The hand-made gradients of a notebook, each as a line that computes it from others."""

    def __init__(self, finished: Sequence[Finished], noise: NotebookNoise) -> None:
        self.finished, self.noise = finished, noise
        tensors = [each.pair.tensor for each in finished]
        self.outputs = [None if tensor is None else noise.graph.output(tensor) for tensor in tensors]
        self.at: dict[OutputId, int] = {}
        given: dict[OutputId, Tensor] = {}
        for k, output in enumerate(self.outputs):
            if output is not None and (output not in self.at or self._fails(k)):
                self.at[output] = k
                manual = _usable(finished[k])
                given.pop(output, None)
                if manual is not None:
                    given[output] = manual
        self.given = given
        self._culprits: dict[int, int | None] = {}
        wrong = any(self._fails(k) for k in range(len(finished))) and noise.small and noise.graph.nodes
        self.base = Backward(noise.rules, {**noise.retained, **given}, noise.backward.root) if wrong else None
        self.samples = noise.sampled(self.base) if self.base is not None else []

    def _fails(self, k: int) -> bool:
        return self.finished[k].comparison.result.verdict == "fail"

    def in_backward_order(self) -> list[int]:
        places = {id(node): place for place, node in enumerate(self.noise.graph.order)}
        last = len(places)
        return sorted(range(len(self.outputs)), key=lambda k: places.get(o[0], last) if (o := self.outputs[k]) else last)

    def nearest(self, k: int) -> list[int]:
        """The wrong gradients that one is computed from, with no hand-made one between."""
        output, found, base = self.outputs[k], set[int](), self.base
        waiting, seen = [output] if output is not None and base is not None else [], set[OutputId]()
        while waiting and base is not None:
            for node, _ in base.uses(waiting.pop()):
                for result in ((node, n) for n in range(self.noise.graph.outputs(self.noise.graph.nodes[node]))):
                    if result in seen:
                        continue
                    seen.add(result)
                    if result in self.at:
                        found.update([self.at[result]] if self._fails(self.at[result]) else [])
                    else:
                        waiting.append(result)
        return sorted(found, key=self.in_backward_order().index)

    def expected(self, k: int) -> Tensor | None:
        """A gradient from the hand-made ones of its consumers; None where it cannot be computed."""
        output = self.outputs[k]
        if output is None or self.base is None or any(self.outputs[w] not in self.given for w in self.nearest(k)):
            return None
        return self.base.computed.get(output)

    def culprit(self, k: int) -> int | None:
        """The first wrong gradient that a wrong one is right but for; itself where it is wrong by itself."""
        if k not in self._culprits:
            nearest = self.nearest(k)
            follows = nearest and self._follows(k)
            self._culprits[k] = self.culprit(nearest[0]) if follows else k
        return self._culprits[k]

    def _follows(self, k: int) -> bool:
        expected, output, manual = self.expected(k), self.outputs[k], self._manual(k)
        if expected is None or output is None or manual is None or self.base is None:
            return False
        tensor = self.noise.graph.tensors[output]
        samples = self.noise.moved(self.base, self.samples, output)
        if manual.shape != expected.shape or manual.shape != tensor.shape:  # unsummed, as what it is computed from
            manual, expected = manual.sum_to_size(tensor.shape), expected.sum_to_size(tensor.shape)
            samples = tuple(sample.sum_to_size(tensor.shape) for sample in samples)
        references = Bounds(samples).references(expected, ROUNDINGS_OF_NO_STEP.value)
        return judge(manual, expected, tensor.dtype, references, roundings=AGREE.value).passed

    def _manual(self, k: int) -> Tensor | None:
        output = self.outputs[k]
        return None if output is None else self.given.get(output)

    def own(self, k: int, wrong: Wrong, explain: Explain) -> list[Finding]:
        """The findings of a gradient that is wrong by itself: against what it should be, given what it was computed from."""
        nearest, expected = self.nearest(k), wrong.expected
        if nearest:
            local = self.expected(k)
            if local is None or local.shape != wrong.manual.shape or not bool(torch.isfinite(local).all()):
                first = repr(self.finished[nearest[0]].pair.name)
                unclear = Explanation(
                    "wrong-value",
                    f"{first}, which it is computed from, is wrong too, and what that makes of it cannot be computed",
                    f"mend {first} first",
                )
                return [wrong_finding(wrong.slot, self.finished[k].comparison.result, wrong.found, unclear, wrong.manual)]
            expected = local
        explanation = explain(wrong, expected)
        result = self.finished[k].comparison.result
        return [wrong_finding(wrong.slot, result, wrong.found, e, wrong.manual) for e in (explanation, *explanation.also)]


def _usable(finished: Finished) -> Tensor | None:
    """A hand-made gradient in the shape of its tensor, or in one that sums to it; None where it has another."""
    tensor = finished.pair.tensor
    value = as_tensor(finished.pair.manual, finished.pair.name, "manual")
    if tensor is None or value is None:
        return None
    try:
        shape = torch.broadcast_shapes(value.shape, tensor.shape)
    except RuntimeError:
        return None
    return widened(value.detach()).expand(shape)
