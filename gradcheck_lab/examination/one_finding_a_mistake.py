"""One finding a mistake: a probe's explanation replaces that of an unexplained value, and repetitions are dropped."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from gradcheck_lab.model.causes import CAUSES, having
from gradcheck_lab.model.findings import Finding

# these probes check other code than the backward, so their findings never repeat one about the backward
_OTHER_CODE = frozenset({"forward_mode", "vmap", "opcheck", "compiled"})


def says_more(reason: str, cause: str) -> bool:
    """Whether a cause says more of a gradient than another that the comparison gave it."""
    if cause in having("unexplained") or cause in CAUSES[reason].compared_as:
        return reason not in having("unexplained")
    return reason in having("overrules") and cause in having("pattern")


def _may_replace(finding: Finding, reason: Finding, allowed: Collection[str]) -> bool:
    """Whether `reason`, found by a probe, may replace the cause that the comparison gave a finding.

    An allowed reason is no excuse on the call as given where it is seen on later calls only, as those of a program's ops by
    themselves are, or where it was taken away before the rest was compared.
    """
    later = reason.cause in having("of_later_calls") and finding.op is None
    if reason.cause in allowed and (later or reason.cause in having("foreseen")):
        return False
    return says_more(reason.cause, finding.cause)


def merge_findings(compared: Sequence[Finding], probed: Sequence[Finding], allowed: Collection[str] = ()) -> list[Finding]:
    """Merge the findings of the comparison with those of the probes, so that each mistake is reported once.

    Where a probe explains a wrong gradient, its cause and explanation replace those of the comparison. A gradient that is wrong
    on the user's call is not reported again for other values, sizes or dtypes. A cause that is `allowed` stands for no other.
    """
    wrong = {(f.gradient, f.op) for f in compared if f.severity == "error"}
    reasons = {f.gradient: f for f in reversed(probed) if f.severity == "error" and f.cause in having("explains")}
    merged: set[int] = set()
    found: list[Finding] = []
    for finding in compared:
        reason = reasons.get(finding.gradient) or reasons.get(None)
        if finding.severity == "error" and reason is not None and _may_replace(finding, reason, allowed):
            merged.add(id(reason))
            if reason.cause in allowed:  # which explains what it explains, and nothing of other calls
                wrong.discard((finding.gradient, finding.op))
            finding = replace(
                finding,
                cause=reason.cause,
                explanation=reason.explanation,
                suggestion=reason.suggestion,
                probe=reason.probe,
                kept=reason.kept,
            )
        found.append(finding)
    found = _explained_first(found)
    seen = {(f.cause, f.gradient) for f in found}
    for finding in sorted(probed, key=lambda f: f.severity != "error" or f.cause not in having("overrules")):
        if finding.probe in _OTHER_CODE:
            found.append(finding)
            continue
        is_known = id(finding) in merged or (finding.cause, finding.gradient) in seen
        is_consequence = (finding.gradient, finding.op) in wrong and finding.cause in having("consequence")
        if not is_known and not is_consequence:
            seen.add((finding.cause, finding.gradient))
            found.append(finding)
    return [finding for finding in found if not _is_repetition(finding, found)]


def _explained_first(found: Sequence[Finding]) -> list[Finding]:
    """The errors that explain others first, and those without an explanation, which may come from the same mistake, last."""
    errors = [f for f in found if f.severity == "error" and f.op is None]
    ordered = iter(sorted(errors, key=lambda f: (f.cause not in having("overrules"), f.cause in having("unexplained"))))
    return [next(ordered) if f.severity == "error" and f.op is None else f for f in found]


def _is_repetition(finding: Finding, found: Sequence[Finding]) -> bool:
    """Whether another error on the same gradient, or on the whole call, has a cause that implies this finding."""
    errors = [f for f in found if f.severity == "error" and f.op == finding.op]
    same = (f for f in errors if f.gradient in (finding.gradient, None))
    causes = (CAUSES[other.cause] for other in same if other is not finding and other.cause in CAUSES)
    return any(finding.cause in row.probed_as for row in causes)
