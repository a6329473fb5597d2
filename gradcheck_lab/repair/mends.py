"""Which kinds of edits mend which causes: what is tried first."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gradcheck_lab.edits.edit import Edit
from gradcheck_lab.edits.kinds import MENDS
from gradcheck_lab.edits.kinds.kind import Kind
from gradcheck_lab.model.causes import MENDED_BY
from gradcheck_lab.model.findings import Finding


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
    return not MENDED_BY[kind].isdisjoint(causes)


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
