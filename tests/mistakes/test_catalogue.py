"""Every planted mistake is caught from one ordinary call, under its cause before any other; its sound twin passes."""

from collections import Counter

import pytest

from gradcheck_lab.model.causes import ERRORS
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.report import Report
from tests.mistakes.catalogue import ROWS
from tests.mistakes.registry import Mistake

# the second order has rows and tests of its own; a twin that is right to first order may have none
ELSEWHERE = frozenset({"double-backward"})


def errors(report: Report) -> list[Finding]:
    return [f for f in report.findings if f.severity == "error" and f.cause not in ELSEWHERE]


@pytest.mark.parametrize("mistake", ROWS, ids=str)
def test_mistake_is_named_before_anything_else(mistake: Mistake) -> None:
    report = mistake.check_wrong()
    assert report.verdict == "fail", report
    assert errors(report), report
    assert errors(report)[0].cause == mistake.cause, report


@pytest.mark.parametrize("mistake", ROWS, ids=str)
def test_sound_twin_passes_in_silence(mistake: Mistake) -> None:
    report = mistake.check_sound()
    assert report.verdict == "pass", report
    assert {f.cause for f in report.findings if f.severity != "note"} <= ELSEWHERE, report


def test_every_cause_has_three_mistakes_under_names_of_their_own() -> None:
    names = Counter(str(row) for row in ROWS)
    assert max(names.values()) == 1, names.most_common(3)
    counts = Counter(row.cause for row in ROWS)
    assert set(counts) == ERRORS - ELSEWHERE
    assert {cause: count for cause, count in counts.items() if count < 3} == {}
