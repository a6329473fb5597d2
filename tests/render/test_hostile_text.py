"""Text of others in every renderer: shown, never sent; a line stays one line, a tag stays text."""

from __future__ import annotations

import io
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gradcheck_lab.model.drawn import DrawnCalls, Outcomes, ShrinkStep, Tried
from gradcheck_lab.model.findings import Finding, GradientResult
from gradcheck_lab.model.several import Fuzzed, Scan
from gradcheck_lab.model.shown import cut, file_stem, one_line, quoted, shown
from gradcheck_lab.model.source_lines import SourceLines
from gradcheck_lab.model.steps import Step
from gradcheck_lab.pytesting.session import Session
from gradcheck_lab.pytesting.settings import Settings
from gradcheck_lab.pytesting.summary import summary_lines
from gradcheck_lab.render.fuzz import fuzz_lines, progress_bar
from gradcheck_lab.render.page import render_html, render_reports
from gradcheck_lab.render.scan import scan_lines
from gradcheck_lab.render.terminal import print_lines, print_report, render_text
from gradcheck_lab.report import Report
from tests.lanes import examples
from tests.strangers import assert_shown

CLEAR, RED, TITLE, CLIPBOARD = "\x1b[2J", "\x1b[31m", "\x1b]0;owned\x07", "\x1b]52;c;cm0gLXJm\x07"
TEXTS = {
    "clears-the-screen": CLEAR,
    "colours": RED,
    "titles-the-window": TITLE,
    "writes-the-clipboard": CLIPBOARD,
    "8-bit-controls": "\x9b2J",
    "backspaces": "pass\b\b\b\bfail",
    "overwrites-the-line": "fail\rpass",
    "forges-a-line": "x\nlinear: pass - 3 gradients agree with autograd",
    "forges-a-line-in-unicode": "x\u2028linear: pass\u2029\x85",
    "turns-the-line-around": "\u202efdp.exe\u2066\u2069\u200f",
    "hides-letters": "pa\u200bss\ufeff\U000e0041",
    "lone-surrogate": "\ud800",
    "nul": "a\0b",
    "tag": "<script>alert(1)</script>",
    "closes-an-attribute": '"><img src=x onerror=alert(1)>',
    "template": "{{ 7 * 7 }}{% include 'x' %}",
    "markup": "[red]x[/red][link=file:///]y[/link] :smile:",
}


def hostile(text: str, verdict: Any = None) -> Report:
    """A report whose every text is `text`, also its verdict, and others that only a few values may have."""
    unsafe: Any = text
    said = verdict or unsafe
    gradient = GradientResult(text, text, (2,), text, said, op=text, contaminated_by=text, rule=text, settled_by=text)
    left_out = replace(gradient, reason=text)
    words = dict.fromkeys(
        ("explanation", "suggestion", "probe", "case", "op", "where", "traceback", "exception", "location"), text
    )
    lines = SourceLines(1, (text, text), (2,))
    severities: tuple[Any, ...] = ("error", "warning", "note")
    found = [Finding(text, severity, text, text, stage=unsafe, source=lines, **words) for severity in severities]
    drawn = DrawnCalls(2, (Tried("option", text, (Outcomes(text, 1, 1),)),), (ShrinkStep(1, text, 2),))
    return Report(
        said, text, text, (gradient, left_out), tuple(found), text, {text: None, "x": 0.5}, {text: 1}, reproduce=text,
        reasons=(text,), environment={text: text}, failing_case={"words": text, "python": text}, location=text,
        inputs=text, steps=(Step(text, unsafe, (), (text,), unsafe),), drawn=drawn,
    )  # fmt: skip


class _Tags(HTMLParser):
    """The tags of a page with the names of their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen |= {tag, *(name for name, _ in attrs)}

    def handle_data(self, data: str) -> None:
        self.text += data


ORDINARY = _Tags(render_html(hostile("x"))).seen


def test_every_text_of_a_report_is_hostile() -> None:
    report = hostile(CLEAR)
    for part in (report, *report.gradients, *report.findings):
        plain = {field.name for field in fields(part) if field.type in ("str", "Verdict", "Severity", "Stage", "str | None")}
        changed = {name for name in plain if CLEAR in str(getattr(part, name))}
        assert plain - changed <= {"severity", "reason"}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("verdict", ["as text", "pass", "fail", "inconclusive"])
def test_page_shows_the_text_and_nothing_else(name: str, verdict: Any) -> None:
    report = hostile(TEXTS[name], None if verdict == "as text" else verdict)
    for page in (render_html(report), render_reports(TEXTS[name], TEXTS[name], [(TEXTS[name], report)])):
        assert_shown(page)
        tags = _Tags(page)
        assert tags.seen <= ORDINARY | {"h1", "h2", "pre"}
        assert shown(TEXTS[name]) in tags.text


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("verdict", ["pass", "fail", "inconclusive"])
def test_terminal_shows_the_text_in_its_line(name: str, verdict: Any) -> None:
    report, plain = (replace(hostile(text, verdict), failing_case=None) for text in (TEXTS[name], "x"))
    several = {"text": render_text(report)}
    for form, lines in {
        "scan": scan_lines(Scan(TEXTS[name], {TEXTS[name]: report}, {TEXTS[name]: TEXTS[name]})),
        "fuzz": fuzz_lines(Fuzzed(TEXTS[name], {TEXTS[name]: report}, {TEXTS[name]: TEXTS[name]})),
    }.items():
        out = io.StringIO()
        print_lines(lines, Console(file=out, color_system=None))
        assert len(out.getvalue().splitlines()) == len(lines)
        several[form] = out.getvalue()
    for text in several.values():
        assert_shown(text)
        assert one_line(TEXTS[name]) in text
    assert len(several["text"].splitlines()) == len(render_text(plain).splitlines())


def test_terminal_gets_no_sequence_but_its_own_colours() -> None:
    out = io.StringIO()
    print_report(hostile(CLEAR + CLIPBOARD, "fail"), Console(file=out, force_terminal=True))
    assert "\x1b[1;31m" in out.getvalue()
    assert not {CLEAR, CLIPBOARD, "\x07"} & {part for part in (CLEAR, CLIPBOARD, "\x07") if part in out.getvalue()}


def test_bar_shows_a_name_as_it_is() -> None:
    out = io.StringIO()
    with progress_bar(3, Console(file=out, force_terminal=True, width=200, color_system=None)) as show:
        show(f"{CLIPBOARD}[red]name", 1, 0)
    assert CLIPBOARD not in out.getvalue()
    assert r"\x1b]52;c;cm0gLXJm\x07[red]name" in out.getvalue()


def test_progress_elsewhere_than_on_a_terminal_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now, out = [0.0], io.StringIO()
    monkeypatch.setattr("gradcheck_lab.render.fuzz.time.monotonic", lambda: now[0])
    with progress_bar(3, Console(file=out, force_terminal=False, width=200)) as show:
        for now[0], done, found in ((1.0, 1, 0), (11.0, 2, 0), (12.0, 3, 0), (30.0, 3, 1)):
            show(f"{CLIPBOARD}[red]name", done, found)
    shown = r"\x1b]52;c;cm0gLXJm\x07[red]name"
    assert out.getvalue() == (
        f"{shown}: 2 of 3 examples, 0 findings\n{shown}: 3 of 3 examples, 1 finding, shrinking\n"
    )


@pytest.mark.parametrize("name", TEXTS)
def test_summary_of_a_test_run_shows_the_text_in_its_line(name: str) -> None:
    session = Session(Settings())
    session.allowed = {"test": {TEXTS[name]: TEXTS[name]}}
    session.not_run[TEXTS[name]] += 1
    lines = [text for text, _ in summary_lines(session)]
    for text in lines:
        assert_shown(text)
        assert "\n" not in text
        assert one_line(TEXTS[name]) in text
    assert len(lines) == 2


@examples(200)
@given(st.text())
def test_any_text_is_shown_on_one_line(text: str) -> None:
    assert_shown(shown(text))
    assert "\n" not in one_line(text)
    assert_shown(quoted(text))
    assert len(cut(text)) <= 160


@examples(200)
@given(st.text(max_size=300))
def test_any_name_gives_a_file_in_its_folder(name: str) -> None:
    stem = file_stem(name)
    assert Path("folder", f"{stem}.json").name == f"{stem}.json"
    assert stem.isascii()
    assert not stem.startswith((".", "-"))
    assert len(f"{stem}-01234567.json") < 255


@pytest.mark.parametrize("text", ["Σ g x over the batch", "勾配", "a b\tc", "naïve – “quotes”", "δ²"])
def test_letters_of_any_language_stay_as_they_are(text: str) -> None:
    assert shown(text) == text
