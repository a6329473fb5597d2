"""A report on a terminal: the message first, bars on a log scale, nothing wider than the terminal but what is to be copied."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from gradcheck_lab.model.not_run import LinesNotRun, NotRun
from gradcheck_lab.model.several import Fuzzed, Scan
from gradcheck_lab.render.fuzz import fuzz_lines
from gradcheck_lab.render.laid_out import Look, bar, laid_out, look_of, look_of_stdout
from gradcheck_lab.render.lines import COPIED
from gradcheck_lab.render.scan import scan_lines
from gradcheck_lab.render.terminal import finding_lines, print_fitted, print_lines, print_report, render_text
from gradcheck_lab.report import Report
from tests.render.browsing import fuzzed, network_report
from tests.render.test_hostile_text import TEXTS, hostile
from tests.render.test_render import FAILED, PASSED, RIGHT, TWICE, WRONG
from tests.strangers import assert_shown

PLACES = NotRun((LinesNotRun("layers.py", "backward", 34, 37, "bias is not None"),))
LONG = replace(
    FAILED,
    gradients=(replace(WRONG, label=f"intermediate '{'a_long_name_' * 6}'", budget_used=2e4), RIGHT),
    findings=(replace(TWICE, location="layers.py:12", explanation="and so on " * 20 + "at last"),),
    not_run=PLACES,
)


def text_of(report: Report, look: Look) -> str:
    return "\n".join(text for text, _ in laid_out(report, look))


def test_what_is_to_be_copied_stays_whole() -> None:
    report = fuzzed()
    copied = [text.strip() for text, style in laid_out(report, Look(60)) if style == COPIED]
    assert copied == [*map(str.strip, report.failing_case["python"].splitlines()), f"reproduce: {report.reproduce}"]
    out = io.StringIO()
    print_fitted(finding_lines(report), Console(file=out, force_terminal=True, color_system=None, width=60))
    assert f"  reproduce: {report.reproduce}\n" in out.getvalue()


def test_message_is_first_then_bars_then_details_and_the_line_to_copy_last() -> None:
    gradients, found = (RIGHT, replace(WRONG, budget_used=2e4)), replace(TWICE, location="layers.py:12")
    assert text_of(replace(LONG, gradients=gradients, findings=(found,)), Look(82, True)) == (
        "tanh: gradient of input 0 'x' is wrong in 12 of 12 elements\n"
        "  worst at [1, 2]: backward 0.84, autograd 0.42 (relative error 1.0, allowed\n"
        "      1.5e-15)\n"
        "  cause: constant-factor - it is exactly 2 times the reference\n"
        "  fix: divide it by 2\n"
        "  backward: layers.py:12\n"
        "\n"
        "  gradient        verdict  error / allowed  used   max abs error  shape   dtype\n"
        "  input 0 'x'     fail     ██████│████▎     2e+04  4.2e-01        (4, 3)  float64\n"
        "  input 2 'bias'  pass     █████▍│          0.25   1.1e-16        (3,)    float64\n"
        "\n"
        "  not run: layers.py:34-37 in backward, needs bias is not None\n"
        "\n"
        "  reproduce: gradcheck-lab check mylib:Tanh --seed 7"
    )


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("build", [lambda: LONG, network_report, fuzzed, lambda: PASSED])
def test_nothing_is_wider_than_the_terminal_but_what_is_to_be_copied(build: Any, columns: int) -> None:
    report = build()
    look = Look(columns, True)
    for lines in (
        laid_out(report, look), scan_lines(Scan("m", {"a" * 70: report}, {"b": "why " * 40}), look),
        fuzz_lines(Fuzzed("m", {"a": report}, {"b": "why " * 40}), look),
    ):  # fmt: skip
        assert all(len(text) <= columns or style == COPIED for text, style in lines)


@pytest.mark.parametrize(
    ("used", "blocks", "text"),
    [
        (0.0, "      │      ", "      |      "), (1e-9, "▏     │      ", "#     |      "),
        (1.0, "██████│      ", "######|      "),
        (10.0, "██████│█     ", "######|#     "), (1e300, "██████│██████", "######|######"),
        (float("inf"), "██████│██████", "######|######"), (float("nan"), "██████│██████", "######|######"),
    ],
)  # fmt: skip
def test_bar_has_a_cell_for_each_power_of_ten(used: float, blocks: str, text: str) -> None:
    assert bar(used, Look(80, True)) == blocks
    assert bar(used, Look(80, False)) == text


def test_terminal_without_block_characters_gets_ascii() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_report(LONG, Console(file=out, force_terminal=True, color_system=None, width=60))
    out.flush()
    written = out.buffer.getvalue()
    assert b"######|#####" in written
    assert b"..." in written


def test_many_gradients_are_counted_and_the_wrong_ones_shown() -> None:
    many = tuple(replace(RIGHT, name=f"g{k}", label=f"gradient 'g{k}'") for k in range(500))
    text = text_of(replace(FAILED, gradients=(*many, WRONG)), Look(80, True))
    assert "  input 0 'x'     fail " in text
    assert "  and 477 others: 477 pass; a page or JSON has all" in text
    assert len(text.splitlines()) < 45


def test_printed_form_is_laid_out_on_a_terminal_and_the_message_never(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = render_text(LONG)
    assert (str(LONG), LONG.message) == (plain, plain)

    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "72")
    assert look_of_stdout() == Look(72, True)
    assert str(LONG) == text_of(LONG, Look(72, True))
    assert LONG.message == plain
    with pytest.raises(AssertionError) as error:
        LONG.raise_if_failed()
    assert str(error.value) == plain


def test_console_that_is_no_terminal_has_no_look() -> None:
    assert look_of(Console(file=io.StringIO())) is None


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_text_stays_in_its_line_on_a_terminal(name: str) -> None:
    out = io.StringIO()
    report, plain = (replace(hostile(text, "fail"), failing_case=None) for text in (TEXTS[name], "x"))
    lines = laid_out(report, Look(100_000))
    print_lines(lines, Console(file=out, color_system=None))
    assert_shown(out.getvalue())
    assert len(out.getvalue().splitlines()) == len(lines) == len(laid_out(plain, Look(100_000)))
