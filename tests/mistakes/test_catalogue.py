"""Every planted mistake is caught from one ordinary call, under its cause before any other; its sound twin passes."""

from collections import Counter

import numpy as np
import pytest

from gradcheck_lab.model.causes import ERRORS
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.report import Report
from gradcheck_lab.subjects import adapt
from tests.distributed.written import ROWS as OF_RANKS
from tests.judging.outcomes import ROWS as JUDGED
from tests.mistakes.catalogue import ROWS
from tests.mistakes.registry import Mistake

# the second order has rows and tests of its own; a twin that is right to first order may have none
ELSEWHERE = frozenset({"double-backward"})
# no check of one call finds these: they need a process or a device of their own
UNSEEN = frozenset({"crashed", "timed-out", "memory-exceeded", "device-lost"})


def errors(report: Report) -> list[Finding]:
    return [f for f in report.findings if f.severity == "error" and f.cause not in ELSEWHERE]


# their checks take the longest, and another row has the same cause in the same form of subject
COSTLY = frozenset(
    """
    epsilon-mismatch-function-rms-norm epsilon-mismatch-probed-layer-norm-epsilon low-precision-probed-bfloat16-inside
    duplicate-index-probed-scattered
    disconnected-plain-detached-part-of-much size-specialised-pair-faint-tail
    size-specialised-probed-mean-by-a-fixed-batch epsilon-mismatch-probed-normalise-epsilon
    epsilon-mismatch-layer-root-float32
    undefined-upstream-function-lstm-cell mode-mismatch-module-batch-norm value-dependent-probed-cube-near-zero
    outside-subdifferential-probed-abs-at-zero constant-factor-pair-elements-at-their-kinks-float32
    nondeterministic-probed-function-sin missing-term-pair-one-row-left-out-float32
    outside-subdifferential-probed-leaky-at-zero constant-factor-pair-spread-of-rows-bfloat16
    value-dependent-probed-huber-outside disconnected-plain-detached-part-in-float32 non-finite-setup-context-distance
    constant-factor-pair-complex64 constant-factor-pair-two-rows-doubled-float32 wrong-value-pair-extra-factor-float32
    constant-factor-pair-spread-of-rows-float32
    wrong-value-pair-numpy-long-nearly-one upstream-scalarized-choice-column-means-under-ones-float32
    upstream-scalarized-choice-first-column-under-ones-float32 upstream-scalarized-choice-mean-under-ones-bfloat16
    upstream-scalarized-choice-first-element-under-ones-bfloat16 upstream-scalarized-choice-first-element-under-ones-float64
    size-specialised-loss-with-labels-among-the-options
    upstream-scalarized-choice-first-row-under-ones-float32 upstream-scalarized-choice-mean-under-ones-float64
    """.split()
)


def usual() -> set[str]:
    """The first row of each cause in each family of names, for the ordinary lane; the thorough lane has all rows."""
    found: dict[tuple[str, str], str] = {}
    for row in ROWS:
        if str(row) not in COSTLY:
            found.setdefault((row.cause, row.name.partition("-")[0]), str(row))
    return set(found.values())


USUAL = usual()
EVERY = [pytest.param(row, id=str(row), marks=[] if str(row) in USUAL else [pytest.mark.thorough]) for row in ROWS]


def form_of(row: Mistake) -> str:
    """The kind of subject, arrays apart from tensors."""
    arrays = any(isinstance(value, np.ndarray) for value in row.inputs)
    return ("NumPy " if arrays else "") + adapt(row.sound(), row.inputs, dict(row.options)).kind


@pytest.mark.parametrize("mistake", EVERY)
def test_mistake_is_named_before_anything_else(mistake: Mistake) -> None:
    report = mistake.check_wrong()
    assert report.verdict == "fail", report
    assert errors(report), report
    assert errors(report)[0].cause == mistake.cause, report


@pytest.mark.parametrize("mistake", EVERY)
def test_sound_twin_passes_in_silence(mistake: Mistake) -> None:
    report = mistake.check_sound()
    assert report.verdict == "pass", report
    assert {f.cause for f in report.findings if f.severity != "note"} <= ELSEWHERE, report


COUNTS = Counter(row.cause for row in ROWS)
# what a judged candidate does is planted in candidates, whose twins are judged beside them
COUNTS += Counter(cause for row in JUDGED for cause in row.causes if cause in ("forbidden-op", "tampered"))
# what goes wrong between ranks takes several of them: tests/distributed plants it
BETWEEN_RANKS = ("missing-reduction", "reduced-twice", "rank-order", "ranks-disagree")
COUNTS += Counter(cause for row in OF_RANKS for _, cause in row.mistakes.values() if cause in BETWEEN_RANKS)


def test_planted_mistakes_have_names_of_their_own() -> None:
    for name, count in Counter(str(row) for row in ROWS).items():
        assert count == 1, f"{count} planted mistakes are called {name}"


@pytest.mark.parametrize("cause", sorted(ERRORS - ELSEWHERE - UNSEEN))
def test_cause_has_three_planted_mistakes_with_sound_twins(cause: str) -> None:
    assert COUNTS[cause] >= 3, f"the cause {cause} has {COUNTS[cause]} planted mistakes of 3: add rows to tests/mistakes"


def test_row_left_to_the_thorough_lane_has_another_of_its_cause_and_form() -> None:
    rows = {str(row): row for row in ROWS}
    assert rows.keys() >= COSTLY, f"no such rows: {sorted(COSTLY - rows.keys())}"
    causes = {rows[name].cause for name in COSTLY}
    kept = {(row.cause, form_of(row)) for name, row in rows.items() if name in USUAL and row.cause in causes}
    for name in COSTLY:
        cause, form = rows[name].cause, form_of(rows[name])
        assert (cause, form) in kept, f"{name} is the only {form} planted with {cause}; take it out of COSTLY"


def test_planted_mistakes_are_of_causes_that_exist() -> None:
    for cause in COUNTS:
        assert cause in ERRORS - ELSEWHERE - UNSEEN, f"tests/mistakes plants {cause}, which is no cause of an error"
