"""One examination of what several ranks see: each gradient that is another one on another rank has a row for each rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.distributed.failures import on_ranks
from gradcheck_lab.distributed.placements import Partial, Replicate
from gradcheck_lab.distributed.together import Layout, Seen
from gradcheck_lab.examination.examined import Examined
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.subjects.subject import Subject


@dataclass(frozen=True, slots=True)
class Seer:
    """What one rank sees, and the names of gradients that are another one on another rank."""

    rank: int
    examined: Examined
    own: Mapping[str, str]

    @property
    def right(self) -> frozenset[str]:
        """The gradients, by the name of their input, that are right on this rank."""
        passed = {c.result.name for c in self.examined.comparisons if c.result.verdict == "pass"}
        return frozenset(self.own[name] for name in passed & self.own.keys())


def seen_on(subject: Subject, rank: int, differing: frozenset[int]) -> tuple[Subject, dict[str, str]]:
    """The subject with the rank in the names of what differs, and the names without it by those with it."""
    place = f" on rank {rank}"
    names = tuple(f"{name}{place}" if i in differing else name for i, name in enumerate(subject.names))
    labels = tuple(f"{label}{place}" if i in differing else label for i, label in enumerate(subject.labels))
    return replace(subject, names=names, labels=labels), {names[i]: subject.names[i] for i in differing}


def differing_inputs(seen: Seen, layout: Layout) -> frozenset[int]:
    """The inputs whose gradient each rank has to return whole, and that is not the same on all of them to the last bit."""
    found = set()
    for index, placement in enumerate(layout.inputs):
        if placement == Replicate() or isinstance(placement, Partial):
            first, *others = [each[index] for each in seen.gradients]
            if not all(_equal(first, other) for other in others):
                found.add(index)
    return frozenset(found)


def _equal(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    return bool(torch.equal(a, b))


def merged(seers: Sequence[Seer]) -> Examined:
    """One examination of all: what they see alike is there once, and a mistake that several ranks have is told once."""
    names, comparisons, reasons = set[str](), list[Comparison](), dict[str, None]()
    groups: dict[Any, list[tuple[int, Finding]]] = {}
    for seer in seers:
        new = [c for c in seer.examined.comparisons if c.result.name not in names]
        names |= {c.result.name for c in new}
        comparisons += new
        reasons |= dict.fromkeys(seer.examined.reasons)
        for finding in seer.examined.findings:
            name = seer.own.get(finding.gradient or "")
            told = finding if name is None else _beside_right_ranks(finding, name, seers)
            key = (name, told.cause) if name is not None else told
            groups.setdefault(key, []).append((seer.rank, told))
    found = [_once(group, len(seers)) for group in groups.values()]
    return replace(seers[0].examined, comparisons=tuple(comparisons), findings=tuple(found), reasons=tuple(reasons))


def _beside_right_ranks(finding: Finding, name: str, seers: Sequence[Seer]) -> Finding:
    """A wrong value on one rank, where it is right on another: the ranks disagree."""
    right = [seer.rank for seer in seers if name in seer.right]
    if finding.severity != "error" or not right or finding.measured is None:
        return finding
    return replace(
        finding,
        cause="ranks-disagree",
        explanation=f"it is right {on_ranks(right)}, and every rank that holds the input has to have the same gradient",
        suggestion="let every rank take the same steps, and enter every collective",
    )


def _once(group: Sequence[tuple[int, Finding]], ranks: int) -> Finding:
    """What several ranks say alike of one gradient, told of all of them."""
    first, known = group[0][1], [rank for rank, _ in group]
    if len(group) == 1 or first.gradient is None:
        return first
    return replace(first, message=first.message.replace(on_ranks(known[:1]), on_ranks(known), 1))
