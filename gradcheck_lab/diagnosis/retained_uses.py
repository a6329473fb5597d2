"""The gradients of a notebook's tensor with the contributions of only some of its uses."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch

from gradcheck_lab.diagnosis.evidence import PartialGradient
from gradcheck_lab.diagnosis.retained_backward import Backward, total
from gradcheck_lab.model.limits import RETAINED_USES


def incomplete_gradients(backward: Backward, tensor: torch.Tensor) -> Iterator[PartialGradient]:
    """The gradients of a tensor with the contributions of only some of its uses.

    Uses whose contributions cannot be computed count as one use.
    """
    uses, whole = backward.graph.uses(tensor), tensor.grad
    if whole is None or not 1 < len(uses) <= RETAINED_USES.value:
        return
    words: dict[str, list[torch.Tensor | None]] = {}
    for node, position in uses:
        words.setdefault(backward.graph.word((node, position)), []).append(backward.sent.get((id(node), position)))
    parts = []
    for word, sent in words.items():
        computed = [gradient for gradient in sent if gradient is not None]
        parts.append((word, total(computed) if len(computed) == len(sent) else None))
    if len(parts) < 2:
        return
    known = [(word, part) for word, part in parts if part is not None and part.shape == whole.shape]
    unknown = [word for word, part in parts if part is None or part.shape != whole.shape]
    if not known:
        return
    if unknown:
        known.append((" and ".join(unknown), whole - total([part for _, part in known])))
    for count in range(1, len(known)):
        for kept in itertools.combinations(range(len(known)), count):
            gradient = total([known[i][1] for i in kept])
            lost = " and ".join(word for i, (word, _) in enumerate(known) if i not in kept)
            yield PartialGradient(" and ".join(known[i][0] for i in kept), gradient.detach(), lost)
