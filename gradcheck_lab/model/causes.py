"""The fixed names of causes: what `Finding.cause` may say and `allow=` may name."""

from __future__ import annotations

ERRORS = frozenset(
    "forward-mismatch raises gradient-count missing-gradient missing-broadcast-sum wrong-shape wrong-dtype "
    "non-finite masked-branch upstream-ignored upstream-scalarized not-linear output-gradient-dropped "
    "undefined-upstream upstream-layout input-layout mutates-grad-output mutates-input mutates-saved "
    "stale-state accumulates-across-calls reused-buffer nondeterministic unwritten-elements aliased-inputs "
    "fan-out-overwritten duplicate-index needs-input-grad sign constant-factor transposed permuted "
    "slots-swapped wrong-axis zero-gradient missing-term outside-subdifferential tie-mass low-precision "
    "overflow epsilon-mismatch value-dependent size-specialised option-specialised random-replay mode-mismatch "
    "double-backward missing-conjugate disconnected wrong-value".split()
)
NOTES = frozenset("convention discontinuous engine-reduced oracle-disagrees stochastic unsupported".split())
CAUSES = ERRORS | NOTES
