"""Which kinds of edits mend which causes: what is tried first."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gradcheck_lab.edits.edit import Edit
from gradcheck_lab.edits.kinds import MENDS
from gradcheck_lab.edits.kinds.kind import Kind
from gradcheck_lab.model.findings import Finding


def _row(kinds: str, causes: str) -> dict[str, frozenset[str]]:
    return dict.fromkeys(kinds.split(), frozenset(causes.split()))


# by kind of edit, the causes that it mends as a rule; every kind is tried for every cause, these first
_MENDED: dict[str, frozenset[str]] = {
    **_row("change-sign", "sign missing-conjugate missing-term"),
    **_row("double halve scale-by-size change-integer", "constant-factor size-specialised overflow"),
    **_row("sum-for-mean", "constant-factor size-specialised"),
    **_row("drop-factor drop-power", "missing-factor wrong-value value-dependent wrong-operand constant-factor not-linear"),
    **_row("multiply-by-upstream", "upstream-ignored upstream-scalarized output-gradient-dropped"),
    **_row("use-upstream", "upstream-ignored"),
    **_row("whole-array", "upstream-scalarized unwritten-elements"),
    **_row("drop-sum", "upstream-scalarized wrong-shape wrong-axis"),
    **_row("multiply-by-name", "missing-factor wrong-value value-dependent wrong-operand option-specialised"),
    **_row("complement square-name", "missing-factor wrong-value value-dependent wrong-operand"),
    **_row("replace-name swap-saved", "wrong-operand slots-swapped missing-factor wrong-value"),
    **_row("swap-returned", "slots-swapped wrong-shape wrong-operand"),
    **_row("swap-operands", "wrong-operand transposed permuted raises sign"),
    **_row("add-sum", "missing-broadcast-sum wrong-shape fan-out-overwritten size-specialised"),
    **_row("match-shape", "missing-broadcast-sum wrong-shape engine-reduced size-specialised"),
    **_row("change-axis drop-axis", "wrong-axis wrong-shape"),
    **_row("flip-keepdim", "wrong-shape wrong-axis raises"),
    **_row("add-transpose drop-transpose transpose-value", "transposed permuted wrong-shape wrong-operand raises"),
    **_row("add-term", "missing-term fan-out-overwritten aliased-inputs"),
    **_row("other-comparison", "outside-subdifferential tie-mass convention value-dependent"),
    **_row("accumulate", "accumulates-across-calls fan-out-overwritten duplicate-index aliased-inputs"),
    **_row("accumulate-indexed", "duplicate-index"),
    **_row("overwrite", "accumulates-across-calls"),
    **_row("add-clone clone-value", "mutates-grad-output mutates-input mutates-saved reused-buffer"),
    **_row("out-of-place", "mutates-grad-output mutates-input mutates-saved not-linear"),
    **_row("add-contiguous", "upstream-layout input-layout"),
    **_row("return-name", "missing-gradient zero-gradient gradient-count slots-swapped"),
    **_row("cast", "wrong-dtype"),
    **_row("drop-cast", "low-precision wrong-dtype"),
    **_row("drop-detach", "double-backward"),
    **_row("add-conjugate", "missing-conjugate"),
    **_row("number-of-forward read-option add-epsilon", "epsilon-mismatch default-mismatch option-specialised non-finite"),
    **_row("drop-offset", "unwritten-elements constant-factor size-specialised"),
}


def usual_and_others(errors: Sequence[Finding]) -> tuple[tuple[Kind, ...], tuple[Kind, ...]]:
    """The kinds that mend a cause of the errors as a rule, and the other ones."""
    causes = {finding.cause for finding in errors}
    usual = tuple(kind for kind in MENDS if mends(kind.name, causes))
    return usual, tuple(kind for kind in MENDS if kind not in usual)


def ordered(edits: Sequence[Edit], errors: Sequence[Finding]) -> list[Edit]:
    """The edits, those first that mend a cause of the errors as a rule, and among them small changes before large ones."""
    causes = {finding.cause for finding in errors}
    return sorted(edits, key=lambda edit: (not mends(edit.kind, causes), size_of(edit)))


def mends(kind: str, causes: Collection[str]) -> bool:
    """Whether edits of this kind mend one of these causes as a rule."""
    return not _MENDED[kind].isdisjoint(causes)


def size_of(edit: Edit) -> int:
    """How many characters an edit takes away and puts in, but for what its lines begin and end with in common."""
    one, other = edit.before, edit.after
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(one), len(other)) - start and one[-1 - end] == other[-1 - end]:
        end += 1
    return len(one) + len(other) - 2 * (start + end)
