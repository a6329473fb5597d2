"""One finding a mistake: what a probe explains takes the place of an unexplained value, and repetitions go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gradcheck_lab.model.findings import Finding

_UNEXPLAINED = frozenset({"wrong-value", "value-dependent"})
# what these do to a gradient may look like a constant, a term or a pattern
_OVERRULES = frozenset(
    "upstream-ignored upstream-scalarized not-linear output-gradient-dropped mutates-saved stale-state "
    "accumulates-across-calls nondeterministic random-replay".split()
)
_PATTERNS = frozenset(
    {"constant-factor", "permuted", "missing-term", "fan-out-overwritten", "low-precision", "epsilon-mismatch"}
)
_EXPLAINS = frozenset(
    "upstream-ignored upstream-scalarized not-linear output-gradient-dropped undefined-upstream mutates-saved stale-state "
    "accumulates-across-calls nondeterministic unwritten-elements duplicate-index random-replay missing-conjugate "
    "mode-mismatch option-specialised masked-branch".split()
)
_CONSEQUENCES = frozenset(
    "value-dependent size-specialised option-specialised low-precision overflow epsilon-mismatch wrong-value".split()
)
# what one mistake looks like to the probes of other promises: findings on the same gradient that say no more
_LOOKS_LIKE: dict[str, frozenset[str]] = {
    "unwritten-elements": frozenset(
        "stale-state not-linear input-layout upstream-layout nondeterministic accumulates-across-calls mutates-saved "
        "reused-buffer value-dependent size-specialised".split()
    ),
    "random-replay": frozenset(
        "not-linear input-layout upstream-layout nondeterministic mutates-saved stale-state option-specialised "
        "value-dependent size-specialised".split()
    ),
    "stale-state": frozenset("value-dependent overflow non-finite masked-branch outside-subdifferential".split()),
    "mutates-saved": frozenset({"stale-state"}),
    "reused-buffer": frozenset("not-linear input-layout upstream-layout stale-state".split()),
    "epsilon-mismatch": frozenset({"tie-mass", "value-dependent", "low-precision", "size-specialised"}),
    "low-precision": frozenset({"value-dependent", "size-specialised"}),
}
# what a gradient looks like that lacks all of an output's part
_DROPPED = frozenset({"zero-gradient", "missing-gradient", "fan-out-overwritten", "missing-term"})
# these check other code of the user's than the backward: nothing that the backward does wrong makes them a repetition
_OTHER_CODE = frozenset({"forward_mode", "vmap", "opcheck"})


def _explained(finding: Finding, reason: Finding) -> bool:
    masked = finding.cause == "non-finite" and reason.cause == "masked-branch"
    dropped = finding.cause in _DROPPED and reason.cause == "output-gradient-dropped"
    return masked or dropped or finding.cause in _UNEXPLAINED or (reason.cause in _OVERRULES and finding.cause in _PATTERNS)


def merged(base: Sequence[Finding], probed: Sequence[Finding]) -> list[Finding]:
    """Put the findings of the comparison and of the probes together, the errors first that say most.

    A gradient that the base case already shows wrong is not reported again for values, sizes or dtypes that merely
    show the same mistake.
    """
    wrong = {(f.gradient, f.op) for f in base if f.severity == "error"}
    reasons = {f.gradient: f for f in reversed(probed) if f.severity == "error" and f.cause in _EXPLAINS}
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
        follows = (finding.gradient, finding.op) in wrong and finding.cause in _CONSEQUENCES
        if not known and not follows:
            seen.add((finding.cause, finding.gradient))
            found.append(finding)
    return [finding for finding in found if not _repeats(finding, found)]


def _repeats(finding: Finding, found: Sequence[Finding]) -> bool:
    """Whether another error on the same gradient is the mistake of which this finding is a view."""
    same = (f for f in found if f.severity == "error" and (f.gradient, f.op) == (finding.gradient, finding.op))
    return any(finding.cause in _LOOKS_LIKE.get(other.cause, ()) for other in same if other is not finding)
