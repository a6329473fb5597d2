"""What the sections of a page hold: drawn calls, what was left out, causes, many gradients, the header."""


from __future__ import annotations

from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from gradcheck_lab.model import documentation
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.coverage import Coverage
from gradcheck_lab.model.not_run import LinesNotRun, NotRun, SideNotTaken
from gradcheck_lab.render.annotations import sarif
from gradcheck_lab.render.page import render_reports
from tests.render.browsing import Page, fuzzed, many, network_report


def test_drawn_calls_have_a_section_with_what_was_tried_and_how_it_shrank(chromium: Any, tmp_path: Path) -> None:
    report = fuzzed()
    report.to_html(tmp_path / "fuzzed.html")
    opened = Page(chromium, tmp_path / "fuzzed.html", 380)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 380
    table = ".matrix:has(caption:text-is('broadcast'))"
    heads = [each.inner_text() for each in opened.page.query_selector_all(f"{table} thead th")]
    assert heads == ["no", "yes"]
    drawn = report.drawn
    assert drawn is not None
    (row,) = [row for row in drawn.tried if (row.property, row.name) == ("broadcast", "y")]
    cells = opened.page.query_selector_all(f"{table} tr:has(th:text-is('y')) td")
    assert [each.get_attribute("class") for each in cells] == ["right", "wrong"]
    assert cells[1].get_attribute("title").startswith(f"{row.outcomes[1].wrong} wrong")
    assert cells[0].inner_text() == str(row.outcomes[0].right)
    steps = [each.inner_text() for each in opened.page.query_selector_all(".shrunk code")]
    assert steps == [step.words for step in drawn.shrunk]
    python = opened.page.inner_text("h3:text-is('Smallest failing call') ~ .copied pre")
    assert "backward" in python
    compile(python, "copied", "exec")
    assert opened.errors == []
    opened.page.close()


def test_what_was_not_compared_and_what_never_ran_have_sections_of_their_own(chromium: Any, tmp_path: Path) -> None:
    lines, side = LinesNotRun("layer.py", "backward", 4, 6, "bias is None"), SideNotTaken("layer.py", "f", 9, "x > 3")
    left_out = (Coverage("input", 2, {"no floating tensor": 1}),)
    report = replace(network_report(), coverage=left_out, not_run=NotRun((lines,), (side,), 2))
    report.to_html(tmp_path / "partly.html")
    opened = Page(chromium, tmp_path / "partly.html")
    left = [each.inner_text() for each in opened.page.query_selector_all("section.left-out li")]
    assert left == ["1 input, no floating tensor"]
    never = [each.inner_text() for each in opened.page.query_selector_all("section.not-run li")]
    assert never == [
        "lines 4-6 of layer.py (needs bias is None), in backward", "no element with x > 3 at line 9 of layer.py, in f",
    ]  # fmt: skip
    opened.page.click("section.not-run h3 a")
    assert opened.page.evaluate("location.hash") == "#r0-not-run"
    assert opened.errors == []
    opened.page.close()


def test_a_report_without_them_has_neither_section(page: Page) -> None:
    assert page.count("section.drawn, section.not-run") == 0


def test_many_gradients_are_all_found_and_shown_when_asked_for(chromium: Any, tmp_path: Path) -> None:
    many(500).to_html(tmp_path / "many.html")
    opened = Page(chromium, tmp_path / "many.html")
    rows = "table.gradients tbody tr"
    assert opened.count(rows) == 200
    assert opened.count(f"{rows}.fail") == sum(each.verdict == "fail" for each in network_report().gradients) > 0
    opened.page.fill("#search", "'g499'")
    assert opened.count(rows) == 1
    opened.page.fill("#search", "")
    assert opened.count(rows) == 200
    opened.page.evaluate("location.hash = document.querySelector('tbody.rest tr').id")
    opened.page.wait_for_selector("tbody.rest:not([hidden])")
    assert opened.count(rows) == len(many(500).gradients)
    assert opened.count("[data-rest]") == 0
    opened.page.click("[data-sort=used]")
    used = opened.page.eval_on_selector_all(rows, "all => all.map(row => Number(row.dataset.used))")
    assert used == sorted(used, reverse=True)
    assert len(used) == len(many(500).gradients)
    assert opened.errors == []
    opened.page.close()


def test_typical_reports_weigh_less_than_a_megabyte() -> None:
    assert len(network_report().to_html().encode()) < 100_000
    assert len(fuzzed().to_html().encode()) < 100_000
    pictured = next(each.picture for each in network_report().gradients if each.picture is not None)
    cells = pictured.rows * pictured.columns * len(pictured.slices)
    full = many(500)
    gradients = tuple(replace(each, picture=pictured) for each in full.gradients)
    assert cells * len(gradients) > 6_000
    assert len(replace(full, gradients=gradients).to_html().encode()) < 1_000_000


def test_cause_unfolds_its_sentence_and_fix(page: Page) -> None:
    cause = "section.finding.error details.cause"
    assert page.count(f"{cause} > p") == 0
    page.page.click(f"{cause} > summary")
    row = CAUSES["constant-factor"]
    assert page.page.inner_text(f"{cause} > p") == f"constant-factor: {row.sentence}; {row.fix}."


@pytest.mark.parametrize(
    ("address", "linked"),
    [
        ("https://gradcheck.example/", "https://gradcheck.example/causes/constant-factor.html"),
        ("https://host.example/us/lab/blob/main/docs", "https://host.example/us/lab/blob/main/docs/causes/constant-factor.md"),
        ("", ""), ("javascript:alert(1)", ""), ('https://x/"onclick="alert(1)', ""),
    ],
)  # fmt: skip
def test_cause_is_linked_where_the_package_says_where_its_documentation_is(
    address: str, linked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documentation, "_documentation", lambda: address)
    report = network_report()
    page = report.to_html()
    assert (f'<a href="{linked}" rel="noreferrer">' in page) == bool(linked)
    (rule,) = sarif([("network", report)])["runs"][0]["tool"]["driver"]["rules"]
    assert rule.get("helpUri", "") == linked
    assert page.count('href="') == page.count('href="#') + len(report.findings) * bool(linked)


def test_address_of_the_documentation_is_that_of_the_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = Message()
    entries["Project-URL"] = "Source, https://host.example/us/lab"
    entries["Project-URL"] = "Documentation, https://gradcheck.example"
    monkeypatch.setattr(documentation, "metadata", lambda name: entries)
    documentation._documentation.cache_clear()
    assert documentation.cause_page("constant-factor") == "https://gradcheck.example/causes/constant-factor.html"
    assert documentation.cause_page("no-such-cause") == ""
    documentation._documentation.cache_clear()


def test_header_says_the_verdict_and_how_much_was_compared(chromium: Any, tmp_path: Path) -> None:
    report = network_report()
    alone = report.gradients[0]
    left = replace(report, verdict="inconclusive", gradients=(alone, replace(alone, name="u", reason="no elements")))
    (tmp_path / "two.html").write_text(render_reports("suite", "", [("a", report), ("b", left)]), encoding="utf-8")
    report.to_html(tmp_path / "one.html")
    says = {"one": "network\nfail\n5 gradients compared"}
    says["two"] = "suite\n1 fail\n1 inconclusive\n6 gradients compared, 1 not"
    for name, said in says.items():
        opened = Page(chromium, tmp_path / f"{name}.html")
        assert opened.page.inner_text(".top .line").removesuffix("◐").strip() == said
        opened.page.close()
