"""Reports as text and as HTML: formatted, never computed."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from gradcheck_lab.model.findings import Finding, GradientResult
from gradcheck_lab.render.html import render_fragment
from gradcheck_lab.render.page import render_html
from gradcheck_lab.render.tables import table_lines
from gradcheck_lab.render.terminal import print_report, render_text
from gradcheck_lab.report import Report

WRONG = GradientResult(
    "x",
    "input 0 'x'",
    (4, 3),
    "float64",
    "fail",
    max_abs_error=0.42,
    worst_index=(1, 2),
    actual=0.84,
    expected=0.42,
    allowed=6.3e-16,
    budget_used=6.7e14,
)
RIGHT = GradientResult("bias", "input 2 'bias'", (3,), "float64", "pass", 1.1e-16, budget_used=0.25)
TWICE = Finding(
    "constant-factor",
    "error",
    "gradient of input 0 'x' is wrong in 12 of 12 elements",
    "x",
    "it is exactly 2 times the reference",
    "divide it by 2",
    where="worst at [1, 2]: backward 0.84, autograd 0.42 (relative error 1.0, allowed 1.5e-15)",
)
FAILED = Report("fail", "tanh", "op", (WRONG,), (TWICE,), "autograd", reproduce="gradcheck-lab check mylib:Tanh --seed 7")
PASSED = Report(
    "pass",
    "linear",
    "op",
    (replace(WRONG, verdict="pass", max_abs_error=0.0, budget_used=0.0), RIGHT),
    (),
    "autograd in float64",
    sensitivity={"x": 1.2e-15, "bias": 3.4e-13},
    evaluations={"forward": 2, "backward": 1},
    seconds=0.0123,
    seed=7,
)


def test_failure_says_what_where_why_and_next() -> None:
    assert render_text(FAILED) == (
        "tanh: gradient of input 0 'x' is wrong in 12 of 12 elements\n"
        "  worst at [1, 2]: backward 0.84, autograd 0.42 (relative error 1.0, allowed 1.5e-15)\n"
        "  cause: constant-factor - it is exactly 2 times the reference\n"
        "  fix: divide it by 2\n"
        "  reproduce: gradcheck-lab check mylib:Tanh --seed 7\n"
        "  gradient     shape   dtype    verdict  max abs error  budget used\n"
        "  input 0 'x'  (4, 3)  float64  fail     4.2e-01        6.7e+14"
    )


def test_pass_says_what_it_would_have_caught_and_what_it_cost() -> None:
    assert render_text(PASSED) == (
        "linear: pass - 2 gradients agree with autograd in float64\n"
        "  gradient        shape   dtype    verdict  max abs error  budget used\n"
        "  input 0 'x'     (4, 3)  float64  pass     0.0e+00        0\n"
        "  input 2 'bias'  (3,)    float64  pass     1.1e-16        0.25\n"
        "  would have caught a relative error of 3.4e-13 in any one element (least: bias); 2 forwards; 1 backward; "
        "0.01 s; seed 7"
    )


def test_pass_of_one_gradient_is_in_the_singular() -> None:
    report = replace(PASSED, gradients=(RIGHT,))
    assert render_text(report).startswith("linear: pass - 1 gradient agrees with autograd in float64\n")


def test_pass_names_gradients_whose_sensitivity_is_unknown() -> None:
    report = replace(PASSED, gradients=(), sensitivity={"x": None, "bias": 3.4e-13})
    assert render_text(report).splitlines()[-1] == (
        "  would have caught a relative error of 3.4e-13 in any one element (least: bias); "
        "cannot say what it would have caught in x; 2 forwards; 1 backward; 0.01 s; seed 7"
    )


def test_inconclusive_says_why_and_shows_what_was_not_compared() -> None:
    reason = "the reference is not finite"
    report = replace(
        PASSED,
        verdict="inconclusive",
        gradients=(replace(RIGHT, verdict="inconclusive", reason=reason),),
        reasons=(reason, "the oracles disagree"),
    )
    assert render_text(report) == (
        "linear: inconclusive - the reference is not finite; the oracles disagree\n"
        "  gradient        shape  dtype    verdict       max abs error  budget used\n"
        "  input 2 'bias'  (3,)   float64  inconclusive  -              the reference is not finite"
    )


def test_failure_reproduces_once_after_the_last_error() -> None:
    other = Finding("raises", "error", "the backward raised ValueError: no", "w")
    lines = render_text(replace(FAILED, gradients=(), findings=(TWICE, other))).splitlines()
    assert lines[4:] == [
        "tanh: the backward raised ValueError: no",
        "  cause: raises",
        "  reproduce: gradcheck-lab check mylib:Tanh --seed 7",
    ]


def test_contaminated_gradients_stand_in_one_line() -> None:
    victims = tuple(replace(WRONG, name=name, contaminated_by="tanh (A1)") for name in ("W1", "b1", "x"))
    assert "  wrong only because of it: W1, b1, x" in render_text(replace(FAILED, gradients=victims)).splitlines()


def test_contaminated_gradients_name_the_culprit_where_there_are_several() -> None:
    victims = (
        replace(WRONG, name="W1", contaminated_by="tanh (A1)"),
        replace(WRONG, name="W2", contaminated_by="linear (Z2)"),
    )
    lines = render_text(replace(FAILED, gradients=victims)).splitlines()
    assert lines[5:7] == ["  wrong only because of tanh (A1): W1", "  wrong only because of linear (Z2): W2"]


def test_warnings_and_notes_take_one_line_each_after_the_errors() -> None:
    warning = Finding("wrong-dtype", "warning", "gradient of input 0 'x' is float64", suggestion="cast it")
    note = Finding("convention", "note", "differs at 2 kinks", explanation="both are subgradients", case="zeros")
    lines = render_text(replace(FAILED, gradients=(), findings=(note, warning, TWICE))).splitlines()
    assert lines[4:] == [
        "  reproduce: gradcheck-lab check mylib:Tanh --seed 7",
        "  warning: gradient of input 0 'x' is float64: wrong-dtype; cast it",
        "  note: differs at 2 kinks (case: zeros): convention - both are subgradients",
    ]


def test_failure_on_a_derived_call_names_it() -> None:
    found = replace(TWICE, case="grad_output expanded")
    assert render_text(replace(FAILED, findings=(found,))).splitlines()[0] == (
        "tanh: gradient of input 0 'x' is wrong in 12 of 12 elements (case: grad_output expanded)"
    )


def test_failure_without_an_error_finding_still_has_a_headline() -> None:
    report = replace(FAILED, findings=(), gradients=())
    assert render_text(report) == (
        "tanh: fail - 0 gradients compared with autograd\n  reproduce: gradcheck-lab check mylib:Tanh --seed 7"
    )


def test_str_of_a_report_is_its_text() -> None:
    assert str(FAILED) == render_text(FAILED)


@pytest.mark.parametrize("report", [FAILED, PASSED], ids=["fail", "pass"])
def test_printing_away_from_a_terminal_writes_the_plain_text(
    report: Report, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    print_report(report)
    assert capsys.readouterr().out == f"{render_text(report)}\n"


def test_printing_on_a_terminal_colours_the_verdict() -> None:
    out = io.StringIO()
    print_report(FAILED, Console(file=out, force_terminal=True, color_system="standard", no_color=False))
    assert "\x1b[1;31mtanh: gradient of input 0 'x' is wrong in 12 of 12 elements\x1b[0m" in out.getvalue()


def test_printing_on_a_terminal_with_no_color_leaves_colours_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    print_report(FAILED, Console(file=out, force_terminal=True, color_system="standard"))
    assert "\x1b[31m" not in out.getvalue()
    assert "\x1b[1;31m" not in out.getvalue()


def test_printing_takes_no_text_for_markup() -> None:
    out = io.StringIO()
    print_report(replace(PASSED, subject="[red]net[/] :smile:", gradients=()), Console(file=out))
    assert out.getvalue().startswith("[red]net[/] :smile:: pass - 0 gradients agree with autograd in float64\n")


class _Tags(HTMLParser):
    """Checks that tags are balanced and point nowhere else, and collects their names and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: Counter[str] = Counter()
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name == "src" or name.startswith("on") for name, _ in attrs)
        assert all(str(value).startswith(("#", "https://")) for name, value in attrs if name == "href")
        self.seen[tag] += 1
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


HOSTILE = "<script>alert('x')</script> & co"


@pytest.mark.parametrize(
    "report",
    [
        replace(FAILED, subject=HOSTILE),
        replace(FAILED, oracle=HOSTILE, reproduce=HOSTILE),
        replace(FAILED, gradients=(replace(WRONG, label=HOSTILE, dtype=HOSTILE, contaminated_by="it", name=HOSTILE),)),
        replace(FAILED, findings=(Finding(HOSTILE, "error", HOSTILE, None, HOSTILE, HOSTILE, traceback=HOSTILE),)),
        replace(FAILED, findings=(Finding(HOSTILE, "note", HOSTILE, None, HOSTILE, HOSTILE),)),
        replace(FAILED, environment={HOSTILE: HOSTILE}, sensitivity={HOSTILE: None}, evaluations={HOSTILE: 1}),
        replace(FAILED, verdict="inconclusive", reasons=(HOSTILE,)),
    ],
)
def test_html_escapes_everything(report: Report) -> None:
    tags = _Tags(render_html(report))
    assert tags.seen["script"] == _Tags(render_html(FAILED)).seen["script"]
    assert HOSTILE in tags.text
    assert "script" not in _Tags(render_fragment(report)).seen


@pytest.mark.parametrize("report", [FAILED, PASSED], ids=["fail", "pass"])
def test_html_says_what_the_text_says(report: Report) -> None:
    tags = _Tags(render_fragment(report))
    for finding in report.findings:
        assert finding.message in tags.text
        assert f"cause: {finding.cause} - {finding.explanation}" in tags.text
        assert f"fix: {finding.suggestion}" in tags.text
    for gradient in report.gradients:
        assert gradient.label in tags.text
    assert report.reproduce in tags.text


def test_html_table_has_the_worst_element() -> None:
    row = "<td>6.7e+14</td><td>[1, 2]</td><td>0.84</td><td>0.42</td><td>6.3e-16</td></tr>"
    assert row in render_fragment(FAILED)
    assert '<tr class="fail"><td>input 0 &#39;x&#39;</td><td>(4, 3)</td>' in render_fragment(FAILED)


def test_html_shows_the_traceback_of_what_raised() -> None:
    found = Finding("raises", "error", "the backward raised", traceback="Traceback: line 3")
    page = render_fragment(replace(FAILED, findings=(found,)))
    assert "<details><summary>traceback</summary><pre>Traceback: line 3</pre></details>" in page


def test_to_html_writes_a_page_and_a_notebook_gets_its_fragment(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    FAILED.to_html(path)
    page = path.read_text(encoding="utf-8")
    assert page.startswith('<!doctype html>\n<html lang="en">\n')
    assert FAILED.to_html() == page
    assert FAILED._repr_html_() == render_fragment(FAILED)


def test_table_takes_wide_letters_markup_and_lines_as_they_are() -> None:
    rows = [("op", "said"), ("勾配", "[red]no[/]"), ("x" * 300, "two\nlines")]
    assert table_lines(rows) == [
        f"op{' ' * 300}said",
        f"勾配{' ' * 298}[red]no[/]",
        f"{'x' * 300}  two lines",
    ]
