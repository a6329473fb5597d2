"""The true backward with one value in it that has another epsilon than the forward's, or has it beside its root."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch

from gradcheck_lab.diagnosis.evidence import Variation
from gradcheck_lab.model.amounts import USUAL_EPSILONS
from gradcheck_lab.model.precision.patterns import LARGEST_EPSILON
from gradcheck_lab.oracles.autograd.recorded_graph import Graph, Made

Candidate = Callable[[], Variation | None]
_ROOTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"sqrt": torch.sqrt, "rsqrt": torch.rsqrt}
_OF_SUMS = {**_ROOTS, "log": torch.log, "reciprocal": torch.reciprocal}
_SIZES = frozenset({"norm", "linalg_vector_norm", "std"})


def other_epsilons(graph: Graph) -> Iterator[Candidate]:
    """The gradients with another epsilon in what the backward reads, as where it computes a deviation anew."""
    made, values = graph.mode.made, graph.mode.values
    for name, each in made.items():
        inner = made.get(graph.mode.name_of(each.tensors[0]) or "") if each.tensors else None
        if each.name in _OF_SUMS and inner is not None and (e := _epsilon(inner)) is not None:
            sum_name, v, f = graph.mode.name_of(each.tensors[0]), inner.tensors[0], _OF_SUMS[each.name]
            for to in (0.0, *USUAL_EPSILONS.value):
                if to != e:
                    changes = {name: f(v + to), sum_name or "": v + to}
                    yield _candidate(graph, changes, f"an epsilon of {to:g} in the place of {e:g} in {name}")
                    yield _candidate(graph, {name: f(v + to)}, f"an epsilon of {to:g} in the place of {e:g} in {name} alone")
            if each.name in _ROOTS:
                beside = v.sqrt() + e if each.name == "sqrt" else 1 / (v.sqrt() + e)
                yield _candidate(graph, {name: beside}, f"its epsilon beside the root in {name}")
        elif (e := _epsilon(each)) is not None and inner is not None and inner.name == "sqrt":
            under = (inner.tensors[0] + e).sqrt()
            root = graph.mode.name_of(each.tensors[0]) or ""
            yield _candidate(graph, {name: under, root: under}, f"its epsilon under the root in {name}")
            yield _candidate(graph, {name: under}, f"its epsilon under the root in {name} alone")
        elif each.name in ("sqrt", *_SIZES):
            value = values[name]
            for to in USUAL_EPSILONS.value:
                yield _candidate(graph, {name: value + to}, f"an epsilon of {to:g} added to {name}")
                yield _candidate(graph, {name: (value.square() + to).sqrt()}, f"an epsilon of {to:g} under the root of {name}")


def _epsilon(made: Made) -> float | None:
    """The small number that a sum adds to a tensor; None for anything else."""
    if made.name != "add" or not made.tensors or len(made.numbers) != 1:
        return None
    return made.numbers[0] if 0 < made.numbers[0] < LARGEST_EPSILON.value else None


def _candidate(graph: Graph, changes: Mapping[str, torch.Tensor], words: str) -> Candidate:
    fix = "use the same epsilon, in the same place, in forward and backward"

    def varied() -> Variation | None:  # a value that was broadcast keeps its name
        replaced = {
            number: changes[name].to(value).expand(value.shape)
            for number, value in enumerate(graph.saved)
            if (name := graph.mode.name_of(value) or "") in changes
        }
        found = graph.gradient(replaced=replaced) if replaced else None
        if found is None or not bool(torch.isfinite(found).all()):
            return None
        return Variation("epsilon-mismatch", f"it is right with {words}, which the backward reads", fix, (words,), found)

    return varied
