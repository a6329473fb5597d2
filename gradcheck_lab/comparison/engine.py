"""What torch's engine makes of a raw backward: sums over extra dimensions, casts; compared beside the raw entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.findings import Finding


def with_engine(
    raw: Sequence[Comparison], engine: Sequence[Comparison], like_outputs: frozenset[str] = frozenset()
) -> list[Comparison]:
    """Put together, gradient by gradient, the comparison of the raw entry with that of what the engine delivered.

    Extra broadcast dimensions that the engine sums to the right value are a note, and so is the dtype of the outputs in the
    gradients of the inputs `like_outputs`, where the engine casts them to the right value; a wrong value that only the engine's
    way shows is an error.
    """
    delivered = {comparison.result.name: comparison for comparison in engine}
    return [_joined(each, delivered.get(each.result.name), each.result.name in like_outputs) for each in raw]


def _joined(raw: Comparison, engine: Comparison | None, like_outputs: bool) -> Comparison:
    if engine is None or (raw.excuse is not None and not raw.result.elements):  # allowed to be missing, which arrives as zero
        return raw
    causes = {finding.cause for finding in raw.findings if finding.severity == "error"}
    settled = having("shape") | ({"wrong-dtype"} if like_outputs else set())
    if causes and causes <= settled and engine.result.verdict == "pass":
        cast = causes == {"wrong-dtype"}
        first = next(finding for finding in raw.findings if finding.severity == "error")
        note = Finding(
            "engine-reduced",
            "note",
            first.message,
            gradient=first.gradient,
            explanation=f"torch's engine {'casts' if cast else 'sums'} it to the right value",
            suggestion=first.suggestion,
        )
        return replace(engine, findings=(*engine.findings, note))
    if raw.result.verdict == "pass" and engine.result.verdict == "fail":
        findings = [replace(f, case="through the engine", message=f"{f.message}, through the engine") for f in engine.findings]
        return replace(engine, findings=tuple(findings))
    return raw


def deliverable(gradients: Sequence[torch.Tensor | None] | None) -> bool:
    """Whether the engine delivered anything to compare."""
    return gradients is not None and any(gradient is not None for gradient in gradients)
