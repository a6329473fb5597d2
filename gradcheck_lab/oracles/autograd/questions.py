"""The oracle run once more on a changed call, for what a diagnosis wants to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property

import torch

from gradcheck_lab.diagnosis.evidence import PartialGradient, Variation
from gradcheck_lab.model.limits import RERUN_ELEMENTS
from gradcheck_lab.model.precision.numbers import SAME_FORWARD, SAME_FORWARD_NEAR_ZERO
from gradcheck_lab.oracles.autograd.neighbouring_forwards import Neighbouring, neighbours
from gradcheck_lab.oracles.autograd.other_slopes import intermediate_gradients
from gradcheck_lab.oracles.autograd.passes import AutogradOracle
from gradcheck_lab.oracles.autograd.recorded_graph import Graph
from gradcheck_lab.oracles.autograd.variations import left_out, narrowed, of_other_functions, variations
from gradcheck_lab.oracles.autograd.written_out import WrittenOut
from gradcheck_lab.subjects.subject import Key


class Kept:
    """What an iterator gives, for several who ask, as far as anybody asked."""

    def __init__(self, source: Iterator[Neighbouring]) -> None:
        self._source, self._seen = source, list[Neighbouring]()

    def __iter__(self) -> Iterator[Neighbouring]:
        yield from self._seen
        for each in self._source:
            self._seen.append(each)
            yield each


class Reruns:
    """What the oracle can still say about the gradient of one input; an explanation is never worth a crash."""

    def __init__(self, oracle: AutogradOracle, index: int) -> None:
        self.oracle, self.index = oracle, index

    def paths(self) -> list[PartialGradient]:
        """The gradients without some uses of a value that is used several times."""
        try:
            return self.oracle.paths(self.index) if self._cheap() else []
        except Exception:  # the graph does not take hooks
            return []

    def unreduced(self) -> torch.Tensor | None:
        """The gradient of the input as it would be had the user broadcast it to the first output's shape before the call."""
        case = self.oracle.case
        value, like = case.inputs[self.index], self.oracle.truth().outputs[0]
        if not self._cheap() or not isinstance(like, torch.Tensor):
            return None
        inputs = list(case.inputs)
        try:
            inputs[self.index] = value.detach().expand(like.shape).clone()
            found = self.oracle.run(torch.float64, case=replace(case, inputs=tuple(inputs)))
        except Exception:  # the forward takes no such input
            return None
        same = isinstance(found.outputs[0], torch.Tensor) and found.outputs[0].shape == like.shape
        rtol, atol = SAME_FORWARD.value, SAME_FORWARD_NEAR_ZERO.value
        if not same or not torch.allclose(found.outputs[0], like, rtol=rtol, atol=atol):
            return None
        return found.gradients.get(Key("input", self.index))

    def conjugated(self) -> torch.Tensor | None:
        """The conjugate of the gradient for the conjugate of grad_output: J^T g where the gradient is J^H g."""
        case = self.oracle.case
        if not self._cheap() or case.grad_outputs is None:
            return None
        try:
            turned = tuple(g.conj().resolve_conj() for g in case.grad_outputs)
            found = self.oracle.run(torch.float64, case=replace(case, grad_outputs=turned)).gradients
        except Exception:  # nothing to add to the comparison
            return None
        gradient = found.get(Key("input", self.index))
        return None if gradient is None else gradient.conj().resolve_conj()

    def reversed(self) -> Iterator[tuple[int, torch.Tensor]]:
        """For each axis, from the end, the flipped gradient for the flipped grad_output: what walks that axis backwards."""
        case = self.oracle.case
        upstream = case.grad_outputs or ()
        ndim = min([case.inputs[self.index].ndim, *(g.ndim for g in upstream)])
        for axis in range(-1, -1 - ndim, -1) if self._cheap() else ():
            try:
                found = self.oracle.run(torch.float64, case=replace(case, grad_outputs=tuple(g.flip(axis) for g in upstream)))
            except Exception:  # nothing to add to the comparison
                return
            gradient = found.gradients.get(Key("input", self.index))
            if gradient is not None:
                yield axis, gradient.flip(axis)

    def variations(self) -> Iterator[Variation]:
        """The gradients that the backward gives with one thing changed in it."""
        plain, written = self._graph, self._graph_of(WrittenOut())
        if plain is not None:
            yield from left_out(plain)
        if written is not None:
            yield from variations(written)

    def less_likely(self) -> Iterator[Variation]:
        """The gradients of the forward's own values, and those with another function's derivative.

        Where a factor or a term is left out, what is left may be either.
        """
        if self._graph is not None:
            yield from intermediate_gradients(self._graph)
            yield from of_other_functions(self._graph)

    def neighbours(self) -> Iterator[Variation]:
        """The gradients of forwards that differ from this one in a choice, such as an epsilon."""
        if not self._cheap():
            return
        oracle, key = self.oracle, Key("input", self.index)
        if oracle.neighbours is None:
            oracle.neighbours = Kept(neighbours(lambda mode: oracle.run(torch.float64, moving=mode).gradients))
        for variation, gradients in oracle.neighbours:
            yield replace(variation, gradient=gradients.get(key))

    def narrowed(self, dtypes: Sequence[torch.dtype]) -> Iterator[Variation]:
        """The gradients that the backward gives with one value rounded to a narrower dtype."""
        if self._graph is not None:
            yield from narrowed(self._graph, dtypes)

    def values(self) -> Mapping[str, torch.Tensor]:
        """The intermediate values of the forward, by how they are computed."""
        return {} if self._graph is None else self._graph.mode.values

    @cached_property
    def _graph(self) -> Graph | None:
        return self._graph_of(nullcontext())

    def _graph_of(self, changed: AbstractContextManager[object]) -> Graph | None:
        try:
            return self.oracle.graph(self.index, changed) if self._cheap() else None
        except Exception:  # the forward does not run under a mode, or saves what cannot be replaced
            return None

    def _cheap(self) -> bool:
        return sum(v.numel() for v in self.oracle.case.inputs if isinstance(v, torch.Tensor)) <= RERUN_ELEMENTS.value
