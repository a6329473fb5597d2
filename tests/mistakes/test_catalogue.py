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
# no check of one call finds these: they need a process of their own
UNSEEN = frozenset({"crashed", "timed-out", "memory-exceeded"})


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


COUNTS = Counter(row.cause for row in ROWS)


def test_planted_mistakes_have_names_of_their_own() -> None:
    for name, count in Counter(str(row) for row in ROWS).items():
        assert count == 1, f"{count} planted mistakes are called {name}"


@pytest.mark.parametrize("cause", sorted(ERRORS - ELSEWHERE - UNSEEN))
def test_cause_has_three_planted_mistakes_with_sound_twins(cause: str) -> None:
    assert COUNTS[cause] >= 3, f"the cause {cause} has {COUNTS[cause]} planted mistakes of 3: add rows to tests/mistakes"


def test_planted_mistakes_are_of_causes_that_exist() -> None:
    for cause in COUNTS:
        assert cause in ERRORS - ELSEWHERE - UNSEEN, f"tests/mistakes plants {cause}, which is no cause of an error"
