"""What a report with suggestions shows, in text and as pages, and that it goes through JSON."""

from __future__ import annotations

import json
from dataclasses import replace

from gradcheck_lab.model.suggestions import Suggested, Suggestion
from gradcheck_lab.render.html import render_fragment
from gradcheck_lab.render.laid_out import Look
from gradcheck_lab.render.page import render_html
from gradcheck_lab.render.terminal import plain_text, render_text
from gradcheck_lab.report import Report
from tests.render.test_render import FAILED, PASSED

CHECKS = ("the full check with seeds 0 and 7919",)
DIFF = "--- a.py\n+++ a.py\n@@ -1 +1 @@\n-    return g < x\n+    return g <= x"
EDIT = Suggestion(DIFF, "a.py", 1, "return g < x", "return g <= x", ("other-comparison",), (), 1, CHECKS)
LINE = Suggestion(expressions=("dx = grad_output * (1 - output**2)",), size=34, verified=CHECKS)
SUGGESTED = replace(FAILED, suggested=Suggested((EDIT,), 12, 1.5))


def test_a_diff_is_shown_under_the_question() -> None:
    lines = render_text(SUGGESTED).splitlines()
    at = lines.index("  did you mean (it passes the full check with seeds 0 and 7919):")
    assert lines[at + 1 : at + 6] == [f"    {line}" for line in DIFF.splitlines()]


def test_a_terminal_shows_the_same_lines() -> None:
    laid_out = plain_text(SUGGESTED, Look(60)).splitlines()
    assert [line for line in laid_out if line.startswith("    +")] == ["    +++ a.py", "    +    return g <= x"]


def test_a_line_of_torch_is_shown() -> None:
    text = render_text(replace(FAILED, suggested=Suggested((LINE,))))
    assert "no edit was found; as torch derives it (it passes the full check with seeds 0 and 7919):" in text
    assert "    dx = grad_output * (1 - output**2)" in text.splitlines()


def test_that_there_is_none_is_said_with_what_was_tried() -> None:
    none = Suggested((), 1, 2.04)
    assert "  did you mean: none of 1 edit passes the full check; tried in 2.0 s" in render_text(
        replace(FAILED, suggested=none)
    ).splitlines()
    unfinished = replace(none, tried=40, finished=False)
    said = "did you mean: none of 40 edits passes the full check; tried in 2.0 s, and there was no time for all"
    for shown in (render_text, render_html, render_fragment):
        assert said in shown(replace(FAILED, suggested=unfinished))
    refused = replace(none, why="the source of the backward of f is not at hand; define it in a file")
    assert f"did you mean: nothing was tried: {refused.why}" in render_text(replace(FAILED, suggested=refused))


def test_pages_have_the_diff_escaped() -> None:
    for page in (render_html(SUGGESTED), render_fragment(SUGGESTED)):
        assert "+    return g &lt;= x" in page
        assert "return g <= x" not in page


def test_a_report_that_passes_or_was_not_asked_says_nothing() -> None:
    assert "did you mean" not in render_text(FAILED)
    assert "did you mean" not in render_text(replace(PASSED, suggested=Suggested(why="there is nothing to mend")))


def test_suggestions_go_through_json() -> None:
    report = replace(FAILED, suggested=Suggested((EDIT, LINE), 12, 1.5, False, ""))
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))).suggested == report.suggested
