"""One finding a mistake: what a probe explains takes the place of an unexplained value, and repetitions go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gradcheck_lab.model.causes import CAUSES, having
from gradcheck_lab.model.findings import Finding

# these check other code of the user's than the backward: nothing that the backward does wrong makes them a repetition
_OTHER_CODE = frozenset({"forward_mode", "vmap", "opcheck"})


def _explained(finding: Finding, reason: Finding) -> bool:
    if finding.cause in having("unexplained") or finding.cause in CAUSES[reason.cause].compared_as:
        return True
    return reason.cause in having("overrules") and finding.cause in having("pattern")


def merged(base: Sequence[Finding], probed: Sequence[Finding]) -> list[Finding]:
    """Put the findings of the comparison and of the probes together, the errors first that say most.

    A gradient that the base case already shows wrong is not reported again for values, sizes or dtypes that merely
    show the same mistake.
    """
    wrong = {(f.gradient, f.op) for f in base if f.severity == "error"}
    reasons = {f.gradient: f for f in reversed(probed) if f.severity == "error" and f.cause in having("explains")}
    used: set[int] = set()
    found: list[Finding] = []
    for finding in base:
        reason = reasons.get(finding.gradient) or reasons.get(None)
        if finding.severity == "error" and reason is not None and _explained(finding, reason):
            used.add(id(reason))
            finding = replace(
                finding,
                cause=reason.cause,
                explanation=reason.explanation,
                suggestion=reason.suggestion,
                probe=reason.probe,
            )
        found.append(finding)
    seen = {(f.cause, f.gradient) for f in found}
    for finding in probed:
        if finding.probe in _OTHER_CODE:
            found.append(finding)
            continue
        known = id(finding) in used or (finding.cause, finding.gradient) in seen
        follows = (finding.gradient, finding.op) in wrong and finding.cause in having("consequence")
        if not known and not follows:
            seen.add((finding.cause, finding.gradient))
            found.append(finding)
    return [finding for finding in found if not _repeats(finding, found)]


def _repeats(finding: Finding, found: Sequence[Finding]) -> bool:
    """Whether another error on the same gradient is the mistake of which this finding is a view."""
    same = (f for f in found if f.severity == "error" and (f.gradient, f.op) == (finding.gradient, finding.op))
    known = (CAUSES[other.cause] for other in same if other is not finding and other.cause in CAUSES)
    return any(finding.cause in row.probed_as for row in known)
